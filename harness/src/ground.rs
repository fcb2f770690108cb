//! Where guests run: a folder, a `bottle` and a `smolvm`, for one kind of guest.

use crate::place::Place;
use crate::stand_in::Room;
use anyhow::{Context, Result, bail};
use bottle_core::plan::Plan;
use bottle_core::smolfile::HELPER;
use bottle_host::control::Status;
use bottle_host::smolvm::CONFINED;
use bottle_verify::questions::Questions;
use bottle_verify::talk::Talk;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// bottle's network stacks, the default first.
pub const STACKS: [&str; 2] = ["gvproxy", "kernel"];

/// What stands for the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guest {
    /// A real smolvm guest.
    Real,
    /// The stand-in: a network namespace, and no virtual machine.
    Namespace,
}

impl Guest {
    /// As reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Real => "a real smolvm guest",
            Self::Namespace => "a stand-in (a network namespace, no virtual machine)",
        }
    }
}

/// A place for guests: folders of its own, and the commands that use them.
pub struct Ground<'p> {
    place: &'p Place,
    room: Room,
    guest: Guest,
}

impl<'p> Ground<'p> {
    /// Makes a place for guests of this kind.
    pub fn new(place: &'p Place, guest: Guest) -> Result<Self> {
        let room = match guest {
            Guest::Real => Room::real(place)?,
            Guest::Namespace => Room::new(place)?,
        };
        Ok(Self { place, room, guest })
    }

    /// Another place on the same host, whose guests are stand-ins.
    pub fn beside(&self) -> Result<Self> {
        Self::new(self.place, Guest::Namespace)
    }

    /// Whether guests are virtual machines.
    pub fn is_real(&self) -> bool {
        self.guest == Guest::Real
    }

    /// The folder that holds everything of it.
    pub fn path(&self) -> &Path {
        self.room.path()
    }

    /// Where its bottles keep their state.
    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// A program of this build.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        self.place.program(name)
    }

    /// The project of a bottle: its folder, with this `bottle.toml`.
    pub fn project(&self, slug: &str, config: &str) -> Result<PathBuf> {
        let project = self.room.project().join(slug);
        fs::create_dir_all(&project)?;
        let guest = "[guest]\ncpus = 2\nmemory = 512\n[workspace]\nmode = \"none\"\n";
        fs::write(project.join("bottle.toml"), format!("slug = \"{slug}\"\n{guest}{config}"))?;
        Ok(project)
    }

    /// `bottle` with these words, in a project.
    pub fn bottle(&self, project: &Path, words: &[&str]) -> Result<Command> {
        let mut command = self.command(self.place.program("bottle")?);
        command.arg("--quiet").args(words).current_dir(project);
        Ok(command)
    }

    /// The same, run to its end: what it prints.
    pub fn bottle_says(&self, project: &Path, words: &[&str]) -> Result<String> {
        let output = self.bottle(project, words)?.stdin(Stdio::null()).output()?;
        if !output.status.success() {
            bail!("bottle {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// What `bottle` would start in a project.
    pub fn plan(&self, project: &Path) -> Result<Plan> {
        serde_json::from_str(&self.bottle_says(project, &["plan", "--json"])?).context("bottle's plan")
    }

    /// The `smolvm` of this place.
    pub fn smolvm(&self) -> Result<Command> {
        Ok(match self.guest {
            Guest::Real => self.command(self.place.tool("smolvm")?),
            Guest::Namespace => {
                let mut command = self.command(self.place.program("smolvm-stand-in")?);
                // Without it the stand-in starts nothing.
                command.envs(CONFINED);
                command
            }
        })
    }

    /// A fresh machine of smolvm's own, as large as a bottle's here. Its command is yet to come.
    pub fn bare_machine(&self) -> Result<Command> {
        let mut machine = self.smolvm()?;
        machine.args(["machine", "run", "--cpus", "2", "--mem", "512"]);
        Ok(machine)
    }

    /// The same with this network, and with the helper where a bottle has it.
    pub fn machine(&self, network: &[&str]) -> Result<Command> {
        let inside = Path::new(HELPER).parent().context("the helper's folder")?;
        let mut machine = self.bare_machine()?;
        machine.args(network);
        machine.arg("--volume").arg(format!("{}:{}:ro", self.helper()?.display(), inside.display()));
        Ok(machine)
    }

    /// A folder with nothing in it but the helper, which a machine's own user can read.
    pub fn helper(&self) -> Result<PathBuf> {
        let folder = self.path().join("helper");
        fs::create_dir_all(&folder)?;
        fs::copy(self.place.helper()?, folder.join("bottle-guest"))?;
        fs::set_permissions(&folder, PermissionsExt::from_mode(0o755))?;
        Ok(folder)
    }

    fn command(&self, program: PathBuf) -> Command {
        let mut command = Command::new(program);
        command.envs(self.room.env().iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A bottle that is up, and gone with the value.
pub struct Up<'g> {
    ground: &'g Ground<'g>,
    project: PathBuf,
}

impl<'g> Up<'g> {
    /// Starts one.
    pub fn new(ground: &'g Ground, slug: &str, config: &str) -> Result<Self> {
        let up = Self { ground, project: ground.project(slug, config)? };
        up.says(&["up"])?;
        Ok(up)
    }

    /// `bottle` with these words, for it.
    pub fn bottle(&self, words: &[&str]) -> Result<Command> {
        self.ground.bottle(&self.project, words)
    }

    /// The same, run to its end: what it prints.
    pub fn says(&self, words: &[&str]) -> Result<String> {
        self.ground.bottle_says(&self.project, words)
    }

    /// What it was started with.
    pub fn plan(&self) -> Result<Plan> {
        self.ground.plan(&self.project)
    }

    /// How its keeper is.
    pub fn status(&self) -> Result<Status> {
        serde_json::from_str(&self.says(&["status", "--json"])?).context("the keeper's status")
    }

    /// Asks its guest, in a program that `exec` starts.
    pub fn ask(&self, program: &[&str], questions: Questions) -> Result<Talk> {
        let words = [&["exec", "--"], program, &["probe"]].concat();
        Talk::begin(self.bottle(&words)?, questions)
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        let _ = self.says(&["rm", "--force"]);
    }
}
