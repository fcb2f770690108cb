//! Answers what commands ask a keeper.

use super::Shared;
use super::control::{Answer, MAX_LINE, Request, Status};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;

pub async fn serve(shared: Arc<Shared>, listener: UnixListener, stop: Arc<Notify>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (shared, stop) = (Arc::clone(&shared), Arc::clone(&stop));
        tokio::spawn(async move {
            let _ = answer(&shared, stream, &stop).await;
        });
    }
}

async fn answer(shared: &Arc<Shared>, stream: UnixStream, stop: &Notify) -> anyhow::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reader.take(MAX_LINE)).read_line(&mut line).await?;
    let request: Request = serde_json::from_str(&line)?;
    let stopping = matches!(request, Request::Stop);
    let mut answer = serde_json::to_string(&decide(shared, request).await)?;
    answer.push('\n');
    writer.write_all(answer.as_bytes()).await?;
    if stopping {
        stop.notify_one();
    }
    Ok(())
}

async fn decide(shared: &Arc<Shared>, request: Request) -> Answer {
    let done = |result: anyhow::Result<()>| match result {
        Ok(()) => Answer::Done,
        Err(error) => Answer::Failed { why: format!("{error:#}") },
    };
    match request {
        Request::Status => Answer::Status(Box::new(Status {
            pid: std::process::id(),
            uptime_s: shared.started.elapsed().as_secs(),
            guest: shared.link.wait_for_guest(Duration::ZERO),
            guest_seen: shared.link.has_seen_guest(),
            jail_restarts: shared.jail_restarts.load(Relaxed),
            counters: shared.counters.snapshot(),
            rules: shared.proxy.rules(),
        })),
        Request::Adopt { pid } => done(shared.owner.adopt(pid)),
        Request::AwaitGuest { limit_ms } => {
            let link = Arc::clone(&shared.link);
            let wait = move || link.wait_for_guest(Duration::from_millis(limit_ms));
            match tokio::task::spawn_blocking(wait).await {
                Ok(true) => Answer::Done,
                _ => Answer::Failed { why: "the guest's helper did not connect".to_owned() },
            }
        }
        Request::Allow { rule, by } => {
            shared.audit.write("rules", "allowed", json!({ "rule": rule, "by": by }));
            done(shared.proxy.change(&shared.folder, |rules| {
                rules.deny.retain(|pattern| *pattern != rule.pattern);
                if !rules.allow.contains(&rule) {
                    rules.allow.push(rule);
                }
            }))
        }
        Request::Deny { rule, by } => {
            shared.audit.write("rules", "denied", json!({ "rule": rule, "by": by }));
            done(shared.proxy.change(&shared.folder, |rules| {
                rules.allow.retain(|known| known.pattern != rule.pattern);
                if !rules.deny.contains(&rule.pattern) {
                    rules.deny.push(rule.pattern);
                }
            }))
        }
        Request::Stop => Answer::Done,
    }
}
