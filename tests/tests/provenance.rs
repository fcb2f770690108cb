//! Who wrote a configuration, and what is at the paths that it names.

use assert_cmd::assert::Assert;
use bottle_tests::{
    Project, ProjectExt, RunningBottle, RunningBottleExt, empty_project, git, project_with, up_with,
};
use predicates::prelude::*;
use predicates::str::contains;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PLAIN: &str = "slug = \"t\"\n[workspace]\nmode = \"read-write\"\n";
const NONE: &str = "slug = \"t\"\n[workspace]\nmode = \"none\"\n";

/// Brings up a bottle whose project has a folder `src`.
fn up_with_src(config: &str) -> RunningBottle {
    let project = project_with(config);
    fs::create_dir(project.path("src")).unwrap();
    up_with(project, &[])
}

/// Runs a script in the guest. It must succeed.
fn in_guest(running: &RunningBottle, script: &str) {
    running.exec(&format!("set -e; {script}")).success();
}

fn operator_in(project: &Project, folder: &str, words: &[&str]) -> Assert {
    project.bottle(words).current_dir(project.path(folder)).assert()
}

fn volume(host: &str, writable: bool) -> String {
    format!("[[guest.volumes]]\nhost = \"{host}\"\nguest = \"/x\"\nwritable = {writable}\n")
}

/// Returns the digest that a refusal shows.
fn digest(said: &Assert) -> String {
    let said = String::from_utf8(said.get_output().stderr.clone()).unwrap();
    said.split("--trust=").nth(1).unwrap().split('`').next().unwrap().to_owned()
}

#[test]
fn a_change_is_accepted_only_by_the_digest_that_was_shown() {
    let running = up_with_src(PLAIN);
    in_guest(&running, "printf '[guest]\\ncpus = 2\\n' >> bottle.toml");
    let first = digest(&running.bottle(&["restart"]).assert().code(2).stderr(contains("+cpus = 2")));
    assert_eq!(first.len(), 64);
    in_guest(&running, "sed -i s/2/3/ bottle.toml");
    let other = format!("--trust={first}");
    let said = running.bottle(&["restart", &other]).assert().code(2);
    let said = said.stderr(contains("the digest differs").and(contains("+cpus = 3")));
    let second = format!("--trust={}", digest(&said));
    running.bottle(&["-q", "restart", &second]).assert().success();
    // The log records what was accepted.
    let log = running.said(&["logs", "t"]);
    assert!(log.contains(&second["--trust=".len()..]), "{log}");
    // Once it is accepted, nobody is asked again, and another digest is refused.
    running.bottle(&["-q", "restart"]).assert().success();
    running.bottle(&["restart", &other]).assert().code(2);
}

#[test]
fn a_file_copied_out_of_a_guest_must_be_accepted() {
    let running = up_with_src(NONE);
    in_guest(&running, "printf 'slug = \"t\"\n[guest]\ncpus = 2\n' > /tmp/bottle.toml");
    running.bottle(&["-q", "cp", "t:/tmp/bottle.toml", "src"]).assert().success();
    let said = contains("nobody has accepted it").and(contains("+cpus = 2"));
    operator_in(&running, "src", &["restart"]).code(2).stderr(said);
    // The project's own file is still accepted.
    running.bottle(&["-q", "restart"]).assert().success();
}

#[test]
fn a_new_nearer_file_is_shown_whole_and_names_no_bottle() {
    let running = up_with_src(PLAIN);
    operator_in(&running, "src", &["-q", "exec", "--", "true"]).success();
    in_guest(&running, "printf 'slug = \"t\"\\n[supervise]\\ncommand = [\"cat\"]\\n' > src/bottle.toml");
    let said = contains("nobody has accepted it").and(contains("+command = [\"cat\"]"));
    operator_in(&running, "src", &["restart"]).code(2).stderr(said);
    for words in [&["rm", "--force"][..], &["stop"], &["logs"], &["exec", "--", "true"], &["status"]] {
        operator_in(&running, "src", words).code(2).stderr(contains("name the bottle"));
    }
    operator_in(&running, "src", &["-q", "exec", "t", "--", "true"]).success();
    operator_in(&running, "src", &["plan"]).success().stderr(contains("is not trusted yet"));
    // The project's own file is still accepted.
    running.bottle(&["-q", "restart"]).assert().success();
}

#[test]
fn a_changed_file_still_names_the_accepted_bottle() {
    let running = up_with_src(PLAIN);
    in_guest(&running, "echo 'slug = \"other\"' > bottle.toml");
    running.bottle(&["-q", "exec", "--", "true"]).assert().success();
    running.bottle(&["-q", "stop"]).assert().success();
    let said = contains("+slug = \"other\"").and(contains("slug: which bottle is meant"));
    running.bottle(&["up"]).assert().code(2).stderr(said);
    running.bottle(&["-q", "rm"]).assert().success();
    assert!(!running.on_host("state/t").exists());
}

#[test]
fn a_deleted_file_is_noticed() {
    let running = up_with_src(PLAIN);
    fs::write(running.on_host("bottle.toml"), NONE.replace("\"t\"", "\"above\"")).unwrap();
    in_guest(&running, "rm bottle.toml");
    running
        .bottle(&["restart"])
        .assert()
        .code(2)
        .stderr(contains("has disappeared").and(contains("-slug = \"t\"")));
    operator_in(&running, "src", &["-q", "exec", "--", "true"]).success();
    running.bottle(&["plan"]).assert().stderr(contains("has disappeared"));
    // Once that is accepted, the file above applies. Its bottle was never started.
    running.bottle(&["-q", "stop"]).assert().success();
    running.bottle(&["restart", "--trust"]).assert().code(66).stderr(contains("there is no bottle above"));
    running.bottle(&["exec", "--", "true"]).assert().code(66).stderr(contains("bottle above"));
}

#[test]
fn anything_but_a_regular_file_is_refused_at_once() {
    for (made, said) in [
        ("mkfifo bottle.toml", "not a regular file"),
        ("mkdir bottle.toml", "it is a folder"),
        ("truncate -s 1T bottle.toml", "larger than 1024 KiB"),
        ("printf '\\377' > bottle.toml", "not UTF-8"),
        ("ln -s bottle.toml bottle.toml", "too many links"),
        ("ln -s /dev/zero bottle.toml", "not a regular file"),
    ] {
        let running = up_with_src(PLAIN);
        in_guest(&running, &format!("rm bottle.toml; {made}"));
        for words in [&["plan"][..], &["restart"], &["stop"], &["-c", "bottle.toml", "plan"]] {
            let since = Instant::now();
            running.bottle(words).assert().code(2).stderr(contains(said));
            assert!(since.elapsed() < Duration::from_secs(10), "{made}");
        }
        // A command that names the bottle needs no file.
        running.bottle(&["-q", "stop", "t"]).assert().success();
    }
}

#[test]
fn an_operators_own_links_are_followed() {
    let project = empty_project();
    fs::create_dir_all(project.on_host("dotfiles/data")).unwrap();
    fs::write(project.on_host("dotfiles/b.toml"), format!("{PLAIN}{}", volume("../linked/data", false)))
        .unwrap();
    symlink(project.on_host("dotfiles/b.toml"), project.path("bottle.toml")).unwrap();
    symlink(project.on_host("dotfiles"), project.on_host("linked")).unwrap();
    fs::write(project.on_host("dotfiles/data/file"), "shared\n").unwrap();
    let run = ["-q", "run", "--", "cat", "/x/file"];
    project.bottle(&run).assert().success().stdout("shared\n");
    project.bottle(&run).assert().success();
    // The guest can replace the link, wherever it leads.
    project
        .bottle(&["-q", "run", "--", "sh", "-c", "ln -sf other.toml bottle.toml; echo > other.toml"])
        .assert()
        .success();
    project.bottle(&run).assert().code(2).stderr(contains("has changed since"));
}

#[test]
fn a_file_that_a_guest_could_ever_write_must_be_accepted() {
    let project = project_with(PLAIN);
    fs::create_dir(project.path("src")).unwrap();
    project.bottle(&["-q", "run", "--", "sh", "-c", "cp bottle.toml src"]).assert().success();
    assert!(!project.on_host("state/t/plan.json").exists());
    let in_src = |words: &[&str]| operator_in(&project, "src", words);
    in_src(&["run", "--", "true"]).code(2).stderr(contains("nobody has accepted it"));
    // That is also so after its folder is renamed.
    fs::rename(project.folder(), project.on_host("renamed")).unwrap();
    let renamed = |words: &[&str]| project.bottle(words).current_dir(project.on_host("renamed")).assert();
    renamed(&["run", "--", "true"]).code(2);
    renamed(&["-q", "run", "--trust", "--", "true"]).success();
    renamed(&["-q", "run", "--", "true"]).success();
    // Only the user can read the records.
    for entry in fs::read_dir(project.on_host("state/.trusted")).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
    }
}

#[test]
fn a_file_applied_from_a_copy_must_be_accepted() {
    let running = up_with_src("slug = \"t\"\n[workspace]\nmode = \"copy\"\n");
    in_guest(&running, "mkdir conf; cp bottle.toml conf/mine.toml; echo x > file");
    running.bottle(&["-q", "restart"]).assert().success();
    // A file in the guest's copy is the guest's.
    let copy = running.on_host("run/.copies/t");
    let words = ["stop"];
    running.bottle(&words).current_dir(&copy).assert().code(2).stderr(contains("nobody has accepted it"));
    running.bottle(&["-q", "apply", "--yes"]).assert().success();
    running.bottle(&["-q", "restart"]).assert().success();
    let words = ["-c", "conf/mine.toml", "run", "other", "--", "true"];
    let said =
        contains("nobody has accepted it").and(contains("bottle --config conf/mine.toml run --trust="));
    running.bottle(&words).assert().code(2).stderr(said);
}

#[test]
fn no_path_that_a_bottle_uses_may_be_inside_a_folder_that_a_guest_can_write() {
    const UPSTREAM: &str = "upstream = \"https://git.example.com/x.git\"\n";
    let project = empty_project();
    for dir in ["project/data", "data/inner", "project/.git"] {
        fs::create_dir_all(project.on_host(dir)).unwrap();
    }
    git(project.folder(), &["init", "-q"]);
    git(project.folder(), &["remote", "add", "origin", "../upstream.git"]);
    project.put("key", "k\n");
    let upstream = |source: &str| {
        format!(
            "[[upstream]]\npath = \"/a\"\norigin = \"https://a.test\"\nheaders = {{ x-k = {{ {source} }} }}\n"
        )
    };
    let tool = project.path("key").display().to_string();
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
        (format!("[[git-gate.repo]]\npath = \".git/..\"\nname = \"r\"\n{UPSTREAM}"), "the repository"),
    ] {
        for words in [&["plan"][..], &["up"], &["run", "--", "true"]] {
            project.put("bottle.toml", &format!("{PLAIN}{config}"));
            let said = contains(what).and(contains("could put another in its place"));
            project.bottle(words).assert().code(2).stderr(said.and(contains("mode = \"copy\"")));
            assert!(!project.on_host("run/t").exists(), "{config}");
        }
        // A guest that cannot write there may have the same.
        project.put("bottle.toml", &format!("{}{config}", PLAIN.replace("read-write", "read-only")));
        if !config.contains("writable = true") {
            project.bottle(&["plan"]).assert().success();
        }
    }
    // The workspace itself may be one of the gate's repositories.
    project.put("bottle.toml", &format!("{PLAIN}[[git-gate.repo]]\n{UPSTREAM}"));
    project.bottle(&["plan"]).assert().success();
}

#[test]
fn bottles_may_share_a_folder_but_none_may_write_to_anothers() {
    let project = empty_project();
    for (name, slug, more) in [
        ("shared/inner", "inner", String::new()),
        ("a", "a", volume("../shared", true)),
        ("b", "b", volume("../shared", true)),
        ("c", "c", volume("../shared/inner", false)),
    ] {
        fs::create_dir_all(project.on_host(name)).unwrap();
        let mode = if slug == "inner" { "read-only" } else { "none" };
        let config = format!("slug = \"{slug}\"\n[workspace]\nmode = \"{mode}\"\n{more}");
        fs::write(project.on_host(name).join("bottle.toml"), config).unwrap();
    }
    let at = |name: &str, words: &[&str]| project.bottle(words).current_dir(project.on_host(name)).assert();
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
    // Nobody can write there any more, and no link leads out of it.
    at("c", &["-q", "run", "--", "true"]).success();
}

#[test]
fn a_replaced_folder_is_noticed() {
    let project = empty_project();
    fs::create_dir(project.on_host("data")).unwrap();
    project.put("bottle.toml", &format!("{NONE}{}", volume("../data", false)));
    project.bottle(&["-q", "up"]).assert().success();
    project.bottle(&["-q", "restart"]).assert().success();
    fs::rename(project.on_host("data"), project.on_host("old")).unwrap();
    fs::create_dir(project.on_host("data")).unwrap();
    project.bottle(&["restart"]).assert().code(2).stderr(contains("is not the folder that t"));
    project.bottle(&["-q", "up", "--trust"]).assert().success();
    project.bottle(&["-q", "restart"]).assert().success();
}

#[test]
fn bottles_own_state_may_not_be_where_a_guest_can_write() {
    let project = project_with(PLAIN);
    for (variable, place) in [
        ("BOTTLE_STATE_DIR", "project/.state"),
        ("BOTTLE_RUNTIME_DIR", "project/.run"),
        ("BOTTLE_STATE_DIR", "link/.state"),
    ] {
        if !project.on_host("link").exists() {
            symlink(project.folder(), project.on_host("link")).unwrap();
        }
        for words in [&["up"][..], &["--i-know", "up"], &["--i-know", "run", "--", "true"]] {
            let said = contains("bottle's own state");
            project.bottle(words).env(variable, project.on_host(place)).assert().code(2).stderr(said);
        }
    }
    let said =
        project.bottle(&["--i-know", "plan"]).env("BOTTLE_STATE_DIR", project.on_host("state")).assert();
    said.success();
}

#[test]
fn at_a_terminal_a_person_is_asked_and_only_yes_accepts() {
    let running = up_with_src(PLAIN);
    in_guest(&running, "printf '[guest]\\ncpus = 2\\n' >> bottle.toml");
    let asked = |answer: &str| {
        let process = running.command(&["restart"]);
        let program = process.get_program().to_str().unwrap().to_owned();
        let mut script = Command::new("script");
        script.args(["-qec", &format!("{program} restart"), "/dev/null"]);
        script.envs(process.get_envs().filter_map(|(name, value)| Some((name, value?))));
        script.current_dir(running.folder()).stdin(Stdio::piped()).stdout(Stdio::piped());
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
    running.bottle(&["-q", "restart"]).assert().success();
}
