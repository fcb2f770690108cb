//! Which bottles can begin as a machine of the pool.

use crate::resolve::Resolved;
use anyhow::{Context, Result};
use bottle_host::pool::{Image, Program, Shape};
use bottle_host::smolvm::Smolvm;
use bottle_host::state::chosen;
use std::env;
use std::path;

/// Returns the machine that a run needs, or why it needs one of its own, as the end of a sentence.
///
/// # Errors
/// Returns an error if a program cannot be looked at.
pub fn fit(resolved: &Resolved, smolvm: &Smolvm) -> Result<Result<Shape, &'static str>> {
    let guest = &resolved.plan.guest;
    if chosen().is_some() {
        return Ok(Err("--state-dir keeps a run to itself"));
    }
    if resolved.shares_what_others_change() {
        return Ok(Err("its guest shares a folder of this machine"));
    }
    let image = match (&guest.image, &resolved.image) {
        (None, _) => None,
        (Some(_), None) => return Ok(Err("its image is a path, and what is there may change")),
        (Some(_), Some(_)) => match resolved.boots_from() {
            Some(_) if resolved.plan.setup.is_for_image() && resolved.kept.is_none() => {
                return Ok(Err("its setup was not carried out yet"));
            }
            Some((digest, archive)) if archive.is_file() => {
                Some(Image { digest: digest.clone(), archive: archive.to_owned() })
            }
            _ => return Ok(Err("its image is not fetched yet")),
        },
    };
    let own = env::current_exe().context("this program's own path")?;
    // Whoever looks at it again is in another folder.
    let smolvm = path::absolute(&smolvm.path).context("smolvm's path")?;
    Ok(Ok(Shape {
        image,
        cpus: guest.cpus,
        memory_mib: guest.memory_mib,
        copies: resolved.copied.is_some(),
        programs: [&own, &smolvm].map(|path| Program::at(path)).into_iter().collect::<Result<_>>()?,
    }))
}
