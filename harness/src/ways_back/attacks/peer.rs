//! Attacks on the other end of the link: strangers on the guest's socket, a machine that runs unconfined, and
//! smolvm's own output, which contains the guest's.

use crate::environment::{SMALL_MACHINE, answer};
use crate::ways_back::attack::{Attack, Needs};
use crate::ways_back::target::{SLUG, Target, Verdict};
use anyhow::{Context, Result};
use bottle_core::wire;
use bottle_host::defence::Defence;
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// A local user whose id smolvm could have given to a machine.
const STRANGER: u32 = 2_000_001;
/// How long a stranger waits for a greeting.
const PATIENCE: Duration = Duration::from_secs(2);

/// Returns every attack in this file.
pub fn attacks() -> Vec<Attack> {
    let real = |name, defence, run| Attack { name, defence, needs: Needs::Machine, run };
    vec![
        Attack::new("peer-user-of-a-machine", Defence::Peer, user_of_a_machine),
        Attack::new("peer-operators-own-process", Defence::Peer, own_process),
        Attack::new("peer-is-given-the-copy", Defence::Peer, takes_copy),
        Attack::new("peer-pushes-the-guest-out", Defence::Peer, pushes_out),
        Attack::new("peer-comes-first", Defence::Peer, comes_first),
        Attack::new("peer-leaves-its-descriptor", Defence::Peer, leaves_descriptor),
        Attack::new("peer-goes-through-the-doors", Defence::Peer, through_doors),
        Attack::new("peer-never-reads", Defence::Peer, never_reads),
        Attack::new("machine-unconfined-up", Defence::MachineConfined, unconfined_up),
        Attack::new("machine-unconfined-run", Defence::MachineConfined, unconfined_run),
        Attack::new("machine-unconfined-by-environment", Defence::MachineConfined, weakened),
        Attack::new("smolvm-error-steers-terminal", Defence::Visible, error_steers),
        Attack::new("smolvm-error-without-end", Defence::BoundedReads, error_without_end),
        Attack::new("smolvm-list-without-end", Defence::BoundedReads, list_without_end),
        real("peer-beside-a-machine", Defence::Peer, user_of_a_machine),
        real("peer-before-a-machine", Defence::Peer, comes_first),
        real("machine-process-unfiltered", Defence::MachineConfined, unfiltered),
    ]
}

fn socket(target: &Target) -> PathBuf {
    target.path("run/t/guest.sock")
}

/// Returns whether a connection is greeted.
fn is_greeted(mut stream: UnixStream, limit: Duration) -> Result<bool> {
    stream.set_read_timeout(Some(limit))?;
    let mut hello = [0; wire::HELLO.len()];
    match stream.read_exact(&mut hello) {
        Ok(()) => Ok(hello == wire::HELLO),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::UnexpectedEof) => Ok(false),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Starts a process of another user that connects, and prints how many bytes it was sent. With `left`, it
/// ends at once, and its child waits with the descriptor.
fn stranger(target: &Target, left: bool) -> Result<Child> {
    // The folder above must not be what stops it: `/var/lib` stops nobody.
    fs::set_permissions(target.path(""), PermissionsExt::from_mode(0o711))?;
    let script = r#"use Socket; socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die "socket: $!";
        for (1..$ARGV[2]) { last if connect($s, sockaddr_un($ARGV[0])); select(undef, undef, undef, 0.05); }
        if ($ARGV[1] eq "left" and fork) { exit 0 }
        $SIG{ALRM} = sub { print "0\n"; exit 0 }; $| = 1; alarm 20;
        my $n = sysread($s, my $b, 64); print defined $n ? $n : 0, "\n"; alarm 0; sleep 1;"#;
    let mut command = Command::new("perl");
    command.args(["-e", script]).arg(socket(target)).arg(if left { "left" } else { "" });
    // The socket exists only once there is a machine. Later, only the machine can reach it.
    command.arg(if socket(target).exists() { "20" } else { "400" });
    if rustix::process::geteuid().is_root() {
        command.uid(STRANGER).gid(STRANGER);
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().context("perl")
}

/// A script with which root in the guest kills the helper, so that an accomplice outside keeps the newest
/// connection.
pub(super) const END_HELPER: &str = r#"for p in /proc/[0-9]*; do
    case "$(tr '\0' ' ' < $p/cmdline 2> /dev/null)" in
        */bottle-guest\ link*) [ ${p#/proc/} = $$ ] || kill -9 ${p#/proc/};;
    esac
done"#;

/// Returns how many bytes a stranger was sent.
fn sent_to(child: Child) -> Result<usize> {
    let said = child.wait_with_output()?;
    String::from_utf8_lossy(&said.stdout).trim().parse().context("a stranger's output")
}

/// A local user with an id from 2000000 up connects to a bottle that is up.
fn user_of_a_machine(target: &mut Target) -> Result<Verdict> {
    target.up(SMALL_MACHINE)?;
    let sent = sent_to(stranger(target, false)?)?;
    Ok(Verdict::succeeded_if(sent > 0, format!("user {STRANGER} was greeted with {sent} bytes")))
}

/// Another of the operator's processes connects: a user id does not identify the machine.
fn own_process(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    let greeted = is_greeted(UnixStream::connect(socket(target))?, PATIENCE)?;
    Ok(Verdict::succeeded_if(greeted, "a process that is not the machine was greeted"))
}

/// A stranger is taken for the machine, and the copy of the project is given to it.
fn takes_copy(target: &mut Target) -> Result<Verdict> {
    target.up("[workspace]\nmode = \"copy\"\n")?;
    let copy = target.path("run/.copies").join(SLUG);
    let before = fs::metadata(&copy)?.uid();
    target.guest(END_HELPER)?;
    let (over, taken) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                taken.fetch_or(fs::metadata(&copy).is_ok_and(|meta| meta.uid() != before), Relaxed);
            }
        });
        let sent = stranger(target, false).and_then(sent_to);
        over.store(true, Relaxed);
        sent
    })?;
    let what = format!("the copy of the project belonged to user {STRANGER}");
    Ok(Verdict::succeeded_if(taken.into_inner(), what))
}

/// Strangers connect again and again to displace the guest, because the newest connection counts.
fn pushes_out(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    let (socket, over, greeted) = (socket(target), AtomicBool::new(false), AtomicUsize::new(0));
    let reached = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    let Ok(stream) = UnixStream::connect(&socket) else { continue };
                    if is_greeted(stream, Duration::from_millis(500)).unwrap_or_default() {
                        greeted.fetch_add(1, Relaxed);
                    }
                }
            });
        }
        thread::sleep(Duration::from_millis(500));
        let tried = target.guest("for i in 1 2 3 4 5; do curl -sS -m 5 -o /dev/null $HTTP_PROXY/; done");
        over.store(true, Relaxed);
        tried.is_ok()
    });
    let greeted = greeted.into_inner();
    let what = format!("the guest reached its proxy: {reached}; strangers were greeted {greeted} times");
    Ok(Verdict::succeeded_if(!reached || greeted > 0, what))
}

/// A stranger connects while the machine is still booting, before its process is known.
fn comes_first(target: &mut Target) -> Result<Verdict> {
    begin(target)?;
    let stranger = stranger(target, false)?;
    let ran = target.operator(&["run", "--", "sh", "-c", "sleep 1; echo the guest ran"])?;
    let sent = sent_to(stranger)?;
    anyhow::ensure!(sent > 0 || ran.text().contains("the guest ran"), "run: {}", ran.text());
    Ok(Verdict::succeeded_if(sent > 0, format!("user {STRANGER} was greeted with {sent} bytes")))
}

/// A process connects first, ends, and leaves its descriptor to another, so that its process id is free
/// again.
fn leaves_descriptor(target: &mut Target) -> Result<Verdict> {
    begin(target)?;
    let stranger = stranger(target, true)?;
    let ran = target.operator(&["run", "--", "sh", "-c", "sleep 1; echo the guest ran"])?;
    let sent = sent_to(stranger)?;
    anyhow::ensure!(sent > 0 || ran.text().contains("the guest ran"), "run: {}", ran.text());
    Ok(Verdict::succeeded_if(
        sent > 0,
        format!("the descriptor of an ended process was greeted with {sent} bytes"),
    ))
}

fn begin(target: &mut Target) -> Result<()> {
    target.put("project/bottle.toml", format!("slug = \"{SLUG}\"\n{SMALL_MACHINE}"))?;
    target.begin()
}

/// A stranger brings its own helper and goes through the bottle's doors, to use its upstreams' keys and its
/// rules.
fn through_doors(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    let plan: serde_json::Value = serde_json::from_slice(&fs::read(target.path("state/t/plan.json"))?)?;
    let subnet = plan["subnet"].to_string();
    let door = format!("http://192.168.{subnet}.254:{}/", plan["doors"]["pipelock"]);
    let names = target.put("names", "")?;
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", "8", "bwrap", "--unshare-net", "--die-with-parent", "--cap-add", "ALL"]);
    if !rustix::process::geteuid().is_root() {
        command.args(["--unshare-user", "--uid", "0", "--gid", "0"]);
    }
    command.args(["--bind", "/", "/", "--dev-bind", "/dev", "/dev"]);
    // The helper writes to these files, but must not change this host's.
    for file in ["/etc/resolv.conf", "/etc/hosts"] {
        command.arg("--bind").arg(&names).arg(file);
    }
    command.arg("--").arg(target.helper()).args(["link", "--subnet", &subnet, "--socket"]);
    command.arg(socket(target)).args(["--", "curl", "-sS", "-o", "/dev/null", "-w", "status %{http_code}"]);
    target.guest(END_HELPER)?;
    command.args(["-m", "5", "--retry", "30", "--retry-all-errors", "--retry-delay", "0", &door]);
    let ended = target.run(command)?;
    let said = ended.text();
    let reached = said.contains("status ") && !said.ends_with("status 000");
    Ok(Verdict::succeeded_if(reached, format!("a stranger reached the proxy: {said}")))
}

/// Hundreds of strangers connect, read nothing and stay, to use up descriptors and keep the guest out.
fn never_reads(target: &mut Target) -> Result<Verdict> {
    target.up("")?;
    let status = target.operator(&["status", "--json"])?;
    let keeper = answer(&status.output)?["pid"].to_string();
    let mut held: Vec<UnixStream> = Vec::new();
    let end = Instant::now() + Duration::from_secs(5);
    while held.len() < 900 && Instant::now() < end {
        held.extend(UnixStream::connect(socket(target)));
    }
    // They are accepted one after another: each is dropped, or greeted and dropped for the next.
    let descriptors = || fs::read_dir(format!("/proc/{keeper}/fd")).map_or(0, Iterator::count);
    let (mut most, end) = (descriptors(), Instant::now() + Duration::from_secs(8));
    let mut greeted = 0;
    while !held.is_empty() && Instant::now() < end {
        most = most.max(descriptors());
        held.retain_mut(|stream| {
            let _ = stream.set_nonblocking(true);
            match stream.read(&mut [0; wire::HELLO.len()]) {
                Ok(0) => false,
                Ok(_) => {
                    greeted += 1;
                    true
                }
                Err(error) => error.kind() == ErrorKind::WouldBlock,
            }
        });
        thread::sleep(Duration::from_millis(50));
    }
    let stay = held.len();
    let reached = target.guest("curl -sS -m 5 -o /dev/null $HTTP_PROXY/").is_ok();
    let what = format!(
        "{greeted} strangers were greeted, {stay} stay, {most} descriptors; the guest reaches its proxy: {reached}"
    );
    Ok(Verdict::succeeded_if(greeted > 0 || stay > 0 || most > 300 || !reached, what))
}

/// Returns success if the stand-in refused to start a machine's process unconfined, as smolvm would have.
fn refused(said: &str) -> Verdict {
    let asked = said.contains("would run unconfined");
    Verdict::succeeded_if(asked, "smolvm was asked to run the machine's process unconfined")
}

fn unconfined_up(target: &mut Target) -> Result<Verdict> {
    match target.up("") {
        Ok(()) => Ok(Verdict::Held),
        Err(error) => Ok(refused(&format!("{error:#}"))),
    }
}

fn unconfined_run(target: &mut Target) -> Result<Verdict> {
    begin(target)?;
    let ran = target.operator(&["run", "--", "echo", "the guest ran"])?;
    if ran.text().contains("the guest ran") { Ok(Verdict::Held) } else { Ok(refused(&ran.text())) }
}

/// A real machine's process, which must be behind a filter according to the kernel.
fn unfiltered(target: &mut Target) -> Result<Verdict> {
    target.up(SMALL_MACHINE)?;
    let rows = answer(&target.operator(&["ls", "--json"])?.output)?;
    let status = fs::read_to_string(format!("/proc/{}/status", rows[0]["pid"]))?;
    let filter = status.lines().find(|line| line.starts_with("Seccomp:")).context("a kernel with seccomp")?;
    Ok(Verdict::succeeded_if(!filter.ends_with('2'), format!("the machine's process has {filter:?}")))
}

/// The environment of `bottle` switches the confinement off, as a shell's file written by a guest could.
fn weakened(target: &mut Target) -> Result<Verdict> {
    begin(target)?;
    let mut command = target.command(&["run", "--", "echo", "the guest ran"]);
    command.env("SMOLVM_SECCOMP", "off").env("SMOLVM_LANDLOCK", "audit");
    let ran = target.run(command)?;
    if ran.text().contains("the guest ran") { Ok(Verdict::Held) } else { Ok(refused(&ran.text())) }
}

/// Replaces smolvm's answer to a verb with a script, to imitate a guest that has written to its console.
fn replace_verb(target: &Target, verb: &str, script: &str) -> Result<()> {
    let bin = target.path("bin");
    fs::rename(bin.join("smolvm"), bin.join("stand-in"))?;
    let script = format!(
        "#!/bin/sh\nif [ \"$2\" = {verb} ]; then\n{script}\nfi\nexec \"${{0%/*}}/stand-in\" \"$@\"\n"
    );
    let path = target.put("bin/smolvm", script)?;
    Ok(fs::set_permissions(path, PermissionsExt::from_mode(0o755))?)
}

/// The error of a failed start contains the guest's console output.
fn error_steers(target: &mut Target) -> Result<Verdict> {
    begin(target)?;
    replace_verb(
        target,
        "start",
        r"printf 'Error: no boot \033]52;c;ZXZpbA==\007 \033[2J \302\2332J \342\200\256 end\n' >&2; exit 1",
    )?;
    let said = target.operator(&["up"])?.text();
    anyhow::ensure!(said.contains("no boot"), "up: {said}");
    let steers = said.contains(['\u{1b}', '\u{9b}', '\u{7}', '\u{202e}']);
    Ok(Verdict::succeeded_if(steers, format!("{said:?}")))
}

/// The same, with more output than fits into memory.
fn error_without_end(target: &mut Target) -> Result<Verdict> {
    begin(target)?;
    replace_verb(target, "start", "head -c 400000000 /dev/zero >&2; exit 1")?;
    let ended = target.operator(&["up"])?;
    anyhow::ensure!(ended.status.is_some(), "up hung");
    Ok(too_much(ended.peak))
}

fn list_without_end(target: &mut Target) -> Result<Verdict> {
    begin(target)?;
    replace_verb(target, "ls", "head -c 400000000 /dev/zero; exit 0")?;
    let ended = target.operator(&["ls"])?;
    anyhow::ensure!(ended.status.is_some_and(|status| !status.success()), "ls: {}", ended.text());
    Ok(too_much(ended.peak))
}

fn too_much(peak: u64) -> Verdict {
    const MUCH: u64 = 200 << 20;
    Verdict::succeeded_if(peak > MUCH, format!("{} MiB of memory", peak >> 20))
}
