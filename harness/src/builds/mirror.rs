//! Mirrors of registries that this machine does not reach, in the forms that their clients expect (`mirrors.toml`).
//!
//! A guest that reaches nothing makes the mirror. A server on loopback has it, and the guest that builds with it may reach that
//! server's name and nothing else.

use super::score::{LIMIT, Score, last_lines};
use crate::checkout::Checkout;
use crate::environment::{Environment, Guest, RunningBottle};
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const MIRRORS: &str = include_str!("mirrors.toml");
/// The server's name, which only these bottles know.
const HOST: &str = "mirror.test";
/// Where a guest has the root folder of its tools.
const ROOT: &str = "/opt/root";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mirrors {
    mirror: Vec<Mirror>,
}

/// A mirror, and a project that uses it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// What its client gets from it.
    pub ecosystem: String,
    /// The folder of its tools.
    root: String,
    /// A folder of the tools that the mirror has, too.
    also: Option<String>,
    make: String,
    r#try: String,
}

impl Mirror {
    /// Returns all of them.
    ///
    /// # Errors
    /// Returns an error if the file is not what it should be.
    pub fn all() -> Result<Vec<Self>> {
        Ok(toml::from_str::<Mirrors>(MIRRORS)?.mirror)
    }

    /// Makes the mirror, and tries the project first without it and then with it.
    ///
    /// # Errors
    /// Returns an error if the mirror cannot be made, or if what must be refused is not.
    pub fn attempt(&self, checkout: &Checkout) -> Result<Score> {
        let root = checkout.tools().join("builds").join(&self.root);
        ensure!(root.exists(), "{} is missing: run `make builds`", root.display());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let url = format!("http://{HOST}:{}", listener.local_addr()?.port());
        let folder = tempfile::Builder::new().prefix("bottle-mirror-").tempdir()?;
        self.make(checkout, &root, &url, folder.path())?;
        let also = self.also.as_ref().map(|also| root.join(also));
        serve(listener, [Some(folder.path().join("mirror")), also].into_iter().flatten().collect());

        let refused = self.bottle(checkout, &root, "")?;
        let output = call(&refused, "try", &url)?;
        ensure!(!output.status.success(), "{} builds in a guest that reaches nothing", self.ecosystem);
        let denied = refused.command(&["logs", "--denied"]).output()?;
        let denied = String::from_utf8_lossy(&denied.stdout).into_owned();
        ensure!(denied.contains(HOST), "{}: its client was not refused: {denied}", self.ecosystem);
        drop(refused);

        let rule = url.trim_start_matches("http://");
        let allowed = self.bottle(checkout, &root, &format!("allow = [{rule:?}]\n"))?;
        let since = Instant::now();
        let output = call(&allowed, "try", &url)?;
        Ok(Score {
            ecosystem: self.ecosystem.clone(),
            package: "greeting".to_owned(),
            version: "1.2".to_owned(),
            works: output.status.success(),
            seconds: since.elapsed().as_secs(),
            why: last_lines(&output),
        })
    }

    /// Makes the mirror's files in a guest, and copies them out.
    fn make(&self, checkout: &Checkout, root: &Path, url: &str, to: &Path) -> Result<()> {
        let bottle = self.bottle(checkout, root, "")?;
        let output = call(&bottle, "make", url)?;
        ensure!(output.status.success(), "{}: {}", self.ecosystem, last_lines(&output).unwrap_or_default());
        let copied = bottle.command(&["--quiet", "cp", "builds:/workspace/mirror"]).arg(to).output()?;
        ensure!(copied.status.success(), "cp: {}", String::from_utf8_lossy(&copied.stderr));
        Ok(())
    }

    /// Brings up a bottle that has the tools.
    fn bottle(&self, checkout: &Checkout, root: &Path, egress: &str) -> Result<RunningBottle> {
        let environment = Environment::new(checkout, Guest::Namespace)?;
        let project = environment.project("project")?;
        project.write(
            "bottle.toml",
            format!(
                "slug = \"builds\"\n[guest]\nmemory = 2048\n[[guest.volumes]]\nhost = {root:?}\nguest = {ROOT:?}\n\
                 [egress]\nhosts = {{ {HOST:?} = \"127.0.0.1\" }}\n{egress}"
            ),
        )?;
        for (name, script) in [("make", &self.make), ("try", &self.r#try)] {
            project.write(&format!("{name}.script"), script)?;
        }
        project.write("enter.sh", ENTER)?;
        project.up()
    }
}

/// Runs `/workspace/$1.script` with the tools' folder as the root, and the workspace as `/project` in it.
const ENTER: &str = "mount --rbind /proc /opt/root/proc\nmount --rbind /dev /opt/root/dev\nmount -t tmpfs tmpfs /opt/root/tmp\n\
    for file in hosts resolv.conf; do mount --bind /etc/$file /opt/root/etc/$file; done\n\
    mount --bind /workspace /opt/root/project\n\
    exec chroot /opt/root /bin/dash -eu /project/$1.script\n";

/// Runs one of the two scripts.
fn call(bottle: &RunningBottle, script: &str, url: &str) -> Result<Output> {
    let mut command = bottle.command(&["--quiet", "exec", "--timeout", LIMIT, "--env"]);
    command.arg(format!("MIRROR={url}"));
    command.args(["--", "unshare", "--mount", "sh", "-eu", "/workspace/enter.sh", script]);
    command.stdin(Stdio::null()).output().context("bottle")
}

/// Serves files from the first of these folders that has them, for as long as this process lives.
fn serve(listener: TcpListener, folders: Vec<PathBuf>) {
    let folders = Arc::new(folders);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let folders = Arc::clone(&folders);
            thread::spawn(move || answer(&stream, &folders));
        }
    });
}

fn answer(mut stream: &TcpStream, folders: &[PathBuf]) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut lines = BufReader::new(stream).lines();
    let line = lines.next().context("no request")??;
    while !lines.next().context("no end")??.is_empty() {}
    let path = line.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    // What these clients escape.
    let path = path
        .replace("%40", "@")
        .replace("%27", "'")
        .replace("%28", "(")
        .replace("%29", ")")
        .replace("%3D", "=");
    let is_inside = path.split('/').all(|part| part != "..");
    let there = |file: &PathBuf| is_inside && file.exists();
    let Some(file) = folders.iter().map(|folder| folder.join(&path)).find(there) else {
        return Ok(
            stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?
        );
    };
    if file.is_dir() {
        return Ok(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?);
    }
    // NuGet asks what it is that it gets.
    let kind = if path.contains("Packages(") { "atom+xml" } else { "octet-stream" };
    let mut file = File::open(file)?;
    let len = file.metadata()?.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/{kind}\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n"
    )?;
    if !line.starts_with("HEAD ") {
        std::io::copy(&mut file, &mut stream)?;
    }
    Ok(())
}
