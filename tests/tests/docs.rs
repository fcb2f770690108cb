//! The documentation is correct: every command line in it is run, and every key and command is in it.

use bottle::args::Args;
use bottle_harness::page::Page;
use bottle_tests::{ProjectExt, allowing, empty_project, git, project_with};
use clap::CommandFactory;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns README and the pages of docs/, with their names.
fn pages() -> Vec<(String, String)> {
    let docs = fs::read_dir(root().join("docs")).unwrap().flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = docs.chain([root().join("README.md")]).collect();
    paths.retain(|path| path.extension() == Some("md".as_ref()));
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// Command lines whose status is not 0.
const OTHER: &[(&str, i32)] = &[
    // A status of 1 says that the host is closed.
    ("bottle check https://example.com", 1),
    ("bottle check HOST", 1),
    // Nothing is waiting here.
    ("bottle git my-project diff", 2),
    ("bottle git my-project approve", 2),
    ("bottle git my-project reject", 2),
    // The file exists, and the guest does not work on a copy.
    ("bottle init", 73),
    ("bottle diff", 66),
    ("bottle apply", 66),
];

/// Command lines that may also succeed: with KVM, or while the example's request still waits.
const EITHER: &[(&str, i32)] =
    &[("bottle doctor", 69), ("bottle approve my-project.", 66), ("bottle refuse my-project.", 66)];

#[test]
fn every_command_line_in_the_documentation_works() {
    let page = Page::serve("the page").unwrap();
    let project = project_with(&format!(
        "{}[supervise]\n[git-gate]\n",
        allowing(&page).replace("\"t\"", "\"my-project\"")
    ));
    git(project.folder(), &["init", "-q"]);
    git(project.folder(), &["commit", "-q", "--allow-empty", "-m", "x"]);
    let bin = project.on_host("bin");
    let bottle = bottle_harness::checkout::Checkout::find().unwrap().program("bottle").unwrap();
    std::os::unix::fs::symlink(bottle, bin.join("bottle")).unwrap();
    let mut run = BTreeSet::new();
    for (name, text) in pages() {
        let lines = text.lines().filter_map(|line| line.strip_prefix("    ")).map(str::trim_start);
        for line in lines.filter(|line| line.starts_with("bottle ") || line.starts_with("curl ")) {
            let line = line.split(" #").next().unwrap().trim().replace("HOST", "docs.example.com");
            if !run.insert(line.clone()) {
                continue;
            }
            if line.starts_with("curl ") {
                // This runs in the guest. A question waits for its operator, who is not there.
                project.bottle(&["-q", "up"]).assert().success();
                let words = ["-q", "exec", "--", "timeout", "3", "sh", "-c", &line];
                let code = project.bottle(&words).output().unwrap().status.code();
                assert!(
                    code == Some(0) || (code == Some(124) && line.contains(" -d ")),
                    "{name}: {line}: {code:?}"
                );
                continue;
            }
            // A run needs the name for itself.
            let first = if line.starts_with("bottle run") {
                &["-q", "rm", "--force", "my-project"][..]
            } else {
                &["-q", "up"]
            };
            let _ = project.bottle(first).output().unwrap();
            let mut command = project.environment().command("timeout");
            command.args(["30", "sh", "-c", &line]).current_dir(project.folder());
            let output = command.stdin(std::process::Stdio::null()).output().unwrap();
            let code = output.status.code();
            let listed = |list: &[(&str, i32)]| {
                list.iter().find(|(start, _)| line.starts_with(start)).map(|(_, code)| *code)
            };
            let fits = match (listed(OTHER), listed(EITHER)) {
                (Some(other), _) => code == Some(other),
                (None, either) => code == Some(0) || (code.is_some() && code == either),
            };
            assert!(fits, "{name}: {line}: {code:?}\n{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    assert!(run.len() >= 25, "{run:?}");
    project.bottle(&["-q", "rm", "--force", "my-project"]).assert().success();
    for (start, _) in OTHER {
        assert!(
            run.iter().any(|line| line.starts_with(start)) || start.contains("HOST"),
            "{start} is in no page"
        );
    }
}

/// Returns the keys that a table of `bottle.toml` may have, from the error for a wrong one.
fn keys(table: &str) -> Vec<String> {
    let project = project_with(&format!("{table}no-such-key = 1\n"));
    let said = project.bottle(&["plan"]).output().unwrap().stderr;
    let said = String::from_utf8(said).unwrap();
    let list =
        said.lines().next().unwrap().split("expected ").nth(1).unwrap_or_else(|| panic!("{said}")).to_owned();
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_configuration_key_is_documented() {
    let text = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let mut count = 0;
    for table in [
        "",
        "[guest]\n",
        "[[guest.volumes]]\n",
        "[workspace]\n",
        "[network]\n",
        "[egress]\n",
        "[egress.limits]\n",
        "[supervise]\n",
        "[git-gate]\n",
        "[[git-gate.repo]]\n",
        "[git-gate]\n[[git-gate.repo]]\n[git-gate.repo.policy]\n",
        "[[upstream]]\n",
    ] {
        for key in keys(table) {
            let named = [
                format!("`{key}`"),
                format!("{key} ="),
                format!("[{key}]"),
                format!(".{key}]"),
                format!("{{ {key} ="),
            ];
            assert!(named.iter().any(|name| text.contains(name)), "{table}{key}");
            count += 1;
        }
    }
    assert!(count >= 40, "{count}");
    // The page's own example is valid.
    let example = text.split("\n\n").find(|part| part.starts_with("    slug"));
    let from = text.find("    slug").unwrap();
    let to = text.find("`[git-gate]`, with").unwrap();
    assert!(example.is_some());
    let example: String = text[from..to].lines().map(|line| format!("{}\n", line.trim_start())).collect();
    let project = empty_project();
    fs::create_dir_all(project.on_host("data")).unwrap();
    project.put("bottle.toml", &example);
    project.bottle(&["plan"]).assert().success();
}

/// With `UPDATE_SNAPSHOTS=1` the page is rewritten.
#[test]
fn the_page_of_commands_matches_help() {
    let mut page =
        "# Commands\n\nThis is what `bottle COMMAND --help` says; `bottle man` has it as manual pages.\n"
            .to_owned();
    let mut command = Args::command().term_width(100);
    command.build();
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let mut sub = sub.clone().term_width(100);
        let help = sub.render_long_help().to_string();
        write!(page, "\n## {}\n\n```\n{}\n```\n", sub.get_name(), help.trim_end()).unwrap();
    }
    // Lines have no trailing space, as an editor would keep them.
    let page: String = page.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    let place = root().join("docs/commands.md");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&place, &page).unwrap();
    }
    assert_eq!(fs::read_to_string(place).unwrap(), page);
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut count = 0;
    for (name, text) in pages() {
        let folder = if name == "README.md" { root() } else { root().join("docs") };
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            if !link.contains("://") && !file.is_empty() {
                assert!(folder.join(file).exists(), "{name}: {link}");
                count += 1;
            }
        }
    }
    assert!(count >= 12, "{count}");
}
