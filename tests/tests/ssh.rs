//! SSH to a guest, with the real clients: `ssh`, `scp`, `sftp`, `rsync`.

use bottle_harness::page::Page;
use bottle_harness::terminal::Terminal;
use bottle_tests::{ProjectExt, RunningBottle, RunningBottleExt, eventually, kill, up};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const BARE: &str = "slug = \"t\"\n[workspace]\nmode = \"none\"\n";

/// Writes a bottle's entry for ssh, and returns the file.
fn entry(bottle: &RunningBottle) -> PathBuf {
    let file = bottle.on_host("ssh-config");
    fs::write(&file, bottle.said(&["ssh-config", "t"])).unwrap();
    file
}

/// Returns a client of ssh that knows the bottle.
fn client(bottle: &RunningBottle, program: &str, words: &[&str]) -> Command {
    let mut command = bottle.environment().command(program);
    command.arg("-F").arg(entry(bottle)).args(words).current_dir(bottle.folder());
    command
}

/// Runs a client to its end, with this input.
fn ran(mut command: Command, input: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    let writer = thread::spawn(move || _ = stdin.write_all(&input));
    let output = within(child, Duration::from_secs(60));
    writer.join().unwrap();
    output
}

/// Waits for a client, which must not hang.
fn within(mut child: Child, limit: Duration) -> Output {
    let drain = |from: Option<&mut (dyn Read + Send)>| {
        let mut all = Vec::new();
        let _ = from.map(|from| from.read_to_end(&mut all));
        all
    };
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let out = thread::spawn(move || drain(out.as_mut().map(|from| from as _)));
    let err = thread::spawn(move || drain(err.as_mut().map(|from| from as _)));
    let end = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > end {
            kill(child.id().into());
            panic!("the client hangs");
        }
        thread::sleep(Duration::from_millis(10));
    };
    Output { status, stdout: out.join().unwrap(), stderr: err.join().unwrap() }
}

fn ssh(bottle: &RunningBottle, words: &[&str]) -> Output {
    ran(client(bottle, "ssh", words), b"")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Bytes in which every value occurs, and which no two places share.
fn many(len: u32) -> Vec<u8> {
    (0..len / 4).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

#[test]
fn ssh_runs_commands_with_their_streams_and_their_status() {
    let bottle = up(BARE);
    let ran_it = ssh(&bottle, &["t.bottle", "echo out; echo err >&2; exit 7"]);
    assert_eq!((ran_it.status.code(), text(&ran_it.stdout).as_str()), (Some(7), "out\n"));
    assert_eq!(text(&ran_it.stderr), "err\n");
    assert_eq!(ssh(&bottle, &["t.bottle", "kill -9 $$"]).status.code(), Some(137));
    // More than ssh's window in both directions at once, and every byte as it was.
    let sent = many(10 << 20);
    let echoed = ran(client(&bottle, "ssh", &["t.bottle", "cat"]), &sent);
    assert!(echoed.status.success() && echoed.stdout == sent, "{} bytes", echoed.stdout.len());
    let dropped = ran(client(&bottle, "ssh", &["t.bottle", "head -c 3"]), &sent);
    assert_eq!((dropped.status.code(), dropped.stdout.len()), (Some(0), 3));
    let variable = ["-o", "SetEnv=COLOUR=red", "t.bottle", "echo $COLOUR $HOME $USER $PWD"];
    assert_eq!(text(&ssh(&bottle, &variable).stdout), "red /root root /root\n");
    // The user of the guest is ssh's, and a name that nobody has is no user.
    assert_eq!(text(&ssh(&bottle, &["-l", "1234", "t.bottle", "id -u"]).stdout), "1234\n");
    let nobody = ssh(&bottle, &["-l", "nosuchuser", "t.bottle", "id -u"]);
    assert!(!nobody.status.success() && text(&nobody.stderr).contains("no user nosuchuser"), "{nobody:?}");
    // ssh ends its proxy command with a signal, and the log has each end.
    eventually("every end is in the log", || {
        let log = bottle.said(&["logs", "t"]);
        let count = |event: &str| log.matches(event).count();
        count("ssh       opened") > 5 && count("ssh       opened") == count("ssh       closed")
    });
}

#[test]
fn ssh_gives_a_terminal_of_the_clients_size() {
    const SOON: Duration = Duration::from_secs(20);
    let bottle = up(BARE);
    let script =
        "stty size; echo $TERM; while [ \"$(stty size)\" = \"33 101\" ]; do sleep 0.1; done; stty size";
    let mut command = client(&bottle, "ssh", &["-t", "t.bottle", script]);
    command.env("TERM", "vt220");
    let mut terminal = Terminal::start(&command, (33, 101)).unwrap();
    terminal.until("vt220", SOON).unwrap();
    terminal.resize(20, 60).unwrap();
    assert!(terminal.wait(SOON).unwrap().success());
    let said = terminal.text();
    assert!(said.contains("33 101\nvt220\n20 60\n"), "{said:?}");
    // A shell reads what is typed, and ends as it says.
    let shell = ran(client(&bottle, "ssh", &["-tt", "t.bottle"]), b"echo $((40+2)); exit 5\n");
    assert!(
        shell.status.code() == Some(5) && text(&shell.stdout).replace('\r', "").contains("42\n"),
        "{shell:?}"
    );
}

#[test]
fn what_a_client_leaves_behind_is_hung_up_and_what_asked_to_stay_stays() {
    let bottle = up(BARE);
    // Two sleeps of a name of their own in the command's group, one that ignores it, and one in a session of its own.
    let script = "cp /bin/sleep /tmp/here; cp /bin/sleep /tmp/stays; /tmp/here 300 & nohup /tmp/stays 300 > /dev/null 2>&1 & \
                  setsid /tmp/stays 301 > /dev/null 2>&1 < /dev/null & echo up; exec /tmp/here 301";
    // What has ended and waits for its parent has no command line.
    let all = "for line in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $line; echo; done 2> /dev/null";
    let running = |name: &str| {
        bottle.guest(all).lines().filter(|line| line.starts_with(&format!("/tmp/{name} "))).count()
    };
    for words in [&["t.bottle", script][..], &["-tt", "t.bottle", script]] {
        let mut client = client(&bottle, "ssh", words);
        let mut open =
            client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        eventually("all of it runs", || (running("here"), running("stays")) == (2, 2));
        kill(open.id().into());
        open.wait().unwrap();
        eventually("its group is gone", || running("here") == 0);
        assert_eq!(running("stays"), 2, "{words:?}");
        bottle.guest("pkill stays; true");
        eventually("nothing is left", || running("stays") == 0);
    }
    // A command that ends by itself leaves what it started in the background, as editors' servers are started.
    let ended = ssh(&bottle, &["t.bottle", "/tmp/stays 300 > /dev/null 2>&1 < /dev/null &"]);
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(running("stays"), 1);
}

#[test]
fn a_size_that_changes_while_the_session_begins_is_not_lost() {
    const SOON: Duration = Duration::from_secs(30);
    let bottle = up(BARE);
    for pause in [0, 40, 80, 120, 200, 300] {
        let script = "while [ \"$(stty size)\" != \"20 60\" ]; do sleep 0.1; done; echo it has it";
        let command = client(&bottle, "ssh", &["-t", "t.bottle", script]);
        let mut terminal = Terminal::start(&command, (33, 101)).unwrap();
        thread::sleep(Duration::from_millis(pause));
        terminal.resize(20, 60).unwrap();
        terminal.until("it has it", SOON).unwrap_or_else(|error| panic!("{pause} ms: {error:#}"));
        assert!(terminal.wait(SOON).unwrap().success());
    }
}

#[test]
fn scp_sftp_and_rsync_copy_both_ways() {
    let bottle = up(BARE);
    let data = many(3 << 20);
    let local = |name: &str| bottle.on_host(name);
    fs::create_dir(local("tree")).unwrap();
    fs::write(local("tree/data"), &data).unwrap();
    fs::write(local("tree/run me"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(local("tree/run me"), fs::Permissions::from_mode(0o755)).unwrap();
    let tree = local("tree").display().to_string();
    let copied = |name: &str| {
        assert!(fs::read(local(name).join("data")).unwrap() == data, "{name}");
        let mode = fs::metadata(local(name).join("run me")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755, "{name}");
    };
    let works = |command: Command, input: &str| {
        let output = ran(command, input.as_bytes());
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    };
    let back = local("scp").display().to_string();
    works(client(&bottle, "scp", &["-qrp", &tree, "t.bottle:/tmp/scp"]), "");
    works(client(&bottle, "scp", &["-qrp", "t.bottle:/tmp/scp", &back]), "");
    copied("scp");
    // `~` is the guest's home.
    works(client(&bottle, "scp", &["-q", &format!("{tree}/run me"), "t.bottle:~/at-home"]), "");
    assert_eq!(bottle.guest("cat /root/at-home"), "#!/bin/sh\n");
    let batch = format!(
        "mkdir /tmp/sftp\nput -p \"{tree}/data\" /tmp/sftp/data\nput -p \"{tree}/run me\" \"/tmp/sftp/old name\"\n\
         rename \"/tmp/sftp/old name\" \"/tmp/sftp/run me\"\nsymlink data /tmp/sftp/link\nls -l /tmp/sftp\n\
         get -rp /tmp/sftp {}\nrm /tmp/sftp/link\ncd /tmp/sftp\npwd\n",
        local("sftp").display()
    );
    let said = works(client(&bottle, "sftp", &["-q", "-b", "-", "t.bottle"]), &batch);
    assert!(said.contains("-rwxr-xr-x") && said.contains("Remote working directory: /tmp/sftp\n"), "{said}");
    copied("sftp");
    assert_eq!(bottle.guest("ls /tmp/sftp"), "data\nrun me\n");
    let missing = ran(client(&bottle, "scp", &["t.bottle:/tmp/none", &back]), b"");
    assert!(!missing.status.success() && text(&missing.stderr).contains("No such file"), "{missing:?}");
    let over = format!("ssh -F {}", entry(&bottle).display());
    let rsync = |from: &str, to: &str| {
        let mut rsync = bottle.environment().command("rsync");
        rsync.args(["-a", "-e", &over, from, to]);
        works(rsync, "")
    };
    rsync(&format!("{tree}/"), "t.bottle:/tmp/rsync");
    rsync("t.bottle:/tmp/rsync/", &format!("{}/", local("rsync").display()));
    copied("rsync");
}

/// A server in the guest that answers each line with the line.
const SERVER: &str = "setsid python3 -c '
import socketserver
class H(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile: self.wfile.write(b\"guest \" + line)
socketserver.ThreadingTCPServer((\"127.0.0.1\", 3000), H).serve_forever()
' > /dev/null 2>&1 < /dev/null &";

#[test]
fn a_forwarded_connection_reaches_the_guests_own_loopback_and_nothing_else() {
    let bottle = up(BARE);
    bottle.exec(SERVER).success();
    let through = |to: &str, input: &[u8]| ran(client(&bottle, "ssh", &["-W", to, "t.bottle"]), input);
    eventually("the server answers", || through("localhost:3000", b"hello\n").stdout == b"guest hello\n");
    // A listener of the client's own, as editors have.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut forwarding =
        client(&bottle, "ssh", &["-N", "-L", &format!("127.0.0.1:{free}:127.0.0.1:3000"), "t.bottle"]);
    let mut forwarding = forwarding.stdin(Stdio::null()).spawn().unwrap();
    eventually("the client listens", || {
        let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", free)) else { return false };
        stream.write_all(b"again\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer == "guest again\n"
    });
    kill(forwarding.id().into());
    forwarding.wait().unwrap();
    // This machine's own loopback has a server at that port, and the guest has none.
    let page = Page::serve("the host's own").unwrap();
    let own = through(&format!("127.0.0.1:{}", page.port()), b"GET / HTTP/1.0\r\n\r\n");
    assert!(own.stdout.is_empty(), "{own:?}");
    for elsewhere in ["10.0.0.1:80", "0.0.0.0:3000", "proxy.internal:80", "example.com:443"] {
        let refused = through(elsewhere, b"x");
        assert!(!refused.status.success() && refused.stdout.is_empty(), "{elsewhere}: {refused:?}");
        assert!(text(&refused.stderr).contains("only the guest's own loopback"), "{elsewhere}: {refused:?}");
    }
}

#[test]
fn whatever_leads_from_the_guest_to_the_client_is_refused() {
    let bottle = up(BARE);
    let back =
        ssh(&bottle, &["-o", "ExitOnForwardFailure=yes", "-R", "4000:127.0.0.1:22", "t.bottle", "true"]);
    assert!(back.status.code() == Some(255), "{back:?}");
    assert!(text(&back.stderr).contains("remote port forwarding failed"), "{back:?}");
    let socket = bottle.on_host("agent");
    let mut keys = bottle.environment().command("ssh-agent");
    let mut keys = keys.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    eventually("the agent listens", || socket.exists());
    let mut agent = client(&bottle, "ssh", &["-A", "t.bottle", "echo ${SSH_AUTH_SOCK-none}"]);
    agent.env("SSH_AUTH_SOCK", &socket);
    assert_eq!(text(&ran(agent, b"").stdout), "none\n");
    kill(keys.id().into());
    keys.wait().unwrap();
    let mut x11 = client(&bottle, "ssh", &["-Y", "t.bottle", "echo ${DISPLAY-none}"]);
    x11.env("DISPLAY", ":7");
    assert_eq!(text(&ran(x11, b"").stdout), "none\n");
    // A socket of the guest's is not reached, either, and no other subsystem is there.
    let socket = bottle.on_host("forwarded").display().to_string();
    let other = ssh(&bottle, &["-s", "t.bottle", "netconf"]);
    assert!(!other.status.success() && text(&other.stderr).contains("subsystem request failed"), "{other:?}");
    let unix = ssh(
        &bottle,
        &["-o", "ExitOnForwardFailure=yes", "-R", &format!("/tmp/s:{socket}"), "t.bottle", "true"],
    );
    assert_eq!(unix.status.code(), Some(255), "{unix:?}");
}

#[test]
fn a_channel_that_the_guest_does_not_read_holds_up_no_other() {
    let bottle = up(BARE);
    let socket = bottle.on_host("master").display().to_string();
    let mut master = client(&bottle, "ssh", &["-M", "-S", &socket, "-N", "t.bottle"]);
    let mut master = master.stdin(Stdio::null()).spawn().unwrap();
    let also = |words: &[&str]| client(&bottle, "ssh", &[&["-S", &socket][..], words].concat());
    eventually("the connection is shared", || ran(also(&["-O", "check", "t.bottle"]), b"").status.success());
    let mut slow = also(&["t.bottle", "while [ ! -e /tmp/go ]; do sleep 0.1; done; md5sum"]);
    let mut slow = slow.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdin, sent) = (slow.stdin.take().unwrap(), many(24 << 20));
    let writer = thread::spawn(move || stdin.write_all(&sent));
    thread::sleep(Duration::from_secs(1));
    let beside = ran(also(&["t.bottle", "cat; touch /tmp/go"]), b"beside");
    assert_eq!(text(&beside.stdout), "beside");
    writer.join().unwrap().unwrap();
    let summed = text(&within(slow, Duration::from_secs(60)).stdout);
    assert_eq!(summed, text(&ran(Command::new("md5sum"), &many(24 << 20)).stdout));
    kill(master.id().into());
    master.wait().unwrap();
}

#[test]
fn nobody_gets_in_without_the_bottles_key_and_a_bottle_that_is_down_says_so_at_once() {
    let bottle = up(BARE);
    entry(&bottle);
    for name in ["id_ed25519", "host_ed25519"] {
        let mode = fs::metadata(bottle.on_host("state/t/ssh").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let other = bottle.on_host("other").display().to_string();
    let made = bottle
        .environment()
        .command("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f", &other])
        .status();
    assert!(made.unwrap().success());
    let mut stranger = bottle.environment().command("ssh");
    let config = fs::read_to_string(entry(&bottle)).unwrap();
    let plain: Vec<&str> = config.lines().filter(|line| !line.contains("IdentityFile")).collect();
    fs::write(bottle.on_host("without"), plain.join("\n")).unwrap();
    stranger.arg("-F").arg(bottle.on_host("without")).args(["-i", &other, "t.bottle", "true"]);
    let refused = ran(stranger, b"");
    assert!(
        refused.status.code() == Some(255) && text(&refused.stderr).contains("Permission denied (publickey)")
    );
    // Another server in its place is not the bottle's.
    fs::copy(&other, bottle.on_host("state/t/ssh/host_ed25519")).unwrap();
    let config = bottle.on_host("ssh-config");
    let mut exchanged = bottle.environment().command("ssh");
    exchanged.arg("-F").arg(&config).args(["t.bottle", "true"]);
    let exchanged = ran(exchanged, b"");
    assert!(text(&exchanged.stderr).contains("Host key verification failed"), "{exchanged:?}");
    // A session ends with the bottle, and says why.
    fs::remove_file(bottle.on_host("state/t/ssh/host_ed25519")).unwrap();
    let mut open = client(&bottle, "ssh", &["t.bottle", "touch /tmp/here; sleep 300"]);
    let open = open.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the session is open", || bottle.guest("ls /tmp").contains("here"));
    bottle.bottle(&["-q", "stop"]).assert().success();
    let ended = within(open, Duration::from_secs(20));
    assert!(!ended.status.success(), "{ended:?}");
    let mut down = bottle.environment().command("ssh");
    down.arg("-F").arg(&config).args(["t.bottle", "true"]);
    let since = Instant::now();
    let down = ran(down, b"");
    assert!(
        text(&down.stderr).contains("bottle t is not running") && since.elapsed() < Duration::from_secs(10)
    );
    assert_eq!(down.status.code(), Some(255));
    bottle.bottle(&["-q", "rm", "--force", "t"]).assert().success();
    assert!(!bottle.on_host("state/t").exists());
    let none = bottle.bottle(&["ssh-config", "t"]).assert().code(66);
    none.stderr(predicates::str::contains("there is no bottle t"));
}
