//! `bottle man`, `completions` and `schema`: documents generated from commands and types.

use crate::args::{Args, Document};
use crate::schema;
use anyhow::Context as _;
use bottle_host::failure::Outcome;
use bottle_host::out;
use clap::CommandFactory;
use clap_complete::Shell;
use clap_complete::env::Shells;
use std::path::Path;

pub fn man(folder: Option<&Path>) -> Outcome {
    let command = Args::command();
    match folder {
        Some(folder) => {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
            clap_mangen::generate_to(command, folder).with_context(|| folder.display().to_string())?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page).context("the manual")?;
            out::raw(&page)?;
        }
    }
    Ok(())
}

/// Prints the script that lets a shell ask bottle for completions.
pub fn completions(shell: Shell) -> Outcome {
    let shells = Shells::builtins();
    let shell = shells.completer(&shell.to_string()).context("there is no script for this shell")?;
    let mut script = Vec::new();
    shell.write_registration("COMPLETE", "bottle", "bottle", "bottle", &mut script).context("the script")?;
    out::raw(&script)
}

/// Prints the schema of a document.
pub fn schema(document: Document) -> Outcome {
    out::raw(schema::text(document).as_bytes())
}
