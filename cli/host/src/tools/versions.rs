//! The versions that programs report. Every command would have to start a process to ask, so a program's
//! answer is remembered as long as its file stays the same.

use crate::smolvm::{PATIENCE, bounded};
use crate::state::{Home, write_private};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs' versions. If answers may be remembered, it has the file that remembers them.
pub struct Versions(Option<PathBuf>);

/// The identity of a program's file, so that a replacement is noticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    /// When its content and its metadata last changed, in seconds and nanoseconds.
    modified: [i64; 2],
    changed: [i64; 2],
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    of: Identity,
    line: String,
}

impl Versions {
    /// Uses remembered answers for programs that have not changed.
    pub fn remembered() -> Self {
        Self(Home::find().ok().map(|home| home.versions()))
    }

    /// Asks the programs every time.
    pub fn asked() -> Self {
        Self(None)
    }

    /// Returns the first line that a program prints when asked for its version with this option, or `None` if
    /// it does not run.
    pub fn line(&self, program: &Path, option: &str, lib_dir: Option<&Path>) -> Option<String> {
        let Some((memory, of)) = self.0.as_deref().zip(identity(program)) else {
            return ask(program, option, lib_dir);
        };
        let key = program.to_str()?;
        let mut known = read(memory);
        if let Some(said) = known.remove(key).filter(|said| said.of == of) {
            return Some(said.line);
        }
        let line = ask(program, option, lib_dir)?;
        // A command that starts nothing must not create a folder either.
        if memory.parent().is_some_and(Path::is_dir) {
            known.insert(key.to_owned(), Answer { of, line: line.clone() });
            let _ = serde_json::to_vec(&known).map(|text| write_private(memory, &text));
        }
        Some(line)
    }
}

fn read(memory: &Path) -> BTreeMap<String, Answer> {
    fs::read(memory).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Identifies a program's file. Returns `None` for a script, whose file says nothing about the program that
/// it starts.
fn identity(program: &Path) -> Option<Identity> {
    let mut start = [0; 2];
    let mut file = File::open(program).ok()?;
    file.read_exact(&mut start).ok()?;
    let meta = file.metadata().ok()?;
    (start != *b"#!").then(|| Identity {
        device: meta.dev(),
        inode: meta.ino(),
        size: meta.size(),
        modified: [meta.mtime(), meta.mtime_nsec()],
        changed: [meta.ctime(), meta.ctime_nsec()],
    })
}

fn ask(program: &Path, option: &str, lib_dir: Option<&Path>) -> Option<String> {
    let mut command = Command::new(program);
    if let Some(dir) = lib_dir {
        command.env("SMOLVM_LIB_DIR", dir);
    }
    command.arg(option);
    let finished = bounded(command, Some(PATIENCE)).ok()?;
    let text = String::from_utf8_lossy(&finished.out);
    text.lines().next().map(|line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::Versions;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    /// Copies a program that prints its arguments and is not a script.
    fn program(dir: &Path) -> std::path::PathBuf {
        let path = dir.join("echo");
        put(Path::new("/bin/echo"), &path);
        path
    }

    /// Copies a program with another process. Otherwise a child that another test starts at the same time
    /// would inherit the open file, and the program could not be run ("text file busy").
    fn put(from: &Path, to: &Path) {
        assert!(std::process::Command::new("cp").arg(from).arg(to).status().unwrap().success());
    }

    #[test]
    fn what_a_program_said_is_believed_until_its_file_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let (memory, echo) = (dir.path().join("versions"), program(dir.path()));
        let versions = Versions(Some(memory.clone()));
        assert_eq!(versions.line(&echo, "1.0", None).unwrap(), "1.0");
        // The program would answer differently now, so this answer was remembered.
        assert_eq!(versions.line(&echo, "2.0", None).unwrap(), "1.0");
        assert_eq!(fs::metadata(&memory).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Versions::asked().line(&echo, "2.0", None).unwrap(), "2.0");
        fs::remove_file(&echo).unwrap();
        program(dir.path());
        assert_eq!(versions.line(&echo, "3.0", None).unwrap(), "3.0");
    }

    #[test]
    fn a_script_is_always_asked_and_a_memory_that_cannot_be_read_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let (memory, script) = (dir.path().join("versions"), dir.path().join("script"));
        fs::write(&memory, "{").unwrap();
        let draft = dir.path().join("draft");
        fs::write(&draft, "#!/bin/sh\necho \"$1\"\n").unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
        put(&draft, &script);
        let versions = Versions(Some(memory));
        assert_eq!(versions.line(&script, "1.0", None).unwrap(), "1.0");
        assert_eq!(versions.line(&script, "2.0", None).unwrap(), "2.0");
        assert_eq!(versions.line(&program(dir.path()), "1.0", None).unwrap(), "1.0");
    }

    #[test]
    fn where_there_is_no_folder_none_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let versions = Versions(Some(home.join("versions")));
        assert_eq!(versions.line(&program(dir.path()), "1.0", None).unwrap(), "1.0");
        assert!(!home.exists());
    }
}
