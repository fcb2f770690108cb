//! `bottle ui`: everything at a glance, in a browser.

use super::context::Context;
use crate::desk::Operator;
use bottle_host::failure::Outcome;
use bottle_host::outln;
use bottle_ui::page;
pub use bottle_ui::page::How;

pub fn ui(context: &Context, how: How) -> Outcome {
    let mut is_first = true;
    page::serve(Operator::new()?, how, |link| {
        outln!("{link}")?;
        if std::mem::take(&mut is_first) {
            context.detail(
                "open the link in a browser; it works once. Enter prints another, Ctrl-C ends the page",
            );
        }
        Ok(())
    })
}
