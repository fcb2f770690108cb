//! Draws a series, with logarithmic axes.

use super::series::Series;
use std::fmt::Write;

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 40.0;

/// Returns an SVG document with the points, and a dashed line for linear growth from the first point.
pub fn draw(series: &Series) -> String {
    let sizes = decades(series.points.iter().map(|(size, _)| *size));
    let costs = decades(series.points.iter().map(|(_, cost)| cost.max(1e-3)));
    let x = |size: f64| LEFT + (WIDTH - LEFT - RIGHT) * (size.log10() - sizes.0) / (sizes.1 - sizes.0);
    let y = |cost: f64| {
        let part = (cost.max(1e-3).log10() - costs.0) / (costs.1 - costs.0);
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * part
    };
    let mut svg = String::new();
    for power in whole(sizes) {
        let at = x(10_f64.powi(power));
        let _ = write!(svg, "<path class='grid' d='M{at:.0} {TOP:.0}V{:.0}'/>", HEIGHT - BOTTOM);
        let _ = write!(
            svg,
            "<text x='{at:.0}' y='{:.0}' text-anchor='middle'>{}</text>",
            HEIGHT - BOTTOM + 16.0,
            short(power)
        );
    }
    for power in whole(costs) {
        let at = y(10_f64.powi(power));
        let _ = write!(svg, "<path class='grid' d='M{LEFT:.0} {at:.0}H{:.0}'/>", WIDTH - RIGHT);
        let _ = write!(
            svg,
            "<text x='{:.0}' y='{:.0}' text-anchor='end'>{}</text>",
            LEFT - 6.0,
            at + 4.0,
            short(power)
        );
    }
    if let (Some((first, cost)), Some((last, _))) = (series.points.first(), series.points.last()) {
        let end = (cost * last / first).min(10_f64.powf(costs.1));
        let until = first * end / cost;
        let _ = write!(
            svg,
            "<path class='linear' d='M{:.1} {:.1}L{:.1} {:.1}'/>",
            x(*first),
            y(*cost),
            x(until),
            y(end)
        );
    }
    let line: Vec<String> =
        series.points.iter().map(|(size, cost)| format!("{:.1} {:.1}", x(*size), y(*cost))).collect();
    let _ = write!(svg, "<path class='cost' d='M{}'/>", line.join("L"));
    for (size, cost) in &series.points {
        let _ = write!(svg, "<circle cx='{:.1}' cy='{:.1}' r='3'/>", x(*size), y(*cost));
    }
    let slope = series.slope().map_or_else(String::new, |slope| format!(", slope {slope:.2}"));
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}' \
         font-family='sans-serif' font-size='11'>\
         <style>.grid{{stroke:#d8dee4}}.linear{{stroke:#9aa4af;stroke-dasharray:4 4;fill:none}}\
         .cost{{stroke:#116329;stroke-width:2;fill:none}}circle{{fill:#116329}}text{{fill:#57606a}}\
         .what{{fill:#24292f;font-weight:bold}}</style>\
         <rect width='{WIDTH}' height='{HEIGHT}' fill='#fff'/>\
         <text class='what' x='{LEFT}' y='18'>{}, {}{slope}</text>{svg}\
         <text x='{:.0}' y='{:.0}' text-anchor='middle'>{}</text></svg>\n",
        series.what,
        series.unit,
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 8.0,
        series.of,
    )
}

/// Returns the powers of ten around all values. They differ.
fn decades(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (least, most) =
        values.fold((f64::INFINITY, 1e-3), |(least, most), value| (value.min(least), value.max(most)));
    let from = least.min(most).log10().floor();
    (from, most.log10().ceil().max(from + 1.0))
}

#[expect(clippy::cast_possible_truncation, reason = "these are whole powers of ten")]
fn whole((from, to): (f64, f64)) -> std::ops::RangeInclusive<i32> {
    from as i32..=to as i32
}

/// Returns a power of ten as a person writes it.
fn short(power: i32) -> String {
    match power {
        0.. => 10_u64.pow(power.unsigned_abs()).to_string(),
        _ => format!("{}", 10_f64.powi(power)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_inside_the_drawing() {
        let mut series = Series::new("a cost", "ms", "things");
        for (size, cost) in [(1, 0.0), (10, 7.0), (200, 1234.5)] {
            series.at(size, cost);
        }
        let drawing = draw(&series);
        let inside = |name: &str, most: f64| {
            drawing.split(&format!("{name}='")).skip(1).all(|rest| {
                let number = rest.split('\'').next().unwrap().parse::<f64>().unwrap();
                (0.0..=most).contains(&number)
            })
        };
        assert_eq!(drawing.matches("<circle").count(), 3);
        assert!(inside("cx", WIDTH) && inside("cy", HEIGHT), "{drawing}");
    }
}
