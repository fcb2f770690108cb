//! The names that git could take for a repository, checked by a second implementation.

use bottle_core::git::gitmodules::is_plain;
use bottle_core::git::path::{Guarded, Touched};
use bottle_core::git::repository::{Parts, is_git, is_gitmodules};
use proptest::prelude::*;

#[test]
fn every_known_spelling_of_dot_git_is_recognized() {
    for name in [
        ".git",
        ".GIT",
        ".Git",
        ".giT",
        ".git.",
        ".git ",
        ".git. . ",
        ".git...",
        "git~1",
        "GIT~1",
        "git~42",
        ".git::$INDEX_ALLOCATION",
        ".git:stream",
        ".git:",
        ".g\u{200c}it",
        "\u{feff}.git",
        ".git\u{200d}",
        ".gi\u{206a}t",
        ".git\\hooks",
        "a\\.git\\b",
        ".g\u{130}t",
        ".g\u{131}t",
        ".git\u{202e}.",
        ".git\n",
        "git~1.",
        ".git :x",
    ] {
        assert!(is_git(name.as_bytes()), "{name:?}");
    }
    assert!(is_git(b".g\xffit"));
    for name in [
        "git",
        ".gitignore",
        ".github",
        ".gitattributes",
        "git~",
        "git~x",
        "x.git",
        ".gi",
        "",
        ".",
        "..",
        "gi~1",
        "repo.git",
        ".git-blame-ignore-revs",
        " .git",
        "a.git\\b",
        "agit~1",
    ] {
        assert!(!is_git(name.as_bytes()), "{name:?}");
    }
    for name in
        [".gitmodules", ".GITMODULES.", "gitmod~1", "GI7EBA~3", ".gitmodules:x", ".git\u{200b}modules"]
    {
        assert!(is_gitmodules(name.as_bytes()), "{name:?}");
    }
    assert!(!is_gitmodules(b"gitmodules") && !is_gitmodules(b".git"));
}

#[test]
fn a_folder_is_a_repository_by_its_contents() {
    let is = |names: &[&str]| {
        let mut parts = Parts::default();
        names.iter().for_each(|name| {
            parts.note(name.as_bytes());
        });
        parts.make_repository()
    };
    assert!(is(&["HEAD", "objects", "refs"]) && is(&["head", "x", "Refs.", "OBJECTS"]));
    assert!(is(&["HEAD", "commondir"]));
    assert!(
        !is(&["HEAD", "objects"])
            && !is(&["objects", "refs", "commondir"])
            && !is(&["HEAD", "refs"])
            && !is(&[])
    );
    assert!(!Parts::default().note(b"README") && Parts::default().note(b"HEAD"));
}

proptest! {
    #[test]
    fn a_plain_name_is_judged_as_it_would_be_with_something_invisible_in_it(
        word in prop::sample::select(vec!["head", "objects", "refs", "commondir", "header", "x"]),
        upper in any::<u16>(),
        before in "[a. :/\\\\]{0,2}",
        after in "[a. :/\\\\\n]{0,3}",
    ) {
        let letter = |(at, letter): (usize, char)| {
            if upper >> at & 1 == 1 { letter.to_ascii_uppercase() } else { letter }
        };
        let word: String = word.chars().enumerate().map(letter).collect();
        let name = format!("{before}{word}{after}");
        // It has to be folded then, which comes to the same.
        let unseen = format!("{before}\u{200d}{word}{after}");
        let (mut plain, mut folded) = (Parts::default(), Parts::default());
        prop_assert_eq!(plain.note(name.as_bytes()), folded.note(unseen.as_bytes()), "{:?}", name);
        prop_assert_eq!(plain, folded);
    }
}

#[test]
fn only_a_plain_gitmodules_file_is_accepted() {
    let module = |lines: &str| format!("[submodule \"lib/x\"]\n\tpath = lib/x\n{lines}\n");
    for lines in [
        "url = https://example.com/x.git",
        "\turl = ../x.git",
        "url = git@example.com:a/x.git",
        "update = rebase",
        "# a word",
        "shallow = true",
        "branch = main",
    ] {
        assert!(is_plain(&module(lines)), "{lines}");
    }
    for lines in [
        "update = !sh evil",
        "path = .git/hooks",
        "path = ../x",
        "path = /x",
        "path = a/.GIT",
        "path = git~1",
        "url = -u./evil",
        "url = ext::sh -c evil",
        "url = ssh://-oProxyCommand=evil/x",
        "url = file:///x",
        "[submodule \"../../x\"]",
        "[core]",
        "fsmonitor = evil",
        "path = \"x",
        "url = a\\\n b",
        "x",
        "[submodule \"x\"] update = !evil",
        "path =",
        "url = git@-oProxyCommand=x:y",
    ] {
        assert!(!is_plain(&module(lines)), "{lines}");
    }
}

/// Decides the same by reading the name once from left to right.
fn second_opinion(name: &str) -> bool {
    let ignored = |c: char| bottle_core::visible::is_hidden(c) || "\u{fe0e}\u{fe0f}\u{307}".contains(c);
    let mut seen = String::new();
    let mut cut = false;
    let ends = |seen: &str| {
        let mut rest: Vec<char> = seen.chars().collect();
        while rest.last().is_some_and(|c| *c == '.' || *c == ' ') {
            rest.pop();
        }
        let text: String = rest.iter().collect();
        let digits = text.get(4..).filter(|_| text.starts_with("git~"));
        text == ".git"
            || digits.is_some_and(|digits| {
                digits.chars().next().is_some() && digits.parse::<u128>().is_ok() && !digits.starts_with('+')
            })
    };
    for c in name.chars() {
        match c {
            c if ignored(c) => {}
            '/' | '\\' => {
                if ends(&seen) {
                    return true;
                }
                (seen, cut) = (String::new(), false);
            }
            ':' => cut = true,
            _ if cut => {}
            'G' | 'g' => seen.push('g'),
            'I' | 'i' | 'İ' | 'ı' => seen.push('i'),
            'T' | 't' => seen.push('t'),
            c => seen.push(c),
        }
    }
    ends(&seen)
}

proptest! {
    #[test]
    fn the_names_agree_with_a_second_opinion(name in "[.gGiIİıtT~0-9 :/\\\\\u{200c}\u{feff}\u{202e}a\n]{0,9}") {
        prop_assert_eq!(is_git(name.as_bytes()), second_opinion(&name), "{:?}", name);
    }

    #[test]
    fn guarded_paths_and_git_names_are_compared_alike(name in "[.gGiIİıtTſ0-9 :\u{200c}\u{307}\u{fe0f}a\n]{0,9}") {
        let guarded = Guarded::new(&[".git/".to_owned()]);
        let touched = Touched { path: name.clone(), leads: false };
        prop_assert_eq!(is_git(name.as_bytes()), guarded.covers(&touched), "{:?}", name);
    }

    #[test]
    fn characters_that_a_system_ignores_do_not_hide_dot_git(at in 0_usize..5, c in "[\u{200b}-\u{200f}\u{202a}-\u{202e}\u{206a}-\u{206f}\u{feff}]", end in "[. ]{0,4}(:[a-z$]{0,9})?") {
        let mut name = String::from(".GiT");
        name.insert_str(at.min(name.len()), &c);
        name.push_str(&end);
        prop_assert!(is_git(name.as_bytes()));
    }
}
