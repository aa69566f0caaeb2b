//! The map of winners of a decision: which circumstances are its axes, which make its panels, and
//! the outcome of each cell.

use super::names::{Names, level_name};
use super::{PICTURE, varying};
use crate::decision::{Circumstance, Decision};
use crate::report::winners::{Clarity, Crossing, MapAxis, Side, WinnerMap, WinnerPanel};
use crate::report::{Artifact, ReportError};

/// The most panels of a picture: a reader cannot compare more.
const MOST_PANELS: usize = 16;

/// Which circumstances are the axes of a map, and which make its panels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sides {
    pub x: usize,
    pub y: usize,
    pub others: Vec<usize>,
}

/// The sides of the map of a decision with two or more circumstances of several values: x and y are
/// the two that change the winner most, numbers first.
pub(super) fn sides(decision: &Decision, names: &Names<'_>) -> Option<Sides> {
    let mut axes = varying(decision);
    let numeric = |axis: usize| decision.given[axis].levels.iter().all(|(_, number)| number.is_some());
    let scores: Vec<f64> = (0..decision.given.len()).map(|axis| changes(decision, names, axis)).collect();
    axes.sort_by(|a, b| numeric(*b).cmp(&numeric(*a)).then(scores[*b].total_cmp(&scores[*a])));
    let [first, second, others @ ..] = &axes[..] else { return None };
    let mut others = others.to_vec();
    others.sort_unstable();
    let count = |axis: usize| decision.given[axis].levels.len();
    // The longer axis lies to the right, as pages are wide, unless only the other has numbers:
    // names are easier to read beside rows.
    let (x, y) = match (numeric(*first), numeric(*second)) {
        (true, false) => (*first, *second),
        _ if count(*second) > count(*first) => (*second, *first),
        _ => (*first, *second),
    };
    Some(Sides { x, y, others })
}

/// The share of neighbours along a circumstance that have different winners; pairs in which both
/// outcomes are about the same do not count.
fn changes(decision: &Decision, names: &Names<'_>, axis: usize) -> f64 {
    let (mut pairs, mut changed) = (0usize, 0usize);
    for circumstance in &decision.circumstances {
        let mut next = circumstance.given.clone();
        next[axis] += 1;
        let Some(next) = find(decision, &next) else { continue };
        let [one, other] = [circumstance, next].map(|it| names.outcome(it));
        let unclear = |it: &crate::report::winners::Outcome| it.clarity(decision.within) == Clarity::Same;
        pairs += 1;
        changed += usize::from(one.winner != other.winner && !(unclear(&one) && unclear(&other)));
    }
    if pairs == 0 { 0.0 } else { changed as f64 / pairs as f64 }
}

/// The circumstance with those values.
pub(super) fn find<'a>(decision: &'a Decision, given: &[usize]) -> Option<&'a Circumstance> {
    // Circumstances are complete and in order unless some are left out.
    let place = decision.given.iter().zip(given).try_fold(0usize, |place, (axis, level)| {
        (*level < axis.levels.len()).then_some(place * axis.levels.len() + level)
    })?;
    let there = decision.circumstances.get(place).filter(|it| it.given == given);
    there.or_else(|| decision.circumstances.iter().find(|it| it.given == given))
}

/// The values of the circumstances that make the panels, for each panel.
pub(super) fn panels(decision: &Decision, others: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![vec![0; decision.given.len()]];
    for axis in others {
        let levels = decision.given[*axis].levels.len();
        let with = |panel: &Vec<usize>, level: usize| {
            let mut panel = panel.clone();
            panel[*axis] = level;
            panel
        };
        all = all.iter().flat_map(|panel| (0..levels).map(move |level| with(panel, level))).collect();
    }
    all
}

/// The map, with at most `most` panels, and how many there would be.
pub(super) fn map(decision: &Decision, names: &Names<'_>, sides: &Sides, most: usize) -> (WinnerMap, usize) {
    let all = panels(decision, &sides.others);
    let axis = |axis: usize| {
        let of = &decision.given[axis];
        MapAxis {
            name: of.name.clone(),
            values: (0..of.levels.len()).map(|level| level_name(of, level)).collect(),
            numeric: of.levels.iter().all(|(_, number)| number.is_some()),
        }
    };
    let (x, y) = (axis(sides.x), axis(sides.y));
    let panel = |given: &Vec<usize>| {
        let at = |row: usize, column: usize| {
            let mut given = given.clone();
            (given[sides.x], given[sides.y]) = (column, row);
            find(decision, &given).map(|it| names.outcome(it))
        };
        WinnerPanel {
            title: names.given(given, &sides.others),
            rows: (0..y.values.len()).map(|row| (0..x.values.len()).map(|column| at(row, column)).collect()).collect(),
            crossings: crossings(decision, names, sides, given),
        }
    };
    let panels: Vec<WinnerPanel> = all.iter().take(most).map(panel).collect();
    let map = WinnerMap {
        name: PICTURE.to_owned(),
        title: names.question(),
        notes: notes(decision, names, panels.len(), all.len()),
        x,
        y,
        choices: names.choices(),
        panels,
        within: decision.within,
        gaps: "a choice does not fit here, or failed".to_owned(),
    };
    (map, all.len())
}

/// The crossovers along the axes of a map, in the panel of the other circumstances `given`.
fn crossings(decision: &Decision, names: &Names<'_>, sides: &Sides, given: &[usize]) -> Vec<Crossing> {
    let here = |at: &[usize]| sides.others.iter().all(|axis| at[*axis] == given[*axis]);
    let crossing = |crossover: &crate::decision::Crossover| {
        let side = match crossover.along {
            along if along == sides.x => Side::NextColumn,
            along if along == sides.y => Side::NextRow,
            _ => return None,
        };
        let (column, row) = (crossover.given[sides.x], crossover.given[sides.y]);
        here(&crossover.given).then(|| Crossing { column, row, side, text: names.crossover(crossover) })
    };
    decision.crossovers.iter().filter_map(crossing).collect()
}

/// What stands below a picture's title: the answer, what is the same everywhere, and what is left
/// out.
pub(super) fn notes(decision: &Decision, names: &Names<'_>, panels: usize, all: usize) -> Vec<String> {
    let mut notes: Vec<String> = decision.answer.first().into_iter().cloned().collect();
    let fixed = names.fixed();
    if !fixed.is_empty() {
        notes.push(format!("Everywhere: {fixed}."));
    }
    if panels < all {
        notes.push(format!("Shown are the first {panels} of {all} combinations of the other circumstances."));
    }
    notes
}

pub(super) fn picture(decision: &Decision, names: &Names<'_>, sides: &Sides) -> Result<[Artifact; 2], ReportError> {
    map(decision, names, sides, MOST_PANELS).0.artifacts()
}
