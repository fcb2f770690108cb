//! The program `bottle-guest`. The library describes what it does.

use bottle_guest::report::Code;
use bottle_guest::{connect, doors, exec, files, flow, layer, link, pause, probe, processes, sftp};
use std::ffi::OsString;
use std::process::ExitCode;

const USAGE: &str = "usage: bottle-guest link --subnet N [--doors P,P,...] [--socket PATH] [-- COMMAND...]
       bottle-guest exec [--workdir DIR] [--variables FILE] [--env NAME=VALUE]... [--user USER] [--seed DIR] [--timeout-ms N] [--report WORD] [--called WORD] [--terminal] -- COMMAND...
       bottle-guest end WORD
       bottle-guest signal WORD NAME
       bottle-guest pause
       bottle-guest layer -- COMMAND... > archive
       bottle-guest processes
       bottle-guest sftp < requests > answers
       bottle-guest connect --port N < stream > stream
       bottle-guest probe < questions > answers
       bottle-guest canary --port N --say TEXT
       bottle-guest flow ADDRESS to|from MIB
       bottle-guest pack [--user USER] PATH > archive
       bottle-guest unpack [--user USER] [--parents] PATH < archive
       bottle-guest get [--user USER] --most N PATH > file
       bottle-guest put [--user USER] [--parents] PATH < chunks
       bottle-guest doors --fd N --ports P,P,... (--subnet N | -- COMMAND...)";

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let job = words.next().and_then(|word| word.into_string().ok());
    let rest: Vec<OsString> = words.collect();
    let done = match job.as_deref() {
        Some("layer") => layer::main(&rest),
        Some("link") => link::main(rest),
        Some("exec") => exec::main(rest),
        Some("end") => exec::end::main(rest),
        Some("signal") => exec::signal::main(&rest),
        Some("get") => files::get(rest),
        Some("put") => files::put(rest),
        Some("connect") => connect::main(rest),
        Some("sftp") => sftp::main(&rest),
        Some("pause") => pause::main(),
        Some("processes") => processes::main(),
        Some("probe") => probe::main(),
        Some("canary") => probe::canary::main(rest),
        Some("flow") => flow::main(rest),
        Some("pack") => files::pack(rest),
        Some("unpack") => files::unpack(rest),
        Some("doors") => doors::main(rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("bottle-guest: {error:#}");
        match job.as_deref() {
            Some("get" | "put" | "pack" | "unpack") => ExitCode::from(Code::of(&error).status()),
            _ => ExitCode::FAILURE,
        }
    })
}
