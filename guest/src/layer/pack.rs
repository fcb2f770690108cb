//! Writes the difference between two lists as a layer.

use super::list::{Listed, Look, below, is_whiteout};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// Writes what is new, changed or gone since a folder was listed before. What is neither file, folder nor link is left
/// out.
///
/// # Errors
/// Returns an error if something cannot be read, or if the archive cannot be written.
pub fn write(root: &Path, before: &Listed, after: &Listed, out: impl Write) -> Result<()> {
    let mut archive = Builder::new(out);
    let mut first_names: BTreeMap<(u64, u64), &Path> = BTreeMap::new();
    for (path, look) in after.iter().filter(|(path, look)| before.get(*path) != Some(look)) {
        // It would be read as the absence of something else.
        if is_whiteout(path) {
            continue;
        }
        let name = below(root, path);
        let what = || path.display().to_string();
        if let Some(first) = look.inode.and_then(|inode| first_names.get(&inode)) {
            archive.append_link(&mut header(EntryType::Link, 0, look), name, first).with_context(what)?;
            continue;
        }
        put(&mut archive, path, name, look).with_context(what)?;
        if let Some(inode) = look.inode {
            first_names.insert(inode, name);
        }
    }
    for path in before.keys().filter(|path| !after.contains_key(*path)) {
        if let Some(name) = whiteout(root, path, after) {
            let mut header = Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(0);
            archive
                .append_data(&mut header, &name, io::empty())
                .with_context(|| name.display().to_string())?;
        }
    }
    archive.finish()?;
    Ok(())
}

/// Returns the name that says that a path is gone, unless what was above it is gone, too, or is no folder any more.
fn whiteout(root: &Path, path: &Path, after: &Listed) -> Option<PathBuf> {
    let above = path.parent()?;
    if above != root && !after.get(above).is_some_and(|look| look.is_folder()) {
        return None;
    }
    let mut name = OsString::from(".wh.");
    name.push(path.file_name()?);
    Some(below(root, above).join(name))
}

fn put(archive: &mut Builder<impl Write>, path: &Path, name: &Path, look: &Look) -> Result<()> {
    if look.is_folder() {
        archive.append_data(&mut header(EntryType::Directory, 0, look), name, io::empty())?;
    } else if look.is_link() {
        // It may be gone meanwhile.
        let Ok(to) = fs::read_link(path) else { return Ok(()) };
        archive.append_link(&mut header(EntryType::Symlink, 0, look), name, to)?;
    } else if look.is_file() {
        let Ok(file) = File::open(path) else { return Ok(()) };
        // It may grow or shrink meanwhile. Exactly as many bytes are written as the header says.
        let content = file.chain(io::repeat(0)).take(look.len);
        archive.append_data(&mut header(EntryType::Regular, look.len, look), name, content)?;
    }
    Ok(())
}

fn header(kind: EntryType, len: u64, look: &Look) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(look.mode & 0o7777);
    header.set_uid(look.owner.0);
    header.set_gid(look.owner.1);
    header.set_size(len);
    header.set_mtime(u64::try_from(look.changed).unwrap_or_default());
    header
}

#[cfg(test)]
mod tests {
    use super::super::list::tests_list as list;
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn entries(archive: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(archive);
        let entry = |entry: io::Result<tar::Entry<'_, &[u8]>>| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let (kind, name) = (entry.header().entry_type(), entry.path().unwrap().display().to_string());
            let to = entry.link_name().unwrap().map(|to| format!(" -> {}", to.display())).unwrap_or_default();
            format!("{kind:?} {name}{to} {:o} {text}", entry.header().mode().unwrap())
        };
        archive.entries().unwrap().map(entry).collect()
    }

    #[test]
    fn a_layer_has_what_is_new_changed_or_gone_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for folder in ["same", "gone", "gone/deep", "becomes-file", "keeps"] {
            fs::create_dir(at(folder)).unwrap();
        }
        for file in
            ["same/a", "gone/deep/a", "becomes-file/a", "changes", "becomes-folder", "keeps/b", "mode"]
        {
            fs::write(at(file), "old").unwrap();
        }
        let before = list(dir.path());
        fs::remove_dir_all(at("gone")).unwrap();
        fs::remove_dir_all(at("becomes-file")).unwrap();
        fs::write(at("becomes-file"), "now").unwrap();
        fs::remove_file(at("becomes-folder")).unwrap();
        fs::create_dir(at("becomes-folder")).unwrap();
        fs::remove_file(at("keeps/b")).unwrap();
        fs::write(at("changes"), "new").unwrap();
        fs::set_permissions(at("mode"), PermissionsExt::from_mode(0o4755)).unwrap();
        symlink("/etc/shadow", at("link")).unwrap();
        fs::hard_link(at("changes"), at("second")).unwrap();
        fs::write(at(".wh.same"), "").unwrap();
        let mut archive = Vec::new();
        write(dir.path(), &before, &list(dir.path()), &mut archive).unwrap();
        let mode =
            |name: &str| format!("{:o}", fs::metadata(at(name)).unwrap().permissions().mode() & 0o7777);
        let folder = |name: &str| format!("Directory {name} {} ", mode(name));
        assert_eq!(
            entries(&archive),
            [
                format!("Regular becomes-file {} now", mode("becomes-file")),
                folder("becomes-folder"),
                format!("Regular changes {} new", mode("changes")),
                folder("keeps"),
                "Symlink link -> /etc/shadow 777 ".to_owned(),
                "Regular mode 4755 old".to_owned(),
                format!("Link second -> changes {} ", mode("changes")),
                "Regular .wh.gone 644 ".to_owned(),
                "Regular keeps/.wh.b 644 ".to_owned(),
            ]
        );
        let nothing = list(dir.path());
        let mut archive = Vec::new();
        write(dir.path(), &nothing, &list(dir.path()), &mut archive).unwrap();
        assert!(entries(&archive).is_empty());
    }
}
