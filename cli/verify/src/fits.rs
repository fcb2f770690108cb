//! Checks whether an answer is possible for its question. Numbers that no attempt could produce are refused
//! before anything is added up.

use anyhow::{Result, ensure};
use bottle_guest::probe::{Answer, Attempt};

/// How many bytes of what it heard on one port a guest may repeat.
const SAID: usize = 1 << 17;
/// The longest error that a guest may report, in bytes.
const ERROR: usize = 4096;
/// How many frames a guest may claim to have heard.
const FRAMES: usize = 4096;

/// Checks an answer against what was tried.
///
/// # Errors
/// Returns an error that says what is impossible about it.
pub fn check(answer: &Answer, attempt: &Attempt) -> Result<()> {
    let most = most(attempt);
    let counts = [
        answer.said.len(),
        answer.accepted.len(),
        answer.vsock.len(),
        answer.refused,
        answer.silent,
        answer.failed,
    ];
    ensure!(counts.into_iter().all(|count| count <= most), "it counts more than {most} attempts");
    ensure!(
        answer.accepted.iter().all(|port| has_port(attempt, *port)),
        "it names a port that was not tried"
    );
    let vsock = answer
        .vsock
        .iter()
        .all(|port| matches!(attempt, Attempt::Vsock { first, last, .. } if (first..=last).contains(&port)));
    ensure!(vsock, "it names a vsock port that was not tried");
    ensure!(answer.said.iter().all(|(_, said)| said.len() <= SAID), "it repeats more than {SAID} bytes");
    ensure!(answer.error.len() <= ERROR, "its error is longer than {ERROR} bytes");
    Ok(())
}

/// Returns how many attempts one question can produce.
fn most(attempt: &Attempt) -> usize {
    let range = |first: u32, last: u32| usize::try_from(last.saturating_sub(first)).map_or(1, |len| len + 1);
    match attempt {
        Attempt::Tcp { first, last, .. } | Attempt::Streams { first, last, .. } => {
            range((*first).into(), (*last).into())
        }
        // Besides the lies, up to as many silent connections as a question opens.
        Attempt::Lies { bytes, .. } => bytes.len() + FRAMES,
        Attempt::Vsock { first, last, .. } => range(*first, *last),
        Attempt::Udp { ports, .. } => ports.len(),
        Attempt::Ports { .. } => usize::from(u16::MAX),
        Attempt::Raw { frames, flood, bytes, .. } => {
            frames.len() + bytes.len() + usize::try_from(*flood).unwrap_or(0) + FRAMES
        }
        Attempt::Dns { .. }
        | Attempt::Say { .. }
        | Attempt::Until { .. }
        | Attempt::Ping { .. }
        | Attempt::Tsi { .. }
        | Attempt::Unix { .. }
        | Attempt::Read { .. } => 1,
    }
}

/// Returns whether a connection to this port was tried.
fn has_port(attempt: &Attempt, port: u16) -> bool {
    match attempt {
        Attempt::Tcp { first, last, .. } | Attempt::Streams { first, last, .. } => {
            (*first..=*last).contains(&port)
        }
        Attempt::Say { address, .. } | Attempt::Until { address, .. } => port == address.port(),
        Attempt::Tsi { address } => port == address.port(),
        Attempt::Ports { .. } => port > 0,
        // After bytes that are not a frame, a connection that stays open counts as port 0.
        Attempt::Raw { .. } => port == 0,
        Attempt::Udp { .. }
        | Attempt::Lies { .. }
        | Attempt::Dns { .. }
        | Attempt::Ping { .. }
        | Attempt::Vsock { .. }
        | Attempt::Unix { .. }
        | Attempt::Read { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn numbers_that_nothing_could_come_to_are_refused() {
        let tried = Attempt::Tcp { address: Ipv4Addr::LOCALHOST.into(), first: 10, last: 12 };
        let honest = Answer { accepted: vec![10], refused: 2, ..Answer::default() };
        check(&honest, &tried).unwrap();
        let lies = [
            Answer { refused: usize::MAX, ..honest.clone() },
            Answer { silent: 4, ..honest.clone() },
            Answer { failed: 4_000_000_000, ..honest.clone() },
            Answer { accepted: vec![13], ..honest.clone() },
            Answer { accepted: vec![10; 4], ..honest.clone() },
            Answer { vsock: vec![10], ..honest.clone() },
            Answer { said: vec![(10, String::new()); 4], ..honest.clone() },
            Answer { said: vec![(10, "a".repeat(SAID + 1))], ..honest.clone() },
            Answer { error: "a".repeat(ERROR + 1), ..honest.clone() },
        ];
        for lie in lies {
            assert!(check(&lie, &tried).is_err(), "{lie:?}");
        }
        let vsock = Attempt::Vsock { cid: 2, first: 5, last: 6 };
        check(&Answer { vsock: vec![5, 6], ..Answer::default() }, &vsock).unwrap();
        assert!(check(&Answer { vsock: vec![7], ..Answer::default() }, &vsock).is_err());
    }
}
