//! The logins of the parent proxies.

use super::passed::Secrets;
use super::secrets;
use anyhow::{Context, Result};
use bottle_core::parent::{Parent, ParentLogin, ParentProxy, ParentUse};
use bottle_host::proxies;
use hyper::header::HeaderValue;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use zeroize::Zeroizing;

/// The parent proxies, with their logins.
pub struct Logins {
    each: BTreeMap<ParentUse, Known>,
    /// What no response may contain.
    pub secrets: Secrets,
}

/// A parent proxy.
pub struct Known {
    /// Its host and port.
    pub address: String,
    /// The value of its `Proxy-Authorization` header.
    pub login: Option<HeaderValue>,
    /// Where it was found when the bottle started. A login is sent nowhere else: a keeper that was taken over
    /// could hand over a connection to any other place.
    places: Vec<SocketAddr>,
}

impl Logins {
    /// Finds the logins of a parent, and its addresses.
    pub async fn find(parent: Option<&Parent>) -> Result<Self> {
        let (mut each, mut secrets) = (BTreeMap::new(), Zeroizing::new(Vec::new()));
        for (of, proxy) in parent.iter().flat_map(|parent| parent.proxies()) {
            let login = login(proxy).await.with_context(|| format!("the parent proxy {proxy}"))?;
            let mut places = Vec::new();
            if let Some(login) = &login {
                secrets.push(login.as_bytes().strip_prefix(b"Basic ").unwrap_or_default().to_vec());
                // If it has no address now, requests will say so.
                places.extend(tokio::net::lookup_host(&proxy.address).await.into_iter().flatten());
            }
            each.insert(of, Known { address: proxy.address.clone(), login, places });
        }
        Ok(Self { each, secrets: Arc::new(secrets) })
    }

    /// Returns the proxy for a use.
    pub fn of(&self, of: ParentUse) -> Option<&Known> {
        self.each.get(&of)
    }

    /// Returns the proxy for a use, if this connection leads to it.
    ///
    /// # Errors
    /// Returns why nothing may be sent there.
    pub fn at(&self, of: ParentUse, connection: &TcpStream) -> Result<&Known, String> {
        let known = self.of(of).ok_or("there is no such parent proxy")?;
        let is_there = connection.peer_addr().is_ok_and(|peer| known.places.contains(&peer));
        if known.login.is_some() && !is_there {
            return Err(format!(
                "the parent proxy {} has another address than when the bottle started, and gets no login there: `bottle restart` looks it up again",
                known.address
            ));
        }
        Ok(known)
    }
}

async fn login(proxy: &ParentProxy) -> Result<Option<HeaderValue>> {
    match &proxy.login {
        None => Ok(None),
        Some(ParentLogin::Url(variable)) => {
            let login = proxies::login_in(variable.as_str());
            Ok(Some(login.with_context(|| format!("${variable} has no login any more"))?))
        }
        Some(ParentLogin::Secret(secret)) => secrets::login(secret).await.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_login_is_sent_nowhere_but_where_the_proxy_was_at_the_start() {
        let (there, elsewhere) = (
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
        );
        let known = |login| Known {
            address: "proxy.test:1".to_owned(),
            login,
            places: vec![there.local_addr().unwrap()],
        };
        let logins = |login| Logins {
            each: BTreeMap::from([(ParentUse::Tunnel, known(login))]),
            secrets: Secrets::default(),
        };
        let with_login = logins(Some(HeaderValue::from_static("Basic eA==")));
        let right = TcpStream::connect(there.local_addr().unwrap()).await.unwrap();
        let wrong = TcpStream::connect(elsewhere.local_addr().unwrap()).await.unwrap();
        assert!(with_login.at(ParentUse::Tunnel, &right).is_ok());
        let why = with_login.at(ParentUse::Tunnel, &wrong).err().unwrap();
        assert!(why.contains("proxy.test:1 has another address"), "{why}");
        assert!(
            logins(None).at(ParentUse::Tunnel, &wrong).is_ok(),
            "without a login there is nothing to give away"
        );
        assert!(with_login.at(ParentUse::Plain, &right).is_err());
    }
}
