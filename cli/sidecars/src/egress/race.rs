//! Happy Eyeballs (RFC 8305): tries the addresses of a host in turn, without waiting long for one that does
//! not answer.

use futures_util::stream::{FuturesUnordered, StreamExt};
use rustix::net::sockopt;
use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an attempt runs alone: the RFC's Connection Attempt Delay.
const NEXT: Duration = Duration::from_millis(250);
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);

/// How long a connection is idle before the kernel asks the other side whether it is still there, and then between two
/// questions. Routers that translate addresses forget a connection that says nothing for some minutes.
const ALIVE: Duration = Duration::from_secs(60);

/// Connects to the first of these addresses that accepts: without delaying small writes, and so that an idle connection
/// lasts for hours.
///
/// # Errors
/// Returns the last failure if no address accepts.
pub async fn connect(addresses: Vec<SocketAddr>) -> Result<TcpStream> {
    let stream = first(addresses, TcpStream::connect).await?;
    // A connection without these is no reason to have none.
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_tcp_keepidle(&stream, ALIVE);
    let _ = sockopt::set_tcp_keepintvl(&stream, ALIVE);
    let _ = sockopt::set_socket_keepalive(&stream, true);
    Ok(stream)
}

/// Connects to the first of these addresses that accepts, and abandons the other attempts.
async fn first<S, F>(addresses: Vec<SocketAddr>, connect: impl Fn(SocketAddr) -> F) -> Result<S>
where
    F: Future<Output = Result<S>>,
{
    let mut waiting = alternating(&addresses);
    let mut attempts = FuturesUnordered::new();
    let mut last = Error::from(ErrorKind::NotFound);
    loop {
        if let Some(address) = waiting.pop_front() {
            attempts.push(timeout(ATTEMPT, connect(address)));
        }
        let ended = if waiting.is_empty() {
            attempts.next().await
        } else {
            match timeout(NEXT, attempts.next()).await {
                Ok(ended) => ended,
                Err(_) => continue,
            }
        };
        // After a failure, the next address is tried at once.
        match ended {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(error))) => last = error,
            Some(Err(_)) => last = Error::new(ErrorKind::TimedOut, "timed out"),
            None => return Err(last),
        }
    }
}

/// Orders addresses so that the two families alternate, starting with the family of the first address.
fn alternating(addresses: &[SocketAddr]) -> VecDeque<SocketAddr> {
    let is_first = |address: &SocketAddr| address.is_ipv4() == addresses[0].is_ipv4();
    let (first, other): (Vec<SocketAddr>, Vec<SocketAddr>) =
        addresses.iter().copied().partition(|address| is_first(address));
    let (mut first, mut other) = (first.into_iter(), other.into_iter());
    let mut ordered = VecDeque::new();
    loop {
        let before = ordered.len();
        ordered.extend(first.next());
        ordered.extend(other.next());
        if ordered.len() == before {
            return ordered;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use std::sync::Mutex;
    use tokio::time::Instant;

    #[test]
    fn an_idle_connection_is_kept_alive() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = runtime.block_on(connect(vec![listener.local_addr().unwrap()])).unwrap();
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), ALIVE);
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| format!("{text}:1").replace("::1:1", "[::1]:1").parse().unwrap()).collect()
    }

    fn on_a_paused_clock<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(test)
    }

    #[test]
    fn an_address_that_does_not_answer_costs_a_quarter_of_a_second() {
        on_a_paused_clock(async {
            let since = Instant::now();
            let connected = first(addresses(&["192.0.2.1", "192.0.2.2"]), |address| async move {
                if address.ip().to_string() == "192.0.2.1" { pending().await } else { Ok(address) }
            });
            assert_eq!(connected.await.unwrap().ip().to_string(), "192.0.2.2");
            assert_eq!(since.elapsed(), NEXT);
        });
    }

    #[test]
    fn an_address_that_refuses_costs_nothing() {
        on_a_paused_clock(async {
            let since = Instant::now();
            let connected = first(addresses(&["192.0.2.1", "192.0.2.2"]), |address| async move {
                if address.ip().to_string() == "192.0.2.1" {
                    Err(ErrorKind::ConnectionRefused.into())
                } else {
                    Ok(address)
                }
            });
            assert_eq!(connected.await.unwrap().ip().to_string(), "192.0.2.2");
            assert_eq!(since.elapsed(), Duration::ZERO);
        });
    }

    #[test]
    fn a_slow_first_address_wins_if_it_answers_first() {
        on_a_paused_clock(async {
            let connected = first(addresses(&["192.0.2.1", "192.0.2.2"]), |address| async move {
                let slow = if address.ip().to_string() == "192.0.2.1" { 400 } else { 4000 };
                tokio::time::sleep(Duration::from_millis(slow)).await;
                Ok(address)
            });
            assert_eq!(connected.await.unwrap().ip().to_string(), "192.0.2.1");
        });
    }

    #[test]
    fn if_none_answers_the_failure_is_the_last_one() {
        on_a_paused_clock(async {
            let since = Instant::now();
            let tried = Mutex::new(Vec::new());
            let all = addresses(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
            let failed = first(all.clone(), |address| {
                tried.lock().unwrap().push(address);
                pending::<Result<()>>()
            });
            assert_eq!(failed.await.unwrap_err().kind(), ErrorKind::TimedOut);
            assert_eq!((since.elapsed(), tried.into_inner().unwrap()), (ATTEMPT + 2 * NEXT, all));
        });
    }

    #[test]
    fn the_families_alternate() {
        let ordered = alternating(&addresses(&["::1", "::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"]));
        let families: Vec<bool> = ordered.iter().map(SocketAddr::is_ipv6).collect();
        assert_eq!(families, [true, false, true, false, false]);
    }
}
