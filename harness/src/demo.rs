//! A demonstration in a real guest: what it reaches, and what it is refused.
//!
//! `make demo` prints it, and exits with status 0 only if every claim holds.

use crate::checkout::Checkout;
use crate::environment::{Environment, Guest};
use crate::outer;
use crate::page::Page;
use crate::processes::naming;
use anyhow::{Context, Result};
use std::fs;
use std::process::{ExitCode, Stdio};

/// The guest's last line.
const END: &str = "@@ end";
const SLUG: &str = "demo";
/// A host name that only this bottle's proxy knows.
const HOST: &str = "page.demo";
const PAGE: &str = "hello from the page that the demo allows\n";
const SECRET: &str = "the host's secret: no guest may ever read this\n";
/// How many times a guest is tried. Under emulation smolvm's guests sometimes fail to start, which says
/// nothing about isolation.
const TRIES: u32 = 3;
/// How long a refusal may take, even in a guest under emulation. A refusal never hangs.
const AT_ONCE_SECONDS: f64 = 3.0;

/// Runs the demo, in the outer machine if there is no KVM.
///
/// # Errors
/// Returns an error if it cannot run. A claim that does not hold is an exit status, not an error.
pub fn main(checkout: &Checkout) -> Result<ExitCode> {
    if !outer::has_kvm() {
        return outer::run_job(checkout, "demo");
    }
    for attempt in 1..=TRIES {
        match show(checkout)? {
            Shown::AsExpected => return Ok(ExitCode::SUCCESS),
            Shown::Otherwise => return Ok(ExitCode::FAILURE),
            Shown::Inconclusive => {
                eprintln!("the guest did not start, or died on the way (attempt {attempt} of {TRIES})");
            }
        }
    }
    Ok(ExitCode::from(outer::INCONCLUSIVE))
}

enum Shown {
    AsExpected,
    Otherwise,
    Inconclusive,
}

/// Returns the guest's script. Its `try` prints a command, its output, and a line for the judge.
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

fn show(checkout: &Checkout) -> Result<Shown> {
    let environment = Environment::new(checkout, Guest::Real)?;
    let (page, secret) = (Page::serve(PAGE)?, Page::serve(SECRET)?);
    let project = environment.small_project(
        SLUG,
        &format!(
            "[egress]\nallow = [\"{HOST}:{}\"]\nhosts = {{ \"{HOST}\" = \"127.0.0.1\" }}\n",
            page.port()
        ),
    )?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    println!("host$ cat bottle.toml\n{}", indent(&fs::read_to_string(project.path("bottle.toml"))?));
    println!("host$ bottle run -- sh demo.sh");
    let bottle = |words: &[&str]| {
        let mut command = project.command(words);
        // The sockets are where a user's would be.
        command.env_remove("BOTTLE_RUNTIME_DIR");
        command
    };
    let mut run = bottle(&["--quiet", "run", "--", "sh", "-c", &script(page.port(), secret.port())]);
    let output = run.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("cannot run bottle")?;
    let said = String::from_utf8_lossy(&output.stdout);
    // A guest that did not start, or died on the way, proves nothing either way.
    if output.status.code() == Some(i32::from(outer::INCONCLUSIVE)) || !said.lines().any(|line| line == END) {
        return Ok(Shown::Inconclusive);
    }
    for line in said.lines().filter(|line| !line.starts_with('@')) {
        println!("{line}");
    }
    let refused = bottle(&["logs", SLUG, "--denied"]).output()?;
    let refused = String::from_utf8_lossy(&refused.stdout).into_owned();
    println!("\nhost$ bottle logs {SLUG} --denied\n{}", indent(&refused));

    let mut claims = Claims(Vec::new());
    claims.judge_guest(&Answers::read(&said), output.status.success());
    claims.judge_log(&refused);
    claims.add("the page was served to the guest", page.connections() >= 2);
    claims.add("nobody ever asked for the secret", secret.connections() == 0);
    let machines = environment.smolvm()?.args(["machine", "ls", "--json"]).output()?;
    let machines = String::from_utf8_lossy(&machines.stdout).into_owned();
    claims.add("no machine is left", machines.trim() == "[]");
    claims.add("no mount is left", fs::read_to_string("/proc/self/mounts")? == mounts);
    claims.add("no process is left", naming(environment.folder()).is_empty());
    claims.add("no socket is left", !environment.path("run").join(SLUG).exists());
    for (claim, holds) in &claims.0 {
        println!("{} {claim}", if *holds { "ok  " } else { "FAIL" });
    }
    Ok(if claims.0.iter().all(|(_, holds)| *holds) { Shown::AsExpected } else { Shown::Otherwise })
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// The guest's answers, one for each claim.
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
    fn add(&mut self, claim: &str, holds: bool) {
        self.0.push((claim.to_owned(), holds));
    }

    fn judge_guest(&mut self, answers: &Answers, ended_well: bool) {
        let at_once = |answer: &Answer| answer.status != 0 && answer.seconds < AT_ONCE_SECONDS;
        self.add("the run ended with the guest's own status", ended_well);
        self.add(
            "a kernel of its own runs",
            answers.holds("kernel", |a| a.status == 0 && !a.said.is_empty()),
        );
        let one_route =
            |a: &Answer| a.said.lines().count() == 1 && a.said.starts_with("default via 192.168.");
        self.add("it has one route", answers.holds("route", one_route));
        self.add("proxy.internal resolves", answers.holds("name", |a| a.said.contains("192.168.")));
        self.add(
            "the page comes through HTTP_PROXY",
            answers.holds("page", |a| a.status == 0 && a.said.contains(PAGE.trim())),
        );
        self.add(
            "the page comes through HTTPS_PROXY",
            answers.holds("tunnel", |a| a.said.contains(PAGE.trim())),
        );
        self.add(
            "another host is refused, at once, with 403",
            answers.holds("denied", |a| at_once(a) && a.said.contains("403")),
        );
        self.add("without the proxy it is refused, at once", answers.holds("direct", at_once));
        self.add(
            "a host port that is no door is refused, at once",
            answers.holds("secret", |a| at_once(a) && a.said.contains("refused")),
        );
        self.add(
            "gateway:80 is refused, at once",
            answers.holds("gateway", |a| at_once(a) && a.said.contains("refused")),
        );
        self.add(
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
            self.add(claim, refused.contains(wanted));
        }
    }
}
