//! When generated requests arrive.

use super::config::ArrivalsConfig;
use super::random::Random;
use super::{Wrong, check};
use crate::units::SimTime;

/// The least and the greatest coefficient of variation of a gamma distribution.
const VARIATIONS: (f64, f64) = (0.01, 100.0);

/// The longest mean of a burst or of the time between two: a day.
const LONGEST: SimTime = SimTime::from_ps(86_400 * SimTime::PS_PER_SECOND);

/// Arrivals without end, the first at 0.
pub(super) struct Arrivals {
    process: Process,
    random: Random,
    /// Of the next arrival, in picoseconds. Exact to the picosecond for the first 2.5 hours, to
    /// 2 ns after 100 days.
    at: f64,
}

/// All times are in picoseconds.
enum Process {
    /// Equal gaps.
    Uniform { gap: f64 },
    /// Gamma-distributed gaps.
    Gamma { shape: f64, scale: f64 },
    /// Poisson within bursts: the gaps there, the mean lengths of bursts and of the times between
    /// them, and how long the present burst will last yet.
    Bursts { gap: f64, on: f64, off: f64, left: f64 },
}

/// The most bursts from one request to the next on average: each takes time to draw.
const MOST_BURSTS: f64 = 10_000.0;

impl Arrivals {
    /// So many arrivals a second on average.
    pub fn new(config: ArrivalsConfig, per_second: f64, mut random: Random) -> Result<Self, Wrong> {
        let gap = SimTime::PS_PER_SECOND as f64 / per_second;
        let process = match config {
            ArrivalsConfig::Uniform => Process::Uniform { gap },
            ArrivalsConfig::Poisson => Process::Bursts { gap, on: f64::INFINITY, off: 0.0, left: f64::INFINITY },
            ArrivalsConfig::Gamma { cv } => {
                check("arrivals.cv", cv, VARIATIONS.0, VARIATIONS.1)?;
                let shape = 1.0 / (cv * cv);
                Process::Gamma { shape, scale: gap / shape }
            }
            ArrivalsConfig::Bursts { on, off } => {
                for (field, length) in [("arrivals.on", on), ("arrivals.off", off)] {
                    if length == SimTime::ZERO || length > LONGEST {
                        let message =
                            format!("'{length}' is outside of what it may be: write more than 0, up to a day");
                        return Err((field.to_owned(), message));
                    }
                }
                let (on, off) = (on.as_ps() as f64, off.as_ps() as f64);
                if gap > MOST_BURSTS * (on + off) {
                    let message =
                        "more than 10,000 bursts from one request to the next: write longer bursts, or Poisson";
                    return Err(("arrivals.on".to_owned(), message.to_owned()));
                }
                Process::Bursts { gap: gap * (on / (on + off)), on, off, left: on * random.exponential() }
            }
        };
        Ok(Self { process, random, at: 0.0 })
    }

    /// The next arrival.
    pub fn next(&mut self) -> SimTime {
        let arrival = SimTime::from_ps(self.at as u64);
        self.at += self.gap();
        arrival
    }

    fn gap(&mut self) -> f64 {
        let random = &mut self.random;
        match &mut self.process {
            Process::Uniform { gap } => *gap,
            Process::Gamma { shape, scale } => *scale * random.gamma(*shape),
            Process::Bursts { gap, on, off, left } => {
                // In time within bursts the process is Poisson; the times between them are added.
                let mut within = *gap * random.exponential();
                let mut total = 0.0;
                while within > *left {
                    total += *left + *off * random.exponential();
                    within -= *left;
                    *left = *on * random.exponential();
                }
                *left -= within;
                total + within
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean of the gaps in seconds, and their coefficient of variation.
    fn gaps(config: ArrivalsConfig, per_second: f64) -> (f64, f64) {
        let random = Random::streams(3).next().unwrap();
        let mut arrivals = Arrivals::new(config, per_second, random).unwrap();
        let times: Vec<f64> = (0..200_001).map(|_| arrivals.next().as_ps() as f64 / 1e12).collect();
        assert_eq!(times[0], 0.0);
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean) * (gap - mean)).sum::<f64>() / gaps.len() as f64;
        (mean, variance.sqrt() / mean)
    }

    #[test]
    fn means_and_variations_are_those_of_theory() {
        let seconds = |text: &str| text.parse::<SimTime>().unwrap();
        let bursts = ArrivalsConfig::Bursts { on: seconds("0.5 s"), off: seconds("1.5 s") };
        // Kuczura ("The interrupted Poisson process as an overflow process", 1973): the squared
        // coefficient of variation is 1 + 2 lambda w / (w + g)^2, with the rate lambda within
        // bursts and the rates w and g at which bursts and the times between them end.
        let (lambda, w, g): (f64, f64, f64) = (4.0 * 4.0, 1.0 / 0.5, 1.0 / 1.5);
        let of_bursts = (1.0 + 2.0 * lambda * w / ((w + g) * (w + g))).sqrt();
        for (config, cv, tolerance) in [
            (ArrivalsConfig::Uniform, 0.0, 1e-9),
            (ArrivalsConfig::Poisson, 1.0, 0.01),
            (ArrivalsConfig::Gamma { cv: 0.5 }, 0.5, 0.01),
            (ArrivalsConfig::Gamma { cv: 1.0 }, 1.0, 0.01),
            (ArrivalsConfig::Gamma { cv: 3.0 }, 3.0, 0.06),
            (bursts, of_bursts, 0.05),
        ] {
            let (mean, variation) = gaps(config, 4.0);
            assert!(
                (mean / 0.25 - 1.0).abs() < 5.0 * cv.max(1e-9) / 200_000f64.sqrt() * 2.0,
                "{config:?}: mean {mean}"
            );
            assert!((variation - cv).abs() <= tolerance, "{config:?}: cv {variation}, not {cv}");
        }
    }

    #[test]
    fn parameters_have_limits() {
        let wrong = |config: ArrivalsConfig| {
            let random = Random::streams(0).next().unwrap();
            Arrivals::new(config, 1.0, random).err().map(|(field, _)| field)
        };
        let second = SimTime::from_ps(SimTime::PS_PER_SECOND);
        for cv in [0.0, -1.0, 101.0, f64::NAN, f64::INFINITY] {
            assert_eq!(wrong(ArrivalsConfig::Gamma { cv }).as_deref(), Some("arrivals.cv"), "{cv}");
        }
        for (on, off, field) in [
            (SimTime::ZERO, second, "arrivals.on"),
            (second, SimTime::ZERO, "arrivals.off"),
            (second, second.times(86_401), "arrivals.off"),
            (SimTime::from_ps(1), SimTime::from_ps(1), "arrivals.on"),
        ] {
            assert_eq!(wrong(ArrivalsConfig::Bursts { on, off }).as_deref(), Some(field));
        }
        assert_eq!(wrong(ArrivalsConfig::Bursts { on: second, off: second }), None);
    }
}
