//! `bottle up`: starts a bottle that stays.

use super::context::Context;
use super::image;
use super::publish;
use crate::config::Config;
use crate::describe::{difference, wide_open};
use crate::lifecycle::setup;
use crate::lifecycle::start::{self, Found};
use crate::made_from::MadeFrom;
use crate::resolve::Resolved;
use bottle_core::slug::Slug;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::out;
use bottle_host::state::{Folder, Home};
use bottle_host::tools;

/// How to start a bottle.
pub struct Options {
    /// Use bottle.toml even if a guest could have written it, or only if it has this digest.
    pub trust: Option<String>,
    /// Create the machine again if it needs another image.
    pub renew: bool,
    /// Carry out a setup again whose results are kept in an image.
    pub rebuild: bool,
}

pub fn up(context: &Context, slug: Option<Slug>, options: &Options) -> Outcome {
    let (slug, config) = context.configured(slug)?;
    up_with(context, &slug, &config, options, "up")
}

/// Starts a bottle from a configuration that was already read: the one that a person was asked about.
pub fn up_with(context: &Context, slug: &Slug, config: &Config, options: &Options, verb: &str) -> Outcome {
    let planned = match start::plan(slug, config, Context::project(config)?, options.renew)? {
        Found::Planned(planned) => planned,
        Found::Running(folder, resolved) => {
            // What a person accepted at the project's old path is accepted at the new one.
            if context.moved {
                context.trust(&folder, config, options.trust.as_deref(), &context.again(verb))?;
            }
            if options.rebuild {
                return Err(Failure::new(
                    Kind::Busy,
                    format!("{slug} is up, from what its setup made before"),
                )
                .help(format!("`bottle stop {slug}` first; or `bottle restart --rebuild --renew {slug}`")));
            }
            already_up(context, &folder, &resolved);
            return set_up(context, &folder, config);
        }
    };
    let trust = options.trust.as_deref();
    context.trust(planned.folder(), config, trust, &context.again(verb))?;
    // It was not asked about before the file was accepted.
    context.owned(&Home::find()?, planned.folder(), &Context::project(config)?)?;
    let folder = planned.folder().clone();
    if let Some(said) = wide_open(slug, planned.rules()) {
        out::note(said);
    }
    let made = MadeFrom::kept(&folder, config, options.renew);
    let image = image::ready(context, &Home::find()?, config, options.rebuild, made.as_ref())?;
    if planned.is_behind() {
        context.say(&behind(slug));
    }
    let planned = match &image {
        Some(image) if image.fetched => planned.with_image(config)?,
        _ => *planned,
    };
    let what = "writing its files, and copying the project";
    let staged = context.during(slug, what, || planned.stage(config, trust.is_some()))?;
    if staged.lacks_only_a_keeper() {
        context.progress(&format!("{slug} runs without a keeper: giving it a new one"));
        if context.during(slug, "starting its keeper", || staged.resume()).is_ok() {
            context.say(&format!("{slug} is up"));
            return set_up(context, &folder, config);
        }
    }
    context.progress(&format!("starting {slug}"));
    let steps = context.steps(slug);
    staged.start(&|what| steps.step(what))?;
    drop((steps, image));
    context.say(&format!("{slug} is up; `bottle shell {slug}` enters it"));
    set_up(context, &folder, config)
}

/// Says that a machine stays what it was made from.
pub fn behind(slug: &Slug) -> String {
    format!(
        "{slug} keeps the image that its machine was made from; `bottle up --renew {slug}` makes it from what the name means now, and everything on its disk is lost"
    )
}

/// Publishes what the plan says, and installs what the machine lacks of what its bottle was started with.
fn set_up(context: &Context, folder: &Folder, config: &Config) -> Outcome {
    let plan = folder.read_plan()?;
    if setup::is_due(folder, &plan) {
        context.say(&format!("{} is set up, which takes a while the first time", folder.slug()));
        setup::run(&tools::smolvm()?, folder, &plan, &config.setup_lent, &|line| context.detail(line))?;
    }
    publish::start_all(context, folder)
}

fn already_up(context: &Context, folder: &Folder, resolved: &Resolved) {
    let differs = difference(folder, resolved).unwrap_or_default();
    if context.is_for_agent() && differs.is_empty() {
        return;
    }
    context.say(&format!("{} is up already", folder.slug()));
    if !differs.is_empty() {
        context.say("bottle.toml or the environment has changed since; `bottle restart` applies it:");
        differs.iter().for_each(|line| context.say(&format!("  {line}")));
    }
}
