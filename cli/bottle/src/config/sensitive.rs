//! Lists the folders of this machine that a guest gets only if `bottle.toml` names them: where tools keep
//! keys, where the machine keeps its own secrets, and homes as a whole.

use super::found::shown;
use bottle_host::provenance::walk::walk;
use std::env;
use std::fmt;
use std::path::{Path, PathBuf};

/// How much of a folder is sensitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The folder as a whole, but not the projects in it.
    Whole,
    /// The folder as a whole, unless it is shared as part of a larger folder.
    Itself,
    /// The folder and everything in it.
    Everything,
    /// The folder and everything in it, except people's homes: a service's home may be in `/var/lib`.
    System,
}

/// A file or folder that a guest does not get without a person's consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sensitive {
    /// Where it is, without links.
    pub path: PathBuf,
    /// What it is, in words that follow "is".
    pub what: &'static str,
    /// How much of it is sensitive.
    pub scope: Scope,
}

/// How a shared folder and a sensitive place are related.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Same,
    Holds,
    PartOf,
}

/// A sensitive place that a guest would get with a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    folder: PathBuf,
    place: PathBuf,
    what: &'static str,
    scope: Scope,
    relation: Relation,
}

/// Sensitive folders of the machine.
const SYSTEM: &[(&str, &str)] = &[
    ("/etc", "this machine's configuration, with its secrets"),
    ("/dev", "this machine's devices"),
    ("/proc", "the kernel's view of every process"),
    ("/sys", "the kernel's own settings"),
    ("/run", "where this machine's services listen"),
    ("/var/run", "where this machine's services listen"),
    ("/boot", "what this machine boots from"),
    ("/efi", "what this machine boots from"),
    ("/var/lib", "what this machine's services keep"),
    ("/var/backups", "this machine's backups"),
    ("/var/spool", "this machine's mail and jobs"),
    ("/private/etc", "this machine's configuration, with its secrets"),
];

/// Sensitive paths in a home. A path below `.config` is also looked for below `XDG_CONFIG_HOME`.
const KEYS: &[(&str, &str)] = &[
    (".ssh", "your SSH keys"),
    (".gnupg", "your GnuPG keys"),
    (".password-store", "your passwords"),
    (".local/share/keyrings", "your keyrings"),
    (".local/share/kwalletd", "your wallet of passwords"),
    (".gnome2/keyrings", "your keyrings"),
    ("Library/Keychains", "your keychains"),
    (".config/1Password", "your passwords"),
    (".config/op", "your passwords"),
    (".config/Bitwarden", "your passwords"),
    (".config/Bitwarden CLI", "your passwords"),
    (".config/keepassxc", "your passwords"),
    (".config/sops", "your keys for sops"),
    (".config/age", "your keys for age"),
    (".vault-token", "your token for Vault"),
    (".netrc", "your passwords for servers"),
    ("_netrc", "your passwords for servers"),
    (".authinfo", "your passwords for servers"),
    (".authinfo.gpg", "your passwords for servers"),
    (".git-credentials", "your passwords for git"),
    (".config/git/credentials", "your passwords for git"),
    (".config/gh", "your GitHub token"),
    (".config/hub", "your GitHub token"),
    (".config/glab-cli", "your GitLab token"),
    (".config/tea", "your Gitea token"),
    (".config/github-copilot", "your Copilot token"),
    (".aws", "your AWS keys"),
    (".azure", "your Azure keys"),
    (".config/gcloud", "your Google Cloud keys"),
    (".boto", "your cloud storage keys"),
    (".s3cfg", "your cloud storage keys"),
    (".config/rclone", "your cloud storage keys"),
    (".rclone.conf", "your cloud storage keys"),
    (".oci", "your Oracle Cloud keys"),
    (".aliyun", "your Alibaba Cloud keys"),
    (".bluemix", "your IBM Cloud keys"),
    (".config/doctl", "your DigitalOcean token"),
    (".config/hcloud", "your Hetzner token"),
    (".config/linode-cli", "your Linode token"),
    (".config/heroku", "your Heroku token"),
    (".fly", "your Fly token"),
    (".vercel", "your Vercel token"),
    (".config/netlify", "your Netlify token"),
    (".config/stripe", "your Stripe keys"),
    (".wrangler", "your Cloudflare token"),
    (".config/.wrangler", "your Cloudflare token"),
    (".kube", "your Kubernetes keys"),
    (".minikube", "your Kubernetes keys"),
    (".config/helm", "your keys for Helm"),
    (".docker", "your registry passwords"),
    (".config/containers", "your registry passwords"),
    (".terraform.d", "your Terraform token"),
    (".terraformrc", "your Terraform token"),
    (".pulumi", "your Pulumi token"),
    (".ansible", "your keys for Ansible"),
    (".config/ngrok", "your ngrok token"),
    (".claude", "Claude Code's keys and your sessions with it"),
    (".claude.json", "Claude Code's keys and settings"),
    (".config/claude", "Claude Code's keys and your sessions with it"),
    (".config/Claude", "Claude's keys"),
    (".codex", "Codex's keys and your sessions with it"),
    (".gemini", "Gemini's keys and your sessions with it"),
    (".cursor", "Cursor's keys and settings"),
    (".config/Cursor", "Cursor's keys and settings"),
    (".config/goose", "Goose's keys"),
    (".local/share/opencode", "opencode's keys"),
    (".config/openai", "your OpenAI key"),
    (".config/anthropic", "your Anthropic key"),
    (".cache/huggingface/token", "your Hugging Face token"),
    (".huggingface", "your Hugging Face token"),
    (".kaggle", "your Kaggle key"),
    (".npmrc", "your npm token"),
    (".yarnrc.yml", "your npm token"),
    (".pypirc", "your PyPI token"),
    (".config/pip", "your package index's password"),
    (".config/pypoetry", "your PyPI token"),
    (".cargo/credentials", "your crates.io token"),
    (".cargo/credentials.toml", "your crates.io token"),
    (".gem/credentials", "your RubyGems key"),
    (".bundle/config", "your Bundler passwords"),
    (".m2/settings.xml", "your Maven passwords"),
    (".m2/settings-security.xml", "your Maven passwords"),
    (".gradle/gradle.properties", "your Gradle passwords"),
    (".composer/auth.json", "your Composer tokens"),
    (".config/composer/auth.json", "your Composer tokens"),
    (".nuget/NuGet", "your NuGet keys"),
    (".pgpass", "your PostgreSQL passwords"),
    (".my.cnf", "your MySQL password"),
    (".mylogin.cnf", "your MySQL passwords"),
    (".mozilla", "your browser's profile"),
    (".thunderbird", "your mail"),
    (".config/google-chrome", "your browser's profile"),
    (".config/chromium", "your browser's profile"),
    (".config/BraveSoftware", "your browser's profile"),
    (".config/microsoft-edge", "your browser's profile"),
    (".config/vivaldi", "your browser's profile"),
    ("snap/firefox", "your browser's profile"),
];

/// Variables that move a tool's folder out of the home.
const MOVED: &[(&str, &str)] = &[
    ("GNUPGHOME", "your GnuPG keys"),
    ("PASSWORD_STORE_DIR", "your passwords"),
    ("AWS_SHARED_CREDENTIALS_FILE", "your AWS keys"),
    ("AZURE_CONFIG_DIR", "your Azure keys"),
    ("CLOUDSDK_CONFIG", "your Google Cloud keys"),
    ("GOOGLE_APPLICATION_CREDENTIALS", "your Google Cloud keys"),
    ("KUBECONFIG", "your Kubernetes keys"),
    ("DOCKER_CONFIG", "your registry passwords"),
    ("GH_CONFIG_DIR", "your GitHub token"),
    ("CLAUDE_CONFIG_DIR", "Claude Code's keys and your sessions with it"),
    ("CODEX_HOME", "Codex's keys and your sessions with it"),
    ("NETRC", "your passwords for servers"),
    ("PGPASSFILE", "your PostgreSQL passwords"),
];

const HOME: &str = "your home folder";
const ANOTHERS_HOME: &str = "somebody's home folder";

/// Returns what is sensitive on this machine.
pub fn on_this_machine() -> Vec<Sensitive> {
    let mut found = Vec::new();
    let mut add = |path: PathBuf, what, scope, if_missing| {
        let walked = walk(&path);
        let is_there = walked.as_ref().is_ok_and(|walked| walked.end.is_some());
        // If it does not exist yet, its nearest existing parent shows where it leads.
        let path = walked.map_or(path, |walked| walked.real);
        let is_known = found.iter().any(|known: &Sensitive| known.path == path);
        if (is_there || if_missing) && !is_known {
            found.push(Sensitive { path, what, scope });
        }
    };
    add(PathBuf::from("/"), "the whole machine", Scope::Whole, true);
    let own = env::home_dir();
    let homes = own.iter().map(|home| (home.clone(), HOME)).chain(others().map(|home| (home, ANOTHERS_HOME)));
    for (home, what) in homes.filter(|(home, _)| home.parent().is_some()) {
        add(home.clone(), what, Scope::Whole, what == HOME);
        for name in [".config", ".local", ".local/share"] {
            add(home.join(name), "the settings of all your programs", Scope::Itself, false);
        }
        for (name, what) in KEYS {
            add(home.join(name), what, Scope::Everything, false);
        }
    }
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(config) = absolute("XDG_CONFIG_HOME") {
        let below = KEYS.iter().filter_map(|(name, what)| Some((name.strip_prefix(".config/")?, *what)));
        below.for_each(|(name, what)| add(config.join(name), what, Scope::Everything, false));
    }
    for (variable, what) in MOVED {
        if let Some(path) = absolute(variable) {
            add(path, what, Scope::Everything, false);
        }
    }
    if let Ok(state) = bottle_host::state::Home::find() {
        state.roots().for_each(|root| add(root.to_owned(), "bottle's own state", Scope::Everything, true));
    }
    for (path, what) in SYSTEM {
        add(PathBuf::from(path), *what, Scope::System, false);
    }
    found
}

/// Returns the homes of this machine's users, including root's.
fn others() -> impl Iterator<Item = PathBuf> {
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let homes: Vec<PathBuf> = accounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':').skip(2);
            let user: u32 = fields.next()?.parse().ok()?;
            let home = fields.nth(2)?;
            ((user == 0 || user >= 1000) && home.starts_with('/')).then(|| PathBuf::from(home))
        })
        .collect();
    homes.into_iter()
}

/// Returns the sensitive places that a guest would get with a folder.
pub fn exposed(folder: &Path, sensitive: &[Sensitive]) -> Vec<Exposed> {
    let exposed = |place: &Sensitive| {
        let Sensitive { path, what, scope } = place;
        let relation = if folder == path {
            Relation::Same
        } else if path.starts_with(folder) && *scope != Scope::Itself {
            Relation::Holds
        } else if folder.starts_with(path) && is_within(folder, place, sensitive) {
            Relation::PartOf
        } else {
            return None;
        };
        Some(Exposed { folder: folder.to_owned(), place: path.clone(), what, scope: *scope, relation })
    };
    // To share the whole machine says everything already.
    let whole = sensitive.iter().filter(|place| folder.parent().is_none() && place.path == folder);
    let whole: Vec<Exposed> = whole.filter_map(exposed).collect();
    if whole.is_empty() { sensitive.iter().filter_map(exposed).collect() } else { whole }
}

/// Returns whether a folder inside a sensitive one is sensitive, too.
fn is_within(folder: &Path, place: &Sensitive, sensitive: &[Sensitive]) -> bool {
    let in_home = |home: &Sensitive| {
        home.scope == Scope::Whole
            && home.path.starts_with(&place.path)
            && folder != home.path
            && folder.starts_with(&home.path)
    };
    match place.scope {
        Scope::Whole | Scope::Itself => false,
        Scope::Everything => true,
        Scope::System => !sensitive.iter().any(in_home),
    }
}

impl Exposed {
    /// Returns the path that a person has to list: the place, or the folder if it is a part of the place.
    pub fn name(&self) -> &Path {
        match self.relation {
            Relation::Same | Relation::Holds => &self.place,
            Relation::PartOf => &self.folder,
        }
    }

    /// Returns whether the list names it, or something between it and a folder inside it.
    pub fn is_allowed(&self, allowed: &[PathBuf]) -> bool {
        let named = |path: &PathBuf| match self.relation {
            Relation::Same | Relation::Holds => *path == self.place,
            Relation::PartOf => path.starts_with(&self.place) && self.folder.starts_with(path),
        };
        allowed.iter().any(named)
    }

    /// Returns the same for a folder in which this one is mounted.
    #[must_use]
    pub fn below(self) -> Self {
        let relation = if self.relation == Relation::Same { Relation::Holds } else { self.relation };
        Self { relation, ..self }
    }

    /// Returns whether the place is sensitive only as a whole.
    pub fn is_whole(&self) -> bool {
        matches!(self.scope, Scope::Whole | Scope::Itself)
    }

    /// Returns whether the folder is the place or a part of it.
    pub fn is_inside(&self) -> bool {
        self.relation != Relation::Holds
    }
}

/// Displays what follows the folder: "holds your AWS keys (/home/me/.aws)".
impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, place) = (self.what, shown(&self.place));
        match self.relation {
            Relation::Same => write!(f, "is {what}"),
            Relation::Holds => write!(f, "holds {what} ({place})"),
            Relation::PartOf => write!(f, "is part of {what} ({place})"),
        }
    }
}

/// Returns the line of `bottle.toml` that allows these.
pub fn line(exposed: &[&Exposed]) -> String {
    let home = env::home_dir().map(|home| walk(&home).map_or(home, |walked| walked.real));
    let home = home.filter(|home| home.parent().is_some());
    let named = exposed.iter().map(|exposed| {
        let path = exposed.name();
        let short = match home.as_deref().and_then(|home| path.strip_prefix(home).ok()) {
            Some(rest) if rest.as_os_str().is_empty() => "~".to_owned(),
            Some(rest) => format!("~/{}", shown(rest)),
            None => shown(path),
        };
        format!("\"{short}\"")
    });
    format!("allow-sensitive = [{}]", named.collect::<Vec<_>>().join(", "))
}

/// Returns the path that an item of the list means: below the home, or relative to `bottle.toml`.
pub fn meant(item: &Path, project: Option<&Path>) -> PathBuf {
    let whole = match (item.strip_prefix("~"), env::home_dir(), project) {
        (Ok(rest), Some(home), _) => home.join(rest),
        (_, _, Some(project)) => project.join(item),
        _ => item.to_owned(),
    };
    walk(&whole).map_or(whole, |walked| walked.real)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Vec<Sensitive> {
        [
            ("/", Scope::Whole),
            ("/home/me", Scope::Whole),
            ("/home/me/.config", Scope::Itself),
            ("/home/me/.ssh", Scope::Everything),
            ("/etc", Scope::System),
            ("/var/lib", Scope::System),
            ("/var/lib/ci", Scope::Whole),
        ]
        .map(|(path, scope)| Sensitive { path: path.into(), what: "it", scope })
        .into()
    }

    fn named(folder: &str) -> Vec<String> {
        let exposed = exposed(Path::new(folder), &machine());
        exposed.iter().map(|exposed| exposed.name().display().to_string()).collect()
    }

    #[test]
    fn a_folder_exposes_what_it_is_what_it_holds_and_what_it_is_part_of() {
        for (folder, exposes) in [
            ("/home/me/project", &[][..]),
            ("/home/me", &["/home/me", "/home/me/.ssh"]),
            ("/", &["/"]),
            ("/home", &["/home/me", "/home/me/.ssh"]),
            ("/home/me/.config", &["/home/me/.config"]),
            ("/home/me/.config/nvim", &[]),
            ("/home/me/.ssh", &["/home/me/.ssh"]),
            ("/home/me/.ssh/old", &["/home/me/.ssh/old"]),
            ("/home/me/.sshx", &[]),
            ("/etc", &["/etc"]),
            ("/etc/ssl", &["/etc/ssl"]),
            ("/etcetera", &[]),
            ("/var", &["/var/lib", "/var/lib/ci"]),
            ("/var/lib/ci", &["/var/lib/ci", "/var/lib/ci"]),
            ("/var/lib/ci/work", &[]),
        ] {
            assert_eq!(named(folder), exposes, "{folder}");
        }
    }

    #[test]
    fn a_yes_names_the_place_itself_or_a_part_of_it_around_the_folder() {
        let allowed = |folder: &str, yes: &[&str]| {
            let yes: Vec<PathBuf> = yes.iter().map(PathBuf::from).collect();
            exposed(Path::new(folder), &machine()).iter().all(|exposed| exposed.is_allowed(&yes))
        };
        assert!(allowed("/etc/ssl/certs", &["/etc"]) && allowed("/etc/ssl/certs", &["/etc/ssl"]));
        assert!(!allowed("/etc/ssl", &["/etc/ssl/certs"]) && !allowed("/etc/ssl", &["/"]));
        assert!(!allowed("/home/me", &["/home/me"]), "what is in it wants a yes of its own");
        assert!(allowed("/home/me", &["/home/me", "/home/me/.ssh"]));
        assert!(!allowed("/home/me/.ssh", &["/home/me"]));
    }
}
