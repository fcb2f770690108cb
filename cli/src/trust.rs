//! `bottle.toml` can start programs on this machine and open doors. Where a guest can write to it,
//! it is used as a person last accepted it: a change is shown, and asked about.

use crate::config::Config;
use crate::failure::{Failure, Kind, Outcome};
use crate::state::{Home, private_dir, write_private};
use anyhow::{Context, Result};
use bottle_core::visible;
use sha2::{Digest, Sha256};
use similar::TextDiff;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What a person says to a file that has changed.
pub enum Answer<'a> {
    /// Use it.
    Yes,
    /// Ask them.
    Ask(&'a dyn Fn(&str) -> bool),
}

/// Lets a configuration through that no guest could have changed, or that a person accepts.
/// What is let through is remembered.
///
/// # Errors
/// [`Kind::Usage`] where it has changed and nobody accepts that.
pub fn check(home: &Home, config: &Config, answer: &Answer) -> Outcome {
    let Some((path, text)) = &config.file else { return Ok(()) };
    if !config.guest_can_write(path) {
        return Ok(());
    }
    let remembered = place(home, path);
    let before = match fs::read_to_string(&remembered) {
        Ok(before) => Some(before),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            return Err(anyhow::Error::from(error).context(remembered.display().to_string()).into());
        }
    };
    if let Some(before) = before.filter(|before| before != text) {
        let shown = difference(&before, text);
        let accepted = match answer {
            Answer::Yes => true,
            Answer::Ask(ask) => ask(&shown),
        };
        if !accepted {
            return Err(Failure::new(
                Kind::Usage,
                format!("{} has changed since a guest could write to it:\n{shown}", path.display()),
            )
            .help("look at it; --trust uses it. `[workspace] mode = \"copy\"` keeps it out of the guest's reach"));
        }
    }
    Ok(remember(&remembered, text)?)
}

fn remember(place: &Path, text: &str) -> Result<()> {
    private_dir(place.parent().context("a file has a folder")?)?;
    write_private(place, text.as_bytes())
}

/// One file for each path, named by its hash: a path is no file's name.
fn place(home: &Home, path: &Path) -> PathBuf {
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    home.trusted().join(name)
}

fn difference(before: &str, after: &str) -> String {
    let diff = TextDiff::from_lines(before, after);
    let lines = diff.unified_diff().context_radius(1).to_string();
    // A guest may have written it.
    lines.lines().map(|line| format!("  {}\n", visible::Line(line))).collect()
}
