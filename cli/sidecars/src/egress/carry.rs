//! Connections for requests that the egress proxy passes on itself, rather than the bytes of a tunnel.

use super::dial::{DialError, Dialer};
use crate::http::{AtOnce, Limited};
use bottle_core::egress::{Denial, authority};
use hyper::Uri;
use hyper::http::uri::Scheme;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// How long a server may take to prove its identity.
const HANDSHAKE: Duration = Duration::from_secs(15);
const HTTP: u16 = 80;
const HTTPS: u16 = 443;

/// Opens connections for requests in absolute form: straight to a host, over TLS to one, or to a parent proxy.
#[derive(Clone)]
pub struct Carrier {
    dialer: Dialer,
    tls: Option<TlsConnector>,
    idle: Duration,
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A connection for requests.
pub struct Carried {
    stream: Box<dyn Duplex>,
    /// Whether a proxy is at its other end, which wants the whole address in each request.
    to_proxy: bool,
}

impl Carrier {
    /// Creates a carrier, whose connections may be idle for so long during a request. Without `tls`, no server can prove
    /// its identity.
    pub fn new(dialer: Dialer, tls: Option<TlsConnector>, idle: Duration) -> Self {
        Self { dialer, tls, idle }
    }

    async fn open(&self, uri: &Uri) -> Result<Carried, Box<dyn std::error::Error + Send + Sync>> {
        let text = uri.authority().map_or("", |authority| authority.as_str());
        let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
        let (host, port) = authority(text, if is_tls { HTTPS } else { HTTP })
            .map_err(|_| DialError::Denied(Denial::Unreadable))?;
        if is_tls {
            let tls = self.tls.as_ref().ok_or("this machine trusts no certificates")?;
            let name = ServerName::try_from(host.as_str().to_owned())?;
            let stream = self.dialer.dial(&host, port).await?;
            let shaken = tokio::time::timeout(HANDSHAKE, tls.connect(name, stream)).await;
            let stream = shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            return Ok(self.carried(AtOnce(stream), false));
        }
        if let Some(stream) = self.dialer.dial_parent(&host, port).await? {
            return Ok(self.carried(stream, true));
        }
        Ok(self.carried(self.dialer.dial_straight(&host, port).await?, false))
    }

    fn carried(&self, stream: impl Duplex + 'static, to_proxy: bool) -> Carried {
        Carried { stream: Box::new(Limited::idle(stream, self.idle)), to_proxy }
    }
}

impl tower_service::Service<Uri> for Carrier {
    type Response = TokioIo<Carried>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let carrier = self.clone();
        Box::pin(async move { Ok(TokioIo::new(carrier.open(&uri).await?)) })
    }
}

impl Connection for Carried {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.to_proxy)
    }
}

impl AsyncRead for Carried {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Carried {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
