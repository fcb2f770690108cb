//! Everything that a bottle needs on a machine, found together.

use super::find::{
    CAN_JAIL, check_kvm, find_bwrap, find_gvproxy, find_helper, find_smolvm, gvproxy_program,
    may_make_namespaces, may_watch,
};
use super::remedy::Missing;
use super::versions::Versions;
use crate::confine;
use crate::failure::{Failure, Outcome};
use crate::out;
use crate::smolvm::Smolvm;
use anyhow::Context;
use bottle_core::specification::StackChoice;
use bottle_core::stack::Stack;
use bottle_core::stack::dialect::Dialect;
use std::path::{Path, PathBuf};

/// Everything that a bottle needs, as found on this machine.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The virtual machine monitor.
    pub smolvm: Smolvm,
    /// What a keeper needs.
    pub network: Network,
}

/// Everything that a keeper needs, which is all but the virtual machine.
#[derive(Clone, Debug)]
pub struct Network {
    /// The network stack that speaks TCP with the guest.
    pub backend: StackBackend,
    /// The program that creates the jail, if there is one.
    pub bwrap: Option<PathBuf>,
    /// The static helper.
    pub helper: PathBuf,
}

/// The network stack that speaks TCP with the guest, as found on this machine.
#[derive(Clone, Debug)]
pub enum StackBackend {
    /// gvproxy, a program.
    Gvproxy(Gvproxy),
    /// The guest's own kernel, which needs nothing on this machine.
    Sockets,
}

/// gvproxy, as found on this machine.
#[derive(Clone, Debug)]
pub struct Gvproxy {
    /// The program.
    pub program: PathBuf,
    /// How it is configured.
    pub dialect: Dialect,
}

impl Tools {
    /// Finds everything, or says what is missing.
    ///
    /// # Errors
    /// Returns [`Kind::Unavailable`] with the first thing that is missing or not good enough.
    pub fn find(choice: StackChoice) -> Outcome<Self> {
        let tools = Self { smolvm: smolvm()?, network: Network::find(choice)? };
        if let Some(why) = why_sockets(choice, tools.network.stack()) {
            out::note(format_args!("the network stack is the guest's own kernel: {why}"));
        }
        if tools.smolvm.stand_in {
            out::note("warning: this smolvm is a stand-in without a virtual machine, for tests only");
        } else {
            check_kvm()?;
            // smolvm itself does not mention that, and runs without it.
            if let Some(lacks) = confine::offered().lacks() {
                out::note(format_args!(
                    "warning: this kernel has no {lacks}: the machine's process is confined less; see `bottle doctor`"
                ));
            }
        }
        Ok(tools)
    }
}

impl Tools {
    /// Returns the programs with which a bottle is started.
    pub fn programs(&self) -> impl Iterator<Item = PathBuf> {
        let gvproxy = match &self.network.backend {
            StackBackend::Gvproxy(gvproxy) => Some(&gvproxy.program),
            StackBackend::Sockets => None,
        };
        let all = [Some(&self.smolvm.path), self.network.bwrap.as_ref(), gvproxy];
        all.into_iter().flatten().filter_map(|path| std::path::absolute(path).ok())
    }
}

impl Network {
    /// Finds what a keeper needs. Whether namespaces may be created here is only known once a jail is
    /// created: see [`why_no_jail`].
    ///
    /// # Errors
    /// Returns [`Kind::Unavailable`] with the first thing that is missing or not good enough.
    pub fn find(choice: StackChoice) -> Outcome<Self> {
        Self::of(asked_stack(choice)?)
    }

    /// Finds what the keeper of this stack needs. gvproxy was asked for its version when the plan was made.
    ///
    /// # Errors
    /// Returns [`Kind::Unavailable`] with the first thing that is gone.
    pub fn of(stack: Stack) -> Outcome<Self> {
        let backend = match stack {
            Stack::Gvproxy(dialect) => {
                StackBackend::Gvproxy(Gvproxy { program: gvproxy_program()?, dialect })
            }
            Stack::Sockets => StackBackend::Sockets,
        };
        // A stack without a jail does not need the program that creates one.
        let needs_jail = CAN_JAIL && stack != Stack::Sockets;
        let bwrap = if needs_jail { Some(find_bwrap()?) } else { None };
        Ok(Self { backend, bwrap, helper: find_helper()? })
    }

    /// Returns the program that creates the jail.
    ///
    /// # Errors
    /// Returns an error where there is no jail.
    pub fn bwrap(&self) -> anyhow::Result<&Path> {
        self.bwrap.as_deref().context("this stack has no jail")
    }

    /// Returns the stack as a plan names it.
    pub fn stack(&self) -> Stack {
        match &self.backend {
            StackBackend::Gvproxy(gvproxy) => Stack::Gvproxy(gvproxy.dialect),
            StackBackend::Sockets => Stack::Sockets,
        }
    }
}

/// Returns what keeps bubblewrap from creating a jail here, if anything does.
pub fn why_no_jail() -> Option<Failure> {
    if !CAN_JAIL {
        return None;
    }
    find_bwrap().and_then(|bwrap| may_make_namespaces(&bwrap)).err().map(Failure::from)
}

/// Returns what keeps one more gvproxy from starting here, if anything does.
pub fn why_no_gvproxy() -> Option<Failure> {
    may_watch().err().map(Failure::from)
}

/// Finds only smolvm, for commands that start nothing.
///
/// # Errors
/// Returns [`Kind::Unavailable`] if smolvm is missing or not good enough.
pub fn smolvm() -> Outcome<Smolvm> {
    Ok(find_smolvm(&Versions::remembered())?)
}

/// Finds only the static helper.
///
/// # Errors
/// Returns [`Kind::Unavailable`] if it is missing.
pub fn helper() -> Outcome<PathBuf> {
    Ok(find_helper()?)
}

/// Returns the chosen stack as a plan names it. Without gvproxy, the plan assumes configuration by file, so
/// that a plan can be shown even where nothing could run.
pub fn stack(choice: StackChoice) -> Stack {
    asked_stack(choice).unwrap_or(Stack::Gvproxy(Dialect::File))
}

/// Returns why a bottle that chose no stack uses its guest's own kernel, if it does.
pub fn why_sockets(choice: StackChoice, stack: Stack) -> Option<String> {
    if choice != StackChoice::Auto || stack != Stack::Sockets {
        return None;
    }
    jailed_gvproxy().err().map(|missing| missing.what)
}

/// Returns how gvproxy is configured, if it and everything for its jail are here.
fn jailed_gvproxy() -> Result<Dialect, Missing> {
    let (_, version) = find_gvproxy(&Versions::remembered())?;
    if CAN_JAIL {
        find_bwrap()?;
    }
    Ok(Dialect::of(version))
}

fn asked_stack(choice: StackChoice) -> Result<Stack, Missing> {
    match choice {
        StackChoice::Gvproxy => Ok(Dialect::of(find_gvproxy(&Versions::remembered())?.1).into()),
        StackChoice::Sockets => Ok(Stack::Sockets),
        StackChoice::Auto => Ok(jailed_gvproxy().map_or(Stack::Sockets, Stack::from)),
    }
}
