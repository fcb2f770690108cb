//! The responses of the page, all with the headers that keep it to itself.

use super::assets::Asset;
use super::gate::Refused;
use bottle_core::visible::Block;
use bottle_host::failure::{Failure, Kind};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION, SET_COOKIE};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

/// What the page may load, and from where: its own files, and nothing else.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                          img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The headers of every response.
const HEADERS: [(&str, &str); 8] = [
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
];

/// A response.
pub type Answer = Response<Full<Bytes>>;

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// Returns a refusal.
pub fn refused(refused: Refused) -> Answer {
    let (status, what) = refused.answer();
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
    answer(status, "text/plain; charset=utf-8", format!("bottle: {what}\n"))
}

/// Returns the response to something that is not there.
pub fn missing() -> Answer {
    answer(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "bottle: there is nothing here\n")
}

/// Gives a browser the cookie, and sends it to the page.
pub fn entered(cookie: &str, folder: &str) -> Answer {
    let mut answer = answer(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", "");
    for (name, value) in [(SET_COOKIE, cookie), (LOCATION, folder)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

/// Returns a file of the page.
pub fn asset(asset: Asset) -> Answer {
    answer(StatusCode::OK, asset.kind, asset.bytes)
}

/// Returns a value. Nothing in it controls a terminal, reorders a line or is invisible.
pub fn value(value: &impl Serialize) -> Answer {
    let mut value = serde_json::to_value(value).unwrap_or_default();
    escape(&mut value);
    answer(StatusCode::OK, "application/json", value.to_string())
}

/// Returns why something was not done.
pub fn failure(failure: &Failure) -> Answer {
    let status = match failure.kind() {
        Kind::Usage | Kind::Negative | Kind::Busy => StatusCode::CONFLICT,
        Kind::NoBottle => StatusCode::NOT_FOUND,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut said = json!({ "error": failure.what(), "help": failure.hint() });
    escape(&mut said);
    answer(status, "application/json", said.to_string())
}

/// Escapes every text in a value, the names of fields too. What is escaped already stays as it is.
fn escape(value: &mut Value) {
    match value {
        Value::String(text) => *text = Block(text).to_string(),
        Value::Array(values) => values.iter_mut().for_each(escape),
        Value::Object(fields) => {
            let escaped = std::mem::take(fields).into_iter().map(|(name, mut value)| {
                escape(&mut value);
                (Block(&name).to_string(), value)
            });
            *fields = escaped.collect();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_deceives_a_reader() {
        let mut value = json!({ "a\u{202e}": ["\u{1b}[2J", { "b": "\u{200b}<b>\n" }], "n": 1 });
        escape(&mut value);
        let wanted = json!({ "a\\u{202e}": ["\\u{1b}[2J", { "b": "\\u{200b}<b>\n" }], "n": 1 });
        assert_eq!(value, wanted);
        let before = value.clone();
        escape(&mut value);
        assert_eq!(value, before);
    }
}
