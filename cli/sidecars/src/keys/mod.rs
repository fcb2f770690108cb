//! The process that holds the keys of `[[upstream]]`, and that no guest's byte reaches unread.
//!
//! The keeper reads what a guest sends; so it never has a key. It dials an upstream, as its rules
//! say, and hands the connection here with one end of a socket. This process speaks TLS on the
//! connection, as the name of the origin and nothing else, and passes on what is asked on the socket:
//! requests that the keeper has read and written anew, for paths below the upstream's own, each with
//! the header that carries the key. It opens no file and no connection of its own.

mod client;
mod passed;
mod protocol;
mod route;
mod secrets;
mod serve;

pub use client::Keys;
pub use route::route;
pub use serve::main;
