//! A guest's program in the operator's terminal: sizes, keys, colours, signals, and what is left of it afterwards.

use bottle_harness::terminal::Terminal;
use bottle_tests::{ProjectExt, RunningBottle, project_with, up};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

/// How long something may take to be on the screen.
const SOON: Duration = Duration::from_secs(20);
const SIZE: (u16, u16) = (24, 80);
/// Without a network stack of its own a start is faster.
const CONFIG: &str = "slug = \"t\"\n[workspace]\nmode = \"read-only\"\n";

fn open(running: &RunningBottle, words: &[&str]) -> Terminal {
    let mut command = running.command(&["-q"]);
    command.args(words).env("COLORTERM", "24bit");
    Terminal::start(&command, SIZE).unwrap()
}

fn script(running: &RunningBottle, script: &str) -> Terminal {
    open(running, &["exec", "--", "sh", "-c", script])
}

fn until(terminal: &Terminal, text: &str) {
    terminal.until(text, SOON).unwrap();
}

/// Waits for a text of the guest's program, and until it gets the keys. `bottle` sees smolvm make its terminal raw a few
/// milliseconds after the fact, and until then the person's own terminal answers keys.
fn ready(terminal: &Terminal, text: &str) {
    until(terminal, text);
    terminal.until_raw(SOON).unwrap();
}

/// Asserts that a terminal is what it was before a program had it.
fn is_restored(terminal: &Terminal, before: &str) {
    assert_eq!(terminal.modes().unwrap(), before);
    assert!(terminal.is_plain(), "{}", terminal.text());
}

#[test]
fn a_program_has_the_terminals_size_its_keys_and_its_colours() {
    let running = up(CONFIG);
    let mut terminal = script(
        &running,
        "stty size; echo \"$TERM $COLORTERM $LANG\"; printf '\\033[38;2;10;20;30mdr\u{f6}hnt\\033[0m \u{6f22}\u{5b57} \u{1f642}\\n'
        trap 'echo now $(stty size)' WINCH; read -r line; echo \"got $line\"
        while [ \"$(stty size)\" = '24 80' ]; do sleep 0.05; done; stty size; exit 7",
    );
    let before = terminal.modes().unwrap();
    ready(&terminal, "24 80\nxterm-256color truecolor C.UTF-8\ndr\u{f6}hnt \u{6f22}\u{5b57} \u{1f642}");
    let cell = terminal.screen().cell(2, 0).unwrap().clone();
    assert_eq!((cell.contents(), cell.fgcolor()), ("d", vt100::Color::Rgb(10, 20, 30)));
    terminal.press("na\u{ef}ve \u{5b57}\u{1f642}\r").unwrap();
    until(&terminal, "got na\u{ef}ve \u{5b57}\u{1f642}");
    terminal.resize(30, 100).unwrap();
    until(&terminal, "now 30 100");
    assert_eq!(terminal.wait(SOON).unwrap().code(), Some(7));
    is_restored(&terminal, &before);

    // What a person chose stays.
    let mut terminal = open(
        &running,
        &[
            "exec",
            "-e",
            "LC_ALL=C",
            "-e",
            "COLORTERM=no",
            "--user",
            "nobody",
            "--",
            "sh",
            "-c",
            "id -un; echo \"$COLORTERM,$LANG,$LC_ALL\"",
        ],
    );
    until(&terminal, "nobody\nno,,C");
    assert_eq!(terminal.wait(SOON).unwrap().code(), Some(0));
}

#[test]
fn keys_that_signal_reach_the_foreground_program_and_nothing_stays_stopped() {
    let running = up(CONFIG);
    let mut terminal = script(
        &running,
        "trap 'echo caught' INT; sh -c 'echo ready; exec cat'; sh -c 'echo then; exec sleep 60'; exit 3",
    );
    ready(&terminal, "ready");
    // To `cat`, and to the shell that has a trap for it; then to `sleep`.
    terminal.press("\u{3}").unwrap();
    until(&terminal, "then");
    terminal.press("\u{3}").unwrap();
    assert_eq!(terminal.wait(SOON).unwrap().code(), Some(3));
    assert_eq!(terminal.text().matches("caught").count(), 2, "{}", terminal.text());

    let mut terminal = script(&running, "echo ready; exec sleep 60");
    ready(&terminal, "ready");
    terminal.press("\u{3}").unwrap();
    assert_eq!(terminal.wait(SOON).unwrap().code(), Some(130));

    // There is no shell to return to: whoever stops goes on.
    for stops in ["exec cat", "kill -STOP $$; echo went on; exec cat"] {
        for limit in [&["exec", "--"][..], &["exec", "--timeout", "60s", "--"]] {
            let mut terminal =
                open(&running, &[limit, &["sh", "-c", &format!("echo ready; {stops}")]].concat());
            ready(&terminal, "ready");
            terminal.press("\u{1a}one more\r").unwrap();
            // Once as it was typed, and once from `cat`.
            let is_twice = |screen: &vt100::Screen| screen.contents().matches("one more").count() == 2;
            terminal.until_it("one more, twice", SOON, is_twice).unwrap();
            terminal.press("\u{4}").unwrap();
            assert_eq!(terminal.wait(SOON).unwrap().code(), Some(0), "{stops}");
        }
    }

    // A shell has jobs of its own.
    let mut terminal = open(&running, &["shell"]);
    ready(&terminal, "#");
    terminal.press("set -m; sh -c 'echo go; exec sleep 55'\r").unwrap();
    until(&terminal, "\ngo");
    terminal.press("\u{1a}jobs\r").unwrap();
    until(&terminal, "Stopped");
    // The first time, a shell may only say that there are jobs.
    terminal.press("kill -KILL %1; exit 4\rexit 4\r").unwrap();
    assert_eq!(terminal.wait(SOON).unwrap().code(), Some(4));
}

/// Pastes a text into a program that shows what it reads, and returns that.
fn pasted(running: &RunningBottle, words: &[&str], text: &str) -> String {
    let show = "stty -echo; echo ready; read -r line; echo \"<$line>\" | cat -v";
    let mut terminal = open(running, &[words, &["--", "sh", "-c", show]].concat());
    ready(&terminal, "ready");
    terminal.paste(text).unwrap();
    terminal.press("\r").unwrap();
    assert_eq!(terminal.wait(SOON).unwrap().code(), Some(0));
    let shown = terminal.text();
    let line = shown.lines().find_map(|line| line.strip_prefix("<^[[200~")?.strip_suffix("^[[201~>"));
    line.unwrap_or_else(|| panic!("{shown}")).to_owned()
}

#[test]
fn a_pasted_path_becomes_the_guests_where_the_guest_has_the_file() {
    let config = "slug = \"t\"\n[workspace]\nmode = \"copy\"\nexclude = [\"*.log\"]\n";
    let project = project_with(config);
    for name in ["a b.png", "c.png", "d.log"] {
        project.put(name, "x");
    }
    std::os::unix::fs::symlink("/etc/hostname", project.path("out.png")).unwrap();
    std::os::unix::fs::symlink("c.png", project.path("in.png")).unwrap();
    let running = project.up().unwrap();
    running.put("later.png", "x");
    let here = |name: &str| running.path(name).display().to_string();
    let exec = |text: &str| pasted(&running, &["exec"], text);
    assert_eq!(exec(&format!("'{}' ", here("a b.png"))), "'/workspace/a b.png' ");
    assert_eq!(exec(&here("in.png")), "/workspace/c.png");
    assert_eq!(
        exec(&format!("file://{} {}", here("a%20b.png"), here("c.png"))),
        "file:///workspace/a%20b.png /workspace/c.png"
    );
    // What was not copied, what lies elsewhere, and a text about a file.
    for text in [
        here("d.log"),
        here("later.png"),
        here("out.png"),
        "/etc/hostname".to_owned(),
        format!("see {}", here("c.png")),
    ] {
        assert_eq!(exec(&text), text);
    }
    // The guest cannot make a path one of its own.
    running.run(&["exec", "--", "sh", "-c", "touch d.log later.png"]).unwrap();
    assert_eq!(exec(&here("d.log")), here("d.log"));

    let project = project_with("slug = \"t\"\n[workspace]\nmode = \"read-only\"\n");
    let running = project.up().unwrap();
    running.put("later.png", "x");
    let here = running.path("later.png").display().to_string();
    assert_eq!(pasted(&running, &["exec"], &here), "/workspace/later.png");
    assert_eq!(pasted(&running, &["run", "second"], &here), "/workspace/later.png");
}

#[test]
fn what_is_typed_before_a_guest_reads_reaches_it_and_so_does_its_end() {
    let running = up(CONFIG);
    let program = running.environment().checkout().program("bottle").unwrap();
    // `script` types what it reads, and Ctrl-D once that is read: at once if it is nothing.
    let typed = |keys: &[u8], show: &str| {
        let line = format!("TERM=dumb {} -q exec -- sh -c '{show}'", program.display());
        let mut script = running.environment().command("timeout");
        script.args(["20", "script", "-qec", &line, "/dev/null"]).current_dir(running.folder());
        let mut script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        script.stdin.take().unwrap().write_all(keys).unwrap();
        String::from_utf8_lossy(&script.wait_with_output().unwrap().stdout).into_owned()
    };
    assert_eq!(typed(b"", "cat -v; echo over"), "over\r\n");
    let seen = typed(b"early\n", "read -r line; echo \"<$line>\"; cat -v; echo over");
    assert!(seen.ends_with("<early>\r\nover\r\n"), "{seen:?}");
}

/// Everything that a program can switch on, with the beginning of a sequence that does not end.
const ODD: &str = r#"printf "\033[?1049h\033[?25l\033[?1003h\033[?1006h\033[?2004h\033[?1h\033=\033[7;31m\033[5;9r\033[?6hodd\033]0;not ended""#;

#[test]
fn the_terminal_is_restored_however_the_program_ends() {
    let running = up(CONFIG);
    type End<'e> = (&'e str, &'e dyn Fn(&Terminal));
    let ends: [End; 3] = [
        ("exit 5", &|_| {}),
        ("sleep 60", &|terminal| kill(terminal.id(), Signal::TERM)),
        // smolvm's own process dies, and restores nothing.
        ("sleep 60", &|terminal| {
            let below = bottle_harness::processes::descendants(terminal.id());
            below.into_iter().for_each(|pid| kill(pid, Signal::KILL));
        }),
    ];
    for (end, how) in ends {
        let mut terminal = script(&running, &format!("echo before; {ODD}; {end}"));
        let before = terminal.modes().unwrap();
        if end != "exit 5" {
            until(&terminal, "odd");
        }
        how(&terminal);
        terminal.wait(SOON).unwrap();
        is_restored(&terminal, &before);
        assert_eq!(terminal.text(), "before", "{end}");
        assert_eq!(terminal.screen().cursor_position(), (1, 0), "{end}");
    }

    // The guest dies.
    let mut terminal = script(&running, &format!("echo before; {ODD}; sleep 60"));
    let before = terminal.modes().unwrap();
    until(&terminal, "odd");
    running.bottle(&["-q", "stop", "t"]).assert().success();
    assert!(!terminal.wait(SOON).unwrap().success());
    is_restored(&terminal, &before);
}

#[test]
fn a_run_has_the_terminal_like_a_command_of_a_bottle_that_is_up() {
    let project = project_with(CONFIG);
    let script =
        format!("stty size; trap 'echo caught; {ODD}; exit 6' INT; sh -c 'echo ready; exec sleep 60'");
    let command = project.command(&["-q", "run", "--", "sh", "-c", &script]);
    let mut terminal = Terminal::start(&command, SIZE).unwrap();
    let before = terminal.modes().unwrap();
    ready(&terminal, "24 80\nready");
    terminal.press("\u{3}").unwrap();
    assert_eq!(terminal.wait(SOON).unwrap().code(), Some(6));
    is_restored(&terminal, &before);
}

fn kill(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    let _ = kill_process(pid, signal);
}
