//! `bottle inbox`, `approve` and `refuse`: a person decides what agents ask for.

use super::context::Context;
use super::rules::who;
use crate::args::WishId;
use crate::failure::{Kind, Outcome};
use crate::keeper::control::{self, Answer, Request};
use crate::out::{self, outln};
use crate::state::{Folder, Home};
use crate::supervise::inbox::{Decision, Waiting, Wish};
use bottle_core::slug::Slug;
use bottle_core::visible;
use serde_json::json;
use std::time::{Duration, SystemTime};

pub fn inbox(json: bool) -> Outcome {
    let mut rows: Vec<(Slug, Waiting)> = Vec::new();
    for folder in Home::find()?.bottles()?.into_iter().filter(Folder::has_keeper) {
        // A keeper that ends just now has nothing that waits.
        if let Ok(Answer::Inbox { waiting }) = control::ask(&folder, &Request::Inbox) {
            rows.extend(waiting.into_iter().map(|waiting| (folder.slug().clone(), waiting)));
        }
    }
    if json {
        let row = |(slug, waiting): &(Slug, Waiting)| json!({ "id": id(slug, waiting), "bottle": slug, "request": waiting });
        let rows: Vec<_> = rows.iter().map(row).collect();
        out::json(&rows)?;
        return Ok(());
    }
    for (slug, waiting) in &rows {
        let ago = SystemTime::now().duration_since(waiting.since).unwrap_or_default();
        let ago = humantime::format_duration(Duration::from_secs(ago.as_secs()));
        // What the agent wrote must not steer the terminal that shows it.
        let what = match &waiting.wish {
            Wish::Host { rule, reason } => format!("may it reach {rule}? {}", visible::Line(reason)),
            Wish::Question { question } => format!("it asks: {}", visible::Line(question)),
        };
        let gone = if waiting.callers == 0 { " (it does not wait any more)" } else { "" };
        outln!("{:<16} {ago} ago{gone}\n  {what}", id(slug, waiting))?;
    }
    Ok(())
}

fn id(slug: &Slug, waiting: &Waiting) -> String {
    format!("{slug}.{}", waiting.number)
}

pub fn decide(context: &Context, id: &WishId, approved: bool, says: Option<String>) -> Outcome {
    let folder = context.running(Some(id.slug.clone()))?;
    let decision = Decision { approved, says };
    control::demand(&folder, &Request::Decide { number: id.number, decision, by: who() }, Kind::NoBottle)?;
    context.say(if approved { "approved" } else { "refused" });
    Ok(())
}
