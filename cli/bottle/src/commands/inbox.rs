//! `bottle inbox`, `approve` and `refuse`: a person decides what agents ask for.

use super::context::Context;
use crate::args::RequestId;
use crate::desk::requests::{self, id, in_words};
use crate::output::Asked;
use bottle_core::slug::Slug;
use bottle_host::control::Waiting;
use bottle_host::failure::Outcome;
use bottle_host::state::{Folder, Home};
use bottle_host::{out, outln};
use std::time::{Duration, SystemTime};

/// How long a keeper may take to list its requests.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn inbox(json: bool) -> Outcome {
    let mut rows: Vec<(Slug, Waiting)> = Vec::new();
    for folder in Home::find()?.bottles()?.into_iter().filter(Folder::has_keeper) {
        let waiting = requests::waiting(&folder, PATIENCE).into_iter();
        rows.extend(waiting.map(|waiting| (folder.slug().clone(), waiting)));
    }
    if json {
        let rows: Vec<_> =
            rows.iter().map(|(bottle, request)| Asked { bottle, id: id(bottle, request), request }).collect();
        out::json(&rows)?;
        return Ok(());
    }
    for (slug, waiting) in &rows {
        let ago = SystemTime::now().duration_since(waiting.since).unwrap_or_default();
        let ago = humantime::format_duration(Duration::from_secs(ago.as_secs()));
        let what = in_words(&waiting.request);
        let gone = if waiting.callers == 0 { " (the agent is no longer waiting)" } else { "" };
        outln!("{:<16} {ago} ago{gone}\n  {what}", id(slug, waiting))?;
    }
    Ok(())
}

pub fn decide(context: &Context, id: &RequestId, approved: bool, says: Option<String>) -> Outcome {
    let folder = context.running(Some(id.slug.clone()))?;
    let waiting = requests::find(&folder, id.number)?;
    requests::settle(&folder, &waiting, approved, says)?;
    let done = if approved { "approved" } else { "refused" };
    context.say(&format!("{done}: {}", in_words(&waiting.request)));
    Ok(())
}
