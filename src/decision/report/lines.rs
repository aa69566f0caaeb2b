//! The figure of the choices over a circumstance that is a number.

use super::names::{Names, level_name};
use super::{PICTURE, map};
use crate::decision::{Circumstance, Decision};
use crate::report::grids::LinesPanel;
use crate::report::html::Facets;
use crate::report::winners::{COLOURED, WinnerLine, WinnerLines};
use crate::report::{Artifact, ReportError};

/// A note on the choices that are not shown; empty if all are.
pub(super) fn left_out(names: &Names<'_>) -> Option<String> {
    let all = names.count();
    (all > COLOURED)
        .then(|| format!("Shown are {COLOURED} of {all} choices: those that win, and those that come closest."))
}

pub(super) fn picture(decision: &Decision, names: &Names<'_>, along: usize) -> Result<[Artifact; 2], ReportError> {
    let axis = &decision.given[along];
    let mut notes = map::notes(decision, names, 1, 1);
    notes.extend(left_out(names));
    let line = |(place, label): (usize, String)| WinnerLine {
        label,
        place,
        values: decision.circumstances.iter().map(|it| value(names, it, place)).collect(),
    };
    let x = |circumstance: &Circumstance| {
        let level = circumstance.given[along];
        (axis.levels[level].1.unwrap_or(level as f64), level_name(axis, level))
    };
    let crossing = |crossover: &crate::decision::Crossover| {
        let (low, high) = crossover.between;
        ((low + high) / 2.0, names.crossover(crossover))
    };
    let lines = WinnerLines {
        name: PICTURE.to_owned(),
        title: names.question(),
        notes,
        x_label: axis.name.clone(),
        x: decision.circumstances.iter().map(x).collect(),
        y_label: names.label(),
        lines: names.choices().into_iter().take(COLOURED).enumerate().map(line).collect(),
        crossings: decision.crossovers.iter().filter(|it| it.along == along).map(crossing).collect(),
    };
    lines.artifacts()
}

/// The figure of the choice at `place`, in the unit of pictures.
fn value(names: &Names<'_>, circumstance: &Circumstance, place: usize) -> Option<f64> {
    let ranked = circumstance.ranking.iter().find(|ranked| names.place(&ranked.choice) == place)?;
    Some(ranked.value / names.scale.0)
}

/// The lines of a page over `along`, a panel for each combination of the other circumstances, at
/// most `most` of them; and how many there would be.
pub(super) fn facets(decision: &Decision, names: &Names<'_>, along: usize, most: usize) -> (Facets, usize) {
    let axis = &decision.given[along];
    let others: Vec<usize> = super::varying(decision).into_iter().filter(|other| *other != along).collect();
    let all = map::panels(decision, &others);
    let (factor, unit) = axis.unit.scale(axis.levels.iter().filter_map(|(_, number)| *number).fold(0.0, f64::max));
    let panel = |given: &Vec<usize>| {
        let point = |level: usize, place: usize| {
            let mut given = given.clone();
            given[along] = level;
            let value = value(names, map::find(decision, &given)?, place)?;
            Some((axis.levels[level].1? / factor, value))
        };
        let line = |(place, label): (usize, String)| {
            let points = (0..axis.levels.len()).filter_map(|level| point(level, place));
            let mut points: Vec<(f64, f64)> = points.collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            (label, points)
        };
        let lines = names.choices().into_iter().take(COLOURED).enumerate().map(line).collect();
        LinesPanel { title: names.given(given, &others), lines }
    };
    let x_label = if unit.is_empty() { axis.name.clone() } else { format!("{} ({unit})", axis.name) };
    let panels = all.iter().take(most).map(panel).collect();
    (Facets { x_label, y_label: names.label(), panels }, all.len())
}
