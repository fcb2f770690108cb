//! The token endpoints of vendors (RFC 6749, 6: refreshing an access token).

use super::credential::Credential;
use super::vendor::end_of;
use crate::keys::logins::Logins;
use crate::keys::parent;
use crate::tls::TlsConnector;
use anyhow::{Context, Result, bail};
use bottle_core::parent::{Parent, ParentUse};
use bottle_core::upstream::Login;
use bottle_host::proxies::Proxies;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, Uri, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;

/// How long a token endpoint may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest answer of one, in bytes.
const LONGEST: usize = 256 << 10;
const HTTPS: u16 = 443;

/// The way to token endpoints.
pub struct TokenService {
    tls: TlsConnector,
    proxies: Option<Proxies>,
    logins: Logins,
}

impl TokenService {
    /// Prepares the way, through the parent proxy if there is one.
    ///
    /// # Errors
    /// Returns an error if this machine trusts no certificates, or if a login of the parent proxy is missing.
    pub async fn new(parent: Option<&Parent>) -> Result<Self> {
        let (tls, logins) = (crate::tls::connector()?, Logins::find(parent).await?);
        Ok(Self { tls, proxies: parent.map(Proxies::of), logins })
    }

    /// Exchanges a login's refresh token for new tokens.
    ///
    /// # Errors
    /// Returns an error that has nothing of the tokens in it, if the endpoint does not answer or gives none.
    pub async fn renew(&self, login: Login, known: &Credential) -> Result<Credential> {
        let renewed = tokio::time::timeout(PATIENCE, self.ask(login, known)).await;
        let what = || {
            format!(
                "{} does not renew the login: `bottle login {login}` takes it over again",
                login.terms().host
            )
        };
        renewed
            .map_err(|_| anyhow::anyhow!("it took more than {} s", PATIENCE.as_secs()))
            .flatten()
            .with_context(what)
    }

    async fn ask(&self, login: Login, known: &Credential) -> Result<Credential> {
        let terms = login.terms();
        let mut body = json!({
            "grant_type": "refresh_token",
            "refresh_token": known.refresh_token,
            "client_id": terms.client,
        });
        if let Some(scope) = terms.scope {
            body["scope"] = scope.into();
        }
        let request = Request::post(terms.path)
            .header(header::HOST, terms.host)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .body(Full::new(Bytes::from(body.to_string())))?;
        let stream =
            self.tls.connect(ServerName::try_from(terms.host)?, self.connect(terms.host).await?).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let answer = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LONGEST).collect().await;
            Ok::<_, anyhow::Error>((status, body.map_err(|error| anyhow::anyhow!(error))?.to_bytes()))
        };
        let mut connection = std::pin::pin!(connection);
        let mut answer = std::pin::pin!(answer);
        let (status, body) = tokio::select! {
            answered = &mut answer => answered?,
            // What arrived before the end may be the whole answer.
            _ = &mut connection => answer.await?,
        };
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        if !status.is_success() {
            // RFC 6749, 5.2: a word of a fixed set. Nothing else of the answer is repeated.
            let word = said["error"]
                .as_str()
                .filter(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
            bail!("it answered {status}{}", word.map(|word| format!(" ({word})")).unwrap_or_default());
        }
        let token =
            said["access_token"].as_str().filter(|token| !token.is_empty()).context("it gave no token")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let expires_at = said["expires_in"].as_u64().map(|seconds| now.saturating_add(seconds));
        Ok(Credential {
            access_token: token.to_owned(),
            // An endpoint that gives no new one means the old one to go on.
            refresh_token: said["refresh_token"].as_str().unwrap_or(&known.refresh_token).to_owned(),
            expires_at: expires_at.or_else(|| end_of(token)),
            account: known.account.clone(),
        })
    }

    async fn connect(&self, host: &str) -> Result<TcpStream> {
        let to: Uri = format!("https://{host}/").parse()?;
        let proxy = match &self.proxies {
            Some(proxies) => proxies.proxy(&to)?,
            None => None,
        };
        let Some(proxy) = proxy else { return Ok(TcpStream::connect((host, HTTPS)).await?) };
        let mut stream =
            TcpStream::connect(proxy.address()).await.context("the parent proxy does not answer")?;
        let known = self.logins.at(ParentUse::Tunnel, &stream).map_err(anyhow::Error::msg)?;
        parent::open(known, &host.parse()?, HTTPS, &mut stream).await.map_err(anyhow::Error::msg)?;
        Ok(stream)
    }
}
