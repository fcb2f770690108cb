//! The process that holds the keys of `[[upstream]]`. It reads nothing that a guest wrote.
//!
//! The keeper reads what a guest sends, so it never has a key. It dials an upstream if its rules allow that,
//! and hands the connection to this process together with one end of a socket. This process speaks TLS on the
//! connection, to the name of the origin and to nothing else, and passes on the requests that arrive on the
//! socket: the keeper has parsed and rewritten them, they are for paths below the upstream's own, and each
//! gets the header with the key. The process opens no files or connections of its own.
//!
//! A key that ends is found anew by another process ([`source`]), which reads nothing but which upstream is meant.
//!
//! It holds the login of a parent proxy, too. It asks that proxy for tunnels on connections that the keeper opened,
//! and passes requests for plain HTTP on to it.

mod budget;
mod client;
mod found;
mod hangup;
mod holder;
mod known;
mod lacking;
pub mod login;
mod logins;
mod parent;
mod parent_reply;
mod passed;
mod protocol;
mod refusals;
mod relay;
mod renewal;
mod route;
mod secrets;
mod serve;
pub mod source;
mod switched;
mod upstream;

pub use client::Keys;
pub use lacking::{check, check_logins, rehearse};
pub use route::route;
pub use serve::main;
