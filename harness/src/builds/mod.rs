//! How many small packages of public registries install and work in a guest that reaches nothing but their registry.
//!
//! The packages, and a program for each that uses it, are data (`projects.toml`). Each ecosystem has a bottle of its own, whose
//! guest is the stand-in. The hosts are those that the ecosystem's client names on this machine. A witness, in a bottle
//! that allows no host, has to fail: what is already on this machine proves nothing.

mod ecosystem;
mod mirror;
mod score;

use crate::checkout::Checkout;
use crate::environment::{Environment, Guest, Project, RunningBottle};
use anyhow::{Context, Result, ensure};
use ecosystem::Ecosystem;
use mirror::Mirror;
use score::{LIMIT, Score, last_lines};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::process::{ExitCode, Stdio};
use std::time::Instant;

const PROJECTS: &str = include_str!("projects.toml");

/// What to try.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Only these packages or ecosystems
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Projects {
    not_tried: BTreeMap<String, String>,
    project: Vec<Tried>,
}

/// A package, and a program that shows that it works.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tried {
    ecosystem: Ecosystem,
    package: String,
    /// Empty where the registry has only one.
    #[serde(default)]
    version: String,
    test: String,
}

#[derive(Serialize)]
struct Report {
    works: usize,
    tried: usize,
    scores: Vec<Score>,
    not_tried: BTreeMap<String, String>,
}

/// Tries each package, and prints a line for each and a table.
///
/// # Errors
/// Returns an error if something cannot be set up, or if a witness does not fail. A package that does not work is a line and
/// the exit status.
pub fn main(checkout: &Checkout, options: &Options) -> Result<ExitCode> {
    let Projects { mut not_tried, project } = toml::from_str(PROJECTS)?;
    let is_meant = |tried: &Tried| {
        let names = [tried.package.as_str(), tried.ecosystem.name()];
        options.only.is_empty() || options.only.iter().any(|only| names.contains(&only.as_str()))
    };
    let mut scores = Vec::new();
    for ecosystem in Ecosystem::ALL {
        let meant: Vec<&Tried> =
            project.iter().filter(|tried| tried.ecosystem == ecosystem && is_meant(tried)).collect();
        let Some(first) = meant.first() else { continue };
        let hosts = match ecosystem.registry().find() {
            Ok(found) => found,
            Err(error) => {
                not_tried.insert(ecosystem.name().to_owned(), format!("{error:#}"));
                continue;
            }
        };
        ensure!(
            !attempt(&bottle(checkout, ecosystem, "[]", "[]", &[first])?, first)?.works,
            "{} works in a guest that reaches nothing: it shows nothing",
            first.package
        );
        let (allowed, private) = (format!("{:?}", hosts.hosts), format!("{:?}", hosts.names()));
        let running = bottle(checkout, ecosystem, &allowed, &private, &meant)?;
        for tried in meant {
            let score = attempt(&running, tried)?;
            score.show();
            scores.push(score);
        }
    }
    let is_meant = |mirror: &Mirror| options.only.is_empty() || options.only.contains(&mirror.ecosystem);
    for mirror in Mirror::all()?.into_iter().filter(is_meant) {
        let score = mirror.attempt(checkout)?;
        score.show();
        scores.push(score);
    }
    ensure!(!scores.is_empty(), "there is nothing to try");
    let works = scores.iter().filter(|score| score.works).count();
    for of in scores.chunk_by(|first, second| first.ecosystem == second.ecosystem) {
        let count = of.iter().filter(|score| score.works).count();
        println!("{:<10} {count} of {}", of[0].ecosystem, of.len());
    }
    not_tried.iter().for_each(|(name, why)| println!("{name:<10} not tried: {why}"));
    let folder = checkout.root().join("target/builds");
    fs::create_dir_all(&folder)?;
    let report = Report { works, tried: scores.len(), scores, not_tried };
    fs::write(folder.join("builds.json"), serde_json::to_string_pretty(&report)? + "\n")?;
    println!("{works} of {} work", report.tried);
    Ok(if works == report.tried { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Brings up a bottle with the programs of these packages in its workspace.
fn bottle(
    checkout: &Checkout,
    ecosystem: Ecosystem,
    allowed: &str,
    private: &str,
    tried: &[&Tried],
) -> Result<RunningBottle> {
    let environment = Environment::new(checkout, Guest::Namespace)?;
    let project: Project = environment.project("project")?;
    let ca = "/etc/ssl/certs/ca-certificates.crt";
    project.write(
        "bottle.toml",
        format!(
            "slug = \"builds\"\n[guest]\nmemory = 4096\nca = [{ca:?}]\n{}\n[egress]\nallow = {allowed}\nallow_private = {private}\n",
            ecosystem.guest()?
        ),
    )?;
    project.write("try.sh", ecosystem.script())?;
    for tried in tried {
        project.write(&format!("{}.test", file_name(&tried.package)), &tried.test)?;
    }
    project.up()
}

fn attempt(running: &RunningBottle, tried: &Tried) -> Result<Score> {
    let since = Instant::now();
    let [package, version] = [("PACKAGE", &tried.package), ("VERSION", &tried.version)]
        .map(|(name, value)| format!("{name}={value}"));
    let test = format!("TEST=/workspace/{}.test", file_name(&tried.package));
    let mut command = running.command(&["--quiet", "exec", "--timeout", LIMIT]);
    command.args(["--env", &package, "--env", &version, "--env", &test]);
    command.args(["--", "sh", "-eu", "/workspace/try.sh"]).stdin(Stdio::null());
    let output = command.output().context("bottle")?;
    Ok(Score {
        ecosystem: tried.ecosystem.name().to_owned(),
        package: tried.package.clone(),
        version: tried.version.clone(),
        works: output.status.success(),
        seconds: since.elapsed().as_secs(),
        why: last_lines(&output),
    })
}

/// Returns a name for a package's files: packages may have a scope.
fn file_name(package: &str) -> String {
    package.replace(['/', '@'], "_")
}
