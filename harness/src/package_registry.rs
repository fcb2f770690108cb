//! Where a package client of this host gets its packages. The client's own configuration says so, and nothing here
//! knows a host.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A kind of registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Registry {
    /// That of npm.
    Npm,
    /// That of pip.
    Pip,
    /// That of cargo.
    Cargo,
    /// Those of apt.
    Apt,
}

/// The hosts of a registry.
#[derive(Clone, Debug)]
pub struct Found {
    /// The hosts, with a port where it is not that of HTTPS.
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
            Self::Apt => {
                let mut apt = Command::new("apt-get");
                apt.args(["indextargets", "--format", "$(SITE)"]);
                apt
            }
            Self::Cargo => return Found::of(self, indexes()?),
        };
        let output = client.output().with_context(|| format!("{self:?}'s client"))?;
        ensure!(output.status.success(), "{self:?}: {}", String::from_utf8_lossy(&output.stderr));
        let hosts: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().filter_map(host).collect();
        Found::of(self, hosts)
    }
}

impl Found {
    fn of(registry: Registry, mut hosts: Vec<String>) -> Result<Self> {
        hosts.sort();
        hosts.dedup();
        ensure!(!hosts.is_empty(), "{registry:?}'s client names no host");
        Ok(Self { hosts })
    }

    /// Returns the names without ports.
    pub fn names(&self) -> Vec<&str> {
        self.hosts.iter().filter_map(|host| host.split(':').next()).collect()
    }
}

/// Returns the hosts of the indexes that cargo has used here, and those from which they have their packages. cargo says
/// neither, and keeps both in its folder.
fn indexes() -> Result<Vec<String>> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).context("no home folder")?;
    let mut hosts = Vec::new();
    for index in fs::read_dir(home.join("registry/index")).context("cargo has not used a registry here")? {
        let index = index?;
        let Ok(config) = fs::read(index.path().join("config.json")) else { continue };
        let config: serde_json::Value = serde_json::from_slice(&config)?;
        hosts.extend(config["dl"].as_str().and_then(host));
        let name = index.file_name().into_string().unwrap_or_default();
        hosts.extend(name.rsplit_once('-').map(|(host, _)| host.to_owned()));
    }
    Ok(hosts)
}

fn host(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?.rsplit('@').next()?;
    let (host, port) =
        authority.split_once(':').unwrap_or((authority, if scheme == "http" { "80" } else { "443" }));
    let rule = if port == "443" { host.to_owned() } else { format!("{host}:{port}") };
    (!host.is_empty()).then_some(rule)
}
