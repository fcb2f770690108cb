//! What has to be there before anything starts: smolvm, gvproxy, bubblewrap, KVM, the helper.

use crate::failure::{Failure, Kind, Outcome};
use bottle_core::gvproxy::{Dialect, Version};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

/// Everything that a bottle needs, found.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The virtual machine monitor.
    pub smolvm: Smolvm,
    /// What a keeper needs.
    pub network: Network,
}

/// What a keeper needs: everything but the virtual machine.
#[derive(Clone, Debug)]
pub struct Network {
    /// The user-mode network stack.
    pub gvproxy: PathBuf,
    /// How it is configured.
    pub dialect: Dialect,
    /// The jail's maker.
    pub bwrap: PathBuf,
    /// The static helper.
    pub helper: PathBuf,
}

/// smolvm, found.
#[derive(Clone, Debug)]
pub struct Smolvm {
    /// The command.
    pub path: PathBuf,
    /// Where its libraries are, unless its environment says so already.
    pub lib_dir: Option<PathBuf>,
    /// Whether it is the harness's stand-in, which has no virtual machine.
    pub stand_in: bool,
}

/// One requirement, as `bottle doctor` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What it is.
    pub name: &'static str,
    /// Whether it will do.
    pub ok: bool,
    /// Its version, its place, or what is wrong with it.
    pub detail: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

const SMOLVM_HELP: &str =
    "install smolvm 1.32 or later (`pip install smolmachines`, or `make setup` in bottle's sources)";
const GVPROXY_HELP: &str =
    "install gvproxy 0.8.1 or later (`apt-get install gvproxy` from Debian 13 on, or `make setup`)";
const BWRAP_HELP: &str = "install bubblewrap: `apt-get install bubblewrap`";
const HELPER_HELP: &str = "build it with `make build`; it belongs beside the bottle command";

/// The oldest smolvm that this project was run with.
const OLDEST_SMOLVM: Version = Version { major: 1, minor: 32, patch: 0 };

impl Tools {
    /// Finds everything, or says what is missing.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] with the first thing that will not do.
    pub fn find() -> Outcome<Self> {
        let tools = Self { smolvm: find_smolvm()?, network: Network::find()? };
        if tools.smolvm.stand_in {
            eprintln!("bottle: warning: this smolvm is a stand-in without a virtual machine, for tests only");
        } else {
            check_kvm()?;
        }
        Ok(tools)
    }
}

impl Network {
    /// Finds what a keeper needs.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] with the first thing that will not do.
    pub fn find() -> Outcome<Self> {
        let (gvproxy, version) = find_gvproxy()?;
        let network =
            Self { gvproxy, dialect: Dialect::of(version), bwrap: find_bwrap()?, helper: find_helper()? };
        Ok(network)
    }
}

/// Finds smolvm alone, for commands that start nothing.
///
/// # Errors
/// [`Kind::Unavailable`] where it will not do.
pub fn smolvm() -> Outcome<Smolvm> {
    Ok(find_smolvm()?)
}

/// Everything that is checked, whether it will do or not.
pub fn findings() -> Vec<Finding> {
    let smolvm = find_smolvm().map(|smolvm| {
        let version = version_line(&smolvm.path, "--version", smolvm.lib_dir.as_deref());
        format!("{} at {}", version.unwrap_or_default(), smolvm.path.display())
    });
    let gvproxy = find_gvproxy().map(|(path, version)| {
        let how = match Dialect::of(version) {
            Dialect::File => "configuration file",
            Dialect::Flags => "flags",
        };
        format!("{version} at {} ({how})", path.display())
    });
    let bwrap = find_bwrap().map(|path| {
        let version = version_line(&path, "--version", None).unwrap_or_default();
        format!("{version} at {}: two walls, guard and jail", path.display())
    });
    let helper = find_helper().map(|path| format!("static, at {}", path.display()));
    [
        ("smolvm", smolvm),
        ("gvproxy", gvproxy),
        ("bubblewrap", bwrap),
        ("kvm", check_kvm()),
        ("helper", helper),
    ]
    .into_iter()
    .map(|(name, found)| match found {
        Ok(detail) => Finding { name, ok: true, detail, help: None },
        Err(missing) => {
            Finding { name, ok: false, detail: missing.what, help: Some(missing.help.to_owned()) }
        }
    })
    .collect()
}

/// Something that will not do, and how to mend it.
struct Missing {
    what: String,
    help: &'static str,
}

impl From<Missing> for Failure {
    fn from(missing: Missing) -> Self {
        Self::new(Kind::Unavailable, missing.what).help(missing.help)
    }
}

fn find_smolvm() -> Result<Smolvm, Missing> {
    let missing = |what: &str| Missing { what: what.to_owned(), help: SMOLVM_HELP };
    let path = in_path("smolvm").ok_or_else(|| missing("smolvm is not on PATH"))?;
    // The PyPI package keeps smolvm's libraries beside it and expects to be told so.
    let beside = fs::canonicalize(&path).ok().and_then(|path| path.parent().map(Path::to_owned));
    let lib_dir =
        beside.filter(|dir| env::var_os("SMOLVM_LIB_DIR").is_none() && dir.join("libkrun.so").exists());
    let line = version_line(&path, "--version", lib_dir.as_deref())
        .ok_or_else(|| missing(&format!("{} does not run", path.display())))?;
    match line.parse::<Version>() {
        Ok(version) if version >= OLDEST_SMOLVM => {
            let stand_in = line.starts_with("smolvm-stand-in ");
            Ok(Smolvm { path, lib_dir, stand_in })
        }
        Ok(version) => Err(missing(&format!("smolvm {version} is too old"))),
        Err(_) => Err(missing(&format!("{} says {line:?}, which is no version of smolvm", path.display()))),
    }
}

fn find_gvproxy() -> Result<(PathBuf, Version), Missing> {
    let missing = |what: String| Missing { what, help: GVPROXY_HELP };
    // podman keeps its own copy out of PATH.
    let path = in_path("gvproxy")
        .or_else(|| {
            ["/usr/libexec/podman/gvproxy", "/usr/lib/podman/gvproxy"]
                .map(PathBuf::from)
                .into_iter()
                .find(|p| p.exists())
        })
        .ok_or_else(|| missing("gvproxy is not on PATH".to_owned()))?;
    let line = version_line(&path, "-version", None)
        .ok_or_else(|| missing(format!("{} does not run", path.display())))?;
    match line.parse::<Version>() {
        Ok(version) if version >= Version::OLDEST => Ok((path, version)),
        Ok(version) => Err(missing(format!("gvproxy {version} is too old"))),
        Err(error) => Err(missing(error.to_string())),
    }
}

fn find_bwrap() -> Result<PathBuf, Missing> {
    let path =
        in_path("bwrap").ok_or(Missing { what: "bwrap is not on PATH".to_owned(), help: BWRAP_HELP })?;
    let tried = Command::new(&path)
        .args(["--unshare-all", "--cap-drop", "ALL", "--ro-bind", "/", "/", "true"])
        .stdin(Stdio::null())
        .output();
    match tried {
        Ok(output) if output.status.success() => Ok(path),
        Ok(output) => Err(Missing {
            what: format!(
                "bwrap may not make namespaces here: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ),
            help: "allow unprivileged user namespaces: `sysctl kernel.unprivileged_userns_clone=1`, or on Ubuntu \
                   an AppArmor profile for bwrap (`apt-get install apparmor-profiles`)",
        }),
        Err(error) => {
            Err(Missing { what: format!("{} does not run: {error}", path.display()), help: BWRAP_HELP })
        }
    }
}

/// The processor's flag for hardware virtualization, if it has one. Without it /dev/kvm opens,
/// makes a machine, and never boots smolvm's kernel.
pub fn virtualization_flag() -> Option<&'static str> {
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    ["vmx", "svm"].into_iter().find(|flag| flags.split_whitespace().any(|word| word == *flag))
}

fn check_kvm() -> Result<String, Missing> {
    let missing = |what: &str, help| Missing { what: what.to_owned(), help };
    let device = Path::new("/dev/kvm");
    if !device.exists() {
        return Err(missing(
            "there is no /dev/kvm",
            "load the kvm-intel or kvm-amd module, or turn virtualization on in the firmware",
        ));
    }
    let Some(flag) = virtualization_flag() else {
        return Err(missing(
            "this processor offers no hardware virtualization (neither vmx nor svm)",
            "turn it on in the firmware, or nested virtualization in the host of this machine; \
             `bottle-harness outer -- COMMAND` runs a command in an emulated machine that has it",
        ));
    };
    match fs::OpenOptions::new().read(true).write(true).open(device) {
        Ok(_) => Ok(format!("/dev/kvm, with {flag}")),
        Err(error) => Err(missing(
            &format!("/dev/kvm cannot be opened: {error}"),
            "join its group: `sudo usermod -aG kvm $USER`, then log in again",
        )),
    }
}

fn find_helper() -> Result<PathBuf, Missing> {
    let missing = |what: String| Missing { what, help: HELPER_HELP };
    let beside = env::current_exe().ok().map(|exe| exe.with_file_name("bottle-guest"));
    let path = env::var_os("BOTTLE_GUEST_HELPER")
        .map(PathBuf::from)
        .or(beside)
        .filter(|path| path.exists())
        .ok_or_else(|| missing("the guest helper is missing".to_owned()))?;
    match is_static(&path) {
        Some(true) => Ok(path),
        Some(false) => Err(missing(format!("{} is not static: it would not run in a guest", path.display()))),
        None => Err(missing(format!("{} is no program", path.display()))),
    }
}

/// Whether a 64-bit ELF file asks for no interpreter, so that it runs in any root filesystem.
fn is_static(path: &Path) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    let bytes = fs::read(path).ok()?;
    if bytes.get(..5)? != b"\x7fELF\x02" {
        return None;
    }
    let number = |at: usize, len: usize| -> Option<usize> {
        let bytes = bytes.get(at..at.checked_add(len)?)?;
        Some(bytes.iter().rev().fold(0, |n, &byte| (n << 8) | usize::from(byte)))
    };
    let (table, entry, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let interpreter = (0..count).any(|i| number(table + i * entry, 4) == usize::try_from(PT_INTERP).ok());
    Some(!interpreter)
}

fn in_path(name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let executable = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(name)).find(executable)
}

fn version_line(path: &Path, option: &str, lib_dir: Option<&Path>) -> Option<String> {
    let mut command = Command::new(path);
    if let Some(dir) = lib_dir {
        command.env("SMOLVM_LIB_DIR", dir);
    }
    let output = command.arg(option).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(|line| line.trim().to_owned())
}
