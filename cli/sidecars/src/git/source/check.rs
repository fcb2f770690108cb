//! Checks that the repository can be served as a whole.

use super::configuration::Configuration;
use super::files::{has, plain, text};
use super::open::Source;
use super::quoted::Quoted;
use super::refs::Refs;
use super::stores::Reach;
use super::unservable::Unservable;
use anyhow::{Result, ensure};
use bottle_core::visible::Line;
use std::ffi::OsStr;
use std::path::Path;

/// The repository format extensions that make no difference here, or that are supported.
const EXTENSIONS: [&str; 8] = [
    "noop",
    "noop-v1",
    "objectformat",
    "partialclone",
    "preciousobjects",
    "refstorage",
    "relativeworktrees",
    "worktreeconfig",
];
/// How many bytes of a file in the work tree are read.
const MAX_TEXT: u64 = 1 << 20;
/// How many names a note lists.
const MAX_NAMED: usize = 10;

/// What can be served of a repository.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// Its branches and tags.
    pub refs: Refs,
    /// The name of its hash function: `sha1` or `sha256`.
    pub format: String,
    /// What a person should know about it, one sentence each.
    pub notes: Vec<String>,
}

impl Source {
    /// Checks that the repository can be served as a whole. `tree` is the folder that the operator named.
    ///
    /// # Errors
    /// Returns [`Unservable`] if a part of it is missing, or in a format that is not supported.
    pub fn check(&self, tree: &Path, configuration: &Configuration, reach: Reach) -> Result<Served> {
        let named = &*tree.to_string_lossy();
        self.check_format(named, configuration)?;
        self.check_complete(named, configuration)?;
        self.stores(reach)?;
        let format = configuration.last("extensions.objectformat").unwrap_or("sha1").to_ascii_lowercase();
        let refs = self.refs()?;
        let of_refs = refs.named.values().next().map(bottle_core::git::name::ObjectId::format);
        ensure!(
            of_refs.is_none_or(|known| known == format),
            "the configuration of {} says {format}, and its refs say otherwise",
            self.place.display()
        );
        self.check_branches(named, &refs)?;
        let notes = self.notes(tree, &refs);
        Ok(Served { refs, format, notes })
    }

    fn check_format(&self, tree: &str, configuration: &Configuration) -> Result<()> {
        let place = self.place.display();
        let refs = configuration.last("extensions.refstorage").unwrap_or("files");
        if has(&self.common, "reftable") || refs != "files" {
            return Err(Unservable::new(
                format!(
                    "{place} keeps its refs in the format {}",
                    if refs == "files" { "reftable" } else { refs }
                ),
                format!("`git -C {} refs migrate --ref-format=files` changes that", Quoted(tree)),
            )
            .into());
        }
        let version = configuration.last("core.repositoryformatversion").unwrap_or("0");
        let unknown = configuration.section("extensions").find(|(name, _)| !EXTENSIONS.contains(name));
        // In version 0, git itself ignores unknown extensions.
        let what = match (version, unknown) {
            ("1", Some((name, _))) => format!("the extension {:?}", Line(name).to_string()),
            ("0" | "1", _) => return Ok(()),
            (version, _) => format!("the format {:?}", Line(version).to_string()),
        };
        Err(Unservable::new(
            format!("{place} uses {what} of git's, which git-gate cannot read"),
            format!(
                "name a clone of it in `path`: `git clone --mirror {} ELSEWHERE` makes one",
                Quoted(tree)
            ),
        )
        .into())
    }

    fn check_complete(&self, tree: &str, configuration: &Configuration) -> Result<()> {
        let place = self.place.display();
        if text(&self.common, "shallow", MAX_TEXT)?.is_some_and(|shallow| !shallow.trim().is_empty()) {
            return Err(Unservable::new(
                format!("{place} is a shallow clone, so a part of its history is missing"),
                format!("`git -C {} fetch --unshallow` completes it", Quoted(tree)),
            )
            .into());
        }
        let on =
            |value: &str| !matches!(value.to_ascii_lowercase().as_str(), "false" | "no" | "off" | "0" | "");
        let mut remotes = configuration.below("remote", "promisor").filter(|(_, value)| on(value));
        let remote = remotes.next().map(|(remote, _)| remote);
        let Some(remote) = remote.or_else(|| configuration.last("extensions.partialclone")) else {
            return Ok(());
        };
        let git = format!("git -C {}", Quoted(tree));
        let mut help = format!("`{git} fetch --refetch --no-filter {remote}");
        for key in ["promisor", "partialclonefilter"].map(|key| format!("remote.{remote}.{key}")) {
            if configuration.last(&key).is_some() {
                help.push_str(&format!(" && {git} config --unset-all {key}"));
            }
        }
        if configuration.last("extensions.partialclone").is_some() {
            help.push_str(&format!(" && {git} config --unset-all extensions.partialclone"));
        }
        Err(Unservable::new(
            format!("{place} is a partial clone, so objects may be missing"),
            help + "` completes it",
        )
        .into())
    }

    /// Checks that a repository without a branch is really empty: only then is it served.
    fn check_branches(&self, tree: &str, refs: &Refs) -> Result<()> {
        let place = self.place.display();
        let is_branch = |name: &String| name.starts_with("heads/");
        if refs.named.keys().any(is_branch) {
            return Ok(());
        }
        let is_empty = refs.named.is_empty() && refs.unfollowed.is_empty();
        if is_empty && refs.detached.is_none() && !refs.others {
            return Ok(());
        }
        let why = refs.unfollowed.first().map_or(String::new(), |why| format!(" ({})", Line(why)));
        Err(Unservable::new(
            format!("{place} has commits but no branch, so a clone would be empty{why}"),
            format!(
                "`git -C {} switch -c main`, or `switch` to a branch of its remote, makes one",
                Quoted(tree)
            ),
        )
        .into())
    }

    fn notes(&self, tree: &Path, refs: &Refs) -> Vec<String> {
        let mut notes = Vec::new();
        let default = refs.default.as_deref().unwrap_or_default().trim_start_matches("refs/heads/");
        if let Some(id) = &refs.detached
            && !refs.named.values().any(|known| known == id)
        {
            notes.push(format!(
                "its HEAD is detached, and no branch is at that commit: a clone begins with {}; \
                 `git switch -c NAME` there makes a branch of it",
                Line(default)
            ));
        } else if let Some(unborn) = &refs.unborn {
            notes.push(if refs.named.is_empty() {
                "it has no commit yet: a clone is empty, and the first push waits like any other".to_owned()
            } else {
                format!(
                    "its branch {} has no commit yet: a clone begins with {}",
                    Line(unborn),
                    Line(default)
                )
            });
        }
        let list = |names: &[String]| {
            let more = names.len().saturating_sub(MAX_NAMED);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            let shown: Vec<String> =
                names.iter().take(MAX_NAMED).map(|name| Line(name).to_string()).collect();
            shown.join(", ") + &more
        };
        let unpublished: Vec<String> = refs
            .named
            .keys()
            .filter_map(|name| name.strip_prefix("heads/"))
            .filter(|branch| {
                let mut remotes = refs.remotes.keys();
                !remotes.any(|name| name.split_once('/').is_some_and(|(_, known)| known == *branch))
            })
            .map(str::to_owned)
            .collect();
        if !unpublished.is_empty() && !refs.remotes.is_empty() {
            notes.push(format!(
                "no remote has these branches yet, and the agent sees them: {}",
                list(&unpublished)
            ));
        }
        if !refs.unfollowed.is_empty() {
            notes.push(format!("not served: {}", list(&refs.unfollowed)));
        }
        let in_tree = |name: &str| {
            let tree = plain(tree).ok()?;
            text(&tree, name, MAX_TEXT).ok()?
        };
        let submodules = in_tree(".gitmodules").and_then(|text| Configuration::of(text).ok());
        let submodules: Vec<String> = submodules
            .iter()
            .flat_map(|text| text.below("submodule", "path"))
            .map(|(_, path)| path.to_owned())
            .collect();
        if !submodules.is_empty() {
            notes.push(format!(
                "its submodules are not served with it ({}): each needs a [[git-gate.repo]] of its own",
                list(&submodules)
            ));
        }
        let attributes = in_tree(".gitattributes").unwrap_or_default();
        if has(&self.common, "lfs") || attributes.contains("filter=lfs") {
            notes.push(
                "files in Git LFS are served as pointers, and their contents are not carried".to_owned(),
            );
        }
        let info = self.common.folder(OsStr::new("info")).ok();
        let grafts = info.and_then(|info| text(&info, "grafts", MAX_TEXT).ok().flatten());
        if grafts.is_some_and(|grafts| !grafts.trim().is_empty()) || refs.replaced {
            notes.push(
                "its grafts and replacements are not applied: the history is served as recorded".to_owned(),
            );
        }
        notes
    }
}
