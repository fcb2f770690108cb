//! Networks assembled from bottle's parts, with walls removed. The command itself cannot create one. The
//! conformance check judges them, and `compare` measures the cost of a wall.

use crate::environment::Environment;
use anyhow::{Context, Result};
use bottle_core::doors::Doors;
use bottle_core::egress::Rules;
use bottle_core::gvproxy::Config;
use bottle_core::helper::{GUEST_SOCKET, HELPER};
use bottle_core::plan::{Guest, Plan};
use bottle_core::sidecar::Sidecar;
use bottle_core::smolfile::Smolfile;
use bottle_core::specification::Need;
use bottle_core::specification::StackChoice;
use bottle_core::wire::{self, Inbox, Outbox};
use bottle_host::audit::Audit;
use bottle_host::peer::{Extent, Machine, Named};
use bottle_host::state::{Folder, Home};
use bottle_host::tools::{Network, StackBackend};
use bottle_keeper::counters::Counters;
use bottle_keeper::link::{Link, Traffic};
use bottle_keeper::stack::{Bare, Endpoint, Jail, Running, Wall, start};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The bottle to which an assembled network belongs.
const SLUG: &str = "assembly";

/// The walls of an assembled network.
#[derive(Clone, Copy, Debug)]
pub struct Walls {
    /// Whether every frame has to pass the guard. If not, frames are forwarded unchecked.
    pub guard: bool,
    /// Whether gvproxy is in its jail. If not, it is on the host.
    pub jail: bool,
}

/// A network assembled from bottle's parts. It ends when the value is dropped.
pub struct Assembly {
    _stack: Running,
    doors: Vec<TcpListener>,
    folder: Folder,
    plan: Plan,
}

impl Drop for Assembly {
    fn drop(&mut self) {
        for door in &self.doors {
            // Wake the door's thread, which sleeps in accept.
            let _ = rustix::net::shutdown(door, rustix::net::Shutdown::Both);
        }
    }
}

impl Assembly {
    /// Assembles a network in an environment, with `serve` behind its one door.
    pub fn new(walls: Walls, environment: &Environment, serve: impl Fn(TcpListener)) -> Result<Self> {
        let home = Home::at(environment.path("assembly"), environment.path("run"));
        let folder = home.bottle(&SLUG.parse()?);
        folder.create()?;
        let network = Network::find(StackChoice::Gvproxy)?;
        let plan = plan(&network)?;
        let link = if walls.jail { Jail::link(&folder) } else { Bare::link(&folder) };
        let link = link.to_str().context("a path that is UTF-8")?;
        fs::write(folder.gvproxy(), Config::for_plan(&plan, link).render()?)?;
        let guest = UnixListener::bind(folder.guest_socket())?;
        let log = File::create(folder.keeper_log())?;
        let mut stack = match &network.backend {
            StackBackend::Gvproxy(found) if !walls.jail => {
                Bare::start(found, &network, &folder, &plan, &log)?
            }
            _ => start(&network, &folder, &plan, &log)?,
        };
        let doors = std::mem::take(&mut stack.doors);
        for door in &doors {
            serve(door.try_clone()?);
        }
        let link = Arc::clone(&stack.link);
        // smolvm's machine runs as another user, and must be able to reach the socket.
        fs::set_permissions(folder.guest_socket(), PermissionsExt::from_mode(0o666))?;
        if walls.guard {
            guarded(guest, link, &plan, &folder)?;
        } else {
            unguarded(guest, link);
        }
        fs::copy(&network.helper, folder.helper_dir().join("bottle-guest"))?;
        let helper_dir = folder.helper_dir().to_str().context("a path that is UTF-8")?.parse()?;
        fs::write(folder.smolfile(), Smolfile::for_plan(&plan, &helper_dir).render()?)?;
        Ok(Self { _stack: stack, doors, folder, plan })
    }

    /// Returns the plan of the network.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns the folder with the network's files.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Returns a command that runs the helper with these arguments in a fresh guest of this network.
    pub fn guest(&self, environment: &Environment, words: &[&str]) -> Result<Command> {
        let mut guest = environment.smolvm()?;
        guest.args(["machine", "run", "--smolfile"]).arg(self.folder.smolfile());
        guest.arg("--mount-socket").arg(format!("{}:{GUEST_SOCKET}", self.folder.guest_socket().display()));
        let subnet = self.plan.subnet.octet().to_string();
        guest.args(["-i", "--", HELPER, "link", "--subnet", &subnet, "--", HELPER]).args(words);
        Ok(guest)
    }
}

fn plan(network: &Network) -> Result<Plan> {
    let doors = Doors::try_from(BTreeMap::from([(Sidecar::Pipelock, 20_000)]))?;
    let guest = Guest {
        image: None,
        image_digest: None,
        cpus: 1,
        memory_mib: 512,
        workdir: None,
        volumes: Vec::new(),
        env: BTreeMap::new(),
    };
    Ok(Plan::new(SLUG.parse()?, network.stack(), doors, guest, Rules::default())?)
}

/// Runs the product's own link, in which every frame has to pass the guard.
fn guarded(guest: UnixListener, stack: Arc<Endpoint>, plan: &Plan, folder: &Folder) -> Result<()> {
    let link = Link::of_frames(
        plan.guard(),
        Arc::new(Counters::default()),
        Audit::open(folder, Need::BestEffort)?,
        Box::new(|_| Ok(())),
    );
    if let Traffic::Frames(crossing) = link.traffic() {
        crossing.attach(stack)?;
    }
    // This process starts the guests.
    let pid = std::process::id().cast_signed();
    let machine = Machine::named(Named { pid, extent: Extent::Below, confined: false });
    link.expect(machine.context("this process")?)?;
    link.listen(guest)
}

/// Runs a link without a guard, which forwards every frame unchecked.
fn unguarded(listener: UnixListener, stack: Arc<Endpoint>) {
    let current: Arc<Mutex<Option<UnixStream>>> = Arc::default();
    let (inwards, out) = (Arc::clone(&current), Arc::clone(&stack));
    thread::spawn(move || {
        let mut outbox = Outbox::default();
        while stack.wait().is_ok() {
            while let Some(room) = outbox.room() {
                match stack.receive(room) {
                    Ok(0) => return,
                    Ok(len) => outbox.keep(len),
                    Err(_) => break,
                }
            }
            let guest = inwards.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(mut guest) = guest.as_ref() {
                let _ = guest.write_all(outbox.take());
            }
        }
    });
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, wire::IN_FLIGHT);
            let _ = stream.write_all(&wire::HELLO);
            let (Ok(reader), out) = (stream.try_clone(), Arc::clone(&out)) else { continue };
            if let Some(old) = current.lock().unwrap_or_else(PoisonError::into_inner).replace(stream) {
                let _ = old.shutdown(Shutdown::Both);
            }
            thread::spawn(move || pump_out(reader, &out));
        }
    });
}

fn pump_out(mut guest: UnixStream, stack: &Endpoint) {
    let mut inbox = Inbox::default();
    while let Ok(read) = guest.read(inbox.room())
        && read > 0
    {
        inbox.arrived(read);
        loop {
            match inbox.frame() {
                Ok(Some(frame)) => {
                    let _ = stack.send(frame);
                }
                Ok(None) => break,
                Err(_) => return drop(guest.shutdown(Shutdown::Both)),
            }
        }
    }
}
