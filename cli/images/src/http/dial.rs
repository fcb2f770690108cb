//! Connections: straight to a host, or through the proxy that this machine's environment names.

use crate::name::is_loopback;
use bottle_host::proxies::{Proxies, Proxy};
use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiAddrs, GaiResolver, Name};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tower_service::Service;

type BoxError = Box<dyn Error + Send + Sync>;
type BoxFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// Opens connections.
#[derive(Clone)]
pub struct Dial {
    straight: HttpConnector<Resolver>,
    proxies: Arc<Proxies>,
}

/// A name has no address.
#[derive(Debug, thiserror::Error)]
#[error("the name has no address")]
pub struct UnknownHost(#[source] std::io::Error);

/// Looks names up as every program of this machine does.
#[derive(Clone)]
struct Resolver(GaiResolver);

impl Dial {
    /// Reads the environment.
    pub fn new(limit: Duration) -> Self {
        let mut straight = HttpConnector::new_with_resolver(Resolver(GaiResolver::new()));
        // TLS is added above.
        straight.enforce_http(false);
        straight.set_connect_timeout(Some(limit));
        Self { straight, proxies: Arc::new(Proxies::from_environment()) }
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response, BoxError>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.straight.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        // No proxy reaches this machine's own loopback, and nothing else is asked without TLS.
        let is_here = to.scheme_str() != Some("https") || to.host().is_some_and(is_loopback);
        let proxy = if is_here { Ok(None) } else { self.proxies.proxy(&to) };
        let Proxy { uri, login } = match proxy {
            Ok(Some(proxy)) => proxy,
            Ok(None) => {
                let opened = self.straight.call(to);
                return Box::pin(async move { opened.await.map_err(Into::into) });
            }
            Err(unusable) => return Box::pin(async move { Err(unusable.into()) }),
        };
        let mut tunnel = Tunnel::new(uri, self.straight.clone());
        if let Some(login) = login {
            tunnel = tunnel.with_auth(login);
        }
        let opened = tunnel.call(to);
        Box::pin(async move { opened.await.map_err(Into::into) })
    }
}

impl Service<Name> for Resolver {
    type Response = GaiAddrs;
    type Error = UnknownHost;
    type Future = BoxFuture<GaiAddrs, UnknownHost>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), UnknownHost>> {
        self.0.poll_ready(context).map_err(UnknownHost)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let found = self.0.call(name);
        Box::pin(async move { found.await.map_err(UnknownHost) })
    }
}
