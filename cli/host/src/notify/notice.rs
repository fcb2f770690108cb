//! What a person is told.

use crate::audit::now_ms;
use crate::envelope;
use bottle_core::slug::Slug;
use bottle_core::visible::Line;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest text in a notice, in characters.
const LONGEST: usize = 500;
/// The most leaks that a notice lists.
const LISTED: usize = 10;

/// Something that a person should know at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Notice {
    /// An agent asks for something.
    Request {
        /// The request's name for `bottle approve`.
        id: String,
        /// What it asks.
        asks: String,
    },
    /// A push waits.
    Push {
        /// The repository.
        repo: Slug,
        /// The ref's full name.
        name: String,
        /// The commit, unless the push deletes the ref.
        commit: Option<String>,
    },
    /// `bottle verify` found a leak.
    Leak {
        /// What was reached although it must not be.
        leaks: Vec<String>,
    },
    /// A keeper ended without saying so. Its guest reaches nothing.
    KeeperDied,
    /// Not told to anybody: the keeper ends as it should.
    #[schemars(skip)]
    KeeperEnds,
}

/// A notice as the command gets it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Told<'n> {
    /// The form of this object.
    pub schema: String,
    /// The bottle.
    pub bottle: &'n Slug,
    /// When it happened, in milliseconds since 1970.
    pub time_ms: u64,
    /// All of it in a sentence.
    pub says: String,
    /// The rest.
    #[serde(flatten)]
    pub notice: Notice,
}

impl Notice {
    /// Returns the word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Request { .. } => "request",
            Self::Push { .. } => "push",
            Self::Leak { .. } => "leak",
            Self::KeeperDied => "keeper-died",
            Self::KeeperEnds => "keeper-ends",
        }
    }

    /// Returns it as the command gets it. Text from a guest is cut, and nothing in it is invisible or controls a
    /// terminal.
    pub fn told<'n>(&self, bottle: &'n Slug) -> Told<'n> {
        let shown = |text: &str| Line(&text.chars().take(LONGEST).collect::<String>()).to_string();
        let (notice, says) = match self {
            Self::Request { id, asks } => {
                let asks = shown(asks);
                (Self::Request { id: id.clone(), asks: asks.clone() }, format!("{id}: {asks}"))
            }
            Self::Push { repo, name, commit } => {
                let name = shown(name);
                let says = format!("a push to {name} of {repo} waits");
                (Self::Push { repo: repo.clone(), name, commit: commit.as_deref().map(shown) }, says)
            }
            Self::Leak { leaks } => {
                let leaks: Vec<String> = leaks.iter().take(LISTED).map(|leak| shown(leak)).collect();
                let says = format!("{bottle} reaches what it must not: {}", leaks.join("; "));
                (Self::Leak { leaks }, says)
            }
            Self::KeeperDied | Self::KeeperEnds => {
                (self.clone(), format!("the keeper of {bottle} has died; its guest reaches nothing"))
            }
        };
        Told { schema: envelope::schema("notice"), bottle, time_ms: now_ms(), says, notice }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_wrote_is_escaped_and_has_an_end() {
        let slug = "t".parse().unwrap();
        let asks = format!("\u{1b}]0;x\u{7}\u{202e}{}", "y".repeat(100_000));
        let told = Notice::Request { id: "t.1".to_owned(), asks }.told(&slug);
        let text = serde_json::to_string(&told).unwrap();
        assert!(text.len() < 2000 && !text.contains("\\u001b") && !text.contains('\u{202e}'), "{text}");
        assert!(text.contains(r#""event":"request""#) && told.says.starts_with("t.1: \\u{1b}"), "{text}");
    }
}
