//! The content of one file, from standard input or to standard output.

use super::call::{Options, helper, in_the_guest};
use super::stream::{Guest, Incoming, Outgoing};
use crate::args::Size;
use crate::commands::context::Context;
use bottle_core::slug::Slug;
use bottle_guest::chunks;
use bottle_guest::report::Refused;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::out;
use std::ffi::OsStr;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Read, Write};
use std::process::Stdio;

/// The most bytes of a file by default: those of `cp`.
const MOST: u64 = 16 << 30;

fn most(options: &Options) -> u64 {
    options.max_size.map_or(MOST, |Size(bytes)| bytes)
}

fn too_large(what: &str, most: u64) -> Failure {
    Failure::new(Kind::TooLarge, format!("{what} has more than {most} bytes")).help("--max-size allows more")
}

/// Writes standard input to a file in a guest.
pub fn put(context: &Context, slug: &Slug, to: &OsStr, options: &Options) -> Outcome {
    let mut command = helper(context, slug, "put", to, options)?;
    let mut guest = Guest::start(command.stdin(Stdio::piped()).stdout(Stdio::null()))?;
    let sent = match guest.stdin() {
        Some(stdin) => {
            let mut to = BufWriter::new(Outgoing::new(stdin)?);
            chunks::send(&mut io::stdin().lock(), &mut to, most(options))
        }
        None => Ok(0),
    };
    if sent.as_ref().is_err_and(|error| error.downcast_ref::<Refused>().is_some()) {
        // The helper finds that the stream was cut off.
        guest.give_up();
        return Err(too_large("standard input", most(options)));
    }
    // If the guest gave up, its own message says more than a broken pipe.
    guest.finish()?.map_err(in_the_guest)?;
    sent?;
    Ok(())
}

/// Writes a file of a guest to standard output.
pub fn get(context: &Context, slug: &Slug, from: &OsStr, options: &Options) -> Outcome {
    if io::stdout().is_terminal() {
        return Err(Failure::new(
            Kind::Usage,
            "a guest's file is not printed on a terminal, which it could control",
        )
        .help("redirect it: `> FILE` after the command, or `| less`"));
    }
    let most = most(options);
    let mut command = helper(context, slug, "get", from, options)?;
    let mut guest = Guest::start(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let passed = match guest.stdout() {
        // One byte more shows that a guest does not keep to the limit.
        Some(stdout) => {
            pass(&mut Incoming::new(stdout)?.take(most.saturating_add(1)), &mut io::stdout().lock())
        }
        None => Ok(0),
    };
    match passed {
        Ok(passed) if passed > most => Err(too_large("it", most)),
        Ok(_) => guest.finish()?.map_err(in_the_guest),
        Err(Broken::Here(error)) if error.kind() == ErrorKind::BrokenPipe => Err(out::gone()),
        Err(Broken::Here(error)) => {
            Err(Failure::new(Kind::Output, format!("the output cannot be written: {error}")))
        }
        Err(Broken::There(error)) => {
            Err(Failure::new(Kind::Guest, format!("what comes from the guest: {error}")))
        }
    }
}

/// Which end of a copy failed.
enum Broken {
    Here(io::Error),
    There(io::Error),
}

fn pass(from: &mut impl Read, to: &mut impl Write) -> Result<u64, Broken> {
    let (mut passed, mut buffer) = (0, vec![0; 64 << 10]);
    loop {
        let read = match from.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read.map_err(Broken::There)?,
        };
        if read == 0 {
            return to.flush().map(|()| passed).map_err(Broken::Here);
        }
        passed += read as u64;
        to.write_all(&buffer[..read]).map_err(Broken::Here)?;
    }
}
