//! One bottle, one owner; and nobody's work is lost.

use bottle_tests::World;
use std::fs;
use std::path::Path;

/// `bottle` with these words, in this folder of the world.
fn within(world: &World, folder: &Path, words: &[&str]) -> assert_cmd::Command {
    let mut command = world.bottle(words);
    command.current_dir(folder);
    command
}

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Two projects in folders of the same name, the first with a bottle in which a guest changed something.
fn two_projects(world: &World) -> [std::path::PathBuf; 2] {
    let [first, second] = ["a/app", "b/app"].map(|name| world.path(name));
    for project in [&first, &second] {
        fs::create_dir_all(project).unwrap();
        fs::write(project.join("bottle.toml"), "[workspace]\nmode = \"copy\"\n").unwrap();
        fs::write(project.join("file"), "before\n").unwrap();
    }
    within(world, &first, &["-q", "up"]).assert().success();
    within(world, &first, &["-q", "exec", "--", "sh", "-c", "echo after > file"]).assert().success();
    [first, second]
}

#[test]
fn two_projects_of_the_same_name_do_not_share_a_bottle() {
    let world = World::new();
    let [first, second] = two_projects(&world);
    for words in [
        &["up"][..],
        &["plan"],
        &["restart"],
        &["run", "--", "true"],
        &["exec", "--", "true"],
        &["exec", "app", "--", "true"],
        &["diff"],
        &["apply", "--yes"],
        &["apply", "app", "--yes"],
        &["stop"],
        &["rm", "--force"],
        &["rm", "--force", "app"],
        &["logs"],
        &["status"],
        &["verify"],
    ] {
        let output = within(&world, &second, words).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(73), "{words:?}: {said}");
        assert!(
            said.contains("belongs to") && said.contains("a/app") && said.contains("app-2"),
            "{words:?}: {said}"
        );
    }
    assert_eq!(fs::read_to_string(second.join("file")).unwrap(), "before\n");
    within(&world, &first, &["-q", "apply", "--yes"]).assert().success();
    assert_eq!(fs::read_to_string(first.join("file")).unwrap(), "after\n");
    // From a folder that is no project of that name, a named bottle is meant.
    within(&world, &world.path(""), &["-q", "exec", "app", "--", "true"]).assert().success();
    within(&world, &world.path(""), &["-q", "rm", "--force", "app"]).assert().success();
    // Nobody's any more: the second may have the name.
    within(&world, &second, &["-q", "plan"]).assert().success();
}

#[test]
fn init_proposes_a_name_that_is_free() {
    let world = World::new();
    let [_, second] = two_projects(&world);
    within(&world, &second, &["-q", "init", "--force"]).assert().success();
    let text = fs::read_to_string(second.join("bottle.toml")).unwrap();
    assert!(text.contains("slug = \"app-2\""), "{text}");
    within(&world, &second, &["-q", "plan"]).assert().success();
    within(&world, &world.path(""), &["-q", "rm", "--force", "app"]).assert().success();
}

#[test]
fn a_project_that_moved_is_asked_about_and_takes_its_changes_along() {
    let world = World::new();
    let [first, _] = two_projects(&world);
    let moved = world.path("c/app");
    fs::create_dir_all(moved.parent().unwrap()).unwrap();
    fs::rename(&first, &moved).unwrap();
    let output = within(&world, &moved, &["apply", "--yes"]).output().unwrap();
    assert_eq!(output.status.code(), Some(73));
    assert!(said(&output).contains("up --moved"), "{}", said(&output));
    within(&world, &moved, &["-q", "up", "--moved"]).assert().success();
    within(&world, &moved, &["-q", "apply", "--yes"]).assert().success();
    assert_eq!(fs::read_to_string(moved.join("file")).unwrap(), "after\n");
    within(&world, &moved, &["-q", "rm", "--force"]).assert().success();
}

#[test]
fn what_a_guest_changed_goes_to_the_trash_and_comes_back() {
    let world = World::new();
    let [first, _] = two_projects(&world);
    // Nobody is there to be asked, and no hint names a way that loses work without saying so.
    for words in [&["rm"][..], &["stop"], &["rm"]] {
        let output = within(&world, &first, words).output().unwrap();
        let said = said(&output);
        let expected = if words == ["stop"] { 0 } else { 73 };
        assert_eq!(output.status.code(), Some(expected), "{words:?}: {said}");
        assert!(!said.contains("--force") || said.contains("trash, for 7 days"), "{said}");
    }
    let output = within(&world, &first, &["rm", "--force"]).output().unwrap();
    assert!(said(&output).contains("1 paths"), "{}", said(&output));
    let listed = within(&world, &first, &["-q", "trash"]).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("app.1"), "{listed:?}");
    within(&world, &first, &["-q", "trash", "--restore", "app.1"]).assert().success();
    within(&world, &first, &["-q", "apply", "--yes"]).assert().success();
    assert_eq!(fs::read_to_string(first.join("file")).unwrap(), "after\n");
    // Applied, so nothing is kept.
    within(&world, &first, &["-q", "rm", "--force"]).assert().success();
    let listed = within(&world, &first, &["-q", "trash"]).output().unwrap();
    assert!(listed.stdout.is_empty(), "{listed:?}");
}

#[test]
fn the_trash_is_emptied_on_request_and_after_a_week() {
    let world = World::new();
    let [first, _] = two_projects(&world);
    within(&world, &first, &["-q", "rm", "--force"]).assert().success();
    let entry = world.path("run/.trash/app.1/entry.json");
    let text = fs::read_to_string(&entry).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let week = 7 * 24 * 60 * 60;
    let then = value["removed"]["secs_since_epoch"].as_u64().unwrap() - week - 1;
    value["removed"]["secs_since_epoch"] = then.into();
    fs::write(&entry, value.to_string()).unwrap();
    within(&world, &first, &["-q", "trash"]).assert().success();
    assert!(!entry.exists());
    within(&world, &first, &["-q", "up"]).assert().success();
    within(&world, &first, &["-q", "exec", "--", "touch", "new"]).assert().success();
    within(&world, &first, &["-q", "rm", "--force"]).assert().success();
    within(&world, &first, &["-q", "trash", "--now"]).assert().success();
    assert!(!entry.exists());
}

#[test]
fn restart_leaves_a_bottle_running_that_could_not_be_started_again() {
    let world = World::with("slug = \"t\"\n");
    world.bottle(&["-q", "up"]).assert().success();
    for (config, why) in [
        (
            "[[upstream]]\npath = \"/a\"\norigin = \"https://a.test\"\nheaders = { x-key = { from_env = \"NO_SUCH_KEY\" } }\n",
            "NO_SUCH_KEY",
        ),
        (
            "[[upstream]]\npath = \"/a\"\norigin = \"https://a.test\"\nheaders = { x-key = { from_command = [\"no-such-program\"] } }\n",
            "no-such-program",
        ),
        ("[guest]\nimage = \"python:3\"\n", "another image"),
    ] {
        world.write("bottle.toml", &format!("slug = \"t\"\n{config}"));
        let output = world.bottle(&["restart", "--trust"]).output().unwrap();
        assert!(!output.status.success(), "{config}");
        assert!(said(&output).contains(why), "{config}: {}", said(&output));
        world.bottle(&["-q", "exec", "t", "--", "true"]).assert().success();
    }
    world.bottle(&["-q", "rm", "--force", "t"]).assert().success();
}

#[test]
fn every_command_returns_when_its_output_is_a_pipe_that_children_could_hold() {
    let world = World::with("slug = \"t\"\n");
    let words = |words: &str| {
        let mut process = world.process(&[]);
        let program = process.get_program().to_owned();
        process = {
            let mut shell = std::process::Command::new("timeout");
            shell.args(["40", "sh", "-c", &format!("\"$0\" {words} 3>&1 2>&1 | cat")]).arg(program);
            shell.current_dir(world.path("project"));
            shell.envs(process.get_envs().filter_map(|(name, value)| Some((name, value?))));
            shell
        };
        assert_eq!(process.output().unwrap().status.code(), Some(0), "{words} did not return");
    };
    for command in ["up", "restart", "stop", "up", "rm --force", "run -- true"] {
        words(command);
    }
}

#[test]
fn cleanup_of_another_state_folder_leaves_everything_alone() {
    let world = World::new();
    let [first, _] = two_projects(&world);
    let other = world.path("other-state");
    for runtime in [world.path("run"), world.path("other-run")] {
        let mut command = within(&world, &first, &["cleanup", "--yes"]);
        command.env("BOTTLE_STATE_DIR", &other).env("BOTTLE_RUNTIME_DIR", runtime);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let listed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            listed.contains("left") && listed.contains("smolvm machine delete --name bottle-app"),
            "{listed}"
        );
        assert!(said(&output).contains("nothing was done"), "{}", said(&output));
    }
    // And a second state with the first one's runtime folder starts nothing in it.
    let mut command = within(&world, &world.path("project"), &["up", "second"]);
    let output = command.env("BOTTLE_STATE_DIR", &other).output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{}", said(&output));
    within(&world, &first, &["-q", "exec", "--", "true"]).assert().success();
    within(&world, &first, &["-q", "apply", "--yes"]).assert().success();
    within(&world, &first, &["-q", "rm"]).assert().failure();
    within(&world, &first, &["-q", "rm", "--force"]).assert().success();
    // A machine that is this state's own, with nothing else of it left, is still cleaned up.
    assert!(
        said(&within(&world, &first, &["cleanup", "--yes"]).output().unwrap())
            .contains("nothing to clean up")
    );
}
