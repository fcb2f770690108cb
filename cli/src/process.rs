//! Children that do not outlive us.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes a child die when the thread that starts it does: that is the keeper's only one that
/// starts any.
pub fn die_with_parent(command: &mut Command) {
    // SAFETY: the closure only makes one system call, which is safe between fork and exec.
    #[expect(unsafe_code, reason = "only code that runs after fork can ask for this")]
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            Ok(())
        });
    }
}
