//! Sends files over a stream as a tar archive, for both ends of `bottle cp`.
//!
//! [`pack`] is the same on both ends: it lists a tree by descriptors, and packs only folders, files and
//! links. [`unpack`] follows its [`Rules`]. In the guest they are lenient, because the files are a person's
//! own. On the host the files are a guest's, and bottle trusts nothing about them: not their names, kinds or
//! sizes.

mod entries;
mod name;
mod pack;
mod sparse;
mod unpack;

pub use name::{Refused, destination, stays_inside};
pub use pack::{NEITHER, pack, pack_from, split};
pub use unpack::{Leave, LeftOut, Limits, NOTHING, Names, Rules, Unpacked, unpack};

use crate::beneath::{Folder, Links};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Runs `bottle-guest pack PATH`, which writes an archive to standard output.
pub fn pack_main(words: Vec<OsString>) -> Result<ExitCode> {
    let path = only(words)?;
    // A link that a person named stands for its target, because only the target is useful elsewhere.
    let real = path.canonicalize().with_context(|| path.display().to_string())?;
    let name = path.file_name().or(real.file_name()).unwrap_or("root".as_ref()).to_owned();
    let left = pack(&real, &name, Links::Refused, io::stdout().lock())?;
    for path in left {
        eprintln!("bottle-guest: left out, {NEITHER}: {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `bottle-guest unpack PATH`, which unpacks an archive from standard input as `cp -r` would: into
/// `PATH` if that is a folder, or as `PATH`.
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

/// Marks the following path as hexadecimal: a virtual machine monitor may only pass on text.
pub const HEX: &str = "--hex";

fn only(words: Vec<OsString>) -> Result<PathBuf> {
    match <[OsString; 1]>::try_from(words) {
        Ok([path]) => Ok(path.into()),
        Err(words) => match words.as_slice() {
            [option, hex] if option == HEX => {
                let pairs = hex.as_encoded_bytes().chunks(2);
                let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
                let bytes =
                    pairs.map(byte).collect::<Option<Vec<u8>>>().context("expected hexadecimal digits")?;
                Ok(OsString::from_vec(bytes).into())
            }
            _ => bail!("expected one path"),
        },
    }
}
