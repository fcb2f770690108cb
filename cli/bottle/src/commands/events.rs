//! `bottle events`: the logs of one bottle or of all, as one stream.

use super::context::Context;
use super::logs::{GLANCE, Shown, for_people};
use crate::output::Event;
use anstyle::Style;
use bottle_core::slug::Slug;
use bottle_core::visible;
use bottle_host::audit::{Entry, Merged};
use bottle_host::failure::Outcome;
use bottle_host::out;
use bottle_host::state::{Folder, Home};
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

/// How often a follower of all bottles looks for new ones.
const SEARCH: Duration = Duration::from_secs(1);

pub fn events(context: &Context, slug: Option<Slug>, shown: Shown, json: bool) -> Outcome {
    let home = Home::find()?;
    let mut streams = Streams::default();
    let all = slug.is_none();
    match slug {
        Some(slug) => streams.add(&super::logs::with_log(context, Some(slug))?)?,
        None => streams.search(&home)?,
    }
    let mut searched = Instant::now();
    loop {
        while let Some((slug, entry)) = streams.next_entry()? {
            if !shown.includes_entry(&entry) {
                continue;
            }
            if json {
                out::json_line(&Event { bottle: &slug, entry: &entry })?;
            } else {
                let [time, event, details] = for_people(&entry);
                out::styled(&[(Style::new(), format!("{:<16} ", slug.as_str())), time, event, details])?;
            }
        }
        if !shown.follow {
            return Ok(());
        }
        if out::is_abandoned() {
            return Err(out::gone());
        }
        thread::sleep(GLANCE);
        if all && searched.elapsed() > SEARCH {
            streams.search(&home)?;
            searched = Instant::now();
        }
    }
}

/// The logs of several bottles, each with its next line.
#[derive(Default)]
struct Streams(BTreeMap<Slug, (Merged, Option<Entry>)>);

impl Streams {
    fn add(&mut self, folder: &Folder) -> Outcome {
        let merged = Merged::new(&folder.audit(), &folder.decisions())?;
        self.0.insert(folder.slug().clone(), (merged, None));
        Ok(())
    }

    /// Adds the bottles that are not there yet.
    fn search(&mut self, home: &Home) -> Outcome {
        for folder in home.bottles()? {
            if !self.0.contains_key(folder.slug()) {
                self.add(&folder)?;
            }
        }
        Ok(())
    }

    /// Returns the oldest line of those that come next. A line that cannot be read is told of, and left out: it
    /// has no time. `bottle audit --check` says what is wrong with it.
    fn next_entry(&mut self) -> Outcome<Option<(Slug, Entry)>> {
        for (slug, (merged, next)) in &mut self.0 {
            while next.is_none() {
                match merged.next_line()? {
                    Some(Ok(entry)) => *next = Some(entry),
                    Some(Err(line)) => {
                        out::note(format_args!("{slug}: not a line of the log: {}", visible::Line(&line)));
                    }
                    None => break,
                }
            }
        }
        let oldest =
            self.0.iter_mut().filter_map(|(slug, (_, next))| Some((next.as_ref()?.time_ms, slug, next)));
        let Some((_, slug, next)) = oldest.min_by_key(|(time, ..)| *time) else { return Ok(None) };
        Ok(next.take().map(|entry| (slug.clone(), entry)))
    }
}
