//! Finds and tries each tool, or says what is missing.

use super::remedy::{Missing, Need};
use super::versions::Versions;
use crate::smolvm::{OLDEST, Smolvm};
use crate::state::chosen;
use bottle_core::stack::dialect::Version;
#[cfg(target_os = "linux")]
use rustix::fs::inotify;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

/// Whether this system has the namespaces that make up a jail.
pub const CAN_JAIL: bool = cfg!(all(target_os = "linux", not(bottle_portable)));

/// Returns the smolvm in the Python environment that this program was installed into. Its package installs no
/// command, only the program that a command would start.
fn in_own_environment() -> Option<PathBuf> {
    let programs = env::current_exe().ok()?.parent()?.to_owned();
    let versions = fs::read_dir(programs.parent()?.join("lib")).ok()?.flatten();
    let packages = versions.flat_map(|version| {
        ["site-packages", "dist-packages"].map(|packages| version.path().join(packages).join("smol/smol-vmm"))
    });
    packages.filter(|path| path.is_file()).max()
}

pub(super) fn find_smolvm(versions: &Versions) -> Result<Smolvm, Missing> {
    let missing = |what: &str| Missing::new(Need::Smolvm, what);
    let path = in_path("smolvm").or_else(in_own_environment);
    let path = path.ok_or_else(|| missing("smolvm is not on PATH"))?;
    // The PyPI package keeps smolvm's libraries beside it, and expects to be told where they are.
    let beside = fs::canonicalize(&path).ok().and_then(|path| path.parent().map(Path::to_owned));
    let lib_dir =
        beside.filter(|dir| env::var_os("SMOLVM_LIB_DIR").is_none() && dir.join("libkrun.so").exists());
    let line = versions
        .line(&path, "--version", lib_dir.as_deref())
        .ok_or_else(|| missing(&format!("{} does not run", path.display())))?;
    match line.parse::<Version>() {
        Ok(version) if version >= OLDEST => {
            let stand_in = line.starts_with("smolvm-stand-in ");
            let state_dir = chosen().map(|all| all.join("smolvm"));
            Ok(Smolvm { path, lib_dir, state_dir, stand_in })
        }
        Ok(version) => Err(missing(&format!(
            "{} is smolvm {version}, which is older than {OLDEST}, the oldest that works",
            path.display()
        ))),
        // It may be too old, or another program of that name.
        Err(_) => {
            Err(missing(&format!("{} says {line:?}, which is not a version of smolvm", path.display())))
        }
    }
}

pub(super) fn gvproxy_program() -> Result<PathBuf, Missing> {
    // podman keeps its own copy, outside of PATH.
    in_path("gvproxy")
        .or_else(|| {
            ["/usr/libexec/podman/gvproxy", "/usr/lib/podman/gvproxy"]
                .map(PathBuf::from)
                .into_iter()
                .find(|p| p.exists())
        })
        .ok_or_else(|| Missing::new(Need::Gvproxy, "gvproxy is not on PATH"))
}

pub(super) fn find_gvproxy(versions: &Versions) -> Result<(PathBuf, Version), Missing> {
    let missing = |what: String| Missing::new(Need::Gvproxy, what);
    let path = gvproxy_program()?;
    let line = versions
        .line(&path, "-version", None)
        .ok_or_else(|| missing(format!("{} does not run", path.display())))?;
    match line.parse::<Version>() {
        Ok(version) if version >= Version::OLDEST => Ok((path, version)),
        Ok(version) => Err(missing(format!("gvproxy {version} is too old"))),
        Err(error) => Err(missing(error.to_string())),
    }
}

/// Checks that one more gvproxy may start. Each has an `inotify` instance, and a user has few.
pub(super) fn may_watch() -> Result<(), Missing> {
    #[cfg(target_os = "linux")]
    if let Err(rustix::io::Errno::MFILE) = inotify::init(inotify::CreateFlags::CLOEXEC) {
        let what =
            "gvproxy needs an inotify instance, and this user's are used up (fs.inotify.max_user_instances)";
        return Err(Missing::new(Need::Inotify, what));
    }
    Ok(())
}

pub(super) fn find_bwrap() -> Result<PathBuf, Missing> {
    in_path("bwrap").ok_or_else(|| Missing::new(Need::Bubblewrap, "bwrap is not on PATH"))
}

pub(super) fn may_make_namespaces(bwrap: &Path) -> Result<(), Missing> {
    let tried = Command::new(bwrap)
        // With a name of its own, as the jail has it: a service manager may forbid that alone.
        .args(["--unshare-all", "--cap-drop", "ALL", "--hostname", "jail", "--ro-bind", "/", "/", "true"])
        .stdin(Stdio::null())
        .output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(Missing::new(
            Need::Namespaces,
            format!(
                "bwrap is not allowed to make namespaces here: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ),
        )),
        Err(error) => {
            Err(Missing::new(Need::Bubblewrap, format!("{} does not run: {error}", bwrap.display())))
        }
    }
}

/// Returns the processor's flag for hardware virtualization, if it has one. Without it, /dev/kvm can be
/// opened and creates a machine, but smolvm's kernel never boots.
pub fn virtualization_flag() -> Option<&'static str> {
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    ["vmx", "svm"].into_iter().find(|flag| flags.split_whitespace().any(|word| word == *flag))
}

pub(super) fn check_kvm() -> Result<String, Missing> {
    if cfg!(target_os = "macos") {
        return Ok("Hypervisor.framework".to_owned());
    }
    let device = Path::new("/dev/kvm");
    if !device.exists() {
        return Err(Missing::new(Need::KvmModule, "there is no /dev/kvm"));
    }
    let Some(flag) = virtualization_flag() else {
        return Err(Missing::new(
            Need::KvmProcessor,
            "this processor offers no hardware virtualization (neither vmx nor svm)",
        ));
    };
    match fs::OpenOptions::new().read(true).write(true).open(device) {
        Ok(_) => Ok(format!("hardware virtualization, {flag}")),
        Err(error) => Err(Missing::new(Need::KvmAccess, format!("/dev/kvm cannot be opened: {error}"))),
    }
}

pub(super) fn find_helper() -> Result<PathBuf, Missing> {
    let missing = |what: String| Missing::new(Need::Helper, what);
    let beside = env::current_exe().ok().map(|exe| exe.with_file_name("bottle-guest"));
    let path = env::var_os("BOTTLE_GUEST_HELPER")
        .map(PathBuf::from)
        .or(beside)
        .filter(|path| path.exists())
        .ok_or_else(|| missing("the guest helper is missing".to_owned()))?;
    match is_static(&path) {
        Some(true) => Ok(path),
        Some(false) => Err(missing(format!("{} is not static: it would not run in a guest", path.display()))),
        None => Err(missing(format!("{} is not a program", path.display()))),
    }
}

/// Returns whether a 64-bit ELF file needs no interpreter, so that it runs in any root filesystem.
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

/// Finds a program on `PATH`.
pub fn in_path(name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let executable = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(name)).find(executable)
}
