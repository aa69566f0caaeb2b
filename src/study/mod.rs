//! The study of section 4 of the model: two strategies, four decode lengths, and attention that
//! skips nothing or 40 % of the tokens.
//!
//! [`settings`] lists the runs, [`pictures`] draws the study's pictures, [`page`] is its
//! `report.html`, and [`conclusions`] puts the figures of its table into sentences.
//! [`churn_settings`] and the functions beside it test whether the conclusion holds for recorded
//! attention.

mod churn;
mod conclusions;
mod page;
mod pictures;

pub use churn::{ChurnSetting, churn_conclusions, churn_pictures, churn_settings};
pub use conclusions::conclusions;
use conclusions::percent;
pub use page::page;
pub use pictures::pictures;

use crate::config::Reference;
use crate::runs::Finished;
use crate::simulation::{Scenario, ScenarioConfig, ScenarioError};
use crate::strategy::Strategy;
use crate::units::Ratio;
use crate::workload::TraceConfig;

/// The decode lengths: everything fits in HBM, slightly exceeds it, far exceeds it, and is four
/// times its size.
pub const DECODE_TOKENS: [u32; 4] = [1024, 4096, 8192, 16384];

/// The strategies, in the order of the table: the others are measured against the first.
const STRATEGIES: [&str; 2] = ["baseline", "best-ratio"];

/// The shares of tokens skipped, in permille.
const SKIP_PERMILLE: [u32; 2] = [0, 400];

/// One run of the study.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Weights, prefill and decode in GB: `1_1_4`.
    pub context: String,
    /// The share of tokens skipped.
    pub skip: Ratio,
    /// The strategy.
    pub strategy: Strategy,
    /// The run.
    pub scenario: Scenario,
}

impl Setting {
    /// The run's folder: `1_1_4_best-ratio_skip40`.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("{}_{}_skip{}", self.context, self.strategy, self.skip.percent())
    }
}

/// The 16 runs, in the order of the table: by decode length, then skip, then strategy.
///
/// # Errors
/// [`ScenarioError`] if `model` does not fit the study's memory.
pub fn settings(model: &str) -> Result<Vec<Setting>, ScenarioError> {
    let mut settings = Vec::new();
    for decode in DECODE_TOKENS {
        for permille in SKIP_PERMILLE {
            let skip = Ratio::from_permille(permille).expect("a share of at most 1000 permille");
            for name in STRATEGIES {
                let mut config = ScenarioConfig::load("study")?;
                config.model = Reference::Name(model.to_owned());
                config.decode_tokens = decode;
                config.strategy = name.parse().expect("the study's strategies have names");
                if let TraceConfig::Generated(generator) = &mut config.trace {
                    generator.skip = skip;
                }
                let context = format!("1_1_{}", decode / 1024);
                config.name = format!("study_{context}_skip{}", skip.percent());
                let strategy = config.strategy;
                settings.push(Setting { context, skip, strategy, scenario: Scenario::new(config)? });
            }
        }
    }
    Ok(settings)
}
