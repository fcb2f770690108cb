//! Programs that the host runs because a guest put them where it looks.

use crate::ways_back::Attack;
use crate::ways_back::field::{Field, Verdict};
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
fn found_on_path(field: &mut Field) -> Result<Verdict> {
    field.put("project/tools/bin/kept", "")?;
    field.up("")?;
    let mut script = format!("#!/bin/sh\ntouch {}\n", field.proof().display());
    writeln!(script, "exit 1")?;
    for program in ["smolvm", "bwrap", "git", "gvproxy"] {
        let place = format!("/workspace/tools/bin/{program}");
        field.into_guest(&place, script.as_bytes())?;
        field.guest(&format!("chmod 755 {place}"))?;
    }
    let mut command = field.command(&["restart"]);
    let path = command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, value)| value);
    let path = path.map(ToOwned::to_owned).or_else(|| env::var_os("PATH")).context("PATH")?;
    let dirs = [field.path("project/tools/bin")].into_iter().chain(env::split_paths(&path));
    command.env("PATH", env::join_paths(dirs)?);
    field.run(command)?;
    Ok(Verdict::Held)
}

/// A sidecar's program is in the workspace, and the operator accepted the configuration long ago.
fn in_the_workspace(field: &mut Field) -> Result<Verdict> {
    field.put("project/serve.sh", "exec python3 -m http.server --bind 127.0.0.1 \"$1\"\n")?;
    let script = field.path("project/serve.sh");
    let config = format!("[supervise]\ncommand = [\"sh\", \"{}\", \"{{port}}\"]\n", script.display());
    if let Err(error) = field.up(&config) {
        let refused = error.to_string().contains("could put another in its place");
        return if refused { Ok(Verdict::Held) } else { Err(error) };
    }
    let line = format!("touch {}\n", field.proof().display());
    field.into_guest("/workspace/serve.sh", line.as_bytes())?;
    field.operator(&["restart"])?;
    Ok(Verdict::Held)
}

/// A program that is nobody's but the host's loads what it finds in its current folder.
fn in_the_current_folder(field: &mut Field) -> Result<Verdict> {
    let command = "[supervise]\ncommand = [\"python3\", \"-m\", \"http.server\", \"--bind\", \"127.0.0.1\", \"{port}\"]\n";
    field.up(command)?;
    field.guest("mkdir /workspace/http")?;
    let module = format!("open({:?}, 'w')\n", field.proof().display().to_string());
    field.into_guest("/workspace/http/__init__.py", module.as_bytes())?;
    field.operator(&["restart"])?;
    Ok(Verdict::Held)
}
