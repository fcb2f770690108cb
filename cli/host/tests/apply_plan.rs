//! Tries trees that guests could leave on the model of what may be applied.

#[path = "apply_plan/model.rs"]
mod model;

use bottle_host::workspace::tree::Entry;
use model::{NAMES, Tree, check};
use proptest::prelude::*;
use std::path::PathBuf;

fn entry() -> impl Strategy<Value = Entry> {
    prop_oneof![
        Just(Entry::Folder),
        (0_u32..0o1000, 0_u64..3).prop_map(|(mode, len)| Entry::File { mode, len, changed: 0 }),
        "(\\.\\./){0,3}(a|b|/etc|\\.git)(/\\.\\.){0,2}(/a)?".prop_map(|target| Entry::Link(target.into())),
        Just(Entry::Special),
    ]
}

fn tree() -> impl Strategy<Value = Tree> {
    let path = proptest::collection::vec(proptest::sample::select(&NAMES[..]), 1..4)
        .prop_map(|names| names.iter().collect::<PathBuf>());
    proptest::collection::vec((path, entry()), 0..12).prop_map(model::tree)
}

/// Adds to a tree whatever fits from another one.
fn both(mut tree: Tree, other: Tree) -> Tree {
    for (path, entry) in other {
        let fits =
            path.ancestors().skip(1).all(|above| tree.get(above).is_none_or(|entry| *entry == Entry::Folder));
        let is_free = !tree.keys().any(|known| known != &path && known.starts_with(&path));
        if fits && (is_free || entry == Entry::Folder) {
            tree.insert(path, entry);
        }
    }
    tree
}

/// Generates three trees that are often alike at first, because most of a copy does not change.
fn three() -> impl Strategy<Value = [Tree; 3]> {
    (tree(), tree(), tree(), any::<[bool; 2]>()).prop_map(|(was, now, ours, fresh)| {
        let now = if fresh[0] { now } else { both(was.clone(), now) };
        let ours = if fresh[1] { ours } else { was.clone() };
        [was, now, ours]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn what_is_taken_harms_nobody_and_nothing_is_kept_silent_about([was, now, ours] in three(), overwrite: bool) {
        check(was, now, ours, overwrite);
    }
}
