//! The layout of bytes as a picture: a stacked bar of the shares of the tiers.

use super::artifact::{Artifact, ReportError};
use super::bars::{Bars, Part, Row};
use super::numbers::bytes;
use super::strokes::colour;

/// A bar of [`placement_bar`] and of [`html::placement_bar`](super::html::placement_bar): bytes of
/// one kind at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementRow {
    /// The kind of bytes and the moment: `weights at the start`, `KV at the end`.
    pub label: String,
    /// The bytes on each tier by its name, the fastest tier first. Every row of a bar has the same
    /// tiers in the same order.
    pub tiers: Vec<(String, u64)>,
}

impl PlacementRow {
    /// All bytes of the row.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.tiers.iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }

    /// Each tier's share in percent, and where it begins; nothing where there are no bytes.
    pub(super) fn shares(&self) -> Vec<(f64, f64)> {
        let total = self.total();
        let mut from = 0.0;
        let share = |(_, bytes): &(String, u64)| {
            let share = if total == 0 { 0.0 } else { 100.0 * *bytes as f64 / total as f64 };
            from += share;
            (from - share, share)
        };
        self.tiers.iter().map(share).collect()
    }
}

/// The colours of tiers, the fastest first; those of memory in use.
pub(super) const TIER_COLOURS: [&str; 8] = [
    colour::BLUE,
    colour::ORANGE,
    colour::GREEN,
    colour::PURPLE,
    colour::VERMILLION,
    colour::SKY,
    colour::GREY,
    colour::OLIVE,
];

/// The picture as `NAME.svg` and `NAME.png`: a bar a row, each as long as all of the row's bytes,
/// in the colours of the tiers. The size in bytes stands at the end of each.
///
/// # Errors
/// [`ReportError`] if it cannot be drawn.
pub fn placement_bar(name: &str, title: &str, rows: &[PlacementRow]) -> Result<[Artifact; 2], ReportError> {
    let coloured = |index: usize| TIER_COLOURS[index % TIER_COLOURS.len()];
    let tiers = rows.first().map_or(&[][..], |row| &row.tiers);
    let bar = |row: &PlacementRow| {
        let part = |(index, (from, share)): (usize, (f64, f64))| Part {
            from,
            to: from + share,
            colour: coloured(index),
            text: format!("{share:.1} %"),
        };
        Row {
            label: row.label.clone(),
            figure: bytes(row.total()),
            parts: row.shares().into_iter().enumerate().map(part).collect(),
            leads_on: None,
        }
    };
    Bars {
        name: name.to_owned(),
        title: title.to_owned(),
        x_label: "share of the bytes (%)".to_owned(),
        x: (0.0, 100.0),
        rows: rows.iter().map(bar).collect(),
        legend: tiers.iter().enumerate().map(|(index, (tier, _))| (tier.clone(), coloured(index))).collect(),
    }
    .artifacts()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(label: &str, hbm: u64, external: u64) -> PlacementRow {
        PlacementRow {
            label: label.to_owned(),
            tiers: vec![("hbm".to_owned(), hbm), ("external".to_owned(), external)],
        }
    }

    #[test]
    fn shares_follow_one_another_and_add_up() {
        assert_eq!(row("weights", 3, 1).shares(), [(0.0, 75.0), (75.0, 25.0)]);
        assert_eq!(row("KV", 0, 0).shares(), [(0.0, 0.0), (0.0, 0.0)]);
    }

    #[test]
    fn each_row_has_its_label_its_shares_and_its_size() {
        let rows = [row("weights at the start", 3 << 30, 1 << 30), row("KV at the end", 0, 1 << 20)];
        let [svg, _] = placement_bar("placement", "Layout of the bytes", &rows).unwrap();
        let svg = String::from_utf8(svg.bytes).unwrap();
        for text in ["weights at the start", "4 GiB", "75.0 %", "25.0 %", "KV at the end", "1 MiB", "100.0 %", "hbm"] {
            assert!(svg.contains(&format!(">{text}</text>")), "{text}");
        }
        assert!(!svg.contains(">0.0 %</text>"), "an empty share has no room for a text");
    }
}
