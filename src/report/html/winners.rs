//! The map of winners on a page: a table for each panel, in the colours of the picture.

use crate::report::winners::{COLOURED, Clarity, Outcome, WinnerMap, WinnerPanel, key};

/// A map as the template shows it.
pub(super) struct WinnersView<'a> {
    pub map: &'a WinnerMap,
    /// The key, the name and the class of each choice that wins somewhere.
    pub legend: Vec<(String, &'a str, String)>,
    pub panels: Vec<PanelView<'a>>,
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
    pub fn new(map: &'a WinnerMap) -> Self {
        let wins = |place: &usize| map.outcomes().any(|outcome| outcome.winner == Some(*place));
        let entry = |place: usize| (key(place), map.choices[place].as_str(), class(place));
        Self {
            map,
            legend: (0..map.choices.len()).filter(wins).map(entry).collect(),
            panels: map.panels.iter().map(|panel| PanelView::new(map, panel)).collect(),
        }
    }
}

impl<'a> PanelView<'a> {
    fn new(map: &'a WinnerMap, panel: &'a WinnerPanel) -> Self {
        let row = |(place, cells): (usize, &Vec<Option<Outcome>>)| {
            let head = map.y.values.get(place).map_or("", String::as_str);
            (head, cells.iter().map(|cell| CellView::new(map, cell.as_ref())).collect())
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
    fn new(map: &WinnerMap, outcome: Option<&Outcome>) -> Self {
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
            name: map.choices[winner].clone(),
            margin: outcome.text(map.within),
        }
    }
}

/// The class of the choice at `place`, which sets its colour.
fn class(place: usize) -> String {
    if place < COLOURED { format!("w{place}") } else { "wx".to_owned() }
}
