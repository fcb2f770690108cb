//! What each process may still do once it is confined. Nothing here touches the system.

use std::path::{Path, PathBuf};

/// The rights of a confined process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Files that it may read, and what is in folders.
    pub read: Vec<PathBuf>,
    /// Files that it may read and run, and what is in folders.
    pub run: Vec<PathBuf>,
    /// Folders in which it may do what it likes with files, but run them.
    pub write: Vec<PathBuf>,
    /// Folders from which it may remove files.
    pub remove: Vec<PathBuf>,
    /// Which system calls it may make.
    pub calls: Calls,
}

/// A set of system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// Those of the keeper: files, threads, connections to anywhere. No program is started.
    Keeper,
    /// Those of the process that holds keys: what it has open already, and nothing new.
    Keys,
    /// Every one that git needs, and many more; none that reaches a network or the kernel's depths.
    Git,
}

/// What tells the C library's resolver how to resolve names.
const RESOLVER: [&str; 5] =
    ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf"];
/// Where its files are links to, made anew whenever the network changes.
const RESOLVER_RUN: [&str; 3] = ["/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager"];
/// Where programs and libraries are.
const SYSTEM: [&str; 8] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store"];
const DEVICES: [&str; 3] = ["/dev/null", "/dev/urandom", "/dev/zero"];

fn paths(names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(PathBuf::from).collect()
}

impl Policy {
    /// Of the keeper: it writes its log, removes its sockets, and resolves names. Root could read
    /// every secret in /etc, so it reads the resolver's files as they are now; anybody else reads
    /// the folder, in which they may be exchanged for new ones.
    pub fn keeper(logs: &Path, runtime: &Path, is_root: bool) -> Self {
        let mut read = if is_root { paths(&RESOLVER) } else { paths(&["/etc"]) };
        read.extend(paths(&RESOLVER_RUN));
        // Modules of the resolver; and whose process is at the other end of a socket. What belongs
        // to the processes themselves there, Landlock keeps to each.
        read.extend(paths(&["/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache", "/proc"]));
        read.extend(paths(&DEVICES));
        Self {
            read,
            run: Vec::new(),
            write: vec![logs.to_owned()],
            remove: vec![runtime.to_owned()],
            calls: Calls::Keeper,
        }
    }

    /// Of the process that holds keys: it opens nothing.
    pub fn keys() -> Self {
        Self { read: Vec::new(), run: Vec::new(), write: Vec::new(), remove: Vec::new(), calls: Calls::Keys }
    }

    /// Of a git process: it writes one store, reads what else it is given, and runs the system's
    /// programs and those that it is given.
    pub fn git(store: &Path, read: &[PathBuf], run: &[PathBuf]) -> Self {
        let mut programs = paths(&SYSTEM);
        programs.extend_from_slice(run);
        let mut files = paths(&["/etc/ld.so.cache", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf"]);
        files.extend(paths(&["/etc/alternatives", "/etc/localtime", "/proc"]));
        files.extend_from_slice(read);
        Self {
            read: files,
            run: programs,
            write: [vec![store.to_owned()], paths(&DEVICES)].concat(),
            remove: Vec::new(),
            calls: Calls::Git,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_may_run_what_it_may_write() {
        let store = Path::new("/state/git/a.git");
        let run = [PathBuf::from("/opt/bottle")];
        let policies = [
            Policy::keeper(Path::new("/state/t/log"), Path::new("/run/t"), true),
            Policy::keeper(Path::new("/state/t/log"), Path::new("/run/t"), false),
            Policy::keys(),
            Policy::git(store, &[], &run),
        ];
        for policy in &policies {
            for written in policy.write.iter().filter(|path| !path.starts_with("/dev")) {
                assert!(!policy.run.iter().any(|run| written.starts_with(run) || run.starts_with(written)));
            }
        }
        assert!(policies[3].write.contains(&store.to_owned()) && policies[3].run.contains(&run[0]));
    }

    #[test]
    fn a_keeper_of_root_reads_no_folder_with_secrets() {
        let policy = Policy::keeper(Path::new("/s/t/log"), Path::new("/r/t"), true);
        for secret in ["/etc/shadow", "/root/.ssh/id_ed25519", "/s/other/plan.json", "/s/t/services.json"] {
            let secret = Path::new(secret);
            assert!(!policy.read.iter().chain(&policy.write).any(|path| secret.starts_with(path)));
        }
        assert!(policy.read.iter().any(|path| Path::new("/etc/hosts").starts_with(path)));
    }
}
