//! The report: a table, a file for programs, and a picture.

use anyhow::Result;
use serde::Serialize;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// The version of the layout of `compare.json`. It changes when a field is removed or changes its meaning.
const SCHEMA: u32 = 1;

/// All measurements of a run.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    rows: Vec<Row>,
    skipped: Vec<Skipped>,
}

/// One measurement of one system, over all rounds.
#[derive(Debug, Serialize)]
struct Row {
    what: String,
    system: String,
    unit: &'static str,
    min: f64,
    median: f64,
    max: f64,
    runs: usize,
    /// bottle's median as a multiple of this system's. Larger is better.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    goal: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Skipped {
    what: String,
    why: String,
}

/// Whether more or less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    Higher,
    Lower,
}

/// One system's figures.
pub struct Figures<'a> {
    pub system: &'a str,
    pub values: Vec<f64>,
    /// How many times as good as this system bottle should be.
    pub goal: Option<f64>,
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Report {
    /// Adds a measurement: bottle's figures, which come first, and those of the systems to compare it with.
    pub fn add(&mut self, what: &str, unit: &'static str, better: Better, all: &[Figures]) {
        let own = all.first().map_or(f64::NAN, |own| median(&own.values));
        for (at, Figures { system, values, goal }) in all.iter().enumerate() {
            if values.is_empty() {
                self.skip(&format!("{what}: {system}"), "it gave no figure");
                continue;
            }
            let middle = median(values);
            let ratio = match better {
                Better::Higher => own / middle,
                Better::Lower => middle / own,
            };
            let row = Row {
                what: what.to_owned(),
                system: (*system).to_owned(),
                unit,
                min: values.iter().copied().fold(f64::INFINITY, f64::min),
                median: middle,
                max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                runs: values.len(),
                ratio: (at > 0).then_some(ratio),
                goal: *goal,
            };
            println!("{}", row.line());
            self.rows.push(row);
        }
    }

    pub fn skip(&mut self, what: &str, why: &str) {
        println!("{what}: skipped: {why}");
        self.skipped.push(Skipped { what: what.to_owned(), why: why.to_owned() });
    }

    pub fn finish(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        let mut json = serde_json::to_value(self)?;
        json["schema"] = SCHEMA.into();
        fs::write(folder.join("compare.json"), serde_json::to_string_pretty(&json)?)?;
        fs::write(folder.join("compare.svg"), self.picture())?;
        println!("{0}/compare.json and {0}/compare.svg", folder.display());
        Ok(())
    }

    /// Draws the medians of each measurement as bars, with the spread as a line.
    fn picture(&self) -> String {
        const BAR: f64 = 18.0;
        let mut svg = String::new();
        let mut y = 10.0;
        for group in self.rows.chunk_by(|a, b| a.what == b.what) {
            let most = group.iter().map(|row| row.max).fold(f64::MIN_POSITIVE, f64::max);
            let _ = writeln!(svg, "<text x='10' y='{:.0}' class='what'>{}</text>", y + 12.0, group[0].what);
            y += 20.0;
            for row in group {
                let at = |value: f64| 170.0 + 480.0 * value / most;
                let class = if row.system == "bottle" { "own" } else { "other" };
                let (text, middle, end) = (y + 11.0, y + 7.0, at(row.max));
                let _ = writeln!(
                    svg,
                    "<text x='160' y='{text:.0}' text-anchor='end'>{}</text>\
                     <rect class='{class}' x='170' y='{y:.0}' width='{:.1}' height='14'/>\
                     <line x1='{:.1}' x2='{end:.1}' y1='{middle:.0}' y2='{middle:.0}'/>\
                     <text x='{:.1}' y='{text:.0}'>{:.1} {}</text>",
                    row.system,
                    at(row.median) - 170.0,
                    at(row.min),
                    end + 6.0,
                    row.median,
                    row.unit,
                );
                y += BAR;
            }
            y += 8.0;
        }
        format!(
            "<svg xmlns='http://www.w3.org/2000/svg' width='820' height='{y:.0}' font-family='sans-serif' font-size='11'>\
             <style>.what{{font-weight:bold}}.own{{fill:#116329}}.other{{fill:#9aa4af}}line{{stroke:#000}}</style>\n{svg}</svg>\n"
        )
    }
}

impl Row {
    fn line(&self) -> String {
        let ratio =
            self.ratio.map_or_else(String::new, |ratio| format!("  bottle is {ratio:.2} times as good"));
        let goal = self.goal.map_or_else(String::new, |goal| format!(" (goal {goal:.2})"));
        format!(
            "{:<44} {:<18} {:>9.1} {:>9.1} {:>9.1} {:<7}{ratio}{goal}",
            self.what, self.system, self.min, self.median, self.max, self.unit
        )
    }
}
