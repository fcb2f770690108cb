//! Carries out each subcommand.

mod agent;
mod changes;
mod check;
mod cleanup;
mod context;
mod copy;
mod doctor;
mod enter;
mod git;
mod image;
mod images;
mod inbox;
mod init;
mod login;
mod logs;
mod ls;
mod manual;
mod plan;
mod restart;
mod rm;
mod rules;
mod run;
mod status;
mod stop;
mod trash;
mod undo;
mod up;
mod verify;

use crate::args::{Args, Command};
use crate::trust::programs;
use bottle_core::execution::{Execution, SHELL};
use bottle_host::failure::Outcome;
use bottle_host::state::Home;
use bottle_keeper::{self as keeper, starter};
use bottle_sidecars::git::hook;
use bottle_sidecars::keys;
use context::Context;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::ExitCode;

/// Carries out the command line.
///
/// # Errors
/// Returns the failure to print, with its exit status.
pub fn dispatch(args: Args) -> Outcome<ExitCode> {
    let context = Context::new(&args);
    match args.command {
        Command::Init { force } => init::init(&context, force)?,
        Command::Run { slug, allow, allow_private, trust, timeout, command } => {
            let extra = run::Extra { allow, allow_private, trust, timeout };
            return run::run(&context, slug, &extra, &command);
        }
        Command::Aider(how) => return agent::run(&context, agent::named("aider")?, how),
        Command::Claude(how) => return agent::run(&context, agent::named("claude")?, how),
        Command::Codex(how) => return agent::run(&context, agent::named("codex")?, how),
        Command::Gemini(how) => return agent::run(&context, agent::named("gemini")?, how),
        Command::Opencode(how) => return agent::run(&context, agent::named("opencode")?, how),
        Command::Agent { name: Some(name), how } => return agent::run(&context, name, how),
        Command::Agent { name: None, .. } => agent::list()?,
        Command::Exec { slug, how, command } => {
            return enter::exec(&context, slug, &how.execution(), how.terminal(), &command);
        }
        Command::Shell { slug } => {
            let shell = [SHELL.to_owned()];
            return enter::exec(&context, slug, &Execution::default(), None, &shell);
        }
        Command::Verify { slug, every_port, host_only, json } => {
            verify::verify(&context, slug, verify::How { every_port, host_only, json })?;
        }
        Command::Doctor { json } => doctor::doctor(json)?,
        Command::Audit { slug, check, json } => logs::audit(&context, slug, check, json)?,
        Command::Check { destination, name, json } => check::check(&context, name, &destination, json)?,
        Command::GitHook { hook } => return hook::run(hook),
        Command::Images { action } => images::images(&context, &action)?,
        Command::Inbox { json } => inbox::inbox(json)?,
        Command::Approve { id, answer } => inbox::decide(&context, &id, true, answer)?,
        Command::Refuse { id, why } => inbox::decide(&context, &id, false, why)?,
        Command::Git { slug, action } => git::git(&context, &slug, &action)?,
        Command::Up { slug, agent: _, trust, renew, moved: _ } => {
            up::up(&context, slug, &up::Options { trust, renew })?;
        }
        Command::Stop { slug } => stop::stop(&context, slug)?,
        Command::Restart { slug, trust, renew } => {
            restart::restart(&context, slug, &up::Options { trust, renew })?;
        }
        Command::Rm { slug, force } => rm::rm(&context, slug, force)?,
        Command::Login { login, from, yes, remove } => {
            let login = login.parse().map_err(anyhow::Error::from)?;
            login::login(&context, login, login::Options { from, yes, remove })?;
        }
        Command::Trash { now, restore, json } => trash::trash(&context, &trash::How { now, restore, json })?,
        Command::Ls { all, json } => ls::ls(all, json)?,
        Command::Status { slug, json } => status::status(&context, slug, json)?,
        Command::Cp { from, to, all, max_size } => {
            copy::cp(&context, &from, &to, copy::Options { all, max_size })?;
        }
        Command::Diff { slug, names, json, max_size, paths } => {
            changes::diff(&context, slug, &changes::Shown { names, json, max_size }, &paths)?;
        }
        Command::Apply { slug, overwrite, dry_run, digest, max_size, yes, paths } => {
            let how = changes::How { overwrite, dry_run, digest, max_size, yes };
            changes::apply(&context, slug, &how, &paths)?;
        }
        Command::Undo { slug, dry_run, yes } => undo::undo(&context, slug, undo::How { dry_run, yes })?,
        Command::Plan { slug, diff, json } => plan::plan(&context, slug, diff, json)?,
        Command::Allow { slug, host } => rules::allow(&context, &slug, &host)?,
        Command::Deny { slug, host } => rules::deny(&context, &slug, &host)?,
        Command::Logs { slug, denied, follow, since } => {
            logs::logs(&context, slug, logs::Shown { denied, follow, since })?;
        }
        Command::Cleanup { dry_run, yes, json } => {
            cleanup::cleanup(&context, cleanup::How { dry_run, yes, json })?;
        }
        Command::Schema { document } => manual::schema(document)?,
        Command::Completions { shell } => manual::completions(shell)?,
        Command::Man { dir } => manual::man(dir.as_deref())?,
        Command::Keeper { slug, owner_fd, ready_fd, guest_fd, starter_fd, keys_fd } => {
            let (owner, ready, guest) = (inherited(owner_fd)?, inherited(ready_fd)?, inherited(guest_fd)?);
            let home = Home::find()?;
            programs::leave_writable_folder(&home, &home.bottle(&slug))?;
            let helpers = match starter_fd {
                Some(starter) => Some(keeper::Helpers {
                    starter: inherited(starter)?,
                    keys: keys_fd.map(inherited).transpose()?,
                }),
                None => None,
            };
            keeper::main(keeper::Arguments { slug, owner, ready, guest }, helpers)?;
        }
        Command::Starter { slug, fd } => starter::main(&slug, &inherited(fd)?)?,
        Command::KeySource { slug, fd } => keys::source::main(&slug, &inherited(fd)?)?,
        Command::Keys { slug, fd } => keys::main(&slug, inherited(fd)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes over a descriptor that was passed to this process alone. Its own children do not get it.
fn inherited(fd: i32) -> anyhow::Result<OwnedFd> {
    // SAFETY: the launcher opened the descriptor for this process, and nothing else here owns it.
    #[expect(unsafe_code, reason = "an inherited descriptor has no owner until it is given one")]
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd)
}
