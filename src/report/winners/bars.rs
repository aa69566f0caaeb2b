//! The figure of each choice as bars, in groups for circumstances that are not numbers.

use super::colour_of;
use crate::report::bars::{Bars, Part, Row};
use crate::report::{Artifact, ReportError};

/// The bars of one circumstance.
#[derive(Clone, Debug)]
pub struct BarGroup {
    /// The circumstance; may be empty where there is only one.
    pub title: String,
    /// The choice, its place in the order of the choices, its figure, and what stands behind the
    /// bar: the best first.
    pub rows: Vec<(String, usize, f64, String)>,
}

/// The picture as `NAME.svg` and `NAME.png`: bars from 0, grouped.
///
/// # Errors
/// [`ReportError`] if it cannot be drawn.
pub fn winner_bars(name: &str, title: &str, x_label: &str, groups: &[BarGroup]) -> Result<[Artifact; 2], ReportError> {
    let most = groups.iter().flat_map(|group| &group.rows).map(|row| row.2).fold(0.0, f64::max);
    let mut rows = Vec::new();
    for group in groups {
        if !group.title.is_empty() {
            let label = format!("{}:", group.title);
            rows.push(Row { label, figure: String::new(), parts: Vec::new(), leads_on: None });
        }
        for (label, place, value, text) in &group.rows {
            let part = Part { from: 0.0, to: *value, colour: colour_of(*place), text: String::new() };
            rows.push(Row { label: label.clone(), figure: text.clone(), parts: vec![part], leads_on: None });
        }
    }
    let x = (0.0, if most > 0.0 { most } else { 1.0 });
    let bars = Bars {
        name: name.to_owned(),
        title: title.to_owned(),
        x_label: x_label.to_owned(),
        x,
        rows,
        legend: Vec::new(),
    };
    bars.artifacts()
}
