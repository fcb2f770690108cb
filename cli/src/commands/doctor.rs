//! `bottle doctor`: does this machine have what it takes?

use crate::failure::{Kind, Outcome};
use crate::preflight;
use std::process::ExitCode;

pub fn doctor(json: bool) -> Outcome<ExitCode> {
    let findings = preflight::findings();
    let ok = findings.iter().all(|finding| finding.ok);
    if json {
        println!("{}", serde_json::to_string_pretty(&findings).map_err(anyhow::Error::from)?);
    } else {
        for finding in &findings {
            let mark = if finding.ok { "ok" } else { "MISSING" };
            println!("{mark:<8} {:<11} {}", finding.name, finding.detail);
            if let Some(help) = &finding.help {
                println!("{:<8} {:<11} to mend it: {help}", "", "");
            }
        }
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::from(Kind::Unavailable as u8) })
}
