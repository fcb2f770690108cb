//! Starts a machine of the pool.

use crate::lifecycle::files::install_helper;
use anyhow::{Context, Result};
use bottle_core::helper::{HELPER, HELPER_DIR};
use bottle_core::smolfile::Smolfile;
use bottle_core::specification::WORKSPACE;
use bottle_host::fail_point::{self, FailPoint};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::peer::Process;
use bottle_host::pool::{Booted, Claim, Entry, Record, Shape};
use bottle_host::smolvm::{Smolvm, Warm};
use bottle_host::state::{Home, write_private};
use bottle_host::tools;
use bottle_images::Store;
use bottle_keeper::bind;
use std::path::Path;

/// Starts a machine and lets it wait. There is nothing of any project in it, and it has no network.
///
/// # Errors
/// Returns an error if it does not start. Nothing of it is left then.
pub fn boot(home: &Home, smolvm: &Smolvm, shape: &Shape) -> Outcome {
    let claim = Claim::create(home, shape, &format!("the warmer (process {})", std::process::id()))?;
    fail_point::reached(FailPoint::WarmFolder);
    if let Err(failure) = start(home, smolvm, shape, claim.entry()) {
        claim.remove(smolvm)?;
        return Err(failure);
    }
    fail_point::reached(FailPoint::WarmStarted);
    Ok(claim.let_wait()?)
}

fn start(home: &Home, smolvm: &Smolvm, shape: &Shape, entry: &Entry) -> Outcome {
    let lease = shape.image.as_ref().map(|_| Store::of(home).lease()).transpose()?;
    install_helper(&entry.helper_dir(), &tools::helper()?)?;
    let text = smolfile(entry, shape)?.render().map_err(anyhow::Error::from)?;
    write_private(&entry.smolfile(), text.as_bytes())?;
    // smolvm finds a socket, on which nobody listens.
    drop(bind(&entry.socket(), 0o600)?);
    // Otherwise an image's own program would run, for an hour, and then beside the bottle's command. A bare machine
    // runs none, and would not start with one.
    let words: &[&str] = if shape.image.is_some() { &[HELPER, "pause"] } else { &[] };
    let warm =
        Warm { id: entry.id(), state_id: &home.id(), smolfile: &entry.smolfile(), socket: &entry.socket() };
    smolvm.create_warm(&warm, words)?;
    fail_point::reached(FailPoint::WarmCreated);
    smolvm.start_warm(&entry.machine_name())?;
    drop(lease);
    let pid = smolvm.machine_named(&entry.machine_name())?.and_then(|machine| machine.pid);
    let process = pid.and_then(Process::of);
    let process =
        process.ok_or_else(|| Failure::new(Kind::Guest, "the machine ended as soon as it had started"))?;
    let booted = Booted { pid: process.pid(), started: process.started() };
    Ok(entry.remember(&Record { shape: shape.clone(), booted: Some(booted) })?)
}

/// Describes a machine of the pool. Its shared folders are empty but for the helper.
fn smolfile(entry: &Entry, shape: &Shape) -> Result<Smolfile> {
    let text = |path: &Path| path.to_str().context("a folder's path is not UTF-8").map(str::to_owned);
    let mut volumes = vec![format!("{}:{HELPER_DIR}:ro", text(&entry.helper_dir())?)];
    if shape.copies {
        volumes.push(format!("{}:{WORKSPACE}", text(&entry.copy())?));
    }
    Ok(Smolfile {
        image: shape.image.as_ref().map(|image| text(&image.archive)).transpose()?,
        cpus: shape.cpus,
        memory: shape.memory_mib,
        net: false,
        workdir: None,
        volumes,
        env: Vec::new(),
    })
}
