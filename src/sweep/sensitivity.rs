//! Sensitivity: how much a figure depends on each axis of a sweep.
//!
//! On a full grid this is the first-order (Sobol) index: the share of the variance that an axis
//! explains alone, which needs no further runs because every combination is there. In a sample,
//! Spearman's rank correlation takes its place. Both use the logarithm of the figure, as times
//! differ by factors.

use super::{Measure, Point, Results};
use std::collections::BTreeMap;

/// How much a measure depends on an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensitivity {
    /// The axis's place.
    pub axis: usize,
    /// The share of the measure's variance that the axis alone explains: the variance of the means
    /// over its levels, divided by the whole variance (the first-order index of a full grid). For a
    /// sampled axis of numbers, the square of Spearman's correlation. Both are computed on the
    /// measure's logarithm, as times differ by factors.
    pub share: f64,
    /// The ratio of the greatest to the least value where only this axis differs: its geometric
    /// mean over all settings of the other axes, and its maximum. `None` in a sample, where no two
    /// points differ in one axis only.
    pub ratio: Option<(f64, f64)>,
}

/// The axes, sorted by how much `measure` depends on them, the most first.
#[must_use]
pub fn sensitivities(results: &Results, measure: &Measure) -> Vec<Sensitivity> {
    let values: Vec<(&Point, f64)> = results
        .points
        .iter()
        .filter_map(|point| Some((point, results.value(point, measure)?)))
        .filter(|(_, value)| *value > 0.0)
        .collect();
    let logarithms: Vec<f64> = values.iter().map(|(_, value)| value.ln()).collect();
    let of = |(place, axis): (usize, &super::Axis)| {
        let sampled = !results.plan.is_grid() && axis.is_numeric();
        let share = if sampled {
            let numbers: Vec<f64> =
                values.iter().filter_map(|(point, _)| axis.levels[point.levels[place]].number).collect();
            spearman(&numbers, &logarithms).powi(2)
        } else {
            let labels: Vec<&str> =
                values.iter().map(|(point, _)| axis.levels[point.levels[place]].label.as_str()).collect();
            explained(&labels, &logarithms)
        };
        let ratio = results.plan.is_grid().then(|| ratios(&values, place)).flatten();
        Sensitivity { axis: place, share, ratio }
    };
    let mut all: Vec<Sensitivity> = results.axes().map(of).collect();
    all.sort_by(|a, b| b.share.total_cmp(&a.share));
    all
}

/// The variance of the means over groups over the whole variance.
fn explained(groups: &[&str], values: &[f64]) -> f64 {
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
        if count > 0.0 { sum / count } else { 0.0 }
    };
    let whole = mean(&mut values.iter().copied());
    let total: f64 = values.iter().map(|value| (value - whole).powi(2)).sum();
    let mut by_group: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (group, value) in groups.iter().zip(values) {
        by_group.entry(group).or_default().push(*value);
    }
    let between: f64 =
        by_group.values().map(|group| group.len() as f64 * (mean(&mut group.iter().copied()) - whole).powi(2)).sum();
    if total > 0.0 { between / total } else { 0.0 }
}

/// Spearman's rank correlation; equal values have the mean of their ranks.
fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let ranks = |values: &[f64]| -> Vec<f64> {
        values
            .iter()
            .map(|value| {
                let below = values.iter().filter(|other| *other < value).count();
                let equal = values.iter().filter(|other| *other == value).count();
                below as f64 + (equal as f64 - 1.0) / 2.0
            })
            .collect()
    };
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 - 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum() };
    let spread = (product(&a, &a) * product(&b, &b)).sqrt();
    if spread > 0.0 { product(&a, &b) / spread } else { 0.0 }
}

/// The geometric mean and the most of greatest over least, over groups of points that differ in the
/// axis at `place` alone.
fn ratios(values: &[(&Point, f64)], place: usize) -> Option<(f64, f64)> {
    let mut groups: BTreeMap<Vec<usize>, (f64, f64, usize)> = BTreeMap::new();
    for (point, value) in values {
        let mut others = point.levels.clone();
        others[place] = 0;
        let (least, most, count) = groups.entry(others).or_insert((f64::MAX, f64::MIN, 0));
        *least = least.min(*value);
        *most = most.max(*value);
        *count += 1;
    }
    let ratios: Vec<f64> =
        groups.into_values().filter(|(_, _, count)| *count > 1).map(|(least, most, _)| most / least).collect();
    let greatest = ratios.iter().copied().max_by(f64::total_cmp)?;
    let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
    Some((mean, greatest))
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::synthetic;
    use super::*;

    #[test]
    fn a_product_of_powers_has_known_shares() {
        // ln time = -2 ln capacity + ln(1 or 3): variances 4 (ln 2)^2 2/3 and (ln 3)^2 / 4.
        let results = synthetic(|capacity, skip, _| Some(capacity.powi(-2) * if skip > 0.0 { 3.0 } else { 1.0 }));
        let found = sensitivities(&results, &results.measure("time").unwrap());
        let (ln2, ln3) = (2f64.ln(), 3f64.ln());
        let (capacity, skip) = (4.0 * ln2 * ln2 * 2.0 / 3.0, ln3 * ln3 / 4.0);
        assert_eq!(found.iter().map(|it| it.axis).collect::<Vec<_>>(), [0, 1]);
        assert!((found[0].share - capacity / (capacity + skip)).abs() < 1e-12);
        assert!((found[1].share - skip / (capacity + skip)).abs() < 1e-12);
        let (mean, most) = found[0].ratio.unwrap();
        assert!((mean - 16.0).abs() < 1e-9 && (most - 16.0).abs() < 1e-9);
    }

    #[test]
    fn ranks_correlate() {
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[10.0, 100.0, 1000.0]), 1.0);
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]), -1.0);
        assert_eq!(spearman(&[1.0, 1.0], &[3.0, 2.0]), 0.0);
    }
}
