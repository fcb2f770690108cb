//! The ways back: does anything that a guest says or leaves behind act on the host?
//!
//! A hostile guest attacks during an operator's ordinary working day. Each [`attack::Attack`] is run twice:
//! against bottle as it is, which must hold, and with the one defence against it switched off
//! ([`bottle_host::defence`]), where it must succeed. The second run is the witness: without it, a green
//! first run means nothing. A [`target::Target`] is attacked, and judges the attack from outside.

pub mod attack;
pub mod attacks;
pub mod target;

use crate::checkout::Checkout;
use crate::environment::Guest;
use crate::outer;
use anyhow::Result;
use attack::{Attack, Needs};
use bottle_host::defence::Defence;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use target::{Target, Verdict};

/// The attacks that a real guest makes, too. A guest under emulation takes half a minute to boot, and each
/// attack boots two, so there is one for each way back that a virtual machine could change.
const ALSO_REAL: [&str; 4] =
    ["cp-file-becomes-hook", "config-says-it-is-safe", "shown-name-forges-a-row", "verify-endless-line"];

/// Which attacks to make.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The kind of guest [default: both]
    #[arg(long, value_enum)]
    guest: Option<Guest>,
    /// Make only these attacks
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Leave out the long attacks
    #[arg(long)]
    quick: bool,
    /// Write the report to this file instead of printing it
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Makes the attacks and prints their results.
///
/// # Errors
/// Returns an error if the report cannot be written.
pub fn main(checkout: &Checkout, options: &Options) -> Result<ExitCode> {
    // Whoever reads the report prints it.
    let say = |line: &str| {
        if options.out.is_none() {
            println!("{line}");
        }
    };
    let mut results = Vec::new();
    for guest in Guest::or_both(options.guest) {
        results.extend(attack(checkout, guest, options.quick, &options.only, &say));
    }
    if let Some(path) = &options.out {
        fs::write(path, serde_json::to_vec_pretty(&results)?)?;
    }
    Ok(if !results.is_empty() && results.iter().all(AttackResult::is_as_expected) {
        ExitCode::SUCCESS
    } else if results.iter().all(|result| result.is_as_expected() || result.is_inconclusive()) {
        ExitCode::from(outer::INCONCLUSIVE)
    } else {
        ExitCode::FAILURE
    })
}

/// Makes the attacks that this guest can make. Reports each result, and a one-line summary.
pub fn attack(
    checkout: &Checkout,
    guest: Guest,
    quick: bool,
    only: &[String],
    say: Say,
) -> Vec<AttackResult> {
    let wanted = |attack: &Attack| {
        let fits = match (guest, attack.needs) {
            (Guest::Namespace, Needs::Any) => true,
            (Guest::Namespace, Needs::Long) => !quick,
            (Guest::Namespace, Needs::Machine) => false,
            (Guest::Real, needs) => needs == Needs::Machine || ALSO_REAL.contains(&attack.name),
        };
        if only.is_empty() { fits } else { only.iter().any(|name| name == attack.name) }
    };
    let attacks: Vec<Attack> = attacks::all().into_iter().filter(wanted).collect();
    let results = make_all(checkout, guest, &attacks, say);
    for result in results.iter().filter(|result| !result.is_as_expected()) {
        let AttackResult { name, held, witness, defence, .. } = result;
        say(&format!("{name}: {held}; without {defence}: {witness}"));
    }
    say(&summary(&results));
    results
}

/// Receives progress and results, line by line.
pub type Say<'s> = &'s (dyn Fn(&str) + Sync);

/// Sums up the attacks in one line.
pub fn summary(results: &[AttackResult]) -> String {
    let held = results.iter().filter(|result| result.held == Verdict::Held).count();
    let seen = results.iter().filter(|result| result.witness.is_success()).count();
    format!("ways-back: {} attacks, {held} held, {seen} witnesses seen", results.len())
}

/// Makes three attacks at a time on stand-ins, which mostly wait. A real guest has the machine to itself.
fn make_all(checkout: &Checkout, guest: Guest, attacks: &[Attack], say: Say) -> Vec<AttackResult> {
    let workers = if guest == Guest::Namespace { 3 } else { 1 };
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(attack) = attacks.get(next.fetch_add(1, Relaxed)) {
                    let result = attack.until_conclusive(checkout, guest);
                    say(&result.row());
                    results.lock().unwrap_or_else(PoisonError::into_inner).push(result);
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by(|a, b| a.name.cmp(&b.name));
    results
}

/// The result of one attack. This is an element of `ways_back` in `report.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AttackResult {
    /// The attack.
    pub name: String,
    /// The kind of guest that made it.
    pub guest: Guest,
    /// The defence against it.
    pub defence: String,
    /// The verdict with the defence.
    pub held: Verdict,
    /// The verdict without the defence.
    pub witness: Verdict,
    /// How long both runs took.
    pub seconds: f64,
}

impl AttackResult {
    /// Returns whether the attack was held, and succeeded without the defence.
    pub fn is_as_expected(&self) -> bool {
        self.held == Verdict::Held && self.witness.is_success()
    }

    /// Returns whether one of the runs proves nothing either way.
    pub fn is_inconclusive(&self) -> bool {
        self.held.is_inconclusive() || self.witness.is_inconclusive()
    }

    fn row(&self) -> String {
        let Self { name, defence, held, witness, seconds, .. } = self;
        format!("{name:<36} {defence:<18} {:<10} {:<10} {seconds:>6.1} s", held.word(), witness.word())
    }
}

impl Attack {
    /// Makes the attack with the defence and without it, and repeats that if it proves nothing: a guest under
    /// emulation sometimes dies, and some attacks are races.
    fn until_conclusive(&self, checkout: &Checkout, guest: Guest) -> AttackResult {
        const TRIES: u32 = 3;
        let mut tries = 1;
        loop {
            let result = if guest == Guest::Real && !outer::has_kvm() {
                self.in_outer_machine(checkout)
            } else {
                self.both_ways(checkout, guest)
            };
            // An attack that succeeded is never tried again. One that also failed without the defence may
            // have lost a race, and proves nothing yet.
            if tries == TRIES || result.is_as_expected() || result.held.is_success() {
                return result;
            }
            tries += 1;
        }
    }

    fn both_ways(&self, checkout: &Checkout, guest: Guest) -> AttackResult {
        let since = Instant::now();
        let held = self.once(checkout, guest, None);
        let witness = self.once(checkout, guest, Some(self.defence));
        self.result(guest, held, witness, since)
    }

    fn result(&self, guest: Guest, held: Verdict, witness: Verdict, since: Instant) -> AttackResult {
        let (name, defence) = (self.name.to_owned(), self.defence.name().to_owned());
        AttackResult { name, guest, defence, held, witness, seconds: since.elapsed().as_secs_f64() }
    }

    fn once(&self, checkout: &Checkout, guest: Guest, without: Option<Defence>) -> Verdict {
        let verdict = Target::new(checkout, guest, without).and_then(|mut target| {
            let verdict = (self.run)(&mut target);
            target.judge(verdict)
        });
        verdict.unwrap_or_else(|error| Verdict::Inconclusive(format!("{error:#}")))
    }

    /// Makes the attack in its own outer machine, so that a freeze affects nothing else.
    fn in_outer_machine(&self, checkout: &Checkout) -> AttackResult {
        let since = Instant::now();
        let results = || -> Result<Option<Vec<AttackResult>>> {
            let words = ["ways-back", "--guest", "real", "--only", self.name, "--out", outer::RESULT];
            let program = OsString::from(checkout.program("bottle-harness")?);
            let words: Vec<OsString> =
                std::iter::once(program).chain(words.into_iter().map(OsString::from)).collect();
            let written = outer::run_for_result(checkout, &words, REAL_LIMIT)?;
            Ok(written.map(|text| serde_json::from_slice(&text)).transpose()?)
        };
        let why = match results() {
            Ok(Some(results)) => match results.into_iter().next() {
                Some(result) => return result,
                None => "no attack was made".to_owned(),
            },
            Ok(None) => format!("it froze or died within {} s", REAL_LIMIT.as_secs()),
            Err(error) => format!("{error:#}"),
        };
        let verdict = Verdict::Inconclusive(why);
        self.result(Guest::Real, verdict.clone(), verdict, since)
    }
}

/// How long an attack by a real guest may take, in both runs: several times as long as it usually takes.
const REAL_LIMIT: Duration = Duration::from_secs(240);
