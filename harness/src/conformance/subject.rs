//! The networks that are judged: bottle, each of its walls alone, and none.
//!
//! bottle itself is run as a user runs it. The others are built here from its parts: taking a wall
//! away is not something that the command can be asked for.

use super::questions::{self, Breadth, WITNESS_HOST};
use super::world::{WITNESS_PORT, World, answer_witness};
use crate::place::Place;
use crate::stand_in::Room;
use anyhow::{Context, Result, bail};
use bottle::keeper::audit::Audit;
use bottle::keeper::counters::Counters;
use bottle::keeper::jail;
use bottle::keeper::link::Link;
use bottle::preflight::Network;
use bottle::state::{Folder, Home};
use bottle_core::egress::Rules;
use bottle_core::gvproxy::Config;
use bottle_core::plan::{Doors, Guest, Plan};
use bottle_core::sidecar::Sidecar;
use bottle_core::smolfile::{HELPER, Smolfile};
use bottle_core::wire::{self, Inbox};
use bottle_guest::probe::{Answer, Question};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A network that is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// bottle, as a user runs it: both walls.
    Bottle,
    /// The guard before a gvproxy that runs on the host, without a jail.
    GuardOnly,
    /// gvproxy in its jail, with nothing that decides on frames before it.
    JailOnly,
    /// Stock gvproxy on the host: a control, which must be found leaking.
    Neither,
}

/// What a guest said, and what its plan was.
pub struct Probed {
    pub plan: Plan,
    pub answers: Vec<Answer>,
    pub asked: usize,
}

impl Subject {
    pub const ALL: [Self; 4] = [Self::Bottle, Self::GuardOnly, Self::JailOnly, Self::Neither];

    pub fn name(self) -> &'static str {
        match self {
            Self::Bottle => "bottle",
            Self::GuardOnly => "guard-only",
            Self::JailOnly => "jail-only",
            Self::Neither => "neither",
        }
    }

    /// Whether it has to come out isolated. A control has to come out leaking.
    pub fn must_be_isolated(self) -> bool {
        self != Self::Neither
    }

    /// Runs every probe in a guest of this network.
    pub fn probe(self, place: &Place, world: &World) -> Result<Probed> {
        match self {
            Self::Bottle => probe_bottle(place, world),
            walls => probe_built(walls, place, world),
        }
    }
}

fn probe_bottle(place: &Place, world: &World) -> Result<Probed> {
    let room = Room::new(place)?;
    let config = format!(
        "slug = \"conformance\"\n[workspace]\nmode = \"none\"\n[egress]\nallow = [\"{WITNESS_HOST}:{WITNESS_PORT}\"]\n\
         hosts = {{ \"{WITNESS_HOST}\" = \"127.0.0.1\" }}\n"
    );
    fs::write(room.project().join("bottle.toml"), config)?;
    let bottle = |words: &[&str]| {
        let mut command = Command::new(place.program("bottle")?);
        command.args(words).current_dir(room.project());
        command.envs(room.env().iter().map(|(name, value)| (name, value)));
        anyhow::Ok(command)
    };
    let planned = bottle(&["plan", "--json"])?.output()?;
    let plan: Plan = serde_json::from_slice(&planned.stdout).context("bottle's plan")?;
    let questions = questions::all(&plan, Breadth::Every, &world.nonce);
    let answers = converse(bottle(&["--quiet", "run", "--", HELPER, "probe"])?, &questions)?;
    Ok(Probed { plan, answers, asked: questions.len() })
}

fn probe_built(walls: Subject, place: &Place, world: &World) -> Result<Probed> {
    let dir = tempfile::Builder::new().prefix("bottle-").tempdir()?;
    let folder = Home::at(dir.path().join("state"), dir.path().join("run")).bottle(&"built".parse()?);
    folder.create()?;
    let network = Network::find()?;
    let plan = plan(&network)?;
    fs::write(folder.gvproxy(), Config::for_plan(&plan, jail::LINK_INSIDE).render()?)?;
    let _kept = Built::new(walls, &network, &folder, &plan, world)?;
    fs::copy(&network.helper, folder.helper_dir().join("bottle-guest"))?;
    let helper_dir = folder.helper_dir().to_str().context("a path that is UTF-8")?.parse()?;
    fs::write(folder.smolfile(), Smolfile::for_plan(&plan, &helper_dir).render()?)?;
    let mut guest = Command::new(place.program("smolvm-stand-in")?);
    guest.args(["machine", "run", "--smolfile"]).arg(folder.smolfile());
    guest.arg("--mount-socket").arg(format!("{}:/run/bottle.sock", folder.guest_socket().display()));
    guest.args(["--", HELPER, "link", "--subnet", &plan.subnet.octet().to_string(), "--", HELPER, "probe"]);
    guest.env("STAND_IN_STATE", dir.path().join("machines"));
    let questions = questions::all(&plan, Breadth::Sample, &world.nonce);
    let answers = converse(guest, &questions)?;
    Ok(Probed { plan, answers, asked: questions.len() })
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
    Ok(Plan::new("built".parse()?, network.dialect, doors, guest, Rules::default())?)
}

/// Gives a guest its questions and reads its answers.
fn converse(mut guest: Command, questions: &[Question]) -> Result<Vec<Answer>> {
    let mut child = guest.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let text = serde_json::to_string(questions)?;
    // A guest that ends before it has read its questions says why on standard error.
    let _ = child.stdin.take().context("standard input")?.write_all(text.as_bytes());
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    let said = String::from_utf8(output.stdout)?;
    said.lines().map(|line| serde_json::from_str(line).context("an answer")).collect()
}

/// A network of bottle's parts. It ends with the value.
struct Built {
    gvproxy: Option<Child>,
    _jail: Option<jail::Jail>,
    /// The host's door, where there is no jail to make one in.
    door: Option<TcpListener>,
}

impl Drop for Built {
    fn drop(&mut self) {
        if let Some(door) = &self.door {
            // Its thread, asleep in accept, is told.
            let _ = rustix::net::shutdown(door, rustix::net::Shutdown::Both);
        }
        if let Some(gvproxy) = &mut self.gvproxy {
            let _ = gvproxy.kill();
            let _ = gvproxy.wait();
        }
    }
}

impl Built {
    fn new(walls: Subject, network: &Network, folder: &Folder, plan: &Plan, world: &World) -> Result<Self> {
        let guest = UnixListener::bind(folder.guest_socket())?;
        let log = File::create(folder.keeper_log())?;
        let mut built = Self { gvproxy: None, _jail: None, door: None };
        let link = if walls == Subject::JailOnly {
            let mut jail = jail::start(network, folder, plan, &log)?;
            std::mem::take(&mut jail.doors).into_iter().for_each(|door| witness_door(door, world));
            let link = rustix::io::dup(&jail.link)?;
            built._jail = Some(jail);
            link
        } else {
            let door = TcpListener::bind(("127.0.0.1", plan.doors.pipelock()))?;
            built.door = Some(door.try_clone()?);
            witness_door(door, world);
            let path = folder.jail().join("bare.sock");
            let arguments = plan.dialect.arguments("", path.to_str().context("a path that is UTF-8")?);
            let mut gvproxy = Command::new(&network.gvproxy);
            let gvproxy =
                gvproxy.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
            let gvproxy = built.gvproxy.insert(gvproxy);
            jail::connect(&path, gvproxy)?
        };
        match walls {
            Subject::GuardOnly => guarded(guest, link, plan, &folder.audit())?,
            _ => unguarded(guest, link),
        }
        Ok(built)
    }
}

/// A door with the witness right behind it.
fn witness_door(door: TcpListener, world: &World) {
    let nonce = world.nonce.clone();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = door.accept() {
            let nonce = nonce.clone();
            thread::spawn(move || answer_witness(&mut stream, &nonce));
        }
    });
}

/// The product's own link: each frame crosses the guard.
fn guarded(guest: UnixListener, gvproxy: OwnedFd, plan: &Plan, audit: &Path) -> Result<()> {
    let link = Link::new(plan.guard(), Arc::new(Counters::default()), Audit::open(audit)?);
    link.attach(gvproxy)?;
    link.listen(guest)
}

/// No guard at all: each frame is handed on as it comes.
fn unguarded(listener: UnixListener, gvproxy: OwnedFd) {
    let current: Arc<Mutex<Option<UnixStream>>> = Arc::default();
    let (inwards, out) = (Arc::clone(&current), Arc::new(gvproxy));
    let gvproxy = Arc::clone(&out);
    thread::spawn(move || {
        let mut buffer = vec![0; wire::MAX_FRAME + 1];
        while let Ok((len, _)) =
            rustix::net::recv(&*gvproxy, buffer.as_mut_slice(), rustix::net::RecvFlags::empty())
            && len > 0
        {
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

fn pump_out(mut guest: UnixStream, gvproxy: &OwnedFd) {
    let mut inbox = Inbox::default();
    while let Ok(read) = guest.read(inbox.room())
        && read > 0
    {
        inbox.arrived(read);
        loop {
            match inbox.frame() {
                Ok(Some(frame)) => {
                    let _ = rustix::net::send(gvproxy, frame, rustix::net::SendFlags::NOSIGNAL);
                }
                Ok(None) => break,
                Err(_) => return drop(guest.shutdown(Shutdown::Both)),
            }
        }
    }
}
