//! `bottle man`: the manual, from the same description as `--help`.

use crate::args::Args;
use anyhow::Context as _;
use bottle_host::failure::Outcome;
use bottle_host::out;
use clap::CommandFactory;
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
