//! Calls of smolvm, one method for each.

use super::call::{MOST, PATIENCE, bounded, last_words};
use super::launch::{Launch, Terminal};
use super::machine::{LABEL, Machine, STATE_LABEL};
use crate::confine;
use crate::defence::Defence;
use crate::failure::{Failure, Kind, Outcome};
use crate::peer::{Extent, Named};
use crate::state::Folder;
use anyhow::Result;
use bottle_core::helper::GUEST_SOCKET;
use bottle_core::slug::Slug;
use bottle_core::smolfile::Smolfile;
use bottle_core::specification::MachineUser;
use rustix::process::Pid;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The variables that make smolvm confine a machine's process: with a seccomp filter that kills on a
/// violation, and with Landlock. They are set for every call, whatever the environment says, because any call
/// may start a machine.
pub const CONFINED: [(&str, &str); 2] = [("SMOLVM_SECCOMP", "enforce"), ("SMOLVM_LANDLOCK", "enforce")];

/// The smolvm command, as found on this machine.
#[derive(Clone, Debug)]
pub struct Smolvm {
    /// The command.
    pub path: PathBuf,
    /// The folder of its libraries, unless the environment already names one.
    pub lib_dir: Option<PathBuf>,
    /// The folder that it keeps its own state in, unless that is where it always does.
    pub state_dir: Option<PathBuf>,
    /// Whether it is the harness's stand-in, which has no virtual machine.
    pub stand_in: bool,
}

impl Smolvm {
    /// Returns a call of smolvm, set up to find its libraries.
    pub fn command(&self) -> Command {
        let program = std::path::absolute(&self.path);
        let mut command = Command::new(program.as_ref().unwrap_or(&self.path));
        if let Some(dir) = &self.state_dir {
            command.arg("--state-dir").arg(dir);
        }
        // A guest may have put files where smolvm would look for them in its current folder.
        if Defence::PinnedPaths.stands() {
            command.current_dir("/");
        }
        if let Some(dir) = &self.lib_dir {
            command.env("SMOLVM_LIB_DIR", std::path::absolute(dir).as_ref().unwrap_or(dir));
        }
        if Defence::MachineConfined.stands() {
            command.envs(CONFINED);
        } else {
            CONFINED.iter().for_each(|(name, _)| _ = command.env_remove(name));
        }
        command
    }

    /// Returns how it names itself and its version, if it does.
    pub fn version(&self) -> Option<String> {
        let mut command = self.command();
        command.arg("--version");
        let finished = bounded(command, Some(PATIENCE)).ok()?;
        let said = String::from_utf8_lossy(&finished.out).into_owned();
        said.lines().next().map(str::to_owned)
    }

    /// Identifies the machine of a process: `machine ls` names the virtual machine's own process.
    pub fn machine_of(&self, pid: i32) -> Named {
        let extent = if self.stand_in { Extent::Inside } else { Extent::Itself };
        Named { pid, extent, confined: self.confines() }
    }

    /// Identifies the machine that a call runs.
    pub fn machine_below(&self, call: Pid) -> Named {
        Named { pid: call.as_raw_pid(), extent: Extent::Below, confined: self.confines() }
    }

    /// Returns whether a machine's process must run behind a filter. The stand-in cannot set one up.
    fn confines(&self) -> bool {
        !self.stand_in && Defence::MachineConfined.stands() && confine::offered().seccomp
    }

    /// Returns a call that starts a machine's process.
    pub(super) fn starting(&self, launch: Launch) -> Command {
        let mut command = self.command();
        if launch.user == MachineUser::Root {
            // smolvm 1.32.2 accepts "off" and "0". Its other limits on the process remain.
            command.env("SMOLVM_VM_UID_DROP", "off");
        }
        if !launch.watches {
            // smolvm watches the folders that a guest shares, even before the guest has booted, and reports
            // changes to it. The helper's folder does not change, and watching it makes an emulated boot a
            // quarter longer (docs/performance.md).
            command.env("SMOL_NO_HOT_RELOAD", "1");
        }
        command
    }

    /// Lists every machine that smolvm knows.
    pub fn machines(&self) -> Result<Vec<Machine>> {
        let mut command = self.command();
        command.args(["machine", "ls", "--json"]);
        let finished = bounded(command, Some(PATIENCE))?;
        if !finished.status.success() {
            anyhow::bail!("smolvm cannot list its machines: {}", last_words(&finished));
        }
        anyhow::ensure!(finished.whole, "smolvm's list of machines is longer than {MOST} bytes");
        serde_json::from_slice(&finished.out)
            .map_err(|_| anyhow::anyhow!("smolvm's list of machines is not what this version of bottle expects; see `smolvm machine ls --json`"))
    }

    /// Returns the machine of a bottle, if it exists.
    pub fn machine(&self, slug: &Slug) -> Result<Option<Machine>> {
        self.machine_named(&slug.machine_name())
    }

    /// Returns the machine of this name, if it exists.
    ///
    /// # Errors
    /// Returns an error if smolvm does not answer.
    pub fn machine_named(&self, name: &str) -> Result<Option<Machine>> {
        Ok(self.machines()?.into_iter().find(|machine| machine.name == name))
    }

    /// Creates a bottle's machine.
    pub fn create(&self, folder: &Folder) -> Outcome {
        let slug = folder.slug();
        let mut command = self.command();
        command.args(["machine", "create", "--name", &slug.machine_name()]);
        command.arg("--label").arg(format!("{LABEL}={slug}"));
        command.arg("--label").arg(format!("{STATE_LABEL}={}", folder.state_id()));
        command.arg("--smolfile").arg(folder.smolfile());
        command.arg("--mount-socket").arg(socket_pair(&folder.guest_socket()));
        self.finish(command, "create", None)
    }

    /// Changes a stopped machine to match another Smolfile. It keeps its disk, and also its image: another
    /// image needs a new machine.
    pub fn update(&self, slug: &Slug, was: &Smolfile, is: &Smolfile) -> Outcome {
        let mut command = self.command();
        command.args(["machine", "update", "--name", &slug.machine_name()]);
        command.arg("--cpus").arg(is.cpus.to_string()).arg("--mem").arg(is.memory.to_string());
        // A folder that is shared differently is removed and added again.
        let gone = was.volumes.iter().filter(|volume| !is.volumes.contains(volume));
        for volume in gone {
            command.arg("--remove-volume").arg(volume.strip_suffix(":ro").unwrap_or(volume));
        }
        for volume in is.volumes.iter().filter(|volume| !was.volumes.contains(volume)) {
            command.arg("--volume").arg(volume);
        }
        let name = |variable: &String| variable.split('=').next().unwrap_or_default().to_owned();
        let names: Vec<String> = is.env.iter().map(name).collect();
        for name in was.env.iter().map(name).filter(|known| !names.contains(known)) {
            command.arg("--remove-env").arg(name);
        }
        for variable in is.env.iter().filter(|variable| !was.env.contains(variable)) {
            command.arg("--env").arg(variable);
        }
        if was.workdir != is.workdir {
            command.arg("--workdir").arg(is.workdir.as_deref().unwrap_or("/"));
        }
        self.finish(command, "update", Some(PATIENCE))
    }

    /// Starts a bottle's machine.
    pub fn start(&self, slug: &Slug, launch: Launch) -> Outcome {
        let mut command = self.starting(launch);
        command.args(["machine", "start", "--name", &slug.machine_name()]);
        self.finish(command, "start", None)
    }

    /// Stops a bottle's machine.
    pub fn stop(&self, slug: &Slug) -> Outcome {
        let mut command = self.command();
        command.args(["machine", "stop", "--name", &slug.machine_name()]);
        self.finish(command, "stop", Some(PATIENCE))
    }

    /// Deletes a machine and its disk.
    pub fn delete(&self, machine: &str) -> Outcome {
        let mut command = self.command();
        command.args(["machine", "delete", "--name", machine, "-f"]);
        self.finish(command, "delete", Some(PATIENCE))
    }

    /// Starts a program in the guest and does not wait for it.
    pub fn detach(&self, slug: &Slug, words: &[String]) -> Outcome {
        let mut command = self.command();
        command.args(["machine", "exec", "--name", &slug.machine_name(), "--detach", "--"]).args(words);
        self.finish(command, "exec", Some(PATIENCE))
    }

    /// Returns a call that runs a program in the guest.
    pub fn exec(&self, slug: &Slug, terminal: Terminal, words: &[impl AsRef<OsStr>]) -> Command {
        self.exec_in(&slug.machine_name(), terminal, None, words)
    }

    /// Returns a call that runs a program in the machine of this name, in this folder.
    pub fn exec_in(
        &self,
        machine: &str,
        terminal: Terminal,
        workdir: Option<&str>,
        words: &[impl AsRef<OsStr>],
    ) -> Command {
        let mut command = self.command();
        command.args(["machine", "exec", "--name", machine]);
        if let Some(workdir) = workdir {
            command.args(["--workdir", workdir]);
        }
        command.args(terminal.options()).arg("--").args(words);
        command
    }

    /// Runs a program in the guest without any input, and returns what it printed: the end of it, if it is very
    /// long.
    ///
    /// # Errors
    /// Returns [`Kind::Guest`] if the program fails, or takes too long.
    pub fn ask(&self, slug: &Slug, words: &[impl AsRef<OsStr>]) -> Outcome<Vec<u8>> {
        let call = self.exec(slug, Terminal::Pipe, words);
        let failed =
            |why: String| Failure::new(Kind::Guest, format!("the guest of {slug} does not tell: {why}"));
        let finished = bounded(call, Some(PATIENCE)).map_err(|error| failed(error.to_string()))?;
        if finished.status.success() { Ok(finished.out) } else { Err(failed(last_words(&finished))) }
    }

    /// Returns a call that runs a program in a machine, which is deleted afterwards.
    pub fn run(
        &self,
        smolfile: &Path,
        guest_socket: &Path,
        launch: Launch,
        terminal: Terminal,
        words: &[String],
    ) -> Command {
        let mut command = self.starting(launch);
        command.args(["machine", "run", "--smolfile"]).arg(smolfile);
        command.arg("--mount-socket").arg(socket_pair(guest_socket));
        command.args(terminal.options()).arg("--").args(words);
        command
    }

    /// Runs a call to its end. A call that fetches an image has no limit except smolvm's own.
    pub(super) fn finish(&self, command: Command, verb: &str, limit: Option<Duration>) -> Outcome {
        let finished = bounded(command, limit).map_err(|error| match error.kind() {
            ErrorKind::TimedOut => Failure::new(
                Kind::Guest,
                format!("smolvm did not {verb} the machine in {} s", limit.unwrap_or(PATIENCE).as_secs()),
            )
            .help("`bottle ls` shows what is running; then try again"),
            _ => Failure::new(Kind::Unavailable, format!("cannot run {}: {error}", self.path.display())),
        })?;
        if finished.status.success() {
            return Ok(());
        }
        Err(Failure::new(
            Kind::Guest,
            format!("smolvm could not {verb} the machine: {}", last_words(&finished)),
        ))
    }
}

pub(super) fn socket_pair(host: &Path) -> OsString {
    let mut pair = host.as_os_str().to_owned();
    pair.push(":");
    pair.push(GUEST_SOCKET);
    pair
}
