//! Trust boundary: what a guest left in its copy of the project, as a listing.
//! Property: what may be applied is never a name for git, never in a folder that git takes for a
//! repository, never behind a link of the project, never a link that leads out; and no change is lost.
#![no_main]

#[path = "../../cli/host/tests/apply_plan/model.rs"]
mod model;

use arbitrary::Arbitrary;
use bottle_host::workspace::tree::Entry;
use libfuzzer_sys::fuzz_target;
use model::{NAMES, Tree};
use std::path::PathBuf;

#[derive(Arbitrary, Debug)]
enum Thing {
    Folder,
    File { mode: u16, len: u8 },
    Link(String),
    Special,
}

#[derive(Arbitrary, Debug)]
struct Copy {
    was: Vec<(Vec<u8>, Thing)>,
    now: Vec<(Vec<u8>, Thing)>,
    ours: Vec<(Vec<u8>, Thing)>,
    overwrite: bool,
}

fn tree(things: Vec<(Vec<u8>, Thing)>) -> Tree {
    model::tree(things.into_iter().filter(|(choices, _)| !choices.is_empty()).map(|(choices, thing)| {
        let names = choices.iter().take(6).map(|choice| NAMES[usize::from(*choice) % NAMES.len()]);
        let entry = match thing {
            Thing::Folder => Entry::Folder,
            Thing::File { mode, len } => Entry::File { mode: u32::from(mode) & 0o777, len: len.into(), changed: 0 },
            Thing::Link(target) => Entry::Link(target.replace('\0', "/").into()),
            Thing::Special => Entry::Special,
        };
        (names.collect::<PathBuf>(), entry)
    }))
}

fuzz_target!(|copy: Copy| {
    model::check(tree(copy.was), tree(copy.now), tree(copy.ours), copy.overwrite);
});
