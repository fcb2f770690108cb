//! `bottle status`: shows one bottle in detail.

use super::context::Context;
use crate::describe::describe;
use bottle_core::slug::Slug;
use bottle_core::stack::Stack;
use bottle_core::visible::Line;
use bottle_host::control::{self, Answer, Request};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::services;
use bottle_host::{out, outln};
use std::time::Duration;

pub fn status(context: &Context, slug: Option<Slug>, json: bool) -> Outcome {
    let folder = context.running(slug)?;
    let status = match control::ask(&folder, &Request::Status)? {
        Answer::Status(status) => status,
        other => return Err(Failure::new(Kind::Internal, format!("the keeper answered {other:?}"))),
    };
    if json {
        out::json(&status)?;
        return Ok(());
    }
    let (mut plan, services) = (folder.read_plan()?, services::read(&folder)?);
    // The plan records the start. The keeper knows what is open now.
    plan.egress = status.rules.clone();
    outln!(
        "{}: keeper {}, up {}, guest {}",
        folder.slug(),
        status.pid,
        humantime::format_duration(Duration::from_secs(status.uptime_s)),
        if status.guest { "connected" } else { "not connected" }
    )?;
    describe(&plan, &services).lines().try_for_each(|line| outln!("  {line}"))?;
    outln!("  confined  {}", status.confined)?;
    if !status.confined.is_whole() {
        outln!("            this kernel lacks some of it; see `bottle doctor`")?;
    }
    if let Some(report) = &status.report {
        outln!("  reports   {}", Line(report))?;
    }
    match status.machine_filtered {
        Some(true) => outln!("  confined  the machine's process has a seccomp filter")?,
        Some(false) => outln!("  confined  the machine's process has no seccomp filter")?,
        None => {}
    }
    if status.log_failing {
        outln!("  log       {} cannot be written: is the disk full?", folder.audit().display())?;
    }
    if status.keys_ended {
        outln!(
            "  keys      the process that holds them has ended, so requests to upstreams fail; `bottle restart {}` starts it again",
            folder.slug()
        )?;
    }
    let counters = &status.counters;
    if plan.stack == Stack::Sockets {
        outln!(
            "  passed    {} bytes from the guest, {} to it",
            counters.bytes_from_guest,
            counters.bytes_to_guest
        )?;
    } else {
        outln!(
            "  passed    {} frames from the guest, {} to it",
            counters.frames_from_guest,
            counters.frames_to_guest
        )?;
    }
    for (refusal, count) in &counters.refused {
        outln!("  refused   {count} x {refusal}")?;
    }
    if status.jail_restarts > 0 {
        outln!("  gvproxy   was started again {} times", status.jail_restarts)?;
    }
    Ok(())
}
