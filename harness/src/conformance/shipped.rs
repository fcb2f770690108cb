//! bottle as a user runs it: left alone, with a guest whose root does everything by hand, and with one of its
//! processes killed during the sweep.

use super::canaries::{HostCanaries, WITNESS_PORT, known_canaries};
use super::probed::Probed;
use super::questions::{self, RAW, WITNESS_HOST, WITNESSES};
use crate::environment::Environment;
use crate::processes::descendants;
use anyhow::{Context, Result, ensure};
use bottle_core::helper::HELPER;
use bottle_guest::probe::Attempt;
use bottle_verify::questions::Questions;
use bottle_verify::scope::{Breadth, Scope};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

const SLUG: &str = "conformance";
const NEIGHBOUR: &str = "neighbour";
/// The port of the canary in the neighbour's guest.
const NEIGHBOUR_PORT: u16 = 7777;

/// Returns the rule for the one host that may be reached. It serves the witness's page.
fn egress() -> String {
    format!(
        "[egress]\nallow = [\"{WITNESS_HOST}:{WITNESS_PORT}\"]\nhosts = {{ \"{WITNESS_HOST}\" = \"127.0.0.1\" }}\n"
    )
}

/// Probes bottle with both walls and this network stack, on every port, with another bottle beside it.
pub fn bottle(stack: &str, environment: &Environment, canaries: &HostCanaries) -> Result<Probed> {
    // The neighbour's guest is a stand-in: two emulated machines at once rarely survive.
    let network = format!("[network]\nstack = \"{stack}\"\n");
    let neighbour = environment.neighbour()?.small_project(NEIGHBOUR, &network)?.up()?;
    let canary = format!(
        "setsid {HELPER} canary --port {NEIGHBOUR_PORT} --say 'canary {} neighbour' < /dev/null > /dev/null 2>&1 &",
        canaries.nonce()
    );
    neighbour.run(&["exec", "--", "sh", "-c", &canary])?;
    let theirs = neighbour.plan()?;

    let bottle = environment.small_project(SLUG, &(egress() + &network))?.up()?;
    let plan = bottle.plan()?;
    // Without KVM, a real guest does not survive so many connections: see `Attempt::Ports`.
    let breadth = if environment.is_real() { canaries.sample() } else { Breadth::Every };
    let scope = Scope::of(&plan, breadth, environment.is_real());
    let state = environment.path("state").join(SLUG);
    canaries.put_file(&state)?;
    let mut questions = Questions::default();
    questions.ask(WITNESSES[0], questions::witness(&plan));
    questions.all(&scope, &known_canaries(), canaries.nonce());
    for (what, address, port) in [
        ("guest", theirs.subnet.guest(), NEIGHBOUR_PORT),
        ("door", theirs.subnet.proxy(), theirs.doors.pipelock()),
    ] {
        // gvproxy uses one subnet for all bottles, so the neighbour's door may have the number of our own.
        if (address, port) != (scope.proxy, plan.doors.pipelock()) {
            let attempt = Attempt::Tcp { address: IpAddr::V4(address), first: port, last: port };
            questions.ask(format!("tcp neighbour's {what}"), attempt);
        }
    }
    canaries.ask_for_files(&mut questions, &state);
    if scope.streams {
        questions.ask("lies", questions::lies(&plan));
    } else {
        for (name, address) in [("gateway", scope.gateway), ("proxy", scope.proxy)] {
            questions.ask(format!("syn {name} 1-65535"), questions::every_tcp(&plan, address));
            questions.ask(format!("udp {name} 1-65535"), questions::every_udp(&plan, address));
        }
        questions.ask(RAW, questions::raw(&plan));
    }
    questions.ask(WITNESSES[1], questions::witness(&plan));
    let mut talk = bottle.ask(&[HELPER], questions)?;
    ensure!(talk.hear_next()?, "the first witness did not answer");
    // While the guest tries everything, the host examines the walls itself. Both must come to the same
    // verdict.
    bottle.run(&["verify", "--host-only", SLUG]).context("seen from the host")?;
    Probed::by(talk, scope)
}

/// What root in a guest runs to get rid of the helper.
const KILL_HELPER: &str = "for exe in /proc/[0-9]*/exe; do case $(readlink $exe) in */bottle-guest) pid=${exe#/proc/}; kill -9 ${pid%/exe};; esac; done; :";

/// Probes bottle after root in the guest has killed the helper, and requests everything from the keeper's
/// socket by hand. Finally it makes a link as the helper would, and the door must answer again.
pub fn sockets_by_hand(environment: &Environment, canaries: &HostCanaries) -> Result<Probed> {
    let bottle = environment.small_project(SLUG, &(egress() + "[network]\nstack = \"sockets\"\n"))?.up()?;
    let plan = bottle.plan()?;
    let breadth = if environment.is_real() { canaries.sample() } else { Breadth::Every };
    let scope = Scope::of(&plan, breadth, environment.is_real());
    let mut first = Questions::default();
    first.ask(WITNESSES[0], questions::witness(&plan));
    let mut probed = Probed::by(bottle.ask(&[HELPER], first)?, scope.clone())?;
    bottle.run(&["exec", "--", "sh", "-c", KILL_HELPER])?;
    let mut by_hand = Questions::default();
    by_hand.ask("lies", questions::lies(&plan));
    by_hand.all(&scope, &known_canaries(), canaries.nonce());
    let mut last = Questions::default();
    last.ask(WITNESSES[1], questions::witness(&plan));
    let mut own = plan.link();
    own.extend(["--", HELPER].map(str::to_owned));
    for (program, questions) in [(&[HELPER.to_owned()][..], by_hand), (&own, last)] {
        let program: Vec<&str> = program.iter().map(String::as_str).collect();
        let more = Probed::by(bottle.ask(&program, questions)?, scope.clone())?;
        probed.answers.extend(more.answers);
        probed.asked += more.asked;
    }
    Ok(probed)
}

/// Starts the server in the guest that is published.
const SERVER: &str = "setsid HELPER canary --port 3000 --say 'published' < /dev/null > /dev/null 2>&1 &";

/// Probes bottle while the host asks a server in its guest through a published port, again and again. The server answers
/// before and after, which shows that there is something published.
pub fn published(environment: &Environment, canaries: &HostCanaries) -> Result<Probed> {
    let publish = "[[publish]]\nguest = 3000\n";
    let bottle = environment.small_project(SLUG, &(egress() + publish))?.up()?;
    let rows = bottle.answer(&["ls", "--json"])?;
    let port = rows[0]["published"][0]["host"].as_u64().and_then(|port| u16::try_from(port).ok());
    let port = port.context("nothing is published")?;
    bottle.run(&["exec", "--", "sh", "-c", &SERVER.replace("HELPER", HELPER)])?;
    ensure!(is_served(port), "the published server did not answer");
    let plan = bottle.plan()?;
    let scope = Scope::of(&plan, canaries.sample(), environment.is_real());
    let mut questions = Questions::default();
    questions.ask(WITNESSES[0], questions::witness(&plan));
    questions.all(&scope, &known_canaries(), canaries.nonce());
    questions.ask(WITNESSES[1], questions::witness(&plan));
    let talk = bottle.ask(&[HELPER], questions)?;
    let is_asked = AtomicBool::new(true);
    let probed = thread::scope(|scope_of_threads| {
        scope_of_threads.spawn(|| {
            while is_asked.load(Relaxed) {
                is_served(port);
                thread::sleep(Duration::from_millis(100));
            }
        });
        let probed = Probed::by(talk, scope);
        is_asked.store(false, Relaxed);
        probed
    })?;
    ensure!(is_served(port), "the published server did not answer afterwards");
    bottle.run(&["verify", "--host-only", SLUG]).context("seen from the host")?;
    Ok(probed)
}

/// Returns whether the server behind a published port answers. It may have been started a moment ago.
fn is_served(port: u16) -> bool {
    let asked = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut said = [0; 256];
        let read = stream.read(&mut said)?;
        Ok(String::from_utf8_lossy(&said[..read]).contains("published"))
    };
    (0..50).any(|_| {
        let is_there = asked().unwrap_or(false);
        if !is_there {
            thread::sleep(Duration::from_millis(100));
        }
        is_there
    })
}

/// Probes bottle while root in the guest kills the helper, writes frames by hand, and makes a link with
/// another guest's address. Finally it makes a link as the helper would, and the door must answer again.
pub fn by_hand(environment: &Environment, canaries: &HostCanaries) -> Result<Probed> {
    let bottle = environment.small_project(SLUG, &egress())?.up()?;
    let plan = bottle.plan()?;
    let scope = Scope::of(&plan, canaries.sample(), environment.is_real());
    let mut first = Questions::default();
    first.ask(WITNESSES[0], questions::witness(&plan));
    let mut probed = Probed::by(bottle.ask(&[HELPER], first)?, scope.clone())?;

    bottle.run(&["exec", "--", "sh", "-c", KILL_HELPER])?;
    let mut raw = Questions::default();
    raw.ask(RAW, questions::raw(&plan));
    let other = plan.subnet.octet() % 254 + 1;
    let mut spoofed = Questions::default();
    spoofed.all(&scope, &known_canaries(), canaries.nonce());
    let mut last = Questions::default();
    last.ask(WITNESSES[1], questions::witness(&plan));
    let (spoofer, own) = (link(other), link(plan.subnet.octet()));
    for (program, questions) in [(&[HELPER.to_owned()][..], raw), (&spoofer, spoofed), (&own, last)] {
        let program: Vec<&str> = program.iter().map(String::as_str).collect();
        let more = Probed::by(bottle.ask(&program, questions)?, scope.clone())?;
        probed.answers.extend(more.answers);
        probed.asked += more.asked;
    }
    Ok(probed)
}

fn link(subnet: u8) -> Vec<String> {
    [HELPER, "link", "--subnet", &subnet.to_string(), "--", HELPER].map(str::to_owned).to_vec()
}

/// The process that is killed during the sweep.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    Keeper,
    Gvproxy,
    Sidecar,
}

/// Probes bottle while one of its processes is killed. Nothing more may be reached than before, and the
/// witness must answer again after recovery.
pub fn fault(fault: Fault, environment: &Environment, canaries: &HostCanaries) -> Result<Probed> {
    let config = match fault {
        Fault::Sidecar => format!(
            "[pipelock]\ncommand = [\"{}\", \"witness\", \"--port\", \"{{port}}\", \"--nonce\", \"{}\"]\n",
            environment.checkout().program("bottle-harness")?.display(),
            canaries.nonce()
        ),
        _ => egress(),
    };
    let bottle = environment.small_project(SLUG, &config)?.up()?;
    let plan = bottle.plan()?;
    // The sweep of every port takes longer than the fault. A real guest is slow enough with fewer ports.
    let breadth = if environment.is_real() { canaries.sample() } else { Breadth::Every };
    let scope = Scope::of(&plan, breadth, environment.is_real());
    let mut questions = Questions::default();
    questions.ask(WITNESSES[0], questions::witness_in_time(&plan, canaries.nonce()));
    questions.all(&scope, &known_canaries(), canaries.nonce());
    questions.ask(WITNESSES[1], questions::witness_in_time(&plan, canaries.nonce()));
    let mut talk = bottle.ask(&[HELPER], questions)?;
    ensure!(talk.hear_next()?, "the first witness did not answer");
    // Let the sweep get under way.
    thread::sleep(Duration::from_millis(100));
    let keeper = bottle.status()?.pid;
    let victim = match fault {
        Fault::Keeper => keeper,
        Fault::Gvproxy => descendant(keeper, "gvproxy").context("the keeper has no gvproxy")?,
        Fault::Sidecar => descendant(keeper, "bottle-harness").context("the keeper has no sidecar")?,
    };
    kill_process(Pid::from_raw(i32::try_from(victim)?).context("a process")?, Signal::KILL)?;
    let swept = talk.so_far()?.iter().any(|answer| answer.id.starts_with("dns "));
    ensure!(!swept, "the sweep was over before the fault");
    if matches!(fault, Fault::Keeper) {
        thread::sleep(Duration::from_millis(500));
        bottle.run(&["up"])?;
    }
    Probed::by(talk, scope)
}

/// Returns a process with this name, somewhere below another process.
fn descendant(ancestor: u32, name: &str) -> Option<u32> {
    descendants(ancestor).into_iter().find(|pid| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        // The kernel keeps fifteen bytes of a name.
        name.starts_with(comm.trim()) && comm.trim().len() >= name.len().min(14)
    })
}
