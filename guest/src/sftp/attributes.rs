//! What a file is, and what a client sets of it.

use super::wire::{Attributes, Name};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, fchown};
use std::path::Path;

/// The bits of a mode that a client may set.
const SETTABLE: u32 = 0o7777;

impl From<&Metadata> for Attributes {
    fn from(meta: &Metadata) -> Self {
        let seconds = |time: i64| u32::try_from(time.max(0)).unwrap_or(u32::MAX);
        Self {
            size: Some(meta.len()),
            owner: Some((meta.uid(), meta.gid())),
            mode: Some(meta.mode()),
            times: Some((seconds(meta.atime()), seconds(meta.mtime()))),
        }
    }
}

impl Attributes {
    /// Sets what is given of the file at a path, and follows a link there.
    pub(super) fn set(&self, path: &Path) -> io::Result<()> {
        if let Some(size) = self.size {
            OpenOptions::new().write(true).open(path)?.set_len(size)?;
        }
        if let Some((user, group)) = self.owner {
            chown(path, Some(user), Some(group))?;
        }
        if let Some(mode) = self.mode {
            fs::set_permissions(path, Permissions::from_mode(mode & SETTABLE))?;
        }
        if let Some(times) = self.timestamps() {
            rustix::fs::utimensat(CWD, path, &times, AtFlags::empty())?;
        }
        Ok(())
    }

    /// Sets what is given of an open file.
    pub(super) fn set_open(&self, file: &File) -> io::Result<()> {
        if let Some(size) = self.size {
            file.set_len(size)?;
        }
        if let Some((user, group)) = self.owner {
            fchown(file, Some(user), Some(group))?;
        }
        if let Some(mode) = self.mode {
            file.set_permissions(Permissions::from_mode(mode & SETTABLE))?;
        }
        if let Some(times) = self.timestamps() {
            rustix::fs::futimens(file, &times)?;
        }
        Ok(())
    }

    fn timestamps(&self) -> Option<Timestamps> {
        let time = |seconds: u32| Timespec { tv_sec: seconds.into(), tv_nsec: 0 };
        self.times
            .map(|(read, written)| Timestamps { last_access: time(read), last_modification: time(written) })
    }
}

/// Returns an entry of a folder.
pub(super) fn entry(name: &OsStr, meta: &Metadata) -> Name {
    let mut line = format!(
        "{} {:>3} {:<8} {:<8} {:>10} {} ",
        mode(meta.mode()),
        meta.nlink(),
        meta.uid(),
        meta.gid(),
        meta.len(),
        date(meta.mtime())
    )
    .into_bytes();
    line.extend_from_slice(name.as_bytes());
    Name { name: name.as_bytes().to_vec(), line, attributes: meta.into() }
}

/// Returns a mode as `ls` prints it.
fn mode(mode: u32) -> String {
    let kind = match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o010_000 => 'p',
        0o140_000 => 's',
        0o020_000 => 'c',
        0o060_000 => 'b',
        _ => '-',
    };
    let bits = (0..9).map(|bit| if mode & (0o400 >> bit) == 0 { '-' } else { ['r', 'w', 'x'][bit % 3] });
    std::iter::once(kind).chain(bits).collect()
}

/// Returns the date and the minute of a time, in UTC. The days are counted as in Howard Hinnant's `civil_from_days`.
fn date(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400) + 719_468, seconds.rem_euclid(86_400));
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", rest / 3600, rest / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_ls_prints() {
        assert_eq!(mode(0o100_754), "-rwxr-xr--");
        assert_eq!(mode(0o041_777), "drwxrwxrwx");
        for (seconds, shown) in [
            (0, "1970-01-01 00:00"),
            (951_782_399, "2000-02-28 23:59"),
            (951_782_400, "2000-02-29 00:00"),
            (4_107_542_400, "2100-03-01 00:00"),
            (-1, "1969-12-31 23:59"),
        ] {
            assert_eq!(date(seconds), shown);
        }
    }
}
