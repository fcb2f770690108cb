//! A stand-in for smolvm: the same command line, with a network namespace instead of a virtual machine. It
//! starts in a fraction of a second.
//!
//! It only replaces the machine: `bottle`, the keeper, the guard, gvproxy, the jail and the helper are the
//! real ones. Its results say nothing about a real guest's isolation, and it admits that: its version line
//! names it, and `bottle` repeats that at every start.

mod image;
pub(crate) mod terminal;

use anyhow::{Context, Result, bail};
use bottle_guest::status::exit_code;
use bottle_host::process::{die_with_parent, inherit};
use bottle_host::smolvm::CONFINED;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};
use terminal::{Lent, Terminal};

/// The variable with the folder of its machines' records.
pub(crate) const STATE: &str = "STAND_IN_STATE";
/// The variable that gives guests an `/etc` of their own, for tests that add users.
const OWN_ETC: &str = "STAND_IN_OWN_ETC";
/// The folder that `--state-dir` named.
static NAMED: OnceLock<PathBuf> = OnceLock::new();
/// The file in a guest that stands for its disk: what is written there is still there after a stop and a start.
pub const DISK: &str = "/disk";
/// The terminal that smolvm tells its guests of.
const TERM: &str = "xterm-256color";
/// The smolvm version whose command line it supports.
const VERSION: &str = "smolvm-stand-in 1.32.2";

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Machine {
    name: String,
    state: String,
    pid: Option<i32>,
    labels: BTreeMap<String, String>,
    smolfile: Smolfile,
    socket: (String, String),
}

/// The Smolfile keys that bottle writes. Any other key is an error, as it is in smolvm.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Smolfile {
    image: Option<String>,
    cpus: u8,
    memory: u32,
    net: bool,
    workdir: Option<String>,
    #[serde(default)]
    volumes: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
}

#[derive(Default)]
struct Options {
    name: Option<String>,
    labels: BTreeMap<String, String>,
    smolfile: Option<PathBuf>,
    socket: Option<(String, String)>,
    detach: bool,
    tty: bool,
    words: Vec<String>,
    update: Update,
}

/// The changes that `machine update` makes.
#[derive(Default)]
struct Update {
    cpus: Option<u8>,
    memory: Option<u32>,
    workdir: Option<String>,
    volumes: Vec<String>,
    removed_volumes: Vec<String>,
    env: Vec<String>,
    removed_env: Vec<String>,
}

/// Carries out a smolvm command line.
///
/// # Errors
/// Returns an error if smolvm would refuse the command line, too, in smolvm's words or close to them.
pub fn main() -> Result<ExitCode> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--version"] => println!("{VERSION}"),
        ["machine", verb, rest @ ..] => return machine(verb, &parse(rest)?),
        ["--state-dir", dir, "machine", verb, rest @ ..] => {
            let _ = NAMED.set(PathBuf::from(dir));
            return machine(verb, &parse(rest)?);
        }
        ["--state-dir", _, "--version"] => println!("{VERSION}"),
        _ => bail!("the stand-in knows only `machine`"),
    }
    Ok(ExitCode::SUCCESS)
}

fn parse(words: &[&str]) -> Result<Options> {
    let mut options = Options::default();
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        let mut value = || words.next().map(str::to_owned).context("a value is missing");
        match word {
            "--name" => options.name = Some(value()?),
            "--smolfile" => options.smolfile = Some(value()?.into()),
            "--label" => {
                let label = value()?;
                let (key, value) = label.split_once('=').context("--label wants KEY=VALUE")?;
                options.labels.insert(key.to_owned(), value.to_owned());
            }
            "--mount-socket" => {
                let pair = value()?;
                let (host, guest) = pair.split_once(':').context("--mount-socket wants HOST:GUEST")?;
                options.socket = Some((host.to_owned(), guest.to_owned()));
            }
            "--cpus" => options.update.cpus = Some(value()?.parse()?),
            "--mem" => options.update.memory = Some(value()?.parse()?),
            "--workdir" => options.update.workdir = Some(value()?),
            "--volume" => options.update.volumes.push(value()?),
            "--remove-volume" => options.update.removed_volumes.push(value()?),
            "--env" => options.update.env.push(value()?),
            "--remove-env" => options.update.removed_env.push(value()?),
            "--detach" => options.detach = true,
            "-t" => options.tty = true,
            "-i" | "-f" | "--json" => {}
            "--" => {
                options.words = words.by_ref().map(str::to_owned).collect();
            }
            other => bail!("unexpected argument '{other}'"),
        }
    }
    Ok(options)
}

fn machine(verb: &str, options: &Options) -> Result<ExitCode> {
    let named = || options.name.clone().context("--name is missing");
    match verb {
        "data-dir" => println!("{}", disks(&load(&named()?)?.name)?.display()),
        "ls" => println!("{}", serde_json::to_string_pretty(&all()?)?),
        "create" => {
            let name = named()?;
            if record(&name)?.exists() {
                bail!("machine '{name}' already exists");
            }
            save(&new_machine(name, options)?)?;
        }
        "update" => update(load(&named()?)?, &options.update)?,
        "start" => start(load(&named()?)?)?,
        "stop" => stop(load(&named()?)?)?,
        "delete" => {
            let machine = load(&named()?)?;
            stop(machine.clone())?;
            let _ = fs::remove_dir_all(disks(&machine.name)?);
            fs::remove_file(record(&machine.name)?)?;
            let _ = fs::remove_dir_all(state()?.join(format!("{}.etc", machine.name)));
        }
        "exec" => return exec(&load(&named()?)?, options),
        "run" => {
            check_confinement()?;
            eprintln!("Starting ephemeral machine (stand-in)...");
            let machine = new_machine("ephemeral".to_owned(), options)?;
            let etc = tempfile::tempdir()?;
            let terminal = options.tty.then(Terminal::new).transpose()?;
            let mut command = guest(&machine, etc.path(), terminal.as_ref())?;
            // bubblewrap requests this itself, but may be too late.
            command.arg("--die-with-parent").arg("--").args(&options.words);
            die_with_parent(&mut command, rustix::process::Signal::KILL);
            return foreground(command, terminal);
        }
        other => bail!("unrecognized subcommand '{other}'"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the guest until it ends, or until this process is told to end. The guest is killed first: killing
/// only bubblewrap would leave behind a guest that bubblewrap has just created.
fn foreground(mut command: Command, terminal: Option<Terminal>) -> Result<ExitCode> {
    let terminated = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&terminated))?;
    let mut child = command.spawn()?;
    drop(command);
    let lent = terminal.map(Terminal::lend).transpose()?;
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    loop {
        if let Some(status) = child.try_wait()? {
            lent.map_or(Ok(()), Lent::give_back)?;
            return Ok(exit_code(status));
        }
        if terminated.load(Relaxed) {
            let children = fs::read_to_string(&children).unwrap_or_default();
            if let Some(guest) = children.split_whitespace().next().and_then(|pid| pid.parse().ok()) {
                let guest = rustix::process::Pid::from_raw(guest).context("a process")?;
                let _ = rustix::process::kill_process(guest, rustix::process::Signal::KILL);
                return Ok(exit_code(child.wait()?));
            }
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn update(mut machine: Machine, update: &Update) -> Result<()> {
    if machine.is_alive() {
        bail!("machine '{}' is running", machine.name);
    }
    let smolfile = &mut machine.smolfile;
    smolfile.cpus = update.cpus.unwrap_or(smolfile.cpus);
    smolfile.memory = update.memory.unwrap_or(smolfile.memory);
    smolfile.workdir = update.workdir.clone().or(smolfile.workdir.take());
    let pair = |volume: &str| volume.strip_suffix(":ro").unwrap_or(volume).to_owned();
    smolfile.volumes.retain(|volume| !update.removed_volumes.contains(&pair(volume)));
    smolfile.volumes.extend_from_slice(&update.volumes);
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let set: Vec<String> = update.env.iter().map(|variable| name(variable)).collect();
    smolfile.env.retain(|known| {
        let known = name(known);
        !update.removed_env.contains(&known) && !set.contains(&known)
    });
    smolfile.env.extend_from_slice(&update.env);
    save(&machine)
}

fn new_machine(name: String, options: &Options) -> Result<Machine> {
    let path = options.smolfile.as_ref().context("--smolfile is missing")?;
    let smolfile: Smolfile = toml::from_str(&fs::read_to_string(path)?)?;
    if smolfile.net {
        bail!("the stand-in has no network of its own");
    }
    smolfile.image.as_deref().map(check_image).transpose()?;
    let socket = options.socket.clone().context("--mount-socket is missing")?;
    Ok(Machine {
        name,
        state: "stopped".to_owned(),
        pid: None,
        labels: options.labels.clone(),
        smolfile,
        socket,
    })
}

/// Accepts what smolvm takes without a network: a root folder, or an archive as `docker save` writes it. What is
/// in it does not matter here. A name would make smolvm start a machine whose network is open.
fn check_image(image: &str) -> Result<()> {
    if Path::new(image).is_dir() {
        return Ok(());
    }
    if !image.starts_with(['/', '.']) {
        bail!("'{image}' is a registry's, and the stand-in fetches nothing");
    }
    let file = fs::File::open(image).with_context(|| image.to_owned())?;
    let mut archive = tar::Archive::new(file);
    let mut names = archive.entries()?.map(|entry| Ok(entry?.path()?.into_owned()));
    let listed =
        names.any(|name: std::io::Result<PathBuf>| name.is_ok_and(|name| name == Path::new("manifest.json")));
    if !listed {
        bail!("{image} is no image archive: no manifest.json");
    }
    Ok(())
}

/// Returns the command that runs the guest: this host's programs are read-only, and everything else is its
/// own. What it keeps is in the folder `etc`.
fn guest(machine: &Machine, etc: &Path, terminal: Option<&Terminal>) -> Result<Command> {
    let mut bwrap = in_terminal("bwrap", terminal)?;
    bwrap.args(["--unshare-net", "--unshare-pid", "--unshare-uts", "--unshare-ipc", "--cap-add", "ALL"]);
    if !rustix::process::geteuid().is_root() {
        bwrap.args(["--unshare-user", "--uid", "0", "--gid", "0"]);
    }
    bwrap.args(["--hostname", "stand-in", "--clearenv", "--setenv", "HOME", "/root"]);
    if terminal.is_some() {
        bwrap.args(["--setenv", "TERM", TERM]);
    }
    bwrap.args(["--setenv", "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]);
    for variable in &machine.smolfile.env {
        let (name, value) = variable.split_once('=').context("env wants NAME=VALUE")?;
        bwrap.args(["--setenv", name, value]);
    }
    match machine.smolfile.image.as_deref().map(Path::new).filter(|image| image.is_file()) {
        Some(image) => {
            bwrap.arg("--bind").arg(image::root(image, &etc.join("root"))?).arg("/");
        }
        None => _ = bwrap.args(["--tmpfs", "/"]),
    }
    for dir in ["/usr", "/bin", "/sbin", "/lib", "/lib64"] {
        bwrap.args(["--ro-bind-try", dir, dir]);
    }
    if env::var_os(OWN_ETC).is_some() {
        own_etc(&mut bwrap)?;
    } else {
        bwrap.args(["--ro-bind-try", "/etc", "/etc"]);
    }
    bwrap.args(["--proc", "/proc", "--dev", "/dev", "--dev-bind", "/dev/net/tun", "/dev/net/tun"]);
    for (dir, mode) in [("/tmp", "1777"), ("/run", "0755"), ("/root", "0755"), ("/var/tmp", "1777")] {
        bwrap.args(["--perms", mode, "--tmpfs", dir]);
    }
    for (file, text) in [("resolv.conf", ""), ("hosts", "127.0.0.1 localhost\n")] {
        let path = etc.join(file);
        fs::write(&path, text)?;
        bwrap.arg("--bind").arg(path).arg(format!("/etc/{file}"));
    }
    for volume in &machine.smolfile.volumes {
        let mut parts = volume.split(':');
        let (Some(host), Some(inside)) = (parts.next(), parts.next()) else {
            bail!("volumes want HOST:GUEST")
        };
        let how = if parts.next() == Some("ro") { "--ro-bind" } else { "--bind" };
        bwrap.args([how, host, inside]);
    }
    // Bind the folder, not the socket: a new keeper binds a new socket under the same name.
    let (host, inside) = (Path::new(&machine.socket.0), &machine.socket.1);
    let folder = host.parent().context("the socket has no folder")?;
    bwrap.arg("--bind").arg(folder).arg("/run/stand-in");
    let target = Path::new("/run/stand-in").join(host.file_name().context("the socket has no name")?);
    bwrap.arg("--symlink").arg(target).arg(inside);
    if let Some(dir) = &machine.smolfile.workdir {
        bwrap.args(["--chdir", dir]);
    }
    Ok(bwrap)
}

/// Returns a command that runs a program in a terminal, if there is one.
fn in_terminal(program: &str, terminal: Option<&Terminal>) -> Result<Command> {
    terminal.map_or_else(|| Ok(Command::new(program)), |terminal| terminal.command(program))
}

/// Gives the guest an `/etc` that it can write to: this host's, with files of users of its own.
fn own_etc(bwrap: &mut Command) -> Result<()> {
    const HOST: &str = "/.etc";
    const OWN: [&str; 6] = ["passwd", "group", "shadow", "gshadow", "subuid", "subgid"];
    bwrap.args(["--ro-bind", "/etc", HOST, "--tmpfs", "/etc"]);
    for entry in fs::read_dir("/etc")? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        let inside = format!("/etc/{name}");
        if OWN.contains(&name.as_str()) {
            // Whoever adds a user renames over the file, and follows no link: it is neither a mount nor one.
            let file = fs::File::open(&inside)?;
            let number = inherit(bwrap, file.as_fd());
            bwrap.args(["--file", &number.to_string(), &inside]);
            // It stays open until bubblewrap has started.
            std::mem::forget(file);
        } else if !["resolv.conf", "hosts", ".pwd.lock"].contains(&name.as_str())
            && !name.ends_with(['-'])
            && !name.ends_with(".lock")
        {
            bwrap.args(["--symlink", &format!("{HOST}/{name}"), &inside]);
        }
    }
    Ok(())
}

/// Fails where smolvm would run the machine's process unconfined. There is no such process here, but a bottle
/// that forgets to request confinement must not start.
fn check_confinement() -> Result<()> {
    for (name, value) in CONFINED {
        if env::var_os(name).is_none_or(|set| set != value) {
            bail!("{name} is not \"{value}\": the machine's process would run unconfined");
        }
    }
    Ok(())
}

fn start(mut machine: Machine) -> Result<()> {
    if machine.is_alive() {
        bail!("machine '{}' is already running", machine.name);
    }
    check_confinement()?;
    let etc = state()?.join(format!("{}.etc", machine.name));
    fs::create_dir_all(&etc)?;
    let info = state()?.join(format!("{}.info", machine.name));
    let mut command = guest(&machine, &etc, None)?;
    let disks = disks(&machine.name)?;
    fs::create_dir_all(&disks)?;
    for disk in ["overlay.qcow2", "storage.qcow2"] {
        fs::OpenOptions::new().create(true).append(true).open(disks.join(disk))?;
    }
    command.arg("--bind").arg(disks.join("overlay.qcow2")).arg(DISK);
    let pipe = fs::File::create(&info)?;
    // bubblewrap writes the process id of the guest's first process to this descriptor.
    command.args(["--json-status-fd", "1", "--as-pid-1", "--", "sleep", "infinity"]);
    let child = command.stdin(Stdio::null()).stdout(pipe).stderr(Stdio::null()).process_group(0).spawn()?;
    let end = Instant::now() + Duration::from_secs(10);
    let pid = loop {
        let written = fs::read_to_string(&info)?;
        let first =
            written.lines().next().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        // The process exists before its mounts do. It can only be entered once it sleeps.
        let asleep =
            |pid: &i64| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n");
        if let Some(pid) = first.and_then(|first| first["child-pid"].as_i64()).filter(asleep) {
            break i32::try_from(pid)?;
        }
        if Instant::now() > end {
            bail!("bubblewrap ({}) did not start the guest", child.id());
        }
        thread::sleep(Duration::from_millis(5));
    };
    machine.pid = Some(pid);
    machine.state = "running".to_owned();
    save(&machine)
}

fn stop(mut machine: Machine) -> Result<()> {
    if let Some(pid) = machine.pid.take().filter(|_| machine.state == "running")
        && let Some(pid) = rustix::process::Pid::from_raw(pid)
    {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        let end = Instant::now() + Duration::from_secs(5);
        while is_alive(pid) && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
    }
    machine.state = "stopped".to_owned();
    save(&machine)
}

fn exec(machine: &Machine, options: &Options) -> Result<ExitCode> {
    let Some(pid) = machine.pid.filter(|_| machine.is_alive()) else {
        bail!("machine '{}' is not running", machine.name)
    };
    let terminal = options.tty.then(Terminal::new).transpose()?;
    let mut command = in_terminal("nsenter", terminal.as_ref())?;
    command.args(["--target", &pid.to_string(), "--net", "--mount", "--pid", "--uts", "--ipc", "--root"]);
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--preserve-credentials"]);
    }
    command
        .env_clear()
        .env("HOME", "/root")
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    if options.tty {
        command.env("TERM", TERM);
    }
    for variable in &machine.smolfile.env {
        if let Some((name, value)) = variable.split_once('=') {
            command.env(name, value);
        }
    }
    // `env` changes to the folder inside the guest. nsenter would look for it outside.
    let workdir = options.update.workdir.as_deref().or(machine.smolfile.workdir.as_deref()).unwrap_or("/");
    command.args(["--wd=/", "--", "env", "--chdir", workdir]).args(&options.words);
    if options.detach {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        println!("{}", command.spawn()?.id());
        return Ok(ExitCode::SUCCESS);
    }
    let mut child = command.spawn()?;
    drop(command);
    let lent = terminal.map(Terminal::lend).transpose()?;
    let status = child.wait()?;
    lent.map_or(Ok(()), Lent::give_back)?;
    Ok(exit_code(status))
}

impl Machine {
    fn is_alive(&self) -> bool {
        self.state == "running" && self.pid.and_then(rustix::process::Pid::from_raw).is_some_and(is_alive)
    }
}

fn is_alive(pid: rustix::process::Pid) -> bool {
    rustix::process::test_kill_process(pid).is_ok()
}

/// Ends the machines whose records are in a folder. What a test leaves behind ends with its environment.
pub(crate) fn end_all(records: &Path) {
    for machine in all_in(records).unwrap_or_default() {
        if let Some(pid) = machine.pid.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

fn all() -> Result<Vec<Machine>> {
    all_in(&state()?)
}

fn all_in(records: &Path) -> Result<Vec<Machine>> {
    let mut machines = Vec::new();
    for entry in fs::read_dir(records)? {
        let path = entry?.path();
        if path.extension() == Some("json".as_ref()) {
            // A machine may be deleted meanwhile.
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let mut machine: Machine = serde_json::from_str(&text)?;
            if !machine.is_alive() {
                machine.pid = None;
                machine.state = "stopped".to_owned();
            }
            machines.push(machine);
        }
    }
    machines.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(machines)
}

fn state() -> Result<PathBuf> {
    let dir = match NAMED.get() {
        Some(named) => named.clone(),
        None => PathBuf::from(env::var_os(STATE).with_context(|| format!("{STATE} is not set"))?),
    };
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// Returns the folder of a machine's disks, as `machine data-dir` does.
fn disks(name: &str) -> Result<PathBuf> {
    Ok(state()?.join(format!("{name}.disks")))
}

fn record(name: &str) -> Result<PathBuf> {
    Ok(state()?.join(format!("{name}.json")))
}

fn load(name: &str) -> Result<Machine> {
    let text = fs::read_to_string(record(name)?).with_context(|| format!("machine '{name}' not found"))?;
    Ok(serde_json::from_str(&text)?)
}

fn save(machine: &Machine) -> Result<()> {
    let path = record(&machine.name)?;
    let draft = path.with_extension("draft");
    fs::write(&draft, serde_json::to_string(machine)?)?;
    Ok(fs::rename(draft, path)?)
}
