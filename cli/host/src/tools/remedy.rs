//! The one command that installs or fixes what is missing, on this system.

use crate::failure::{Failure, Kind};
use crate::smolvm::tested;
use std::fs;

/// Something that bottle needs, or can use, on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The virtual machine monitor.
    Smolvm,
    /// The network stack, if it is a program.
    Gvproxy,
    /// An `inotify` instance for each gvproxy.
    Inotify,
    /// The program that creates the jail.
    Bubblewrap,
    /// The right to create namespaces.
    Namespaces,
    /// A kernel module for virtualization.
    KvmModule,
    /// A processor with hardware virtualization.
    KvmProcessor,
    /// Access to the virtualization device.
    KvmAccess,
    /// The kernel features that confine a machine's process.
    Confinement,
    /// The static helper.
    Helper,
    /// The program with which git-gate serves requests.
    Git,
    /// The program with which git-gate looks for secrets.
    Gitleaks,
}

/// A family of systems with the same package names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Debian and its relatives.
    Debian,
    /// Ubuntu and its relatives: Debian's packages, plus an AppArmor restriction.
    Ubuntu,
    /// Fedora and its relatives.
    Fedora,
    /// Arch and its relatives.
    Arch,
    /// macOS.
    MacOs,
    /// Any other system.
    Other,
}

const SMOLVM: &str = concat!(
    "python3 -m pip install --target ~/.local/share/smolvm smolmachines==",
    tested!(),
    " && ln -sf ~/.local/share/smolvm/smol/smol-vmm ~/.local/bin/smolvm"
);

impl System {
    /// Returns the system of this machine.
    pub fn here() -> Self {
        if cfg!(target_os = "macos") {
            return Self::MacOs;
        }
        Self::of_release(&fs::read_to_string("/etc/os-release").unwrap_or_default())
    }

    /// Returns the system that an `os-release` file (as freedesktop.org defines it) describes.
    pub fn of_release(text: &str) -> Self {
        let value = |key: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            value.unwrap_or_default().trim_matches('"').to_owned()
        };
        let (id, like) = (value("ID"), value("ID_LIKE"));
        let known = |name: &str| match name {
            "debian" => Some(Self::Debian),
            "ubuntu" => Some(Self::Ubuntu),
            "fedora" | "rhel" | "centos" => Some(Self::Fedora),
            "arch" => Some(Self::Arch),
            _ => None,
        };
        known(&id).or_else(|| like.split_whitespace().find_map(known)).unwrap_or(Self::Other)
    }

    /// Returns the command or the advice that helps.
    pub fn remedy(self, need: Need) -> &'static str {
        match (need, self) {
            (Need::Smolvm, _) => SMOLVM,
            (Need::Gvproxy, Self::Debian) => {
                "sudo apt-get install gvproxy (Debian 13 and later; on 12, `make setup` in bottle's sources)"
            }
            (Need::Gvproxy, Self::Ubuntu) => {
                "sudo apt-get install gvproxy (25.04 and later; before, `make setup` in bottle's sources)"
            }
            (Need::Gvproxy, Self::Fedora) => "sudo dnf install gvisor-tap-vsock",
            (Need::Gvproxy, Self::Arch) => "sudo pacman -S gvisor-tap-vsock",
            (Need::Gvproxy, Self::MacOs) => "brew install podman",
            (Need::Gvproxy, Self::Other) => "install gvproxy 0.8.1 or later; podman's packages carry it",
            (Need::Inotify, _) => {
                "sudo sysctl -w fs.inotify.max_user_instances=1024, or `stack = \"sockets\"` in bottle.toml, which needs none"
            }
            (Need::Bubblewrap, Self::Debian | Self::Ubuntu) => "sudo apt-get install bubblewrap",
            (Need::Bubblewrap, Self::Fedora) => "sudo dnf install bubblewrap",
            (Need::Bubblewrap, Self::Arch) => "sudo pacman -S bubblewrap",
            (Need::Bubblewrap, Self::MacOs | Self::Other) => "install bubblewrap",
            (Need::Namespaces, Self::Ubuntu) => {
                "sudo apt-get install apparmor-profiles && sudo ln -s /usr/share/apparmor/extra-profiles/bwrap-userns-restrict /etc/apparmor.d/ && sudo systemctl reload apparmor"
            }
            (Need::Namespaces, Self::Debian) => "sudo sysctl -w kernel.unprivileged_userns_clone=1",
            (Need::Namespaces, _) => "sudo sysctl -w user.max_user_namespaces=10000",
            (Need::KvmModule, Self::MacOs) => "macOS 11 or later has Hypervisor.framework",
            (Need::KvmModule, _) => "sudo modprobe kvm-intel || sudo modprobe kvm-amd",
            (Need::KvmProcessor, _) => {
                "turn on virtualization in the firmware, or nested virtualization on this machine's host; \
                 `bottle-harness outer -- COMMAND` runs a command in an emulated machine that has it"
            }
            (Need::KvmAccess, _) => "sudo usermod -aG kvm $USER, then log in again",
            (Need::Confinement, Self::MacOs) => "nothing: only Linux has seccomp and Landlock",
            (Need::Confinement, _) => {
                "boot a kernel (5.13 or later) with CONFIG_SECCOMP_FILTER and CONFIG_SECURITY_LANDLOCK, and with landlock in its lsm= list"
            }
            (Need::Helper, _) => "make install in bottle's sources; it belongs beside the bottle command",
            (Need::Git, Self::Debian | Self::Ubuntu) => "sudo apt-get install git",
            (Need::Git, Self::Fedora) => "sudo dnf install git",
            (Need::Git, Self::Arch) => "sudo pacman -S git",
            (Need::Git, Self::MacOs) => "xcode-select --install",
            (Need::Git, Self::Other) => "install git",
            (Need::Gitleaks, Self::Debian | Self::Ubuntu) => "sudo apt-get install gitleaks",
            (Need::Gitleaks, Self::Fedora) => "sudo dnf install gitleaks",
            (Need::Gitleaks, Self::Arch) => "sudo pacman -S gitleaks",
            (Need::Gitleaks, Self::MacOs) => "brew install gitleaks",
            (Need::Gitleaks, Self::Other) => "install gitleaks",
        }
    }
}

/// Something that is missing or not good enough.
pub struct Missing {
    /// What is wrong.
    pub what: String,
    /// What is needed.
    pub need: Need,
}

impl Missing {
    /// Creates the record of what is wrong, and what is needed instead.
    pub fn new(need: Need, what: impl Into<String>) -> Self {
        Self { what: what.into(), need }
    }
}

impl From<Missing> for Failure {
    fn from(missing: Missing) -> Self {
        Self::new(Kind::Unavailable, missing.what)
            .help(format!("{}; `bottle doctor` checks the rest", System::here().remedy(missing.need)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_file_names_a_family() {
        for (text, system) in [
            ("NAME=\"Debian GNU/Linux\"\nID=debian\nVERSION_ID=\"12\"\n", System::Debian),
            ("ID=ubuntu\nID_LIKE=debian\n", System::Ubuntu),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", System::Ubuntu),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", System::Fedora),
            ("ID=manjaro\nID_LIKE=arch\n", System::Arch),
            ("ID=alpine\n", System::Other),
            ("", System::Other),
        ] {
            assert_eq!(System::of_release(text), system, "{text}");
        }
    }
}
