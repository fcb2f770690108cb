//! Reads the server name from a TLS ClientHello, without TLS.

use super::host::HostName;
use core::str::from_utf8;

/// What the first bytes of a connection say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientHello {
    /// The ClientHello is not complete yet.
    Partial,
    /// It is not a ClientHello, or one that contradicts itself.
    NotTls,
    /// A ClientHello without a server name.
    NoServerName,
    /// A ClientHello for this server.
    ServerName(HostName),
}

/// How many bytes of a connection are read in search of a ClientHello. A record has room for 16 KiB; real
/// hellos, even those with post-quantum key shares, have less than two.
pub const MAX_HELLO: usize = 16 * 1024 + 5;

const RECORD_HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const EXTENSION_SERVER_NAME: u16 = 0;
const NAME_HOST: u8 = 0;

/// Reads the ClientHello (RFC 8446, 4.1.2) in the first record of `bytes`, and in it the server
/// name (RFC 6066, 3).
///
/// A hello that is split over several records is [`ClientHello::NotTls`]: the only reason to split it
/// is to hide the name from a reader like this one.
pub fn client_hello(bytes: &[u8]) -> ClientHello {
    if bytes.first().is_some_and(|kind| *kind != RECORD_HANDSHAKE) {
        return ClientHello::NotTls;
    }
    let Some((&[_, major, _, l0, l1], rest)) = bytes.split_first_chunk() else {
        return ClientHello::Partial;
    };
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    if major != 3 || len < 4 || len + 5 > MAX_HELLO {
        return ClientHello::NotTls;
    }
    let Some(record) = rest.get(..len) else { return ClientHello::Partial };
    let Some(name) = parse(record) else { return ClientHello::NotTls };
    match name.map(|name| from_utf8(name).ok().and_then(|name| name.parse().ok())) {
        None => ClientHello::NoServerName,
        Some(Some(name)) => ClientHello::ServerName(name),
        // No rule can allow a name that is an address, or that is not a name.
        Some(None) => ClientHello::NotTls,
    }
}

/// Returns the server name's bytes, `Some(None)` if there is no name, or `None` if the hello is malformed.
fn parse(record: &[u8]) -> Option<Option<&[u8]>> {
    let mut hello = Reader(record);
    if hello.u8()? != CLIENT_HELLO {
        return None;
    }
    let mut hello = Reader(hello.sized::<3>()?);
    hello.take(2 + 32)?;
    hello.sized::<1>()?;
    hello.sized::<2>()?;
    hello.sized::<1>()?;
    if hello.0.is_empty() {
        return Some(None);
    }
    let mut extensions = Reader(hello.sized::<2>()?);
    let mut found = None;
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let body = extensions.sized::<2>()?;
        if kind != EXTENSION_SERVER_NAME {
            continue;
        }
        let mut names = Reader(Reader(body).sized::<2>()?);
        // There must be exactly one name. With two, this reader and a server could choose different ones.
        if found.is_some() || names.u8()? != NAME_HOST {
            return None;
        }
        found = Some(names.sized::<2>()?);
        if !names.0.is_empty() {
            return None;
        }
    }
    Some(found)
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, len: usize) -> Option<&'b [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().map(|&b| u16::from_be_bytes(b))
    }

    /// Reads a vector that follows its length of `N` bytes.
    fn sized<const N: usize>(&mut self) -> Option<&'b [u8]> {
        let len = self.take(N)?.iter().fold(0, |len, &byte| (len << 8) | usize::from(byte));
        self.take(len)
    }
}
