//! Bytes from one TCP connection to another, both ways, to their ends.
//!
//! On Linux they stay in the kernel (`splice`): a byte through a door is copied two times less.

use std::io;
use tokio::net::TcpStream;

/// Carries until both sides have said all, and gives the bytes that went from `a` to `b` and back.
/// A side that closes its half closes the other's.
///
/// # Errors
/// Where one side breaks off.
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub async fn both_ways(a: &mut TcpStream, b: &mut TcpStream) -> io::Result<(u64, u64)> {
    tokio::try_join!(spliced::one_way(a, b), spliced::one_way(b, a))
}

/// The same, through memory of this process.
///
/// # Errors
/// Where one side breaks off.
#[cfg(any(not(target_os = "linux"), bottle_portable))]
pub async fn both_ways(a: &mut TcpStream, b: &mut TcpStream) -> io::Result<(u64, u64)> {
    tokio::io::copy_bidirectional(a, b).await
}

#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod spliced {
    use rustix::net::{Shutdown, shutdown};
    use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
    use std::io;
    use std::os::fd::AsFd;
    use tokio::io::Interest;
    use tokio::net::TcpStream;

    /// What a pipe holds, unless the system is short of pages for them.
    const AT_ONCE: usize = 64 << 10;
    /// What it is made to hold once it was full: a user has few such pages, so only bulk gets them.
    const BULK: usize = 256 << 10;

    pub async fn one_way(from: &TcpStream, to: &TcpStream) -> io::Result<u64> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let (mut carried, mut at_once) = (0, AT_ONCE);
        loop {
            // The pipe is empty here, so what would block is the socket.
            let came = ready(from, Interest::READABLE, || step(from, &into, at_once)).await?;
            if came == 0 {
                let _ = shutdown(to, Shutdown::Write);
                return Ok(carried);
            }
            let mut left = came;
            while left > 0 {
                left -= ready(to, Interest::WRITABLE, || step(&out, to, left)).await?;
            }
            carried += came as u64;
            if at_once == AT_ONCE && came == AT_ONCE && fcntl_setpipe_size(&into, BULK).is_ok() {
                at_once = BULK;
            }
        }
    }

    async fn ready(
        stream: &TcpStream,
        interest: Interest,
        mut step: impl FnMut() -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            stream.ready(interest).await?;
            match stream.try_io(interest, &mut step) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    }

    fn step(from: impl AsFd, to: impl AsFd, len: usize) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        Ok(rustix::io::retry_on_intr(|| splice(from.as_fd(), None, to.as_fd(), None, len, flags))?)
    }
}

#[cfg(test)]
mod tests {
    use super::both_ways;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn every_byte_arrives_both_ways_at_once_and_each_half_is_closed_by_itself() {
        let (client, mut door) = pair().await;
        let (mut out, server) = pair().await;
        let carrying = tokio::spawn(async move { both_ways(&mut door, &mut out).await });
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
            // The client has closed its half, and still hears.
            server_in.read_to_end(&mut all).await.unwrap();
            server_out.write_all(&answered).await.unwrap();
            server_out.shutdown().await.unwrap();
            all
        });
        let mut heard = Vec::new();
        client_in.read_to_end(&mut heard).await.unwrap();
        writing.await.unwrap();
        assert!(answering.await.unwrap() == up && heard == down);
        assert_eq!(carrying.await.unwrap().unwrap(), (3_000_000, 2_000_001));
    }

    #[tokio::test]
    async fn one_that_breaks_off_ends_the_other() {
        let (client, mut door) = pair().await;
        let (mut out, mut server) = pair().await;
        let carrying = tokio::spawn(async move { both_ways(&mut door, &mut out).await });
        client.set_zero_linger().unwrap();
        drop(client);
        assert!(carrying.await.unwrap().is_err());
        assert!(matches!(server.read(&mut [0]).await, Ok(0) | Err(_)));
    }
}
