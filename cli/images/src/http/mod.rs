//! HTTP as registries speak it: HTTPS by this machine's certificates, through its proxy, with limits on time and
//! on length.

mod body;
mod demand;
mod dial;

pub use body::Body;
pub use demand::Demand;

use crate::limits::{Limits, REDIRECTS};
use crate::location::{follow, is_same_origin};
use crate::refusal::{Refusal, Result};
use bottle_host::proxies::UnusableProxy;
use bytes::Bytes;
use dial::{Dial, UnknownHost};
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, LOCATION, RETRY_AFTER};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use std::error::Error;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tower_service::Service;

/// How long a server on loopback may take to show that it speaks TLS.
const HANDSHAKE: Duration = Duration::from_secs(2);

/// A client for one pull.
pub struct Client {
    client: legacy::Client<HttpsConnector<Dial>, Full<Bytes>>,
    connector: HttpsConnector<Dial>,
    limits: Limits,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Ask {
    /// `GET`, or `POST` with a body.
    pub method: Method,
    /// The headers besides the host's name.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// The head of a response, with the body to come.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers, without those that ask for credentials: see [`Answer::demand`].
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
    /// The address that answered, after all redirects.
    from: Uri,
    demand: Demand,
}

impl Client {
    /// Makes a client that trusts what this machine trusts.
    ///
    /// # Errors
    /// Returns an error if TLS cannot be set up.
    pub fn new(limits: Limits) -> Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        // A certificate that cannot be read vouches for nobody.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Refusal::Store(error.into()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(Dial::new(limits.connect));
        let client = legacy::Client::builder(TokioExecutor::new()).build(connector.clone());
        Ok(Self { client, connector, limits })
    }

    /// Returns whether a server on loopback speaks TLS. Nothing is asked of it.
    ///
    /// # Errors
    /// Returns [`Refusal::Tls`] if it does, and this machine does not trust it.
    pub async fn speaks_tls(&self, host: &str) -> Result<bool> {
        let Ok(uri) = format!("https://{host}/").parse::<Uri>() else { return Ok(false) };
        let mut connector = self.connector.clone();
        let opened = async {
            poll_fn(|context| connector.poll_ready(context)).await?;
            connector.call(uri).await
        };
        let error = match timeout(self.limits.connect.min(HANDSHAKE), opened).await {
            Ok(Ok(_)) => return Ok(true),
            Ok(Err(error)) => error,
            Err(_) => return Ok(false),
        };
        match causes(&*error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
            Some(tls @ (rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_))) => {
                Err(Refusal::Tls(host.to_owned(), tls.to_string()))
            }
            _ => Ok(false),
        }
    }

    /// Asks, and follows redirects. Credentials do not follow to another origin.
    ///
    /// # Errors
    /// Returns an error if there is no answer, or if it leads out of HTTPS.
    pub async fn ask(&self, mut uri: Uri, mut ask: Ask) -> Result<Answer> {
        for _ in 0..=REDIRECTS {
            let host = authority(&uri);
            let answer = self.once(&uri, &ask).await?;
            let is_redirect = matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308);
            if !is_redirect || ask.method != Method::GET {
                return Ok(answer);
            }
            let location =
                answer.headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let to = follow(&uri, location).map_err(|why| Refusal::hostile(&host, why))?;
            if !is_same_origin(&uri, &to) {
                ask.headers.remove(AUTHORIZATION);
            }
            uri = to;
        }
        Err(Refusal::hostile(&authority(&uri), format!("more than {REDIRECTS} redirects")))
    }

    async fn once(&self, uri: &Uri, ask: &Ask) -> Result<Answer> {
        let host = authority(uri);
        let mut request = Request::new(Full::new(ask.body.clone()));
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = ask.headers.clone();
        request.headers_mut().remove(HOST);
        let sent = timeout(self.limits.head, self.client.request(request)).await;
        let response = match sent {
            Err(_) => return Err(Refusal::Stalled(host, "it accepted the request, and said nothing")),
            Ok(Err(error)) => return Err(unanswered(host, &error)),
            Ok(Ok(response)) => response,
        };
        let (mut head, body) = response.into_parts();
        let demand = Demand::take(&mut head.headers);
        let body = Body::new(body, host, self.limits);
        Ok(Answer { status: head.status, headers: head.headers, body, from: uri.clone(), demand })
    }
}

impl Answer {
    /// Returns what is wanted before the request is answered, if this is said by the origin of `asked` itself.
    /// A host to which that one redirected has no say in where credentials go.
    pub fn demand(&self, asked: &Uri) -> Option<Demand> {
        (self.status == StatusCode::UNAUTHORIZED && self.is_from(asked)).then(|| self.demand.clone())
    }

    /// Returns whether the origin of an address answered, and not one to which it redirected.
    pub fn is_from(&self, asked: &Uri) -> bool {
        is_same_origin(&self.from, asked)
    }

    /// Returns the host and port that answered.
    pub fn host(&self) -> String {
        authority(&self.from)
    }

    /// Returns how long the host asks to be left alone, as the end of a sentence.
    pub fn retry_after(&self) -> String {
        let seconds = self.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let seconds = seconds.and_then(|value| value.parse::<u32>().ok());
        seconds.map_or_else(String::new, |seconds| format!("; it asks to wait for {seconds} s"))
    }
}

/// Returns the host and port of an address.
pub fn authority(uri: &Uri) -> String {
    uri.authority().map(ToString::to_string).unwrap_or_default()
}

/// Finds out why a request has no answer.
fn unanswered(host: String, error: &legacy::Error) -> Refusal {
    let mut last = String::new();
    for this in causes(error) {
        if this.is::<UnknownHost>() {
            return Refusal::UnknownHost(host);
        }
        if let Some(proxy) = this.downcast_ref::<UnusableProxy>() {
            return Refusal::Proxy(proxy.shown.clone());
        }
        if let Some(tls) = this.downcast_ref::<rustls::Error>() {
            return Refusal::Tls(host, tls.to_string());
        }
        last = this.to_string();
    }
    if error.is_connect() { Refusal::Unreachable(host, last) } else { Refusal::Broken(host, last) }
}

/// Returns an error, its cause, the cause of that, and so on.
fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // What an error of I/O holds is not its source, but the same error.
        let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        held.map(|held| held as &(dyn Error + 'static)).or_else(|| error.source())
    })
}
