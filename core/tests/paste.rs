//! What a person types and pastes reaches a guest's program unchanged, but for paths of files that the guest has, too.

use bottle_core::paste::{MOST, Pastes};
use proptest::prelude::*;

/// What the guest has: everything below one folder.
fn place(path: &str) -> Option<String> {
    let below = path.strip_prefix("/home/me/it's a \"project\"/")?;
    (!below.is_empty()).then(|| format!("/workspace/{below}"))
}

/// Passes bytes in pieces, and in the end whatever waited.
fn passed(pieces: &[&[u8]], place: fn(&str) -> Option<String>) -> Vec<u8> {
    let mut pastes = Pastes::default();
    let mut all: Vec<u8> = pieces.iter().flat_map(|piece| pastes.pass(piece, place)).collect();
    all.extend(pastes.let_go());
    all
}

fn paste(text: &str) -> String {
    format!("\x1b[200~{text}\x1b[201~")
}

fn becomes(text: &str) -> String {
    let all = passed(&[paste(text).as_bytes()], place);
    let all = String::from_utf8(all).unwrap();
    all.strip_prefix("\x1b[200~").unwrap().strip_suffix("\x1b[201~").unwrap().to_owned()
}

#[test]
fn paths_become_the_guests_in_the_way_that_they_were_written() {
    let folder = "/home/me/it's a \"project\"";
    for (pasted, expected) in [
        (format!("{folder}/a b.png"), "/workspace/a b.png"),
        (r#"'/home/me/it'\''s a "project"/a.png' "#.to_owned(), "'/workspace/a.png' "),
        (r#""/home/me/it's a \"project\"/it's""#.to_owned(), r"'/workspace/it'\''s'"),
        (r#"/home/me/it\'s\ a\ \"project\"/a\ b.png"#.to_owned(), r"/workspace/a\ b.png"),
        (
            "file:///home/me/it's%20a%20%22project%22/%C3%A4%20b.png".to_owned(),
            "file:///workspace/%C3%A4%20b.png",
        ),
        ("file://localhost/home/me/it's%20a%20%22project%22/b".to_owned(), "file:///workspace/b"),
        (
            r#"/home/me/it\'s\ a\ \"project\"/a '/home/me/it'\''s a "project"/b'"#.to_owned(),
            "/workspace/a '/workspace/b'",
        ),
        ("\n".to_owned() + &format!("{folder}/a") + "\r\n", "\n/workspace/a\r\n"),
    ] {
        assert_eq!(becomes(&pasted), expected, "{pasted}");
    }
}

#[test]
fn what_is_not_wholly_paths_of_the_guests_files_stays() {
    for text in [
        "",
        " ",
        "/home/me/other/a.png",
        "see '/home/me/it'\\''s a \"project\"/a.png'",
        "'/home/me/it'\\''s a \"project\"/a.png' and more",
        "'/home/me/it'\\''s a \"project\"/a.png' /home/me/other",
        "'/home/me/it'\\''s a \"project\"/a.png",
        "/home/me/it\\'s\\ a\\ \\\"project\\\"/a\\",
        "file://elsewhere/home/me/it's%20a%20%22project%22/b",
        "file:///home/me/it's%20a%20%22project%22/b?c",
        "file:///home/me/it's%20a%20%22project%22/b%1b[201~",
        "file:///home/me/it's%20a%20%22project%22/b%0Ac",
        "home/me/it's a \"project\"/a.png",
        "/home/me/it's a \"project\"/a\tb",
    ] {
        assert_eq!(becomes(text), text);
    }
    // A file's name that would end the paste, or add a line to it.
    let odd = |_: &str| Some("/workspace/\x1b[201~rm".to_owned());
    assert_eq!(passed(&[paste("/a").as_bytes()], odd), paste("/a").as_bytes());
}

#[test]
fn no_key_waits_and_no_paste_is_held_for_good() {
    let mut pastes = Pastes::default();
    for keys in ["\x1b", "[", "20", "0~"] {
        assert_eq!(pastes.pass(keys.as_bytes(), place), keys.as_bytes());
    }
    // It may become a path, and a person may have typed it.
    assert_eq!(pastes.pass(b"/home", place), b"");
    assert!(pastes.holds());
    assert_eq!(pastes.let_go(), b"/home");
    assert!(!pastes.holds());
    assert_eq!(pastes.pass(b"/me\x1b[201~/x", place), b"/me\x1b[201~/x");
    // The next one is looked at again.
    assert_eq!(
        pastes.pass(b"\x1b[200~/home/me/it's a \"project\"/a\x1b[201~", place),
        paste("/workspace/a").as_bytes()
    );
    // A text goes on at once, and so does a long path.
    assert_eq!(pastes.pass(b"\x1b[200~text", place), b"\x1b[200~text");
    assert!(!pastes.holds());
    assert_eq!(pastes.pass(b"\x1b[201~", place), b"\x1b[201~");
    let long = format!("\x1b[200~/{}", "a".repeat(MOST));
    assert_eq!(pastes.pass(long.as_bytes(), place), long.as_bytes());
}

/// Keys, marks and texts as a terminal could send them, and any bytes.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        "[ -~]{0,20}".prop_map(String::into_bytes),
        Just(b"\x1b[200~".to_vec()),
        Just(b"\x1b[201~".to_vec()),
        Just(b"\x1b".to_vec()),
        Just(b"/home/me/it's a \"project\"/a".to_vec()),
        Just(b"'/home/me/it'\\''s a \"project\"/a' ".to_vec()),
        Just(b"file:///home/me/it's%20a%20%22project%22/b".to_vec()),
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn without_a_file_of_the_guests_every_byte_passes(bytes in input(), at in any::<prop::sample::Index>()) {
        let (first, second) = bytes.split_at(at.index(bytes.len() + 1));
        prop_assert_eq!(passed(&[first, second], |_| None), bytes);
    }

    #[test]
    fn it_does_not_matter_how_the_bytes_arrive(bytes in input(), size in 1_usize..9) {
        let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
        prop_assert_eq!(passed(&pieces, place), passed(&[&bytes], place));
    }

    #[test]
    fn a_written_path_is_read_as_the_same(name in "[^/\\p{Cc} ]([^/\\p{Cc}]{0,28}[^/\\p{Cc} ])?", style in 0..4) {
        let path = format!("/home/me/it's a \"project\"/{name}");
        let text = match style {
            0 => path.clone(),
            1 => format!("'{}'", path.replace('\'', r"'\''")),
            2 => path.chars().flat_map(|c| ['\\', c]).collect(),
            _ => "file://".to_owned() + &path.bytes().map(|byte| if byte == b'/' { "/".to_owned() } else { format!("%{byte:02x}") }).collect::<String>(),
        };
        let once = becomes(&text);
        prop_assert!(once.contains("/workspace/"), "{}", once);
        // What was written is the guest's path, for whoever reads it in the same way.
        let mut asked = Vec::new();
        Pastes::default().pass(paste(&once).as_bytes(), |path| { asked.push(path.to_owned()); None });
        prop_assert!(asked.contains(&format!("/workspace/{name}")), "{:?}", asked);
    }
}
