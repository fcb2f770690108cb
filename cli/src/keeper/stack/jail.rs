//! The second wall: gvproxy in a network namespace that holds nothing but the doors.
//!
//! bubblewrap gives it an empty filesystem, no capabilities and no way to a host socket. The
//! helper runs first inside, makes the doors there, hands them out and becomes gvproxy.

use super::{Stack, Wall, connect, end, wait_until};
use crate::preflight::Network;
use crate::process::die_with_parent;
use crate::state::Folder;
use anyhow::{Context, Result, bail};
use bottle_core::plan::Plan;
use bottle_guest::doors::MAX_DOORS;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType, recvmsg,
    socketpair,
};
use rustix::process::Signal;
use std::fs::File;
use std::io::IoSliceMut;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The jail's one folder from outside, as gvproxy sees it.
const INSIDE: &str = "/run/bottle";
const LINK: &str = "link.sock";
/// gvproxy before 0.8.8 refuses to start without these two files and a resolver in them. The one
/// that they name is the jail's own loopback, where nobody answers.
const STUBS: [(&str, &[u8]); 2] = [("hosts", b""), ("resolv.conf", b"nameserver 127.0.0.1\n")];

/// gvproxy in a network namespace of its own.
#[derive(Clone, Copy, Debug)]
pub struct Jail;

impl Wall for Jail {
    const JAILED: bool = true;

    fn link(_: &Folder) -> PathBuf {
        Path::new(INSIDE).join(LINK)
    }

    fn start(network: &Network, folder: &Folder, plan: &Plan, log: &File) -> Result<Stack> {
        let link_path = folder.jail().join(LINK);
        let _ = std::fs::remove_file(&link_path);
        for (stub, text) in STUBS {
            crate::state::write_private(&folder.jail().join(stub), text)?;
        }
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        // What is handed down must survive exec.
        rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::empty())?;
        let mut child = command(network, folder, plan, &theirs, log)?
            .spawn()
            .with_context(|| format!("cannot start {}", network.bwrap.display()))?;
        drop(theirs);
        let ready = receive_doors(&ours, &mut child).and_then(|doors| {
            if doors.len() != plan.doors.iter().count() {
                bail!("the jail made {} doors", doors.len());
            }
            Ok((doors, connect(&link_path, &mut child)?))
        });
        match ready {
            Ok((doors, link)) => Ok(Stack { child, doors, link }),
            Err(error) => {
                end(&mut child);
                Err(error.context("gvproxy did not come up in its jail"))
            }
        }
    }
}

fn command(network: &Network, folder: &Folder, plan: &Plan, hand: &OwnedFd, log: &File) -> Result<Command> {
    let inside = |name: &str| format!("{INSIDE}/{name}");
    let ports: Vec<String> = plan.doors.iter().map(|(_, port)| port.to_string()).collect();
    let mut command = Command::new(&network.bwrap);
    command.args(["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]);
    // Its environment may hold keys of the operator's.
    command.env_clear();
    command.args(["--clearenv", "--hostname", "jail", "--chdir", "/"]);
    // Go's own resolver: no NSS module and no host resolver's socket is ever looked for.
    command.args(["--setenv", "GODEBUG", "netdns=go"]);
    for (host, guest) in [(network.gvproxy.as_path(), "/bin/gvproxy"), (&network.helper, "/bin/bottle-guest")]
    {
        command.arg("--ro-bind").arg(std::fs::canonicalize(host)?).arg(guest);
    }
    for (stub, _) in STUBS {
        command.arg("--ro-bind").arg(folder.jail().join(stub)).arg(format!("/etc/{stub}"));
    }
    for library in ["/lib", "/lib64", "/usr/lib", "/usr/lib64"] {
        // Debian links gvproxy against the C library.
        command.args(["--ro-bind-try", library, library]);
    }
    command.arg("--bind").arg(folder.jail()).arg(INSIDE);
    command.arg("--").args(["/bin/bottle-guest", "doors"]);
    command.arg("--fd").arg(hand.as_raw_fd().to_string()).arg("--ports").arg(ports.join(","));
    command.args(["--", "/bin/gvproxy"]);
    command.args(plan.dialect.arguments(&inside("gvproxy.yaml"), &inside(LINK)));
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
    // bubblewrap asks for this itself, and not whether it comes too late.
    die_with_parent(&mut command, Signal::KILL);
    Ok(command)
}

fn receive_doors(ours: &OwnedFd, child: &mut Child) -> Result<Vec<TcpListener>> {
    wait_until(child, || {
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DOORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        match recvmsg(ours, &mut [IoSliceMut::new(&mut byte)], &mut control, flags) {
            Ok(_) => {}
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let rights = |message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        };
        Ok(Some(control.drain().filter_map(rights).flatten().map(TcpListener::from).collect()))
    })
}
