//! Names that git could take for a repository, on whatever file system they end up.
//!
//! git reads a repository's configuration, hooks and filters as soon as somebody works in or below
//! the folder that holds it. So nothing that a guest made may come back under such a name. What
//! counts as one is what git's own checks count (`verify_path`, `is_hfs_dotgit`, `is_ntfs_dotgit`),
//! on every system and not only on this one: a project may be shared with a Mac.

use alloc::string::String;

/// Whether this one name could be taken for `.git`: in any case, with code points that HFS+ ignores,
/// as a short name of NTFS (`git~1`), with what Windows strips from an end (dots, spaces, a
/// stream's name), or as a part of a name with backslashes.
pub fn is_git(name: &[u8]) -> bool {
    parts(name, |part| part == ".git" || is_short(part, "git~"))
}

/// Whether this one name could be taken for `.gitmodules`, in the same ways.
pub fn is_gitmodules(name: &[u8]) -> bool {
    // `gi7eba~1` is what NTFS makes of it where `gitmod~1` to `gitmod~4` are taken.
    parts(name, |part| part == ".gitmodules" || is_short(part, "gitmod~") || is_short(part, "gi7eba~"))
}

/// Which of a repository's own parts the names in one folder are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    head: bool,
    objects: bool,
    refs: bool,
    common: bool,
}

impl Parts {
    /// Takes note of a name in the folder, and tells whether it is one of those parts.
    pub fn note(&mut self, name: &[u8]) -> bool {
        let part = [
            ("head", &mut self.head),
            ("objects", &mut self.objects),
            ("refs", &mut self.refs),
            ("commondir", &mut self.common),
        ];
        part.into_iter().fold(false, |any, (known, is_there)| {
            let is_it = parts(name, |part| part == known);
            *is_there |= is_it;
            any || is_it
        })
    }

    /// The parts of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            head: self.head || other.head,
            objects: self.objects || other.objects,
            refs: self.refs || other.refs,
            common: self.common || other.common,
        }
    }

    /// Whether git takes the folder for a repository by what it holds, without a `.git` in it: a
    /// bare one has `HEAD`, `objects` and `refs`; with `commondir`, the latter two are elsewhere.
    pub fn make_repository(self) -> bool {
        self.head && (self.common || (self.objects && self.refs))
    }
}

/// Whether any of what file systems could make of this name is so. Bytes that are no text are ignored.
fn parts(name: &[u8], is_so: impl Fn(&str) -> bool) -> bool {
    let text: String = name.utf8_chunks().map(|chunk| chunk.valid()).collect();
    super::fold::parts(&text).any(|part| is_so(&part))
}

/// Whether this is a short name with that stem: `git~1`.
fn is_short(part: &str, stem: &str) -> bool {
    part.strip_prefix(stem)
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}
