//! Decides which requests reach the page. Every tab of a browser can send requests to a port on loopback, and
//! so can a name that resolves to it.

use super::session::Session;

/// The largest body of a request, in bytes.
pub const LARGEST: u64 = 64 << 10;

/// What a request says about itself.
#[derive(Clone, Debug, Default)]
pub struct Head<'r> {
    /// `GET`, `POST`, ...
    pub method: &'r str,
    /// The path, without the query.
    pub path: &'r str,
    /// The query.
    pub query: &'r str,
    /// Whether the request names a whole URL, as one to a proxy does.
    pub is_absolute: bool,
    /// Every `Host`.
    pub hosts: Vec<&'r [u8]>,
    /// Every `Origin`.
    pub origins: Vec<&'r [u8]>,
    /// Every `Sec-Fetch-Site`.
    pub sites: Vec<&'r [u8]>,
    /// Whether a browser fetches it in advance, so that nobody may ever see it.
    pub is_ahead: bool,
    /// Every `Cookie`.
    pub cookies: Vec<&'r [u8]>,
    /// Every `Content-Type`.
    pub types: Vec<&'r [u8]>,
    /// `Content-Length`, if it is a number.
    pub length: Option<u64>,
}

/// What a request may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admitted<'r> {
    /// The cookie, in exchange for a link that is used up now.
    Cookie,
    /// Something below the page's folder.
    Page(&'r str),
    /// A change of something, below the page's folder.
    Change(&'r str),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The request is not for this server, as after DNS rebinding.
    Host,
    /// The request comes from another site, or from another port.
    Origin,
    /// The method is neither `GET` nor `POST`.
    Method,
    /// The link was used before, has expired, or is none.
    Link,
    /// The browser fetches a link in advance, which would use it up.
    Ahead,
    /// There is no cookie.
    Cookie,
    /// The body is not JSON.
    Type,
    /// The body is too large, or does not say how large it is.
    Size,
}

impl Refused {
    /// Returns the HTTP status, and what is said.
    pub fn answer(self) -> (u16, &'static str) {
        match self {
            Self::Host => (421, "this is not the server of that name"),
            Self::Origin => (403, "another page may not ask for this"),
            Self::Method => (405, "only GET and POST are answered"),
            Self::Link => {
                (403, "this link was used or has expired; press Enter where `bottle ui` runs for another")
            }
            Self::Ahead => (503, "a link is not opened in advance"),
            Self::Cookie => (401, "open the link that `bottle ui` printed"),
            Self::Type => (415, "only application/json is read"),
            Self::Size => (413, "the request is too large"),
        }
    }
}

/// Decides about a request to the server on this port of loopback.
///
/// # Errors
/// Returns the reason if it is refused.
pub fn admit<'r>(head: &Head<'r>, port: u16, session: &Session) -> Result<Admitted<'r>, Refused> {
    let names = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    let [host] = head.hosts[..] else { return Err(Refused::Host) };
    if head.is_absolute || !names.iter().any(|name| name.as_bytes() == host) {
        return Err(Refused::Host);
    }
    let is_change = match head.method {
        "GET" => false,
        "POST" => true,
        _ => return Err(Refused::Method),
    };
    // `same-site` is another port of this host, which a guest may have been given. `none` is a person.
    let is_ours = |site: &&[u8]| *site == b"same-origin" || (*site == b"none" && !is_change);
    let own = [b"http://", host].concat();
    let from_here = match head.origins[..] {
        [] => !is_change,
        [origin] => origin == own,
        _ => false,
    };
    if !from_here || !head.sites.iter().all(is_ours) {
        return Err(Refused::Origin);
    }
    if head.path == "/open" && !is_change {
        if head.is_ahead {
            return Err(Refused::Ahead);
        }
        let token = head.query.strip_prefix("token=").unwrap_or_default();
        return if session.redeem(token) { Ok(Admitted::Cookie) } else { Err(Refused::Link) };
    }
    let cookies = head.cookies.iter().filter_map(|cookie| std::str::from_utf8(cookie).ok());
    let has_cookie = cookies.into_iter().any(|cookie| session.is_in(cookie, port));
    let folder = session.folder();
    let (true, Some(path)) = (has_cookie, head.path.strip_prefix(folder.as_str())) else {
        return Err(Refused::Cookie);
    };
    if !is_change {
        return Ok(Admitted::Page(path));
    }
    // A form cannot send this type, and a script of another site would have to ask first.
    match head.types[..] {
        [b"application/json"] => {}
        _ => return Err(Refused::Type),
    }
    match head.length {
        Some(length) if length <= LARGEST => Ok(Admitted::Change(path)),
        _ => Err(Refused::Size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: u16 = 4000;

    fn cookie(session: &Session) -> String {
        session.set_cookie(PORT).split(';').next().unwrap().to_owned()
    }

    #[test]
    fn a_link_works_once_and_only_for_this_server() {
        let session = Session::new().unwrap();
        let link = session.link().unwrap();
        let (path, query) = link.split_once('?').unwrap();
        let host: &[u8] = b"127.0.0.1:4000";
        let good = Head { method: "GET", path, query, hosts: vec![host], ..Head::default() };
        let refused = |head: Head<'_>| admit(&head, PORT, &session).unwrap_err();
        assert_eq!(refused(Head { hosts: vec![b"rebound.test:4000"], ..good.clone() }), Refused::Host);
        assert_eq!(refused(Head { hosts: vec![host, host], ..good.clone() }), Refused::Host);
        assert_eq!(refused(Head { hosts: vec![], ..good.clone() }), Refused::Host);
        assert_eq!(refused(Head { is_absolute: true, ..good.clone() }), Refused::Host);
        assert_eq!(refused(Head { sites: vec![b"cross-site"], ..good.clone() }), Refused::Origin);
        assert_eq!(refused(Head { is_ahead: true, ..good.clone() }), Refused::Ahead);
        assert_eq!(refused(Head { query: "token=", ..good.clone() }), Refused::Link);
        let typed = Head { sites: vec![b"none"], ..good.clone() };
        assert_eq!(admit(&typed, PORT, &session), Ok(Admitted::Cookie));
        assert_eq!(refused(good), Refused::Link);
    }

    #[test]
    fn a_change_comes_from_the_page_itself() {
        let session = Session::new().unwrap();
        let (cookie, path) = (cookie(&session), format!("{}api/answer", session.folder()));
        let good = Head {
            method: "POST",
            path: &path,
            hosts: vec![b"localhost:4000"],
            origins: vec![b"http://localhost:4000"],
            sites: vec![b"same-origin"],
            cookies: vec![cookie.as_bytes()],
            types: vec![b"application/json"],
            length: Some(2),
            ..Head::default()
        };
        assert_eq!(admit(&good, PORT, &session), Ok(Admitted::Change("api/answer")));
        let without = cookie.replace('=', "=x");
        for (wrong, why) in [
            (Head { origins: vec![], ..good.clone() }, Refused::Origin),
            (Head { origins: vec![b"null"], ..good.clone() }, Refused::Origin),
            (Head { origins: vec![b"http://127.0.0.1:4000"], ..good.clone() }, Refused::Origin),
            (Head { origins: vec![b"http://localhost:3000"], ..good.clone() }, Refused::Origin),
            (Head { sites: vec![b"same-site"], ..good.clone() }, Refused::Origin),
            (Head { sites: vec![b"none"], ..good.clone() }, Refused::Origin),
            (Head { sites: vec![b"same-origin", b"cross-site"], ..good.clone() }, Refused::Origin),
            (Head { cookies: vec![], ..good.clone() }, Refused::Cookie),
            (Head { cookies: vec![without.as_bytes()], ..good.clone() }, Refused::Cookie),
            (Head { path: "/api/answer", ..good.clone() }, Refused::Cookie),
            (Head { types: vec![b"text/plain"], ..good.clone() }, Refused::Type),
            (Head { types: vec![], ..good.clone() }, Refused::Type),
            (Head { length: None, ..good.clone() }, Refused::Size),
            (Head { length: Some(LARGEST + 1), ..good.clone() }, Refused::Size),
            (Head { method: "PUT", ..good.clone() }, Refused::Method),
        ] {
            assert_eq!(admit(&wrong, PORT, &session), Err(why), "{wrong:?}");
        }
        // Browsers that do not send where a request comes from are judged by the rest.
        assert!(admit(&Head { sites: vec![], ..good }, PORT, &session).is_ok());
    }
}
