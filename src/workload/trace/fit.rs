//! Fits the parameters of a [`Lifelike`] generator to a recorded trace.
//!
//! A generator is tried, the statistics of its sets are measured as those of the trace were, and
//! each parameter is moved by how far the statistic is off that it governs most. The same tries are
//! made on every machine, and the best is kept.

use super::{LAGS, Lifelike, LifelikeConfig, Recorded, StepStatistics, TraceError, TraceHeader, TraceStatistics};
use crate::units::Ratio;

/// How many sets of parameters are tried.
const ROUNDS: usize = 40;
/// How many layers are generated in a try: they are alike, so a few tell as much as all.
const LAYERS: usize = 8;
/// About so many tokens of so many layers and steps are looked at in a try.
const BUDGET: usize = 9_000_000;

/// The generator whose skip sets are most like those of a recorded trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// Its parameters.
    pub config: LifelikeConfig,
    /// From so many steps of the trace, from its first on.
    pub steps: usize,
}

impl Fit {
    /// Reads the start of a trace and fits a generator to its sets by trying: each parameter is
    /// moved by how far the statistic that it governs is off, and the best of all tries is kept.
    /// The same trace gives the same generator on every machine.
    ///
    /// # Errors
    /// [`TraceError`] where the trace cannot be read, or is too short to have statistics.
    pub fn of(name: &str, source: &mut dyn Recorded) -> Result<Self, TraceError> {
        let header = &source.header().clone();
        let layers = header.layers.min(LAYERS);
        let a_step = layers * (header.prefill + header.steps / 2).max(1);
        // Enough for pairs of steps at the longest lag, however large a step is.
        let steps = header.steps.min((BUDGET / a_step).max(3 * LAGS[LAGS.len() - 1]));
        let target = TraceStatistics::measure(source, header.layers, header.prefill, steps)?;
        if target.mean.jaccard[1].is_none() {
            return Err(TraceError::TooShortToFit { path: name.to_owned(), steps: header.steps, least: LAGS[1] + 1 });
        }
        let mut values = Values::start(&target, header, steps);
        let mut best: Option<(f64, LifelikeConfig)> = None;
        for _ in 0..ROUNDS {
            let config = values.config();
            config.check(header.prefill, steps)?;
            let mut generator = Lifelike::new(&config, layers, header.prefill + steps);
            let made = TraceStatistics::measure(&mut generator, layers, header.prefill, steps)?;
            let off = distance(&made.mean, &target.mean);
            if best.as_ref().is_none_or(|(least, _)| off < *least) {
                best = Some((off, config));
            }
            values.move_towards(&target, &made);
        }
        let (_, config) = best.expect("at least one round");
        Ok(Self { config, steps })
    }
}

/// The parameters while they are sought.
struct Values {
    skip: Ratio,
    sinks: u32,
    exchange: f64,
    fixed: f64,
    drift_steps: f64,
    independence: f64,
    patches: f64,
    patch_tokens: f64,
    recency: Vec<f64>,
}

impl Values {
    fn start(target: &TraceStatistics, header: &TraceHeader, steps: usize) -> Self {
        let usual = LifelikeConfig::default();
        // The counts are rounded down, by half a token on average.
        let context = header.prefill as f64 + steps as f64 / 2.0;
        let share = target.mean.skip + 0.5 / context.max(1.0);
        let permille = header.skip_permille.map_or((share * 1000.0).round(), f64::from);
        let sinks = target.skipped_first.iter().take_while(|share| **share < target.mean.skip / 5.0).count();
        let entries = (target.skipped_by_age.len() + 1).min(LifelikeConfig::MAX_RECENCY);
        Self {
            skip: ratio(permille / 1000.0),
            sinks: sinks as u32,
            exchange: usual.exchange.as_f64(),
            fixed: 1.0 - usual.exchange.as_f64() - usual.drift.as_f64(),
            drift_steps: f64::from(usual.drift_steps),
            independence: usual.layer_independence.as_f64(),
            patches: usual.patches.as_f64(),
            patch_tokens: f64::from(usual.patch_tokens),
            recency: vec![0.0; entries],
        }
    }

    fn config(&self) -> LifelikeConfig {
        let exchange = ratio(self.exchange);
        LifelikeConfig {
            skip: self.skip,
            read: None,
            seed: 1,
            sinks: self.sinks,
            exchange,
            drift: ratio((1.0 - self.fixed - exchange.as_f64()).max(0.0)),
            drift_steps: self.drift_steps.round() as u32,
            layer_independence: ratio(self.independence),
            patches: ratio(self.patches),
            patch_tokens: self.patch_tokens.round() as u32,
            recency: self.recency.iter().map(|value| (value * 1000.0).round() / 1000.0).collect(),
        }
    }

    /// Moves each parameter by how far off the statistic is that it governs most.
    fn move_towards(&mut self, target: &TraceStatistics, made: &TraceStatistics) {
        let (wanted, got) = (&target.mean, &made.mean);
        let off = |pick: fn(&StepStatistics) -> Option<f64>| match (pick(wanted), pick(got)) {
            (Some(wanted), Some(got)) => wanted - got,
            _ => 0.0,
        };
        let relative = |pick: fn(&StepStatistics) -> Option<f64>| match (pick(wanted), pick(got)) {
            (Some(wanted), Some(got)) if wanted.max(got) > 0.0 => (wanted - got) / wanted.max(got),
            _ => 0.0,
        };
        // Less that is new in each step: sets of successive steps agree more. More that is fixed:
        // distant ones do. A slower drift: those between do.
        self.exchange = (self.exchange - 0.7 * off(|step| step.jaccard[0])).clamp(0.0, 0.98);
        self.fixed = (self.fixed + 1.0 * off(|step| step.jaccard[2])).clamp(0.01, 1.0 - self.exchange);
        let slower = off(|step| step.jaccard[1]) - off(|step| step.jaccard[2]);
        self.drift_steps = (self.drift_steps * (1.0 + (8.0 * slower).clamp(-0.3, 0.3))).clamp(1.0, 4096.0);
        self.independence = (self.independence - off(|step| step.layer_jaccard)).clamp(0.0, 1.0);
        self.patches = (self.patches + 0.5 * relative(|step| step.read_run)).clamp(0.0, 1.0);
        let longer = 1.0 + 0.3 * relative(|step| step.skipped_pages);
        self.patch_tokens = (self.patch_tokens * longer).clamp(1.0, 256.0);

        // By how much ages are skipped too often, on the scale of scores: the slope of a share
        // against the score.
        let classes = target.skipped_by_age.iter().zip(&made.skipped_by_age);
        let too_often: Vec<f64> = classes
            .map(|(wanted, got)| ((got - wanted) / (1.6 * got * (1.0 - got)).max(0.005)).clamp(-1.0, 1.0))
            .collect();
        let last = too_often.len().saturating_sub(1);
        for (entry, value) in self.recency.iter_mut().enumerate() {
            // An entry lies between two classes of age.
            let (younger, older) = (too_often.get(entry.saturating_sub(1)), too_often.get(entry.min(last)));
            let change = (younger.unwrap_or(&0.0) + older.unwrap_or(&0.0)) / 2.0;
            *value = (*value + 0.7 * change).clamp(-6.0, 6.0);
        }
    }
}

/// How far statistics are from those wanted: the sum of the squares of their relative differences.
fn distance(made: &StepStatistics, wanted: &StepStatistics) -> f64 {
    let picks: [fn(&StepStatistics) -> Option<f64>; 7] = [
        |step| step.churn,
        |step| step.jaccard[0],
        |step| step.jaccard[1],
        |step| step.jaccard[2],
        |step| step.layer_jaccard,
        |step| step.read_run,
        |step| step.skipped_pages,
    ];
    picks
        .iter()
        .filter_map(|pick| match (pick(made), pick(wanted)) {
            (Some(made), Some(wanted)) => {
                // Pages that are hardly ever skipped are skipped by chance.
                let off = (made - wanted) / made.max(wanted).max(0.005);
                Some(off * off)
            }
            _ => None,
        })
        .sum()
}

/// The nearest ratio in thousandths.
fn ratio(share: f64) -> Ratio {
    Ratio::from_permille((share.clamp(0.0, 1.0) * 1000.0).round() as u32).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::trace::Made;
    use crate::workload::{Generator, GeneratorConfig};

    fn header(steps: usize) -> TraceHeader {
        TraceHeader::skips(6, 400, steps)
    }

    #[test]
    fn finds_a_generator_like_the_one_that_made_the_trace() {
        let share = |permille| Ratio::from_permille(permille).unwrap();
        let config = LifelikeConfig {
            read: None,
            skip: share(300),
            seed: 99,
            sinks: 2,
            exchange: share(150),
            drift: share(300),
            drift_steps: 20,
            layer_independence: share(600),
            patches: share(500),
            patch_tokens: 12,
            recency: vec![3.0, 2.5, 2.0, 1.5, 1.0, 0.5, 0.0, -0.5, -1.0],
        };
        let header = header(300);
        let mut made = Made(Lifelike::new(&config, header.layers, 700), header.clone());
        let found = Fit::of("test", &mut made).unwrap().config;
        assert_eq!((found.skip, found.sinks), (config.skip, config.sinks));
        // What is new, what drifts and what is fixed can stand for each other over so few steps:
        // the statistics must agree.
        let independence = found.layer_independence.as_f64();
        assert!((independence - 0.6).abs() < 0.1, "{independence}");
        let measured = |config: &LifelikeConfig| {
            let mut source = Lifelike::new(config, header.layers, 700);
            TraceStatistics::measure(&mut source, header.layers, header.prefill, header.steps).unwrap().mean
        };
        let (found, wanted) = (measured(&found), measured(&config));
        let pairs = [
            (found.churn, wanted.churn),
            (found.jaccard[0], wanted.jaccard[0]),
            (found.jaccard[1], wanted.jaccard[1]),
            (found.jaccard[2], wanted.jaccard[2]),
            (found.layer_jaccard, wanted.layer_jaccard),
            (found.read_run, wanted.read_run),
        ];
        for (found_one, wanted_one) in pairs {
            let off = found_one.unwrap() / wanted_one.unwrap() - 1.0;
            assert!(off.abs() < 0.03, "{found:?} for {wanted:?}");
        }
        assert!((found.skipped_pages.unwrap() - wanted.skipped_pages.unwrap()).abs() < 0.002);
    }

    #[test]
    fn refuses_what_has_no_statistics() {
        let mut nothing = Made(Generator::new(GeneratorConfig::default(), 6, 700), header(300));
        assert!(matches!(Fit::of("test", &mut nothing), Err(TraceError::TooShortToFit { .. })));
        let config = GeneratorConfig { skip: Ratio::from_permille(400).unwrap(), ..GeneratorConfig::default() };
        let mut short = Made(Generator::new(config, 6, 408), header(8));
        assert!(matches!(Fit::of("test", &mut short), Err(TraceError::TooShortToFit { .. })));
    }
}
