//! Bad input: an error that says where and what to do, a documented status, and nothing started.

use bottle_tests::World;
use predicates::prelude::*;

#[test]
fn a_bad_file_is_refused_with_file_line_and_key() {
    for (config, wanted) in [
        ("slug = \"Not A Slug\"\n", "bottle.toml:1:8: a slug holds only"),
        ("slug = \"t\"\nslog = 1\n", "bottle.toml:2:1: unknown field `slog`"),
        ("[guest]\ncpus = 0\n", "bottle.toml:2:8: a guest has at least one processor"),
        ("[guest]\nmemory = \"much\"\n", "bottle.toml:2:10: invalid type"),
        ("[guest]\nimage = \"--help\"\n", "bottle.toml:2:9: must not start with '-'"),
        ("[guest.env]\n\"A B\" = \"c\"\n", "bottle.toml:2:1: must be a letter"),
        ("[guest.env]\nA = \"b\\u0000c\"\n", "bottle.toml:2:5: must not contain a NUL"),
        ("[guest]\nworkdir = \"here\"\n", "bottle.toml:2:11: must be an absolute path"),
        ("[[guest.volumes]]\nhost = \"missing\"\nguest = \"/x\"\n", "missing is not there"),
        ("[[guest.volumes]]\nhost = \"/\"\nguest = \"/x\"\n", "the whole machine"),
        ("[egress]\nallow = [\"1.2.3.4\"]\n", "bottle.toml:2:9: \"1.2.3.4\" is an address"),
        ("[egress]\nallow = [\"a.test\", \"b.test:99999\"]\n", "\"99999\" is not a port"),
        ("[egress]\nallow = [\"*.com\"]\n", "a whole top-level domain"),
        ("[egress]\nallow = [\"a*.test\"]\n", "'*' stands only at the start"),
        ("[pipelock]\naddress = \"nowhere\"\n", "bottle.toml:2:11: invalid socket address"),
        ("[supervise]\ncommand = []\n", "the command is empty"),
        ("[supervise]\nport = 1\n", "bottle.toml:2:1: unknown field `port`"),
        ("[workspace]\nmode = \"sideways\"\n", "bottle.toml:2:8: unknown variant `sideways`"),
        ("slug = \"t\n", "bottle.toml:1:"),
        ("audit = \"sometimes\"\n", "bottle.toml:1:9: unknown variant `sometimes`"),
        ("[egress.limits]\nconnections = 0\n", "connections and idle_seconds are at least 1"),
        ("[egress.limits]\nbytes = 0\n", "bottle.toml:2:1: unknown field `bytes`"),
        (
            "[[upstream]]\npath = \"/a\"\norigin = \"http://a.test\"\n",
            "bottle.toml:3:10: \"http://a.test\" is no https origin",
        ),
        ("[[upstream]]\npath = \"a\"\n", "bottle.toml:2:8: \"a\" is no path like"),
        ("[[upstream]]\npath = \"/a\"\n", "bottle.toml:1:1: an upstream has an https origin, or a preset"),
        ("[[upstream]]\norigin = \"https://a.test\"\n", "bottle.toml:1:1: an upstream has a path"),
        ("[[upstream]]\npreset = \"gopher\"\n", "bottle.toml:2:10: \"gopher\" is no preset"),
        (
            "[[upstream]]\npreset = \"github\"\nheaders = { host = { from_env = \"A\" } }\n",
            "\"host\" is set by the proxy itself",
        ),
        (
            "[[upstream]]\npreset = \"github\"\nheaders = { x-key = { value = \"s\" } }\n",
            "unknown field `value`",
        ),
        (
            "[[upstream]]\npreset = \"github\"\nheaders = { x-key = { prefix = \"s\" } }\n",
            "a secret has one of from_env",
        ),
        (
            "[[upstream]]\npreset = \"github\"\n[[upstream]]\npreset = \"github\"\n",
            "two upstreams have the path /github",
        ),
        (
            "[guest.env]\nGITHUB_API_URL = \"x\"\n[[upstream]]\npreset = \"github\"\n",
            "GITHUB_API_URL is set twice",
        ),
    ] {
        let world = World::with(config);
        for command in [&["plan"][..], &["up"], &["run", "--", "true"]] {
            world.bottle(command).assert().code(2).stdout("").stderr(predicate::str::contains(wanted));
        }
        assert!(!world.path("state").exists() && !world.path("run").exists(), "{config}");
    }
}

#[test]
fn a_reserved_variable_cannot_be_set() {
    let world = World::with("[guest.env]\nHTTPS_PROXY = \"http://elsewhere\"\n");
    world.bottle(&["plan"]).assert().code(2).stderr(predicate::str::contains("HTTPS_PROXY is set by bottle"));
}

#[test]
fn bad_words_are_refused() {
    let world = World::new();
    for words in [
        &["up", "Not-A-Slug"][..],
        &["run", "--allow", "1.2.3.4", "--", "true"],
        &["frobnicate"],
        &["exec"],
        &["--config", "missing.toml", "plan"],
    ] {
        world.bottle(words).assert().code(2).stdout("");
    }
}

#[test]
fn what_is_missing_is_named_with_how_to_get_it() {
    let world = World::new();
    for (name, help) in [
        ("smolvm", "pip install smolmachines"),
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
