//! Attacks by a process that hostile bytes have taken over: the keeper, which reads everything that a
//! guest sends, and git, which reads what it pushes. What such a process would do it does by itself,
//! where it would read the first of them ([`bottle_host::trial`]).

use crate::ways_back::Attack;
use crate::ways_back::field::{Field, SLUG, Verdict};
use anyhow::{Context, Result};
use bottle_host::defence::Defence;
use bottle_host::trial::TRY;
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

/// Every attack of this file.
pub fn attacks() -> Vec<Attack> {
    let keeper = |name, run| Attack::new(name, Defence::KeeperConfined, run);
    let git = |name, run| Attack::new(name, Defence::GitConfined, run);
    vec![
        keeper("keeper-writes-home", |field| keeper_tries(field, "write", "home/.bashrc")),
        keeper("keeper-plants-hook", |field| keeper_tries(field, "write", "project/.git/hooks/pre-commit")),
        keeper("keeper-changes-what-approve-reads", services),
        keeper("keeper-reads-home", |field| keeper_tries(field, "read", "home/.ssh/authorized_keys")),
        keeper("keeper-reads-another-bottle", |field| keeper_tries(field, "read", "state/other/plan.json")),
        keeper("keeper-gives-files-away", |field| keeper_tries(field, "chown", "outside/file")),
        keeper("keeper-runs-a-program", |field| keeper_tries(field, "exec", "proof")),
        keeper("keeper-runs-memory", |field| keeper_tries(field, "exec-other", "proof")),
        keeper("keeper-writes-code", |field| keeper_tries(field, "code", "")),
        keeper("keeper-reads-the-keys", |field| keeper_tries(field, "memory", "=keys")),
        keeper("keeper-copies-the-keys", |field| keeper_tries(field, "vm-read", "=keys")),
        keeper("keeper-writes-its-starter", |field| keeper_tries(field, "memory-write", "=starter")),
        keeper("keeper-traces-its-starter", |field| keeper_tries(field, "trace", "=starter")),
        keeper("keeper-kills-a-stranger", kill),
        keeper("keeper-asks-another-keeper", other_keeper),
        keeper("keeper-makes-a-namespace", |field| keeper_tries(field, "namespace", "")),
        keeper("keeper-listens-to-the-wire", |field| keeper_tries(field, "packet", "")),
        keeper("keeper-opens-a-port", |field| keeper_tries(field, "listen", "=127.0.0.1:0")),
        git("git-writes-home", |field| git_tries(field, "write", "home/.bashrc")),
        git("git-reads-home", |field| git_tries(field, "read", "home/.ssh/authorized_keys")),
        git("git-changes-its-hooks", git_hooks),
        git("git-reaches-the-network", git_dials),
        git("git-asks-the-keeper", git_asks),
        git("git-asks-for-more-than-a-push", git_asks_for_more),
        git("git-traces-a-stranger", git_traces),
    ]
}

/// What is tried, where: a path of the field, or what follows an equals sign.
fn attempt(field: &Field, process: &str, what: &str, at: &str) -> String {
    let at = match at.strip_prefix('=') {
        Some(at) => at.to_owned(),
        None => field.path(at).display().to_string(),
    };
    format!("{process}:{what}:{at}")
}

/// An upstream, so that there is a key to be had.
const UPSTREAM: &str = "[[upstream]]\npath = \"/api\"\norigin = \"https://api.test\"\n\
                        headers = { x-api-key = { from_env = \"TEST_KEY\" } }\n";

/// The keeper is taken over. It may end of it, which is no success.
fn keeper_tries(field: &mut Field, what: &str, at: &str) -> Result<Verdict> {
    let attempt = attempt(field, "keeper", what, at);
    keeper_does(field, &attempt)?;
    let said = fs::read_to_string(field.path("state/t/keeper.log"))?;
    Ok(match said.contains(&format!("trying {what} ")) {
        true => Verdict::succeeded_if(said.contains(&format!("tried {what}: done")), format!("{what} {at}")),
        false => Verdict::Inconclusive("it was not tried".to_owned()),
    })
}

fn keeper_does(field: &mut Field, attempt: &str) -> Result<()> {
    field.put("project/.git/hooks/pre-commit.sample", "")?;
    field.put("state/other/plan.json", "{}")?;
    field.watch("project/.git");
    field.set(TRY, attempt);
    field.set("TEST_KEY", "sk-of-the-operators");
    // One that is ended for what it tries does not come up.
    let _ = field.up(UPSTREAM);
    Ok(())
}

/// What `bottle git approve` believes of a repository: where it is, and where a push goes.
fn services(field: &mut Field) -> Result<Verdict> {
    let attempt = attempt(field, "keeper", "write", "state/t/services.json");
    keeper_does(field, &attempt)?;
    let text = fs::read_to_string(field.path("state/t/services.json"))?;
    Ok(Verdict::succeeded_if(text.contains("tried"), "services.json changed"))
}

/// A process of the operator's that has nothing to do with bottle.
fn kill(field: &mut Field) -> Result<Verdict> {
    let mut stranger = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn()?;
    let done = keeper_does(field, &format!("keeper:kill:{}", stranger.id()));
    let ended = stranger.try_wait()?.is_some();
    let _ = stranger.kill();
    stranger.wait()?;
    done?;
    Ok(Verdict::succeeded_if(ended, "a process was killed"))
}

/// Another bottle's keeper takes requests on a socket in a folder of the same user.
fn other_keeper(field: &mut Field) -> Result<Verdict> {
    let path = field.path("run/other/control.sock");
    fs::create_dir_all(path.parent().context("a folder")?)?;
    let listener = UnixListener::bind(&path)?;
    listener.set_nonblocking(true)?;
    let attempt = format!("keeper:connect:{}", path.display());
    let answering = listener.try_clone()?;
    // Whoever asks is not kept waiting.
    let heard = std::thread::spawn(move || {
        for _ in 0..600 {
            if let Ok((mut stream, _)) = answering.accept() {
                let mut said = [0; 256];
                let _ = stream.set_nonblocking(false);
                return stream.read(&mut said).unwrap_or(0) > 0;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        false
    });
    let done = keeper_does(field, &attempt);
    // The listener is not needed any more: its thread is told by one that says nothing.
    let _ = std::os::unix::net::UnixStream::connect(&path);
    let asked = heard.join().unwrap_or(false);
    done?;
    Ok(Verdict::succeeded_if(asked, "another bottle's keeper was asked"))
}

/// A guest pushes, and the git that reads it is taken over.
fn push(field: &mut Field, attempt: &str) -> Result<String> {
    let project = field.path("project");
    let git = |words: &[&str]| -> Result<()> {
        let mut command = Command::new("git");
        let output = command.args(words).current_dir(&project).env("HOME", field.path("home")).output()?;
        anyhow::ensure!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    git(&["init", "-q", "-b", "main"])?;
    git(&["add", "kept"])?;
    git(&["commit", "-q", "-m", "first"])?;
    field.set(TRY, attempt);
    field.up("[workspace]\nmode = \"none\"\n[git-gate]\n[[git-gate.repo]]\nname = \"project\"\n")?;
    let script = "export HOME=/root; cd /tmp; git clone -q $BOTTLE_GIT_GATE/project.git work; cd work; \
                  git -c user.name=a -c user.email=a@example.com commit -q --allow-empty -m next; \
                  git push origin main:topic 2>&1";
    Ok(field.operator(&["exec", "--", "sh", "-c", script])?.text())
}

fn git_tries(field: &mut Field, what: &str, at: &str) -> Result<Verdict> {
    let attempt = attempt(field, "git", what, at);
    let said = push(field, &attempt)?;
    let ended = said.contains("hook declined") || said.contains("hung up");
    Ok(match said.contains(&format!("trying {what} ")) || ended {
        true => Verdict::succeeded_if(said.contains(&format!("tried {what}: done")), format!("{what} {at}")),
        false => Verdict::Inconclusive(format!("it was not tried: {said}")),
    })
}

/// The programs that git runs at the next push, and that an operator's own git would run, too.
fn git_hooks(field: &mut Field) -> Result<Verdict> {
    git_tries(field, "write", "state/t/git/.hooks/pre-receive")
}

fn git_dials(field: &mut Field) -> Result<Verdict> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let said = push(field, &format!("git:dial:{}", listener.local_addr()?))?;
    anyhow::ensure!(said.contains("trying dial"), "it was not tried: {said}");
    Ok(Verdict::succeeded_if(listener.accept().is_ok(), "git connected to a port of the host"))
}

/// Whoever traces a process of the operator's can have it do anything.
fn git_traces(field: &mut Field) -> Result<Verdict> {
    let mut stranger = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn()?;
    let verdict = git_tries(field, "trace", &format!("={}", stranger.id()));
    let _ = stranger.kill();
    stranger.wait()?;
    verdict
}

/// The keeper does what an operator's command asks on its socket: it would open any host.
fn git_asks(field: &mut Field) -> Result<Verdict> {
    let attempt = format!("git:connect:{}", field.path("run/t/control.sock").display());
    allows_a_host(field, &attempt)
}

/// The same on the socket that its hooks were given.
fn git_asks_for_more(field: &mut Field) -> Result<Verdict> {
    allows_a_host(field, "git:channel:")
}

fn allows_a_host(field: &mut Field, attempt: &str) -> Result<Verdict> {
    let said = push(field, attempt)?;
    anyhow::ensure!(said.contains("trying c"), "it was not tried: {said}");
    let status = field.operator(&["status", SLUG, "--json"])?.text();
    Ok(Verdict::succeeded_if(status.contains("tried.example.com"), "git allowed a host"))
}
