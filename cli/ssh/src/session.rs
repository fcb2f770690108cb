//! A session: one command in the guest, as a call of smolvm.

use crate::backlog::Backlog;
use crate::feed::{Output, feed, pump};
use crate::guest::Guest;
use crate::terminal::{Size, Terminal};
use bottle_core::execution::{Execution, SHELL};
use bottle_core::helper::HELPER;
use bottle_core::text::{EnvName, Word};
use bottle_guest::status::exit_number;
use bottle_host::process::die_with_parent;
use bottle_host::smolvm;
use russh::server::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::process::{ExitStatus, Stdio};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::process::{Child, Command};

/// The subsystem that copies files.
pub const SFTP: &str = "sftp";
/// Starts what follows in the user's home folder, as every SSH server does: clients take `~` for it. A guest without
/// one starts where it is.
const AT_HOME: &str = "cd 2> /dev/null; exec \"$0\" \"$@\"";
/// The most variables that a client may set.
const MOST_VARIABLES: usize = 256;
/// The status of a command that was not run, as ssh itself has it.
const NOT_RUN: u32 = 255;

/// What a client asked for before the command.
#[derive(Debug, Default)]
struct Asked {
    env: BTreeMap<EnvName, Word>,
    terminal: Option<Size>,
}

/// What is to be run.
#[derive(Debug)]
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
fn words(user: Word, what: What, asked: &Asked) -> Vec<OsString> {
    let command: Vec<OsString> = match what {
        What::Command(command) => vec![SHELL.into(), "-c".into(), OsString::from_vec(command)],
        What::Shell => vec![SHELL.into(), "-l".into()],
        What::Files => vec![HELPER.into(), SFTP.into()],
    };
    let terminal = asked.terminal.is_some();
    let how = Execution { user: Some(user), env: asked.env.clone(), terminal, ..Execution::default() };
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
    let words = words(user, what, asked);
    let Some(size) = asked.terminal else {
        let mut call = call(guest, smolvm::Terminal::Pipe, &words);
        call.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = call.spawn()?;
        let missing = || io::Error::other("a stream of smolvm's is missing");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let outputs = (stdout.ok_or_else(missing)?, stderr.ok_or_else(missing)?);
        return finish(child, feed(from, stdin, backlog, |_| {}), both(outputs, to)).await;
    };
    let (terminal, theirs) = Terminal::open(size)?;
    let mut call = call(guest, smolvm::Terminal::Tty, &words);
    call.stdin(theirs.try_clone()?).stdout(theirs.try_clone()?).stderr(theirs);
    let child = call.spawn()?;
    // This process's own copies of the other end would keep the terminal open.
    drop(call);
    let (reader, writer) = terminal.streams()?;
    let pid = pid(&child);
    let told = |message| {
        if let (ChannelMsg::WindowChange { col_width, row_height, .. }, Some(pid)) = (message, pid) {
            terminal.resize(Size::new(col_width, row_height), pid);
        }
    };
    let writer = Kept { to: writer, taken: Some(Box::pin(terminal.taken()?)) };
    finish(child, feed(from, writer, backlog, told), pump(reader, to, Output::Out)).await
}

fn call(guest: &Guest, terminal: smolvm::Terminal, words: &[OsString]) -> Command {
    let mut call = guest.smolvm.exec(guest.folder.slug(), terminal, words);
    die_with_parent(&mut call, Signal::TERM);
    call.into()
}

async fn both(
    (stdout, stderr): (impl AsyncRead + Unpin, impl AsyncRead + Unpin),
    to: &ChannelWriteHalf<Msg>,
) {
    tokio::join!(pump(stdout, to, Output::Out), pump(stderr, to, Output::Err));
}

/// Waits until a call and its outputs have ended, or the client leaves, which ends the call.
async fn finish(
    mut child: Child,
    input: impl Future<Output = io::Result<()>>,
    outputs: impl Future<Output = ()>,
) -> io::Result<Option<ExitStatus>> {
    let left = {
        let ended = async {
            outputs.await;
            child.wait().await
        };
        tokio::select! {
            status = ended => return status.map(Some),
            left = input => left,
        }
    };
    if let Some(pid) = pid(&child) {
        let _ = kill_process(pid, Signal::TERM);
    }
    child.wait().await?;
    left.map(|()| None)
}

fn pid(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| Pid::from_raw(id.cast_signed()))
}

/// A terminal's writer, which takes nothing until smolvm has taken the terminal. It is not closed at the end of what
/// comes: a terminal that is closed hangs up.
struct Kept<T, F> {
    to: T,
    taken: Option<std::pin::Pin<Box<F>>>,
}

impl<T: AsyncWrite + Unpin, F: Future<Output = ()>> AsyncWrite for Kept<T, F> {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        if let Some(taken) = &mut self.taken {
            std::task::ready!(taken.as_mut().poll(context));
            self.taken = None;
        }
        std::pin::Pin::new(&mut self.to).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.to).poll_flush(context)
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}
