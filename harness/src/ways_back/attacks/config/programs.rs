//! Attacks through programs that a guest puts where the host looks for them.

use crate::ways_back::attack::Attack;
use crate::ways_back::target::{Target, Verdict};
use anyhow::{Context, Result};
use bottle_host::defence::Defence;
use std::env;
use std::fmt::Write;

pub fn attacks() -> Vec<Attack> {
    let attack = |name, run| Attack::new(name, Defence::PinnedPaths, run);
    vec![
        attack("program-found-on-path", found_on_path),
        attack("program-in-the-workspace", in_the_workspace),
        attack("module-in-the-current-folder", in_the_current_folder),
    ]
}

/// A folder of the project comes first in the operator's PATH, as `node_modules/.bin` may.
fn found_on_path(target: &mut Target) -> Result<Verdict> {
    target.put("project/tools/bin/kept", "")?;
    target.up("")?;
    let mut script = format!("#!/bin/sh\ntouch {}\n", target.proof().display());
    writeln!(script, "exit 1")?;
    for program in ["smolvm", "bwrap", "git", "gvproxy"] {
        let place = format!("/workspace/tools/bin/{program}");
        target.into_guest(&place, script.as_bytes())?;
        target.guest(&format!("chmod 755 {place}"))?;
    }
    let mut command = target.command(&["restart"]);
    let path = command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, value)| value);
    let path = path.map(ToOwned::to_owned).or_else(|| env::var_os("PATH")).context("PATH")?;
    let dirs = [target.path("project/tools/bin")].into_iter().chain(env::split_paths(&path));
    command.env("PATH", env::join_paths(dirs)?);
    target.run(command)?;
    Ok(Verdict::Held)
}

/// A sidecar's program is in the workspace, and the operator has accepted the configuration.
fn in_the_workspace(target: &mut Target) -> Result<Verdict> {
    target.put("project/serve.sh", "exec python3 -m http.server --bind 127.0.0.1 \"$1\"\n")?;
    let script = target.path("project/serve.sh");
    let config = format!("[supervise]\ncommand = [\"sh\", \"{}\", \"{{port}}\"]\n", script.display());
    if let Err(error) = target.up(&config) {
        let refused = error.to_string().contains("could put another in its place");
        return if refused { Ok(Verdict::Held) } else { Err(error) };
    }
    let line = format!("touch {}\n", target.proof().display());
    target.into_guest("/workspace/serve.sh", line.as_bytes())?;
    target.operator(&["restart"])?;
    Ok(Verdict::Held)
}

/// One of the host's own programs loads modules from its current folder.
fn in_the_current_folder(target: &mut Target) -> Result<Verdict> {
    let command = "[supervise]\ncommand = [\"python3\", \"-m\", \"http.server\", \"--bind\", \"127.0.0.1\", \"{port}\"]\n";
    target.up(command)?;
    target.guest("mkdir /workspace/http")?;
    let module = format!("open({:?}, 'w')\n", target.proof().display().to_string());
    target.into_guest("/workspace/http/__init__.py", module.as_bytes())?;
    target.operator(&["restart"])?;
    Ok(Verdict::Held)
}
