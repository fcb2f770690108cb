//! A canary inside a guest, which other guests must not reach.

use anyhow::{Context, Result};
use std::ffi::OsString;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;

/// Runs `bottle-guest canary --port N --say TEXT`, which sends the text to every client, forever.
pub fn main(words: Vec<OsString>) -> Result<ExitCode> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_args(words);
    let (mut port, mut text) = (None, String::new());
    while let Some(word) = parser.next()? {
        match word {
            Long("port") => port = Some(parser.value()?.parse::<u16>()?),
            Long("say") => text = parser.value()?.string()?,
            other => return Err(other.unexpected().into()),
        }
    }
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port.context("--port is missing")?))?;
    for mut stream in listener.incoming().flatten() {
        let _ = writeln!(stream, "{text}");
    }
    Ok(ExitCode::SUCCESS)
}
