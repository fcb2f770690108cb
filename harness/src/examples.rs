//! Runs each file of `examples/`, and each command line of README.md, as they are written.
//!
//! A file says at its top which commands it is for. Two things are not theirs: the image, which is a small one of the harness in a
//! registry on loopback, under the same name there, and the agent, whose profile is the harness's (`~/.config/bottle/agents`) and
//! installs nothing. `make agents` runs the real ones.

use crate::checkout::Checkout;
use crate::environment::{Environment, Guest, Project, SMALL_MACHINE};
use crate::outer;
use crate::registry::{Image, Registry};
use anyhow::{Context, Result, ensure};
use bottle_core::visible::Line;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, ExitCode, Output, Stdio};

/// The page whose command lines are run.
const README: &str = "README.md";
/// How many times a guest is tried. Under emulation one start in twenty fails.
const TRIES: u32 = 4;
/// The variables with the keys of the examples' agents.
const KEYS: [&str; 2] = ["ANTHROPIC_API_KEY", "OPENAI_API_KEY"];
/// What the commands in the examples' images and profiles print.
const HERE: &str = "it ran in the guest";
/// The lines of README.md that are refused, as the page shows.
const REFUSED: [&str; 2] = ["bottle exec -- wget", "bottle exec -- nslookup"];

/// Where to run them.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// In which kind of guest
    #[arg(long, value_enum, default_value = "namespace")]
    guest: Guest,
    /// Only these examples, or README.md
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
}

/// Runs everything, in the outer machine if a real guest needs it, and prints a line for each command.
///
/// # Errors
/// Returns what did not work.
pub fn main(checkout: &Checkout, options: &Options) -> Result<ExitCode> {
    let names = names(checkout)?;
    let chosen: Vec<&String> =
        names.iter().filter(|name| options.only.is_empty() || options.only.contains(name)).collect();
    ensure!(!chosen.is_empty(), "there is no such example");
    let mut count = 0;
    for name in chosen {
        if options.guest == Guest::Namespace || outer::has_kvm() {
            count += run_one(checkout, options.guest, name)?;
            continue;
        }
        // Each in an outer machine of its own, which may run for so long.
        let program = checkout.program("bottle-harness")?.into_os_string();
        let words = ["examples", "--guest", "real", "--only", name].map(OsString::from);
        let code = outer::run_where_guests_boot(checkout, &[&[program][..], &words].concat(), false, None)?;
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
    }
    if count > 0 {
        println!("{count} command lines work");
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs everything here, and returns how many command lines that were.
///
/// # Errors
/// Returns the first one that does not work, and what it said.
pub fn run(checkout: &Checkout, guest: Guest) -> Result<usize> {
    names(checkout)?.iter().map(|name| run_one(checkout, guest, name)).sum()
}

/// Returns the names of the examples, and then README.md.
fn names(checkout: &Checkout) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for example in fs::read_dir(checkout.root().join("examples"))? {
        names.push(example?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    names.push(README.to_owned());
    Ok(names)
}

fn run_one(checkout: &Checkout, guest: Guest, name: &str) -> Result<usize> {
    if name == README { readme(checkout, guest) } else { example(checkout, guest, name) }
}

fn example(checkout: &Checkout, guest: Guest, name: &str) -> Result<usize> {
    let of = format!("examples/{name}");
    let text = fs::read_to_string(checkout.root().join(&of).join("bottle.toml"))?;
    let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("#     ")).collect();
    let lines: Vec<String> = lines.iter().map(|line| line.replace("COMMAND", "true")).collect();
    ensure!(!lines.is_empty(), "{of} does not say what it is for");
    let place = Place::new(checkout, guest, name, &text)?;
    let mut ran = false;
    for line in &lines {
        ran |= place.works(&of, line)?.contains(HERE) || line.ends_with("-- true");
    }
    ensure!(ran, "{of}: the guest ran nothing");
    let stays = ["bottle up", "bottle claude", "bottle codex"];
    if lines.iter().any(|line| stays.contains(&line.as_str())) {
        place.works(&of, "bottle rm --force")?;
    }
    // Whatever it is for, it can be run and brought up.
    let all = ["bottle run -- true", "bottle up", "bottle exec -- true", "bottle rm --force"];
    all.iter().try_for_each(|line| place.works(&of, line).map(drop))?;
    Ok(lines.len() + all.len())
}

fn readme(checkout: &Checkout, guest: Guest) -> Result<usize> {
    let page = fs::read_to_string(checkout.root().join(README))?;
    let lines = page.lines().filter_map(|line| line.strip_prefix("    "));
    let is_typed = |line: &&str| line.starts_with("bottle ") || line.starts_with("$ ");
    let lines: Vec<&str> = lines.filter(is_typed).map(|line| line.trim_start_matches("$ ")).collect();
    ensure!(lines.len() >= 12, "{README} has {} command lines", lines.len());
    let place = Place::new(checkout, guest, "my-project", "")?;
    for line in &lines {
        let line = line.split(" #").next().unwrap_or_default().trim();
        place.works(README, line)?;
        // The agent's bottle stays up, and has the name that the next lines are for.
        if line == "bottle claude" {
            place.works(README, "bottle rm --force")?;
        }
    }
    place.works(README, "bottle rm --force")?;
    Ok(lines.len())
}

/// A project, and what its commands need around it.
struct Place {
    project: Project,
    _registry: Option<Registry>,
}

impl Place {
    fn new(checkout: &Checkout, guest: Guest, name: &str, text: &str) -> Result<Self> {
        let environment = Environment::new(checkout, guest)?;
        let project = environment.project(name)?;
        let bin = environment.path("bin");
        fs::create_dir_all(&bin)?;
        symlink(checkout.program("bottle")?, bin.join("bottle"))?;
        let agents = environment.path("home/.config/bottle/agents");
        fs::create_dir_all(&agents)?;
        for (agent, upstream) in [("claude", "anthropic"), ("codex", "openai")] {
            let profile = format!(
                "name = \"{agent}\"\ncommand = [\"sh\", \"-c\", \"echo {HERE}\"]\nupstreams = [{upstream:?}]\n"
            );
            fs::write(agents.join(format!("{agent}.toml")), profile)?;
        }
        // What a file does not size is small: it may run under emulation.
        fs::write(environment.path("home/.config/bottle/config.toml"), SMALL_MACHINE)?;
        let registry = text.contains("\nimage = ").then(|| Registry::start(checkout, false)).transpose()?;
        let mut text = text.to_owned();
        if let Some(registry) = &registry {
            let image = text.lines().find_map(|line| line.strip_prefix("image = \"")?.strip_suffix('"'));
            let image = image.context("the name of an image")?.to_owned();
            registry.push(&image, &tools()?)?;
            text = text.replace(&format!("{image:?}"), &format!("{:?}", registry.name(&image)));
        }
        if !text.is_empty() {
            project.write("bottle.toml", text)?;
            // The stand-in has this machine's own python3 and npm.
            project.write("package.json", format!("{{ \"scripts\": {{ \"test\": \"echo {HERE}\" }} }}\n"))?;
            let test = "import unittest\nclass Test(unittest.TestCase):\n    def test(self):\n        print";
            project.write("test_main.py", format!("{test}({HERE:?})\n"))?;
        }
        project.write("main.py", "print(\"hello\")\n")?;
        for words in [
            &["init", "-q"][..],
            &["-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "--allow-empty", "-m", "x"],
            &["remote", "add", "origin", "https://git.example.com/x.git"],
        ] {
            let git = Command::new("git").arg("-C").arg(project.folder()).args(words).output()?;
            ensure!(git.status.success(), "git: {}", String::from_utf8_lossy(&git.stderr));
        }
        Ok(Self { project, _registry: registry })
    }

    /// Types a line, and returns what it said. A guest that does not start is tried again.
    fn works(&self, of: &str, line: &str) -> Result<String> {
        let is_refused = REFUSED.iter().any(|start| line.starts_with(start));
        // It says that this machine boots no guests, and is right.
        let is_stood_in_for = line == "bottle doctor" && !self.project.environment().is_real();
        for attempt in 1.. {
            let output = self.type_in(line)?;
            let said = [output.stdout.as_slice(), &output.stderr].concat();
            let said = String::from_utf8_lossy(&said).into_owned();
            let inconclusive = output.status.code() == Some(i32::from(outer::INCONCLUSIVE));
            if inconclusive && attempt < TRIES {
                continue;
            }
            let fits = output.status.success() != is_refused || is_stood_in_for;
            ensure!(fits, "{of}: {line}: {}\n{said}", output.status);
            println!("{of:<22} {}", Line(line));
            return Ok(said);
        }
        anyhow::bail!("no try is left")
    }

    fn type_in(&self, line: &str) -> Result<Output> {
        let environment = self.project.environment();
        let mut shell = environment.command("sh");
        let home = environment.path("home");
        let path = environment.checkout().search_path(&[&environment.path("bin")])?;
        // The same folder as a user's, whoever runs this.
        shell.env("PATH", path).env("HOME", &home).env("XDG_CONFIG_HOME", home.join(".config"));
        KEYS.iter().for_each(|key| _ = shell.env(key, "no-real-key"));
        shell.args(["-c", line]).current_dir(self.project.folder()).stdin(Stdio::null());
        shell.output().with_context(|| line.to_owned())
    }
}

/// Returns an image that has a shell, and the commands that the examples are for.
fn tools() -> Result<Image> {
    let busybox = Path::new("/bin/busybox");
    let shell = fs::read(busybox).with_context(|| format!("{}: run `make setup`", busybox.display()))?;
    let says = |name: &str| (format!("bin/{name}"), format!("#!/bin/sh\necho {HERE}\n").into_bytes());
    let mut files: Vec<(String, Vec<u8>)> =
        vec![("bin/busybox".to_owned(), shell), says("python3"), says("npm")];
    for applet in ["sh", "true", "cat", "ls"] {
        files.push((
            format!("bin/{applet}"),
            format!("#!/bin/busybox sh\nexec /bin/busybox {applet} \"$@\"\n").into_bytes(),
        ));
    }
    Ok(Image { layers: vec![files] })
}
