//! The documentation is correct: every command line in it is run, and every key and command is in it.

use bottle::args::Document;
use bottle::schema;
use bottle_harness::page::Page;
use bottle_harness::schema::fits;
use bottle_tests::reference::{self, BEGIN, END};
use bottle_tests::{Project, ProjectExt, allowing, empty_project, git, project_with};
use clap::ValueEnum;
use predicates::prelude::*;
use std::collections::BTreeSet;
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
    // The file exists.
    ("bottle init", 73),
    // The bottle is up without an agent.
    ("bottle claude", 73),
    // There is no terminal here.
    ("bottle watch", 2),
    // Nobody has logged in here.
    ("bottle login ", 69),
    // The page's digest is an example.
    ("bottle apply my-project --digest", 2),
];

/// Command lines that may also succeed: with KVM, while the example's request still waits, or where a registry
/// can be reached.
const EITHER: &[(&str, i32)] = &[
    ("bottle doctor", 69),
    ("bottle approve my-project.", 66),
    ("bottle refuse my-project.", 66),
    ("bottle images pull ", 69),
    ("bottle images rm ", 2),
];

#[test]
fn every_command_line_in_the_documentation_works() {
    let page = Page::serve("the page").unwrap();
    let project = project_with(&format!(
        "{}[supervise]\n[git-gate]\n",
        allowing(&page).replace("\"t\"", "\"my-project\"")
    ));
    // The pages name it after `--`.
    project.put("src", "");
    git(project.folder(), &["init", "-q"]);
    git(project.folder(), &["commit", "-q", "--allow-empty", "-m", "x"]);
    git(project.folder(), &["remote", "add", "origin", "https://git.example.com/x.git"]);
    let bin = project.on_host("bin");
    let bottle = bottle_harness::checkout::Checkout::find().unwrap().program("bottle").unwrap();
    std::os::unix::fs::symlink(bottle, bin.join("bottle")).unwrap();
    let mut run = BTreeSet::new();
    // The tutorial has a test of its own, which compares what its lines print.
    for (name, text) in pages().into_iter().filter(|(name, _)| name != "tutorial.md") {
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
            let (up, stop, rm) =
                (&["-q", "up"][..], &["-q", "stop"][..], &["-q", "rm", "--force", "my-project"][..]);
            let first = if line.starts_with("bottle run") || line.starts_with("bottle fork before") {
                // They need the name for themselves.
                vec![rm]
            } else if line.starts_with("bottle fork") || line == "bottle rm my-project" {
                vec![up, stop]
            } else {
                vec![up]
            };
            for words in first {
                let _ = project.bottle(words).output().unwrap();
            }
            let mut command = project.environment().command("timeout");
            command.args(["30", "sh", "-c", &line]).current_dir(project.folder());
            // Whoever runs this test may have logged in.
            command.env("CLAUDE_CONFIG_DIR", "/nonexistent").env("CODEX_HOME", "/nonexistent");
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
    for slug in ["my-project", "before"] {
        project.bottle(&["-q", "rm", "--force", slug]).assert().success();
    }
    for (start, _) in OTHER {
        assert!(
            run.iter().any(|line| line.starts_with(start)) || start.contains("HOST"),
            "{start} is in no page"
        );
    }
}

/// A line of the tutorial to type, and the lines that it prints.
struct Typed<'p> {
    line: &'p str,
    printed: Vec<&'p str>,
}

/// Whether a line is as the page has it. `...` stands for anything.
fn is_as_shown(line: &str, shown: &str) -> bool {
    let mut rest = line;
    for (at, part) in shown.split("...").enumerate() {
        match rest.find(part) {
            Some(0) => rest = &rest[part.len()..],
            Some(from) if at > 0 => rest = &rest[from + part.len()..],
            _ => return false,
        }
    }
    rest.is_empty() || shown.ends_with("...")
}

/// Whether lines are as the page has them. A line `...` stands for any number of lines.
fn are_as_shown(lines: &[&str], shown: &[&str]) -> bool {
    match shown {
        [] => lines.is_empty(),
        ["...", rest @ ..] => (0..=lines.len()).any(|from| are_as_shown(&lines[from..], rest)),
        [first, rest @ ..] => {
            lines.first().is_some_and(|line| is_as_shown(line, first)) && are_as_shown(&lines[1..], rest)
        }
    }
}

#[test]
fn the_tutorial_works_line_by_line() {
    let page = fs::read_to_string(root().join("docs/tutorial.md")).unwrap();
    let mut typed: Vec<Typed> = Vec::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("    ")) {
        match line.strip_prefix("$ ") {
            Some(line) => typed.push(Typed { line, printed: Vec::new() }),
            None => typed.last_mut().expect("a line to type before what it prints").printed.push(line),
        }
    }
    assert!(typed.len() >= 15);
    let project = empty_project();
    let bottle = bottle_harness::checkout::Checkout::find().unwrap().program("bottle").unwrap();
    std::os::unix::fs::symlink(bottle, project.on_host("bin/bottle")).unwrap();
    // One shell types them all, so that it stays in the folder that it enters.
    let said = project.on_host("said");
    fs::create_dir(&said).unwrap();
    let mut script = String::new();
    for (number, Typed { line, .. }) in typed.iter().enumerate() {
        let to = said.join(number.to_string());
        script.push_str(&format!("{{ {line}\n}} > {0} 2>&1 || exit\n", to.display()));
    }
    let mut shell = project.environment().command("sh");
    let output = shell.args(["-c", &script]).current_dir(project.folder()).stdin(std::process::Stdio::null());
    let status = output.status().unwrap();
    for (number, Typed { line, printed }) in typed.iter().enumerate() {
        let text = fs::read_to_string(said.join(number.to_string())).unwrap_or_default();
        // The guests are stand-ins, which each start says.
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains("stand-in")).collect();
        assert!(are_as_shown(&lines, printed), "{line}:\n{text}\nis not:\n{}", printed.join("\n"));
    }
    assert!(status.success());
}

/// Checks that a file is what the program makes. With `UPDATE_SNAPSHOTS=1` it is written anew.
fn is_made(place: &Path, made: &str) {
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, made).unwrap();
    }
    let is = fs::read_to_string(place).unwrap_or_default();
    let name = place.strip_prefix(root()).unwrap().display();
    assert!(
        is == made,
        "{name} is not what the program says: `UPDATE_SNAPSHOTS=1 cargo test -p bottle-tests --test e2e docs` writes it"
    );
}

#[test]
fn the_page_of_commands_is_what_help_says() {
    is_made(&root().join("docs/commands.md"), &reference::commands());
}

#[test]
fn the_table_of_keys_is_what_the_schema_says() {
    let place = root().join("docs/configuration.md");
    let page = fs::read_to_string(&place).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the marker before the keys");
    let (_, after) = rest.split_once(END).expect("the marker after the keys");
    assert!(reference::keys().len() >= 50);
    is_made(&place, &format!("{before}{BEGIN}{}{END}{after}", reference::table()));
}

#[test]
fn each_schema_is_what_the_types_say() {
    for document in Document::value_variants() {
        is_made(&root().join("docs/schema").join(schema::file_name(*document)), &schema::text(*document));
    }
}

#[test]
fn each_example_and_each_line_of_the_readme_works() {
    let checkout = bottle_harness::checkout::Checkout::find().unwrap();
    let count = bottle_harness::examples::run(&checkout, bottle_harness::environment::Guest::Namespace);
    assert!(count.unwrap() >= 35);
}

/// What fetches and installs smolvm, and what says which versions work, names the same ones.
#[test]
fn the_versions_of_smolvm_are_the_same_everywhere() {
    use bottle_host::smolvm::{OLDEST, TESTED};
    let text = |name: &str| fs::read_to_string(root().join(name)).unwrap();
    let setup = text("harness/setup.sh");
    assert!(setup.contains(&format!("\nsmolvm_version={TESTED}\n")));
    assert!(setup.contains(&format!("\noldest_smolvm_version={OLDEST}\n")));
    assert!(text("harness/dist/pyproject.toml").contains(&format!("smolmachines=={TESTED}")));
    assert!(text("README.md").contains(&format!("smolvm, {OLDEST} to {TESTED}")));
    assert!(text("docs/troubleshooting.md").contains(&format!("older than {OLDEST}")));
}

#[test]
fn each_example_fits_the_schema() {
    let project = empty_project();
    project.bottle(&["init"]).assert().success();
    let own = fs::read_to_string(project.folder().join("bottle.toml")).unwrap();
    let examples = fs::read_dir(root().join("examples")).unwrap().flatten();
    let texts = examples.map(|folder| fs::read_to_string(folder.path().join("bottle.toml")).unwrap());
    let page = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let texts: Vec<String> = texts.chain([own, example(&page)]).collect();
    assert!(texts.len() >= 6);
    for text in texts {
        fits(Document::BottleToml, &toml::from_str(&text).unwrap()).unwrap();
    }
}

/// The example of docs/configuration.md.
fn example(page: &str) -> String {
    let (from, to) = (page.find("    slug").unwrap(), page.find("`[git-gate]`, with").unwrap());
    page[from..to].lines().map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line))).collect()
}

#[test]
fn the_example_of_the_page_of_keys_is_one() {
    let project = empty_project();
    fs::create_dir_all(project.on_host("data")).unwrap();
    project.put("bottle.toml", &example(&fs::read_to_string(root().join("docs/configuration.md")).unwrap()));
    project.bottle(&["plan"]).env("EXAMPLE_KEY", "x").assert().success();
}

#[test]
fn what_is_printed_as_json_fits_its_schema() {
    let project = project_with(
        "slug = \"t\"\n[workspace]\nmode = \"copy\"\n[supervise]\n[egress]\nallow = [\"a.test\"]\n[[upstream]]\npreset = \"github\"\n",
    );
    let mut all = vec![(Document::Plan, &["plan", "--json"][..]), (Document::Doctor, &["doctor", "--json"])];
    let check = |(document, words): (Document, &[&str])| {
        let printed = project.bottle(words).env("GITHUB_TOKEN", "x").output().unwrap().stdout;
        let text = String::from_utf8(printed).unwrap();
        let is_lines = matches!(document, Document::Audit | Document::Events);
        let first = if is_lines { text.lines().next().unwrap() } else { &text };
        fits(document, &serde_json::from_str(first).unwrap_or_else(|_| panic!("{words:?}: {text}"))).unwrap();
    };
    all.drain(..).for_each(check);
    project.bottle(&["-q", "up"]).env("GITHUB_TOKEN", "x").assert().success();
    project.bottle(&["-q", "exec", "--", "touch", "new"]).assert().success();
    for row in [
        (Document::Ls, &["ls", "--json"][..]),
        (Document::Config, &["config", "--json"]),
        (Document::Inspect, &["inspect", "t"]),
        (Document::Stats, &["stats", "--json"]),
        (Document::Suggest, &["suggest", "t", "--json"]),
        (Document::Top, &["top", "t", "--json"]),
        (Document::Events, &["events", "--json"]),
        (Document::Status, &["status", "t", "--json"]),
        (Document::PlanDiff, &["plan", "--diff", "--json"]),
        (Document::Inbox, &["inbox", "--json"]),
        (Document::Diff, &["diff", "t", "--json"]),
        (Document::Verify, &["verify", "t", "--host-only", "--json"]),
        (Document::Trash, &["trash", "--json"]),
        (Document::Pool, &["pool", "--json"]),
        (Document::Audit, &["audit", "t"]),
    ] {
        check(row);
    }
    project.bottle(&["-q", "rm", "--force", "t"]).assert().success();
}

/// What bash offers for the last of these words, through the script that `bottle completions bash` prints.
fn offered(project: &Project, words: &[&str]) -> Vec<String> {
    let script = format!(
        "source <(bottle completions bash)\nCOMP_WORDS=({}) COMP_CWORD={} COMP_TYPE=9\n\
         _clap_complete_bottle bottle '{}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
        words.len() - 1,
        words.last().unwrap()
    );
    let mut command = project.environment().command("bash");
    command.args(["-c", &script]).current_dir(project.folder());
    let output = command.output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_shell_completes_commands_bottles_and_paths() {
    let project = project_with("slug = \"t\"\n");
    for slug in ["project", "other"] {
        fs::create_dir_all(project.on_host("state").join(slug)).unwrap();
    }
    project.put("prose.txt", "");
    let bottle = bottle_harness::checkout::Checkout::find().unwrap().program("bottle").unwrap();
    std::os::unix::fs::symlink(bottle, project.on_host("bin").join("bottle")).unwrap();
    assert_eq!(offered(&project, &["bottle", "exe"]), ["exec"]);
    assert_eq!(offered(&project, &["bottle", "exec", "p"]), ["project"]);
    assert_eq!(offered(&project, &["bottle", "allow", "o"]), ["other"]);
    assert_eq!(offered(&project, &["bottle", "up", "--ren"]), ["--renew"]);
    assert_eq!(offered(&project, &["bottle", "cp", "pro"]), ["prose.txt", "project:"]);
    // Those that no person types are not offered.
    assert!(!offered(&project, &["bottle", ""]).iter().any(|word| word == "keeper"));
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = predicate::str::contains("COMPLETE").and(predicate::str::contains("bottle"));
        project.bottle(&["completions", shell]).assert().success().stdout(script);
    }
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
