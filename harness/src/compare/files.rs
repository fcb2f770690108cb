//! How long it takes to copy a project and to compare the copy with it, beside `cp` and `git status` of the same files.

use super::measure::time;
use super::report::{Better, Figures, Report};
use crate::checkout::Checkout;
use crate::environment::{Environment, Guest, RunningBottle};
use anyhow::{Context, Result};
use std::fs;
use std::io::Write;
use std::path::Path;

/// How many times as long as `cp` a start may take, and how many times as long as `git status` a look at the changes.
const COPY: f64 = 0.8;
const LOOK: f64 = 1.5;
/// So many files and fewer are removed before they are copied again: a disk has no room for all of the large ones.
const FEW: usize = 1_000;
/// How many files the guest changes before the second look.
const CHANGED: usize = 100;

/// A project's files.
struct Tree {
    name: &'static str,
    files: usize,
    bytes: usize,
}

const TREES: [Tree; 2] = [
    Tree { name: "50,000 files, 200 MB", files: 50_000, bytes: 4_000 },
    Tree { name: "20 files, 2 GB", files: 20, bytes: 100_000_000 },
];

pub fn compare(checkout: &Checkout, rounds: usize, report: &mut Report) -> Result<()> {
    TREES.iter().try_for_each(|tree| compare_one(checkout, tree, rounds, report))
}

fn compare_one(checkout: &Checkout, tree: &Tree, rounds: usize, report: &mut Report) -> Result<()> {
    let environment = Environment::new(checkout, Guest::Namespace)?;
    let project = environment.project("files")?;
    fill(project.folder(), tree.files, tree.bytes)?;
    project.write("bottle.toml", "slug = \"files\"\n[workspace]\nmode = \"copy\"\n")?;
    let copy = environment.path("cp");
    let (mut ups, mut copies) = (Vec::new(), Vec::new());
    // ext4 searches for numbers that no file had a moment ago. After many files were removed, that takes longer than
    // copying them.
    let keeps = tree.files > FEW;
    let mut by_cp = |round: usize| -> Result<()> {
        let mut cp = environment.command("cp");
        cp.args(["-a", "--reflink=auto"]).arg(project.folder()).arg(&copy);
        copies.push(time(cp)?);
        if round + 1 < rounds && keeps {
            fs::rename(&copy, environment.path(format!("cp-{round}")))?;
        } else if round + 1 < rounds {
            fs::remove_dir_all(&copy)?;
        }
        Ok(())
    };
    let mut by_bottle = |round: usize| -> Result<()> {
        let slug = format!("files-{round}");
        ups.push(time(project.command(&["--quiet", "up", &slug]))?);
        if !keeps {
            project.run(&["rm", "--force", &slug])?;
            project.run(&["trash", "--now"])?;
        }
        Ok(())
    };
    // Memory that was free for a while is slower to write to in a virtual machine, whose host has taken it back. So both begin
    // after the removal of the other one's copy, if there is one, and take turns at being first.
    for round in 0..rounds {
        for is_cp in [round % 2 == 0, round % 2 == 1] {
            // What is still to be written would slow the next one down.
            rustix::fs::sync();
            if is_cp { by_cp(round)? } else { by_bottle(round)? }
        }
    }
    for round in (0..rounds).filter(|_| keeps) {
        project.run(&["rm", "--force", &format!("files-{round}")])?;
    }
    let mut add = |what: &str, own, peer, theirs, goal: f64| {
        let figures = [
            Figures { system: "bottle", values: own, goal: None },
            Figures { system: peer, values: theirs, goal: Some(1.0 / goal) },
        ];
        report.add(&format!("{what}, {}", tree.name), "ms", Better::Lower, &figures);
    };
    add("up with a copy", ups, "cp -a --reflink=auto", copies, COPY);
    // git looks at the copy that `cp` made.
    let git = |words: &[&str]| {
        let mut git = environment.command("git");
        git.arg("--git-dir").arg(environment.path("git")).arg("--work-tree").arg(&copy).args(words);
        git
    };
    for words in [&["init", "--quiet"][..], &["add", "."], &["status"]] {
        time(git(words))?;
    }
    let bottle = project.up()?;
    let project = &*bottle;
    // A changed file of a hundred megabytes is read, to be shown and applied as it was; git looks at its length.
    let looks = [0, CHANGED].into_iter().filter(|changed| *changed <= tree.files);
    for changed in looks {
        change(&bottle, &copy, changed)?;
        let (mut diffs, mut statuses) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            statuses.push(time(git(&["status", "--short"]))?);
            diffs.push(time(project.command(&["--quiet", "diff", "--names"]))?);
        }
        add(&format!("diff, {changed} changed"), diffs, "git status", statuses, LOOK);
    }
    Ok(())
}

/// Changes files: those of the guest, and the same ones for git.
fn change(bottle: &RunningBottle, other: &Path, files: usize) -> Result<()> {
    let names: Vec<String> = (0..files).map(name).collect();
    for name in &names {
        let mut file = fs::File::options().append(true).open(other.join(name))?;
        file.write_all(b"changed\n")?;
    }
    let change = format!("for file in {}; do echo changed >> $file; done", names.join(" "));
    bottle.run(&["exec", "--", "sh", "-c", &change])?;
    Ok(())
}

fn name(n: usize) -> String {
    format!("d{}/f{n}", n / 100)
}

/// Fills a folder with files of this many bytes, a hundred in each folder of it.
pub fn fill(folder: &Path, files: usize, bytes: usize) -> Result<()> {
    let mut content = vec![0; bytes];
    for n in 0..files {
        let path = folder.join(name(n));
        // No two files are the same, and none has a hole.
        content
            .iter_mut()
            .enumerate()
            .step_by(512)
            .for_each(|(at, byte)| *byte = (at / 512 + n).to_le_bytes()[0] | 1);
        content[..8].copy_from_slice(&n.to_be_bytes());
        fs::create_dir_all(path.parent().context("a folder")?)?;
        fs::write(path, &content)?;
    }
    Ok(())
}
