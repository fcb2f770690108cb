//! The command line.

use crate::complete;
use bottle_core::slug::Slug;
use bottle_host::workspace::Digest;
use bottle_sidecars::git::hook::Hook;
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

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

    /// Say more: each step, also where standard error is no terminal
    #[arg(long, short, global = true, conflicts_with = "quiet")]
    pub verbose: bool,

    /// Share folders with the guest that are better kept from it: /, your home, your keys
    #[arg(long, global = true)]
    pub i_know: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What a person can ask for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a bottle.toml for the project here, with comments
    Init {
        /// Write over one that is there
        #[arg(long, short)]
        force: bool,
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
        /// Use bottle.toml although a guest could have written it; with a digest, only if it has that
        #[arg(long, value_name = "DIGEST", num_args = 0..=1, require_equals = true, default_missing_value = "")]
        trust: Option<String>,
        /// The command and its arguments [default: a shell]
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Start a bottle that stays
    Up {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// Use bottle.toml although a guest could have written it; with a digest, only if it has that
        #[arg(long, value_name = "DIGEST", num_args = 0..=1, require_equals = true, default_missing_value = "")]
        trust: Option<String>,
        /// Make its machine anew; what is on its disk is lost
        #[arg(long)]
        renew: bool,
        /// The project's folder was moved or made anew: it is the same project
        #[arg(long)]
        moved: bool,
    },
    /// Run a command in a bottle that is up
    Exec {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Open a shell in a bottle that is up
    Shell {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
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
        /// Use bottle.toml although a guest could have written it; with a digest, only if it has that
        #[arg(long, value_name = "DIGEST", num_args = 0..=1, require_equals = true, default_missing_value = "")]
        trust: Option<String>,
        /// Make its machine anew; what is on its disk is lost
        #[arg(long)]
        renew: bool,
    },
    /// Remove a bottle with its disk
    Rm {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// Ask nothing: stop it if it runs, and move changes that were not taken back to the trash
        #[arg(long, short)]
        force: bool,
    },
    /// List copies of projects that were removed with changes in them; they stay for 7 days
    Trash {
        /// Remove all of them now
        #[arg(long)]
        now: bool,
        /// Make one its bottle's again, for `bottle diff` and `bottle apply`
        #[arg(long, value_name = "NAME", conflicts_with = "now")]
        restore: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Copy a file or a folder into a bottle that is up, or out of it
    Cp {
        /// What to copy: PATH, or SLUG:PATH
        #[arg(add = complete::places(), value_parser = OsStringValueParser::new().try_map(|word| Place::of(&word)))]
        from: Place,
        /// Where to: PATH, or SLUG:PATH; into it where it is a folder
        #[arg(add = complete::places(), value_parser = OsStringValueParser::new().try_map(|word| Place::of(&word)))]
        to: Place,
        /// Out of a bottle: also what git or bottle would act upon, like .git and bottle.toml
        #[arg(long)]
        all: bool,
        /// Out of a bottle: the most to take, like 500M or 2T [default: 16G]
        #[arg(long, value_name = "SIZE")]
        max_size: Option<Size>,
    },
    /// Show what the guest changed in its copy of the project
    Diff {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// Only the paths
        #[arg(long)]
        names: bool,
        /// Print JSON
        #[arg(long, conflicts_with = "names")]
        json: bool,
        /// The most to read, like 500M or 2T; what is beyond it stays in the guest [default: 4G]
        #[arg(long, value_name = "SIZE")]
        max_size: Option<Size>,
        /// Only these paths, and what is below them
        #[arg(last = true)]
        paths: Vec<PathBuf>,
    },
    /// Take back into the project what the guest changed in its copy
    Apply {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// Take the guest's also where you have changed the same path
        #[arg(long)]
        overwrite: bool,
        /// Only show what would be taken
        #[arg(long)]
        dry_run: bool,
        /// Take exactly what `bottle diff` showed with this digest, and do not ask
        #[arg(long, conflicts_with = "yes")]
        digest: Option<Digest>,
        /// The most to read, like 500M or 2T; what is beyond it stays in the guest [default: 4G]
        #[arg(long, value_name = "SIZE")]
        max_size: Option<Size>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        /// Only these paths, and what is below them
        #[arg(last = true)]
        paths: Vec<PathBuf>,
    },
    /// Undo the last `bottle apply`: the project is as it was before
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
    /// List the bottles
    Ls {
        /// Show runs that have ended, too: those whose logs are still there
        #[arg(long, short)]
        all: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a bottle: its doors, what was refused, how long it has been up
    Status {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what would start, without starting anything
    Plan {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// Show how it differs from what was started last; status 1 if it does
        #[arg(long)]
        diff: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what the guard and the proxy would say of a destination, and why
    Check {
        /// HOST:PORT, an address with a port, a URL or a name
        destination: String,
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
    /// Take a host away again
    Deny {
        /// The bottle's name
        #[arg(add = complete::slugs())]
        slug: Slug,
        /// The host
        host: String,
    },
    /// List what agents ask their operator for
    Inbox {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Give an agent what it asked for
    Approve {
        /// What `bottle inbox` calls it
        id: WishId,
        /// The answer to a question
        answer: Option<String>,
    },
    /// Do not give an agent what it asked for
    Refuse {
        /// What `bottle inbox` calls it
        id: WishId,
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
    /// Show what a bottle's parts decided
    Logs {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// Only refusals
        #[arg(long)]
        denied: bool,
        /// Keep printing what comes
        #[arg(long, short)]
        follow: bool,
        /// Only what is newer: a while, like 10m, a day, like 2026-11-24, or a time in UTC, like 2026-11-24T09:30
        #[arg(long, value_name = "TIME", value_parser = crate::time::point_in_time)]
        since: Option<std::time::SystemTime>,
    },
    /// Print a bottle's log as it is, one JSON object a line, or prove that it is whole
    Audit {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// Find a line that was changed, taken out or put in
        #[arg(long)]
        check: bool,
    },
    /// Try, from the host and from inside a bottle that is up, to reach anything but its doors
    Verify {
        /// The bottle's name [default: from bottle.toml, or the folder's name]
        #[arg(add = complete::slugs())]
        slug: Option<Slug>,
        /// Try every TCP port from inside, too, not a sample
        #[arg(long)]
        every_port: bool,
        /// Run nothing in the guest: only what the host sees by itself
        #[arg(long, conflicts_with = "every_port")]
        host_only: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show whether this machine has what bottle needs
    Doctor {
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
    },
    /// Print the JSON Schema of bottle.toml, or of what a command prints with --json
    Schema {
        /// Which document
        #[arg(value_enum, default_value_t = Document::BottleToml)]
        document: Document,
    },
    /// Print a script that teaches a shell to complete commands, options, bottles and paths
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write all of them
    Man {
        /// The folder that takes a page for each command
        #[arg(long, value_name = "FOLDER")]
        dir: Option<PathBuf>,
    },
    /// What git runs while the agent pushes
    #[command(hide = true)]
    GitHook {
        /// Which hook.
        hook: Hook,
    },
    /// The host process of one bottle; started by `up` and `run`
    #[command(hide = true)]
    Keeper {
        /// The bottle's name.
        slug: Slug,
        /// The keeper ends when this descriptor is closed, unless a machine has adopted it.
        #[arg(long)]
        owner_fd: i32,
        /// Where the keeper says that it is ready, or why not.
        #[arg(long)]
        ready_fd: i32,
        /// The guest's socket, which listens already.
        #[arg(long)]
        guest_fd: i32,
        /// The socket to who starts programs for it: without one, it begins.
        #[arg(long)]
        starter_fd: Option<i32>,
        /// The socket to who holds the keys of upstreams.
        #[arg(long, requires = "starter_fd")]
        keys_fd: Option<i32>,
    },
    /// Starts programs for a keeper, which may start none
    #[command(hide = true)]
    Starter {
        /// The bottle's name.
        slug: Slug,
        /// The socket to the keeper.
        #[arg(long)]
        fd: i32,
    },
    /// Holds the keys of a bottle's upstreams, for a keeper that has none
    #[command(hide = true)]
    Keys {
        /// The bottle's name.
        slug: Slug,
        /// The socket to the keeper.
        #[arg(long)]
        fd: i32,
    },
}

impl Command {
    /// Whether no person asks for it: it is how one process of bottle's starts another.
    pub fn is_own(&self) -> bool {
        matches!(self, Self::GitHook { .. } | Self::Keeper { .. } | Self::Starter { .. } | Self::Keys { .. })
    }
}

impl Command {
    /// What it prints as JSON, if it was asked to.
    pub fn printed_json(&self) -> Option<Document> {
        match self {
            Self::Diff { json: true, .. } => Some(Document::Diff),
            Self::Doctor { json: true } => Some(Document::Doctor),
            Self::Git { action: GitAction::List { json: true }, .. } => Some(Document::GitList),
            Self::Inbox { json: true } => Some(Document::Inbox),
            Self::Ls { json: true, .. } => Some(Document::Ls),
            Self::Plan { json: true, diff: true, .. } => Some(Document::PlanDiff),
            Self::Plan { json: true, .. } => Some(Document::Plan),
            Self::Status { json: true, .. } => Some(Document::Status),
            Self::Trash { json: true, .. } => Some(Document::Trash),
            Self::Verify { json: true, .. } => Some(Document::Verify),
            _ => None,
        }
    }
}

/// A document that has a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Document {
    /// The configuration file
    #[value(name = "bottle.toml")]
    BottleToml,
    /// A line of bottle audit
    Audit,
    /// bottle diff --json
    Diff,
    /// bottle doctor --json
    Doctor,
    /// bottle git SLUG list --json
    GitList,
    /// bottle inbox --json
    Inbox,
    /// bottle ls --json
    Ls,
    /// bottle plan --json
    Plan,
    /// bottle plan --diff --json
    PlanDiff,
    /// bottle status --json
    Status,
    /// bottle trash --json
    Trash,
    /// bottle verify --json
    Verify,
}

impl Document {
    /// Returns its name, as `bottle schema` takes it.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Returns the name of the document that a command line asks for, as far as one can be recognized in a
    /// command line that is wrong: `error` if it cannot, and nothing if it does not ask for JSON.
    pub fn wanted(words: impl Iterator<Item = OsString>) -> Option<String> {
        let words = words.take_while(|word| word != "--").filter_map(|word| word.into_string().ok());
        let words: Vec<String> = words.collect();
        let has = |wanted: &str| words.iter().any(|word| word == wanted);
        let named = words.iter().find(|word| Self::from_str(word, false).is_ok()).map(String::as_str);
        has("--json").then(|| match named {
            _ if has("git") => Self::GitList.name(),
            Some("plan") if has("--diff") => Self::PlanDiff.name(),
            Some(name) => name.to_owned(),
            None => "error".to_owned(),
        })
    }
}

/// What a person can do with what the agent pushed.
#[derive(Clone, Debug, Subcommand)]
pub enum GitAction {
    /// List what waits
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a push changes at the upstream
    Diff {
        /// Which push
        #[command(flatten)]
        push: Push,
        /// Show all of it, however much it is
        #[arg(long)]
        all: bool,
    },
    /// Send a push on to the upstream, with your own credentials
    Approve(Seen),
    /// Take a push back
    Reject(Seen),
}

/// A push that waits.
#[derive(Clone, Debug, clap::Args)]
pub struct Push {
    /// The branch, or a tag by its whole name [default: the only one that waits]
    pub branch: Option<String>,
    /// The repository, where branches of one name wait in several
    #[arg(long, value_name = "NAME")]
    pub repo: Option<Slug>,
}

/// A push that waits, as a person saw it.
#[derive(Clone, Debug, clap::Args)]
pub struct Seen {
    /// Which push: BRANCH, or BRANCH@COMMIT as `list` and `diff` show it. At a terminal, one without
    /// its commit is shown and asked about
    #[arg(value_name = "BRANCH[@COMMIT]")]
    pub branch: Option<String>,
    /// The commit that you saw, whole; `deleted` where the push deletes the branch
    #[arg(long, value_name = "ID")]
    pub commit: Option<String>,
    /// The repository, where branches of one name wait in several
    #[arg(long, value_name = "NAME")]
    pub repo: Option<Slug>,
}

/// Something that an agent asked for: `my-project.3`.
#[derive(Clone, Debug)]
pub struct WishId {
    /// Whose agent.
    pub slug: Slug,
    /// Which of its wishes.
    pub number: u32,
}

impl std::str::FromStr for WishId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts =
            text.rsplit_once('.').and_then(|(slug, number)| Some((slug.parse().ok()?, number.parse().ok()?)));
        let (slug, number) = parts.ok_or("it has the form my-project.3; `bottle inbox` lists them")?;
        Ok(Self { slug, number })
    }
}

/// A number of bytes: `500M`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl std::str::FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "it has the form 500M: a number, and K, M, G or T";
        let number = text.trim_end_matches(['K', 'M', 'G', 'T']);
        let shift = match &text[number.len()..] {
            "" => 0,
            "K" => 10,
            "M" => 20,
            "G" => 30,
            "T" => 40,
            _ => return Err(FORM),
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
        bytes.map(Self).ok_or(FORM)
    }
}

/// A path on this machine, or in a bottle: `my-project:/etc/hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this machine.
    Here(PathBuf),
    /// In a bottle's guest.
    Guest(Slug, OsString),
}

impl Place {
    /// Reads a place. A path may have any bytes.
    ///
    /// # Errors
    /// What is wrong with it.
    fn of(word: &OsStr) -> Result<Self, String> {
        // As scp reads it: a colon before the first slash names a bottle.
        let bytes = word.as_bytes();
        match bytes.iter().position(|byte| matches!(byte, b':' | b'/')) {
            Some(colon) if bytes[colon] == b':' => {
                let (slug, path) = (String::from_utf8_lossy(&bytes[..colon]), &bytes[colon + 1..]);
                let slug = slug.parse().map_err(|error| format!("{slug:?} names no bottle: {error}"))?;
                match path {
                    b"" => Err("a path belongs after the colon".to_owned()),
                    path => Ok(Self::Guest(slug, OsStr::from_bytes(path).to_owned())),
                }
            }
            _ if word.is_empty() => Err("a path is not empty".to_owned()),
            _ => Ok(Self::Here(word.into())),
        }
    }
}
