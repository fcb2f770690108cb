//! Where a package client of this host gets its packages. The client's own configuration says so, and nothing here
//! knows a host.

use anyhow::{Context, Result, ensure};
use std::process::Command;

/// A kind of registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registry {
    /// That of npm.
    Npm,
    /// That of pip.
    Pip,
}

/// The hosts of a registry.
#[derive(Clone, Debug)]
pub struct Found {
    /// The hosts, without ports.
    pub hosts: Vec<String>,
}

/// Prints the hosts of pip's index and of its files.
const PIP: &str = "import os, subprocess, sys\n\
    from pip._internal.models.index import PyPI\n\
    said = subprocess.run([sys.executable, '-m', 'pip', 'config', 'get', 'global.index-url'], capture_output=True, text=True)\n\
    index = os.environ.get('PIP_INDEX_URL') or said.stdout.strip() or PyPI.simple_url\n\
    print(index)\n\
    print('https://' + PyPI.file_storage_domain)\n";

impl Registry {
    /// Asks the registry's client.
    ///
    /// # Errors
    /// Returns an error if the client is not here.
    pub fn find(self) -> Result<Found> {
        let mut client = match self {
            Self::Npm => {
                let mut npm = Command::new("npm");
                npm.args(["config", "get", "registry"]);
                npm
            }
            Self::Pip => {
                let mut pip = Command::new("python3");
                pip.args(["-c", PIP]);
                pip
            }
        };
        let output = client.output().with_context(|| format!("{self:?}'s client"))?;
        ensure!(output.status.success(), "{self:?}: {}", String::from_utf8_lossy(&output.stderr));
        let hosts: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().filter_map(host).collect();
        ensure!(!hosts.is_empty(), "{self:?}'s client names no host");
        Ok(Found { hosts })
    }
}

fn host(url: &str) -> Option<String> {
    let authority = url.split_once("://")?.1.split('/').next()?;
    let host = authority.rsplit('@').next()?.split(':').next()?;
    (!host.is_empty()).then(|| host.to_owned())
}
