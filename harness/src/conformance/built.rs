//! Networks built of bottle's parts, with walls taken away: not something that the command can be
//! asked for.

use super::questions::{self, RAW, WITNESSES};
use super::subject::{Behind, Parts, Probed};
use super::world::{World, answer_all};
use crate::ground::Ground;
use anyhow::{Context, Result};
use bottle::config::StackChoice;
use bottle::keeper::audit::{Audit, Need};
use bottle::keeper::counters::Counters;
use bottle::keeper::link::Link;
use bottle::keeper::stack::{Bare, End, Jail, Running, Wall, start};
use bottle::preflight::{Network, Speaker};
use bottle::state::{Folder, Home};
use bottle::verify::questions::Questions;
use bottle::verify::scope::Scope;
use bottle::verify::talk::Talk;
use bottle_core::egress::Rules;
use bottle_core::gvproxy::Config;
use bottle_core::plan::{Doors, Guest, Plan};
use bottle_core::sidecar::Sidecar;
use bottle_core::smolfile::{GUEST_SOCKET, HELPER, Smolfile};
use bottle_core::wire::{self, Inbox};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Runs the probes in a guest of a network of these parts.
pub fn probe(parts: Parts, ground: &Ground, world: &World) -> Result<Probed> {
    let folder = Home::at(ground.path().join("built"), ground.path().join("run")).bottle(&"built".parse()?);
    folder.create()?;
    let network = Network::find(match parts.behind {
        Behind::Kernel => StackChoice::Kernel,
        Behind::Gvproxy | Behind::JailedGvproxy => StackChoice::Gvproxy,
    })?;
    let plan = plan(&network)?;
    let link = if parts.behind == Behind::Gvproxy { Bare::link(&folder) } else { Jail::link(&folder) };
    let link = link.to_str().context("a path that is UTF-8")?;
    fs::write(folder.gvproxy(), Config::for_plan(&plan, link).render()?)?;
    let _kept = Built::new(parts, &network, &folder, &plan, world)?;
    fs::copy(&network.helper, folder.helper_dir().join("bottle-guest"))?;
    let helper_dir = folder.helper_dir().to_str().context("a path that is UTF-8")?.parse()?;
    fs::write(folder.smolfile(), Smolfile::for_plan(&plan, &helper_dir).render()?)?;
    let mut guest = ground.smolvm()?;
    guest.args(["machine", "run", "--smolfile"]).arg(folder.smolfile());
    guest.arg("--mount-socket").arg(format!("{}:{GUEST_SOCKET}", folder.guest_socket().display()));
    guest.args([
        "-i",
        "--",
        HELPER,
        "link",
        "--subnet",
        &plan.subnet.octet().to_string(),
        "--",
        HELPER,
        "probe",
    ]);
    let scope = Scope::of(&plan, world.sample(), ground.is_real());
    let mut questions = Questions::default();
    questions.ask(WITNESSES[0], questions::witness(&plan));
    questions.all(&scope, &super::world::canaries(), world.nonce());
    world.ask_for_files(&mut questions, &folder.state().join(".."));
    questions.ask(RAW, questions::raw(&plan));
    questions.ask(WITNESSES[1], questions::witness(&plan));
    Probed::by(Talk::begin(guest, questions)?, scope)
}

fn plan(network: &Network) -> Result<Plan> {
    let doors = Doors::try_from(BTreeMap::from([(Sidecar::Pipelock, 20_000)]))?;
    let guest = Guest {
        image: None,
        cpus: 1,
        memory_mib: 512,
        workdir: None,
        volumes: Vec::new(),
        env: BTreeMap::new(),
    };
    Ok(Plan::new("built".parse()?, network.stack(), doors, guest, Rules::default())?)
}

/// A network of bottle's parts. It ends with the value.
struct Built {
    _stack: Running,
    doors: Vec<TcpListener>,
}

impl Drop for Built {
    fn drop(&mut self) {
        for door in &self.doors {
            // Its thread, asleep in accept, is told.
            let _ = rustix::net::shutdown(door, rustix::net::Shutdown::Both);
        }
    }
}

impl Built {
    fn new(parts: Parts, network: &Network, folder: &Folder, plan: &Plan, world: &World) -> Result<Self> {
        let guest = UnixListener::bind(folder.guest_socket())?;
        let log = File::create(folder.keeper_log())?;
        let mut stack = match (parts.behind, &network.speaker) {
            (Behind::Gvproxy, Speaker::Gvproxy(found)) => Bare::start(found, network, folder, plan, &log)?,
            _ => start(network, folder, plan, &log)?,
        };
        let doors: Vec<TcpListener> = std::mem::take(&mut stack.doors);
        for door in &doors {
            witness_door(door.try_clone()?, world);
        }
        let link = Arc::clone(&stack.link);
        // smolvm's machine runs as a user of its own, and has to reach the socket.
        fs::set_permissions(folder.guest_socket(), PermissionsExt::from_mode(0o666))?;
        if parts.guard {
            guarded(guest, link, plan, &folder.audit())?;
        } else {
            unguarded(guest, link);
        }
        Ok(Self { _stack: stack, doors })
    }
}

/// A door with the witness right behind it.
fn witness_door(door: TcpListener, world: &World) {
    let nonce = world.nonce().to_owned();
    thread::spawn(move || answer_all(&door, &nonce));
}

/// The product's own link: each frame crosses the guard.
fn guarded(guest: UnixListener, stack: Arc<End>, plan: &Plan, audit: &Path) -> Result<()> {
    let link = Link::new(
        plan.guard(),
        Arc::new(Counters::default()),
        Audit::open(audit, Need::BestEffort)?,
        Box::new(|_| Ok(())),
    );
    link.attach(stack)?;
    link.listen(guest)
}

/// No guard at all: each frame is handed on as it comes.
fn unguarded(listener: UnixListener, stack: Arc<End>) {
    let current: Arc<Mutex<Option<UnixStream>>> = Arc::default();
    let (inwards, out) = (Arc::clone(&current), Arc::clone(&stack));
    thread::spawn(move || {
        let mut buffer = vec![0; wire::MAX_FRAME + 1];
        while let Ok(Some(len)) = stack.receive(&mut buffer) {
            let guest = inwards.lock().unwrap_or_else(PoisonError::into_inner);
            if let (Some(mut guest), Some(header)) = (guest.as_ref(), wire::header(len)) {
                let _ = guest.write_all(&[&header[..], &buffer[..len]].concat());
            }
        }
    });
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(&wire::HELLO);
            let (Ok(reader), out) = (stream.try_clone(), Arc::clone(&out)) else { continue };
            if let Some(old) = current.lock().unwrap_or_else(PoisonError::into_inner).replace(stream) {
                let _ = old.shutdown(Shutdown::Both);
            }
            thread::spawn(move || pump_out(reader, &out));
        }
    });
}

fn pump_out(mut guest: UnixStream, stack: &End) {
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
