//! The command line.
//!
//! The subcommands are here, in the order in which `--help` lists them. What several arguments of one are is in a file
//! of its own.

mod agent;
mod document;
mod exec;
mod git;
mod images;
mod internal;
mod kept;
mod values;

pub use agent::AgentRun;
pub use document::Document;
pub use exec::How;
pub use git::{GitAction, Push, Seen};
pub use images::ImagesAction;
pub use internal::Internal;
pub use kept::KeptRun;
pub use values::{Place, RequestId, Size};

use crate::complete;
use bottle_core::slug::Slug;
use bottle_core::text::Word;
use bottle_host::workspace::Digest;
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Parser, Subcommand};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

/// Runs an agent in a microVM that can reach nothing but the doors you chose.
#[derive(Debug, Parser)]
#[command(name = "bottle", version, max_term_width = 100, disable_help_subcommand = true)]
pub struct Args {
    /// The configuration file [default: bottle.toml here or in a folder above]
    #[arg(long, short = 'c', global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Say less: only results and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,

    /// Say more: each step, even if standard error is not a terminal
    #[arg(long, short, global = true, conflicts_with = "quiet")]
    pub verbose: bool,

    /// Share sensitive folders with the guest, such as /, your home or your keys
    #[arg(long, global = true)]
    pub i_know: bool,

    /// Keep everything on this machine in this folder: state, sockets, the cache of images, smolvm's own state
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands. Only the one that was named gets its arguments: making all of them took two fifths of `bottle --help`.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Write a commented bottle.toml for the project here
    Init {
        /// Overwrite an existing one
        #[arg(long, short)]
        force: bool,
        /// Take over what this devcontainer.json says [default: the project's, unless a guest could have written it]
        #[arg(long, value_name = "FILE")]
        devcontainer: Option<PathBuf>,
    },
    /// Run a command in a fresh bottle that is gone afterwards
    Run {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// Allow a host for this run: example.com, *.example.com, example.com:8443
        #[arg(long, value_name = "HOST")]
        allow: Vec<String>,
        /// Let an allowed host resolve to an address that is not public
        #[arg(long, value_name = "HOST")]
        allow_private: Vec<String>,
        /// Use bottle.toml even if a guest could have written it; with a digest, only if the digest matches
        #[arg(long, value_name = "DIGEST", num_args = 0..=1, require_equals = true, default_missing_value = "")]
        trust: Option<String>,
        /// End the run after this time, like 30s or 2h, with status 124
        #[arg(long, value_name = "TIME", value_parser = crate::time::while_long)]
        timeout: Option<Duration>,
        /// Keep the results
        #[command(flatten)]
        kept: KeptRun,
        /// The command and its arguments [default: a shell]
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Run Claude Code on the project here, in a bottle that stays
    Claude(AgentRun),
    /// Run Codex on the project here, in a bottle that stays
    Codex(AgentRun),
    /// Run Gemini CLI on the project here, in a bottle that stays
    Gemini(AgentRun),
    /// Run opencode on the project here, in a bottle that stays
    Opencode(AgentRun),
    /// Run aider on the project here, in a bottle that stays
    Aider(AgentRun),
    /// Run an agent of which you have a profile; without a name, list the agents
    Agent {
        /// The name of its profile
        name: Option<Slug>,
        /// How to run it
        #[command(flatten)]
        how: AgentRun,
    },
    /// Start a bottle that stays
    Up {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// The agent that it is for, like claude; it is set up, and not started
        #[arg(long, value_name = "NAME")]
        agent: Option<Slug>,
        /// Use bottle.toml even if a guest could have written it; with a digest, only if the digest matches
        #[arg(long, value_name = "DIGEST", num_args = 0..=1, require_equals = true, default_missing_value = "")]
        trust: Option<String>,
        /// Create its machine again; everything on its disk is lost
        #[arg(long)]
        renew: bool,
        /// Carry out the setup again whose results are kept in an image
        #[arg(long)]
        rebuild: bool,
        /// Keep the bottle although the project's folder was moved or replaced
        #[arg(long)]
        moved: bool,
        /// Leave it running, which is always done
        #[arg(long, short, hide = true)]
        detach: bool,
    },
    /// Run a command in a bottle that is up
    Exec {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// How to run it
        #[command(flatten)]
        how: How,
        /// Leave it running; `bottle attach` shows what it prints
        #[arg(long, short, conflicts_with_all = ["tty", "no_tty", "interactive"])]
        detach: bool,
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Show what a detached command prints, until it ends with its status; ctrl-C leaves it running
    Attach {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
    },
    /// Give a stopped bottle another name
    Rename {
        /// Its name
        #[arg(add = complete::slugs())]
        from: Slug,
        /// Its new name
        to: Slug,
        /// Create its machine again; everything on its disk is lost
        #[arg(long)]
        renew: bool,
    },
    /// Make a second bottle that has what a stopped one has: its disk, its copy of the project, its rules
    Fork {
        /// Its name
        #[arg(add = complete::slugs())]
        from: Slug,
        /// The second one's name
        to: Slug,
    },
    /// Say what does this
    #[command(hide = true)]
    Snapshot {
        /// Whatever follows
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        words: Vec<String>,
    },
    /// Say what does this
    #[command(hide = true)]
    Restore {
        /// Whatever follows
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        words: Vec<String>,
    },
    /// Let this machine's loopback reach a port of a guest, until this command ends or the bottle stops
    Publish {
        /// The bottle's name
        #[arg(add = complete::slugs())]
        slug: Slug,
        /// The port on which a program in the guest listens
        port: NonZeroU16,
        /// The port of this machine's loopback [default: any that is free]
        #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
        host: u16,
    },
    /// Open a shell in a bottle that is up
    Shell {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
    },
    /// Print an entry for ssh's configuration, so that ssh, scp, rsync, sftp and editors reach a bottle
    SshConfig {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// The user of the guest that ssh is, unless it names another
        #[arg(long, short, value_name = "USER", default_value = "root")]
        user: Word,
    },
    /// Stop a bottle and keep its disk
    Stop {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
    },
    /// Stop a bottle and start it again
    Restart {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// Use bottle.toml even if a guest could have written it; with a digest, only if the digest matches
        #[arg(long, value_name = "DIGEST", num_args = 0..=1, require_equals = true, default_missing_value = "")]
        trust: Option<String>,
        /// Create its machine again; everything on its disk is lost
        #[arg(long)]
        renew: bool,
        /// Carry out the setup again whose results are kept in an image
        #[arg(long)]
        rebuild: bool,
    },
    /// Remove a bottle with its disk
    Rm {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// Do not ask: stop it if it runs, and move changes that were not applied to the trash
        #[arg(long, short)]
        force: bool,
    },
    /// Take over the login of a subscription from its vendor's own program, to use it in place of a key
    Login {
        /// Whose: `claude` or `codex`
        #[arg(value_parser = ["claude", "codex"])]
        login: String,
        /// The vendor's file with the login [default: where its program keeps it]
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        /// Remove bottle's own copy instead
        #[arg(long, conflicts_with_all = ["from", "yes"])]
        remove: bool,
    },
    /// List copies of projects that were removed with changes in them; they stay for 7 days
    Trash {
        /// Remove all of them now
        #[arg(long)]
        now: bool,
        /// Give a copy back to its bottle, for `bottle diff` and `bottle apply`
        #[arg(long, value_name = "NAME", conflicts_with = "now")]
        restore: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Copy a file or a folder into a bottle that is up, or out of it
    Cp {
        /// What to copy: PATH, SLUG:PATH, or - for a file's content from standard input
        #[arg(add = complete::places(), value_parser = OsStringValueParser::new().try_map(|word| Place::of(&word)))]
        from: Place,
        /// Where to copy it: PATH or SLUG:PATH, into it if it is a folder; or - for a file's content to standard output
        #[arg(add = complete::places(), value_parser = OsStringValueParser::new().try_map(|word| Place::of(&word)))]
        to: Place,
        /// Out of a bottle: include files that git or bottle would act upon, like .git and bottle.toml
        #[arg(long)]
        all: bool,
        /// Out of a bottle, or from standard input: the most bytes to take, like 500M or 2T [default: 16G]
        #[arg(long, value_name = "SIZE")]
        max_size: Option<Size>,
        /// Into a bottle: make the folders above that are missing
        #[arg(long, short)]
        parents: bool,
        /// The user of the guest to read or write as: a name or a number, and optionally a group [default: root]
        #[arg(long, short, value_name = "USER")]
        user: Option<Word>,
    },
    /// Show what the guest changed in its copy of the project
    Diff {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// Show only the paths
        #[arg(long)]
        names: bool,
        /// Print JSON
        #[arg(long, conflicts_with = "names")]
        json: bool,
        /// The most bytes to read, like 500M or 2T; the rest stays in the guest [default: 4G]
        #[arg(long, value_name = "SIZE")]
        max_size: Option<Size>,
        /// Only these paths, and everything below them
        #[arg(last = true)]
        paths: Vec<PathBuf>,
    },
    /// Apply the guest's changes in its copy to the project
    Apply {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// Take the guest's version of paths that you have changed, too
        #[arg(long)]
        overwrite: bool,
        /// Only show what would be applied
        #[arg(long)]
        dry_run: bool,
        /// Apply exactly what `bottle diff` showed with this digest, and do not ask
        #[arg(long, conflicts_with = "yes")]
        digest: Option<Digest>,
        /// The most bytes to read, like 500M or 2T; the rest stays in the guest [default: 4G]
        #[arg(long, value_name = "SIZE")]
        max_size: Option<Size>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        /// Only these paths, and everything below them
        #[arg(last = true)]
        paths: Vec<PathBuf>,
    },
    /// Undo the last `bottle apply`: restore the project as it was before
    Undo {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// Only show what would change
        #[arg(long)]
        dry_run: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Show all bottles in a browser: requests, refusals, pushes and changes, with an answer to each
    Ui {
        /// The port of 127.0.0.1 to listen on [default: any that is free]
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        port: u16,
        /// End when nobody has looked for this long, like 30m or 2h
        #[arg(long, value_name = "TIME", value_parser = crate::time::while_long, default_value = "30m")]
        idle: Duration,
    },
    /// Show bottles, requests and the log in the terminal, and answer requests there
    Watch,
    /// List the bottles
    Ls {
        /// Include runs that have ended, if their logs are still there, and machines of the pool
        #[arg(long, short)]
        all: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the machines that are kept ready for `bottle run`, if your defaults have `[pool] warm`
    Pool {
        /// Remove those that wait, and keep none ready until the next run
        #[arg(long)]
        drain: bool,
        /// Print JSON
        #[arg(long, conflicts_with = "drain")]
        json: bool,
    },
    /// Show what running bottles take of this machine: processors, memory, network
    Stats {
        /// The bottle's name [default: every bottle that runs]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// Keep measuring, a line a second
        #[arg(long, short)]
        follow: bool,
        /// Print JSON; with --follow, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Show what runs in a guest, as the guest tells it
    Top {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print everything that is known of a bottle, as JSON without secrets
    Inspect {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// Print JSON, which is always done
        #[arg(long, hide = true)]
        json: bool,
    },
    /// Show a bottle: its doors, its refusals, and how long it has been up
    Status {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show your own defaults for all bottles, and where they are
    Config {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what would start, without starting anything
    Plan {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// Show how it differs from the last start; status 1 if it does
        #[arg(long)]
        diff: bool,
        /// Show which file each value comes from
        #[arg(long, conflicts_with_all = ["diff", "json"])]
        explain: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what the guard and the egress proxy would say to a destination, and why
    Check {
        /// HOST:PORT, an address with a port, a URL or a name
        destination: String,
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(long, short, value_name = "SLUG", add = complete::slugs())]
        name: Option<Slug>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Explain a reason, a status, or what a destination meets and what would change that
    Explain {
        /// A reason as in `bottle logs`, a status, or HOST:PORT; without one, list the reasons
        #[arg(value_name = "DESTINATION|REASON")]
        what: Option<String>,
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(long, short, value_name = "SLUG", add = complete::slugs())]
        name: Option<Slug>,
    },
    /// Let a bottle's agent reach a host: example.com, *.example.com, example.com:8443
    Allow {
        /// The bottle's name
        #[arg(add = complete::slugs())]
        slug: Slug,
        /// The host
        host: String,
    },
    /// Take a host away from a bottle's agent again
    Deny {
        /// The bottle's name
        #[arg(add = complete::slugs())]
        slug: Slug,
        /// The host. All of its ports are closed
        host: String,
    },
    /// List, fetch and remove the images that bottles boot from
    Images {
        /// What to do
        #[command(subcommand)]
        action: ImagesAction,
    },
    /// List what agents ask their operator
    Inbox {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Grant an agent's request
    Approve {
        /// The request, as `bottle inbox` lists it
        id: RequestId,
        /// The answer to a question
        answer: Option<String>,
    },
    /// Refuse an agent's request
    Refuse {
        /// The request, as `bottle inbox` lists it
        id: RequestId,
        /// Why not, for the agent to read
        #[arg(long)]
        why: Option<String>,
    },
    /// Look at what the agent pushed to git-gate, and decide
    Git {
        /// The bottle's name
        #[arg(add = complete::slugs())]
        slug: Slug,
        /// What to do
        #[command(subcommand)]
        action: GitAction,
    },
    /// Show what a bottle allowed, refused and noticed
    Logs {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// Show only refusals
        #[arg(long)]
        denied: bool,
        /// Keep printing new lines
        #[arg(long, short)]
        follow: bool,
        /// Show what the command printed that `exec --detach` started last
        #[arg(long, conflicts_with_all = ["denied", "since"])]
        workload: bool,
        /// Only newer lines: since a while ago, like 10m, a day, like 2026-11-24, or a time in UTC, like
        /// 2026-11-24T09:30
        #[arg(long, value_name = "TIME", value_parser = crate::time::point_in_time, allow_hyphen_values = true)]
        since: Option<std::time::SystemTime>,
    },
    /// Show what bottles allowed, refused and noticed, as one stream
    Events {
        /// The bottle's name [default: every bottle]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// Show only refusals
        #[arg(long)]
        denied: bool,
        /// Keep printing new lines, also those of bottles that come up
        #[arg(long, short)]
        follow: bool,
        /// Only newer lines: since a while ago, like 10m, a day, like 2026-11-24, or a time in UTC, like
        /// 2026-11-24T09:30
        #[arg(long, value_name = "TIME", value_parser = crate::time::point_in_time, allow_hyphen_values = true)]
        since: Option<std::time::SystemTime>,
        /// Print JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Show the hosts that were refused in this run, as lines for bottle.toml
    Suggest {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a bottle's log unchanged, one JSON object a line, or check that it is complete
    Audit {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// Find lines that were changed, removed or inserted
        #[arg(long)]
        check: bool,
        /// Print the result of the check as JSON
        #[arg(long, requires = "check")]
        json: bool,
    },
    /// Try, from the host and from inside a bottle that is up, to reach anything but its doors
    Verify {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// From inside, try every TCP port instead of a sample
        #[arg(long)]
        every_port: bool,
        /// Run nothing in the guest: only check from the host
        #[arg(long, conflicts_with = "every_port")]
        host_only: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say what is useful next in the project here; `bottle` alone does the same
    Next,
    /// Show whether this machine has what bottle needs
    Doctor {
        /// Install what is missing, where that is safe, and print the commands for the rest; asks first
        #[arg(long, conflicts_with = "json")]
        fix: bool,
        /// Do not ask
        #[arg(long, short, requires = "fix")]
        yes: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what crashes left behind, and remove it
    Cleanup {
        /// Only show it
        #[arg(long)]
        dry_run: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        /// Print JSON, and do nothing without --yes
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of bottle.toml, or of a command's --json output
    Schema {
        /// The document
        #[arg(value_enum, default_value_t = Document::BottleToml)]
        document: Document,
    },
    /// Print the script that lets a shell complete commands, options, bottles and paths
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write all of them
    Man {
        /// Write a page for each command into this folder
        #[arg(long, value_name = "FOLDER")]
        dir: Option<PathBuf>,
    },
    /// How one process of bottle's starts another
    #[command(flatten)]
    Internal(Internal),
}
