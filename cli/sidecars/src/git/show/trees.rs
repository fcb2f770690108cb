//! Shows the difference between two trees, file by file.

use super::extent::Extent;
use super::{Part, Sink};
use crate::git::judge::each_difference;
use crate::git::objects::contents;
use crate::git::quarantine::Quarantine;
use anyhow::{Context, Result};
use bottle_core::git::listed::{self, Differs, Entry, Object};
use bottle_core::git::name::ObjectId;
use bottle_core::visible::Bytes;
use bottle_host::difference::Difference;
use bottle_host::failure::Outcome;
use similar::{Algorithm, TextDiff};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Read;
use std::time::Duration;

/// How long the comparison of one file may take before it becomes coarse.
const COMPARISON: Duration = Duration::from_secs(2);
/// How many files one git process reads.
const MAX_AT_ONCE: usize = 500;

type Sizes = BTreeMap<ObjectId, Object>;
type Contents = BTreeMap<ObjectId, Vec<u8>>;

impl Quarantine {
    pub(super) fn trees(
        &self,
        base: Option<&ObjectId>,
        new: &ObjectId,
        extent: Extent,
        sink: Sink<'_>,
    ) -> Outcome {
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
        sink(Part::Note(format!("files that differ: {}\n", differ.len() + more)))?;
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
                let file = self.file(differs, &sizes, &held)?;
                shown += file.len();
                sink(Part::File(file))?;
            }
        }
        left += rest.len();
        if left + more > 0 {
            let left = left + more;
            sink(Part::Note(format!("\n{left} more files differ and are not shown: --all shows them")))?;
        }
        Ok(())
    }

    /// Returns the sizes of the entries' blobs.
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
        let said = self.git().args(["cat-file", "--batch-check", "--buffer"]).input(asked).output()?;
        let lines = said.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let objects = lines.map(listed::object).collect::<Result<Vec<_>, _>>()?;
        Ok(objects.into_iter().map(|object| (object.id.clone(), object)).collect())
    }

    /// Returns the contents of the files to compare line by line.
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

    /// Describes one differing entry.
    fn file(&self, differs: &Differs, sizes: &Sizes, held: &Contents) -> Result<Difference> {
        let name = Bytes(&differs.path).to_string();
        let letter = match (&differs.old, &differs.new) {
            (None, _) => 'A',
            (_, None) => 'D',
            _ => 'M',
        };
        let mut shown = Difference { title: format!("{letter} {name}"), ..Difference::default() };
        match (&differs.old, &differs.new) {
            (Some(old), Some(new)) if old.mode != new.mode => {
                shown.notes.push(format!(
                    "mode {:06o} ({}) -> {:06o} ({})",
                    old.mode,
                    kind(old),
                    new.mode,
                    kind(new)
                ));
            }
            (Some(one), None) | (None, Some(one)) if one.mode != 0o100_644 => {
                shown.notes.push(format!("mode {:06o} ({})", one.mode, kind(one)));
            }
            _ => {}
        }
        if differs.old.as_ref().map(|entry| &entry.id) == differs.new.as_ref().map(|entry| &entry.id) {
            return Ok(shown);
        }
        let side = |entry: &Option<Entry>| self.side(entry.as_ref(), sizes, held);
        let (old, new) = (side(&differs.old)?, side(&differs.new)?);
        if let (Side::Text(old), Side::Text(new)) = (&old, &new) {
            let named = |entry: &Option<Entry>, letter: char| {
                entry.as_ref().map_or_else(|| "/dev/null".to_owned(), |_| format!("{letter}/{name}"))
            };
            let diff =
                TextDiff::configure().algorithm(Algorithm::Myers).timeout(COMPARISON).diff_lines(old, new);
            shown.compare(&diff, named(&differs.old, 'a'), named(&differs.new, 'b'));
        } else {
            for (sign, side) in [('-', old), ('+', new)] {
                match side {
                    Side::Text(text) if text.is_empty() => {}
                    Side::Text(text) => shown.sides.push(format!("{sign} {} bytes of text", text.len())),
                    Side::Other(what) => shown.sides.push(format!("{sign} {what}")),
                }
            }
        }
        Ok(shown)
    }

    fn side(&self, entry: Option<&Entry>, sizes: &Sizes, held: &Contents) -> Result<Side> {
        let Some(entry) = entry else { return Ok(Side::Text(String::new())) };
        if is_submodule(entry) {
            return Ok(Side::Other(format!("submodule at {}", entry.id)));
        }
        let object = sizes.get(&entry.id).context("git listed no size for a file")?;
        Ok(match held.get(&entry.id) {
            None => Side::Other(format!(
                "{} bytes, too many to compare; `git --git-dir {} cat-file blob {} > FILE` saves them",
                object.size,
                self.dir.display(),
                entry.id
            )),
            Some(bytes) if bytes.contains(&0) => {
                Side::Other(format!("{} bytes that are not text", bytes.len()))
            }
            Some(bytes) => Side::Text(lines(bytes)),
        })
    }
}

fn sides(differs: &Differs) -> impl Iterator<Item = &Entry> {
    [&differs.old, &differs.new].into_iter().flatten()
}

/// Returns how many of these entries are read at once: as many as fit, but at least one.
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

/// Returns bytes as lines of text. Bytes that are not UTF-8 are escaped.
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
