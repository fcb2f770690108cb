//! What every agent's bottle has: the scripted model, this host's key, and a `bottle.toml`.

use super::agent::Agent;
use crate::checkout::Checkout;
use crate::environment::{Environment, Guest, Project};
use crate::https_server::HttpsServer;
use crate::package_registry::Registry;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The model, a program for [`HttpsServer::run`].
const MODEL: &str = include_str!("model.py");
/// The names of the origins that the model answers for.
const ORIGINS: [&str; 3] = ["api.anthropic.com", "api.openai.com", "generativelanguage.googleapis.com"];
/// A host that no rule allows, and that the model answers for as well.
pub const ASKED: &str = "asked.test";
/// The key that only this host has, and that is found nowhere else.
pub const KEY: &str = "sk-harness-5f0c9d6e7a8b4c3d2e1f";
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// An agent's bottle and its model. The bottle is removed when the value is dropped.
#[derive(Debug)]
pub struct Setting {
    agent: &'static Agent,
    /// The project.
    pub project: Project,
    /// The model.
    pub model: HttpsServer,
}

impl Setting {
    /// Makes a fresh one.
    ///
    /// # Errors
    /// Returns an error if something is missing.
    pub fn new(checkout: &Checkout, agent: &'static Agent, guest: Guest) -> Result<Self> {
        let model = HttpsServer::run(MODEL, &[&ORIGINS[..], &[ASKED]].concat())?;
        let environment = Environment::new(checkout, guest)?;
        let project = environment.project("project")?;
        let machine = match guest {
            Guest::Namespace => stand_in(agent, &environment)?,
            Guest::Real => real(agent, checkout, &environment)?,
        };
        let address = model.address();
        let names: Vec<String> =
            ORIGINS.iter().chain([&ASKED]).map(|name| format!("{name:?} = \"{address}\"")).collect();
        let config = format!(
            "slug = \"t\"\nagent = {:?}\n[guest]\nca = [{AUTHORITIES:?}, {:?}]\n{machine}hosts = {{ {} }}\n",
            agent.name,
            model.authority(),
            names.join(", ")
        );
        project.write("bottle.toml", config)?;
        Ok(Self { agent, project, model })
    }

    /// Starts a real guest, and makes a place of it where the agent runs.
    ///
    /// # Errors
    /// Returns an error if it does not start.
    pub fn start(&self) -> Result<()> {
        for words in [&["up"][..], &["exec", "--", "sh", "-c", LINKS]] {
            let output = self.bottle(words)?.stdin(Stdio::null()).output().context("bottle")?;
            ensure!(output.status.success(), "bottle {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Runs the agent to its end, without input.
    ///
    /// # Errors
    /// Returns an error if `bottle` cannot be run.
    pub fn run(&self) -> Result<Output> {
        self.call(self.agent.prompt)?.stdin(Stdio::null()).output().context("bottle")
    }

    /// Returns a call of `bottle` for the agent.
    ///
    /// # Errors
    /// As [`Self::bottle`].
    pub fn call(&self, arguments: &[&str]) -> Result<Command> {
        self.bottle(&[&[self.agent.name, "--"], arguments].concat())
    }

    /// Returns a call of `bottle` with this host's key. It trusts the model.
    ///
    /// # Errors
    /// Returns an error if the authorities cannot be written.
    fn bottle(&self, words: &[&str]) -> Result<Command> {
        let mut command = self.project.command(words);
        command.env(self.agent.key, KEY).env("SSL_CERT_FILE", authorities(&self.model)?);
        Ok(command)
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let _ = self.project.run(&["rm", "--force"]);
    }
}

/// A stand-in guest has this machine's own programs, whatever its image is. The agent's registry is open to its setup.
fn stand_in(agent: &Agent, environment: &Environment) -> Result<String> {
    let image = environment.path("image");
    fs::create_dir(&image)?;
    let registry = agent.registry.find()?;
    Ok(format!(
        "image = {image:?}\nmemory = 2048\nsetup = [{:?}]\nsetup-allow = {:?}\n\
         env = {{ npm_config_prefix = \"/var/tmp/npm\", PATH = \"/var/tmp/npm/bin:/var/tmp/venv/bin:/usr/local/bin:/usr/bin:/bin\" }}\n\
         [egress]\nallow_private = {:?}\n",
        agent.setup(),
        registry.hosts,
        registry.names(),
    ))
}

/// Where a real guest has the agent.
const AGENT: &str = "/opt/agent";
/// Where a real guest has Debian's programs.
const DEBIAN: &str = "/opt/debian";
/// A real guest has smolvm's own root, which needs no image to be unpacked, and is given the agent and what it needs as folders of
/// this machine. They are copied to where the environment is: smolvm needs idmapped mounts, which the outer machine's view of this
/// one has none of. Under emulation a machine with two processors more often fails to start.
fn real(agent: &Agent, checkout: &Checkout, environment: &Environment) -> Result<String> {
    let programs = folder(agent, checkout);
    let copy = |from: &Path, name: &str| -> Result<PathBuf> {
        let to = environment.path(name);
        let mut copy = Command::new("cp");
        copy.args(["--archive", "--reflink=auto"]).arg(from).arg(&to);
        ensure!(copy.status()?.success(), "{} is missing", from.display());
        Ok(to)
    };
    without_image(agent, checkout, environment)?;
    let folder = copy(&programs, "agent")?;
    let debian = copy(&programs.with_file_name("debian"), "debian")?;
    Ok(format!(
        "cpus = 1\nmemory = 2048\nsetup = []\n\
         env = {{ PATH = \"{AGENT}/bin:{DEBIAN}/usr/sbin:{DEBIAN}/usr/bin:/usr/bin:/sbin:/bin\", PYTHONPATH = \"{AGENT}/python\", \
         GIT_EXEC_PATH = \"{DEBIAN}/usr/lib/git-core\", SHELL = \"/bin/bash\" }}\n\
         [[guest.volumes]]\nhost = {folder:?}\nguest = {AGENT:?}\n\
         [[guest.volumes]]\nhost = {debian:?}\nguest = {DEBIAN:?}\n[egress]\n",
    ))
}

/// Gives the operator a profile of the same name, which is the agent's own but for its image.
fn without_image(agent: &Agent, checkout: &Checkout, environment: &Environment) -> Result<()> {
    let file = format!("{}.toml", agent.name);
    let mut profile: toml::Table =
        fs::read_to_string(checkout.root().join("cli/bottle/agents").join(&file))?.parse()?;
    profile.remove("image").context("the profile has no image")?;
    let folder = environment.path("config/bottle/agents");
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join(file), toml::to_string(&profile)?)?)
}

/// Leads to Debian's programs from where they are named in full. A login shell would set another `PATH`.
const LINKS: &str = "set -e; rm -f /etc/profile; ln -s /opt/debian/usr/bin/bash /bin; ln -s /opt/debian/usr/bin/python3 /usr/bin; \
    for part in lib64 lib/x86_64-linux-gnu; do ln -s /opt/debian/usr/$part /$part; done";

/// The folders of a real guest that are this machine's, and that it cannot write.
pub const GIVEN: [&str; 2] = [AGENT, DEBIAN];

/// Fetches what a real guest is given, unless it is there.
///
/// # Errors
/// Returns an error if it cannot be fetched.
pub fn fetch(agent: &Agent, checkout: &Checkout) -> Result<()> {
    let client = if agent.registry == Registry::Pip { "pip" } else { "npm" };
    let mut setup = Command::new(checkout.root().join("harness/setup.sh"));
    setup.arg("agent").arg(folder(agent, checkout)).args([client, &agent.pinned()]);
    ensure!(setup.status()?.success(), "{} is not there", agent.name);
    Ok(())
}

fn folder(agent: &Agent, checkout: &Checkout) -> PathBuf {
    let tools = checkout.tools();
    let tools = tools.canonicalize().unwrap_or(tools);
    tools.join("agents").join(format!("{}-{}", agent.name, agent.version))
}

/// Returns a file with this host's authorities and the model's own.
fn authorities(model: &HttpsServer) -> Result<PathBuf> {
    let file = model.folder().join("../all.pem");
    let own = fs::read_to_string(Path::new(AUTHORITIES)).unwrap_or_default();
    fs::write(&file, own + &fs::read_to_string(model.authority())?)?;
    Ok(file)
}
