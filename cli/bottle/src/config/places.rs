//! Remembers positions in the file for checks that need the whole plan.

use super::source::Source;
use bottle_core::sidecar::Sidecar;
use bottle_core::slug::Slug;
use bottle_host::failure::{Failure, Kind};
use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::ops::Range;

/// A part of the file that is checked later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// The image.
    Image,
    /// A repository of git-gate's, by its name.
    Repository(Slug),
    /// An upstream, by its path.
    Upstream(String),
    /// The parent proxy.
    Parent,
    /// A sidecar that a program serves.
    Sidecar(Sidecar),
    /// A published port, by the guest's number.
    Publication(NonZeroU16),
}

/// The file, and the positions of these parts in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    source: Option<Source>,
    spans: BTreeMap<Item, Range<usize>>,
}

impl Places {
    /// Starts with no positions.
    pub fn of(source: &Source) -> Self {
        Self { source: Some(source.clone()), spans: BTreeMap::new() }
    }

    /// Remembers the position of a part.
    pub fn add(&mut self, item: Item, span: Range<usize>) {
        self.spans.insert(item, span);
    }

    /// Makes a failure that points at a part, if the file has it: an agent's profile and the environment add others.
    pub fn fail(&self, item: &Item, kind: Kind, what: &str) -> Failure {
        match (&self.source, self.spans.get(item)) {
            (Some(source), Some(span)) => source.fail_as(kind, Some(span.clone()), what),
            _ => Failure::new(kind, what),
        }
    }
}
