//! What the host saw: the half of a verdict that no guest can forge.

use super::judge::Verdict;
use bottle_host::control::{Door, Examined};
use serde::Serialize;

/// What the host saw of a bottle's walls.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct FromHost {
    /// The verdict.
    pub verdict: Verdict,
    /// What was reached although it should not be, or passed the guard although it is for no door.
    pub leaks: Vec<String>,
    /// Why there is no verdict, if there is none.
    pub inconclusive_because: Option<String>,
    /// The number of frames that were sent.
    pub frames: u64,
    /// The number of refusals that were silences.
    pub hangs: u64,
    /// The doors, and why any of them did not answer.
    pub doors: Vec<Door>,
    /// How long the frames took.
    pub seconds: f64,
}

impl FromHost {
    /// Judges what became of the frames, and what reached the canaries by any route.
    pub fn judge(examined: Result<Examined, String>, canaries: Vec<String>) -> Self {
        let (examined, failed) = match examined {
            Ok(examined) => (examined, None),
            Err(why) => (Examined::default(), Some(why)),
        };
        let mut leaks = canaries;
        leaks.extend(examined.answered.iter().map(|what| format!("{what} answered, but is not a door")));
        leaks.extend(examined.passed.iter().map(|what| format!("{what} passed the guard")));
        let doubt = failed.or(examined.cut_short).or_else(|| examined.doors.iter().find_map(silence));
        let verdict = match (leaks.is_empty(), &doubt) {
            (false, _) => Verdict::Leaks,
            (true, Some(_)) => Verdict::Inconclusive,
            (true, None) => Verdict::Isolated,
        };
        Self {
            verdict,
            leaks,
            inconclusive_because: doubt,
            frames: examined.frames,
            hangs: examined.silent,
            doors: examined.doors,
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of seconds")]
            seconds: examined.ms as f64 / 1e3,
        }
    }
}

/// Returns why a silent door makes everything else meaningless: the guest's network may have been dead.
fn silence(door: &Door) -> Option<String> {
    let told = |when: &str, why: &Option<String>| {
        let why = why.as_ref()?;
        Some(format!("the door {} did not answer {when}: {why}", door.sidecar))
    };
    told("before", &door.before).or_else(|| told("after", &door.after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bottle_core::sidecar::Sidecar;

    fn whole() -> Examined {
        let door = Door { sidecar: Sidecar::Pipelock, port: 20_000, before: None, after: None };
        Examined { frames: 262_144, doors: vec![door], ..Examined::default() }
    }

    #[test]
    fn doors_have_to_answer_and_nothing_else_may() {
        let judge = |examined| FromHost::judge(Ok(examined), Vec::new()).verdict;
        assert_eq!(judge(whole()), Verdict::Isolated);
        let mut dead = whole();
        dead.doors[0].after = Some("nothing came back".to_owned());
        assert_eq!(judge(dead.clone()), Verdict::Inconclusive);
        // A leak is a leak, whatever else went wrong.
        dead.answered.push("tcp 192.168.127.1:80".to_owned());
        assert_eq!(judge(dead), Verdict::Leaks);
        assert_eq!(judge(Examined { passed: vec!["IPv6".to_owned()], ..whole() }), Verdict::Leaks);
        let seen = FromHost::judge(Ok(whole()), vec!["canary ::1 was reached".to_owned()]);
        assert_eq!(seen.verdict, Verdict::Leaks);
        let failed = FromHost::judge(Err("the keeper does not answer".to_owned()), Vec::new());
        assert_eq!(failed.verdict, Verdict::Inconclusive);
    }
}
