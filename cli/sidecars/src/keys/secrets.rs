//! Finds the values of upstreams' headers when a bottle starts.
//!
//! They are in this process's memory and nowhere else: not in a file, a log or an argument. They are marked
//! as sensitive, so `Debug` does not show them; they are kept out of swap where that is allowed, and
//! overwritten when they are dropped.

use anyhow::{Context, Result, bail};
use base64::prelude::{BASE64_STANDARD, Engine};
use bottle_core::upstream::{Secret, SecretSource, Upstream};
use bottle_host::process::die_with_parent;
use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use rustix::process::Signal;
use secrecy::{ExposeSecret, SecretString};
use std::process::Stdio;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a command may take to print a secret. A person may have to unlock something.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the headers of an upstream, with their values.
///
/// # Errors
/// Returns an error if a value is not available. It says where the value was looked for, and never what was
/// found.
pub async fn headers(upstream: &Upstream) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, secret) in &upstream.headers {
        let value = value(secret).await.with_context(|| {
            format!("the header {name} of the upstream {}, from {}", upstream.path, secret.source)
        })?;
        headers.insert(HeaderName::from_bytes(name.as_str().as_bytes())?, value);
    }
    Ok(headers)
}

/// Returns the value of a `Proxy-Authorization` header for a secret that is `USER:PASSWORD`.
///
/// # Errors
/// Returns an error as for [`headers`].
pub async fn login(secret: &Secret) -> Result<HeaderValue> {
    let found = found(secret).await?;
    let login = Zeroizing::new(BASE64_STANDARD.encode(found.expose_secret()));
    sensitive("Basic ", &login)
}

async fn value(secret: &Secret) -> Result<HeaderValue> {
    sensitive(&secret.prefix, found(secret).await?.expose_secret())
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
    };
    let found = found.expose_secret().trim_end_matches(['\r', '\n']);
    if found.is_empty() {
        bail!("it is empty");
    }
    Ok(found.into())
}

fn sensitive(prefix: &str, found: &str) -> Result<HeaderValue> {
    // Allocated at its final size: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(prefix.len() + found.len()));
    bytes.extend_from_slice(prefix.as_bytes());
    bytes.extend_from_slice(found.as_bytes());
    keep_from_swap(&bytes);
    // The header's value, and every clone of it, shares these bytes: no other copy is made.
    let Ok(mut value) = HeaderValue::from_maybe_shared(Bytes::from_owner(bytes)) else {
        bail!("it contains a character that is not allowed in a header");
    };
    value.set_sensitive(true);
    Ok(value)
}

/// Keeps bytes out of swap if possible. A user may lock only a small amount of memory.
fn keep_from_swap(bytes: &[u8]) {
    // SAFETY: locking pages does not change their contents, and the kernel checks the range.
    #[expect(unsafe_code, reason = "no crate in use locks memory without it")]
    let _ = unsafe { rustix::mm::mlock(bytes.as_ptr().cast_mut().cast(), bytes.len()) };
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
    fn a_secret_is_in_no_error_and_in_no_debug_output() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let secret = |words: &[&str]| Secret {
            source: SecretSource::Command(words.iter().map(|word| word.parse().unwrap()).collect()),
            prefix: "Bearer ".to_owned(),
        };
        let found = runtime.block_on(value(&secret(&["printf", "s3cret\\n"]))).unwrap();
        assert_eq!(found.as_bytes(), b"Bearer s3cret");
        assert!(!format!("{found:?}").contains("s3cret"), "{found:?}");
        let error = runtime.block_on(value(&secret(&["printf", "s3c\\nret"]))).unwrap_err();
        assert!(!format!("{error:?}").contains("s3c"), "{error:?}");
    }
}
