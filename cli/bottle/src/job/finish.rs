//! Finishes a run whose process was killed: ends what is left of it, completes its results, and removes its files.
//!
//! Only what this state folder recorded is touched, and only under a lock that its owner held until it ended.

use super::collect;
use super::folder::Results;
use super::follow;
use super::record::Record;
use super::result::{Output, Outputs, Reason};
use crate::lifecycle::run::delete_left;
use crate::lifecycle::stop::end_keeper;
use anyhow::{Context, Result};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::out;
use bottle_host::state::{Folder, Home, remove_dir};
use bottle_host::tools;
use rustix::process::{Pid, Signal, kill_process};
use std::thread;
use std::time::{Duration, Instant};

/// How long a machine may take to end after `SIGTERM`. Its parent's end told it so already.
const GRACE: Duration = Duration::from_secs(3);
const GLANCE: Duration = Duration::from_millis(20);

/// Finishes every run of this state folder whose process was killed. One that cannot be finished is named and left.
///
/// # Errors
/// Returns an error if the bottles cannot be listed.
pub fn all(home: &Home) -> Result<()> {
    for folder in home.bottles()?.iter().filter(|folder| folder.run_record().exists()) {
        match one(folder, Duration::ZERO) {
            Ok(true) => out::note(format_args!("finished the run of {}, which was killed", folder.slug())),
            Ok(false) => {}
            Err(failure) => {
                out::note(format_args!(
                    "the run of {} cannot be finished: {}",
                    folder.slug(),
                    failure.what()
                ));
            }
        }
    }
    Ok(())
}

/// Finishes the run of one bottle, if its process has ended. Waits this long for another one that is at it. Returns
/// whether there was something to finish.
///
/// # Errors
/// Returns an error if it cannot be finished now. A later call tries again.
pub fn one(folder: &Folder, patience: Duration) -> Outcome<bool> {
    let end = Instant::now() + patience;
    let _lock = loop {
        // Taking the lock would make a folder that its owner has just removed.
        if !folder.run_record().exists() {
            return Ok(false);
        }
        match folder.lock_operation("run") {
            Ok(lock) => break lock,
            Err(_) if Instant::now() < end => thread::sleep(GLANCE),
            Err(_) => return Ok(false),
        }
    };
    let Some(record) = Record::read(folder)? else {
        remove_dir(folder.state())?;
        return Ok(false);
    };
    end_machine(&record)?;
    end_keeper(folder)?;
    match Results::of(&record.out, &record.result.run) {
        Ok(results) => complete(folder, &results, record)?,
        // Somebody has removed the results, or put others there. Nobody waits for these.
        Err(error) => out::note(format_args!("{}: {error:#}", folder.slug())),
    }
    folder.remove()?;
    Ok(true)
}

/// Ends what is left of a machine.
fn end_machine(record: &Record) -> Outcome {
    let since = Instant::now();
    if let Some(call) = record.running_call()
        && let Some(pid) = Pid::from_raw(call.pid())
    {
        let _ = kill_process(pid, Signal::TERM);
        while record.running_call().is_some() {
            if since.elapsed() > GRACE {
                let _ = kill_process(pid, Signal::KILL);
            }
            if since.elapsed() > 2 * GRACE {
                return Err(Failure::new(Kind::Internal, "its machine does not end"));
            }
            thread::sleep(GLANCE);
        }
    }
    match record.machine.as_deref() {
        Some(name) if !name.is_empty() => Ok(delete_left(&tools::smolvm()?, name)?),
        _ => Ok(()),
    }
}

/// Completes the results, unless they were complete before the process was killed.
fn complete(folder: &Folder, results: &Results, record: Record) -> Result<()> {
    let Record { mut result, max_size, .. } = record;
    if results.has_ended()? {
        return Ok(());
    }
    if let Err(error) = follow::again(folder, results) {
        result.missing.push(format!("audit.jsonl: {error:#}"));
    }
    if result.outputs == Outputs::default() {
        result.outputs = Outputs { stdout: kept(results, "stdout"), stderr: kept(results, "stderr") };
    }
    collect::all(folder, results, &mut result, max_size);
    result.end(Reason::Killed, None);
    results.say(&result).context("the results")
}

/// Returns what is known of a stream whose counts ended with their process.
fn kept(results: &Results, name: &str) -> Output {
    let kept = results.length(name);
    Output { written: kept, kept }
}
