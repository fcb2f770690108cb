//! The way through a parent proxy: this process connects to it, and the process that has its login talks to it.

use super::race;
use crate::keys::Keys;
use bottle_core::egress::HostName;
use bottle_core::parent::{Parent, ParentUse};
use bottle_host::proxies::{Proxies, Proxy};
use hyper::Uri;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};

/// How long the name of a parent proxy may take to resolve.
const RESOLVE_LIMIT: Duration = Duration::from_secs(10);

/// The way through a parent proxy.
#[derive(Clone)]
pub struct ParentWay {
    proxies: Arc<Proxies>,
    keys: Option<Keys>,
}

/// Why the parent proxy does not lead to a host.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoWay(String);

impl ParentWay {
    /// Returns the way through this parent proxy, to which `keys` talks.
    pub fn new(parent: &Parent, keys: Option<Keys>) -> Self {
        Self { proxies: Arc::new(Proxies::of(parent)), keys }
    }

    /// Returns the proxy that leads to a host, if one does.
    pub fn proxy(&self, of: ParentUse, host: &HostName) -> Result<Option<Proxy>, NoWay> {
        let scheme = match of {
            ParentUse::Tunnel => "https",
            ParentUse::Plain => "http",
        };
        let to: Uri =
            format!("{scheme}://{host}/").parse().map_err(|_| NoWay(format!("{host} is no host")))?;
        self.proxies.proxy(&to).map_err(|unusable| NoWay(unusable.to_string()))
    }

    /// Opens a tunnel to a host.
    pub async fn tunnel(&self, proxy: &Proxy, host: &HostName, port: u16) -> Result<TcpStream, NoWay> {
        let connection = connect(proxy).await?;
        self.keys()?.tunnel(host, port, connection).await.map_err(|error| NoWay(error.to_string()))
    }

    /// Opens a connection for requests in plain HTTP.
    pub async fn plain(&self, proxy: &Proxy) -> Result<UnixStream, NoWay> {
        let connection = connect(proxy).await?;
        self.keys()?.plain(connection).await.map_err(|error| NoWay(error.to_string()))
    }

    fn keys(&self) -> Result<&Keys, NoWay> {
        self.keys.as_ref().ok_or_else(|| NoWay("nothing talks to the parent proxy".to_owned()))
    }
}

/// Connects to a proxy. The operator named it, so it may have any address.
async fn connect(proxy: &Proxy) -> Result<TcpStream, NoWay> {
    let address = proxy.address();
    let looked_up = tokio::time::timeout(RESOLVE_LIMIT, tokio::net::lookup_host(address.clone())).await;
    let found = match looked_up {
        Ok(Ok(found)) => found.collect(),
        _ => return Err(NoWay(format!("the name of the parent proxy {address} does not resolve"))),
    };
    let connected = race::connect(found).await;
    connected.map_err(|error| NoWay(format!("the parent proxy {address} does not answer: {error}")))
}
