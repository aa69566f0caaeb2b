//! Lines that coincide are drawn so that each is visible: the first is solid, those over it have
//! gaps.

use super::strokes::{Line, Stroke};

/// The number of places at which two lines are compared.
const PLACES: usize = 200;
/// The distance within which lines coincide, as a share of the axis: about the width of a line.
const NEAR: f64 = 0.006;
/// The share of the axis over which lines must coincide to be drawn with gaps.
const ENOUGH: f64 = 0.04;
/// How long the dashes of the second, third and fourth line at one place are, of [`PERIOD`] each:
/// those below show in between.
const DASHES: [f64; 3] = [14.0, 9.0, 5.0];
const PERIOD: f64 = 24.0;
/// How long the dashes of a line are that has dashes anyhow.
const REFERENCE: f64 = 6.0;

/// How many of the lines that are drawn before each of `lines` it coincides with, on axes that end
/// at `x_to` and `y_to`. Of those with a stroke of their own, whether there is any: what is below
/// shows in their gaps, if these are long enough.
pub(super) fn below(lines: &[Line], x_to: f64, y_to: f64) -> Vec<usize> {
    let heights: Vec<Vec<Option<f64>>> = lines.iter().map(|line| heights(&line.points, x_to)).collect();
    let coincide = |one: usize, other: usize| {
        let both = heights[one].iter().zip(&heights[other]).filter_map(|(a, b)| Some(((*a)?, (*b)?)));
        let near = both.filter(|(a, b)| (a - b).abs() <= NEAR * y_to && *a <= y_to).count();
        near as f64 >= ENOUGH * PLACES as f64
    };
    let solid = |index: &usize| lines[*index].stroke == Stroke::Solid;
    (0..lines.len()).map(|index| (0..index).filter(solid).filter(|other| coincide(index, *other)).count()).collect()
}

/// The dash pattern of a line of that stroke over `below` others; `None` is solid.
pub(super) fn dashes(stroke: Stroke, below: usize) -> Option<String> {
    match (stroke, below) {
        (Stroke::Dashed, 0) => Some("8 4".to_owned()),
        (Stroke::Dotted, 0) => Some("2 4".to_owned()),
        // At the end of each period, where the dashes below are not.
        (Stroke::Dashed, _) => Some(format!("0 {} {REFERENCE} 0", PERIOD - REFERENCE)),
        (Stroke::Dotted, _) => Some(format!("0 {} 2 2 2 0", PERIOD - REFERENCE)),
        (Stroke::Solid, 0) => None,
        (Stroke::Solid, below) => {
            let dash = DASHES[(below - 1).min(DASHES.len() - 1)];
            Some(format!("{dash} {}", PERIOD - dash))
        }
    }
}

/// How high a line is at each of the [`PLACES`]; `None` beyond its ends.
fn heights(points: &[(f64, f64)], x_to: f64) -> Vec<Option<f64>> {
    let mut next = 0;
    let height = |place: usize| {
        let x = x_to * place as f64 / (PLACES - 1) as f64;
        while next < points.len() && points[next].0 < x {
            next += 1;
        }
        let (after_x, after_y) = *points.get(next)?;
        if after_x == x {
            return Some(after_y);
        }
        let (before_x, before_y) = *points.get(next.checked_sub(1)?)?;
        Some(before_y + (after_y - before_y) * (x - before_x) / (after_x - before_x))
    };
    (0..PLACES).map(height).collect()
}

#[cfg(test)]
mod tests {
    use super::super::strokes::colour;
    use super::*;

    fn line(stroke: Stroke, height: impl Fn(f64) -> f64) -> Line {
        let points = (0..=100).map(|x| (f64::from(x), height(f64::from(x)))).collect();
        Line { label: String::new(), colour: colour::BLUE, stroke, points }
    }

    #[test]
    fn lines_that_coincide_get_gaps_and_others_stay() {
        let lines = [
            line(Stroke::Solid, |_| 5.0),
            line(Stroke::Solid, |x| 0.1 * x),
            line(Stroke::Solid, |x| if x < 50.0 { 5.0 } else { 9.0 }),
            line(Stroke::Solid, |_| 5.001),
            line(Stroke::Dashed, |_| 5.0),
        ];
        assert_eq!(below(&lines, 100.0, 10.0), [0, 0, 1, 2, 3]);
        let patterns =
            [dashes(Stroke::Solid, 0), dashes(Stroke::Solid, 1), dashes(Stroke::Solid, 2), dashes(Stroke::Dashed, 3)];
        assert_eq!(
            patterns,
            [None, Some("14 10"), Some("9 15"), Some("0 18 6 0")].map(|dashes| dashes.map(str::to_owned))
        );
    }

    #[test]
    fn a_crossing_is_no_coincidence() {
        let lines = [line(Stroke::Solid, |x| x), line(Stroke::Solid, |x| 100.0 - x)];
        assert_eq!(below(&lines, 100.0, 100.0), [0, 0]);
    }
}
