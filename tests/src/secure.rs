//! An https server on an address of loopback, with a certificate that only its own authority signed.

use bottle::process::die_with_parent;
use rustix::process::Signal;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// An https server on port 443. It ends with the value.
#[derive(Debug)]
pub struct Secure {
    server: Child,
    dir: TempDir,
}

impl Secure {
    /// Serves a folder for these names at an address of 127.0.0.0/8.
    pub fn serve(address: Ipv4Addr, names: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("bottle-secure-").tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        fs::create_dir(path("www")).unwrap();
        let names: Vec<String> = names.iter().map(|name| format!("DNS:{name}")).collect();
        let (new, days) = (["req", "-x509", "-newkey", "rsa:2048", "-nodes"], ["-days", "2"]);
        openssl(
            &[
                &new[..],
                &days,
                &["-subj", "/CN=test authority", "-keyout", &path("ca.key"), "-out", &path("ca.pem")],
            ]
            .concat(),
        );
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
        ]);
        fs::write(path("names"), format!("subjectAltName={}\n", names.join(","))).unwrap();
        let signed =
            ["x509", "-req", "-in", &path("request.pem"), "-CA", &path("ca.pem"), "-CAkey", &path("ca.key")];
        openssl(
            &[
                &signed[..],
                &["-CAcreateserial", "-extfile", &path("names"), "-out", &path("cert.pem")],
                &days,
            ]
            .concat(),
        );
        fs::write(path("server.py"), include_str!("server.py")).unwrap();
        let mut server = Command::new("python3");
        server.args([
            &path("server.py"),
            &address.to_string(),
            &path("cert.pem"),
            &path("key.pem"),
            &path("www"),
        ]);
        die_with_parent(&mut server, Signal::KILL);
        let server = server.stdin(Stdio::null()).spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect((address, 443)).is_err() {
            assert!(Instant::now() < end, "the server does not answer");
            thread::sleep(Duration::from_millis(20));
        }
        Self { server, dir }
    }

    /// The certificate of its authority.
    pub fn authority(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// The folder that it serves.
    pub fn folder(&self) -> PathBuf {
        self.dir.path().join("www")
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn openssl(words: &[&str]) {
    let output = Command::new("openssl").args(words).output().expect("openssl");
    assert!(output.status.success(), "openssl {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}
