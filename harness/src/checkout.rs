//! The locations of things in a checkout.

use anyhow::{Context, Result, bail, ensure};
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A checkout with its built programs and its tools.
#[derive(Clone, Debug)]
pub struct Checkout {
    root: PathBuf,
    programs: PathBuf,
    smolvm: &'static str,
}

/// The variable that chooses the smolvm of real guests: `newest`, which is what no word means, or `oldest`.
pub(crate) const SMOLVM: &str = "SMOLVM";

impl Checkout {
    /// Finds the checkout that this program was built in.
    ///
    /// # Errors
    /// Returns an error if this program is not in a checkout's `target` folder.
    pub fn find() -> Result<Self> {
        let exe = env::current_exe()?;
        // target/PROFILE/program, target/PROFILE/deps/test-0123456789abcdef
        let programs = exe.ancestors().skip(1).find(|dir| dir.join("bottle-harness").exists());
        let programs = programs.context("bottle is not built: run `make build`")?.to_owned();
        let root = programs.ancestors().find(|dir| dir.join("Cargo.lock").exists());
        let root = root.context("this program is not in a checkout of bottle")?.to_owned();
        let smolvm = match env::var(SMOLVM).as_deref() {
            Err(env::VarError::NotPresent) | Ok("newest" | "") => "smolvm",
            Ok("oldest") => "oldest-smolvm",
            _ => bail!("{SMOLVM} is neither `newest` nor `oldest`"),
        };
        Ok(Self { root, programs, smolvm })
    }

    /// Returns the checkout's top folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the folder that `make setup` fills.
    pub fn tools(&self) -> PathBuf {
        self.root.join("tools")
    }

    /// Returns a program of this build: `bottle`, `bottle-harness`, `smolvm-stand-in`.
    ///
    /// # Errors
    /// Returns an error if it is not built.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        present(self.programs.join(name), "make build")
    }

    /// Returns the static helper.
    ///
    /// # Errors
    /// Returns an error if it is not built.
    pub fn helper(&self) -> Result<PathBuf> {
        present(self.root.join("target/guest/bottle-guest"), "make build")
    }

    /// Returns the folder of the smolvm that real guests run with.
    pub fn smolvm_folder(&self) -> PathBuf {
        self.tools().join(self.smolvm)
    }

    /// Returns the smolvm that real guests run with.
    ///
    /// # Errors
    /// Returns an error if it is missing.
    pub fn smolvm(&self) -> Result<PathBuf> {
        present(self.smolvm_folder().join("smolvm"), "make setup")
    }

    /// Returns a tool that `make setup` fetched.
    ///
    /// # Errors
    /// Returns an error if it is missing.
    pub fn tool(&self, name: &str) -> Result<PathBuf> {
        present(self.tools().join("bin").join(name), "make setup")
    }

    /// Returns a `PATH` that starts with the folders in `first`, and then the tools' folder.
    ///
    /// # Errors
    /// Returns an error if a folder's name cannot be part of `PATH`.
    pub fn search_path(&self, first: &[&Path]) -> Result<OsString> {
        let mut dirs: Vec<PathBuf> = first.iter().map(|dir| dir.to_path_buf()).collect();
        dirs.push(self.smolvm_folder());
        dirs.push(self.tools().join("bin"));
        dirs.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        Ok(env::join_paths(dirs)?)
    }

    /// Returns the variables with which `bottle` finds this build's helper and the fetched smolvm. They also
    /// allow for slow guests under emulation, and name smolvm's unpacked root filesystem.
    ///
    /// # Errors
    /// Returns an error if something is not built or not set up.
    pub fn variables(&self, first: &[&Path]) -> Result<Vec<(&'static str, OsString)>> {
        const PATIENCE: &str = "90";
        let mut variables = vec![
            ("PATH", self.search_path(first)?),
            ("BOTTLE_GUEST_HELPER", self.helper()?.into()),
            ("SMOLVM_AGENT_READY_TIMEOUT_SECS", PATIENCE.into()),
            ("SMOLVM_START_TIMEOUT_SECS", PATIENCE.into()),
        ];
        let rootfs = self.smolvm_folder().join("agent-rootfs");
        if rootfs.exists() {
            variables.push(("SMOLVM_AGENT_ROOTFS", rootfs.into()));
        }
        Ok(variables)
    }
}

fn present(path: PathBuf, how: &str) -> Result<PathBuf> {
    ensure!(path.exists(), "{} is missing: run `{how}`", path.display());
    Ok(path)
}
