//! bottle as a user runs it: left alone, with a guest whose root does everything by hand, and with
//! a part of it killed during the sweep.

use super::questions::{self, RAW, WITNESS_HOST, WITNESSES};
use super::subject::Probed;
use super::world::{WITNESS_PORT, World, canaries};
use crate::ground::{Ground, Up};
use crate::processes::descendants;
use anyhow::{Context, Result, ensure};
use bottle_core::smolfile::HELPER;
use bottle_guest::probe::Attempt;
use bottle_verify::questions::Questions;
use bottle_verify::scope::{Breadth, Scope};
use bottle_verify::talk::Talk;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

const SLUG: &str = "conformance";
const NEIGHBOUR: &str = "neighbour";
/// Where the neighbour's guest has its canary.
const NEIGHBOUR_PORT: u16 = 7777;

/// The one host that may be reached: the world's page.
fn egress() -> String {
    format!(
        "[egress]\nallow = [\"{WITNESS_HOST}:{WITNESS_PORT}\"]\nhosts = {{ \"{WITNESS_HOST}\" = \"127.0.0.1\" }}\n"
    )
}

/// Both walls, every port, and another bottle beside it, with this network stack.
pub fn bottle(stack: &str, ground: &Ground, world: &World) -> Result<Probed> {
    // Its guest is a stand-in: two virtual machines at once seldom live through emulation.
    let beside = ground.beside()?;
    let network = format!("[network]\nstack = \"{stack}\"\n");
    let neighbour = Up::new(&beside, NEIGHBOUR, &network)?;
    let canary = format!(
        "setsid {HELPER} canary --port {NEIGHBOUR_PORT} --say 'canary {} neighbour' < /dev/null > /dev/null 2>&1 &",
        world.nonce()
    );
    neighbour.says(&["exec", "--", "sh", "-c", &canary])?;
    let its = neighbour.plan()?;

    let project = ground.project(SLUG, &(egress() + &network))?;
    let plan = ground.plan(&project)?;
    // Without KVM a real guest does not live through so many connections: see `Attempt::Ports`.
    let breadth = if ground.is_real() { world.sample() } else { Breadth::Every };
    let scope = Scope::of(&plan, breadth, ground.is_real());
    world.put_file(&ground.state().join(SLUG))?;
    let mut questions = Questions::default();
    questions.ask(WITNESSES[0], questions::witness(&plan));
    questions.all(&scope, &canaries(), world.nonce());
    for (what, address, port) in
        [("guest", its.subnet.guest(), NEIGHBOUR_PORT), ("door", its.subnet.proxy(), its.doors.pipelock())]
    {
        // Where gvproxy has one subnet for all, its door may have our own door's number.
        if (address, port) != (scope.proxy, plan.doors.pipelock()) {
            let attempt = Attempt::Tcp { address: IpAddr::V4(address), first: port, last: port };
            questions.ask(format!("tcp neighbour's {what}"), attempt);
        }
    }
    world.ask_for_files(&mut questions, &ground.state().join(SLUG));
    for (name, address) in [("gateway", scope.gateway), ("proxy", scope.proxy)] {
        questions.ask(format!("syn {name} 1-65535"), questions::every_tcp(&plan, address));
        questions.ask(format!("udp {name} 1-65535"), questions::every_udp(&plan, address));
    }
    questions.ask(RAW, questions::raw(&plan));
    questions.ask(WITNESSES[1], questions::witness(&plan));
    let guest = ground.bottle(&project, &["run", "--", HELPER, "probe"])?;
    let mut talk = Talk::begin(guest, questions)?;
    ensure!(talk.hear_next()?, "the first witness did not answer");
    // While the guest tries everything, the host sees for itself: both have to come to the same.
    ground.bottle_says(&project, &["verify", "--host-only", SLUG]).context("seen from the host")?;
    Probed::by(talk, scope)
}

/// Root kills the helper, writes frames itself, makes a link with another guest's address, and at
/// last one as the helper would: the door must answer again.
pub fn by_hand(ground: &Ground, world: &World) -> Result<Probed> {
    let up = Up::new(ground, SLUG, &egress())?;
    let plan = up.plan()?;
    let scope = Scope::of(&plan, world.sample(), ground.is_real());
    let mut first = Questions::default();
    first.ask(WITNESSES[0], questions::witness(&plan));
    let mut probed = Probed::by(up.ask(&[HELPER], first)?, scope.clone())?;

    let kill = "for exe in /proc/[0-9]*/exe; do case $(readlink $exe) in */bottle-guest) pid=${exe#/proc/}; kill -9 ${pid%/exe};; esac; done; :";
    up.says(&["exec", "--", "sh", "-c", kill])?;
    let mut raw = Questions::default();
    raw.ask(RAW, questions::raw(&plan));
    let other = plan.subnet.octet() % 254 + 1;
    let mut spoofed = Questions::default();
    spoofed.all(&scope, &canaries(), world.nonce());
    let mut last = Questions::default();
    last.ask(WITNESSES[1], questions::witness(&plan));
    let (spoofer, own) = (link(other), link(plan.subnet.octet()));
    for (program, questions) in [(&[HELPER.to_owned()][..], raw), (&spoofer, spoofed), (&own, last)] {
        let program: Vec<&str> = program.iter().map(String::as_str).collect();
        let more = Probed::by(up.ask(&program, questions)?, scope.clone())?;
        probed.answers.extend(more.answers);
        probed.asked += more.asked;
    }
    Ok(probed)
}

fn link(subnet: u8) -> Vec<String> {
    [HELPER, "link", "--subnet", &subnet.to_string(), "--", HELPER].map(str::to_owned).to_vec()
}

/// What is killed during the sweep.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    Keeper,
    Gvproxy,
    Sidecar,
}

/// What is reached only shrinks, and after recovery the witness answers again.
pub fn fault(fault: Fault, ground: &Ground, world: &World) -> Result<Probed> {
    let config = match fault {
        Fault::Sidecar => format!(
            "[pipelock]\ncommand = [\"{}\", \"witness\", \"--port\", \"{{port}}\", \"--nonce\", \"{}\"]\n",
            ground.program("bottle-harness")?.display(),
            world.nonce()
        ),
        _ => egress(),
    };
    let up = Up::new(ground, SLUG, &config)?;
    let plan = up.plan()?;
    // Every port, so that the sweep takes longer than the fault. A real guest is slower.
    let breadth = if ground.is_real() { world.sample() } else { Breadth::Every };
    let scope = Scope::of(&plan, breadth, ground.is_real());
    let mut questions = Questions::default();
    questions.ask(WITNESSES[0], questions::witness_in_time(&plan, world.nonce()));
    questions.all(&scope, &canaries(), world.nonce());
    questions.ask(WITNESSES[1], questions::witness_in_time(&plan, world.nonce()));
    let mut talk = up.ask(&[HELPER], questions)?;
    ensure!(talk.hear_next()?, "the first witness did not answer");
    // The sweep is under way.
    thread::sleep(Duration::from_millis(100));
    let keeper = up.status()?.pid;
    let victim = match fault {
        Fault::Keeper => keeper,
        Fault::Gvproxy => descendant(keeper, "gvproxy").context("no gvproxy is below the keeper")?,
        Fault::Sidecar => descendant(keeper, "bottle-harness").context("no sidecar is below the keeper")?,
    };
    kill_process(Pid::from_raw(i32::try_from(victim)?).context("a process")?, Signal::KILL)?;
    let swept = talk.so_far()?.iter().any(|answer| answer.id.starts_with("dns "));
    ensure!(!swept, "the sweep was over before the fault");
    if matches!(fault, Fault::Keeper) {
        thread::sleep(Duration::from_millis(500));
        up.says(&["up"])?;
    }
    Probed::by(talk, scope)
}

/// A process with this name, somewhere below another.
fn descendant(ancestor: u32, name: &str) -> Option<u32> {
    descendants(ancestor).into_iter().find(|pid| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        // The kernel keeps fifteen bytes of a name.
        name.starts_with(comm.trim()) && comm.trim().len() >= name.len().min(14)
    })
}
