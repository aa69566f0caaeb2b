//! The end of a scale: the greatest value, unless a few values lie so far above the others that
//! nothing else could be read, such as the first step of a run that moves everything. Values beyond
//! the scale are counted, and a note in the picture reports them.

/// A scale that ends before some of its values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cut {
    /// The end of the scale.
    pub end: f64,
    /// How many values are beyond it.
    pub beyond: usize,
    /// The greatest of them: of which line, where, and how much.
    pub line: usize,
    pub x: f64,
    pub y: f64,
}

impl Cut {
    /// A sentence on the values beyond the scale; `greatest` names the farthest one, and `value` is
    /// its text.
    pub fn note(&self, greatest: &str, value: &str) -> String {
        match self.beyond {
            1 => format!("One value is beyond the scale: {greatest}, {value}."),
            beyond => format!("{beyond} values are beyond the scale; the greatest is {greatest}, {value}."),
        }
    }
}

/// The share of each line's values that may be beyond the end of a scale; one value in any case.
const RARE: f64 = 0.01;
/// Lines of fewer values have no rare ones.
const FEWEST: usize = 8;
/// Rare values are beyond the end if the greatest exceeds the greatest of the others by this
/// factor.
const FAR: f64 = 2.0;
/// The end of the scale over the greatest of the other values.
const ROOM: f64 = 1.25;

/// Where the common scale of `lines`, points of x and y, ends before its greatest value; `None`
/// where it need not.
///
/// The rarest percent of each line, the greatest values, sets no scale where it is more than twice
/// all others: a line of a slow run among fast ones is not rare, and a rise over all steps is not
/// either. Sorts the values of each line: O(n log n).
pub(super) fn cut(lines: &[&[(f64, f64)]]) -> Option<Cut> {
    let finite = |points: &[(f64, f64)]| -> Vec<f64> {
        let mut values: Vec<f64> = points.iter().map(|(_, y)| *y).filter(|y| y.is_finite()).collect();
        values.sort_unstable_by(f64::total_cmp);
        values
    };
    let usual = lines.iter().filter_map(|points| {
        let values = finite(points);
        let rare = if values.len() < FEWEST { 0 } else { ((values.len() as f64 * RARE) as usize).max(1) };
        values.get(values.len().checked_sub(rare + 1)?).copied()
    });
    let usual = usual.fold(0.0, f64::max);
    let all = || lines.iter().enumerate().flat_map(|(line, points)| points.iter().map(move |(x, y)| (line, *x, *y)));
    let (line, x, y) = all().filter(|(_, _, y)| y.is_finite()).max_by(|a, b| a.2.total_cmp(&b.2))?;
    let end = end(usual, y)?;
    Some(Cut { end, beyond: all().filter(|(_, _, y)| *y > end).count(), line, x, y })
}

/// The end of a scale for the `usual` values only, if the greatest is far from them; else `None`.
pub(super) fn end(usual: f64, greatest: f64) -> Option<f64> {
    (usual > 0.0 && greatest > FAR * usual).then_some(ROOM * usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(first: f64, others: impl Fn(usize) -> f64, steps: usize) -> Vec<(f64, f64)> {
        (0..steps).map(|step| (step as f64, if step == 0 { first } else { others(step) })).collect()
    }

    #[test]
    fn the_spike_of_the_first_step_is_cut() {
        for steps in [8, 16, 1000] {
            let spiked = line(95.0, |_| 10.0, steps);
            let found = cut(&[&line(9.0, |_| 9.0, steps), &spiked]).unwrap();
            assert_eq!(found, Cut { end: 12.5, beyond: 1, line: 1, x: 0.0, y: 95.0 });
        }
    }

    #[test]
    fn slow_runs_growth_and_short_runs_are_not_cut() {
        let (slow, fast) = (line(100.0, |_| 100.0, 100), line(10.0, |_| 10.0, 100));
        assert_eq!(cut(&[&fast, &slow]), None);
        assert_eq!(cut(&[&line(1.0, |step| (step * step) as f64, 100)]), None);
        assert_eq!(cut(&[&line(95.0, |_| 10.0, 4)]), None);
        // One step in ten is not rare.
        assert_eq!(cut(&[&line(1.0, |step| if step % 10 == 0 { 50.0 } else { 1.0 }, 100)]), None);
        assert_eq!(cut(&[&line(5.0, |_| 0.0, 100)]), None, "there is nothing else to see");
        assert_eq!(cut(&[&[]]), None);
    }
}
