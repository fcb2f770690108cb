//! `bottle allow` and `bottle deny`: change rules while a bottle runs. The changes stay.

use super::context::Context;
use crate::describe::wide_open;
use crate::operator::who;
use crate::suggest;
use bottle_core::egress::{HostRule, Rules};
use bottle_core::slug::Slug;
use bottle_host::audit;
use bottle_host::control::{self, Request};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::out;
use bottle_host::rules::{Change, Changes};
use bottle_sidecars::egress::public_suffix;

pub fn allow(context: &Context, slug: &Slug, host: &str) -> Outcome {
    let rule = parse(host)?;
    public_suffix::check(&rule.pattern)
        .map_err(|wide| Failure::new(Kind::Usage, format!("HOST: {wide}")).help(wide.help()))?;
    let said = format!("{slug} may reach {rule}");
    let wide = wide_open(slug, &Rules { allow: vec![rule.clone()], ..Rules::default() });
    change(context, slug, Change::Allow(rule))?;
    if let Some(wide) = wide {
        out::note(wide);
        return Ok(());
    }
    context.say(&said);
    Ok(())
}

pub fn deny(context: &Context, slug: &Slug, host: &str) -> Outcome {
    let pattern = parse(host)?.pattern;
    let said = format!("{slug} may not reach {pattern}");
    change(context, slug, Change::Deny(pattern))?;
    context.say(&said);
    Ok(())
}

fn parse(host: &str) -> Outcome<HostRule> {
    host.parse().map_err(|error| {
        Failure::new(Kind::Usage, format!("HOST: {error}")).help(
            "it has the form example.com, *.example.com or example.com:8443; `bottle allow --help` says more",
        )
    })
}

fn change(context: &Context, slug: &Slug, change: Change) -> Outcome {
    let folder = context.folder(Some(slug.clone()))?;
    if !folder.exists() {
        return Err(suggest::no_such_or(slug, "rules for a new bottle belong in its bottle.toml"));
    }
    if folder.has_keeper() {
        return control::demand(&folder, &Request::Rules { change, by: who() }, Kind::Internal);
    }
    // A stopped bottle reads them when it starts.
    let _lock = folder.lock_operation("allow")?;
    let (event, details) = change.recorded(&who());
    audit::decided(&folder, "rules", event, details)?;
    Ok(Changes::add(&folder, &change)?)
}
