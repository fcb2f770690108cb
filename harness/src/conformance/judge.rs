//! Judges one subject in a separate process.

use super::canaries::HostCanaries;
use super::subject::Subject;
use super::verdict::{self, Judged};
use crate::checkout::Checkout;
use crate::environment::{Environment, Guest};
use crate::outer;
use crate::processes::wait_or_kill;
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

/// The variable that is set inside the namespaces that the harness created for its canaries.
const INSIDE: &str = "BOTTLE_HARNESS_INSIDE";
/// How many runs there are at most. An inconclusive run is repeated, and never counts as isolated.
const TRIES: u32 = 4;
/// How long a run may take: several times as long as it usually takes, even under emulation.
const LIMIT: Duration = Duration::from_secs(150);
/// The same for a sweep of every port with a second guest.
const WIDE_LIMIT: Duration = Duration::from_secs(300);

/// What to judge, and where to write the judgment.
#[derive(Clone, Debug, clap::Args)]
pub struct Judge {
    /// The subject
    #[arg(value_enum)]
    pub subject: Subject,
    /// The kind of guest
    #[arg(long, value_enum)]
    pub guest: Guest,
    /// Take away both walls of the subject `bottle`
    #[arg(long)]
    pub sabotage: bool,
    /// Write the judgment to this file
    #[arg(long)]
    pub out: Option<PathBuf>,
}

impl Judge {
    /// Judges until the result is conclusive, or the tries are used up.
    pub fn until_conclusive(&self, checkout: &Checkout, progress: &dyn Fn(&str)) -> Result<Judged> {
        let mut tries = 1;
        loop {
            progress(&format!("{} (attempt {tries} of {TRIES}) ...", self.subject.name()));
            let mut judged = self.once(checkout)?;
            judged.tries = tries;
            if judged.verdict != Verdict::Inconclusive || tries == TRIES || self.never_conclusive(&judged) {
                return Ok(judged);
            }
            let why = judged.inconclusive_because.unwrap_or_default();
            progress("");
            eprintln!("{}: attempt {tries} of {TRIES} was inconclusive: {why}", self.subject.name());
            tries += 1;
        }
    }

    /// Returns whether a control was asked everything and leaked nothing, so that another run would give the
    /// same result.
    fn never_conclusive(&self, judged: &Judged) -> bool {
        self.subject.is_stock() && !judged.probes.is_empty()
    }

    fn once(&self, checkout: &Checkout) -> Result<Judged> {
        let limit =
            if matches!(self.subject, Subject::Bottle | Subject::Sockets) { WIDE_LIMIT } else { LIMIT };
        let written = if self.guest == Guest::Real && !outer::has_kvm() {
            outer::run_for_result(checkout, &self.words(checkout, outer::RESULT.into())?, limit)?
        } else {
            self.here(checkout, limit)?
        };
        let lost = || {
            let why = format!("it froze or died within {} s", limit.as_secs());
            Ok(Judged::inconclusive(self.subject, self.guest, why))
        };
        written.map_or_else(lost, |text| serde_json::from_slice(&text).context("the judgment"))
    }

    fn words(&self, checkout: &Checkout, out: OsString) -> Result<Vec<OsString>> {
        let name =
            |value: Option<clap::builder::PossibleValue>| value.map(|value| value.get_name().to_owned());
        let guest = name(self.guest.to_possible_value()).context("a guest without a name")?;
        let mut words: Vec<OsString> = vec![checkout.program("bottle-harness")?.into()];
        words.extend(["judge".into(), self.subject.name().into(), "--guest".into(), guest.into()]);
        words.extend(["--out".into(), out]);
        words.extend(self.sabotage.then(|| "--sabotage".into()));
        Ok(words)
    }

    fn here(&self, checkout: &Checkout, limit: Duration) -> Result<Option<Vec<u8>>> {
        let out = tempfile::NamedTempFile::new()?;
        let words = self.words(checkout, out.path().into())?;
        let [program, words @ ..] = words.as_slice() else { bail!("no program") };
        let mut command = Command::new(program);
        command.args(words);
        die_with_parent(&mut command, Signal::TERM);
        let mut child = command.spawn()?;
        if wait_or_kill(&mut child, limit)?.is_none() {
            return Ok(None);
        }
        let written = fs::read(out.path())?;
        Ok((!written.is_empty()).then_some(written))
    }
}

/// Judges one subject here, in a namespace created for it.
///
/// # Errors
/// Returns an error if the namespace cannot be made, or the judgment cannot be written.
pub fn judge(checkout: &Checkout, job: &Judge) -> Result<ExitCode> {
    let out = job.out.clone().context("--out is missing")?;
    if std::env::var_os(INSIDE).is_none() {
        return in_a_namespace(checkout, &job.words(checkout, out.into())?);
    }
    let canaries = HostCanaries::new()?;
    let since = Instant::now();
    // The harness must be able to find a hole in bottle itself. Sabotage makes one.
    let real = if job.sabotage && job.subject == Subject::Bottle { Subject::Neither } else { job.subject };
    let probed =
        Environment::new(checkout, job.guest).and_then(|environment| real.probe(&environment, &canaries));
    // Let whatever is still under way arrive.
    thread::sleep(Duration::from_millis(200));
    let judged = verdict::judge(job.subject, job.guest, &canaries, probed, since.elapsed());
    fs::write(out, serde_json::to_vec(&judged)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a command in its own namespaces, because the canaries need addresses and a resolver.
fn in_a_namespace(checkout: &Checkout, words: &[OsString]) -> Result<ExitCode> {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.args(words).env(INSIDE, "1").envs(checkout.variables(&[])?);
    die_with_parent(&mut command, Signal::KILL);
    let status = command.status().context("unshare")?;
    match status.code() {
        Some(code) => Ok(ExitCode::from(u8::try_from(code)?)),
        None => bail!("the namespace's command ended with {status}"),
    }
}
