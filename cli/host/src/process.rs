//! Starts children that do not outlive this process.

use rustix::process::Signal;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes a child receive this signal when the thread that started it dies.
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub fn die_with_parent(command: &mut Command, signal: Signal) {
    use rustix::process::{getpid, getppid, set_parent_process_death_signal};
    let parent = getpid();
    // SAFETY: the closure only makes system calls, which is safe between fork and exec.
    #[expect(unsafe_code, reason = "only code that runs after fork can ask for this")]
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(signal))?;
            // A parent that died before this point no longer sends a signal.
            if getppid() == Some(parent) { Ok(()) } else { Err(rustix::io::Errno::SRCH.into()) }
        });
    }
}

/// Does nothing: other systems have no such signal. There a child ends when its input is closed, and
/// `bottle cleanup` finds one that does not.
#[cfg(any(not(target_os = "linux"), bottle_portable))]
pub fn die_with_parent(_: &mut Command, _: Signal) {}

/// Makes a child, and what it starts, give way to whatever else wants a processor. The kernel gives its reads and writes
/// the lowest priority among the usual ones, too.
pub fn at_low_priority(command: &mut Command) {
    /// The most that a process can give way.
    const NICEST: i32 = 19;
    // SAFETY: the closure makes one system call, which is safe between fork and exec.
    #[expect(unsafe_code, reason = "only code that runs after fork acts on the child alone")]
    unsafe {
        command.pre_exec(|| {
            // Where it cannot, the child is as it is.
            let _ = rustix::process::nice(NICEST);
            Ok(())
        });
    }
}

/// Passes a descriptor to a child, and returns its number there. No other child gets it. The descriptor must
/// stay open until the child has started.
pub fn inherit(command: &mut Command, fd: BorrowedFd<'_>) -> i32 {
    let number = fd.as_raw_fd();
    // SAFETY: the closure makes one system call, which is safe between fork and exec. The caller keeps the
    // number open; if it is not, the call fails.
    #[expect(unsafe_code, reason = "only code that runs after fork acts on the child's descriptors alone")]
    unsafe {
        command.pre_exec(move || {
            let fd = BorrowedFd::borrow_raw(number);
            Ok(rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?)
        });
    }
    number
}

/// Keeps the descriptors that this process inherited, except the three standard ones, from the programs that
/// it starts. A keeper or a VMM has no use for a caller's open file, and a caller's pipe would stay open as
/// long as they live.
pub fn keep_from_children() {
    let Ok(open) = std::fs::read_dir(OPEN) else { return };
    let numbers = open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for number in numbers.filter(|number| *number > 2).collect::<Vec<_>>() {
        // SAFETY: the call changes a flag of the descriptor, and fails if it is not open any more.
        #[expect(unsafe_code, reason = "what a process was started with has no owner in it")]
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC);
    }
}

/// The folder of this process's descriptors, on Linux and macOS.
const OPEN: &str = "/dev/fd";
