//! Ways from a namespace to a port of this host.

use crate::place::Place;
use crate::stand_in::Room;
use anyhow::{Context, Result, bail};
use bottle_core::wire::MTU;
use bottle_host::process::die_with_parent;
use rustix::process::Signal;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Where pasta puts this host's loopback.
const PASTA_GATEWAY: &str = "10.0.2.2";
const NETNS: &str = "bottle-compare";

/// A namespace with a way to this host.
pub struct Way {
    pub name: &'static str,
    enter: Vec<String>,
    /// This host's loopback, as it is seen from there.
    pub host: String,
    /// What ends with it.
    kept: Vec<Child>,
    room: Option<Room>,
}

impl Drop for Way {
    fn drop(&mut self) {
        if let Some(room) = &self.room {
            let _ = self.bottle(room, &["-q", "rm", "--force"]).map(|mut command| command.output());
        }
        for child in &mut self.kept {
            let _ = child.kill();
            let _ = child.wait();
        }
        if self.name == "pasta" {
            let _ = Command::new("ip").args(["netns", "del", NETNS]).output();
        }
    }
}

impl Way {
    /// Through a bottle with this stack: two doors, to these ports of this host.
    pub fn bottle_doors(
        place: &Place,
        stack: &str,
        throughput: u16,
        latency: u16,
    ) -> Result<(Self, SocketAddr, SocketAddr)> {
        let room = Room::new(place)?;
        fs::write(
            room.project().join("bottle.toml"),
            format!(
                "slug = \"compare\"\n[network]\nstack = \"{stack}\"\n[workspace]\nmode = \"none\"\n[supervise]\naddress = \"127.0.0.1:{throughput}\"\n[git-gate]\naddress = \"127.0.0.1:{latency}\"\n\
                 [[guest.volumes]]\nhost = \"{}\"\nguest = \"/harness\"\n",
                place.program("bottle-harness")?.parent().context("a folder")?.display()
            ),
        )?;
        let mut way =
            Self { name: "bottle", enter: Vec::new(), host: String::new(), kept: Vec::new(), room: None };
        let up = way.bottle(&room, &["-q", "up"])?.output()?;
        if !up.status.success() {
            bail!("bottle up: {}", String::from_utf8_lossy(&up.stderr));
        }
        let plan = fs::read_to_string(room.path().join("state/compare/plan.json"))?;
        let plan: bottle_core::plan::Plan = serde_json::from_str(&plan)?;
        let machine = fs::read_to_string(room.path().join("machines/bottle-compare.json"))?;
        let machine: serde_json::Value = serde_json::from_str(&machine)?;
        way.enter = ["nsenter", "-t", &machine["pid"].to_string(), "-n"].map(str::to_owned).to_vec();
        way.host = plan.subnet.proxy().to_string();
        way.room = Some(room);
        let door = |sidecar| -> Result<SocketAddr> {
            Ok((plan.subnet.proxy(), plan.doors.port(sidecar).context("a door")?).into())
        };
        let doors =
            (door(bottle_core::sidecar::Sidecar::Supervise)?, door(bottle_core::sidecar::Sidecar::GitGate)?);
        Ok((way, doors.0, doors.1))
    }

    fn bottle(&self, room: &Room, words: &[&str]) -> Result<Command> {
        let mut command = Command::new(Place::find()?.program("bottle")?);
        command.args(words).current_dir(room.project());
        command.envs(room.env().iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// The keeper's process, where there is one.
    pub fn keeper(&self) -> Option<i64> {
        let status = self.bottle(self.room.as_ref()?, &["status", "--json"]).ok()?.output().ok()?;
        serde_json::from_slice::<serde_json::Value>(&status.stdout).ok()?["pid"].as_i64()
    }

    /// Through stock gvproxy at its default MTU.
    pub fn gvproxy(place: &Place, dir: &Path) -> Result<Self> {
        let socket = dir.join("gvproxy.sock");
        let mut gvproxy = Command::new(place.tool("gvproxy")?);
        gvproxy.args(["-ssh-port", "-1", "-listen-qemu", &format!("unix://{}", socket.display())]);
        Self::forwarded("stock gvproxy", "192.168.127.254", place, gvproxy, &socket, 1500)
    }

    /// Through passt, pasta's form for virtual machines, at the MTU of a bottle's link.
    pub fn passt(place: &Place, dir: &Path) -> Result<Self> {
        let socket = dir.join("passt.sock");
        let mut passt = Command::new("passt");
        passt.args(["-f", "-q", "--runas", "0:0", "-a", "192.168.127.2", "-n", "24", "-g", "192.168.127.1"]);
        passt.args(["-m", &MTU.to_string(), "-t", "none", "-u", "none", "-s"]).arg(&socket);
        Self::forwarded("passt", "192.168.127.1", place, passt, &socket, MTU)
    }

    /// Through a program that speaks QEMU's framing on a socket, with a pump between that and a tap.
    fn forwarded(
        name: &'static str,
        host: &str,
        place: &Place,
        program: Command,
        socket: &Path,
        mtu: u16,
    ) -> Result<Self> {
        let program = quiet(program)?;
        wait_for(|| socket.exists())?;
        let mut guest = Command::new("unshare");
        guest.arg("--net").arg(place.program("bottle-harness")?);
        guest.args(["forward", "--mtu", &mtu.to_string(), "--socket"]).arg(socket);
        let guest = quiet(guest)?;
        let enter = ["nsenter", "-t", &guest.id().to_string(), "-n"].map(str::to_owned).to_vec();
        let way = Self { name, enter, host: host.to_owned(), kept: vec![guest, program], room: None };
        way.await_route()
    }

    fn await_route(self) -> Result<Self> {
        wait_for(|| {
            self.command(&["ip", "route"]).output().is_ok_and(|said| said.stdout.starts_with(b"default"))
        })?;
        Ok(self)
    }

    /// Through pasta, with everything but its mapping of the gateway off.
    pub fn pasta() -> Result<Self> {
        let _ = Command::new("ip").args(["netns", "del", NETNS]).output();
        let made = Command::new("ip").args(["netns", "add", NETNS]).output()?;
        if !made.status.success() {
            bail!("{}", String::from_utf8_lossy(&made.stderr).trim());
        }
        let mut pasta = Command::new("pasta");
        pasta.args(["-f", "-q", "--config-net", "--runas", "0:0", "--netns-only", "-a", "10.0.2.15"]);
        pasta.args([
            "-n",
            "255.255.255.0",
            "-g",
            PASTA_GATEWAY,
            "-t",
            "none",
            "-u",
            "none",
            "-T",
            "none",
            "-U",
            "none",
        ]);
        pasta.args(["--netns", &format!("/run/netns/{NETNS}")]);
        let pasta = quiet(pasta).context("pasta is not here: Debian's package passt has it")?;
        let enter = ["ip", "netns", "exec", NETNS].map(str::to_owned).to_vec();
        let way =
            Self { name: "pasta", enter, host: PASTA_GATEWAY.to_owned(), kept: vec![pasta], room: None };
        way.await_route()
    }

    /// A program in the namespace.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.enter[0]);
        command.args(&self.enter[1..]).args(words);
        command
    }
}

/// A program that says nothing and ends with this one.
pub fn quiet(mut command: Command) -> Result<Child> {
    die_with_parent(&mut command, Signal::KILL);
    let what = format!("{:?}", command.get_program());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().context(what)
}

pub fn wait_for(test: impl Fn() -> bool) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(10);
    while !test() {
        if Instant::now() > end {
            bail!("it did not come up in 10 s");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
