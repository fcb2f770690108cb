//! Does what a client asks for.

use super::attributes::entry;
use super::wire::{self, Answer, Attributes, LONGEST, Malformed, Name, Packet, Request, Status};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, ReadDir};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

/// How many files and folders a client may have open.
const MOST_HANDLES: usize = 128;
/// How many names are told at once.
const MOST_NAMES: usize = 100;
/// The longest part of a file that is read at once, in bytes. It fits into a packet.
const LONGEST_READ: u32 = LONGEST - 1024;

/// What a client has open.
enum Open {
    File(File),
    Folder(PathBuf, ReadDir),
}

/// A server, with what its client has open.
#[derive(Default)]
pub(super) struct Server {
    open: BTreeMap<u32, Open>,
    next: u32,
}

/// Why there is no other answer.
struct Refused(Status, String);

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        let status = match error.kind() {
            ErrorKind::NotFound => Status::NoSuchFile,
            ErrorKind::PermissionDenied => Status::PermissionDenied,
            ErrorKind::UnexpectedEof => Status::Eof,
            _ => Status::Failure,
        };
        Self(status, error.to_string())
    }
}

const DONE: Answer = Answer::Status(Status::Ok, String::new());

impl Server {
    /// Returns the answer to a packet, with its length.
    pub(super) fn answer(&mut self, packet: &[u8]) -> Result<Vec<u8>, Malformed> {
        let (id, request) = match wire::read(packet)? {
            Packet::Init => return Ok(wire::version()),
            Packet::Request(id, request) => (id, request),
        };
        let answer = self.act(request).unwrap_or_else(|Refused(status, why)| Answer::Status(status, why));
        Ok(wire::write(id, &answer))
    }

    fn act(&mut self, request: Request) -> Result<Answer, Refused> {
        match request {
            Request::Open { path, flags, attributes } => self.open_file(&path, flags, &attributes),
            Request::Close { handle } => self.open.remove(&handle).map(|_| DONE).ok_or_else(unknown_handle),
            Request::Read { handle, offset, len } => {
                let mut data = vec![0; len.min(LONGEST_READ) as usize];
                let read = self.file(handle)?.read_at(&mut data, offset)?;
                if read == 0 && len > 0 {
                    return Err(Refused(Status::Eof, String::new()));
                }
                data.truncate(read);
                Ok(Answer::Data(data))
            }
            Request::Write { handle, offset, data } => {
                self.file(handle)?.write_all_at(&data, offset)?;
                Ok(DONE)
            }
            Request::Lstat { path } => Ok(Answer::Attributes((&fs::symlink_metadata(path)?).into())),
            Request::Stat { path } => Ok(Answer::Attributes((&fs::metadata(path)?).into())),
            Request::Fstat { handle } => match self.open.get(&handle).ok_or_else(unknown_handle)? {
                Open::File(file) => Ok(Answer::Attributes((&file.metadata()?).into())),
                Open::Folder(path, _) => Ok(Answer::Attributes((&fs::metadata(path)?).into())),
            },
            Request::Setstat { path, attributes } => done(attributes.set(&path)),
            Request::Fsetstat { handle, attributes } => {
                match self.open.get(&handle).ok_or_else(unknown_handle)? {
                    Open::File(file) => done(attributes.set_open(file)),
                    Open::Folder(path, _) => done(attributes.set(path)),
                }
            }
            Request::Opendir { path } => {
                let entries = fs::read_dir(&path)?;
                self.keep(Open::Folder(path, entries))
            }
            Request::Readdir { handle } => self.names(handle),
            Request::Remove { path } => done(fs::remove_file(path)),
            Request::Mkdir { path, attributes } => {
                done(DirBuilder::new().mode(attributes.mode.unwrap_or(0o777) & 0o7777).create(path))
            }
            Request::Rmdir { path } => done(fs::remove_dir(path)),
            Request::Realpath { path } => Ok(named(real(&path)?.as_os_str())),
            Request::Rename { from, to } => match fs::symlink_metadata(&to) {
                // The version of the protocol replaces nothing.
                Ok(_) => Err(Refused(Status::Failure, "it exists already".to_owned())),
                Err(_) => done(fs::rename(from, to)),
            },
            Request::Replace { from, to } => done(fs::rename(from, to)),
            Request::Readlink { path } => Ok(named(fs::read_link(path)?.as_os_str())),
            Request::Symlink { target, link } => done(symlink(target, link)),
            Request::Hardlink { from, to } => done(fs::hard_link(from, to)),
            Request::Fsync { handle } => done(self.file(handle)?.sync_all()),
            Request::Expand { path } => Ok(named(real(&expanded(&path))?.as_os_str())),
            Request::Unknown => Err(Refused(Status::Unsupported, "not supported".to_owned())),
        }
    }

    fn open_file(&mut self, path: &Path, flags: u32, attributes: &Attributes) -> Result<Answer, Refused> {
        let has = |flag: u32| flags & flag != 0;
        let (creates, is_new) = (has(0x8), has(0x8) && has(0x20));
        let mut options = OpenOptions::new();
        options.read(has(0x1)).write(has(0x2)).append(has(0x4)).truncate(has(0x10));
        options.create(creates).create_new(is_new).mode(attributes.mode.unwrap_or(0o666) & 0o7777);
        let file = options.open(path)?;
        self.keep(Open::File(file))
    }

    fn keep(&mut self, open: Open) -> Result<Answer, Refused> {
        if self.open.len() >= MOST_HANDLES {
            return Err(Refused(Status::Failure, "too many files are open".to_owned()));
        }
        while self.open.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let handle = self.next;
        self.next = self.next.wrapping_add(1);
        self.open.insert(handle, open);
        Ok(Answer::Handle(handle))
    }

    fn file(&self, handle: u32) -> Result<&File, Refused> {
        match self.open.get(&handle) {
            Some(Open::File(file)) => Ok(file),
            _ => Err(unknown_handle()),
        }
    }

    fn names(&mut self, handle: u32) -> Result<Answer, Refused> {
        let Some(Open::Folder(path, entries)) = self.open.get_mut(&handle) else {
            return Err(unknown_handle());
        };
        let mut names: Vec<Name> = Vec::new();
        for found in entries.take(MOST_NAMES) {
            let name = found?.file_name();
            // What was removed meanwhile is not there.
            if let Ok(meta) = fs::symlink_metadata(path.join(&name)) {
                names.push(entry(&name, &meta));
            }
        }
        if names.is_empty() { Err(Refused(Status::Eof, String::new())) } else { Ok(Answer::Names(names)) }
    }
}

fn unknown_handle() -> Refused {
    Refused(Status::Failure, "there is no such handle".to_owned())
}

fn done(done: io::Result<()>) -> Result<Answer, Refused> {
    done?;
    Ok(DONE)
}

fn named(path: &OsStr) -> Answer {
    let name = path.as_bytes().to_vec();
    Answer::Names(vec![Name { line: name.clone(), name, attributes: Attributes::default() }])
}

/// Returns a path without links. Its last part need not exist.
fn real(path: &Path) -> io::Result<PathBuf> {
    match (fs::canonicalize(path), path.parent(), path.file_name()) {
        (Err(error), Some(above), Some(name)) if error.kind() == ErrorKind::NotFound => {
            let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
            Ok(fs::canonicalize(above)?.join(name))
        }
        (found, _, _) => found,
    }
}

/// Returns a path with the user's own home folder in place of `~`.
fn expanded(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(below), Some(home)) => Path::new(&home).join(below),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(answer: Result<Answer, Refused>) -> Option<Status> {
        let of = |answer| if let Answer::Status(status, _) = answer { Some(status) } else { None };
        answer.map_or_else(|Refused(status, _)| Some(status), of)
    }

    #[test]
    fn a_file_is_made_written_read_listed_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut server = Server::default();
        let new = |path: &Path, flags| Request::Open {
            path: path.to_owned(),
            flags,
            attributes: Attributes::default(),
        };
        let Ok(Answer::Handle(handle)) = server.act(new(&path, 0x1 | 0x2 | 0x8 | 0x20)) else { panic!() };
        assert_eq!(status(server.act(new(&path, 0x2 | 0x8 | 0x20))), Some(Status::Failure));
        let data = vec![7; 300];
        assert_eq!(
            status(server.act(Request::Write { handle, offset: 5, data: data.clone() })),
            Some(Status::Ok)
        );
        let Ok(Answer::Data(read)) = server.act(Request::Read { handle, offset: 5, len: u32::MAX }) else {
            panic!()
        };
        assert_eq!(read, data);
        assert_eq!(status(server.act(Request::Read { handle, offset: 305, len: 1 })), Some(Status::Eof));
        let attributes = Attributes { mode: Some(0o600), times: Some((1, 2)), size: Some(10), owner: None };
        assert_eq!(status(server.act(Request::Setstat { path: path.clone(), attributes })), Some(Status::Ok));
        let Ok(Answer::Attributes(found)) = server.act(Request::Fstat { handle }) else { panic!() };
        assert_eq!(
            (found.size, found.mode, found.times.map(|times| times.1)),
            (Some(10), Some(0o100_600), Some(2))
        );
        let to = folder.path().join("other");
        let rename = Request::Rename { from: path.clone(), to: path.clone() };
        assert_eq!(status(server.act(rename)), Some(Status::Failure));
        assert_eq!(status(server.act(Request::Replace { from: path, to: to.clone() })), Some(Status::Ok));
        let Ok(Answer::Handle(listed)) = server.act(Request::Opendir { path: folder.path().to_owned() })
        else {
            panic!()
        };
        let Ok(Answer::Names(names)) = server.act(Request::Readdir { handle: listed }) else { panic!() };
        assert_eq!((names.len(), names[0].name.as_slice()), (1, b"other".as_slice()));
        assert_eq!(status(server.act(Request::Readdir { handle: listed })), Some(Status::Eof));
        assert_eq!(status(server.act(Request::Remove { path: to.clone() })), Some(Status::Ok));
        assert_eq!(status(server.act(Request::Lstat { path: to })), Some(Status::NoSuchFile));
        assert_eq!(status(server.act(Request::Close { handle })), Some(Status::Ok));
        assert_eq!(status(server.act(Request::Close { handle })), Some(Status::Failure));
        let Ok(Answer::Names(names)) = server.act(Request::Realpath { path: folder.path().join("none") })
        else {
            panic!()
        };
        assert!(names[0].name.ends_with(b"/none"));
    }

    #[test]
    fn no_client_has_more_open_than_is_allowed() {
        let mut server = Server::default();
        for _ in 0..MOST_HANDLES {
            assert_eq!(status(server.act(Request::Opendir { path: "/".into() })), None);
        }
        assert_eq!(status(server.act(Request::Opendir { path: "/".into() })), Some(Status::Failure));
    }
}
