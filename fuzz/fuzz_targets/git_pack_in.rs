//! Trust boundary: the contents of a push, as git lists them to the hook, and its trees.
//! Property: reading never panics, gives what was written, and weighs a tree without walking it.
#![no_main]

use bottle_core::git::listed::{Command, Piece, object, piece};
use bottle_core::git::name::ObjectId;
use bottle_core::git::tree::Trees;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(command) = Command::read(line) {
            let null = "0".repeat(line.iter().position(|byte| *byte == b' ').unwrap());
            let text = |id: &Option<ObjectId>| id.as_ref().map_or(null.clone(), |id| id.as_str().to_owned());
            if let Ok(line) = std::str::from_utf8(line) {
                let again = format!("{} {} {}", text(&command.old), text(&command.new), command.name);
                assert!(again == line || again.len() != line.len());
            }
        }
        if let Ok(Piece::Entry(old, new)) = piece(line) {
            assert!(old.iter().chain(&new).all(|entry| entry.mode != 0));
        }
        if let Ok(object) = object(line) {
            assert_eq!(format!("{} {} {}", object.id, object.kind, object.size).len() <= line.len(), true);
        }
    }
    let mut trees = Trees::default();
    for (number, tree) in data.chunks(64).enumerate() {
        let _ = trees.add(format!("{:040x}", number + 1).parse().unwrap(), tree);
    }
    let _ = trees.add(format!("{:064x}", 1).parse().unwrap(), data);
    assert!(trees.heaviest().depth <= data.len() / 64 + 2);
});
