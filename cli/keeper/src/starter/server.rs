//! Responds to a keeper's requests.

use super::log::bounded;
use super::watch::watch;
use crate::launch::give;
use crate::machine_user::FIRST_MACHINE_USER;
use crate::owner::when_ended;
use crate::stack::{self, Process};
use anyhow::{Context, Result, bail, ensure};
use bottle_core::git::name::ObjectId;
use bottle_core::git::{Update, Verdict};
use bottle_core::plan::Plan;
use bottle_core::sidecar::Sidecar;
use bottle_core::slug::Slug;
use bottle_core::specification::{Repo, Services, SidecarForm};
use bottle_host::defence::Defence;
use bottle_host::process::{die_with_parent, inherit};
use bottle_host::rules::Changes;
use bottle_host::services;
use bottle_host::starter::{Ask, GitCall, Said, wire};
use bottle_host::state::{Folder, Home};
use bottle_host::tools::Network;
use bottle_host::workspace;
use bottle_sidecars::git;
use bottle_sidecars::git::hook;
use bottle_sidecars::git::quarantine::Quarantine;
use rustix::fs::Uid;
use rustix::process::Signal;
use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

/// The starter of one bottle, with the plan as it was before there was a guest.
struct Server {
    folder: Folder,
    plan: Plan,
    services: Services,
    log: File,
}

/// Serves a keeper until the keeper ends.
///
/// # Errors
/// Returns an error if the bottle has no plan.
pub fn main(slug: &Slug, socket: &OwnedFd) -> Result<()> {
    let folder = Home::find()?.bottle(slug);
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(folder.keeper_log())?;
    let (plan, services) = (folder.read_plan()?, services::read(&folder)?);
    let server = Arc::new(Server { folder, plan, services, log });
    let mut stack = None;
    // This one thread starts every child, because a child ends when the thread that started it does.
    while let Some((ask, mut fds)) = wire::receive::<Ask>(socket)? {
        let Some(reply) = fds.pop() else { continue };
        if let Err(error) = server.handle(ask, &reply, &mut stack) {
            let _ = wire::send(&reply, &Said::Failed(format!("{error:#}")), &[]);
        }
    }
    Ok(())
}

impl Server {
    fn handle(self: &Arc<Self>, ask: Ask, reply: &OwnedFd, stack: &mut Option<Process>) -> Result<()> {
        let done = || Ok(wire::send(reply, &Said::Done, &[])?);
        match ask {
            Ask::Refresh => {
                for repo in &self.services.git {
                    Quarantine::of(&self.folder, repo).refresh(&self.folder, repo)?;
                }
                done()
            }
            Ask::Stack => {
                // The previous stack ends first, because both use the same path for the link.
                drop(stack.take());
                self.stack(reply, stack)
            }
            Ask::Sidecar(sidecar) => {
                let child = self.sidecar(sidecar)?;
                wire::send(reply, &Said::Done, &[])?;
                watch(child, reply, None, false)
            }
            Ask::Git(call) => self.git(&call, reply),
            Ask::Forward { repo, name, commit } => {
                // A push takes time, and must not hold up other requests.
                let (server, reply) = (Arc::clone(self), rustix::io::fcntl_dupfd_cloexec(reply, 0)?);
                thread::Builder::new().name("forward".to_owned()).spawn(move || {
                    let said = match server.forward(&repo, &name, commit.as_deref()) {
                        Ok(()) => Said::Done,
                        Err(error) => Said::Failed(format!("{error:#}")),
                    };
                    let _ = wire::send(&reply, &said, &[]);
                })?;
                Ok(())
            }
            Ask::Give { uid } => {
                let user = Uid::from_raw(uid);
                let own = rustix::process::geteuid();
                ensure!(uid >= FIRST_MACHINE_USER || user == own, "{uid} is not a machine's user");
                // The machine's user is known, so nobody else needs access. Failing here is harmless: every
                // peer is checked.
                let _ = give(&self.folder.guest_socket(), user);
                let copy = self.folder.copy();
                if copy.exists() {
                    workspace::give(&copy, user)?;
                }
                done()
            }
            Ask::Remember(change) => {
                Changes::add(&self.folder, &change)?;
                done()
            }
        }
    }

    fn stack(&self, reply: &OwnedFd, stack: &mut Option<Process>) -> Result<()> {
        let network = Network::of(self.plan.stack)?;
        let running = stack::start(&network, &self.folder, &self.plan, &bounded(&self.log)?)?;
        let mut fds: Vec<_> = running.doors.iter().map(AsFd::as_fd).collect();
        fds.push(running.link.as_fd());
        wire::send(reply, &Said::Done, &fds)?;
        let reply = rustix::io::fcntl_dupfd_cloexec(reply, 0)?;
        let ended = when_ended(running.process.pid())?;
        thread::Builder::new().name("stack".to_owned()).spawn(move || {
            let _ = ended.blocking_recv();
            let _ = wire::send(&reply, &Said::Ended("it ended".to_owned()), &[]);
        })?;
        // From now on the keeper owns the descriptors, and this process owns the child.
        *stack = Some(running.process);
        Ok(())
    }

    fn sidecar(&self, sidecar: Sidecar) -> Result<Child> {
        let SidecarForm::Command { command, address } = self.services.form(sidecar) else {
            bail!("the sidecar {sidecar} is not a command")
        };
        let [program, arguments @ ..] = command.as_slice() else { bail!("the command is empty") };
        // A program that already listens there would be taken for the sidecar.
        TcpListener::bind(address)
            .with_context(|| format!("the sidecar {sidecar} cannot listen on {address}"))?;
        let path = self.folder.sidecar_log(sidecar);
        let log = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        let log = log.with_context(|| path.display().to_string())?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        die_with_parent(&mut command, Signal::KILL);
        command.spawn().with_context(|| format!("the sidecar {sidecar}: cannot run {program}"))
    }

    fn git(&self, call: &GitCall, reply: &OwnedFd) -> Result<()> {
        let repo = self.repo(&call.repo)?;
        let (hooks, theirs) = std::os::unix::net::UnixStream::pair()?;
        let (mut command, limits) = git::backend(&self.folder, repo, call)?;
        let channel = inherit(&mut command, theirs.as_fd());
        command.env(hook::CHANNEL, channel.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot run git")?;
        drop(theirs);
        let stdin = child.stdin.take().context("git has no standard input")?;
        let stdout = child.stdout.take().context("git has no standard output")?;
        let stderr = child.stderr.take().context("git has no standard error")?;
        let descriptors = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd(), hooks.as_fd()];
        wire::send(reply, &Said::Done, &descriptors)?;
        let grouped = Defence::GitLimits.stands();
        watch(child, reply, grouped.then_some(limits.wall), grouped)
    }

    /// Forwards a push with the operator's own environment. It checks the rule again, because the request may
    /// not come from a hook.
    fn forward(&self, repo: &Slug, name: &str, commit: Option<&str>) -> Result<()> {
        let repo = self.repo(repo)?;
        let quarantine = Quarantine::of(&self.folder, repo);
        let waiting = hook::judged(&quarantine, name, commit)?;
        let text = |id: &Option<ObjectId>| id.clone().map(String::from);
        let update = Update {
            name: waiting.name.clone(),
            old: text(&waiting.old),
            new: text(&waiting.new),
            fast_forward: true,
            paths: Vec::new(),
            secrets: Vec::new(),
        };
        ensure!(repo.policy.decide(&update) == Ok(Verdict::Allow), "{} waits for a person", waiting.branch);
        quarantine.forward(&self.folder, repo, &waiting).map(|_| ())
    }

    fn repo(&self, name: &Slug) -> Result<&Repo> {
        let known = self.services.git.iter().find(|known| known.name == *name);
        known.with_context(|| format!("this bottle has no repository {name}"))
    }
}
