//! The verdict on a bottle, from what the host saw and what its guest says.

use super::host::FromHost;
use super::judge::{Findings, Verdict};
use super::scope::Canary;
use bottle_core::slug::Slug;
use bottle_core::visible;
use bottle_guest::probe::Answer;
use bottle_host::failure::Outcome;
use bottle_host::{out, outln};
use serde::Serialize;
use std::collections::BTreeSet;

/// The version of the `--json` output. It changes when a field is removed or changes its meaning.
const SCHEMA: u32 = 2;
/// How many leaks are shown to a person.
const SHOWN: usize = 20;

/// What the guest says. It can make a verdict worse, but never better.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct FromInside {
    /// The verdict.
    pub verdict: Verdict,
    /// What the guest says that it reached although it should not.
    pub leaks: BTreeSet<String>,
    /// Why there is no verdict, if there is none.
    pub inconclusive_because: Option<String>,
    /// vsock ports that took a connection: the virtual machine's own services.
    pub vsock: Vec<String>,
    /// The number of attempts that stayed silent until patience ran out.
    pub hangs: usize,
    /// The number of attempts.
    pub attempts: usize,
    /// How long they took.
    pub seconds: f64,
    /// The answer to every question, in order.
    pub probes: Vec<Answer>,
}

impl FromInside {
    /// Judges answers. `doubt` says what may be wrong with how they were obtained.
    pub fn judge(findings: Findings, doubt: Option<String>, probes: Vec<Answer>, seconds: f64) -> Self {
        Self {
            verdict: Verdict::of(&findings, doubt.as_deref()),
            leaks: findings.leaks,
            inconclusive_because: doubt,
            vsock: findings.vsock,
            hangs: findings.hangs,
            attempts: findings.attempts,
            seconds,
            probes,
        }
    }
}

/// The verdict on a bottle, with its reasons.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Judged {
    schema: u32,
    slug: Slug,
    verdict: Verdict,
    /// Whether only the guest's word says that it leaks.
    by_the_guests_word: bool,
    /// Whether the guest is a stand-in, whose isolation says nothing about a virtual machine's.
    stand_in: bool,
    host: Option<FromHost>,
    inside: Option<FromInside>,
    doors: BTreeSet<u16>,
    canaries: Vec<Canary>,
    seconds: f64,
}

impl Judged {
    /// Combines the halves. Without the host's half, nothing counts as isolated.
    pub fn new(
        slug: &Slug,
        host: Option<FromHost>,
        inside: Option<FromInside>,
        doors: BTreeSet<u16>,
        canaries: Vec<Canary>,
        stand_in: bool,
        seconds: f64,
    ) -> Self {
        let seen = host.as_ref().map(|host| host.verdict);
        let said = inside.as_ref().map(|inside| inside.verdict);
        let verdict = match (seen, said) {
            (Some(seen), said) => said.map_or(seen, |said| seen.worse(said)),
            (None, said) => said.unwrap_or(Verdict::Inconclusive),
        };
        let by_the_guests_word = verdict == Verdict::Leaks && seen != Some(Verdict::Leaks);
        let slug = slug.clone();
        Self {
            schema: SCHEMA,
            slug,
            verdict,
            by_the_guests_word,
            stand_in,
            host,
            inside,
            doors,
            canaries,
            seconds,
        }
    }

    /// Returns the verdict of both halves together.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Returns what the host saw.
    pub fn host(&self) -> Option<&FromHost> {
        self.host.as_ref()
    }

    /// Returns what the guest says.
    pub fn inside(&self) -> Option<&FromInside> {
        self.inside.as_ref()
    }

    /// Returns the ports of the doors.
    pub fn doors(&self) -> &BTreeSet<u16> {
        &self.doors
    }

    /// Returns whether the guest is a stand-in.
    pub fn is_of_a_stand_in(&self) -> bool {
        self.stand_in
    }

    /// Returns the verdict and what it comes from, in a sentence.
    pub fn sentence(&self) -> String {
        let doors: Vec<String> = self.doors.iter().map(u16::to_string).collect();
        let sentence = match self.verdict {
            Verdict::Isolated => {
                format!("nothing answers but the doors (proxy.internal:{})", doors.join(", "))
            }
            Verdict::Leaks if self.by_the_guests_word => {
                "the guest says that it reaches what it must not, and the host saw nothing of it".to_owned()
            }
            Verdict::Leaks => "this guest reaches what it must not".to_owned(),
            Verdict::Inconclusive => "this proves nothing either way; try again".to_owned(),
        };
        let word = if self.by_the_guests_word { " (the guest's word)" } else { "" };
        format!(
            "{}{word}: {sentence}; {} frames from the host, {} attempts from inside, {:.1} s",
            self.verdict.word(),
            self.host.as_ref().map_or(0, |host| host.frames),
            self.inside.as_ref().map_or(0, |inside| inside.attempts),
            self.seconds
        )
    }

    /// Prints the verdict, as JSON or for a person.
    ///
    /// # Errors
    /// Returns an error if it cannot be written.
    pub fn print(&self, json: bool) -> Outcome {
        if json {
            return out::json(self);
        }
        if let Some(host) = &self.host {
            self.print_host(host)?;
        }
        if let Some(inside) = &self.inside {
            print_inside(inside)?;
        }
        outln!("{}: {}", self.slug, self.sentence())
    }

    fn print_host(&self, host: &FromHost) -> Outcome {
        outln!(
            "from the host: {}; every TCP and UDP port, {} canaries, {} doors; {:.1} s",
            host.verdict.word(),
            self.canaries.len(),
            host.doors.len(),
            host.seconds
        )?;
        list("reached", &host.leaks)?;
        if host.hangs > 0 {
            outln!("  silent    {} refusals were silent", host.hangs)?;
        }
        if let Some(why) = &host.inconclusive_because {
            outln!("  doubt     {}", visible::Line(why))?;
        }
        Ok(())
    }
}

/// Prints the first of these, one per line, and how many more there are. `--json` has them all.
fn list<'a>(word: &str, sentences: impl IntoIterator<Item = &'a String>) -> Outcome {
    let mut sentences = sentences.into_iter();
    for sentence in sentences.by_ref().take(SHOWN) {
        outln!("  {word:<9} {}", visible::Line(sentence))?;
    }
    match sentences.count() {
        0 => Ok(()),
        more => outln!("  {word:<9} and {more} more"),
    }
}

fn print_inside(inside: &FromInside) -> Outcome {
    outln!("from inside, the guest's word: {}; {:.1} s", inside.verdict.word(), inside.seconds)?;
    list("claimed", &inside.leaks)?;
    for service in &inside.vsock {
        outln!("  machine   {}: smolvm's own", visible::Line(service))?;
    }
    if inside.hangs > 0 {
        outln!("  silent    {} refusals were silent", inside.hangs)?;
    }
    if let Some(why) = &inside.inconclusive_because {
        outln!("  doubt     {}", visible::Line(why))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_word_makes_it_worse_and_never_better() {
        use Verdict::{Inconclusive, Isolated, Leaks};
        let host = |verdict| FromHost { verdict, ..FromHost::judge(Ok(Default::default()), Vec::new()) };
        let inside =
            |verdict| FromInside { verdict, ..FromInside::judge(Findings::default(), None, Vec::new(), 0.0) };
        let judged = |seen, said: Option<Verdict>| {
            let slug = "t".parse().unwrap();
            let (host, inside) = (host(seen), said.map(inside));
            Judged::new(&slug, Some(host), inside, BTreeSet::new(), Vec::new(), false, 0.0)
        };
        for (seen, said, wanted) in [
            (Isolated, Some(Isolated), Isolated),
            (Isolated, None, Isolated),
            (Isolated, Some(Inconclusive), Inconclusive),
            (Isolated, Some(Leaks), Leaks),
            (Inconclusive, Some(Isolated), Inconclusive),
            (Inconclusive, None, Inconclusive),
            (Inconclusive, Some(Leaks), Leaks),
            (Leaks, Some(Isolated), Leaks),
            (Leaks, Some(Inconclusive), Leaks),
            (Leaks, None, Leaks),
        ] {
            let judged = judged(seen, said);
            assert_eq!(judged.verdict(), wanted, "{seen:?} {said:?}");
            assert_eq!(judged.by_the_guests_word, wanted == Leaks && seen != Leaks, "{seen:?} {said:?}");
        }
    }
}
