//! Checks, before anything starts, whether the keys of upstreams are available.

use super::found::{Found, value};
use super::login::Credential;
use super::secrets;
use anyhow::{Context, Result, bail, ensure};
use bottle_core::parent::{Parent, ParentLogin};
use bottle_core::upstream::{Secret, SecretSource, Upstream};
use bottle_host::state::Home;
use bottle_host::tools::in_path;
use rustix::fs::{Mode, OFlags, open};
use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use zeroize::Zeroizing;

/// Checks that every key can be looked for: its variable is set, its file can be read, or its program exists.
/// No program is run, and no key is read.
///
/// # Errors
/// Returns an error for the first missing key, and says where it was looked for.
pub fn check(upstreams: &[Upstream]) -> Result<()> {
    for upstream in upstreams {
        for (name, secret) in &upstream.headers {
            look_for(secret).with_context(|| secrets::described(upstream, name, secret))?;
        }
    }
    Ok(())
}

/// Checks the same for the logins of a parent proxy.
///
/// # Errors
/// Returns an error for the first missing login, and says where it was looked for.
pub fn check_logins(parent: &Parent) -> Result<()> {
    for (_, proxy) in parent.proxies() {
        if let Some(ParentLogin::Secret(secret)) = &proxy.login {
            look_for(secret).with_context(|| {
                format!("the login of the parent proxy {}, from {}", proxy.address, secret.source)
            })?;
        }
    }
    Ok(())
}

/// Finds every key that a command prints, as a start would, and forgets it. What runs is stopped only if this succeeds.
///
/// # Errors
/// Returns an error for the first command that fails or prints no key, and says which it is.
pub fn rehearse(upstreams: &[Upstream]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for upstream in upstreams {
        for (name, secret) in &upstream.headers {
            if matches!(secret.source, SecretSource::Command(_)) {
                runtime
                    .block_on(secrets::add(&mut Found::default(), name, secret))
                    .with_context(|| secrets::described(upstream, name, secret))?;
            }
        }
    }
    Ok(())
}

fn look_for(secret: &Secret) -> Result<()> {
    match &secret.source {
        SecretSource::Env(name) => match std::env::var_os(name.as_str()).map(OsString::into_string) {
            None => bail!("it is not set"),
            Some(Err(_)) => bail!("it is not text"),
            Some(Ok(found)) => {
                let found = Zeroizing::new(found);
                let found = found.trim_end_matches(['\r', '\n']);
                ensure!(!found.trim().is_empty(), "it is empty");
                value(&secret.prefix, found)?;
            }
        },
        SecretSource::File(path) => {
            // Opening a pipe without a writer would block.
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = File::from(open(path.as_str(), flags, Mode::empty()).map_err(std::io::Error::from)?);
            let meta = file.metadata()?;
            ensure!(!meta.is_dir(), "it is a folder");
            ensure!(!meta.is_file() || meta.len() > 0, "it is empty");
        }
        SecretSource::Login(login) => {
            let there = Credential::read(&Home::find()?, *login);
            there.with_context(|| {
                format!("`bottle login {login}` takes it over from the vendor's own program")
            })?;
        }
        SecretSource::Command(words) => {
            let program = words.first().context("the command is empty")?.as_str();
            let found =
                if program.contains('/') { Path::new(program).exists() } else { in_path(program).is_some() };
            ensure!(found, "{program} does not exist");
        }
    }
    Ok(())
}
