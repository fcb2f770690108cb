//! `bottle-guest sftp`: lets a client of the host copy files with the SSH file transfer protocol, version 3.
//!
//! This is the version that OpenSSH speaks (draft-ietf-secsh-filexfer-02). It runs as the user that the client named, and
//! no image needs to bring a program for it. [`wire`] is the format, which the host reads, too; `session` reads what is
//! asked, `serve` does it, and `attributes` are what a file is.

#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod attributes;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod serve;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
mod session;
pub mod wire;

#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub use session::main;
