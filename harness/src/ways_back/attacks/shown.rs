//! Attacks on the operator's terminal: hostile text in what bottle shows. Each is judged by the raw
//! bytes of both streams.

use crate::ways_back::Attack;
use crate::ways_back::field::{Ended, Field, Verdict};
use anyhow::Result;
use bottle_core::visible::is_hidden;
use bottle_host::defence::Defence;
use std::process::{Command, Stdio};

/// Every attack of this file.
pub fn attacks() -> Vec<Attack> {
    let attack = |name, run| Attack::new(name, Defence::Visible, run);
    vec![
        attack("shown-name-clears-the-screen", name_clears),
        attack("shown-name-forges-a-row", name_forges),
        attack("shown-link-hides-its-target", link_hides),
        attack("shown-content-writes-the-clipboard", content_writes),
        attack("shown-content-reads-backwards", content_reads_backwards),
        attack("shown-report-overwrites-its-line", report_overwrites),
        attack("shown-question-forges-an-answer", question_forges),
        attack("shown-json-carries-c1", json_carries),
        attack("shown-log-line-steers", log_steers),
        attack("shown-helper-complains-in-colour", helper_complains),
        attack("shown-error-forges-help", error_forges),
    ]
}

/// What of this steers a terminal, hides, or stands at the beginning of a line and is forged.
fn judged(ended: &Ended) -> Verdict {
    let text = ended.text();
    if let Some(c) = text.chars().find(|c| is_hidden(*c) && !matches!(c, '\n' | '\t')) {
        return Verdict::Succeeded(format!("{c:?} reached the terminal"));
    }
    let forged = text.lines().any(|line| line.strip_prefix("  ").unwrap_or(line).starts_with("FORGED"));
    if !forged && !text.contains("SHOWN") {
        return Verdict::Inconclusive(format!("nothing of the guest's was shown: {text}"));
    }
    Verdict::succeeded_if(forged, "a line was forged")
}

fn with_copy(field: &mut Field) -> Result<()> {
    field.up("[workspace]\nmode = \"copy\"\n")
}

/// A name that clears the screen, and one that C1 colours.
fn name_clears(field: &mut Field) -> Result<Verdict> {
    with_copy(field)?;
    field.guest("cd /workspace; echo x > \"$(printf 'SHOWN\\033[2J\\302\\23331m')\"")?;
    Ok(judged(&field.operator(&["diff", "--names"])?))
}

/// A name whose second line looks like a row of the list.
fn name_forges(field: &mut Field) -> Result<Verdict> {
    with_copy(field)?;
    field.guest("cd /workspace; echo x > \"$(printf 'SHOWN\\nFORGED M harmless')\"")?;
    Ok(judged(&field.operator(&["apply", "--dry-run"])?))
}

/// A link whose target goes back over itself.
fn link_hides(field: &mut Field) -> Result<Verdict> {
    with_copy(field)?;
    field.guest("cd /workspace; ln -s \"$(printf 'SHOWN/x\\b\\b\\rkept')\" link")?;
    Ok(judged(&field.operator(&["diff"])?))
}

/// A file whose difference puts a command onto the clipboard (OSC 52).
fn content_writes(field: &mut Field) -> Result<Verdict> {
    with_copy(field)?;
    field.guest("cd /workspace; printf 'SHOWN\\033]52;c;ZXZpbA==\\007\\n' >> kept")?;
    Ok(judged(&field.operator(&["diff"])?))
}

/// Code that reads otherwise than it runs: bidirectional overrides, what cannot be seen, tags.
fn content_reads_backwards(field: &mut Field) -> Result<Verdict> {
    with_copy(field)?;
    field.guest(
        "cd /workspace; printf 'SHOWN\\342\\200\\256}\\342\\201\\246 if\\342\\200\\213\\363\\240\\201\\201\\n' >> kept",
    )?;
    Ok(judged(&field.operator(&["diff"])?))
}

/// Sends a body to a tool of supervise's as a client would, in the shell that every guest has.
fn tell(field: &Field, tool: &str, body: &str) -> Result<()> {
    field.into_guest("/tmp/body", body.as_bytes())?;
    let script = format!("wget -q -T 5 -O - --post-file=/tmp/body $BOTTLE_SUPERVISE/{tool}");
    field.guest(&script).map(|_| ())
}

/// A report that goes back to the beginning of its line.
fn report_overwrites(field: &mut Field) -> Result<Verdict> {
    field.up("[supervise]\n")?;
    tell(field, "report", r#"{"status": "SHOWN\r  passed    everything\u0085"}"#)?;
    Ok(judged(&field.operator(&["status"])?))
}

/// Asks something whose second line looks like another request that waits.
fn question_forges(field: &mut Field) -> Result<Verdict> {
    field.up("[supervise]\n")?;
    tell(
        field,
        "ask",
        r#"{"question": "SHOWN\nFORGED t.2 1s ago\n  may it reach example.com?", "wait_seconds": 0}"#,
    )?;
    Ok(judged(&field.operator(&["inbox"])?))
}

/// The same as data: a terminal that understands C1 is steered by JSON, too.
fn json_carries(field: &mut Field) -> Result<Verdict> {
    field.up("[supervise]\n")?;
    tell(field, "report", r#"{"status": "SHOWN\u009b2J\u007f\u202e"}"#)?;
    Ok(judged(&field.operator(&["status", "--json"])?))
}

/// A request whose words are in the log.
fn log_steers(field: &mut Field) -> Result<Verdict> {
    field.up("[supervise]\n")?;
    tell(field, "report", r#"{"status": "SHOWN\u001b[1A\u001b[2K\u009b31m\nFORGED pipelock allowed"}"#)?;
    Ok(judged(&field.operator(&["logs"])?))
}

/// The helper says why a copy failed.
fn helper_complains(field: &mut Field) -> Result<Verdict> {
    field.up("")?;
    field.replace_helper("printf 'bottle-guest: SHOWN\\033]0;root\\007\\302\\23331m\\n' >&2; exit 1")?;
    Ok(judged(&field.operator(&["cp", "t:/etc/hosts", "copied"])?))
}

/// A file of the guest's, named on the command line by a shell that expands `*`.
fn error_forges(field: &mut Field) -> Result<Verdict> {
    field.put("project/bottle.toml", "slug = \"t\"\n")?;
    let project = field.path("project");
    let name = "SHOWN\nFORGED  help: run this\u{1b}[8m";
    field.put(&format!("project/{name}"), "x")?;
    let mut command = Command::new("sh");
    let bottle = field.command(&["check"]);
    command.args(["-c", "exec \"$0\" --quiet plan SHOWN*"]).arg(bottle.get_program()).current_dir(project);
    command.envs(bottle.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(Stdio::null());
    Ok(judged(&field.run(command)?))
}
