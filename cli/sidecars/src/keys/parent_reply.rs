//! What a parent proxy answers to CONNECT, and what helps if it is a refusal.

use hyper::StatusCode;

/// The headers with challenges.
const CHALLENGES: [&str; 2] = ["proxy-authenticate", "www-authenticate"];

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    status: StatusCode,
    /// The challenges: each begins with the name of a scheme.
    challenges: Vec<&'a str>,
}

/// Why there is no tunnel.
#[derive(Debug, PartialEq, Eq)]
pub enum Why<'a> {
    /// The proxy wants a login, in one of these ways.
    Login(Vec<&'a str>),
    /// It refuses, or it does not reach the host.
    Status(StatusCode),
}

impl<'a> Reply<'a> {
    /// Parses the head of an answer, with the empty line at its end. Returns `None` if it is not one of HTTP/1.
    pub fn parse(head: &'a [u8]) -> Option<Self> {
        let mut lines =
            head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let mut first = lines.next()?.splitn(3, |byte| *byte == b' ');
        first.next().filter(|version| matches!(*version, b"HTTP/1.0" | b"HTTP/1.1"))?;
        let status = StatusCode::from_bytes(first.next()?).ok()?;
        let challenges = lines.filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            let is_one = CHALLENGES.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
            is_one.then(|| challenge(value)).flatten()
        });
        Some(Self { status, challenges: challenges.collect() })
    }

    /// Returns whether another answer follows this one.
    pub fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }

    /// Returns whether the tunnel is open.
    ///
    /// # Errors
    /// Returns why it is not.
    pub fn into_tunnel(self) -> Result<(), Why<'a>> {
        match self.status {
            status if status.is_success() => Ok(()),
            // To CONNECT nobody else answers: tinyproxy 1.11 says so to a login that it does not know.
            StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::UNAUTHORIZED => {
                Err(Why::Login(self.challenges))
            }
            status => Err(Why::Status(status)),
        }
    }
}

impl Why<'_> {
    /// Says it, and what helps, about the proxy at `address`. The proxy's own words are not repeated.
    pub fn text(&self, address: &str, sent_login: bool) -> String {
        let proxy = format!("the parent proxy {address}");
        let challenges = match self {
            Self::Status(status) => return format!("{proxy} answered {status}"),
            Self::Login(challenges) => challenges,
        };
        let offers = |scheme: &str| {
            challenges.iter().any(|challenge| {
                let name = challenge.split([' ', ',']).next().unwrap_or_default();
                name.eq_ignore_ascii_case(scheme)
            })
        };
        if offers("basic") && sent_login {
            return format!("{proxy} does not accept the login");
        }
        if offers("basic") {
            return format!(
                "{proxy} wants a login: put it into the URL, http://USER:PASSWORD@HOST:PORT, or name it with login in [egress.parent]"
            );
        }
        let known: Vec<&str> =
            ["NTLM", "Negotiate", "Digest"].into_iter().filter(|name| offers(name)).collect();
        let wants =
            if known.is_empty() { "a login of an unknown kind".to_owned() } else { known.join(" or ") };
        format!(
            "{proxy} wants {wants}, and bottle speaks only Basic to it: run a local proxy that speaks it, such as cntlm or px, and name that one"
        )
    }
}

/// Returns the beginning of a challenge, which names its scheme. What follows may be in any encoding.
pub fn challenge(value: &[u8]) -> Option<&str> {
    let ascii = value.iter().position(|byte| !byte.is_ascii()).unwrap_or(value.len());
    std::str::from_utf8(&value[..ascii]).ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(head: &str, sent_login: bool) -> Result<(), String> {
        let reply = Reply::parse(head.as_bytes()).ok_or("not HTTP")?;
        reply.into_tunnel().map_err(|why| why.text("p:1", sent_login))
    }

    #[test]
    fn a_refusal_names_what_is_missing() {
        let head = |status: &str, offers: &[&str]| {
            let offers: String =
                offers.iter().map(|offer| format!("Proxy-authenticate: {offer}\r\n")).collect();
            format!("HTTP/1.1 {status}\r\nServer: x\r\n{offers}\r\n")
        };
        assert_eq!(said(&head("200 Connection established", &[]), false), Ok(()));
        let basic = head("407 Who", &["NTLM", "Basic realm=\"x\""]);
        assert!(said(&basic, false).unwrap_err().contains("USER:PASSWORD"));
        assert_eq!(said(&basic, true).unwrap_err(), "the parent proxy p:1 does not accept the login");
        let tinyproxy = "HTTP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"Tinyproxy\"\r\n\r\n";
        assert_eq!(said(tinyproxy, true).unwrap_err(), "the parent proxy p:1 does not accept the login");
        let windows = said(&head("407 Who", &["Negotiate", "ntlm"]), true).unwrap_err();
        assert!(windows.contains("wants NTLM or Negotiate, and bottle speaks only Basic"), "{windows}");
        assert!(said(&head("407 Who", &[]), true).unwrap_err().contains("unknown kind"));
        assert_eq!(
            said(&head("403 \u{1b}[2J", &[]), true).unwrap_err(),
            "the parent proxy p:1 answered 403 Forbidden"
        );
        for other in ["SSH-2.0-x\r\n\r\n", "HTTP/1.1 2\r\n\r\n", "HTTP/2 200\r\n\r\n", "\r\n\r\n", ""] {
            assert_eq!(said(other, true), Err("not HTTP".to_owned()), "{other:?}");
        }
    }
    #[test]
    fn bytes_of_any_encoding_are_read_and_another_answer_follows_an_interim_one() {
        let latin =
            b"HTTP/1.1 407 Authentification exig\xe9e\r\nProxy-Authenticate: Basic realm=\"B\xfcro\"\r\n\r\n";
        let why = Reply::parse(latin).unwrap().into_tunnel().unwrap_err();
        assert_eq!(why.text("p:1", true), "the parent proxy p:1 does not accept the login");
        assert_eq!(Reply::parse(b"HTTP/1.1 200 Tunnel \xe9tabli\r\n\r\n").unwrap().into_tunnel(), Ok(()));
        let is_interim = |head: &[u8]| Reply::parse(head).unwrap().is_interim();
        assert!(is_interim(b"HTTP/1.1 100 Continue\r\n\r\n") && is_interim(b"HTTP/1.1 103 x\r\n\r\n"));
        assert!(!is_interim(b"HTTP/1.1 101 x\r\n\r\n") && !is_interim(b"HTTP/1.1 200 OK\r\n\r\n"));
    }
}
