//! The groups of a run's sequences: a row for each group of each run.

use super::labelled::Labelled;
use super::numbers::{dash, time};
use super::table::{Column, Table};
use crate::metrics::{Distribution, SequencesSummary, rate};

/// The columns after the run's label and the number of the group.
pub(super) const GROUP_COLUMNS: [&str; 10] = [
    "sequences",
    "prompt",
    "decoded",
    "from step",
    "ended",
    "tokens/s",
    "TPOT p50",
    "TPOT p99",
    "TTFT p50",
    "TTFT p99",
];

/// The most groups of a run that a table on the terminal lists; `summary.json` has all.
const GROUPS_SHOWN: usize = 16;

/// Whether there is more to say of the groups of `runs` than of the runs as a whole.
pub(super) fn have_groups(runs: &[Labelled<'_>]) -> bool {
    runs.iter().any(|run| run.run.summary.sequences.len() > 1)
}

/// The cells of one group.
pub(super) fn group_cells(group: &SequencesSummary) -> Vec<String> {
    let part = |times: &Option<Distribution>, pick: fn(&Distribution) -> f64| {
        times.as_ref().map_or_else(dash, |times| time(pick(times)))
    };
    vec![
        group.count.to_string(),
        group.prefill_tokens.to_string(),
        group.decode_tokens.to_string(),
        group.start_step.to_string(),
        group.finished.to_string(),
        group.tokens_per_s.map_or_else(dash, rate),
        part(&group.tpot_ns, |times| times.p50),
        part(&group.tpot_ns, |times| times.p99),
        part(&group.ttft_ns, |times| times.p50),
        part(&group.ttft_ns, |times| times.p99),
    ]
}

/// The groups as a table, where a run has several.
#[must_use]
pub fn group_table(runs: &[Labelled<'_>]) -> Option<Table> {
    if !have_groups(runs) {
        return None;
    }
    let mut columns = vec![Column::text("strategy"), Column::number("group")];
    columns.extend(GROUP_COLUMNS.map(Column::number));
    let mut table = Table::new(columns);
    for run in runs {
        let groups = &run.run.summary.sequences;
        for (number, group) in groups.iter().enumerate().take(GROUPS_SHOWN) {
            table.row([run.label.to_owned(), number.to_string()].into_iter().chain(group_cells(group)));
        }
        if let Some(more) = groups.len().checked_sub(GROUPS_SHOWN).filter(|more| *more > 0) {
            let rest = std::iter::repeat_n(String::new(), GROUP_COLUMNS.len());
            table.row([run.label.to_owned(), format!("{more} more")].into_iter().chain(rest));
        }
    }
    Some(table)
}
