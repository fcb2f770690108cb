//! Finds out what a running bottle can reach, from the host and from inside.
//!
//! It opens ports of this machine as canaries. From the host, the keeper sends everything that a guest could
//! send ([`bottle_keeper::examine`]). From inside, a program in the guest tries to reach the canaries and
//! reports. The conformance harness tests what would disturb the agent, such as a stopped helper.

use crate::publish::record;
use anyhow::{Context, Result};
use bottle_core::helper::HELPER;
use bottle_core::plan::Plan;
use bottle_guest::probe::Attempt;
use bottle_host::control::Examined;
use bottle_host::control::{self, Answer, Request};
use bottle_host::defence::Defence;
use bottle_host::failure::Outcome;
use bottle_host::notify::{self, Notice};
use bottle_host::out;
use bottle_host::services;
use bottle_host::smolvm::Smolvm;
use bottle_host::smolvm::Terminal;
use bottle_host::state::Folder;
use bottle_host::tools;
use bottle_keeper::examine;
use bottle_verify::canaries::Canaries;
use bottle_verify::host::FromHost;
use bottle_verify::judge::{self, Verdict};
use bottle_verify::questions::Questions;
use bottle_verify::report::{FromInside, Judged};
use bottle_verify::scope::{Breadth, Canary, Scope};
use bottle_verify::talk::Talk;
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

/// The questions that must be answered. Otherwise the guest may have had no network at all.
const WITNESSES: [&str; 2] = ["witness before", "witness after"];
/// The first bytes of every HTTP proxy's answer.
const SPOKE: &str = "HTTP/1.";
/// How long packets under way may take to arrive at a canary.
const SETTLE: Duration = Duration::from_millis(100);
/// How long a keeper may take to answer a status request.
const GLANCE: Duration = Duration::from_secs(10);
/// The longest time for which the log may only count refusals.
const LONGEST_MS: u64 = 300_000;
/// How long a keeper may take to write its summary. A longer log is no reason to wait.
const SHORTLY: Duration = Duration::from_secs(2);
/// Ports of common services: proxies, databases, Docker, Kubernetes, mail, desktops.
const WELL_KNOWN: [u16; 32] = [
    111, 139, 389, 443, 445, 631, 1433, 1883, 2049, 2375, 2376, 3000, 3128, 3306, 3389, 5000, 5432, 5900,
    6379, 6443, 8000, 8080, 8443, 8888, 9000, 9090, 9200, 10_250, 11_211, 11_434, 27_017, 54_321,
];

/// How a bottle is verified.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// Whether every TCP port is tried from inside, instead of a sample.
    pub every_port: bool,
    /// Whether nothing is run in the guest.
    pub host_only: bool,
}

/// Verifies a bottle that is up. `progress` is told of each step.
///
/// # Errors
/// Returns an error if smolvm is missing, or if this machine cannot open canaries.
pub fn verify(folder: &Folder, how: How, progress: &dyn Fn(&str)) -> Outcome<Judged> {
    let smolvm = tools::smolvm()?;
    let plan = folder.read_plan()?;
    let since = Instant::now();
    let canaries = Canaries::new()?;
    let placed = place(&canaries)?;

    progress(&format!("sending from the host what the guest of {} could send", folder.slug()));
    let summarized = Summarized::begin(folder);
    let examined = Defence::VerifyFromHost.stands().then(|| examine(folder, &placed, &canaries));
    // If the keeper does not answer, the guest has nothing to ask through.
    let is_kept = !matches!(examined, Some(Err(_)));
    let inside = if is_kept && !how.host_only {
        progress(&format!(
            "asking the guest for its doors, and for {} canaries of this machine",
            placed.len() + 1
        ));
        Some(ask_inside(&smolvm, folder, &plan, &canaries, &placed, how.every_port)?)
    } else {
        None
    };
    drop(summarized);
    thread::sleep(SETTLE);
    let mut inside = inside;
    let leaks = [canaries.leaks(), record::faults(&record::published(folder))].concat();
    let host = match examined {
        Some(examined) => Some(FromHost::judge(examined, leaks)),
        None => {
            if let Some(inside) = &mut inside {
                inside.leaks.extend(canaries.leaks());
                inside.verdict = if inside.leaks.is_empty() { inside.verdict } else { Verdict::Leaks };
            }
            None
        }
    };
    let doors = plan.doors.ports();
    let judged = Judged::new(
        folder.slug(),
        host,
        inside,
        doors,
        placed,
        smolvm.stand_in,
        since.elapsed().as_secs_f64(),
    );
    tell(folder, &judged);
    Ok(judged)
}

/// Tells a person of a leak, if there is a command for that.
fn tell(folder: &Folder, judged: &Judged) {
    if judged.verdict() != Verdict::Leaks {
        return;
    }
    let seen = judged.host().into_iter().flat_map(|host| host.leaks.clone());
    let said = judged.inside().into_iter().flat_map(|inside| inside.leaks.iter());
    let leaks = seen.chain(said.map(|leak| format!("the guest says: {leak}"))).collect();
    let words = services::read(folder).map(|services| services.notify).unwrap_or_default();
    if let Err(error) = notify::run(&words, folder.slug(), &Notice::Leak { leaks }) {
        out::note(format_args!("{error:#}"));
    }
}

/// While it lives, the log counts refusals. One line for all of them follows at the end.
struct Summarized<'f>(&'f Folder);

impl<'f> Summarized<'f> {
    fn begin(folder: &'f Folder) -> Option<Self> {
        let request = Request::Summarize { limit_ms: LONGEST_MS };
        control::ask_within(SHORTLY, folder, &request).ok().map(|_| Self(folder))
    }
}

impl Drop for Summarized<'_> {
    fn drop(&mut self) {
        let _ = control::ask_within(SHORTLY, self.0, &Request::Summarize { limit_ms: 0 });
    }
}

/// Checks the half that no guest can forge: the keeper's own guard, stack and doors.
fn examine(folder: &Folder, placed: &[Canary], canaries: &Canaries) -> Result<Examined, String> {
    let request = Request::Examine {
        canaries: placed.iter().map(|canary| canary.address).collect(),
        nonce: canaries.nonce().to_owned(),
    };
    // A keeper that does not answer a status request is not waited for.
    control::ask_within(GLANCE, folder, &Request::Status).map_err(|failure| failure.to_string())?;
    match control::ask_within(examine::LONGEST, folder, &request) {
        Ok(Answer::Examined(examined)) => Ok(*examined),
        Ok(Answer::Failed { why }) => Err(why),
        Ok(_) => Err("the keeper is of another version; `bottle restart` brings it up to date".to_owned()),
        Err(failure) => Err(failure.to_string()),
    }
}

/// Asks a program in the guest what it reached. This half is the guest's word.
fn ask_inside(
    smolvm: &Smolvm,
    folder: &Folder,
    plan: &Plan,
    canaries: &Canaries,
    placed: &[Canary],
    every_port: bool,
) -> Result<FromInside> {
    let since = Instant::now();
    let file = CanaryFile::in_the_state_of(folder, canaries)?;
    let breadth = if every_port { Breadth::Every } else { sample(plan, placed) };
    let scope = Scope::of(plan, breadth, !smolvm.stand_in);
    let mut questions = Questions::default();
    questions.ask(WITNESSES[0], witness(plan));
    questions.all(&scope, placed, canaries.nonce());
    questions.ask("file in the state folder", Attempt::Read { path: file.path.display().to_string() });
    questions.ask(WITNESSES[1], witness(plan));
    let probe = [HELPER, "probe"].map(str::to_owned);
    let talk = Talk::begin(smolvm.exec(folder.slug(), Terminal::Pipe, &probe), questions)?;
    let asked = talk.asked();
    let (answers, ended) = match talk.end() {
        Ok(answers) => (answers, None),
        Err(error) => (Vec::new(), Some(format!("{error:#}"))),
    };
    let others = answers.iter().filter(|answer| !WITNESSES.contains(&answer.id.as_str()));
    let mut findings = judge::read(others, &scope, canaries.nonce());
    findings.behind_a_guard();
    let doubt = ended.or_else(|| judge::doubt(&answers, asked, &WITNESSES, SPOKE));
    Ok(FromInside::judge(findings, doubt, answers, since.elapsed().as_secs_f64()))
}

/// Returns the attempt that must work even if every host is refused: a refusal is an answer.
fn witness(plan: &Plan) -> Attempt {
    let address = SocketAddr::new(plan.subnet.proxy().into(), plan.doors.pipelock());
    let text = "GET http://verify.invalid/ HTTP/1.1\r\nHost: verify.invalid\r\nConnection: close\r\n\r\n";
    Attempt::Say { address, text: text.to_owned() }
}

/// Opens a canary on each form of loopback and on each address of this machine.
fn place(canaries: &Canaries) -> Result<Vec<Canary>> {
    let mut addresses: BTreeSet<IpAddr> =
        [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53))].into();
    addresses.insert(IpAddr::V6(Ipv6Addr::LOCALHOST));
    let interfaces = if_addrs::get_if_addrs().context("this machine's addresses")?;
    addresses.extend(interfaces.iter().map(if_addrs::Interface::ip).filter(|address| !is_scoped(*address)));
    let mut placed = Vec::new();
    for address in addresses {
        match canaries.listen(&address.to_string(), SocketAddr::new(address, 0)) {
            Ok(canary) => placed.push(canary),
            // Some machines lack some forms of loopback.
            Err(_) if address.is_loopback() => {}
            Err(error) => return Err(error),
        }
    }
    canaries.check(&placed)?;
    Ok(placed)
}

/// Returns whether an address has a meaning only together with an interface.
fn is_scoped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// Returns the ports to try: well-known ones, those of the canaries, and the doors with their neighbours.
fn sample(plan: &Plan, canaries: &[Canary]) -> Breadth {
    let doors = plan.doors.ports().into_iter().flat_map(|port| [port - 1, port, port + 1]);
    let ports: BTreeSet<u16> = WELL_KNOWN
        .into_iter()
        .chain(doors)
        .chain(canaries.iter().map(|canary| canary.address.port()))
        .collect();
    Breadth::Sample(ports.into_iter().collect())
}

/// A file in the bottle's folder that the guest must not see. Dropping this value removes it.
struct CanaryFile {
    path: std::path::PathBuf,
}

impl CanaryFile {
    fn in_the_state_of(folder: &Folder, canaries: &Canaries) -> Result<Self> {
        let path = folder.state().join("verify.canary");
        bottle_host::state::write_private(&path, canaries.says("file").as_bytes())?;
        Ok(Self { path })
    }
}

impl Drop for CanaryFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
