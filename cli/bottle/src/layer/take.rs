//! Reads the layer that a guest wrote, and writes the same again as one of ours.
//!
//! Every header is made anew from what was understood, so that whoever reads the layer later understands the same.
//! Names and links in it meet no file system but a guest's.

use anyhow::{Context, Result, bail, ensure};
use bottle_guest::archive::{Attributes, Content, Item, Limits, destination, each};
use bottle_images::Store;
use bottle_images::compose::Unpacked;
use std::io::{self, Read};
use std::path::Path;
use tar::{Builder, EntryType, Header};

/// How much a layer may be, with all headers: ten times the files of the largest agents, and what smolvm takes of an
/// archive.
pub const MOST: Limits = Limits { entries: 500_000, bytes: 8 << 30, depth: 255 };

/// The most bytes that an entry takes beside its content: three headers and two names.
const BESIDE: u64 = 32 << 10;

/// Reads a layer up to its end mark. What is neither a folder, a file nor a link is refused, and so is a name that leads
/// out.
///
/// # Errors
/// Returns an error if it is no such layer or exceeds the limits, or if the disk fails.
pub fn take(from: impl Read, store: &Store, limits: Limits) -> Result<Unpacked> {
    let mut archive = Builder::new(store.draft()?);
    let mut entries = 0_u64;
    each(from, true, |path, attributes, item, content| {
        entries += 1;
        ensure!(entries <= limits.entries, "it has more than {} entries", limits.entries);
        let len = if let Item::File(len) = item { *len } else { 0 };
        let so_far = archive.get_ref().length();
        let is_small = so_far.checked_add(len).is_some_and(|sum| sum.saturating_add(BESIDE) <= limits.bytes);
        ensure!(is_small, "it has more than {} bytes", limits.bytes);
        put(&mut archive, &path, attributes, item, content, limits.depth)
            .with_context(|| format!("an entry of it, {path:?}, is refused"))
    })?;
    let (file, digest, len) = archive.into_inner()?.into_parts();
    Ok(Unpacked { file, digest, len })
}

fn put(
    archive: &mut Builder<impl io::Write>,
    path: &Path,
    attributes: Attributes,
    item: &Item,
    content: &mut Content,
    depth: usize,
) -> Result<()> {
    let name = |path: &Path| destination(path, None, None).map_err(|why| anyhow::anyhow!("{why}"));
    let path = name(path)?;
    ensure!(path.components().count() <= depth, "it is more than {depth} folders deep");
    let header = |kind, len| header(kind, len, attributes);
    match item {
        Item::Folder => archive.append_data(&mut header(EntryType::Directory, 0), &path, io::empty())?,
        Item::File(len) => {
            let content = content.whole(*len).context("it has holes")?;
            archive.append_data(&mut header(EntryType::Regular, *len), &path, content)?;
        }
        Item::Link(to) => archive.append_link(&mut header(EntryType::Symlink, 0), &path, to)?,
        Item::Name(first) => archive.append_link(&mut header(EntryType::Link, 0), &path, name(first)?)?,
        Item::Other(what) => bail!("it is {what}"),
    }
    Ok(())
}

fn header(kind: EntryType, len: u64, attributes: Attributes) -> Header {
    // The largest number that the field holds in every tar.
    const MOST: u64 = 0o7_777_777;
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(attributes.mode & 0o7777);
    header.set_uid(attributes.owner.0.min(MOST));
    header.set_gid(attributes.owner.1.min(MOST));
    header.set_size(len);
    header.set_mtime(attributes.changed.unwrap_or_default().min(0o77_777_777_777));
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use bottle_host::state::Home;
    use proptest::prelude::*;
    use std::io::Seek;

    struct Place {
        _dir: tempfile::TempDir,
        store: Store,
    }

    fn place() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::of(&Home::at(dir.path().join("state"), dir.path().join("run")));
        drop(store.lease().unwrap());
        Place { _dir: dir, store }
    }

    /// Makes an archive with a header as a guest may write it.
    fn with(entries: &[(EntryType, &str, &str, &[u8])]) -> Vec<u8> {
        let mut archive = Vec::new();
        for (kind, name, to, content) in entries {
            let mut header = Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.as_gnu_mut().unwrap().linkname[..to.len()].copy_from_slice(to.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o4755);
            header.set_uid(1234);
            header.set_gid(5678);
            header.set_size(content.len() as u64);
            header.set_mtime(7);
            header.set_cksum();
            archive.extend_from_slice(header.as_bytes());
            archive.extend_from_slice(content);
            archive.resize(archive.len().next_multiple_of(512), 0);
        }
        archive.extend([0; 1024]);
        archive
    }

    fn small() -> Limits {
        Limits { entries: 9, bytes: 100_000, depth: 3 }
    }

    fn refused(entries: &[(EntryType, &str, &str, &[u8])]) -> String {
        let place = place();
        let error = take(&with(entries)[..], &place.store, small()).unwrap_err();
        assert!(place.store.items().unwrap().is_empty(), "nothing of it stays");
        format!("{error:#}")
    }

    #[test]
    fn what_a_setup_may_leave_is_taken_as_it_is() {
        let place = place();
        let sent = with(&[
            (EntryType::Directory, "opt/", "", b""),
            (EntryType::Regular, "./opt/tool", "", b"#!/bin/sh"),
            (EntryType::Link, "opt/again", "opt/tool", b""),
            (EntryType::Symlink, "opt/out", "../../../etc/shadow", b""),
            (EntryType::Regular, "etc/.wh.gone", "", b""),
        ]);
        let mut taken = take(&sent[..], &place.store, small()).unwrap();
        taken.file.rewind().unwrap();
        let mut bytes = Vec::new();
        taken.file.read_to_end(&mut bytes).unwrap();
        assert_eq!(taken.len, bytes.len() as u64);
        assert_eq!(taken.digest, bottle_images::store::digest_of(&bytes));
        let mut archive = tar::Archive::new(&bytes[..]);
        let lines = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            let to = entry.link_name().unwrap().map(|to| to.display().to_string()).unwrap_or_default();
            let owner = (header.uid().unwrap(), header.gid().unwrap());
            format!(
                "{} {to} {:o} {owner:?} {}",
                entry.path().unwrap().display(),
                header.mode().unwrap(),
                entry.size()
            )
        });
        assert_eq!(
            lines.collect::<Vec<_>>(),
            [
                "opt  4755 (1234, 5678) 0",
                "opt/tool  4755 (1234, 5678) 9",
                "opt/again opt/tool 4755 (1234, 5678) 0",
                "opt/out ../../../etc/shadow 4755 (1234, 5678) 0",
                "etc/.wh.gone  4755 (1234, 5678) 0",
            ]
        );
    }

    #[test]
    fn what_no_setup_needs_is_refused() {
        use EntryType::{Block, Char, Fifo, GNUSparse, Link, Regular, XHeader};
        for (kind, name, to, why) in [
            (Regular, "../escaped", "", "leads out"),
            (Regular, "a/../../escaped", "", "leads out"),
            (Regular, "/etc/passwd", "", "leads out"),
            (Regular, ".", "", "no name"),
            (Regular, "a/b/c/d", "", "folders deep"),
            (Link, "a", "../../outside", "leads out"),
            (Link, "a", "/etc/shadow", "leads out"),
            (Char, "null", "", "a device"),
            (Block, "disk", "", "a device"),
            (Fifo, "pipe", "", "a pipe"),
            (XHeader, "pax", "", "PAX"),
            (GNUSparse, "holes", "", ""),
        ] {
            let said = refused(&[(kind, name, to, b"")]);
            assert!(said.contains(why), "{name}: {said}");
        }
    }

    #[test]
    fn more_than_the_limits_is_refused_before_it_is_stored() {
        let entry: (EntryType, &str, &str, &[u8]) = (EntryType::Regular, "a", "", b"");
        assert!(refused(&[entry; 10]).contains("more than 9 entries"));
        let much = [7; 70_000];
        assert!(refused(&[(EntryType::Regular, "a", "", &much)]).contains("more than 100000 bytes"));
        // One that only says that it is large.
        let mut archive = with(&[entry]);
        let mut header = Header::from_byte_slice(&archive[..512]).clone();
        header.set_size(u64::MAX / 2);
        header.set_cksum();
        archive[..512].copy_from_slice(header.as_bytes());
        let place = place();
        assert!(take(&archive[..], &place.store, small()).is_err());
        assert!(take(io::repeat(b'x'), &place.store, small()).is_err());
    }

    #[test]
    fn what_ends_in_the_middle_is_refused() {
        let sent = with(&[(EntryType::Regular, "a", "", &[7; 2000])]);
        let place = place();
        for cut in [100, 600, 2048] {
            assert!(take(&sent[..cut], &place.store, small()).is_err(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_guest_writes_no_entry_leads_out(sent in prop::collection::vec((0_u8..8, "[a./]{1,12}", "[a./]{0,9}"), 0..6)) {
            let kinds = [b'0', b'1', b'2', b'3', b'5', b'6', b'L', b'K'].map(EntryType::new);
            let entries: Vec<(EntryType, &str, &str, &[u8])> =
                sent.iter().map(|(kind, name, to)| (kinds[usize::from(*kind)], name.as_str(), to.as_str(), &b""[..])).collect();
            let place = place();
            if let Ok(mut taken) = take(&with(&entries)[..], &place.store, small()) {
                taken.file.rewind().unwrap();
                for entry in tar::Archive::new(taken.file).entries().unwrap() {
                    let path = entry.unwrap().path().unwrap().into_owned();
                    prop_assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))), "{path:?}");
                }
            }
        }
    }
}
