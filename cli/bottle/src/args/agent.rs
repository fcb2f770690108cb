//! `bottle claude`, and the like.

use super::values::narrow;
use crate::complete;
use bottle_core::egress::HostRule;
use bottle_core::slug::Slug;

// How to run an agent.
#[expect(missing_docs, reason = "clap would say it in place of what the subcommand says")]
#[derive(Clone, Debug, clap::Args)]
pub struct AgentRun {
    /// The bottle's name [default: from bottle.toml, or the folder's name]
    #[arg(long, short = 'n', value_name = "SLUG", add = complete::slugs())]
    pub bottle: Option<Slug>,
    /// A host that may be reached while the agent is installed, such as that of your package registry
    #[arg(long, value_name = "HOST", value_parser = narrow)]
    pub setup_allow: Vec<HostRule>,
    /// Check that the agent is installed, by what its profile has for that, and do not run it
    #[arg(long, conflicts_with = "arguments")]
    pub smoke: bool,
    /// Create the bottle's machine again if it needs another image; everything on its disk is lost
    #[arg(long)]
    pub renew: bool,
    /// Install the agent again, and create the bottle's machine from that; everything on its disk is lost
    #[arg(long)]
    pub rebuild: bool,
    /// Use bottle.toml even if a guest could have written it; with a digest, only if the digest matches
    #[arg(long, value_name = "DIGEST", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub trust: Option<String>,
    /// Leave it running; `bottle attach` shows what it prints
    #[arg(long, short)]
    pub detach: bool,
    /// The agent's own arguments
    #[arg(last = true)]
    pub arguments: Vec<String>,
}
