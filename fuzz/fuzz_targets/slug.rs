//! Trust boundary: a name from a command line, a folder or a file.
//! Property: an accepted slug follows the rule, reads back equal, and has a valid subnet.
#![no_main]

use bottle_core::slug::Slug;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for slug in text.parse::<Slug>().into_iter().chain(Slug::from_name(text)) {
        assert!((1..=Slug::MAX_LEN).contains(&slug.as_str().len()));
        assert!(slug.as_str().bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-')));
        assert!(!slug.as_str().starts_with('-') && !slug.as_str().ends_with('-'));
        assert_eq!(slug.to_string().parse::<Slug>().unwrap(), slug);
        assert!(!matches!(slug.subnet().octet(), 0 | 17 | 255));
    }
});
