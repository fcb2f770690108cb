//! The main job, shown in a real guest: what it reaches, and what it is refused.
//!
//! `make demo` prints this and ends with status 0 only if every claim came out as it should.

use crate::outer;
use crate::page::Page;
use crate::place::Place;
use anyhow::{Context, Result};
use std::fs;
use std::process::{Command, ExitCode, Stdio};

/// The guest's last line.
const END: &str = "@@ end";
const SLUG: &str = "demo";
/// A name that only the proxy of this bottle knows.
const HOST: &str = "page.demo";
const PAGE: &str = "hello from the page that the demo allows\n";
const SECRET: &str = "the host's secret: no guest may ever read this\n";
/// smolvm's guests now and then do not start under emulation; that says nothing about isolation.
const TRIES: u32 = 3;
/// A refusal is never a hang: it takes less than this, even in a guest under emulation.
const AT_ONCE_SECONDS: f64 = 3.0;

/// Runs the demo, in the outer machine where there is no KVM.
///
/// # Errors
/// Where it cannot run. A claim that fails is an exit status, not an error.
pub fn main(place: &Place) -> Result<ExitCode> {
    if !outer::has_kvm() {
        return outer::run_job(place, "demo");
    }
    for attempt in 1..=TRIES {
        match show(place)? {
            Shown::AsItShould => return Ok(ExitCode::SUCCESS),
            Shown::Otherwise => return Ok(ExitCode::FAILURE),
            Shown::Inconclusive => {
                eprintln!("the guest did not start, or died on the way (attempt {attempt} of {TRIES})");
            }
        }
    }
    Ok(ExitCode::from(outer::INCONCLUSIVE))
}

enum Shown {
    AsItShould,
    Otherwise,
    Inconclusive,
}

/// What the guest does. `try` prints a command, what it says, and a line for the judge.
fn script(page: u16, secret: u16) -> String {
    let proxy = "http_proxy=$HTTP_PROXY";
    format!(
        r#"
now() {{ cut -d' ' -f1 /proc/uptime; }}
try() {{
    claim=$1; shift
    printf 'guest# %s\n' "$*"
    from=$(now); said=$(sh -c "$*" 2>&1); status=$?; to=$(now)
    printf '%s\n' "$said" | sed 's/^/    /'
    printf '@@ %s %s %s %s\n' "$claim" "$status" "$from" "$to"
    printf '%s' "$said" | sed 's/^/@= /'; echo
}}
door=${{HTTPS_PROXY##*:}}; gateway=$(ip route | sed -n 's/^default via \([0-9.]*\).*/\1/p')
try kernel  "uname -r"
try route   "ip route"
try name    "nslookup proxy.internal | tail -n +3"
try page    "{proxy} wget -q -T 10 -O - http://{HOST}:{page}/"
try tunnel  "(printf 'CONNECT {HOST}:{page} HTTP/1.1\r\nHost: {HOST}:{page}\r\n\r\nGET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n'; sleep 1) | nc -w 10 proxy.internal $door"
try denied  "{proxy} wget -q -T 10 -O - http://other.demo/"
try direct  "http_proxy= wget -T 10 -O - http://{HOST}:{page}/"
try secret  "http_proxy= wget -T 10 -O - http://proxy.internal:{secret}/"
try gateway "http_proxy= wget -T 10 -O - http://$gateway:80/services/forwarder/all"
try dns     "nslookup secret-data.example.com | tail -n +3"
echo '@@ end'
"#
    )
}

fn show(place: &Place) -> Result<Shown> {
    let dir = tempfile::Builder::new().prefix("bottle-demo-").tempdir()?;
    let (page, secret) = (Page::serve(PAGE)?, Page::serve(SECRET)?);
    let project = dir.path().join("project");
    fs::create_dir(&project)?;
    fs::write(
        project.join("bottle.toml"),
        format!(
            "slug = \"{SLUG}\"\n\n[guest]\ncpus = 2\nmemory = 512\n\n[workspace]\nmode = \"none\"\n\n[egress]\nallow = [\"{HOST}:{}\"]\nhosts = {{ \"{HOST}\" = \"127.0.0.1\" }}\n",
            page.port()
        ),
    )?;
    let mut env = place.environment(&[])?;
    env.push(("BOTTLE_STATE_DIR", dir.path().join("state").into()));
    let bottle = place.program("bottle")?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    println!("host$ cat bottle.toml\n{}", indent(&fs::read_to_string(project.join("bottle.toml"))?));
    println!("host$ bottle run -- sh demo.sh");
    let mut run = Command::new(&bottle);
    run.args(["--quiet", "run", "--", "sh", "-c", &script(page.port(), secret.port())]);
    run.current_dir(&project).envs(env.iter().cloned()).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = run.output().context("cannot run bottle")?;
    let said = String::from_utf8_lossy(&output.stdout);
    // A guest that did not start, or died on the way, shows nothing either way.
    if output.status.code() == Some(i32::from(outer::INCONCLUSIVE)) || !said.lines().any(|line| line == END) {
        return Ok(Shown::Inconclusive);
    }
    for line in said.lines().filter(|line| !line.starts_with('@')) {
        println!("{line}");
    }
    let mut logs = Command::new(&bottle);
    logs.args(["logs", SLUG, "--denied"]).current_dir(&project).envs(env.iter().cloned());
    let refused = String::from_utf8_lossy(&logs.output()?.stdout).into_owned();
    println!("\nhost$ bottle logs {SLUG} --denied\n{}", indent(&refused));

    let mut claims = Claims(Vec::new());
    claims.judge_guest(&Answers::read(&said), output.status.success());
    claims.judge_log(&refused);
    claims.say("the page was served to the guest", page.asked() >= 2);
    claims.say("nobody ever asked for the secret", secret.asked() == 0);
    let machines =
        Command::new("smolvm").args(["machine", "ls", "--json"]).envs(env.iter().cloned()).output()?;
    let machines = String::from_utf8_lossy(&machines.stdout).into_owned();
    claims.say("no machine is left", machines.trim() == "[]");
    claims.say("no mount is left", fs::read_to_string("/proc/self/mounts")? == mounts);
    claims.say("no process is left", !running(&["gvproxy", "smolvm", "bottle"])?);
    claims.say("no socket is left", !std::path::Path::new("/var/lib/bottle/demo").exists());
    for (claim, holds) in &claims.0 {
        println!("{} {claim}", if *holds { "ok  " } else { "FAIL" });
    }
    Ok(if claims.0.iter().all(|(_, holds)| *holds) { Shown::AsItShould } else { Shown::Otherwise })
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// Whether a program of one of these names runs, this process aside.
fn running(names: &[&str]) -> Result<bool> {
    for entry in fs::read_dir("/proc")? {
        let comm = fs::read_to_string(entry?.path().join("comm")).unwrap_or_default();
        if names.contains(&comm.trim()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What the guest said of each claim.
struct Answers(Vec<Answer>);

struct Answer {
    claim: String,
    status: i32,
    seconds: f64,
    said: String,
}

impl Answers {
    fn read(output: &str) -> Self {
        let mut answers: Vec<Answer> = Vec::new();
        for line in output.lines() {
            if let Some(rest) = line.strip_prefix("@@ ") {
                let words: Vec<&str> = rest.split(' ').collect();
                let [claim, status, from, to] = words[..] else { continue };
                let number = |word: &str| word.parse::<f64>().unwrap_or(f64::NAN);
                answers.push(Answer {
                    claim: claim.to_owned(),
                    status: status.parse().unwrap_or(-1),
                    seconds: number(to) - number(from),
                    said: String::new(),
                });
            } else if let (Some(text), Some(answer)) = (line.strip_prefix("@= "), answers.last_mut()) {
                answer.said.push_str(text);
                answer.said.push('\n');
            }
        }
        Self(answers)
    }

    fn holds(&self, claim: &str, test: impl Fn(&Answer) -> bool) -> bool {
        self.0.iter().find(|answer| answer.claim == claim).is_some_and(test)
    }
}

struct Claims(Vec<(String, bool)>);

impl Claims {
    fn say(&mut self, claim: &str, holds: bool) {
        self.0.push((claim.to_owned(), holds));
    }

    fn judge_guest(&mut self, answers: &Answers, ended_well: bool) {
        let at_once = |answer: &Answer| answer.status != 0 && answer.seconds < AT_ONCE_SECONDS;
        self.say("the run ended with the guest's own status", ended_well);
        self.say(
            "a kernel of its own runs",
            answers.holds("kernel", |a| a.status == 0 && !a.said.is_empty()),
        );
        let one_route =
            |a: &Answer| a.said.lines().count() == 1 && a.said.starts_with("default via 192.168.");
        self.say("it has one route", answers.holds("route", one_route));
        self.say("proxy.internal resolves", answers.holds("name", |a| a.said.contains("192.168.")));
        self.say(
            "the page comes through HTTP_PROXY",
            answers.holds("page", |a| a.status == 0 && a.said.contains(PAGE.trim())),
        );
        self.say(
            "the page comes through HTTPS_PROXY",
            answers.holds("tunnel", |a| a.said.contains(PAGE.trim())),
        );
        self.say(
            "another host is refused, at once, with 403",
            answers.holds("denied", |a| at_once(a) && a.said.contains("403")),
        );
        self.say("without the proxy it is refused, at once", answers.holds("direct", at_once));
        self.say(
            "a host port that is no door is refused, at once",
            answers.holds("secret", |a| at_once(a) && a.said.contains("refused")),
        );
        self.say(
            "gateway:80 is refused, at once",
            answers.holds("gateway", |a| at_once(a) && a.said.contains("refused")),
        );
        self.say(
            "another name is refused, at once",
            answers.holds("dns", |a| a.said.contains("NXDOMAIN") && a.seconds < AT_ONCE_SECONDS),
        );
    }

    fn judge_log(&mut self, refused: &str) {
        for (claim, wanted) in [
            ("the log says why: the host", "no rule allows other.demo"),
            ("the log says why: the port", "reason=tcp-port"),
            ("the log says why: the address", "reason=tcp-address"),
            ("the log says why: the name", "dns secret-data.example.com"),
        ] {
            self.say(claim, refused.contains(wanted));
        }
    }
}
