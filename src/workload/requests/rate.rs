//! How fast requests arrive, compared with their source.

use super::gathered::{LATEST, Request};
use crate::units::{SimTime, deserialize_from_text, serialize_as_text};
use std::fmt;
use std::str::FromStr;

/// How fast requests arrive, compared with their source: `"x2"`, or `"4/s"` on average.
///
/// ```
/// use tiersim::workload::RateConfig;
/// assert_eq!("x2".parse(), Ok(RateConfig::Times(2.0)));
/// assert_eq!("0.5/s".parse(), Ok(RateConfig::PerSecond(0.5)));
/// assert_eq!(RateConfig::PerSecond(4.0).to_string(), "4/s");
/// assert!("twice".parse::<RateConfig>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum RateConfig {
    /// As the source has it.
    #[default]
    Recorded,
    /// So many times as fast: all times between arrivals are divided by it.
    Times(f64),
    /// So many requests a second on average, from the first arrival to the last.
    PerSecond(f64),
}

/// The least and the greatest factor or rate.
const LIMITS: (f64, f64) = (1e-6, 1e6);

impl RateConfig {
    /// Whether it is as the source has it.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        *self == Self::Recorded
    }

    /// # Errors
    /// What is wrong, in words.
    pub(super) fn check(self) -> Result<(), String> {
        match self {
            Self::Times(rate) | Self::PerSecond(rate) if !(LIMITS.0..=LIMITS.1).contains(&rate) => Err(format!(
                "'{self}' is outside of what it may be: write x{} to x{}, or as much /s",
                LIMITS.0, LIMITS.1
            )),
            _ => Ok(()),
        }
    }

    /// Changes the arrivals of `requests`, of which the first is at 0. One request alone has no
    /// rate: it stays.
    ///
    /// # Errors
    /// What is wrong, in words: all arrive at once, so that no factor gives them a rate; or they
    /// would arrive too late.
    pub(super) fn apply(self, requests: &mut [Request]) -> Result<(), String> {
        let (Some(last), gaps) = (requests.last().map(|last| last.arrival), requests.len().saturating_sub(1)) else {
            return Ok(());
        };
        let factor = match self {
            Self::Recorded => return Ok(()),
            _ if gaps == 0 => return Ok(()),
            Self::Times(times) => 1.0 / times,
            Self::PerSecond(_) if last == SimTime::ZERO => {
                return Err(format!("'{self}': all requests arrive at once, which no rate changes: leave it out"));
            }
            Self::PerSecond(rate) => gaps as f64 / rate / (last.as_ps() as f64 / SimTime::PS_PER_SECOND as f64),
        };
        let changed = |at: SimTime| (at.as_ps() as f64 * factor).round();
        if changed(last) > LATEST.as_ps() as f64 {
            let days = LATEST.as_ps() / (86_400 * SimTime::PS_PER_SECOND);
            return Err(format!(
                "'{self}': the last request would arrive after {days} days: write more, or take fewer requests"
            ));
        }
        for request in requests {
            request.arrival = SimTime::from_ps(changed(request.arrival) as u64);
        }
        Ok(())
    }
}

impl fmt::Display for RateConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recorded => f.write_str(RECORDED),
            Self::Times(times) => write!(f, "x{times}"),
            Self::PerSecond(rate) => write!(f, "{rate}/s"),
        }
    }
}

/// As the source has it.
const RECORDED: &str = "recorded";

impl FromStr for RateConfig {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let wrong = || format!("'{text}' is no rate: write x2 for twice as fast, or 4/s for four requests a second");
        let number = |digits: &str| {
            let digits = digits.trim();
            // Rust reads inf and nan as numbers too.
            let is_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
            is_number.then(|| digits.parse::<f64>().ok()).flatten().ok_or_else(wrong)
        };
        let rate = if trimmed == RECORDED {
            Self::Recorded
        } else if let Some(times) = trimmed.strip_prefix('x') {
            Self::Times(number(times)?)
        } else {
            Self::PerSecond(number(trimmed.strip_suffix("/s").ok_or_else(wrong)?)?)
        };
        rate.check().map(|()| rate)
    }
}

serialize_as_text!(RateConfig);
deserialize_from_text!(RateConfig, "a rate such as \"x2\" or \"4/s\"");

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(rate: &str, seconds: &[u64]) -> Result<Vec<u64>, String> {
        let at = |second: &u64| SimTime::from_ps(second * SimTime::PS_PER_SECOND);
        let request = |second: &u64| Request { arrival: at(second), prompt: 1, output: 1, blocks: 0..0 };
        let mut requests: Vec<Request> = seconds.iter().map(request).collect();
        rate.parse::<RateConfig>()?.apply(&mut requests)?;
        Ok(requests.iter().map(|request| request.arrival.as_ps() / 1_000_000_000).collect())
    }

    #[test]
    fn arrivals_are_scaled() {
        assert_eq!(arrivals("x2", &[0, 1, 5]).unwrap(), [0, 500, 2500]);
        assert_eq!(arrivals("x0.5", &[0, 1, 5]).unwrap(), [0, 2000, 10_000]);
        // Two gaps in 5 s are 0.4/s.
        assert_eq!(arrivals("4/s", &[0, 1, 5]).unwrap(), [0, 100, 500]);
        assert_eq!(arrivals("recorded", &[0, 1, 5]).unwrap(), [0, 1000, 5000]);
        assert_eq!(arrivals("4/s", &[0]).unwrap(), [0]);
        assert_eq!(arrivals("4/s", &[]).unwrap(), [0u64; 0]);
    }

    #[test]
    fn wrong_rates_say_what_to_write() {
        for text in ["", "2", "x", "/s", "x-1", "xinf", "NaN/s", "fast", "2x", "4/h"] {
            assert!(text.parse::<RateConfig>().unwrap_err().contains("write x2"), "{text}");
        }
        for text in ["x0", "x1e9", "0/s"] {
            assert!(text.parse::<RateConfig>().unwrap_err().contains("outside"), "{text}");
        }
        assert!(arrivals("4/s", &[0, 0]).unwrap_err().contains("at once"));
        assert!(arrivals("x0.000001", &[0, 100]).unwrap_err().contains("100 days"));
    }

    #[test]
    fn rates_are_read_as_they_are_printed() {
        for text in ["x2", "x0.25", "4/s", "0.1/s", "recorded"] {
            assert_eq!(text.parse::<RateConfig>().unwrap().to_string(), text);
        }
    }
}
