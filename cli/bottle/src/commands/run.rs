//! `bottle run`: runs a command in a bottle that is gone afterwards.

use super::context::Context;
use super::enter;
use super::image;
use crate::command_line;
use crate::config::Config;
use crate::lifecycle::run::Run;
use crate::lifecycle::signals::{Ended, Events};
use bottle_core::egress::{HostPattern, HostRule};
use bottle_core::execution::SHELL;
use bottle_core::slug::Slug;
use bottle_guest::status::exit_code;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::Home;
use bottle_host::tools::{Tools, in_path};
use bottle_sidecars::egress::public_suffix;
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
    let (slug, mut config) = context.configured(slug)?;
    extra.apply(&mut config)?;
    if !config.setup.is_empty() {
        let what = "[guest] setup is kept on a bottle's disk, and a run has none";
        return Err(Failure::new(Kind::Usage, what)
            .help(format!("`bottle up {slug}`, then `bottle exec {slug} -- COMMAND`")));
    }
    if !config.publish.is_empty() {
        context.say(&format!("a run publishes no port; `bottle up {slug}` does"));
        config.publish.clear();
    }
    let tools = Tools::find(config.stack)?;
    let home = Home::find()?;
    let folder = home.bottle(&slug);
    context.trust(&folder, &config, extra.trust.as_deref(), &context.again("run"))?;
    // Nothing is under way yet, so a signal ends this process, and what has arrived stays.
    let image = image::ready(context, &home, &config)?;
    let shell = [SHELL.to_owned()];
    let run = Run {
        home: &home,
        folder: &folder,
        project: &Context::project(&config)?,
        config: &config,
        tools: &tools,
        insisted: extra.trust.is_some(),
        command: if command.is_empty() { &shell } else { command },
        limit: extra.timeout,
    };
    // From here on, a signal goes through the machine's loop, and everything is taken down.
    let events = Events::catch()?;
    let ran = run.carry_out(&events, &|what| context.progress(what))?;
    drop(image);
    if ran.changed > 0 {
        context.say(&format!(
            "the guest changed {} paths of its copy, which stays: `bottle diff {slug}` shows them, `bottle apply {slug}` takes them back",
            ran.changed
        ));
    }
    match ran.ended? {
        (Ended::Late, _) => {
            context.say("the time of the run is over: it was ended");
            Ok(ExitCode::from(enter::TIMED_OUT))
        }
        (Ended::Signal(signal), _) => Ok(ExitCode::from(128_u8.saturating_add(signal))),
        (Ended::Status(status), connected) if connected || status.success() => Ok(exit_code(status)),
        (Ended::Status(status), _) => {
            Err(Failure::new(Kind::Guest, format!("the guest did not start ({status})"))
                .help("try again; `bottle doctor` checks this machine"))
        }
    }
}

/// Refuses a program's name in place of a bottle's: `bottle run uname` is not meant to create a bottle called
/// `uname`.
///
/// # Errors
/// Returns [`Kind::Usage`] with the command line that was probably meant.
fn is_a_bottle(context: &Context, named: Option<&Slug>, command: &[String]) -> Outcome {
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
        let narrow = |option: &str, pattern: &HostPattern| {
            public_suffix::check(pattern).map_err(|wide| usage(option, wide.to_string()).help(wide.help()))
        };
        for host in &self.allow {
            let rule: HostRule = host.parse().map_err(|error| usage("--allow", format!("{error}")))?;
            narrow("--allow", &rule.pattern)?;
            config.egress.allow.push(rule);
        }
        for host in &self.allow_private {
            let pattern = host.parse().map_err(|error| usage("--allow-private", format!("{error}")))?;
            narrow("--allow-private", &pattern)?;
            config.egress.allow_private.push(pattern);
        }
        Ok(())
    }
}
