//! Relays bytes between two TCP connections, in both directions, until both have ended.
//!
//! On Linux the bytes stay in the kernel (`splice`), which saves two copies of each byte.

use bottle_guest::stream::relay::Relayed;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
use bottle_guest::stream::splice;
use std::io;
use std::sync::atomic::AtomicU64;
use tokio::net::TcpStream;

/// Relays until both sides have sent everything, and counts the bytes in each direction. When one side closes
/// its half, the other side's half is closed, too.
///
/// # Errors
/// Returns an error if either side breaks off.
pub async fn both_ways(a: &mut TcpStream, b: &mut TcpStream, relayed: &Relayed) -> io::Result<()> {
    tokio::try_join!(one_way(a, b, &relayed.up), one_way(b, a, &relayed.down))?;
    Ok(())
}

#[cfg(all(target_os = "linux", not(bottle_portable)))]
async fn one_way(from: &TcpStream, to: &TcpStream, relayed: &AtomicU64) -> io::Result<()> {
    match splice::pipe(splice::USUAL) {
        Some((out, into, _)) => spliced::one_way(from, to, (out, into), relayed).await,
        None => copied::one_way(from, to, relayed).await,
    }
}

#[cfg(any(not(target_os = "linux"), bottle_portable))]
async fn one_way(from: &TcpStream, to: &TcpStream, relayed: &AtomicU64) -> io::Result<()> {
    copied::one_way(from, to, relayed).await
}

/// Through this process's memory.
mod copied {
    use rustix::net::{Shutdown, shutdown};
    use std::io;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use tokio::net::TcpStream;

    const AT_ONCE: usize = 64 << 10;

    pub async fn one_way(from: &TcpStream, to: &TcpStream, relayed: &AtomicU64) -> io::Result<()> {
        let mut buffer = vec![0; AT_ONCE];
        loop {
            from.readable().await?;
            let came = match from.try_read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                came => came?,
            };
            if came == 0 {
                // This fails only if the other side is gone, which reading shows.
                let _ = shutdown(to, Shutdown::Write);
                return Ok(());
            }
            let mut left = &buffer[..came];
            while !left.is_empty() {
                to.writable().await?;
                let went = match to.try_write(left) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    went => went?,
                };
                relayed.fetch_add(went as u64, Relaxed);
                left = &left[went..];
            }
        }
    }
}

#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod spliced {
    use bottle_guest::stream::splice::USUAL as AT_ONCE;
    use rustix::net::{Shutdown, shutdown};
    use rustix::pipe::{SpliceFlags, fcntl_setpipe_size, splice};
    use std::io;
    use std::os::fd::{AsFd, OwnedFd};
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use tokio::io::Interest;
    use tokio::net::TcpStream;

    /// The size of a pipe after it was full once, in bytes. A user has few such pages, so only bulk transfers
    /// get them.
    const BULK: usize = 256 << 10;

    pub async fn one_way(
        from: &TcpStream,
        to: &TcpStream,
        (out, into): (OwnedFd, OwnedFd),
        relayed: &AtomicU64,
    ) -> io::Result<()> {
        let mut at_once = AT_ONCE;
        loop {
            // The pipe is empty here, so only the socket can block.
            let came = ready(from, Interest::READABLE, || splice_once(from, &into, at_once)).await?;
            if came == 0 {
                let _ = shutdown(to, Shutdown::Write);
                return Ok(());
            }
            let mut left = came;
            while left > 0 {
                let went = ready(to, Interest::WRITABLE, || splice_once(&out, to, left)).await?;
                relayed.fetch_add(went as u64, Relaxed);
                left -= went;
            }
            if at_once == AT_ONCE && came == AT_ONCE && fcntl_setpipe_size(&into, BULK).is_ok() {
                at_once = BULK;
            }
        }
    }

    async fn ready(
        stream: &TcpStream,
        interest: Interest,
        mut transfer: impl FnMut() -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            stream.ready(interest).await?;
            match stream.try_io(interest, &mut transfer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    }

    fn splice_once(from: impl AsFd, to: impl AsFd, len: usize) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        Ok(rustix::io::retry_on_intr(|| splice(from.as_fd(), None, to.as_fd(), None, len, flags))?)
    }
}

#[cfg(test)]
mod tests {
    use super::{both_ways, copied};
    use bottle_guest::stream::relay::Relayed;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn bytes_arrive_in_both_directions_and_each_half_closes_separately() {
        let (client, mut door) = pair().await;
        let (mut out, server) = pair().await;
        let relaying = tokio::spawn(async move {
            let relayed = Relayed::default();
            both_ways(&mut door, &mut out, &relayed).await.map(|()| relayed)
        });
        let up: Vec<u8> = (0..=255).cycle().take(3_000_000).collect();
        let down: Vec<u8> = up.iter().rev().copied().take(2_000_001).collect();
        let (mut client_in, mut client_out) = client.into_split();
        let (mut server_in, mut server_out) = server.into_split();
        let (sent, answered) = (up.clone(), down.clone());
        let writing = tokio::spawn(async move {
            client_out.write_all(&sent).await.unwrap();
            client_out.shutdown().await.unwrap();
        });
        let answering = tokio::spawn(async move {
            let mut all = Vec::new();
            // The client has closed its half, and can still receive.
            server_in.read_to_end(&mut all).await.unwrap();
            server_out.write_all(&answered).await.unwrap();
            server_out.shutdown().await.unwrap();
            all
        });
        let mut heard = Vec::new();
        client_in.read_to_end(&mut heard).await.unwrap();
        writing.await.unwrap();
        assert!(answering.await.unwrap() == up && heard == down);
        let relayed = relaying.await.unwrap().unwrap();
        assert_eq!((relayed.up.into_inner(), relayed.down.into_inner()), (3_000_000, 2_000_001));
    }

    #[tokio::test]
    async fn bytes_arrive_where_there_is_no_pipe() {
        let (client, door) = pair().await;
        let (out, mut server) = pair().await;
        let sent: Vec<u8> = (0..=255).cycle().take(3_000_000).collect();
        let (mut client_in, mut client_out) = client.into_split();
        let expected = sent.clone();
        let writing = tokio::spawn(async move {
            client_out.write_all(&sent).await.unwrap();
            client_out.shutdown().await.unwrap();
        });
        let relaying = tokio::spawn(async move {
            let relayed = Relayed::default();
            copied::one_way(&door, &out, &relayed.up).await.map(|()| relayed.up.into_inner())
        });
        let mut heard = Vec::new();
        server.read_to_end(&mut heard).await.unwrap();
        writing.await.unwrap();
        assert!(heard == expected);
        assert_eq!(relaying.await.unwrap().unwrap(), 3_000_000);
        assert_eq!(client_in.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn when_one_side_breaks_off_the_other_ends_and_the_bytes_before_it_are_counted() {
        let (mut client, mut door) = pair().await;
        let (mut out, mut server) = pair().await;
        let relaying = tokio::spawn(async move {
            let relayed = Relayed::default();
            (both_ways(&mut door, &mut out, &relayed).await, relayed)
        });
        client.write_all(&[1; 1000]).await.unwrap();
        server.read_exact(&mut [0; 1000]).await.unwrap();
        server.write_all(&[2; 70]).await.unwrap();
        client.read_exact(&mut [0; 70]).await.unwrap();
        client.set_zero_linger().unwrap();
        drop(client);
        let (ended, relayed) = relaying.await.unwrap();
        assert!(ended.is_err());
        assert_eq!((relayed.up.into_inner(), relayed.down.into_inner()), (1000, 70));
        assert!(matches!(server.read(&mut [0]).await, Ok(0) | Err(_)));
    }
}
