//! Canaries: listeners on the host that answer with this run's number, and that no guest may reach.

use super::scope::Canary;
use anyhow::{Context, Result, ensure};
use bottle_host::random;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// How many visits are kept for each canary. A guest can make as many as it likes.
const KEPT: usize = 100;
/// How many ports are tried for a canary that may use any port: a free TCP port may be taken for UDP.
const TRIES: u32 = 20;

/// The canaries of one run. They answer as long as the process lives.
#[derive(Clone, Debug)]
pub struct Canaries {
    nonce: Arc<str>,
    seen: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
}

impl Canaries {
    /// Chooses this run's number. There are no canaries yet.
    ///
    /// # Errors
    /// Returns an error if the host has no random bytes.
    pub fn new() -> Result<Self> {
        Ok(Self { nonce: random::hex::<12>()?.into(), seen: Arc::default() })
    }

    /// Returns this run's number. Only bytes that contain it prove that something was reached.
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// Returns the answer of the canary with this name.
    pub fn says(&self, name: &str) -> String {
        format!("canary {} {name}\n", self.nonce)
    }

    /// Starts a canary on TCP and UDP. Port 0 means any port.
    ///
    /// # Errors
    /// Returns an error if the address or the port is not available.
    pub fn listen(&self, name: &str, address: SocketAddr) -> Result<Canary> {
        let mut tries = 0;
        let (tcp, udp) = loop {
            tries += 1;
            let tcp = TcpListener::bind(address).with_context(|| format!("{name} at {address}"))?;
            match UdpSocket::bind(tcp.local_addr()?) {
                Ok(udp) => break (tcp, udp),
                Err(_) if address.port() == 0 && tries < TRIES => {}
                Err(error) => return Err(error).with_context(|| format!("{name} at {address}")),
            }
        };
        let address = tcp.local_addr()?;
        let (canaries, of) = (self.clone(), name.to_owned());
        thread::spawn(move || {
            for mut stream in tcp.incoming().flatten() {
                canaries.note(&of, "tcp".to_owned());
                let _ = stream.write_all(canaries.says(&of).as_bytes());
            }
        });
        let (canaries, of) = (self.clone(), name.to_owned());
        thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((_, from)) = udp.recv_from(&mut buffer) {
                canaries.note(&of, "udp".to_owned());
                let _ = udp.send_to(canaries.says(&of).as_bytes(), from);
            }
        });
        Ok(Canary { name: name.to_owned(), address })
    }

    /// Starts a canary on a Unix socket.
    pub fn listen_unix(&self, name: &'static str, listener: UnixListener) {
        let canaries = self.clone();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                canaries.note(name, "unix".to_owned());
                let _ = stream.write_all(canaries.says(name).as_bytes());
            }
        });
    }

    /// Checks that the canaries answer. Only then does a guest's failure to reach them mean anything. The
    /// visits of this check are forgotten.
    ///
    /// # Errors
    /// Returns an error if one of them is silent.
    pub fn check(&self, canaries: &[Canary]) -> Result<()> {
        for Canary { name, address } in canaries {
            self.heard(name, TcpStream::connect(address)?)?;
        }
        self.forget();
        Ok(())
    }

    /// Checks that the canary at the other end sends this run's number.
    ///
    /// # Errors
    /// Returns an error if it does not.
    pub fn heard(&self, name: &str, mut stream: impl Read) -> Result<()> {
        let mut buffer = [0; 256];
        let read = stream.read(&mut buffer)?;
        let said = String::from_utf8_lossy(&buffer[..read]);
        ensure!(said.contains(self.nonce()), "the canary {name} is silent");
        Ok(())
    }

    /// Records a visit to a canary.
    pub fn note(&self, name: &str, what: String) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let list = seen.entry(name.to_owned()).or_default();
        if list.len() < KEPT {
            list.push(what);
        }
    }

    /// Forgets all visits so far.
    pub fn forget(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Returns the visits to the canaries as leaks.
    pub fn leaks(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter()
            .filter_map(|(name, visits)| {
                let first = visits.first()?;
                Some(format!("canary {name} was reached {} times (first: {first})", visits.len()))
            })
            .collect()
    }
}
