//! `bottle git`.

use bottle_core::slug::Slug;
use clap::Subcommand;

// Decisions about what the agent pushed.
#[expect(missing_docs, reason = "clap would say it in place of what the subcommand says")]
#[derive(Clone, Debug, Subcommand)]
#[command(defer = true)]
pub enum GitAction {
    /// List the pushes that wait
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a push would change at the upstream
    Diff {
        /// The push
        #[command(flatten)]
        push: Push,
        /// Show all of it, however long it is
        #[arg(long)]
        all: bool,
    },
    /// Send a push on to the upstream, with your own credentials
    Approve(Seen),
    /// Reject a push
    Reject(Seen),
}

// A push that waits.
#[expect(missing_docs, reason = "clap would say it in place of what the subcommand says")]
#[derive(Clone, Debug, clap::Args)]
pub struct Push {
    /// The branch, or a tag by its whole name [default: the only one that waits]
    pub branch: Option<String>,
    /// The repository, if branches of the same name wait in several
    #[arg(long, value_name = "NAME")]
    pub repo: Option<Slug>,
}

// A push that waits, as a person saw it.
#[expect(missing_docs, reason = "clap would say it in place of what the subcommand says")]
#[derive(Clone, Debug, clap::Args)]
pub struct Seen {
    /// The push: BRANCH, or BRANCH@COMMIT as `list` and `diff` show it. Without a commit, a terminal shows
    /// the push and asks
    #[arg(value_name = "BRANCH[@COMMIT]")]
    pub branch: Option<String>,
    /// The full ID of the commit that you saw; `deleted` if the push deletes the branch
    #[arg(long, value_name = "ID")]
    pub commit: Option<String>,
    /// The repository, if branches of the same name wait in several
    #[arg(long, value_name = "NAME")]
    pub repo: Option<Slug>,
}
