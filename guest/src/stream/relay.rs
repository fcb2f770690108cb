//! Relays a TCP connection over a stream, in both directions, until both have ended.
//!
//! A few bytes are copied, with one read and one write. Many are spliced, so that they stay in the kernel. An
//! idle connection has no buffer.

use super::socket::{Left, Socket, retry, try_write};
#[cfg(all(target_os = "linux", not(bottle_portable)))]
use super::splice::Pipe;
use bottle_core::stream::{HEAD_LEN, Incoming, Next, Outgoing};
use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many bytes are copied at once. The buffer belongs to the thread.
const SCRATCH: usize = 64 << 10;
/// A direction in which this many bytes arrive at once is spliced from then on.
#[cfg(all(target_os = "linux", not(bottle_portable)))]
const BULK: usize = 32 << 10;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

/// The number of relayed bytes. It is correct even if a connection breaks off.
#[derive(Debug, Default)]
pub struct Relayed {
    /// The bytes from the agent.
    pub up: AtomicU64,
    /// The bytes to the agent.
    pub down: AtomicU64,
}

impl Relayed {
    /// Adds the bytes of one connection.
    pub fn add(&self, one: &Self) {
        self.up.fetch_add(one.up.load(Relaxed), Relaxed);
        self.down.fetch_add(one.down.load(Relaxed), Relaxed);
    }
}

/// Relays until both sides have sent everything. When a side closes its half, the other side's half is
/// closed, too. When one breaks off, so does the other: the TCP connection is reset, and the stream ends
/// without its mark.
///
/// Bytes to the stream are added to `into`, and bytes from it to `out_of`, as they pass.
///
/// # Errors
/// Returns the reason for breaking off.
pub async fn both_ways(
    tcp: &Socket,
    stream: &Socket,
    into: &AtomicU64,
    out_of: &AtomicU64,
) -> io::Result<()> {
    let there = async {
        let mut outgoing = Outgoing::default();
        to_stream(tcp, stream, &mut outgoing, into).await?;
        end(stream, &mut outgoing).await?;
        stream.shut();
        Ok(())
    };
    let back = async {
        from_stream(stream, tcp, out_of).await?;
        stream.drain().await;
        Ok(())
    };
    let done = tokio::try_join!(there, back);
    if done.is_err() {
        tcp.reset_on_close(true);
    }
    done.map(|((), ())| ())
}

/// Relays what comes from a TCP connection, up to its end. The stream's direction does not end with it.
pub(super) async fn to_stream(
    tcp: &Socket,
    stream: &Socket,
    outgoing: &mut Outgoing,
    relayed: &AtomicU64,
) -> io::Result<()> {
    if !outgoing.head().is_empty() {
        // An opening goes along with bytes that are already here, and does not wait for any.
        match retry(|| copy(tcp.as_fd(), stream, outgoing)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                write_all(stream, outgoing, &[]).await?;
            }
            copied => {
                let ((came, rest), _) = copied?;
                write_all(stream, outgoing, &rest).await?;
                relayed.fetch_add(came as u64, Relaxed);
                if came == 0 {
                    return Ok(());
                }
            }
        }
    }
    loop {
        let (came, rest) = tcp.when_readable(|from| copy(from, stream, outgoing)).await?;
        write_all(stream, outgoing, &rest).await?;
        relayed.fetch_add(came as u64, Relaxed);
        if came == 0 {
            return Ok(());
        }
        #[cfg(all(target_os = "linux", not(bottle_portable)))]
        if came >= BULK && !splice_to_stream(tcp, stream, outgoing, relayed).await? {
            return Ok(());
        }
    }
}

/// Ends the direction to a stream.
pub(super) async fn end(stream: &Socket, outgoing: &mut Outgoing) -> io::Result<()> {
    outgoing.end();
    write_all(stream, outgoing, &[]).await
}

/// Copies the next bytes. Returns their number, and those that there was no room for, which are usually none.
fn copy(
    from: BorrowedFd<'_>,
    stream: &Socket,
    outgoing: &mut Outgoing,
) -> io::Result<((usize, Vec<u8>), Left)> {
    BUFFER.with_borrow_mut(|buffer| {
        let came = rustix::io::read(from, &mut **buffer)?;
        outgoing.announce(came);
        let parts = [IoSlice::new(outgoing.head()), IoSlice::new(&buffer[..came])];
        let written = if came == 0 { Ok(0) } else { try_write(stream.as_fd(), &parts) };
        let written = match written {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            written => written?,
        };
        let passed = outgoing.wrote(written);
        Ok(((came, buffer[passed..came].to_vec()), Left::after(came, buffer.len())))
    })
}

/// Writes the rest of a head, and then `rest` of the chunk.
async fn write_all(stream: &Socket, outgoing: &mut Outgoing, mut rest: &[u8]) -> io::Result<()> {
    while !outgoing.head().is_empty() || !rest.is_empty() {
        let parts = [IoSlice::new(outgoing.head()), IoSlice::new(rest)];
        let written = stream.when_writable(|to| try_write(to, &parts)).await?;
        rest = &rest[outgoing.wrote(written)..];
    }
    Ok(())
}

/// Splices while many bytes arrive at once. Returns false once the direction has ended.
#[cfg(all(target_os = "linux", not(bottle_portable)))]
async fn splice_to_stream(
    tcp: &Socket,
    stream: &Socket,
    outgoing: &mut Outgoing,
    relayed: &AtomicU64,
) -> io::Result<bool> {
    /// A direction in which no more than this many bytes arrive at once is copied again.
    const FEW: usize = 4 << 10;
    let Some(pipe) = Pipe::new() else { return Ok(true) };
    loop {
        let came = match pipe.fill(tcp, usize::MAX).await? {
            Some(0) => return Ok(false),
            Some(came) => came,
            None => return Ok(true),
        };
        outgoing.announce(came);
        write_all(stream, outgoing, &[]).await?;
        pipe.empty(stream, came).await?;
        outgoing.wrote(came);
        relayed.fetch_add(came as u64, Relaxed);
        if came <= FEW {
            return Ok(true);
        }
    }
}

/// Relays what comes from a stream, up to the end of that direction, which closes the TCP connection's half.
pub(super) async fn from_stream(stream: &Socket, tcp: &Socket, relayed: &AtomicU64) -> io::Result<()> {
    let mut incoming = Incoming::default();
    loop {
        let came = match incoming.next() {
            Next::Head(len) => {
                read_head(stream, &mut incoming, len).await?;
                continue;
            }
            Next::Payload(_) => {
                #[cfg(all(target_os = "linux", not(bottle_portable)))]
                if splice_from_stream(stream, tcp, &mut incoming, relayed).await? {
                    continue;
                }
                copy_back(stream, tcp, &mut incoming).await?
            }
            Next::End => break,
        };
        relayed.fetch_add(came as u64, Relaxed);
    }
    tcp.shut();
    Ok(())
}

/// Reads at most `len` bytes of a chunk's head.
async fn read_head(stream: &Socket, incoming: &mut Incoming, len: usize) -> io::Result<()> {
    let mut head = [0; HEAD_LEN];
    let read = stream.read(&mut head[..len]).await?;
    broken_off(read)?;
    incoming.head(&head[..read]).map_err(io::Error::other)
}

fn broken_off(read: usize) -> io::Result<()> {
    if read == 0 {
        return Err(io::Error::new(io::ErrorKind::ConnectionReset, "the other side broke off the stream"));
    }
    Ok(())
}

/// Copies the available bytes of a chunk, and reads the next chunk's head with them.
async fn copy_back(stream: &Socket, tcp: &Socket, incoming: &mut Incoming) -> io::Result<usize> {
    let Next::Payload(left) = incoming.next() else { return Ok(0) };
    let (came, rest) = stream
        .when_readable(|from| {
            BUFFER.with_borrow_mut(|buffer| {
                let len = left.min(buffer.len());
                let mut head = [0; HEAD_LEN];
                let ahead = if len == left { head.len() } else { 0 };
                let mut parts = [IoSliceMut::new(&mut buffer[..len]), IoSliceMut::new(&mut head[..ahead])];
                let read = rustix::io::readv(from, &mut parts)?;
                broken_off(read)?;
                let came = read.min(len);
                incoming.payload(came);
                incoming.head(&head[..read - came]).map_err(io::Error::other)?;
                let written = match try_write(tcp.as_fd(), &[IoSlice::new(&buffer[..came])]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                    written => written?,
                };
                Ok(((came, buffer[written..came].to_vec()), Left::after(read, len + ahead)))
            })
        })
        .await?;
    tcp.write_all(&rest).await?;
    Ok(came)
}

/// Splices while chunks are long. Returns false if the current chunk has to be copied instead.
#[cfg(all(target_os = "linux", not(bottle_portable)))]
async fn splice_from_stream(
    stream: &Socket,
    tcp: &Socket,
    incoming: &mut Incoming,
    relayed: &AtomicU64,
) -> io::Result<bool> {
    if !matches!(incoming.next(), Next::Payload(len) if len >= BULK) {
        return Ok(false);
    }
    let Some(pipe) = Pipe::new() else { return Ok(false) };
    loop {
        match incoming.next() {
            Next::Head(len) => {
                read_head(stream, incoming, len).await?;
                if matches!(incoming.next(), Next::Payload(len) if len < BULK) {
                    return Ok(true);
                }
            }
            Next::Payload(left) => {
                let Some(came) = pipe.fill(stream, left).await? else { return Ok(false) };
                broken_off(came)?;
                incoming.payload(came);
                pipe.empty(tcp, came).await?;
                relayed.fetch_add(came as u64, Relaxed);
            }
            Next::End => return Ok(true),
        }
    }
}
