//! How much a tree unfolds to. A tree can contain the same folder twice, which contains another one twice,
//! and so on: a few kilobytes, and millions of files. So it is weighed before anybody walks it.

use super::name::ObjectId;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// Bytes that are not a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("git gave a malformed tree")]
pub struct InvalidTree;

/// What one tree contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Held {
    files: u64,
    folders: Vec<ObjectId>,
}

/// Trees to weigh together.
#[derive(Clone, Debug, Default)]
pub struct Trees(BTreeMap<ObjectId, Held>);

/// What a tree unfolds to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// The number of files.
    pub files: u64,
    /// How deep folders are nested.
    pub depth: usize,
}

impl Trees {
    /// Adds a tree as git stores it: `MODE NAME`, a NUL and the bytes of an id for each entry.
    ///
    /// # Errors
    /// Returns an error if the bytes are not a tree.
    pub fn add(&mut self, id: ObjectId, mut bytes: &[u8]) -> Result<(), InvalidTree> {
        let len = id.as_str().len() / 2;
        let mut held = Held::default();
        while !bytes.is_empty() {
            let mode = bytes.iter().position(|byte| *byte == b' ').ok_or(InvalidTree)?;
            let name = bytes[mode..].iter().position(|byte| *byte == 0).ok_or(InvalidTree)? + mode;
            let object = bytes.get(name + 1..name + 1 + len).ok_or(InvalidTree)?;
            if matches!(&bytes[..mode], b"40000" | b"040000") {
                let object: String = object.iter().map(|byte| format!("{byte:02x}")).collect();
                held.folders.push(object.parse().map_err(|_| InvalidTree)?);
            } else {
                held.files += 1;
            }
            bytes = &bytes[name + 1 + len..];
        }
        self.0.insert(id, held);
        Ok(())
    }

    /// Weighs the trees and returns the most files and the greatest depth among them. A folder that is not
    /// among them was there before and weighs nothing.
    pub fn heaviest(&self) -> Weight {
        let mut weighed: BTreeMap<&ObjectId, Weight> = BTreeMap::new();
        let mut heaviest = Weight::default();
        for id in self.0.keys() {
            // No recursion: they may be nested as deep as there are trees.
            let mut stack = vec![(id, false)];
            while let Some((id, below_is_done)) = stack.pop() {
                let Some(held) = self.0.get(id) else { continue };
                if !below_is_done {
                    // No hash leads back to itself. If one ever does, it weighs nothing the second time.
                    if weighed.contains_key(id) {
                        continue;
                    }
                    weighed.insert(id, Weight::default());
                    stack.push((id, true));
                    stack.extend(held.folders.iter().map(|folder| (folder, false)));
                    continue;
                }
                let below = held.folders.iter().filter_map(|folder| weighed.get(folder));
                let (mut files, mut depth) = (held.files, 0);
                for weight in below {
                    files = files.saturating_add(weight.files);
                    depth = depth.max(weight.depth);
                }
                let weight = Weight { files, depth: depth + 1 };
                heaviest = Weight { files: heaviest.files.max(files), depth: heaviest.depth.max(depth + 1) };
                weighed.insert(id, weight);
            }
        }
        heaviest
    }
}
