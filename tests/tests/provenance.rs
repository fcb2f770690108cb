//! Who wrote a configuration, and what stands at the paths that it names.

use bottle_tests::World;
use predicates::prelude::*;
use predicates::str::contains;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PLAIN: &str = "slug = \"t\"\n";
const NONE: &str = "slug = \"t\"\n[workspace]\nmode = \"none\"\n";

/// A bottle that is up, and gone at the end.
struct Up(World);

impl Up {
    fn with(config: &str) -> Self {
        let world = World::with(config);
        fs::create_dir(world.path("project/src")).unwrap();
        world.bottle(&["-q", "up"]).assert().success();
        Self(world)
    }

    fn guest(&self, script: &str) {
        self.0.bottle(&["-q", "exec", "t", "--", "sh", "-ec", script]).assert().success();
    }

    fn operator_in(&self, folder: &str, words: &[&str]) -> assert_cmd::assert::Assert {
        self.0.bottle(words).current_dir(self.0.path(folder)).assert()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.0.bottle(&["-q", "rm", "--force", "t"]).output();
    }
}

fn volume(host: &str, writable: bool) -> String {
    format!("[[guest.volumes]]\nhost = \"{host}\"\nguest = \"/x\"\nwritable = {writable}\n")
}

/// The digest that a refusal shows.
fn digest(said: &assert_cmd::assert::Assert) -> String {
    let said = String::from_utf8(said.get_output().stderr.clone()).unwrap();
    said.split("--trust=").nth(1).unwrap().split('`').next().unwrap().to_owned()
}

#[test]
fn a_change_is_accepted_by_the_digest_that_was_shown_and_by_no_other() {
    let up = Up::with(PLAIN);
    up.guest("printf '[guest]\\ncpus = 2\\n' >> bottle.toml");
    let first = digest(&up.0.bottle(&["restart"]).assert().code(2).stderr(contains("+cpus = 2")));
    assert_eq!(first.len(), 64);
    up.guest("sed -i s/2/3/ bottle.toml");
    let other = format!("--trust={first}");
    let said = up.0.bottle(&["restart", &other]).assert().code(2);
    let said = said.stderr(contains("it changed since").and(contains("+cpus = 3")));
    let second = format!("--trust={}", digest(&said));
    up.0.bottle(&["-q", "restart", &second]).assert().success();
    // Who accepted it, and what, is in the log.
    let log = up.0.bottle(&["logs", "t"]).output().unwrap().stdout;
    assert!(String::from_utf8_lossy(&log).contains(&second["--trust=".len()..]), "{log:?}");
    // It is accepted now: nobody is asked again, and a digest that is none of it is refused.
    up.0.bottle(&["-q", "restart"]).assert().success();
    up.0.bottle(&["restart", &other]).assert().code(2);
}

#[test]
fn a_file_that_was_copied_out_of_a_guest_is_asked_about() {
    let up = Up::with(NONE);
    up.guest("printf 'slug = \"t\"\n[guest]\ncpus = 2\n' > /tmp/bottle.toml");
    up.0.bottle(&["-q", "cp", "t:/tmp/bottle.toml", "src"]).assert().success();
    let said = contains("nobody has accepted it").and(contains("+cpus = 2"));
    up.operator_in("project/src", &["restart"]).code(2).stderr(said);
    // The project's own file is untouched by that.
    up.0.bottle(&["-q", "restart"]).assert().success();
}

#[test]
fn a_file_that_appeared_nearer_is_shown_whole_and_names_no_bottle() {
    let up = Up::with(PLAIN);
    up.operator_in("project/src", &["-q", "exec", "--", "true"]).success();
    up.guest("printf 'slug = \"t\"\\n[supervise]\\ncommand = [\"x\"]\\n' > src/bottle.toml");
    let said = contains("nobody has accepted it").and(contains("+command = [\"x\"]"));
    up.operator_in("project/src", &["restart"]).code(2).stderr(said);
    for words in [&["rm", "--force"][..], &["stop"], &["logs"], &["exec", "--", "true"], &["status"]] {
        up.operator_in("project/src", words).code(2).stderr(contains("name the bottle"));
    }
    up.operator_in("project/src", &["-q", "exec", "t", "--", "true"]).success();
    up.operator_in("project/src", &["plan"]).success().stderr(contains("is not trusted yet"));
    // The project's own file is as it was.
    up.0.bottle(&["-q", "restart"]).assert().success();
}

#[test]
fn a_file_that_changed_names_the_bottle_that_was_accepted() {
    let up = Up::with(PLAIN);
    up.guest("echo 'slug = \"other\"' > bottle.toml");
    up.0.bottle(&["-q", "exec", "--", "true"]).assert().success();
    up.0.bottle(&["-q", "stop"]).assert().success();
    let said = contains("+slug = \"other\"").and(contains("slug: which bottle is meant"));
    up.0.bottle(&["up"]).assert().code(2).stderr(said);
    up.0.bottle(&["-q", "rm"]).assert().success();
    assert!(!up.0.path("state/t").exists());
}

#[test]
fn a_file_that_is_gone_is_missed() {
    let up = Up::with(PLAIN);
    fs::write(up.0.path("bottle.toml"), NONE.replace("\"t\"", "\"above\"")).unwrap();
    up.guest("rm bottle.toml");
    up.0.bottle(&["restart"]).assert().code(2).stderr(contains("is gone").and(contains("-slug = \"t\"")));
    up.operator_in("project/src", &["-q", "exec", "--", "true"]).success();
    up.0.bottle(&["plan"]).assert().stderr(contains("is gone"));
    // Accepted, the one above applies; a bottle of that name was never started.
    up.0.bottle(&["-q", "stop"]).assert().success();
    up.0.bottle(&["restart", "--trust"]).assert().code(66).stderr(contains("there is no bottle above"));
    up.0.bottle(&["exec", "--", "true"]).assert().code(66).stderr(contains("bottle above"));
}

#[test]
fn what_is_no_file_is_refused_and_never_waited_for() {
    for (made, said) in [
        ("mkfifo bottle.toml", "no regular file"),
        ("mkdir bottle.toml", "it is a folder"),
        ("truncate -s 1T bottle.toml", "larger than 1024 KiB"),
        ("printf '\\377' > bottle.toml", "not UTF-8"),
        ("ln -s bottle.toml bottle.toml", "too many links"),
        ("ln -s /dev/zero bottle.toml", "no regular file"),
    ] {
        let up = Up::with(PLAIN);
        up.guest(&format!("rm bottle.toml; {made}"));
        for words in [&["plan"][..], &["restart"], &["stop"], &["-c", "bottle.toml", "plan"]] {
            let since = Instant::now();
            up.0.bottle(words).assert().code(2).stderr(contains(said));
            assert!(since.elapsed() < Duration::from_secs(10), "{made}");
        }
        // Whoever names the bottle needs no file.
        up.0.bottle(&["-q", "stop", "t"]).assert().success();
    }
}

#[test]
fn an_operators_own_links_and_folders_are_followed() {
    let world = World::new();
    fs::create_dir_all(world.path("dotfiles/data")).unwrap();
    fs::write(world.path("dotfiles/b.toml"), format!("{PLAIN}{}", volume("../linked/data", false))).unwrap();
    symlink(world.path("dotfiles/b.toml"), world.path("project/bottle.toml")).unwrap();
    symlink(world.path("dotfiles"), world.path("linked")).unwrap();
    fs::write(world.path("dotfiles/data/file"), "shared\n").unwrap();
    let run = ["-q", "run", "--", "cat", "/x/file"];
    world.bottle(&run).assert().success().stdout("shared\n");
    world.bottle(&run).assert().success();
    // The link is in the guest's reach, wherever it leads.
    world
        .bottle(&["-q", "run", "--", "sh", "-c", "ln -sf other.toml bottle.toml; echo > other.toml"])
        .assert()
        .success();
    world.bottle(&run).assert().code(2).stderr(contains("has changed since"));
}

#[test]
fn what_a_guest_could_write_once_is_asked_about_for_good() {
    let world = World::with(PLAIN);
    fs::create_dir(world.path("project/src")).unwrap();
    world.bottle(&["-q", "run", "--", "sh", "-c", "cp bottle.toml src"]).assert().success();
    assert!(!world.path("state/t/plan.json").exists());
    let in_src = |words: &[&str]| world.bottle(words).current_dir(world.path("project/src")).assert();
    in_src(&["run", "--", "true"]).code(2).stderr(contains("nobody has accepted it"));
    // Under another name of its folder, too.
    fs::rename(world.path("project"), world.path("renamed")).unwrap();
    let renamed = |words: &[&str]| world.bottle(words).current_dir(world.path("renamed")).assert();
    renamed(&["run", "--", "true"]).code(2);
    renamed(&["-q", "run", "--trust", "--", "true"]).success();
    renamed(&["-q", "run", "--", "true"]).success();
    // What is remembered is nobody else's to read.
    for entry in fs::read_dir(world.path("state/.trusted")).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
    }
}

#[test]
fn what_was_taken_back_from_a_copy_is_asked_about() {
    let up = Up::with("slug = \"t\"\n[workspace]\nmode = \"copy\"\n");
    up.guest("mkdir conf; cp bottle.toml conf/mine.toml; echo x > file");
    up.0.bottle(&["-q", "restart"]).assert().success();
    // Where the guest works is its own ground.
    let copy = up.0.path("run/.copies/t");
    let words = ["stop"];
    up.0.bottle(&words).current_dir(&copy).assert().code(2).stderr(contains("nobody has accepted it"));
    up.0.bottle(&["-q", "apply", "--yes"]).assert().success();
    up.0.bottle(&["-q", "restart"]).assert().success();
    let words = ["-c", "conf/mine.toml", "run", "other", "--", "true"];
    let said =
        contains("nobody has accepted it").and(contains("bottle --config conf/mine.toml run --trust="));
    up.0.bottle(&words).assert().code(2).stderr(said);
}

#[test]
fn no_path_that_a_bottle_uses_is_inside_a_folder_that_a_guest_can_write() {
    let world = World::new();
    for dir in ["project/data", "data/inner", "project/.git"] {
        fs::create_dir_all(world.path(dir)).unwrap();
    }
    world.write("key", "k\n");
    let upstream = |source: &str| {
        format!(
            "[[upstream]]\npath = \"/a\"\norigin = \"https://a.test\"\nheaders = {{ x-k = {{ {source} }} }}\n"
        )
    };
    let tool = world.path("project/key").display().to_string();
    for (config, what) in [
        (volume("data", false), "the volume"),
        (volume("data", true), "the volume"),
        (
            format!("{}{}", volume("../data", true), volume("../data/inner", false).replace("/x", "/y")),
            "the volume",
        ),
        (upstream("from_file = \"key\""), "the key's file"),
        (upstream(&format!("from_command = [\"cat\", \"{tool}\"]")), "the program"),
        (format!("[supervise]\ncommand = [\"{tool}\"]\n"), "the program"),
        ("[supervise]\ncommand = [\"./key\"]\n".to_owned(), "the program"),
        ("[supervise]\ncommand = [\"sh\", \"--init-file=./key\"]\n".to_owned(), "the program"),
        ("[guest]\nimage = \"./data\"\n".to_owned(), "the image"),
        ("[[git-gate.repo]]\npath = \".git/..\"\nname = \"r\"\n".to_owned(), "the repository"),
    ] {
        for words in [&["plan"][..], &["up"], &["run", "--", "true"]] {
            world.write("bottle.toml", &format!("{PLAIN}{config}"));
            let said = contains(what).and(contains("could put another in its place"));
            world.bottle(words).assert().code(2).stderr(said.and(contains("mode = \"copy\"")));
            assert!(!world.path("run/t").exists(), "{config}");
        }
        // A guest that writes none of it may be given the same.
        world.write("bottle.toml", &format!("{PLAIN}[workspace]\nmode = \"read-only\"\n{config}"));
        if !config.contains("writable = true") {
            world.bottle(&["plan"]).assert().success();
        }
    }
    // The workspace itself may be a repository of the gate's.
    world.write("bottle.toml", &format!("{PLAIN}[git-gate]\n"));
    world.bottle(&["plan"]).assert().success();
}

#[test]
fn bottles_share_a_folder_and_none_writes_what_another_ones_is_in() {
    let world = World::new();
    for (name, slug, more) in [
        ("shared/inner", "inner", String::new()),
        ("a", "a", volume("../shared", true)),
        ("b", "b", volume("../shared", true)),
        ("c", "c", volume("../shared/inner", false)),
    ] {
        fs::create_dir_all(world.path(name)).unwrap();
        let mode = if slug == "inner" { "read-only" } else { "none" };
        let config = format!("slug = \"{slug}\"\n[workspace]\nmode = \"{mode}\"\n{more}");
        fs::write(world.path(name).join("bottle.toml"), config).unwrap();
    }
    let at = |name: &str, words: &[&str]| world.bottle(words).current_dir(world.path(name)).assert();
    at("shared/inner", &["-q", "up"]).success();
    at("a", &["up"])
        .code(2)
        .stderr(contains("which holds the workspace").and(contains("of the bottle inner")));
    at("shared/inner", &["-q", "rm", "--force", "inner"]).success();
    at("a", &["-q", "up"]).success();
    at("b", &["-q", "up"]).success();
    for words in [&["plan"][..], &["up"], &["run", "--", "true"]] {
        let said = contains("the guest of a could write").or(contains("where the guest of a can write"));
        at("c", words).code(2).stderr(said);
    }
    at("a", &["-q", "rm", "--force", "a"]).success();
    at("c", &["up"]).code(2).stderr(contains("the guest of b"));
    at("b", &["-q", "rm", "--force", "b"]).success();
    // Nobody writes it any more, and no link leads out of it.
    at("c", &["-q", "run", "--", "true"]).success();
}

#[test]
fn a_folder_that_is_another_one_than_before_is_told() {
    let world = World::new();
    fs::create_dir(world.path("data")).unwrap();
    world.write("bottle.toml", &format!("{NONE}{}", volume("../data", false)));
    world.bottle(&["-q", "up"]).assert().success();
    world.bottle(&["-q", "restart"]).assert().success();
    fs::rename(world.path("data"), world.path("old")).unwrap();
    fs::create_dir(world.path("data")).unwrap();
    world.bottle(&["restart"]).assert().code(2).stderr(contains("is another folder than the one that t"));
    world.bottle(&["-q", "up", "--trust"]).assert().success();
    world.bottle(&["-q", "restart"]).assert().success();
    world.bottle(&["-q", "rm", "--force"]).assert().success();
}

#[test]
fn bottles_own_state_is_never_where_a_guest_writes() {
    let world = World::with(PLAIN);
    for (variable, place) in [
        ("BOTTLE_STATE_DIR", "project/.state"),
        ("BOTTLE_RUNTIME_DIR", "project/.run"),
        ("BOTTLE_STATE_DIR", "link/.state"),
    ] {
        if !world.path("link").exists() {
            symlink(world.path("project"), world.path("link")).unwrap();
        }
        for words in [&["up"][..], &["--i-know", "up"], &["--i-know", "run", "--", "true"]] {
            let said = contains("bottle's own state");
            world.bottle(words).env(variable, world.path(place)).assert().code(2).stderr(said);
        }
    }
    let said = world.bottle(&["--i-know", "plan"]).env("BOTTLE_STATE_DIR", world.path("state")).assert();
    said.success();
}

#[test]
fn a_plan_names_its_file_and_what_the_guest_writes() {
    let world = World::with(PLAIN);
    let project = world.path("project").display().to_string();
    let named = contains(format!("file      {project}/bottle.toml\n"));
    world.bottle(&["plan"]).assert().success().stdout(named.and(contains(format!("writable  {project}:"))));
    world.write("bottle.toml", NONE);
    world.bottle(&["plan"]).assert().success().stdout(contains("writable").not());
}

/// What a person types is what counts, also at a terminal.
#[test]
fn at_a_terminal_a_person_is_asked_and_only_yes_is_yes() {
    let up = Up::with(PLAIN);
    up.guest("printf '[guest]\\ncpus = 2\\n' >> bottle.toml");
    let asked = |answer: &str| {
        let process = up.0.process(&["restart"]);
        let program = process.get_program().to_str().unwrap().to_owned();
        let mut script = Command::new("script");
        script.args(["-qec", &format!("{program} restart"), "/dev/null"]);
        script.envs(process.get_envs().filter_map(|(name, value)| Some((name, value?))));
        script.current_dir(up.0.path("project")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = script.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), answer.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    if !Path::new("/usr/bin/script").exists() {
        println!("no script(1) here: nothing is shown");
        return;
    }
    let (well, said) = asked("n\n");
    assert!(!well && said.contains("+cpus = 2") && said.contains("Use it?"), "{said}");
    let (well, said) = asked("y\n");
    assert!(well, "{said}");
    up.0.bottle(&["-q", "restart"]).assert().success();
}
