//! What every agent's bottle has: the scripted model, this host's key, and a `bottle.toml`.

use super::agent::Agent;
use crate::environment::Project;
use crate::https_server::HttpsServer;
use crate::package_registry::Found;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// The model, a program for [`HttpsServer::run`].
pub const MODEL: &str = include_str!("model.py");
/// The names of the origins that the model answers for.
pub const ORIGINS: [&str; 3] = ["api.anthropic.com", "api.openai.com", "generativelanguage.googleapis.com"];
/// The key that only this host has, and that is found nowhere else.
pub const KEY: &str = "sk-harness-5f0c9d6e7a8b4c3d2e1f";

/// Renders the `bottle.toml` of an agent whose origins are the model.
pub fn config(agent: &Agent, image: &Path, model: &HttpsServer, registry: &Found) -> String {
    let address = model.address();
    let hosts: Vec<String> = ORIGINS.iter().map(|name| format!("{name:?} = \"{address}\"")).collect();
    let ca = "/etc/ssl/certs/ca-certificates.crt";
    format!(
        "slug = \"t\"\nagent = {:?}\n\
         [guest]\nimage = {image:?}\nmemory = 2048\nsetup = [{:?}]\nsetup-allow = {:?}\n\
         env = {{ npm_config_prefix = \"/var/tmp/npm\", PATH = \"/var/tmp/npm/bin:/var/tmp/venv/bin:/usr/local/bin:/usr/bin:/bin\" }}\nca = [{ca:?}]\n\
         [egress]\nallow_private = {:?}\nhosts = {{ {} }}\n",
        agent.name,
        agent.setup(),
        registry.hosts,
        registry.names(),
        hosts.join(", "),
    )
}

/// Runs `bottle` to its end, without input.
///
/// # Errors
/// Returns an error if it cannot be run.
pub fn bottle(
    project: &Project,
    model: &HttpsServer,
    variables: &[(&str, &str)],
    words: &[&str],
) -> Result<Output> {
    let mut command = call(project, model, variables, words)?;
    command.stdin(std::process::Stdio::null()).output().context("bottle")
}

/// Returns a call of `bottle` that trusts the model.
///
/// # Errors
/// Returns an error if the authorities cannot be written.
pub fn call(
    project: &Project,
    model: &HttpsServer,
    variables: &[(&str, &str)],
    words: &[&str],
) -> Result<Command> {
    let mut command = project.command(words);
    command.envs(variables.iter().copied()).env("SSL_CERT_FILE", authorities(model)?);
    Ok(command)
}

/// Returns a file with this host's authorities and the model's own.
fn authorities(model: &HttpsServer) -> Result<std::path::PathBuf> {
    let file = model.folder().join("../all.pem");
    let own = fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").unwrap_or_default();
    fs::write(&file, own + &fs::read_to_string(model.authority())?)?;
    Ok(file)
}
