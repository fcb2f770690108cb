//! gvproxy without a jail: the guard alone decides what reaches it.

use super::endpoint::Endpoint;
use super::running::{Process, Running, end};
use super::wait::connect;
use super::wall::Wall;
use anyhow::{Context, Result};
use bottle_core::plan::Plan;
use bottle_host::process::die_with_parent;
use bottle_host::state::Folder;
use bottle_host::tools::{Gvproxy, Network};
use rustix::process::Signal;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// gvproxy as an ordinary process on this machine, with its doors on this machine's loopback.
#[derive(Clone, Copy, Debug)]
pub struct Bare;

impl Wall for Bare {
    const JAILED: bool = false;

    fn link(folder: &Folder) -> PathBuf {
        folder.jail().join("link.sock")
    }

    fn start(found: &Gvproxy, _: &Network, folder: &Folder, plan: &Plan, log: &File) -> Result<Running> {
        let link = Self::link(folder);
        let _ = std::fs::remove_file(&link);
        let ports = plan.doors.iter().map(|(_, port)| port);
        let doors = ports.map(|port| {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port))
                .with_context(|| format!("cannot listen on the door's port {port}"))
        });
        let doors: Vec<TcpListener> = doors.collect::<Result<_>>()?;
        let text = |path: PathBuf| {
            path.into_os_string().into_string().ok().context("the state folder's path is not UTF-8")
        };
        let mut gvproxy = Command::new(&found.program);
        gvproxy.args(found.dialect.arguments(&text(folder.gvproxy())?, &text(link.clone())?));
        // Its environment could contain the operator's keys.
        gvproxy.env_clear().stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
        die_with_parent(&mut gvproxy, Signal::KILL);
        let mut child =
            gvproxy.spawn().with_context(|| format!("cannot start {}", found.program.display()))?;
        match connect(&link, &mut child) {
            Ok(link) => Ok(Running { process: Process(child), doors, link: Endpoint::of(link).into() }),
            Err(error) => {
                end(&mut child);
                Err(error.context("gvproxy did not start"))
            }
        }
    }
}
