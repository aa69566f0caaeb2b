use super::{Measure, Point, Results};

/// The Pareto front: the points for which no other point is as low in one measure and lower in the
/// other. In the order of the first measure; of points that are equal in both, the first.
/// O(n log n).
#[must_use]
pub fn front<'a>(results: &'a Results, first: &Measure, second: &Measure) -> Vec<(&'a Point, f64, f64)> {
    let mut points: Vec<(&Point, f64, f64)> = results
        .points
        .iter()
        .filter_map(|point| Some((point, results.value(point, first)?, results.value(point, second)?)))
        .collect();
    points.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.2.total_cmp(&b.2)));
    let mut least = f64::INFINITY;
    points.retain(|(_, _, second)| {
        let better = *second < least;
        least = least.min(*second);
        better
    });
    points
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::synthetic;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_front_is_what_no_point_beats(times in proptest::collection::vec(1u8..6, 6)) {
            let results = synthetic(|capacity, skip, _| {
                let place = (capacity.log2() as usize - 1) * 2 + usize::from(skip > 0.0);
                Some(f64::from(times[place]))
            });
            let (x, y) = (results.measure("memory.hbm.capacity").unwrap(), results.measure("time").unwrap());
            let pair = |point: &Point| (results.value(point, &x).unwrap(), results.value(point, &y).unwrap());
            let found: Vec<(f64, f64)> = front(&results, &x, &y).into_iter().map(|(point, ..)| pair(point)).collect();
            let beats = |a: (f64, f64), b: (f64, f64)| a.0 <= b.0 && a.1 <= b.1 && a != b;
            let all: Vec<(f64, f64)> = results.points.iter().map(pair).collect();
            let mut expected: Vec<(f64, f64)> = all.iter().copied().filter(|it| !all.iter().any(|other| beats(*other, *it))).collect();
            expected.sort_by(|a, b| a.0.total_cmp(&b.0));
            expected.dedup();
            prop_assert_eq!(found, expected);
        }
    }
}
