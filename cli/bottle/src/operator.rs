//! Identifies the person who runs a command.

/// Names the person who runs this command, for the log.
pub fn who() -> String {
    let name = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER"));
    let id = rustix::process::getuid().as_raw();
    name.map_or_else(|_| format!("uid {id}"), |name| format!("{name} (uid {id})"))
}
