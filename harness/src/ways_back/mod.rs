//! The ways back: does anything that a guest says or leaves behind act on the host?
//!
//! A hostile guest attacks while an operator does an ordinary day's work. Each [`Attack`] is run
//! twice: as bottle is, where it must be held, and with the one defence taken away that stands
//! against it ([`bottle::defence`]), where it must be seen to succeed. The second run is the
//! witness: without it a green first run means nothing. [`field`] is where an attack takes place,
//! and judges it from outside.

pub mod attacks;
pub mod field;

use crate::ground::Guest;
use crate::place::Place;
use anyhow::Result;
use bottle::defence::Defence;
use field::{Field, Verdict};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

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

/// Which attacks are made.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The guest
    #[arg(long, value_enum, default_value = "namespace")]
    pub guest: Guest,
    /// Only these attacks
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Leave out the long ones
    #[arg(long)]
    pub quick: bool,
    /// The file that takes the report
    #[arg(long)]
    pub out: Option<std::path::PathBuf>,
}

/// What came of one attack.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    /// The attack.
    pub name: &'static str,
    /// What stands against it.
    pub defence: &'static str,
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
}

/// Makes the attacks, and prints what came of each.
///
/// # Errors
/// Where nothing could be tried.
pub fn main(place: &Place, options: &Options) -> Result<ExitCode> {
    let wanted = |attack: &&Attack| {
        let fits = match attack.needs {
            Needs::Any => true,
            Needs::Long => options.guest == Guest::Namespace && !options.quick,
            Needs::Machine => options.guest == Guest::Real,
        };
        (options.only.is_empty() && fits) || options.only.iter().any(|name| name == attack.name)
    };
    let all = attacks::all();
    let attacks: Vec<&Attack> = all.iter().filter(wanted).collect();
    let tried = try_all(place, options.guest, &attacks);
    for tried in tried.iter().filter(|tried| !tried.as_it_must()) {
        println!("{}: {} (without {}: {})", tried.name, tried.held, tried.defence, tried.witness);
    }
    if let Some(path) = &options.out {
        write(path, &tried)?;
    }
    let held = tried.iter().filter(|tried| tried.held == Verdict::Held).count();
    let seen = tried.iter().filter(|tried| matches!(tried.witness, Verdict::Succeeded(_))).count();
    println!("ways-back: {} attacks, {held} held, {seen} witnesses seen", tried.len());
    let all_well = !tried.is_empty() && tried.iter().all(Tried::as_it_must);
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes the report: one element for each attack.
fn write(path: &Path, tried: &[Tried]) -> Result<()> {
    Ok(std::fs::write(path, serde_json::to_vec_pretty(&serde_json::json!({ "attacks": tried }))?)?)
}

/// Stand-ins mostly wait, so three are attacked at a time; a real guest has the machine to itself.
fn try_all(place: &Place, guest: Guest, attacks: &[&Attack]) -> Vec<Tried> {
    let workers = if guest == Guest::Namespace { 3 } else { 1 };
    let (next, tried) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(attack) = attacks.get(next.fetch_add(1, Relaxed)) {
                    let came = attack.both_ways(place, guest);
                    println!(
                        "{:<34} {:<18} {:<9} {:<9} {:>6.1} s",
                        came.name,
                        came.defence,
                        came.held.word(),
                        came.witness.word(),
                        came.seconds
                    );
                    tried.lock().unwrap_or_else(PoisonError::into_inner).push(came);
                }
            });
        }
    });
    let mut tried = tried.into_inner().unwrap_or_else(PoisonError::into_inner);
    tried.sort_by_key(|tried| tried.name);
    tried
}

impl Attack {
    fn both_ways(&self, place: &Place, guest: Guest) -> Tried {
        let since = Instant::now();
        let held = self.once(place, guest, None);
        let witness = self.once(place, guest, Some(self.defence));
        Tried {
            name: self.name,
            defence: self.defence.name(),
            held,
            witness,
            seconds: since.elapsed().as_secs_f64(),
        }
    }

    fn once(&self, place: &Place, guest: Guest, without: Option<Defence>) -> Verdict {
        let came = Field::new(place, guest, without).and_then(|mut field| {
            let said = (self.run)(&mut field);
            field.judge(said)
        });
        came.unwrap_or_else(|error| Verdict::Inconclusive(format!("{error:#}")))
    }
}
