//! `bottle verify`: says what a running bottle can reach.

use super::context::Context;
use crate::verification::{self, How};
use bottle_core::slug::Slug;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_verify::judge::Verdict;

pub fn verify(context: &Context, slug: Option<Slug>, how: How, json: bool) -> Outcome {
    let folder = context.running(slug)?;
    let judged = verification::verify(&folder, how, &|what| context.progress(what))?;
    judged.print(json)?;
    let (kind, what) = match judged.verdict() {
        Verdict::Isolated => return Ok(()),
        Verdict::Leaks => (Kind::Negative, "something answers that is not a door"),
        Verdict::Inconclusive => (Kind::Guest, "the attempts say nothing either way; try again"),
    };
    Err(Failure::new(kind, what).shown())
}
