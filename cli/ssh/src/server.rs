//! The server: who gets in, and what may be opened.

use crate::guest::{Guest, patience};
use crate::keys::Keys;
use crate::{forward, session};
use anyhow::Context;
use bottle_core::text::Word;
use bottle_host::audit;
use bottle_host::control;
use bottle_host::failure::Outcome;
use bottle_host::peer::Process;
use bottle_host::smolvm::Smolvm;
use bottle_host::state::Folder;
use russh::keys::PublicKey;
use russh::server::{
    Auth, ChannelOpenHandle, Config, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, Disconnect, MethodKind, MethodSet, Pty, SshId};
use serde_json::json;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many channels of a connection are open at a time.
const MOST: u32 = 64;
/// How often it is looked whether the bottle still runs.
const GLANCE: Duration = Duration::from_millis(250);
/// How long a client that does not get in waits. Nobody guesses a key, and ssh asks without one first.
const REFUSED: Duration = Duration::from_millis(10);
/// How long the channels of a client that has left may take to end what they run.
const LEAVING: Duration = Duration::from_secs(15);
/// `SSH_OPEN_ADMINISTRATIVELY_PROHIBITED` (RFC 4254, 5.1).
const PROHIBITED: u32 = 1;

/// Serves one client on standard input and output, until it leaves or the bottle stops. `by` is who runs it.
///
/// # Errors
/// Returns an error if the bottle does not run or has no keys, before a byte is sent.
pub fn serve(folder: &Folder, smolvm: Smolvm, by: &str) -> Outcome {
    let keeper = control::keeper(folder)?;
    let keys = Keys::read(folder)?;
    audit::decided(folder, "ssh", "opened", json!({ "by": by }))?;
    let guest = Arc::new(Guest::new(folder, smolvm));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")?;
    let streams = || tokio::io::join(tokio::io::stdin(), tokio::io::stdout());
    let served = runtime.block_on(async { connection(&guest, keys, keeper, streams()).await });
    // A read of standard input cannot be taken back.
    runtime.shutdown_background();
    let count = |number: &AtomicU64| number.load(Relaxed);
    let closed = json!({ "sessions": count(&guest.sessions), "forwarded": count(&guest.forwarded) });
    audit::decided(folder, "ssh", "closed", closed)?;
    Ok(served?)
}

async fn connection(
    guest: &Arc<Guest>,
    keys: Keys,
    keeper: Process,
    streams: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> anyhow::Result<()> {
    let Keys { host, user } = keys;
    let config = Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-bottle")),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: REFUSED,
        keys: vec![host],
        inactivity_timeout: None,
        ..Config::default()
    };
    // ssh ends its proxy command with a signal, which must not keep the end out of the log.
    let told = told()?;
    let places = Arc::new(Semaphore::new(MOST as usize));
    let handler = Server { guest: Arc::clone(guest), key: user, user: None, places: Arc::clone(&places) };
    let running = russh::server::run_stream(Arc::new(config), streams, handler).await?;
    let handle = running.handle();
    let stopped = async {
        while Process::of(keeper.pid()) == Some(keeper) {
            tokio::time::sleep(GLANCE).await;
        }
    };
    let served = tokio::select! {
        served = running => ended(served),
        () = told => {
            let _ = handle.disconnect(Disconnect::ByApplication, String::new(), String::new()).await;
            Ok(())
        }
        () = stopped => {
            let _ = handle.disconnect(Disconnect::ByApplication, "the bottle has stopped".to_owned(), String::new()).await;
            // The client gets to read it.
            tokio::time::sleep(GLANCE).await;
            Ok(())
        }
    };
    // Each channel has its place until it has ended what it runs.
    let _ = tokio::time::timeout(patience(LEAVING), places.acquire_many(MOST)).await;
    served
}

/// Returns what ends once a signal tells this process to end. From now on no such signal does so by itself.
fn told() -> std::io::Result<impl Future<Output = ()>> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = hangup.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Returns how a connection ended. A client that just leaves is how most of them do.
fn ended(served: anyhow::Result<()>) -> anyhow::Result<()> {
    let left = |error: &anyhow::Error| match error.downcast_ref::<russh::Error>() {
        Some(russh::Error::Disconnect | russh::Error::HUP) => true,
        Some(russh::Error::IO(error)) => {
            matches!(error.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::BrokenPipe)
        }
        _ => false,
    };
    served.or_else(|error| if left(&error) { Ok(()) } else { Err(error) })
}

/// One client. Requests are answered here, in their order, and carried out by the task of their channel, which gets
/// the same messages.
struct Server {
    guest: Arc<Guest>,
    key: PublicKey,
    user: Option<Word>,
    places: Arc<Semaphore>,
}

impl Server {
    fn knows(&self, key: &PublicKey) -> bool {
        key.key_data() == self.key.key_data()
    }

    fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }
}

fn auth(accepts: bool) -> Auth {
    if accepts { Auth::Accept } else { Auth::reject() }
}

/// Opens a channel, which has its place for as long as it is served.
async fn accept(
    reply: ChannelOpenHandle,
    place: OwnedSemaphorePermit,
    serve: impl Future<Output = ()> + Send + 'static,
) {
    tokio::spawn(async move {
        serve.await;
        drop(place);
    });
    reply.accept().await;
}

impl Handler for Server {
    type Error = anyhow::Error;

    async fn auth_publickey_offered(&mut self, _: &str, offer: PublicKeyOffer<'_>) -> anyhow::Result<Auth> {
        Ok(auth(self.knows(offer.public_key)))
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> anyhow::Result<Auth> {
        self.user = user.parse().ok();
        Ok(auth(self.knows(key.public_key) && self.user.is_some()))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> anyhow::Result<()> {
        let (Some(place), Some(user)) = (self.place(), self.user.clone()) else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        };
        self.guest.sessions.fetch_add(1, Relaxed);
        let guest = Arc::clone(&self.guest);
        let (from, to) = channel.split();
        accept(reply, place, async move { session::serve(&guest, user, from, to).await }).await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> anyhow::Result<()> {
        let Some(port) = forward::port(host, port) else {
            let reason =
                "only the guest's own loopback can be reached: localhost, 127.0.0.1 or ::1".to_owned();
            reply.reject(ChannelOpenFailure::Other { code: PROHIBITED, reason }).await;
            return Ok(());
        };
        let Some(place) = self.place() else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        };
        self.guest.forwarded.fetch_add(1, Relaxed);
        let guest = Arc::clone(&self.guest);
        let (from, to) = channel.split();
        accept(reply, place, async move { forward::serve(&guest, port, from, to).await }).await;
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> anyhow::Result<()> {
        Ok(session.channel_success(channel)?)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: &str,
        session: &mut Session,
    ) -> anyhow::Result<()> {
        Ok(session.channel_success(channel)?)
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> anyhow::Result<()> {
        Ok(session.channel_success(channel)?)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _: &[u8],
        session: &mut Session,
    ) -> anyhow::Result<()> {
        Ok(session.channel_success(channel)?)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> anyhow::Result<()> {
        match name {
            session::SFTP => Ok(session.channel_success(channel)?),
            _ => Ok(session.channel_failure(channel)?),
        }
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _: bool,
        _: &str,
        _: &str,
        _: u32,
        session: &mut Session,
    ) -> anyhow::Result<()> {
        Ok(session.channel_failure(channel)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{ensure, identity};
    use bottle_host::state::Home;
    use russh::client;
    use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    struct Trusting;

    impl client::Handler for Trusting {
        type Error = russh::Error;

        async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
            Ok(true)
        }
    }

    /// A smolvm that notes which signals it is told to send, and runs nothing.
    const SMOLVM: &str = "#!/bin/sh\nfor word; do [ \"$was\" = signal ] && echo \"$word $*\" >> NOTES; was=$word; done\n\
                          case \"$*\" in *' signal '*) ;; *) echo up; exec sleep 60 ;; esac\n";

    #[tokio::test]
    async fn a_clients_signals_reach_its_command_in_their_order_and_its_end_hangs_up() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::write(at("smolvm"), SMOLVM.replace("NOTES", &at("notes").display().to_string())).unwrap();
        fs::set_permissions(at("smolvm"), fs::Permissions::from_mode(0o755)).unwrap();
        let smolvm = Smolvm { path: at("smolvm"), lib_dir: None, state_dir: None, stand_in: true };
        let folder = Home::at(at("state"), at("run")).bottle(&"t".parse().unwrap());
        ensure(&folder).unwrap();
        let keys = Keys::read(&folder).unwrap();
        let guest = Arc::new(Guest::new(&folder, smolvm));
        let keeper = Process::of(std::process::id().cast_signed()).unwrap();
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let server = tokio::spawn(async move { connection(&guest, keys, keeper, theirs).await });
        let mut session = client::connect_stream(Arc::default(), ours, Trusting).await.unwrap();
        let key = PrivateKey::from_openssh(fs::read_to_string(identity(&folder)).unwrap()).unwrap();
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
        assert!(session.authenticate_publickey("root", key).await.unwrap().success());
        let mut channel = session.channel_open_session().await.unwrap();
        channel.exec(true, "sleep 60").await.unwrap();
        while !matches!(channel.wait().await.unwrap(), russh::ChannelMsg::Data { .. }) {}
        channel.signal(russh::Sig::INT).await.unwrap();
        channel.signal(russh::Sig::USR1).await.unwrap();
        let notes = || fs::read_to_string(at("notes")).unwrap_or_default();
        let end = tokio::time::Instant::now() + Duration::from_secs(20);
        while notes().lines().count() < 2 && tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop((channel, session));
        server.await.unwrap().unwrap();
        let said = notes();
        let called: Vec<&str> = said.lines().filter_map(|line| line.split(' ').next()).collect();
        let signals: Vec<&str> = said.lines().filter_map(|line| line.rsplit(' ').next()).collect();
        assert_eq!(signals, ["INT", "USR1", "HUP"], "{said}");
        assert!(called.iter().all(|word| word.len() == 32 && *word == called[0]), "{said}");
    }
}
