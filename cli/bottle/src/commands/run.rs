//! `bottle run`: runs a command in a bottle that is gone afterwards.

use super::context::Context;
use super::image;
use crate::command_line;
use crate::config::Config;
use crate::describe::wide_open;
use crate::ended::TIMED_OUT;
use crate::job::job::Job;
use crate::layer;
use crate::lifecycle::companion::Companion;
use crate::lifecycle::run::{Contact, Ran, Run};
use crate::lifecycle::signals::{Ended, Events, GRACE, Patience, with_last_words};
use crate::progress::Steps;
use bottle_core::egress::{HostPattern, HostRule};
use bottle_core::execution::SHELL;
use bottle_core::slug::Slug;
use bottle_core::specification::SetupKeep;
use bottle_guest::status::exit_number;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::out;
use bottle_host::state::{Folder, Home};
use bottle_host::tools::{Tools, in_path};
use bottle_sidecars::egress::public_suffix::{self, TooWide};
use std::process::ExitCode;
use std::time::Duration;

/// Options that add to the configuration.
pub struct Extra {
    pub allow: Vec<String>,
    pub allow_private: Vec<String>,
    pub trust: Option<String>,
    pub timeout: Option<Duration>,
}

pub fn run(context: &Context, slug: Option<Slug>, extra: &Extra, command: &[String]) -> Outcome<ExitCode> {
    is_a_bottle(context, slug.as_ref(), command)?;
    let is_named = slug.is_some();
    let (mut slug, config) = context.configured(slug)?;
    if !is_named && let Some(other) = beside(&Home::find()?, &slug) {
        context.say(&format!(
            "there is a bottle {slug}: this runs beside it, as {other}; `bottle exec {slug} -- COMMAND` runs in {slug}"
        ));
        slug = other;
    }
    let prepared = Prepared::of(context, (slug, config), extra)?;
    let ran = prepared.carry_out(context, extra, command, GRACE, None)?;
    let slug = &prepared.slug;
    if ran.changed > 0 {
        context.say(&format!(
            "the guest changed {} paths of its copy, which stays: `bottle diff {slug}` shows them, `bottle apply {slug}` takes them back",
            ran.changed
        ));
    }
    status(context, &ran.ended?).map(ExitCode::from)
}

/// A run, checked as far as it can be before anything is fetched.
pub struct Prepared {
    pub slug: Slug,
    pub config: Config,
    pub home: Home,
    pub folder: Folder,
    pub tools: Tools,
}

impl Prepared {
    pub fn of(context: &Context, (slug, mut config): (Slug, Config), extra: &Extra) -> Outcome<Self> {
        extra.apply(&mut config)?;
        if !config.setup.is_empty() && layer::keep(&config)? == SetupKeep::Disk {
            let what = "this [guest] setup is kept on a bottle's disk, and a run has none";
            return Err(Failure::new(Kind::Usage, what).help(format!(
                "`bottle up {slug}`, then `bottle exec {slug} -- COMMAND`; with an image from a registry, `setup-keep = \"image\"` \
                 serves runs, too"
            )));
        }
        if !config.publish.is_empty() {
            context.say(&format!("a run publishes no port; `bottle up {slug}` does"));
            config.publish.clear();
        }
        let tools = Tools::find(config.stack)?;
        let home = Home::find()?;
        let folder = home.bottle(&slug);
        context.trust(&folder, &config, extra.trust.as_deref(), &context.again("run"))?;
        if let Some(said) = wide_open(&slug, &config.egress) {
            out::note(said);
        }
        Ok(Self { slug, config, home, folder, tools })
    }

    /// Runs the command to its end. A signal takes everything down. With a job, the caller has the name's lock.
    pub fn carry_out(
        &self,
        context: &Context,
        extra: &Extra,
        command: &[String],
        grace: Duration,
        job: Option<(&Job<'_>, Events)>,
    ) -> Outcome<Ran> {
        let Self { config, home, folder, tools, .. } = self;
        let ready = || image::ready(context, home, config, false, None);
        let (image, job, early) = match job {
            // Nothing is under way yet, so a signal ends this process, and what has arrived stays.
            None => (ready()?, None, None),
            // The results have begun, and say why they end.
            Some((job, events)) => match with_last_words(&events, ready, |signal| job.told(signal)) {
                Ok(image) => (image, Some(job), Some(events)),
                Err(failure) => return told(failure, &events).map(Ran::without_machine),
            },
        };
        let shell = [SHELL.to_owned()];
        let run = Run {
            home,
            folder,
            project: &Context::project(config)?,
            config,
            tools,
            insisted: extra.trust.is_some(),
            command: if command.is_empty() { &shell } else { command },
            patience: Patience { limit: extra.timeout, grace },
            is_claimed: job.is_some(),
            companion: job.map(|job| job as &dyn Companion),
        };
        // From here on, a signal goes through the machine's loop, and everything is taken down.
        let events = early.map_or_else(Events::catch, Ok)?;
        context.progress(&format!("starting {}", folder.slug()));
        let steps = Steps::measured(context.voice(), folder.slug().as_str());
        let ran = run.carry_out(&events, &|what| steps.step(what));
        drop((steps, image));
        match ran {
            Ok(Ran { ended: Err(failure), changed }) => Ok(Ran { ended: told(failure, &events), changed }),
            Err(failure) => told(failure, &events).map(Ran::without_machine),
            ran => ran,
        }
    }
}

/// Returns a failure, unless it is only that a part of the run had ended already when a signal came for all of it.
fn told(failure: Failure, events: &Events) -> Outcome<(Ended, Contact)> {
    let may_be = matches!(failure.kind(), Kind::Guest | Kind::Internal | Kind::Unavailable);
    match may_be.then(|| events.signal_on_its_way()).flatten() {
        Some(signal) => Ok((Ended::Signal(signal), Contact::Never)),
        None => Err(failure),
    }
}

/// Returns the status of a run that has ended.
pub fn status(context: &Context, ended: &(Ended, Contact)) -> Outcome<u8> {
    match *ended {
        (Ended::Late, _) => {
            context.say("the time of the run is over: it was ended");
            Ok(TIMED_OUT)
        }
        (Ended::Signal(signal), _) => Ok(128_u8.saturating_add(signal)),
        (Ended::Status(status), contact) if contact == Contact::Made || status.success() => {
            Ok(exit_number(status))
        }
        (Ended::Status(status), Contact::Unknown) => Err(Failure::new(
            Kind::Internal,
            format!("the bottle's keeper ended before its guest ({status})"),
        )
        .help("try again; `bottle doctor` checks this machine")),
        (Ended::Status(status), _) => {
            Err(Failure::new(Kind::Guest, format!("the guest did not start ({status})"))
                .help("try again; `bottle doctor` checks this machine"))
        }
    }
}

/// Returns the first free name for a run beside the project's own bottle, if there is one. A run is gone afterwards, so
/// it does not need the bottle's own name.
fn beside(home: &Home, slug: &Slug) -> Option<Slug> {
    let is_taken = |slug: &Slug| {
        let folder = home.bottle(slug);
        folder.has_keeper() || folder.machine_smolfile().exists()
    };
    if !is_taken(slug) {
        return None;
    }
    let others = (2..100).filter_map(|number| format!("{slug}-{number}").parse().ok());
    // What an earlier run changed and nobody has taken back belongs to that run.
    others.into_iter().find(|other| !is_taken(other) && !home.bottle(other).copy().exists())
}

/// Refuses a program's name in place of a bottle's: `bottle run uname` is not meant to create a bottle called
/// `uname`.
///
/// # Errors
/// Returns [`Kind::Usage`] with the command line that was probably meant.
pub fn is_a_bottle(context: &Context, named: Option<&Slug>, command: &[String]) -> Outcome {
    let Some(name) = named.filter(|_| command.is_empty()) else { return Ok(()) };
    if in_path(name.as_str()).is_none() || Home::find()?.bottle(name).exists() {
        return Ok(());
    }
    // A project may have the same name as a program.
    let here = Context::here()?;
    if context.config().and_then(|config| config.slug(None, &here)).is_ok_and(|slug| slug == *name) {
        return Ok(());
    }
    let meant = command_line::dashed().unwrap_or_else(|| format!("bottle run -- {name}"));
    Err(Failure::new(Kind::Usage, format!("there is no bottle {name}, and {name} is a program")).help(
        format!(
            "did you mean `{meant}`? For a shell in a bottle of that name: `bottle run {name} -- {SHELL}`"
        ),
    ))
}

impl Extra {
    fn apply(&self, config: &mut Config) -> Outcome {
        let usage = |option: &str, error: String| {
            Failure::new(Kind::Usage, format!("{option}: {error}"))
                .help("`bottle run --help` says which forms a host can have")
        };
        let narrow = |option: &str, checked: Result<(), TooWide>| {
            checked.map_err(|wide| usage(option, wide.to_string()).help(wide.help()))
        };
        for host in &self.allow {
            let rule: HostRule = host.parse().map_err(|error| usage("--allow", format!("{error}")))?;
            narrow("--allow", public_suffix::check(&rule.pattern))?;
            config.egress.allow.push(rule);
        }
        for host in &self.allow_private {
            let pattern: HostPattern =
                host.parse().map_err(|error| usage("--allow-private", format!("{error}")))?;
            narrow("--allow-private", public_suffix::check_named(&pattern))?;
            config.egress.allow_private.push(pattern);
        }
        Ok(())
    }
}
