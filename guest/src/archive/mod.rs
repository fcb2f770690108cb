//! Files on a stream, as a tar archive: `bottle cp`, on both ends.
//!
//! [`pack`] is the same on both ends: it lists a tree by descriptors and takes along folders, files
//! and links, nothing else. [`unpack`] does what its [`Rules`] say. In the guest they are lenient:
//! what comes is a person's own. On the host what comes is a guest's, and nothing of it is believed:
//! not its names, not its kinds, not its sizes.

mod entries;
mod name;
mod pack;
mod unpack;

pub use name::{Refused, placed, stays_inside};
pub use pack::{pack, pack_from, split};
pub use unpack::{Leave, LeftOut, Limits, NOTHING, Names, Rules, Unpacked, unpack};

use crate::beneath::{Folder, Links};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `bottle-guest pack PATH`: an archive on standard output.
pub fn pack_main(words: Vec<OsString>) -> Result<ExitCode> {
    let path = only(words)?;
    // A link that a person named stands for what it points to: only that is of use elsewhere.
    let real = path.canonicalize().with_context(|| path.display().to_string())?;
    let name = path.file_name().or(real.file_name()).unwrap_or("root".as_ref()).to_owned();
    let left = pack(&real, &name, Links::Refused, io::stdout().lock())?;
    for path in left {
        eprintln!("bottle-guest: left out, neither file, folder nor link: {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// `bottle-guest unpack PATH`: an archive on standard input, unpacked as `cp -r` would: into `PATH`
/// where that is a folder, else as `PATH`.
pub fn unpack_main(words: Vec<OsString>) -> Result<ExitCode> {
    let target = only(words)?;
    let (folder, rename) = if target.is_dir() {
        (target.as_path(), None)
    } else {
        let name = target.file_name().with_context(|| target.display().to_string())?;
        let above = target.parent().filter(|above| !above.as_os_str().is_empty());
        (above.unwrap_or(Path::new(".")), Some(name.to_owned()))
    };
    let into = Folder::open(folder, Links::Refused).with_context(|| folder.display().to_string())?;
    unpack(io::stdin().lock(), &into, &Rules::of_a_person(rename))?;
    Ok(ExitCode::SUCCESS)
}

fn only(words: Vec<OsString>) -> Result<PathBuf> {
    match <[OsString; 1]>::try_from(words) {
        Ok([path]) => Ok(path.into()),
        Err(_) => bail!("one path is wanted"),
    }
}
