//! How one process of bottle's starts another. People see none of these.

use bottle_core::slug::Slug;
use bottle_sidecars::git::hook::Hook;
use clap::Subcommand;
use std::num::NonZeroU16;

/// The internal subcommands.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Internal {
    /// Runs as git's hook while the agent pushes
    #[command(hide = true)]
    GitHook {
        /// The hook.
        hook: Hook,
    },
    /// Runs the host process of one bottle; `up` and `run` start it
    #[command(hide = true)]
    Keeper {
        /// The bottle's name.
        slug: Slug,
        /// The keeper ends when this descriptor is closed, unless a machine has adopted it.
        #[arg(long)]
        owner_fd: i32,
        /// The pipe on which the keeper reports that it is ready, or why not.
        #[arg(long)]
        ready_fd: i32,
        /// The guest's socket, which is already listening.
        #[arg(long)]
        guest_fd: i32,
        /// The socket to its starter. A keeper without one starts its helpers first.
        #[arg(long)]
        starter_fd: Option<i32>,
        /// The socket to the process that holds the keys of upstreams.
        #[arg(long, requires = "starter_fd")]
        keys_fd: Option<i32>,
        /// The socket to the process that tells a person.
        #[arg(long, requires = "starter_fd")]
        notifier_fd: Option<i32>,
    },
    /// Runs the command of [notify] for a keeper, which may start none
    #[command(hide = true)]
    Notifier {
        /// The bottle's name.
        slug: Slug,
        /// The socket to the keeper.
        #[arg(long)]
        fd: i32,
    },
    /// Finishes a run whose process was killed
    #[command(hide = true)]
    Heir {
        /// The bottle's name.
        slug: Slug,
        /// The pipe that the run's process holds open.
        #[arg(long)]
        fd: i32,
        /// Whether nobody waits for this process.
        #[arg(long)]
        alone: bool,
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
    /// Publishes a port of a guest
    #[command(hide = true)]
    Publisher {
        /// The bottle's name.
        slug: Slug,
        /// The port on which a program in the guest listens.
        guest: NonZeroU16,
        /// The port of this machine's loopback.
        host: u16,
    },
    /// Holds a command that runs in a guest, and records what it prints
    #[command(hide = true)]
    Recorder {
        /// The bottle's name.
        slug: Slug,
        /// The command, as it is run in the guest.
        #[arg(last = true, required = true)]
        words: Vec<String>,
    },
    /// Serves a client of ssh on standard input and output
    #[command(hide = true)]
    SshProxy {
        /// The bottle's name.
        slug: Slug,
    },
    /// Keeps machines ready, for runs
    #[command(hide = true)]
    Warmer,
    /// Finds keys anew, for the process that holds them
    #[command(hide = true)]
    KeySource {
        /// The bottle's name.
        slug: Slug,
        /// The socket to the process that holds the keys.
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
