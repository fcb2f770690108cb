//! An HTTPS server on a loopback address, with a certificate from its own authority.

use anyhow::{Context, Result, ensure};
use bottle_host::process::die_with_parent;
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// An HTTPS server on port 443. It ends when this value is dropped.
#[derive(Debug)]
pub struct HttpsServer {
    server: Child,
    address: Ipv4Addr,
    dir: TempDir,
}

impl HttpsServer {
    /// Serves a folder under these names, at a loopback address that no other server uses.
    ///
    /// # Errors
    /// Returns an error if `openssl` or the server fails.
    pub fn serve(names: &[&str]) -> Result<Self> {
        Self::run(include_str!("server.py"), names)
    }

    /// Runs another server: a Python program that takes an address, a certificate, its key and a folder.
    ///
    /// # Errors
    /// Returns an error if `openssl` or the server fails.
    pub fn run(program: &str, names: &[&str]) -> Result<Self> {
        static SERVERS: AtomicU8 = AtomicU8::new(1);
        // Other users of this machine may be running the same tests.
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, 64 | (high & 63), low, SERVERS.fetch_add(1, Relaxed));
        let dir = tempfile::Builder::new().prefix("bottle-https-").tempdir()?;
        let path = |name: &str| dir.path().join(name).display().to_string();
        fs::create_dir(path("www"))?;
        let names: Vec<String> = names.iter().map(|name| format!("DNS:{name}")).collect();
        let (new, days) = (["req", "-x509", "-newkey", "rsa:2048", "-nodes"], ["-days", "2"]);
        openssl(
            &[
                &new[..],
                &days,
                &["-subj", "/CN=test authority", "-keyout", &path("ca.key"), "-out", &path("ca.pem")],
            ]
            .concat(),
        )?;
        openssl(&[
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=test",
            "-keyout",
            &path("key.pem"),
            "-out",
            &path("request.pem"),
        ])?;
        fs::write(path("names"), format!("subjectAltName={}\n", names.join(",")))?;
        let signed =
            ["x509", "-req", "-in", &path("request.pem"), "-CA", &path("ca.pem"), "-CAkey", &path("ca.key")];
        openssl(
            &[
                &signed[..],
                &["-CAcreateserial", "-extfile", &path("names"), "-out", &path("cert.pem")],
                &days,
            ]
            .concat(),
        )?;
        fs::write(path("server.py"), program)?;
        let mut server = Command::new("python3");
        server.args([
            &path("server.py"),
            &address.to_string(),
            &path("cert.pem"),
            &path("key.pem"),
            &path("www"),
        ]);
        die_with_parent(&mut server, Signal::KILL);
        let mut server = server.stdin(Stdio::null()).spawn()?;
        let end = Instant::now() + Duration::from_secs(90);
        while TcpStream::connect((address, 443)).is_err() {
            ensure!(Instant::now() < end, "the server does not answer");
            thread::sleep(Duration::from_millis(20));
        }
        ensure!(server.try_wait()?.is_none(), "another server has {address}");
        Ok(Self { server, address, dir })
    }

    /// Returns its address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Returns the certificate file of the server's authority.
    pub fn authority(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Returns the requests that the server has recorded, oldest first, with `method`, `path`, `headers` and
    /// `body`.
    pub fn requests(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.dir.path().join("seen.jsonl")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Returns the folder that it serves.
    pub fn folder(&self) -> PathBuf {
        self.dir.path().join("www")
    }
}

impl Drop for HttpsServer {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn openssl(words: &[&str]) -> Result<()> {
    let output = Command::new("openssl").args(words).output().context("openssl")?;
    ensure!(output.status.success(), "openssl {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
