//! Everything that `bottle doctor` checks, whether it is in order or not.

use super::find::{
    CAN_JAIL, check_kvm, find_bwrap, find_gvproxy, find_helper, find_smolvm, in_path, may_make_namespaces,
    may_watch,
};
use super::remedy::{Missing, Need, System};
use super::versions::Versions;
use crate::confine;
use crate::smolvm::CONFINED;
use crate::state::{Home, network_filesystem};
use bottle_core::stack::dialect::Dialect;
use rustix::process::{Resource, getrlimit};
use serde::Serialize;
use std::env;
use std::path::PathBuf;

/// One requirement.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Finding {
    /// Its name.
    pub name: &'static str,
    /// Whether it is met.
    pub level: Level,
    /// Its version, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where it was found.
    #[serde(rename = "place", skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// What it is for, or what is wrong with it.
    pub detail: String,
    /// The command that fixes it.
    #[serde(rename = "mend", skip_serializing_if = "Option::is_none")]
    pub remedy: Option<&'static str>,
    /// What is missing.
    #[serde(skip)]
    pub need: Option<Need>,
}

/// Whether a requirement is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[derive(schemars::JsonSchema)]
pub enum Level {
    /// It is met.
    Ok,
    /// It is not met, and bottle works without it.
    Warning,
    /// It is not met, and bottle does not start.
    Missing,
}

/// The walls between a guest and this machine's network.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Walls {
    /// The guard, which decides about every frame.
    pub guard: bool,
    /// The jail: the network stack in a namespace that holds nothing but the doors.
    pub jail: bool,
}

/// The diagnosis of a machine.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Diagnosis {
    /// The requirements, in the order in which a start needs them.
    pub findings: Vec<Finding>,
    /// The walls that a bottle has here.
    pub walls: Walls,
}

impl Diagnosis {
    /// Examines this machine.
    pub fn here() -> Self {
        let system = System::here();
        let found = |name, found: Result<Found, Missing>| match found {
            Ok(Found { version, path, detail }) => {
                Finding { name, level: Level::Ok, version, path, detail, remedy: None, need: None }
            }
            Err(Missing { what, need }) => Finding {
                name,
                level: Level::Missing,
                version: None,
                path: None,
                detail: what,
                remedy: Some(system.remedy(need)),
                need: Some(need),
            },
        };
        let bwrap = found("bubblewrap", bwrap());
        let walls = Walls { guard: true, jail: CAN_JAIL && bwrap.level == Level::Ok };
        let findings = vec![
            found("smolvm", smolvm()),
            // Without them, the guest's own kernel is the network stack.
            as_warning(found("gvproxy", gvproxy())),
            as_warning(bwrap),
            found("kvm", kvm()),
            as_warning(found("confinement", confinement())),
            found("helper", helper()),
            keeper_confinement(),
            open_files(getrlimit(Resource::Nofile).maximum),
            state(),
            optional(system, "git", Need::Git, "git-gate serves repositories with it"),
            optional(
                system,
                "gitleaks",
                Need::Gitleaks,
                "git-gate looks for secrets with it; without it, git-gate uses a few patterns of its own",
            ),
        ];
        Self { findings, walls }
    }

    /// Returns whether a bottle can start here.
    pub fn is_well(&self) -> bool {
        self.findings.iter().all(|finding| finding.level < Level::Missing)
    }
}

struct Found {
    version: Option<String>,
    path: Option<PathBuf>,
    detail: String,
}

/// Returns the word in a line that is a version.
fn number(line: Option<String>) -> Option<String> {
    let line = line?;
    let word = line.split_whitespace().find(|word| word.contains(|c: char| c.is_ascii_digit()))?;
    Some(word.trim_start_matches('v').to_owned())
}

fn smolvm() -> Result<Found, Missing> {
    let smolvm = find_smolvm(&Versions::asked())?;
    let version = number(Versions::asked().line(&smolvm.path, "--version", smolvm.lib_dir.as_deref()));
    let detail = if smolvm.stand_in {
        "a stand-in without a virtual machine, for tests only"
    } else {
        "the virtual machine"
    };
    Ok(Found { version, path: Some(smolvm.path), detail: detail.to_owned() })
}

fn gvproxy() -> Result<Found, Missing> {
    let (path, version) = find_gvproxy(&Versions::asked())?;
    may_watch()?;
    let how = match Dialect::of(version) {
        Dialect::File => "a configuration file",
        Dialect::Flags => "flags",
    };
    Ok(Found {
        version: Some(version.to_string()),
        path: Some(path),
        detail: format!("the network stack, configured by {how}"),
    })
}

fn bwrap() -> Result<Found, Missing> {
    let path = find_bwrap()?;
    may_make_namespaces(&path)?;
    let version = number(Versions::asked().line(&path, "--version", None));
    Ok(Found {
        version,
        path: Some(path),
        detail: "makes the jail, and is allowed to make namespaces here".to_owned(),
    })
}

fn kvm() -> Result<Found, Missing> {
    let detail = check_kvm()?;
    Ok(Found { version: None, path: Some(PathBuf::from("/dev/kvm")), detail })
}

/// Checks the limits that smolvm is told to put on a machine's process, apart from giving it its own user.
fn confinement() -> Result<Found, Missing> {
    if let Some(lacks) = confine::offered().lacks() {
        let what = format!("this kernel has no {lacks} to confine the machine's process with");
        return Err(Missing::new(Need::Confinement, what));
    }
    let mut detail = "seccomp and Landlock around the machine's process".to_owned();
    for (name, value) in CONFINED {
        if env::var_os(name).is_some_and(|set| set != value) {
            detail.push_str("; ");
            detail.push_str(name);
            detail.push_str(" in this environment is not followed");
        }
    }
    Ok(Found { version: None, path: None, detail })
}

/// Checks how far the processes that read a guest's bytes can be confined. An older kernel has fewer limits,
/// which is good enough.
fn keeper_confinement() -> Finding {
    let offered = confine::offered();
    let (level, detail) = if offered.is_whole() {
        (Level::Ok, format!("processes that read a guest's bytes give up what they do not need ({offered})"))
    } else {
        (
            Level::Warning,
            format!(
                "processes that read a guest's bytes keep more than they need ({offered}); Linux 6.12 or newer, \
                 with `landlock` in its `lsm=` boot option, has all of it"
            ),
        )
    };
    Finding { name: "keeper", level, version: None, path: None, detail, remedy: None, need: None }
}

/// How many files a large project with everything that it depends on has.
const MANY_FILES: u64 = 100_000;

/// Checks how many files a process may have open. smolvm has one open for each file of a shared folder that its guest knows of
/// (`docs/upstream-notes.md`), and raises what is in force to the most that it may.
fn open_files(most: Option<u64>) -> Finding {
    let few = most.filter(|most| *most < MANY_FILES);
    let (level, detail, remedy) = match few {
        None => (Level::Ok, "as many as a large project has may be open at once".to_owned(), None),
        Some(few) => (
            Level::Warning,
            format!(
                "a guest that knows of more than {few} files of its shared folders gets \"Too many open files\": smolvm has each open"
            ),
            Some(
                "raise `ulimit -Hn`: `* hard nofile 524288` in /etc/security/limits.conf, or `LimitNOFILE=524288` in a unit",
            ),
        ),
    };
    Finding { name: "open files", level, version: None, path: None, detail, remedy, need: None }
}

/// Checks that state is in a folder that no other machine has, too. Locks and sockets are no good there.
fn state() -> Finding {
    let finding = |level, path, detail: String| Finding {
        name: "state",
        level,
        version: None,
        path,
        detail,
        remedy: None,
        need: None,
    };
    let home = match Home::find() {
        Ok(home) => home,
        Err(failure) => return finding(Level::Missing, None, failure.what().to_owned()),
    };
    let shared = home.roots().find_map(|root| Some((root.to_owned(), network_filesystem(root)?)));
    match shared {
        Some((root, name)) => finding(
            Level::Warning,
            Some(root),
            format!("is on {name}, which machines may share; `--state-dir DIR` keeps everything on this one"),
        ),
        None => finding(
            Level::Ok,
            Some(home.state().to_owned()),
            "the folder of bottles' state, on a file system of this machine".to_owned(),
        ),
    }
}

fn helper() -> Result<Found, Missing> {
    let path = find_helper()?;
    Ok(Found { version: None, path: Some(path), detail: "static: it runs in any guest".to_owned() })
}

/// Turns a missing requirement into a warning, because bottle works without it.
fn as_warning(finding: Finding) -> Finding {
    Finding { level: finding.level.min(Level::Warning), ..finding }
}

/// Checks a program that bottle works without.
fn optional(system: System, name: &'static str, need: Need, what_for: &str) -> Finding {
    let path = in_path(name);
    let option = if name == "gitleaks" { "version" } else { "--version" };
    let version = path.as_deref().and_then(|program| number(Versions::asked().line(program, option, None)));
    let missing = path.is_none().then_some(need);
    let level = if missing.is_some() { Level::Warning } else { Level::Ok };
    let remedy = missing.map(|need| system.remedy(need));
    Finding { name, level, version, path, detail: what_for.to_owned(), remedy, need: missing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_limit_on_open_files_is_a_warning() {
        let low = open_files(Some(4096));
        assert!(low.level == Level::Warning && low.remedy.is_some());
        assert!(low.detail.contains("more than 4096 files"), "{}", low.detail);
        for enough in [Some(524_288), None] {
            assert_eq!(open_files(enough).level, Level::Ok);
        }
    }
}
