//! Passes on what a client sends on a channel, and what the guest answers.

use crate::backlog::Backlog;
use bytes::{Buf, Bytes, BytesMut};
use russh::server::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use std::io::{self, ErrorKind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How many bytes are read at once.
const PIECE: usize = 32 << 10;

/// Which of a command's two outputs bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output, or a connection's answer.
    Out,
    /// Standard error.
    Err,
}

/// Passes what comes on a channel on to `sink`, until the client closes the channel. The end of what comes closes
/// `sink`, and so does a sink that takes no more. `sees` is shown what comes before it is passed on, and everything else
/// on the channel goes to `told`.
///
/// # Errors
/// Returns an error if too much waits for the sink, or if `sees` does.
pub async fn feed(
    from: &mut ChannelReadHalf,
    sink: impl AsyncWrite + Unpin,
    mut backlog: Backlog,
    mut sees: impl FnMut(&[u8]) -> io::Result<()>,
    mut told: impl FnMut(ChannelMsg),
) -> io::Result<()> {
    let mut sink = Some(sink);
    let (mut piece, mut has_ended) = (Bytes::new(), false);
    loop {
        if piece.is_empty() {
            piece = backlog.pop()?;
        }
        if piece.is_empty()
            && has_ended
            && let Some(mut sink) = sink.take()
        {
            let _ = sink.shutdown().await;
        }
        let write = async {
            match &mut sink {
                Some(sink) if !piece.is_empty() => sink.write(&piece).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            message = from.wait() => match message {
                Some(ChannelMsg::Data { data }) if sink.is_some() => {
                    sees(&data)?;
                    backlog.push(data)?;
                }
                Some(ChannelMsg::Data { .. }) => {}
                Some(ChannelMsg::Eof) => has_ended = true,
                Some(ChannelMsg::Close) | None => return Ok(()),
                Some(other) => told(other),
            },
            written = write => match written {
                Ok(written @ 1..) => piece.advance(written),
                _ => {
                    (sink, piece) = (None, Bytes::new());
                    while !backlog.pop()?.is_empty() {}
                }
            },
        }
    }
}

/// Passes what `checks` leaves of what a guest sends on to the client, as fast as the client takes it.
///
/// # Errors
/// Returns an error if `checks` does.
pub async fn pump(
    mut from: impl AsyncRead + Unpin,
    to: &ChannelWriteHalf<Msg>,
    output: Output,
    mut checks: impl FnMut(BytesMut) -> io::Result<Bytes>,
) -> io::Result<()> {
    loop {
        let mut piece = BytesMut::with_capacity(PIECE);
        match from.read_buf(&mut piece).await {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // A terminal that nobody has open any more is an error.
            Ok(0) | Err(_) => return Ok(()),
            Ok(_) => {}
        }
        let piece = checks(piece)?;
        let sent = match output {
            _ if piece.is_empty() => continue,
            Output::Out => to.data_bytes(piece).await,
            Output::Err => to.extended_data_bytes(STDERR, piece).await,
        };
        if sent.is_err() {
            return Ok(());
        }
    }
}

/// Leaves everything as it is.
///
/// # Errors
/// Never returns an error.
pub fn unchanged(bytes: BytesMut) -> io::Result<Bytes> {
    Ok(bytes.freeze())
}

/// `SSH_EXTENDED_DATA_STDERR` (RFC 4254, 5.2).
const STDERR: u32 = 1;
