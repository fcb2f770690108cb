//! The guest's streams: connections of its helper, each to one door.
//!
//! All that a guest can say here is a port number, followed by bytes for the door with that port. Any other
//! number closes the connection. Once a stream has ended, the guest may say another number on its connection.

use bottle_core::stream::{OPENING_LEN, Opening};
use bottle_guest::stream::again::{Offered, Offers};
use bottle_guest::stream::relay::{self, Relayed};
use bottle_guest::stream::socket::Socket;
use bottle_host::audit::Audit;
use bottle_host::defence::Defence;
use serde_json::json;
use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many connections may be open before they name a door. The helper keeps a few ready.
const MAX_UNOPENED: usize = 64;
/// How many connections may wait for another stream after one has ended. The helper keeps half as many.
const MAX_OFFERED: usize = 64;
/// How many streams may wait for a busy door. Any more are closed.
const BACKLOG: usize = 256;

/// The doors, and the streams on their way to them.
pub struct Streams {
    doors: Mutex<BTreeMap<NonZeroU16, Sender<Socket>>>,
    unopened: Arc<Semaphore>,
    offers: Offers,
    audit: Audit,
    runtime: Handle,
}

impl Streams {
    /// Creates streams without doors. It must be called inside a tokio runtime.
    pub fn new(audit: Audit) -> Arc<Self> {
        let unopened = Arc::new(Semaphore::new(MAX_UNOPENED));
        let (offers, offered) = Offers::new(MAX_OFFERED);
        let runtime = Handle::current();
        let streams = Arc::new(Self { doors: Mutex::default(), unopened, offers, audit, runtime });
        tokio::spawn(begin_again(Arc::downgrade(&streams), offered));
        streams
    }

    /// Opens a door, and returns the receiver of its streams. Dropping the receiver closes the door.
    pub fn open(&self, port: NonZeroU16) -> Receiver<Socket> {
        let (sender, receiver) = channel(BACKLOG);
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).insert(port, sender);
        receiver
    }

    /// Returns where the connections of streams go that have ended.
    pub fn offers(&self) -> Offers {
        self.offers.clone()
    }

    /// Takes a connection of the guest, and passes it to the door that it names. A connection for reports is
    /// passed to `reporter` on a thread of its own, together with its permit: the number of unopened
    /// connections is limited.
    pub fn take(
        self: &Arc<Self>,
        stream: UnixStream,
        reporter: impl FnOnce(UnixStream, OwnedSemaphorePermit) + Send + 'static,
    ) {
        let Ok(unopened) = Arc::clone(&self.unopened).try_acquire_owned() else { return };
        let streams = Arc::clone(self);
        self.runtime.spawn(async move {
            let Ok(socket) = Socket::new(stream) else { return };
            let Some(opening) = opening(&socket).await else { return };
            match opening {
                Opening::Door(port) => streams.pass_or_log(port, socket),
                Opening::Reports => {
                    let Ok(stream) = socket.into_blocking() else { return };
                    let report = move || reporter(stream.into(), unopened);
                    let _ = std::thread::Builder::new().name("reports".to_owned()).spawn(report);
                }
            }
        });
    }

    /// Takes a connection made on the host, to see what a guest would reach with it. It is not logged,
    /// because the guest did not make it.
    pub fn try_out(self: &Arc<Self>, stream: UnixStream) {
        let streams = Arc::clone(self);
        self.runtime.spawn(async move {
            let Ok(socket) = Socket::new(stream) else { return };
            if let Some(Opening::Door(port)) = opening(&socket).await {
                streams.pass(port, socket);
            }
        });
    }

    fn pass_or_log(&self, port: NonZeroU16, socket: Socket) {
        if !self.pass(port, socket) {
            self.audit.caused("link", "refused", "no-door", &port.to_string(), json!({}));
        }
    }

    /// Passes a stream to a door, and returns whether that door exists.
    fn pass(&self, port: NonZeroU16, socket: Socket) -> bool {
        let door = self.doors.lock().unwrap_or_else(PoisonError::into_inner).get(&port).cloned();
        if door.is_none() && !Defence::DoorsOnly.stands() {
            tokio::spawn(reach_anything(port, socket));
            return true;
        }
        if let Some(door) = &door {
            // A door that takes no more is busy, or is being closed. The agent sees a reset.
            let _ = door.try_send(socket);
        }
        door.is_some()
    }
}

/// Waits on each offered connection for the next stream's opening. Only a door may be named there.
async fn begin_again(streams: Weak<Streams>, mut offered: Receiver<Offered>) {
    while let Some((socket, place)) = offered.recv().await {
        let streams = Weak::clone(&streams);
        tokio::spawn(async move {
            let opening = opening(&socket).await;
            drop(place);
            if let (Some(Opening::Door(port)), Some(streams)) = (opening, streams.upgrade()) {
                streams.pass_or_log(port, socket);
            }
        });
    }
}

/// What a keeper without this wall would do: connect to anything that listens on this host.
async fn reach_anything(port: NonZeroU16, stream: Socket) -> io::Result<()> {
    let reached = TcpStream::connect((Ipv4Addr::LOCALHOST, port.get())).await?;
    let passed = Relayed::default();
    relay::both_ways(&Socket::new(reached.into_std()?)?, &stream, &passed.down, &passed.up).await
}

/// Reads what a connection is for. That may take a while, because the helper keeps connections ready.
async fn opening(socket: &Socket) -> Option<Opening> {
    let mut opening = [0; OPENING_LEN];
    socket.read_exact(&mut opening).await.ok()?;
    Some(Opening::from_bytes(opening))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bottle_core::specification::Need;
    use bottle_core::stream::AGAIN;
    use bottle_host::state::Home;
    use std::io::{Read, Write};
    use std::time::Duration;

    fn streams() -> (tempfile::TempDir, Arc<Streams>) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Home::at(dir.path().join("state"), dir.path().join("run")).bottle(&"t".parse().unwrap());
        folder.create().unwrap();
        (dir, Streams::new(Audit::open(&folder, Need::BestEffort).unwrap()))
    }

    fn connect(streams: &Arc<Streams>, opening: &[u8]) -> UnixStream {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        streams.take(ours, |_, _| panic!("it does not report"));
        theirs.write_all(opening).unwrap();
        theirs.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        theirs
    }

    async fn is_closed(mut stream: UnixStream) -> bool {
        tokio::task::spawn_blocking(move || matches!(stream.read(&mut [0]), Ok(0))).await.unwrap()
    }

    #[tokio::test]
    async fn a_stream_reaches_the_door_that_it_names_and_no_other_is_there() {
        let (_dir, streams) = streams();
        let mut door = streams.open(NonZeroU16::new(20_001).unwrap());
        let mut agent = connect(&streams, &20_001_u16.to_be_bytes());
        let socket = door.recv().await.unwrap();
        agent.write_all(b"hello").unwrap();
        let mut heard = [0; 5];
        socket.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
        for port in [1_u16, 20_000, 20_002, 8341, u16::MAX] {
            assert!(is_closed(connect(&streams, &port.to_be_bytes())).await, "{port}");
        }
        assert!(door.try_recv().is_err());
    }

    #[tokio::test]
    async fn connections_that_name_no_door_are_bounded_and_take_no_place_of_others_for_good() {
        let (_dir, streams) = streams();
        let mut door = streams.open(NonZeroU16::new(7).unwrap());
        let silent: Vec<UnixStream> = (0..MAX_UNOPENED).map(|_| connect(&streams, &[0])).collect();
        assert!(is_closed(connect(&streams, &[])).await);
        drop(silent);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let _agent = connect(&streams, &[0, 7]);
        assert!(door.recv().await.is_some());
    }

    #[tokio::test]
    async fn an_offered_connection_names_a_door_again_and_nothing_else() {
        let (_dir, streams) = streams();
        let mut door = streams.open(NonZeroU16::new(7).unwrap());
        for (opening, is_door) in [([0, 7], true), ([0, 8], false), ([0, 0], false)] {
            let mut agent = connect(&streams, &[0, 7]);
            let stream = door.recv().await.unwrap();
            let (server, _) = UnixStream::pair().unwrap();
            agent.write_all(&[0; 4]).unwrap();
            let relayed = Relayed::default();
            streams.offers().relay_server(&Socket::new(server).unwrap(), stream, &relayed).await.unwrap();
            let mut end_and_offer = [9; 5];
            agent.read_exact(&mut end_and_offer).unwrap();
            assert_eq!(end_and_offer, [0, 0, 0, 0, AGAIN]);
            agent.write_all(&opening).unwrap();
            if is_door {
                assert!(door.recv().await.is_some());
            } else {
                assert!(is_closed(agent).await, "{opening:?}");
            }
        }
        assert!(door.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_busy_door_turns_streams_away_at_once() {
        let (_dir, streams) = streams();
        let _door = streams.open(NonZeroU16::new(7).unwrap());
        let mut waiting = Vec::new();
        for _ in 0..BACKLOG {
            waiting.push(connect(&streams, &[0, 7]));
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(is_closed(connect(&streams, &[0, 7])).await);
    }
}
