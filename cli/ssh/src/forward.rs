//! A connection to a server in the guest, for `ssh -L` and editors.

use crate::backlog::Backlog;
use crate::feed::{Output, feed, pump, unchanged};
use crate::guest::Guest;
use bottle_guest::stream::relay;
use bottle_guest::stream::socket::Socket;
use russh::server::Msg;
use russh::{ChannelReadHalf, ChannelWriteHalf};
use std::io;
use std::num::NonZeroU16;
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicU64;

/// Returns the port of the guest that a client means, if it means one of the guest's own loopback. Nothing else can be
/// reached: the connection is made in the guest, and this machine's loopback has no part in it.
pub fn port(host: &str, port: u32) -> Option<NonZeroU16> {
    let is_loopback = matches!(host, "localhost" | "127.0.0.1" | "::1");
    NonZeroU16::new(u16::try_from(port).ok()?).filter(|_| is_loopback)
}

/// Serves one connection to its end.
pub async fn serve(guest: &Guest, port: NonZeroU16, mut from: ChannelReadHalf, to: ChannelWriteHalf<Msg>) {
    let _ = pass(guest, port, &mut from, &to).await;
    let _ = to.close().await;
}

async fn pass(
    guest: &Guest,
    port: NonZeroU16,
    from: &mut ChannelReadHalf,
    to: &ChannelWriteHalf<Msg>,
) -> io::Result<()> {
    let (near, far) = UnixStream::pair()?;
    near.set_nonblocking(true)?;
    let (read, write) = tokio::net::UnixStream::from_std(near)?.into_split();
    let (stream, carrier) = guest.smolvm.connect(guest.folder.slug(), port)?;
    let (far, stream) = (Socket::new(far)?, Socket::new(stream)?);
    let relayed = async move {
        let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
        let _ = relay::both_ways(&far, &stream, &up, &down).await;
    };
    let answered = async {
        let _ = pump(read, to, Output::Out, unchanged).await;
        let _ = to.eof().await;
    };
    let passed = async { tokio::join!(relayed, answered) };
    let fed = feed(from, write, Backlog::new(guest.folder.ssh()), |_| Ok(()), |_| {});
    tokio::select! {
        _ = passed => {}
        left = fed => left?,
    }
    carrier.end().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_guests_own_loopback_is_meant() {
        for host in ["localhost", "127.0.0.1", "::1"] {
            assert_eq!(port(host, 8080).map(NonZeroU16::get), Some(8080));
        }
        for host in ["", "0.0.0.0", "127.0.0.2", "10.0.0.1", "proxy.internal", "localhost.", "example.com"] {
            assert_eq!(port(host, 8080), None, "{host}");
        }
        for number in [0, 65536, u32::MAX] {
            assert_eq!(port("localhost", number), None);
        }
    }
}
