//! What a guest answers to a client that copies files, checked before the client sees it.
//!
//! The server of the SSH file transfer protocol is a program in the guest, so root there can answer anything. Clients
//! differ in how much of it they believe: a name that leads out of the folder, a folder without an end, a file of 2^63
//! bytes, more than was asked for, an escape in a line that they print. Here every packet has to be the answer to a request
//! of its client, with values that a file system can have. Text that a client prints is made visible.

use crate::packets::{Packets, Rest};
use bottle_core::visible::{Bytes as Visible, Line};
use bottle_guest::sftp::wire::version;
use bottle_host::defence::Defence;
use bytes::{BufMut, Bytes, BytesMut};
use std::collections::HashMap;
use std::io::{self, ErrorKind};

/// The longest name in a folder, in bytes, and the longest path.
const LONGEST_NAME: usize = 255;
const LONGEST_PATH: usize = 4096;
/// How many names a folder may have: as many as `bottle cp` copies.
const MOST_NAMES: u64 = 500_000;
/// How many requests may wait for their answer.
const MOST_WAITING: usize = 4096;
/// How long a handle may be, in bytes.
const LONGEST_HANDLE: usize = 256;

/// What a request waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Waits {
    /// A handle of a file or a folder.
    Handle,
    /// At most this many bytes of a file.
    Data(usize),
    /// Names in the folder with this handle.
    Names(Bytes),
    /// One path.
    Path,
    /// What a file is.
    Attributes,
    /// How it ended, and nothing else.
    Status,
}

/// A session in which files are copied.
#[derive(Debug, Default)]
pub struct Replies {
    asked: Packets,
    answered: Packets,
    waiting: HashMap<u32, Waits>,
    /// How many names of each open folder were told.
    told: HashMap<Bytes, u64>,
    has_begun: bool,
}

impl Replies {
    /// Takes note of what the client sends.
    ///
    /// # Errors
    /// Returns an error if it is not of the protocol, or if the client asks for too much at once.
    pub fn asked(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !Defence::SftpReplies.stands() {
            return Ok(());
        }
        self.asked.add(bytes);
        while let Some(packet) = self.asked.take().map_err(|_| wrong("the client's packet is too long"))? {
            self.note(&packet).ok_or_else(|| wrong("the client's packet is not one of the protocol"))?;
            if self.waiting.len() > MOST_WAITING {
                return Err(wrong("the client asks for too much at once"));
            }
        }
        Ok(())
    }

    fn note(&mut self, packet: &Bytes) -> Option<()> {
        const INIT: u8 = 1;
        let mut rest = Rest(packet);
        let kind = rest.u8()?;
        if kind == INIT {
            return Some(());
        }
        let id = rest.u32()?;
        let waits = match kind {
            3 | 11 => Waits::Handle,
            4 => {
                self.told.remove(rest.bytes()?);
                Waits::Status
            }
            5 => {
                let (_, _, len) = (rest.bytes()?, rest.u64()?, rest.u32()?);
                Waits::Data(len as usize)
            }
            7 | 8 | 17 => Waits::Attributes,
            12 => Waits::Names(Bytes::copy_from_slice(rest.bytes()?)),
            16 | 19 => Waits::Path,
            // The one extension that is answered with more than a status.
            200 if rest.bytes()? == b"expand-path@openssh.com" => Waits::Path,
            _ => Waits::Status,
        };
        self.waiting.insert(id, waits);
        Some(())
    }

    /// Takes what the guest answers, and returns what the client gets of it.
    ///
    /// # Errors
    /// Returns an error if a packet is not the answer to a request. The client gets nothing of it.
    pub fn answered(&mut self, bytes: BytesMut) -> io::Result<Bytes> {
        if !Defence::SftpReplies.stands() {
            return Ok(bytes.freeze());
        }
        self.answered.add(&bytes);
        let mut out = BytesMut::new();
        while let Some(packet) = self.answered.take().map_err(|_| wrong("a packet is too long"))? {
            self.check(&packet, &mut out).map_err(wrong)?;
        }
        Ok(out.freeze())
    }

    fn check(&mut self, packet: &[u8], out: &mut BytesMut) -> Result<(), &'static str> {
        const CUT: &str = "a packet is cut off";
        let mut rest = Rest(packet);
        let kind = rest.u8().ok_or(CUT)?;
        if !self.has_begun {
            // The client is told of what this machine knows, whatever the guest offers.
            let is_version = kind == 2 && rest.u32() == Some(3);
            self.has_begun = true;
            out.extend_from_slice(&version());
            return if is_version { Ok(()) } else { Err("it speaks another protocol") };
        }
        let id = rest.u32().ok_or(CUT)?;
        let waits = self.waiting.remove(&id).ok_or("nobody asked for a packet")?;
        let at = out.len();
        out.put_u32(0);
        out.put_u8(kind);
        out.put_u32(id);
        match (kind, waits) {
            (101, _) => {
                out.put_u32(rest.u32().ok_or(CUT)?);
                put(out, Visible(rest.bytes().ok_or(CUT)?).to_string().as_bytes());
                put(out, b"en");
            }
            (102, Waits::Handle) => {
                let handle = rest.bytes().filter(|handle| handle.len() <= LONGEST_HANDLE);
                put(out, handle.ok_or("a handle is too long")?);
            }
            (103, Waits::Data(most)) => {
                let data = rest.bytes().ok_or(CUT)?;
                if data.is_empty() || data.len() > most {
                    return Err("a part of a file is not as long as it was asked for");
                }
                put(out, data);
            }
            (104, Waits::Path) => {
                if rest.u32() != Some(1) {
                    return Err("a path is not one path");
                }
                let path = rest.bytes().ok_or(CUT)?;
                if path.is_empty() || path.len() > LONGEST_PATH || path.contains(&0) {
                    return Err("a path is none");
                }
                out.put_u32(1);
                put(out, path);
                line(&mut rest, out).ok_or(CUT)?;
            }
            (104, Waits::Names(folder)) => {
                let count =
                    rest.u32().filter(|count| *count > 0).ok_or("a list is empty and does not end")?;
                let told = self.told.entry(folder).or_default();
                *told += u64::from(count);
                if *told > MOST_NAMES {
                    return Err("a folder has more than 500000 names");
                }
                out.put_u32(count);
                for _ in 0..count {
                    let name = rest.bytes().ok_or(CUT)?;
                    if name.is_empty()
                        || name.len() > LONGEST_NAME
                        || name.iter().any(|byte| b"/\0".contains(byte))
                    {
                        return Err("a name leads out of its folder, or is none");
                    }
                    put(out, name);
                    line(&mut rest, out).ok_or(CUT)?;
                }
            }
            (105, Waits::Attributes) => attributes(&mut rest, out).ok_or("a file is as no file can be")?,
            _ => return Err("a packet answers something else"),
        }
        let len = u32::try_from(out.len() - at - 4).map_err(|_| CUT)?;
        out[at..at + 4].copy_from_slice(&len.to_be_bytes());
        Ok(())
    }
}

fn wrong(why: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the guest's answer is refused: {why}"))
}

fn put(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(bytes);
}

/// Passes on the line that `ls -l` prints, and what the file is.
fn line(rest: &mut Rest<'_>, out: &mut BytesMut) -> Option<()> {
    put(out, shown(rest.bytes()?).as_bytes());
    attributes(rest, out)
}

/// Returns a line as it is printed: nothing in it steers a terminal. Its columns are spaces, as many as it takes.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let words = text.split_inclusive(' ').map(|word| Line(word).to_string());
    words.collect()
}

/// Passes on what a file is, if a file can be so. What the protocol does not know is left out.
fn attributes(rest: &mut Rest<'_>, out: &mut BytesMut) -> Option<()> {
    const KNOWN: [(u32, usize); 4] = [(1, 8), (2, 8), (4, 4), (8, 8)];
    let flags = rest.u32()?;
    out.put_u32(flags & 15);
    for (flag, len) in KNOWN {
        if flags & flag == 0 {
            continue;
        }
        let value = rest.take(len)?;
        // A file has at most as many bytes as a signed number can say.
        if flag == 1 && value[0] & 0x80 != 0 {
            return None;
        }
        out.extend_from_slice(value);
    }
    if flags & 0x8000_0000 != 0 {
        for _ in 0..rest.u32()? {
            let (_, _) = (rest.bytes()?, rest.bytes()?);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packets::LONGEST;

    fn packet(kind: u8, id: u32, parts: &[&[u8]]) -> Vec<u8> {
        let body = [&[kind][..], &id.to_be_bytes(), &parts.concat()].concat();
        [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
    }

    fn text(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
    }

    fn number(number: u32) -> Vec<u8> {
        number.to_be_bytes().to_vec()
    }

    /// A session whose client has asked for this.
    fn after(kind: u8, parts: &[&[u8]]) -> Replies {
        let mut replies = Replies::default();
        replies.asked(b"\0\0\0\x05\x01\0\0\0\x03").unwrap();
        let begun =
            replies.answered(BytesMut::from(&b"\0\0\0\x0f\x02\0\0\0\x03\0\0\0\x01x\0\0\0\x011"[..])).unwrap();
        assert_eq!(begun, version());
        replies.asked(&packet(kind, 7, parts)).unwrap();
        replies
    }

    fn listing(names: &[&[u8]], line: &[u8]) -> Vec<u8> {
        let count = number(u32::try_from(names.len()).unwrap());
        let entries: Vec<u8> =
            names.iter().flat_map(|name| [text(name), text(line), number(0)].concat()).collect();
        packet(104, 7, &[&count, &entries])
    }

    fn answer(mut replies: Replies, answer: &[u8]) -> Result<Vec<u8>, String> {
        // It comes in two pieces, cut anywhere.
        let (first, second) = answer.split_at(answer.len() / 2);
        let mut out = replies.answered(first.into()).map_err(|error| error.to_string())?.to_vec();
        out.extend(replies.answered(second.into()).map_err(|error| error.to_string())?);
        Ok(out)
    }

    #[test]
    fn what_was_asked_for_is_passed_on_as_it_is() {
        let handle = text(b"\0\0\0\x01");
        let attributes = [number(1 | 4), vec![0, 0, 0, 0, 0, 0, 0, 9], number(0o100_644)].concat();
        for (kind, parts, said) in [
            (3, text(b"/a"), packet(102, 7, &[&handle])),
            (5, [handle.clone(), vec![0; 8], number(4)].concat(), packet(103, 7, &[&text(b"data")])),
            (
                5,
                [handle.clone(), vec![0; 8], number(4)].concat(),
                packet(101, 7, &[&number(1), &text(b""), &text(b"en")]),
            ),
            (
                12,
                handle.clone(),
                listing(&[b".", b"a b", b"\xff\n"], b"-rw-r--r--    1 root        root a b"),
            ),
            (16, text(b"."), packet(104, 7, &[&number(1), &text(b"/root"), &text(b"/root"), &number(0)])),
            (17, text(b"/a"), packet(105, 7, &[&attributes])),
        ] {
            assert_eq!(answer(after(kind, &[&parts]), &said), Ok(said));
        }
    }

    #[test]
    fn what_no_file_system_says_is_refused() {
        let handle = text(b"\0\0\0\x01");
        let read = [handle.clone(), vec![0; 8], number(4)].concat();
        let size = |size: u64| packet(105, 7, &[&number(1), &size.to_be_bytes()]);
        for (kind, parts, said, why) in [
            (12, &handle, listing(&[b"../x"], b""), "leads out"),
            (12, &handle, listing(&[b"/etc/passwd"], b""), "leads out"),
            (12, &handle, listing(&[b"a\0"], b""), "leads out"),
            (12, &handle, listing(&[b""], b""), "leads out"),
            (12, &handle, listing(&[&[b'a'; 256]], b""), "leads out"),
            (12, &handle, listing(&[], b""), "does not end"),
            (12, &handle, packet(104, 7, &[&number(u32::MAX)]), "500000"),
            (16, &text(b"."), listing(&[b"/a", b"/b"], b""), "not one path"),
            (5, &read, packet(103, 7, &[&text(b"12345")]), "asked for"),
            (5, &read, packet(103, 7, &[&text(b"")]), "asked for"),
            (5, &read, packet(103, 7, &[&number(4)]), "cut off"),
            (5, &read, packet(102, 7, &[&handle]), "something else"),
            (5, &read, packet(103, 8, &[&text(b"1234")]), "nobody asked"),
            (3, &text(b"/a"), packet(102, 7, &[&text(&[1; 257])]), "too long"),
            (17, &text(b"/a"), size(1 << 63), "no file"),
            (17, &text(b"/a"), size(u64::MAX), "no file"),
            (17, &text(b"/a"), packet(201, 7, &[]), "something else"),
            (17, &text(b"/a"), u32::MAX.to_be_bytes().to_vec(), "too long"),
            (17, &text(b"/a"), (LONGEST + 1).to_be_bytes().to_vec(), "too long"),
        ] {
            let refused = answer(after(kind, &[parts]), &said).expect_err(why);
            assert!(refused.contains(why), "{refused}: {why}");
        }
        // An answer is given once.
        let mut twice = after(17, &[&text(b"/a")]);
        twice.answered(size(1)[..].into()).unwrap();
        assert!(twice.answered(size(1)[..].into()).is_err());
    }

    #[test]
    fn a_folder_has_an_end_and_another_one_begins_anew() {
        let handle = text(b"\0\0\0\x01");
        let names: Vec<&[u8]> = vec![b"x"; 5_000];
        let listing = listing(&names, b"");
        let mut replies = after(12, &[&handle]);
        for _ in 0..100 {
            replies.answered(listing[..].into()).unwrap();
            replies.asked(&packet(12, 7, &[&handle])).unwrap();
        }
        assert!(replies.answered(listing[..].into()).is_err());
        replies.asked(&packet(4, 7, &[&handle])).unwrap();
        replies.asked(&packet(12, 7, &[&handle])).unwrap();
        assert!(replies.answered(listing[..].into()).is_ok());
    }

    #[test]
    fn what_a_client_prints_does_not_steer_a_terminal() {
        let said = listing(&[b"a"], b"-rw-r--r--      1 root\x1b[2J\r\n a");
        let seen = answer(after(12, &[&text(b"h")]), &said).unwrap();
        let seen = String::from_utf8_lossy(&seen).into_owned();
        assert!(seen.contains("-rw-r--r--      1 root\\u{1b}[2J\\r\\n a"), "{seen:?}");
        let said = packet(101, 7, &[&number(4), &text(b"\x1b]52;c;x\x07"), &text(b"\x1b")]);
        let seen = answer(after(3, &[&text(b"/a")]), &said).unwrap();
        assert!(!seen.contains(&0x1b) && seen.ends_with(b"\0\0\0\x02en"), "{seen:?}");
    }
}
