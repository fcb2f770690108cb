//! Writes changes as a patch that `git apply` takes, and that nothing in it can steer a terminal with.
//!
//! A file that holds anything but visible text goes in as git's binary form, which is letters and digits. A name that
//! does is quoted as git quotes names. So the patch is exact, and printing it is harmless.

use bottle_core::visible::is_hidden;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use sha1::{Digest, Sha1};
use similar::TextDiff;
use std::io::{self, Write};
use std::time::Duration;

/// How long to search for the shortest difference of one file before accepting a longer one.
const PATIENCE: Duration = Duration::from_secs(1);

/// A file or a link, as git stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The mode that git knows.
    pub mode: Mode,
    /// The content, or a link's target.
    pub bytes: Vec<u8>,
}

/// The kinds of files that git knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A file.
    Plain,
    /// A file that its owner may execute.
    Executable,
    /// A symbolic link.
    Link,
}

impl Mode {
    fn text(self) -> &'static str {
        match self {
            Self::Plain => "100644",
            Self::Executable => "100755",
            Self::Link => "120000",
        }
    }
}

/// Writes the change of one path. Nothing is written if both sides are the same to git.
///
/// # Errors
/// Returns the writer's error.
pub fn write(
    out: &mut impl Write,
    path: &[u8],
    before: Option<&Stored>,
    after: Option<&Stored>,
) -> io::Result<()> {
    match (before, after) {
        (None, None) => Ok(()),
        (Some(before), Some(after)) if before == after => Ok(()),
        // To git, a link in place of a file is another file.
        (Some(was), Some(is)) if (was.mode == Mode::Link) != (is.mode == Mode::Link) => {
            one(out, path, before, None)?;
            one(out, path, None, after)
        }
        _ => one(out, path, before, after),
    }
}

fn one(out: &mut impl Write, path: &[u8], before: Option<&Stored>, after: Option<&Stored>) -> io::Result<()> {
    let (a, b) = (quoted(b"a/", path), quoted(b"b/", path));
    writeln!(out, "diff --git {a} {b}")?;
    match (before, after) {
        (None, Some(is)) => writeln!(out, "new file mode {}", is.mode.text())?,
        (Some(was), None) => writeln!(out, "deleted file mode {}", was.mode.text())?,
        (Some(was), Some(is)) if was.mode != is.mode => {
            writeln!(out, "old mode {}\nnew mode {}", was.mode.text(), is.mode.text())?;
        }
        _ => {}
    }
    let bytes = |side: Option<&Stored>| side.map_or_else(Vec::new, |side| side.bytes.clone());
    let (old, new) = (bytes(before), bytes(after));
    if old == new && before.is_some() && after.is_some() {
        return Ok(());
    }
    // git wants the whole names of both contents where it is to replace a binary one.
    let id = |side: Option<&Stored>| side.map_or_else(|| "0".repeat(40), |side| blob(&side.bytes));
    let mode = match (before, after) {
        (Some(was), Some(is)) if was.mode == is.mode => format!(" {}", is.mode.text()),
        _ => String::new(),
    };
    writeln!(out, "index {}..{}{mode}", id(before), id(after))?;
    match (text(&old), text(&new)) {
        _ if old == new => Ok(()),
        (Some(old), Some(new)) => {
            // A name with a space ends in a tab, as git writes it, so that its end is clear.
            let end = if path.contains(&b' ') { "\t" } else { "" };
            let named = |side: Option<&Stored>, name: &str| match side {
                Some(_) => format!("{name}{end}"),
                None => "/dev/null".to_owned(),
            };
            writeln!(out, "--- {}\n+++ {}", named(before, &a), named(after, &b))?;
            let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(old, new);
            write!(out, "{}", diff.unified_diff().context_radius(3))
        }
        _ => {
            writeln!(out, "GIT binary patch")?;
            literal(out, &new)?;
            // The way back, for `git apply --reverse`.
            literal(out, &old)
        }
    }
}

/// Returns bytes as text, if they are visible text that both we and git divide into the same lines.
fn text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let is_odd = |(at, c): (usize, char)| match c {
        '\n' | '\t' => false,
        '\r' => !text[at + 1..].starts_with('\n'),
        c => is_hidden(c),
    };
    (!text.char_indices().any(is_odd)).then_some(text)
}

/// Returns a path as git writes it: in quotes, with escapes, if a byte of it needs that.
fn quoted(prefix: &[u8], path: &[u8]) -> String {
    let whole = [prefix, path].concat();
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if whole.iter().all(is_plain) {
        return whole.into_iter().map(char::from).collect();
    }
    let mut text = "\"".to_owned();
    for byte in whole {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b' '..=b'~' => text.push(char::from(byte)),
            byte => text.push_str(&format!("\\{byte:03o}")),
        }
    }
    text + "\""
}

/// Returns git's name of a content.
fn blob(bytes: &[u8]) -> String {
    let sum = Sha1::new().chain_update(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize();
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes one side of a binary patch: compressed, in git's base 85, with the length of each line before it.
fn literal(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    const DIGITS: &[u8; 85] =
        b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
    const A_LINE: usize = 52;
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    writeln!(out, "literal {}", bytes.len())?;
    for line in encoder.finish()?.chunks(A_LINE) {
        let len = u8::try_from(line.len()).map_err(io::Error::other)?;
        let mut text = vec![if len <= 26 { b'A' + len - 1 } else { b'a' + len - 27 }];
        for group in line.chunks(4) {
            let mut word = [0; 4];
            word[..group.len()].copy_from_slice(group);
            let mut rest = u32::from_be_bytes(word);
            let mut digits = [0; 5];
            for digit in digits.iter_mut().rev() {
                *digit = DIGITS[(rest % 85) as usize];
                rest /= 85;
            }
            text.extend(digits);
        }
        text.push(b'\n');
        out.write_all(&text)?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;
    use std::process::Command;

    type Tree = BTreeMap<Vec<u8>, Stored>;

    fn stored(mode: Mode, bytes: impl Into<Vec<u8>>) -> Stored {
        Stored { mode, bytes: bytes.into() }
    }

    fn lay(folder: &Path, tree: &Tree) {
        for (name, Stored { mode, bytes }) in tree {
            let path = folder.join(std::ffi::OsStr::from_bytes(name));
            if *mode == Mode::Link {
                symlink(std::ffi::OsStr::from_bytes(bytes), &path).unwrap();
                continue;
            }
            fs::write(&path, bytes).unwrap();
            let bits = if *mode == Mode::Executable { 0o755 } else { 0o644 };
            fs::set_permissions(&path, PermissionsExt::from_mode(bits)).unwrap();
        }
    }

    fn read(folder: &Path) -> Tree {
        let entries = fs::read_dir(folder).unwrap().flatten();
        let entry = |entry: fs::DirEntry| {
            let (path, meta) = (entry.path(), entry.metadata().unwrap());
            let of = if meta.is_symlink() {
                stored(Mode::Link, fs::read_link(&path).unwrap().as_os_str().as_bytes())
            } else {
                let mode =
                    if meta.permissions().mode() & 0o100 != 0 { Mode::Executable } else { Mode::Plain };
                stored(mode, fs::read(&path).unwrap())
            };
            (entry.file_name().as_bytes().to_vec(), of)
        };
        entries.map(entry).collect()
    }

    fn patch(before: &Tree, after: &Tree) -> Vec<u8> {
        let mut patch = Vec::new();
        let names: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
        for name in names {
            write(&mut patch, name, before.get(name), after.get(name)).unwrap();
        }
        patch
    }

    /// Applies a patch with the real git, and returns what is there then.
    fn applied(before: &Tree, patch: &[u8], words: &[&str]) -> Tree {
        let room = tempfile::tempdir().unwrap();
        let (folder, file) = (room.path().join("tree"), room.path().join("patch"));
        fs::create_dir(&folder).unwrap();
        lay(&folder, before);
        fs::write(&file, patch).unwrap();
        let mut git = Command::new("git");
        git.args(["-c", "core.autocrlf=false", "apply", "--whitespace=nowarn"]).args(words).arg(&file);
        git.env("GIT_CEILING_DIRECTORIES", room.path()).current_dir(&folder);
        let output = git.output().unwrap();
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{why}\n{}", String::from_utf8_lossy(patch));
        read(&folder)
    }

    #[test]
    fn git_applies_every_kind_of_change_and_takes_it_back() {
        let before = Tree::from([
            (b"text".to_vec(), stored(Mode::Plain, "1\n2\n3\n")),
            (b"no end".to_vec(), stored(Mode::Plain, "1\n2")),
            (b"gone".to_vec(), stored(Mode::Plain, "x\n")),
            (b"binary".to_vec(), stored(Mode::Plain, vec![0, 1, 2, 255])),
            (b"script".to_vec(), stored(Mode::Plain, "#!/bin/sh\n")),
            (b"file".to_vec(), stored(Mode::Plain, "becomes a link\n")),
            (b"crlf".to_vec(), stored(Mode::Plain, "a\r\nb\r\n")),
        ]);
        let after = Tree::from([
            (b"text".to_vec(), stored(Mode::Plain, "1\ntwo\n3\n4\n")),
            (b"no end".to_vec(), stored(Mode::Plain, "1\n2\n")),
            (b"binary".to_vec(), stored(Mode::Plain, vec![9; 5000])),
            (b"script".to_vec(), stored(Mode::Executable, "#!/bin/sh\n")),
            (b"file".to_vec(), stored(Mode::Link, "text")),
            (b"crlf".to_vec(), stored(Mode::Plain, "a\r\nc\r\n")),
            (b"empty".to_vec(), stored(Mode::Plain, "")),
            (b"na\"me\\ \x1b[2J\xff".to_vec(), stored(Mode::Plain, "odd\n")),
            (b"escape".to_vec(), stored(Mode::Plain, "\x1b]52;c;x\x07\n")),
            (b"lone cr".to_vec(), stored(Mode::Plain, "a\rb\n")),
        ]);
        let patch = patch(&before, &after);
        assert_eq!(applied(&before, &patch, &[]), after);
        assert_eq!(applied(&after, &patch, &["--reverse"]), before);
        let shown = String::from_utf8(patch).expect("a patch is text");
        assert!(!shown.contains(|c: char| is_hidden(c) && !matches!(c, '\n' | '\t' | '\r')), "{shown:?}");
        assert!(shown.contains("+two\n"), "{shown}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_content_arrives_as_it_was(
            old in prop::option::of(prop::collection::vec(any::<u8>(), 0..200)),
            new in prop::option::of("[ -~\\n\\t\\r\\x1b\u{e9}\u{200b}]{0,80}"),
        ) {
            let tree = |bytes: Option<Vec<u8>>| -> Tree {
                bytes.map(|bytes| (b"f".to_vec(), stored(Mode::Plain, bytes))).into_iter().collect()
            };
            let (before, after) = (tree(old), tree(new.map(String::into_bytes)));
            let patch = patch(&before, &after);
            if !patch.is_empty() {
                prop_assert_eq!(applied(&before, &patch, &[]), after);
            }
        }
    }
}
