//! What bottle can do itself about something that is missing: install a package or load a module, as a list of words
//! that no shell reads. Whatever weakens a machine, or needs a person's judgement, is not here.

use super::find::virtualization_flag;
use super::remedy::{Need, System};
use crate::smolvm::tested;
use std::env;

/// The version of smolvm that this project was tested with, as a package.
const SMOLVM: &str = concat!("smolmachines==", tested!());

impl System {
    /// Returns the commands that provide what is missing, or `None` if that is a person's to do. `root` is whether
    /// they would run as root.
    pub fn fix(self, need: Need, root: bool) -> Option<Vec<Vec<String>>> {
        let one = |words: &[&str]| Some(vec![words.iter().map(|word| (*word).to_owned()).collect()]);
        match need {
            Need::Smolvm => smolvm(),
            _ if !root => None,
            Need::KvmModule => match virtualization_flag()? {
                "vmx" => one(&["modprobe", "kvm-intel"]),
                _ => one(&["modprobe", "kvm-amd"]),
            },
            Need::Gvproxy | Need::Bubblewrap | Need::Git | Need::Gitleaks => {
                let package = self.package(need)?;
                match self {
                    Self::Debian | Self::Ubuntu => one(&["apt-get", "install", "--yes", package]),
                    Self::Fedora => one(&["dnf", "install", "--assumeyes", package]),
                    Self::Arch => one(&["pacman", "-S", "--noconfirm", package]),
                    Self::MacOs | Self::Other => None,
                }
            }
            Need::Inotify
            | Need::Namespaces
            | Need::KvmProcessor
            | Need::KvmAccess
            | Need::Confinement
            | Need::Helper => None,
        }
    }

    fn package(self, need: Need) -> Option<&'static str> {
        match (need, self) {
            (Need::Gvproxy, Self::Debian | Self::Ubuntu) => Some("gvproxy"),
            (Need::Gvproxy, _) => Some("gvisor-tap-vsock"),
            (Need::Bubblewrap, _) => Some("bubblewrap"),
            (Need::Git, _) => Some("git"),
            (Need::Gitleaks, _) => Some("gitleaks"),
            _ => None,
        }
    }
}

/// smolvm goes into the home folder, and needs no other rights.
fn smolvm() -> Option<Vec<Vec<String>>> {
    let home = env::home_dir().filter(|home| home.is_absolute())?;
    let path = |name: &str| home.join(name).to_str().map(str::to_owned);
    let (place, programs) = (path(".local/share/smolvm")?, path(".local/bin")?);
    let link = format!("{programs}/smolvm");
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Some(vec![
        words(&["python3", "-m", "pip", "install", "--target", &place, SMOLVM]),
        words(&["mkdir", "-p", &programs]),
        words(&["ln", "-sf", &format!("{place}/smol/smol-vmm"), &link]),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_installed_by_root_and_rights_are_never_widened() {
        let installed = System::Debian.fix(Need::Bubblewrap, true).unwrap();
        assert_eq!(installed, [["apt-get", "install", "--yes", "bubblewrap"]]);
        assert_eq!(System::Debian.fix(Need::Bubblewrap, false), None);
        for need in [Need::Inotify, Need::Namespaces, Need::KvmAccess, Need::Confinement, Need::Helper] {
            for system in [System::Debian, System::Ubuntu, System::Fedora, System::Arch, System::Other] {
                assert_eq!(system.fix(need, true), None, "{need:?}");
            }
        }
    }
}
