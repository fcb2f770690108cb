//! Fetches the image of a bottle before anything of the bottle is started.

use super::context::Context;
use crate::config::Config;
use crate::image::{Chosen, size};
use bottle_core::text::ImageDigest;
use bottle_host::failure::Outcome;
use bottle_host::out;
use bottle_host::state::{Home, Lock};
use bottle_images::{Limits, Name, Pin, Pins, Progress, Store, pull};
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

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
    watch.clear();
    let pin = pulled?;
    context.say(&format!("{name} is {}, {}", pin.digest, size(pin.size)));
    Ok(pin)
}

/// How often something is said where nobody watches.
const SELDOM: Duration = Duration::from_secs(10);
/// How often a line on a terminal is replaced.
const OFTEN: Duration = Duration::from_millis(200);

/// Tells a person how far a pull is: on one line of a terminal, or on a line of a log now and then.
struct Watch<'c> {
    context: &'c Context,
    name: String,
    step: RefCell<String>,
    since: Cell<Instant>,
    last: Cell<Option<Instant>>,
}

impl<'c> Watch<'c> {
    fn new(context: &'c Context, name: &Name) -> Self {
        let (step, since) = (RefCell::default(), Cell::new(Instant::now()));
        Self { context, name: name.to_string(), step, since, last: Cell::default() }
    }

    fn show(&self, what: &str, often: Duration) {
        if self.context.is_quiet() {
            return;
        }
        // A terminal shows the first line at once, a log only what takes a while.
        let last = self.last.get().or((!out::is_watched()).then_some(self.since.get()));
        if last.is_some_and(|last| last.elapsed() < often) {
            return;
        }
        self.last.set(Some(Instant::now()));
        if out::is_watched() {
            out::passing(format_args!("{what} ..."));
        } else {
            out::remark(format_args!("{}: {what}", self.name));
        }
    }

    fn often() -> Duration {
        if out::is_watched() { OFTEN } else { SELDOM }
    }

    fn clear(&self) {
        if self.last.get().is_some() && out::is_watched() {
            out::passing("");
        }
    }
}

impl Progress for Watch<'_> {
    fn step(&self, what: &str) {
        *self.step.borrow_mut() = what.to_owned();
        self.show(what, if out::is_watched() { Duration::ZERO } else { SELDOM });
    }

    fn bytes(&self, done: u64, of: u64) {
        let what = format!("{}, {} of {}", self.step.borrow(), size(done), size(of));
        self.show(&what, Self::often());
    }

    fn again(&self, why: &str) {
        self.clear();
        self.context.say(&format!("{why}; trying again"));
    }
}
