//! Pages of text, tables and plots: the `report.html` of sweeps, of `strategies` and of other
//! results that are not single runs.
//!
//! A [`Document`] is a question, an answer and sections; each [`Section`] is a table, plots or
//! coloured tables. The page has the same style and script as the page of a run, and like it needs
//! no network.

use super::assets::{CELLS, MAPS, SCRIPTS, STYLE, Script, WINNERS, sources};
use super::cells::Cells;
use super::facets::{Cloud, Facets};
use super::plots::Plots;
use super::winners::{Winners, WinnersView};
use super::{NAME, failed, in_script};
use crate::report::heat::heat;
use crate::report::{Artifact, ReportError, Table};
use askama::Template;

/// The content of a `report.html` that is not of single runs.
#[derive(Clone, Debug)]
pub struct Document<'a> {
    /// Its heading.
    pub title: &'a str,
    /// The question; may be empty.
    pub question: &'a str,
    /// The answer, a paragraph each.
    pub answer: &'a [String],
    /// The sections below the answer.
    pub sections: &'a [Section<'a>],
}

/// A part of a [`Document`], under a heading.
#[derive(Clone, Debug)]
pub struct Section<'a> {
    /// Its heading.
    pub title: &'a str,
    /// How to read it; may be empty.
    pub note: &'a str,
    /// Its content.
    pub part: Part<'a>,
}

/// The content of a [`Section`].
#[derive(Clone, Debug)]
pub enum Part<'a> {
    /// A table as it is printed.
    Table(&'a Table),
    /// Plots on the same axes.
    Lines(Facets),
    /// Points.
    Cloud(Cloud),
    /// Tables whose cells are coloured by their values, all on one scale.
    Heat(Vec<HeatTable>),
    /// Tables whose rows are bars, all on one scale.
    Bars(Vec<BarTable>),
    /// Which choice wins over two circumstances.
    Winners(Box<Winners>),
    /// The points of a sweep, of which a reader chooses what is shown. A page has at most one.
    Cells(Box<Cells>),
}

/// A figure over two axes, as a table.
#[derive(Clone, Debug)]
pub struct HeatTable {
    /// Its title; may be empty where there is only one.
    pub caption: String,
    /// The name of the axis of the rows, and of that of the columns.
    pub axes: (String, String),
    /// The heads of the columns.
    pub columns: Vec<String>,
    /// Each row's head and its cells.
    pub rows: Vec<(String, Vec<HeatCell>)>,
}

/// A value as text, and its position between the palest and the strongest colour, from 0 to 1;
/// `None` where there is no value.
pub type HeatCell = Option<(String, f64)>;

/// A figure over one axis, as bars.
#[derive(Clone, Debug)]
pub struct BarTable {
    /// Its title; may be empty where there is only one.
    pub caption: String,
    /// Each row's head, its value as text, and its length as a share of the longest.
    pub rows: Vec<(String, String, f64)>,
}

#[derive(Template)]
#[template(path = "document.html", config = "src/report/html/askama.toml")]
struct DocumentView<'a> {
    title: &'a str,
    question: &'a str,
    answer: &'a [String],
    style: &'static str,
    scripts: &'a [Script],
    /// The scripts that its policy allows.
    sources: String,
    /// The data that the script draws: a group for each section with plots, by its number.
    data: String,
    sections: Vec<SectionView<'a>>,
}

struct SectionView<'a> {
    title: &'a str,
    note: &'a str,
    table: Option<&'a Table>,
    /// The number of its group of plots, and whether its panels are narrow.
    plots: Option<usize>,
    /// Tables of colours: the cells with their style.
    heat: &'a [HeatTable],
    bars: Vec<BarView<'a>>,
    winners: Option<WinnersView<'a>>,
    /// The points as JSON.
    cells: String,
}

struct BarView<'a> {
    caption: &'a str,
    /// Head, value, and length in percent.
    rows: Vec<(&'a str, &'a str, String)>,
}

impl HeatTable {
    fn colour(cell: &(String, f64)) -> String {
        heat(cell.1)
    }
}

/// `report.html`, all in one file.
///
/// # Errors
/// [`ReportError::Format`] if the template fails, which valid input never causes.
pub fn document<'a>(document: &Document<'a>) -> Result<Artifact, ReportError> {
    let Document { title, question, answer, sections } = *document;
    let mut groups: Vec<Plots> = Vec::new();
    let mut views = Vec::new();
    for section in sections {
        let mut view = SectionView {
            title: section.title,
            note: section.note,
            table: None,
            plots: None,
            heat: &[],
            bars: Vec::new(),
            winners: None,
            cells: String::new(),
        };
        match &section.part {
            Part::Table(table) => view.table = Some(table),
            Part::Lines(facets) => {
                view.plots = Some(groups.len());
                groups.push(facets.plots());
            }
            Part::Cloud(cloud) => {
                view.plots = Some(groups.len());
                groups.push(cloud.plots());
            }
            Part::Heat(tables) => view.heat = tables,
            Part::Winners(winners) => view.winners = Some(WinnersView::new(winners)?),
            Part::Cells(cells) => view.cells = in_script(&**cells)?,
            Part::Bars(tables) => view.bars = tables.iter().map(BarView::new).collect(),
        }
        views.push(view);
    }
    let data = in_script(&groups)?;
    let scripts = scripts(&views);
    let view = DocumentView {
        title,
        question,
        answer,
        style: STYLE,
        scripts: &scripts,
        sources: sources(&scripts),
        data,
        sections: views,
    };
    Ok(Artifact::new(NAME, view.render().map_err(failed)?))
}

/// The scripts of every report, and those of the parts that the sections have.
fn scripts(views: &[SectionView<'_>]) -> Vec<Script> {
    let mut scripts = SCRIPTS.to_vec();
    if views.iter().any(|view| view.winners.is_some()) {
        scripts.push(WINNERS);
    }
    if views.iter().any(|view| !view.cells.is_empty()) {
        scripts.extend([MAPS, CELLS]);
    }
    scripts
}

impl<'a> BarView<'a> {
    fn new(table: &'a BarTable) -> Self {
        let row = |(head, value, share): &'a (String, String, f64)| {
            (head.as_str(), value.as_str(), format!("{:.2}", 100.0 * share.clamp(0.0, 1.0)))
        };
        Self { caption: &table.caption, rows: table.rows.iter().map(row).collect() }
    }
}
