//! Simulated annealing over a grid of levels, whatever its points are.
//!
//! [`CHAINS`] chains walk at the same time, each with random numbers of its own. In each round
//! every chain proposes a neighbour: one axis, at random, goes up or down by 1 to as many levels as
//! the temperature allows (half the axis at first, a twentieth of it at the end). The proposals
//! that were never evaluated are evaluated together. Then a chain moves if its neighbour is not
//! worse, and otherwise with the probability `exp(-worse / temperature)`, where `worse` is by which
//! share of its figure the neighbour is worse (Metropolis et al. 1953; Kirkpatrick et al. 1983).
//! The temperature falls geometrically with the evaluations that are used, from
//! [`FIRST_TEMPERATURE`] to [`LAST_TEMPERATURE`].
//!
//! The number of chains is fixed, so that the points do not depend on the number of threads.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use std::collections::HashMap;

/// How many chains walk at the same time.
const CHAINS: usize = 4;
/// The temperature of the first round: a point that is 10 % worse is moved to in 37 % of all cases.
const FIRST_TEMPERATURE: f64 = 0.1;
/// The temperature when all evaluations are used: 0.1 % worse, 37 %.
const LAST_TEMPERATURE: f64 = 0.001;
/// After so many rounds for each evaluation that is allowed the search ends: the chains come back
/// to points that are known.
const ROUNDS: u64 = 64;

/// What is searched.
pub(super) struct Walk<'a> {
    /// How many levels each axis has; none has 0.
    pub counts: &'a [usize],
    /// Where the first chain starts.
    pub start: Vec<usize>,
    /// How many points are evaluated at most; at least 1.
    pub evaluations: u32,
    /// Same seed, same points.
    pub seed: u64,
}

/// Who asked for a point first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The chain.
    pub chain: usize,
    /// The temperature; that of the first round for the points at which chains start.
    pub temperature: f64,
    /// Whether the chain moved there.
    pub accepted: bool,
}

/// A chain and where it is.
struct Chain {
    random: Xoshiro256PlusPlus,
    at: Vec<usize>,
}

impl Chain {
    /// A number below `range`.
    fn below(&mut self, range: usize) -> usize {
        ((u128::from(self.random.next_u64()) * range as u128) >> 64) as usize
    }

    /// A number from 0 up to 1.
    fn share(&mut self) -> f64 {
        (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A neighbour on one of the axes `movable`.
    fn neighbour(&mut self, counts: &[usize], movable: &[usize], temperature: f64) -> Vec<usize> {
        let axis = movable[self.below(movable.len())];
        let most = counts[axis] - 1;
        let reach = (0.5 * most as f64 * (temperature / FIRST_TEMPERATURE).sqrt()).round() as usize;
        let (by, up) = (1 + self.below(reach.clamp(1, most)), self.below(2) == 1);
        let mut levels = self.at.clone();
        let here = levels[axis];
        // At an end it goes the other way.
        let up = if here == 0 { true } else { up && here < most };
        levels[axis] = if up { (here + by).min(most) } else { here.saturating_sub(by) };
        levels
    }
}

/// Walks; `evaluate` returns the figures of points that it was never given before, the less the
/// better, or `None` of a point that has none. Returns, for each point in the order in which it was
/// evaluated, whether the chain that asked for it moved there.
///
/// # Errors
/// Those of `evaluate`.
pub(super) fn walk<E>(
    walk: &Walk<'_>,
    mut evaluate: impl FnMut(Vec<(Vec<usize>, Step)>) -> Result<Vec<Option<f64>>, E>,
) -> Result<Vec<bool>, E> {
    let evaluations = u64::from(walk.evaluations.max(1));
    let combinations = walk.counts.iter().fold(1u64, |all, count| all.saturating_mul(*count as u64));
    let step = |chain, temperature| Step { chain, temperature, accepted: false };
    if combinations <= evaluations {
        let start = std::iter::once(walk.start.clone());
        let others = (0..combinations).map(|number| digits(number, walk.counts)).filter(|point| *point != walk.start);
        let points: Vec<_> = start.chain(others).map(|point| (point, step(0, FIRST_TEMPERATURE))).collect();
        return Ok(vec![false; evaluate(points)?.len()]).map(|mut moved: Vec<bool>| {
            moved[0] = true;
            moved
        });
    }
    let movable: Vec<usize> = (0..walk.counts.len()).filter(|axis| walk.counts[*axis] > 1).collect();
    let mut random = Xoshiro256PlusPlus::seed_from_u64(walk.seed);
    let mut chains: Vec<Chain> = Vec::new();
    for chain in 0..CHAINS {
        // Each chain's stream starts 2^128 draws after the one before: they never meet.
        let mut here = Chain { random: random.clone(), at: walk.start.clone() };
        random.jump();
        if chain > 0 {
            here.at = walk.counts.iter().map(|count| here.below(*count)).collect();
        }
        chains.push(here);
    }

    let mut known: HashMap<Vec<usize>, (usize, Option<f64>)> = HashMap::new();
    let mut moved: Vec<bool> = Vec::new();
    let mut evaluate_new =
        |known: &mut HashMap<_, _>, moved: &mut Vec<bool>, asked: &[Vec<usize>], temperature: f64| {
            let mut new: Vec<(Vec<usize>, Step)> = Vec::new();
            for (chain, point) in asked.iter().enumerate() {
                let is_new = !known.contains_key(point) && new.iter().all(|(other, _)| other != point);
                if is_new && (known.len() + new.len()) as u64 != evaluations {
                    new.push((point.clone(), step(chain, temperature)));
                }
            }
            if new.is_empty() {
                return Ok(());
            }
            let figures = evaluate(new.clone())?;
            for ((point, _), figure) in new.into_iter().zip(figures) {
                known.insert(point, (moved.len(), figure));
                moved.push(false);
            }
            Ok::<_, E>(())
        };
    let starts: Vec<Vec<usize>> = chains.iter().map(|chain| chain.at.clone()).collect();
    evaluate_new(&mut known, &mut moved, &starts, FIRST_TEMPERATURE)?;
    moved.iter_mut().for_each(|moved| *moved = true);
    // With fewer evaluations than chains the others have no place to start from.
    chains.retain(|chain| known.contains_key(&chain.at));

    let rounds = ROUNDS * evaluations;
    for round in 0..rounds {
        let used = known.len() as u64;
        if used >= evaluations {
            break;
        }
        let spent = (used as f64 / evaluations as f64).max(round as f64 / rounds as f64);
        let temperature = FIRST_TEMPERATURE * (LAST_TEMPERATURE / FIRST_TEMPERATURE).powf(spent);
        let propose = |chain: &mut Chain| chain.neighbour(walk.counts, &movable, temperature);
        let asked: Vec<Vec<usize>> = chains.iter_mut().map(propose).collect();
        evaluate_new(&mut known, &mut moved, &asked, temperature)?;
        for (chain, point) in chains.iter_mut().zip(asked) {
            // One that the evaluations did not reach is not moved to.
            let Some(&(place, figure)) = known.get(&point) else { continue };
            let here = known[&chain.at].1;
            let draw = chain.share();
            if accepts(here, figure, temperature, draw) {
                moved[place] = true;
                chain.at = point;
            }
        }
    }
    Ok(moved)
}

/// Whether a chain at a point of the figure `here` moves to one of the figure `there`, by the
/// random number `draw` from 0 up to 1.
fn accepts(here: Option<f64>, there: Option<f64>, temperature: f64, draw: f64) -> bool {
    match (here, there) {
        (Some(here), Some(there)) if there > here => {
            let worse = (there - here) / here.abs().max(f64::MIN_POSITIVE);
            draw < (-worse / temperature).exp()
        }
        (_, Some(_)) | (None, None) => true,
        (Some(_), None) => false,
    }
}

/// The levels of the combination of that number, the last axis fastest.
fn digits(number: u64, counts: &[usize]) -> Vec<usize> {
    let mut rest = number;
    let mut levels: Vec<usize> = counts
        .iter()
        .rev()
        .map(|count| {
            let level = (rest % *count as u64) as usize;
            rest /= *count as u64;
            level
        })
        .collect();
    levels.reverse();
    levels
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The points that were evaluated, with their figures, in their order.
    fn evaluated(
        counts: &[usize],
        evaluations: u32,
        seed: u64,
        figure: impl Fn(&[usize]) -> Option<f64>,
    ) -> Vec<(Vec<usize>, Option<f64>)> {
        let setting = Walk { counts, start: vec![0; counts.len()], evaluations, seed };
        let mut all = Vec::new();
        let moved = walk(&setting, |asked| {
            assert!(asked.iter().all(|(point, _)| point.iter().zip(counts).all(|(level, count)| level < count)));
            let figures: Vec<Option<f64>> = asked.iter().map(|(point, _)| figure(point)).collect();
            all.extend(asked.into_iter().map(|(point, _)| point).zip(figures.iter().copied()));
            Ok::<_, ()>(figures)
        });
        assert_eq!(moved.unwrap().len(), all.len());
        all
    }

    fn least(points: &[(Vec<usize>, Option<f64>)]) -> Option<&(Vec<usize>, Option<f64>)> {
        points.iter().filter(|point| point.1.is_some()).min_by(|a, b| a.1.unwrap().total_cmp(&b.1.unwrap()))
    }

    /// A valley with ripples, whose local minima a descent from the start does not leave.
    fn valley(point: &[usize]) -> f64 {
        let (x, y) = (point[0] as f64 - 21.0, point[1] as f64 - 9.0);
        100.0 + 0.2 * (x * x + 2.0 * y * y) + if (point[0] + point[1]).is_multiple_of(2) { 0.0 } else { 3.0 }
    }

    #[test]
    fn the_least_of_a_rippled_valley_is_found_with_a_tenth_of_its_points() {
        for seed in 0..20 {
            let points = evaluated(&[33, 33], 109, seed, |point| Some(valley(point)));
            // It ends earlier where the chains have frozen among points that are known.
            assert!((55..=109).contains(&points.len()), "{}", points.len());
            let best = least(&points).unwrap();
            assert!(best.1.unwrap() <= 100.6, "seed {seed}: {best:?}");
        }
    }

    #[test]
    fn worse_points_are_moved_to_by_the_temperature() {
        // 10 % worse at a temperature of 0.1: 1/e = 0.3679.
        assert!(accepts(Some(100.0), Some(110.0), 0.1, 0.367) && !accepts(Some(100.0), Some(110.0), 0.1, 0.369));
        // The same of figures below 0, as those of rates are here.
        assert!(accepts(Some(-100.0), Some(-90.0), 0.1, 0.367) && !accepts(Some(-100.0), Some(-90.0), 0.1, 0.369));
        assert!(accepts(Some(100.0), Some(100.0), 0.1, 0.999) && accepts(Some(100.0), Some(99.0), 1e-9, 0.999));
        assert!(
            !accepts(Some(1.0), None, 1.0, 0.0)
                && accepts(None, Some(1.0), 1e-9, 0.999)
                && accepts(None, None, 0.1, 0.5)
        );
    }

    proptest! {
        #[test]
        fn no_point_is_evaluated_twice_and_all_of_a_small_grid_are(
            counts in prop::collection::vec(1usize..6, 1..4), evaluations in 1u32..80, seed: u64, fails in 0usize..4,
        ) {
            let figure = |point: &[usize]| {
                let sum: usize = point.iter().sum();
                (fails == 0 || !sum.is_multiple_of(fails + 1)).then_some(sum as f64)
            };
            let points = evaluated(&counts, evaluations, seed, figure);
            let all: usize = counts.iter().product();
            prop_assert!(points.len() <= (evaluations as usize).min(all));
            prop_assert_eq!(&points[0].0, &vec![0; counts.len()]);
            let mut distinct: Vec<&Vec<usize>> = points.iter().map(|(point, _)| point).collect();
            distinct.sort();
            distinct.dedup();
            prop_assert_eq!(distinct.len(), points.len());
            if all <= evaluations as usize {
                prop_assert_eq!(points.len(), all);
            }
            prop_assert_eq!(&points, &evaluated(&counts, evaluations, seed, figure));
        }
    }
}
