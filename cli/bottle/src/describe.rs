//! Describes a plan in words, and how two plans differ.

use crate::resolve::Resolved;
use bottle_core::egress::{HostPattern, Rules};
use bottle_core::plan::Plan;
use bottle_core::slug::Slug;
use bottle_core::specification::{Need, Services, SidecarForm};
use bottle_core::stack::Stack;
use bottle_core::visible::Line;
use bottle_host::rules;
use bottle_host::state::Folder;
use similar::{ChangeTag, TextDiff};

/// Compares a plan with the one that the bottle last started from, line by line: `-` is the old line, `+` the
/// new one. Returns `None` if the bottle never started.
pub fn difference(folder: &Folder, resolved: &Resolved) -> Option<Vec<String>> {
    let (mut plan, services) = (folder.read_plan().ok()?, bottle_host::services::read(folder).ok()?);
    plan.egress = rules::now(folder, &plan).ok()?;
    let (was, is) = (describe(&plan, &services), describe(&resolved.plan, &resolved.services));
    let diff = TextDiff::from_lines(&was, &is);
    let lines = diff.iter_all_changes().filter_map(|change| match change.tag() {
        ChangeTag::Equal => None,
        ChangeTag::Delete => Some(format!("- {}", change.value().trim_end())),
        ChangeTag::Insert => Some(format!("+ {}", change.value().trim_end())),
    });
    Some(lines.collect())
}

/// What a plan says beside a rule that opens every host.
const WIDE: &str = "  EVERY HOST of the public internet; private networks and this machine stay closed";

/// Says that a bottle may reach every host, if one of its rules allows that.
pub fn wide_open(slug: &Slug, rules: &Rules) -> Option<String> {
    let rule = rules.open_to_all().next()?;
    Some(format!(
        "{slug} may reach every host of the public internet, by the rule \"{rule}\": what it reads, it can send anywhere. This machine and private networks stay closed; `bottle deny {slug} '*'` closes the rest"
    ))
}

/// Describes a plan for people, one fact a line.
pub fn describe(plan: &Plan, services: &Services) -> String {
    let mut lines = vec![
        format!("bottle    {}", plan.slug),
        format!("machine   {}", plan.slug.machine_name()),
        format!(
            "guest     {}, {} processors, {} MiB",
            plan.guest.image.as_ref().map_or("bare Alpine", |image| image.as_str()),
            plan.guest.cpus,
            plan.guest.memory_mib
        ),
    ];
    // A guest may have written the paths and words of a configuration. Each fact stays on one line.
    let mut fact = |name: &str, what: String| lines.push(format!("{name:<9} {}", Line(&what)));
    if let Some(digest) = &plan.guest.image_digest {
        fact("image", digest.to_string());
    }
    if let Some(agent) = &plan.agent {
        fact("agent", agent.to_string());
    }
    plan.setup.run.iter().for_each(|command| fact("setup", command.to_string()));
    plan.setup.allow.iter().for_each(|rule| fact("setup", format!("may reach {rule}")));
    match &plan.setup.made {
        Some(made) => fact("setup", format!("made {made}, from which the machine starts")),
        None if plan.setup.is_for_image() => {
            fact(
                "setup",
                "runs at the next start, in a machine of its own; later ones start from what it makes"
                    .to_owned(),
            );
        }
        None => {}
    }
    if let Some(workdir) = &plan.guest.workdir {
        fact("workdir", workdir.to_string());
    }
    for volume in &plan.guest.volumes {
        let mode = if volume.writable { "read-write" } else { "read-only" };
        fact("folder", format!("{} -> {} ({mode})", volume.host, volume.guest));
    }
    for (name, value) in &plan.guest.env {
        fact("variable", format!("{name}={}", value.as_str()));
    }
    let subnet = plan.subnet;
    fact("network", format!("{subnet} (guest {}, proxy.internal {})", subnet.guest(), subnet.proxy()));
    match plan.stack {
        Stack::Gvproxy(_) => {}
        Stack::Sockets => {
            fact("stack", "the guest's own kernel; only streams to the doors leave it".to_owned());
        }
    }
    for (sidecar, port) in plan.doors.iter() {
        let form = match services.form(sidecar) {
            SidecarForm::Builtin => "built in".to_owned(),
            SidecarForm::Address { address } => format!("at {address}"),
            SidecarForm::Command { command, .. } => format!("command {}", command.join(" ")),
        };
        fact("door", format!("{:<10} proxy.internal:{port}  {form}", sidecar.name()));
    }
    plan.publish.iter().for_each(|one| fact("publish", one.to_string()));
    let egress = &plan.egress;
    for rule in &egress.allow {
        let wide = if rule.pattern == HostPattern::Any { WIDE } else { "" };
        fact("allowed", format!("{rule}{wide}"));
    }
    egress.deny.iter().for_each(|pattern| fact("denied", pattern.to_string()));
    egress
        .allow_private
        .iter()
        .for_each(|pattern| fact("private", format!("{pattern} may lead to a private address")));
    egress.allow_no_sni.iter().for_each(|pattern| fact("no-sni", format!("{pattern} needs no server name")));
    egress.hosts.iter().for_each(|(name, address)| fact("host", format!("{name} is {address}")));
    if let Some(parent) = &plan.parent {
        parent.proxies().for_each(|(of, proxy)| fact("parent", format!("{of} by the proxy {proxy}")));
        if !parent.except.is_empty() {
            fact("parent", format!("not for {}", parent.except.join(", ")));
        }
    }
    for upstream in &plan.upstreams {
        let headers = upstream.headers.iter();
        let keys: Vec<String> =
            headers.map(|(name, secret)| format!("{name} from {}", secret.source)).collect();
        let keys = keys.join(", ");
        fact("upstream", format!("{} -> {} ({})", upstream.path, upstream.origin, keys));
        upstream.allow.iter().for_each(|rule| fact("upstream", format!("{} only {rule}", upstream.path)));
    }
    for repo in &services.git {
        let place =
            repo.url.as_deref().map_or_else(|| "no such remote".to_owned(), |url| Line(url).to_string());
        let path = &repo.path;
        fact("git", format!("{}.git of {path} -> {} ({place})", repo.name, Line(&repo.upstream)));
        let policy = serde_json::to_string(&repo.policy).unwrap_or_default();
        fact("git", format!("{}.git policy {policy}", repo.name));
    }
    if !services.notify.is_empty() {
        fact("notify", services.notify.join(" "));
    }
    if services.audit == Need::Required {
        fact("audit", "required".to_owned());
    }
    lines.join("\n") + "\n"
}
