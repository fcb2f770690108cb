//! Sets the guest's resolver, and the only host in its hosts file apart from itself.

use bottle_core::PROXY_NAME;
use bottle_core::subnet::Subnet;
use std::path::Path;
use std::{fs, io};

const RESOLVER: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

/// Points the guest's resolver at the gateway, and writes `proxy.internal` into its hosts file.
///
/// In a read-only root filesystem, a convenience is missing, but no wall. So a failure is only reported.
/// Files are written in place, because a container engine mounts over them.
pub fn write(subnet: Subnet) {
    let resolver = format!("nameserver {}\noptions timeout:2 attempts:2\n", subnet.gateway());
    let entry = format!("{}\t{PROXY_NAME}", subnet.proxy());
    for done in [put(RESOLVER, &resolver), put(HOSTS, &with_entry(&read(HOSTS), &entry))] {
        if let Err(error) = done {
            eprintln!("bottle-guest: {error}");
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|_| "127.0.0.1\tlocalhost\n::1\tlocalhost\n".to_owned())
}

/// Returns `hosts` with `entry` as its only line about the proxy.
fn with_entry(hosts: &str, entry: &str) -> String {
    let about_proxy = |line: &&str| line.split_whitespace().skip(1).any(|name| name == PROXY_NAME);
    let mut text: String =
        hosts.lines().filter(|line| !about_proxy(line)).flat_map(|line| [line, "\n"]).collect();
    text.push_str(entry);
    text.push('\n');
    text
}

fn put(path: &str, text: &str) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{path}: {error}"));
    if let Some(folder) = Path::new(path).parent() {
        fs::create_dir_all(folder).map_err(named)?;
    }
    // Images can contain a dangling link left behind by systemd-resolved.
    if Path::new(path).is_symlink() && !Path::new(path).exists() {
        fs::remove_file(path).map_err(named)?;
    }
    fs::write(path, text).map_err(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_replaces_an_earlier_one_and_nothing_else() {
        let hosts = "127.0.0.1 localhost\n10.0.0.1 proxy.internal\n10.0.0.2 proxy.internal.example\n";
        let text = with_entry(hosts, "192.168.9.254\tproxy.internal");
        assert_eq!(
            text,
            "127.0.0.1 localhost\n10.0.0.2 proxy.internal.example\n192.168.9.254\tproxy.internal\n"
        );
        assert_eq!(with_entry(&text, "192.168.9.254\tproxy.internal"), text);
    }
}
