//! `bottle inbox`, `approve` and `refuse`: a person decides what agents ask for.

use super::context::Context;
use crate::args::RequestId;
use crate::operator::who;
use crate::output::Asked;
use bottle_core::slug::Slug;
use bottle_core::visible;
use bottle_host::control::{self, Answer, Request};
use bottle_host::control::{AgentRequest, Decision, Waiting};
use bottle_host::defence::Defence;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::{Folder, Home};
use bottle_host::{out, outln};
use bottle_sidecars::egress::public_suffix;
use std::time::{Duration, SystemTime};

pub fn inbox(json: bool) -> Outcome {
    let mut rows: Vec<(Slug, Waiting)> = Vec::new();
    for folder in Home::find()?.bottles()?.into_iter().filter(Folder::has_keeper) {
        // A keeper that ends at this moment has no requests.
        if let Ok(Answer::Inbox { waiting }) = control::ask(&folder, &Request::Inbox) {
            rows.extend(waiting.into_iter().map(|waiting| (folder.slug().clone(), waiting)));
        }
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

/// Describes a request on one line. Text from the agent must not control the terminal that shows it.
fn in_words(request: &AgentRequest) -> String {
    match request {
        AgentRequest::Host { rule, reason } => format!("may it reach {rule}? {}", visible::Line(reason)),
        AgentRequest::Question { question } => format!("it asks: {}", visible::Line(question)),
    }
}

fn id(slug: &Slug, waiting: &Waiting) -> String {
    format!("{slug}.{}", waiting.number)
}

fn id_of(id: &RequestId) -> String {
    format!("{}.{}", id.slug, id.number)
}

pub fn decide(context: &Context, id: &RequestId, approved: bool, says: Option<String>) -> Outcome {
    let folder = context.running(Some(id.slug.clone()))?;
    let Answer::Inbox { waiting } = control::ask(&folder, &Request::Inbox)? else {
        return Err(Failure::new(Kind::Internal, "the keeper did not list its requests"));
    };
    let Some(waiting) = waiting.into_iter().find(|waiting| waiting.number == id.number) else {
        return Err(
            Failure::new(Kind::NoBottle, "there is no request with that number").help("see `bottle inbox`")
        );
    };
    let request = in_words(&waiting.request);
    let says = says.filter(|says| !says.trim().is_empty());
    if approved && waiting.request.needs_an_answer() && says.is_none() && Defence::AnswerNeeded.stands() {
        return Err(Failure::new(Kind::Usage, format!("{} needs an answer; {request}", id_of(id)))
            .help(format!("`bottle approve {} \"the answer\"` gives one", id_of(id))));
    }
    if let AgentRequest::Host { rule, .. } = &waiting.request
        && approved
        && let Err(wide) = public_suffix::check_named(&rule.pattern)
    {
        let refuse = format!("`bottle refuse {}`", id_of(id));
        return Err(Failure::new(Kind::Usage, wide.to_string()).help(format!("{refuse}; {}", wide.help())));
    }
    let decision = Decision { approved, says };
    control::demand(&folder, &Request::Decide { number: id.number, decision, by: who() }, Kind::NoBottle)?;
    context.say(&format!("{}: {request}", if approved { "approved" } else { "refused" }));
    Ok(())
}
