//! `bottle-guest layer`: runs the commands of a setup, and writes what they changed as a layer of an image.
//!
//! The root folder is listed before and after. What the system noted a change to goes into a tar on standard output,
//! and so does a `.wh.` file for whatever is gone. What other file systems hold, and what bottle and smolvm put into
//! a guest, does not belong to the layer. The host believes nothing of it.

mod list;
mod pack;

use anyhow::{Context, Result, bail};
use bottle_core::visible::Line;
use list::list;
use std::ffi::OsString;
use std::io::{BufWriter, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// What runs each command. Images have a shell of this name.
const SHELL: &str = "sh";

/// Runs `bottle-guest layer`.
///
/// # Errors
/// Returns an error if a command cannot be run, or the root folder cannot be read. A command that fails is no error but
/// a status.
pub fn main(words: &[OsString]) -> Result<ExitCode> {
    let [dashes, commands @ ..] = words else { bail!("there is no command") };
    if dashes != "--" || commands.is_empty() {
        bail!("commands follow after --");
    }
    let root = Path::new("/");
    let before = list(root)?;
    for command in commands {
        let shown = Line(&command.to_string_lossy()).to_string();
        eprintln!("setup: {shown}");
        let mut shell = Command::new(SHELL);
        // Standard output is the layer's.
        let output = std::io::stderr().as_fd().try_clone_to_owned()?;
        shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(output);
        let status = shell.status().with_context(|| format!("cannot run {SHELL}"))?;
        if !status.success() {
            eprintln!("setup: `{shown}` ended with {status}");
            return Ok(ExitCode::FAILURE);
        }
    }
    let after = list(root)?;
    let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    pack::write(root, &before, &after, &mut out)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
