//! An agent's connection, relayed over a stream to a server: what one side does, the other side sees.

use bottle_core::stream::Opening;
use bottle_guest::stream::again::{self, Offers};
use bottle_guest::stream::door::{DoorStream, Rest};
use bottle_guest::stream::relay::{Relayed, both_ways};
use bottle_guest::stream::socket::Socket;
use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

fn tcp() -> (TcpStream, Socket) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    near.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    (near, Socket::new(listener.accept().unwrap().0).unwrap())
}

fn unix() -> (Socket, Socket) {
    let (near, far) = UnixStream::pair().unwrap();
    (Socket::new(near).unwrap(), Socket::new(far).unwrap())
}

type Half = JoinHandle<std::io::Result<()>>;

fn relay(tcp: Socket, stream: Socket, resets: bool) -> Half {
    tokio::spawn(async move {
        tcp.reset_on_close(resets);
        let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
        let done = both_ways(&tcp, &stream, &up, &down).await;
        if done.is_ok() {
            tcp.reset_on_close(false);
        }
        done
    })
}

/// An agent and a server, with both halves of the way between them.
fn way() -> (TcpStream, TcpStream, [Half; 2]) {
    let ((agent, in_guest), (server, on_host), (near, far)) = (tcp(), tcp(), unix());
    (agent, server, [relay(in_guest, near, true), relay(on_host, far, false)])
}

fn noise(len: usize) -> Vec<u8> {
    (0..len).map(usize::to_le_bytes).map(|[low, high, ..]| low ^ high.rotate_left(3)).collect()
}

#[tokio::test]
async fn a_socket_that_always_has_something_leaves_time_for_other_tasks() {
    const BYTES: usize = 50_000;
    let (near, far) = unix();
    far.write_all(&[0; BYTES]).await.unwrap();
    let turns = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&turns);
    tokio::spawn(async move {
        loop {
            counter.fetch_add(1, Relaxed);
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..BYTES {
        assert_eq!(near.read(&mut [0]).await.unwrap(), 1);
    }
    assert!(turns.load(Relaxed) >= 100, "{turns:?}");
}

#[tokio::test]
async fn bytes_arrive_in_both_directions_and_each_half_closes_separately() {
    let (mut agent, mut server, halves) = way();
    let (up, down) = (noise(3_000_000), noise(2_000_001));
    let (sent, answered) = (up.clone(), down.clone());
    let asks = tokio::task::spawn_blocking(move || {
        agent.write_all(&sent).unwrap();
        agent.shutdown(Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        agent.read_to_end(&mut heard).unwrap();
        heard
    });
    let answers = tokio::task::spawn_blocking(move || {
        let mut heard = Vec::new();
        // The agent has closed its half, and can still receive.
        server.read_to_end(&mut heard).unwrap();
        server.write_all(&answered).unwrap();
        heard
    });
    assert!(answers.await.unwrap() == up && asks.await.unwrap() == down);
    for half in halves {
        half.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn few_bytes_arrive_at_once() {
    let (mut agent, mut server, _halves) = way();
    let done = tokio::task::spawn_blocking(move || {
        for round in 0..200_u16 {
            let sent = vec![round.to_le_bytes()[0]; 1 + usize::from(round) * 37];
            let mut heard = vec![0; sent.len()];
            agent.write_all(&sent).unwrap();
            server.read_exact(&mut heard).unwrap();
            assert_eq!(heard, sent);
            server.write_all(&heard).unwrap();
            agent.read_exact(&mut heard).unwrap();
            assert_eq!(heard, sent);
        }
    });
    done.await.unwrap();
}

#[tokio::test]
async fn a_reset_of_either_side_is_a_reset_for_the_other() {
    for agent_resets in [true, false] {
        let (agent, server, halves) = way();
        let (mut breaks, mut stays) = if agent_resets { (agent, server) } else { (server, agent) };
        let done = tokio::task::spawn_blocking(move || {
            breaks.write_all(b"before it").unwrap();
            stays.read_exact(&mut [0; 9]).unwrap();
            let zero = Some(Duration::ZERO);
            rustix::net::sockopt::set_socket_linger(&breaks, zero).unwrap();
            drop(breaks);
            stays.read(&mut [0]).unwrap_err().kind()
        });
        assert_eq!(done.await.unwrap(), ErrorKind::ConnectionReset, "agent: {agent_resets}");
        for half in halves {
            half.await.unwrap().unwrap_err();
        }
    }
}

#[tokio::test]
async fn a_keeper_that_vanishes_is_a_reset_and_an_end_of_the_wire_is_not_an_end() {
    let ((mut agent, in_guest), (near, far)) = (tcp(), unix());
    let half = relay(in_guest, near, true);
    // A chunk of five bytes, of which three arrive.
    far.write_all(&[0, 0, 0, 5, b'a', b'b', b'c']).await.unwrap();
    let read = tokio::task::spawn_blocking(move || {
        let mut heard = [0; 3];
        agent.read_exact(&mut heard).unwrap();
        (heard, agent.read(&mut [0]).unwrap_err().kind())
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(far);
    assert_eq!(read.await.unwrap(), (*b"abc", ErrorKind::ConnectionReset));
    half.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn a_chunk_that_is_too_long_breaks_the_stream_off() {
    let ((mut server, on_host), (near, far)) = (tcp(), unix());
    let half = relay(on_host, far, true);
    near.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
    assert!(half.await.unwrap().unwrap_err().to_string().contains("4294967295"));
    let read = tokio::task::spawn_blocking(move || server.read(&mut [0]).unwrap_err().kind());
    assert_eq!(read.await.unwrap(), ErrorKind::ConnectionReset);
}

/// A receiver that does not read holds up its own connection, and uses no memory.
#[tokio::test]
async fn what_nobody_reads_is_not_taken() {
    let (mut agent, server, _halves) = way();
    agent.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let taken = tokio::task::spawn_blocking(move || {
        let (block, mut taken) = (vec![1; 64 << 10], 0);
        let end = Instant::now() + Duration::from_secs(20);
        while let Ok(written) = agent.write(&block) {
            taken += written;
            assert!(Instant::now() < end && taken < 1 << 30);
        }
        drop(server);
        taken
    });
    // The buffers of two TCP connections, a Unix socket and two pipes.
    assert!(taken.await.unwrap() < 64 << 20);
}

#[tokio::test]
async fn a_sidecar_in_the_same_process_reads_and_writes_the_same_bytes() {
    let ((mut agent, in_guest), (near, far)) = (tcp(), unix());
    let half = relay(in_guest, near, true);
    let relayed = Arc::new(Relayed::default());
    let door = DoorStream::new(far, Arc::clone(&relayed), Offers::new(0).0);
    let sent = noise(700_000);
    let expected = sent.clone();
    let asks = thread::spawn(move || {
        agent.write_all(&sent).unwrap();
        agent.shutdown(Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        agent.read_to_end(&mut heard).unwrap();
        heard
    });
    let (mut heard, mut buffer) = (Vec::new(), vec![0; 5_000]);
    loop {
        match poll_fn(|context| door.poll_read(context, &mut buffer)).await.unwrap() {
            0 => break,
            read => heard.extend(&buffer[..read]),
        }
    }
    assert!(heard == expected && door.rest() == Rest::Nothing);
    let mut rest = &heard[..];
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(rest.len() / 3);
        let parts = [IoSlice::new(head), IoSlice::new(tail)];
        let written = poll_fn(|context| door.poll_write(context, &parts)).await.unwrap();
        rest = &rest[written..];
    }
    // It ends in order when it is dropped.
    drop(door);
    half.await.unwrap().unwrap();
    assert!(asks.join().unwrap() == expected);
    assert_eq!((relayed.up.load(Relaxed), relayed.down.load(Relaxed)), (700_000, 700_000));
}

#[tokio::test]
async fn a_sidecar_that_gives_up_a_write_resets_the_agent() {
    let ((mut agent, in_guest), (near, far)) = (tcp(), unix());
    let half = relay(in_guest, near, true);
    let door = DoorStream::new(far, Arc::default(), Offers::new(0).0);
    let block = vec![5; 1 << 20];
    // Nobody reads, so eventually a chunk is announced and incomplete.
    let full = tokio::time::timeout(Duration::from_secs(5), async {
        loop {
            poll_fn(|context| door.poll_write(context, &[IoSlice::new(&block)])).await.unwrap();
        }
    });
    assert!(full.await.is_err());
    drop(door);
    let read = tokio::task::spawn_blocking(move || agent.read_to_end(&mut Vec::new()).unwrap_err().kind());
    assert_eq!(read.await.unwrap(), ErrorKind::ConnectionReset);
    half.await.unwrap().unwrap_err();
}

/// The helper's side of one stream. Returns whether its connection was offered for another.
async fn helper(agent: Socket, stream: &Socket) -> bool {
    agent.reset_on_close(true);
    let Ok(may_be) = again::relay_agent(&agent, stream, Opening::from_bytes([0, 7])).await else {
        return false;
    };
    agent.reset_on_close(false);
    drop(agent);
    may_be && again::is_offered(stream).await
}

/// The keeper's side of one stream.
fn keeper(offers: &Offers, server: Socket, stream: Socket) -> Half {
    let offers = offers.clone();
    tokio::spawn(async move {
        let mut opening = [0; 2];
        stream.read_exact(&mut opening).await.unwrap();
        assert_eq!(opening, [0, 7]);
        offers.relay_server(&server, stream, &Relayed::default()).await
    })
}

#[tokio::test]
async fn a_connection_carries_one_stream_after_the_other() {
    let (offers, mut offered) = Offers::new(1);
    let (near, mut far) = unix();
    for round in 0..6 {
        let ((mut agent, in_guest), (mut server, on_host)) = (tcp(), tcp());
        let served = keeper(&offers, on_host, far);
        let (asks, sends_at_once) = (noise(1 + round * 400_000), round % 2 == 0);
        let expected = asks.clone();
        let talk = tokio::task::spawn_blocking(move || {
            let answers = thread::spawn(move || {
                let mut heard = vec![0; expected.len()];
                server.read_exact(&mut heard).unwrap();
                assert!(heard == expected);
                server.write_all(&heard).unwrap();
                // Either side may be the first to end.
                if sends_at_once {
                    assert_eq!(server.read(&mut [0]).unwrap(), 0);
                }
            });
            agent.write_all(&asks).unwrap();
            let mut heard = vec![0; asks.len()];
            agent.read_exact(&mut heard).unwrap();
            assert!(heard == asks);
            if !sends_at_once {
                assert_eq!(agent.read(&mut [0]).unwrap(), 0);
            }
            drop(agent);
            answers.join().unwrap();
        });
        assert!(helper(in_guest, &near).await, "round {round}");
        talk.await.unwrap();
        served.await.unwrap().unwrap();
        let (stream, place) = offered.recv().await.unwrap();
        drop(place);
        far = stream;
    }
}

#[tokio::test]
async fn no_more_connections_are_offered_than_there_are_places_for() {
    let (offers, mut offered) = Offers::new(2);
    let mut was_offered = Vec::new();
    for _ in 0..4 {
        let ((agent, in_guest), (server, on_host), (near, far)) = (tcp(), tcp(), unix());
        let served = keeper(&offers, on_host, far);
        drop((agent, server));
        was_offered.push(helper(in_guest, &near).await);
        drop(near);
        served.await.unwrap().unwrap();
    }
    assert_eq!(was_offered, [true, true, false, false]);
    // A place is free again with its connection.
    drop(offered.recv().await.unwrap());
    let ((agent, in_guest), (server, on_host), (near, far)) = (tcp(), tcp(), unix());
    let served = keeper(&offers, on_host, far);
    drop((agent, server));
    assert!(helper(in_guest, &near).await);
    served.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stream_that_breaks_off_takes_its_connection_along() {
    for agent_resets in [true, false] {
        let (offers, mut offered) = Offers::new(8);
        let ((agent, in_guest), (server, on_host), (near, far)) = (tcp(), tcp(), unix());
        let served = keeper(&offers, on_host, far);
        let (mut breaks, mut stays) = if agent_resets { (agent, server) } else { (server, agent) };
        let talk = tokio::task::spawn_blocking(move || {
            breaks.write_all(b"before it").unwrap();
            stays.read_exact(&mut [0; 9]).unwrap();
            rustix::net::sockopt::set_socket_linger(&breaks, Some(Duration::ZERO)).unwrap();
            drop(breaks);
            stays.read(&mut [0]).unwrap_err().kind()
        });
        assert!(!helper(in_guest, &near).await);
        drop(near);
        assert_eq!(talk.await.unwrap(), ErrorKind::ConnectionReset, "agent: {agent_resets}");
        served.await.unwrap().unwrap_err();
        assert!(offered.try_recv().is_err());
    }
}

#[tokio::test]
async fn a_sidecar_in_the_same_process_gives_its_connection_back() {
    let (offers, mut offered) = Offers::new(1);
    let ((mut agent, in_guest), (near, far)) = (tcp(), unix());
    let helper = tokio::spawn(async move { (helper(in_guest, &near).await, near) });
    far.read_exact(&mut [0; 2]).await.unwrap();
    let door = DoorStream::new(far, Arc::default(), offers);
    agent.write_all(b"more than it reads").unwrap();
    poll_fn(|context| door.poll_read(context, &mut [0; 4])).await.unwrap();
    drop(door);
    drop(agent);
    let (was_offered, _near) = helper.await.unwrap();
    assert!(was_offered);
    drop(offered.recv().await.unwrap());
}

#[tokio::test]
async fn a_busy_sidecar_is_told_that_nobody_waits_any_more() {
    let ((agent, in_guest), (near, far)) = (tcp(), unix());
    let helper = tokio::spawn(async move { helper(in_guest, &near).await });
    far.read_exact(&mut [0; 2]).await.unwrap();
    let door = DoorStream::new(far, Arc::default(), Offers::new(1).0);
    assert!(tokio::time::timeout(Duration::from_millis(300), door.read_closed()).await.is_err());
    drop(agent);
    tokio::time::timeout(Duration::from_secs(5), door.read_closed()).await.unwrap();
    assert_eq!(door.rest(), Rest::Nothing);
    drop(door);
    assert!(!helper.await.unwrap(), "its connection is used up");
}
