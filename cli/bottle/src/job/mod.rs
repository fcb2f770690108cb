//! A run whose results are kept, as a scheduler starts one: `bottle run --out`.
//!
//! [`result`] is what the results say, [`folder`] where they are. While the run lasts, [`job`] accompanies it: the
//! guest's output and the log arrive as they are made ([`output`], [`follow`]). At its end [`collect`] takes what the
//! guest changed and pushed.
//!
//! A scheduler may kill any process of a run, at any time, and without a warning. Then the kernel ends the others: each
//! holds on to a pipe or a parent. What is left is files, and a [`record`] of where the results belong. Whoever comes
//! first [finishes](finish) them: the [heir] of the killed process, if it was not killed, too, or the next run on this
//! machine. A lock that ended with its process proves that nobody else is at it.

pub mod claim;
pub mod collect;
pub mod finish;
pub mod folder;
pub mod follow;
pub mod heir;
#[expect(clippy::module_inception, reason = "it is the one that the module is about")]
pub mod job;
pub mod output;
pub mod record;
pub mod result;
