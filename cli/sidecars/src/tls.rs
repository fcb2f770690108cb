//! TLS to servers whose names this machine's certificates vouch for.

use anyhow::{Result, ensure};
use std::sync::Arc;
pub use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Reads this machine's certificates, and returns what opens connections by them. A process does this before it
/// gives up its right to read files.
///
/// # Errors
/// Returns an error if there is no certificate.
pub fn connector() -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    ensure!(!roots.is_empty(), "this machine trusts no certificates: {:?}", found.errors);
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
