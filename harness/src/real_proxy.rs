//! tinyproxy and squid, as Debian packages them: to measure beside, and as the proxies of a company.

use anyhow::{Context, Result, ensure};
use bottle_host::process::die_with_parent;
use rustix::process::Signal;
use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The user that Debian's squid becomes.
const SQUID: u32 = 13;
/// How long a proxy may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// tinyproxy.
    Tinyproxy,
    /// squid, without a cache.
    Squid,
}

/// A proxy on a free port of the loopback. It is killed when the value is dropped.
#[derive(Debug)]
pub struct RealProxy {
    kind: Kind,
    port: u16,
    folder: TempDir,
    child: Child,
}

impl Kind {
    /// Returns its name, and that of its package and program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tinyproxy => "tinyproxy",
            Self::Squid => "squid",
        }
    }

    /// Returns whether it is installed.
    pub fn is_here(self) -> bool {
        ["/usr/sbin", "/usr/bin"].iter().any(|folder| Path::new(folder).join(self.name()).exists())
    }

    /// Writes its configuration: it lets in whoever is on this machine, with the login if there is one.
    fn configure(self, folder: &Path, port: u16, login: Option<(&str, &str)>) -> Result<()> {
        let place = folder.display();
        let config = match self {
            Self::Tinyproxy => {
                let login =
                    login.map_or_else(String::new, |(name, word)| format!("BasicAuth {name} {word}\n"));
                format!(
                    "Port {port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 200\nAllow 127.0.0.1\nLogLevel Error\n{login}"
                )
            }
            Self::Squid => {
                let cache = folder.join("squid");
                fs::create_dir_all(&cache)?;
                chown(&cache, Some(SQUID), Some(SQUID))?;
                let rule = match login {
                    None => "http_access allow all".to_owned(),
                    Some((name, word)) => {
                        fs::write(folder.join("logins"), format!("{name}:{}\n", hash(word)?))?;
                        format!(
                            "auth_param basic program /usr/lib/squid/basic_ncsa_auth {place}/logins\n\
                             auth_param basic children 1 startup=1\nauth_param basic realm corp\n\
                             acl known proxy_auth REQUIRED\nhttp_access allow known\nhttp_access deny all"
                        )
                    }
                };
                format!(
                    "http_port 127.0.0.1:{port}\n{rule}\ncache deny all\naccess_log none\ncache_log /dev/null\n\
                     pid_filename {place}/squid/pid\ncoredump_dir {place}/squid\nmemory_pools off\n\
                     hosts_file {place}/hosts\nshutdown_lifetime 0\n"
                )
            }
        };
        fs::set_permissions(folder, Permissions::from_mode(0o755))?;
        Ok(fs::write(folder.join("config"), config)?)
    }

    fn spawn(self, folder: &Path, port: u16) -> Result<Child> {
        // Only this proxy knows the names.
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]);
        command.arg(folder.join("hosts")).arg(self.name());
        command.arg(match self {
            Self::Tinyproxy => "-d",
            Self::Squid => "-N",
        });
        command.arg(match self {
            Self::Tinyproxy => "-c",
            Self::Squid => "-f",
        });
        command.arg(folder.join("config"));
        die_with_parent(&mut command, Signal::KILL);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            ensure!(child.try_wait()?.is_none() && Instant::now() < end, "{} does not start", self.name());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(child)
    }
}

impl RealProxy {
    /// Starts a proxy that resolves these names, and wants this login.
    ///
    /// # Errors
    /// Returns an error if it is not installed, or does not start.
    pub fn start(kind: Kind, hosts: &[(&str, Ipv4Addr)], login: Option<(&str, &str)>) -> Result<Self> {
        ensure!(kind.is_here(), "{0} is not installed: it is in Debian's package {0}", kind.name());
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let folder = tempfile::Builder::new().prefix("bottle-proxy-").tempdir()?;
        let lines: Vec<String> = hosts.iter().map(|(name, address)| format!("{address} {name}\n")).collect();
        fs::write(folder.path().join("hosts"), format!("127.0.0.1 localhost\n{}", lines.concat()))?;
        kind.configure(folder.path(), port, login)?;
        let child = kind.spawn(folder.path(), port)?;
        Ok(Self { kind, port, folder, child })
    }

    /// Returns its name.
    pub fn name(&self) -> &'static str {
        self.kind.name()
    }

    /// Returns its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns its URL, with this login.
    pub fn url_for(&self, login: &str) -> String {
        format!("http://{login}@127.0.0.1:{}", self.port)
    }

    /// Kills it.
    ///
    /// # Errors
    /// Returns an error if it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        let _ = self.child.kill();
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again, on the same port.
    ///
    /// # Errors
    /// Returns an error if it does not start.
    pub fn start_again(&mut self) -> Result<()> {
        self.child = self.kind.spawn(self.folder.path(), self.port)?;
        Ok(())
    }
}

impl Drop for RealProxy {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Hashes a password as squid's helper reads it.
fn hash(word: &str) -> Result<String> {
    let output = Command::new("openssl").args(["passwd", "-apr1", word]).output().context("openssl")?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
