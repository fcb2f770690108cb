//! The file of a login.

use anyhow::{Context, Result};
use bottle_core::upstream::Login;
use bottle_host::state::{Home, parse_json, private_dir, read_short, write_private};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use zeroize::Zeroize;

/// The longest file of a login, in bytes.
const LONGEST: u64 = 1 << 20;
/// A token is renewed this long before it ends.
const MARGIN: Duration = Duration::from_secs(120);

/// A login, as it is kept. It is not shown, and overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// The token that requests carry.
    pub access_token: String,
    /// The token that renews it.
    pub refresh_token: String,
    /// When the access token ends, in seconds since 1970; nothing if only the vendor knows.
    pub expires_at: Option<u64>,
    /// The account, where requests name it.
    pub account: Option<String>,
}

impl Drop for Credential {
    fn drop(&mut self) {
        self.access_token.zeroize();
        self.refresh_token.zeroize();
    }
}

impl Credential {
    /// Returns how long the token may be used before it is renewed: nothing if it has to be renewed now.
    pub fn lasts(&self) -> Option<Duration> {
        let Some(end) = self.expires_at else { return Some(Duration::MAX) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Duration::from_secs(end).checked_sub(now)?.checked_sub(MARGIN).filter(|left| !left.is_zero())
    }

    /// Reads a login.
    ///
    /// # Errors
    /// Returns an error if there is none, or if it cannot be read.
    pub fn read(home: &Home, login: Login) -> Result<Self> {
        let path = place(home, login);
        let text = read_short(&path, LONGEST).with_context(|| path.display().to_string())?;
        parse_json(&path, &text)
    }

    /// Writes a login, whole or not at all.
    ///
    /// # Errors
    /// Returns an error if it cannot be written.
    pub fn write(&self, home: &Home, login: Login) -> Result<()> {
        private_dir(&home.logins())?;
        write_private(&place(home, login), &zeroize::Zeroizing::new(serde_json::to_vec(self)?))
    }
}

/// Returns the file of a login, which does not have to exist.
pub fn place(home: &Home, login: Login) -> PathBuf {
    home.logins().join(format!("{login}.json"))
}

/// Waits until nobody else renews a login. The lock ends with the returned value.
///
/// # Errors
/// Returns an error if the file of the lock cannot be opened.
pub fn lock(home: &Home, login: Login) -> Result<File> {
    private_dir(&home.logins())?;
    let path = home.logins().join(format!("{login}.lock"));
    let open = || {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        file.lock()?;
        Ok::<_, std::io::Error>(file)
    };
    open().with_context(|| path.display().to_string())
}
