//! A bottle's life in a real guest: start, a command, the keeper's death and return, a restart, removal.

use crate::checkout::Checkout;
use crate::environment::{Environment, Guest, Project, SMALL_MACHINE, answer};
use crate::outer;
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, ExitCode, Output};
use std::time::{Duration, Instant};

/// How many times a life is begun, and how many times each start in it is tried.
const TRIES: u32 = 4;

/// Goes through a bottle's life, in the outer machine if there is no KVM.
///
/// # Errors
/// Returns an error if something is not built, or a claim does not hold.
pub fn main(checkout: &Checkout) -> Result<ExitCode> {
    if !outer::has_kvm() {
        return outer::run_job(checkout, "life");
    }
    for attempt in 1..=TRIES {
        let mut life = Life::new(checkout)?;
        match life.live() {
            Ok(()) => return Ok(ExitCode::SUCCESS),
            // A machine that is gone has died. One that is still there has misbehaved.
            Err(error) if life.machine_died() => {
                eprintln!("the guest died (attempt {attempt} of {TRIES}): {error:#}");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(ExitCode::from(outer::INCONCLUSIVE))
}

struct Life {
    project: Project,
    /// Whether the machine should be running now.
    up: bool,
}

impl Drop for Life {
    fn drop(&mut self) {
        let _ = self.bottle(&["--quiet", "rm", "--force"]);
    }
}

impl Life {
    fn new(checkout: &Checkout) -> Result<Self> {
        let project = Environment::new(checkout, Guest::Real)?.project("project")?;
        project.write("bottle.toml", config("read-only", ""))?;
        project.write("file", "from the host\n")?;
        Ok(Self { project, up: false })
    }

    fn run(&self, program: &str, words: &[&str]) -> Result<Output> {
        let mut command = self.project.environment().command(program);
        without_folders(command.args(words).current_dir(self.project.folder()));
        command.output().with_context(|| program.to_owned())
    }

    fn bottle(&self, words: &[&str]) -> Result<Output> {
        let mut command = self.project.command(words);
        without_folders(&mut command);
        command.output().context("bottle")
    }

    /// Runs a script in the guest and returns its output, followed by its status.
    fn guest(&self, script: &str) -> Result<String> {
        let output = self.bottle(&["--quiet", "exec", "--", "sh", "-c", script])?;
        Ok(format!("{}[{}]", String::from_utf8_lossy(&output.stdout), output.status.code().unwrap_or(-1)))
    }

    fn start(&mut self) -> Result<()> {
        self.up = true;
        for attempt in 1..=TRIES {
            // The operator edits bottle.toml after a guest's changes were applied, and accepts it as their own.
            let output = self.bottle(&["--quiet", "up", "--trust"])?;
            if output.status.success() {
                return Ok(());
            }
            let said = String::from_utf8_lossy(&output.stderr);
            let did_not_boot = output.status.code() == Some(i32::from(outer::INCONCLUSIVE));
            anyhow::ensure!(did_not_boot, "up: {said}");
            eprintln!("the guest did not start (attempt {attempt} of {TRIES}): {said}");
        }
        anyhow::bail!("no start succeeded")
    }

    fn state(&self) -> Result<String> {
        let rows = answer(&self.bottle(&["ls", "--json"])?.stdout)?;
        Ok(rows[0]["state"].as_str().unwrap_or("gone").to_owned())
    }

    fn machine_died(&self) -> bool {
        self.up && !matches!(self.state().as_deref(), Ok("running" | "broken"))
    }

    /// Checks a changed configuration on the machine's old disk, a copy of the project whatever user the
    /// machine runs as, files in and out, and a terminal.
    fn copies(&mut self, network: &str, reached: &str) -> Result<()> {
        fs::write(self.project.path("bottle.toml"), config("copy", "env = { NEW = \"value\" }\n"))?;
        self.start()?;
        claim("after a restart the proxy is reached", self.guest(network)?, reached)?;
        claim(
            "the machine follows a changed configuration, and keeps its disk",
            self.guest("echo $NEW; cat /root/mark")?,
            "value\nkept\n[0]",
        )?;
        claim(
            "the guest can write to its copy",
            self.guest("echo changed > file; mkdir d; echo new > d/new")?,
            "[0]",
        )?;
        let diff = self.bottle(&["diff", "--names"])?;
        claim("its changes are shown", String::from_utf8_lossy(&diff.stdout), "A d/new\nM file\n")?;
        claim("they are applied", ok(&self.bottle(&["--quiet", "apply", "--yes"])?), "ok")?;
        claim("to the project", fs::read_to_string(self.project.path("d/new"))?, "new\n")?;

        let binary: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
        fs::write(self.project.path("binary"), &binary)?;
        claim("a file is copied in", ok(&self.bottle(&["--quiet", "cp", "binary", "life:/tmp"])?), "ok")?;
        claim("and copied out", ok(&self.bottle(&["--quiet", "cp", "life:/tmp/binary", "back"])?), "ok")?;
        claim("unchanged", (fs::read(self.project.path("back"))? == binary).to_string(), "true")?;
        let program = self.project.environment().checkout().program("bottle")?;
        let piped = format!("{0} -q exec -- cat < binary | cksum; cksum < binary", program.display());
        let sums = self.run("sh", &["-c", &piped])?;
        let sums: Vec<&[u8]> = sums.stdout.split(|byte| *byte == b'\n').collect();
        claim("bytes pass through a pipe unchanged", (sums[0] == sums[1]).to_string(), "true")?;
        let terminal = format!(
            "stty rows 33 cols 77; TERM=dumb {} -q exec -- sh -c 'stty size; exit 5'",
            program.display()
        );
        let seen = self.run("script", &["-qec", &terminal, "/dev/null"])?;
        let text = String::from_utf8_lossy(&seen.stdout).trim().to_owned();
        claim(
            "a terminal has its size, and passes the status on",
            format!("{text} {:?}", seen.status.code()),
            "33 77 Some(5)",
        )
    }

    /// Checks that a second machine starts with the first one's disk, and that each has its own from there.
    fn forks(&mut self) -> Result<()> {
        claim("it is forked", ok(&self.bottle(&["--quiet", "fork", "life", "second"])?), "ok")?;
        let mut up = Err(anyhow::anyhow!("it was not started"));
        for _ in 0..TRIES {
            up = Ok(ok(&self.bottle(&["--quiet", "up", "--trust", "second"])?));
            if up.as_ref().is_ok_and(|said| said == "ok") {
                break;
            }
        }
        claim("the second one starts", up?, "ok")?;
        let script = "cat /root/mark; echo second > /root/mark; cat /workspace/d/new";
        let said = self.bottle(&["--quiet", "exec", "second", "--", "sh", "-c", script])?;
        claim(
            "with the disk and the copy of the first",
            String::from_utf8_lossy(&said.stdout),
            "kept\nnew\n",
        )?;
        claim("it is removed", ok(&self.bottle(&["--quiet", "rm", "--force", "second"])?), "ok")
    }

    /// Checks the project itself, shared writable, even if root starts the machine.
    fn shares(&mut self) -> Result<()> {
        fs::write(self.project.path("bottle.toml"), config("read-write", ""))?;
        self.start()?;
        claim(
            "the guest can write to the project",
            self.guest("echo shared > shared; chmod 640 shared")?,
            "[0]",
        )?;
        let made = fs::metadata(self.project.path("shared"))?;
        claim(
            "as the user who started it, with its mode",
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
        claim("the guest leaves marks", self.guest("touch /tmp/mark; echo kept > /root/mark; sync")?, "[0]")?;

        let status = answer(&self.bottle(&["status", "--json"])?.stdout)?;
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
            "without its keeper the guest is refused at once",
            String::from_utf8_lossy(&told.stdout),
            "Network unreachable\n",
        )?;
        self.start()?;
        claim("a new keeper restores the network", self.guest(network)?, reached)?;
        claim("the guest has kept its files", self.guest("ls /tmp/mark")?, "/tmp/mark\n[0]")?;

        self.up = false;
        claim("it stops", ok(&self.bottle(&["--quiet", "stop"])?), "ok")?;
        claim("it is listed as stopped", self.state()?, "stopped")?;
        self.copies(network, reached)?;
        self.up = false;
        claim("it stops again", ok(&self.bottle(&["--quiet", "stop"])?), "ok")?;
        self.forks()?;
        self.shares()?;
        claim("its disk is its own", self.guest("cat /root/mark")?, "kept\n[0]")?;
        self.up = false;
        claim("it is removed", ok(&self.bottle(&["--quiet", "rm", "--force"])?), "ok")?;
        claim("nothing of it is listed", self.state()?, "gone")
    }
}

/// Leaves the state and runtime folders to bottle, as a user would.
fn without_folders(command: &mut Command) {
    command.env_remove("BOTTLE_STATE_DIR").env_remove("BOTTLE_RUNTIME_DIR");
}

fn config(workspace: &str, guest: &str) -> String {
    format!("slug = \"life\"\n[workspace]\nmode = \"{workspace}\"\n{SMALL_MACHINE}{guest}")
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
