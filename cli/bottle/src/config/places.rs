//! Where in the file something was said that can only be judged later, when the whole plan is known.

use super::source::Source;
use bottle_core::sidecar::Sidecar;
use bottle_core::slug::Slug;
use bottle_host::failure::{Failure, Kind};
use std::collections::BTreeMap;
use std::ops::Range;

/// What is judged later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// A repository of git-gate's, by its name.
    Repository(Slug),
    /// An upstream, by its path.
    Upstream(String),
    /// A sidecar that a program serves.
    Sidecar(Sidecar),
}

/// The file, and where in it these things are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    source: Option<Source>,
    spans: BTreeMap<Item, Range<usize>>,
}

impl Places {
    /// Those of a file, of which none is known yet.
    pub fn of(source: &Source) -> Self {
        Self { source: Some(source.clone()), spans: BTreeMap::new() }
    }

    /// Remembers where something is.
    pub fn add(&mut self, item: Item, span: Range<usize>) {
        self.spans.insert(item, span);
    }

    /// Makes a failure that points at something.
    pub fn fail(&self, item: &Item, kind: Kind, what: &str) -> Failure {
        match &self.source {
            Some(source) => source.fail_as(kind, self.spans.get(item).cloned(), what),
            None => Failure::new(kind, what),
        }
    }
}
