//! `bottle check`: asks the guard and the egress proxy what they would say to a destination.

use super::context::Context;
use crate::lifecycle;
use crate::resolve::resolve;
use bottle_core::PROXY_NAME;
use bottle_core::egress::{Rules, authority};
use bottle_core::environment;
use bottle_core::guard::FirstPacket;
use bottle_core::guard::{Reply, Verdict};
use bottle_core::plan::Plan;
use bottle_core::slug::Slug;
use bottle_core::upstream::{self, Route, Upstream};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::outln;
use bottle_host::rules;
use bottle_host::state::Home;
use bottle_host::tools;
use std::net::{IpAddr, SocketAddr};

pub fn check(context: &Context, slug: Option<Slug>, destination: &str) -> Outcome {
    let (slug, config) = context.configured(slug)?;
    let home = Home::find()?;
    let folder = home.bottle(&slug);
    context.note_trust(&home, &config)?;
    let plan = match folder.has_keeper().then(|| folder.read_plan()) {
        Some(plan) => plan?,
        None => {
            let resolved = resolve(&slug, &config, tools::stack(config.stack), &folder)?;
            lifecycle::check::check(&home, &folder, &config, &resolved)?;
            resolved.plan
        }
    };
    let rules = rules::now(&folder, &plan)?;
    let (scheme, rest) = destination.split_once("://").unwrap_or(("", destination));
    let named = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let target = rest[named.len()..].split('#').next().unwrap_or_default();
    // A path alone belongs to the egress proxy's door.
    if destination.starts_with('/') {
        return verdict(by_upstream(&plan, target)?, destination);
    }
    let default_port = if scheme == "http" { 80 } else { 443 };
    let open = match (named.parse::<SocketAddr>(), named.parse::<IpAddr>()) {
        (Ok(SocketAddr::V4(address)), _) => direct(&plan, &FirstPacket::Tcp(*address.ip(), address.port()))?,
        (_, Ok(IpAddr::V4(address))) => direct(&plan, &FirstPacket::Tcp(address, default_port))?,
        (Ok(SocketAddr::V6(_)), _) | (_, Ok(IpAddr::V6(_))) => {
            outln!("directly          refused: IPv6 does not pass")?;
            false
        }
        _ => by_name(&plan, &rules, named, default_port, target)?,
    };
    verdict(open, destination)
}

/// Returns the verdict as an exit status. The reasons were printed already.
fn verdict(open: bool, destination: &str) -> Outcome {
    if open {
        return Ok(());
    }
    Err(Failure::new(Kind::Negative, format!("{destination} is closed")).shown())
}

fn by_name(plan: &Plan, rules: &Rules, named: &str, default_port: u16, target: &str) -> Outcome<bool> {
    let (host, port) = authority(named, default_port).map_err(|error| {
        Failure::new(Kind::Usage, format!("DESTINATION: {error}"))
            .help("`bottle check example.com:443` is one; `bottle check --help` says more")
    })?;
    if host.as_str() == PROXY_NAME {
        let open = direct(plan, &FirstPacket::Tcp(plan.subnet.proxy(), port))?;
        let is_path = port == plan.doors.pipelock() && !matches!(target, "" | "/");
        return if is_path { by_upstream(plan, target) } else { Ok(open) };
    }
    direct(plan, &FirstPacket::Resolve(host.to_string()))?;
    let mut open = through_proxy(rules, &host, port)?;
    // The guest asks for a path on the door, and this machine adds the key.
    for upstream in &plan.upstreams {
        let base = upstream.origin.as_str().splitn(4, '/').nth(3).map(|base| format!("/{base}"));
        let below = target.strip_prefix(base.as_deref().unwrap_or_default());
        // A host without a port or a path is checked as a whole.
        let below = if target.is_empty() { Some("") } else { below };
        if let Some(below) = below.filter(|below| below.is_empty() || below.starts_with(['/', '?']))
            && upstream.origin.host() == &host
            && upstream.origin.port() == port
        {
            open |= by_upstream(plan, &format!("{}{below}", upstream.path))?;
        }
    }
    Ok(open)
}

/// Prints what would happen to a request for a path on the egress proxy's door.
fn by_upstream(plan: &Plan, target: &str) -> Outcome<bool> {
    Ok(match upstream::route(&plan.upstreams, target) {
        Ok(Route { index, rest }) => {
            let Upstream { origin, headers, .. } = &plan.upstreams[index];
            let door = environment::url(plan.doors.pipelock());
            let keys: Vec<String> =
                headers.iter().map(|(name, secret)| format!("{name} from {}", secret.source)).collect();
            let keys = if keys.is_empty() { String::new() } else { format!(", with {}", keys.join(", ")) };
            outln!("by an upstream    allowed: {door}{target} is sent to {origin}{rest}{keys}")?;
            true
        }
        Err(why) => {
            outln!("by an upstream    refused: {why}")?;
            false
        }
    })
}

fn direct(plan: &Plan, packet: &FirstPacket) -> Outcome<bool> {
    let mut reply = Reply::default();
    let (open, verdict) = match plan.guard().on_first_packet(packet, &mut reply) {
        Verdict::Forward => (true, "open".to_owned()),
        Verdict::Answer(_) => (true, "answered".to_owned()),
        Verdict::Refuse(refusal, Some(_)) => (false, format!("refused at once: {refusal}")),
        Verdict::Refuse(refusal, None) => (false, format!("dropped: {refusal}")),
    };
    outln!("directly          {verdict}")?;
    Ok(open)
}

fn through_proxy(rules: &Rules, host: &bottle_core::egress::HostName, port: u16) -> Outcome<bool> {
    Ok(match rules.check(host, port) {
        Ok(()) => {
            outln!("through the proxy allowed, as long as {host} leads to public addresses")?;
            true
        }
        Err(denial) => {
            outln!("through the proxy refused: {denial}")?;
            false
        }
    })
}
