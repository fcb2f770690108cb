//! One subject, judged in a process of its own.

use super::subject::Subject;
use super::verdict::{self, Judged};
use super::world::World;
use crate::ground::{Ground, Guest};
use crate::outer;
use crate::place::Place;
use crate::processes::ended_or_killed;
use anyhow::{Context, Result, bail};
use bottle_host::process::die_with_parent;
use bottle_verify::judge::Verdict;
use clap::ValueEnum;
use rustix::process::Signal;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

/// Set in the network namespace that the harness made for its world.
const INSIDE: &str = "BOTTLE_HARNESS_WORLD";
/// Inconclusive runs are tried again, three times, and never count as isolated.
const TRIES: u32 = 4;
/// How long one may take: several times what it does, also under emulation.
const LIMIT: Duration = Duration::from_secs(150);
/// The sweep of every port, and a second guest beside it.
const WIDE_LIMIT: Duration = Duration::from_secs(300);

/// What to judge, and where the judgment is written.
#[derive(Clone, Debug, clap::Args)]
pub struct Judge {
    /// The subject
    #[arg(value_enum)]
    pub subject: Subject,
    /// The guest
    #[arg(long, value_enum)]
    pub guest: Guest,
    /// Take both walls of the subject `bottle` away
    #[arg(long)]
    pub sabotage: bool,
    /// The file that takes the judgment
    #[arg(long)]
    pub out: Option<PathBuf>,
}

impl Judge {
    /// Judges until there is a result either way, or there were tries enough.
    pub fn until_conclusive(&self, place: &Place, progress: &dyn Fn(&str)) -> Result<Judged> {
        let mut tries = 1;
        loop {
            progress(&format!("{} (attempt {tries} of {TRIES}) ...", self.subject.name()));
            let mut judged = self.once(place)?;
            judged.tries = tries;
            if judged.verdict != Verdict::Inconclusive || tries == TRIES || self.never_conclusive(&judged) {
                return Ok(judged);
            }
            tries += 1;
        }
    }

    /// A control that was asked everything and leaked nothing: another run would say the same.
    fn never_conclusive(&self, judged: &Judged) -> bool {
        self.subject.is_stock() && !judged.probes.is_empty()
    }

    fn once(&self, place: &Place) -> Result<Judged> {
        let limit =
            if matches!(self.subject, Subject::Bottle | Subject::Kernel) { WIDE_LIMIT } else { LIMIT };
        let written = if self.guest == Guest::Real && !outer::has_kvm() {
            outer::run_for_result(place, &self.words(place, outer::RESULT.into())?, limit)?
        } else {
            self.here(place, limit)?
        };
        let gone = || {
            let why = format!("it froze or died within {} s", limit.as_secs());
            Ok(Judged::inconclusive(self.subject, self.guest, why))
        };
        written.map_or_else(gone, |text| serde_json::from_slice(&text).context("the judgment"))
    }

    fn words(&self, place: &Place, out: OsString) -> Result<Vec<OsString>> {
        let name =
            |value: Option<clap::builder::PossibleValue>| value.map(|value| value.get_name().to_owned());
        let guest = name(self.guest.to_possible_value()).context("a guest without a name")?;
        let mut words: Vec<OsString> = vec![place.program("bottle-harness")?.into()];
        words.extend(["judge".into(), self.subject.name().into(), "--guest".into(), guest.into()]);
        words.extend(["--out".into(), out]);
        words.extend(self.sabotage.then(|| "--sabotage".into()));
        Ok(words)
    }

    fn here(&self, place: &Place, limit: Duration) -> Result<Option<Vec<u8>>> {
        let out = tempfile::NamedTempFile::new()?;
        let words = self.words(place, out.path().into())?;
        let [program, words @ ..] = words.as_slice() else { bail!("no program") };
        let mut command = Command::new(program);
        command.args(words);
        die_with_parent(&mut command, Signal::TERM);
        let mut child = command.spawn()?;
        if ended_or_killed(&mut child, limit)?.is_none() {
            return Ok(None);
        }
        let written = fs::read(out.path())?;
        Ok((!written.is_empty()).then_some(written))
    }
}

/// Judges one subject here, in a namespace made for it.
///
/// # Errors
/// Where the world cannot be made, or the judgment cannot be written.
pub fn judge(place: &Place, job: &Judge) -> Result<ExitCode> {
    let out = job.out.clone().context("--out is missing")?;
    if std::env::var_os(INSIDE).is_none() {
        return in_a_namespace(place, &job.words(place, out.into())?);
    }
    let world = World::new()?;
    let since = Instant::now();
    // The harness must be able to find a hole in bottle itself: with sabotage, there is one.
    let built = if job.sabotage && job.subject == Subject::Bottle { Subject::Neither } else { job.subject };
    let probed = Ground::new(place, job.guest).and_then(|ground| built.probe(&ground, &world));
    // What is still under way has its time to arrive.
    thread::sleep(Duration::from_millis(200));
    let judged = verdict::judge(job.subject, job.guest, &world, probed, since.elapsed());
    fs::write(out, serde_json::to_vec(&judged)?)?;
    Ok(ExitCode::SUCCESS)
}

/// The world needs addresses and a resolver of its own; so it gets a namespace of its own.
fn in_a_namespace(place: &Place, words: &[OsString]) -> Result<ExitCode> {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.args(words).env(INSIDE, "1").envs(place.environment(&[])?);
    die_with_parent(&mut command, Signal::KILL);
    let status = command.status().context("unshare")?;
    match status.code() {
        Some(code) => Ok(ExitCode::from(u8::try_from(code)?)),
        None => bail!("the world ended with {status}"),
    }
}
