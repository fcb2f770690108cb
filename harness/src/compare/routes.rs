//! Routes from a namespace to a port of this host.

use crate::checkout::Checkout;
use crate::environment::{Environment, Guest, RunningBottle};
use anyhow::{Context, Result, bail};
use bottle_core::sidecar::Sidecar;
use bottle_core::wire::MTU;
use bottle_host::process::die_with_parent;
use rustix::process::Signal;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The address where pasta exposes this host's loopback.
const PASTA_GATEWAY: &str = "10.0.2.2";
/// The start of the names of the namespaces that pasta needs.
const NETNS: &str = "bottle-compare";

/// A namespace with a route to this host.
pub struct Route {
    pub name: &'static str,
    enter: Vec<String>,
    /// The address of this host's loopback in the namespace.
    pub host: String,
    children: Vec<Child>,
    bottle: Option<RunningBottle>,
}

impl Drop for Route {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let ["ip", "netns", "exec", netns] = *self.enter.iter().map(String::as_str).collect::<Vec<_>>() {
            let _ = Command::new("ip").args(["netns", "del", netns]).output();
        }
    }
}

impl Route {
    /// Creates a route through a bottle with this stack. Returns it with the bottle's two doors, which lead
    /// to these ports of this host.
    pub fn bottle_doors(
        checkout: &Checkout,
        stack: &str,
        throughput: u16,
        latency: u16,
    ) -> Result<(Self, SocketAddr, SocketAddr)> {
        let environment = Environment::new(checkout, Guest::Namespace)?;
        let config = format!(
            "[network]\nstack = \"{stack}\"\n[supervise]\naddress = \"127.0.0.1:{throughput}\"\n\
             [git-gate]\naddress = \"127.0.0.1:{latency}\"\n\
             [[guest.volumes]]\nhost = \"{}\"\nguest = \"/harness\"\n",
            checkout.program("bottle-harness")?.parent().context("a folder")?.display()
        );
        let bottle = environment.small_project("compare", &config)?.up()?;
        let plan = bottle.plan()?;
        let machine = fs::read_to_string(environment.path("machines/bottle-compare.json"))?;
        let machine: serde_json::Value = serde_json::from_str(&machine)?;
        let enter = ["nsenter", "-t", &machine["pid"].to_string(), "-n"].map(str::to_owned).to_vec();
        let host = plan.subnet.proxy().to_string();
        let route = Self { name: "bottle", enter, host, children: Vec::new(), bottle: Some(bottle) };
        let door = |sidecar| -> Result<SocketAddr> {
            Ok((plan.subnet.proxy(), plan.doors.port(sidecar).context("a door")?).into())
        };
        Ok((route, door(Sidecar::Supervise)?, door(Sidecar::GitGate)?))
    }

    /// Returns the keeper's process, if there is one.
    pub fn keeper(&self) -> Option<i64> {
        Some(self.bottle.as_ref()?.status().ok()?.pid.into())
    }

    /// Creates a route through stock gvproxy with a given MTU.
    pub fn gvproxy(name: &'static str, mtu: u16, checkout: &Checkout, dir: &Path) -> Result<Self> {
        let socket = dir.join(format!("gvproxy-{mtu}.sock"));
        let mut gvproxy = Command::new(checkout.tool("gvproxy")?);
        gvproxy.args(["-ssh-port", "-1", "-mtu", &mtu.to_string()]);
        gvproxy.args(["-listen-qemu", &format!("unix://{}", socket.display())]);
        Self::forwarded(name, "192.168.127.254", checkout, gvproxy, &socket, mtu)
    }

    /// Creates a route through passt, pasta's variant for virtual machines, at the MTU of a bottle's link.
    pub fn passt(checkout: &Checkout, dir: &Path) -> Result<Self> {
        let socket = dir.join("passt.sock");
        let mut passt = Command::new("passt");
        passt.args(["-f", "-q", "--runas", "0:0", "-a", "192.168.127.2", "-n", "24", "-g", "192.168.127.1"]);
        passt.args(["-m", &MTU.to_string(), "-t", "none", "-u", "none", "-s"]).arg(&socket);
        Self::forwarded("passt", "192.168.127.1", checkout, passt, &socket, MTU)
    }

    /// Creates a route through a program that speaks QEMU's framing on a socket, with a pump between that
    /// socket and a tap.
    fn forwarded(
        name: &'static str,
        host: &str,
        checkout: &Checkout,
        program: Command,
        socket: &Path,
        mtu: u16,
    ) -> Result<Self> {
        let program = quiet(program)?;
        wait_for(|| socket.exists())?;
        let mut guest = Command::new("unshare");
        guest.arg("--net").arg(checkout.program("bottle-harness")?);
        guest.args(["forward", "--mtu", &mtu.to_string(), "--socket"]).arg(socket);
        let guest = quiet(guest)?;
        let enter = ["nsenter", "-t", &guest.id().to_string(), "-n"].map(str::to_owned).to_vec();
        let route = Self { name, enter, host: host.to_owned(), children: vec![guest, program], bottle: None };
        route.wait_until_up()
    }

    /// Creates a route through two relays that only splice. It leads to one port of this host for throughput, and
    /// to another for latency.
    pub fn spliced(checkout: &Checkout, dir: &Path, ports: [u16; 2]) -> Result<Self> {
        let harness = checkout.program("bottle-harness")?;
        let mut children = Vec::new();
        let inside = "ip link set lo up && exec \"$0\" splice \"$1\" \"$2\"";
        let mut enter: Vec<String> = Vec::new();
        for port in ports {
            let socket = dir.join(format!("splice-{port}.sock"));
            let address = format!("127.0.0.1:{port}");
            let mut outer = Command::new(&harness);
            outer.arg("splice").arg(&socket).arg(&address);
            children.push(quiet(outer)?);
            wait_for(|| socket.exists())?;
            let mut inner = if enter.is_empty() {
                let mut first = Command::new("unshare");
                first.arg("--net");
                first
            } else {
                let mut second = Command::new(&enter[0]);
                second.args(&enter[1..]);
                second
            };
            inner.args(["sh", "-c", inside]).arg(&harness).arg(&address).arg(&socket);
            let inner = quiet(inner)?;
            if enter.is_empty() {
                enter = ["nsenter", "-t", &inner.id().to_string(), "-n"].map(str::to_owned).to_vec();
            }
            children.push(inner);
            let listens = |enter: &[String]| {
                let mut ss = Command::new(&enter[0]);
                let said = ss.args(&enter[1..]).args(["ss", "-Hltn", &format!("sport = :{port}")]).output();
                said.is_ok_and(|said| !said.stdout.is_empty())
            };
            wait_for(|| listens(&enter))?;
        }
        Ok(Self { name: "splice alone", enter, host: "127.0.0.1".to_owned(), children, bottle: None })
    }

    fn wait_until_up(self) -> Result<Self> {
        wait_for(|| {
            self.command(&["ip", "route"]).output().is_ok_and(|said| said.stdout.starts_with(b"default"))
        })?;
        Ok(self)
    }

    /// Creates a route through pasta, with everything but its mapping of the gateway switched off.
    pub fn pasta(name: &'static str, program: &Path) -> Result<Self> {
        let netns = format!("{NETNS}-{}", name.replace(' ', "-"));
        let _ = Command::new("ip").args(["netns", "del", &netns]).output();
        let made = Command::new("ip").args(["netns", "add", &netns]).output()?;
        if !made.status.success() {
            bail!("{}", String::from_utf8_lossy(&made.stderr).trim());
        }
        let mut pasta = Command::new(program);
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
        pasta.args(["--netns", &format!("/run/netns/{netns}")]);
        let pasta = quiet(pasta).context("pasta is not installed: run `harness/setup.sh peers`")?;
        let enter = ["ip", "netns", "exec", &netns].map(str::to_owned).to_vec();
        let host = PASTA_GATEWAY.to_owned();
        let route = Self { name, enter, host, children: vec![pasta], bottle: None };
        route.wait_until_up()
    }

    /// Returns a command that runs a program in the namespace.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.enter[0]);
        command.args(&self.enter[1..]).args(words);
        command
    }
}

/// Starts a program without input or output. It ends with this process.
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
