//! Why an image cannot be had, and what helps.

use bottle_core::visible::Line;
use bottle_host::failure::{Failure, Kind};
use std::io::{self, ErrorKind};

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Text that is no reference.
    #[error("{0:?} is not an image's name: {1}")]
    Name(String, String),
    /// The registry's name has no address.
    #[error("the host {0} is not known")]
    UnknownHost(String),
    /// No connection can be made.
    #[error("{0} cannot be reached: {1}")]
    Unreachable(String, String),
    /// The host has no certificate that this machine trusts, or does not speak TLS.
    #[error("the connection to {0} is not secure: {1}")]
    Tls(String, String),
    /// A proxy of a kind that bottle does not speak to.
    #[error("the proxy {0} is not one that bottle can use")]
    Proxy(String),
    /// Nothing came for too long, or too little.
    #[error("{0} does not answer: {1}")]
    Stalled(String, &'static str),
    /// The connection ended too early.
    #[error("the connection to {0} broke off: {1}")]
    Broken(String, String),
    /// The registry wants credentials, or other ones.
    #[error("{host} does not give out {what} {}", if *.with_login { "to this account" } else { "without an account" })]
    Unauthorized {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
        /// Whether credentials were sent.
        with_login: bool,
    },
    /// There is no such image.
    #[error("{host} has no {}", what.trim_start_matches("the "))]
    NotFound {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
        /// What was probably meant.
        similar: Option<String>,
    },
    /// The registry has been asked too often.
    #[error("{0} has been asked too often from here{1}")]
    TooMany(String, String),
    /// The registry says that something is wrong with it, or with the request.
    #[error("{host} answered with {status}{why}")]
    Status {
        /// The registry.
        host: String,
        /// The status code.
        status: u16,
        /// What it said about it.
        why: String,
    },
    /// The registry sent something that a registry does not send.
    #[error("{host} sent what no registry sends: {why}")]
    Hostile {
        /// The registry.
        host: String,
        /// What was wrong.
        why: String,
    },
    /// The image is one that bottle cannot use.
    #[error("{0} cannot be used: {1}")]
    Unusable(String, String),
    /// A program that holds credentials failed.
    #[error("the credentials for {0} cannot be read: {1}")]
    Credentials(String, String),
    /// The store cannot be used.
    #[error("{0:#}")]
    Store(anyhow::Error),
}

/// The result of asking a registry.
pub type Result<T> = std::result::Result<T, Refusal>;

impl Refusal {
    /// Returns whether it may be otherwise the next time.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Stalled(..) | Self::Broken(..) => true,
            Self::Status { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// Makes a refusal of what a registry sent.
    pub fn hostile(host: &str, why: impl Into<String>) -> Self {
        Self::Hostile { host: host.to_owned(), why: why.into() }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Name(..) | Self::NotFound { .. } => Kind::Usage,
            Self::Store(_) => Kind::Internal,
            _ => Kind::Unavailable,
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Name(..) => "an image is named like `python:3.12-alpine` or `example.com/team/image:1`; a path starts with `./` or `/`".to_owned(),
            Self::UnknownHost(_) => "check the name in front of the first `/`, and whether this machine is online; what was fetched once needs no network".to_owned(),
            Self::Unreachable(..) => "check whether this machine is online; HTTPS_PROXY names the proxy, if it needs one".to_owned(),
            Self::Tls(..) => "if it is yours, add its authority to this machine's certificates, or name a file of them in SSL_CERT_FILE".to_owned(),
            Self::Proxy(_) => "HTTPS_PROXY takes the form http://HOST:PORT".to_owned(),
            Self::Stalled(..) | Self::Broken(..) => "try again: what has arrived is kept".to_owned(),
            Self::Unauthorized { host, with_login: false, .. } => format!("check the name, or log in: `docker login {host}` and `podman login {host}` write what bottle reads"),
            Self::Unauthorized { host, .. } => format!("check the name and the account's rights; `docker login {host}` changes the account"),
            Self::NotFound { similar: Some(similar), .. } => format!("did you mean `{similar}`?"),
            Self::NotFound { .. } => "check its name and its tag".to_owned(),
            Self::TooMany(host, _) => format!("wait, or log in: `docker login {host}` raises the limit at many registries"),
            Self::Status { status: 500.., .. } => "try again later: what has arrived is kept".to_owned(),
            Self::Status { .. } => "check the name of the image".to_owned(),
            Self::Hostile { .. } => "nothing of it was used; try another registry, or ask whoever runs this one".to_owned(),
            Self::Unusable(..) => "choose another image; `bottle images prune` removes what was fetched of this one".to_owned(),
            Self::Credentials(..) => "`docker login` and `podman login` write them anew; an empty DOCKER_CONFIG folder makes bottle ask without Docker's".to_owned(),
            Self::Store(_) => return None,
        })
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let refusal = match refusal {
            Refusal::Store(error) => return stored(error),
            refusal => refusal,
        };
        // A registry wrote parts of it.
        let failure = Self::new(refusal.kind(), Line(&refusal.to_string()).to_string());
        refusal.help().into_iter().fold(failure, Self::help)
    }
}

/// Makes a failure of an error of the store's, which says what helps if the disk is full.
fn stored(error: anyhow::Error) -> Failure {
    let is_full = |cause: &(dyn std::error::Error + 'static)| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(kind, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
    };
    if error.chain().any(is_full) {
        return Failure::from(error).help(
            "`bottle images prune` removes images that no bottle needs; `df` shows which disk is full",
        );
    }
    error.into()
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Store(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_full_disk_is_not_a_matter_for_the_doctor() {
        let full =
            Err::<(), _>(io::Error::from(rustix::io::Errno::NOSPC)).context("cannot write x").unwrap_err();
        let failure = Failure::from(Refusal::Store(full));
        assert!(failure.hint().unwrap().contains("`bottle images prune`"), "{failure}");
        assert!(failure.what().starts_with("cannot write x: "), "{failure}");
        let other = Failure::from(Refusal::from(io::Error::from(ErrorKind::PermissionDenied)));
        assert!(!other.hint().unwrap().contains("prune"), "{other}");
    }
}
