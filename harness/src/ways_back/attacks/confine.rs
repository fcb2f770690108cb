//! Attacks by a process that hostile bytes have taken over: the keeper, which reads everything that a guest
//! sends, and git, which reads its pushes. The process itself makes the attack, at the point where it would
//! read the first of those bytes ([`bottle_host::trial`]).

use crate::ways_back::attack::Attack;
use crate::ways_back::target::{SLUG, Target, Verdict};
use anyhow::{Context, Result};
use bottle_host::defence::Defence;
use bottle_host::trial::TRY;
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

/// Returns every attack in this file.
pub fn attacks() -> Vec<Attack> {
    let keeper = |name, run| Attack::new(name, Defence::KeeperConfined, run);
    let git = |name, run| Attack::new(name, Defence::GitConfined, run);
    vec![
        keeper("keeper-writes-home", |target| keeper_tries(target, "write", "home/.bashrc")),
        keeper("keeper-plants-hook", |target| keeper_tries(target, "write", "project/.git/hooks/pre-commit")),
        keeper("keeper-changes-what-approve-reads", services),
        keeper("keeper-reads-home", |target| keeper_tries(target, "read", "home/.ssh/authorized_keys")),
        keeper("keeper-reads-another-bottle", |target| keeper_tries(target, "read", "state/other/plan.json")),
        keeper("keeper-gives-files-away", |target| keeper_tries(target, "chown", "outside/file")),
        keeper("keeper-runs-a-program", |target| keeper_tries(target, "exec", "proof")),
        keeper("keeper-runs-memory", |target| keeper_tries(target, "exec-other", "proof")),
        keeper("keeper-writes-code", |target| keeper_tries(target, "code", "")),
        keeper("keeper-reads-the-keys", |target| keeper_tries(target, "memory", "=keys")),
        keeper("keeper-copies-the-keys", |target| keeper_tries(target, "vm-read", "=keys")),
        keeper("keeper-writes-its-starter", |target| keeper_tries(target, "memory-write", "=starter")),
        keeper("keeper-traces-its-starter", |target| keeper_tries(target, "trace", "=starter")),
        keeper("keeper-kills-a-stranger", kill),
        keeper("keeper-asks-another-keeper", other_keeper),
        keeper("keeper-makes-a-namespace", |target| keeper_tries(target, "namespace", "")),
        keeper("keeper-listens-to-the-wire", |target| keeper_tries(target, "packet", "")),
        keeper("keeper-opens-a-port", |target| keeper_tries(target, "listen", "=127.0.0.1:0")),
        git("git-writes-home", |target| git_tries(target, "write", "home/.bashrc")),
        git("git-reads-home", |target| git_tries(target, "read", "home/.ssh/authorized_keys")),
        git("git-changes-its-hooks", git_hooks),
        git("git-reaches-the-network", git_dials),
        git("git-asks-the-keeper", git_asks),
        git("git-asks-for-more-than-a-push", git_asks_for_more),
        git("git-traces-a-stranger", git_traces),
    ]
}

/// Returns the description of an attempt. `at` is a path of the target, or literal text after an equals sign.
fn attempt(target: &Target, process: &str, what: &str, at: &str) -> String {
    let at = match at.strip_prefix('=') {
        Some(at) => at.to_owned(),
        None => target.path(at).display().to_string(),
    };
    format!("{process}:{what}:{at}")
}

/// An upstream, so that there is a key to steal.
const UPSTREAM: &str = "[[upstream]]\npath = \"/api\"\norigin = \"https://api.test\"\n\
                        headers = { x-api-key = { from_env = \"TEST_KEY\" } }\n";

/// The keeper is taken over. If the attempt ends the keeper, that does not count as success.
fn keeper_tries(target: &mut Target, what: &str, at: &str) -> Result<Verdict> {
    let attempt = attempt(target, "keeper", what, at);
    keeper_does(target, &attempt)?;
    let said = fs::read_to_string(target.path("state/t/keeper.log"))?;
    Ok(match said.contains(&format!("trying {what} ")) {
        true => Verdict::succeeded_if(said.contains(&format!("tried {what}: done")), format!("{what} {at}")),
        false => Verdict::Inconclusive("it was not tried".to_owned()),
    })
}

fn keeper_does(target: &mut Target, attempt: &str) -> Result<()> {
    target.put("project/.git/hooks/pre-commit.sample", "")?;
    target.put("state/other/plan.json", "{}")?;
    target.watch("project/.git");
    target.set(TRY, attempt);
    target.set("TEST_KEY", "sk-of-the-operators");
    // A keeper that is killed for its attempt does not come up.
    let _ = target.up(UPSTREAM);
    Ok(())
}

/// The file that tells `bottle git approve` where a repository is, and where a push goes.
fn services(target: &mut Target) -> Result<Verdict> {
    let attempt = attempt(target, "keeper", "write", "state/t/services.json");
    keeper_does(target, &attempt)?;
    let text = fs::read_to_string(target.path("state/t/services.json"))?;
    Ok(Verdict::succeeded_if(text.contains("tried"), "services.json changed"))
}

/// The keeper kills one of the operator's processes that has nothing to do with bottle.
fn kill(target: &mut Target) -> Result<Verdict> {
    let mut stranger = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn()?;
    let done = keeper_does(target, &format!("keeper:kill:{}", stranger.id()));
    let ended = stranger.try_wait()?.is_some();
    let _ = stranger.kill();
    stranger.wait()?;
    done?;
    Ok(Verdict::succeeded_if(ended, "a process was killed"))
}

/// The keeper connects to another keeper's control socket, which is in a folder of the same user.
fn other_keeper(target: &mut Target) -> Result<Verdict> {
    let path = target.path("run/other/control.sock");
    fs::create_dir_all(path.parent().context("a folder")?)?;
    let listener = UnixListener::bind(&path)?;
    listener.set_nonblocking(true)?;
    let attempt = format!("keeper:connect:{}", path.display());
    let answering = listener.try_clone()?;
    // Answer at once, so that nobody waits.
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
    let done = keeper_does(target, &attempt);
    // The listener is no longer needed. A silent connection ends its thread.
    let _ = std::os::unix::net::UnixStream::connect(&path);
    let asked = heard.join().unwrap_or(false);
    done?;
    Ok(Verdict::succeeded_if(asked, "another bottle's keeper was asked"))
}

/// A guest pushes, and the git that reads the push is taken over.
fn push(target: &mut Target, attempt: &str) -> Result<String> {
    let project = target.path("project");
    let git = |words: &[&str]| -> Result<()> {
        let mut command = Command::new("git");
        let output = command.args(words).current_dir(&project).env("HOME", target.path("home")).output()?;
        anyhow::ensure!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    git(&["init", "-q", "-b", "main"])?;
    git(&["remote", "add", "origin", "https://git.example.com/x.git"])?;
    git(&["add", "kept"])?;
    git(&["commit", "-q", "-m", "first"])?;
    target.set(TRY, attempt);
    target.up("[workspace]\nmode = \"none\"\n[git-gate]\n[[git-gate.repo]]\nname = \"project\"\n")?;
    let script = "export HOME=/root; cd /tmp; git clone -q $BOTTLE_GIT_GATE/project.git work; cd work; \
                  git -c user.name=a -c user.email=a@example.com commit -q --allow-empty -m next; \
                  git push origin main:topic 2>&1";
    Ok(target.operator(&["exec", "--", "sh", "-c", script])?.text())
}

fn git_tries(target: &mut Target, what: &str, at: &str) -> Result<Verdict> {
    let attempt = attempt(target, "git", what, at);
    let said = push(target, &attempt)?;
    let ended = said.contains("hook declined") || said.contains("hung up");
    Ok(match said.contains(&format!("trying {what} ")) || ended {
        true => Verdict::succeeded_if(said.contains(&format!("tried {what}: done")), format!("{what} {at}")),
        false => Verdict::Inconclusive(format!("it was not tried: {said}")),
    })
}

/// The programs that git runs at the next push. The operator's own git would run them, too.
fn git_hooks(target: &mut Target) -> Result<Verdict> {
    git_tries(target, "write", "state/t/git/.hooks/pre-receive")
}

fn git_dials(target: &mut Target) -> Result<Verdict> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let said = push(target, &format!("git:dial:{}", listener.local_addr()?))?;
    anyhow::ensure!(said.contains("trying dial"), "it was not tried: {said}");
    Ok(Verdict::succeeded_if(listener.accept().is_ok(), "git connected to a port of the host"))
}

/// Whoever traces one of the operator's processes can make it do anything.
fn git_traces(target: &mut Target) -> Result<Verdict> {
    let mut stranger = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn()?;
    let verdict = git_tries(target, "trace", &format!("={}", stranger.id()));
    let _ = stranger.kill();
    stranger.wait()?;
    verdict
}

/// The keeper does whatever is requested on its control socket: it would allow any host.
fn git_asks(target: &mut Target) -> Result<Verdict> {
    let attempt = format!("git:connect:{}", target.path("run/t/control.sock").display());
    allows_a_host(target, &attempt)
}

/// The same, on the socket that git's hooks were given.
fn git_asks_for_more(target: &mut Target) -> Result<Verdict> {
    allows_a_host(target, "git:channel:")
}

fn allows_a_host(target: &mut Target, attempt: &str) -> Result<Verdict> {
    let said = push(target, attempt)?;
    anyhow::ensure!(said.contains("trying c"), "it was not tried: {said}");
    let status = target.operator(&["status", SLUG, "--json"])?.text();
    Ok(Verdict::succeeded_if(status.contains("tried.example.com"), "git allowed a host"))
}
