//! Random numbers of several distributions, the same on every machine.

use crate::workload::math::{exp_minus, ln};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// A stream of random numbers.
pub(super) struct Random(Xoshiro256PlusPlus);

impl Random {
    /// Streams that do not overlap: each begins 2^128 numbers after the one before.
    pub fn streams(seed: u64) -> impl Iterator<Item = Self> {
        let mut next = Xoshiro256PlusPlus::seed_from_u64(seed);
        std::iter::repeat_with(move || {
            let stream = next.clone();
            next.jump();
            Self(stream)
        })
    }

    /// Uniform in (0, 1], of 53 random bits: it has a logarithm.
    pub fn uniform(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// A whole number below `count`, by Lemire's multiplication: off by less than `count` / 2^64.
    pub fn below(&mut self, count: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(count)) >> 64) as u64
    }

    /// Exponentially distributed with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -ln(self.uniform())
    }

    /// Normally distributed with mean 0 and standard deviation 1, by Marsaglia's polar method
    /// (1964). O(1) on average.
    pub fn normal(&mut self) -> f64 {
        loop {
            let (x, y) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let square = x * x + y * y;
            if square < 1.0 && square > 0.0 {
                return x * (-2.0 * ln(square) / square).sqrt();
            }
        }
    }

    /// Gamma-distributed of that shape, with mean `shape`, by the method of Marsaglia and Tsang ("A
    /// simple method for generating gamma variables", 2000). O(1) on average.
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            // One of a shape larger by 1, times a power of a uniform number.
            let larger = self.gamma(shape + 1.0);
            return larger * exp_minus(-ln(self.uniform()) / shape);
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let cube = (1.0 + c * x) * (1.0 + c * x) * (1.0 + c * x);
            if cube > 0.0 && ln(self.uniform()) < 0.5 * x * x + d - d * cube + d * ln(cube) {
                return d * cube;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean and the variance of a hundred thousand draws.
    fn moments(mut draw: impl FnMut() -> f64) -> (f64, f64) {
        const COUNT: u32 = 100_000;
        let draws: Vec<f64> = (0..COUNT).map(|_| draw()).collect();
        let mean = draws.iter().sum::<f64>() / f64::from(COUNT);
        let variance = draws.iter().map(|draw| (draw - mean) * (draw - mean)).sum::<f64>() / f64::from(COUNT);
        (mean, variance)
    }

    fn near((mean, variance): (f64, f64), expected: (f64, f64), tolerance: f64) {
        let scale = expected.1.sqrt();
        assert!((mean - expected.0).abs() < tolerance * scale, "mean {mean}, not {}", expected.0);
        assert!((variance / expected.1 - 1.0).abs() < 4.0 * tolerance, "variance {variance}, not {}", expected.1);
    }

    /// The standard error of the mean is 0.3 % of the standard deviation; that of the variance 0.5
    /// to 1 %.
    #[test]
    fn moments_are_those_of_theory() {
        let mut random = Random::streams(1).next().unwrap();
        near(moments(|| random.uniform()), (0.5, 1.0 / 12.0), 0.01);
        near(moments(|| random.exponential()), (1.0, 1.0), 0.01);
        near(moments(|| random.normal()), (0.0, 1.0), 0.01);
        near(moments(|| random.below(7) as f64), (3.0, 4.0), 0.01);
        for shape in [0.25, 0.9, 1.0, 3.0, 400.0] {
            near(moments(|| random.gamma(shape)), (shape, shape), 0.01);
        }
    }

    /// The share of draws beyond each limit.
    #[test]
    fn tails_are_those_of_theory() {
        let mut random = Random::streams(2).next().unwrap();
        let mut beyond = |limit: f64, draw: fn(&mut Random) -> f64| {
            (0..100_000).filter(|_| draw(&mut random) > limit).count() as f64 / 1e5
        };
        for (share, expected) in [
            (beyond(1.0, Random::exponential), 0.3679),
            (beyond(3.0, Random::exponential), 0.0498),
            (beyond(1.0, Random::normal), 0.1587),
            (beyond(-2.0, Random::normal), 0.9772),
            // A gamma distribution of shape 1 is exponential; one of shape 2 has (1 + x) e^-x
            // beyond x; one of shape 1/2 is half the square of a normal number.
            (beyond(1.0, |random| random.gamma(1.0)), 0.3679),
            (beyond(2.0, |random| random.gamma(2.0)), 0.4060),
            (beyond(0.5, |random| random.gamma(0.5)), 0.3173),
        ] {
            // Five standard errors.
            let tolerance = 5.0 * (expected * (1.0 - expected) / 1e5f64).sqrt();
            assert!((share - expected).abs() < tolerance, "{share}, not {expected}");
        }
    }

    #[test]
    fn streams_differ_and_repeat() {
        let first =
            |seed: u64| Random::streams(seed).take(3).map(|mut random| random.below(1 << 60)).collect::<Vec<_>>();
        assert_eq!(first(7), first(7));
        let mut all: Vec<u64> = [first(7), first(8)].concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 6);
    }
}
