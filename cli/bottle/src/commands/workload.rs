//! A command that runs in a guest after the one who started it has left: `bottle exec --detach`, and what it
//! printed, `bottle logs --workload` and `bottle attach`.
//!
//! A process of its own, the recorder, holds the call of smolvm and writes what it prints. It ends with the call, and
//! so with the machine. The file is bounded, and a guest's words in it are shown escaped.

use super::context::Context;
use crate::operator::who;
use anyhow::{Context as _, Result};
use bottle_core::helper::HELPER;
use bottle_core::slug::Slug;
use bottle_guest::status::exit_number;
use bottle_host::audit;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::out;
use bottle_host::process::die_with_parent;
use bottle_host::smolvm::Terminal;
use bottle_host::state::{Folder, Home, Lock, remove_file, write_private};
use bottle_host::tools;
use rustix::process::{Signal, setsid};
use serde_json::json;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// The size at which the file is put aside, in bytes. One older file is kept, so twice as much is on disk.
const SEGMENT: u64 = 4 << 20;
/// The longest line that is shown as one, in bytes.
const LONGEST: u64 = 64 << 10;
/// How often a follower looks for more.
const GLANCE: Duration = Duration::from_millis(200);
/// What a recorder says once it records.
const READY: &str = "ready";

/// Starts a command in a bottle that is up, and leaves it running.
pub fn start(context: &Context, folder: &Folder, words: &[String]) -> Outcome {
    let slug = folder.slug();
    let own = std::env::current_exe().context("this program's own path")?;
    let mut recorder = Command::new(own);
    recorder.args(["recorder", slug.as_str(), "--"]).args(words);
    recorder.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).current_dir("/");
    let mut child = recorder.spawn().context("cannot start the recorder")?;
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(LONGEST).read_to_string(&mut said).context("the recorder")?;
    }
    match said.trim_end() {
        READY => {
            context.say(&format!("it runs in {slug}; `bottle attach {slug}` shows what it prints"));
            Ok(())
        }
        why if why.starts_with("busy") => {
            Err(Failure::new(Kind::Busy, format!("another detached command runs in {slug}"))
                .help(format!("`bottle attach {slug}` follows it; `bottle top {slug}` lists what runs")))
        }
        why => Err(Failure::new(Kind::Internal, format!("the command was not started: {why}"))),
    }
}

/// Runs a command in a guest, and records what it prints. This is the recorder's whole life.
pub fn record(slug: &Slug, words: &[String]) -> Outcome {
    let folder = Home::find()?.bottle(slug);
    let said = |what: &str| {
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{what}").and_then(|()| out.flush());
    };
    // Whoever started it may close the terminal.
    let _ = setsid();
    let Some(lock) = Lock::alone(&folder.workload_lock(), GLANCE)? else {
        said("busy");
        return Ok(());
    };
    let begun = begin(&folder, words).inspect_err(|error| said(&format!("{error:#}")))?;
    said(READY);
    let (mut child, output, mut file) = begun;
    // The one who started it waits for the end of this process's output.
    let _ = rustix::stdio::dup2_stdout(File::open("/dev/null").context("/dev/null")?);
    let recorded = pour(output, &mut file, &folder);
    let status = child.wait().map_err(anyhow::Error::from)?;
    let how = match &recorded {
        Ok(()) => json!({ "status": status.code(), "how": status.to_string() }),
        Err(error) => {
            json!({ "status": status.code(), "how": format!("its output cannot be written: {error}") })
        }
    };
    let written = write_private(&folder.workload_status(), exit_number(status).to_string().as_bytes());
    audit::decided(&folder, "workload", "ended", how)?;
    drop(lock);
    written?;
    Ok(())
}

/// Starts the command, and notes that it was started.
fn begin(folder: &Folder, words: &[String]) -> Result<(std::process::Child, io::PipeReader, File)> {
    let path = folder.workload_log();
    remove_file(&folder.workload_status())?;
    let _ = fs::remove_file(older(&path));
    let _ = fs::remove_file(&path);
    let file = create(&path)?;
    let (output, input) = io::pipe()?;
    let mut call = tools::smolvm()?.exec(folder.slug(), Terminal::Pipe, words);
    call.stdin(Stdio::null()).stdout(input.try_clone()?).stderr(input);
    die_with_parent(&mut call, Signal::TERM);
    audit::decided(folder, "workload", "started", json!({ "program": program(words), "by": who() }))?;
    let child = call.spawn().context("cannot run smolvm")?;
    // This process's own ends of the pipe would keep it open.
    drop(call);
    Ok((child, output, file))
}

/// Returns the program that a command runs. Its arguments and its variables may hold secrets, and are not logged.
fn program(words: &[String]) -> &str {
    let own = words
        .iter()
        .position(|word| word == "--")
        .filter(|_| words.first().is_some_and(|word| word == HELPER));
    words.get(own.map_or(0, |dashes| dashes + 1)).map_or("", String::as_str)
}

fn create(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    let made = options.append(true).create_new(true).mode(0o600).open(path);
    made.with_context(|| path.display().to_string())
}

fn older(path: &Path) -> std::path::PathBuf {
    path.with_extension("1.log")
}

/// Writes everything to the file, which is put aside when it is full.
fn pour(mut output: impl Read, file: &mut File, folder: &Folder) -> Result<()> {
    let (mut piece, mut written) = (vec![0; 64 << 10], 0);
    loop {
        let read = match output.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        written += read as u64;
        if written > SEGMENT {
            let path = folder.workload_log();
            fs::rename(&path, older(&path))?;
            (*file, written) = (create(&path)?, read as u64);
        }
        file.write_all(&piece[..read])?;
    }
}

/// Returns the status of the last detached command, as a shell gives it, once it has ended.
pub fn status(folder: &Folder) -> Result<Option<u8>> {
    match fs::read_to_string(folder.workload_status()) {
        Ok(text) => Ok(Some(text.trim().parse().context("the status of the detached command")?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("the status of the detached command"),
    }
}

/// Shows what the last detached command printed, and what more it prints for as long as `follows` says.
pub fn show(folder: &Folder, follows: impl Fn() -> bool) -> Outcome {
    let slug = folder.slug();
    let path = folder.workload_log();
    // In this order: while a full file is put aside, there is only the older one for a moment.
    if !path.exists() && !older(&path).exists() {
        return Err(Failure::new(Kind::NoBottle, format!("no detached command was started in {slug}"))
            .help(format!("`bottle exec --detach {slug} -- COMMAND` starts one")));
    }
    if let Ok(file) = File::open(older(&path)) {
        let mut reader = BufReader::new(file);
        while let Some(line) = next(&mut reader, true)? {
            print(&line)?;
        }
    }
    let mut reader = BufReader::new(current(&path)?);
    loop {
        // Looked at before what is left is read: whatever came before its end is there then.
        let ended = Lock::alone(&folder.workload_lock(), Duration::ZERO)?.is_some();
        let is_over = ended || !follows();
        while let Some(line) = next(&mut reader, is_over)? {
            print(&line)?;
        }
        let inode = |meta: io::Result<fs::Metadata>| meta.ok().map(|meta| meta.ino());
        if inode(fs::metadata(&path)) != inode(reader.get_ref().metadata())
            && let Ok(file) = File::open(&path)
        {
            // The file was put aside when it was full, and nothing is added to it any more.
            while let Some(line) = next(&mut reader, true)? {
                print(&line)?;
            }
            reader = BufReader::new(file);
            continue;
        }
        if is_over {
            return Ok(());
        }
        if out::is_abandoned() {
            return Err(out::gone());
        }
        thread::sleep(GLANCE);
    }
}

/// Opens the file that is written now. While a full one is put aside, there is none for a moment.
fn current(path: &Path) -> Result<File> {
    const TRIES: u32 = 20;
    for _ in 1..TRIES {
        match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => thread::sleep(GLANCE / TRIES),
            opened => return opened.context("the workload's log"),
        }
    }
    File::open(path).context("the workload's log")
}

/// Returns the next line, without waiting for one. A line that is not complete yet stays for later, unless there
/// is no later.
fn next(reader: &mut BufReader<File>, is_over: bool) -> Result<Option<Vec<u8>>> {
    use std::io::{Seek, SeekFrom};
    let at = reader.stream_position()?;
    let mut line = Vec::new();
    let read = reader.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
    if read == 0 {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') && (read as u64) < LONGEST && !is_over {
        reader.seek(SeekFrom::Start(at))?;
        return Ok(None);
    }
    Ok(Some(line))
}

fn print(line: &[u8]) -> Outcome {
    out::guests(String::from_utf8_lossy(line).trim_end_matches(['\n', '\r']))
}
