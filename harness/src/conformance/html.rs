//! The report as a page: one file, without scripts or external resources.

use super::questions::WITNESSES;
use super::verdict::Judged;
use crate::environment::Guest;
use crate::ways_back::target::Verdict;
use crate::ways_back::{self, AttackResult};
use anyhow::Result;
use bottle_guest::probe::Answer;
use bottle_verify::judge;
use std::fmt::Write;

const STYLE: &str = include_str!("report.css");

/// Destinations as a reader thinks of them, each with the prefixes of the probes that try it. The first match
/// counts.
const DESTINATIONS: [(&str, &[&str]); 17] = [
    ("the doors' witness", &WITNESSES),
    ("ports of the gateway", &["tcp gateway", "udp gateway", "syn gateway"]),
    ("ports of the proxy address", &["tcp proxy", "udp proxy", "syn proxy"]),
    ("gvproxy's own interface", &["http "]),
    ("the host's loopback", &["tcp canary loopback", "udp canary loopback"]),
    ("the LAN", &["tcp canary lan", "udp canary lan"]),
    ("the public internet", &["tcp canary public", "udp canary public"]),
    ("cloud metadata", &["tcp canary metadata", "udp canary metadata"]),
    ("ICMP echo", &["ping "]),
    ("IPv6", &["tcp v6"]),
    ("names, asked of the gateway", &["dns gateway"]),
    ("names, asked of a public resolver", &["dns public"]),
    ("frames made by hand", &["raw "]),
    ("another bottle", &["tcp neighbour"]),
    ("vsock", &["vsock "]),
    ("impersonated sockets (TSI)", &["tsi "]),
    ("the host's files and sockets", &["unix ", "file "]),
];

/// The result for a destination.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cell {
    NotAsked,
    Refused,
    Silent,
    Door,
    Service,
    Reached,
}

impl Cell {
    fn show(self) -> (&'static str, &'static str) {
        match self {
            Self::NotAsked => ("none", "not asked"),
            Self::Refused => ("refused", "refused"),
            Self::Silent => ("silent", "silent"),
            Self::Door => ("door", "answers"),
            Self::Service => ("service", "answers"),
            Self::Reached => ("reached", "reached"),
        }
    }
}

/// Returns the page.
pub fn page(judged: &[Judged], attacks: &[AttackResult]) -> Result<String> {
    let mut html = String::new();
    write!(
        html,
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>bottle: what a guest reaches</title><style>{STYLE}</style>\
         <h1>What a guest reaches</h1>"
    )?;
    let wrong = judged.iter().filter(|judged| !judged.as_it_must).count();
    let attempts: usize = judged.iter().map(|judged| judged.attempts).sum();
    let (class, sentence) = match wrong {
        0 => ("good", "Every network gave the expected result".to_owned()),
        n => ("bad", format!("{n} of {} networks gave an unexpected result", judged.len())),
    };
    write!(html, "<p class=\"sum {class}\">{sentence}: {} of them, {attempts} attempts.</p>", judged.len())?;
    html.push_str("<p>A network that is not bottle's is a control and must be found leaking: otherwise this check proves nothing. A destination counts as reached only if bytes with the run's number arrived, or a canary saw the guest.</p>");
    for guest in [Guest::Real, Guest::Namespace] {
        let of: Vec<&Judged> = judged.iter().filter(|judged| judged.guest == guest).collect();
        if !of.is_empty() {
            write!(html, "<section><h2>In {}</h2>", guest.name())?;
            summary(&mut html, &of)?;
            matrix(&mut html, &of)?;
            strips(&mut html, &of)?;
            html.push_str("</section>");
        }
    }
    ways_back(&mut html, attacks)?;
    html.push_str("<h2>What was reached in each network</h2>");
    for judged in judged {
        details(&mut html, judged)?;
    }
    html.push_str("</html>");
    Ok(html)
}

/// Writes the table of attacks.
fn ways_back(html: &mut String, attacks: &[AttackResult]) -> Result<()> {
    if attacks.is_empty() {
        return Ok(());
    }
    let is_good = attacks.iter().all(AttackResult::is_as_expected);
    let class = if is_good { "good" } else { "bad" };
    write!(
        html,
        "<section><h2>What comes back from a guest</h2><p class=\"sum {class}\">{}.</p>\
         <p>Each attack is made twice: against bottle as it is, which must hold, and with the defence against it \
         switched off, where it must succeed. An attack that also fails without the defence would prove \
         nothing.</p><table class=summary><tr><th>attack<th>guest<th>defence<th>with it<th>without it<th>seconds</tr>",
        escape(&ways_back::summary(attacks))
    )?;
    for a in attacks {
        let class = |good: bool| if good { "good" } else { "bad" };
        let guest = if a.guest == Guest::Real { "real" } else { "stand-in" };
        write!(
            html,
            "<tr><td>{}<td>{guest}<td>{}<td class={} title=\"{}\">{}<td class={} title=\"{}\">{}<td>{:.1}</tr>",
            escape(&a.name),
            escape(&a.defence),
            class(a.held == Verdict::Held),
            escape(&a.held.to_string()),
            a.held.word(),
            class(a.witness.is_success()),
            escape(&a.witness.to_string()),
            a.witness.word(),
            a.seconds
        )?;
    }
    html.push_str("</table></section>");
    Ok(())
}

fn summary(html: &mut String, judged: &[&Judged]) -> Result<()> {
    html.push_str(
        "<table class=summary><tr><th>network<th>verdict<th>as expected<th>attempts<th>seconds</tr>",
    );
    for j in judged {
        let expected = if j.as_it_must { "<td class=good>yes" } else { "<td class=bad>no" };
        let (name, verdict) = (j.subject.name(), j.verdict.word());
        write!(
            html,
            "<tr><td>{name}<td class={verdict}>{verdict}{expected}<td>{}<td>{:.1}</tr>",
            j.attempts, j.seconds
        )?;
    }
    html.push_str("</table>");
    Ok(())
}

/// Writes the table of destinations and networks.
fn matrix(html: &mut String, judged: &[&Judged]) -> Result<()> {
    html.push_str("<div class=wide><table class=matrix><tr><th>");
    for j in judged {
        write!(html, "<th><span>{}</span>", j.subject.name())?;
    }
    html.push_str("</tr>");
    for (destination, prefixes) in DESTINATIONS {
        write!(html, "<tr><th>{destination}")?;
        for j in judged {
            let (class, title) = cell(j, prefixes).show();
            write!(html, "<td class={class} title=\"{}: {destination}: {title}\"><i></i>", j.subject.name())?;
        }
        html.push_str("</tr>");
    }
    html.push_str("</table></div><p class=legend>");
    for cell in [Cell::Door, Cell::Refused, Cell::Silent, Cell::Service, Cell::Reached, Cell::NotAsked] {
        let (class, _) = cell.show();
        let meaning = match cell {
            Cell::Door => "a door answers",
            Cell::Refused => "refused at once",
            Cell::Silent => "silence",
            Cell::Service => "the network's own service answers",
            Cell::Reached => "reached: a leak",
            Cell::NotAsked => "not asked",
        };
        write!(html, "<span class={class}><i></i> {meaning}</span> ")?;
    }
    html.push_str("</p>");
    Ok(())
}

fn cell(judged: &Judged, prefixes: &[&str]) -> Cell {
    let fits = |id: &str| prefixes.iter().any(|prefix| id.starts_with(prefix));
    let leaked = judged.leaks.iter().any(|leak| fits(leak) || fits(&canary_as_probe(leak)));
    let answers = judged.probes.iter().filter(|answer| fits(&answer.id)).map(|answer| one(answer, judged));
    answers.chain(leaked.then_some(Cell::Reached)).max().unwrap_or(Cell::NotAsked)
}

/// Returns the name of the probe that reaches the canary in a leak's text.
fn canary_as_probe(leak: &str) -> String {
    match leak.strip_prefix("canary ").unwrap_or_default() {
        rest if rest.starts_with("resolver") => "dns gateway".to_owned(),
        rest if rest.starts_with("abstract") || rest.starts_with("socket") => "unix canary".to_owned(),
        rest => format!("tcp canary {rest}"),
    }
}

fn one(answer: &Answer, judged: &Judged) -> Cell {
    if WITNESSES.contains(&answer.id.as_str()) && !answer.said.is_empty() {
        return Cell::Door;
    }
    let is_service = |port: &u16| *port != 0 && !judged.doors.contains(port);
    if answer.accepted.iter().any(is_service) || !answer.vsock.is_empty() {
        return Cell::Service;
    }
    if !answer.accepted.is_empty() && answer.accepted.iter().all(|port| judged.doors.contains(port)) {
        return Cell::Door;
    }
    if answer.silent > 0 && answer.refused == 0 { Cell::Silent } else { Cell::Refused }
}

/// Draws all ports for the probes that tried every port.
fn strips(html: &mut String, judged: &[&Judged]) -> Result<()> {
    for j in judged {
        for answer in j.probes.iter().filter(|answer| answer.id.ends_with(" 1-65535")) {
            let open: Vec<String> = answer.accepted.iter().map(u16::to_string).collect();
            let open = if open.is_empty() { "none".to_owned() } else { open.join(", ") };
            write!(
                html,
                "<figure><figcaption>{}, {}: open: {open}</figcaption><div class=strip>",
                j.subject.name(),
                answer.id
            )?;
            for port in &answer.accepted {
                let class = if j.doors.contains(port) { "door" } else { "open" };
                write!(
                    html,
                    "<i class={class} style=\"left:{:.3}%\" title=\"{port}\"></i>",
                    f64::from(*port) / 655.36
                )?;
            }
            html.push_str("</div><div class=axis><span>1</span><span>16384</span><span>32768</span><span>49152</span><span>65535</span></div></figure>");
        }
    }
    Ok(())
}

fn details(html: &mut String, j: &Judged) -> Result<()> {
    let open = if j.verdict == judge::Verdict::Isolated { "" } else { " open" };
    write!(
        html,
        "<details{open}><summary>{} <small>in {}</small> <b class={v}>{v}</b></summary>",
        j.subject.name(),
        j.guest.name(),
        v = j.verdict.word()
    )?;
    for (title, items) in [
        ("reached", &j.leaks),
        ("its own services", &j.services),
        ("the virtual machine's vsock ports", &j.vsock),
    ] {
        if !items.is_empty() {
            write!(html, "<p>{title}:</p><ul>")?;
            items.iter().try_for_each(|item| write!(html, "<li>{}", escape(item)))?;
            html.push_str("</ul>");
        }
    }
    if let Some(why) = &j.inconclusive_because {
        write!(html, "<p class=inconclusive>{}</p>", escape(why))?;
    }
    html.push_str(
        "<table class=probes><tr><th>probe<th>accepted<th>refused<th>silent<th>not tried<th>ms</tr>",
    );
    for a in &j.probes {
        write!(
            html,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>",
            escape(&a.id),
            a.accepted.len() + a.vsock.len(),
            a.refused,
            a.silent,
            a.failed,
            a.ms
        )?;
    }
    html.push_str("</table></details>");
    Ok(())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
