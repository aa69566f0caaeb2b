//! Heat maps: a colour for each pair of values of two axes.

use super::artifact::{Artifact, ReportError};
use super::chart::TITLE_WIDTH;
use super::scene::pictures;
use kuva::plot::{ColorMap, Heatmap};
use kuva::render::layout::Layout;
use kuva::render::plots::Plot;
use kuva::render::render::render_multiple;
use std::sync::Arc;

/// A colour for each pair of values of two axes.
#[derive(Clone, Debug)]
pub(super) struct HeatMap {
    /// The name of the files, without an ending.
    pub name: String,
    pub title: String,
    pub x_label: String,
    pub y_label: String,
    /// From the left.
    pub x_values: Vec<String>,
    /// From below.
    pub y_values: Vec<String>,
    /// From below, each from the left.
    pub rows: Vec<Vec<Option<f64>>>,
    /// The values of the palest and of the strongest colour; maps that are compared have the same.
    pub ends: (f64, f64),
}

/// The most columns of a heat map whose fields show their values: more leave no room.
const WRITTEN_COLUMNS: usize = 10;

/// The colour of a value between the least and the greatest: from pale to vermillion, on all of
/// which black can be read.
pub(super) fn heat(share: f64) -> String {
    const PALE: [f64; 3] = [255.0, 250.0, 226.0];
    const STRONG: [f64; 3] = [213.0, 94.0, 0.0];
    // Missing values have no colour.
    if !share.is_finite() {
        return "#dddddd".to_owned();
    }
    let share = share.clamp(0.0, 1.0);
    let mixed: [f64; 3] = std::array::from_fn(|part| PALE[part] + (STRONG[part] - PALE[part]) * share);
    format!("#{:02x}{:02x}{:02x}", mixed[0].round() as u8, mixed[1].round() as u8, mixed[2].round() as u8)
}

impl HeatMap {
    pub fn artifacts(self) -> Result<[Artifact; 2], ReportError> {
        let columns = self.x_values.len();
        let values = self.rows.iter().map(|row| row.iter().map(|value| value.unwrap_or(f64::NAN)));
        // The crate passes a value's position among those of this map.
        let own = self.rows.iter().flatten().flatten().fold((f64::MAX, f64::MIN), |(a, b), y| (a.min(*y), b.max(*y)));
        let (least, most) = self.ends;
        let colour = move |share: f64| {
            let value = own.0 + share * (own.1 - own.0);
            heat(if most > least { (value - least) / (most - least) } else { 0.0 })
        };
        let mut map = Heatmap::new().with_data(values).with_color_map(ColorMap::Custom(Arc::new(colour)));
        if columns <= WRITTEN_COLUMNS {
            map = map.with_values();
        }
        let plots = vec![Plot::Heatmap(map)];
        let layout = Layout::auto_from_plots(&plots)
            .with_x_categories(self.x_values)
            .with_y_categories(self.y_values)
            .with_x_label(self.x_label)
            .with_y_label(self.y_label)
            .with_title(self.title)
            .with_title_wrap(TITLE_WIDTH)
            .with_width(620.0)
            .with_height(380.0);
        pictures(&self.name, render_multiple(plots, layout))
    }
}
