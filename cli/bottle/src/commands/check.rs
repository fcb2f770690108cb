//! `bottle check`: asks the guard and the egress proxy what they would say to a destination.

use super::context::Context;
use crate::explain::Topic;
use crate::lifecycle;
use crate::made_from::MadeFrom;
use crate::output::{By, Checked, Way};
use crate::resolve::resolve;
use bottle_core::PROXY_NAME;
use bottle_core::egress::{HostName, Rules, authority};
use bottle_core::environment;
use bottle_core::guard::{FirstPacket, Refusal, Reply, Verdict};
use bottle_core::plan::Plan;
use bottle_core::slug::Slug;
use bottle_core::upstream::{self, METHODS, Route, Upstream};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::rules;
use bottle_host::state::Home;
use bottle_host::tools;
use bottle_host::{out, outln};
use std::net::{IpAddr, SocketAddr};

/// The port that a rule without one means.
const USUAL: u16 = 443;

pub fn check(context: &Context, slug: Option<Slug>, destination: &str, json: bool) -> Outcome {
    verdict(destination, ask(context, slug, destination)?.ways, json)
}

/// What a bottle's rules say to a destination.
pub struct Answered {
    /// The bottle.
    pub slug: Slug,
    /// The ways to the destination that were checked.
    pub ways: Vec<Way>,
}

/// Asks what the rules of a bottle say: those of the one that runs, or those that the configuration here means.
pub fn ask(context: &Context, slug: Option<Slug>, destination: &str) -> Outcome<Answered> {
    let (slug, config) = context.configured(slug)?;
    let home = Home::find()?;
    let folder = home.bottle(&slug);
    context.note_trust(&home, &config)?;
    let plan = match folder.has_keeper().then(|| folder.read_plan()) {
        Some(plan) => plan?,
        None => {
            let resolved = resolve(
                &slug,
                &config,
                tools::stack(config.stack),
                &home,
                MadeFrom::of(&folder, &config).as_ref(),
            )?;
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
        return Ok(Answered { slug, ways: vec![by_upstream(&plan, target)] });
    }
    let default_port = if scheme == "http" { 80 } else { 443 };
    let ways = match (named.parse::<SocketAddr>(), named.parse::<IpAddr>()) {
        (Ok(SocketAddr::V4(address)), _) => {
            vec![direct(&plan, &FirstPacket::Tcp(*address.ip(), address.port()))]
        }
        (_, Ok(IpAddr::V4(address))) => vec![direct(&plan, &FirstPacket::Tcp(address, default_port))],
        (Ok(SocketAddr::V6(_)), _) | (_, Ok(IpAddr::V6(_))) => {
            vec![refused(way(By::Direct, false, "refused: IPv6 does not pass"), Refusal::Ipv6)]
        }
        _ => by_name(&plan, &rules, named, default_port, target)?,
    };
    Ok(Answered { slug, ways })
}

fn way(by: By, open: bool, says: impl Into<String>) -> Way {
    Way { by, open, says: says.into(), reason: None, remedy: None }
}

/// Prints the ways to a destination, and returns the verdict as an exit status.
fn verdict(destination: &str, ways: Vec<Way>, json: bool) -> Outcome {
    let open = ways.iter().any(|way| way.open);
    if json {
        out::json(&Checked { destination, open, ways })?;
    } else {
        for way in &ways {
            outln!("{:<17} {}", way.by.in_words(), way.says)?;
        }
    }
    if open {
        return Ok(());
    }
    Err(Failure::new(Kind::Negative, format!("{destination} is closed")).shown())
}

fn by_name(plan: &Plan, rules: &Rules, named: &str, default_port: u16, target: &str) -> Outcome<Vec<Way>> {
    let (host, port) = authority(named, default_port).map_err(|error| {
        Failure::new(Kind::Usage, format!("DESTINATION: {error}"))
            .help("`bottle check example.com:443` is one; `bottle check --help` says more")
    })?;
    if host.as_str() == PROXY_NAME {
        let door = direct(plan, &FirstPacket::Tcp(plan.subnet.proxy(), port));
        let is_path = port == plan.doors.pipelock() && !matches!(target, "" | "/");
        // The door is open, and what counts is the path on it.
        return Ok(if is_path {
            vec![Way { open: false, ..door }, by_upstream(plan, target)]
        } else {
            vec![door]
        });
    }
    let resolved = direct(plan, &FirstPacket::Resolve(host.to_string()));
    // An answer to a query for its name is no connection to it.
    let mut ways = vec![Way { open: false, ..resolved }, through_proxy(&plan.slug, rules, &host, port)];
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
            ways.push(by_upstream(plan, &format!("{}{below}", upstream.path)));
        }
    }
    Ok(ways)
}

/// Returns what would happen to a request for a path on the egress proxy's door.
fn by_upstream(plan: &Plan, target: &str) -> Way {
    match upstream::route(&plan.upstreams, target) {
        Ok(Route { index, rest }) => {
            let upstream @ Upstream { origin, headers, .. } = &plan.upstreams[index];
            let methods: Vec<&str> =
                METHODS.into_iter().filter(|method| upstream.check(method, rest).is_ok()).collect();
            if methods.is_empty() {
                let why = upstream.check("GET", rest).err().map(|why| why.to_string()).unwrap_or_default();
                return way(By::Upstream, false, format!("refused: {why}"));
            }
            let only = if methods.len() == METHODS.len() {
                String::new()
            } else {
                format!(" for {}", methods.join(", "))
            };
            let door = environment::url(plan.doors.pipelock());
            let keys: Vec<String> =
                headers.iter().map(|(name, secret)| format!("{name} from {}", secret.source)).collect();
            let keys = if keys.is_empty() { String::new() } else { format!(", with {}", keys.join(", ")) };
            way(By::Upstream, true, format!("allowed{only}: {door}{target} is sent to {origin}{rest}{keys}"))
        }
        Err(why) => way(By::Upstream, false, format!("refused: {why}")),
    }
}

fn direct(plan: &Plan, packet: &FirstPacket) -> Way {
    let mut reply = Reply::default();
    let mut reason = None;
    let (open, verdict) = match plan.guard().on_first_packet(packet, &mut reply) {
        Verdict::Forward => (true, "open".to_owned()),
        Verdict::Answer(_) => (true, "answered".to_owned()),
        Verdict::Refuse(refusal, answer) => {
            reason = Some(refusal);
            let how = if answer.is_some() { "refused at once" } else { "dropped" };
            (false, format!("{how}: {refusal}"))
        }
    };
    let way = way(By::Direct, open, verdict);
    reason.map_or(way.clone(), |reason| refused(way, reason))
}

/// Adds the reason why the guard refuses it.
fn refused(way: Way, refusal: Refusal) -> Way {
    Way { reason: Some(Topic::Frame(refusal).name()), ..way }
}

fn through_proxy(slug: &Slug, rules: &Rules, host: &HostName, port: u16) -> Way {
    match rules.check(host, port) {
        Ok(()) => way(By::Proxy, true, format!("allowed, as long as {host} leads to public addresses")),
        Err(denial) => {
            let remedy = denial.could_allow().map(|(host, missing)| match missing {
                Some(port) => format!("bottle allow {slug} {host}:{port}"),
                // A rule without a port means this one.
                None if port == USUAL => format!("bottle allow {slug} {host}"),
                None => format!("bottle allow {slug} {host}:{port}"),
            });
            let reason = Some(denial.name().to_owned());
            Way { reason, remedy, ..way(By::Proxy, false, format!("refused: {denial}")) }
        }
    }
}
