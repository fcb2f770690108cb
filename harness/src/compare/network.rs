//! Ways from a namespace to a port of this host, and what they give.

use super::measure;
use super::report::{Better, Figures, Report};
use crate::place::Place;
use crate::stand_in::Room;
use anyhow::{Context, Result, bail};
use bottle::process::die_with_parent;
use bottle_core::subnet::Subnet;
use bottle_guest::flow::Direction;
use bottle_guest::link::ends::GuestEnd;
use bottle_guest::link::pump;
use bottle_guest::link::tap::Checksums;
use rustix::process::Signal;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
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
    /// Through a bottle: two doors, to these ports of this host.
    pub fn bottle_doors(
        place: &Place,
        throughput: u16,
        latency: u16,
    ) -> Result<(Self, SocketAddr, SocketAddr)> {
        let room = Room::new(place)?;
        fs::write(
            room.project().join("bottle.toml"),
            format!(
                "slug = \"compare\"\n[workspace]\nmode = \"none\"\n[supervise]\naddress = \"127.0.0.1:{throughput}\"\n[git-gate]\naddress = \"127.0.0.1:{latency}\"\n\
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
    fn gvproxy(place: &Place, dir: &Path) -> Result<Self> {
        let socket = dir.join("gvproxy.sock");
        let mut gvproxy = Command::new(place.tool("gvproxy")?);
        gvproxy.args(["-ssh-port", "-1", "-listen-qemu", &format!("unix://{}", socket.display())]);
        let gvproxy = quiet(gvproxy)?;
        wait_for(|| socket.exists())?;
        let mut guest = Command::new("unshare");
        guest.arg("--net").arg(place.program("bottle-harness")?);
        guest.args(["forward", "--mtu", "1500", "--socket"]).arg(&socket);
        let guest = quiet(guest)?;
        let enter = ["nsenter", "-t", &guest.id().to_string(), "-n"].map(str::to_owned).to_vec();
        let way = Self {
            name: "stock gvproxy",
            enter,
            host: "192.168.127.254".to_owned(),
            kept: vec![guest, gvproxy],
            room: None,
        };
        wait_for(|| {
            way.command(&["ip", "route"]).output().is_ok_and(|said| said.stdout.starts_with(b"default"))
        })?;
        Ok(way)
    }

    /// Through pasta, with everything but its mapping of the gateway off.
    fn pasta() -> Result<Self> {
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
        wait_for(|| {
            way.command(&["ip", "route"]).output().is_ok_and(|said| said.stdout.starts_with(b"default"))
        })?;
        Ok(way)
    }

    /// A program in the namespace.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.enter[0]);
        command.args(&self.enter[1..]).args(words);
        command
    }
}

fn quiet(mut command: Command) -> Result<Child> {
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

/// Throughput in each direction with one and eight streams, the time of one byte there and back,
/// and the keeper's memory meanwhile.
pub fn compare(place: &Place, rounds: usize, report: &mut Report) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let iperf = free_port()?;
    let mut server = Command::new("iperf3");
    server.args(["-s", "-B", "127.0.0.1", "-p", &iperf.to_string()]);
    let Ok(mut server) = quiet(server) else {
        report.skip("throughput", "iperf3 is not here: Debian's package iperf3 has it");
        return Ok(());
    };
    let echo = serve_echo()?;
    let (bottle, to_iperf, to_echo) = Way::bottle_doors(place, iperf, echo)?;
    let mut ways = vec![(bottle, to_iperf, to_echo)];
    for made in [Way::gvproxy(place, dir.path()), Way::pasta()] {
        match made {
            Ok(way) => {
                let host = way.host.parse::<std::net::IpAddr>()?;
                ways.push((way, (host, iperf).into(), (host, echo).into()));
            }
            Err(error) => report.skip("a peer", &format!("{error:#}")),
        }
    }
    let goal = |way: &Way, streams: f64| match way.name {
        "stock gvproxy" => Some(streams),
        "pasta" => Some(1.0),
        _ => None,
    };
    let keeper = ways[0].0.keeper().context("the keeper")?;
    let idle = measure::resident(keeper)?;
    for (what, direction, streams) in [
        ("to a door, 1 stream", Direction::To, 1),
        ("from a door, 1 stream", Direction::From, 1),
        ("to a door, 8 streams", Direction::To, 8),
        ("from a door, 8 streams", Direction::From, 8),
    ] {
        let mut figures: Vec<Vec<f64>> = vec![Vec::new(); ways.len()];
        for _ in 0..rounds {
            for ((way, address, _), figures) in ways.iter().zip(&mut figures) {
                figures.extend(measure::throughput(way, *address, direction, streams));
            }
        }
        let all: Vec<Figures> = ways
            .iter()
            .zip(figures)
            .map(|((way, ..), values)| Figures { system: way.name, values, goal: goal(way, 5.0) })
            .collect();
        report.add(what, "MB/s", Better::Higher, &all);
    }
    let busy = measure::peak(keeper)?;
    for (what, part) in [("one byte there and back, p50", 0.5), ("one byte there and back, p99", 0.99)] {
        let mut figures: Vec<Vec<f64>> = vec![Vec::new(); ways.len()];
        for _ in 0..rounds {
            for ((way, _, address), figures) in ways.iter().zip(&mut figures) {
                figures.extend(measure::latency(place, way, *address, part));
            }
        }
        let all: Vec<Figures> = ways
            .iter()
            .zip(figures)
            .map(|((way, ..), values)| Figures {
                system: way.name,
                values,
                goal: (way.name == "stock gvproxy").then_some(1.0),
            })
            .collect();
        report.add(what, "us", Better::Lower, &all);
    }
    for (what, mib, most) in [("keeper's memory, idle", idle, 12.0), ("keeper's memory, most", busy, 40.0)] {
        let figures = [
            Figures { system: "bottle", values: vec![mib], goal: None },
            Figures { system: "the goal", values: vec![most], goal: Some(1.0) },
        ];
        report.add(what, "MiB", Better::Lower, &figures);
    }
    let _ = server.kill();
    let _ = server.wait();
    Ok(())
}

pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Gives back the first byte of each connection.
fn serve_echo() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let _ = stream.set_nodelay(true);
                let mut byte = [0];
                if stream.read_exact(&mut byte).is_ok() {
                    let _ = stream.write_all(&byte);
                    let _ = stream.read(&mut byte);
                }
            });
        }
    });
    Ok(port)
}

/// `bottle-harness forward`: a guest's end of stock gvproxy, as its own forwarder would be.
///
/// # Errors
/// Where the tap cannot be made, or gvproxy cannot be reached.
pub fn forward(socket: &PathBuf, mtu: u16) -> Result<ExitCode> {
    let stream = UnixStream::connect(socket)?;
    // gvproxy's own forwarder leaves no checksum out.
    let (tap, end) = GuestEnd::make(Subnet::FIXED, mtu, Checksums::Sent)?;
    end.up()?;
    pump::run(&Arc::new(tap), &stream);
    Ok(ExitCode::SUCCESS)
}

/// `bottle-harness ping-pong`: the microseconds of each exchange, one a line.
///
/// # Errors
/// Where a connection fails.
pub fn ping_pong(address: SocketAddr, count: usize) -> Result<ExitCode> {
    for _ in 0..count {
        let since = Instant::now();
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])?;
        println!("{}", since.elapsed().as_micros());
    }
    Ok(ExitCode::SUCCESS)
}
