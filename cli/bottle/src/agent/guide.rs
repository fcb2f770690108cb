//! `/opt/bottle/GUIDE.md`: what an agent has to know about its sandbox. It reads this as its instructions, so each
//! sentence says what to do.

use crate::resolve::Resolved;
use bottle_core::environment;
use bottle_core::plan::Plan;
use bottle_core::sidecar::Sidecar;
use bottle_core::specification::WORKSPACE;
use bottle_core::visible::Line;

/// Writes the guide for a plan.
pub fn guide(resolved: &Resolved) -> String {
    let Resolved { plan, services, copied, .. } = resolved;
    let mut parts = vec![format!(
        "# Your sandbox\n\n\
         You run in the virtual machine of the bottle `{}`. You are root in it and may install and change what you \
         like. Nothing of it reaches your operator's machine except through the doors below.",
        plan.slug
    )];
    if let Some(volume) = plan.guest.volumes.iter().find(|volume| volume.guest.as_str() == WORKSPACE) {
        parts.push(format!(
            "## The project\n\nIt is in `{WORKSPACE}`. {}",
            match (volume.writable, copied) {
                (true, Some(_)) => {
                    "Work there. It is a copy: your operator looks at what you changed before the project has it. \
                     Changes below `.git` stay here."
                }
                (true, None) => "Work there. What you change is changed in the project at once.",
                (false, _) => "You can read it and not change it. Write elsewhere.",
            }
        ));
    }
    parts.push(network(plan));
    let door = |sidecar| {
        plan.doors.iter().find(|(known, _)| *known == sidecar).map(|(_, port)| environment::url(port))
    };
    if let Some(url) = door(Sidecar::Supervise) {
        parts.push(format!(
            "## Ask your operator\n\n\
             For a host that is refused, use the tool `request_host` of the MCP server `operator` ({url}/mcp), or:\n\n\
             \x20   curl -s $BOTTLE_SUPERVISE/request_host -d '{{\"host\": \"example.com\", \"reason\": \"...\"}}'\n\n\
             For a decision that is not yours, use `ask`. Say what you are doing with `report`. If the answer is \
             `undecided`, go on with something else and ask again later, by its `id`, with `decision`:\n\n\
             \x20   curl -s $BOTTLE_SUPERVISE/decision -d '{{\"id\": 7}}'"
        ));
    }
    if let Some(url) = door(Sidecar::GitGate) {
        let repos: Vec<String> =
            services.git.iter().map(|repo| format!("    git clone {url}/{}.git", repo.name)).collect();
        parts.push(format!(
            "## git\n\n\
             Clone from and push to the gate (`$BOTTLE_GIT_GATE`). A push to a new branch waits until your operator \
             has looked at it; that is a success.\n\n{}",
            repos.join("\n")
        ));
    }
    parts.join("\n\n") + "\n"
}

fn network(plan: &Plan) -> String {
    let mut text = "## The network\n\n\
         There is one way out: the HTTP proxy in `HTTPS_PROXY` and `HTTP_PROXY`. No other address answers, and no \
         other name resolves. A program that does not read these variables has to be told the proxy. If CONNECT is \
         answered with 403, the host is not allowed; trying again changes nothing.\n\n"
        .to_owned();
    if plan.egress.allow.is_empty() {
        text.push_str("No host is allowed.");
    } else {
        text.push_str("Allowed are:\n");
        plan.egress
            .allow
            .iter()
            .for_each(|rule| text.push_str(&format!("\n- `{}`", Line(&rule.to_string()))));
    }
    let door = environment::url(plan.doors.pipelock());
    for upstream in &plan.upstreams {
        let variables: Vec<String> = upstream.variables.keys().map(|name| format!("`{name}`")).collect();
        let named = if variables.is_empty() { String::new() } else { format!(" ({})", variables.join(", ")) };
        text.push_str(&format!(
            "\n\nRequests to {door}{}{named} go to {} with your operator's key. You need none.",
            upstream.path, upstream.origin
        ));
        if !upstream.allow.is_empty() {
            let rules: Vec<String> = upstream.allow.iter().map(|rule| format!("`{rule}`")).collect();
            text.push_str(&format!(" Only these requests are allowed: {}.", rules.join(", ")));
        }
    }
    text
}
