//! Which prefix a generated prompt begins with.

use super::config::PrefixesConfig;
use super::random::Random;
use super::{Wrong, check};
use crate::workload::MAX_TOKENS;
use crate::workload::math::{exp_minus, ln};

/// The most prefixes: their table takes 8 MiB.
const MAX_PREFIXES: u32 = 1 << 20;
/// The steepest popularity.
const MAX_EXPONENT: f64 = 8.0;

/// Ranks of prefixes without end, from 0, by Zipf's law.
pub(super) struct Prefixes {
    /// The popularity of each rank and all before it, not normalized.
    cumulative: Vec<f64>,
    random: Random,
}

impl Prefixes {
    pub fn new(config: &PrefixesConfig, random: Random) -> Result<Self, Wrong> {
        let wrong = |field: &str, value: u32, most: u64| {
            Err((format!("prefixes.{field}"), format!("'{value}' is outside of what it may be: write 1 to {most}")))
        };
        if config.count == 0 || config.count > MAX_PREFIXES {
            return wrong("count", config.count, MAX_PREFIXES.into());
        }
        if config.tokens == 0 || u64::from(config.tokens) > MAX_TOKENS {
            return wrong("tokens", config.tokens, MAX_TOKENS);
        }
        check("prefixes.exponent", config.exponent, 0.0, MAX_EXPONENT)?;
        let cumulative = (1..=config.count).scan(0.0, |sum, rank| {
            *sum += exp_minus(config.exponent * ln(f64::from(rank)));
            Some(*sum)
        });
        Ok(Self { cumulative: cumulative.collect(), random })
    }

    /// The next one. O(log prefixes).
    pub fn next(&mut self) -> u32 {
        let last = self.cumulative.len() - 1;
        let at = self.random.uniform() * self.cumulative[last];
        self.cumulative.partition_point(|end| *end < at).min(last) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn popularity_is_that_of_zipf() {
        for exponent in [0.0, 1.0, 2.0] {
            let config = PrefixesConfig { count: 5, tokens: 64, exponent };
            let mut prefixes = Prefixes::new(&config, Random::streams(9).next().unwrap()).unwrap();
            let mut counts = [0; 5];
            for _ in 0..100_000 {
                counts[prefixes.next() as usize] += 1;
            }
            let weights = [1.0f64, 2.0, 3.0, 4.0, 5.0].map(|rank| rank.powf(-exponent));
            let sum: f64 = weights.iter().sum();
            for (count, weight) in counts.iter().zip(weights) {
                let share = f64::from(*count) / 1e5;
                assert!((share - weight / sum).abs() < 0.008, "{exponent}: {counts:?}");
            }
        }
    }

    #[test]
    fn parameters_have_limits() {
        for (count, tokens, exponent, field) in [
            (0, 1, 1.0, "prefixes.count"),
            ((1 << 20) + 1, 1, 1.0, "prefixes.count"),
            (1, 0, 1.0, "prefixes.tokens"),
            (1, 1, -0.1, "prefixes.exponent"),
            (1, 1, f64::NAN, "prefixes.exponent"),
        ] {
            let config = PrefixesConfig { count, tokens, exponent };
            let found = Prefixes::new(&config, Random::streams(9).next().unwrap());
            assert_eq!(found.err().map(|(field, _)| field).as_deref(), Some(field));
        }
    }
}
