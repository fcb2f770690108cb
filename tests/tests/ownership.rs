//! One bottle, one owner; and nobody's work is lost.

use bottle_tests::{Project, ProjectExt, empty_project, project_with};
use std::fs;
use std::path::Path;

/// `bottle` with these words, in this folder of the environment.
fn within(project: &Project, folder: &Path, words: &[&str]) -> assert_cmd::Command {
    let mut command = project.bottle(words);
    command.current_dir(folder);
    command
}

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Two projects in folders of the same name, the first with a bottle in which a guest changed something.
fn two_projects(project: &Project) -> [std::path::PathBuf; 2] {
    let [first, second] = ["a/app", "b/app"].map(|name| project.on_host(name));
    for folder in [&first, &second] {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("bottle.toml"), "[workspace]\nmode = \"copy\"\n").unwrap();
        fs::write(folder.join("file"), "before\n").unwrap();
    }
    within(project, &first, &["-q", "up"]).assert().success();
    within(project, &first, &["-q", "exec", "--", "sh", "-c", "echo after > file"]).assert().success();
    [first, second]
}

#[test]
fn two_projects_of_the_same_name_do_not_share_a_bottle() {
    let project = empty_project();
    let [first, second] = two_projects(&project);
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
        let output = within(&project, &second, words).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(73), "{words:?}: {said}");
        assert!(
            said.contains("belongs to") && said.contains("a/app") && said.contains("app-2"),
            "{words:?}: {said}"
        );
    }
    assert_eq!(fs::read_to_string(second.join("file")).unwrap(), "before\n");
    within(&project, &first, &["-q", "apply", "--yes"]).assert().success();
    assert_eq!(fs::read_to_string(first.join("file")).unwrap(), "after\n");
    // From a folder that is no project of that name, a named bottle is meant.
    within(&project, &project.on_host(""), &["-q", "exec", "app", "--", "true"]).assert().success();
    within(&project, &project.on_host(""), &["-q", "rm", "--force", "app"]).assert().success();
    // Nobody's any more: the second may have the name.
    within(&project, &second, &["-q", "plan"]).assert().success();
}

#[test]
fn init_proposes_a_name_that_is_free() {
    let project = empty_project();
    let [_, second] = two_projects(&project);
    within(&project, &second, &["-q", "init", "--force"]).assert().success();
    let text = fs::read_to_string(second.join("bottle.toml")).unwrap();
    assert!(text.contains("slug = \"app-2\""), "{text}");
    within(&project, &second, &["-q", "plan"]).assert().success();
    within(&project, &project.on_host(""), &["-q", "rm", "--force", "app"]).assert().success();
}

#[test]
fn a_project_that_moved_is_asked_about_and_takes_its_changes_along() {
    let project = empty_project();
    let [first, _] = two_projects(&project);
    let moved = project.on_host("c/app");
    fs::create_dir_all(moved.parent().unwrap()).unwrap();
    fs::rename(&first, &moved).unwrap();
    let output = within(&project, &moved, &["apply", "--yes"]).output().unwrap();
    assert_eq!(output.status.code(), Some(73));
    assert!(said(&output).contains("up --moved"), "{}", said(&output));
    within(&project, &moved, &["-q", "up", "--moved"]).assert().success();
    within(&project, &moved, &["-q", "apply", "--yes"]).assert().success();
    assert_eq!(fs::read_to_string(moved.join("file")).unwrap(), "after\n");
    within(&project, &moved, &["-q", "rm", "--force"]).assert().success();
}

#[test]
fn what_a_guest_changed_goes_to_the_trash_and_comes_back() {
    let project = empty_project();
    let [first, _] = two_projects(&project);
    // Nobody is there to be asked, and no hint names a way that loses work without saying so.
    for words in [&["rm"][..], &["stop"], &["rm"]] {
        let output = within(&project, &first, words).output().unwrap();
        let said = said(&output);
        let expected = if words == ["stop"] { 0 } else { 73 };
        assert_eq!(output.status.code(), Some(expected), "{words:?}: {said}");
        assert!(!said.contains("--force") || said.contains("trash, for 7 days"), "{said}");
    }
    let output = within(&project, &first, &["rm", "--force"]).output().unwrap();
    assert!(said(&output).contains("1 paths"), "{}", said(&output));
    let listed = within(&project, &first, &["-q", "trash"]).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("app.1"), "{listed:?}");
    within(&project, &first, &["-q", "trash", "--restore", "app.1"]).assert().success();
    within(&project, &first, &["-q", "apply", "--yes"]).assert().success();
    assert_eq!(fs::read_to_string(first.join("file")).unwrap(), "after\n");
    // Applied, so nothing is kept.
    within(&project, &first, &["-q", "rm", "--force"]).assert().success();
    let listed = within(&project, &first, &["-q", "trash"]).output().unwrap();
    assert!(listed.stdout.is_empty(), "{listed:?}");
}

#[test]
fn the_trash_is_emptied_on_request_and_after_a_week() {
    let project = empty_project();
    let [first, _] = two_projects(&project);
    within(&project, &first, &["-q", "rm", "--force"]).assert().success();
    let entry = project.on_host("run/.trash/app.1/entry.json");
    let text = fs::read_to_string(&entry).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let week = 7 * 24 * 60 * 60;
    let then = value["removed"]["secs_since_epoch"].as_u64().unwrap() - week - 1;
    value["removed"]["secs_since_epoch"] = then.into();
    fs::write(&entry, value.to_string()).unwrap();
    within(&project, &first, &["-q", "trash"]).assert().success();
    assert!(!entry.exists());
    within(&project, &first, &["-q", "up"]).assert().success();
    within(&project, &first, &["-q", "exec", "--", "touch", "new"]).assert().success();
    within(&project, &first, &["-q", "rm", "--force"]).assert().success();
    within(&project, &first, &["-q", "trash", "--now"]).assert().success();
    assert!(!entry.exists());
}

#[test]
fn restart_leaves_a_bottle_running_that_could_not_be_started_again() {
    let project = project_with("slug = \"t\"\n");
    project.bottle(&["-q", "up"]).assert().success();
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
        project.put("bottle.toml", &format!("slug = \"t\"\n{config}"));
        let output = project.bottle(&["restart", "--trust"]).output().unwrap();
        assert!(!output.status.success(), "{config}");
        assert!(said(&output).contains(why), "{config}: {}", said(&output));
        project.bottle(&["-q", "exec", "t", "--", "true"]).assert().success();
    }
    project.bottle(&["-q", "rm", "--force", "t"]).assert().success();
}

#[test]
fn every_command_returns_when_its_output_is_a_pipe_that_children_could_hold() {
    let project = project_with("slug = \"t\"\n");
    let words = |words: &str| {
        let mut process = project.command(&[]);
        let program = process.get_program().to_owned();
        process = {
            let mut shell = std::process::Command::new("timeout");
            shell.args(["40", "sh", "-c", &format!("\"$0\" {words} 3>&1 2>&1 | cat")]).arg(program);
            shell.current_dir(project.folder());
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
    let project = empty_project();
    let [first, _] = two_projects(&project);
    let other = project.on_host("other-state");
    for runtime in [project.on_host("run"), project.on_host("other-run")] {
        let mut command = within(&project, &first, &["cleanup", "--yes"]);
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
    let mut command = within(&project, project.folder(), &["up", "second"]);
    let output = command.env("BOTTLE_STATE_DIR", &other).output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{}", said(&output));
    within(&project, &first, &["-q", "exec", "--", "true"]).assert().success();
    within(&project, &first, &["-q", "apply", "--yes"]).assert().success();
    within(&project, &first, &["-q", "rm"]).assert().failure();
    within(&project, &first, &["-q", "rm", "--force"]).assert().success();
    // A machine that is this state's own, with nothing else of it left, is still cleaned up.
    assert!(
        said(&within(&project, &first, &["cleanup", "--yes"]).output().unwrap())
            .contains("nothing to clean up")
    );
}
