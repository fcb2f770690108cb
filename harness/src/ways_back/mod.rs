//! The ways back: does anything that a guest says or leaves behind act on the host?
//!
//! A hostile guest attacks while an operator does an ordinary day's work. Each [`Attack`] is run
//! twice: as bottle is, where it must be held, and with the one defence taken away that stands
//! against it ([`bottle_host::defence`]), where it must be seen to succeed. The second run is the
//! witness: without it a green first run means nothing. [`field`] is where an attack takes place,
//! and judges it from outside.

pub mod attacks;
pub mod field;

use crate::ground::Guest;
use crate::outer;
use crate::place::Place;
use anyhow::Result;
use bottle_host::defence::Defence;
use field::{Field, Verdict};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// One attack.
#[derive(Clone, Copy)]
pub struct Attack {
    /// Its name, in reports and on the command line.
    pub name: &'static str,
    /// What stands against it.
    pub defence: Defence,
    /// How much of a run it takes part in.
    pub needs: Needs,
    /// Carries it out, and says what came of it beyond what the field sees by itself.
    pub run: fn(&mut Field) -> Result<Verdict>,
}

impl Attack {
    /// One that any guest can make, quickly.
    pub fn new(name: &'static str, defence: Defence, run: fn(&mut Field) -> Result<Verdict>) -> Self {
        Self { name, defence, needs: Needs::Any, run }
    }
}

/// What an attack needs of its guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Any guest, the stand-in among them; quick enough for every test run.
    Any,
    /// The stand-in, and more than a few seconds: not part of the quick form.
    Long,
    /// A real virtual machine.
    Machine,
}

/// Attacks that are made on a real guest, too. A guest under emulation takes half a minute to boot, and
/// each attack boots two: these are one of each way back that a virtual machine could change.
const ALSO_REAL: [&str; 4] =
    ["cp-file-becomes-hook", "config-says-it-is-safe", "shown-name-forges-a-row", "verify-endless-line"];

/// Which attacks are made.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The guest: real ones, or the stand-in [default: both]
    #[arg(long, value_enum)]
    guest: Option<Guest>,
    /// Only these attacks
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Leave out the long ones
    #[arg(long)]
    quick: bool,
    /// The file that takes the report
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Makes the attacks, and prints what came of each.
///
/// # Errors
/// Where nothing could be tried.
pub fn main(place: &Place, options: &Options) -> Result<ExitCode> {
    let guests = options.guest.map_or(vec![Guest::Namespace, Guest::Real], |guest| vec![guest]);
    // Whoever takes the report prints it.
    let say = |line: &str| {
        if options.out.is_none() {
            println!("{line}");
        }
    };
    let mut tried = Vec::new();
    for guest in guests {
        tried.extend(attack(place, guest, options.quick, &options.only, &say));
    }
    if let Some(path) = &options.out {
        fs::write(path, serde_json::to_vec_pretty(&tried)?)?;
    }
    let unclear = |tried: &Tried| tried.held.is_unclear() || tried.witness.is_unclear();
    Ok(if !tried.is_empty() && tried.iter().all(Tried::as_it_must) {
        ExitCode::SUCCESS
    } else if tried.iter().all(|tried| tried.as_it_must() || unclear(tried)) {
        ExitCode::from(outer::INCONCLUSIVE)
    } else {
        ExitCode::FAILURE
    })
}

/// Makes the attacks that this guest can make, and says what came of each, and of all in one line.
pub fn attack(place: &Place, guest: Guest, quick: bool, only: &[String], say: Say) -> Vec<Tried> {
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
    let tried = try_all(place, guest, &attacks, say);
    for Tried { name, held, witness, defence, .. } in tried.iter().filter(|tried| !tried.as_it_must()) {
        say(&format!("{name}: {held}; without {defence}: {witness}"));
    }
    say(&summary(&tried));
    tried
}

/// Who is told what came of attacks, line by line.
pub type Say<'s> = &'s (dyn Fn(&str) + Sync);

/// All attacks in one line.
pub fn summary(tried: &[Tried]) -> String {
    let held = tried.iter().filter(|tried| tried.held == Verdict::Held).count();
    let seen = tried.iter().filter(|tried| matches!(tried.witness, Verdict::Succeeded(_))).count();
    format!("ways-back: {} attacks, {held} held, {seen} witnesses seen", tried.len())
}

/// Stand-ins mostly wait, so three are attacked at a time; a real guest has the machine to itself.
fn try_all(place: &Place, guest: Guest, attacks: &[Attack], say: Say) -> Vec<Tried> {
    let workers = if guest == Guest::Namespace { 3 } else { 1 };
    let (next, tried) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(attack) = attacks.get(next.fetch_add(1, Relaxed)) {
                    let came = attack.until_conclusive(place, guest);
                    say(&came.row());
                    tried.lock().unwrap_or_else(PoisonError::into_inner).push(came);
                }
            });
        }
    });
    let mut tried = tried.into_inner().unwrap_or_else(PoisonError::into_inner);
    tried.sort_by(|a, b| a.name.cmp(&b.name));
    tried
}

/// What came of one attack. This is an element of `ways_back` in `report.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tried {
    /// The attack.
    pub name: String,
    /// The guest that made it.
    pub guest: Guest,
    /// What stands against it.
    pub defence: String,
    /// What came of it as bottle is.
    pub held: Verdict,
    /// What came of it without the defence.
    pub witness: Verdict,
    /// How long both took.
    pub seconds: f64,
}

impl Tried {
    /// Whether it came out as it must, both ways.
    pub fn as_it_must(&self) -> bool {
        self.held == Verdict::Held && matches!(self.witness, Verdict::Succeeded(_))
    }

    fn row(&self) -> String {
        let Self { name, defence, held, witness, seconds, .. } = self;
        format!("{name:<36} {defence:<18} {:<10} {:<10} {seconds:>6.1} s", held.word(), witness.word())
    }
}

impl Attack {
    /// Makes it with the defence and without, and again where that shows nothing: a guest under
    /// emulation dies now and then, and some attacks are races.
    fn until_conclusive(&self, place: &Place, guest: Guest) -> Tried {
        const TRIES: u32 = 3;
        let mut tries = 1;
        loop {
            let tried = if guest == Guest::Real && !outer::has_kvm() {
                self.in_outer_machine(place)
            } else {
                self.both_ways(place, guest)
            };
            // An attack that succeeded is never tried again. One that failed without its defence, too, was
            // a race that it lost, perhaps: it shows nothing yet.
            let is_settled = tried.as_it_must() || matches!(tried.held, Verdict::Succeeded(_));
            if tries == TRIES || is_settled {
                return tried;
            }
            tries += 1;
        }
    }

    fn both_ways(&self, place: &Place, guest: Guest) -> Tried {
        let since = Instant::now();
        let held = self.once(place, guest, None);
        let witness = self.once(place, guest, Some(self.defence));
        self.tried(guest, held, witness, since)
    }

    fn tried(&self, guest: Guest, held: Verdict, witness: Verdict, since: Instant) -> Tried {
        let (name, defence) = (self.name.to_owned(), self.defence.name().to_owned());
        Tried { name, guest, defence, held, witness, seconds: since.elapsed().as_secs_f64() }
    }

    fn once(&self, place: &Place, guest: Guest, without: Option<Defence>) -> Verdict {
        let came = Field::new(place, guest, without).and_then(|mut field| {
            let said = (self.run)(&mut field);
            field.judge(said)
        });
        came.unwrap_or_else(|error| Verdict::Inconclusive(format!("{error:#}")))
    }

    /// In an outer machine of its own: what freezes takes nothing else along.
    fn in_outer_machine(&self, place: &Place) -> Tried {
        let since = Instant::now();
        let result = || -> Result<Option<Vec<Tried>>> {
            let words = ["ways-back", "--guest", "real", "--only", self.name, "--out", outer::RESULT];
            let program = OsString::from(place.program("bottle-harness")?);
            let words: Vec<OsString> =
                std::iter::once(program).chain(words.into_iter().map(OsString::from)).collect();
            let written = outer::run_for_result(place, &words, REAL_LIMIT)?;
            Ok(written.map(|text| serde_json::from_slice(&text)).transpose()?)
        };
        let why = match result() {
            Ok(Some(tried)) => match tried.into_iter().next() {
                Some(tried) => return tried,
                None => "it made no attack".to_owned(),
            },
            Ok(None) => format!("it froze or died within {} s", REAL_LIMIT.as_secs()),
            Err(error) => format!("{error:#}"),
        };
        let unclear = Verdict::Inconclusive(why);
        self.tried(Guest::Real, unclear.clone(), unclear, since)
    }
}

/// How long an attack on a real guest may take, both ways: several times what it does.
const REAL_LIMIT: Duration = Duration::from_secs(240);
