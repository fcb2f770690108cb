//! A bottle's life: its states as types, and the steps from one to the next.
//!
//! ```text
//!   (bottle.toml) -> Planned -> Staged -> starting -> Running -> stopped
//!                       |          |          |                     |
//!                  nothing is   files are   keeper, then       the machine's disk,
//!                   written     written     machine, helper    the copy and the log stay
//! ```
//!
//! [`start`] takes a bottle that stays through these states; [`run`] takes one through all of them in one
//! command. [`setup`] installs what a new machine lacks. [`stop`] leads back. [`files`] is what a start finds on disk, [`machine`] what happens to the
//! machine that was there before. Nobody writes down which state a bottle is in: [`state`] tells it from
//! what runs, and [`observe`] looks.
//!
//! | process | started by | ends with |
//! | --- | --- | --- |
//! | keeper | `up` or `run`, through [`bottle_keeper::launch`] | the machine that it adopted; `run`'s own process |
//! | starter, keys | the keeper | the keeper |
//! | network stack, sidecar commands, git | the starter | the starter |
//! | machine | smolvm, asked by `up` or `run` | `stop`, `rm`; `run`'s own process |

pub mod check;
pub mod companion;
pub mod files;
pub mod machine;
pub mod observe;
pub mod run;
pub mod second_name;
pub mod setup;
pub mod signals;
pub mod start;
pub mod state;
pub mod stop;
pub mod typing;
