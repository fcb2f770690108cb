//! The outer machine: a throw-away virtual machine, emulated by QEMU, in which KVM works.
//!
//! It sees this host's files read-only under a temporary overlay, runs one command as root, and ends with the
//! command's exit status. `harness/outer/` has what it boots.

mod pulse;

use crate::checkout::{self, Checkout};
use crate::processes::{wait_at_most, wait_or_kill};
use anyhow::{Context, Result, anyhow, bail, ensure};
use bottle_host::failure::Kind;
use bottle_host::process::die_with_parent;
use bottle_host::tools::virtualization_flag;
use pulse::Pulse;
use rustix::process::Signal;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// The processor model. With `max`, KVM sometimes resumes a guest at an address of the outer kernel, and the
/// guest dies. With this model the same load ran 12 times without a death (QEMU 7.2.22 and 10.0.2).
const CPU: &str = "qemu64,+svm,+npt,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16";
const MEMORY: &str = "6G";
/// The size of its disk in bytes, of which only what is written takes room.
const DISK: u64 = 16 << 30;

/// The variables that a command in the outer machine inherits from this process, in addition to `PATH`.
const INHERITED: [&str; 5] =
    ["BOTTLE_GUEST_HELPER", "SMOLVM_AGENT_ROOTFS", "RUST_BACKTRACE", "NO_COLOR", checkout::SMOLVM];

/// The script that the outer machine runs once it sees this host's files. Its name is one that it can look up: a scheduler's
/// daemons do. Programs may open as many files as systemd lets them: smolvm has one open for each that a guest has looked up.
const INIT: &str = "ulimit -Hn 524288
/bin/busybox hostname outer
echo 127.0.0.1 outer >> /etc/hosts
/bin/sh /job/command
echo $? > /job/status
/bin/busybox sync
/bin/busybox poweroff -f
";

/// Returns whether smolvm's guests boot on this machine itself: it has `/dev/kvm`, and a processor with the
/// required flag.
pub fn has_kvm() -> bool {
    Path::new("/dev/kvm").exists() && virtualization_flag().is_some()
}

/// Runs a command in the outer machine and returns its exit status.
///
/// # Errors
/// Returns an error if the machine cannot be started, or ends without a status.
pub fn run(checkout: &Checkout, words: &[OsString]) -> Result<ExitCode> {
    boot(checkout, words, None, new_job()?.path())?.map_err(|lost| anyhow!("the outer machine {lost}"))
}

/// The path where a command in the outer machine can leave a result.
pub const RESULT: &str = "/job/result";

/// Runs a command in the outer machine for at most `limit`, and returns what it left at [`RESULT`], if
/// anything.
///
/// # Errors
/// Returns an error as for [`run`].
pub fn run_for_result(checkout: &Checkout, words: &[OsString], limit: Duration) -> Result<Option<Vec<u8>>> {
    let job = new_job()?;
    if let Err(lost) = boot(checkout, words, Some(limit), job.path())? {
        eprintln!("the outer machine {lost}");
    }
    Ok(fs::read(job.path().join("result")).ok())
}

/// How many times a guest's work is tried.
const TRIES: u32 = 3;

/// Runs a job of this harness in the outer machine. A guest under emulation sometimes freezes, and whatever
/// waits for its answer waits forever. Such a run is inconclusive, and is tried again.
///
/// # Errors
/// Returns an error as for [`run`].
pub fn run_job(checkout: &Checkout, job: &str) -> Result<ExitCode> {
    say_that_it_is_emulated();
    let words = [checkout.program("bottle-harness")?.into(), OsString::from(job)];
    for _ in 0..TRIES {
        if let Some(code) = unless_lost(checkout, &words, JOB_LIMIT)? {
            return Ok(code);
        }
    }
    Ok(ExitCode::from(INCONCLUSIVE))
}

/// Runs a command on a machine that boots guests: this one, or the outer machine, which `outer` insists on. It is tried
/// again if it freezes, is not done after `limit`, dies, or ends with [`INCONCLUSIVE`].
///
/// # Errors
/// Returns an error as for [`run`], or if the command cannot be started here.
pub fn run_where_guests_boot(
    checkout: &Checkout,
    words: &[OsString],
    outer: bool,
    limit: Option<Duration>,
) -> Result<ExitCode> {
    let limit = limit.unwrap_or(JOB_LIMIT);
    let is_here = has_kvm() && !outer;
    if !is_here {
        say_that_it_is_emulated();
    }
    for _ in 0..TRIES {
        let code = if is_here { Some(run_here(words)?) } else { unless_lost(checkout, words, limit)? };
        match code {
            Some(code) if code != ExitCode::from(INCONCLUSIVE) => return Ok(code),
            _ => {}
        }
    }
    Ok(ExitCode::from(INCONCLUSIVE))
}

fn say_that_it_is_emulated() {
    eprintln!("no usable KVM here: the guest runs in the outer machine, under QEMU's emulation");
}

/// Returns the status of a command in the outer machine, or `None` if there was no result.
fn unless_lost(checkout: &Checkout, words: &[OsString], limit: Duration) -> Result<Option<ExitCode>> {
    boot(checkout, words, Some(limit), new_job()?.path())?.map(Some).or_else(|lost| {
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        eprintln!("`{}`: the outer machine {lost}", words.join(" "));
        Ok(None)
    })
}

fn run_here(words: &[OsString]) -> Result<ExitCode> {
    let (program, arguments) = words.split_first().context("there is no command")?;
    let status = Command::new(program).args(arguments).status();
    let status = status.with_context(|| program.to_string_lossy().into_owned())?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(125)))
}

/// How long a job may take: several times as long as it usually takes, even beside other tests.
const JOB_LIMIT: Duration = Duration::from_secs(450);
/// The exit status of a run that proves nothing either way. `bottle` uses it for a guest that did not start.
pub const INCONCLUSIVE: u8 = Kind::Guest as u8;

/// How often a machine is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Creates a folder that the outer machine shares with this host.
fn new_job() -> Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new().prefix("bottle-outer-").tempdir()?)
}

/// Why an outer machine gave no status. It shows nothing either way.
enum Lost {
    /// It was not done after this time.
    Late(Duration),
    /// Its processors stood still.
    Frozen,
    /// It ended, and these are its kernel's last words.
    Died(String),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late(limit) => write!(f, "was not done after {} s", limit.as_secs()),
            Self::Frozen => f.write_str("froze"),
            Self::Died(log) => write!(f, "ended without a result; its kernel said:\n{log}"),
        }
    }
}

/// Runs a command in the outer machine, with this folder as its `/job`. Returns the command's status.
fn boot(
    checkout: &Checkout,
    words: &[OsString],
    limit: Option<Duration>,
    job: &Path,
) -> Result<Result<ExitCode, Lost>> {
    let boot = checkout.tools().join("outer");
    if !boot.join("initrd.gz").exists() {
        bail!("the outer machine is not built: run `make setup`");
    }
    fs::write(job.join("command"), script(words)?)?;
    fs::write(job.join("init"), INIT)?;
    let kernel_log = job.join("kernel.log");
    let disk = disk(job)?;
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", CPU, "-smp", "2", "-m", MEMORY]);
    qemu.args(["-name", "outer,debug-threads=on", "-nodefaults", "-display", "none", "-no-reboot"]);
    qemu.arg("-kernel").arg(boot.join("vmlinuz")).arg("-initrd").arg(boot.join("initrd.gz"));
    // On a busy host the emulated timer is late, and a kernel that checks it panics.
    qemu.args(["-append", "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off no_timer_check"]);
    share(&mut qemu, "host", Path::new("/"), ",readonly=on,multidevs=remap");
    share(&mut qemu, "job", job, "");
    qemu.arg("-drive").arg(prefixed("if=virtio,format=raw,cache=unsafe,file=", &disk));
    qemu.args(["-device", "virtio-serial-pci", "-chardev", "stdio,id=tty,signal=off"]);
    qemu.args(["-device", "virtconsole,chardev=tty"]);
    qemu.arg("-serial").arg(prefixed("file:", &kernel_log));
    // An emulator must not outlive the process that started it.
    die_with_parent(&mut qemu, Signal::KILL);
    let mut child =
        qemu.stdin(Stdio::null()).spawn().context("cannot start qemu-system-x86_64: run `make setup`")?;
    let (mut pulse, begin) = (Pulse::of(child.id()), Instant::now());
    let ended = loop {
        if wait_at_most(&mut child, LOOK)?.is_some() {
            let status = fs::read_to_string(job.join("status")).unwrap_or_default();
            let code = status.trim().parse::<u8>().map(ExitCode::from);
            break code.map_err(|_| Lost::Died(last_words(&kernel_log)));
        }
        match limit {
            Some(limit) if begin.elapsed() >= limit => break Err(Lost::Late(limit)),
            _ if pulse.is_lost() => break Err(Lost::Frozen),
            _ => {}
        }
    };
    wait_or_kill(&mut child, Duration::ZERO)?;
    Ok(ended)
}

/// Returns the end of a log.
fn last_words(log: &Path) -> String {
    let log = fs::read(log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let last: Vec<&str> = log.lines().rev().take(20).collect();
    last.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// Makes the disk for the machine's temporary files.
fn disk(job: &Path) -> Result<PathBuf> {
    let path = job.join("disk");
    fs::File::create(&path)?.set_len(DISK)?;
    let mut mkfs = Command::new("/sbin/mkfs.ext4");
    mkfs.args(["-q", "-O", "^has_journal", "-E", "lazy_itable_init=1"]).arg(&path);
    ensure!(mkfs.status().context("/sbin/mkfs.ext4")?.success(), "mkfs.ext4 {}", path.display());
    Ok(path)
}

fn share(qemu: &mut Command, tag: &str, path: &Path, options: &str) {
    let mut device = prefixed(&format!("local,id={tag},security_model=none,path="), path);
    device.push(options);
    qemu.arg("-fsdev").arg(device);
    qemu.arg("-device").arg(format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}"));
}

fn prefixed(prefix: &str, path: &Path) -> OsString {
    let mut text = OsString::from(prefix);
    text.push(path);
    text
}

/// Returns the script for the outer machine's shell. Each word is in single quotes, inside which no character
/// is special.
fn script(words: &[OsString]) -> Result<Vec<u8>> {
    let mut text = b"export HOME=/disk LANG=C.UTF-8 BOTTLE_OUTER=1 TMPDIR=/disk\n".to_vec();
    for name in ["PATH"].into_iter().chain(INHERITED) {
        if let Some(value) = std::env::var_os(name) {
            text.extend([b"export ", name.as_bytes(), b"="].concat());
            quote(&mut text, value.as_bytes());
            text.push(b'\n');
        }
    }
    text.extend(b"cd ");
    quote(&mut text, std::env::current_dir()?.as_os_str().as_bytes());
    text.extend(b" || exit 1\nexec");
    for word in words {
        text.push(b' ');
        quote(&mut text, word.as_bytes());
    }
    text.push(b'\n');
    Ok(text)
}

fn quote(text: &mut Vec<u8>, word: &[u8]) {
    text.push(b'\'');
    for &byte in word {
        match byte {
            b'\'' => text.extend(br"'\''"),
            byte => text.push(byte),
        }
    }
    text.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_quoted_words_unchanged() {
        let words = ["plain", "two words", "it's", "$HOME `id` \\ \"q\"", "new\nline", "", "*"];
        let mut text = b"printf '%s|'".to_vec();
        for word in words {
            text.push(b' ');
            quote(&mut text, word.as_bytes());
        }
        let said = Command::new("sh").arg("-c").arg(String::from_utf8(text).unwrap()).output().unwrap();
        assert_eq!(String::from_utf8(said.stdout).unwrap(), words.join("|") + "|");
    }
}
