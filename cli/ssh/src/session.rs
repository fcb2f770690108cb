//! A session: one command in the guest, as a call of smolvm.

use crate::backlog::Backlog;
use crate::feed::{Output, feed, pump, unchanged};
use crate::guest::Guest;
use crate::replies::Replies;
use crate::terminal::{Size, Terminal};
use bottle_core::execution::{Execution, SHELL};
use bottle_core::helper::HELPER;
use bottle_core::text::{EnvName, Word};
use bottle_core::visible::Block;
use bottle_guest::status::exit_number;
use bottle_host::process::die_with_parent;
use bottle_host::smolvm;
use bytes::Bytes;
use russh::server::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use tokio::io::AsyncWrite;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

/// The subsystem that copies files.
pub const SFTP: &str = "sftp";
/// Starts what follows in the user's home folder, as every SSH server does: clients take `~` for it. A guest without
/// one starts where it is.
const AT_HOME: &str = "cd 2> /dev/null; exec \"$0\" \"$@\"";
/// The most variables that a client may set.
const MOST_VARIABLES: usize = 256;
/// How many signals may wait to be sent.
const MOST_SIGNALS: usize = 16;
/// The status of a command that was not run, as ssh itself has it.
const NOT_RUN: u32 = 255;

/// What a client asked for before the command.
#[derive(Debug, Default)]
struct Asked {
    env: BTreeMap<EnvName, Word>,
    terminal: Option<Size>,
}

/// What is to be run.
#[derive(Debug, PartialEq, Eq)]
enum What {
    Command(Vec<u8>),
    Shell,
    Files,
}

/// Serves a session from its first request to its end.
pub async fn serve(guest: &Guest, user: Word, mut from: ChannelReadHalf, to: ChannelWriteHalf<Msg>) {
    let Some((what, asked)) = asked(&mut from).await else { return };
    let status = match run(guest, user, what, &asked, &mut from, &to).await {
        Ok(Some(status)) => u32::from(exit_number(status)),
        // The client has left.
        Ok(None) => return,
        Err(error) => {
            let _ = to.extended_data_bytes(1, format!("bottle: {error}\r\n")).await;
            NOT_RUN
        }
    };
    let _ = to.exit_status(status).await;
    let _ = to.eof().await;
    let _ = to.close().await;
}

/// Returns what a client asks for, or `None` if it closes the channel before.
async fn asked(from: &mut ChannelReadHalf) -> Option<(What, Asked)> {
    let mut asked = Asked::default();
    loop {
        let what = match from.wait().await? {
            ChannelMsg::SetEnv { variable_name, variable_value, .. } => {
                if let (Ok(name), Ok(value)) = (variable_name.parse(), variable_value.parse())
                    && asked.env.len() < MOST_VARIABLES
                {
                    asked.env.insert(name, value);
                }
                continue;
            }
            ChannelMsg::RequestPty { term, col_width, row_height, .. } => {
                asked.terminal = Some(Size::new(col_width, row_height));
                if let (Ok(name), Ok(term)) = ("TERM".parse(), term.parse()) {
                    asked.env.insert(name, term);
                }
                continue;
            }
            ChannelMsg::Exec { command, .. } => What::Command(command),
            ChannelMsg::RequestShell { .. } => What::Shell,
            ChannelMsg::RequestSubsystem { name, .. } if name == SFTP => What::Files,
            ChannelMsg::Close => return None,
            _ => continue,
        };
        return Some((what, asked));
    }
}

/// Returns the words of the call, as `bottle exec` has them. No word of the client's is part of a script.
fn words(user: Word, what: What, asked: &Asked, called: &str) -> Vec<OsString> {
    let command: Vec<OsString> = match what {
        What::Command(command) => vec![SHELL.into(), "-c".into(), OsString::from_vec(command)],
        What::Shell => vec![SHELL.into(), "-l".into()],
        What::Files => vec![HELPER.into(), SFTP.into()],
    };
    let terminal = asked.terminal.is_some();
    let called = Some(called.to_owned());
    let how =
        Execution { user: Some(user), env: asked.env.clone(), called, terminal, ..Execution::default() };
    let at_home = [SHELL, "-c", AT_HOME].map(str::to_owned);
    how.words(&at_home).into_iter().map(OsString::from).chain(command).collect()
}

/// Runs the command. Returns `None` if the client leaves before its end.
async fn run(
    guest: &Guest,
    user: Word,
    what: What,
    asked: &Asked,
    from: &mut ChannelReadHalf,
    to: &ChannelWriteHalf<Msg>,
) -> io::Result<Option<ExitStatus>> {
    let backlog = Backlog::new(guest.folder.ssh());
    let called = bottle_host::random::hex::<16>().map_err(io::Error::other)?;
    let copies_files = what == What::Files;
    let words = words(user, what, asked, &called);
    let (signals, wanted) = mpsc::channel(MOST_SIGNALS);
    let finish = |child, input, outputs| finish(guest, &called, child, wanted, input, outputs);
    let Some(size) = asked.terminal else {
        let mut call = call(guest, smolvm::Terminal::Pipe, &words);
        call.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = call.spawn()?;
        let missing = || io::Error::other("a stream of smolvm's is missing");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (stdout, stderr) = (stdout.ok_or_else(missing)?, stderr.ok_or_else(missing)?);
        let told = |message| signal(message, &signals);
        if copies_files {
            let replies = Mutex::new(Replies::default());
            let replies = || replies.lock().unwrap_or_else(PoisonError::into_inner);
            let outputs = async {
                let answers = pump(stdout, to, Output::Out, |bytes| replies().answered(bytes));
                tokio::try_join!(answers, pump(stderr, to, Output::Err, |bytes| Ok(visible(&bytes))))
                    .map(drop)
            };
            let input = feed(from, stdin, backlog, |bytes| replies().asked(bytes), told);
            return finish(child, Box::pin(input), Box::pin(outputs)).await;
        }
        let outputs = async {
            let out = pump(stdout, to, Output::Out, unchanged);
            tokio::try_join!(out, pump(stderr, to, Output::Err, unchanged)).map(drop)
        };
        let input = feed(from, stdin, backlog, |_| Ok(()), told);
        return finish(child, Box::pin(input), Box::pin(outputs)).await;
    };
    let (terminal, theirs) = Terminal::open(size)?;
    let mut call = call(guest, smolvm::Terminal::Tty, &words);
    call.stdin(theirs.try_clone()?).stdout(theirs.try_clone()?).stderr(theirs);
    let child = call.spawn()?;
    // This process's own copies of the other end would keep the terminal open.
    drop(call);
    let (reader, writer) = terminal.streams()?;
    let pid = pid(&child);
    let told = |message| match (message, pid) {
        (ChannelMsg::WindowChange { col_width, row_height, .. }, Some(pid)) => {
            terminal.resize(Size::new(col_width, row_height), pid);
        }
        (message, _) => signal(message, &signals),
    };
    let writer = Kept { to: writer, taken: Some(Box::pin(terminal.taken()?)) };
    let fed = feed(from, writer, backlog, |_| Ok(()), told);
    let reminded = async {
        if let Some(pid) = pid {
            let _ = terminal.remind(pid).await;
        }
    };
    let input = async { tokio::join!(reminded, fed).1 };
    finish(child, Box::pin(input), Box::pin(pump(reader, to, Output::Out, unchanged))).await
}

/// Asks for what a message wants, if that is a signal.
fn signal(message: ChannelMsg, signals: &mpsc::Sender<String>) {
    if let ChannelMsg::Signal { signal } = message {
        // Its name in the protocol is the one that it has in the source. Whoever asks for many waits for the first ones.
        let _ = signals.try_send(format!("{signal:?}"));
    }
}

/// Makes what the guest's file server complains about visible.
fn visible(bytes: &[u8]) -> Bytes {
    Block(&String::from_utf8_lossy(bytes)).to_string().into()
}

fn call(guest: &Guest, terminal: smolvm::Terminal, words: &[OsString]) -> Command {
    let mut call = guest.smolvm.exec(guest.folder.slug(), terminal, words);
    die_with_parent(&mut call, Signal::TERM);
    call.into()
}

type Streams<'s> = Pin<Box<dyn Future<Output = io::Result<()>> + Send + 's>>;

/// Waits until a call and its outputs have ended, or the client leaves, which ends the command in the guest, too.
async fn finish(
    guest: &Guest,
    called: &str,
    mut child: Child,
    mut signals: mpsc::Receiver<String>,
    input: Streams<'_>,
    outputs: Streams<'_>,
) -> io::Result<Option<ExitStatus>> {
    let signalled = async {
        while let Some(signal) = signals.recv().await {
            guest.signal(called, &signal).await;
        }
        std::future::pending::<io::Result<()>>().await
    };
    let left = {
        let ended = async {
            outputs.await?;
            child.wait().await
        };
        tokio::select! {
            status = ended => match status {
                Ok(status) => return Ok(Some(status)),
                Err(error) => Err(error),
            },
            left = input => left,
            never = signalled => never,
        }
    };
    if let Some(pid) = pid(&child) {
        let _ = kill_process(pid, Signal::TERM);
    }
    child.wait().await?;
    // smolvm leaves what it started in the guest alone.
    guest.signal(called, "HUP").await;
    left.map(|()| None)
}

fn pid(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| Pid::from_raw(id.cast_signed()))
}

/// A terminal's writer, which takes nothing until smolvm has taken the terminal. It is not closed at the end of what
/// comes: a terminal that is closed hangs up.
struct Kept<T, F> {
    to: T,
    taken: Option<Pin<Box<F>>>,
}

impl<T: AsyncWrite + Unpin, F: Future<Output = ()>> AsyncWrite for Kept<T, F> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        if let Some(taken) = &mut self.taken {
            std::task::ready!(taken.as_mut().poll(context));
            self.taken = None;
        }
        Pin::new(&mut self.to).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut self.to).poll_flush(context)
    }

    fn poll_shutdown(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}
