//! The agents, at the versions that were tried.

use crate::package_registry::Registry;

/// A real agent, and what is known about it here.
#[derive(Debug)]
pub struct Agent {
    /// The name of its profile.
    pub name: &'static str,
    /// The registry that has it.
    pub registry: Registry,
    /// Its package.
    package: &'static str,
    /// The package's version.
    pub version: &'static str,
    /// The arguments with which it takes one prompt and ends.
    pub prompt: &'static [&'static str],
    /// The variable of this host with its key.
    pub key: &'static str,
    /// The header in which its vendor wants the key.
    pub header: &'static str,
    /// Whether it has tools: a shell, and those of MCP servers.
    pub has_tools: bool,
    /// What the model says to an agent that has none.
    pub answer: &'static str,
    /// What its first requests get instead of an answer, and it survives: a status, or half an answer.
    pub troubles: &'static [&'static str],
    /// What is known about its full-screen interface, if that is tried.
    pub screen: Option<Screen>,
}

/// An agent's full-screen interface.
#[derive(Debug)]
pub struct Screen {
    /// The arguments with which it starts.
    pub arguments: &'static [&'static str],
    /// What is on the screen once it takes input.
    pub ready: &'static str,
    /// What it shows in the place of a picture's pasted path, if it takes that for the picture.
    pub picture: Option<&'static str>,
    /// What it says while it waits for the model.
    pub waits: &'static str,
    /// The key that interrupts a request.
    pub interrupt: &'static str,
    /// What it asks then, if it asks, and the key that agrees.
    pub asks: Option<(&'static str, &'static str)>,
    /// What it says when Ctrl-C would end it and a second one does, if the first one does not.
    pub again: Option<&'static str>,
}

/// Ctrl-C.
pub const CTRL_C: &str = "\u{3}";
const ESCAPE: &str = "\u{1b}";

/// The agents.
pub const AGENTS: [Agent; 5] = [
    Agent {
        name: "claude",
        registry: Registry::Npm,
        package: "@anthropic-ai/claude-code",
        version: "2.1.197",
        prompt: &["-p", "Change the file."],
        key: "ANTHROPIC_API_KEY",
        header: "x-api-key",
        has_tools: true,
        answer: "",
        troubles: &["429", "529", "cut"],
        screen: Some(Screen {
            arguments: &[],
            ready: "bypass permissions on",
            picture: Some("[Image #1]"),
            waits: "esc to interrupt",
            interrupt: CTRL_C,
            asks: None,
            again: Some("Press Ctrl-C again to exit"),
        }),
    },
    Agent {
        name: "codex",
        registry: Registry::Npm,
        package: "@openai/codex",
        version: "0.169.0",
        prompt: &["exec", "--skip-git-repo-check", "-m", "gpt-5-codex", "Change the file."],
        key: "OPENAI_API_KEY",
        header: "authorization",
        has_tools: true,
        answer: "",
        troubles: &["429", "529", "cut"],
        screen: Some(Screen {
            arguments: &["-m", "gpt-5-codex"],
            ready: "? for shortcuts",
            picture: None,
            waits: "esc to interrupt",
            interrupt: CTRL_C,
            asks: Some(("Cancel task", "\r")),
            again: None,
        }),
    },
    Agent {
        // It ends where an answer does not.
        name: "gemini",
        registry: Registry::Npm,
        package: "@google/gemini-cli",
        version: "0.61.0",
        prompt: &["-m", "gemini-2.5-pro", "-p", "Change the file."],
        key: "GEMINI_API_KEY",
        header: "x-goog-api-key",
        has_tools: true,
        answer: "",
        troubles: &["429", "529"],
        screen: Some(Screen {
            arguments: &["-m", "gemini-2.5-pro"],
            ready: "Type your message",
            picture: Some("[Image picture.png]"),
            waits: "esc to cancel",
            interrupt: CTRL_C,
            asks: None,
            again: Some("Press Ctrl+C again to exit"),
        }),
    },
    Agent {
        name: "opencode",
        registry: Registry::Npm,
        package: "opencode-ai",
        version: "1.18.33",
        prompt: &["run", "-m", "anthropic/claude-sonnet-4-5", "Change the file."],
        key: "ANTHROPIC_API_KEY",
        header: "x-api-key",
        has_tools: true,
        answer: "",
        troubles: &["429", "529", "cut"],
        screen: Some(Screen {
            arguments: &["-m", "anthropic/claude-sonnet-4-5"],
            ready: "Ask anything",
            picture: Some("[Image 1]"),
            waits: "esc interrupt",
            // Ctrl-C would end it.
            interrupt: ESCAPE,
            asks: Some(("again to interrupt", ESCAPE)),
            again: None,
        }),
    },
    Agent {
        name: "aider",
        registry: Registry::Pip,
        package: "aider-chat",
        version: "0.86.2",
        prompt: &[
            "--no-git",
            "--no-show-model-warnings",
            "--model",
            "anthropic/claude-sonnet-4-5",
            "--edit-format",
            "whole",
            "--auto-test",
            "--test-cmd",
            "bash all.sh",
            "--message",
            "Change the file.",
            "greeting.py",
        ],
        key: "ANTHROPIC_API_KEY",
        header: "x-api-key",
        has_tools: false,
        answer: "greeting.py\n```\nprint('changed')\n```",
        troubles: &["429", "529", "cut"],
        screen: Some(Screen {
            arguments: &["--no-git", "--no-show-model-warnings", "--model", "anthropic/claude-sonnet-4-5"],
            ready: "Repo-map:",
            picture: None,
            waits: "Waiting for",
            interrupt: CTRL_C,
            asks: None,
            again: Some("^C again to exit"),
        }),
    },
];

impl Agent {
    /// Returns the package and the version, as its registry's client takes them.
    pub fn pinned(&self) -> String {
        let Self { package, version, .. } = self;
        match self.registry {
            Registry::Npm | Registry::Cargo => format!("{package}@{version}"),
            Registry::Pip => format!("{package}=={version}"),
            Registry::Apt => format!("{package}={version}"),
        }
    }

    /// Returns the command that installs it where the stand-in guest can write.
    pub fn setup(&self) -> String {
        let pinned = self.pinned();
        match self.registry {
            Registry::Npm => format!("npm install -g {pinned}"),
            Registry::Pip => {
                format!("python3 -m venv /var/tmp/venv && /var/tmp/venv/bin/pip install -q {pinned}")
            }
            Registry::Cargo => format!("cargo install --locked {pinned}"),
            Registry::Apt => format!("apt-get install --yes {pinned}"),
        }
    }
}
