//! Calls for machines that are nobody's bottle yet.

use super::command::{Smolvm, socket_pair};
use super::launch::Launch;
use super::machine::{POOL_LABEL, STATE_LABEL, pool_machine_name};
use crate::failure::Outcome;
use crate::process::at_low_priority;
use bottle_core::specification::MachineUser;
use std::path::Path;
use std::time::Duration;

/// How long a machine of the pool may take to be created and to start, each. An image is unpacked then.
const LONGEST: Duration = Duration::from_secs(600);

/// A machine of the pool, before it exists.
#[derive(Clone, Copy, Debug)]
pub struct Warm<'w> {
    /// Its name in the pool.
    pub id: &'w str,
    /// The word that stands for the state folder that it belongs to.
    pub state_id: &'w str,
    /// Its Smolfile.
    pub smolfile: &'w Path,
    /// The socket that is mounted into it.
    pub socket: &'w Path,
}

impl Smolvm {
    /// Creates a machine for the pool. With a command, the machine runs it in place of what its image would run.
    ///
    /// # Errors
    /// Returns an error if smolvm fails.
    pub fn create_warm(&self, warm: &Warm<'_>, words: &[&str]) -> Outcome {
        let Warm { id, state_id, smolfile, socket } = *warm;
        let mut command = self.command();
        command.args(["machine", "create", "--name", &pool_machine_name(id)]);
        command.arg("--label").arg(format!("{POOL_LABEL}={id}"));
        command.arg("--label").arg(format!("{STATE_LABEL}={state_id}"));
        command.arg("--smolfile").arg(smolfile);
        command.arg("--mount-socket").arg(socket_pair(socket));
        if !words.is_empty() {
            command.arg("--").args(words);
        }
        at_low_priority(&mut command);
        self.finish(command, "create", Some(LONGEST))
    }

    /// Starts a machine of the pool. The machine keeps its process's priority for as long as it lives, so that is the
    /// usual one.
    ///
    /// # Errors
    /// Returns an error if smolvm fails.
    pub fn start_warm(&self, machine: &str) -> Outcome {
        let mut command = self.starting(Launch { user: MachineUser::Smolvms, watches: false });
        command.args(["machine", "start", "--name", machine]);
        self.finish(command, "start", Some(LONGEST))
    }
}
