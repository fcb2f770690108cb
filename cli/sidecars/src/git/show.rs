//! What a push would change at the upstream, for a person: the difference between two trees, what the
//! upstream has and what was pushed. Whatever a merge brings is in it, whoever wrote it.
//!
//! Made here and not by `git diff`: no attribute decides what is shown, every name and every line
//! passes the one output layer, and what is left out is counted.

use super::judge::each_difference;
use super::objects::contents;
use super::quarantine::{Quarantine, UPSTREAM, Waiting};
use anyhow::{Context, Result, bail};
use bottle_core::git::listed::{self, Differs, Entry, Object};
use bottle_core::git::name::ObjectId;
use bottle_core::visible::{Bytes, Line};
use bottle_host::defence::Defence;
use bottle_host::failure::Outcome;
use bottle_host::{out, outln};
use similar::{Algorithm, TextDiff};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Read;
use std::time::Duration;

/// How long the comparison of one file may take before it becomes coarse.
const COMPARISON: Duration = Duration::from_secs(2);
/// How many commits are listed.
const MAX_COMMITS: usize = 200;
/// How many files are read by one git.
const MAX_AT_ONCE: usize = 500;
/// How many upstream branches are asked for what a new branch starts from.
const MAX_BRANCHES: usize = 200;

/// How much is shown.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// The longest file that is compared line by line, in bytes.
    file: u64,
    /// The most text in all.
    text: usize,
    /// The most entries that are looked at.
    entries: usize,
}

impl Extent {
    /// What a person reads.
    pub const USUAL: Self = Self { file: 1 << 20, text: 1 << 20, entries: 5000 };
    /// As much as can be.
    pub const ALL: Self = Self { file: 32 << 20, text: 256 << 20, entries: 1_000_000 };
}

impl Quarantine {
    /// Shows what a push changes.
    ///
    /// # Errors
    /// Where git cannot say, or the terminal is gone.
    pub fn show(&self, waiting: &Waiting, extent: Extent) -> Outcome {
        outln!("{}", Line(&waiting.name))?;
        outln!("pushed    {}", waiting.state())?;
        outln!("upstream  {}", waiting.old.as_ref().map_or("does not have it", ObjectId::as_str))?;
        let Some(new) = &waiting.new else {
            outln!("\nthe push deletes it")?;
            return Ok(());
        };
        out::text(self.commits(new)?)?;
        if !Defence::GitTrees.stands() {
            return out::text(self.patches(waiting, new)?);
        }
        let base = self.base(waiting, new)?;
        if waiting.old.is_none() {
            match &base {
                Some(base) => outln!("compared with {base}, where it leaves what the upstream has")?,
                None => outln!("it shares nothing with what the upstream has: all of it is new")?,
            }
        }
        self.trees(base.as_ref(), new, extent)
    }

    /// The commits that the upstream does not have, the newest first.
    fn commits(&self, new: &ObjectId) -> Result<String> {
        let format = "--format=%H%x00%P%x00%an%x00%s%x00";
        let words =
            ["log", format, "--topo-order", new.as_str(), "--not", &format!("--glob={UPSTREAM}*"), "--"];
        let said =
            self.git().args([words[0], "--encoding=UTF-8", &format!("--max-count={}", MAX_COMMITS + 1)]);
        let said = said.args(&words[1..]).said()?;
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

    /// What a push is compared with: what the upstream has under the same name; for a new branch,
    /// where it leaves the upstream's history.
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
            let found = self.git().args(["merge-base", new.as_str()]).args(&others).end()?;
            if let Ok(base) = String::from_utf8_lossy(&found.out).trim().parse() {
                return Ok(Some(base));
            }
        }
        Ok(None)
    }

    fn trees(&self, base: Option<&ObjectId>, new: &ObjectId, extent: Extent) -> Outcome {
        let old = match base {
            Some(base) => self.git().args(["rev-parse", "--verify", &format!("{base}^{{tree}}")]).text()?,
            None => new.empty_tree().to_owned(),
        };
        let tree = self.git().args(["rev-parse", "--verify", &format!("{new}^{{tree}}")]).text()?;
        let (mut differ, mut more) = (Vec::new(), 0_usize);
        each_difference(self.git(), &format!("{old} {tree}\n"), &mut |_, differs| {
            if differ.len() < extent.entries {
                differ.push(differs);
            } else {
                more += 1;
            }
            Ok(())
        })?;
        let sizes = self.sizes(&differ)?;
        outln!("files that differ: {}\n", differ.len() + more)?;
        let mut shown = 0;
        let mut left = 0_usize;
        let mut rest = differ.as_slice();
        while !rest.is_empty() && shown < extent.text {
            let (some, others) = rest.split_at(some(rest, &sizes, extent));
            rest = others;
            let held = self.contents(some, &sizes, extent)?;
            for differs in some {
                if shown >= extent.text {
                    left += 1;
                    continue;
                }
                let text = self.file(differs, &sizes, &held)?;
                shown += text.len();
                out::text(text)?;
            }
        }
        left += rest.len();
        if left + more > 0 {
            outln!("\n{} more files differ and are not shown: --all shows them", left + more)?;
        }
        Ok(())
    }

    /// The sizes of the blobs of some entries.
    fn sizes(&self, differ: &[Differs]) -> Result<Sizes> {
        let ids: BTreeSet<&ObjectId> = differ
            .iter()
            .flat_map(sides)
            .filter(|entry| !is_submodule(entry))
            .map(|entry| &entry.id)
            .collect();
        if ids.is_empty() {
            return Ok(Sizes::new());
        }
        let asked: String = ids.iter().map(|id| format!("{id}\n")).collect();
        let said = self.git().args(["cat-file", "--batch-check", "--buffer"]).input(asked).said()?;
        let lines = said.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let objects = lines.map(listed::object).collect::<Result<Vec<_>, _>>()?;
        Ok(objects.into_iter().map(|object| (object.id.clone(), object)).collect())
    }

    /// The content of what is compared line by line.
    fn contents(&self, differ: &[Differs], sizes: &Sizes, extent: Extent) -> Result<Contents> {
        let ids: BTreeSet<&ObjectId> = differ.iter().flat_map(sides).map(|entry| &entry.id).collect();
        let objects: Vec<Object> = ids
            .iter()
            .filter_map(|id| sizes.get(*id))
            .filter(|object| object.size <= extent.file)
            .cloned()
            .collect();
        let mut held = Contents::new();
        contents(self.git(), &objects, &mut |object, content: &mut dyn Read| {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes)?;
            held.insert(object.id.clone(), bytes);
            Ok(())
        })?;
        Ok(held)
    }

    /// One entry that differs.
    fn file(&self, differs: &Differs, sizes: &Sizes, held: &Contents) -> Result<String> {
        let name = Bytes(&differs.path).to_string();
        let mut text = String::new();
        let letter = match (&differs.old, &differs.new) {
            (None, _) => 'A',
            (_, None) => 'D',
            _ => 'M',
        };
        writeln!(text, "{letter} {name}")?;
        match (&differs.old, &differs.new) {
            (Some(old), Some(new)) if old.mode != new.mode => {
                writeln!(text, "mode {:06o} ({}) -> {:06o} ({})", old.mode, kind(old), new.mode, kind(new))?;
            }
            (Some(one), None) | (None, Some(one)) if one.mode != 0o100_644 => {
                writeln!(text, "mode {:06o} ({})", one.mode, kind(one))?;
            }
            _ => {}
        }
        if differs.old.as_ref().map(|entry| &entry.id) == differs.new.as_ref().map(|entry| &entry.id) {
            return Ok(text);
        }
        let side = |entry: &Option<Entry>| self.side(entry.as_ref(), sizes, held);
        let (old, new) = (side(&differs.old)?, side(&differs.new)?);
        if let (Side::Text(old), Side::Text(new)) = (&old, &new) {
            let named = |entry: &Option<Entry>, letter: char| {
                entry.as_ref().map_or_else(|| "/dev/null".to_owned(), |_| format!("{letter}/{name}"))
            };
            let diff =
                TextDiff::configure().algorithm(Algorithm::Myers).timeout(COMPARISON).diff_lines(old, new);
            let (old, new) = (named(&differs.old, 'a'), named(&differs.new, 'b'));
            write!(text, "{}", diff.unified_diff().context_radius(3).header(&old, &new))?;
        } else {
            for (sign, side) in [('-', old), ('+', new)] {
                match side {
                    Side::Text(shown) if shown.is_empty() => {}
                    Side::Text(shown) => writeln!(text, "{sign} {} bytes of text", shown.len())?,
                    Side::Other(what) => writeln!(text, "{sign} {what}")?,
                }
            }
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
        Ok(text)
    }

    fn side(&self, entry: Option<&Entry>, sizes: &Sizes, held: &Contents) -> Result<Side> {
        let Some(entry) = entry else { return Ok(Side::Text(String::new())) };
        if is_submodule(entry) {
            return Ok(Side::Other(format!("submodule at {}", entry.id)));
        }
        let object = sizes.get(&entry.id).context("a file without a size")?;
        Ok(match held.get(&entry.id) {
            None => Side::Other(format!(
                "{} bytes, too many to be compared; `git --git-dir {} cat-file blob {} > FILE` writes them",
                object.size,
                self.dir.display(),
                entry.id
            )),
            Some(bytes) if bytes.contains(&0) => {
                Side::Other(format!("{} bytes that are no text", bytes.len()))
            }
            Some(bytes) => Side::Text(lines(bytes)),
        })
    }

    /// What git itself shows of a push.
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

type Sizes = BTreeMap<ObjectId, Object>;
type Contents = BTreeMap<ObjectId, Vec<u8>>;

fn sides(differs: &Differs) -> impl Iterator<Item = &Entry> {
    [&differs.old, &differs.new].into_iter().flatten()
}

/// How many of these entries are read at once: as many as fit, and one at least.
fn some(differ: &[Differs], sizes: &Sizes, extent: Extent) -> usize {
    let mut held = 0;
    let fit = differ.iter().take(MAX_AT_ONCE).take_while(|differs| {
        let new = sides(differs).filter_map(|entry| sizes.get(&entry.id)).map(|object| object.size);
        held += new.filter(|size| *size <= extent.file).sum::<u64>();
        held <= extent.file
    });
    fit.count().max(1)
}

/// One side of a comparison.
enum Side {
    Text(String),
    Other(String),
}

/// Bytes as lines of text: what is not UTF-8 is shown as what it is.
fn lines(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

fn short(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes).chars().take(200).collect();
    Line(&text).to_string()
}

fn is_submodule(entry: &Entry) -> bool {
    entry.mode == 0o160_000
}

fn kind(entry: &Entry) -> &'static str {
    match entry.mode {
        0o100_644 => "a file",
        0o100_755 => "a program",
        0o120_000 => "a link",
        0o160_000 => "a submodule",
        _ => "something else",
    }
}

/// Sees that a push is what a person saw.
///
/// # Errors
/// Where it is something else now.
pub fn as_seen(waiting: &Waiting, seen: &str) -> Result<()> {
    if waiting.state() != seen && Defence::ShownIsApproved.stands() {
        bail!("{} is {} now: it changed since; look again", Line(&waiting.branch), waiting.state());
    }
    Ok(())
}
