//! The operator's own credentials for a registry: what `docker login` and `podman login` stored, or a helper
//! program of theirs has.

use crate::name::Name;
use crate::refusal::{Refusal, Result};
use docker_credential::{CredentialRetrievalError as Error, DockerCredential};
use std::time::Duration;

/// How long a helper program may take. It may ask a person for the password of a keyring.
const HELPER: Duration = Duration::from_secs(60);

/// Credentials for a registry.
pub enum Login {
    /// A name and a password.
    Password(String, String),
    /// A token that is exchanged for others.
    Identity(String),
}

/// Returns the credentials that are stored for an image's registry, if there are any.
///
/// # Errors
/// Returns an error if they are stored and cannot be read.
pub async fn find(name: &Name) -> Result<Option<Login>> {
    let (stored, host) = (name.stored_logins(), name.host().to_owned());
    let refuse = |why: String| Refusal::Credentials(host.clone(), why);
    // The thread of a helper that does not end is left behind. This process ends soon.
    let looking = tokio::task::spawn_blocking(move || look(&stored));
    match tokio::time::timeout(HELPER, looking).await {
        Err(_) => Err(refuse(format!("the helper program did not answer in {} s", HELPER.as_secs()))),
        Ok(Err(_)) => Err(refuse("the helper program broke off".to_owned())),
        Ok(Ok(found)) => found.map_err(|error| refuse(said(&error))),
    }
}

fn look(stored: &[String]) -> std::result::Result<Option<Login>, Error> {
    for get in [docker_credential::get_credential, docker_credential::get_podman_credential] {
        for server in stored {
            match get(server) {
                Ok(DockerCredential::UsernamePassword(name, word)) => {
                    return Ok(Some(Login::Password(name, word)));
                }
                Ok(DockerCredential::IdentityToken(token)) => return Ok(Some(Login::Identity(token))),
                Err(error) if is_none(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(None)
}

/// Returns whether an error only says that nothing is stored.
fn is_none(error: &Error) -> bool {
    match error {
        Error::NoCredentialConfigured | Error::ConfigNotFound | Error::ConfigReadError => true,
        Error::HelperFailure { stdout, stderr, .. } => {
            [stdout, stderr].iter().any(|text| text.contains("credentials not found"))
        }
        _ => false,
    }
}

/// Says what went wrong, and nothing of what a helper printed: a password may be in it.
fn said(error: &Error) -> String {
    match error {
        Error::HelperFailure { helper, .. } => format!("`{helper}` failed"),
        Error::HelperCommunicationError => "the helper program cannot be run".to_owned(),
        Error::MalformedHelperResponse => "the helper program answered with something else".to_owned(),
        other => other.to_string(),
    }
}
