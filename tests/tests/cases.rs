//! Cases as a user runs them: each folder of `tests/cases/` is one, so that a bug report becomes a folder.
//!
//! A case has a project in an environment of its own. Its `case.toml` says what holds, which files to make
//! beforehand, which command lines to run, and which files to find afterwards:
//!
//! ```toml
//! about = "What holds, in a sentence."
//!
//! [[file]]                      # in this order, with the folders above
//! path = 'bad\xffname'          # in the project; `../` leads to the environment
//! text = "..."                  # or `folder = true`, `symlink = "target"`, `hardlink = "other file"`,
//!                               # `fifo = true`, `size = 1000000000000` (a sparse file)
//! mode = "0640"
//!
//! [[run]]
//! command = "bottle plan | head -1"    # for `sh`, in the project's folder
//! stdin = "..."                 # default: empty
//! status = 2                    # default: 0
//! stdout = "all of it"          # or `stdout-has` and `stdout-lacks`, lists of fragments
//! stderr-has = ["fragment"]     # the same for `stderr`
//! user = 65534                  # default: the user of the tests. The whole environment becomes this one's
//!
//! [[after]]
//! path = "bottle.toml"
//! text = "all of it"            # or `has`, `symlink`, `kind` ("file", "folder", "symlink", "fifo",
//!                               # "absent"), `mode`, `size`
//! ```
//!
//! Each string of a file, and `text` afterwards, can hold any byte as `\xHH`. In outputs the environment's
//! folder is called `ENVIRONMENT`. No command may panic, or take longer than a minute. Whatever is still
//! running at the end is removed.
//!
//! `CASE=name` runs only the cases whose names contain that.

use assert_cmd::Command;
use bottle_tests::{Project, ProjectExt, empty_project};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde::Deserialize;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Case {
    about: String,
    #[serde(default)]
    file: Vec<File>,
    run: Vec<Run>,
    #[serde(default)]
    after: Vec<After>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    path: String,
    text: Option<String>,
    symlink: Option<String>,
    hardlink: Option<String>,
    size: Option<u64>,
    #[serde(default)]
    folder: bool,
    #[serde(default)]
    fifo: bool,
    mode: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Run {
    command: String,
    #[serde(default)]
    stdin: String,
    #[serde(default)]
    status: i32,
    stdout: Option<String>,
    #[serde(default)]
    stdout_has: Vec<String>,
    #[serde(default)]
    stdout_lacks: Vec<String>,
    stderr: Option<String>,
    #[serde(default)]
    stderr_has: Vec<String>,
    #[serde(default)]
    stderr_lacks: Vec<String>,
    user: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    path: String,
    kind: Option<String>,
    text: Option<String>,
    #[serde(default)]
    has: Vec<String>,
    symlink: Option<String>,
    mode: Option<String>,
    size: Option<u64>,
}

/// Replaces each `\xHH` by that byte.
fn unescape(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find("\\x") {
        let (before, escape) = rest.split_at(at);
        bytes.extend(before.as_bytes());
        match escape.get(2..4).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => bytes.push(byte),
            None => panic!("{text}: \\x needs two hexadecimal digits"),
        }
        rest = &escape[4..];
    }
    bytes.extend(rest.as_bytes());
    bytes
}

fn path(project: &Project, name: &str) -> PathBuf {
    project.path(OsString::from_vec(unescape(name)))
}

fn mode(text: &str) -> u32 {
    u32::from_str_radix(text, 8).unwrap_or_else(|_| panic!("{text} is not a mode"))
}

fn make(project: &Project, file: &File) {
    let path = path(project, &file.path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let made = if file.folder {
        fs::create_dir_all(&path)
    } else if file.fifo {
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).map_err(Into::into)
    } else if let Some(target) = &file.symlink {
        symlink(OsString::from_vec(unescape(target)), &path)
    } else if let Some(other) = &file.hardlink {
        fs::hard_link(self::path(project, other), &path)
    } else if let Some(size) = file.size {
        fs::File::create(&path).and_then(|file| file.set_len(size))
    } else {
        fs::write(&path, unescape(file.text.as_deref().unwrap_or_default()))
    };
    made.unwrap_or_else(|error| panic!("{}: {error}", file.path));
    if let Some(text) = &file.mode {
        fs::set_permissions(&path, PermissionsExt::from_mode(mode(text))).unwrap();
    }
}

/// Runs a command line as another user, who may open a tap: a stand-in guest needs one.
const AS_USER: &str = "mount -t tmpfs tmpfs /dev/net && mknod -m 666 /dev/net/tun c 10 200 && \
    exec setpriv --reuid \"$1\" --regid \"$1\" --clear-groups sh -c \"$2\"";

/// The differences between a case and what happened.
struct Faults(Vec<String>);

impl Faults {
    fn check(&mut self, holds: bool, fault: impl FnOnce() -> String) {
        if !holds {
            self.0.push(fault());
        }
    }

    fn run(&mut self, project: &Project, run: &Run) {
        let environment = project.environment();
        let mut command = environment.command(if run.user.is_some() { "unshare" } else { "sh" });
        if let Some(user) = run.user {
            let mut chown = Command::new("chown");
            chown.args(["-hR", &format!("{user}:{user}")]).arg(environment.folder()).unwrap();
            command.args(["--mount", "sh", "-c", AS_USER, "sh", &user.to_string(), &run.command]);
        } else {
            command.args(["-c", &run.command]);
        }
        let mut command = Command::from_std(command);
        command.current_dir(project.folder());
        let output =
            command.timeout(Duration::from_secs(60)).write_stdin(run.stdin.as_bytes()).output().unwrap();
        let text = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes).replace(environment.folder().to_str().unwrap(), "ENVIRONMENT")
        };
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        let name = &run.command;
        self.check(output.status.code() == Some(run.status), || {
            format!("`{name}`: {} instead of status {}\n{stdout}{stderr}", output.status, run.status)
        });
        self.check(!stderr.contains("panicked at"), || format!("`{name}` panicked: {stderr}"));
        for (stream, said, all, has, lacks) in [
            ("stdout", &stdout, &run.stdout, &run.stdout_has, &run.stdout_lacks),
            ("stderr", &stderr, &run.stderr, &run.stderr_has, &run.stderr_lacks),
        ] {
            let fault = |what: &str| format!("`{name}`: {stream} {what}; it is:\n{said}");
            if let Some(all) = all {
                self.check(said == all, || fault(&format!("is not {all:?}")));
            }
            for part in has {
                self.check(said.contains(part), || fault(&format!("lacks {part:?}")));
            }
            for part in lacks {
                self.check(!said.contains(part), || fault(&format!("has {part:?}")));
            }
        }
    }

    fn find(&mut self, project: &Project, after: &After) {
        let (path, name) = (path(project, &after.path), &after.path);
        let meta = fs::symlink_metadata(&path);
        let kind = match meta.as_ref().map(fs::Metadata::file_type) {
            Err(_) => "absent",
            Ok(kind) if kind.is_dir() => "folder",
            Ok(kind) if kind.is_symlink() => "symlink",
            Ok(kind) if kind.is_fifo() => "fifo",
            Ok(_) => "file",
        };
        let wanted = after.kind.as_deref().unwrap_or(if after.symlink.is_some() { "symlink" } else { kind });
        self.check(kind == wanted, || format!("{name} is {kind}, not {wanted}"));
        let Ok(meta) = meta else {
            return self.check(wanted == "absent" && after.kind.is_some(), || format!("{name} is absent"));
        };
        if let Some(target) = &after.symlink {
            let is = fs::read_link(&path).unwrap_or_default();
            self.check(is.as_os_str().as_bytes() == unescape(target), || format!("{name} leads to {is:?}"));
        }
        if let Some(text) = &after.mode {
            let is = meta.permissions().mode() & 0o7777;
            self.check(is == mode(text), || format!("{name} has mode {is:04o}"));
        }
        if let Some(size) = after.size {
            self.check(meta.len() == size, || format!("{name} has {} bytes", meta.len()));
        }
        if after.text.is_some() || !after.has.is_empty() {
            let is = fs::read(&path).unwrap_or_default();
            let shown = String::from_utf8_lossy(&is);
            if let Some(text) = &after.text {
                self.check(is == unescape(text), || format!("{name} holds {shown:?}"));
            }
            for part in &after.has {
                self.check(shown.contains(part), || format!("{name} lacks {part:?}: {shown}"));
            }
        }
    }
}

/// Runs a case and returns its faults.
fn run(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("case.toml")).unwrap();
    let case: Case = match toml::from_str(&text) {
        Ok(case) => case,
        Err(error) => return vec![error.to_string()],
    };
    let project = empty_project();
    let bottle = project.environment().checkout().program("bottle").unwrap();
    symlink(bottle, project.on_host("bin/bottle")).unwrap();
    case.file.iter().for_each(|file| make(&project, file));
    let mut faults = Faults(Vec::new());
    case.run.iter().for_each(|run| faults.run(&project, run));
    case.after.iter().for_each(|after| faults.find(&project, after));
    if project.on_host("state").exists() {
        let bottles = project.json(&["-q", "ls", "--all", "--json"]);
        for slug in bottles.as_array().into_iter().flatten().filter_map(|row| row["slug"].as_str()) {
            let _ = project.bottle(&["-q", "rm", "--force", slug]).output();
        }
    }
    faults.check(!case.about.is_empty(), || "it does not say what holds".to_owned());
    faults.0
}

#[test]
fn each_case_gives_the_expected_result() {
    const WORKERS: usize = 3;
    let only = std::env::var("CASE").unwrap_or_default();
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut cases: Vec<PathBuf> = fs::read_dir(cases).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|case| case.to_string_lossy().contains(&only));
    cases.sort();
    assert!(!cases.is_empty(), "no case is called {only}");
    let (next, faults) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Relaxed)) {
                    let name = case.file_name().unwrap().to_string_lossy();
                    let found = run(case).join("\n  ");
                    if !found.is_empty() {
                        faults.lock().unwrap().push(format!("{name}:\n  {found}"));
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{} of {} cases:\n{}", faults.len(), cases.len(), faults.join("\n"));
}
