//! The reports: a row in the terminal, a file for programs, a page for people.

use super::subject::Subject;
use super::verdict::{Judged, Verdict};
use super::world::World;
use anyhow::Result;
use serde_json::json;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// The version of `report.json`'s layout. It changes when a field changes its meaning or goes.
const SCHEMA: u32 = 1;

/// A subject's line in the terminal.
pub fn row(judged: &Judged) -> String {
    let mut notes = Vec::new();
    notes.extend(judged.leaks.first().map(|leak| format!("{leak}{}", more(judged.leaks.len()))));
    notes.extend(judged.why.clone());
    notes.extend(
        judged.services.first().map(|first| format!("services: {first}{}", more(judged.services.len()))),
    );
    if judged.hangs > 0 {
        notes.push(format!("{} attempts hung", judged.hangs));
    }
    let tried: usize = judged.answers.iter().map(attempts).sum();
    format!(
        "{:<12} {:<14} {tried:>8} {:>7.1}  {}",
        judged.subject.name(),
        word(judged.verdict),
        judged.took.as_secs_f64(),
        notes.join("; ")
    )
}

fn more(count: usize) -> String {
    if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() }
}

fn attempts(answer: &bottle_guest::probe::Answer) -> usize {
    answer.accepted.len().max(answer.said.len()) + answer.refused + answer.silent + answer.failed
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Isolated => "isolated",
        Verdict::Leaks => "leaks",
        Verdict::Inconclusive => "inconclusive",
    }
}

/// Writes `report.json` and `report.html`.
pub fn write(folder: &Path, world: &World, judged: &[Judged]) -> Result<()> {
    fs::create_dir_all(folder)?;
    let subjects: Vec<_> = judged
        .iter()
        .map(|j| {
            json!({
                "subject": j.subject.name(),
                "verdict": j.verdict,
                "as_it_must": j.is_as_it_must(),
                "leaks": j.leaks,
                "services": j.services,
                "inconclusive_because": j.why,
                "hangs": j.hangs,
                "doors": j.doors,
                "seconds": j.took.as_secs_f64(),
                "probes": j.answers,
            })
        })
        .collect();
    let report = json!({
        "schema": SCHEMA,
        "guest": "stand-in: a network namespace, no virtual machine",
        "nonce": world.nonce,
        "subjects": subjects,
    });
    fs::write(folder.join("report.json"), serde_json::to_string_pretty(&report)?)?;
    fs::write(folder.join("report.html"), page(judged)?)?;
    Ok(())
}

const STYLE: &str = "
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #d8dee4; }
.isolated { color: #116329; font-weight: 600; } .leaks { color: #a40e26; font-weight: 600; } .inconclusive { color: #7d4e00; font-weight: 600; }
.strip { position: relative; height: 28px; background: #eef1f4; border-radius: 4px; margin: .2rem 0 .8rem; }
.strip i { position: absolute; top: 0; bottom: 0; width: 2px; background: #a40e26; } .strip i.door { background: #116329; width: 4px; }
small { color: #57606a; } li { overflow-wrap: anywhere; }";

fn page(judged: &[Judged]) -> Result<String> {
    let mut html = String::new();
    write!(
        html,
        "<!doctype html><html lang=en><meta charset=utf-8><title>bottle: conformance</title><style>{STYLE}</style>"
    )?;
    html.push_str("<h1>What a guest reaches</h1><p>Guest: a stand-in (a network namespace, no virtual machine). A control is a network that must be found leaking; otherwise this check proves nothing.</p>");
    html.push_str("<table><tr><th>subject<th>verdict<th>as it must be<th>seconds</tr>");
    for j in judged {
        let (name, verdict) = (j.subject.name(), word(j.verdict));
        let must = if j.is_as_it_must() { "yes" } else { "<b class=leaks>no</b>" };
        write!(
            html,
            "<tr><td>{name}<td class={verdict}>{verdict}<td>{must}<td>{:.1}</tr>",
            j.took.as_secs_f64()
        )?;
    }
    html.push_str("</table>");
    matrix(&mut html, judged)?;
    for j in judged {
        write!(html, "<h2>{}</h2>", j.subject.name())?;
        if j.subject == Subject::Bottle {
            html.push_str("<p>Every TCP port of the gateway and of the proxy address, 1 to 65535. Green: a door. Red: anything else that took a connection.</p>");
            for answer in j.answers.iter().filter(|answer| answer.id.ends_with("1-65535")) {
                strip(&mut html, &answer.id, &answer.accepted, &j.doors)?;
            }
        }
        for (title, items) in [("reached", &j.leaks), ("the network's own services", &j.services)] {
            if !items.is_empty() {
                write!(html, "<p>{title}:</p><ul>")?;
                items.iter().try_for_each(|item| write!(html, "<li>{}", escape(item)))?;
                html.push_str("</ul>");
            }
        }
        if let Some(why) = &j.why {
            write!(html, "<p class=inconclusive>{}</p>", escape(why))?;
        }
        write!(html, "<small>{} probes, {} attempts hung</small>", j.answers.len(), j.hangs)?;
    }
    Ok(html)
}

/// Destinations against subjects: what took a connection or said something.
fn matrix(html: &mut String, judged: &[Judged]) -> Result<()> {
    html.push_str("<h2>Destinations</h2><table><tr><th>probe");
    for j in judged {
        write!(html, "<th>{}", j.subject.name())?;
    }
    html.push_str("</tr>");
    let mut ids: Vec<&str> = Vec::new();
    for id in judged.iter().flat_map(|j| &j.answers).map(|answer| answer.id.as_str()) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    for id in ids {
        write!(html, "<tr><td>{}", escape(id))?;
        for j in judged {
            let cell = j.answers.iter().find(|answer| answer.id == id).map_or("", |answer| {
                let doors_alone = answer.accepted.iter().all(|port| j.doors.contains(port));
                match (answer.accepted.is_empty() && answer.said.is_empty(), doors_alone) {
                    (true, _) => "refused",
                    (false, true) if !answer.accepted.is_empty() => "door",
                    (false, true) => "answered",
                    (false, false) => "<b class=leaks>open</b>",
                }
            });
            write!(html, "<td>{cell}")?;
        }
        html.push_str("</tr>");
    }
    html.push_str("</table>");
    Ok(())
}

fn strip(html: &mut String, title: &str, ports: &[u16], doors: &[u16]) -> Result<()> {
    write!(html, "<small>{}</small><div class=strip>", escape(title))?;
    for port in ports {
        let class = if doors.contains(port) { "door" } else { "open" };
        write!(
            html,
            "<i class={class} style=\"left:{:.3}%\" title=\"{port}\"></i>",
            f64::from(*port) / 655.36
        )?;
    }
    html.push_str("</div>");
    Ok(())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
