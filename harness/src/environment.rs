//! The test environment: one vocabulary for every test, check and measurement.
//! - [`Checkout`] says where this build's programs and the fetched tools are.
//! - [`Environment`] is a separate host side: a folder with bottle's state and runtime folders, a `PATH`, and
//!   a kind of [`Guest`] (the stand-in, or real guests, which need KVM or the outer machine).
//! - [`Project`] is a folder with a `bottle.toml` in an environment, and `bottle` as a user runs it there.
//! - [`RunningBottle`] is a bottle that is up. Dropping the value removes the bottle.
//!
//! `bottle-tests` adds assertions to the last two. The demo, the life, the soak, the comparison and the
//! conformance check use them as they are; a [`Target`](crate::ways_back::target::Target) adds what an attack
//! must not change.

use crate::checkout::Checkout;
use anyhow::{Context, Result, ensure};
use bottle_core::helper::HELPER;
use bottle_core::plan::Plan;
use bottle_host::control::Status;
use bottle_host::proxies::VARIABLES;
use bottle_host::smolvm::CONFINED;
use bottle_verify::questions::Questions;
use bottle_verify::talk::Talk;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::ops::Deref;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// bottle's network stacks, the default first.
pub const STACKS: [&str; 2] = ["gvproxy", "sockets"];

/// The shape of a real guest's machine. Under emulation a machine with two processors more often fails to
/// start.
pub const SMALL_MACHINE: &str = "[guest]\ncpus = 1\nmemory = 512\n";

/// What runs as the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guest {
    /// A real smolvm guest.
    Real,
    /// The stand-in: a network namespace, and no virtual machine.
    Namespace,
}

impl Guest {
    /// Returns the name that reports use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Real => "a real smolvm guest",
            Self::Namespace => "a stand-in (a network namespace, no virtual machine)",
        }
    }

    /// Returns the given kind, or both kinds if none is given.
    pub fn or_both(guest: Option<Self>) -> Vec<Self> {
        guest.map_or(vec![Self::Namespace, Self::Real], |guest| vec![guest])
    }
}

/// A separate host side. Clones share it, and its folder is removed with the last of them.
#[derive(Clone, Debug)]
pub struct Environment(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    checkout: Checkout,
    guest: Guest,
    folder: tempfile::TempDir,
    variables: Vec<(&'static str, OsString)>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.guest == Guest::Namespace {
            crate::stand_in::end_all(&self.folder.path().join("machines"));
        }
    }
}

impl Environment {
    /// Creates an environment for guests of this kind.
    pub fn new(checkout: &Checkout, guest: Guest) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("bottle-").tempdir()?;
        let path = |name: &str| folder.path().join(name);
        let mut variables = match guest {
            Guest::Real => {
                // smolvm's machine runs as another user, and must be able to pass through.
                fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o711))?;
                checkout.variables(&[])?
            }
            Guest::Namespace => {
                fs::create_dir(path("bin"))?;
                symlink(checkout.program("smolvm-stand-in")?, path("bin/smolvm"))?;
                checkout.variables(&[&path("bin")])?
            }
        };
        for (name, inside) in [
            (crate::stand_in::STATE, "machines"),
            ("BOTTLE_STATE_DIR", "state"),
            ("BOTTLE_RUNTIME_DIR", "run"),
            ("BOTTLE_CACHE_DIR", "cache"),
            // A person's own defaults and agents are theirs.
            ("XDG_CONFIG_HOME", "config"),
        ] {
            variables.push((name, path(inside).into()));
        }
        Ok(Self(Arc::new(Inner { checkout: checkout.clone(), guest, folder, variables })))
    }

    /// Creates another environment on the same host, with stand-in guests.
    pub fn neighbour(&self) -> Result<Self> {
        Self::new(self.checkout(), Guest::Namespace)
    }

    /// Returns the checkout whose programs run here.
    pub fn checkout(&self) -> &Checkout {
        &self.0.checkout
    }

    /// Returns whether guests are virtual machines.
    pub fn is_real(&self) -> bool {
        self.0.guest == Guest::Real
    }

    /// Returns the folder with everything in the environment.
    pub fn folder(&self) -> &Path {
        self.0.folder.path()
    }

    /// Returns a path below the environment's folder: `state`, `run`, `bin`, `machines`, a project.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder().join(name)
    }

    /// Returns a command that runs a program with this environment's variables.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        // A test that wants a proxy names its own.
        VARIABLES.iter().for_each(|name| _ = command.env_remove(name));
        command.envs(self.0.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Creates an empty project.
    pub fn project(&self, name: &str) -> Result<Project> {
        let project = Project {
            environment: self.clone(),
            folder: self.path(name),
            bottle: self.checkout().program("bottle")?,
        };
        fs::create_dir_all(&project.folder)?;
        Ok(project)
    }

    /// Creates the project of a bottle with a small guest, no workspace, and this configuration.
    pub fn small_project(&self, slug: &str, config: &str) -> Result<Project> {
        let project = self.project(&format!("project/{slug}"))?;
        let workspace = "[workspace]\nmode = \"none\"\n";
        project.write("bottle.toml", format!("slug = \"{slug}\"\n{SMALL_MACHINE}{workspace}{config}"))?;
        Ok(project)
    }

    /// Returns this environment's `smolvm`.
    pub fn smolvm(&self) -> Result<Command> {
        let checkout = self.checkout();
        Ok(match self.0.guest {
            Guest::Real => self.command(checkout.smolvm()?),
            Guest::Namespace => {
                let mut command = self.command(checkout.program("smolvm-stand-in")?);
                // Without these variables, the stand-in starts nothing.
                command.envs(CONFINED);
                command
            }
        })
    }

    /// Returns the start of a command that runs a fresh machine of smolvm's own, as large as a small
    /// project's.
    pub fn bare_machine(&self) -> Result<Command> {
        let mut machine = self.smolvm()?;
        machine.args(["machine", "run", "--cpus", "1", "--mem", "512"]);
        Ok(machine)
    }

    /// Returns such a command with this network, and with the helper where a bottle has it.
    pub fn machine(&self, network: &[&str]) -> Result<Command> {
        let inside = Path::new(HELPER).parent().context("the helper's folder")?;
        // The folder contains only the helper, and the machine's own user can read it.
        let folder = self.path("helper");
        fs::create_dir_all(&folder)?;
        fs::copy(self.checkout().helper()?, folder.join("bottle-guest"))?;
        fs::set_permissions(&folder, PermissionsExt::from_mode(0o755))?;
        let mut machine = self.bare_machine()?;
        machine.args(network).arg("--volume").arg(format!("{}:{}:ro", folder.display(), inside.display()));
        Ok(machine)
    }
}

/// A folder with a `bottle.toml`, and `bottle` as a user runs it there.
#[derive(Clone, Debug)]
pub struct Project {
    environment: Environment,
    folder: PathBuf,
    bottle: PathBuf,
}

impl Project {
    /// Returns the environment that the project is in.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Returns the project's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns a path in the project.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file of the project.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> Result<()> {
        fs::write(self.path(name), text).with_context(|| name.to_owned())
    }

    /// Returns a command that runs `bottle` in the project's folder.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = self.environment.command(&self.bottle);
        command.args(words).current_dir(&self.folder);
        command
    }

    /// Runs `bottle --quiet` to its end and returns its standard output.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        let output = self.command(&["--quiet"]).args(words).stdin(Stdio::null()).output()?;
        // `verify` gives its reason on standard output, where its report is.
        let said = [output.stderr.as_slice(), &output.stdout].concat();
        let said = String::from_utf8_lossy(&said);
        ensure!(output.status.success(), "bottle {}: {}", words.join(" "), said.trim());
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Returns the data that `bottle` prints with `--json`. It must succeed.
    pub fn answer(&self, words: &[&str]) -> Result<Value> {
        answer(self.run(words)?.as_bytes())
    }

    /// Returns what `bottle` would start here.
    pub fn plan(&self) -> Result<Plan> {
        Ok(serde_json::from_value(self.answer(&["plan", "--json"])?)?)
    }

    /// Brings the project's bottle up.
    pub fn up(self) -> Result<RunningBottle> {
        let bottle = RunningBottle::new(self)?;
        bottle.run(&["up"])?;
        Ok(bottle)
    }
}

/// Extracts the data from what `bottle` printed with `--json`. Standard error may surround it.
pub fn answer(printed: &[u8]) -> Result<Value> {
    let begin = printed.split_inclusive(|byte| *byte == b'\n').take_while(|line| *line != b"{\n");
    let begin = begin.map(<[u8]>::len).sum();
    let envelope = serde_json::Deserializer::from_slice(&printed[begin..]).into_iter::<Value>().next();
    let mut envelope =
        envelope.with_context(|| format!("no JSON: {}", String::from_utf8_lossy(printed)))??;
    let schema = envelope["schema"].as_str().unwrap_or_default();
    ensure!(schema.starts_with("bottle/"), "no envelope: {envelope}");
    ensure!(envelope["ok"] == envelope["error"].is_null(), "neither an answer nor an error: {envelope}");
    Ok(envelope["data"].take())
}

/// A bottle that is up. Dropping the value removes the bottle.
#[derive(Debug)]
pub struct RunningBottle {
    project: Project,
    slug: String,
}

impl RunningBottle {
    /// Takes charge of the bottle that a project's `bottle.toml` names, before or after it is up.
    pub fn new(project: Project) -> Result<Self> {
        let config: toml::Table = fs::read_to_string(project.path("bottle.toml"))?.parse()?;
        let slug = config.get("slug").and_then(toml::Value::as_str).context("bottle.toml has no slug")?;
        Ok(Self { slug: slug.to_owned(), project })
    }

    /// Returns the bottle's name.
    pub fn slug(&self) -> &str {
        &self.slug
    }

    /// Returns the status of the bottle's keeper.
    pub fn status(&self) -> Result<Status> {
        Ok(serde_json::from_value(self.answer(&["status", "--json"])?)?)
    }

    /// Asks the bottle's guest these questions, through a program that `exec` starts.
    pub fn ask(&self, program: &[&str], questions: Questions) -> Result<Talk> {
        Talk::begin(self.command(&[&["--quiet", "exec", "--"], program, &["probe"]].concat()), questions)
    }
}

impl Deref for RunningBottle {
    type Target = Project;

    fn deref(&self) -> &Project {
        &self.project
    }
}

impl Drop for RunningBottle {
    fn drop(&mut self) {
        let _ = self.run(&["rm", "--force", &self.slug]);
    }
}
