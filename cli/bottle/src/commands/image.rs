//! Fetches the image of a bottle before anything of the bottle is started.

use super::context::Context;
use crate::config::Config;
use crate::image::{Chosen, size};
use crate::progress::Line;
use bottle_core::text::ImageDigest;
use bottle_host::failure::Outcome;
use bottle_host::state::{Home, Lock};
use bottle_images::{Limits, Name, Pin, Pins, Progress, Store, pull};
use std::cell::RefCell;

/// A bottle's image, which nobody removes while this value lives.
pub struct Ready {
    /// Whether it was fetched just now.
    pub fetched: bool,
    _lease: Lock,
}

/// Makes a bottle's image ready to start from: without any network, once it was fetched. Returns `None` if it
/// does not come from a registry.
///
/// # Errors
/// Returns an error that says why it cannot be had. Nothing was started.
pub fn ready(context: &Context, home: &Home, config: &Config) -> Outcome<Option<Ready>> {
    let Some(image) = Chosen::find(home, config.guest.image.as_ref())? else { return Ok(None) };
    let store = Store::of(home);
    let lease = store.lease()?;
    let fetched = !image.is_here();
    if fetched {
        let pin = fetch(context, &store, &image.name, image.digest())?;
        Pins::record(home, &image.name, pin)?;
    }
    Ok(Some(Ready { fetched, _lease: lease }))
}

/// Fetches an image and tells a person how far that is. Whoever calls this holds a lease of the store.
///
/// # Errors
/// Returns an error that says why it cannot be had.
pub fn fetch(context: &Context, store: &Store, name: &Name, wanted: Option<&ImageDigest>) -> Outcome<Pin> {
    let watch = Watch::new(context, name);
    let pulled = pull(store, name, wanted, Limits::default(), &watch);
    watch.line.clear();
    let pin = pulled?;
    context.say(&format!("{name} is {}, {}", pin.digest, size(pin.size)));
    Ok(pin)
}

/// Tells a person how far a pull is.
struct Watch<'c> {
    context: &'c Context,
    line: Line,
    step: RefCell<String>,
}

impl<'c> Watch<'c> {
    fn new(context: &'c Context, name: &Name) -> Self {
        Self { context, line: Line::new(context.voice(), &name.to_string()), step: RefCell::default() }
    }
}

impl Progress for Watch<'_> {
    fn step(&self, what: &str) {
        *self.step.borrow_mut() = what.to_owned();
        self.line.show(what, true);
    }

    fn bytes(&self, done: u64, of: u64) {
        self.line.show(&format!("{}, {} of {}", self.step.borrow(), size(done), size(of)), false);
    }

    fn again(&self, why: &str) {
        self.line.clear();
        self.context.say(&format!("{why}; trying again"));
    }
}
