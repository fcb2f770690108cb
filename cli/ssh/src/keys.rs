//! The two keys of a bottle: the server's, and the one that gets in. Neither is used for anything else.

use anyhow::{Context, Result};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::random;
use bottle_host::state::{Folder, Lock, private_dir, read_short, write_private};
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKey};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long another command may take to make the keys.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest file of a key, in bytes.
const LONGEST: u64 = 16 << 10;

/// A bottle's keys.
#[derive(Debug)]
pub struct Keys {
    /// The server's.
    pub host: PrivateKey,
    /// The one that gets in.
    pub user: PublicKey,
}

/// Returns the path of the private key that gets in.
pub fn identity(folder: &Folder) -> PathBuf {
    folder.ssh().join("id_ed25519")
}

/// Returns the path of the file in which ssh finds the server's key.
pub fn known_hosts(folder: &Folder) -> PathBuf {
    folder.ssh().join("known_hosts")
}

/// Returns the name by which ssh knows a bottle.
pub fn alias(folder: &Folder) -> String {
    format!("{}.bottle", folder.slug())
}

fn host(folder: &Folder) -> PathBuf {
    folder.ssh().join("host_ed25519")
}

/// Makes the keys that a bottle lacks, and tells ssh the server's.
///
/// # Errors
/// Returns an error if they cannot be written, or if one that is there cannot be read.
pub fn ensure(folder: &Folder) -> Outcome {
    private_dir(&folder.ssh())?;
    let Some(_lock) = Lock::alone(&folder.ssh().join("lock"), PATIENCE)? else {
        return Err(Failure::new(Kind::Busy, format!("another command makes the keys of {}", folder.slug())));
    };
    for path in [host(folder), identity(folder)] {
        if !path.exists() {
            let key = PrivateKey::from(Ed25519Keypair::from_seed(&random::bytes()?));
            let text = key.to_openssh(LineEnding::LF).context("a key")?;
            write_private(&path, text.as_bytes())?;
        }
    }
    let key = read(&host(folder))?.public_key().to_openssh().context("a key")?;
    Ok(write_private(&known_hosts(folder), format!("{} {key}\n", alias(folder)).as_bytes())?)
}

impl Keys {
    /// Reads a bottle's keys.
    ///
    /// # Errors
    /// Returns [`Kind::NoBottle`] if it has none.
    pub fn read(folder: &Folder) -> Outcome<Self> {
        if !host(folder).exists() {
            let slug = folder.slug();
            return Err(Failure::new(Kind::NoBottle, format!("bottle {slug} has no keys for ssh"))
                .help(format!("`bottle ssh-config {slug}` makes them")));
        }
        Ok(Self { host: read(&host(folder))?, user: read(&identity(folder))?.public_key().clone() })
    }
}

fn read(path: &Path) -> Result<PrivateKey> {
    let shown = || path.display().to_string();
    PrivateKey::from_openssh(read_short(path, LONGEST).with_context(shown)?).with_context(shown)
}
