//! Upstreams: origins to which the egress proxy sends requests in the agent's name, with keys that the agent
//! never sees.
//!
//! A request to the egress proxy's door for a path below an [`Upstream`]'s own goes to its origin. The guest
//! chooses the path there and nothing else.

pub mod echo;
mod login;
mod names;
mod path;
mod preset;
mod request;
mod route;
mod rule;
mod secret;

pub use login::{Login, LoginTerms};
pub use names::{HeaderName, InvalidUpstream, Origin, UpstreamPath};
pub use path::BadPath;
pub use preset::Preset;
pub use request::{METHODS, is_header_passed_on, is_method_passed_on};
pub use route::{CREDENTIALS, Conflict, NoRoute, Route, Upstream, check, find, route};
pub use rule::{NotAllowed, RequestRule, is_allowed};
pub use secret::{Secret, SecretSource};
