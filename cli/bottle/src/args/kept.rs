//! `bottle run --out`.

use super::values::Size;
use std::path::PathBuf;

// How the results of a run are kept.
#[expect(missing_docs, reason = "clap would say it in place of what the subcommand says")]
#[derive(Clone, Debug, clap::Args)]
pub struct KeptRun {
    /// Keep the results in this folder, which is made: how it went, the output, the log, and what the guest
    /// changed and pushed
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// A folder that the guest can read at /in
    #[arg(long = "in", value_name = "DIR", requires = "out")]
    pub input: Option<PathBuf>,
    /// The ID of this run, which becomes part of the bottle's name: a job's number, say [default: a random one]
    #[arg(long, value_name = "ID", requires = "out", value_parser = run_id)]
    pub id: Option<String>,
    /// Find out from the host what the guest could reach, and go on only if that is its doors
    #[arg(long, requires = "out")]
    pub verify: bool,
    /// The most bytes of the guest's changes to take, like 500M or 2T [default: 4G]
    #[arg(long, value_name = "SIZE", requires = "out")]
    pub max_size: Option<Size>,
    /// The most bytes of each of its two output streams to keep [default: 64M]
    #[arg(long, value_name = "SIZE", requires = "out")]
    pub max_output: Option<Size>,
}

/// Parses the ID of a run: anything on one line.
fn run_id(text: &str) -> Result<String, &'static str> {
    match text {
        "" => Err("it cannot be empty"),
        text if text.len() > 200 => Err("it has at most 200 bytes"),
        text if text.chars().any(bottle_core::visible::is_hidden) => {
            Err("it must be visible text on one line")
        }
        text => Ok(text.to_owned()),
    }
}
