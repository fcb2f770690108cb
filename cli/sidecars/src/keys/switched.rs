//! A connection that is no longer HTTP: a WebSocket, whose bytes pass both ways, and end where one contains a key.

use super::passed::Secrets;
use bottle_core::upstream::echo::{Echo, SHORTEST};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// How long the beginning of a key is held back. A message may end in what begins a key, and nothing follows it then.
const HELD: Duration = Duration::from_millis(50);

/// Passes bytes both ways in the background. `found` is called if the origin's contain a key.
pub fn pass(agent: OnUpgrade, origin: OnUpgrade, keys: Secrets, found: impl FnOnce() + Send + 'static) {
    tokio::spawn(async move {
        let Ok((agent, origin)) = tokio::try_join!(agent, origin) else { return };
        let (mut from_agent, mut to_agent) = tokio::io::split(TokioIo::new(agent));
        let (mut from_origin, mut to_origin) = tokio::io::split(TokioIo::new(origin));
        let up = async {
            tokio::io::copy(&mut from_agent, &mut to_origin).await?;
            to_origin.shutdown().await
        };
        // If one direction fails, both ends are closed.
        let _ = tokio::try_join!(up, down(&mut from_origin, &mut to_agent, &keys, found));
    });
}

async fn down(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    keys: &Secrets,
    found: impl FnOnce(),
) -> io::Result<()> {
    let (mut buffer, mut held) = (vec![0; 16 << 10], Vec::new());
    loop {
        let read = if held.is_empty() || held.len() >= SHORTEST {
            from.read(&mut buffer).await?
        } else {
            match timeout(HELD, from.read(&mut buffer)).await {
                Ok(read) => read?,
                // So few bytes of a key are no key.
                Err(_) => {
                    to.write_all(&std::mem::take(&mut held)).await?;
                    continue;
                }
            }
        };
        if read == 0 {
            to.write_all(&held).await?;
            return to.shutdown().await;
        }
        let mut echo = Echo::resume(keys, std::mem::take(&mut held));
        let Ok(passed) = echo.next(&buffer[..read]) else {
            found();
            return Err(io::ErrorKind::InvalidData.into());
        };
        held = echo.end();
        to.write_all(&passed).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use zeroize::Zeroizing;

    #[tokio::test]
    async fn a_message_that_ends_like_a_key_begins_passes_and_a_key_ends_the_connection() {
        let keys: Secrets = Arc::new(Zeroizing::new(vec![b"sk-secret-0123".to_vec()]));
        let (mut origin, mut from) = tokio::io::duplex(1024);
        let (mut to, mut agent) = tokio::io::duplex(1024);
        let passing = tokio::spawn(async move {
            let mut was_found = false;
            let ended = down(&mut from, &mut to, &keys, || was_found = true).await;
            (was_found, ended.is_ok())
        });
        origin.write_all(b"yes").await.unwrap();
        let mut read = [0; 3];
        agent.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"yes");
        origin.write_all(b" a sk-secret-").await.unwrap();
        agent.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b" a ");
        origin.write_all(b"0123 b").await.unwrap();
        let mut rest = Vec::new();
        agent.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"");
        assert_eq!(passing.await.unwrap(), (true, false));
    }
}
