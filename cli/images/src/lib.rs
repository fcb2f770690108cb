//! Container images without a container runtime: fetched by digest, checked, stored, and put together as an
//! archive that smolvm imports inside a guest.
//!
//! A registry is hostile: what it sends is bounded, compared with what was announced, and never followed out of
//! HTTPS. [`name`], [`manifest`], [`challenge`] and [`location`] decide, without I/O. [`http`] and [`registry`]
//! ask. [`store`] keeps, [`layer`] checks what a layer unpacks to, [`archive`] puts an image together, and
//! [`pull`] does all of it in order. [`pins`] remembers which image a reference means, so that later starts need
//! no network, and [`keep`] decides what can be removed. [`compose`] adds what a setup made to an image, and [`setups`]
//! remembers that. A [`fault`] says whether the image is wrong, or what is here of it.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod archive;
pub mod challenge;
pub mod compose;
pub mod credentials;
pub mod fault;
pub mod http;
pub mod keep;
pub mod layer;
pub mod limits;
pub mod location;
pub mod manifest;
pub mod name;
pub mod pins;
pub mod progress;
pub mod pull;
pub mod refusal;
pub mod registry;
pub mod setups;
pub mod store;

pub use fault::Fault;
pub use limits::Limits;
pub use name::Name;
pub use pins::{Pin, Pins};
pub use progress::Progress;
pub use pull::pull;
pub use refusal::Refusal;
pub use setups::{Made, Setups};
pub use store::Store;
