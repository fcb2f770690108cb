//! `bottle restart`: stops a bottle and starts it with the current bottle.toml.

use super::context::Context;
use super::image;
use super::stop::stop;
use super::up::{Options, up, up_with};
use crate::lifecycle::start;
use crate::made_from::MadeFrom;
use bottle_core::slug::Slug;
use bottle_host::defence::Defence;
use bottle_host::failure::Outcome;
use bottle_host::state::Home;

pub fn restart(context: &Context, slug: Option<Slug>, options: &Options) -> Outcome {
    let (slug, config) = context.configured(slug)?;
    // Everything is checked before anything stops. A bottle that could not start again keeps running.
    let home = Home::find()?;
    context.trust(&home.bottle(&slug), &config, options.trust.as_deref(), &context.again("restart"))?;
    start::check_again(&slug, &config, options.renew)?;
    let made = MadeFrom::kept(&home.bottle(&slug), &config, options.renew);
    let image = image::ready(context, &home, &config, options.rebuild, made.as_ref())?;
    stop(context, Some(slug.clone()))?;
    // It is made anew already.
    let options = Options { rebuild: false, trust: options.trust.clone(), ..*options };
    if Defence::ConfigProvenance.stands() {
        up_with(context, &slug, &config, &options, "restart")?;
    } else {
        up(context, Some(slug), &options)?;
    }
    drop(image);
    Ok(())
}
