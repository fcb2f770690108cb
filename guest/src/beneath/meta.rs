//! What the system knows about something in a folder.

use rustix::fs::{FileType, Mode, Stat};
use std::fs::File;
use std::io;
use std::time::{Duration, SystemTime};

/// The permission bits that are copied. None of them gives a program somebody else's rights.
pub const MODE: u32 = 0o777;

/// The kind of something in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A symbolic link.
    Link,
    /// A device, a socket or a pipe.
    Special,
}

/// What is known about something without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Its kind.
    pub kind: Kind,
    /// Its permission bits, without set-user-ID and the like.
    pub mode: u32,
    /// Its length, in bytes.
    pub len: u64,
    /// When it was last modified, in nanoseconds since 1970.
    pub changed: i128,
    /// When the system last noted a change to it, in nanoseconds since 1970. No program can set this.
    pub noted: i128,
    /// The user who owns it.
    pub uid: u32,
    /// The group that owns it.
    pub gid: u32,
    /// Whether it has no other name than this one.
    pub has_one_name: bool,
    /// The number of the file system that it is on.
    pub device: u64,
    /// Its number in that file system.
    pub number: u64,
    /// Whether it has a bit that gives a program somebody else's rights.
    pub is_privileged: bool,
}

impl Meta {
    /// Returns the metadata of an open file.
    ///
    /// # Errors
    /// Returns an error if the system gives one.
    pub fn of(file: &File) -> io::Result<Self> {
        Ok(Self::from(&rustix::fs::fstat(file)?))
    }
}

impl From<&Stat> for Meta {
    fn from(stat: &Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Folder,
            FileType::RegularFile => Kind::File,
            FileType::Symlink => Kind::Link,
            _ => Kind::Special,
        };
        #[cfg_attr(target_os = "linux", expect(clippy::useless_conversion, reason = "not on every system"))]
        let mode = u32::from(Mode::from_raw_mode(stat.st_mode).bits());
        #[cfg_attr(target_os = "linux", expect(clippy::unnecessary_cast, reason = "not on every system"))]
        let (device, number) = (stat.st_dev as u64, stat.st_ino as u64);
        Self {
            kind,
            mode: mode & MODE,
            len: u64::try_from(stat.st_size).unwrap_or_default(),
            changed: i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec),
            noted: i128::from(stat.st_ctime) * 1_000_000_000 + i128::from(stat.st_ctime_nsec),
            uid: stat.st_uid,
            gid: stat.st_gid,
            has_one_name: stat.st_nlink == 1,
            device,
            number,
            is_privileged: kind == Kind::File && mode & 0o6000 != 0,
        }
    }
}

/// Returns the time of a file's last change, to give another file the same one. Returns `None` before 1970.
pub fn moment(nanoseconds: i128) -> Option<SystemTime> {
    let since = u64::try_from(nanoseconds).ok().map(Duration::from_nanos)?;
    SystemTime::UNIX_EPOCH.checked_add(since)
}
