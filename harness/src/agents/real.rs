//! The agents in real guests. Without KVM that is the outer machine, which has no network: the agent is installed
//! beforehand, on this machine, and the guest sees its folder and this machine's programs, read-only.

use super::agent::Agent;
use super::conversation::converse;
use super::setting::hosts;
use crate::checkout::Checkout;
use crate::environment::{Environment, Guest};
use crate::outer;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// How long one agent may take, with its guest's start. A program of Node's takes a minute to start there.
const LIMIT: Duration = Duration::from_secs(540);
/// How often a guest may die before that is the result.
const TRIES: u32 = 3;
/// Where the guest sees the agent's folder.
const INSIDE: &str = "/opt/agent";

/// Runs each agent with a prompt, and prints a line for each.
///
/// # Errors
/// Returns an error if something cannot be set up. An agent that fails is a line and the exit status.
pub(super) fn main(checkout: &Checkout, agents: &[&Agent]) -> Result<ExitCode> {
    let mut failed = false;
    for agent in agents {
        let folder = installed(checkout, agent)?;
        if outer::has_kvm() {
            failed |= !tell(checkout, agent, &folder);
        } else {
            let job = ["agents", "--guest", "real", "--only", agent.name];
            failed |= outer::run_patiently(checkout, &job, LIMIT)? != ExitCode::SUCCESS;
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Installs an agent once, and returns its folder.
fn installed(checkout: &Checkout, agent: &Agent) -> Result<PathBuf> {
    let folder = checkout.root().join("target/agents").join(format!("{}-{}", agent.name, agent.version));
    if folder.is_dir() {
        return Ok(folder);
    }
    let draft = folder.with_extension("draft");
    fs::create_dir_all(&draft)?;
    let mut install = Command::new("sh");
    install.args(["-euc", &agent.install(), "sh"]).arg(&draft).stdout(io::stderr());
    ensure!(install.status()?.success(), "{} cannot be installed", agent.name);
    fs::rename(&draft, &folder)?;
    Ok(folder)
}

/// Tries an agent as often as its guest dies, and returns whether it worked.
fn tell(checkout: &Checkout, agent: &Agent, folder: &Path) -> bool {
    for attempt in 1..=TRIES {
        let since = Instant::now();
        let (said, is_over) = match run(checkout, agent, folder) {
            Ok(None) => (format!("ok      {:>4} s", since.elapsed().as_secs()), true),
            Ok(Some(died)) => (format!("died    (attempt {attempt} of {TRIES}) {died:#}"), false),
            Err(error) => (format!("FAILED  {error:#}"), true),
        };
        println!("{:<10} {:<12} real     {said}", agent.name, agent.version);
        if is_over {
            return said.starts_with("ok");
        }
    }
    false
}

/// Runs an agent once. Returns why its machine is gone, if that is so: such a run shows nothing.
fn run(checkout: &Checkout, agent: &Agent, folder: &Path) -> Result<Option<anyhow::Error>> {
    // A machine with an image and folders, as a user of its own, needs idmapped mounts. The outer machine's file systems have
    // none.
    let environment = Environment::new(checkout, Guest::Real)?.with("SMOLVM_VM_UID_DROP", "off")?;
    let project = environment.project("project")?;
    let image = environment.path("image.tar");
    write_image(&image)?;
    let config = |model: &_| {
        format!(
            "slug = \"t\"\nagent = {:?}\n\
             [guest]\nimage = {image:?}\ncpus = 1\nmemory = 2048\nsetup = [\"test -e {INSIDE}/bin\"]\n\
             env = {{ PATH = \"{INSIDE}/bin:/usr/local/bin:/usr/bin:/bin\" }}\nca = [\"/etc/ssl/certs/ca-certificates.crt\"]\n\
             [[guest.volumes]]\nhost = \"/usr\"\nguest = \"/usr\"\n\
             [[guest.volumes]]\nhost = {folder:?}\nguest = \"{INSIDE}\"\n\
             [egress]\nhosts = {{ {} }}\n",
            agent.name,
            hosts(model),
        )
    };
    let Err(error) = converse(&project, agent, &config) else { return Ok(None) };
    let state = project.answer(&["ls", "--json"]).map(|rows| rows[0]["state"].clone());
    let _ = project.run(&["rm", "--force"]);
    let has_died =
        state.is_ok_and(|state| state != "running") || error.to_string().contains("exit status: 75");
    if has_died { Ok(Some(error)) } else { Err(error) }
}

/// Writes an image in which every program is this machine's: links into `/usr`, and nothing else.
fn write_image(path: &Path) -> Result<()> {
    let mut layer = tar::Builder::new(Vec::new());
    let header = |kind, mode, len| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(len);
        header
    };
    for name in
        ["dev", "etc", "opt", "proc", "root", "run", "sys", "tmp", "usr", "var", "var/tmp", "workspace"]
    {
        let mode = if name.ends_with("tmp") { 0o1777 } else { 0o755 };
        layer.append_data(&mut header(tar::EntryType::Directory, mode, 0), name, io::empty())?;
    }
    for name in ["bin", "lib", "lib64", "sbin"] {
        layer.append_link(&mut header(tar::EntryType::Symlink, 0o777, 0), name, format!("usr/{name}"))?;
    }
    for (name, text) in [("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("etc/group", "root:x:0:\n")] {
        layer.append_data(
            &mut header(tar::EntryType::Regular, 0o644, text.len() as u64),
            name,
            text.as_bytes(),
        )?;
    }
    let layer = layer.into_inner()?;
    let config = json!({
        "os": "linux",
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "config": { "Cmd": ["/bin/sh"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", bottle_host::digest::hex(&layer))] },
    });
    let manifest = json!([{ "Config": "config.json", "RepoTags": null, "Layers": ["layer.tar"] }]);
    let mut archive = tar::Builder::new(File::create(path).context("the image")?);
    for (name, bytes) in [
        ("manifest.json", manifest.to_string().into_bytes()),
        ("config.json", config.to_string().into_bytes()),
        ("layer.tar", layer),
    ] {
        let mut header = header(tar::EntryType::Regular, 0o644, bytes.len() as u64);
        archive.append_data(&mut header, name, bytes.as_slice())?;
    }
    archive.finish()?;
    Ok(())
}
