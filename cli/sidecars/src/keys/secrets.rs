//! Finds the values of upstreams' headers.
//!
//! They are in the memory of the process that holds keys and nowhere else: not in a file, a log or an argument. They are
//! marked as sensitive, so `Debug` does not show them; they are kept out of swap where that is allowed, and
//! overwritten when they are dropped.

use super::found::{Found, Kind, value};
use anyhow::{Context, Result, bail};
use base64::prelude::{BASE64_STANDARD, Engine};
use bottle_core::upstream::{HeaderName, Secret, SecretSource, Upstream};
use bottle_host::process::die_with_parent;
use hyper::header::HeaderValue;
use rustix::process::Signal;
use secrecy::{ExposeSecret, SecretString};
use std::process::Stdio;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a command may take to print a secret. A person may have to unlock something.
const PATIENCE: Duration = Duration::from_secs(60);

/// Finds the headers of an upstream that has no login.
///
/// # Errors
/// Returns an error if a value is not available. It says where the value was looked for, and never what was
/// found.
pub async fn headers(upstream: &Upstream) -> Result<Found> {
    let mut all = Found::default();
    for (name, secret) in &upstream.headers {
        add(&mut all, name, secret).await.with_context(|| described(upstream, name, secret))?;
    }
    Ok(all)
}

/// Finds one header, and adds it to others.
pub async fn add(all: &mut Found, name: &HeaderName, secret: &Secret) -> Result<()> {
    let found = found(secret).await?;
    value(&secret.prefix, found.expose_secret())?;
    all.add(name.as_str(), &secret.prefix, found.expose_secret(), Kind::Secret);
    all.ends_in(secret.lifetime.map(|seconds| Duration::from_secs(seconds.get().into())));
    Ok(())
}

/// Says which header a secret is for, and where it is.
pub fn described(upstream: &Upstream, name: &HeaderName, secret: &Secret) -> String {
    format!("the header {name} of the upstream {}, from {}", upstream.path, secret.source)
}

/// Returns the value of a `Proxy-Authorization` header for a secret that is `USER:PASSWORD`.
///
/// # Errors
/// Returns an error as for [`headers`].
pub async fn login(secret: &Secret) -> Result<HeaderValue> {
    let found = found(secret).await?;
    value("Basic ", &Zeroizing::new(BASE64_STANDARD.encode(found.expose_secret())))
}

/// Returns the secret's own text, without the end of its line.
async fn found(secret: &Secret) -> Result<SecretString> {
    let found: SecretString = match &secret.source {
        SecretSource::Env(name) => std::env::var(name.as_str()).ok().context("it is not set")?.into(),
        SecretSource::File(path) => std::fs::read_to_string(path)?.into(),
        SecretSource::Command(words) => {
            let words: Vec<&str> = words.iter().map(bottle_core::text::Word::as_str).collect();
            printed_by(&words).await?
        }
        SecretSource::Login(_) => bail!("a login cannot be used here"),
    };
    let found = found.expose_secret().trim_end_matches(['\r', '\n']);
    if found.is_empty() {
        bail!("it is empty");
    }
    Ok(found.into())
}

async fn printed_by(words: &[&str]) -> Result<SecretString> {
    let [program, arguments @ ..] = words else { bail!("the command is empty") };
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.kill_on_drop(true);
    die_with_parent(command.as_std_mut(), Signal::KILL);
    let ended = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = ended.ok().with_context(|| format!("it took more than {} s", PATIENCE.as_secs()))??;
    if !output.status.success() {
        bail!("it ended with {}", output.status);
    }
    let printed = Zeroizing::new(output.stdout);
    Ok(std::str::from_utf8(&printed).ok().context("it is not text")?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_in_no_error() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let printed = |words: &[&str]| {
            let words = words.iter().map(|word| word.parse().unwrap()).collect();
            let secret = Secret::new(SecretSource::Command(words), "Bearer ");
            let mut all = Found::default();
            let name = "authorization".parse().unwrap();
            runtime.block_on(add(&mut all, &name, &secret)).map(|()| all.secrets().collect::<Vec<_>>())
        };
        assert_eq!(printed(&["printf", "s3cret\\n"]).unwrap(), [b"s3cret"]);
        let error = printed(&["printf", "s3c\\nret"]).unwrap_err();
        assert!(!format!("{error:?}").contains("s3c"), "{error:?}");
    }
}
