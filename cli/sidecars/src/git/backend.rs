//! The command line and environment of `git http-backend` for one request. The starter runs it.

use super::child::{Git, Limits};
use super::hook;
use super::quarantine::Quarantine;
use super::services::{RECEIVE_PACK, REFS, UPLOAD_PACK};
use anyhow::{Result, ensure};
use bottle_core::specification::Repo;
use bottle_host::starter::{GitCall, GitService};
use bottle_host::state::Folder;
use std::process::Command;

/// Decides whether a header's value may be shown to git.
type Known = fn(&str) -> bool;

/// The longest header value that is passed to git, in bytes.
const MAX_VALUE: usize = 1024;

/// Returns the git process for one call. Every value that it gets was chosen here or is one of a few known
/// ones. It is confined to its store, and the hooks' socket is its only way out.
///
/// # Errors
/// Returns an error if git cannot be confined.
pub fn command(folder: &Folder, repo: &Repo, call: &GitCall) -> Result<(Command, Limits)> {
    let (path, query, method) = match call.service {
        GitService::FetchRefs => (REFS, "service=git-upload-pack", "GET"),
        GitService::PushRefs => (REFS, "service=git-receive-pack", "GET"),
        GitService::Fetch => (UPLOAD_PACK, "", "POST"),
        GitService::Push => (RECEIVE_PACK, "", "POST"),
    };
    let mut git = Git::backend(&Quarantine::of(folder, repo).dir, Limits::serve(repo.policy.max_mib))
        .allow_read(&folder.services())
        .env(hook::EXE, std::env::current_exe()?)
        .env(hook::SLUG, folder.slug().as_str())
        .env(hook::REPO, repo.name.as_str())
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "agent")
        .env("REMOTE_ADDR", "proxy.internal")
        .env("SERVER_PROTOCOL", "HTTP/1.1")
        .env("PATH_INFO", format!("/{}.git/{path}", repo.name))
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", method);
    for (name, value) in folder.environment() {
        git = git.env(name, value);
    }
    let length = call.content_length.map(|length| length.to_string());
    let values: [(&str, &Option<String>, Known); 4] = [
        ("CONTENT_TYPE", &call.content_type, |value| value.starts_with("application/x-git-")),
        ("CONTENT_LENGTH", &length, |_| true),
        ("HTTP_CONTENT_ENCODING", &call.content_encoding, |value| value == "gzip" || value == "x-gzip"),
        ("GIT_PROTOCOL", &call.protocol, |value| matches!(value, "version=0" | "version=1" | "version=2")),
    ];
    for (variable, value, known) in values {
        if let Some(value) = value.as_deref().filter(|value| known(value)) {
            ensure!(
                value.len() <= MAX_VALUE && !value.contains('\0'),
                "the value for {variable} is longer than {MAX_VALUE} bytes or contains NUL"
            );
            git = git.env(variable, value);
        }
    }
    git.into_parts()
}
