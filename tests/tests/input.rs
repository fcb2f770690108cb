//! Bad input: an error that says what is wrong and where, a documented status, and nothing started.
//!
//! `cases.rs` is the place for a new one. This is a table of many short ones, answered in a snapshot.

use bottle::args::Document;
use bottle_harness::schema::fits;
use bottle_tests::{Project, ProjectExt, checkout, project_with};
use predicates::prelude::*;
use std::fmt::Write;

/// Invalid configurations.
const FILES: &[&str] = &[
    "slug = \"Not A Slug\"\n",
    "slug = \"t\"\nslog = 1\n",
    "[guest]\ncpus = 0\n",
    "[guest]\nmemory = \"much\"\n",
    "[guest]\nimage = \"--help\"\n",
    "[guest.env]\n\"A B\" = \"c\"\n",
    "[guest.env]\nA = \"b\\u0000c\"\n",
    "[guest]\nworkdir = \"here\"\n",
    "[[guest.volumes]]\nhost = \"missing\"\nguest = \"/x\"\n",
    "[[guest.volumes]]\nhost = \"/\"\nguest = \"/x\"\n",
    "[egress]\nallow = [\"1.2.3.4\"]\n",
    "[egress]\nallow = [\"a.test\", \"b.test:99999\"]\n",
    "[egress]\nallow = [\"*.com\"]\n",
    "[egress]\nallow = [\"a*.test\"]\n",
    "[pipelock]\naddress = \"nowhere\"\n",
    "[supervise]\ncommand = []\n",
    "[supervise]\nport = 1\n",
    "[workspace]\nmode = \"sideways\"\n",
    "[network]\nstack = \"fast\"\n",
    "[network]\nopen = true\n",
    "slug = \"t\n",
    "audit = \"sometimes\"\n",
    "[egress.limits]\nconnections = 0\n",
    "[egress.limits]\nbytes = 0\n",
    "[[upstream]]\npath = \"/a\"\norigin = \"http://a.test\"\n",
    "[[upstream]]\npath = \"a\"\n",
    "[[upstream]]\npath = \"/a\"\n",
    "[[upstream]]\norigin = \"https://a.test\"\n",
    "[[upstream]]\npreset = \"gopher\"\n",
    "[[upstream]]\npreset = \"github\"\nheaders = { host = { from_env = \"A\" } }\n",
    "[[upstream]]\npreset = \"github\"\nheaders = { x-key = { value = \"s\" } }\n",
    "[[upstream]]\npreset = \"github\"\nheaders = { x-key = { prefix = \"s\" } }\n",
    "[[upstream]]\npreset = \"github\"\n[[upstream]]\npreset = \"github\"\n",
    "[guest.env]\nGITHUB_API_URL = \"x\"\n[[upstream]]\npreset = \"github\"\n",
    "[guest.env]\nHTTPS_PROXY = \"http://elsewhere\"\n",
    "[workspace]\nmode = \"copy\"\nfrom = \"x\"\n",
    "[egress]\nhosts = { \"a.test\" = \"nowhere\" }\n",
    "[egress]\nallow_private = [\"10.0.0.1\"]\n",
    "[pipelock]\naddress = \"127.0.0.1:1\"\n[supervise]\naddress = \"127.0.0.1:1\"\n",
    "[supervise]\naddress = \"127.0.0.1:1\"\ncommand = [\"x\"]\n",
    "[git-gate]\n",
    "[[git-gate.repo]]\npath = \"nowhere\"\n",
    "[[guest.volumes]]\nhost = \"bottle.toml\"\nguest = \"/x\"\n",
    "[[guest.volumes]]\nhost = \"../state\"\nguest = \"/x\"\n",
    "slug = \"a-name-that-is-longer-than-forty-characters\"\n",
    "slug = \"t\"\nslug = \"t\"\n",
    "# no key\n[guest]\nimage = \"\"\n",
    "[ünknown]\n",
    "[gitgate]\n",
    "[guest]\nmemory = 5000000000\n",
    "[guest]\ncpus = \"4\"\n",
    "[egress]\nallow = \"a.test\"\n",
    "[upstream]\npreset = \"github\"\n",
    "[workspace]\nmode = \"readonly\"\n",
    "[[guest.volumes]]\nhost = \"a\"\n",
];

/// Invalid command lines.
const WORDS: &[&[&str]] = &[
    &["up", "Not-A-Slug"],
    &["run", "--allow", "1.2.3.4", "--", "true"],
    &["run", "--allow-private", "*", "--", "true"],
    &["frobnicate"],
    &["stauts"],
    &["keeer"],
    &["up", "--renw"],
    &["git", "t", "lsit"],
    &["exec"],
    &["exec", "t", "true"],
    &["--config", "missing.toml", "plan"],
    &["logs", "--since", "yesterday"],
    &["approve", "3"],
    &["refuse", "t.x"],
    &["allow", "t"],
    &["allow", "t", "a b"],
    &["check", "http://"],
    &["check", "a b.test"],
    &["cp", "a"],
    &["cp", "bottle.toml", "bottle.toml"],
    &["cp", "t:", "."],
    &["git", "t"],
    &["completions", "dosh"],
    &["diff", "--names", "--json"],
    &["up", "--quiet", "--verbose"],
    &["status", "t"],
    &["stop", "t"],
    &["rm", "t"],
    &["exec", "t", "--", "true"],
    &["logs", "t"],
    &["diff", "t"],
    &["plan", "--diff"],
    &["allow", "t", "a.test"],
    &["approve", "t.1"],
];

/// The snapshot holds each whole answer. With `UPDATE_SNAPSHOTS=1` it is rewritten.
#[test]
fn answers_to_bad_input_match_the_snapshot() {
    let mut told = String::new();
    let mut tell = |project: &Project, name: &str, words: &[&str]| {
        let output = project.bottle(words).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let said = said.replace(project.on_host("").to_str().unwrap().trim_end_matches('/'), "ENVIRONMENT");
        // With `--json` the answer is on standard output, too.
        let is_json = words.contains(&"--json");
        assert!(output.stdout.is_empty() != is_json, "{name}: {:?}", output.stdout);
        assert!(!said.contains("panicked") && !said.contains("RUST_BACKTRACE"), "{said}");
        write!(told, "== {name}\n{said}-- status {}\n\n", output.status.code().unwrap()).unwrap();
        said
    };
    for config in FILES {
        let project = project_with(config);
        let said = tell(&project, &config.escape_debug().to_string(), &["plan"]);
        for command in [&["up"][..], &["run", "--", "true"]] {
            let output = project.bottle(command).output().unwrap();
            let same = String::from_utf8(output.stderr).unwrap();
            let same =
                same.replace(project.on_host("").to_str().unwrap().trim_end_matches('/'), "ENVIRONMENT");
            assert_eq!((output.status.code(), same), (Some(2), said.clone()), "{config}");
        }
        assert!(!project.on_host("state").exists() && !project.on_host("run").exists(), "{config}");
    }
    for words in WORDS {
        let project = project_with("slug = \"t\"\n");
        tell(&project, &format!("bottle {}", words.join(" ")), words);
        assert!(!project.on_host("run").exists(), "{words:?}");
    }
    assert!(FILES.len() + WORDS.len() >= 40);
    let place = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bad_input.snap");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(place, &told).unwrap();
    }
    let known = std::fs::read_to_string(place).unwrap();
    for (now, before) in told.split("\n\n").zip(known.split("\n\n")) {
        assert_eq!(now, before);
    }
    assert_eq!(told, known);
}

#[test]
fn a_bottle_that_is_not_there_gets_the_name_of_the_one_that_is() {
    let project = project_with("slug = \"project\"\n");
    std::fs::create_dir_all(project.on_host("state/project")).unwrap();
    for words in [
        &["exec", "projct", "--", "true"][..],
        &["shell", "projct"],
        &["status", "projct"],
        &["git", "projct", "list"],
        &["allow", "projct", "a.test"],
        &["verify", "projct"],
    ] {
        let said = "error: there is no bottle projct\n  help: did you mean `project`?\n";
        project.bottle(words).assert().code(66).stderr(said);
    }
    // One that is there, or like no other, is told as before.
    project
        .bottle(&["status", "project"])
        .assert()
        .code(66)
        .stderr(predicate::str::contains("is not running"));
    project.bottle(&["status", "x"]).assert().code(66).stderr(predicate::str::contains("is not running"));
}

/// Wrong files that an editor cannot know to be wrong: what is on the machine, what two keys say together,
/// and texts with a form of their own.
const NOT_BY_SHAPE: &[&str] = &[
    "[guest.env]\nA = \"b\\u0000c\"\n",
    "[[guest.volumes]]\nhost = \"missing\"\nguest = \"/x\"\n",
    "[[guest.volumes]]\nhost = \"/\"\nguest = \"/x\"\n",
    "[egress]\nallow = [\"1.2.3.4\"]\n",
    "[egress]\nallow = [\"a.test\", \"b.test:99999\"]\n",
    "[egress]\nallow = [\"*.com\"]\n",
    "[egress]\nallow = [\"a*.test\"]\n",
    "[pipelock]\naddress = \"nowhere\"\n",
    "[[upstream]]\npath = \"/a\"\norigin = \"http://a.test\"\n",
    "[[upstream]]\npath = \"a\"\n",
    "[[upstream]]\npath = \"/a\"\n",
    "[[upstream]]\norigin = \"https://a.test\"\n",
    "[[upstream]]\npreset = \"github\"\nheaders = { host = { from_env = \"A\" } }\n",
    "[[upstream]]\npreset = \"github\"\nheaders = { x-key = { prefix = \"s\" } }\n",
    "[[upstream]]\npreset = \"github\"\n[[upstream]]\npreset = \"github\"\n",
    "[guest.env]\nGITHUB_API_URL = \"x\"\n[[upstream]]\npreset = \"github\"\n",
    "[guest.env]\nHTTPS_PROXY = \"http://elsewhere\"\n",
    "[egress]\nhosts = { \"a.test\" = \"nowhere\" }\n",
    "[egress]\nallow_private = [\"10.0.0.1\"]\n",
    "[pipelock]\naddress = \"127.0.0.1:1\"\n[supervise]\naddress = \"127.0.0.1:1\"\n",
    "[supervise]\naddress = \"127.0.0.1:1\"\ncommand = [\"x\"]\n",
    "[git-gate]\n",
    "[[git-gate.repo]]\npath = \"nowhere\"\n",
    "[[guest.volumes]]\nhost = \"bottle.toml\"\nguest = \"/x\"\n",
    "[[guest.volumes]]\nhost = \"../state\"\nguest = \"/x\"\n",
];

#[test]
fn what_is_wrong_by_its_shape_does_not_fit_the_schema() {
    // What is not even TOML, no schema is asked about.
    let parsed = FILES.iter().filter_map(|text| Some((text, toml::from_str(text).ok()?)));
    let fitting: Vec<&str> = parsed
        .filter(|(_, value)| fits(Document::BottleToml, value).is_ok())
        .map(|(text, _)| *text)
        .collect();
    assert_eq!(fitting, NOT_BY_SHAPE);
    assert!(FILES.len() - fitting.len() >= 25);
}

#[test]
fn a_missing_tool_is_named_with_a_way_to_install_it() {
    let project = project_with("slug = \"t\"\n[network]\nstack = \"gvproxy\"\n");
    for (name, help) in [
        ("smolvm", "pip install --target ~/.local/share/smolvm smolmachines"),
        ("gvproxy", "apt-get install gvproxy"),
        ("bwrap", "apt-get install bubblewrap"),
    ] {
        // A PATH with every program that bottle needs except one.
        let dir = tempfile::tempdir().unwrap();
        for (program, place) in [("smolvm", "bin/smolvm"), ("gvproxy", ""), ("bwrap", "")] {
            if program != name {
                let found = if place.is_empty() { which(program) } else { project.on_host(place) };
                std::os::unix::fs::symlink(found, dir.path().join(program)).unwrap();
            }
        }
        let missing = format!("{name} is not on PATH");
        let said = predicate::str::contains(missing).and(predicate::str::contains(help));
        project.bottle(&["up"]).env("PATH", dir.path()).assert().code(69).stderr(said);
        project.bottle(&["doctor"]).env("PATH", dir.path()).assert().stdout(predicate::str::contains(help));
        assert!(!project.on_host("run").exists());
    }
}

/// Each smolvm that is too old, or does not say what it is. The witness is one that says the oldest version that works.
#[test]
fn a_smolvm_that_is_too_old_is_refused_before_anything_is_made() {
    let project = project_with("slug = \"t\"\n");
    let (oldest, help) = (bottle_host::smolvm::OLDEST, "smolmachines==1.32.2");
    let older = format!("which is older than {oldest}, the oldest that works");
    let unknown = "which is not a version of smolvm";
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("smolvm");
    let path = checkout().search_path(&[dir.path()]).unwrap();
    for (says, expected) in [
        ("smolvm 1.30.9", older.as_str()),
        ("smolvm 1.4.0", &older),
        ("smolvm 0.99.99-rc.1", &older),
        ("smolvm 1.31", unknown),
        ("smolvm one", unknown),
        ("", unknown),
        ("1.32.2 is the version of this smolvm", unknown),
    ] {
        std::fs::write(&script, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let contains = || predicate::str::contains(expected).and(predicate::str::contains(help));
        for words in [&["up"][..], &["run", "--", "true"]] {
            project.bottle(words).env("PATH", &path).assert().code(69).stderr(contains());
        }
        project.bottle(&["doctor"]).env("PATH", &path).assert().code(69).stdout(contains());
        for made in ["run", "state", "cache", "machines"] {
            assert!(!project.on_host(made).exists(), "{says}: {made}");
        }
    }
    let stand_in = checkout().program("smolvm-stand-in").unwrap();
    let oldest = format!(
        "#!/bin/sh\n[ \"$*\" != --version ] || exec echo smolvm-stand-in {oldest}\nexec {} \"$@\"\n",
        stand_in.display()
    );
    std::fs::write(&script, oldest).unwrap();
    project.bottle(&["-q", "run", "--", "true"]).env("PATH", &path).assert().success();
}

fn which(program: &str) -> std::path::PathBuf {
    let path = checkout().search_path(&[]).unwrap();
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|path| path.exists()).unwrap()
}
