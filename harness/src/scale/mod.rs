//! How cost grows: bottles, rules, tunnels, lines of a log and files of a copy, from a few to very many.
//!
//! Each part gives [`Series`]: a cost at several sizes. What matters is the growth between the two largest
//! sizes, stated as an exponent: with 1, ten times as many cost ten times as much. More than that is a bug.
//! [`plot`] draws each series. Guests are stand-ins, so the machine's own boot is not in any figure.

mod bottles;
mod copies;
mod cost;
mod log;
mod plot;
mod rules;
mod series;
mod tunnels;

pub use tunnels::hold;

use crate::checkout::Checkout;
use anyhow::Result;
use clap::ValueEnum;
use series::Series;
use std::fs;
use std::process::ExitCode;

/// What to measure, and up to which size.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Measure only this part
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Leave out larger sizes than this
    #[arg(long)]
    most: Option<usize>,
}

/// What there is more and more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Bottles,
    Rules,
    Tunnels,
    Log,
    Copies,
}

/// The version of the layout of `scale.json`. It changes when a field is removed or changes its meaning.
const SCHEMA: u32 = 1;

/// Measures how each cost grows. Ends with status 1 if one grows faster than what causes it.
///
/// # Errors
/// Returns an error if a bottle cannot be measured.
pub fn main(checkout: &Checkout, options: &Options) -> Result<ExitCode> {
    let folder = checkout.root().join("target/scale");
    fs::create_dir_all(&folder)?;
    let mut all = Vec::new();
    println!("{:<44} {:>9} {:>12}", "cost", "of", "figure");
    for part in Part::value_variants().iter().filter(|part| options.only.is_none_or(|only| only == **part)) {
        let upto = |sizes: &[usize]| -> Vec<usize> {
            sizes.iter().copied().filter(|size| options.most.is_none_or(|most| *size <= most)).collect()
        };
        let measured = match part {
            Part::Bottles => bottles::measure(checkout, &upto(&[1, 10, 50, 200]))?,
            Part::Rules => rules::measure(checkout, &upto(&[10, 100, 1_000, 10_000]))?,
            Part::Tunnels => tunnels::measure(checkout, &upto(&[10, 100, 1_000, 10_000]))?,
            Part::Log => log::measure(checkout, &upto(&[1_000, 10_000, 100_000, 400_000]))?,
            Part::Copies => copies::measure(checkout, &upto(&[1_000, 10_000, 100_000, 1_000_000]))?,
        };
        for series in measured {
            series.print();
            fs::write(folder.join(format!("{}.svg", series.file_name())), plot::draw(&series))?;
            all.push(series);
        }
    }
    let json = serde_json::json!({ "schema": SCHEMA, "series": all });
    fs::write(folder.join("scale.json"), serde_json::to_string_pretty(&json)?)?;
    println!("{0}/scale.json, and a drawing of each", folder.display());
    let steep: Vec<&Series> = all.iter().filter(|series| series.is_worse_than_linear()).collect();
    for series in &steep {
        println!("worse than linear: {}", series.what);
    }
    Ok(if steep.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
