//! The record of a copy.
//!
//! The first line is JSON, and says how many paths follow. Each is what [`Entry`] says about it, in as many bytes as it
//! takes: a look at a large project reads all of them each time.

use super::exact;
use super::exclude::Lists;
use super::tree::{Entry, Manifest};
use crate::state::{Folder, other_version, parse_json, write_private};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The version of the layout. Older versions wrote one line of JSON.
const VERSION: u32 = 2;

/// The record of a copy: where it came from, and what was there when it was made.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Record {
    #[serde(with = "exact")]
    pub of: PathBuf,
    pub manifest: Manifest,
    /// What was not copied. Records written by older versions have no lists.
    #[serde(default)]
    pub exclude: Option<Lists>,
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    #[serde(with = "exact")]
    of: PathBuf,
    exclude: Option<Lists>,
    paths: usize,
}

impl Record {
    /// Reads a bottle's record, if it has one.
    pub fn read(folder: &Folder) -> Result<Option<Self>> {
        let path = folder.copy_record();
        if !path.exists() {
            return Ok(None);
        }
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        Self::parse(&path, &bytes).map(Some)
    }

    /// Writes the record, whole or not at all.
    pub fn write(&self, folder: &Folder) -> Result<()> {
        write_private(&folder.copy_record(), &self.bytes()?)
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| other_version(path));
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            return parse_json(path, text(bytes)?);
        };
        let Header { version, of, exclude, paths } = parse_json(path, text(&bytes[..end])?)?;
        let mut rest = Rest(&bytes[end + 1..]);
        let manifest = Some(())
            .filter(|()| version == VERSION)
            .and_then(|()| rest.manifest(paths))
            .filter(|_| rest.0.is_empty());
        Ok(Self { of, manifest: manifest.ok_or_else(|| other_version(path))?, exclude })
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        let Self { of, manifest, exclude } = self;
        let paths = manifest.paths.len();
        let header = Header { version: VERSION, of: of.clone(), exclude: exclude.clone(), paths };
        let mut bytes = serde_json::to_vec(&header)?;
        bytes.push(b'\n');
        for (path, entry) in &manifest.paths {
            put(&mut bytes, path);
            match entry {
                Entry::Folder => bytes.push(b'd'),
                Entry::File { mode, len, changed } => {
                    bytes.push(b'f');
                    bytes.extend(mode.to_le_bytes());
                    bytes.extend(len.to_le_bytes());
                    bytes.extend(changed.to_le_bytes());
                }
                Entry::Link(target) => {
                    bytes.push(b'l');
                    put(&mut bytes, target);
                }
                Entry::Special => bytes.push(b's'),
                Entry::TooDeep => bytes.push(b't'),
                Entry::Unreadable => bytes.push(b'u'),
            }
        }
        Ok(bytes)
    }
}

/// Appends a path, which never contains a NUL.
fn put(bytes: &mut Vec<u8>, path: &Path) {
    bytes.extend(path.as_os_str().as_bytes());
    bytes.push(0);
}

/// What has not been read yet.
struct Rest<'b>(&'b [u8]);

impl Rest<'_> {
    /// Reads this many paths.
    fn manifest(&mut self, count: usize) -> Option<Manifest> {
        // Each takes two bytes at least.
        let mut paths = Vec::with_capacity(count.min(self.0.len() / 2));
        for _ in 0..count {
            paths.push((self.path()?, self.entry()?));
        }
        Some(Manifest { paths: paths.into_iter().collect() }).filter(|manifest| manifest.paths.len() == count)
    }

    fn entry(&mut self) -> Option<Entry> {
        Some(match self.array()? {
            [b'd'] => Entry::Folder,
            [b'f'] => Entry::File {
                mode: u32::from_le_bytes(self.array()?),
                len: u64::from_le_bytes(self.array()?),
                changed: i128::from_le_bytes(self.array()?),
            },
            [b'l'] => Entry::Link(self.path()?),
            [b's'] => Entry::Special,
            [b't'] => Entry::TooDeep,
            [b'u'] => Entry::Unreadable,
            _ => return None,
        })
    }

    fn path(&mut self) -> Option<PathBuf> {
        let len = self.0.iter().position(|byte| *byte == 0)?;
        let (path, rest) = self.0.split_at(len);
        self.0 = rest.get(1..)?;
        Some(OsStr::from_bytes(path).into())
    }

    fn array<const LEN: usize>(&mut self) -> Option<[u8; LEN]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    fn record() -> Record {
        let odd = OsString::from_vec(b"new\nline \xff".to_vec());
        let paths = [
            (PathBuf::from("a"), Entry::Folder),
            ("a/b".into(), Entry::File { mode: 0o640, len: u64::MAX, changed: -1 }),
            ("a/c".into(), Entry::Link(odd.clone().into())),
            (odd.into(), Entry::Special),
            ("deep".into(), Entry::TooDeep),
            ("shut".into(), Entry::Unreadable),
        ];
        let exclude = Some(Lists { configured: vec!["a\nb".to_owned()], ignored: Vec::new() });
        Record { of: "/a\nb".into(), manifest: Manifest { paths: paths.into() }, exclude }
    }

    #[test]
    fn a_record_is_what_was_written_and_a_torn_one_is_refused() {
        let (record, path) = (record(), Path::new("copy.json"));
        let bytes = record.bytes().unwrap();
        assert_eq!(Record::parse(path, &bytes).unwrap(), record);
        for len in 0..bytes.len() {
            assert!(Record::parse(path, &bytes[..len]).is_err(), "{len} bytes of {}", bytes.len());
        }
        assert!(Record::parse(path, &[&*bytes, b"x\0d"].concat()).is_err());
        let later = String::from_utf8_lossy(&bytes).replacen("\"version\":2", "\"version\":3", 1);
        assert!(Record::parse(path, later.as_bytes()).is_err());
    }

    #[test]
    fn a_record_that_an_older_version_wrote_is_read() {
        let text = r#"{"of":"/p","manifest":{"a":"folder","a/b":{"file":{"mode":420,"len":3,"changed":7}},"a/l":{"link":"b"}}}"#;
        let paths = [
            (PathBuf::from("a"), Entry::Folder),
            ("a/b".into(), Entry::File { mode: 0o644, len: 3, changed: 7 }),
            ("a/l".into(), Entry::Link("b".into())),
        ];
        let record = Record { of: "/p".into(), manifest: Manifest { paths: paths.into() }, exclude: None };
        assert_eq!(Record::parse(Path::new("copy.json"), text.as_bytes()).unwrap(), record);
    }
}
