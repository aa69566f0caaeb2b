//! The layout of a run's bytes: each tier's share of the weights and of the KV, at the start and at
//! the end.

use super::labelled::Labelled;
use super::numbers::bytes_in;
use super::placement::PlacementRow;
use super::table::{Column, Table};
use crate::metrics::{Named, StoredSummary, Summary};
use crate::units::SizeStyle;

/// Some bytes at one moment, by tier.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    /// All of them.
    pub bytes: u64,
    /// For each tier its name, its bytes and its share.
    pub parts: Vec<(String, u64, f64)>,
    /// The units in which it is shown.
    style: SizeStyle,
}

impl Spread {
    fn new(bytes: &Named<u64>, style: SizeStyle) -> Self {
        let all: u64 = bytes.0.iter().map(|(_, bytes)| bytes).sum();
        let share = |bytes: u64| if all > 0 { bytes as f64 / all as f64 } else { 0.0 };
        let parts = bytes.0.iter().map(|(tier, bytes)| (tier.clone(), *bytes, share(*bytes))).collect();
        Self { bytes: all, parts, style }
    }

    /// In words: `85.0 % hbm, 15.0 % external of 1 GiB`.
    #[must_use]
    pub fn shown(&self) -> String {
        if self.bytes == 0 {
            return "nothing".to_owned();
        }
        let on =
            |(tier, bytes, share): &(String, u64, f64)| (*bytes > 0).then(|| format!("{:.1} % {tier}", 100.0 * share));
        let parts: Vec<String> = self.parts.iter().filter_map(on).collect();
        format!("{} of {}", parts.join(", "), bytes_in(self.style, self.bytes))
    }
}

/// The bytes of one kind, at the start and at the end of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// `weights` or `KV`.
    pub what: &'static str,
    /// Before the first step.
    pub start: Spread,
    /// When the run ended.
    pub end: Spread,
}

/// The weights and the KV of a run; nothing of a run whose summary is of an earlier version.
#[must_use]
pub fn stored(summary: &Summary) -> Vec<Stored> {
    let Some(layout) = &summary.layout else { return Vec::new() };
    let of = |what, pick: fn(&StoredSummary) -> &Named<u64>| Stored {
        what,
        start: Spread::new(pick(&layout.start), summary.size_style()),
        end: Spread::new(pick(&layout.end), summary.size_style()),
    };
    vec![of("weights", |stored| &stored.weights_bytes), of("KV", |stored| &stored.kv_bytes)]
}

/// The same as a table, two rows a run.
#[must_use]
pub fn layout_table(runs: &[Labelled<'_>]) -> Table {
    let columns = ["strategy", "where the bytes are", "at the start", "at the end"];
    let mut table = Table::new(columns.map(Column::text).to_vec());
    for run in runs {
        for Stored { what, start, end } in stored(&run.run.summary) {
            table.row([run.label.to_owned(), what.to_owned(), start.shown(), end.shown()]);
        }
    }
    table
}

/// The same as bars: one for each kind and moment of each run, all with the same tiers. Bytes that
/// do not move have one bar.
pub(super) fn placement_rows(runs: &[Labelled<'_>]) -> Vec<PlacementRow> {
    let mut tiers: Vec<&str> = Vec::new();
    for tier in runs.iter().flat_map(|run| &run.run.tiers) {
        if !tiers.contains(&tier.as_str()) {
            tiers.push(tier);
        }
    }
    let row = |run: &Labelled<'_>, label: String, spread: &Spread| {
        let on = |tier: &str| spread.parts.iter().find(|(name, ..)| name == tier).map_or(0, |(_, bytes, _)| *bytes);
        let label = if runs.len() > 1 { format!("{}: {label}", run.label) } else { label };
        PlacementRow { label, tiers: tiers.iter().map(|tier| ((*tier).to_owned(), on(tier))).collect() }
    };
    let mut rows = Vec::new();
    for run in runs {
        for Stored { what, start, end } in stored(&run.run.summary) {
            if start == end {
                rows.push(row(run, what.to_owned(), &start));
            } else {
                rows.push(row(run, format!("{what} at the start"), &start));
                rows.push(row(run, format!("{what} at the end"), &end));
            }
        }
    }
    rows
}

/// Columns for the first tier's shares, for tables that have a row a run.
#[must_use]
pub fn share_columns(tier: &str) -> [Column; 3] {
    ["weights in", "KV in", "KV at the end in"].map(|what| Column::number(&format!("{what} {tier}")))
}

/// The cells for them.
#[must_use]
pub fn share_cells(summary: &Summary) -> [String; 3] {
    let first = |spread: &Spread| {
        let share = spread.parts.first().filter(|_| spread.bytes > 0).map(|(_, _, share)| *share);
        share.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", 100.0 * share))
    };
    match stored(summary).as_slice() {
        [weights, kv] => [first(&weights.start), first(&kv.start), first(&kv.end)],
        _ => ["-", "-", "-"].map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_in_words() {
        let spread = |hbm: u64, external: u64| {
            Spread::new(&Named(vec![("hbm".to_owned(), hbm), ("external".to_owned(), external)]), SizeStyle::Binary)
                .shown()
        };
        assert_eq!(spread(3 << 30, 1 << 30), "75.0 % hbm, 25.0 % external of 4 GiB");
        assert_eq!(spread(1 << 30, 0), "100.0 % hbm of 1 GiB");
        assert_eq!(spread(0, 0), "nothing");
    }
}
