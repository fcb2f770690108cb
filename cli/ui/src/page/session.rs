//! The secrets of a page: links that work once, and the cookie that they are exchanged for.

use anyhow::Result;
use bottle_host::random;
use sha2::{Digest, Sha256};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a link can be used.
const LINK: Duration = Duration::from_secs(600);
/// How many random bytes a secret has.
const SECRET: usize = 24;
/// How many links can be open at a time.
const LINKS: usize = 8;

/// The secrets of a page.
#[derive(Debug)]
pub struct Session {
    /// The first part of the page's path. Browsers send a cookie to every port of a host, and this keeps it
    /// from the other ones: it is sent to this path only.
    folder: String,
    cookie: String,
    links: Mutex<Vec<(String, Instant)>>,
}

impl Session {
    /// Creates secrets that nobody knows.
    ///
    /// # Errors
    /// Returns an error if this machine has no random bytes.
    pub fn new() -> Result<Self> {
        Ok(Self {
            folder: random::hex::<SECRET>()?,
            cookie: random::hex::<SECRET>()?,
            links: Mutex::default(),
        })
    }

    /// Returns the path below which everything is served.
    pub fn folder(&self) -> String {
        format!("/{}/", self.folder)
    }

    /// Returns the path of a new link, which works once.
    ///
    /// # Errors
    /// Returns an error if this machine has no random bytes.
    pub fn link(&self) -> Result<String> {
        let token = random::hex::<SECRET>()?;
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if links.len() == LINKS {
            links.remove(0);
        }
        links.push((token.clone(), Instant::now()));
        Ok(format!("/open?token={token}"))
    }

    /// Uses up a link, and returns whether it was one.
    pub fn redeem(&self, token: &str) -> bool {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|(_, since)| since.elapsed() < LINK);
        let found = links.iter().position(|(known, _)| is_same(known, token));
        found.map(|at| links.remove(at)).is_some()
    }

    /// Returns the header that gives a browser the cookie.
    pub fn set_cookie(&self, port: u16) -> String {
        format!("{}={}; Path={}; HttpOnly; SameSite=Strict", name(port), self.cookie, self.folder())
    }

    /// Returns whether a `Cookie` header has the cookie. Another port's page may have set one of the same name.
    pub fn is_in(&self, header: &str, port: u16) -> bool {
        let wanted = name(port);
        let pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.into_iter().any(|(name, value)| name == wanted && is_same(value, &self.cookie))
    }
}

fn name(port: u16) -> String {
    format!("bottle-{port}")
}

/// Compares secrets without telling by the time how much of them is right.
fn is_same(known: &str, given: &str) -> bool {
    Sha256::digest(known) == Sha256::digest(given)
}
