//! Trust boundary: the names of refs and paths that a guest pushes.
//! Property: a pushable name is harmless in a line, a command line and a file system, and git accepts it.
//! A guarded path stays guarded in upper and lower case.
#![no_main]

use bottle_core::git::Policy;
use bottle_core::git::name::{is_pushable, is_ref};
use bottle_core::git::path::{Guarded, Touched};
use bottle_core::visible::Line;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (&str, &str, &str)| {
    let (name, guarded, path) = data;
    for name in [name.to_owned(), format!("refs/heads/{name}")] {
        if is_pushable(&name) {
            assert!(is_ref(&name) && name.is_ascii() && Line(&name).to_string() == name);
            assert!(!name.contains(|c: char| " '\"`$&|;<>(){}[]*?!~^:\\".contains(c)));
            assert!(!name.contains("/-") && !name.contains("/.") && !name.contains(".."));
            assert!(!name.to_lowercase().ends_with(".lock"));
        }
    }
    let rules = Guarded::new(&[guarded.to_owned()]);
    for leads in [false, true] {
        let touched = |path: &str| Touched { path: path.to_owned(), leads };
        if rules.covers(&touched(path)) {
            assert!(rules.covers(&touched(&path.to_ascii_uppercase())));
            assert!(rules.covers(&touched(&path.replace('/', "\\"))));
        }
        // `.github` is guarded, whatever is below it.
        assert!(Policy::default().guarded().covers(&touched(&format!(".GitHub/{path}"))));
    }
});
