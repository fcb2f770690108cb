//! The program `bottle-guest`. The library describes what it does.

use bottle_guest::{archive, connect, doors, exec, flow, link, probe, processes};
use std::ffi::OsString;
use std::process::ExitCode;

const USAGE: &str = "usage: bottle-guest link --subnet N [--doors P,P,...] [--socket PATH] [-- COMMAND...]
       bottle-guest exec [--workdir DIR] [--env NAME=VALUE]... [--user USER] [--seed DIR] [--timeout-ms N] -- COMMAND...
       bottle-guest processes
       bottle-guest connect --port N < stream > stream
       bottle-guest probe < questions > answers
       bottle-guest canary --port N --say TEXT
       bottle-guest flow ADDRESS to|from MIB
       bottle-guest pack PATH > archive
       bottle-guest unpack PATH < archive
       bottle-guest doors --fd N --ports P,P,... (--subnet N | -- COMMAND...)";

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let job = words.next().and_then(|word| word.into_string().ok());
    let rest: Vec<OsString> = words.collect();
    let done = match job.as_deref() {
        Some("link") => link::main(rest),
        Some("exec") => exec::main(rest),
        Some("connect") => connect::main(rest),
        Some("processes") => processes::main(),
        Some("probe") => probe::main(),
        Some("canary") => probe::canary::main(rest),
        Some("flow") => flow::main(rest),
        Some("pack") => archive::pack_main(rest),
        Some("unpack") => archive::unpack_main(rest),
        Some("doors") => doors::main(rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("bottle-guest: {error:#}");
        ExitCode::FAILURE
    })
}
