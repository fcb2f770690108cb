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
