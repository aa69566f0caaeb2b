//! The ranking: choices in each circumstance, the best first.

use super::cost::{RATE, price};
use super::{By, Circumstance, Decision, DecisionError, Ranked, sides};
use crate::strategy::Knowledge;
use crate::sweep::{Axis, DOES_NOT_FIT, Measure, Plan, Point, Results, SweepError};
use crate::units::Price;
use std::cmp::Ordering;
use std::collections::HashMap;

/// What is asked of the results of a sweep.
#[derive(Clone, Debug)]
pub struct Asking {
    /// The axes that are choices: what they are called, and their places in the sweep.
    pub choose: Vec<(String, usize)>,
    /// Those that are circumstances.
    pub given: Vec<(String, usize)>,
    /// The names of the choices that are decided first.
    pub best: Vec<String>,
    /// The figure by which choices are ranked.
    pub by: By,
    /// The share within which two choices count as equally good.
    pub within: f64,
}

impl Asking {
    /// The axes of `results` told apart: those called `choose` and `given`, and the others by the
    /// fields that they vary. The machine and parts of it, the strategy, the layout and the runtime
    /// are choices.
    ///
    /// # Errors
    /// [`DecisionError`] if a name is of no axis, or is on both sides.
    pub fn of(results: &Results, choose: &[String], given: &[String], by: By) -> Result<Self, DecisionError> {
        let known = || results.axes().map(|(_, axis)| axis.name.clone()).collect::<Vec<_>>();
        for name in choose.iter().chain(given) {
            if !known().contains(name) {
                return Err(DecisionError::NoAxis { name: name.clone(), known: known() });
            }
        }
        if let Some(name) = given.iter().find(|name| choose.contains(name)) {
            return Err(DecisionError::Both { name: name.clone() });
        }
        let chosen = |axis: &Axis| match (choose.contains(&axis.name), given.contains(&axis.name)) {
            (false, false) => sides::is_choice(axis),
            (chosen, _) => chosen,
        };
        let (mut choices, mut circumstances) = (Vec::new(), Vec::new());
        for (place, axis) in results.axes() {
            let side = if chosen(axis) { &mut choices } else { &mut circumstances };
            side.push((axis.name.clone(), place));
        }
        if choices.is_empty() {
            return Err(DecisionError::NoChoiceAxis { known: known() });
        }
        Ok(Self { choose: choices, given: circumstances, best: Vec::new(), by, within: 0.05 })
    }

    /// The places of the choices that are decided first.
    fn inner(&self) -> Result<Vec<usize>, DecisionError> {
        let place = |name: &String| {
            let known = || self.choose.iter().map(|(name, _)| name.clone()).collect();
            let found = self.choose.iter().position(|(chosen, _)| chosen == name);
            found.ok_or_else(|| DecisionError::Best { name: name.clone(), known: known() })
        };
        let inner: Vec<usize> = self.best.iter().map(place).collect::<Result<_, _>>()?;
        match self.best.first() {
            Some(name) if inner.len() >= self.choose.len() => Err(DecisionError::AllBest { name: name.clone() }),
            _ => Ok(inner),
        }
    }
}

/// The decision without crossovers and without words.
pub(super) fn ranked<'a>(results: &'a Results, asking: &'a Asking) -> Result<Decision, DecisionError> {
    let plan = &results.plan;
    if !plan.is_grid() {
        return Err(DecisionError::Sample);
    }
    let axes = |of: &[(String, usize)]| -> Vec<_> {
        of.iter().map(|(name, place)| sides::decision_axis(name, &plan.axes()[*place])).collect()
    };
    let with_axes = |of: &'a [(String, usize)]| -> Vec<(&'a str, &'a Axis)> {
        of.iter().map(|(name, place)| (name.as_str(), &plan.axes()[*place])).collect()
    };
    sides::check(&with_axes(&asking.choose), &with_axes(&asking.given))?;
    let mut decision = Decision {
        by: asking.by.clone(),
        choices: axes(&asking.choose),
        given: axes(&asking.given),
        best: asking.inner()?,
        currency: None,
        within: asking.within,
        answer: Vec::new(),
        circumstances: Vec::new(),
        crossovers: Vec::new(),
    };
    let choices = combinations(&decision.choices.iter().map(|axis| axis.levels.len()).collect::<Vec<_>>());
    if choices.len() < 2 {
        return Err(DecisionError::OneChoice);
    }
    Cells::new(results, asking, &mut decision)?.rank(&choices, &mut decision)?;
    Ok(decision)
}

/// Every combination of levels, the last axis fastest; of no axis, one empty combination.
pub(super) fn combinations(lengths: &[usize]) -> Vec<Vec<usize>> {
    lengths.iter().fold(vec![Vec::new()], |all, length| {
        let with = |of: &Vec<usize>| (0..*length).map(|level| of.iter().copied().chain([level]).collect()).collect();
        all.iter().flat_map(|of| -> Vec<Vec<usize>> { with(of) }).collect()
    })
}

/// The cells of a sweep by the levels of choices and circumstances.
struct Cells<'a> {
    results: &'a Results,
    asking: &'a Asking,
    points: HashMap<Vec<usize>, &'a Point>,
    /// What each cell that is of interest has in common with others: its knowledge and its price.
    known: HashMap<Vec<usize>, (Knowledge, Option<Price>)>,
}

impl<'a> Cells<'a> {
    fn new(results: &'a Results, asking: &'a Asking, decision: &mut Decision) -> Result<Self, DecisionError> {
        let points: HashMap<_, _> = results.points.iter().map(|point| (point.levels.clone(), point)).collect();
        let has = |point: &Point| results.value(point, &measure(&asking.by.path)).is_some();
        if asking.by.path != By::COST && !results.points.is_empty() && !results.points.iter().any(has) {
            let by = &asking.by;
            let known = match results.measure(&by.path) {
                Err(SweepError::Measure { known, .. }) => known,
                _ => "no value of it".to_owned(),
            };
            let is_ttft = by.path.starts_with("ttft");
            let hint = if is_ttft { " Prompts take time with --prefill-chunk 2048" } else { "" };
            return Err(DecisionError::NoFigure { name: by.name.clone(), path: by.path.clone(), known, hint });
        }
        let mut cells = Self { results, asking, points, known: HashMap::new() };
        decision.currency = cells.read_prices(decision)?;
        Ok(cells)
    }

    /// The levels of a cell on all axes of the sweep.
    fn levels(&self, choice: &[usize], given: &[usize]) -> Vec<usize> {
        let mut levels = vec![0; self.results.plan.axes().len()];
        let sides = self.asking.choose.iter().zip(choice).chain(self.asking.given.iter().zip(given));
        for ((_, place), level) in sides {
            levels[*place] = *level;
        }
        levels
    }

    /// Reads what strategies must know and what machines cost; returns the currency.
    fn read_prices(&mut self, decision: &Decision) -> Result<Option<String>, DecisionError> {
        let plan = &self.results.plan;
        let mut currency: Option<String> = None;
        for levels in self.points.keys() {
            let key = key(plan, levels);
            if self.known.contains_key(&key) {
                continue;
            }
            let config = plan.scenario(levels)?;
            let price = price(&config);
            if let Some(found) = price.as_ref().map(Price::currency) {
                match &currency {
                    Some(one) if one != found => {
                        let (one, other) = (one.clone(), found.to_owned());
                        return Err(DecisionError::Currencies { one, other });
                    }
                    _ => currency = Some(found.to_owned()),
                }
            } else if self.asking.by.path == By::COST {
                let choice: Vec<usize> = self.asking.choose.iter().map(|(_, place)| levels[*place]).collect();
                return Err(DecisionError::NoPrice { choice: super::words::choice(decision, &choice) });
            }
            self.known.insert(key, (config.strategy.knowledge(), price));
        }
        Ok(currency)
    }

    fn rank(&self, choices: &[Vec<usize>], decision: &mut Decision) -> Result<(), DecisionError> {
        let lengths: Vec<usize> = decision.given.iter().map(|axis| axis.levels.len()).collect();
        for given in combinations(&lengths) {
            let (mut ranking, mut without) = (Vec::new(), Vec::new());
            for choice in choices {
                match self.one(choice, &given) {
                    Ok(ranked) => ranking.push(ranked),
                    Err(why) => without.push((choice.clone(), why)),
                }
            }
            let by = &decision.by;
            // Equal figures stay in the order in which choices were listed.
            ranking.sort_by(|a, b| by.order(a.value, b.value));
            keep_best(&decision.best, &mut ranking, &mut without);
            decision.circumstances.push(Circumstance { given, ranking, without });
        }
        Ok(())
    }

    /// A choice in a circumstance, or why it has no figure.
    fn one(&self, choice: &[usize], given: &[usize]) -> Result<Ranked, String> {
        let levels = self.levels(choice, given);
        let Some(point) = self.points.get(&levels) else { return Err(self.why(&levels)) };
        let figure = |path: &str| self.results.value(point, &measure(path));
        let (knows, price) =
            self.known.get(&key(&self.results.plan, &levels)).cloned().unwrap_or((Knowledge::Realizable, None));
        let cost = price.zip(figure(RATE)).map(|(price, rate)| price.of_million(rate));
        let value = if self.asking.by.path == By::COST { cost } else { figure(&self.asking.by.path) };
        let value = value.ok_or_else(|| format!("has no {}", self.asking.by.path))?;
        Ok(Ranked { choice: choice.to_vec(), value, knows, cost })
    }

    fn why(&self, levels: &[usize]) -> String {
        let known = self.results.without.iter().find(|(of, _)| of == levels).map(|(_, why)| why.clone());
        let unfit = || self.results.unfit.iter().any(|of| of == levels);
        known.unwrap_or_else(|| if unfit() { DOES_NOT_FIT.to_owned() } else { "was not run".to_owned() })
    }
}

/// Keeps, of choices that differ only in axes that are decided first, the best.
fn keep_best(inner: &[usize], ranking: &mut Vec<Ranked>, without: &mut Vec<(Vec<usize>, String)>) {
    let outer = |choice: &[usize]| -> Vec<usize> {
        choice.iter().enumerate().filter(|(place, _)| !inner.contains(place)).map(|(_, level)| *level).collect()
    };
    let mut kept: Vec<Vec<usize>> = Vec::new();
    let mut is_new = |choice: &[usize]| {
        let new = !kept.contains(&outer(choice));
        if new {
            kept.push(outer(choice));
        }
        new
    };
    ranking.retain(|ranked| is_new(&ranked.choice));
    without.retain(|(choice, _)| is_new(choice));
}

/// The levels of a cell on the axes that may change a price or what a strategy must know.
fn key(plan: &Plan, levels: &[usize]) -> Vec<usize> {
    let counts = |axis: &Axis| axis.paths.iter().any(|path| path.starts_with("memory") || path.starts_with("strategy"));
    plan.axes().iter().zip(levels).filter(|(axis, _)| counts(axis)).map(|(_, level)| *level).collect()
}

fn measure(path: &str) -> Measure {
    Measure::Figure(path.to_owned())
}

impl By {
    /// The better value first.
    pub(super) fn order(&self, one: f64, other: f64) -> Ordering {
        if self.more_is_better { other.total_cmp(&one) } else { one.total_cmp(&other) }
    }

    /// Whether one value is better than another.
    #[must_use]
    pub fn better(&self, one: f64, other: f64) -> bool {
        if self.more_is_better { one > other } else { one < other }
    }

    /// By how much `worse` is worse than `better`: 0.08 is 8 %.
    #[must_use]
    pub fn margin(&self, better: f64, worse: f64) -> f64 {
        if self.more_is_better { better / worse - 1.0 } else { worse / better - 1.0 }
    }
}
