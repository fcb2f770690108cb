//! Why a sidecar, or the link, refuses what a guest asks for.

use bottle_core::egress::Denial;

macro_rules! reasons {
    ($($variant:ident: $who:literal, $name:literal => $text:literal,)*) => {
        /// Why a request is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason {
            $(#[doc = $name] $variant,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns its name, as the log has it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns who refuses for it.
            pub fn who(self) -> &'static str {
                match self { $(Self::$variant => $who,)* }
            }

            /// Returns its paragraph.
            pub fn paragraph(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

reasons! {
    Host: "the egress proxy", "host" =>
        "No rule allows this host. The egress proxy denies by default, so every host that an agent needs is one that a person allowed. `bottle allow my-project docs.example.com` would open that one at once and for good, `bottle suggest` lists what was refused as lines for bottle.toml, and with [supervise] the agent can ask you itself.",
    Port: "the egress proxy", "port" =>
        "A rule allows this host, but not this port. Without a port, a rule means 443 alone. Name the port as in `bottle allow my-project example.com:8443`, or in `allow` of bottle.toml.",
    Closed: "the egress proxy", "closed" =>
        "A rule of yours closes this host, and what is closed stays closed whatever else allows it. It is in `deny` of bottle.toml or of your own defaults, or a person closed it by hand. Allowing exactly this host takes such a rule back; `bottle plan --explain` says which file has it.",
    AddressLiteral: "the egress proxy", "address-literal" =>
        "The request is for an address and not for a name. An address can belong to anybody tomorrow, and a rule for one would say nothing about who is reached, so none can be allowed. Let the program use the host's name. For a machine of your own, `hosts` under [egress] gives an address a name that only the proxy knows.",
    Address: "the egress proxy", "address" =>
        "The host is allowed, and its name leads to an address that is not public: this machine, its network, or a cloud's metadata service. A name in somebody else's hands could lead anywhere, so the proxy does not connect. If the host is meant to be private, name it in `allow_private` under [egress], or give it a fixed address in `hosts`.",
    OwnAddress: "the egress proxy", "own-address" =>
        "The host is allowed, and its name leads to an address of this machine itself. What listens here was not meant for a guest. If it is, name the host in `allow_private` under [egress], or give it this address in `hosts`.",
    Unknown: "the egress proxy", "unknown" =>
        "Only the rule for every host covers this name, this machine's resolver does not know it, and connections go out through a parent proxy that may. Names that only the parent's network knows are not the public internet. If the host is meant, allow it by its name.",
    ServerName: "the egress proxy", "server-name" =>
        "The tunnel was opened for one host, and the TLS connection in it asks for another server. With a content delivery network that would reach a site that no rule allows (domain fronting). If both hosts are wanted, allow both, and let the program open a tunnel for each.",
    NoServerName: "the egress proxy", "no-server-name" =>
        "The TLS connection names no server, so the proxy cannot see whether it reaches the host that it was opened for. Nearly every client names one. For a client that cannot, name the host in `allow_no_sni` under [egress], if you trust everything at its address.",
    NotTls: "the egress proxy", "not-tls" =>
        "The tunnel carries something other than TLS. A tunnel to port 443 that is not TLS is usually a program that wants another protocol through, such as SSH. Only TLS passes, because only its first message says where it goes; use git-gate for git, and HTTPS for the rest.",
    Unreadable: "the egress proxy", "unreadable" =>
        "The request contains nothing that can be read as a host. A name with odd characters could be read in two ways by two programs, so it is refused. Check the URL that the program was given.",
    NoHost: "the egress proxy", "no-host" =>
        "The request names no host, neither in its line nor in its Host header. Whatever sent it does not speak to a proxy. Check that the program got the proxy's URL as a proxy, and not as the address of a server.",
    Scheme: "the egress proxy", "scheme" =>
        "The request is for a URL that is neither http nor https. The egress proxy fetches those two and opens tunnels with CONNECT; nothing else passes. Check the URL that the program was given.",
    Method: "the egress proxy", "method" =>
        "The request to an upstream has a method that is not passed on. Upstreams get this machine's key, so only methods that an API needs are let through. The answer's Allow header lists them.",
    RequestRule: "the egress proxy", "request-rule" =>
        "No rule of this upstream allows the request. Where an upstream in bottle.toml has `allow`, it takes only requests whose method and path one of these rules names, because they are made with this machine's key. The answer says which request it was; add a rule such as \"GET /repos/acme/*\" if it is wanted.",
    Upgrade: "the egress proxy", "upgrade" =>
        "The upstream switched the connection to a protocol that the agent had not asked for. WebSockets pass when the agent asks for one; anything else ends there.",
    Path: "the egress proxy", "path" =>
        "The path of a request to an upstream could be read in more than one way: an encoded slash or dot, or two slashes. A server could find another place with it than the one that was checked. Let the program write the path plainly.",
    Key: "the egress proxy", "key" =>
        "The upstream's answer contained the key that this machine sent to it, so the answer was cut off there. Otherwise the guest would have the key. Some services repeat headers in an error or a debug answer; turn that off there.",
    Log: "the egress proxy", "log" =>
        "The log cannot be written, and bottle.toml says `audit = \"required\"`. Nothing passes without its line then. Free some space on the disk that holds the state folder; everything goes on by itself once a line can be written.",
    Framing: "the link", "framing" =>
        "What the guest's helper sent cannot be followed: a length that no frame has. Ordinary frames never cause that, so somebody in the guest speaks to the host's socket directly. The connection was closed; the helper makes a new one.",
    NoDoor: "the link", "no-door" =>
        "With `stack = \"sockets\"`, somebody in the guest opened a stream to a port that no door has. The helper never does. The stream was closed, and nothing on this machine was reached.",
    NotHttp: "a sidecar", "not-http" =>
        "What arrived at a sidecar's door is not HTTP. Perhaps a program speaks another protocol to it, such as TLS to a door that wants plain HTTP, or SOCKS. The doors are HTTP, and the connection never leaves this machine unencrypted.",
    Slow: "a sidecar", "slow" =>
        "A client opened a connection to a sidecar and did not send its request in time. It was closed, so that it takes no place of others. Programs that keep a connection open before they use it open a new one.",
    Request: "a sidecar", "request" =>
        "The sidecar answered with an error's status, which the log's line has. The answer's text says why. A 404 from git-gate means a repository that it does not serve, a 405 a method that the sidecar does not know.",
    Rate: "supervise", "rate" =>
        "The agent asked too often in a short time. A person would drown in its requests, so further ones are refused for a while, and the agent is told. Answer what waits in `bottle inbox`.",
    PublicSuffix: "supervise", "public-suffix" =>
        "The agent asked for a rule that would open a whole public suffix, such as *.github.io. Anybody can have a name below it, so whoever wants the guest's data could get it there. The agent was told to name the hosts that it needs one by one.",
}

impl From<&Denial> for Reason {
    fn from(denial: &Denial) -> Self {
        match denial {
            Denial::Host(_) => Self::Host,
            Denial::Port(..) => Self::Port,
            Denial::Closed(_) => Self::Closed,
            Denial::AddressLiteral(_) => Self::AddressLiteral,
            Denial::Address(..) => Self::Address,
            Denial::Own(..) => Self::OwnAddress,
            Denial::Unknown(_) => Self::Unknown,
            Denial::ServerName(..) => Self::ServerName,
            Denial::NoServerName(_) => Self::NoServerName,
            Denial::NotTls(_) => Self::NotTls,
            Denial::Unreadable => Self::Unreadable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bottle_core::egress::AddressClass;
    use std::fs;
    use std::path::{Path, PathBuf};

    #[test]
    fn a_denial_is_explained_by_the_name_that_the_log_has() {
        let host = || "a.test".parse().unwrap();
        let address = "10.0.0.1".parse().unwrap();
        for denial in [
            Denial::Host(host()),
            Denial::Port(host(), 1),
            Denial::Closed(host()),
            Denial::AddressLiteral(address),
            Denial::Address(host(), address, AddressClass::Loopback),
            Denial::Own(host(), address),
            Denial::Unknown(host()),
            Denial::ServerName(host(), host()),
            Denial::NoServerName(host()),
            Denial::NotTls(host()),
            Denial::Unreadable,
        ] {
            assert_eq!(Reason::from(&denial).name(), denial.name());
        }
    }

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension() == Some("rs".as_ref()) {
                found.push(path);
            }
        }
    }

    /// Returns the words in quotes that follow `call` in a source, up to the end of the statement.
    fn words<'s>(text: &'s str, call: &str, at: usize) -> Vec<&'s str> {
        let calls = text.match_indices(call).map(|(from, _)| &text[from + call.len()..]);
        calls.filter_map(|rest| rest.split(';').next()?.split('"').nth(2 * at + 1)).collect()
    }

    /// Some reasons are words in the sources, and no type lists them.
    #[test]
    fn every_word_that_a_sidecar_logs_as_a_reason_is_explained() {
        let mut files = Vec::new();
        for part in ["sidecars", "keeper"] {
            sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(part).join("src"), &mut files);
        }
        let mut logged = Vec::new();
        for file in files {
            let text = fs::read_to_string(file).unwrap().split("#[cfg(test)]").next().unwrap().to_owned();
            let found = words(&text, ".reject(", 0).into_iter().chain(words(&text, "\"refused\",", 0));
            logged.extend(found.map(str::to_owned));
        }
        let plain =
            |word: &&String| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        let logged: Vec<&String> = logged.iter().filter(plain).collect();
        for word in ["no-host", "method", "framing", "rate", "key", "log"] {
            assert!(logged.iter().any(|known| *known == word), "{word}: {logged:?}");
        }
        let unknown: Vec<_> = logged
            .iter()
            .filter(|word| !Reason::ALL.iter().any(|known| known.name() == word.as_str()))
            .collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}
