//! Opening the repository of a folder.

use super::files::{MAX_REF, has, plain, text};
use anyhow::{Context, Result, bail, ensure};
use bottle_host::beneath::{Folder, Kind};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// A repository that is open.
#[derive(Debug)]
pub struct Source {
    /// `HEAD` is here.
    pub(super) own: Folder,
    /// The rest is here: the same folder, but for a worktree.
    pub(super) common: Folder,
    /// Where the rest is.
    pub(super) place: PathBuf,
}

impl Source {
    /// Opens the repository of a folder, bare or not, as it was recorded: no part of the path may be a
    /// link.
    ///
    /// # Errors
    /// Where there is none, or one that leads elsewhere.
    pub fn open(path: &Path) -> Result<Self> {
        let folder = plain(path)?;
        let git = OsStr::new(".git");
        match folder.meta(git).ok().map(|meta| meta.kind) {
            Some(Kind::Folder) => {
                let own = folder.folder(git).with_context(|| path.join(".git").display().to_string())?;
                Self::of(own, path.join(".git"))
            }
            Some(Kind::File) => {
                let text = text(&folder, ".git", MAX_REF)?.context("it is gone")?;
                let target = text.strip_prefix("gitdir: ").map(|target| path.join(target.trim()));
                Self::worktree(path, &target.context("it is no git repository")?)
            }
            Some(_) => {
                bail!("{} is a link: name the repository that it leads to", path.join(".git").display())
            }
            None => Self::of(folder, path.to_owned()),
        }
    }

    fn of(own: Folder, place: PathBuf) -> Result<Self> {
        ensure!(
            !has(&own, "commondir"),
            "{} says that it is a part of another one: name that one",
            place.display()
        );
        Ok(Self { common: own.try_clone()?, own, place })
    }

    /// A worktree, if the repository that it names knows it: otherwise the guest might name any.
    fn worktree(path: &Path, admin: &Path) -> Result<Self> {
        let refused = || {
            let file = path.join(".git");
            format!(
                "{} leads to {}, which does not know it: name that repository itself",
                file.display(),
                admin.display()
            )
        };
        let admin = admin.canonicalize().with_context(refused)?;
        let own = plain(&admin)?;
        let back = text(&own, "gitdir", MAX_REF)?.with_context(refused)?;
        let back = admin.join(back.trim()).canonicalize().with_context(refused)?;
        ensure!(back == path.join(".git"), refused());
        let common = text(&own, "commondir", MAX_REF)?.with_context(refused)?;
        let place = admin.join(common.trim()).canonicalize().with_context(refused)?;
        // `REPOSITORY/worktrees/NAME`, and nothing else.
        ensure!(admin.parent().and_then(Path::parent) == Some(&place), refused());
        Ok(Self { own, common: plain(&place)?, place })
    }

    /// The folder that holds its refs, objects and configuration.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Its configuration, as text.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn configuration(&self) -> Result<String> {
        Ok(text(&self.common, "config", 1 << 20)?.unwrap_or_default())
    }
}
