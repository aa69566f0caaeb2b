//! Questions, as a user of the library or of the command line writes them.

use super::{Asking, By, DecisionError};
use crate::metrics::{FigureUnit, figure_unit, full_name, known_figures, short_names};
use crate::results::figure_meant;
use crate::simulation::{Assignment, ScenarioConfig};
use crate::sweep::{AxisConfig, Plan, SweepConfig};
use serde_json::Value;
use std::collections::BTreeMap;

/// How many steps judge a choice unless someone says otherwise.
///
/// A strategy that moves KV reaches its pace within a few steps, which [`WARMUP`] leaves out.
/// Of Llama-3.1-70B at 128k tokens with 40 % skipped, their mean is within 0.3 % of that of 64
/// steps.
pub const STEPS: u32 = 8;
/// How many of them are left out of figures.
pub const WARMUP: u32 = 3;
/// The most runs of a question.
const MOST_CELLS: u64 = 100_000;

/// An axis of a question: what varies, and what it is called.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// As the answer calls it.
    pub name: String,
    /// The field and its values.
    pub axis: AxisConfig,
}

impl Asked {
    /// The field of that path, as [`Fields`](crate::simulation::Fields) takes it, with these
    /// values: names, paths of files, numbers, or whole models and memory systems as JSON values.
    #[must_use]
    pub fn list<V: Into<Value>>(field: &str, values: impl IntoIterator<Item = V>) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        Self { name: field.to_owned(), axis: AxisConfig::Values { field: field.to_owned(), values } }
    }
}

/// Which choice wins in which circumstances?
#[derive(Clone, Debug)]
pub struct Question {
    /// The scenario that choices and circumstances vary.
    pub base: ScenarioConfig,
    /// Fields that have one value in all runs, also where a choice replaces the part that they are
    /// in.
    pub set: Vec<Assignment>,
    /// The choices.
    pub choose: Vec<Asked>,
    /// The circumstances; none is one circumstance, the base.
    pub given: Vec<Asked>,
    /// The names of choices that are decided first, within each combination of the others.
    pub best: Vec<String>,
    /// The figure by which choices are ranked.
    pub by: By,
    /// The share within which two choices count as equally good.
    pub within: f64,
    /// The greatest distance between the two values of a crossover, as a share of the upper one.
    pub tolerance: f64,
}

impl Question {
    /// A question about `base` without choices: by TPOT, with [`STEPS`] steps a run.
    #[must_use]
    pub fn new(base: ScenarioConfig) -> Self {
        let base = match base.requests {
            // All requests are served, however many steps that takes.
            Some(_) => base,
            None => ScenarioConfig { decode_tokens: STEPS, warmup_steps: WARMUP, ..base },
        };
        let (set, choose, given, best) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { base, set, choose, given, best, by: By::tpot(), within: 0.05, tolerance: 0.02 }
    }

    /// The sweep that answers it, and what is asked of its results.
    pub(super) fn plan(&self) -> Result<(Plan, Asking), DecisionError> {
        if self.choose.is_empty() {
            return Err(DecisionError::NoChoice);
        }
        if !(0.0..1.0).contains(&self.within) {
            return Err(DecisionError::Within { within: self.within });
        }
        if !(self.tolerance > 0.0 && self.tolerance < 1.0) {
            return Err(DecisionError::Tolerance { tolerance: self.tolerance });
        }
        let mut asked: Vec<&Asked> = self.choose.iter().chain(&self.given).collect();
        // A field of a part that another axis chooses is looked up in that choice.
        asked.sort_by_key(|asked| field(&asked.axis).contains('.'));
        if let Some(twice) = self.given.iter().find(|given| self.choose.iter().any(|it| same(it, given))) {
            return Err(DecisionError::Both { name: twice.name.clone() });
        }
        let axes = asked.iter().map(|asked| asked.axis.clone()).collect();
        let mut config = SweepConfig::of(self.base.name.clone(), self.base.clone(), axes);
        config.set = self.set.iter().map(|it| (it.path.clone(), it.value.clone())).collect::<BTreeMap<_, _>>();
        let plan = Plan::new(config)?;
        if plan.cells() > MOST_CELLS {
            return Err(DecisionError::TooMany { cells: plan.cells(), most: MOST_CELLS });
        }
        let place = |wanted: &Asked| asked.iter().position(|asked| std::ptr::eq(*asked, wanted)).unwrap_or_default();
        let places = |of: &[Asked]| of.iter().map(|asked| (asked.name.clone(), place(asked))).collect();
        let asking = Asking {
            choose: places(&self.choose),
            given: places(&self.given),
            best: self.best.clone(),
            by: self.by.clone(),
            within: self.within,
        };
        Ok((plan, asking))
    }
}

/// The field, or the name, of an axis.
fn field(axis: &AxisConfig) -> &str {
    match axis {
        AxisConfig::Values { field, .. } | AxisConfig::Linear { field, .. } | AxisConfig::Geometric { field, .. } => {
            field
        }
        AxisConfig::Choices { name, .. } => name,
    }
}

fn same(one: &Asked, other: &Asked) -> bool {
    field(&one.axis) == field(&other.axis) || one.name == other.name
}

/// Figures by the names that decisions have for them.
const NAMES: [(&str, &str); 4] =
    [("tpot", "tpot_ns.mean"), ("p99", "tpot_ns.p99"), ("ttft", "ttft_ns.mean"), ("tokens_per_s", "tokens_per_s")];

impl By {
    /// The path, and the name, of the cost of tokens: a price over tokens.
    pub const COST: &str = "cost";

    /// By the time between two tokens of a sequence.
    #[must_use]
    pub fn tpot() -> Self {
        Self { name: "tpot".to_owned(), path: "tpot_ns.mean".to_owned(), more_is_better: false }
    }

    /// The figure called `name`: `tpot`, `p99`, `tokens_per_s`, `ttft`, `cost`, or a path in
    /// `summary.json` or a short name of one. The least is best, unless it is a rate.
    ///
    /// # Errors
    /// [`DecisionError::Figure`] if there is none of that name.
    pub fn named(name: &str) -> Result<Self, DecisionError> {
        let name = name.trim();
        let short = NAMES.iter().find(|(known, _)| *known == name).map(|(_, path)| *path);
        let path = short.unwrap_or_else(|| full_name(name));
        let stem = path.split('.').next().unwrap_or(path);
        let is_figure = path == Self::COST
            || known_figures().contains(&path)
            || (path != stem
                && known_figures().iter().any(|known| *known != stem && known.split('.').next() == Some(stem)));
        if !is_figure {
            let meant = figure_meant(name).map_or_else(String::new, |meant| format!(" Did you mean '{meant}'?"));
            let known = short_names().collect::<Vec<_>>().join(", ");
            return Err(DecisionError::Figure { name: name.to_owned(), meant, known });
        }
        let more_is_better = figure_unit(path).is_rate();
        Ok(Self { name: name.to_owned(), path: path.to_owned(), more_is_better })
    }

    /// A value as a person reads it.
    #[must_use]
    pub fn shown(&self, value: f64, currency: Option<&str>) -> String {
        match currency.filter(|_| self.path == Self::COST) {
            Some(currency) => format!("{value:.3} {currency} a million tokens"),
            None if self.more_is_better => format!("{} {}", figure_unit(&self.path).shown(value), self.unit(None)),
            None => figure_unit(&self.path).shown(value),
        }
    }

    /// The unit of its values, as `summary.json` has them.
    #[must_use]
    pub fn unit(&self, currency: Option<&str>) -> String {
        match figure_unit(&self.path) {
            _ if self.path == Self::COST => format!("{} per million tokens", currency.unwrap_or("-")),
            FigureUnit::Time => "ns".to_owned(),
            FigureUnit::Bytes => "bytes".to_owned(),
            FigureUnit::Rate => "tokens/s".to_owned(),
            FigureUnit::Requests => "requests/s".to_owned(),
            FigureUnit::Share => "share".to_owned(),
            FigureUnit::Number => "number".to_owned(),
        }
    }
}
