//! The operator's own credentials for a registry: what `docker login` and `podman login` stored, or a helper
//! program of theirs has.

mod file;
mod login;

pub use login::Login;

use crate::name::Name;
use crate::refusal::{Refusal, Result};
use docker_credential::{CredentialRetrievalError as Error, DockerCredential};
use file::Stored;
use serde_json::json;
use std::env;
use std::path::PathBuf;
use std::time::Duration;

/// How long a helper program may take. It may ask a person for the password of a keyring.
const HELPER: Duration = Duration::from_secs(60);

/// Returns the credentials that are stored for an image's registry, if there are any.
///
/// # Errors
/// Returns an error if they are stored and cannot be read.
pub async fn find(name: &Name) -> Result<Option<Login>> {
    let (keys, servers, host) = (name.login_keys(), name.stored_logins(), name.host().to_owned());
    let refuse = |why: String| Refusal::Credentials(host.clone(), why);
    // The thread of a helper that does not end is left behind. This process ends soon.
    let looking = tokio::task::spawn_blocking(move || look(&keys, &servers));
    match tokio::time::timeout(HELPER, looking).await {
        Err(_) => Err(refuse(format!("the helper program did not answer in {} s", HELPER.as_secs()))),
        Ok(Err(_)) => Err(refuse("the helper program broke off".to_owned())),
        Ok(Ok(found)) => found.map_err(refuse),
    }
}

/// Looks into Docker's file, and then into Podman's: for a helper program of this registry, a stored login, and a
/// helper program of all registries. `keys` are the places of a login, and `servers` what helpers know it as.
fn look(keys: &[String], servers: &[String]) -> std::result::Result<Option<Login>, String> {
    for path in files() {
        let Some(stored) = Stored::read(&path)? else { continue };
        for server in servers {
            if let Some(helper) = stored.helper(server)
                && let Some(login) = ask(helper, server)?
            {
                return Ok(Some(login));
            }
        }
        if let Some(login) = stored.login(keys).map_err(|why| format!("{}: {why}", path.display()))? {
            return Ok(Some(login));
        }
        for server in servers {
            if let Some(helper) = stored.helper_of_all()
                && let Some(login) = ask(helper, server)?
            {
                return Ok(Some(login));
            }
        }
    }
    Ok(None)
}

/// Returns the files that may have logins, Docker's first.
fn files() -> Vec<PathBuf> {
    let folder = |name: &str| env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = |below: &str| folder("HOME").map(|home| home.join(below));
    let docker = folder("DOCKER_CONFIG").or_else(|| home(".docker")).map(|folder| folder.join("config.json"));
    let podman = match folder("REGISTRY_AUTH_FILE") {
        Some(file) => vec![file],
        None => [folder("XDG_RUNTIME_DIR"), folder("XDG_CONFIG_HOME").or_else(|| home(".config"))]
            .into_iter()
            .flatten()
            .map(|folder| folder.join("containers/auth.json"))
            .collect(),
    };
    docker.into_iter().chain(podman).collect()
}

/// Asks a helper program for the login of a server.
fn ask(helper: &str, server: &str) -> std::result::Result<Option<Login>, String> {
    let config = json!({ "credHelpers": { server: helper } }).to_string();
    match docker_credential::get_credential_from_reader(config.as_bytes(), server) {
        Ok(DockerCredential::UsernamePassword(name, word)) => Ok(Some(Login::Password(name, word))),
        Ok(DockerCredential::IdentityToken(token)) => Ok(Some(Login::Identity(token))),
        Err(error) if is_none(&error) => Ok(None),
        Err(error) => Err(said(&error)),
    }
}

/// Returns whether an error only says that nothing is stored.
fn is_none(error: &Error) -> bool {
    match error {
        Error::NoCredentialConfigured => true,
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
