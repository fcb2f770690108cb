//! Names that git could take for a repository, on whatever file system they end up.
//!
//! git reads a repository's configuration, hooks and filters as soon as somebody works in the folder that
//! contains it, or below. So nothing that a guest made may come back under such a name. Git's own checks
//! (`verify_path`, `is_hfs_dotgit`, `is_ntfs_dotgit`) define those names; here they count on every system
//! and not only on this one, because a project may be shared with a Mac.

use alloc::string::String;

/// Returns whether some system takes this name for `.git`: in upper or lower case, with code points that
/// HFS+ ignores, as a short name of NTFS (`git~1`), with what Windows strips from the end (dots, spaces, the
/// name of a stream), or as a part of a name with backslashes.
pub fn is_git(name: &[u8]) -> bool {
    parts(name, |part| part == ".git" || is_short(part, "git~"))
}

/// Returns whether some system takes this name for `.gitmodules`, in the same ways.
pub fn is_gitmodules(name: &[u8]) -> bool {
    // NTFS makes `gi7eba~1` of it if `gitmod~1` to `gitmod~4` are taken.
    parts(name, |part| part == ".gitmodules" || is_short(part, "gitmod~") || is_short(part, "gi7eba~"))
}

/// Which parts of a repository are among the names in a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    head: bool,
    objects: bool,
    refs: bool,
    common: bool,
}

impl Parts {
    /// Adds a name in the folder, and returns whether it is one of those parts.
    pub fn note(&mut self, name: &[u8]) -> bool {
        let part = [
            ("head", &mut self.head),
            ("objects", &mut self.objects),
            ("refs", &mut self.refs),
            ("commondir", &mut self.common),
        ];
        let plain = super::fold::plain(name);
        part.into_iter().fold(false, |any, (known, is_there)| {
            let is_it = plain
                .map_or_else(|| parts(name, |part| part == known), |plain| plain.eq_ignore_ascii_case(known));
            *is_there |= is_it;
            any || is_it
        })
    }

    /// Returns the parts that are in either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            head: self.head || other.head,
            objects: self.objects || other.objects,
            refs: self.refs || other.refs,
            common: self.common || other.common,
        }
    }

    /// Returns whether these parts alone make git take the folder for a repository, without a `.git` in it.
    /// A bare repository has `HEAD`, `objects` and `refs`; with `commondir`, the latter two are elsewhere.
    pub fn make_repository(self) -> bool {
        self.head && (self.common || (self.objects && self.refs))
    }
}

/// Returns whether `is_so` holds for any part of the name, as file systems fold it. Bytes that are not UTF-8
/// are ignored.
fn parts(name: &[u8], is_so: impl Fn(&str) -> bool) -> bool {
    let text: String = name.utf8_chunks().map(|chunk| chunk.valid()).collect();
    super::fold::parts(&text).any(|part| is_so(&part))
}

/// Returns whether this is a short name with this stem: `git~1`.
fn is_short(part: &str, stem: &str) -> bool {
    part.strip_prefix(stem)
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}
