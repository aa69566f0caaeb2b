//! A generator of requests, as a person writes it.

use crate::units::SimTime;
use serde::{Deserialize, Serialize};

/// A generator of requests, as a person writes it. The number of requests is given by `count` or
/// `first` of the [`RequestsConfig`](crate::workload::RequestsConfig) that it is in, as for a log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Generated", deny_unknown_fields)]
pub struct GeneratedConfig {
    /// How many requests arrive in a second, on average.
    pub per_second: f64,
    /// How arrivals vary around that.
    #[serde(default)]
    pub arrivals: ArrivalsConfig,
    /// The tokens of each prompt, those of its prefix not counted.
    pub prompt: LengthConfig,
    /// The tokens of each output.
    pub output: LengthConfig,
    /// What prompts begin with; nothing in common where not given.
    #[serde(default)]
    pub prefixes: Option<PrefixesConfig>,
    /// The seed: the same one gives the same requests.
    #[serde(default)]
    pub seed: u64,
}

/// How arrivals vary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum ArrivalsConfig {
    /// The gaps between arrivals are independent and exponentially distributed: many users who do
    /// not know of each other.
    #[default]
    Poisson,
    /// The gaps have a gamma distribution.
    Gamma {
        /// Its coefficient of variation: the standard deviation over the mean. 1 is Poisson, less
        /// is more regular, more is burstier.
        cv: f64,
    },
    /// Bursts of arrivals with nothing between them. The lengths of both are exponentially
    /// distributed. Within a burst arrivals are Poisson, at a rate that makes `per_second` the
    /// average of all time.
    Bursts {
        /// The mean length of a burst.
        on: SimTime,
        /// The mean time from a burst to the next.
        off: SimTime,
    },
    /// All gaps are equal.
    Uniform,
}

/// How many tokens a prompt or an output has.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum LengthConfig {
    /// Always so many.
    Fixed(#[serde(deserialize_with = "crate::config::count_from_1")] u32),
    /// Each count of a range with the same probability.
    Uniform {
        /// The least.
        #[serde(deserialize_with = "crate::config::count_from_1")]
        from: u32,
        /// The most.
        #[serde(deserialize_with = "crate::config::count_from_1")]
        to: u32,
    },
    /// The logarithm has a normal distribution: most are short, a few are very long, as in logs of
    /// real services.
    LogNormal {
        /// Half of them are shorter. This or `mean` is given.
        #[serde(default, deserialize_with = "crate::config::optional_count_from_1")]
        median: Option<u32>,
        /// Their mean, where `most` leaves out none.
        #[serde(default, deserialize_with = "crate::config::optional_count_from_1")]
        mean: Option<u32>,
        /// The standard deviation of the natural logarithm.
        sigma: f64,
        /// Longer ones are drawn again; the mean is less then.
        #[serde(default, deserialize_with = "crate::config::optional_count_from_1")]
        most: Option<u32>,
    },
}

/// What prompts begin with: each with one of several prefixes of one length, such as the system
/// prompts of several applications. A few are popular (Zipf).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Prefixes", deny_unknown_fields)]
pub struct PrefixesConfig {
    /// How many there are.
    #[serde(deserialize_with = "crate::config::count_from_1")]
    pub count: u32,
    /// How many tokens each has. Prompts have these besides their own.
    #[serde(deserialize_with = "crate::config::count_from_1")]
    pub tokens: u32,
    /// The popularity of the one of rank r is proportional to r to the power of minus this: 0 for
    /// equal ones.
    #[serde(default = "exponent")]
    pub exponent: f64,
}

fn exponent() -> f64 {
    1.0
}
