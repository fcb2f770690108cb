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

/// How links on the way to something are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// They are refused.
    #[default]
    Refused,
    /// They are followed. Only a debug build can do this, to show what it leads to.
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
    /// Opens a folder at a path that a person chose. Links in the path are followed.
    ///
    /// # Errors
    /// Returns an error if there is no such folder.
    pub fn open(path: &Path, links: Links) -> io::Result<Self> {
        let fd = rustix::fs::open(path, FOLDER, Mode::empty())?;
        Ok(Self { fd, links })
    }

    /// Creates another descriptor of the same folder.
    ///
    /// # Errors
    /// Returns an error if there are no descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()?, links: self.links })
    }

    /// Opens a folder in this one.
    ///
    /// # Errors
    /// Returns an error if there is no folder with that name. A link to a folder does not count.
    pub fn folder(&self, name: &OsStr) -> io::Result<Self> {
        let fd = rustix::fs::openat(&self.fd, one(name)?, FOLDER | self.no_link(), Mode::empty())?;
        Ok(Self { fd, links: self.links })
    }

    /// Opens a folder below this one. An empty path or `.` is this folder.
    ///
    /// # Errors
    /// Returns an error if there is no such folder, or if a part of the path is a link or leads out.
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
            // The kernel is older than 5.6, or a filter does not know the call, or a rename elsewhere
            // interfered (AGAIN), or the path is longer than one call accepts.
            Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN | Errno::NAMETOOLONG) => None,
            Err(error) => Some(Err(error.into())),
        }
    }

    #[cfg(not(all(target_os = "linux", not(bottle_portable))))]
    fn in_one_call(&self, _: &Path) -> Option<io::Result<Self>> {
        None
    }

    /// Opens the parent folder of a path, and returns it with the path's last name.
    ///
    /// # Errors
    /// Returns an error as for [`Folder::folder_at`], or if the path has no name.
    pub fn above<'a>(&self, path: &'a Path) -> io::Result<(Self, &'a OsStr)> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        Ok((self.folder_at(path.parent().unwrap_or(Path::new("")))?, name))
    }

    /// Creates a folder in this one and opens it.
    ///
    /// # Errors
    /// Returns an error if the name is taken or the folder cannot be created.
    pub fn make_folder(&self, name: &OsStr, mode: u32) -> io::Result<Self> {
        rustix::fs::mkdirat(&self.fd, one(name)?, bits(mode))?;
        self.folder(name)
    }

    /// Opens a folder below this one, and creates the missing folders on the way.
    ///
    /// # Errors
    /// Returns an error if a part of the path is not a folder.
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

    /// Opens a file in this folder for reading. It never follows a link, and never waits for a writer of a
    /// pipe. The [`Meta`] is that of the very file that was opened.
    ///
    /// # Errors
    /// Returns an error if there is no such file, or if it is something else.
    pub fn file(&self, name: &OsStr) -> io::Result<(File, Meta)> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = rustix::fs::openat(&self.fd, one(name)?, flags, Mode::empty())?;
        let meta = Meta::from(&rustix::fs::fstat(&fd)?);
        if meta.kind != Kind::File {
            return Err(io::Error::other("it is not a regular file"));
        }
        Ok((File::from(fd), meta))
    }

    /// Creates a file in this folder, for writing.
    ///
    /// # Errors
    /// Returns an error if the name is taken, even by a link that leads nowhere.
    pub fn create(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&self.fd, one(name)?, flags, bits(mode))?))
    }

    /// Returns the metadata of this name in the folder. It does not follow a link.
    ///
    /// # Errors
    /// Returns an error if the name does not exist.
    pub fn meta(&self, name: &OsStr) -> io::Result<Meta> {
        Ok(Meta::from(&rustix::fs::statat(&self.fd, one(name)?, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    /// Returns the metadata of this folder itself.
    ///
    /// # Errors
    /// Returns an error if the system gives one.
    pub fn own_meta(&self) -> io::Result<Meta> {
        Ok(Meta::from(&rustix::fs::fstat(&self.fd)?))
    }

    /// Returns the target of a link in this folder.
    ///
    /// # Errors
    /// Returns an error if it is not a link.
    pub fn read_link(&self, name: &OsStr) -> io::Result<PathBuf> {
        let target = rustix::fs::readlinkat(&self.fd, one(name)?, Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()).into())
    }

    /// Creates a link in this folder.
    ///
    /// # Errors
    /// Returns an error if the name is taken.
    pub fn make_link(&self, target: &Path, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, &self.fd, one(name)?)?)
    }

    /// Removes a file or a link.
    ///
    /// # Errors
    /// Returns an error if the name does not exist or is a folder.
    pub fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, one(name)?, AtFlags::empty())?)
    }

    /// Removes an empty folder.
    ///
    /// # Errors
    /// Returns an error if there is no such folder or it is not empty.
    pub fn remove_folder(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, one(name)?, AtFlags::REMOVEDIR)?)
    }

    /// Moves a name in this folder to another name in the folder `to`, and replaces what has that name there.
    ///
    /// # Errors
    /// Returns an error if the system refuses to do so.
    pub fn rename(&self, name: &OsStr, to: &Self, new: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.fd, one(name)?, &to.fd, one(new)?)?)
    }

    /// Moves a name in this folder to another name in the folder `to`, which must not exist.
    ///
    /// # Errors
    /// Returns [`io::ErrorKind::AlreadyExists`] if the new name is taken, or another error if the system
    /// refuses it.
    pub fn rename_new(&self, name: &OsStr, to: &Self, new: &OsStr) -> io::Result<()> {
        #[cfg(all(target_os = "linux", not(bottle_portable)))]
        {
            use rustix::fs::RenameFlags;
            let flags = RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(&self.fd, one(name)?, &to.fd, one(new)?, flags) {
                // Not every file system supports this.
                Err(Errno::INVAL | Errno::NOSYS) => {}
                renamed => return Ok(renamed?),
            }
        }
        match to.meta(new) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.rename(name, to, new),
            Err(error) => Err(error),
            Ok(_) => Err(Errno::EXIST.into()),
        }
    }

    /// Exchanges two names in one step. Returns false if the file system cannot do that.
    ///
    /// # Errors
    /// Returns an error if one of the names does not exist, or if the system refuses to exchange them.
    pub fn exchange(&self, name: &OsStr, to: &Self, other: &OsStr) -> io::Result<bool> {
        let (name, other) = (one(name)?, one(other)?);
        #[cfg(all(target_os = "linux", not(bottle_portable)))]
        {
            use rustix::fs::RenameFlags;
            match rustix::fs::renameat_with(&self.fd, name, &to.fd, other, RenameFlags::EXCHANGE) {
                Err(Errno::INVAL | Errno::NOSYS) => Ok(false),
                Err(error) => Err(error.into()),
                Ok(()) => Ok(true),
            }
        }
        #[cfg(not(all(target_os = "linux", not(bottle_portable))))]
        {
            let _ = (name, to, other);
            Ok(false)
        }
    }

    /// Waits until the changes to the names in this folder are on disk.
    ///
    /// # Errors
    /// Returns an error if the disk fails.
    pub fn sync(&self) -> io::Result<()> {
        match rustix::fs::fsync(&self.fd) {
            // Not every file system supports this for a folder.
            Err(Errno::INVAL | Errno::BADF) => Ok(()),
            done => Ok(done?),
        }
    }

    /// Waits until everything on this folder's file system is on disk.
    ///
    /// # Errors
    /// Returns an error if the disk fails.
    pub fn sync_all(&self) -> io::Result<()> {
        #[cfg(all(target_os = "linux", not(bottle_portable)))]
        rustix::fs::syncfs(&self.fd)?;
        #[cfg(not(all(target_os = "linux", not(bottle_portable))))]
        rustix::fs::sync();
        Ok(())
    }

    /// Sets the permission bits of this folder, regardless of the umask.
    ///
    /// # Errors
    /// Returns an error if the system refuses to do so.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::fchmod(&self.fd, bits(mode))?)
    }

    /// Returns the names in this folder, in no particular order.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be read.
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

    /// Makes a user the owner of this folder.
    ///
    /// # Errors
    /// Returns an error if the system refuses to do so.
    pub fn give(&self, uid: Uid, gid: Gid) -> io::Result<()> {
        Ok(rustix::fs::fchown(&self.fd, Some(uid), Some(gid))?)
    }

    /// Makes a user the owner of what has this name in the folder, if `may` allows it. Returns its metadata.
    ///
    /// # Errors
    /// Returns an error if the name does not exist or the system refuses to do so, and
    /// [`io::ErrorKind::CrossesDevices`] if something is mounted on it.
    pub fn give_one(
        &self,
        name: &OsStr,
        uid: Uid,
        gid: Gid,
        may: impl Fn(&Meta) -> bool,
    ) -> io::Result<Meta> {
        #[cfg(all(target_os = "linux", not(bottle_portable)))]
        {
            // The descriptor refers to the thing itself, even if that is a link, and opens nothing.
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

    /// Opens what has this name in the folder, if it is in the same mount. Device numbers cannot tell: on an
    /// overlay a file's number differs from its folder's. A kernel older than 5.6 does not check.
    #[cfg(all(target_os = "linux", not(bottle_portable)))]
    fn open_here(&self, name: &OsStr, flags: OFlags) -> io::Result<OwnedFd> {
        use rustix::fs::ResolveFlags;
        let opened = rustix::fs::openat2(&self.fd, name, flags, Mode::empty(), ResolveFlags::NO_XDEV);
        match opened {
            Err(Errno::NOSYS | Errno::PERM) => Ok(rustix::fs::openat(&self.fd, name, flags, Mode::empty())?),
            opened => Ok(opened?),
        }
    }

    /// Lets the owner of a folder in this one read and change it.
    pub(super) fn open_up(&self, name: &OsStr) -> io::Result<()> {
        #[cfg(all(target_os = "linux", not(bottle_portable)))]
        {
            use std::os::fd::AsRawFd;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(&self.fd, one(name)?, flags, Mode::empty())?;
            // The call that accepts such a descriptor is newer than some kernels that bottle runs on.
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

/// Checks that this is a single name, not a path that a system call would take apart.
fn one(name: &OsStr) -> io::Result<&OsStr> {
    let bytes = name.as_bytes();
    if matches!(bytes, b"" | b"." | b"..") || bytes.contains(&b'/') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a single name"));
    }
    Ok(name)
}

/// Converts permission bits for a system call.
fn bits(mode: u32) -> Mode {
    #[cfg_attr(target_os = "linux", expect(clippy::useless_conversion, reason = "not on every system"))]
    let raw = mode.try_into().unwrap_or_default();
    Mode::from_bits_truncate(raw)
}

/// Sets a file's permission bits, regardless of the umask.
///
/// # Errors
/// Returns an error if the system refuses to do so.
pub fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    Ok(rustix::fs::fchmod(file, bits(mode))?)
}
