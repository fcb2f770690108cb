//! Rules by method and path: what of an upstream a guest may ask for.
//!
//! Rules only allow. A request that no rule is sure to mean is refused: paths are compared as they are written, case
//! and encoding included, so a server that reads two spellings alike is asked in the rule's spelling or not at all.

use super::names::InvalidUpstream;
use super::path;
use super::request::{METHODS, is_method_passed_on};
use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

/// Query parameters that some servers take for the request's method.
const METHOD_PARAMETERS: [&str; 5] =
    ["_method", "$httpmethod", "x-http-method", "x-http-method-override", "x-method-override"];

/// Requests that are allowed: `GET /repos/acme/*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "String"))]
pub struct RequestRule {
    /// The methods as they were written; none for all of them.
    methods: Vec<String>,
    segments: Vec<Segment>,
    /// Whether the path goes on, with anything but nothing.
    open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Named(String),
    Any,
}

/// No rule of an upstream allows a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAllowed {
    /// The upstream's path on the door.
    pub upstream: String,
    /// The rules.
    pub allowed: String,
    /// What was asked.
    pub method: String,
    /// The path below the upstream's, without its query.
    pub path: String,
    /// Whether it is only the query that no rule allows.
    pub by_query: bool,
}

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { upstream, allowed, method, path, by_query } = self;
        if *by_query {
            write!(f, "the rules for {upstream} allow {method} {path}, but not with this query: ")?;
            return f.write_str("some servers take a parameter of it for the method");
        }
        write!(f, "the rules for {upstream} allow {allowed}; not {method} {path}")
    }
}

impl core::error::Error for NotAllowed {}

impl RequestRule {
    /// Returns whether the rule allows a request for this path, which begins with a slash and has no query.
    pub fn allows(&self, method: &str, path: &str) -> bool {
        let asks = |known: &String| known == method || (known == "GET" && method == "HEAD");
        if !is_method_passed_on(method) || !(self.methods.is_empty() || self.methods.iter().any(asks)) {
            return false;
        }
        let Some(path) = path.strip_prefix('/') else { return false };
        // Nobody reads such a path in another way.
        if path::check(&["/", path].concat()).is_err() {
            return false;
        }
        let mut rest = path.split('/');
        let fits = self.segments.iter().all(|wanted| match (wanted, rest.next()) {
            (Segment::Named(name), Some(segment)) => name == segment,
            (Segment::Any, Some(segment)) => !segment.is_empty(),
            (_, None) => false,
        });
        let next = rest.next();
        fits && if self.open { next.is_some_and(|next| !next.is_empty()) } else { next.is_none() }
    }
}

/// Decides whether rules allow a request. `target` is the path and query below the upstream's own path. No rules allow
/// everything.
pub fn is_allowed(rules: &[RequestRule], method: &str, target: &str) -> bool {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = if path.is_empty() { "/" } else { path };
    rules.is_empty() || (!names_a_method(query) && rules.iter().any(|rule| rule.allows(method, path)))
}

/// Returns whether a query has a parameter that some server takes for the request's method.
fn names_a_method(query: &str) -> bool {
    query.split(['&', ';']).any(|parameter| {
        let name = decoded(parameter.split('=').next().unwrap_or_default());
        // Some servers leave out what is in front of it or behind it, and read these characters as an underscore.
        let name = name.split(['\0', '[', '=', '&', ';']).next().unwrap_or_default();
        let name = name.trim_start().replace([' ', '.'], "_");
        let is_one = |known: &&str| name.eq_ignore_ascii_case(known);
        // What is still encoded would be read differently by a server that decodes twice.
        METHOD_PARAMETERS.iter().any(is_one) || name.contains('%')
    })
}

/// Decodes a parameter's name. What is not encoded rightly stays as it is.
fn decoded(name: &str) -> String {
    let digit =
        |byte: Option<&u8>| char::from(*byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (bytes, mut at, mut plain) = (name.as_bytes(), 0, Vec::with_capacity(name.len()));
    while let Some(&byte) = bytes.get(at) {
        let code = digit(bytes.get(at + 1)).zip(digit(bytes.get(at + 2))).filter(|_| byte == b'%');
        plain.push(code.map_or(if byte == b'+' { b' ' } else { byte }, |(high, low)| high << 4 | low));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&plain).into_owned()
}

impl FromStr for RequestRule {
    type Err = InvalidUpstream;

    fn from_str(text: &str) -> Result<Self, InvalidUpstream> {
        let invalid = || InvalidUpstream::Rule(text.to_owned());
        let (methods, path) = text.split_once(' ').ok_or_else(invalid)?;
        let methods = match methods {
            "*" => Vec::new(),
            listed => listed.split(',').map(ToOwned::to_owned).collect(),
        };
        if !methods.iter().all(|method| is_method_passed_on(method)) {
            return Err(InvalidUpstream::Method(text.to_owned(), METHODS.join(", ")));
        }
        let path = path.strip_prefix('/').ok_or_else(invalid)?;
        let mut segments: Vec<&str> = path.split('/').collect();
        let open = segments.last() == Some(&"*");
        if open {
            segments.pop();
        }
        let plain = |segment: &str| {
            segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()+,=:@".contains(&b))
        };
        let whole: String = segments.iter().flat_map(|segment| ["/", segment]).collect();
        if path::check(&whole).is_err() || !segments.iter().all(|segment| *segment == "*" || plain(segment)) {
            return Err(invalid());
        }
        let segment = |segment: &str| match segment {
            "*" => Segment::Any,
            name => Segment::Named(name.to_owned()),
        };
        Ok(Self { methods, segments: segments.into_iter().map(segment).collect(), open })
    }
}

impl fmt::Display for RequestRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&if self.methods.is_empty() { "*".to_string() } else { self.methods.join(",") })?;
        f.write_str(" ")?;
        for segment in &self.segments {
            match segment {
                Segment::Named(name) => write!(f, "/{name}")?,
                Segment::Any => f.write_str("/*")?,
            }
        }
        f.write_str(if self.open { "/*" } else { "" })
    }
}

impl TryFrom<String> for RequestRule {
    type Error = InvalidUpstream;

    fn try_from(text: String) -> Result<Self, InvalidUpstream> {
        text.parse()
    }
}

impl From<RequestRule> for String {
    fn from(rule: RequestRule) -> Self {
        rule.to_string()
    }
}
