//! `bottle run --out`: a run whose results are kept.

use super::context::Context;
use super::run::{self, Extra, Prepared, is_a_bottle};

use crate::args::{KeptRun, Size};
use crate::config::Config;
use crate::config::found::shown;
use crate::config::named::{Named, Use};
use crate::config::paths::{OnDisk, Site};
use crate::job::claim::Claim;
use crate::job::finish;
use crate::job::folder::Results;
use crate::job::job::{Examine, GRACE, Job, Limits};
use crate::job::output;
use crate::job::result::{Reason, RunResult};
use crate::lifecycle::run::Ran;
use crate::lifecycle::signals::{Ended, Events};
use crate::verification::{self, How};
use bottle_core::execution::SHELL;
use bottle_core::plan::Volume;
use bottle_core::slug::Slug;
use bottle_core::specification::Workspace;
use bottle_core::text::MountPath;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::{Home, network_filesystem};
use bottle_host::workspace::MOST;
use bottle_host::{out, random};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Where the guest finds the folder of `--in`.
const INPUT: &str = "/in";
/// How long a killed run of the same name may take to be finished.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to keep of a run.
pub struct Kept {
    out: PathBuf,
    input: Option<PathBuf>,
    id: String,
    verify: bool,
    limits: Limits,
}

impl Kept {
    /// Returns what to keep, if anything is.
    ///
    /// # Errors
    /// Returns an error if a random ID is wanted, and this machine has no random bytes.
    pub fn of(how: KeptRun) -> Outcome<Option<Self>> {
        let KeptRun { out, input, id, verify, max_size, max_output } = how;
        let bytes = |size: Option<Size>, usual: u64| size.map_or(usual, |Size(bytes)| bytes);
        let limits = Limits { output: bytes(max_output, output::MOST), changes: bytes(max_size, MOST) };
        let Some(out) = out else { return Ok(None) };
        let id = id.map_or_else(random::hex::<4>, Ok)?;
        Ok(Some(Self { out, input, id, verify, limits }))
    }
}

pub fn run(
    context: &Context,
    slug: Option<Slug>,
    extra: &Extra,
    kept: &Kept,
    command: &[String],
) -> Outcome<ExitCode> {
    is_a_bottle(context, slug.as_ref(), command)?;
    let mut config = context.config_of_project()?;
    is_read_only(&config)?;
    if let Some(input) = &kept.input {
        add_input(&mut config, input, context.insisted)?;
    }
    let home = Home::find()?;
    tell_of_network(&home);
    finish::all(&home)?;
    let configured = context.configured_as(config, slug, |slug| slug.for_run(&kept.id))?;
    let prepared = Prepared::of(context, configured, extra)?;
    let Prepared { slug, config, folder, tools, .. } = &prepared;
    // One of this name may be finished by somebody else just now.
    finish::one(folder, PATIENCE)?;
    let words = if command.is_empty() { vec![SHELL.to_owned()] } else { command.to_vec() };
    let project = Context::project(config)?;
    let mut result = RunResult::begun(slug.clone(), kept.id.clone(), words, project);
    result.digests.configuration = config.file.as_ref().map(crate::config::Found::digest);
    // From here on, a signal ends the run, and the results say so.
    let events = Events::catch()?;
    let claim = Claim::of(folder)?;
    let results = match Results::create(&kept.out, &result) {
        Ok(results) => results,
        Err(failure) => {
            claim.end()?;
            return Err(failure);
        }
    };
    // The keeper is ready before the guest is, and this half needs no guest.
    let from_host = How { every_port: false, host_only: true };
    let examine = || verification::verify(folder, from_host, &|_| {});
    let examine = kept.verify.then_some(&examine as Examine);
    let job = Job::new(folder, tools, results, result, kept.limits, examine);
    let ended =
        job.begin().and_then(|()| prepared.carry_out(context, extra, command, GRACE, Some((&job, events))));
    let reason = reason(&ended);
    let status = ended.and_then(|ran| run::status(context, &ran.ended?));
    let (reason, number) = match &status {
        Ok(number) => (reason, *number),
        Err(failure) => (Reason::Failed, failure.kind().status()),
    };
    let said = job.end(reason, Some(number), status.as_ref().err());
    claim.end()?;
    said?;
    context.say(&format!("the results of {slug} are in {}", shown(&kept.out)));
    status.map(ExitCode::from)
}

fn reason(ended: &Outcome<Ran>) -> Reason {
    match ended.as_ref().map(|ran| &ran.ended) {
        Ok(Ok((Ended::Status(_), _))) => Reason::Exited,
        Ok(Ok((Ended::Signal(_), _))) => Reason::Terminated,
        Ok(Ok((Ended::Late, _))) => Reason::TimedOut,
        _ => Reason::Failed,
    }
}

/// Refuses a configuration that lets the guest write where other runs read.
fn is_read_only(config: &Config) -> Outcome {
    let is_shared = matches!(config.workspace, Workspace::Shared { writable: true, .. });
    let written = config.writable().next();
    let Some(path) = written else { return Ok(()) };
    let what = if is_shared { "the project" } else { "a folder" };
    Err(Failure::new(Kind::Usage, format!("the guest could write to {what}, {}", shown(Path::new(path))))
        .help("with --out, runs share what they start from: `[workspace] mode = \"copy\"`, and no volume with `writable = true`"))
}

/// Adds the folder of `--in` to what the guest gets, as if `bottle.toml` named it.
fn add_input(config: &mut Config, input: &Path, insisted: bool) -> Outcome {
    let usage = |what: String| Failure::new(Kind::Usage, format!("--in: {what}"));
    let guest: MountPath = INPUT.parse().map_err(anyhow::Error::from)?;
    let is_taken = |volume: &Volume| Path::new(volume.guest.as_str()).starts_with(INPUT);
    if config.guest.volumes.iter().any(is_taken) {
        return Err(usage(format!("bottle.toml has a volume at {INPUT} already"))
            .help("move that volume elsewhere in the guest"));
    }
    let written = std::path::absolute(input).map_err(|error| usage(error.to_string()))?;
    let site = Site { project: config.project.clone(), disk: &OnDisk, insisted };
    let host = site.shared(&written, &config.allow_sensitive, &mut config.exposed).map_err(|refused| {
        let failure = usage(refused.what);
        match refused.help {
            Some(help) => failure.help(help),
            None => failure,
        }
    })?;
    let real = Some(PathBuf::from(host.as_str()));
    config.paths.push(Named { is_for: Use::Volume, writable: false, written, real });
    config.guest.volumes.push(Volume { host, guest, writable: false });
    Ok(())
}

/// Says that a state folder is one that other machines could have, too.
fn tell_of_network(home: &Home) {
    if let Some(name) = network_filesystem(home.state()) {
        out::note(format_args!(
            "the state folder {} is on {name}, which machines may share; --state-dir names one on this machine",
            shown(home.state())
        ));
    }
}
