//! `bottle images`: what was fetched from registries.

use super::context::Context;
use super::image::fetch;
use crate::args::ImagesAction;
use crate::image::size;
use crate::output::{Pulled, Removed, StoredImage};
use bottle_core::slug::Slug;
use bottle_core::text::ImageDigest;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::state::Home;
use bottle_host::{out, outln};
use bottle_images::{Name, Pin, Pins, Setups, Store, keep};
use std::collections::{BTreeMap, BTreeSet};

/// The bottles that use each image.
type Users = BTreeMap<ImageDigest, Vec<Slug>>;

pub fn images(context: &Context, action: &ImagesAction) -> Outcome {
    let home = Home::find()?;
    match action {
        ImagesAction::Ls { json } => ls(context, &home, *json),
        ImagesAction::Pull { image, json } => pull(context, &home, image, *json),
        ImagesAction::Rm { image, json } => rm(context, &home, image, *json),
        ImagesAction::Prune { json } => prune(context, &home, *json),
    }
}

fn ls(context: &Context, home: &Home, json: bool) -> Outcome {
    let (store, users) = (Store::of(home), users(home)?);
    let pins = Pins::read(&home.image_pins())?;
    let row = |(name, pin): (&str, &Pin)| StoredImage {
        image: name.to_owned(),
        digest: pin.digest.clone(),
        size: pin.size,
        fetched: store.has_archive(&pin.digest),
        bottles: users.get(&pin.digest).cloned().unwrap_or_default(),
        setup: Vec::new(),
    };
    let mut rows: Vec<StoredImage> = pins.iter().map(row).collect();
    rows.extend(
        Setups::read(home)?
            .iter()
            .map(|made| StoredImage { setup: made.run.clone(), ..row((&made.described(), &made.pin)) }),
    );
    if json {
        return out::json(&rows);
    }
    if rows.is_empty() {
        context.say("no image was fetched yet");
    }
    for row in rows {
        let by: Vec<&str> = row.bottles.iter().map(Slug::as_str).collect();
        let by = if by.is_empty() { "no bottle".to_owned() } else { by.join(", ") };
        let here = if row.fetched { size(row.size) } else { "not here".to_owned() };
        outln!("{:<40} {}  {here:>10}  {by}", row.image, &row.digest.hex()[..12])?;
    }
    Ok(())
}

/// Asks the registry what the name means now.
fn pull(context: &Context, home: &Home, image: &str, json: bool) -> Outcome {
    let name: Name = image.parse()?;
    let store = Store::of(home);
    let _lease = store.lease()?;
    let pin = fetch(context, &store, &name, None)?;
    let was = Pins::read(&home.image_pins())?.get(&name).map(|pin| pin.digest.clone());
    Pins::record(home, &name, pin.clone())?;
    if let Some(was) = was.as_ref().filter(|was| **was != pin.digest) {
        let users = users(home)?.remove(was).unwrap_or_default();
        for slug in users {
            context.say(&format!(
                "{slug} was made from {was}; `bottle up --renew {slug}` makes it from this one"
            ));
        }
    }
    if json {
        out::json(&Pulled { image: name.to_string(), digest: pin.digest, size: pin.size, was })?;
    }
    Ok(())
}

fn rm(context: &Context, home: &Home, image: &str, json: bool) -> Outcome {
    let users = users(home)?;
    let name = image.parse::<Name>().map(|name| name.to_string()).unwrap_or_default();
    let hex = image.strip_prefix("sha256:").unwrap_or(image);
    let is_digest = hex.len() >= 12 && hex.bytes().all(|c| c.is_ascii_hexdigit());
    let mut meant: Vec<(String, ImageDigest)> = Vec::new();
    for (known, pin) in Pins::read(&home.image_pins())?.iter() {
        if known == name || (is_digest && pin.digest.hex().starts_with(hex)) {
            meant.push((known.to_owned(), pin.digest.clone()));
        }
    }
    // What a setup made of an image goes with it.
    for made in Setups::read(home)?.iter() {
        let is_meant = |(_, digest): &(String, ImageDigest)| *digest == made.base;
        if meant.iter().any(is_meant) || (is_digest && made.pin.digest.hex().starts_with(hex)) {
            meant.push((made.described(), made.pin.digest.clone()));
        }
    }
    if meant.is_empty() {
        return Err(Failure::new(Kind::Usage, format!("there is no image {image} here"))
            .help("`bottle images ls` lists them"));
    }
    if let Some(slug) = meant.iter().find_map(|(_, digest)| users.get(digest)?.first()) {
        return Err(Failure::new(Kind::Busy, format!("bottle {slug} uses {image}"))
            .help(format!("`bottle rm {slug}` removes that bottle")));
    }
    let stays =
        |known: &str, pin: &Pin| !meant.iter().any(|one| (one.0.as_str(), &one.1) == (known, &pin.digest));
    remove(context, home, json, stays)
}

fn prune(context: &Context, home: &Home, json: bool) -> Outcome {
    let users = users(home)?;
    remove(context, home, json, |_, pin| users.contains_key(&pin.digest))
}

/// Forgets the names that do not stay, and removes what no name and no bottle needs any more.
fn remove(context: &Context, home: &Home, json: bool, stays: impl Fn(&str, &Pin) -> bool) -> Outcome {
    let store = Store::of(home);
    let _alone = store.alone()?;
    let mut gone = Vec::new();
    let mut stays = |name: &str, pin: &Pin| {
        let stays = stays(name, pin);
        if !stays {
            gone.push(name.to_owned());
        }
        stays
    };
    Pins::forget(home, &mut stays)?;
    Setups::forget(home, |made| stays(&made.described(), &made.pin))?;
    let mut kept: BTreeSet<ImageDigest> =
        Pins::read(&home.image_pins())?.iter().map(|(_, pin)| pin.digest.clone()).collect();
    kept.extend(Setups::read(home)?.iter().map(|made| made.pin.digest.clone()));
    kept.extend(users(home)?.into_keys());
    let freed = keep::only(&store, &kept)?;
    if json {
        return out::json(&Removed { images: gone, freed });
    }
    gone.iter().try_for_each(out::line)?;
    context.say(&format!("{} freed", size(freed)));
    Ok(())
}

/// Returns the bottles of this user by the image that they were made from.
fn users(home: &Home) -> Outcome<Users> {
    let mut users = Users::new();
    for folder in home.bottles()? {
        // A plan that another version wrote names no image that is kept here.
        let Ok(plan) = folder.read_plan() else { continue };
        for digest in plan.guest.image_digest.into_iter().chain(plan.setup.made) {
            users.entry(digest).or_default().push(folder.slug().clone());
        }
    }
    Ok(users)
}
