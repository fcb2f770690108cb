//! `bottle up`, `stop`, `restart` and `rm`: a bottle that stays.

use super::context::Context;
use super::plan::difference;
use super::run::link_words;
use super::stage;
use crate::config::Config;
use crate::resolve::{Resolved, resolve};
use crate::trust::pins::Pins;
use bottle_core::slug::Slug;
use bottle_core::smolfile::Smolfile;
use bottle_host::control;
use bottle_host::defence::Defence;
use bottle_host::fail_point::{self, FailPoint};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::smolvm::Machine;
use bottle_host::smolvm::Smolvm;
use bottle_host::state::{Folder, Home, write_private};
use bottle_host::tools::{self, Tools};
use bottle_host::workspace::Copy;
use bottle_keeper::{self as keeper, Reach};
use control::Request;
use std::time::{Duration, Instant};

/// How long a started guest's helper may take to connect. Under emulation this takes seconds.
const CONNECT: Duration = Duration::from_secs(50);
/// How long a keeper may take to end.
const END: Duration = Duration::from_secs(10);

pub fn up(context: &Context, slug: Option<Slug>, options: &Options) -> Outcome {
    let (slug, config) = context.configured(slug)?;
    up_with(context, &slug, &config, options, "up")
}

/// Starts a bottle with a configuration that was read already: what is asked about is what is used.
fn up_with(context: &Context, slug: &Slug, config: &Config, options: &Options, verb: &str) -> Outcome {
    let tools = Tools::find(config.stack)?;
    let home = Home::find()?;
    let folder = home.bottle(slug);
    let _lock = folder.lock_operation("up")?;
    fail_point::reached(FailPoint::UpLocked);
    let resolved = resolve(slug, config, tools.network.stack(), &folder)?;
    let machine = tools.smolvm.machine(slug)?;
    if folder.has_keeper() {
        if machine.is_some_and(|machine| machine.is_running()) {
            already_up(context, &folder, &resolved);
            return Ok(());
        }
        return Err(Failure::new(Kind::Busy, format!("a bottle {slug} is being run already"))
            .help("wait for its `bottle run` to end, or choose another name"));
    }
    if let Some(machine) = &machine
        && machine.bottle().as_ref() != Some(slug)
    {
        return Err(Failure::new(
            Kind::Busy,
            format!("there is a machine {} that is not bottle's", machine.name),
        )
        .help("choose another name for the bottle"));
    }
    let before = Before::of(&folder, machine, &resolved, options.renew)?;
    fail_point::reached(FailPoint::UpResolved);
    let trust = options.trust.as_deref();
    context.trust(&folder, config, trust, &context.again(verb))?;
    let pins = Pins::admit(&home, &folder, config, &tools, trust.is_some())?;
    fail_point::reached(FailPoint::UpTrusted);
    // A bottle that never was leaves nothing; what was there before stays, with its disk.
    let new = matches!(before, Before::Nothing).then(|| stage::Files::of(&folder));
    // The helper in a machine that runs knows one subnet, and another stack may have another.
    let same_link = folder.read_plan().is_ok_and(|was| was.subnet == resolved.plan.subnet);
    stage::write(&folder, &resolved, &tools.network)?;
    if let Before::Same(machine) = &before
        && machine.is_running()
        && same_link
    {
        context.progress(&format!("{slug} runs without a keeper: giving it a new one"));
        if resume(&tools.smolvm, &folder, &resolved).is_ok() {
            context.say(&format!("{slug} is up"));
            return Ok(());
        }
    }
    context.progress(&format!("starting {slug}"));
    let ready = Ready { smolvm: &tools.smolvm, folder: &folder, resolved: &resolved, pins: &pins };
    let began = start(&ready, &before, &|what| context.progress(what));
    if let Some(files) = new {
        if began.is_ok() {
            files.keep();
        } else {
            let _ = tools.smolvm.delete(&slug.machine_name());
            Copy::leave(&folder)?;
        }
    }
    began?;
    context.say(&format!("{slug} is up; `bottle shell {slug}` enters it"));
    Ok(())
}

/// How a bottle is brought up.
pub struct Options {
    /// Use bottle.toml although a guest could have written it, or only if it has this digest.
    pub trust: Option<String>,
    /// Make the machine anew where it needs another image.
    pub renew: bool,
}

fn already_up(context: &Context, folder: &Folder, resolved: &Resolved) {
    context.say(&format!("{} is up already", folder.slug()));
    let differs = difference(folder, resolved).unwrap_or_default();
    if !differs.is_empty() {
        context.say("bottle.toml has changed since; `bottle restart` applies it:");
        differs.iter().for_each(|line| context.say(&format!("  {line}")));
    }
}

/// The machine that was there before a start.
enum Before {
    Nothing,
    Same(Machine),
    /// It is to follow another Smolfile, on the disk that it has.
    Changed(Machine, Box<Smolfile>),
    /// It is to have another image, so it is made anew.
    Another(Machine),
}

impl Before {
    fn of(folder: &Folder, machine: Option<Machine>, resolved: &Resolved, renew: bool) -> Outcome<Self> {
        let Some(machine) = machine else { return Ok(Self::Nothing) };
        let was = std::fs::read_to_string(folder.machine_smolfile()).ok();
        let was = was.and_then(|text| Smolfile::parse(&text).ok());
        let is = stage::smolfile(folder, &resolved.plan)?;
        match was {
            _ if renew => Ok(Self::Another(machine)),
            Some(was) if was == is => Ok(Self::Same(machine)),
            Some(was) if was.image == is.image => Ok(Self::Changed(machine, Box::new(was))),
            was => {
                let why = if was.is_some() { "has another image" } else { "was made nobody knows how" };
                Err(Failure::new(Kind::Busy, format!("the machine of {} {why}", folder.slug()))
                    .help("--renew makes it anew; what is on its disk is lost then"))
            }
        }
    }

    fn ready(&self, smolvm: &Smolvm, folder: &Folder, progress: &dyn Fn(&str)) -> Outcome {
        let slug = folder.slug();
        let text = std::fs::read_to_string(folder.smolfile()).map_err(anyhow::Error::from)?;
        let remember = || write_private(&folder.machine_smolfile(), text.as_bytes());
        // What is remembered of a machine that is not there yet does no harm after a crash; what is
        // not remembered of one that is would cost its disk.
        let create = || -> Outcome {
            remember()?;
            fail_point::reached(FailPoint::UpRemembered);
            smolvm.create(slug, &folder.smolfile(), &folder.guest_socket())
        };
        match self {
            Self::Same(machine) if machine.is_running() => smolvm.stop(slug),
            Self::Same(_) => Ok(()),
            Self::Nothing => create(),
            Self::Changed(machine, was) => {
                progress("its configuration has changed: its machine follows");
                if machine.is_running() {
                    smolvm.stop(slug)?;
                }
                // The other way round: following once more changes nothing.
                smolvm.update(slug, was, &Smolfile::parse(&text).map_err(anyhow::Error::from)?)?;
                fail_point::reached(FailPoint::UpFollowed);
                Ok(remember()?)
            }
            Self::Another(machine) => {
                progress("making its machine anew");
                smolvm.delete(&machine.name)?;
                create()
            }
        }
    }
}

/// How long a helper that is still there may take to find its new keeper.
const RECONNECT: Duration = Duration::from_secs(5);

/// Gives a machine that runs a new keeper. What runs in it goes on.
fn resume(smolvm: &Smolvm, folder: &Folder, resolved: &Resolved) -> Outcome {
    let keeper = keeper::launch(folder, Reach::Owner)?.ready()?;
    adopt(smolvm, folder)?;
    if await_guest(folder, RECONNECT).is_err() {
        smolvm.detach(folder.slug(), &link_words(resolved.plan.subnet))?;
        await_guest(folder, CONNECT)?;
    }
    keeper.leave();
    Ok(())
}

/// What a start is made of.
struct Ready<'r> {
    smolvm: &'r Smolvm,
    folder: &'r Folder,
    resolved: &'r Resolved,
    pins: &'r Pins,
}

/// Starts the keeper, the machine, and the helper in it. What fails is taken down again.
fn start(ready: &Ready, before: &Before, progress: &dyn Fn(&str)) -> Outcome {
    let Ready { smolvm, folder, resolved, pins } = ready;
    let slug = folder.slug();
    let keeper = keeper::launch(folder, Reach::Owner)?.ready()?;
    fail_point::reached(FailPoint::UpKeeper);
    before.ready(smolvm, folder, progress)?;
    fail_point::reached(FailPoint::UpMachine);
    let begun = pins
        .still()
        .and_then(|()| smolvm.start(slug, resolved.launch()))
        .and_then(|()| connect(smolvm, folder, resolved));
    if let Err(failure) = begun {
        let _ = smolvm.stop(slug);
        return Err(failure.help("try again; `bottle doctor` checks this machine"));
    }
    keeper.leave();
    Ok(())
}

fn connect(smolvm: &Smolvm, folder: &Folder, resolved: &Resolved) -> Outcome {
    fail_point::reached(FailPoint::UpStarted);
    adopt(smolvm, folder)?;
    fail_point::reached(FailPoint::UpAdopted);
    smolvm.detach(folder.slug(), &link_words(resolved.plan.subnet))?;
    fail_point::reached(FailPoint::UpHelper);
    await_guest(folder, CONNECT)?;
    fail_point::reached(FailPoint::UpConnected);
    Ok(())
}

/// From here on the keeper lives as long as the machine.
fn adopt(smolvm: &Smolvm, folder: &Folder) -> Outcome {
    let pid = smolvm.machine(folder.slug())?.and_then(|machine| machine.pid);
    let pid = pid.ok_or_else(|| Failure::new(Kind::Guest, "the machine ended as soon as it had started"))?;
    control::demand(folder, &Request::Adopt { machine: smolvm.machine_of(pid) }, Kind::Guest)?;
    Ok(keeper::give_guest_socket(folder, pid)?)
}

fn await_guest(folder: &Folder, limit: Duration) -> Outcome {
    let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    control::demand(folder, &Request::AwaitGuest { limit_ms }, Kind::Guest)
}

pub fn stop(context: &Context, slug: Option<Slug>) -> Outcome {
    let folder = context.folder(slug)?;
    let slug = folder.slug();
    let _lock = folder.lock_operation("stop")?;
    fail_point::reached(FailPoint::StopLocked);
    let smolvm = tools::smolvm()?;
    let Some(machine) = smolvm.machine(slug)? else {
        return Err(no_such(slug));
    };
    if machine.is_running() {
        context.progress(&format!("stopping {slug}"));
        smolvm.stop(slug)?;
        fail_point::reached(FailPoint::StopMachine);
    } else if !folder.has_keeper() {
        context.say(&format!("{slug} is stopped already"));
    }
    end_keeper(&folder)
}

/// Ends a bottle's keeper, if it has not ended with its machine.
pub fn end_keeper(folder: &Folder) -> Outcome {
    let end = Instant::now() + END;
    let _ = control::ask(folder, &Request::Stop);
    fail_point::reached(FailPoint::EndTold);
    while folder.has_keeper() {
        if Instant::now() > end {
            return Err(Failure::new(
                Kind::Internal,
                format!("the keeper of {} does not end", folder.slug()),
            )
            .help("`bottle cleanup` shows its process"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    fail_point::reached(FailPoint::EndKeeper);
    folder.remove_runtime()?;
    Ok(())
}

pub fn restart(context: &Context, slug: Option<Slug>, options: &Options) -> Outcome {
    let (slug, config) = context.configured(slug)?;
    // Before anything is stopped: what cannot be started again is better left running.
    let home = Home::find()?;
    context.trust(&home.bottle(&slug), &config, options.trust.as_deref(), &context.again("restart"))?;
    Pins::check(&home, &slug, &config, &[])?;
    stop(context, Some(slug.clone()))?;
    if Defence::ConfigProvenance.stands() {
        return up_with(context, &slug, &config, options, "restart");
    }
    up(context, Some(slug), options)
}

pub fn rm(context: &Context, slug: Option<Slug>, force: bool) -> Outcome {
    let folder = context.folder(slug)?;
    let slug = folder.slug();
    let smolvm = tools::smolvm()?;
    let machine = smolvm.machine(slug)?;
    if machine.is_none() && !folder.exists() {
        return Err(no_such(slug));
    }
    let running = machine.as_ref().is_some_and(Machine::is_running) || folder.has_keeper();
    if running && !force {
        return Err(Failure::new(Kind::Busy, format!("bottle {slug} is running"))
            .help(format!("stop it first, or `bottle rm --force {slug}`")));
    }
    let _lock = folder.lock_operation("rm")?;
    fail_point::reached(FailPoint::RmLocked);
    let changed = if force { 0 } else { Copy::changed(&folder)? };
    if changed > 0 {
        return Err(Failure::new(
            Kind::Busy,
            format!("the guest changed {changed} paths of its copy of the project"),
        )
        .help(format!(
            "`bottle apply {slug}` takes them back, `bottle rm --force {slug}` throws them away"
        )));
    }
    end_keeper(&folder)?;
    if let Some(machine) = machine {
        smolvm.delete(&machine.name)?;
        fail_point::reached(FailPoint::RmMachine);
    }
    folder.remove()?;
    context.say(&format!("{slug} is gone"));
    Ok(())
}

fn no_such(slug: &Slug) -> Failure {
    Failure::new(Kind::NoBottle, format!("there is no bottle {slug}")).help("`bottle ls` lists them")
}
