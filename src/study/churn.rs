//! Does the study's conclusion hold at the churn of recorded attention?
//!
//! Churn is the share of the skipped tokens that changes from one step to the next, and migration
//! follows it. The study generates synthetic skip sets with 3 % churn; those of recorded attention
//! change far more. Six further runs compare the strategies on both kinds: the study's two, and the
//! second one without its migration, which shows whether the gain comes from placement or from
//! moving KV between steps.

use super::{Finished, percent};
use crate::config::Reference;
use crate::report::Labelled;
use crate::report::pictures::token_latency;
use crate::report::{Artifact, ReportError};
use crate::simulation::{Scenario, ScenarioConfig, ScenarioError};
use crate::strategy::{MigrationKind, Strategy};
use crate::workload::{GeneratorConfig, TraceConfig};

/// One of the runs that test the study's conclusion at the churn of recorded attention.
#[derive(Clone, Debug)]
pub struct ChurnSetting {
    /// Whether the skip sets are recorded, or synthetic with the study's churn.
    pub recorded: bool,
    /// The strategy.
    pub strategy: Strategy,
    /// The run.
    pub scenario: Scenario,
}

impl ChurnSetting {
    /// The kind of its skip sets, for tables and sentences.
    #[must_use]
    pub fn trace(&self) -> &'static str {
        if self.recorded { "recorded" } else { "synthetic" }
    }

    /// The kind of its skip sets in the names of scenarios, files and folders, which are the
    /// same in all versions.
    fn file_name(&self) -> &'static str {
        if self.recorded { "recorded" } else { SYNTHETIC_NAME }
    }

    /// Tokens before the first step and to decode.
    pub(super) fn tokens(&self) -> String {
        format!("{} + {}", self.scenario.prefill(), self.scenario.decode())
    }

    /// The run's folder: `recorded_best-ratio`.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("{}_{}", self.file_name(), self.strategy).replace(' ', "_").replace('/', "-")
    }
}

/// How many strategies are compared on each kind of skip sets.
const STRATEGIES: usize = 3;

/// The name of the scenario with synthetic skip sets, and what its files begin with.
const SYNTHETIC_NAME: &str = "made_up";

/// The scenario `recorded`, and the same with synthetic skip sets generated as for the study, each
/// with both strategies of the study and with the second one without its migration.
///
/// # Errors
/// [`ScenarioError`] if `model` does not fit the study's memory.
pub fn churn_settings(model: &str) -> Result<Vec<ChurnSetting>, ScenarioError> {
    let study = ScenarioConfig::load("study")?;
    let mut recorded = ScenarioConfig::load("recorded")?;
    recorded.model = Reference::Name(model.to_owned());
    let mut synthetic = recorded.clone();
    synthetic.name = SYNTHETIC_NAME.to_owned();
    if let TraceConfig::Generated(config) = study.trace {
        let skip = "0.4".parse().expect("a ratio");
        synthetic.trace = TraceConfig::Generated(GeneratorConfig { skip, ..config });
    }
    let strategies: [Strategy; STRATEGIES] = {
        let named = |name: &str| name.parse::<Strategy>().expect("the study's strategies have names");
        let best_ratio = named("best-ratio");
        [named("baseline"), best_ratio, Strategy { migration: MigrationKind::None, ..best_ratio }]
    };
    let mut settings = Vec::new();
    for (is_recorded, config) in [(false, synthetic), (true, recorded)] {
        for strategy in strategies {
            let scenario = Scenario::new(ScenarioConfig { strategy, ..config.clone() })?;
            settings.push(ChurnSetting { recorded: is_recorded, strategy, scenario });
        }
    }
    Ok(settings)
}

/// The conclusions from these runs, a sentence a line. All figures are taken from the runs.
#[must_use]
pub fn churn_conclusions(settings: &[ChurnSetting], finished: &[Finished]) -> Vec<String> {
    let mut lines = Vec::new();
    for (settings, runs) in kinds(settings, finished) {
        let time = |index: usize| runs[index].report.summary.simulated_ns;
        if runs.iter().any(|run| run.error.is_some()) {
            lines.push(format!("With {} skip sets, not every strategy completed its run.", settings[0].trace()));
            continue;
        }
        let gain = |index: usize| {
            let gain = time(0) / time(index) - 1.0;
            let word = if gain < 0.0 { "slower" } else { "faster" };
            // For a slower strategy the share is that of the longer time, not of the lower speed.
            let share = if gain < 0.0 { time(index) / time(0) - 1.0 } else { gain };
            format!("{} {word}", percent(share).trim_start_matches('+'))
        };
        let summary = &runs[1].report.summary;
        lines.push(format!(
            "With {} skip sets ({}), {} is {} than {} over {} tokens, and {} without its migration; migration moves {:.0} tokens in each layer of each step.",
            settings[0].trace(),
            if settings[0].recorded { "and, past their end, a generator like them" } else { "3 % churn, as in the study" },
            settings[1].strategy.label(),
            gain(1),
            settings[0].strategy,
            settings[0].scenario.decode(),
            gain(2),
            moved_a_layer(&settings[1].scenario, summary.migration.bytes() as f64),
        ));
    }
    lines
}

/// The tokens that migration moved, on average over steps and layers.
fn moved_a_layer(scenario: &Scenario, bytes: f64) -> f64 {
    bytes / scenario.model().token_bytes().as_f64() / scenario.decode() as f64
}

/// The settings of each kind of skip sets, with their runs.
pub(super) fn kinds<'a>(
    settings: &'a [ChurnSetting],
    finished: &'a [Finished],
) -> impl Iterator<Item = (&'a [ChurnSetting], &'a [Finished])> {
    settings.chunks_exact(STRATEGIES).zip(finished.chunks_exact(STRATEGIES))
}

/// The labels of the runs of one kind of skip sets.
pub(super) fn labels(settings: &[ChurnSetting]) -> Vec<String> {
    let label = |setting: &ChurnSetting| match setting.strategy.migration {
        MigrationKind::None if setting.strategy != settings[0].strategy => "best-ratio, no migration".to_owned(),
        _ => setting.strategy.label(),
    };
    settings.iter().map(label).collect()
}

/// The pictures `latency_recorded` and `latency_made_up`: token latency of the strategies with the
/// bound, on recorded and on synthetic skip sets.
///
/// # Errors
/// [`ReportError`] if one cannot be drawn.
pub fn churn_pictures(settings: &[ChurnSetting], finished: &[Finished]) -> Result<Vec<Artifact>, ReportError> {
    let mut files = Vec::new();
    for (settings, runs) in kinds(settings, finished) {
        let labels = labels(settings);
        let labelled: Vec<Labelled<'_>> =
            labels.iter().zip(runs).map(|(label, run)| Labelled { label, run: &run.report }).collect();
        let trace = settings[0].trace();
        let name = format!("latency_{}", settings[0].file_name());
        files.extend(token_latency(&name, &format!("Token latency, {trace} skip sets"), &labelled)?);
    }
    Ok(files)
}
