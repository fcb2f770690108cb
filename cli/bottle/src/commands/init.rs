//! `bottle init`: writes a commented `bottle.toml` for the current project.

use super::context::Context;
use crate::config::found::shown;
use crate::config::{FILE, sensitive};
use crate::devcontainer::translate::Translation;
use crate::devcontainer::{self, Found};
use crate::owner;
use anyhow::Context as _;
use bottle_core::slug::Slug;
use bottle_host::defence::Defence;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::Home;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A language: the files that give it away, and an image with its tools.
struct Language {
    name: &'static str,
    files: &'static [&'static str],
    image: &'static str,
}

const LANGUAGES: [Language; 6] = [
    Language { name: "Rust", files: &["Cargo.toml"], image: "rust:1-alpine" },
    Language { name: "Go", files: &["go.mod"], image: "golang:1-alpine" },
    Language {
        name: "Python",
        files: &["pyproject.toml", "requirements.txt", "setup.py", "Pipfile"],
        image: "python:3-alpine",
    },
    Language { name: "TypeScript", files: &["tsconfig.json", "deno.json"], image: "node:22-alpine" },
    Language { name: "JavaScript", files: &["package.json"], image: "node:22-alpine" },
    Language { name: "Ruby", files: &["Gemfile"], image: "ruby:3-alpine" },
];

/// An agent: the files that it leaves in a project, its profile, and its key on this machine.
struct Agent {
    name: &'static str,
    files: &'static [&'static str],
    profile: &'static str,
    key: &'static str,
}

const AGENTS: [Agent; 2] = [
    Agent {
        name: "Claude Code",
        files: &["CLAUDE.md", ".claude", ".mcp.json"],
        profile: "claude",
        key: "ANTHROPIC_API_KEY",
    },
    Agent { name: "Codex", files: &["AGENTS.md", ".codex"], profile: "codex", key: "OPENAI_API_KEY" },
];

pub fn init(context: &Context, force: bool, devcontainer: Option<&Path>) -> Outcome {
    let here = Context::here()?;
    if !context.insisted {
        is_a_project(&here)?;
    }
    let path = here.join(FILE);
    let home = Home::find()?;
    let found = devcontainer::find(&home, &here, devcontainer)?;
    let text = render(&home, &here, &found);
    match fs::symlink_metadata(&path).map(|meta| meta.file_type()) {
        Ok(kind) if !kind.is_file() && !kind.is_symlink() => {
            let what = format!("{} exists and is not a file", shown(&path));
            return Err(Failure::new(Kind::Busy, what).help("move it away"));
        }
        Ok(kind) if kind.is_symlink() && !force => {
            let target = fs::read_link(&path).unwrap_or_default();
            let what = format!("there is a {FILE} already: a link to {}", shown(&target));
            return Err(Failure::new(Kind::Busy, what)
                .help("--force puts a file in its place; what the link leads to stays as it is"));
        }
        _ => {}
    }
    match force {
        true if Defence::PinnedPaths.stands() => write_over(&here, &path, &text)?,
        true => fs::write(&path, &text).with_context(|| path.display().to_string())?,
        false => write_new(&path, &text)?,
    }
    context.say(&format!("wrote {FILE}; look at it, then `bottle plan` shows what would start"));
    match &found {
        Found::None => {}
        Found::Guests(file) => context.say(&format!(
            "{} is where a guest could write, and was not read; `--devcontainer FILE` reads it, once you have looked",
            shown(file)
        )),
        Found::Read(file, read) => context.say(&format!(
            "{FILE} has what {} says of the guest; taken over: {}, left out: {}, with the reasons in a comment",
            shown(file),
            read.taken(),
            read.left.len()
        )),
    }
    if let Some(above) = here.ancestors().skip(1).find(|folder| folder.join(FILE).exists()) {
        context.say(&format!("{} applied here until now", shown(&above.join(FILE))));
    }
    let is_git = |folder: &&Path| folder.join(".git").exists();
    if let Some(above) = here.ancestors().skip(1).find(is_git).filter(|_| !is_git(&here.as_path())) {
        context.say(&format!(
            "the git repository's top folder is {}: for a bottle of the whole repository, run `bottle init` there",
            shown(above)
        ));
    }
    Ok(())
}

/// Refuses a folder that is not a project, and that no guest gets without a person's consent: a home, `/`,
/// `/etc`.
fn is_a_project(here: &Path) -> Outcome {
    let exposed = sensitive::exposed(here, &sensitive::on_this_machine());
    // What the folder is says more than what it contains.
    let Some(why) = exposed.iter().find(|exposed| exposed.is_inside()).or(exposed.first()) else {
        return Ok(());
    };
    Err(Failure::new(Kind::Usage, format!("{} {why}, not a project; nothing was written", shown(here)))
        .help("go to the folder of your project: `mkdir project && cd project && bottle init`; `--i-know` writes the file all the same"))
}

/// Writes a file that must not exist yet.
fn write_new(path: &Path, text: &str) -> Outcome {
    let opened = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = opened.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            Failure::new(Kind::Busy, format!("there is a {FILE} already")).help("`--force` overwrites it")
        }
        _ => cannot_write(path, &error),
    })?;
    file.write_all(text.as_bytes()).map_err(|error| cannot_write(path, &error))
}

/// Replaces a file, whole or not at all. A link in its place is replaced, never followed.
fn write_over(folder: &Path, path: &Path, text: &str) -> Outcome {
    let write = || -> io::Result<()> {
        let mode = Permissions::from_mode(0o666);
        let mut draft =
            tempfile::Builder::new().prefix(".bottle.toml.").permissions(mode).tempfile_in(folder)?;
        draft.write_all(text.as_bytes())?;
        draft.as_file().sync_all()?;
        draft.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    let kind = match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Kind::Unavailable,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Kind::Output,
        _ => Kind::Internal,
    };
    Failure::new(kind, format!("cannot write {}: {error}", shown(path)))
}

/// Returns whether a folder is a git repository with a remote called `origin`, according to its
/// configuration.
fn has_origin(here: &Path) -> bool {
    let git = here.join(".git");
    let folder = match fs::read_to_string(&git) {
        // In a linked worktree or a submodule, the configuration is with the repository.
        Ok(link) => match link.trim().strip_prefix("gitdir:") {
            Some(folder) => here.join(folder.trim()),
            None => return false,
        },
        Err(_) => git,
    };
    let common = fs::read_to_string(folder.join("commondir")).map(|common| folder.join(common.trim()));
    let config = fs::read_to_string(common.unwrap_or(folder).join("config")).unwrap_or_default();
    config.lines().any(|line| line.trim() == "[remote \"origin\"]")
}

/// Returns the line that tells an editor where the schema is. `make install` puts the schema next to the
/// program's folder, so it fits the program and needs no network.
fn schema_line() -> String {
    let program = std::env::current_exe().ok();
    let above = program.as_deref().and_then(Path::parent).and_then(Path::parent);
    let schema = above.map(|prefix| prefix.join("share/bottle/bottle.schema.json"));
    match schema.as_deref().filter(|path| path.is_file()).and_then(Path::to_str) {
        Some(path) => format!("#:schema {path}"),
        None => "# For completion in your editor: `bottle schema > bottle.schema.json`, and here the line\n\
                 # `#:schema ./bottle.schema.json`"
            .to_owned(),
    }
}

fn render(home: &Home, here: &Path, devcontainer: &Found) -> String {
    let none = Translation::default();
    let (taken_over, left) = match devcontainer {
        Found::Read(file, read) => (read, read.left(file.strip_prefix(here).unwrap_or(file))),
        Found::None | Found::Guests(_) => (&none, String::new()),
    };
    let has = |files: &[&str]| files.iter().any(|file| here.join(file).exists());
    let language = LANGUAGES.iter().find(|language| has(language.files));
    let agent = AGENTS.iter().find(|agent| has(agent.files));
    let slug = here.file_name().and_then(|name| name.to_str()).and_then(Slug::from_name);
    // A bottle's name consists of a-z, 0-9 and '-'. A folder's name may contain none of them.
    let slug = slug.or_else(|| "project".parse().ok()).map(|slug| owner::own_name(home, &slug, here));
    let slug = slug.map_or_else(|| "# slug = \"my-project\"".to_owned(), |slug| format!("slug = \"{slug}\""));
    let found = match (language, agent) {
        (None, None) => "a bare start: no language and no agent was recognized here".to_owned(),
        (Some(language), None) => language.name.to_owned(),
        (None, Some(agent)) => format!("an agent, {}", agent.name),
        (Some(language), Some(agent)) => format!("{}, and an agent, {}", language.name, agent.name),
    };
    let image = match (language, agent) {
        (None, None) => "# image = \"python:3-alpine\"      # without one: smolvm's bare Alpine".to_owned(),
        (Some(language), None) => format!("image = \"{}\"", language.image),
        (language, Some(_)) => format!(
            "# image = \"{}\"       # without one: the agent's own, which has what the agent needs",
            language.map_or("node:22", |language| language.image)
        ),
    };
    let for_agent = match agent {
        Some(Agent { name, profile, key, .. }) => format!(
            "\n# What is not said here comes from the profile of {name}: `bottle {profile}` runs it. {key}\n\
             # stays on this machine.\nagent = \"{profile}\""
        ),
        None => String::new(),
    };
    let upstream = match agent {
        // The profile has its upstream.
        Some(_) => String::new(),
        None => "# Keys that never enter the guest: it gets a URL, this machine adds the key.\n\
                 # [[upstream]]\n# preset = \"anthropic\"           # or \"openai\", \"gemini\", \"github\"\n"
            .to_owned(),
    };
    let git_gate = if has_origin(here) {
        "# The agent clones and pushes here; every branch waits until you have looked.\n[git-gate]\n"
    } else if here.join(".git").exists() {
        "# Where the agent clones and pushes, once the repository has a remote `origin` for what you approve.\n\
         # [git-gate]\n"
    } else {
        "# Where the agent clones and pushes, once this is a git repository with a remote `origin`.\n\
         # [git-gate]\n"
    };
    let schema = schema_line();
    let (guest, publish) = (taken_over.guest(&image, agent.is_some()), taken_over.publish());
    format!(
        "{schema}\n\
         # What `bottle up` starts here. Found: {found}.\n\
         # Every key has a default; docs/configuration.md has them all.\n\
         {left}{slug}{for_agent}\n\
         \n\
         [guest]\n\
         {guest}\n\
         [workspace]\n\
         # The agent works on a copy of this folder: `bottle diff` shows what it changed, `bottle apply` takes that\n\
         # back. \"read-only\" gives it the folder itself to read, \"none\" nothing. \"read-write\" lets it write to your\n\
         # own files, at once and unseen: a Makefile or a git hook that you run later, too.\n\
         mode = \"copy\"\n\
         \n\
         # What the agent may reach through its proxy. Nothing, unless you say so.\n\
         [egress]\n\
         allow = [\n\
         \x20   # \"docs.example.com\",\n\
         \x20   # \"*.mirror.example.com:8443\",\n\
         ]\n\
         \n\
         {publish}{upstream}\
         \n\
         {git_gate}\
         \n\
         # The agent may ask you for a host or an answer: bottle inbox.\n\
         [supervise]\n"
    )
}
