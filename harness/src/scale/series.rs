//! A cost at several sizes.

use serde::Serialize;

/// How steep growth may be before it counts as worse than linear. Measurements scatter.
const LINEAR: f64 = 1.15;
/// A cost that is at most this many times the smallest one has hardly grown, whatever its slope.
const FLAT: f64 = 1.5;

/// A cost at several sizes, the smallest first.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// What costs it.
    pub what: String,
    /// The unit of the cost.
    pub unit: &'static str,
    /// What there are more and more of.
    pub of: &'static str,
    /// The sizes, each with its cost.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    /// Creates a series without points.
    pub fn new(what: &str, unit: &'static str, of: &'static str) -> Self {
        Self { what: what.to_owned(), unit, of, points: Vec::new() }
    }

    /// Adds a point.
    pub fn at(&mut self, size: usize, cost: f64) {
        #[expect(clippy::cast_precision_loss, reason = "sizes are at most a million")]
        self.points.push((size as f64, cost));
    }

    /// Returns the exponent with which the cost grows between the two largest sizes: with 1 it is linear.
    pub fn slope(&self) -> Option<f64> {
        let [.., (smaller, before), (larger, after)] = self.points.as_slice() else { return None };
        Some((after / before).ln() / (larger / smaller).ln())
    }

    /// Returns whether the cost grows faster than what causes it.
    pub fn is_worse_than_linear(&self) -> bool {
        let least = self.points.iter().map(|(_, cost)| *cost).fold(f64::INFINITY, f64::min);
        let has_grown = self.points.last().is_some_and(|(_, cost)| *cost > least * FLAT);
        has_grown && self.slope().is_some_and(|slope| slope > LINEAR)
    }

    /// Prints the points, and how the cost grows.
    pub fn print(&self) {
        for (size, cost) in &self.points {
            println!("{:<44} {size:>9} {cost:>12.2} {}", self.what, self.unit);
        }
        if let Some(slope) = self.slope() {
            println!("{:<44} grows with the {slope:.2}th power of {}", "", self.of);
        }
    }

    /// Returns a name for a file.
    pub fn file_name(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        self.what.chars().map(plain).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(costs: &[f64]) -> Series {
        let mut series = Series::new("a cost", "ms", "things");
        for (power, cost) in (1..).zip(costs) {
            series.at(10_usize.pow(power), *cost);
        }
        series
    }

    #[test]
    fn only_growth_that_is_steeper_than_its_cause_is_a_bug() {
        assert!(!of(&[5.0, 50.0, 500.0]).is_worse_than_linear());
        assert!(!of(&[5.0, 5.2, 6.0]).is_worse_than_linear());
        assert!(of(&[1.0, 10.0, 1000.0]).is_worse_than_linear());
        assert!(!of(&[1.0]).is_worse_than_linear());
    }

    #[test]
    fn a_quadratic_cost_has_the_slope_two() {
        assert!((of(&[1.0, 100.0]).slope().unwrap() - 2.0).abs() < 1e-9);
    }
}
