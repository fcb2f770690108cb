//! Attacks on the operator's terminal: hostile text in bottle's output. Each is judged by the raw bytes of
//! both streams.

use crate::ways_back::attack::Attack;
use crate::ways_back::target::{Ended, Target, Verdict, copy_variables};
use anyhow::Result;
use bottle_core::visible::is_hidden;
use bottle_host::defence::Defence;
use std::process::Command;

/// Returns every attack in this file.
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

/// The attack succeeds if the output steers a terminal, hides text, or has a line that the guest forged.
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

fn with_copy(target: &mut Target) -> Result<()> {
    target.up("[workspace]\nmode = \"copy\"\n")
}

/// A file name that clears the screen and sets a colour by a C1 code.
fn name_clears(target: &mut Target) -> Result<Verdict> {
    with_copy(target)?;
    target.guest("cd /workspace; echo x > \"$(printf 'SHOWN\\033[2J\\302\\23331m')\"")?;
    Ok(judged(&target.operator(&["diff", "--names"])?))
}

/// A file name whose second line looks like a row of the list.
fn name_forges(target: &mut Target) -> Result<Verdict> {
    with_copy(target)?;
    target.guest("cd /workspace; echo x > \"$(printf 'SHOWN\\nFORGED M harmless')\"")?;
    Ok(judged(&target.operator(&["apply", "--dry-run"])?))
}

/// A link whose target overwrites itself on the terminal.
fn link_hides(target: &mut Target) -> Result<Verdict> {
    with_copy(target)?;
    target.guest("cd /workspace; ln -s \"$(printf 'SHOWN/x\\b\\b\\rkept')\" link")?;
    Ok(judged(&target.operator(&["diff"])?))
}

/// A file whose diff puts a command onto the clipboard (OSC 52).
fn content_writes(target: &mut Target) -> Result<Verdict> {
    with_copy(target)?;
    target.guest("cd /workspace; printf 'SHOWN\\033]52;c;ZXZpbA==\\007\\n' >> kept")?;
    Ok(judged(&target.operator(&["diff"])?))
}

/// Code that does not read as it runs: bidirectional overrides, invisible characters, tags.
fn content_reads_backwards(target: &mut Target) -> Result<Verdict> {
    with_copy(target)?;
    target.guest(
        "cd /workspace; printf 'SHOWN\\342\\200\\256}\\342\\201\\246 if\\342\\200\\213\\363\\240\\201\\201\\n' >> kept",
    )?;
    Ok(judged(&target.operator(&["diff"])?))
}

/// Sends a body to one of supervise's tools, with programs that every guest has.
fn tell(target: &Target, tool: &str, body: &str) -> Result<()> {
    target.into_guest("/tmp/body", body.as_bytes())?;
    let script = format!("wget -q -T 5 -O - --post-file=/tmp/body $BOTTLE_SUPERVISE/{tool}");
    target.guest(&script).map(|_| ())
}

/// A report that returns to the start of its line.
fn report_overwrites(target: &mut Target) -> Result<Verdict> {
    target.up("[supervise]\n")?;
    tell(target, "report", r#"{"status": "SHOWN\r  passed    everything\u0085"}"#)?;
    Ok(judged(&target.operator(&["status"])?))
}

/// A question whose second line looks like another waiting request.
fn question_forges(target: &mut Target) -> Result<Verdict> {
    target.up("[supervise]\n")?;
    tell(
        target,
        "ask",
        r#"{"question": "SHOWN\nFORGED t.2 1s ago\n  may it reach example.com?", "wait_seconds": 0}"#,
    )?;
    Ok(judged(&target.operator(&["inbox"])?))
}

/// The same as JSON, which also steers a terminal that understands C1 codes.
fn json_carries(target: &mut Target) -> Result<Verdict> {
    target.up("[supervise]\n")?;
    tell(target, "report", r#"{"status": "SHOWN\u009b2J\u007f\u202e"}"#)?;
    Ok(judged(&target.operator(&["status", "--json"])?))
}

/// A report that appears in the log.
fn log_steers(target: &mut Target) -> Result<Verdict> {
    target.up("[supervise]\n")?;
    tell(target, "report", r#"{"status": "SHOWN\u001b[1A\u001b[2K\u009b31m\nFORGED pipelock allowed"}"#)?;
    Ok(judged(&target.operator(&["logs"])?))
}

/// The helper's explanation of a failed copy.
fn helper_complains(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    target.replace_helper("printf 'bottle-guest: SHOWN\\033]0;root\\007\\302\\23331m\\n' >&2; exit 1")?;
    Ok(judged(&target.operator(&["cp", "t:/etc/hosts", "copied"])?))
}

/// One of the guest's file names, which a shell puts on the command line when it expands `*`.
fn error_forges(target: &mut Target) -> Result<Verdict> {
    target.put("project/bottle.toml", "slug = \"t\"\n")?;
    let project = target.path("project");
    let name = "SHOWN\nFORGED  help: run this\u{1b}[8m";
    target.put(&format!("project/{name}"), "x")?;
    let mut command = Command::new("sh");
    let bottle = target.command(&["check"]);
    command.args(["-c", "exec \"$0\" --quiet plan SHOWN*"]).arg(bottle.get_program()).current_dir(project);
    copy_variables(&bottle, &mut command);
    Ok(judged(&target.run(command)?))
}
