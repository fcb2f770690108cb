//! The packets of the SSH file transfer protocol, version 3.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The longest packet, in bytes: that of OpenSSH.
pub const LONGEST: u32 = 256 << 10;

/// The version.
pub const VERSION: u32 = 3;

/// A packet that does not follow the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a packet does not follow the form of the protocol")
    }
}

impl std::error::Error for Malformed {}

/// What a client sets of a file, and what is told of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The size in bytes.
    pub size: Option<u64>,
    /// The owner and the group.
    pub owner: Option<(u32, u32)>,
    /// The mode, with the kind of file.
    pub mode: Option<u32>,
    /// When it was read and when it was written, in seconds since 1970.
    pub times: Option<(u32, u32)>,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named as in the protocol")]
pub enum Request {
    Open {
        path: PathBuf,
        flags: u32,
        attributes: Attributes,
    },
    Close {
        handle: u32,
    },
    Read {
        handle: u32,
        offset: u64,
        len: u32,
    },
    Write {
        handle: u32,
        offset: u64,
        data: Vec<u8>,
    },
    Lstat {
        path: PathBuf,
    },
    Fstat {
        handle: u32,
    },
    Setstat {
        path: PathBuf,
        attributes: Attributes,
    },
    Fsetstat {
        handle: u32,
        attributes: Attributes,
    },
    Opendir {
        path: PathBuf,
    },
    Readdir {
        handle: u32,
    },
    Remove {
        path: PathBuf,
    },
    Mkdir {
        path: PathBuf,
        attributes: Attributes,
    },
    Rmdir {
        path: PathBuf,
    },
    Realpath {
        path: PathBuf,
    },
    Stat {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Readlink {
        path: PathBuf,
    },
    Symlink {
        target: PathBuf,
        link: PathBuf,
    },
    /// `posix-rename@openssh.com`
    Replace {
        from: PathBuf,
        to: PathBuf,
    },
    /// `hardlink@openssh.com`
    Hardlink {
        from: PathBuf,
        to: PathBuf,
    },
    /// `fsync@openssh.com`
    Fsync {
        handle: u32,
    },
    /// `expand-path@openssh.com`
    Expand {
        path: PathBuf,
    },
    /// Anything else.
    Unknown,
}

/// The extensions that a server names, with their versions.
pub const EXTENSIONS: [(&str, &str); 4] = [
    ("posix-rename@openssh.com", "1"),
    ("hardlink@openssh.com", "1"),
    ("fsync@openssh.com", "1"),
    ("expand-path@openssh.com", "1"),
];

const SIZE: u32 = 1;
const OWNER: u32 = 2;
const MODE: u32 = 4;
const TIMES: u32 = 8;
const EXTENDED: u32 = 0x8000_0000;

/// What is left of a packet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.take(4)?.try_into().map_err(|_| Malformed)?))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.take(8)?.try_into().map_err(|_| Malformed)?))
    }

    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u32()?;
        self.take(usize::try_from(len).map_err(|_| Malformed)?)
    }

    fn path(&mut self) -> Result<PathBuf, Malformed> {
        let path = self.bytes()?;
        // The protocol's default folder is the one that the server was started in.
        Ok(if path.is_empty() { Path::new(".") } else { Path::new(OsStr::from_bytes(path)) }.to_owned())
    }

    fn handle(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.bytes()?.try_into().map_err(|_| Malformed)?))
    }

    fn attributes(&mut self) -> Result<Attributes, Malformed> {
        let flags = self.u32()?;
        let mut attributes = Attributes::default();
        if flags & SIZE != 0 {
            attributes.size = Some(self.u64()?);
        }
        if flags & OWNER != 0 {
            attributes.owner = Some((self.u32()?, self.u32()?));
        }
        if flags & MODE != 0 {
            attributes.mode = Some(self.u32()?);
        }
        if flags & TIMES != 0 {
            attributes.times = Some((self.u32()?, self.u32()?));
        }
        if flags & EXTENDED != 0 {
            for _ in 0..self.u32()? {
                self.bytes()?;
                self.bytes()?;
            }
        }
        Ok(attributes)
    }
}

/// A client's packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// The first one.
    Init,
    /// A request with its number.
    Request(u32, Request),
}

/// Reads a client's packet.
///
/// # Errors
/// Returns an error if it does not follow the form.
pub fn read(packet: &[u8]) -> Result<Packet, Malformed> {
    let mut rest = Rest(packet);
    let kind = rest.take(1)?[0];
    if kind == 1 {
        return Ok(Packet::Init);
    }
    let id = rest.u32()?;
    let request = match kind {
        3 => Request::Open { path: rest.path()?, flags: rest.u32()?, attributes: rest.attributes()? },
        4 => Request::Close { handle: rest.handle()? },
        5 => Request::Read { handle: rest.handle()?, offset: rest.u64()?, len: rest.u32()? },
        6 => Request::Write { handle: rest.handle()?, offset: rest.u64()?, data: rest.bytes()?.to_vec() },
        7 => Request::Lstat { path: rest.path()? },
        8 => Request::Fstat { handle: rest.handle()? },
        9 => Request::Setstat { path: rest.path()?, attributes: rest.attributes()? },
        10 => Request::Fsetstat { handle: rest.handle()?, attributes: rest.attributes()? },
        11 => Request::Opendir { path: rest.path()? },
        12 => Request::Readdir { handle: rest.handle()? },
        13 => Request::Remove { path: rest.path()? },
        14 => Request::Mkdir { path: rest.path()?, attributes: rest.attributes()? },
        15 => Request::Rmdir { path: rest.path()? },
        16 => Request::Realpath { path: rest.path()? },
        17 => Request::Stat { path: rest.path()? },
        18 => Request::Rename { from: rest.path()?, to: rest.path()? },
        19 => Request::Readlink { path: rest.path()? },
        // OpenSSH sends the two in the other order than the draft, and so does every client.
        20 => Request::Symlink { target: rest.path()?, link: rest.path()? },
        200 => match rest.bytes()? {
            b"posix-rename@openssh.com" => Request::Replace { from: rest.path()?, to: rest.path()? },
            b"hardlink@openssh.com" => Request::Hardlink { from: rest.path()?, to: rest.path()? },
            b"fsync@openssh.com" => Request::Fsync { handle: rest.handle()? },
            b"expand-path@openssh.com" => Request::Expand { path: rest.path()? },
            _ => Request::Unknown,
        },
        _ => Request::Unknown,
    };
    Ok(Packet::Request(id, request))
}

/// How a request ended, where there is nothing else to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named as in the protocol")]
pub enum Status {
    Ok = 0,
    Eof = 1,
    NoSuchFile = 2,
    PermissionDenied = 3,
    Failure = 4,
    Unsupported = 8,
}

/// A name in a folder, or a path.
#[derive(Clone, Debug)]
pub struct Name {
    /// The name.
    pub name: Vec<u8>,
    /// The line that `ls -l` prints.
    pub line: Vec<u8>,
    /// What the file is.
    pub attributes: Attributes,
}

/// What the server answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// How it ended.
    Status(Status, String),
    /// A handle.
    Handle(u32),
    /// A part of a file.
    Data(Vec<u8>),
    /// Names.
    Names(Vec<Name>),
    /// What a file is.
    Attributes(Attributes),
}

/// A packet that is being written.
struct Draft(Vec<u8>);

impl Draft {
    fn of(kind: u8) -> Self {
        Self(vec![0, 0, 0, 0, kind])
    }

    fn u32(&mut self, number: u32) {
        self.0.extend(number.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(bytes);
    }

    fn attributes(&mut self, attributes: &Attributes) {
        let Attributes { size, owner, mode, times } = attributes;
        let flag = |is_there: bool, flag: u32| if is_there { flag } else { 0 };
        self.u32(
            flag(size.is_some(), SIZE)
                | flag(owner.is_some(), OWNER)
                | flag(mode.is_some(), MODE)
                | flag(times.is_some(), TIMES),
        );
        if let Some(size) = size {
            self.0.extend(size.to_be_bytes());
        }
        if let Some((user, group)) = owner {
            self.u32(*user);
            self.u32(*group);
        }
        if let Some(mode) = mode {
            self.u32(*mode);
        }
        if let Some((read, written)) = times {
            self.u32(*read);
            self.u32(*written);
        }
    }

    fn finish(mut self) -> Vec<u8> {
        let len = u32::try_from(self.0.len() - 4).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&len.to_be_bytes());
        self.0
    }
}

/// Writes the server's first packet, with its length.
pub fn version() -> Vec<u8> {
    let mut draft = Draft::of(2);
    draft.u32(VERSION);
    for (name, version) in EXTENSIONS {
        draft.bytes(name.as_bytes());
        draft.bytes(version.as_bytes());
    }
    draft.finish()
}

/// Writes an answer, with its length.
pub fn write(id: u32, answer: &Answer) -> Vec<u8> {
    let begin = |kind| {
        let mut draft = Draft::of(kind);
        draft.u32(id);
        draft
    };
    let mut draft;
    match answer {
        Answer::Status(status, why) => {
            draft = begin(101);
            draft.u32(*status as u32);
            draft.bytes(why.as_bytes());
            draft.bytes(b"en");
        }
        Answer::Handle(handle) => {
            draft = begin(102);
            draft.bytes(&handle.to_be_bytes());
        }
        Answer::Data(data) => {
            draft = begin(103);
            draft.bytes(data);
        }
        Answer::Names(names) => {
            draft = begin(104);
            draft.u32(u32::try_from(names.len()).unwrap_or(u32::MAX));
            for Name { name, line, attributes } in names {
                draft.bytes(name);
                draft.bytes(line);
                draft.attributes(attributes);
            }
        }
        Answer::Attributes(attributes) => {
            draft = begin(105);
            draft.attributes(attributes);
        }
    }
    draft.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_a_client_sends_is_read_without_a_panic(packet in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&packet);
        }

        #[test]
        fn what_was_cut_off_is_no_request(kind in 3_u8..=20, cut in 0_usize..5) {
            let whole = [&[kind][..], &7_u32.to_be_bytes()].concat();
            prop_assert_eq!(read(&whole[..cut]), if cut == 1 && kind == 1 { Ok(Packet::Init) } else { Err(Malformed) });
        }
    }

    #[test]
    fn a_request_is_what_the_protocol_says() {
        let open = b"\x03\0\0\0\x09\0\0\0\x02/a\0\0\0\x1a\0\0\0\x04\0\0\x01\xa4";
        let attributes = Attributes { mode: Some(0o644), ..Attributes::default() };
        let wanted = Request::Open { path: "/a".into(), flags: 26, attributes };
        assert_eq!(read(open), Ok(Packet::Request(9, wanted)));
        assert_eq!(
            read(b"\x10\0\0\0\x01\0\0\0\0"),
            Ok(Packet::Request(1, Request::Realpath { path: ".".into() }))
        );
        assert_eq!(write(9, &Answer::Handle(1)), b"\0\0\0\x0d\x66\0\0\0\x09\0\0\0\x04\0\0\0\x01");
    }
}
