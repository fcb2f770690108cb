//! Files that an agent finds in its home folder: its configuration, and links to the guide.
//!
//! They come from a read-only folder that bottle writes and mounts. What is below `new/` is written where nothing is,
//! and what is below `always/` replaces what is there. A link stays a link.
//!
//! Whoever changes the home folder meanwhile is in the same guest and gains nothing.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Writes the files into a home folder, as the user that this process is.
///
/// # Errors
/// Returns an error if one cannot be written.
pub fn plant(seed: &Path, home: &Path) -> io::Result<()> {
    for (name, replaces) in [("new", false), ("always", true)] {
        let from = seed.join(name);
        if from.is_dir() {
            copy(&from, home, replaces)?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path, replaces: bool) -> io::Result<()> {
    fs::create_dir_all(to).map_err(|error| named(to, &error))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&from, &to, replaces)?;
            continue;
        }
        if !replaces && fs::symlink_metadata(&to).is_ok() {
            continue;
        }
        // A program that reads it meanwhile finds the old file or the new one.
        let draft = to.with_added_extension(format!("bottle-{}", std::process::id()));
        let made = if kind.is_symlink() {
            symlink(fs::read_link(&from)?, &draft)
        } else {
            fs::write(&draft, fs::read(&from)?)
        };
        made.and_then(|()| fs::rename(&draft, &to)).map_err(|error| {
            let _ = fs::remove_file(&draft);
            named(&to, &error)
        })?;
    }
    Ok(())
}

/// Says which file an error is about.
fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_has_changed_stays_unless_it_is_bottles_own() {
        let folder = tempfile::tempdir().unwrap();
        let (seed, home) = (folder.path().join("seed"), folder.path().join("home"));
        fs::create_dir_all(seed.join("new/.agent")).unwrap();
        fs::create_dir_all(seed.join("always/.agent")).unwrap();
        fs::write(seed.join("new/.agent/state"), "seeded").unwrap();
        fs::write(seed.join("always/.agent/config"), "seeded").unwrap();
        symlink("/opt/bottle/GUIDE.md", seed.join("always/.agent/GUIDE.md")).unwrap();
        let read = |name: &str| fs::read_to_string(home.join(".agent").join(name)).unwrap();
        plant(&seed, &home).unwrap();
        assert_eq!((read("state"), read("config")), ("seeded".to_owned(), "seeded".to_owned()));
        fs::write(home.join(".agent/state"), "changed").unwrap();
        fs::write(home.join(".agent/config"), "changed").unwrap();
        plant(&seed, &home).unwrap();
        assert_eq!((read("state"), read("config")), ("changed".to_owned(), "seeded".to_owned()));
        let link = fs::read_link(home.join(".agent/GUIDE.md")).unwrap();
        assert_eq!(link, Path::new("/opt/bottle/GUIDE.md"));
        assert_eq!(fs::read_dir(home.join(".agent")).unwrap().count(), 3);
    }

    #[test]
    fn no_seed_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        plant(&folder.path().join("missing"), folder.path()).unwrap();
    }
}
