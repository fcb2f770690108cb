//! The helper that runs where the agent runs, and the code that it shares with the host.
//!
//! It is one small static program with twelve jobs. [`link`] gives the guest its only network, [`probe`] tries
//! to get past it, [`flow`] fills it, [`exec`] runs the operator's commands and [`report`]s how they ended, [`files`]
//! copies files, in [`chunks`] or as an [`archive`], [`processes`] lists what runs, [`pause`] holds a machine that waits,
//! [`layer`] installs what later machines start with, [`connect`] passes a connection of the host on to a server here,
//! [`sftp`] serves a client that copies files, and [`doors`] creates the listeners in the jail, where no other program of
//! ours can run. Guests are Linux; the code that the host shares with them compiles elsewhere, too.

pub mod archive;
pub mod beneath;
pub mod chunks;
pub mod connect;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub mod doors;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub mod exec;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub mod files;
pub mod flow;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub mod layer;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub mod link;
#[cfg(all(target_os = "linux", not(bottle_portable)))]
pub mod pause;
pub mod probe;
pub mod processes;
pub mod report;
pub mod sftp;
pub mod status;
pub mod stream;
