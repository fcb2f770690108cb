//! What the process that holds the keys knows.

use super::logins::Logins;
use super::passed::Secrets;
use super::secrets;
use crate::tls;
use anyhow::Result;
use bottle_core::plan::Plan;
use bottle_core::upstream::Upstream;
use hyper::header::HeaderMap;
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// The upstreams and their keys, and the parent proxy with its login.
pub struct KeyHolder {
    pub upstreams: Vec<Upstream>,
    /// The headers with the keys, in the order of the upstreams.
    pub headers: Vec<HeaderMap>,
    /// The parent proxies.
    pub logins: Logins,
    /// Every key, without its header's prefix.
    pub keys: Secrets,
    pub tls: TlsConnector,
}

impl KeyHolder {
    /// Finds every key of a plan.
    pub async fn find(plan: Plan) -> Result<Self> {
        let (mut headers, mut keys) = (Vec::new(), Zeroizing::new(Vec::new()));
        for upstream in &plan.upstreams {
            let found = secrets::headers(upstream).await?;
            keys.extend(upstream.headers.iter().filter_map(|(name, secret)| {
                let value = found.get(name.as_str())?.as_bytes();
                Some(value.strip_prefix(secret.prefix.as_bytes()).unwrap_or(value).to_vec())
            }));
            headers.push(found);
        }
        let logins = Logins::find(plan.parent.as_ref()).await?;
        let (keys, tls) = (Arc::new(keys), tls::connector()?);
        Ok(Self { upstreams: plan.upstreams, headers, logins, keys, tls })
    }
}
