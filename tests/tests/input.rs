//! Bad input: an error that says where and what to do, a documented status, and nothing started.

use bottle_tests::World;
use predicates::prelude::*;
use std::fmt::Write;

/// Files that say what cannot be.
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

/// Words that ask for what cannot be.
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

/// What each of them is told, whole, as a person sees it. With `UPDATE_SNAPSHOTS=1` it is written anew.
#[test]
fn bad_input_is_told_so_as_it_was_before() {
    let mut told = String::new();
    let mut tell = |world: &World, name: &str, words: &[&str]| {
        let output = world.bottle(words).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let said = said.replace(world.path("").to_str().unwrap().trim_end_matches('/'), "ROOM");
        assert!(output.stdout.is_empty(), "{name}: {:?}", output.stdout);
        assert!(!said.contains("panicked") && !said.contains("RUST_BACKTRACE"), "{said}");
        write!(told, "== {name}\n{said}-- status {}\n\n", output.status.code().unwrap()).unwrap();
        said
    };
    for config in FILES {
        let world = World::with(config);
        let said = tell(&world, &config.escape_debug().to_string(), &["plan"]);
        for command in [&["up"][..], &["run", "--", "true"]] {
            let output = world.bottle(command).output().unwrap();
            let same = String::from_utf8(output.stderr).unwrap();
            let same = same.replace(world.path("").to_str().unwrap().trim_end_matches('/'), "ROOM");
            assert_eq!((output.status.code(), same), (Some(2), said.clone()), "{config}");
        }
        assert!(!world.path("state").exists() && !world.path("run").exists(), "{config}");
    }
    for words in WORDS {
        let world = World::with("slug = \"t\"\n");
        tell(&world, &format!("bottle {}", words.join(" ")), words);
        assert!(!world.path("run").exists(), "{words:?}");
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
    let world = World::with("slug = \"project\"\n");
    std::fs::create_dir_all(world.path("state").join("project")).unwrap();
    for words in [
        &["exec", "projct", "--", "true"][..],
        &["shell", "projct"],
        &["status", "projct"],
        &["git", "projct", "list"],
        &["allow", "projct", "a.test"],
        &["verify", "projct"],
    ] {
        let said = "error: there is no bottle projct\n  help: did you mean `project`?\n";
        world.bottle(words).assert().code(66).stderr(said);
    }
    // One that is there, or like no other, is told as before.
    world.bottle(&["status", "project"]).assert().code(66).stderr(predicate::str::contains("is not running"));
    world.bottle(&["status", "x"]).assert().code(66).stderr(predicate::str::contains("is not running"));
}

#[test]
fn what_is_missing_is_named_with_how_to_get_it() {
    let world = World::new();
    for (name, help) in [
        ("smolvm", "pip install --target ~/.local/share/smolvm smolmachines"),
        ("gvproxy", "apt-get install gvproxy"),
        ("bwrap", "apt-get install bubblewrap"),
    ] {
        // A PATH with every program that bottle needs but one.
        let dir = tempfile::tempdir().unwrap();
        for (program, place) in [("smolvm", "bin/smolvm"), ("gvproxy", ""), ("bwrap", "")] {
            if program != name {
                let found = if place.is_empty() { which(program) } else { world.path(place) };
                std::os::unix::fs::symlink(found, dir.path().join(program)).unwrap();
            }
        }
        let missing = format!("{name} is not on PATH");
        let said = predicate::str::contains(missing).and(predicate::str::contains(help));
        world.bottle(&["up"]).env("PATH", dir.path()).assert().code(69).stderr(said);
        world
            .bottle(&["doctor"])
            .env("PATH", dir.path())
            .assert()
            .code(69)
            .stdout(predicate::str::contains(help));
        assert!(!world.path("run").exists());
    }
}

#[test]
fn a_helper_that_would_not_run_in_a_guest_is_refused() {
    let world = World::new();
    let said = predicate::str::contains("is not static");
    world.bottle(&["up"]).env("BOTTLE_GUEST_HELPER", which("bwrap")).assert().code(69).stderr(said);
}

fn which(program: &str) -> std::path::PathBuf {
    let place = bottle_harness::place::Place::find().unwrap();
    let path = place.path(&[]).unwrap();
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|path| path.exists()).unwrap()
}
