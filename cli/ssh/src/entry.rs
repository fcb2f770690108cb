//! What ssh's configuration says about a bottle.

use std::fmt;
use std::path::{Path, PathBuf};

/// An entry of ssh's configuration.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name by which ssh knows the bottle.
    pub alias: String,
    /// The user of the guest.
    pub user: String,
    /// The proxy command, word by word.
    pub command: Vec<String>,
    /// The path of the private key.
    pub identity: PathBuf,
    /// The path of the file with the server's key.
    pub known_hosts: PathBuf,
}

/// A value that cannot be written so that ssh and every shell read the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwritable(pub String);

impl Entry {
    /// Writes the entry.
    ///
    /// # Errors
    /// Returns an error if one of the values would mean something else to ssh or to the shell that it starts.
    pub fn render(&self) -> Result<String, Unwritable> {
        let command: Vec<String> =
            self.command.iter().map(|word| Ok(format!("'{}'", plain(word)?))).collect::<Result<_, _>>()?;
        let path = |path: &Path| Ok(format!("\"{}\"", plain(path.to_str().ok_or_else(|| lossy(path))?)?));
        let user = self.user.as_str();
        // ssh would split it, or read it as another option.
        if user.is_empty() || user.starts_with('-') || user.contains(|c: char| c.is_whitespace() || c == '#')
        {
            return Err(Unwritable(self.user.clone()));
        }
        Ok(Lines {
            alias: &self.alias,
            user: plain(user)?,
            command: command.join(" "),
            identity: path(&self.identity)?,
            known_hosts: path(&self.known_hosts)?,
        }
        .to_string())
    }
}

fn lossy(path: &Path) -> Unwritable {
    Unwritable(path.display().to_string())
}

/// Returns a value as it stands between quotes, if it can. ssh replaces what follows `%` and `${`, and no two shells
/// agree on a quote inside of quotes.
fn plain(text: &str) -> Result<String, Unwritable> {
    match text.contains(|c: char| c.is_control() || matches!(c, '\'' | '"' | '\\' | '$')) {
        true => Err(Unwritable(text.to_owned())),
        false => Ok(text.replace('%', "%%")),
    }
}

struct Lines<'a> {
    alias: &'a str,
    user: String,
    command: String,
    identity: String,
    known_hosts: String,
}

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { alias, user, command, identity, known_hosts } = self;
        writeln!(f, "Host {alias}")?;
        let mut line = |key: &str, value: &str| writeln!(f, "    {key} {value}");
        line("HostName", alias)?;
        line("User", user)?;
        line("ProxyCommand", command)?;
        line("IdentityFile", identity)?;
        line("IdentitiesOnly", "yes")?;
        line("UserKnownHostsFile", known_hosts)?;
        line("GlobalKnownHostsFile", "/dev/null")?;
        line("StrictHostKeyChecking", "yes")?;
        line("PreferredAuthentications", "publickey")?;
        line("ForwardAgent", "no")?;
        line("ForwardX11", "no")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(program: &str, user: &str) -> Entry {
        Entry {
            alias: "my-project.bottle".to_owned(),
            user: user.to_owned(),
            command: [program, "ssh-proxy", "my-project"].map(str::to_owned).to_vec(),
            identity: "/home/a b/id".into(),
            known_hosts: "/home/a b/known".into(),
        }
    }

    #[test]
    fn what_ssh_or_a_shell_would_read_otherwise_is_refused_or_escaped() {
        let text = entry("/opt/100% pure/bottle", "root").render().unwrap();
        assert!(
            text.contains("\n    ProxyCommand '/opt/100%% pure/bottle' 'ssh-proxy' 'my-project'\n"),
            "{text}"
        );
        assert!(text.contains("\n    IdentityFile \"/home/a b/id\"\n"), "{text}");
        for program in ["/opt/it's/bottle", "/opt/\"/bottle", "/opt/$HOME/bottle", "/opt/a\nb", "/opt/a\\b"] {
            assert_eq!(entry(program, "root").render(), Err(Unwritable(program.to_owned())));
        }
        for user in ["", "-x", "a b", "a\nHost *", "a#b", "$(id)", "a'b"] {
            assert!(entry("/bin/bottle", user).render().is_err(), "{user:?}");
        }
    }
}
