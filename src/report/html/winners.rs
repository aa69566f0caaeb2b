//! The map of winners on a page: a table for each panel, in the colours of the picture.

use super::in_script;
use crate::report::ReportError;
use crate::report::winners::{COLOURED, Clarity, LEVELS, Outcome, WinnerMap, WinnerPanel, key};
use serde::Serialize;

/// A map of winners with all that its script needs to draw it over other axes.
#[derive(Clone, Debug)]
pub struct Winners {
    /// The map as it is shown at first, and without the script.
    pub map: WinnerMap,
    /// All circumstances; `None` where they are too many for a page.
    pub all: Option<Circumstances>,
}

/// The circumstances of a map with the choices ranked.
#[derive(Clone, Debug, Serialize)]
pub struct Circumstances {
    /// The circumstances: names, values and whether they are numbers.
    pub axes: Vec<WinnersAxis>,
    /// The places of those that are shown to the right and downwards at first.
    pub x: usize,
    /// The second of them.
    pub y: usize,
    /// The choices, in the order of their colours.
    pub choices: Vec<String>,
    /// The name of the figure.
    pub by: String,
    /// Whether more of it is better.
    pub more: bool,
    /// The share within which two choices count as equally good.
    pub within: f64,
    /// The combinations.
    pub cells: Vec<WinnersCell>,
}

/// A circumstance of [`Circumstances`].
#[derive(Clone, Debug, Serialize)]
pub struct WinnersAxis {
    /// Its name.
    pub name: String,
    /// Its values.
    pub levels: Vec<String>,
    /// Whether they are numbers.
    pub numeric: bool,
}

/// A combination of [`Circumstances`].
#[derive(Clone, Debug, Serialize)]
pub struct WinnersCell {
    /// For each axis the place of its value.
    pub given: Vec<usize>,
    /// The place of each choice, its figure, the figure as text, its whole name and what it must
    /// know: the best first.
    pub ranking: Vec<(usize, f64, String, String, String)>,
    /// The choices without a result, with why.
    pub without: Vec<(String, String)>,
}

/// What the script reads.
#[derive(Serialize)]
struct Data<'a> {
    #[serde(flatten)]
    all: &'a Circumstances,
    /// What cells have for each choice.
    shown: Vec<String>,
    levels: [f64; LEVELS.len()],
}

/// A map as the template shows it.
pub(super) struct WinnersView<'a> {
    pub map: &'a WinnerMap,
    /// The name and the class of each choice that wins somewhere.
    pub legend: Vec<(String, String)>,
    pub panels: Vec<PanelView<'a>>,
    /// What the script reads, as JSON; empty if it is to change nothing.
    pub data: String,
}

pub(super) struct PanelView<'a> {
    pub title: &'a str,
    /// Each row's head and its cells, the topmost first.
    pub rows: Vec<(&'a str, Vec<CellView>)>,
}

/// The classes of a cell, its winner and its margin.
pub(super) struct CellView {
    pub class: String,
    pub name: String,
    pub margin: String,
}

impl<'a> WinnersView<'a> {
    pub fn new(winners: &'a Winners) -> Result<Self, ReportError> {
        let Winners { map, all } = winners;
        let wins = |place: &usize| map.outcomes().any(|outcome| outcome.winner == Some(*place));
        let shown = shown(map);
        let entry = |place: usize| (legend(map, &shown, place), class(place));
        let data =
            all.as_ref().map(|all| in_script(&Data { all, shown: shown.clone(), levels: LEVELS })).transpose()?;
        Ok(Self {
            map,
            legend: (0..map.choices.len()).filter(wins).map(entry).collect(),
            panels: map.panels.iter().map(|panel| PanelView::new(map, &shown, panel)).collect(),
            data: data.unwrap_or_default(),
        })
    }
}

impl<'a> PanelView<'a> {
    fn new(map: &'a WinnerMap, shown: &[String], panel: &'a WinnerPanel) -> Self {
        let row = |(place, cells): (usize, &Vec<Option<Outcome>>)| {
            let head = map.y.values.get(place).map_or("", String::as_str);
            (head, cells.iter().map(|cell| CellView::new(map, shown, cell.as_ref())).collect())
        };
        let mut rows: Vec<(&str, Vec<CellView>)> = panel.rows.iter().enumerate().map(row).collect();
        // As in the picture, numbers grow upwards.
        if map.y.numeric {
            rows.reverse();
        }
        Self { title: &panel.title, rows }
    }
}

impl CellView {
    fn new(map: &WinnerMap, shown: &[String], outcome: Option<&Outcome>) -> Self {
        let Some(outcome) = outcome else {
            return Self { class: "none".to_owned(), name: "–".to_owned(), margin: String::new() };
        };
        let Some(winner) = outcome.winner else {
            return Self { class: "none".to_owned(), name: outcome.text(map.within), margin: String::new() };
        };
        let strength = match outcome.clarity(map.within) {
            Clarity::Level(level) => format!("m{level}"),
            Clarity::Same | Clarity::Nothing => "same".to_owned(),
        };
        Self {
            class: format!("{} {strength}", class(winner)),
            name: shown[winner].clone(),
            margin: outcome.text(map.within),
        }
    }
}

/// The longest name that cells have; of longer ones they have the keys.
const LONGEST: usize = 18;

/// What the cells have for each choice: its name, or its key where names are long.
fn shown(map: &WinnerMap) -> Vec<String> {
    let is_short = map.choices.iter().all(|name| name.chars().count() <= LONGEST);
    if is_short { map.choices.clone() } else { (0..map.choices.len()).map(key).collect() }
}

/// The choice at `place` in the legend: with its key where cells have keys.
fn legend(map: &WinnerMap, shown: &[String], place: usize) -> String {
    let name = &map.choices[place];
    if shown[place] == *name { name.clone() } else { format!("{}: {name}", shown[place]) }
}

/// The class of the choice at `place`, which sets its colour.
fn class(place: usize) -> String {
    if place < COLOURED { format!("w{place}") } else { "wx".to_owned() }
}
