//! The repository in which git works when it has the operator's credentials. It is ours, and made for one
//! call.
//!
//! A git that a push has taken over can write to its store, including the store's configuration. So the
//! operator's own git never opens the store. It opens this repository instead: three lines of configuration,
//! no refs, no hooks, and a path to the store's objects, which are named by their digests.

use super::child::Git;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A repository from which a store's objects are sent. It is removed when this value is dropped.
#[derive(Debug)]
pub struct Outgoing(TempDir);

impl Outgoing {
    /// Creates a repository for the objects of a store. `format` is the store's object format.
    ///
    /// # Errors
    /// Returns an error if it cannot be created.
    pub fn of(store: &Path, format: &str) -> Result<Self> {
        let above = store.parent().context("the quarantine has no parent folder")?;
        // It is beside the store, where git-gate's own git processes cannot write.
        let dir = tempfile::Builder::new().prefix(".outgoing-").tempdir_in(above)?;
        let put = |name: &str, text: String| fs::write(dir.path().join(name), text);
        fs::create_dir(dir.path().join("refs"))?;
        fs::create_dir_all(dir.path().join("objects/info"))?;
        put("HEAD", "ref: refs/heads/none\n".to_owned())?;
        put(
            "config",
            format!(
                "[core]\nrepositoryformatversion = 1\nbare = true\n[extensions]\nobjectformat = {format}\n"
            ),
        )?;
        put("objects/info/alternates", format!("{}\n", store.join("objects").display()))?;
        Ok(Self(dir))
    }

    /// Returns the operator's own git, for this repository.
    pub fn git(&self) -> Git {
        Git::operator(self.0.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn git(dir: &Path, words: &[&str]) -> String {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
        let output = Command::new("git").args(identity).args(words).current_dir(dir).output().unwrap();
        assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn the_operators_git_ignores_the_stores_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let (store, upstream) = (dir.path().join("store.git"), dir.path().join("upstream.git"));
        for repository in [&store, &upstream] {
            git(dir.path(), &["init", "-q", "--bare", repository.to_str().unwrap()]);
        }
        let tree = git(&store, &["mktree"]);
        let commit = git(&store, &["commit-tree", "-m", "x", &tree]);
        // This is what a git that was taken over could leave behind.
        let proof = dir.path().join("proof");
        let url = format!("ext::touch {}", proof.display());
        git(&store, &["config", &format!("url.{url}.insteadOf"), upstream.to_str().unwrap()]);
        git(&store, &["config", "protocol.ext.allow", "always"]);
        let send = |git: Git| {
            let words = ["push", "--quiet", "--", upstream.to_str().unwrap()];
            git.args(words).args([format!("{commit}:refs/heads/main")]).finish().unwrap().status.success()
        };
        let outgoing = Outgoing::of(&store, "sha1").unwrap();
        assert!(send(outgoing.git()) && !proof.exists());
        assert_eq!(git(&upstream, &["rev-parse", "main"]), commit);
        // git on the store itself would have obeyed the store's configuration.
        assert!(!send(Git::operator(&store)));
    }
}
