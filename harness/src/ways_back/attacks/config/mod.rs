//! Attacks by what a guest leaves for the host to read as configuration, and by what stands at the
//! paths that a configuration names.

mod paths;
mod programs;
mod provenance;

use crate::ways_back::Attack;
use crate::ways_back::field::{Ended, Field};
use anyhow::Result;
use std::path::Path;
use std::process::Command;

/// Every attack of this folder.
pub fn attacks() -> Vec<Attack> {
    [provenance::attacks(), paths::attacks(), programs::attacks()].concat()
}

/// A configuration that runs a program on the host, and says that no guest can write to it.
fn runs_a_program(field: &Field, slug: &str) -> String {
    format!(
        "slug = \"{slug}\"\n[workspace]\nmode = \"none\"\n[[upstream]]\npath = \"/a\"\norigin = \"https://a.test\"\n\
         headers = {{ x-key = {{ from_command = [\"sh\", \"-c\", \"touch {}; echo key\"] }} }}\n",
        field.proof().display()
    )
}

/// The operator's command, in another folder of the field.
fn operator_in(field: &Field, folder: &Path, words: &[&str]) -> Result<Ended> {
    let mut command = field.command(words);
    command.current_dir(folder);
    field.run(command)
}

/// The operator's command, ended after so many seconds: its status is 124 then.
fn operator_within(field: &Field, seconds: u32, words: &[&str]) -> Result<Ended> {
    let meant = field.command(words);
    let mut command = Command::new("timeout");
    command.arg(seconds.to_string()).arg(meant.get_program()).args(meant.get_args());
    command.envs(meant.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(dir) = meant.get_current_dir() {
        command.current_dir(dir);
    }
    field.run(command)
}
