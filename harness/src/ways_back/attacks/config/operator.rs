//! The operator, elsewhere and in a hurry, and a configuration that runs a program.

use crate::ways_back::target::{Ended, Target, copy_variables};
use anyhow::Result;
use std::path::Path;
use std::process::Command;

/// Returns a configuration that runs a program on the host, and says that no guest can write to it.
pub fn runs_a_program(target: &Target, slug: &str) -> String {
    format!(
        "slug = \"{slug}\"\n[workspace]\nmode = \"none\"\n[[upstream]]\npath = \"/a\"\norigin = \"https://a.test\"\n\
         headers = {{ x-key = {{ from_command = [\"sh\", \"-c\", \"touch {}; echo key\"] }} }}\n",
        target.proof().display()
    )
}

/// Runs the operator's command in another folder.
pub fn operator_in(target: &Target, folder: &Path, words: &[&str]) -> Result<Ended> {
    let mut command = target.command(words);
    command.current_dir(folder);
    target.run(command)
}

/// Runs the operator's command for at most this many seconds. At the limit its status is 124.
pub fn operator_within(target: &Target, seconds: u32, words: &[&str]) -> Result<Ended> {
    let meant = target.command(words);
    let mut command = Command::new("timeout");
    command.arg(seconds.to_string()).arg(meant.get_program()).args(meant.get_args());
    copy_variables(&meant, &mut command);
    if let Some(dir) = meant.get_current_dir() {
        command.current_dir(dir);
    }
    target.run(command)
}
