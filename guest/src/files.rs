//! The helper's half of `bottle cp`: `pack` and `unpack` for whatever a path names, `get` and `put` for the content of one
//! file. Each does it as a user of the guest.
//!
//! With `get` and `put`, a file is opened as any program of that user would open it: links are followed, and what is there keeps its
//! permissions. Whoever may not do that gets the kernel's own answer.

use crate::archive::{self, HEX, NEITHER, Rules};
use crate::beneath::{Folder, Links};
use crate::chunks;
use crate::exec::user::User;
use crate::report::{Code, Refused};
use anyhow::{Context, Result, bail};
use rustix::fs::OFlags;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What the command line says.
#[derive(Debug, Default)]
pub struct Asked {
    /// The path.
    pub path: PathBuf,
    /// The user to be.
    pub user: Option<OsString>,
    /// Whether folders that are missing on the way are made.
    pub parents: bool,
    /// The most bytes to send.
    pub most: Option<u64>,
}

impl Asked {
    /// Parses the words of `get`, `put`, `pack` or `unpack`.
    ///
    /// # Errors
    /// Returns an error if one is unknown.
    pub fn parse(words: Vec<OsString>) -> Result<Self> {
        use lexopt::prelude::*;
        let mut parser = lexopt::Parser::from_args(words);
        let (mut asked, mut path) = (Self::default(), None);
        while let Some(word) = parser.next()? {
            match word {
                Long("user") => asked.user = Some(parser.value()?),
                Long("parents") => asked.parents = true,
                Long("most") => asked.most = Some(parser.value()?.parse()?),
                Long(option) if option == HEX.trim_start_matches('-') => {
                    path = Some(from_hex(&parser.value()?)?);
                }
                Value(word) if path.is_none() => path = Some(word.into()),
                other => return Err(other.unexpected().into()),
            }
        }
        asked.path = path.context("expected one path")?;
        Ok(asked)
    }

    /// Becomes the user that was named, if one was.
    ///
    /// # Errors
    /// Returns an error if there is no such user.
    pub fn become_user(&self) -> Result<()> {
        let Some(named) = &self.user else { return Ok(()) };
        let user = User::find(named)?;
        user.become_it()
    }

    /// Makes the folders above the path, if that was asked for.
    ///
    /// # Errors
    /// Returns an error if one cannot be made.
    pub fn make_parents(&self) -> Result<()> {
        match self.path.parent().filter(|above| self.parents && !above.as_os_str().is_empty()) {
            Some(above) => fs::create_dir_all(above).with_context(|| above.display().to_string()),
            None => Ok(()),
        }
    }
}

/// Runs `bottle-guest get`, which writes a file to standard output.
///
/// # Errors
/// Returns an error if it cannot be read, is no file, or is longer than was asked for.
pub fn get(words: Vec<OsString>) -> Result<ExitCode> {
    let asked = Asked::parse(words)?;
    asked.become_user()?;
    let what = || asked.path.display().to_string();
    let most = asked.most.unwrap_or(u64::MAX);
    let mut options = OpenOptions::new();
    // A pipe that nobody writes to would never open.
    let file = options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(&asked.path);
    let file = file.with_context(what)?;
    let meta = file.metadata().with_context(what)?;
    if meta.is_dir() {
        return Err(Refused(Code::IsFolder, format!("{} is a folder", what())).into());
    }
    if !meta.is_file() {
        bail!("{} is neither a file nor a folder", what());
    }
    let too_large = || Refused(Code::TooLarge, format!("{} has more than {most} bytes", what()));
    if meta.len() > most {
        return Err(too_large().into());
    }
    // The length says nothing of a file that grows, or of one of the kernel's.
    let mut out = io::stdout().lock();
    let sent = io::copy(&mut (&file).take(most), &mut out).with_context(what)?;
    out.flush()?;
    if sent == most && (&file).read(&mut [0]).with_context(what)? > 0 {
        return Err(too_large().into());
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `bottle-guest put`, which writes a file from the [chunks](chunks) on standard input.
///
/// # Errors
/// Returns an error if it cannot be written, or was cut off.
pub fn put(words: Vec<OsString>) -> Result<ExitCode> {
    let asked = Asked::parse(words)?;
    asked.become_user()?;
    asked.make_parents()?;
    let what = || asked.path.display().to_string();
    if asked.path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(Refused(Code::IsFolder, format!("{} names a folder", what())).into());
    }
    let mut file = File::create(&asked.path).with_context(what)?;
    chunks::receive(&mut io::stdin().lock(), &mut file).with_context(what)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `bottle-guest pack PATH`, which writes an archive to standard output.
///
/// # Errors
/// Returns an error if nothing is there, or it cannot be read.
pub fn pack(words: Vec<OsString>) -> Result<ExitCode> {
    let asked = Asked::parse(words)?;
    asked.become_user()?;
    let path = &asked.path;
    // A link that a person named stands for its target, because only the target is useful elsewhere.
    let real = path.canonicalize().with_context(|| path.display().to_string())?;
    let name = path.file_name().or(real.file_name()).unwrap_or("root".as_ref()).to_owned();
    let left = archive::pack(&real, &name, Links::Refused, io::stdout().lock())?;
    for path in left {
        eprintln!("bottle-guest: left out, {NEITHER}: {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `bottle-guest unpack PATH`, which unpacks an archive from standard input as `cp -r` would: into
/// `PATH` if that is a folder, or as `PATH`.
///
/// # Errors
/// Returns an error if it cannot be written.
pub fn unpack(words: Vec<OsString>) -> Result<ExitCode> {
    let asked = Asked::parse(words)?;
    asked.become_user()?;
    asked.make_parents()?;
    let target = &asked.path;
    let (folder, rename) = if target.is_dir() {
        (target.as_path(), None)
    } else {
        let name = target.file_name().with_context(|| target.display().to_string())?;
        let above = target.parent().filter(|above| !above.as_os_str().is_empty());
        (above.unwrap_or(Path::new(".")), Some(name.to_owned()))
    };
    let into = Folder::open(folder, Links::Refused).with_context(|| folder.display().to_string())?;
    archive::unpack(io::stdin().lock(), &into, &Rules::of_a_person(rename))?;
    Ok(ExitCode::SUCCESS)
}

fn from_hex(hex: &OsStr) -> Result<PathBuf> {
    let pairs = hex.as_encoded_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes = pairs.map(byte).collect::<Option<Vec<u8>>>().context("expected hexadecimal digits")?;
    Ok(OsString::from_vec(bytes).into())
}
