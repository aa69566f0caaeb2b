//! How many tokens generated prompts and outputs have.

use super::config::LengthConfig;
use super::random::Random;
use super::{Wrong, check};
use crate::workload::MAX_TOKENS;
use crate::workload::math::{exp_minus, ln};

/// The greatest standard deviation of a logarithm: a tenth are 100 times as long as the median.
const MAX_SIGMA: f64 = 4.0;

/// The longest prompt or output that a log-normal distribution has by default: longer
/// ones are drawn again.
const MOST: u32 = 1 << 20;

/// Counts of tokens without end.
pub(super) struct Lengths {
    distribution: Distribution,
    most: u32,
    random: Random,
}

enum Distribution {
    /// From the first to the last.
    Uniform(u32, u32),
    /// e to the power of a normal number with that mean and standard deviation.
    LogNormal(f64, f64),
}

impl Lengths {
    /// The lengths of the field `field`.
    pub fn new(field: &str, config: &LengthConfig, random: Random) -> Result<Self, Wrong> {
        let wrong = |part: &str, message: String| (format!("{field}{part}"), message);
        let within = |part: &str, tokens: u32| {
            if u64::from(tokens) > MAX_TOKENS || tokens == 0 {
                return Err(wrong(
                    part,
                    format!("'{tokens}' is outside of what it may be: write 1 to {MAX_TOKENS} tokens"),
                ));
            }
            Ok(())
        };
        let (distribution, most) = match *config {
            LengthConfig::Fixed(tokens) => {
                within("", tokens)?;
                (Distribution::Uniform(tokens, tokens), tokens)
            }
            LengthConfig::Uniform { from, to } => {
                within(".from", from)?;
                within(".to", to)?;
                if from > to {
                    return Err(wrong(".to", format!("'{to}' is less than `from`, {from}: exchange them")));
                }
                (Distribution::Uniform(from, to), to)
            }
            LengthConfig::LogNormal { median, mean, sigma, most } => {
                check(&format!("{field}.sigma"), sigma, 0.0, MAX_SIGMA)?;
                let (part, tokens, mu) = match (median, mean) {
                    (Some(median), None) => (".median", median, ln(f64::from(median.max(1)))),
                    (None, Some(mean)) => (".mean", mean, ln(f64::from(mean.max(1))) - 0.5 * sigma * sigma),
                    (Some(_), Some(_)) => {
                        return Err(wrong(".mean", "`median` is given as well: leave out one".to_owned()));
                    }
                    (None, None) => {
                        return Err(wrong(
                            "",
                            "LogNormal lacks `median` or `mean`: write one, such as median: 1000".to_owned(),
                        ));
                    }
                };
                within(part, tokens)?;
                let most = most.unwrap_or_else(|| MOST.max(tokens));
                within(".most", most)?;
                // At least half of all draws are kept: the median is at most the mean.
                if most < tokens {
                    return Err(wrong(
                        ".most",
                        format!("'{most}' is less than {tokens}, the `{}`: write more", &part[1..]),
                    ));
                }
                (Distribution::LogNormal(mu, sigma), most)
            }
        };
        Ok(Self { distribution, most, random })
    }

    /// The most that may come.
    pub fn most(&self) -> u32 {
        self.most
    }

    /// The next one. O(1) on average.
    pub fn next(&mut self) -> u32 {
        match self.distribution {
            Distribution::Uniform(from, to) => from + self.random.below(u64::from(to - from) + 1) as u32,
            Distribution::LogNormal(mu, sigma) => loop {
                // To the nearest token; what is shorter than half a token is one.
                let tokens = exp(mu + sigma * self.random.normal()).round().max(1.0);
                if tokens <= f64::from(self.most) {
                    return tokens as u32;
                }
            },
        }
    }
}

fn exp(x: f64) -> f64 {
    if x < 0.0 { exp_minus(-x) } else { 1.0 / exp_minus(x) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(config: LengthConfig) -> Vec<f64> {
        let mut lengths = Lengths::new("prompt", &config, Random::streams(5).next().unwrap()).unwrap();
        let mut all: Vec<f64> = (0..100_000).map(|_| f64::from(lengths.next())).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    fn mean(all: &[f64]) -> f64 {
        all.iter().sum::<f64>() / all.len() as f64
    }

    const LOG_NORMAL: LengthConfig = LengthConfig::LogNormal { median: Some(1000), mean: None, sigma: 0.8, most: None };

    #[test]
    fn lengths_are_those_of_theory() {
        assert!(drawn(LengthConfig::Fixed(200)).iter().all(|length| *length == 200.0));
        let uniform = drawn(LengthConfig::Uniform { from: 10, to: 20 });
        assert_eq!((uniform[0], uniform[uniform.len() - 1]), (10.0, 20.0));
        assert!((mean(&uniform) - 15.0).abs() < 0.05);
        let all = drawn(LOG_NORMAL);
        // The mean of a log-normal distribution is its median times e^(sigma^2 / 2).
        let expected = 1000.0 * (0.32f64).exp();
        assert!((mean(&all) / expected - 1.0).abs() < 0.015, "{}", mean(&all));
        assert!((all[50_000] / 1000.0 - 1.0).abs() < 0.015, "{}", all[50_000]);
        // One standard deviation above the median.
        let above = all.iter().filter(|length| **length > 1000.0 * 0.8f64.exp()).count() as f64 / 1e5;
        assert!((above - 0.1587).abs() < 0.006, "{above}");
        let of_mean = drawn(LengthConfig::LogNormal { median: None, mean: Some(1000), sigma: 0.8, most: None });
        assert!((mean(&of_mean) / 1000.0 - 1.0).abs() < 0.015, "{}", mean(&of_mean));
    }

    #[test]
    fn longer_ones_are_drawn_again() {
        let LengthConfig::LogNormal { median, mean: none, sigma, .. } = LOG_NORMAL else { unreachable!() };
        let all = drawn(LengthConfig::LogNormal { median, mean: none, sigma, most: Some(1000) });
        assert_eq!(all[all.len() - 1], 1000.0);
        // The upper half is cut off: the median is now what the first quartile was, e^(-0.6745
        // sigma).
        assert!((all[50_000] / (1000.0 * (-0.6745 * 0.8f64).exp()) - 1.0).abs() < 0.015, "{}", all[50_000]);
        let longest = all.iter().filter(|length| **length == 1000.0).count();
        assert!(longest < 200, "{longest} are not drawn again but cut");
    }

    #[test]
    fn short_ones_have_a_token() {
        let all = drawn(LengthConfig::LogNormal { median: Some(1), mean: None, sigma: 4.0, most: None });
        assert_eq!(all[0], 1.0);
        assert!(all[all.len() - 1] <= f64::from(MOST));
    }

    #[test]
    fn parameters_have_limits() {
        let log_normal = |median, mean, sigma, most| LengthConfig::LogNormal { median, mean, sigma, most };
        for (config, field) in [
            (LengthConfig::Fixed(0), "output"),
            (LengthConfig::Fixed((1 << 24) + 1), "output"),
            (LengthConfig::Uniform { from: 0, to: 1 }, "output.from"),
            (LengthConfig::Uniform { from: 3, to: 2 }, "output.to"),
            (log_normal(None, None, 1.0, None), "output"),
            (log_normal(Some(1), Some(1), 1.0, None), "output.mean"),
            (log_normal(Some(0), None, 1.0, None), "output.median"),
            (log_normal(Some(1), None, -1.0, None), "output.sigma"),
            (log_normal(Some(1), None, f64::NAN, None), "output.sigma"),
            (log_normal(Some(1), None, 4.1, None), "output.sigma"),
            (log_normal(None, Some(100), 1.0, Some(99)), "output.most"),
        ] {
            let found = Lengths::new("output", &config, Random::streams(5).next().unwrap());
            assert_eq!(found.err().map(|(field, _)| field).as_deref(), Some(field), "{config:?}");
        }
    }
}
