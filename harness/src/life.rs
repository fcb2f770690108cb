//! A bottle's life in a real guest: up, a command, a keeper that dies and comes back, a restart, gone.

use crate::outer;
use crate::place::Place;
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::MetadataExt;
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
        fs::write(dir.path().join("bottle.toml"), config("read-only", ""))?;
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
        // The operator changes bottle.toml where a guest's changes were taken back, and says that it is theirs.
        let output = self.bottle(&["--quiet", "up", "--trust"])?;
        self.up = true;
        anyhow::ensure!(output.status.success(), "up: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn state(&self) -> Result<String> {
        let rows: serde_json::Value = serde_json::from_slice(&self.bottle(&["ls", "--json"])?.stdout)?;
        Ok(rows[0]["state"].as_str().unwrap_or("gone").to_owned())
    }

    fn machine_died(&self) -> bool {
        self.up && !matches!(self.state().as_deref(), Ok("running" | "broken"))
    }

    /// A changed configuration, on the disk that the machine has; a copy of the project, whatever
    /// user the machine runs as; files in and out; a terminal.
    fn copies(&mut self, network: &str, reached: &str) -> Result<()> {
        fs::write(self.dir.path().join("bottle.toml"), config("copy", "env = { NEW = \"value\" }\n"))?;
        self.start()?;
        claim("after a restart the proxy is reached", self.guest(network)?, reached)?;
        claim(
            "its machine follows a changed configuration, and keeps its disk",
            self.guest("echo $NEW; cat /root/mark")?,
            "value\nkept\n[0]",
        )?;
        claim("it can write its copy", self.guest("echo changed > file; mkdir d; echo new > d/new")?, "[0]")?;
        let diff = self.bottle(&["diff", "--names"])?;
        claim("what it changed is shown", String::from_utf8_lossy(&diff.stdout), "A d/new\nM file\n")?;
        claim("and taken back", ok(&self.bottle(&["--quiet", "apply", "--yes"])?), "ok")?;
        claim("into the project", fs::read_to_string(self.dir.path().join("d/new"))?, "new\n")?;

        let binary: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
        fs::write(self.dir.path().join("binary"), &binary)?;
        claim("a file is copied in", ok(&self.bottle(&["--quiet", "cp", "binary", "life:/tmp"])?), "ok")?;
        claim("and out", ok(&self.bottle(&["--quiet", "cp", "life:/tmp/binary", "back"])?), "ok")?;
        claim("unchanged", (fs::read(self.dir.path().join("back"))? == binary).to_string(), "true")?;
        let program = self.place.program("bottle")?;
        let piped = format!("{0} -q exec -- cat < binary | cksum; cksum < binary", program.display());
        let sums = self.run("sh", &["-c", &piped])?;
        let sums: Vec<&[u8]> = sums.stdout.split(|byte| *byte == b'\n').collect();
        claim("bytes go through a pipe unchanged", (sums[0] == sums[1]).to_string(), "true")?;
        let terminal =
            format!("stty rows 33 cols 77; {} -q exec -- sh -c 'stty size; exit 5'", program.display());
        let seen = self.run("script", &["-qec", &terminal, "/dev/null"])?;
        let text = String::from_utf8_lossy(&seen.stdout).trim().to_owned();
        claim(
            "a terminal has its size, and a status",
            format!("{text} {:?}", seen.status.code()),
            "33 77 Some(5)",
        )
    }

    /// The project itself, writable: also where root starts the machine.
    fn shares(&mut self) -> Result<()> {
        fs::write(self.dir.path().join("bottle.toml"), config("read-write", ""))?;
        self.start()?;
        claim("it can write the project", self.guest("echo shared > shared; chmod 640 shared")?, "[0]")?;
        let made = fs::metadata(self.dir.path().join("shared"))?;
        claim(
            "as whoever started it, with its mode",
            format!("{} {:o}", made.uid() == rustix::process::geteuid().as_raw(), made.mode() & 0o777),
            "true 640",
        )
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
        claim("it is marked", self.guest("touch /tmp/mark; echo kept > /root/mark; sync")?, "[0]")?;

        let status: serde_json::Value = serde_json::from_slice(&self.bottle(&["status", "--json"])?.stdout)?;
        let keeper = status["pid"].as_u64().context("the keeper's process")?.to_string();
        self.run("kill", &["-KILL", &keeper])?;
        let end = Instant::now() + Duration::from_secs(10);
        while self.state()? != "broken" && Instant::now() < end {}
        claim("without its keeper it is listed as broken", self.state()?, "broken")?;
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
        self.copies(network, reached)?;
        self.up = false;
        claim("it stops again", ok(&self.bottle(&["--quiet", "stop"])?), "ok")?;
        self.shares()?;
        self.up = false;
        claim("it is removed", ok(&self.bottle(&["--quiet", "rm", "--force"])?), "ok")?;
        claim("nothing of it is listed", self.state()?, "gone")
    }
}

fn config(workspace: &str, guest: &str) -> String {
    format!("slug = \"life\"\n[workspace]\nmode = \"{workspace}\"\n[guest]\ncpus = 2\nmemory = 512\n{guest}")
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
