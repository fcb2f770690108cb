//! What git is told, and how much a child may take.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

const MIB: u64 = 1 << 20;
/// Descriptors of one process.
const DESCRIPTORS: u64 = 512;

/// What git is told about every repository of ours, above what the repository itself says. `null` is
/// what leads nowhere.
pub const CONFIG: &[(&str, &str)] = &[
    // Nothing that runs a program, reads another file or asks somebody.
    ("core.attributesFile", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.alternateRefsCommand", "true"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("log.showSignature", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("receive.autogc", "false"),
    // What comes from a guest-writable repository is checked as a push is.
    ("transfer.fsckObjects", "true"),
    // Only between two folders of this machine.
    ("protocol.allow", "never"),
    ("protocol.file.allow", "always"),
];

/// What keeps git from taking all the memory there is. Each is a bound on what one process holds;
/// the operating system's limit stands behind them.
pub const FRUGAL: &[(&str, &str)] = &[
    // Larger blobs are streamed, neither held whole nor compared.
    ("core.bigFileThreshold", "8m"),
    ("core.packedGitWindowSize", "16m"),
    ("core.packedGitLimit", "256m"),
    ("core.deltaBaseCacheLimit", "32m"),
    // git 2.39 has no such limit, and ends with a full stack: an error, too.
    ("core.maxTreeDepth", "256"),
    ("pack.windowMemory", "64m"),
    ("pack.deltaCacheSize", "32m"),
    ("pack.threads", "1"),
    ("index.threads", "1"),
    // A push stays one file, however many objects it has.
    ("transfer.unpackLimit", "1"),
];

/// How much a child may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Memory of its own of one process, in bytes.
    pub memory: u64,
    /// Processor time of one process.
    pub cpu: Duration,
    /// Time from start to end.
    pub wall: Duration,
    /// The largest file that it writes, in bytes.
    pub file: u64,
}

impl Limits {
    /// Looking at what was pushed.
    pub const LOOK: Self = Self {
        memory: 512 * MIB,
        cpu: Duration::from_secs(60),
        wall: Duration::from_secs(120),
        file: 256 * MIB,
    };
    /// Reading the operator's repository, whose size the operator chose.
    pub const READ: Self = Self {
        memory: 2048 * MIB,
        cpu: Duration::from_secs(900),
        wall: Duration::from_secs(900),
        file: 32 * 1024 * MIB,
    };
    /// Sending to an upstream, which may be slow and may ask a person for a passphrase.
    pub const SEND: Self = Self {
        memory: 2048 * MIB,
        cpu: Duration::from_secs(300),
        wall: Duration::from_secs(600),
        file: 1024 * MIB,
    };

    /// Serving a guest whose push may be this large. At [`crate::git::MAX_FETCHES`] and
    /// [`crate::git::MAX_PUSHES`] all of them together have bounded memory.
    pub const fn serve(max_mib: u32) -> Self {
        Self {
            memory: 512 * MIB,
            cpu: Duration::from_secs(300),
            wall: Duration::from_secs(900),
            // A thin pack is completed with what it builds on.
            file: (2 * max_mib as u64 + 64) * MIB,
        }
    }
}

/// Bounds a child and whatever it starts. Memory is counted as data and not as address space: git
/// maps its packs, and a map that it only reads costs nothing.
pub(super) fn bound(command: &mut Command, limits: &Limits) {
    let mut wanted = vec![
        (Resource::Cpu, limits.cpu.as_secs()),
        (Resource::Fsize, limits.file),
        (Resource::Nofile, DESCRIPTORS),
        (Resource::Core, 0),
        (Resource::Data, limits.memory),
    ];
    // The limit counts every process of the user's, so it stands above what runs anyway. The kernel
    // does not apply it to root.
    #[cfg(target_os = "linux")]
    wanted.push((Resource::Nproc, u64::from(rustix::system::sysinfo().procs) + 512));
    let wanted: Vec<(Resource, Rlimit)> = wanted
        .into_iter()
        .map(|(resource, most)| {
            let most = getrlimit(resource).maximum.map_or(most, |has| has.min(most));
            (resource, Rlimit { current: Some(most), maximum: Some(most) })
        })
        .collect();
    // SAFETY: the closure only makes system calls on memory that is there, which is safe between fork
    // and exec.
    #[expect(unsafe_code, reason = "only code that runs after fork can bound the child alone")]
    unsafe {
        command.pre_exec(move || {
            for (resource, limit) in &wanted {
                setrlimit(*resource, *limit)?;
            }
            Ok(())
        });
    }
}
