//! The process that holds the keys.

use super::holder::KeyHolder;
use super::protocol::Connect;
use super::{parent, renewal, upstream};
use crate::http::raise_descriptors;
use anyhow::Result;
use bottle_core::slug::Slug;
use bottle_core::upstream::Upstream;
use bottle_host::confine::{self, Policy};
use bottle_host::defence::Defence;
use bottle_host::out;
use bottle_host::starter::{Said, wire};
use bottle_host::state::Home;
use bottle_host::trial;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::net::{TcpStream, UnixStream};

/// Finds the keys of a bottle, gives up all other rights, and serves the bottle's keeper until the keeper
/// ends.
///
/// # Errors
/// Returns an error if a key is not available. The keeper is told, too.
pub fn main(slug: &Slug, socket: OwnedFd) -> Result<()> {
    let plan = Home::find()?.bottle(slug).read_plan()?;
    // It is started before this process gives up the right to start anything.
    let renewal =
        plan.upstreams.iter().any(Upstream::is_renewed).then(|| renewal::start(slug)).transpose()?;
    raise_descriptors();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let holder = runtime.block_on(KeyHolder::find(plan, renewal)).and_then(|holder| {
        if Defence::KeeperConfined.stands() {
            confine::this_process(&Policy::keys())?;
        }
        Ok(holder)
    });
    let holder = match holder {
        Ok(holder) => holder,
        Err(error) => {
            wire::send(&socket, &Said::Failed(format!("{error:#}")), &[])?;
            return Err(error);
        }
    };
    trial::run("keys");
    wire::send(&socket, &Said::Done, &[])?;
    runtime.block_on(serve(Arc::new(holder), socket))
}

async fn serve(holder: Arc<KeyHolder>, socket: OwnedFd) -> Result<()> {
    let keeper = Arc::new(socket.try_clone()?);
    let wanted = wire::Incoming::on(socket)?;
    while let Some((wanted, descriptors)) = wanted.next::<Connect>().await? {
        let (holder, keeper) = (Arc::clone(&holder), Arc::clone(&keeper));
        tokio::spawn(async move {
            if let Err(error) = connection(&holder, &keeper, wanted, descriptors).await {
                out::note(format_args!("keys: {error:#}"));
            }
        });
    }
    Ok(())
}

async fn connection(
    holder: &Arc<KeyHolder>,
    keeper: &Arc<OwnedFd>,
    wanted: Connect,
    descriptors: Vec<OwnedFd>,
) -> Result<()> {
    let [http, server] = <[OwnedFd; 2]>::try_from(descriptors)
        .map_err(|_| anyhow::anyhow!("a request came without its two connections"))?;
    let (http, server) = (std::os::unix::net::UnixStream::from(http), std::net::TcpStream::from(server));
    http.set_nonblocking(true)?;
    server.set_nonblocking(true)?;
    let (http, server) = (UnixStream::from_std(http)?, TcpStream::from_std(server)?);
    match wanted {
        Connect::Upstream(index) => upstream::serve(holder, keeper, index, http, server).await,
        Connect::Tunnel { host, port } => parent::tunnel(&holder.logins, &host, port, http, server).await,
        Connect::Plain => parent::plain(holder, keeper, http, server).await,
    }
}
