//! The curve that people look for in batches: tokens/s and TPOT against batch, a line for each
//! choice, and in sentences what external memory gains.
//!
//! It is drawn where a sweep varies `batch`. A *choice* is a combination of the other axes. Where a
//! run reads everything from HBM (alpha 1), HBM alone is enough. External memory *pays* from the
//! batch on at which a choice that reads from it produces more tokens/s than HBM alone does at that
//! batch or any smaller one, on the same machine.

use super::{Axis, Measure, Point, Results};
use crate::metrics::{FigureUnit, figure_unit};
use crate::report::grids::MOST_LINES;
use std::collections::BTreeMap;

/// The figures that it needs.
pub(super) const FIGURES: [&str; 4] = [RATE, TPOT, "token_latency_ns.mean", ALPHA];
const RATE: &str = "tokens_per_s";
const TPOT: &str = "tpot_ns.mean";
const ALPHA: &str = "alpha.mean";

/// The share of HBM from which on all is read from it; less is the rounding of a mean.
const ALL_OF_HBM: f64 = 1.0 - 1e-9;
/// The gain in tokens/s that counts as one.
const PAYS: f64 = 1.02;
/// The gain of one strategy over another that sentences look for.
const TENTH: f64 = 0.1;
/// The most machines, or other settings, that sentences speak of.
const MOST_SETTINGS: usize = 6;

/// The curves of a sweep over batches.
pub(super) struct Curves {
    /// Those with the most tokens/s where there are more than a picture can show.
    pub lines: Vec<Curve>,
    /// How many there are in all.
    pub all: usize,
    axis: usize,
}

/// A choice at each batch.
pub(super) struct Curve {
    pub label: String,
    /// The levels of the axes that are neither batch nor strategy, in words and by number.
    setting: (String, Vec<usize>),
    /// Its strategy, in words, where that varies.
    strategy: String,
    pub points: Vec<At>,
    /// The batches that do not fit, ascending.
    pub unfit: Vec<f64>,
}

/// What a choice achieves at a batch.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub batch: f64,
    pub tokens_per_s: f64,
    /// In nanoseconds.
    pub tpot: f64,
    alpha: f64,
}

/// The axis of batches, if a grid varies it.
#[must_use]
pub(super) fn axis(results: &Results) -> Option<usize> {
    let is_batch = |axis: &Axis| axis.paths == ["batch"] && axis.is_numeric();
    results.axes().find(|(_, axis)| is_batch(axis)).map(|(place, _)| place).filter(|_| results.plan.is_grid())
}

/// The curves of a sweep that varies `batch`; `None` of any other, or if no cell completed its run.
#[must_use]
pub(super) fn curves(results: &Results) -> Option<Curves> {
    let axis = axis(results)?;
    let mut by_choice: BTreeMap<Vec<usize>, Curve> = BTreeMap::new();
    let others: Vec<(usize, &Axis)> = results.axes().filter(|(place, _)| *place != axis).collect();
    let key = |levels: &[usize]| -> Vec<usize> { others.iter().map(|(place, _)| levels[*place]).collect() };
    for point in &results.points {
        let Some(at) = at(results, point, axis) else { continue };
        by_choice.entry(key(&point.levels)).or_insert_with(|| new_curve(&others, &point.levels)).points.push(at);
    }
    for levels in &results.unfit {
        let Some(batch) = results.plan.axes()[axis].levels[levels[axis]].number else { continue };
        by_choice.entry(key(levels)).or_insert_with(|| new_curve(&others, levels)).unfit.push(batch);
    }
    let mut lines: Vec<Curve> = by_choice.into_values().filter(|curve| !curve.points.is_empty()).collect();
    for curve in &mut lines {
        curve.points.sort_by(|a, b| a.batch.total_cmp(&b.batch));
        curve.unfit.sort_by(f64::total_cmp);
        curve.unfit.dedup();
    }
    let all = lines.len();
    if all > MOST_LINES {
        let mut most: Vec<f64> = lines.iter().map(Curve::most).collect();
        most.sort_by(|a, b| b.total_cmp(a));
        lines.retain(|curve| curve.most() >= most[MOST_LINES - 1]);
        lines.truncate(MOST_LINES);
    }
    (!lines.is_empty()).then_some(Curves { lines, all, axis })
}

fn new_curve(others: &[(usize, &Axis)], levels: &[usize]) -> Curve {
    let strategies = |wanted: bool| others.iter().filter(move |(_, axis)| axis.varies_strategy() == wanted);
    let words = |(place, axis): &(usize, &Axis)| match axis.levels[levels[*place]].number {
        // A name says what it is; a number does not.
        None => axis.shown(levels[*place]),
        Some(_) => format!("{} {}", axis.name, axis.shown(levels[*place])),
    };
    let joined = |wanted: bool| strategies(wanted).map(words).collect::<Vec<_>>().join(", ");
    Curve {
        label: others.iter().map(words).collect::<Vec<_>>().join(", "),
        setting: (joined(false), strategies(false).map(|(place, _)| levels[*place]).collect()),
        strategy: joined(true),
        points: Vec::new(),
        unfit: Vec::new(),
    }
}

fn at(results: &Results, point: &Point, axis: usize) -> Option<At> {
    let figure = |path: &str| results.value(point, &Measure::Figure(path.to_owned()));
    Some(At {
        batch: results.value(point, &Measure::Axis(axis))?,
        tokens_per_s: figure(RATE)?,
        tpot: figure(TPOT)?,
        alpha: figure(ALPHA).unwrap_or(0.0),
    })
}

impl Curve {
    fn most(&self) -> f64 {
        self.points.iter().map(|at| at.tokens_per_s).fold(0.0, f64::max)
    }

    fn best(&self) -> Option<&At> {
        self.points.iter().max_by(|a, b| a.tokens_per_s.total_cmp(&b.tokens_per_s))
    }

    fn at(&self, batch: f64) -> Option<&At> {
        self.points.iter().find(|at| at.batch == batch)
    }
}

impl Curves {
    /// What they show, a sentence each.
    pub fn sentences(&self, results: &Results) -> Vec<String> {
        let mut settings: Vec<Vec<&Curve>> = Vec::new();
        for curve in &self.lines {
            match settings.iter_mut().find(|of| of[0].setting == curve.setting) {
                Some(of) => of.push(curve),
                None => settings.push(vec![curve]),
            }
        }
        let shown = |batch: f64| results.plan.axes()[self.axis].unit.shown(batch);
        let mut lines = Vec::new();
        for curves in settings.iter().take(MOST_SETTINGS) {
            lines.push(external_memory(curves, &shown));
            lines.extend(gain_of_strategy(curves, &shown));
            lines.extend(first_unfit(curves, &shown));
        }
        lines.extend(winners(&self.lines, &shown));
        lines
    }
}

/// Tokens/s, rounded.
fn rate(tokens_per_s: f64) -> String {
    format!("{} tokens/s", FigureUnit::Rate.shown(tokens_per_s))
}

fn tpot(at: &At) -> String {
    format!("TPOT {}", figure_unit(TPOT).shown(at.tpot))
}

/// `gh200`, with a comma and what follows, or what follows alone.
fn on(curves: &[&Curve], rest: &str) -> String {
    match curves[0].setting.0.as_str() {
        "" => rest[..1].to_uppercase() + &rest[1..],
        setting => format!("{setting}: {rest}"),
    }
}

/// From which batch on external memory pays, and how much.
fn external_memory(curves: &[&Curve], shown: &dyn Fn(f64) -> String) -> String {
    let of_hbm = || curves.iter().flat_map(|curve| &curve.points).filter(|at| at.alpha >= ALL_OF_HBM);
    let Some(best) = curves.iter().max_by(|a, b| a.most().total_cmp(&b.most())) else { return String::new() };
    let Some(most) = best.best() else { return String::new() };
    let with = if best.strategy.is_empty() { String::new() } else { format!(" with {}", best.strategy) };
    let Some(last) = of_hbm().max_by(|a, b| a.batch.total_cmp(&b.batch)) else {
        return on(
            curves,
            &format!(
                "HBM alone is enough for no batch; the most tokens/s are {} at batch {}{with} ({}).",
                rate(most.tokens_per_s),
                shown(most.batch),
                tpot(most)
            ),
        );
    };
    // Beyond the best batch, each sequence more costs more time than it brings tokens.
    let beyond = match best.points.last() {
        Some(last) if last.batch > most.batch => {
            format!("; at batch {} it is {}", shown(last.batch), rate(last.tokens_per_s))
        }
        _ => String::new(),
    };
    let up_to = |batch: f64| of_hbm().filter(|at| at.batch <= batch).map(|at| at.tokens_per_s).fold(0.0, f64::max);
    let alone = up_to(f64::MAX);
    let enough = format!("HBM alone is enough up to batch {} ({}, {})", shown(last.batch), rate(alone), tpot(last));
    let pays = |at: &&At| at.alpha < ALL_OF_HBM && at.tokens_per_s > PAYS * up_to(at.batch);
    match best.points.iter().find(pays) {
        Some(first) => on(
            curves,
            &format!(
                "{enough}; external memory begins to pay at batch {}{with} ({}), and at batch {} gives {:.2} times as many tokens/s as \
                 HBM alone can ({}, {}){beyond}.",
                shown(first.batch),
                rate(first.tokens_per_s),
                shown(most.batch),
                most.tokens_per_s / alone,
                rate(most.tokens_per_s),
                tpot(most)
            ),
        ),
        None => on(curves, &format!("{enough}; external memory does not pay at any batch of the sweep{beyond}.")),
    }
}

/// From which batch on the best strategy gains a tenth over the first.
fn gain_of_strategy(curves: &[&Curve], shown: &dyn Fn(f64) -> String) -> Option<String> {
    let first = curves.first()?;
    let best = curves.iter().max_by(|a, b| a.most().total_cmp(&b.most()))?;
    if best.strategy == first.strategy {
        return None;
    }
    let gain = |at: &At| Some((at.batch, at.tokens_per_s / first.at(at.batch)?.tokens_per_s - 1.0));
    let gains: Vec<(f64, f64)> = best.points.iter().filter_map(gain).collect();
    let most = gains.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let gained = |batch: f64| gains.iter().filter(|(at, _)| *at >= batch).all(|(_, gain)| *gain >= TENTH);
    let from = match gains.iter().find(|(_, gain)| *gain >= TENTH).map(|(batch, _)| *batch) {
        // A gain that falls below a tenth again has no batch from which on it holds.
        Some(batch) if gained(batch) => format!("at least 10 % from batch {} on", shown(batch)),
        Some(batch) => format!("10 % first at batch {}", shown(batch)),
        None => "less than 10 % at any batch".to_owned(),
    };
    let line = format!(
        "{} gains {from} over {}; the most, {:+.1} %, at batch {}.",
        best.strategy,
        first.strategy,
        100.0 * most.1,
        shown(most.0)
    );
    Some(match first.setting.0.as_str() {
        "" => line,
        setting => format!("{setting}: {line}"),
    })
}

/// The least batch that does not fit.
fn first_unfit(curves: &[&Curve], shown: &dyn Fn(f64) -> String) -> Option<String> {
    let first = curves.iter().flat_map(|curve| &curve.unfit).copied().min_by(f64::total_cmp)?;
    Some(on(curves, &format!("batches of {} and more do not fit.", shown(first))))
}

/// Which choice has the most tokens/s at which batches, where that changes.
fn winners(lines: &[Curve], shown: &dyn Fn(f64) -> String) -> Option<String> {
    let mut batches: Vec<f64> = lines.iter().flat_map(|curve| &curve.points).map(|at| at.batch).collect();
    batches.sort_by(f64::total_cmp);
    batches.dedup();
    let mut stretches: Vec<(&str, f64, f64)> = Vec::new();
    for batch in batches {
        let there = lines.iter().filter_map(|curve| Some((curve.at(batch)?.tokens_per_s, curve.label.as_str())));
        let (_, label) = there.max_by(|a, b| a.0.total_cmp(&b.0))?;
        match stretches.last_mut() {
            Some((known, _, end)) if *known == label => *end = batch,
            _ => stretches.push((label, batch, batch)),
        }
    }
    let stretch = |(label, from, to): &(&str, f64, f64)| match from == to {
        true => format!("{label} at batch {}", shown(*from)),
        false => format!("{label} at batch {} to {}", shown(*from), shown(*to)),
    };
    let several = stretches.len() > 1 && lines.len() > 1;
    several.then(|| format!("The most tokens/s: {}.", stretches.iter().map(stretch).collect::<Vec<_>>().join("; ")))
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::of_rows;
    use super::super::{AxisConfig, Plan, Row, SweepConfig};
    use super::*;
    use crate::metrics::{FigureValue, Named};
    use crate::simulation::{Scenario, ScenarioConfig};
    use serde_json::json;

    /// Batches 1, 2, 4 and 8 of two strategies; 8 does not fit. HBM alone holds 2 with the first
    /// strategy; the second reads from external memory at once.
    fn results() -> Results {
        let values = |field: &str, values: serde_json::Value| AxisConfig::Values {
            field: field.to_owned(),
            values: values.as_array().unwrap().clone(),
        };
        let axes =
            vec![values("batch", json!([1, 2, 4, 8])), values("strategy", json!(["baseline", "balanced-online"]))];
        let plan = Plan::new(SweepConfig::of("test".to_owned(), ScenarioConfig::load("study").unwrap(), axes)).unwrap();
        let mut full = ScenarioConfig::load("study").unwrap();
        (full.batch, full.prefill_tokens) = (10_000, 4096);
        let full = Scenario::new(full).unwrap_err();
        assert!(full.is_of_room(), "{full}");
        let row = |cell: u64| {
            let (batch, choice) = ((cell / 2) as usize, (cell % 2) as usize);
            let Some(rate) = [[100.0, 104.0], [150.0, 160.0], [150.0, 180.0]].get(batch).map(|of| of[choice]) else {
                return Row::does_not_fit(cell, &full);
            };
            let alpha = if choice == 0 && batch < 2 { 1.0 } else { 0.9 };
            let tpot = if batch == 0 { "token_latency_ns.mean" } else { "tpot_ns.mean" };
            let figures = [("tokens_per_s", rate), (tpot, 1e9 * f64::from(1 << batch) / rate), ("alpha.mean", alpha)];
            let figures = figures.map(|(name, value)| (name.to_owned(), FigureValue::Real(value))).to_vec();
            Row { cell, error: None, figures: Named(figures) }
        };
        let rows = (0..8).map(row).collect();
        of_rows(plan, rows)
    }

    #[test]
    fn where_external_memory_pays_and_what_does_not_fit_are_said() {
        let results = results();
        assert_eq!((results.failed, results.no_room, results.points.len()), (0, 2, 6));
        let curves = curves(&results).unwrap();
        let labels: Vec<&str> = curves.lines.iter().map(|curve| curve.label.as_str()).collect();
        assert_eq!(labels, ["baseline", "balanced-online"]);
        // One sequence has no TPOT of its own: its steps are its tokens.
        assert_eq!(curves.lines[0].points[0].tpot, 1e7);
        let sentences = curves.sentences(&results);
        let expected = [
            "HBM alone is enough up to batch 2 (150.0 tokens/s, TPOT 13.33 ms); external memory begins to pay at batch 1 with \
             balanced-online (104.0 tokens/s), and at batch 4 gives 1.20 times as many tokens/s as HBM alone can (180.0 tokens/s, TPOT 22.22 \
             ms).",
            "balanced-online gains at least 10 % from batch 4 on over baseline; the most, +20.0 %, at batch 4.",
            "Batches of 8 and more do not fit.",
        ];
        assert_eq!(sentences, expected);
    }
}
