//! Measured figures: what was measured, how much, and in which unit.
//!
//! A figure keeps the unit that its source has, so that reports show the number of the source.
//! Times and rates are compared, fitted and drawn as seconds: [`Measured::of_seconds`] and
//! [`Measured::seconds`] translate between the two. A rate counts tokens in a time: one of each
//! sequence in the time of a step, or all tokens of the prompts in the time of their prefill.

use std::fmt;
use std::str::FromStr;

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// The mean time between two tokens of a sequence.
    Tpot,
    /// Tokens of all sequences together, per second.
    TokensPerS,
    /// The mean time of a decode step.
    Step,
    /// The time from a request to its first token, on average over the sequences: prefill.
    Ttft,
    /// Tokens of prompts, of all sequences together, computed per second of prefill.
    PrefillTokensPerS,
    /// The time of one kernel: the step of a model with a single stage.
    Kernel,
    /// The mean time from the arrival of a request to its last token.
    E2e,
}

impl Metric {
    /// All of them, by the names in files.
    pub const ALL: [(&str, Self); 7] = [
        ("tpot", Self::Tpot),
        ("tokens_per_s", Self::TokensPerS),
        ("step", Self::Step),
        ("ttft", Self::Ttft),
        ("prefill_tokens_per_s", Self::PrefillTokensPerS),
        ("kernel", Self::Kernel),
        ("e2e", Self::E2e),
    ];

    /// The units that its figures may have, by their names in files. A time has its length in
    /// seconds; a rate is per second.
    #[must_use]
    pub fn units(self) -> &'static [(&'static str, f64)] {
        match self {
            Self::TokensPerS | Self::PrefillTokensPerS => RATES,
            Self::Tpot | Self::Step | Self::Ttft | Self::Kernel | Self::E2e => TIMES,
        }
    }

    /// Whether prompts take time in its runs.
    #[must_use]
    pub fn is_of_prefill(self) -> bool {
        matches!(self, Self::Ttft | Self::PrefillTokensPerS)
    }

    /// Whether it is about steps that decode, as a whole.
    #[must_use]
    pub fn is_of_decoding(self) -> bool {
        matches!(self, Self::Step | Self::Tpot | Self::TokensPerS)
    }

    /// Whether it is measured where requests arrive over time: a mean over requests.
    #[must_use]
    pub fn is_of_requests(self) -> bool {
        matches!(self, Self::Ttft | Self::Tpot | Self::E2e)
    }

    /// Whether it is a rate.
    fn is_rate(self) -> bool {
        matches!(self, Self::TokensPerS | Self::PrefillTokensPerS)
    }
}

const TIMES: &[(&str, f64)] = &[("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)];
const RATES: &[(&str, f64)] = &[("tokens/s", 1.0)];

impl FromStr for Metric {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, metric)| *metric).ok_or(())
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, metric)| metric == self).map_or("", |(name, _)| name);
        f.pad(name)
    }
}

/// A measured figure: more than 0, in a unit of its metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// What was measured.
    pub metric: Metric,
    /// How much, in the unit.
    pub value: f64,
    /// The unit's name in files.
    pub unit: &'static str,
    /// The unit in seconds, or in tokens per second.
    scale: f64,
}

impl Measured {
    /// `value` of `unit`; `None` where that is no unit of `metric`.
    #[must_use]
    pub fn new(metric: Metric, value: f64, unit: &str) -> Option<Self> {
        let (unit, scale) = *metric.units().iter().find(|(known, _)| *known == unit)?;
        Some(Self { metric, value, unit, scale })
    }

    /// `seconds`, in which `tokens` are computed, in the metric and the unit of this figure.
    #[must_use]
    pub fn of_seconds(&self, seconds: f64, tokens: f64) -> f64 {
        if self.metric.is_rate() { tokens / seconds / self.scale } else { seconds / self.scale }
    }

    /// The seconds that it stands for, where `tokens` are computed in them.
    #[must_use]
    pub fn seconds(&self, tokens: f64) -> f64 {
        if self.metric.is_rate() { tokens / (self.value * self.scale) } else { self.value * self.scale }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_the_unit_of_the_figure() {
        let step = Measured::new(Metric::Step, 9.5, "ms").unwrap();
        assert_eq!((step.of_seconds(0.01, 1.0), step.seconds(1.0)), (10.0, 0.0095));
        // 4 sequences, 25 steps per second.
        let rate = Measured::new(Metric::TokensPerS, 80.0, "tokens/s").unwrap();
        assert_eq!((rate.of_seconds(0.04, 4.0), rate.seconds(4.0)), (100.0, 0.05));
        // A prompt of 1000 tokens in half a second.
        let prefill = Measured::new(Metric::PrefillTokensPerS, 2000.0, "tokens/s").unwrap();
        assert_eq!((prefill.of_seconds(0.25, 1000.0), prefill.seconds(1000.0)), (4000.0, 0.5));
        assert_eq!(Measured::new(Metric::TokensPerS, 80.0, "ms"), None);
        assert_eq!(Measured::new(Metric::Kernel, 80.0, "tokens/s"), None);
    }
}
