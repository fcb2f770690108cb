//! Nothing hostile reaches a terminal, whatever the text was.

use bottle_core::visible::{Block, Bytes, Json, Line, is_hidden};
use proptest::prelude::*;

/// Returns what must never be shown raw, without the module's own list.
fn steers(c: char) -> bool {
    let bidi =
        "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}";
    let unseen = "\u{200b}\u{200c}\u{200d}\u{2028}\u{2029}\u{2060}\u{feff}\u{ad}\u{e0041}\u{e0101}\u{3164}";
    (c as u32) < 0x20 || (0x7f..0xa0).contains(&(c as u32)) || bidi.contains(c) || unseen.contains(c)
}

#[test]
fn a_line_stays_one_line_and_cannot_control_a_terminal() {
    let text: String = (0..0x11_0000).filter_map(char::from_u32).collect();
    assert!(!Line(&text).to_string().contains(steers));
    assert!(!Block(&text).to_string().contains(|c| steers(c) && !"\n\t".contains(c)));
    assert!(!Json(&text).to_string().contains(|c| steers(c) && c != '\n'));
    assert_eq!(Line("a\u{1b}[2Jb\n\u{202e}\\").to_string(), "a\\u{1b}[2Jb\\n\\u{202e}\\\\");
    assert_eq!(Block("a\tb\r\n\u{9b}").to_string(), "a\tb\\u{d}\n\\u{9b}");
    assert_eq!(Bytes(b"a\xff\xfe\nb").to_string(), "a\\xff\\xfe\\nb");
    // A row of spaces could go on until the terminal begins a new line.
    let forged = format!("a{}error: none", " ".repeat(79));
    assert!(!Line(&forged).to_string().contains(&" ".repeat(5)));
    assert_eq!(Line("a\u{2800}\u{2003}b    c").to_string(), "a\\u{2800}\\u{2003}b    c");
    // What people write stays as it is.
    let plain = "grüße, 日本語, עברית, ❤\u{fe0f}, e\u{301}";
    assert_eq!(Line(plain).to_string(), plain);
}

proptest! {
    #[test]
    fn different_texts_look_different_on_a_line(a in any::<String>(), b in any::<String>()) {
        prop_assert_eq!(a == b, Line(&a).to_string() == Line(&b).to_string());
    }

    #[test]
    fn bytes_that_are_text_look_like_the_text(text in any::<String>()) {
        prop_assert_eq!(Bytes(text.as_bytes()).to_string(), Line(&text).to_string());
    }

    #[test]
    fn json_keeps_its_meaning(text in any::<String>()) {
        let json = serde_json::to_string_pretty(&[&text]).unwrap();
        let shown = Json(&json).to_string();
        prop_assert!(!shown.contains(|c| is_hidden(c) && c != '\n'));
        prop_assert_eq!(serde_json::from_str::<Vec<String>>(&shown).unwrap(), vec![text]);
    }
}
