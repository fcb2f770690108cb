//! Sidecars that are commands. They are started before the bottle, and restarted when they end.

use crate::shared::Shared;
use anyhow::{Result, bail};
use bottle_core::sidecar::Sidecar;
use bottle_core::specification::SidecarForm;
use bottle_core::visible;
use bottle_host::starter::{Alive, Ask, Starter};
use serde_json::json;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// How long a sidecar may take to start listening.
const READY: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The first pause before a sidecar is started again. It doubles each time, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How many bytes of a sidecar's log are shown, from its end, if the sidecar does not start.
const TAIL: u64 = 1000;

/// A sidecar that is a command.
struct CommandSidecar {
    sidecar: Sidecar,
    address: SocketAddr,
    log: PathBuf,
}

/// Starts each of these sidecars, waits until all of them listen, and keeps them running.
///
/// # Errors
/// Returns the end of the first log whose sidecar does not start.
pub async fn start(shared: &Arc<Shared>) -> Result<()> {
    for (sidecar, _) in shared.plan.doors.iter() {
        if let SidecarForm::Command { address, .. } = shared.services.form(sidecar) {
            let log = shared.folder.sidecar_log(sidecar);
            let sidecar_command = CommandSidecar { sidecar, address: *address, log };
            let child = sidecar_command.up(&shared.starter).await?;
            let shared = Arc::clone(shared);
            tokio::spawn(async move { sidecar_command.keep(&shared, child).await });
        }
    }
    Ok(())
}

impl CommandSidecar {
    async fn up(&self, starter: &Starter) -> Result<Alive> {
        let (child, _) = starter.start_meanwhile(&Ask::Sidecar(self.sidecar)).await?;
        let end = Instant::now() + READY;
        loop {
            let listens = TcpStream::connect(self.address).await.is_ok();
            // The listener may be another program, so first check whether the sidecar has ended.
            let how = match tokio::time::timeout(POLL_INTERVAL, child.ended()).await {
                Ok(how) => format!("ended with {how}"),
                Err(_) if listens => return Ok(child),
                Err(_) if Instant::now() > end => {
                    format!("does not listen on {} after {} s", self.address, READY.as_secs())
                }
                Err(_) => continue,
            };
            let said = log_tail(&self.log).unwrap_or_default();
            let said =
                if said.is_empty() { "it said nothing".to_owned() } else { format!("it said last:\n{said}") };
            bail!("the sidecar {} {how}; {said}", self.sidecar);
        }
    }

    async fn keep(&self, shared: &Shared, mut child: Alive) {
        let mut pause = FIRST_PAUSE;
        loop {
            let since = Instant::now();
            let how = child.ended().await;
            if since.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            shared.audit.write("keeper", "sidecar-ended", json!({ "sidecar": self.sidecar, "how": how }));
            child = loop {
                tokio::time::sleep(pause).await;
                pause = LONGEST_PAUSE.min(pause * 2);
                match shared.starter.start_meanwhile(&Ask::Sidecar(self.sidecar)).await {
                    Ok((child, _)) => break child,
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
}

fn log_tail(log: &Path) -> Result<String> {
    let mut file = File::open(log)?;
    let from = file.metadata()?.len().saturating_sub(TAIL);
    file.seek(SeekFrom::Start(from))?;
    let mut said = Vec::new();
    file.take(TAIL).read_to_end(&mut said)?;
    let text = String::from_utf8_lossy(&said);
    let lines: Vec<String> = text.lines().map(|line| format!("  | {}", visible::Line(line))).collect();
    Ok(lines[lines.len().saturating_sub(8)..].join("\n"))
}
