//! What is at which path.

use super::answer::{self, Answer};
use super::assets;
use crate::desk::{self, Desk};
use bottle_core::slug::Slug;
use bottle_host::failure::{Failure, Kind, Outcome};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Answers a request that changes nothing.
pub fn get(desk: &impl Desk, path: &str, query: &str) -> Answer {
    let query = Query(query);
    let answered = match path {
        "api/overview" => value(desk.overview()),
        "api/log" => query.bottle().and_then(|slug| value(desk.log(&slug, query.number("after")))),
        "api/pushes" => query.bottle().and_then(|slug| value(desk.pushes(&slug))),
        "api/push" => query.push().and_then(|name| value(desk.push(&name))),
        "api/changes" => query.bottle().and_then(|slug| value(desk.changes(&slug))),
        "api/verified" => query.bottle().map(|slug| answer::value(&desk.verified(&slug))),
        _ => return assets::find(path).map_or_else(answer::missing, answer::asset),
    };
    answered.unwrap_or_else(|failure| answer::failure(&failure))
}

/// Answers a request that changes something.
pub fn post(desk: &impl Desk, path: &str, body: &[u8]) -> Answer {
    let answered = match path {
        "api/answer" => read(body).and_then(|given| desk.answer(&given)),
        "api/rule" => read(body).and_then(|given| desk.rule(&given)),
        "api/push" => read(body).and_then(|given| desk.decide(&given)),
        "api/apply" => read(body).and_then(|given| desk.apply(&given)),
        "api/verify" => read(body).and_then(|Bottle { bottle }| {
            desk.verify(&bottle)?;
            Ok(format!("verifying {bottle}"))
        }),
        _ => return answer::missing(),
    };
    match answered {
        Ok(done) => answer::value(&json!({ "done": done })),
        Err(failure) => answer::failure(&failure),
    }
}

/// Names a bottle, and nothing more.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Bottle {
    bottle: Slug,
}

fn value(value: Outcome<impl Serialize>) -> Outcome<Answer> {
    Ok(answer::value(&value?))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Outcome<T> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::new(Kind::Usage, format!("the request cannot be read: {error}")))
}

/// A query. Nothing that the page asks for needs an escape.
struct Query<'q>(&'q str);

impl Query<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        let pairs = self.0.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    fn bottle(&self) -> Outcome<Slug> {
        let slug = self.text("bottle").and_then(|slug| slug.parse().ok());
        slug.ok_or_else(|| Failure::new(Kind::Usage, "the request names no bottle"))
    }

    fn number(&self, name: &str) -> u64 {
        self.text(name).and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    fn push(&self) -> Outcome<desk::PushName> {
        let fields = ["bottle", "repo", "key"].map(|name| (name.to_owned(), json!(self.text(name))));
        read(Value::from_iter(fields).to_string().as_bytes())
    }
}
