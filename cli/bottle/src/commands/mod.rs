//! Carries out each subcommand.

mod agent;
mod attach;
mod changes;
mod check;
mod cleanup;
mod config;
mod context;
mod copy;
mod doctor;
mod enter;
mod events;
mod explain;
mod explained;
mod fork;
mod git;
mod image;
mod images;
mod inbox;
mod init;
mod inspect;
mod internal;
mod job;
mod login;
mod logs;
mod ls;
mod manual;
mod next;
mod plan;
mod pool;
mod publish;
mod rename;
mod restart;
mod rm;
mod rules;
mod run;
mod ssh;
mod stats;
mod status;
mod stop;
mod suggest;
mod top;
mod trash;
mod ui;
mod undo;
mod up;
mod verify;
mod watch;
mod watched;
mod workload;

use crate::args::{Args, Command, Size};
use crate::verification::How;
use bottle_core::execution::{Execution, SHELL};
use bottle_core::specification::Published;
use bottle_host::failure::Outcome;
use context::Context;
use std::process::ExitCode;

/// Carries out the command line.
///
/// # Errors
/// Returns the failure to print, with its exit status.
pub fn dispatch(args: Args) -> Outcome<ExitCode> {
    let context = Context::new(&args);
    match args.command {
        Command::Init { force, devcontainer } => init::init(&context, force, devcontainer.as_deref())?,
        Command::Run { slug, allow, allow_private, trust, timeout, kept, command } => {
            let extra = run::Extra { allow, allow_private, trust, timeout };
            return match job::Kept::of(kept)? {
                Some(kept) => job::run(&context, slug, &extra, &kept, &command),
                None => run::run(&context, slug, &extra, &command),
            };
        }
        Command::Aider(how) => return agent::run(&context, agent::named("aider")?, how),
        Command::Claude(how) => return agent::run(&context, agent::named("claude")?, how),
        Command::Codex(how) => return agent::run(&context, agent::named("codex")?, how),
        Command::Gemini(how) => return agent::run(&context, agent::named("gemini")?, how),
        Command::Opencode(how) => return agent::run(&context, agent::named("opencode")?, how),
        Command::Agent { name: Some(name), how } => return agent::run(&context, name, how),
        Command::Agent { name: None, .. } => agent::list()?,
        Command::Exec { slug, how, detach: true, command } => {
            workload::start(&context, &context.running(slug)?, &how.execution().words(&command))?;
        }
        Command::Exec { slug, how, detach: false, command } => {
            let status = how.status_fd.map(enter::to_report_on).transpose()?;
            let most = how.max_output.map(|Size(bytes)| bytes);
            if status.is_some() || most.is_some() {
                return enter::watched(&context, slug, &how.execution(), most, status, &command);
            }
            return enter::exec(&context, slug, &how.execution(), how.terminal(), &command);
        }
        Command::Attach { slug } => return attach::attach(&context, slug),
        Command::Shell { slug } => {
            let shell = [SHELL.to_owned()];
            return enter::exec(&context, slug, &Execution::default(), None, &shell);
        }
        Command::Verify { slug, every_port, host_only, json } => {
            verify::verify(&context, slug, How { every_port, host_only }, json)?;
        }
        Command::Doctor { fix, yes, json } => doctor::doctor(&context, &doctor::How { json, fix, yes })?,
        Command::Next => next::next(&context)?,
        Command::Audit { slug, check, json } => logs::audit(&context, slug, check, json)?,
        Command::Check { destination, name, json } => check::check(&context, name, &destination, json)?,
        Command::Explain { what, name } => explain::explain(&context, name, what.as_deref())?,
        Command::Images { action } => images::images(&context, &action)?,
        Command::Inbox { json } => inbox::inbox(json)?,
        Command::Approve { id, answer } => inbox::decide(&context, &id, true, answer)?,
        Command::Refuse { id, why } => inbox::decide(&context, &id, false, why)?,
        Command::Git { slug, action } => git::git(&context, &slug, &action)?,
        Command::Publish { slug, port, host } => {
            publish::publish(&context, slug, Published { guest: port, host })?;
        }
        Command::Fork { from, to } => fork::fork(&context, &from, &to)?,
        Command::Snapshot { words: _ } => fork::instead("snapshot")?,
        Command::Restore { words: _ } => fork::instead("restore")?,
        Command::Rename { from, to, renew } => rename::rename(&context, &from, &to, renew)?,
        Command::Up { slug, agent: _, trust, renew, rebuild, moved: _, detach: _ } => {
            up::up(&context, slug, &up::Options { trust, renew, rebuild })?;
        }
        Command::SshConfig { slug, user } => ssh::config(&context, slug, &user)?,
        Command::Stop { slug } => stop::stop(&context, slug)?,
        Command::Restart { slug, trust, renew, rebuild } => {
            restart::restart(&context, slug, &up::Options { trust, renew, rebuild })?;
        }
        Command::Rm { slug, force } => rm::rm(&context, slug, force)?,
        Command::Login { login, from, yes, remove } => {
            let login = login.parse().map_err(anyhow::Error::from)?;
            login::login(&context, login, login::Options { from, yes, remove })?;
        }
        Command::Trash { now, restore, json } => trash::trash(&context, &trash::How { now, restore, json })?,
        Command::Ui { port, idle } => ui::ui(&context, ui::How { port, idle })?,
        Command::Watch => watch::watch()?,
        Command::Ls { all, json } => ls::ls(all, json)?,
        Command::Pool { drain, json } => pool::pool(&context, drain, json)?,
        Command::Stats { slug, follow, json } => stats::stats(&context, &stats::How { slug, follow, json })?,
        Command::Top { slug, json } => top::top(&context, slug, json)?,
        Command::Inspect { slug, json: _ } => inspect::inspect(&context, slug)?,
        Command::Events { slug, denied, follow, since, json } => {
            events::events(&context, slug, logs::Shown { denied, follow, since }, json)?;
        }
        Command::Suggest { slug, json } => suggest::suggest(&context, slug, json)?,
        Command::Status { slug, json } => status::status(&context, slug, json)?,
        Command::Cp { from, to, all, max_size, parents, user } => {
            copy::cp(&context, &from, &to, &copy::Options { all, max_size, parents, user })?;
        }
        Command::Diff { slug, names, json, max_size, paths } => {
            changes::diff(&context, slug, &changes::Shown { names, json, max_size }, &paths)?;
        }
        Command::Apply { slug, overwrite, dry_run, digest, max_size, yes, paths } => {
            let how = changes::How { overwrite, dry_run, digest, max_size, yes };
            changes::apply(&context, slug, &how, &paths)?;
        }
        Command::Undo { slug, dry_run, yes } => undo::undo(&context, slug, undo::How { dry_run, yes })?,
        Command::Config { json } => config::config(&context, json)?,
        Command::Plan { slug, explain: true, .. } => explained::explain(&context, slug)?,
        Command::Plan { slug, diff, json, .. } => plan::plan(&context, slug, diff, json)?,
        Command::Allow { slug, host } => rules::allow(&context, &slug, &host)?,
        Command::Deny { slug, host } => rules::deny(&context, &slug, &host)?,
        Command::Logs { slug, follow, workload: true, .. } => {
            workload::show(&context.folder(slug)?, || follow)?;
        }
        Command::Logs { slug, denied, follow, workload: false, since } => {
            logs::logs(&context, slug, logs::Shown { denied, follow, since })?;
        }
        Command::Cleanup { dry_run, yes, json } => {
            cleanup::cleanup(&context, cleanup::How { dry_run, yes, json })?;
        }
        Command::Schema { document } => manual::schema(document)?,
        Command::Completions { shell } => manual::completions(shell)?,
        Command::Man { dir } => manual::man(dir.as_deref())?,
        Command::Internal(command) => return internal::dispatch(command),
    }
    Ok(ExitCode::SUCCESS)
}
