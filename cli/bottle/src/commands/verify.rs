//! `bottle verify`: says what a running bottle can reach.

use super::context::Context;
use crate::publish::record;
use crate::verification::{self, How};
use bottle_core::slug::Slug;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::out;
use bottle_verify::judge::Verdict;

pub fn verify(context: &Context, slug: Option<Slug>, how: How, json: bool) -> Outcome {
    let folder = context.running(slug)?;
    for published in record::published(&folder) {
        out::note(format_args!("{published}; the guest gets no way out by it"));
    }
    let judged = context.during(folder.slug(), "trying what can be reached", || {
        verification::verify(&folder, how, &|what| context.progress(what))
    })?;
    judged.print(json)?;
    let (kind, what) = match judged.verdict() {
        Verdict::Isolated => return Ok(()),
        Verdict::Leaks => (Kind::Negative, "something answers that is not a door"),
        Verdict::Inconclusive => (Kind::Guest, "the attempts say nothing either way; try again"),
    };
    Err(Failure::new(kind, what).shown())
}
