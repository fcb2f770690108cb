//! What commands print, for programs and for people: one envelope, one table of statuses, and hints that
//! work when they are pasted. What needs no Rust is in `tests/cases/`: `closed-pipe`, `full-disk`, `json`.

use bottle::args::{Args, Command, Document};
use bottle::schema;
use bottle_harness::schema::fits;
use bottle_host::failure::Kind;
use bottle_tests::{ProjectExt, empty_project, project_with};
use clap::error::ErrorKind;
use clap::{Parser, ValueEnum};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The statuses of docs/exit-codes.md, with their codes.
fn documented() -> BTreeMap<u8, String> {
    let page = fs::read_to_string(root().join("docs/exit-codes.md")).unwrap();
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        Some((cells.get(1)?.parse().ok()?, cells[2].trim_matches('`').to_owned()))
    });
    rows.collect()
}

#[test]
fn the_table_of_statuses_has_every_kind_of_failure_and_no_other() {
    let mut kinds: BTreeMap<u8, String> =
        Kind::ALL.into_iter().map(|kind| (kind.status(), kind.word().to_owned())).collect();
    assert_eq!(kinds.len(), Kind::ALL.len());
    kinds.insert(0, String::new());
    assert_eq!(documented(), kinds);
}

/// Provokes each status but that of a guest that does not start, for which `verify.rs` has a bottle, and those of files in
/// a guest, for which the case `cp-content-refused` has one.
#[test]
fn each_status_is_the_one_of_its_kind() {
    const ROTATED: &str = r#"mkdir -p ../state/r/log && cd ../state/r/log &&
        line='{"time_ms":2,"part":"keeper","event":"started","previous":"gone"}' &&
        echo "$line" > audit.000002.jsonl && hash=$(printf %s "$line" | sha256sum | cut -d' ' -f1) &&
        echo '{"time_ms":3,"part":"audit","event":"continued","gone":1,"gone_hash":"gone","first_file":2,"previous":"'$hash'"}' > audit.jsonl &&
        bottle audit r --check"#;
    const BROKEN: &str = r#"mkdir -p ../state/b/log && echo '{"time_ms":2,"part":"keeper","event":"started","previous":"x"}' > ../state/b/log/audit.jsonl; bottle audit b --check"#;
    let provoked = [
        (0, "bottle plan"),
        (1, "bottle check other.example.com"),
        (1, BROKEN),
        (2, "bottle plan --nonsense"),
        (2, "echo nonsense > bottle.toml; bottle plan"),
        (3, ROTATED),
        (66, "bottle status"),
        (69, "PATH=/nowhere $(command -v bottle) doctor"),
        (70, "touch file; bottle man --dir file"),
        (73, "bottle init"),
        (74, "bottle ls > /dev/full"),
        (141, "(sleep 0.2; bottle ls; echo $? > status) | true; exit $(cat status)"),
    ];
    let mut seen: Vec<u8> = vec![75, 65, 67, 72, 76, 77];
    for (status, script) in provoked {
        let project = project_with("slug = \"t\"\n");
        let bottle = project.environment().checkout().program("bottle").unwrap();
        std::os::unix::fs::symlink(bottle, project.on_host("bin/bottle")).unwrap();
        let mut shell = project.environment().command("sh");
        let output = shell.args(["-c", script]).current_dir(project.folder()).output().unwrap();
        assert_eq!(output.status.code(), Some(i32::from(status)), "{script}: {output:?}");
        seen.push(status);
    }
    let documented = documented();
    let untried: Vec<&u8> = documented.keys().filter(|status| !seen.contains(status)).collect();
    assert!(untried.is_empty(), "{untried:?}");
}

/// Every document's errors fit its schema, and so do its warnings.
#[test]
fn an_error_fits_the_schema_of_what_was_asked_for() {
    let project = empty_project();
    for (document, words) in [
        (Document::AuditCheck, &["audit", "--check", "--json"][..]),
        (Document::Check, &["check", "no.such.test", "--json"]),
        (Document::Cleanup, &["cleanup", "--nonsense", "--json"]),
        (Document::Diff, &["diff", "--json"]),
        (Document::Doctor, &["doctor", "--nonsense", "--json"]),
        (Document::GitList, &["git", "t", "list", "--json"]),
        (Document::ImagesLs, &["images", "ls", "--nonsense", "--json"]),
        (Document::ImagesPull, &["images", "pull", "A B", "--json"]),
        (Document::ImagesRm, &["images", "rm", "x", "--json"]),
        (Document::ImagesPrune, &["images", "prune", "--nonsense", "--json"]),
        (Document::Inbox, &["inbox", "--nonsense", "--json"]),
        (Document::Config, &["config", "--nonsense", "--json"]),
        (Document::Inspect, &["inspect", "x"]),
        (Document::Ls, &["ls", "--nonsense", "--json"]),
        (Document::Stats, &["stats", "x", "--json"]),
        (Document::Suggest, &["suggest", "x", "--json"]),
        (Document::Top, &["top", "x", "--json"]),
        (Document::Plan, &["plan", "--config", "missing.toml", "--json"]),
        (Document::PlanDiff, &["plan", "--diff", "--json"]),
        (Document::Pool, &["pool", "--nonsense", "--json"]),
        (Document::Status, &["status", "--json"]),
        (Document::Trash, &["trash", "--restore", "x", "--json"]),
        (Document::Verify, &["verify", "--json"]),
    ] {
        let output = project.bottle(words).output().unwrap();
        let printed: serde_json::Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{words:?}: {output:?}"));
        fits(document, &printed).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        let kind = Kind::ALL.into_iter().find(|kind| printed["error"]["code"] == kind.word());
        let status = kind.map(|kind| i32::from(kind.status()));
        assert!(status.is_some() && output.status.code() == status, "{words:?}: {printed:#}");
    }
    let enveloped = |document: &&Document| {
        use Document::{Audit, BottleToml, Ended, Events, Notice, Result};
        !matches!(document, BottleToml | Audit | Ended | Events | Notice | Result)
    };
    for document in Document::value_variants().iter().filter(enveloped) {
        let schema = schema::of(*document);
        assert_eq!(schema["properties"]["schema"]["const"], format!("bottle/{}/1", document.name()));
        for key in ["schema", "ok", "data", "warnings", "error"] {
            assert!(
                schema["required"].as_array().unwrap().iter().any(|name| name == key),
                "{document:?}: {key}"
            );
        }
    }
}

/// Returns every source file below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension() == Some("rs".as_ref()) {
            found.push(path);
        }
    }
    found
}

/// Returns the commands in backticks that a text holds.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("`bottle ") {
        if let Some(end) = text[at + 1..].find('`') {
            found.push(text[at + 1..at + 1 + end].to_owned());
        }
    }
    found
}

/// Puts words in the places of a message's variables.
fn filled(command: &str, word: &str) -> String {
    let mut filled = String::new();
    let mut rest = command;
    while let Some(at) = rest.find('{') {
        filled.push_str(&rest[..at]);
        let end = rest[at..].find('}').map_or(rest.len(), |end| at + end + 1);
        filled.push_str(if rest[at..end].contains("verb") { "approve" } else { word });
        rest = &rest[end..];
    }
    filled + rest
}

/// Whether a command line is one that bottle understands.
fn is_understood(command: &str) -> bool {
    let command = command.split(" > ").next().unwrap_or(command);
    // A text in quotes is one word, and says nothing here.
    let command = command.replace("\\\"", "\"");
    let words: String =
        command.split('"').enumerate().map(|(at, part)| if at % 2 == 1 { "text" } else { part }).collect();
    match Args::try_parse_from(words.split_whitespace()) {
        Ok(args) => !matches!(args.command, Command::Internal(_)),
        Err(error) => matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion),
    }
}

/// Words for the places of a message's variables: a bottle, one of its requests, nothing, a digest, a verb, a login.
const WORDS: [&str; 6] = ["t", "t.1", "", "0123456789abcdef0123456789abcdef01234567", "up", "claude"];

#[test]
fn each_command_that_a_message_names_is_one() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for file in sources(&root().join("cli")) {
        let text = fs::read_to_string(&file).unwrap();
        // Comments are for people who read the source, except those that are an argument's help. The rest of a line
        // is what a person may be told.
        let has_help = file.parent().is_some_and(|folder| folder.ends_with("args"));
        let is_comment = |line: &str| line.starts_with("//") && !(has_help && line.starts_with("///"));
        let said: Vec<&str> = text
            .split("#[cfg(test)]")
            .next()
            .unwrap()
            .lines()
            .filter(|line| !is_comment(line.trim_start()))
            .collect();
        for command in commands(&said.join("\n")) {
            count += 1;
            if command.contains('\n') || !WORDS.iter().any(|word| is_understood(&filled(&command, word))) {
                wrong.push(format!("{}: {command}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty() && count >= 40, "{count}: {wrong:#?}");
}

/// Common mistakes, and what the answer says: a command that it names works when it is pasted.
#[test]
fn the_answer_to_a_common_mistake_has_a_hint_that_can_be_pasted() {
    let project = project_with("slug = \"t\"\n");
    for words in [
        &["status"][..],
        &["stop"],
        &["exec", "--", "true"],
        &["shell"],
        &["logs"],
        &["audit", "--check"],
        &["diff"],
        &["apply"],
        &["verify"],
        &["git", "t", "list"],
        &["git", "t", "approve"],
        &["inbox", "x"],
        &["approve", "t.1"],
        &["refuse", "nonsense"],
        &["allow", "t", "example.com"],
        &["deny", "t", "example.com"],
        &["allow", "t", "*.*"],
        &["check", ":"],
        &["cp", "t:/x", "."],
        &["cp", "a", "b"],
        &["plan", "--diff"],
        &["init"],
        &["trash", "--restore", "t.1"],
        &["top"],
        &["stats", "x"],
        &["suggest"],
        &["rename", "x", "u"],
        &["fork", "x", "u"],
        &["snapshot"],
        &["restore", "x"],
        &["explain", "tcp-adress"],
        &["explain", "nonsense"],
        &["logs", "t", "--workload"],
        &["images", "pull", "A B"],
        &["images", "rm", "x"],
        &["statsu"],
        &["logs", "--since", "yesterday"],
        &["completions", "tcsh"],
        &["schema", "lss"],
        &["apply", "--digest", "12"],
        &["diff", "--max-size", "12X"],
        &["man", "--dir", "bottle.toml"],
    ] {
        let output = project.bottle(words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{words:?}");
        let has_hint = ["help: ", "tip: ", "For more information, try", "[possible values:", "Usage: "];
        assert!(has_hint.iter().any(|hint| said.contains(hint)), "{words:?} says nothing that helps: {said}");
        for command in commands(&said) {
            assert!(is_understood(&command), "{words:?}: {command}: {said}");
        }
    }
}
