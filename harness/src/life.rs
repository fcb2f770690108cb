//! A bottle's life in a real guest: up, a command, a keeper that dies and comes back, a restart, gone.

use crate::outer;
use crate::place::Place;
use anyhow::{Context, Result};
use std::fs;
use std::process::{Command, ExitCode, Output};
use std::time::{Duration, Instant};

const TRIES: u32 = 4;

/// Lives through it, in the outer machine where there is no KVM.
///
/// # Errors
/// Where it cannot begin.
pub fn main(place: &Place) -> Result<ExitCode> {
    if !outer::has_kvm() {
        return outer::run_job(place, "life");
    }
    for attempt in 1..=TRIES {
        let mut life = Life::new(place)?;
        match life.live() {
            Ok(()) => return Ok(ExitCode::SUCCESS),
            // A machine that is not there any more died; one that is there misbehaved.
            Err(error) if life.machine_died() => {
                eprintln!("the guest died (attempt {attempt} of {TRIES}): {error:#}");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(ExitCode::from(outer::INCONCLUSIVE))
}

struct Life<'p> {
    place: &'p Place,
    dir: tempfile::TempDir,
    /// Whether the machine should be running now.
    up: bool,
}

impl Drop for Life<'_> {
    fn drop(&mut self) {
        let _ = self.bottle(&["--quiet", "rm", "--force"]);
    }
}

impl<'p> Life<'p> {
    fn new(place: &'p Place) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("bottle-life-").tempdir()?;
        let config = "slug = \"life\"\n[guest]\ncpus = 2\nmemory = 512\n[workspace]\nmode = \"read-only\"\n";
        fs::write(dir.path().join("bottle.toml"), config)?;
        fs::write(dir.path().join("file"), "from the host\n")?;
        // smolvm's machine runs as a user of its own, and the project has to be readable for it.
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        Ok(Self { place, dir, up: false })
    }

    fn run(&self, program: &str, words: &[&str]) -> Result<Output> {
        let mut command = Command::new(program);
        command.args(words).current_dir(self.dir.path()).envs(self.place.environment(&[])?);
        command.output().with_context(|| program.to_owned())
    }

    fn bottle(&self, words: &[&str]) -> Result<Output> {
        let program = self.place.program("bottle")?;
        self.run(program.to_str().context("a path that is UTF-8")?, words)
    }

    /// What a script prints in the guest, its status behind it.
    fn guest(&self, script: &str) -> Result<String> {
        let output = self.bottle(&["--quiet", "exec", "--", "sh", "-c", script])?;
        Ok(format!("{}[{}]", String::from_utf8_lossy(&output.stdout), output.status.code().unwrap_or(-1)))
    }

    fn start(&mut self) -> Result<()> {
        let output = self.bottle(&["--quiet", "up"])?;
        self.up = true;
        anyhow::ensure!(output.status.success(), "up: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn state(&self) -> Result<String> {
        let rows: serde_json::Value = serde_json::from_slice(&self.bottle(&["ls", "--json"])?.stdout)?;
        Ok(rows[0]["state"].as_str().unwrap_or("gone").to_owned())
    }

    fn machine_died(&self) -> bool {
        self.up && !matches!(self.state().as_deref(), Ok("running" | "unkept"))
    }

    fn live(&mut self) -> Result<()> {
        let network = "ip route; http_proxy=$HTTP_PROXY wget -T 5 -O- http://x.test/ 2>&1 | grep -o 'HTTP.*'";
        let reached = "default via 192.168.127.1 dev eth0 onlink \nHTTP/1.1 403 Forbidden\n[0]";
        self.start()?;
        claim(
            "a command runs, and its status is passed on",
            self.guest("uname -r > /dev/null; exit 3")?,
            "[3]",
        )?;
        claim("the workspace is there", self.guest("pwd; cat file")?, "/workspace\nfrom the host\n[0]")?;
        claim("the proxy is reached", self.guest(network)?, reached)?;
        claim("it is listed", self.state()?, "running")?;
        let verified = self.bottle(&["--quiet", "verify"])?;
        let verified = String::from_utf8_lossy(&verified.stdout).into_owned();
        let sentence = verified.lines().last().and_then(|line| line.split(';').next()).unwrap_or_default();
        let wanted = "life: isolated: nothing answers but the doors (proxy.internal:";
        claim(
            "`bottle verify` finds it isolated",
            sentence.get(..wanted.len()).unwrap_or(&verified),
            wanted,
        )?;
        claim("its memory is marked", self.guest("touch /tmp/mark")?, "[0]")?;

        let status: serde_json::Value = serde_json::from_slice(&self.bottle(&["status", "--json"])?.stdout)?;
        let keeper = status["pid"].as_u64().context("the keeper's process")?.to_string();
        self.run("kill", &["-KILL", &keeper])?;
        let end = Instant::now() + Duration::from_secs(10);
        while self.state()? != "unkept" && Instant::now() < end {}
        claim("without its keeper it is listed as broken", self.state()?, "unkept")?;
        let inside = |script| {
            self.run("smolvm", &["machine", "exec", "--name", "bottle-life", "--", "sh", "-c", script])
        };
        let told =
            inside("ip route; wget -T 9 -O- http://192.168.127.254:20000/ 2>&1 | grep -o 'Network.*'")?;
        claim(
            "without its keeper it is told at once",
            String::from_utf8_lossy(&told.stdout),
            "Network unreachable\n",
        )?;
        self.start()?;
        claim("a new keeper mends it", self.guest(network)?, reached)?;
        claim("what was in it is still there", self.guest("ls /tmp/mark")?, "/tmp/mark\n[0]")?;

        self.up = false;
        claim("it stops", ok(&self.bottle(&["--quiet", "stop"])?), "ok")?;
        claim("it is listed as stopped", self.state()?, "stopped")?;
        self.start()?;
        claim("after a restart the proxy is reached", self.guest(network)?, reached)?;
        self.up = false;
        claim("it is removed", ok(&self.bottle(&["--quiet", "rm", "--force"])?), "ok")?;
        claim("nothing of it is listed", self.state()?, "gone")
    }
}

fn ok(output: &Output) -> String {
    if output.status.success() {
        "ok".to_owned()
    } else {
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

fn claim(what: &str, came: impl AsRef<str>, wanted: &str) -> Result<()> {
    let came = came.as_ref();
    anyhow::ensure!(came == wanted, "{what}: {wanted:?} was expected, {came:?} came");
    println!("ok   {what}");
    Ok(())
}
