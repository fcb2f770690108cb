//! `bottle status`: one bottle, closely.

use super::context::Context;
use super::plan::describe;
use crate::failure::{Failure, Kind, Outcome};
use crate::keeper::control::{self, Answer, Request};
use crate::resolve::Services;
use bottle_core::slug::Slug;
use std::time::Duration;

pub fn status(context: &Context, slug: Option<Slug>, json: bool) -> Outcome {
    let folder = context.folder(slug)?;
    let status = match control::ask(&folder, &Request::Status)? {
        Answer::Status(status) => status,
        other => return Err(Failure::new(Kind::Internal, format!("the keeper answered {other:?}"))),
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&status).map_err(anyhow::Error::from)?);
        return Ok(());
    }
    let (plan, services) = (folder.read_plan()?, Services::read(&folder)?);
    println!(
        "{}: keeper {}, up {}, guest {}",
        folder.slug(),
        status.pid,
        humantime::format_duration(Duration::from_secs(status.uptime_s)),
        if status.guest { "connected" } else { "not connected" }
    );
    describe(&plan, &services).lines().for_each(|line| println!("  {line}"));
    if let Some(report) = &status.report {
        println!("  reports   {}", report.escape_debug());
    }
    if status.log_failing {
        println!("  log       {} cannot be written: is the disk full?", folder.audit().display());
    }
    let counters = &status.counters;
    println!(
        "  passed    {} frames from the guest, {} to it",
        counters.frames_from_guest, counters.frames_to_guest
    );
    for (refusal, count) in &counters.refused {
        println!("  refused   {count} x {refusal}");
    }
    if status.jail_restarts > 0 {
        println!("  gvproxy   was started again {} times", status.jail_restarts);
    }
    Ok(())
}
