//! The process that holds the keys of `[[upstream]]`. It reads nothing that a guest wrote.
//!
//! The keeper reads what a guest sends, so it never has a key. It dials an upstream if its rules allow that,
//! and hands the connection to this process together with one end of a socket. This process speaks TLS on the
//! connection, to the name of the origin and to nothing else, and passes on the requests that arrive on the
//! socket: the keeper has parsed and rewritten them, they are for paths below the upstream's own, and each
//! gets the header with the key. The process opens no files or connections of its own.

mod client;
mod lacking;
mod passed;
mod protocol;
mod route;
mod secrets;
mod serve;

pub use client::Keys;
pub use lacking::check;
pub use route::route;
pub use serve::main;
