//! Sidecars that are commands: started before the bottle is, and started again when they end.

use super::Shared;
use crate::process::die_with_parent;
use crate::resolve::Form;
use anyhow::{Context, Result, bail};
use bottle_core::sidecar::Sidecar;
use bottle_core::visible;
use rustix::process::Signal;
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::process::Child;

/// How long a sidecar may take until it listens.
const READY: Duration = Duration::from_secs(20);
const GLANCE: Duration = Duration::from_millis(20);
/// Pauses before one is started again: half a second at first, doubled up to half a minute.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How much of what a sidecar said last is shown when it does not come up, in bytes.
const LAST_WORDS: u64 = 1000;

/// A sidecar that is a command.
struct Commanded {
    sidecar: Sidecar,
    command: Vec<String>,
    address: SocketAddr,
    log: PathBuf,
}

/// Starts each of them, waits until all listen, and keeps them running.
///
/// # Errors
/// With the last words of the first that does not come up.
pub async fn start(shared: &Arc<Shared>) -> Result<()> {
    for (sidecar, _) in shared.plan.doors.iter() {
        if let Form::Command { command, address } = shared.services.form(sidecar) {
            let log = shared.folder.sidecar_log(sidecar);
            let commanded = Commanded { sidecar, command: command.clone(), address: *address, log };
            let child = commanded.up().await?;
            let shared = Arc::clone(shared);
            tokio::spawn(async move { commanded.keep(&shared, child).await });
        }
    }
    Ok(())
}

impl Commanded {
    async fn up(&self) -> Result<Child> {
        let mut child = self.spawn()?;
        let end = Instant::now() + READY;
        loop {
            let listens = TcpStream::connect(self.address).await.is_ok();
            let how = match child.try_wait()? {
                Some(status) => format!("ended with {status}"),
                None if listens => return Ok(child),
                None if Instant::now() > end => {
                    format!("does not listen on {} after {} s", self.address, READY.as_secs())
                }
                None => {
                    tokio::time::sleep(GLANCE).await;
                    continue;
                }
            };
            let said = last_words(&self.log).unwrap_or_default();
            let said =
                if said.is_empty() { "it said nothing".to_owned() } else { format!("it said last:\n{said}") };
            bail!("the sidecar {} {how}; {said}", self.sidecar);
        }
    }

    async fn keep(&self, shared: &Shared, mut child: Child) {
        let mut pause = FIRST_PAUSE;
        loop {
            let since = Instant::now();
            let how = child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
            if since.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            shared.audit.write("keeper", "sidecar-ended", json!({ "sidecar": self.sidecar, "how": how }));
            child = loop {
                tokio::time::sleep(pause).await;
                pause = LONGEST_PAUSE.min(pause * 2);
                match self.spawn() {
                    Ok(child) => break child,
                    Err(error) => {
                        let how = format!("{error:#}");
                        shared.audit.write(
                            "keeper",
                            "sidecar-failed",
                            json!({ "sidecar": self.sidecar, "how": how }),
                        );
                    }
                }
            };
            shared.audit.write("keeper", "sidecar-restarted", json!({ "sidecar": self.sidecar }));
        }
    }

    fn spawn(&self) -> Result<Child> {
        let [program, arguments @ ..] = self.command.as_slice() else { bail!("the command is empty") };
        // What listens there already would be taken for the sidecar.
        TcpListener::bind(self.address)
            .with_context(|| format!("the sidecar {} cannot have {}", self.sidecar, self.address))?;
        let log = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.log);
        let log = log.with_context(|| self.log.display().to_string())?;
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.kill_on_drop(true);
        die_with_parent(command.as_std_mut(), Signal::KILL);
        command.spawn().with_context(|| format!("the sidecar {}: cannot run {program}", self.sidecar))
    }
}

fn last_words(log: &Path) -> Result<String> {
    let mut file = File::open(log)?;
    let from = file.metadata()?.len().saturating_sub(LAST_WORDS);
    file.seek(SeekFrom::Start(from))?;
    let mut said = Vec::new();
    file.take(LAST_WORDS).read_to_end(&mut said)?;
    let text = String::from_utf8_lossy(&said);
    let lines: Vec<String> = text.lines().map(|line| format!("  | {}", visible::Line(line))).collect();
    Ok(lines[lines.len().saturating_sub(8)..].join("\n"))
}
