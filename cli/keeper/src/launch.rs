//! Starts a keeper.

use crate::own_log;
use anyhow::{Context, Result};
use bottle_host::defence::Defence;
use bottle_host::fail_point::{self, FailPoint};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::peer::Process;
use bottle_host::state::Folder;
use bottle_host::tools;
use rustix::fs::Uid;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The word that a keeper writes once it is ready. Anything else is the reason why it did not start.
pub const READY: &str = "ready";

/// A keeper that this process launched. It ends when this value is dropped, unless it was left to its
/// machine.
#[derive(Debug)]
pub struct Keeper {
    child: Child,
    owner: Option<OwnedFd>,
}

/// A keeper that is not ready yet. A machine may boot meanwhile: the guest's socket exists, and the helper
/// waits for the keeper's greeting.
#[derive(Debug)]
pub struct Starting {
    keeper: Keeper,
    ready: File,
    log: PathBuf,
}

/// Who may connect to the guest's socket at first. Every peer is also checked: see [`bottle_host::peer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The owner, until the socket is given to the machine's user.
    Owner,
    /// Everybody, because root starts a machine whose user is unknown until it connects.
    Machine,
}

/// Launches a bottle's keeper. The caller holds the bottle's lock, and the bottle has no other keeper.
///
/// # Errors
/// Returns an error if the guest's socket or the process cannot be created.
pub fn launch(folder: &Folder, reach: Reach) -> Result<Starting> {
    let for_all = reach == Reach::Machine || !Defence::Peer.stands();
    let open = for_all && rustix::process::geteuid().is_root();
    let guest = bind(&folder.guest_socket(), if open { 0o666 } else { 0o600 })?;
    fail_point::reached(FailPoint::GuestSocket);
    let (keeper, ready) = spawn(folder, &guest)?;
    Ok(Starting { keeper, ready, log: folder.keeper_log() })
}

/// Gives the guest's socket to the user that a machine's process runs as.
///
/// # Errors
/// Returns an error if the process has ended, or the socket cannot be given away.
pub fn give_guest_socket(folder: &Folder, pid: i32) -> Result<()> {
    let user = Process::of(pid).and_then(Process::user).context("the machine's process has ended")?;
    give(&folder.guest_socket(), user)
}

/// Gives a socket to a user. After that, only this user and root can connect.
pub fn give(socket: &Path, user: Uid) -> Result<()> {
    if !Defence::Peer.stands() {
        return Ok(());
    }
    let given = || -> std::io::Result<()> {
        if fs::symlink_metadata(socket)?.uid() != user.as_raw() {
            chown(socket, Some(user.as_raw()), None)?;
        }
        fs::set_permissions(socket, Permissions::from_mode(0o600))
    };
    given().with_context(|| format!("cannot give {} to user {}", socket.display(), user.as_raw()))
}

impl Starting {
    /// Waits until the keeper is ready.
    ///
    /// # Errors
    /// Returns [`Kind::Unavailable`], with the keeper's own message, if the keeper does not start.
    pub fn ready(mut self) -> Outcome<Keeper> {
        let mut said = String::new();
        let read = self.ready.take(4096).read_to_string(&mut said).map_err(anyhow::Error::from);
        if said.trim() == READY {
            return Ok(self.keeper);
        }
        self.keeper.end();
        read?;
        if let Some(failure) = tools::why_no_jail() {
            return Err(failure);
        }
        if said.contains("gvproxy")
            && let Some(failure) = tools::why_no_gvproxy()
        {
            return Err(failure);
        }
        let why = if said.is_empty() { "it said nothing" } else { said.trim() };
        Err(Failure::new(Kind::Unavailable, format!("the keeper did not start: {why}"))
            .help(format!("its log is {}; `bottle doctor` checks this machine", self.log.display())))
    }
}

fn spawn(folder: &Folder, guest: &UnixListener) -> Result<(Keeper, File)> {
    let (owner_read, owner_write) = std::io::pipe()?;
    let (ready_read, ready_write) = std::io::pipe()?;
    // Inherited descriptors must survive exec.
    for inherited in [owner_read.as_fd(), ready_write.as_fd(), guest.as_fd()] {
        rustix::io::fcntl_setfd(inherited, rustix::io::FdFlags::empty())?;
    }
    let log = own_log::open(&folder.keeper_log())?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("keeper").arg(folder.slug().as_str());
    command.arg("--owner-fd").arg(owner_read.as_raw_fd().to_string());
    command.arg("--ready-fd").arg(ready_write.as_raw_fd().to_string());
    command.arg("--guest-fd").arg(guest.as_raw_fd().to_string());
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // It finds the same folders, wherever this process found their names.
    command.envs(folder.environment());
    // Its own process group: Ctrl-C at the terminal is for the guest, not for the keeper.
    command.process_group(0);
    let child = command.spawn().context("cannot start the keeper")?;
    Ok((Keeper { child, owner: Some(owner_write.into()) }, OwnedFd::from(ready_read).into()))
}

impl Keeper {
    /// Leaves the keeper to the machine that has adopted it.
    pub fn leave(mut self) {
        self.owner = None;
        // From now on it is nobody's child, and init reaps it.
        std::mem::forget(self);
    }

    fn end(&mut self) {
        self.owner = None;
        // A keeper that a machine has adopted does not end with its launcher, so it is asked to end.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end();
    }
}

/// Creates a socket at a path, replacing one that nobody listens on.
pub fn bind(path: &Path, mode: u32) -> Result<UnixListener> {
    // The bottle has no other keeper, so nobody listens on an existing socket.
    let _ = fs::remove_file(path);
    let listener = UnixListener::bind(path).with_context(|| path.display().to_string())?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(listener)
}
