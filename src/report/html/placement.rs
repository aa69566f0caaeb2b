use super::failed;
use crate::report::numbers::{bytes, dash, percent};
use crate::report::{PlacementRow, ReportError};
use askama::Template;

#[derive(Template)]
#[template(path = "placement.html", config = "src/report/html/askama.toml")]
struct PlacementView<'a> {
    tiers: Vec<&'a str>,
    rows: Vec<RowView<'a>>,
}

struct RowView<'a> {
    label: &'a str,
    /// The tier's place, its name, and its share in percent.
    parts: Vec<(usize, &'a str, String)>,
    /// Each tier's share, for the table.
    shares: Vec<String>,
    total: String,
}

impl<'a> RowView<'a> {
    fn new(row: &'a PlacementRow) -> Self {
        let (mut parts, mut shares) = (Vec::new(), Vec::new());
        for (index, ((tier, bytes), (_, share))) in row.tiers.iter().zip(row.shares()).enumerate() {
            if *bytes > 0 {
                parts.push((index % TIER_COLOURS, tier.as_str(), format!("{share:.2}")));
            }
            shares.push(if row.total() == 0 { dash() } else { percent(share / 100.0) });
        }
        Self { label: &row.label, parts, shares, total: bytes(row.total()) }
    }
}

/// How many colours of tiers the style has; more tiers share them, and the table names each.
const TIER_COLOURS: usize = 6;

/// The layout of bytes, as a part of a page: a legend, and a table whose rows are stacked bars with
/// each tier's share beside them. It is escaped: a template includes it as `{{ placement|safe }}`.
/// The page's style is that of all pages (`page.css`).
///
/// # Errors
/// [`ReportError::Format`] if the template fails, which valid input never causes.
pub fn placement_bar(rows: &[PlacementRow]) -> Result<String, ReportError> {
    let tiers = rows.first().map_or(Vec::new(), |row| row.tiers.iter().map(|(tier, _)| tier.as_str()).collect());
    PlacementView { tiers, rows: rows.iter().map(RowView::new).collect() }.render().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_empty_tiers_have_no_bar() {
        let tiers = vec![("<hbm>".to_owned(), 3), ("external".to_owned(), 0)];
        let rows = [PlacementRow { label: "KV & more".to_owned(), tiers }];
        let html = placement_bar(&rows).unwrap();
        assert!(!html.contains("<hbm>") && html.contains("KV &#38; more"), "{html}");
        assert_eq!(html.matches("<i class=\"t").count(), 1 + 2, "{html}");
        assert!(html.contains("100.0 %") && html.contains("0.0 %") && html.contains("3 B"), "{html}");
    }
}
