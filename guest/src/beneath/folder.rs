//! A folder, by its descriptor.

use super::meta::{Kind, Meta};
use rustix::fs::{AtFlags, Dir, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// What is done with links on the way to something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// They are refused.
    #[default]
    Refused,
    /// They are followed. Only a debug build can, so that it can be shown what that leads to.
    #[cfg(debug_assertions)]
    Followed,
}

/// A folder, by its descriptor.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    links: Links,
}

impl Folder {
    /// Opens a folder by a path that a person chose: links in it are followed.
    ///
    /// # Errors
    /// Where there is no such folder.
    pub fn open(path: &Path, links: Links) -> io::Result<Self> {
        let fd = rustix::fs::open(path, FOLDER, Mode::empty())?;
        Ok(Self { fd, links })
    }

    /// Another descriptor of the same folder.
    ///
    /// # Errors
    /// Where there are no descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()?, links: self.links })
    }

    /// Opens a folder in this one.
    ///
    /// # Errors
    /// Where there is none of that name, also where a link to one is.
    pub fn folder(&self, name: &OsStr) -> io::Result<Self> {
        let fd = rustix::fs::openat(&self.fd, one(name)?, FOLDER | self.no_link(), Mode::empty())?;
        Ok(Self { fd, links: self.links })
    }

    /// Opens a folder below this one; an empty path, or `.`, is this one.
    ///
    /// # Errors
    /// Where it is not there, or a part of the path is a link, or leads out.
    pub fn folder_at(&self, path: &Path) -> io::Result<Self> {
        if let Some(found) = self.in_one_call(path) {
            return found;
        }
        path.components().try_fold(self.try_clone()?, |folder, part| match part {
            Component::Normal(name) => folder.folder(name),
            Component::CurDir => Ok(folder),
            _ => Err(Errno::XDEV.into()),
        })
    }

    #[cfg(all(target_os = "linux", not(bottle_portable)))]
    fn in_one_call(&self, path: &Path) -> Option<io::Result<Self>> {
        use rustix::fs::ResolveFlags;
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let resolve = match self.links {
            Links::Refused => inside | ResolveFlags::NO_SYMLINKS,
            #[cfg(debug_assertions)]
            Links::Followed => ResolveFlags::empty(),
        };
        match rustix::fs::openat2(&self.fd, path, FOLDER, Mode::empty(), resolve) {
            Ok(fd) => Some(Ok(Self { fd, links: self.links })),
            // A kernel before 5.6, or a filter that does not know the call; a rename elsewhere in the
            // way (AGAIN); a path that is longer than one call takes.
            Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN | Errno::NAMETOOLONG) => None,
            Err(error) => Some(Err(error.into())),
        }
    }

    #[cfg(not(all(target_os = "linux", not(bottle_portable))))]
    fn in_one_call(&self, _: &Path) -> Option<io::Result<Self>> {
        None
    }

    /// Opens the folder that a path is in, and gives the path's last name.
    ///
    /// # Errors
    /// As for [`Folder::folder_at`], and for a path without a name.
    pub fn above<'a>(&self, path: &'a Path) -> io::Result<(Self, &'a OsStr)> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        Ok((self.folder_at(path.parent().unwrap_or(Path::new("")))?, name))
    }

    /// Makes a folder in this one, and opens it.
    ///
    /// # Errors
    /// Where something of that name is there, or it cannot be made.
    pub fn make_folder(&self, name: &OsStr, mode: u32) -> io::Result<Self> {
        rustix::fs::mkdirat(&self.fd, one(name)?, bits(mode))?;
        self.folder(name)
    }

    /// Opens a folder below this one, and makes what is missing of it.
    ///
    /// # Errors
    /// Where a part of the path is something else than a folder.
    pub fn make_folders(&self, path: &Path) -> io::Result<Self> {
        path.components().try_fold(self.try_clone()?, |folder, part| match part {
            Component::Normal(name) => match folder.folder(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => folder.make_folder(name, 0o777),
                opened => opened,
            },
            Component::CurDir => Ok(folder),
            _ => Err(Errno::XDEV.into()),
        })
    }

    /// Opens a file in this folder for reading: never through a link, and never a pipe that nobody
    /// writes to. Its [`Meta`] is that of the very file that was opened.
    ///
    /// # Errors
    /// Where it is not there, or is no file.
    pub fn file(&self, name: &OsStr) -> io::Result<(File, Meta)> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = rustix::fs::openat(&self.fd, one(name)?, flags, Mode::empty())?;
        let meta = Meta::from(&rustix::fs::fstat(&fd)?);
        if meta.kind != Kind::File {
            return Err(io::Error::other("it is no file"));
        }
        Ok((File::from(fd), meta))
    }

    /// Makes a file in this folder, for writing.
    ///
    /// # Errors
    /// Where something of that name is there, a link that leads nowhere among it.
    pub fn create(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&self.fd, one(name)?, flags, bits(mode))?))
    }

    /// What a name in this folder is. A link is a link.
    ///
    /// # Errors
    /// Where it is not there.
    pub fn meta(&self, name: &OsStr) -> io::Result<Meta> {
        Ok(Meta::from(&rustix::fs::statat(&self.fd, one(name)?, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    /// What this folder itself is.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn own_meta(&self) -> io::Result<Meta> {
        Ok(Meta::from(&rustix::fs::fstat(&self.fd)?))
    }

    /// Where a link in this folder points.
    ///
    /// # Errors
    /// Where it is no link.
    pub fn read_link(&self, name: &OsStr) -> io::Result<PathBuf> {
        let target = rustix::fs::readlinkat(&self.fd, one(name)?, Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()).into())
    }

    /// Makes a link in this folder.
    ///
    /// # Errors
    /// Where something of that name is there.
    pub fn make_link(&self, target: &Path, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, &self.fd, one(name)?)?)
    }

    /// Removes a file or a link.
    ///
    /// # Errors
    /// Where it is not there, or is a folder.
    pub fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, one(name)?, AtFlags::empty())?)
    }

    /// Removes an empty folder.
    ///
    /// # Errors
    /// Where it is not there, or not empty, or no folder.
    pub fn remove_folder(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, one(name)?, AtFlags::REMOVEDIR)?)
    }

    /// Gives what has a name in this folder another one, in that folder. What has it there goes.
    ///
    /// # Errors
    /// Where the system refuses it.
    pub fn rename(&self, name: &OsStr, to: &Self, new: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.fd, one(name)?, &to.fd, one(new)?)?)
    }

    /// The names in this folder, in no order.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn names(&self) -> io::Result<impl Iterator<Item = io::Result<OsString>> + use<>> {
        let entries = Dir::read_from(&self.fd)?;
        Ok(entries.filter_map(|entry| match entry {
            Ok(entry) => match entry.file_name().to_bytes() {
                b"." | b".." => None,
                name => Some(Ok(OsStr::from_bytes(name).to_owned())),
            },
            Err(error) => Some(Err(error.into())),
        }))
    }

    /// Gives this folder to a user.
    ///
    /// # Errors
    /// Where the system refuses it.
    pub fn give(&self, uid: Uid, gid: Gid) -> io::Result<()> {
        Ok(rustix::fs::fchown(&self.fd, Some(uid), Some(gid))?)
    }

    /// Gives what has a name in this folder to a user, if it may be given; and says what it is.
    ///
    /// # Errors
    /// Where it is not there, or the system refuses it; [`io::ErrorKind::CrossesDevices`] where something
    /// is mounted on it.
    pub fn give_one(
        &self,
        name: &OsStr,
        uid: Uid,
        gid: Gid,
        may: impl Fn(&Meta) -> bool,
    ) -> io::Result<Meta> {
        #[cfg(all(target_os = "linux", not(bottle_portable)))]
        {
            // The descriptor is of the thing itself, a link among them, and opens nothing.
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = self.open_here(one(name)?, flags)?;
            let meta = Meta::from(&rustix::fs::fstat(&fd)?);
            if may(&meta) {
                rustix::fs::chownat(&fd, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
            }
            Ok(meta)
        }
        #[cfg(not(all(target_os = "linux", not(bottle_portable))))]
        {
            let meta = self.meta(name)?;
            if may(&meta) {
                rustix::fs::chownat(&self.fd, one(name)?, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Ok(meta)
        }
    }

    /// Opens what has a name in this folder and is in the same mount. Device numbers would not tell: on
    /// an overlay a file has another one than its folder. A kernel before 5.6 does not look.
    #[cfg(all(target_os = "linux", not(bottle_portable)))]
    fn open_here(&self, name: &OsStr, flags: OFlags) -> io::Result<OwnedFd> {
        use rustix::fs::ResolveFlags;
        let opened = rustix::fs::openat2(&self.fd, name, flags, Mode::empty(), ResolveFlags::NO_XDEV);
        match opened {
            Err(Errno::NOSYS | Errno::PERM) => Ok(rustix::fs::openat(&self.fd, name, flags, Mode::empty())?),
            opened => Ok(opened?),
        }
    }

    /// Lets the owner of a folder in this one look into it and change it.
    pub(super) fn open_up(&self, name: &OsStr) -> io::Result<()> {
        #[cfg(all(target_os = "linux", not(bottle_portable)))]
        {
            use std::os::fd::AsRawFd;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(&self.fd, one(name)?, flags, Mode::empty())?;
            // The call that takes such a descriptor is younger than the kernels that are met.
            Ok(rustix::fs::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), bits(0o700))?)
        }
        #[cfg(not(all(target_os = "linux", not(bottle_portable))))]
        Ok(rustix::fs::chmodat(&self.fd, one(name)?, bits(0o700), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn no_link(&self) -> OFlags {
        match self.links {
            Links::Refused => OFlags::NOFOLLOW,
            #[cfg(debug_assertions)]
            Links::Followed => OFlags::empty(),
        }
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A name and no path: nothing that a system call would take apart.
fn one(name: &OsStr) -> io::Result<&OsStr> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(only)), None) if only == name => Ok(name),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no name")),
    }
}

/// Permission bits, for a call.
fn bits(mode: u32) -> Mode {
    #[cfg_attr(target_os = "linux", expect(clippy::useless_conversion, reason = "not on every system"))]
    let raw = mode.try_into().unwrap_or_default();
    Mode::from_bits_truncate(raw)
}

/// Sets a file's permission bits, whatever the umask is.
///
/// # Errors
/// Where the system refuses it.
pub fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    Ok(rustix::fs::fchmod(file, bits(mode))?)
}
