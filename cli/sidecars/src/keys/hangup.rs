//! Notices that the keeper has hung up, also while nobody reads what it sends.

use std::io;
use std::os::fd::AsFd;
use tokio::net::UnixStream;

/// Returns a future that waits until the other end of a socket is closed.
///
/// # Errors
/// Returns an error if no descriptors are left.
pub fn hangup(socket: &UnixStream) -> io::Result<impl Future<Output = ()> + use<>> {
    // Another descriptor has a place of its own among those that are watched.
    let same = std::os::unix::net::UnixStream::from(socket.as_fd().try_clone_to_owned()?);
    let same = UnixStream::from_std(same)?;
    Ok(async move { closed(&same).await })
}

#[cfg(target_os = "linux")]
async fn closed(socket: &UnixStream) {
    use tokio::io::{Interest, Ready};
    // Unlike `READABLE`, this is not ready merely because there is something to read.
    while let Ok(ready) = socket.ready(Interest::PRIORITY).await {
        if ready.is_read_closed() {
            return;
        }
        if ready != Ready::EMPTY {
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        }
    }
}

/// Waits forever, because this system does not report a closed side.
#[cfg(not(target_os = "linux"))]
async fn closed(_: &UnixStream) {
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::AsyncWriteExt;
    use tokio::time::timeout;

    #[tokio::test]
    async fn a_hangup_is_noticed_behind_bytes_that_nobody_reads() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut waiting = tokio::spawn(hangup(&ours).unwrap());
        theirs.write_all(b"unread").await.unwrap();
        assert!(timeout(Duration::from_millis(300), &mut waiting).await.is_err());
        drop(theirs);
        timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
    }
}
