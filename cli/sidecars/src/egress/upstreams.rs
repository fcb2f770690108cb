//! The upstreams of a bottle, and the connections to them.

use super::dial::{DialError, Dialer};
use super::open::Dialled;
use super::pool::pooled;
use crate::http::Limited;
use crate::keys::Keys;
use bottle_core::egress::{Denial, authority};
use bottle_core::upstream::Upstream;
use hyper::Uri;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioIo;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::UnixStream;

const HTTPS: u16 = 443;

/// The upstreams of a bottle, with a client for each.
pub struct Upstreams {
    pub list: Vec<Upstream>,
    /// The clients, in the order of `list`. There is one per upstream, because a connection belongs to one
    /// upstream and its key.
    pub clients: Vec<Client<Connector, Incoming>>,
}

impl Upstreams {
    /// Creates the upstreams of a plan, which `dialer` connects to. A request may be idle for so long. Without `keys`, none
    /// of them can be reached.
    pub fn new(list: Vec<Upstream>, dialer: &Dialer, idle: Duration, keys: Option<&Keys>) -> Self {
        let client = |upstream| {
            Some(pooled(Connector { upstream, dialer: dialer.clone(), idle, keys: keys?.clone() }))
        };
        let clients = (0..list.len()).filter_map(client).collect();
        Self { list, clients }
    }

    /// Returns the upstreams' paths, one per line, for an error message.
    pub fn paths(&self) -> String {
        self.list.iter().map(|upstream| format!("\n  {}", upstream.path)).collect()
    }
}

/// Dials an upstream, and hands the connection to the process that holds its key.
#[derive(Clone)]
pub struct Connector {
    upstream: usize,
    dialer: Dialer,
    idle: Duration,
    keys: Keys,
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Limited<Dialled<UnixStream>>>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let origin = uri.authority().map_or("", |authority| authority.as_str());
            let (host, port) = authority(origin, HTTPS).map_err(|_| DialError::Denied(Denial::Unreadable))?;
            let (origin, entry) = this.dialer.dial(&host, port).await?.into_parts();
            // The list's entry now belongs to the stream to that process.
            let stream = entry.on(this.keys.connect(this.upstream, origin).await?);
            Ok(TokioIo::new(Limited::idle(stream, this.idle)))
        })
    }
}
