//! What agents ask their operator, and the answers.

use crate::operator::who;
use bottle_core::egress::Rules;
use bottle_core::slug::Slug;
use bottle_core::visible::{Block, Line};
use bottle_host::audit::millis;
use bottle_host::control::{self, AgentRequest, Decision, Waiting};
use bottle_host::defence::Defence;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::rules::Change;
use bottle_host::state::Folder;
use bottle_sidecars::egress::public_suffix;
use bottle_ui::desk::{Answer, Request, RuleChange};
use std::time::{Duration, UNIX_EPOCH};

/// Returns the requests that wait in a bottle, if its keeper answers in time. A keeper that ends at this moment
/// has none.
pub fn waiting(folder: &Folder, patience: Duration) -> Vec<Waiting> {
    match control::ask_within(patience, folder, &control::Request::Inbox) {
        Ok(control::Answer::Inbox { waiting }) => waiting,
        _ => Vec::new(),
    }
}

/// Returns the request with this number.
///
/// # Errors
/// Returns [`Kind::NoBottle`] if it does not wait.
pub fn find(folder: &Folder, number: u32) -> Outcome<Waiting> {
    let control::Answer::Inbox { waiting } = control::ask(folder, &control::Request::Inbox)? else {
        return Err(Failure::new(Kind::Internal, "the keeper did not list its requests"));
    };
    waiting.into_iter().find(|waiting| waiting.number == number).ok_or_else(|| {
        Failure::new(Kind::NoBottle, "there is no request with that number").help("see `bottle inbox`")
    })
}

/// Answers a request.
///
/// # Errors
/// Returns [`Kind::Usage`] if it cannot be approved, or not without an answer.
pub fn settle(folder: &Folder, waiting: &Waiting, approved: bool, says: Option<String>) -> Outcome {
    let id = id(folder.slug(), waiting);
    let says = says.filter(|says| !says.trim().is_empty());
    if approved && waiting.request.needs_an_answer() && says.is_none() && Defence::AnswerNeeded.stands() {
        let request = in_words(&waiting.request);
        return Err(Failure::new(Kind::Usage, format!("{id} needs an answer; {request}"))
            .help(format!("`bottle approve {id} \"the answer\"` gives one")));
    }
    if let AgentRequest::Host { rule, .. } = &waiting.request
        && approved
        && let Err(wide) = public_suffix::check_named(&rule.pattern)
    {
        let refuse = format!("`bottle refuse {id}`");
        return Err(Failure::new(Kind::Usage, wide.to_string()).help(format!("{refuse}; {}", wide.help())));
    }
    let decision = Decision { approved, says };
    let request = control::Request::Decide { number: waiting.number, decision, by: who() };
    control::demand(folder, &request, Kind::NoBottle)
}

/// Answers the request that a person saw, and returns what was done.
///
/// # Errors
/// Returns [`Kind::Usage`] if it is another one now, and errors as for [`settle`].
pub fn answer(folder: &Folder, answer: &Answer) -> Outcome<String> {
    let waiting = find(folder, answer.number)?;
    if seen(folder.slug(), &waiting) != answer.seen {
        return Err(Failure::new(Kind::Usage, "this is not the request that was shown").help("look again"));
    }
    settle(folder, &waiting, answer.approved, answer.says.clone())?;
    let done = if answer.approved { "approved" } else { "refused" };
    Ok(format!("{done}: {}", in_words(&waiting.request)))
}

/// Returns the name of a request for `bottle approve`.
pub fn id(slug: &Slug, waiting: &Waiting) -> String {
    format!("{slug}.{}", waiting.number)
}

/// Describes a request on one line. Text from the agent must not control the terminal that shows it.
pub fn in_words(request: &AgentRequest) -> String {
    match request {
        AgentRequest::Host { rule, reason } => format!("may it reach {rule}? {}", Line(reason)),
        AgentRequest::Question { question } => format!("it asks: {}", Line(question)),
    }
}

/// Returns a request as it is shown, with what it would change in these rules.
pub fn shown(slug: &Slug, waiting: &Waiting, rules: &Rules) -> Request {
    let (says, words, changes, forbidden) = match &waiting.request {
        AgentRequest::Host { rule, reason } => {
            let forbidden = public_suffix::check_named(&rule.pattern).err().map(|wide| wide.to_string());
            let changes = difference(rules, &Change::Allow(rule.clone()));
            (format!("May it reach {rule}?"), reason, changes, forbidden)
        }
        AgentRequest::Question { question } => ("It asks a question.".to_owned(), question, Vec::new(), None),
    };
    Request {
        bottle: slug.clone(),
        number: waiting.number,
        seen: seen(slug, waiting),
        says,
        words: Block(words).to_string(),
        needs_an_answer: waiting.request.needs_an_answer(),
        changes,
        forbidden,
        since_ms: waiting.since.duration_since(UNIX_EPOCH).map_or(0, millis),
        waits: waiting.callers > 0,
    }
}

/// Identifies everything that a person decides on.
fn seen(slug: &Slug, waiting: &Waiting) -> String {
    let whole = serde_json::json!([slug, waiting.number, waiting.request]);
    bottle_host::digest::hex(whole.to_string().as_bytes())
}

/// Returns what a change does to the rules.
fn difference(rules: &Rules, change: &Change) -> Vec<RuleChange> {
    let listed = |rules: &Rules| -> Vec<String> {
        let allowed = rules.allow.iter().map(|rule| format!("allow {rule}"));
        allowed.chain(rules.deny.iter().map(|pattern| format!("deny {pattern}"))).collect()
    };
    let mut changed = rules.clone();
    change.apply(&mut changed);
    let (before, after) = (listed(rules), listed(&changed));
    let gone = before.iter().filter(|rule| !after.contains(rule)).map(|rule| (false, rule));
    let new = after.iter().filter(|rule| !before.contains(rule)).map(|rule| (true, rule));
    gone.chain(new).map(|(added, rule)| RuleChange { added, rule: rule.clone() }).collect()
}
