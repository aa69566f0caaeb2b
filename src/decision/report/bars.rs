//! The figure of the choices as bars: for circumstances without an order, or a single one.

use super::names::Names;
use super::{PICTURE, lines, map, varying};
use crate::decision::{Circumstance, Decision};
use crate::report::html::BarTable;
use crate::report::winners::{BarGroup, COLOURED, margin_text, winner_bars};
use crate::report::{Artifact, ReportError};

/// The most circumstances of a picture.
const MOST_GROUPS: usize = 16;

pub(super) fn picture(decision: &Decision, names: &Names<'_>) -> Result<[Artifact; 2], ReportError> {
    let groups: Vec<BarGroup> =
        decision.circumstances.iter().take(MOST_GROUPS).map(|it| group(decision, names, it)).collect();
    let mut title = vec![names.question()];
    title.extend(map::notes(decision, names, groups.len(), decision.circumstances.len()));
    title.extend(lines::left_out(names));
    winner_bars(PICTURE, &title.join(" "), &names.label(), &groups)
}

fn group(decision: &Decision, names: &Names<'_>, circumstance: &Circumstance) -> BarGroup {
    let rows = rows(decision, names, circumstance).into_iter().map(|(label, place, value, text)| {
        let value = value / names.scale.0;
        (label, place, value, text)
    });
    BarGroup { title: names.given(&circumstance.given, &varying(decision)), rows: rows.collect() }
}

/// For each choice of a circumstance its name, its place, its figure and the figure's text with how
/// much worse it is than the best.
fn rows(decision: &Decision, names: &Names<'_>, circumstance: &Circumstance) -> Vec<(String, usize, f64, String)> {
    let best = circumstance.ranking.first().map_or(f64::NAN, |first| first.value);
    let row = |ranked: &crate::decision::Ranked| {
        let off = if decision.by.more_is_better { best / ranked.value } else { ranked.value / best } - 1.0;
        let text = match off {
            off if off > 0.0 => format!("{} ({})", names.value(ranked.value), margin_text(off)),
            _ => names.value(ranked.value),
        };
        (names.whole_choice(&ranked.choice), names.place(&ranked.choice), ranked.value, text)
    };
    circumstance.ranking.iter().map(row).filter(|row| row.1 < COLOURED).collect()
}

/// The bars of a page, for at most `most` circumstances.
pub(super) fn tables(decision: &Decision, names: &Names<'_>, most: usize) -> Vec<BarTable> {
    let shown = || decision.circumstances.iter().take(most);
    let greatest = shown().flat_map(|it| &it.ranking).map(|ranked| ranked.value).fold(0.0, f64::max);
    let table = |circumstance: &Circumstance| BarTable {
        caption: names.given(&circumstance.given, &varying(decision)),
        rows: rows(decision, names, circumstance)
            .into_iter()
            .map(|(label, _, value, text)| (label, text, if greatest > 0.0 { value / greatest } else { 0.0 }))
            .collect(),
    };
    shown().map(table).collect()
}
