//! `bottle cp`: copies files in and out, with the helper that is in every guest.
//!
//! What comes out of a guest is assembled beside its destination ([`arrival`]) and moved there once it is
//! complete. The time for each transfer is limited ([`stream`]).

mod arrival;
mod call;
mod content;
mod stream;

use super::context::Context;
use crate::args::{Place, Size};
use crate::trust;
use crate::trust::enter::entered;
use anyhow::Context as _;
use arrival::Arrival;
use bottle_core::git::repository;
use bottle_core::slug::Slug;
use bottle_core::visible::Bytes;
use bottle_guest::archive::{self, Leave, LeftOut, Limits, NEITHER, Names, Rules};
use bottle_host::defence::Defence;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::out;
use bottle_host::state::Home;
pub use call::Options;
use call::{helper, in_the_guest};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Stdio;
use stream::{Guest, Incoming, Outgoing};

pub fn cp(context: &Context, from: &Place, to: &Place, options: &Options) -> Outcome {
    match (from, to) {
        (Place::Stream, Place::Guest(slug, to)) => content::put(context, slug, to, options),
        (Place::Guest(slug, from), Place::Stream) => content::get(context, slug, from, options),
        (Place::Here(from), Place::Guest(slug, to)) => put(context, from, slug, to, options),
        (Place::Guest(slug, from), Place::Here(to)) => fetch(context, slug, from, to, options),
        _ => Err(Failure::new(Kind::Usage, "exactly one of the two paths has to be in a bottle")
            .help("a path in a bottle is SLUG:PATH")),
    }
}

fn put(context: &Context, from: &Path, slug: &Slug, to: &OsStr, options: &Options) -> Outcome {
    let usage = |error| {
        Failure::new(Kind::Usage, format!("{}: {error}", from.display()))
            .help("a path in a bottle is SLUG:PATH; `bottle cp --help` says more")
    };
    // A missing source is reported before the guest creates anything.
    let kind = std::fs::symlink_metadata(from).map_err(usage)?.file_type();
    if !(kind.is_file() || kind.is_dir() || kind.is_symlink()) {
        let what = format!("{}: neither file, folder nor link", from.display());
        return Err(Failure::new(Kind::Usage, what));
    }
    let name = match from.file_name() {
        Some(name) => name.to_owned(),
        // `.`, `..` and `/` have a name of their own only after they are resolved.
        None => from.canonicalize().map_err(usage)?.file_name().unwrap_or("root".as_ref()).to_owned(),
    };
    let (above, last) = archive::split(from);
    let above = entered(above)?;
    let mut command = helper(context, slug, "unpack", to, options)?;
    let mut guest = Guest::start(command.stdin(Stdio::piped()).stdout(Stdio::null()))?;
    let packed = match guest.stdin() {
        Some(stdin) => archive::pack_from(&above, last, from, &name, Outgoing::new(stdin)?),
        None => Ok(Vec::new()),
    };
    // If the guest gave up, its own message says more than a broken pipe.
    guest.finish()?.map_err(in_the_guest)?;
    for path in packed? {
        out::note(format_args!("left out, {NEITHER}: {}", shown(&path)));
    }
    Ok(())
}

fn fetch(context: &Context, slug: &Slug, from: &OsStr, to: &Path, options: &Options) -> Outcome {
    let arrival = Arrival::at(from, to)?;
    if !options.all && repository::is_git(arrival.name().as_bytes()) {
        return Err(Failure::new(
            Kind::Usage,
            "git would treat it as one of your repositories, and run what it says",
        )
        .help("give it another name, or use --all"));
    }
    let mut command = helper(context, slug, "pack", from, options)?;
    let mut guest = Guest::start(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let rules = rules(arrival.name(), options);
    let unpacked = match guest.stdout() {
        Some(stdout) => archive::unpack(Incoming::new(stdout)?, arrival.stage(), &rules),
        None => Ok(archive::Unpacked::default()),
    };
    let mut came = match unpacked {
        Ok(came) => came,
        Err(error) => {
            // If the guest said why nothing came, its message says more.
            let said = guest.give_up();
            let why = said.filter(|_| error.root_cause().to_string() == archive::NOTHING);
            let error = error.context("what comes from the guest");
            return Err(match why {
                Some(why) => in_the_guest(why),
                None if error.is::<archive::TooLarge>() => {
                    Failure::new(Kind::TooLarge, format!("{error:#}")).help("--max-size allows more")
                }
                None => error.into(),
            });
        }
    };
    guest.finish()?.map_err(in_the_guest)?;
    if rules.leave.git {
        arrival.leave_repositories(&mut came.left)?;
    }
    let is_empty = arrival.is_empty()?;
    if !is_empty {
        arrival.land()?;
        remember(arrival.path())?;
    }
    tell(&came.left);
    if is_empty {
        return Err(Failure::new(Kind::Usage, "nothing was copied: all of it was left out"));
    }
    Ok(())
}

/// Records that a path came out of a guest: it may be called `bottle.toml`, or be run, later.
fn remember(place: &Path) -> Outcome {
    // The record is text. If a name is not valid text, its whole folder is recorded.
    let place = place.ancestors().find(|above| above.to_str().is_some()).unwrap_or(place);
    let place = if place.as_os_str().is_empty() { Path::new(".") } else { place };
    Ok(trust::touched(&Home::find()?, &std::path::absolute(place).context("the current folder")?)?)
}

/// Returns which parts of an archive are written, and under which names.
fn rules(name: &OsStr, options: &Options) -> Rules {
    let mut limits = Limits::default();
    if let Some(Size(bytes)) = options.max_size {
        limits.bytes = bytes;
    }
    let mut rules = Rules { limits: Some(limits), ..Rules::of_a_guest(name.to_owned()) };
    if options.all {
        rules.leave = Leave::default();
    }
    if !Defence::CopyNames.stands() {
        (rules.names, rules.leave) = (Names::Packed(None), Leave::default());
    }
    if !Defence::CopyKinds.stands() {
        rules.links_stay_inside = false;
    }
    if !Defence::TreeLimits.stands() {
        rules.limits = None;
    }
    if !Defence::GitNames.stands() {
        rules.leave.git = false;
    }
    rules
}

fn tell(left: &LeftOut) {
    for (path, why) in &left.first {
        out::note(format_args!("left out: {}: {why}", shown(path)));
    }
    let more = left.count.saturating_sub(left.first.len() as u64);
    if more > 0 {
        out::note(format_args!("and {more} more"));
    }
}

fn shown(path: &Path) -> String {
    Bytes(path.as_os_str().as_bytes()).to_string()
}
