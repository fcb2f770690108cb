//! Starts a bottle that stays: planned, then staged, then running.

use super::check::check_but_paths;
use super::files::{self, Files, Rendered};
use super::machine::MachineChange;
use crate::config::Config;
use crate::made_from::MadeFrom;
use crate::owner;
use crate::resolve::{Resolved, resolve};
use crate::trust::pins::Pins;
use bottle_core::egress::Rules;
use bottle_core::slug::Slug;
use bottle_host::control::{self, Request};
use bottle_host::fail_point::{self, FailPoint};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::smolvm::{Machine, Smolvm};
use bottle_host::state::{Folder, Home, Lock};
use bottle_host::tools::Tools;
use bottle_host::workspace::Copy;
use bottle_keeper::{self as keeper, Reach};
use bottle_sidecars::keys;
use std::path::PathBuf;
use std::time::Duration;

/// How long the helper of a guest that just started may take to connect. Under emulation this takes seconds.
const CONNECT: Duration = Duration::from_secs(50);
/// How long a helper that still runs may take to find its new keeper.
const RECONNECT: Duration = Duration::from_secs(5);

/// The situation before a start.
pub enum Found {
    /// The bottle runs already. Holds what would be started now.
    Running(Folder, Box<Resolved>),
    /// It can be started.
    Planned(Box<Planned>),
}

/// A bottle whose start is planned. Nothing is written yet, and nobody else can change the bottle meanwhile.
pub struct Planned {
    home: Home,
    folder: Folder,
    project: PathBuf,
    tools: Tools,
    resolved: Resolved,
    machine: MachineChange,
    rendered: Rendered,
    /// Whether a person gives up the disk of a machine that needs another image.
    renew: bool,
    lock: Lock,
}

/// A bottle whose files are written. If it never ran before, they are removed unless it starts.
pub struct Staged {
    folder: Folder,
    tools: Tools,
    resolved: Resolved,
    machine: MachineChange,
    pins: Pins,
    /// The files of a bottle that never ran before.
    new: Option<Files>,
    /// Whether the helper in a running machine can continue: it knows one subnet and, with some stacks, the
    /// doors.
    same_link: bool,
    _lock: Lock,
}

/// Plans the start of a bottle, and changes nothing.
///
/// # Errors
/// Returns an error if the configuration contradicts itself, the name is taken, or a tool is missing.
pub fn plan(slug: &Slug, config: &Config, project: PathBuf, renew: bool) -> Outcome<Found> {
    let tools = Tools::find(config.stack)?;
    let home = Home::find()?;
    let folder = home.bottle(slug);
    let lock = folder.lock_operation("up")?;
    fail_point::reached(FailPoint::UpLocked);
    let resolved = resolved(&home, &folder, config, &tools, renew)?;
    let machine = tools.smolvm.machine(slug)?;
    if folder.has_keeper() {
        if machine.is_some_and(|machine| machine.is_running()) {
            return Ok(Found::Running(folder, Box::new(resolved)));
        }
        return Err(Failure::new(Kind::Busy, format!("a `bottle run` is using {slug}"))
            .help("wait for its `bottle run` to end, or choose another name"));
    }
    let (machine, rendered) = startable(&folder, config, &resolved, machine, renew)?;
    fail_point::reached(FailPoint::UpResolved);
    let planned = Planned { home, folder, project, tools, resolved, machine, rendered, renew, lock };
    Ok(Found::Planned(Box::new(planned)))
}

/// Checks that a bottle could start again, before it is stopped.
///
/// # Errors
/// Returns an error as for [`plan`].
pub fn check_again(slug: &Slug, config: &Config, renew: bool) -> Outcome {
    let tools = Tools::find(config.stack)?;
    let home = Home::find()?;
    let folder = home.bottle(slug);
    let resolved = resolved(&home, &folder, config, &tools, renew)?;
    let machine = tools.smolvm.machine(slug)?;
    startable(&folder, config, &resolved, machine, renew)?;
    Pins::check(&home, folder.slug(), config, &[])?;
    // A program is run only once no guest can have exchanged it.
    keys::rehearse(&resolved.plan.upstreams).map_err(|error| {
        Failure::new(Kind::Unavailable, format!("{error:#}"))
            .help("nothing was stopped; try the command by hand")
    })
}

/// Resolves a configuration for the machine that is there, unless that is made anew.
fn resolved(home: &Home, folder: &Folder, config: &Config, tools: &Tools, renew: bool) -> Outcome<Resolved> {
    let made = MadeFrom::kept(folder, config, renew);
    resolve(folder.slug(), config, tools.network.stack(), home, made.as_ref())
}

/// Checks a start against the existing machine, and returns what happens to that machine and the files to
/// write.
fn startable(
    folder: &Folder,
    config: &Config,
    resolved: &Resolved,
    machine: Option<Machine>,
    renew: bool,
) -> Outcome<(MachineChange, Rendered)> {
    is_the_bottles(folder, machine.as_ref())?;
    let change = MachineChange::of(folder, machine, resolved, renew)?;
    Ok((change, check_but_paths(folder, config, resolved)?))
}

/// Refuses a name that belongs to a machine of somebody else's.
fn is_the_bottles(folder: &Folder, machine: Option<&Machine>) -> Outcome {
    let slug = folder.slug();
    if let Some(machine) = machine
        && (machine.bottle().as_ref() != Some(slug) || machine.is_of(&folder.state_id()) == Some(false))
    {
        return Err(Failure::new(
            Kind::Busy,
            format!("there is a machine {} that is not this bottle's", machine.name),
        )
        .help("choose another name for the bottle"));
    }
    if folder.unfinished().exists() {
        return Err(Failure::new(Kind::Busy, format!("{slug} is half of a fork that was cut off"))
            .help(format!("`bottle rm {slug}` removes it; then fork again")));
    }
    Ok(())
}

impl Planned {
    /// Returns the bottle's folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Returns whether a new machine would be made from something else than the one that is there.
    pub fn is_behind(&self) -> bool {
        self.resolved.is_behind
    }

    /// Returns the rules that the bottle starts with.
    pub fn rules(&self) -> &Rules {
        &self.resolved.plan.egress
    }

    /// Plans again, now that the image is fetched.
    ///
    /// # Errors
    /// Returns an error as for [`plan`].
    pub fn with_image(mut self, config: &Config) -> Outcome<Self> {
        let Self { home, folder, tools, .. } = &self;
        let resolved = resolved(home, folder, config, tools, self.renew)?;
        let machine = tools.smolvm.machine(folder.slug())?;
        (self.machine, self.rendered) = startable(folder, config, &resolved, machine, self.renew)?;
        self.resolved = resolved;
        Ok(self)
    }

    /// Writes the files that the bottle starts from. With `insisted`, a person accepts changed host paths.
    ///
    /// # Errors
    /// Returns an error if a guest can reach a host path, or if a file cannot be written.
    pub fn stage(self, config: &Config, insisted: bool) -> Outcome<Staged> {
        let Self { home, folder, project, tools, resolved, machine, rendered, lock, .. } = self;
        // Whoever held the lock before may have given the bottle to another project.
        owner::check(&home, &folder, &project, &|_| false)?;
        let pins = Pins::admit(&home, &folder, config, &tools, insisted)?;
        fail_point::reached(FailPoint::UpTrusted);
        let new = matches!(machine, MachineChange::Create).then(|| Files::of(&folder));
        let same_link = folder.read_plan().is_ok_and(|was| was.link() == resolved.plan.link());
        files::write(&folder, &project, &resolved, &rendered, &tools.network)?;
        Ok(Staged { folder, tools, resolved, machine, pins, new, same_link, _lock: lock })
    }
}

impl Staged {
    /// Returns whether the machine runs as wanted, and only its keeper is missing.
    pub fn lacks_only_a_keeper(&self) -> bool {
        self.same_link && matches!(&self.machine, MachineChange::Keep(machine) if machine.is_running())
    }

    /// Gives a running machine a new keeper. The programs in it continue.
    ///
    /// # Errors
    /// Returns an error if the keeper or the helper does not start. The bottle can be started afterwards.
    pub fn resume(&self) -> Outcome {
        let (smolvm, folder) = (&self.tools.smolvm, &self.folder);
        let keeper = keeper::launch(folder, Reach::Owner)?.ready()?;
        adopt(smolvm, folder)?;
        if await_guest(folder, RECONNECT).is_err() {
            smolvm.detach(folder.slug(), &self.resolved.plan.link())?;
            await_guest(folder, CONNECT)?;
        }
        keeper.leave();
        Ok(())
    }

    /// Starts the keeper, the machine, and the helper in it. If one fails, the others are taken down: a
    /// bottle that never ran leaves only its log, and an existing one keeps its disk.
    ///
    /// # Errors
    /// Returns an error that says what did not start.
    pub fn start(mut self, progress: &dyn Fn(&str)) -> Outcome {
        let began = self.begin(progress);
        if let Some(files) = self.new.take() {
            if began.is_ok() {
                files.keep();
            } else {
                let _ = self.tools.smolvm.delete(&self.folder.slug().machine_name());
                Copy::leave(&self.folder)?;
            }
        }
        began
    }

    fn begin(&self, progress: &dyn Fn(&str)) -> Outcome {
        let (smolvm, folder) = (&self.tools.smolvm, &self.folder);
        let slug = folder.slug();
        progress("starting its keeper");
        let keeper = keeper::launch(folder, Reach::Owner)?.ready()?;
        fail_point::reached(FailPoint::UpKeeper);
        progress("preparing its machine");
        self.machine.apply(smolvm, folder, progress)?;
        fail_point::reached(FailPoint::UpMachine);
        progress("booting its machine");
        let begun = self
            .pins
            .still()
            .and_then(|()| smolvm.start(slug, self.resolved.launch()))
            .and_then(|()| self.connect(progress));
        if let Err(failure) = begun {
            let _ = smolvm.stop(slug);
            return Err(failure.help("try again; `bottle doctor` checks this machine"));
        }
        keeper.leave();
        Ok(())
    }

    fn connect(&self, progress: &dyn Fn(&str)) -> Outcome {
        let (smolvm, folder) = (&self.tools.smolvm, &self.folder);
        fail_point::reached(FailPoint::UpStarted);
        adopt(smolvm, folder)?;
        fail_point::reached(FailPoint::UpAdopted);
        progress("starting the helper in its guest");
        smolvm.detach(folder.slug(), &self.resolved.plan.link())?;
        fail_point::reached(FailPoint::UpHelper);
        progress("waiting for its guest");
        await_guest(folder, CONNECT)?;
        fail_point::reached(FailPoint::UpConnected);
        Ok(())
    }
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
