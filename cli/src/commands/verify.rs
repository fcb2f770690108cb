//! `bottle verify`: what a bottle that is up reaches, tried from inside it.
//!
//! The canaries are on ports of this machine that are opened for the purpose. What would disturb
//! the agent (frames by hand, a helper that is stopped) is left to the conformance harness.

use super::context::Context;
use crate::failure::Outcome;
use crate::out::{self, outln};
use crate::preflight;
use crate::smolvm::Terminal;
use crate::state::Folder;
use crate::verify::canaries::Canaries;
use crate::verify::judge::{self, Findings, Verdict};
use crate::verify::questions::Questions;
use crate::verify::scope::{Breadth, Canary, Scope};
use crate::verify::talk::Talk;
use anyhow::{Context as _, Result};
use bottle_core::plan::Plan;
use bottle_core::slug::Slug;
use bottle_core::smolfile::HELPER;
use bottle_guest::probe::{Answer, Attempt};
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Instant;

/// The layout of what `--json` prints. It changes when a field changes its meaning or goes.
const SCHEMA: u32 = 1;
/// The questions that must be answered, or the guest may have had no network at all.
const WITNESSES: [&str; 2] = ["witness before", "witness after"];
/// What every answer of an HTTP proxy begins with.
const SPOKE: &str = "HTTP/1.";
/// Ports that people have something on: proxies, databases, Docker, Kubernetes, mail, desktops.
const WELL_KNOWN: [u16; 32] = [
    111, 139, 389, 443, 445, 631, 1433, 1883, 2049, 2375, 2376, 3000, 3128, 3306, 3389, 5000, 5432, 5900,
    6379, 6443, 8000, 8080, 8443, 8888, 9000, 9090, 9200, 10_250, 11_211, 11_434, 27_017, 54_321,
];

pub fn verify(context: &Context, slug: Option<Slug>, every_port: bool, json: bool) -> Outcome<ExitCode> {
    let folder = context.running(slug)?;
    let smolvm = preflight::smolvm()?;
    let plan = folder.read_plan()?;
    let since = Instant::now();
    let canaries = Canaries::new()?;
    let placed = place(&canaries)?;
    let file = CanaryFile::in_the_state_of(&folder, &canaries)?;
    context.progress(&format!(
        "asking the guest of {} for its doors, and for {} canaries of this machine",
        folder.slug(),
        placed.len() + 1
    ));

    let breadth = if every_port { Breadth::Every } else { sample(&plan, &placed) };
    let scope = Scope::of(&plan, breadth, !smolvm.stand_in);
    let mut questions = Questions::default();
    questions.ask(WITNESSES[0], witness(&plan));
    questions.all(&scope, &placed, canaries.nonce());
    questions.ask("file in the state folder", Attempt::Read { path: file.path.display().to_string() });
    questions.ask(WITNESSES[1], witness(&plan));
    let probe = [HELPER, "probe"].map(str::to_owned);
    let talk = Talk::begin(smolvm.exec(folder.slug(), Terminal::Pipe, &probe), questions)?;
    let asked = talk.asked();
    let (answers, ended) = match talk.end() {
        Ok(answers) => (answers, None),
        Err(error) => (Vec::new(), Some(format!("{error:#}"))),
    };

    let others = answers.iter().filter(|answer| !WITNESSES.contains(&answer.id.as_str()));
    let mut findings = judge::read(others, &scope, canaries.nonce());
    findings.leaks.extend(canaries.leaks());
    findings.behind_a_guard();
    let doubt = ended.or_else(|| judge::doubt(&answers, asked, &WITNESSES, SPOKE));
    let judged = Judged {
        slug: folder.slug(),
        verdict: Verdict::of(&findings, doubt.as_deref()),
        findings,
        doubt,
        doors: scope.doors,
        canaries: placed,
        seconds: since.elapsed().as_secs_f64(),
    };
    if json {
        judged.print_json(&answers)?;
    } else {
        judged.print()?;
    }
    Ok(ExitCode::from(match judged.verdict {
        Verdict::Isolated => 0,
        Verdict::Leaks => 1,
        Verdict::Inconclusive => crate::failure::Kind::Guest as u8,
    }))
}

/// A bottle, judged.
struct Judged<'a> {
    slug: &'a Slug,
    verdict: Verdict,
    findings: Findings,
    doubt: Option<String>,
    doors: BTreeSet<u16>,
    canaries: Vec<Canary>,
    seconds: f64,
}

impl Judged<'_> {
    fn print(&self) -> Outcome {
        let Findings { leaks, vsock, hangs, attempts, .. } = &self.findings;
        for leak in leaks {
            outln!("  reached   {leak}")?;
        }
        for service in vsock {
            outln!("  machine   {service}: smolvm's own")?;
        }
        if *hangs > 0 {
            outln!("  silent    {hangs} refusals were silences")?;
        }
        if let Some(why) = &self.doubt {
            outln!("  doubt     {why}")?;
        }
        let doors: Vec<String> = self.doors.iter().map(u16::to_string).collect();
        let sentence = match self.verdict {
            Verdict::Isolated => {
                format!("nothing answers but the doors (proxy.internal:{})", doors.join(", "))
            }
            Verdict::Leaks => "this guest reaches what it must not".to_owned(),
            Verdict::Inconclusive => "this says nothing either way; try again".to_owned(),
        };
        outln!(
            "{}: {}: {sentence}; {attempts} attempts, {} canaries, {:.1} s",
            self.slug,
            self.verdict.word(),
            self.canaries.len() + 1,
            self.seconds
        )
    }

    fn print_json(&self, answers: &[Answer]) -> Outcome {
        let report = serde_json::json!({
            "schema": SCHEMA,
            "slug": self.slug,
            "verdict": self.verdict,
            "leaks": self.findings.leaks,
            "inconclusive_because": self.doubt,
            "vsock": self.findings.vsock,
            "hangs": self.findings.hangs,
            "attempts": self.findings.attempts,
            "doors": self.doors,
            "canaries": self.canaries,
            "seconds": self.seconds,
            "probes": answers,
        });
        out::json(&report)
    }
}

/// The way through the door must work, also where every host is refused: a refusal is an answer.
fn witness(plan: &Plan) -> Attempt {
    let address = SocketAddr::new(plan.subnet.proxy().into(), plan.doors.pipelock());
    let text = "GET http://verify.invalid/ HTTP/1.1\r\nHost: verify.invalid\r\nConnection: close\r\n\r\n";
    Attempt::Say { address, text: text.to_owned() }
}

/// One on loopback in each of its forms, and one on each address of this machine.
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
            // Not every machine has every form of loopback.
            Err(_) if address.is_loopback() => {}
            Err(error) => return Err(error),
        }
    }
    canaries.check(&placed)?;
    Ok(placed)
}

/// An address that means something only together with an interface.
fn is_scoped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// Well-known ports, those of the canaries, and the doors with their neighbours.
fn sample(plan: &Plan, canaries: &[Canary]) -> Breadth {
    let doors = plan.doors.ports().into_iter().flat_map(|port| [port - 1, port, port + 1]);
    let ports: BTreeSet<u16> = WELL_KNOWN
        .into_iter()
        .chain(doors)
        .chain(canaries.iter().map(|canary| canary.address.port()))
        .collect();
    Breadth::Sample(ports.into_iter().collect())
}

/// A file where the bottle keeps what its guest must not see. It is gone with the value.
struct CanaryFile {
    path: std::path::PathBuf,
}

impl CanaryFile {
    fn in_the_state_of(folder: &Folder, canaries: &Canaries) -> Result<Self> {
        let path = folder.state().join("verify.canary");
        crate::state::write_private(&path, canaries.says("file").as_bytes())?;
        Ok(Self { path })
    }
}

impl Drop for CanaryFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
