//! The headers that a request to an upstream gets, found on this machine.

use anyhow::{Result, bail};
use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use zeroize::{Zeroize, Zeroizing};

/// Headers with their values, as one process tells another. They are not shown, and overwritten when they are dropped.
#[derive(Default, Serialize, Deserialize)]
pub struct Found {
    parts: Vec<Part>,
    /// How long they may be used. Without an end, they are used until an origin refuses one.
    pub lasts: Option<Duration>,
}

#[derive(Serialize, Deserialize)]
struct Part {
    name: String,
    prefix: String,
    value: String,
    kind: Kind,
}

/// What a header is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A secret, in place of the guest's own header.
    Secret,
    /// No secret, in place of the guest's own header.
    Plain,
    /// No secret, and added to the guest's own header.
    Added,
}

impl Drop for Part {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

impl Found {
    /// Adds a header.
    pub fn add(&mut self, name: &str, prefix: &str, value: &str, kind: Kind) {
        let (name, prefix, value) = (name.to_owned(), prefix.to_owned(), value.to_owned());
        self.parts.push(Part { name, prefix, value, kind });
    }

    /// Notes that one of them ends then.
    pub fn ends_in(&mut self, lasts: Option<Duration>) {
        self.lasts = [self.lasts, lasts].into_iter().flatten().min();
    }

    /// Returns the secrets without their prefixes.
    pub fn secrets(&self) -> impl Iterator<Item = Vec<u8>> {
        let secrets = self.parts.iter().filter(|part| part.kind == Kind::Secret);
        secrets.map(|part| part.value.as_bytes().to_vec())
    }

    /// Returns the headers for requests.
    ///
    /// # Errors
    /// Returns an error if a value is empty or none that a header can have. It shows nothing of it.
    pub fn headers(&self) -> Result<Headers> {
        let header = |part: &Part| {
            Ok((HeaderName::from_bytes(part.name.as_bytes())?, value(&part.prefix, &part.value)?, part.kind))
        };
        self.parts.iter().map(header).collect::<Result<_>>().map(Headers)
    }
}

/// Headers to put into requests.
#[derive(Clone, Default)]
pub struct Headers(Vec<(HeaderName, HeaderValue, Kind)>);

impl Headers {
    /// Puts them into a request's headers.
    pub fn put(&self, into: &mut HeaderMap) {
        for (name, value, kind) in &self.0 {
            let theirs: Vec<&[u8]> = into.get_all(name).iter().map(HeaderValue::as_bytes).collect();
            let value = if *kind == Kind::Added && !theirs.is_empty() {
                let all = [theirs.join(&b","[..]).as_slice(), b",", value.as_bytes()].concat();
                HeaderValue::from_bytes(&all).unwrap_or_else(|_| value.clone())
            } else {
                value.clone()
            };
            into.insert(name, value);
        }
    }
}

/// Returns a header's value that is marked as sensitive, and has no copy.
///
/// # Errors
/// Returns an error if it is empty or none that a header can have.
pub fn value(prefix: &str, found: &str) -> Result<HeaderValue> {
    if found.is_empty() {
        bail!("it is empty");
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_replaces_the_guests_or_is_added_to_it() {
        let mut found = Found::default();
        found.add("authorization", "Bearer ", "s3cret-token", Kind::Secret);
        found.add("beta", "", "ours", Kind::Added);
        found.add("account", "", "acc", Kind::Plain);
        let headers = found.headers().unwrap();
        let put = |theirs: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in theirs {
                map.append(*name, HeaderValue::from_static(value));
            }
            headers.put(&mut map);
            ["authorization", "beta", "account"].map(|name| map[name].to_str().unwrap().to_owned())
        };
        assert_eq!(put(&[]), ["Bearer s3cret-token", "ours", "acc"]);
        let theirs = [("authorization", "x"), ("beta", "a"), ("beta", "b"), ("account", "y")];
        assert_eq!(put(&theirs), ["Bearer s3cret-token", "a,b,ours", "acc"]);
        assert_eq!(found.secrets().collect::<Vec<_>>(), [b"s3cret-token"]);
        assert!(!format!("{:?}", headers.0[0].1).contains("s3cret"));
    }
}
