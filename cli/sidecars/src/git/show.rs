//! Shows a person what a push would change at the upstream: the difference between the upstream's tree and
//! the pushed one. It contains everything that a merge brings, whoever wrote it.
//!
//! The difference is computed here and not by `git diff`: no attribute decides what is shown, every name and
//! every line passes through the output layer, and omissions are counted.

mod extent;
mod trees;

pub use extent::Extent;

use super::quarantine::{Quarantine, UPSTREAM, Waiting};
use anyhow::{Result, bail};
use bottle_core::git::name::ObjectId;
use bottle_core::visible::Line;
use bottle_host::defence::Defence;
use bottle_host::difference::Difference;
use bottle_host::failure::Outcome;
use bottle_host::out;
use std::fmt::Write as _;

/// How many commits are listed.
const MAX_COMMITS: usize = 200;
/// How many of the operator's own commits are listed.
const MAX_OWN: usize = 20;
/// How many upstream branches are searched for the point where a new branch starts.
const MAX_BRANCHES: usize = 200;

/// A part of what a push changes.
#[derive(Clone, Debug)]
pub enum Part {
    /// One line, or several.
    Note(String),
    /// A file that differs.
    File(Difference),
}

/// Takes the parts, one after the other. Everything in them that a guest wrote may still control a terminal,
/// except names: the output layer escapes it.
pub type Sink<'s> = &'s mut dyn FnMut(Part) -> Outcome;

impl Quarantine {
    /// Prints what a push changes.
    ///
    /// # Errors
    /// Returns an error if git fails, or the terminal is gone.
    pub fn show(&self, waiting: &Waiting, extent: Extent) -> Outcome {
        self.compare(waiting, extent, &mut |part| match part {
            Part::Note(note) => out::line(note),
            Part::File(file) => out::text(file),
        })
    }

    /// Compares a push with what its upstream has.
    ///
    /// # Errors
    /// Returns an error if git fails, or the error of `sink`.
    pub fn compare(&self, waiting: &Waiting, extent: Extent, sink: Sink<'_>) -> Outcome {
        let mut note = |note: String| sink(Part::Note(note));
        note(Line(&waiting.name).to_string())?;
        note(format!("pushed    {}", waiting.state()))?;
        let upstream = waiting.old.as_ref().map_or("does not have it", ObjectId::as_str);
        note(format!("upstream  {upstream}"))?;
        let Some(new) = &waiting.new else { return note("\nthe push deletes it".to_owned()) };
        note(self.commits(new)?.trim_end().to_owned())?;
        let own = self.own_commits(new)?;
        if !own.is_empty() {
            let many = own.len();
            note(format!("with it go {many} commits of yours that the upstream does not have yet:"))?;
            own.iter().take(MAX_OWN).try_for_each(|commit| note(format!("  {}", Line(commit))))?;
            if own.len() > MAX_OWN {
                note(format!("  and {} more", own.len() - MAX_OWN))?;
            }
        }
        if !Defence::GitTrees.stands() {
            return note(self.patches(waiting, new)?.trim_end().to_owned());
        }
        let base = self.base(waiting, new)?;
        if waiting.old.is_none() {
            match &base {
                Some(base) => note(format!("compared with {base}, where it leaves what the upstream has"))?,
                None => note("it shares nothing with what the upstream has: all of it is new".to_owned())?,
            }
        }
        self.trees(base.as_ref(), new, extent, sink)
    }

    /// Lists the commits that the upstream does not have, the newest first.
    fn commits(&self, new: &ObjectId) -> Result<String> {
        let format = "--format=%H%x00%P%x00%an%x00%s%x00";
        let words =
            ["log", format, "--topo-order", new.as_str(), "--not", &format!("--glob={UPSTREAM}*"), "--"];
        let said =
            self.git().args([words[0], "--encoding=UTF-8", &format!("--max-count={}", MAX_COMMITS + 1)]);
        let said = said.args(&words[1..]).output()?;
        let mut fields = said.split(|byte| *byte == 0);
        let mut text = String::new();
        let mut count = 0;
        while let (Some(id), Some(parents), Some(author), Some(subject)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        {
            count += 1;
            if count > MAX_COMMITS {
                writeln!(text, "  and more")?;
                break;
            }
            let merge = if parents.contains(&b' ') { "merge, " } else { "" };
            let id = String::from_utf8_lossy(id.trim_ascii()).into_owned();
            let (author, subject) = (short(author), short(subject));
            writeln!(text, "  {}  {merge}{author}: {subject}", id.get(..12).unwrap_or(&id))?;
        }
        Ok(format!("commits that the upstream does not have: {}\n{text}", count.min(MAX_COMMITS)))
    }

    /// Returns the commit to compare a push with: the upstream's for the same ref, or, for a new branch, the
    /// point where it leaves the upstream's history.
    fn base(&self, waiting: &Waiting, new: &ObjectId) -> Result<Option<ObjectId>> {
        if let Some(old) = &waiting.old {
            return Ok(Some(old.clone()));
        }
        let head = self.git().args(["symbolic-ref", "--quiet", "HEAD"]).text().unwrap_or_default();
        let main = format!("{UPSTREAM}{}", head.trim_start_matches("refs/"));
        let count = format!("--count={MAX_BRANCHES}");
        let all =
            self.git().args(["for-each-ref", &count, "--format=%(objectname)", &format!("{UPSTREAM}heads")]);
        let all: Vec<String> = all.text()?.lines().map(str::to_owned).collect();
        for others in [vec![main], all] {
            if others.is_empty() {
                continue;
            }
            let found = self.git().args(["merge-base", new.as_str()]).args(&others).finish()?;
            if let Ok(base) = String::from_utf8_lossy(&found.stdout).trim().parse() {
                return Ok(Some(base));
            }
        }
        Ok(None)
    }

    /// Returns git's own patch of a push.
    fn patches(&self, waiting: &Waiting, new: &ObjectId) -> Result<String> {
        let git = match &waiting.old {
            Some(old) => self.git().args(["diff", "--stat", "--patch", &format!("{old}...{new}")]),
            None => self.git().args([
                "log",
                "--stat",
                "--patch",
                "--reverse",
                new.as_str(),
                "--not",
                &format!("--glob={UPSTREAM}*"),
            ]),
        };
        Ok(git.text()? + "\n")
    }
}

fn short(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes).chars().take(200).collect();
    Line(&text).to_string()
}

/// Checks that a push is still what a person saw.
///
/// # Errors
/// Returns an error if it has changed.
pub fn as_seen(waiting: &Waiting, seen: &str) -> Result<()> {
    if waiting.state() != seen && Defence::ShownIsApproved.stands() {
        bail!("{} is {} now: it changed since; look again", Line(&waiting.branch), waiting.state());
    }
    Ok(())
}
