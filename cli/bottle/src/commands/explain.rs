//! `bottle explain`: what a reason or a status means, or what a destination meets and what would change that.

use super::check::{self, Answered};
use super::context::Context;
use crate::explain::Topic;
use crate::output::By;
use crate::suggest::nearest;
use bottle_core::slug::Slug;
use bottle_core::visible::Line;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::outln;

/// The width of a paragraph, in characters.
const WIDTH: usize = 90;

pub fn explain(context: &Context, slug: Option<Slug>, what: Option<&str>) -> Outcome {
    let Some(what) = what else { return list() };
    if let Some(topic) = Topic::named(what) {
        outln!("{}: {}", topic.name(), topic.belongs_to())?;
        return paragraph(topic);
    }
    if !what.contains(['.', ':', '/']) {
        let names: Vec<String> = Topic::all().map(Topic::name).collect();
        let failure =
            Failure::new(Kind::Usage, format!("{what:?} is no reason, no status and no destination"));
        return Err(match nearest(what, names.iter().map(String::as_str)) {
            Some(near) => failure.help(format!("did you mean `{near}`? `bottle explain` lists all of them")),
            None => {
                failure.help("`bottle explain` lists all reasons; a destination has a dot: example.com:443")
            }
        });
    }
    destination(context, slug, what)
}

fn list() -> Outcome {
    let mut heading = String::new();
    for topic in Topic::all() {
        let belongs_to = topic.belongs_to();
        if !matches!(topic, Topic::Status(_)) && belongs_to != heading {
            outln!("{belongs_to}:")?;
            heading = belongs_to;
        } else if matches!(topic, Topic::Status(Kind::Negative)) {
            outln!("a command ends with a status:")?;
        }
        let number = match topic {
            Topic::Status(kind) => format!(" ({})", kind.status()),
            _ => String::new(),
        };
        outln!("  {:<18} {}", format!("{}{number}", topic.name()), topic.summary())?;
    }
    Ok(())
}

/// Says what a destination meets, why, and which command would change it.
fn destination(context: &Context, slug: Option<Slug>, what: &str) -> Outcome {
    let Answered { slug, ways } = check::ask(context, slug, what)?;
    let open = ways.iter().any(|way| way.open);
    let verdict = if open { "open" } else { "closed" };
    outln!("{}: {verdict} for {slug}", Line(what))?;
    let mut remedies = Vec::new();
    for way in &ways {
        outln!("\n{}: {}", way.by.in_words(), way.says)?;
        if let Some(topic) = way.reason.as_deref().and_then(Topic::named) {
            paragraph(topic)?;
        }
        remedies.extend(way.remedy.clone());
    }
    if open {
        if ways.iter().any(|way| way.open && way.by == By::Proxy) {
            outln!("\nTo close it: `bottle deny {slug} HOST`, with its name.")?;
        }
        return Ok(());
    }
    match remedies.first() {
        Some(remedy) => outln!("\nTo open it: `{remedy}`."),
        None => outln!("\nNo rule opens it."),
    }
}

fn paragraph(topic: Topic) -> Outcome {
    let mut line = String::new();
    for word in topic.paragraph().split(' ') {
        if !line.is_empty() && line.len() + word.len() >= WIDTH {
            outln!("{line}")?;
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    outln!("{line}")
}
