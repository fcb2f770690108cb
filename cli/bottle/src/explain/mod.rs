//! What each reason for a refusal means, and each status of a command, in a paragraph: what happened, why bottle does
//! that, and what helps.
//!
//! Each list is a `match`, so that a new reason does not compile without its paragraph.

mod frames;
mod pushes;
mod requests;
mod statuses;

pub use requests::Reason;

use bottle_core::guard::Refusal;
use bottle_host::failure::Kind;

/// Something that can be explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Why the guard refuses a frame.
    Frame(Refusal),
    /// Why a sidecar or the link refuses what the guest asks for.
    Request(Reason),
    /// Why git-gate refuses a push.
    Push(pushes::Push),
    /// How a command ended.
    Status(Kind),
}

impl Topic {
    /// Returns every topic, in the order in which they are listed.
    pub fn all() -> impl Iterator<Item = Self> {
        let frames = Refusal::ALL.iter().copied().map(Self::Frame);
        let requests = Reason::ALL.iter().copied().map(Self::Request);
        let pushes = pushes::Push::ALL.iter().copied().map(Self::Push);
        frames.chain(requests).chain(pushes).chain(Kind::ALL.into_iter().map(Self::Status))
    }

    /// Returns the topic of this name: a reason as the log has it, or a status by its word or its number.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|topic| {
            topic.name() == name || matches!(topic, Self::Status(kind) if kind.status().to_string() == name)
        })
    }

    /// Returns its name, as logs and `--json` have it.
    pub fn name(self) -> String {
        match self {
            Self::Frame(refusal) => frames::name(refusal),
            Self::Request(reason) => reason.name().to_owned(),
            Self::Push(push) => push.name().to_owned(),
            Self::Status(kind) => kind.word().to_owned(),
        }
    }

    /// Returns what it belongs to, as a heading.
    pub fn belongs_to(self) -> String {
        match self {
            Self::Frame(_) => "the guard refuses a frame".to_owned(),
            Self::Request(reason) => format!("{} refuses a request", reason.who()),
            Self::Push(_) => "git-gate refuses a push".to_owned(),
            Self::Status(kind) => format!("a command ends with status {}", kind.status()),
        }
    }

    /// Returns what its paragraph begins with, up to the first full stop or colon. One within a name is none.
    pub fn summary(self) -> &'static str {
        let paragraph = self.paragraph();
        let end = [". ", ": "].iter().filter_map(|mark| paragraph.find(mark)).min();
        end.map_or(paragraph.trim_end_matches('.'), |end| &paragraph[..end])
    }

    /// Returns its paragraph.
    pub fn paragraph(self) -> &'static str {
        match self {
            Self::Frame(refusal) => frames::paragraph(refusal),
            Self::Request(reason) => reason.paragraph(),
            Self::Push(push) => push.paragraph(),
            Self::Status(kind) => statuses::paragraph(kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_topic_has_a_name_of_its_own_and_a_paragraph() {
        let mut names = BTreeSet::new();
        for topic in Topic::all() {
            let (name, text) = (topic.name(), topic.paragraph());
            assert!(names.insert(name.clone()), "{name}");
            assert_eq!(Topic::named(&name), Some(topic));
            assert!(
                text.split(". ").count() >= 2 && text.ends_with('.') && text.len() > 100,
                "{name}: {text}"
            );
        }
        assert!(names.len() >= 60, "{}", names.len());
        assert_eq!(Topic::named("66"), Some(Topic::Status(Kind::NoBottle)));
        assert_eq!(Topic::named("nonsense"), None);
    }

    #[test]
    fn a_summary_does_not_end_within_a_name() {
        for topic in Topic::all() {
            let rest = topic.paragraph().strip_prefix(topic.summary()).unwrap();
            assert!(rest == "." || rest.starts_with(". ") || rest.starts_with(": "), "{topic:?}");
        }
        assert!(Topic::named("dns-name").unwrap().summary().contains("proxy.internal"));
        assert!(Topic::named("usage").unwrap().summary().contains("bottle.toml"));
    }
}
