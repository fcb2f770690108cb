//! The proxies between this machine and the internet: those that its environment names, or those of a plan.
//!
//! Whatever bottle itself asks goes through here: images, upstreams, and the hosts that a guest may reach.

use bottle_core::parent::{Parent, ParentLogin, ParentProxy, ParentUse};
use bottle_core::text::EnvName;
use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use std::env;
use std::fmt;

const TUNNELS: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const PLAIN: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
const ALL: [&str; 2] = ["ALL_PROXY", "all_proxy"];
const NONE: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// The port of a proxy whose URL has none.
const HTTP: u16 = 80;

/// The variables that name proxies and the hosts that need none, in the order in which they count.
pub const VARIABLES: [&str; 8] =
    [TUNNELS[0], TUNNELS[1], PLAIN[0], PLAIN[1], ALL[0], ALL[1], NONE[0], NONE[1]];

/// Which hosts are reached through which proxy.
#[derive(Debug)]
pub struct Proxies(Matcher);

/// A proxy to use.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Where it is: `http://HOST:PORT/`.
    pub uri: Uri,
    /// Its login, if this process knows one: the value of a `Proxy-Authorization` header.
    pub login: Option<HeaderValue>,
}

/// A proxy that bottle cannot use. It shows no login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusableProxy {
    /// The proxy's URL, or the variable that has it if it is no URL.
    pub shown: String,
}

impl fmt::Display for UnusableProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy {} cannot be used", self.shown)
    }
}

impl std::error::Error for UnusableProxy {}

impl Proxies {
    /// Reads the environment: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in capitals or not.
    pub fn from_environment() -> Self {
        let value = |names| first(names).map(|(_, value)| value).unwrap_or_default();
        let builder = Matcher::builder().https(value(&TUNNELS)).http(value(&PLAIN)).all(value(&ALL));
        Self(builder.no(value(&NONE)).build())
    }

    /// Returns the proxies of a plan, which have no login here.
    pub fn of(parent: &Parent) -> Self {
        let url = |of| parent.proxy(of).map(|proxy| format!("http://{}", proxy.address)).unwrap_or_default();
        let builder = Matcher::builder().https(url(ParentUse::Tunnel)).http(url(ParentUse::Plain));
        Self(builder.no(parent.except.join(",")).build())
    }

    /// Returns the proxy that leads to `to`, an `http` or `https` address, if one does.
    ///
    /// # Errors
    /// Returns [`UnusableProxy`] if it is one that speaks another protocol than HTTP, or speaks it over TLS.
    pub fn proxy(&self, to: &Uri) -> Result<Option<Proxy>, UnusableProxy> {
        let Some(proxy) = self.0.intercept(to) else { return Ok(None) };
        if proxy.uri().scheme_str() != Some("http") {
            return Err(UnusableProxy { shown: proxy.uri().to_string() });
        }
        Ok(Some(Proxy { uri: proxy.uri().clone(), login: proxy.basic_auth().cloned() }))
    }
}

impl Proxy {
    /// Returns its host and port.
    pub fn address(&self) -> String {
        let host = self.uri.host().unwrap_or_default();
        format!("{host}:{}", self.uri.port_u16().unwrap_or(HTTP))
    }
}

/// Returns the parent proxy that this machine's environment names, without its login.
///
/// # Errors
/// Returns [`UnusableProxy`] if one is of a kind that bottle does not speak to.
pub fn of_environment() -> Result<Option<Parent>, UnusableProxy> {
    let (tunnels, plain) = (named(&TUNNELS)?, named(&PLAIN)?);
    if tunnels.is_none() && plain.is_none() {
        return Ok(None);
    }
    let except = first(&NONE).map(|(_, value)| value).unwrap_or_default();
    let except = except.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty());
    Ok(Some(Parent { tunnels, plain, except: except.collect() }))
}

/// Returns the login in the URL that a variable has: the value of a `Proxy-Authorization` header.
pub fn login_in(variable: &str) -> Option<HeaderValue> {
    parse(&env::var(variable).ok()?).ok()??.login
}

/// Returns the parent proxy at a URL, which may have no login.
///
/// # Errors
/// Returns what is wrong with it.
pub fn at(url: &str) -> Result<ParentProxy, &'static str> {
    match parse(url) {
        Ok(Some(Proxy { login: Some(_), .. })) => Err("a login does not belong here, where it is shown"),
        Ok(Some(proxy)) => Ok(ParentProxy { address: proxy.address(), variable: None, login: None }),
        Ok(None) | Err(_) => Err("it has the form http://HOST:PORT; proxies of other kinds cannot be used"),
    }
}

/// Returns the proxy of the first of these variables, or else of `ALL_PROXY`.
fn named(names: &[&'static str]) -> Result<Option<ParentProxy>, UnusableProxy> {
    let is_set = |found: &(&str, String)| !found.1.is_empty();
    let Some((name, value)) = first(names).filter(is_set).or_else(|| first(&ALL).filter(is_set)) else {
        return Ok(None);
    };
    let unreadable = || UnusableProxy { shown: format!("in ${name}") };
    let proxy = parse(&value)?.ok_or_else(unreadable)?;
    let variable: EnvName = name.parse().map_err(|_| unreadable())?;
    let login = proxy.login.as_ref().map(|_| ParentLogin::Url(variable.clone()));
    Ok(Some(ParentProxy { address: proxy.address(), variable: Some(variable), login }))
}

fn parse(url: &str) -> Result<Option<Proxy>, UnusableProxy> {
    Proxies(Matcher::builder().https(url).build()).proxy(&Uri::from_static("https://host.invalid/"))
}

fn first(names: &[&'static str]) -> Option<(&'static str, String)> {
    names.iter().find_map(|name| Some((*name, env::var(name).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_an_http_url_and_its_login_is_kept_apart() {
        let proxy = parse("http://ann:s%20cret@proxy.corp:3128").unwrap().unwrap();
        assert_eq!(proxy.address(), "proxy.corp:3128");
        assert_eq!(proxy.login.unwrap(), "Basic YW5uOnMgY3JldA==");
        assert_eq!(parse("10.0.0.1:8080").unwrap().unwrap().address(), "10.0.0.1:8080");
        assert_eq!(at("http://proxy.corp").unwrap().address, "proxy.corp:80");
        for other in ["https://proxy.corp:443", "socks5://proxy.corp:1080"] {
            let shown = parse(other).unwrap_err().to_string();
            assert!(shown.contains("proxy.corp"), "{shown}");
        }
        let shown = parse("https://ann:secret@proxy.corp").unwrap_err().to_string();
        assert!(!shown.contains("secret"), "{shown}");
        assert!(at("http://ann:secret@proxy.corp").is_err() && at("nonsense://").is_err());
    }

    #[test]
    fn a_plans_proxy_is_used_for_its_kind_and_not_for_exceptions() {
        let tunnels = Some(at("http://tunnels.corp:1").unwrap());
        let parent = Parent { tunnels, plain: None, except: vec!["corp".to_owned(), "x.test".to_owned()] };
        let proxies = Proxies::of(&parent);
        let address = |to: &'static str| {
            let proxy = proxies.proxy(&Uri::from_static(to)).unwrap();
            proxy.map(|proxy| proxy.address())
        };
        assert_eq!(address("https://example.com/").as_deref(), Some("tunnels.corp:1"));
        for straight in ["http://example.com/", "https://git.corp/", "https://x.test/"] {
            assert_eq!(address(straight), None, "{straight}");
        }
    }
}
