//! Responds to the requests of commands.

use crate::examine;
use crate::shared::Shared;
use bottle_core::egress::{HostPattern, HostRule};
use bottle_core::slug::Slug;
use bottle_host::audit::UNRECORDED;
use bottle_host::control::{AgentRequest, Answer, Decision, GitEvent, MAX_LINE, Request, Status, Waiting};
use bottle_host::defence::Defence;
use bottle_host::fail_point::{self, FailPoint};
use bottle_host::notify::Notice;
use bottle_host::peer::{Extent, Machine, Named, Process};
use bottle_host::rules::Change;
use bottle_host::starter::Ask;
use serde_json::json;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;

/// How long a command may take to send its request.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// How long refusals may be counted without being logged one by one.
const LONGEST_SUMMARY: Duration = Duration::from_secs(600);

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
    let mut reader = BufReader::new(reader.take(MAX_LINE));
    tokio::time::timeout(REQUEST_LIMIT, reader.read_line(&mut line)).await??;
    let request: Request = serde_json::from_str(&line)?;
    let stopping = matches!(request, Request::Stop);
    if let Request::Lend { rules, by } = request {
        return lend(shared, rules, by, reader.into_inner().into_inner(), writer).await;
    }
    let mut answer = serde_json::to_string(&decide(shared, request).await)?;
    answer.push('\n');
    writer.write_all(answer.as_bytes()).await?;
    if stopping {
        stop.notify_one();
    }
    Ok(())
}

/// Lets the agent reach more hosts until whoever asked for it hangs up.
async fn lend(
    shared: &Arc<Shared>,
    rules: Vec<HostRule>,
    by: String,
    mut reader: OwnedReadHalf,
    mut writer: OwnedWriteHalf,
) -> anyhow::Result<()> {
    let shown: Vec<String> = rules.iter().map(ToString::to_string).collect();
    let recorded = if shared.audit.may_allow() {
        shared.audit.decided("rules", "lent", json!({ "rules": shown, "by": by }))
    } else {
        Err(anyhow::anyhow!(UNRECORDED))
    };
    let answer = match &recorded {
        Ok(()) => Answer::Done,
        Err(error) => Answer::Failed { why: format!("{error:#}") },
    };
    let lent = recorded.is_ok().then(|| shared.egress_proxy.lend(rules));
    let mut answer = serde_json::to_string(&answer)?;
    answer.push('\n');
    writer.write_all(answer.as_bytes()).await?;
    if lent.is_some() {
        // Nothing more is said here. What is read is the end.
        let _ = reader.read(&mut [0; 1]).await;
        drop(lent);
        shared.audit.write("rules", "taken-back", json!({ "rules": shown }));
    }
    Ok(())
}

/// Responds to the hooks of one push. They may only talk about their repository.
pub async fn serve_hooks(shared: Arc<Shared>, repo: Slug, socket: OwnedFd) -> anyhow::Result<()> {
    let stream = std::os::unix::net::UnixStream::from(socket);
    stream.set_nonblocking(true)?;
    let (reader, mut writer) = UnixStream::from_std(stream)?.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = String::new();
        (&mut reader).take(MAX_LINE).read_line(&mut line).await?;
        if line.is_empty() {
            return Ok(());
        }
        let request: Request = serde_json::from_str(&line)?;
        let answer = match &request {
            Request::Git { repo: named, event, .. } if *named == repo && event.is_a_hooks() => {
                decide(&shared, request).await
            }
            Request::GitForward { repo: named, .. } if *named == repo => decide(&shared, request).await,
            _ if !Defence::GitConfined.stands() => decide(&shared, request).await,
            _ => Answer::Failed { why: "a hook may not ask for this".to_owned() },
        };
        let mut answer = serde_json::to_string(&answer)?;
        answer.push('\n');
        writer.write_all(answer.as_bytes()).await?;
    }
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
            machine_filtered: shared.link.greeted().and_then(Process::is_filtered),
            jail_restarts: shared.jail_restarts.load(Relaxed),
            keys_ended: shared.keys_ended.load(Relaxed),
            confined: shared.confined,
            report: shared.supervise.status(),
            log_failing: shared.audit.is_failing(),
            counters: shared.counters.snapshot(),
            rules: shared.egress_proxy.rules(),
        })),
        Request::Adopt { machine } => {
            let adopted = named(machine).and_then(|machine| {
                shared.owner.adopt(machine.process())?;
                shared.link.expect(machine)
            });
            fail_point::reached(FailPoint::KeeperAdopted);
            done(adopted)
        }
        Request::Expect { machine } => done(named(machine).and_then(|machine| shared.link.expect(machine))),
        Request::AwaitGuest { limit_ms } => {
            let link = Arc::clone(&shared.link);
            let wait = move || link.wait_for_guest(Duration::from_millis(limit_ms));
            match tokio::task::spawn_blocking(wait).await {
                Ok(true) => Answer::Done,
                _ => Answer::Failed { why: "the guest's helper did not connect".to_owned() },
            }
        }
        Request::Rules { change, by } => {
            done(change_rules(shared, &change, &by).map(|()| settle(shared, &by)))
        }
        Request::Git { repo, event, name, commit, why } => {
            if !shared.audit.may_allow() {
                return Answer::Failed { why: UNRECORDED.to_owned() };
            }
            let details = json!({ "repo": &repo, "ref": &name, "commit": &commit, "why": why });
            if event.is_a_decision() {
                return done(shared.audit.decided("git-gate", event.name(), details));
            }
            shared.audit.caused("git-gate", event.name(), "", repo.as_str(), details);
            if event == GitEvent::Waiting {
                shared.notifier.tell(&Notice::Push { repo, name, commit });
            }
            Answer::Done
        }
        Request::Inbox => Answer::Inbox { waiting: shared.supervise.inbox.waiting() },
        Request::Decide { number, decision, by } => done(decide_request(shared, number, decision, &by)),
        Request::GitForward { repo, branch, commit } => {
            let shared = Arc::clone(shared);
            let forwarded =
                tokio::task::spawn_blocking(move || forward(&shared, &repo, &branch, commit.as_deref()));
            done(forwarded.await.unwrap_or_else(|error| Err(error.into())))
        }
        Request::Stop => Answer::Done,
        // It takes a connection of its own, which a hook does not have.
        Request::Lend { .. } => Answer::Failed { why: "this cannot be asked here".to_owned() },
        Request::Summarize { limit_ms: 0 } => {
            shared.audit.summarized();
            Answer::Done
        }
        Request::Summarize { limit_ms } => {
            shared.audit.summarize(Duration::from_millis(limit_ms).min(LONGEST_SUMMARY));
            Answer::Done
        }
        Request::Examine { canaries, nonce } => {
            let of = Arc::clone(shared);
            let run = move || examine::run(&of.link, &of.plan, &canaries, &nonce);
            match tokio::task::spawn_blocking(run).await.unwrap_or_else(|error| Err(error.into())) {
                Ok(examined) => {
                    shared.audit.write("keeper", "examined", json!({ "frames": examined.frames }));
                    Answer::Examined(Box::new(examined))
                }
                Err(error) => Answer::Failed { why: format!("{error:#}") },
            }
        }
    }
}

fn named(named: Named) -> anyhow::Result<Machine> {
    let machine = Machine::named(named).ok_or_else(|| anyhow::anyhow!("the machine's process has ended"))?;
    // A call's own process is not the machine's, which is checked when it connects.
    let unconfined = machine.process().is_filtered() == Some(false);
    if named.extent == Extent::Itself && machine.confined && unconfined {
        anyhow::bail!("smolvm did not put the machine's process ({}) behind a seccomp filter", named.pid);
    }
    Ok(machine)
}

/// Changes the rules: first in the log, then on disk, and finally for the agent.
fn change_rules(shared: &Shared, change: &Change, by: &str) -> anyhow::Result<()> {
    anyhow::ensure!(shared.audit.may_allow(), UNRECORDED);
    let (event, details) = change.recorded(by);
    shared.audit.decided("rules", event, details)?;
    shared.starter.demand(&Ask::Remember(change.clone()))?;
    shared.egress_proxy.change(change);
    if let Change::Deny(pattern) = change {
        let covers = |rule: &HostPattern| matches!(rule, HostPattern::Exact(host) if pattern.matches(host));
        shared.supervise.inbox.forget(|rule| rule.pattern == *pattern || covers(&rule.pattern));
    }
    Ok(())
}

/// Decides what the rules have decided: a host that the agent still asks for, and that is open or closed by now.
fn settle(shared: &Shared, by: &str) {
    let rules = shared.egress_proxy.rules();
    for Waiting { number, request, .. } in shared.supervise.inbox.waiting() {
        let AgentRequest::Host { rule, .. } = &request else { continue };
        let approved = rules.opens(rule);
        if !approved && !rules.deny.iter().any(|closed| closed.covers(&rule.pattern)) {
            continue;
        }
        let decision = Decision { approved, says: None };
        if record(shared, number, &request, &decision, by).is_ok() {
            shared.supervise.inbox.decide(number, decision);
        }
    }
}

/// Forwards a push that a rule allows. Exactly the judged commit is sent.
fn forward(shared: &Shared, repo: &Slug, branch: &str, commit: Option<&str>) -> anyhow::Result<()> {
    let forwarded = shared.starter.forward(repo.clone(), branch.to_owned(), commit.map(str::to_owned));
    let (event, why) = match &forwarded {
        Ok(()) => ("forwarded", None),
        Err(error) => ("failed", Some(format!("{error:#}"))),
    };
    let details = json!({ "repo": repo, "ref": branch, "commit": commit, "why": why });
    shared.audit.caused("git-gate", event, "", repo.as_str(), details);
    forwarded
}

/// Decides about a request of the agent. An approved host is in the rules before the agent hears about it.
fn decide_request(shared: &Shared, number: u32, decision: Decision, by: &str) -> anyhow::Result<()> {
    let inbox = &shared.supervise.inbox;
    let asked = inbox.find(number).ok_or_else(|| anyhow::anyhow!("there is no request with that number"))?;
    if decision.approved && asked.needs_an_answer() && Defence::AnswerNeeded.stands() {
        let says = decision.says.as_deref().unwrap_or_default();
        anyhow::ensure!(!says.trim().is_empty(), "a question can only be approved with an answer");
    }
    record(shared, number, &asked, &decision, by)?;
    if let (true, AgentRequest::Host { rule, .. }) = (decision.approved, asked) {
        change_rules(shared, &Change::Allow(rule), by)?;
    }
    anyhow::ensure!(inbox.decide(number, decision), "somebody else has just decided it");
    settle(shared, by);
    Ok(())
}

fn record(
    shared: &Shared,
    number: u32,
    request: &AgentRequest,
    decision: &Decision,
    by: &str,
) -> anyhow::Result<()> {
    let event = if decision.approved { "approved" } else { "denied" };
    let details = json!({ "id": number, "wish": request, "says": decision.says, "by": by });
    shared.audit.decided("supervise", event, details)
}
