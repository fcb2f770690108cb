//! The publisher: listens on the loopback, and passes each connection on to the guest.

use super::record::{Record, life};
use crate::operator::who;
use anyhow::Context;
use bottle_core::specification::Published;
use bottle_guest::stream::relay::{self, Relayed};
use bottle_guest::stream::socket::Socket;
use bottle_host::audit;
use bottle_host::control;
use bottle_host::defence::Defence;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::peer::Process;
use bottle_host::smolvm::Smolvm;
use bottle_host::state::Folder;
use bottle_host::tools;
use serde_json::json;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::LocalSet;

/// How many connections are open at a time. Further ones are reset.
const MOST: usize = 32;
/// How often the publisher looks whether its bottle still runs, and whether it is told to end.
const GLANCE: Duration = Duration::from_millis(250);

/// What a publisher counted.
#[derive(Default)]
struct Counts {
    taken: AtomicU64,
    refused: AtomicU64,
    bytes: Relayed,
}

/// Publishes a port until the bottle stops or a signal ends this process. `told` is given where it is published.
///
/// # Errors
/// Returns [`Kind::Busy`] if the guest's port is published already, or the host's is taken.
pub fn publish(folder: &Folder, wanted: Published, told: impl FnOnce(Published) -> Outcome) -> Outcome {
    let slug = folder.slug();
    let Published { guest, host } = wanted;
    let Some(record) = Record::reserve(folder, guest)? else {
        return Err(Failure::new(Kind::Busy, format!("port {guest} of {slug} is published already"))
            .help("`bottle ls` shows where"));
    };
    let keeper = control::keeper(folder)?;
    let smolvm = tools::smolvm()?;
    let address =
        if Defence::PublishedLoopback.stands() { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    let listener = std::net::TcpListener::bind((address, host)).map_err(|error| {
        Failure::new(Kind::Busy, format!("cannot listen on 127.0.0.1:{host}: {error}"))
            .help("leave the port out, and any free one is taken")
    })?;
    let host = listener.local_addr().context("the listener's address")?.port();
    let published = Published { guest, host };
    audit::decided(folder, "publish", "opened", json!({ "guest": guest, "host": host, "by": who() }))?;
    let born = life(folder);
    record.write(published, born)?;
    let is_told = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&is_told)).context("signals")?;
    }
    told(published)?;
    let counts = Rc::new(Counts::default());
    listener.set_nonblocking(true).context("the listener")?;
    let served = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")?;
    let is_over = || is_told.load(Relaxed) || Process::of(keeper.pid()) != Some(keeper);
    LocalSet::new().block_on(&served, serve(listener, folder, published, &smolvm, &counts, is_over))?;
    drop(served);
    let count = |number: &AtomicU64| number.load(Relaxed);
    let closed = json!({
        "guest": guest, "host": host, "connections": count(&counts.taken), "refused": count(&counts.refused),
        "bytes_in": count(&counts.bytes.up), "bytes_out": count(&counts.bytes.down),
    });
    Ok(audit::decided(folder, "publish", "closed", closed)?)
}

async fn serve(
    listener: std::net::TcpListener,
    folder: &Folder,
    published: Published,
    smolvm: &Smolvm,
    counts: &Rc<Counts>,
    is_over: impl Fn() -> bool,
) -> Outcome {
    let listener = TcpListener::from_std(listener).context("the listener")?;
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        let accepted = tokio::time::timeout(GLANCE, listener.accept()).await;
        if is_over() {
            return Ok(());
        }
        let client = match accepted {
            Err(_) => continue,
            Ok(Ok((client, _))) => client,
            // Descriptors have probably run out. Try again, but not in a busy loop.
            Ok(Err(_)) => {
                tokio::time::sleep(GLANCE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            counts.refused.fetch_add(1, Relaxed);
            continue;
        };
        counts.taken.fetch_add(1, Relaxed);
        match smolvm.connect(folder.slug(), published.guest) {
            Ok((stream, carrier)) => {
                let counts = Rc::clone(counts);
                tokio::task::spawn_local(async move {
                    let _ = pass(client, stream, &counts).await;
                    carrier.end().await;
                    drop(place);
                });
            }
            Err(_) => _ = counts.refused.fetch_add(1, Relaxed),
        }
    }
}

/// Passes a connection on in both directions. A guest that does not follow the form of a stream breaks it off.
async fn pass(client: TcpStream, stream: UnixStream, counts: &Counts) -> io::Result<()> {
    let (client, stream) = (Socket::new(client.into_std()?)?, Socket::new(stream)?);
    relay::both_ways(&client, &stream, &counts.bytes.up, &counts.bytes.down).await
}
