//! Fetches the image of a bottle before anything of the bottle is started.

use super::context::Context;
use crate::config::Config;
use crate::image::{Chosen, size};
use crate::layer;
use crate::made_from::MadeFrom;
use crate::progress::Line;
use bottle_core::text::ImageDigest;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::{Home, Lock};
use bottle_images::store::Partial;
use bottle_images::{Limits, Made, Name, Pin, Pins, Progress, Setups, Store, archive, compose, pull};
use std::cell::RefCell;

/// A bottle's image, which nobody removes while this value lives.
pub struct Ready {
    /// Whether it was fetched or set up just now.
    pub fetched: bool,
    _lease: Lock,
}

/// Makes a bottle's image ready to start from: without any network, once it was fetched. Returns `None` if it
/// does not come from a registry. `made` is what the machine that is there was made from, and keeps.
///
/// # Errors
/// Returns an error that says why it cannot be had. Nothing was started.
pub fn ready(
    context: &Context,
    home: &Home,
    config: &Config,
    rebuild: bool,
    made: Option<&MadeFrom>,
) -> Outcome<Option<Ready>> {
    let Some(image) = Chosen::find(home, config.guest.image.as_ref())? else { return Ok(None) };
    let store = Store::of(home);
    let lease = store.lease()?;
    if let Some(made) = made {
        if rebuild {
            return Err(Failure::new(
                Kind::Usage,
                "--rebuild: the machine that is there keeps what it was made from",
            )
            .help(
                "`--rebuild --renew` makes it from what the setup makes now; everything on its disk is lost",
            ));
        }
        let image = image.as_made(home, &made.image);
        let fetched = match &made.setup {
            // What a setup made is in no registry. If it is gone from here, smolvm may still have it.
            Some(setup) => !store.has_archive(setup) && archive::restore(&store, setup)?,
            None if image.is_here() => false,
            None => fetch(context, &store, &image.name, Some(&made.image)).map(|_| true)?,
        };
        return Ok(Some(Ready { fetched, _lease: lease }));
    }
    let mut is_new = false;
    let base = match image.digest() {
        Some(digest) if image.is_here() => digest.clone(),
        digest => {
            let pin = fetch(context, &store, &image.name, digest)?;
            let digest = pin.digest.clone();
            Pins::record(home, &image.name, pin)?;
            is_new = true;
            digest
        }
    };
    if layer::is_for_image(config)? {
        is_new |= set_up(context, home, &store, config, &Base { digest: base, name: &image.name }, rebuild)?;
    } else if rebuild {
        return Err(Failure::new(
            Kind::Usage,
            "--rebuild: there is no setup whose results are kept in an image",
        )
        .help("`bottle plan` shows the setup; one that is kept on the disk runs again with `--renew`"));
    }
    Ok(Some(Ready { fetched: is_new, _lease: lease }))
}

/// The image that a setup runs in.
struct Base<'b> {
    digest: ImageDigest,
    name: &'b Name,
}

/// Carries out a setup in a machine of its own, unless what it made is here. Returns whether it was carried out.
fn set_up(
    context: &Context,
    home: &Home,
    store: &Store,
    config: &Config,
    base: &Base<'_>,
    rebuild: bool,
) -> Outcome<bool> {
    let key = layer::key(config, &base.digest);
    let made = || -> Outcome<Option<Made>> {
        let made = Setups::read(home)?.get(&key).cloned();
        let is_here =
            |digest: &ImageDigest| anyhow::Ok(store.has_archive(digest) || archive::restore(store, digest)?);
        Ok(match made {
            Some(made) if is_here(&made.pin.digest)? => Some(made),
            _ => None,
        })
    };
    let before = made()?;
    if before.is_some() && !rebuild {
        return Ok(false);
    }
    // Of several commands at once, one carries it out, and the others find what it made.
    let waits = || context.say("waiting for another command that carries out the same setup");
    let turn = store.partial(&key, waits)?;
    let now = made()?;
    let result = if now.is_some() && (!rebuild || now != before) {
        Ok(now != before)
    } else {
        // What it is put on has to be there, and whole, before anything is carried out.
        if !compose::is_whole(store, &base.digest)? {
            fetch(context, store, base.name, Some(&base.digest))?;
        }
        context.say("the setup runs, which takes a while the first time");
        layer::machine::run(home, store, config, &key, context.tells_details()).and_then(|mut layer| {
            let pin = compose::add_layer(store, &base.digest, &mut layer)?;
            context.say(&format!("the setup made {}, {}", pin.digest, size(layer.len)));
            let run = config.setup.run.iter().map(ToString::to_string).collect();
            let made = Made { pin, base: base.digest.clone(), name: base.name.to_string(), run };
            Setups::record(home, &key, made)?;
            Ok(true)
        })
    };
    turn.into_iter().for_each(Partial::discard);
    result
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

/// Returns a name with no more of its digest than tells it apart, so that a line has room for how far it is.
fn short(name: &Name) -> String {
    let name = name.to_string();
    match name.split_once("@sha256:") {
        Some((name, digest)) => format!("{name}@{}", &digest[..digest.len().min(12)]),
        None => name,
    }
}

/// Tells a person how far a pull is.
struct Watch<'c> {
    context: &'c Context,
    line: Line,
    step: RefCell<String>,
}

impl<'c> Watch<'c> {
    fn new(context: &'c Context, name: &Name) -> Self {
        Self { context, line: Line::new(context.voice(), &short(name)), step: RefCell::default() }
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
