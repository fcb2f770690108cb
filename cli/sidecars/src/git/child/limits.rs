//! The settings given to git, and the limits of a child.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

const MIB: u64 = 1 << 20;
/// The number of descriptors that one process may open.
const DESCRIPTORS: u64 = 512;

/// The settings for all our repositories. They override each repository's own.
pub const CONFIG: &[(&str, &str)] = &[
    // Nothing may run a program, read another file or ask anybody.
    ("core.attributesFile", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.alternateRefsCommand", "true"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("log.showSignature", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("receive.autogc", "false"),
    // Objects from a repository that a guest can write to are checked like pushed ones.
    ("transfer.fsckObjects", "true"),
    // Transfers only happen between two folders on this machine.
    ("protocol.allow", "never"),
    ("protocol.file.allow", "always"),
];

/// Settings that limit git's memory. Each limits one process, and the operating system's limits apply on top.
pub const MEMORY_LIMITS: &[(&str, &str)] = &[
    // Larger blobs are streamed: neither held in memory nor compared.
    ("core.bigFileThreshold", "8m"),
    ("core.packedGitWindowSize", "16m"),
    ("core.packedGitLimit", "256m"),
    ("core.deltaBaseCacheLimit", "32m"),
    // git 2.39 does not have this limit. There a deep tree overflows the stack, which is also an error.
    ("core.maxTreeDepth", "256"),
    ("pack.windowMemory", "64m"),
    ("pack.deltaCacheSize", "32m"),
    ("pack.threads", "1"),
    ("index.threads", "1"),
    // A push stays in one file, however many objects it contains.
    ("transfer.unpackLimit", "1"),
];

/// The limits of a child.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The private memory of each process, in bytes.
    pub memory: u64,
    /// The processor time of each process.
    pub cpu: Duration,
    /// The time from start to end.
    pub wall: Duration,
    /// The largest file that a process may write, in bytes.
    pub file: u64,
}

impl Limits {
    /// Limits for inspecting a push.
    pub const LOOK: Self = Self {
        memory: 512 * MIB,
        cpu: Duration::from_secs(60),
        wall: Duration::from_secs(120),
        file: 256 * MIB,
    };
    /// Limits for reading the operator's repository, whose size is the operator's choice.
    pub const READ: Self = Self {
        memory: 2048 * MIB,
        cpu: Duration::from_secs(900),
        wall: Duration::from_secs(900),
        file: 32 * 1024 * MIB,
    };
    /// Limits for pushing to an upstream, which may be slow or ask a person for a passphrase.
    pub const SEND: Self = Self {
        memory: 2048 * MIB,
        cpu: Duration::from_secs(300),
        wall: Duration::from_secs(600),
        file: 1024 * MIB,
    };

    /// Returns the limits for serving a guest whose pushes may have up to `max_mib` MiB. Together with
    /// `MAX_FETCHES` and `MAX_PUSHES`, they limit the memory of all processes.
    pub const fn serve(max_mib: u32) -> Self {
        Self {
            memory: 512 * MIB,
            cpu: Duration::from_secs(300),
            wall: Duration::from_secs(900),
            // git completes a thin pack by adding the objects that it builds on.
            file: (2 * max_mib as u64 + 64) * MIB,
        }
    }
}

/// Limits a child and everything that it starts. The memory limit covers data, not address space: git maps
/// its packs, and a read-only mapping costs nothing.
pub(super) fn bound(command: &mut Command, limits: &Limits) {
    let mut wanted = vec![
        (Resource::Cpu, limits.cpu.as_secs()),
        (Resource::Fsize, limits.file),
        (Resource::Nofile, DESCRIPTORS),
        (Resource::Core, 0),
        (Resource::Data, limits.memory),
    ];
    // The limit counts all of the user's processes, so it is set above the current number. The kernel does
    // not apply it to root.
    #[cfg(target_os = "linux")]
    wanted.push((Resource::Nproc, u64::from(rustix::system::sysinfo().procs) + 512));
    let wanted: Vec<(Resource, Rlimit)> = wanted
        .into_iter()
        .map(|(resource, most)| {
            let most = getrlimit(resource).maximum.map_or(most, |has| has.min(most));
            (resource, Rlimit { current: Some(most), maximum: Some(most) })
        })
        .collect();
    // SAFETY: the closure only makes system calls on memory that it owns, which is safe between fork and
    // exec.
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
