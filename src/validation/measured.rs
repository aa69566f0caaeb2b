//! Measured figures: what was measured, how much, and in which unit.
//!
//! A figure keeps the unit that its source has, so that reports show the number of the source.
//! [`Measured::of_step`] brings a simulated step into the same unit.

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
    /// The time from a request to its first token: prefill.
    Ttft,
    /// The time of one kernel: the step of a model with a single stage.
    Kernel,
}

impl Metric {
    /// All of them, by the names in files.
    pub const ALL: [(&str, Self); 5] = [
        ("tpot", Self::Tpot),
        ("tokens_per_s", Self::TokensPerS),
        ("step", Self::Step),
        ("ttft", Self::Ttft),
        ("kernel", Self::Kernel),
    ];

    /// The units that its figures may have, by their names in files. A time has its length in
    /// seconds; a rate is per second.
    #[must_use]
    pub fn units(self) -> &'static [(&'static str, f64)] {
        match self {
            Self::TokensPerS => RATES,
            Self::Tpot | Self::Step | Self::Ttft | Self::Kernel => TIMES,
        }
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

    /// What a mean step of `seconds`, in which each of `batch` sequences produces a token, comes to
    /// in the metric and the unit of this figure.
    #[must_use]
    pub fn of_step(&self, seconds: f64, batch: u32) -> f64 {
        match self.metric {
            Metric::TokensPerS => f64::from(batch) / seconds / self.scale,
            _ => seconds / self.scale,
        }
    }

    /// The seconds of a step that it stands for, at that batch size.
    #[must_use]
    pub fn step_seconds(&self, batch: u32) -> f64 {
        match self.metric {
            Metric::TokensPerS => f64::from(batch) / (self.value * self.scale),
            _ => self.value * self.scale,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_shown_in_the_unit_of_the_figure() {
        let step = Measured::new(Metric::Step, 9.5, "ms").unwrap();
        assert_eq!((step.of_step(0.01, 1), step.step_seconds(1)), (10.0, 0.0095));
        // 4 sequences, 25 steps per second.
        let rate = Measured::new(Metric::TokensPerS, 80.0, "tokens/s").unwrap();
        assert_eq!((rate.of_step(0.04, 4), rate.step_seconds(4)), (100.0, 0.05));
        assert_eq!(Measured::new(Metric::TokensPerS, 80.0, "ms"), None);
        assert_eq!(Measured::new(Metric::Kernel, 80.0, "tokens/s"), None);
    }
}
