//! Exit codes, as a shell reports them.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

/// Returns a program's own exit status, or 128 plus the signal that ended it.
pub fn exit_code(status: ExitStatus) -> ExitCode {
    ExitCode::from(exit_number(status))
}

/// Returns the same as a number.
pub fn exit_number(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// Says why a program cannot be run, and returns the status that a shell gives it: 127 if there is no such program,
/// 126 if it cannot be run.
pub fn not_run(program: &OsStr, why: &io::Error) -> ExitCode {
    eprintln!("bottle: cannot run {}: {why}", program.display());
    ExitCode::from(if why.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
}
