//! SSH to a guest, for `ssh`, `scp`, `rsync`, `sftp` and editors.
//!
//! ssh starts a proxy command and speaks SSH on its standard input and output. Here that command is the server: no
//! port is opened, no image needs a server, and nothing that a guest sends is parsed as SSH. A guest's bytes are the
//! content of channels and nothing else, as they are with `bottle exec`. [`keys`] has the two keys of a bottle, [`entry`] what
//! ssh's configuration says about it, [`server`] who gets in and what may be opened. A [`session`] is a call of
//! smolvm, perhaps in a [`terminal`], and a [`forward`] leads to a port of the guest's own loopback. [`feed`] passes on
//! what the client sends, and [`backlog`] keeps what the [`guest`] has not read yet. Where files are copied, [`replies`] checks
//! each of the [`packets`] of the guest's answer.

pub mod backlog;
pub mod entry;
pub mod feed;
pub mod forward;
pub mod guest;
pub mod keys;
pub mod packets;
pub mod replies;
pub mod server;
pub mod session;
pub mod terminal;
