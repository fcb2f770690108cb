//! The second wall: gvproxy in a network namespace that contains nothing but the doors.
//!
//! The helper creates the doors there, hands them out, and becomes gvproxy.

use super::endpoint::Endpoint;
use super::namespace;
use super::running::{Process, Running, end};
use super::wait::connect;
use super::wall::Wall;
use anyhow::{Context, Result};
use bottle_core::plan::Plan;
use bottle_host::state::Folder;
use bottle_host::tools::{Gvproxy, Network};
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// The only folder from outside the jail, as gvproxy sees it.
const INSIDE: &str = "/run/bottle";
const LINK: &str = "link.sock";
/// Files that gvproxy before 0.8.8 needs to start. The resolver in them is the jail's own loopback, where
/// nobody responds.
const STUBS: [(&str, &[u8]); 2] = [("hosts", b""), ("resolv.conf", b"nameserver 127.0.0.1\n")];

/// gvproxy in its own network namespace.
#[derive(Clone, Copy, Debug)]
pub struct Jail;

impl Wall for Jail {
    const JAILED: bool = true;

    fn link(_: &Folder) -> PathBuf {
        Path::new(INSIDE).join(LINK)
    }

    fn start(
        found: &Gvproxy,
        network: &Network,
        folder: &Folder,
        plan: &Plan,
        log: &File,
    ) -> Result<Running> {
        let link_path = folder.jail().join(LINK);
        let _ = std::fs::remove_file(&link_path);
        for (stub, text) in STUBS {
            bottle_host::state::write_private(&folder.jail().join(stub), text)?;
        }
        let (ours, theirs) = namespace::socket_pair()?;
        let mut command = namespace::command(network, log)?;
        // Go's own resolver never looks for NSS modules or for a host resolver's socket.
        command.args(["--setenv", "GODEBUG", "netdns=go"]);
        command.arg("--ro-bind").arg(std::fs::canonicalize(&found.program)?).arg("/bin/gvproxy");
        for (stub, _) in STUBS {
            command.arg("--ro-bind").arg(folder.jail().join(stub)).arg(format!("/etc/{stub}"));
        }
        for library in ["/lib", "/lib64", "/usr/lib", "/usr/lib64"] {
            // Debian links gvproxy against the C library.
            command.args(["--ro-bind-try", library, library]);
        }
        command.arg("--bind").arg(folder.jail()).arg(INSIDE);
        namespace::make_doors(&mut command, &theirs, plan);
        let inside = |name: &str| format!("{INSIDE}/{name}");
        command.args(["--", "/bin/gvproxy"]);
        command.args(found.dialect.arguments(&inside("gvproxy.yaml"), &inside(LINK)));
        let mut child = command.spawn().context("cannot start bubblewrap")?;
        drop(theirs);
        let ready = namespace::receive(&ours, &mut child, plan).and_then(|doors| {
            let doors = doors.into_iter().map(TcpListener::from).collect();
            Ok((doors, connect(&link_path, &mut child)?))
        });
        match ready {
            Ok((doors, link)) => {
                Ok(Running { process: Process(child), doors, link: Endpoint::of(link).into() })
            }
            Err(error) => {
                end(&mut child);
                Err(error.context("gvproxy did not start in its jail"))
            }
        }
    }
}
