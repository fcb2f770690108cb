//! Debian's registry program on loopback, and images to put into it.

use crate::checkout::Checkout;
use anyhow::{Context, Result, ensure};
use bottle_host::digest::hex;
use bottle_host::process::die_with_parent;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A name that the registry lets in, if it asks for one; the password is `word`. The second part is what it
/// stores: bcrypt of the password.
const LOGIN: (&str, &str) = ("tester", "$2b$05$abcdefghijklmnopqrstuuQDoL5Sa/TtfS/XN4AY/jgq.HBbO1BTu");

/// A registry. It ends when the value is dropped.
#[derive(Debug)]
pub struct Registry {
    server: Child,
    port: u16,
    with_login: bool,
    with_tls: bool,
    folder: TempDir,
}

/// The kind of an image's manifest.
const KIND: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image, as registries have it.
#[derive(Clone, Debug)]
pub struct Built {
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The configuration and the layers.
    pub parts: Vec<Vec<u8>>,
}

/// An image that a registry can have: a root folder in layers, each as a list of files with their texts.
#[derive(Clone, Debug)]
pub struct Image {
    /// The layers, the lowest first.
    pub layers: Vec<Vec<(String, Vec<u8>)>>,
}

impl Registry {
    /// Starts an empty registry, which everybody may use or only one who is known.
    ///
    /// # Errors
    /// If the program is not there, or does not start.
    pub fn start(checkout: &Checkout, with_login: bool) -> Result<Self> {
        Self::run(checkout, with_login, false)
    }

    /// Starts an empty registry that speaks TLS, with a certificate of its [own](Self::certificate).
    ///
    /// # Errors
    /// If the program is not there, or does not start.
    pub fn start_with_tls(checkout: &Checkout) -> Result<Self> {
        Self::run(checkout, false, true)
    }

    fn run(checkout: &Checkout, with_login: bool, with_tls: bool) -> Result<Self> {
        let program = checkout.tools().join("docker-registry/docker-registry");
        ensure!(program.exists(), "{} is missing: run `make setup`", program.display());
        let folder = tempfile::Builder::new().prefix("bottle-registry-").tempdir()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut config = json!({
            "version": "0.1",
            "log": { "level": "error" },
            "storage": { "filesystem": { "rootdirectory": path("data") } },
            "http": { "addr": format!("127.0.0.1:{port}") },
        });
        if with_login {
            fs::write(path("logins"), format!("{}:{}\n", LOGIN.0, LOGIN.1))?;
            config["auth"] = json!({ "htpasswd": { "realm": "test", "path": path("logins") } });
        }
        if with_tls {
            let mut openssl = Command::new("openssl");
            openssl
                .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]);
            openssl.args(["-addext", "subjectAltName=IP:127.0.0.1"]);
            openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
            openssl.args(["-keyout", &path("key.pem"), "-out", &path("cert.pem")]).stderr(Stdio::null());
            piped(openssl, b"")?;
            config["http"]["tls"] = json!({ "certificate": path("cert.pem"), "key": path("key.pem") });
        }
        // JSON is YAML, too.
        fs::write(path("config.yml"), config.to_string())?;
        let mut command = Command::new(program);
        command.arg("serve").arg(path("config.yml")).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(fs::File::create(path("log"))?);
        die_with_parent(&mut command, Signal::KILL);
        let registry = Self { server: command.spawn()?, port, with_login, with_tls, folder };
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let log = fs::read_to_string(registry.folder.path().join("log")).unwrap_or_default();
            ensure!(Instant::now() < end, "the registry does not answer: {log}");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(registry)
    }

    /// Returns the file of the certificate, if the registry speaks TLS.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// Returns the full name of an image here: `127.0.0.1:PORT/tiny:1`.
    pub fn name(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }

    /// Puts an image into the registry under a name like `tiny:1`, and returns the digest of its manifest.
    ///
    /// # Errors
    /// If the registry does not take it.
    pub fn push(&self, name: &str, image: &Image) -> Result<String> {
        let (repository, tag) = name.split_once(':').context("a name and a tag")?;
        let built = image.build()?;
        built.parts.iter().try_for_each(|part| self.upload(repository, part))?;
        self.curl("PUT", &format!("/v2/{repository}/manifests/{tag}"), &built.manifest, KIND)?;
        Ok(digest(&built.manifest))
    }

    /// Uploads a part of an image.
    fn upload(&self, repository: &str, bytes: &[u8]) -> Result<()> {
        let digest = digest(bytes);
        let begun = self.curl("POST", &format!("/v2/{repository}/blobs/uploads/"), b"", "")?;
        let place = begun.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("location").then(|| value.trim().to_owned())
        });
        let place = place.context("the registry names no place for a part")?;
        let path = place.split_once("/v2/").context("a path")?.1;
        let path = format!("/v2/{path}{}digest={digest}", if path.contains('?') { '&' } else { '?' });
        self.curl("PUT", &path, bytes, "application/octet-stream")?;
        Ok(())
    }

    /// Sends a request, and returns the head of the response.
    fn curl(&self, method: &str, path: &str, body: &[u8], kind: &str) -> Result<String> {
        let mut curl = Command::new("curl");
        curl.args(["-sSf", "-m", "30", "-o", "/dev/null", "-D", "-", "-X", method, "--data-binary", "@-"]);
        if self.with_login {
            curl.args(["-u", &format!("{}:word", LOGIN.0)]);
        }
        curl.args(["-H", &format!("content-type: {kind}")]);
        let scheme = if self.with_tls { "https" } else { "http" };
        if self.with_tls {
            curl.arg("--cacert").arg(self.certificate());
        }
        curl.arg(format!("{scheme}://127.0.0.1:{}{path}", self.port));
        String::from_utf8(piped(curl, body)?).context("the head of a response")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Image {
    /// Makes an image of one layer with one file.
    pub fn with(name: &str, text: &str) -> Self {
        Self { layers: vec![vec![(name.to_owned(), text.as_bytes().to_vec())]] }
    }

    /// Builds the image for this machine.
    ///
    /// # Errors
    /// If a layer cannot be packed.
    pub fn build(&self) -> Result<Built> {
        let layers: Vec<Vec<u8>> = self.layers.iter().map(|files| layer(files)).collect::<Result<_>>()?;
        let unpacked: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
        let config = json!({
            "os": "linux",
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "config": { "Env": ["PATH=/bin", "FROM_IMAGE=yes"], "Cmd": ["/bin/sh"] },
            "rootfs": { "type": "layers", "diff_ids": unpacked },
        });
        let mut parts = vec![config.to_string().into_bytes()];
        parts.extend(layers.iter().map(|layer| gzip(layer)).collect::<Result<Vec<_>>>()?);
        let said = |kind: &str, part: &Vec<u8>| {
            let kind = format!("application/vnd.oci.image.{kind}");
            json!({ "mediaType": kind, "digest": digest(part), "size": part.len() })
        };
        let layers: Vec<Value> = parts[1..].iter().map(|part| said("layer.v1.tar+gzip", part)).collect();
        let config = said("config.v1+json", &parts[0]);
        let manifest = json!({ "schemaVersion": 2, "mediaType": KIND, "config": config, "layers": layers });
        Ok(Built { manifest: manifest.to_string().into_bytes(), parts })
    }
}

impl Built {
    /// Writes the image as files, so that any web server of this folder is a registry of it.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> Result<()> {
        let (repository, tag) = name.split_once(':').context("a name and a tag")?;
        let folder = folder.join("v2").join(repository);
        fs::create_dir_all(folder.join("manifests"))?;
        fs::create_dir_all(folder.join("blobs"))?;
        fs::write(folder.join("manifests").join(tag), &self.manifest)?;
        self.parts.iter().try_for_each(|part| Ok(fs::write(folder.join("blobs").join(digest(part)), part)?))
    }
}

/// Writes a layer.
fn layer(files: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, name, &text[..])?;
    }
    Ok(tar.into_inner()?)
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = Command::new("gzip");
    gzip.args(["-n", "-c"]);
    piped(gzip, bytes)
}

/// Runs a program with this input, and returns its output.
fn piped(mut command: Command, input: &[u8]) -> Result<Vec<u8>> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (mut stdin, input) = (child.stdin.take().context("a pipe")?, input.to_vec());
    let writer = thread::spawn(move || stdin.write_all(&input));
    let mut output = Vec::new();
    child.stdout.take().context("a pipe")?.read_to_end(&mut output)?;
    // A program that needs no input has closed its end.
    let _ = writer.join();
    ensure!(child.wait()?.success(), "{command:?} failed");
    Ok(output)
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(bytes))
}
