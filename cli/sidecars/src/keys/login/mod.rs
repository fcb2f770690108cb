//! Logins that `bottle login` took over: the tokens of subscriptions, on this machine.
//!
//! A login is a file that only its owner reads. Its tokens are renewed before they end, and once after an origin
//! refused one. Every bottle uses the same file, and one of them at a time renews it.

mod credential;
mod current;
mod refresh;
mod vendor;

pub use credential::{Credential, lock, place};
pub use current::current;
pub use refresh::TokenService;
pub use vendor::{Vendor, vendor};
