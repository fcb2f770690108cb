//! `bottle init`: a commented `bottle.toml` for the project at hand.

use super::context::Context;
use crate::config::FILE;
use crate::owner;
use anyhow::Context as _;
use bottle_core::slug::Slug;
use bottle_host::defence::Defence;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::{Home, write_public};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

/// A language, by the files that give it away, and an image that has its tools.
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

/// An agent, by what it leaves in a project or a home, and what its model is asked with.
struct Agent {
    name: &'static str,
    files: &'static [&'static str],
    preset: &'static str,
    key: &'static str,
}

const AGENTS: [Agent; 2] = [
    Agent {
        name: "Claude Code",
        files: &["CLAUDE.md", ".claude", ".mcp.json"],
        preset: "anthropic",
        key: "ANTHROPIC_API_KEY",
    },
    Agent { name: "Codex", files: &["AGENTS.md", ".codex"], preset: "openai", key: "OPENAI_API_KEY" },
];

pub fn init(context: &Context, force: bool) -> Outcome {
    let here = Context::here()?;
    let path = here.join(FILE);
    let text = render(&Home::find()?, &here);
    match force {
        true if Defence::PinnedPaths.stands() => write_public(&path, text.as_bytes())?,
        true => fs::write(&path, &text).with_context(|| path.display().to_string())?,
        false => write_new(&path, &text)?,
    }
    context.say(&format!("wrote {FILE}; look at it, then `bottle plan` shows what would start"));
    Ok(())
}

/// Writes a file that is not there yet.
fn write_new(path: &Path, text: &str) -> Outcome {
    let opened = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = opened.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            Failure::new(Kind::Busy, format!("there is a {FILE} already")).help("--force writes over it")
        }
        _ => Failure::new(Kind::Internal, format!("{}: {error}", path.display())),
    })?;
    Ok(file.write_all(text.as_bytes()).with_context(|| path.display().to_string())?)
}

/// Returns the line that tells an editor where the schema is. `make install` puts the schema beside the
/// folder of the program: it fits the program, and no network is needed to find it.
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

fn render(home: &Home, here: &Path) -> String {
    let has = |files: &[&str]| files.iter().any(|file| here.join(file).exists());
    let language = LANGUAGES.iter().find(|language| has(language.files));
    let agent = AGENTS.iter().find(|agent| has(agent.files));
    let slug = here.file_name().and_then(|name| name.to_str()).and_then(Slug::from_name);
    let slug = slug.map(|slug| owner::own_name(home, &slug, here));
    let slug = slug.map_or_else(|| "# slug = \"my-project\"".to_owned(), |slug| format!("slug = \"{slug}\""));
    let found = match (language, agent) {
        (None, None) => "an empty page: nothing of a language or an agent was found here".to_owned(),
        (Some(language), None) => language.name.to_owned(),
        (None, Some(agent)) => format!("an agent, {}", agent.name),
        (Some(language), Some(agent)) => format!("{}, and an agent, {}", language.name, agent.name),
    };
    let image = language.map_or_else(
        || "# image = \"python:3-alpine\"      # without one: smolvm's bare Alpine".to_owned(),
        |language| format!("image = \"{}\"", language.image),
    );
    let upstream = match agent {
        Some(Agent { preset, key, .. }) => format!(
            "# {key} stays on this machine; the guest gets a URL that uses it.\n[[upstream]]\npreset = \"{preset}\"\n"
        ),
        None => "# Keys that never enter the guest: it gets a URL, this machine adds the key.\n\
                 # [[upstream]]\n# preset = \"anthropic\"           # or \"openai\", \"github\"\n"
            .to_owned(),
    };
    let remotes = fs::read_to_string(here.join(".git/config")).unwrap_or_default();
    let git_gate = if remotes.contains("[remote \"origin\"]") {
        "# The agent clones and pushes here; every branch waits until you have looked.\n[git-gate]\n"
    } else {
        "# Where the agent clones and pushes, once this is a git repository with a remote `origin`.\n# [git-gate]\n"
    };
    let schema = schema_line();
    format!(
        "{schema}\n\
         # What `bottle up` starts here. Found: {found}.\n\
         # Every key has a default; docs/configuration.md has them all.\n\
         {slug}\n\
         \n\
         [guest]\n\
         {image}\n\
         # cpus = 4\n\
         # memory = 8192                   # MiB; only what is touched is taken\n\
         \n\
         [workspace]\n\
         mode = \"read-write\"               # or \"copy\" (bottle diff, bottle apply), \"read-only\", \"none\"\n\
         \n\
         # What the agent may reach through its proxy. Nothing, unless you say so.\n\
         [egress]\n\
         allow = [\n\
         \x20   # \"docs.example.com\",\n\
         \x20   # \"*.mirror.example.com:8443\",\n\
         ]\n\
         \n\
         {upstream}\
         \n\
         {git_gate}\
         \n\
         # The agent may ask you for a host or an answer: bottle inbox.\n\
         [supervise]\n"
    )
}
