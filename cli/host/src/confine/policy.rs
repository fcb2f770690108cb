//! What each process may still do once it is confined. Nothing in this file touches the system.

use std::path::{Path, PathBuf};

/// The rights of a confined process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Files, and folders with their contents, that it may read.
    pub read: Vec<PathBuf>,
    /// Files, and folders with their contents, that it may read and run.
    pub run: Vec<PathBuf>,
    /// Folders in which it may do anything with files except run them.
    pub write: Vec<PathBuf>,
    /// Folders from which it may remove files.
    pub remove: Vec<PathBuf>,
    /// The system calls that it may make.
    pub calls: Calls,
}

/// A set of system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// The keeper's calls: files, threads, connections to anywhere. It cannot start programs.
    Keeper,
    /// The calls of the process that holds keys. It uses what it already has open, and opens nothing new.
    Keys,
    /// Every call that git needs, and many more, but none that reaches a network or the kernel's internals.
    Git,
}

/// The files that tell the C library's resolver how to resolve names.
const RESOLVER: [&str; 5] =
    ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf"];
/// The targets of links among them. They are rewritten whenever the network changes.
const RESOLVER_RUN: [&str; 3] = ["/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager"];
/// The folders of programs and libraries.
const SYSTEM: [&str; 8] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store"];
const DEVICES: [&str; 3] = ["/dev/null", "/dev/urandom", "/dev/zero"];

fn paths(names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(PathBuf::from).collect()
}

impl Policy {
    /// Returns the keeper's policy. The keeper writes its log, removes its sockets and resolves names. Root's
    /// keeper could read every secret in /etc, so it may only read the resolver's files that exist now. Any
    /// other user's keeper may read the whole folder, so that those files may be replaced.
    pub fn keeper(logs: &Path, runtime: &Path, is_root: bool) -> Self {
        let mut read = if is_root { paths(&RESOLVER) } else { paths(&["/etc"]) };
        read.extend(paths(&RESOLVER_RUN));
        // For the resolver's modules, and for the process at the other end of a socket. Landlock keeps what
        // belongs to other processes in /proc out of reach.
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

    /// Returns the policy of the process that holds keys, which opens nothing.
    pub fn keys() -> Self {
        Self { read: Vec::new(), run: Vec::new(), write: Vec::new(), remove: Vec::new(), calls: Calls::Keys }
    }

    /// Returns the policy of a git process. It may write to one store, read what else it is given, and run
    /// the system's programs and the given ones.
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
