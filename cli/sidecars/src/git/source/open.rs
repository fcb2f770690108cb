//! Opens the repository of a folder.

use super::files::{MAX_REF, has, plain, text};
use anyhow::{Context, Result, bail, ensure};
use bottle_host::beneath::{Folder, Kind};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// An open repository.
#[derive(Debug)]
pub struct Source {
    /// The folder with `HEAD`.
    pub(super) own: Folder,
    /// The folder with everything else. For a worktree it differs from `own`.
    pub(super) common: Folder,
    /// The path of `common`.
    pub(super) place: PathBuf,
}

impl Source {
    /// Opens the repository of a folder, bare or not, by its recorded path. No part of the path may be a
    /// link.
    ///
    /// # Errors
    /// Returns an error if there is no repository, or if it leads elsewhere.
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
                Self::worktree(path, &target.context("it is not a git repository")?)
            }
            Some(Kind::Special) => {
                bail!("{} is a device, a pipe or a socket", path.join(".git").display())
            }
            Some(Kind::Link) => {
                bail!("{} is a link: name the repository that it leads to", path.join(".git").display())
            }
            None => Self::of(folder, path.to_owned()),
        }
    }

    fn of(own: Folder, place: PathBuf) -> Result<Self> {
        ensure!(
            !has(&own, "commondir"),
            "{} says that it is part of another repository: name that one",
            place.display()
        );
        Ok(Self { common: own.try_clone()?, own, place })
    }

    /// Opens a worktree, if the repository that it names also lists the worktree. Otherwise the guest could
    /// name any repository.
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
        // It must be `REPOSITORY/worktrees/NAME`.
        ensure!(admin.parent().and_then(Path::parent) == Some(&place), refused());
        Ok(Self { own, common: plain(&place)?, place })
    }

    /// Returns the folder with the refs, objects and configuration.
    pub fn path(&self) -> &Path {
        &self.place
    }
}
