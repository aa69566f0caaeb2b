//! The points of a sweep as data of a page, in which a reader chooses the figure and the axes.
//!
//! The page's script (`cells.js`) draws lines and a coloured table of any figure over any axes from
//! this data, and shows the axes, the figures and the command of the point that a reader picks. All
//! lists have one entry a point, so that JSON repeats no names.

use super::plots::{Number, is_false, rounded};
use serde::Serialize;

/// The points of a sweep, for the page's script.
#[derive(Clone, Debug, Serialize)]
pub struct Cells {
    /// What varies.
    pub axes: Vec<CellAxis>,
    /// The figures to choose from.
    pub figures: Vec<CellFigure>,
    /// The number of each point's cell.
    pub cells: Vec<u64>,
    /// Levels, one for each axis, of cells that do not fit on their machines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unfit: Vec<Vec<usize>>,
    /// How many runs a point is the mean of.
    pub repeats: u32,
    /// Whether the points are a sample, whose levels hardly ever occur twice, and not a grid.
    #[serde(skip_serializing_if = "is_false")]
    pub sampled: bool,
    /// The command that runs a cell, to which its number is added; `None` if no folder has the
    /// sweep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The cells whose runs are in their folders.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<u64>,
    /// The figure and the axes that are shown first, by their places.
    pub first: First,
    /// What is left out of the page for its size; empty if nothing is.
    pub left_out: String,
}

/// What a page of cells shows at first.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct First {
    /// The figure.
    pub figure: usize,
    /// The axis to the right.
    pub x: usize,
    /// The axis with a line and a row for each value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<usize>,
}

/// An axis of [`Cells`].
#[derive(Clone, Debug, Serialize)]
pub struct CellAxis {
    /// Its name.
    pub name: String,
    /// Its name with the unit of a plot's axis.
    pub label: String,
    /// The text of each level, numbers in their order.
    pub levels: Vec<String>,
    /// The number of each level in the unit of the label; empty if they have none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub numbers: Vec<CellNumber>,
    /// The level of each point.
    pub of: Vec<usize>,
}

/// A figure of [`Cells`].
#[derive(Clone, Debug, Serialize)]
pub struct CellFigure {
    /// Its path in `summary.json`.
    pub path: String,
    /// Its name.
    pub name: String,
    /// The unit of the values; may be empty.
    pub unit: String,
    /// The value of each point; `None` if it has none.
    pub values: Vec<Option<CellNumber>>,
}

/// A number of [`Cells`], to six significant digits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CellNumber(pub f64);

impl Serialize for CellNumber {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Number(rounded(self.0)).serialize(serializer)
    }
}

impl Cells {
    /// The bytes that these points take on a page.
    #[must_use]
    pub fn bytes(&self) -> usize {
        serde_json::to_string(self).map_or(0, |text| text.len())
    }
}
