//! The map of winners: a cell for each pair of values of two circumstances, in panels for the
//! others.
//!
//! A cell has its winner's colour, stronger where the margin is larger, with the winner's name or
//! key and the margin where there is room. Where the winner changes along a circumstance that is a
//! number, the border between the cells is a thick line with the value at which it changes.

use super::{Clarity, INK, LINE, MARGIN, Outcome, colour_of, key, level_texts, shade};
use crate::report::canvas::{Anchor, Canvas, TEXT, TITLE};
use crate::report::labels::{shortened, wrapped};
use crate::report::legend::{self, Entry, Sample};
use crate::report::lettering::width;
use crate::report::{Artifact, ReportError};

/// A map of winners.
#[derive(Clone, Debug)]
pub struct WinnerMap {
    /// The name of the files, without an ending.
    pub name: String,
    /// Above the picture.
    pub title: String,
    /// Below the title, a paragraph each.
    pub notes: Vec<String>,
    /// To the right.
    pub x: MapAxis,
    /// Upwards if its values are numbers, else downwards. Without a name there is one row.
    pub y: MapAxis,
    /// The choices; a place in the list is what outcomes name, and sets the colour.
    pub choices: Vec<String>,
    /// The panels, at least one.
    pub panels: Vec<WinnerPanel>,
    /// The share within which two choices count as equally good.
    pub within: f64,
    /// What it means if a choice has no result, as the legend reports it.
    pub gaps: String,
}

/// An axis of a [`WinnerMap`].
#[derive(Clone, Debug)]
pub struct MapAxis {
    /// The name of the circumstance.
    pub name: String,
    /// Its values.
    pub values: Vec<String>,
    /// Whether they are numbers.
    pub numeric: bool,
}

/// A panel of a [`WinnerMap`]: the other circumstances are the same in all of its cells.
#[derive(Clone, Debug)]
pub struct WinnerPanel {
    /// Those circumstances; may be empty where there is only one panel.
    pub title: String,
    /// For each value of y the outcome of each value of x; `None` where nothing was computed.
    pub rows: Vec<Vec<Option<Outcome>>>,
    /// Where the winner changes.
    pub crossings: Vec<Crossing>,
}

/// A change of the winner between two cells that are neighbours.
#[derive(Clone, Debug, PartialEq)]
pub struct Crossing {
    /// The cell with the lower value.
    pub column: usize,
    /// The same, as a place in the values of y.
    pub row: usize,
    /// On which of its sides the other cell is.
    pub side: Side,
    /// The value at which the winner changes.
    pub text: String,
}

/// On which side of a cell its neighbour with the next value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The next value of x.
    NextColumn,
    /// The next value of y.
    NextRow,
}

const EDGE: &str = "#ffffff";
/// Cells without a clear winner, and cells without any.
const SAME: &str = "#eeeeee";
const NOTHING: &str = "#cfcfcf";
const TITLE_LINE: f64 = 23.0;
/// The text of crossings.
const SMALL: u32 = 10;
/// How much wider than its text the box of a crossing is.
const PILL: f64 = 6.0;
/// The width of all cells of a row of panels, at most.
const ROOM: f64 = 960.0;
/// The height of the cells of a panel, at most.
const TALLEST: f64 = 760.0;
/// How wide names within cells, and names of rows, may be.
const NAME_ROOM: f64 = 104.0;
const ROW_NAME_ROOM: f64 = 190.0;
const GAP: f64 = 22.0;

/// The sizes of a map, in pixels.
struct Plan {
    /// Of a cell.
    cell: (f64, f64),
    /// Whether cells have the names of their winners, or else their keys.
    named: bool,
    /// The names below columns, in lines, and beside rows; empty where there is no room.
    columns: Vec<Vec<String>>,
    rows: Vec<String>,
    /// Whether the names of columns read upwards.
    upward: bool,
    /// How many panels are side by side.
    across: usize,
    titles: Vec<Vec<String>>,
    title_height: f64,
    foot: f64,
    /// The upper left corner of the first panel, and the width of the picture without a legend.
    left: f64,
    top: f64,
    full: f64,
    /// The lines of the title of the picture and of its notes.
    title: Vec<String>,
    notes: Vec<String>,
}

impl Plan {
    fn new(map: &WinnerMap) -> Self {
        let (columns, rows) = (map.x.values.len().max(1) as f64, map.y.values.len().max(1) as f64);
        let widest = |texts: &mut dyn Iterator<Item = &String>| texts.map(|text| width(text, TEXT)).fold(0.0, f64::max);
        let winners: Vec<usize> = map.winners();
        let names = widest(&mut winners.iter().map(|place| &map.choices[*place]));
        let heads = widest(&mut map.x.values.iter());
        let usual = 72.0f64.max(if heads <= NAME_ROOM { heads + 10.0 } else { 96.0 });
        let named = names <= NAME_ROOM && columns * usual.max(names + 16.0) <= ROOM;
        let wide = if named { usual.max(names + 16.0) } else { usual };
        let pills = 2.0 * map.widest_pill() + 2.0;
        let wide = if columns * wide.max(pills) <= ROOM { wide.max(pills) } else { wide };
        let wide = wide.min(ROOM / columns).max(12.0);
        let tall = 56.0f64.min(TALLEST / rows).max(12.0);
        let upward = !map.x.numeric && heads > wide - 6.0 && wide < 60.0;
        let columns_text: Vec<Vec<String>> = if upward {
            shortened(&map.x.values, 28).into_iter().map(|name| vec![name]).collect()
        } else if map.x.numeric {
            thinned(&map.x.values, heads + 8.0, wide).into_iter().map(|name| vec![name]).collect()
        } else {
            shortened(&map.x.values, 44).iter().map(|name| wrapped(name, wide - 6.0, TEXT)).collect()
        };
        let rows_text = thinned(&fitted(&map.y.values, ROW_NAME_ROOM), LINE, tall);
        let panel = wide * columns;
        let across = (((ROOM + GAP) / (panel + GAP)) as usize).clamp(1, map.panels.len().clamp(1, 4));
        let across = map.panels.len().div_ceil(map.panels.len().div_ceil(across).max(1)).max(1);
        let titles: Vec<Vec<String>> = map
            .panels
            .iter()
            .map(|it| if it.title.is_empty() { Vec::new() } else { wrapped(&it.title, panel.max(60.0), TEXT) })
            .collect();
        let most = titles.iter().map(Vec::len).max().unwrap_or(0);
        let title_height = if most == 0 { 0.0 } else { LINE * most as f64 + 6.0 };
        let foot = if upward {
            widest(&mut columns_text.iter().flatten()) + 12.0
        } else {
            LINE * columns_text.iter().map(Vec::len).max().unwrap_or(1) as f64 + 8.0
        };
        let y_name = if map.y.name.is_empty() { 0.0 } else { 22.0 };
        let left = MARGIN + y_name + widest(&mut rows_text.iter()) + 10.0;
        let full = (left + across as f64 * (panel + GAP) - GAP + MARGIN).max(480.0);
        let lines = |text: &String, size| wrapped(text, full - 2.0 * MARGIN, size);
        let title = lines(&map.title, TITLE);
        let notes: Vec<String> = map.notes.iter().flat_map(|note| lines(note, TEXT)).collect();
        let top = 12.0 + TITLE_LINE * title.len() as f64 + LINE * notes.len() as f64 + 12.0;
        Self {
            cell: (wide, tall),
            named,
            columns: columns_text,
            rows: rows_text,
            upward,
            across,
            titles,
            title_height,
            foot,
            left,
            top,
            full,
            title,
            notes,
        }
    }

    /// The upper left corner of a panel with its title.
    fn corner(&self, map: &WinnerMap, index: usize) -> (f64, f64) {
        let (wide, tall) = self.panel_box(map);
        let (row, column) = (index / self.across, index % self.across);
        (self.left + column as f64 * (wide + GAP), self.top + row as f64 * (tall + GAP))
    }

    /// The size of a panel with its title and the names of its columns.
    fn panel_box(&self, map: &WinnerMap) -> (f64, f64) {
        let (wide, tall) = self.panel(map);
        (wide, self.title_height + tall + self.foot)
    }

    fn panel(&self, map: &WinnerMap) -> (f64, f64) {
        (self.cell.0 * map.x.values.len() as f64, self.cell.1 * map.y.values.len().max(1) as f64)
    }
}

/// Each of `texts` at most `room` pixels wide.
fn fitted(texts: &[String], room: f64) -> Vec<String> {
    let fits = |texts: &[String]| texts.iter().all(|text| width(text, TEXT) <= room);
    let mut most = 48;
    let mut short = shortened(texts, most);
    while !fits(&short) && most > 8 {
        most -= 4;
        short = shortened(texts, most);
    }
    short
}

/// The texts of which each has `needed` pixels along an axis with `step` pixels for each; the
/// others are empty.
fn thinned(texts: &[String], needed: f64, step: f64) -> Vec<String> {
    let every = (needed / step).ceil().max(1.0) as usize;
    texts.iter().enumerate().map(|(at, text)| if at % every == 0 { text.clone() } else { String::new() }).collect()
}

impl WinnerMap {
    /// The picture as `NAME.svg` and `NAME.png`.
    ///
    /// # Errors
    /// [`ReportError`] if it cannot be drawn.
    pub fn artifacts(self) -> Result<[Artifact; 2], ReportError> {
        let name = self.name.clone();
        self.canvas().artifacts(&name)
    }

    fn canvas(&self) -> Canvas {
        let plan = Plan::new(self);
        let (wide, tall) = plan.panel_box(self);
        let lines = self.panels.len().div_ceil(plan.across);
        let (top, bottom) = (plan.top, plan.top + lines as f64 * (tall + GAP) - GAP);
        let mut canvas = Canvas::new(plan.full, bottom + 30.0);
        for (index, line) in plan.title.iter().enumerate() {
            canvas.text((MARGIN, 28.0 + TITLE_LINE * index as f64), Anchor::Start, TITLE, line);
        }
        for (index, line) in plan.notes.iter().enumerate() {
            let y = 26.0 + TITLE_LINE * plan.title.len() as f64 + LINE * index as f64;
            canvas.text((MARGIN, y), Anchor::Start, TEXT, line);
        }
        for index in 0..self.panels.len() {
            self.draw_panel(index, &plan, &mut canvas);
        }
        let middle = plan.left + (plan.across as f64 * (wide + GAP) - GAP) / 2.0;
        canvas.text((middle, bottom + 16.0), Anchor::Middle, TEXT, &self.x.name);
        if !self.y.name.is_empty() {
            canvas.upward_text((MARGIN + 10.0, (top + bottom) / 2.0), Anchor::Middle, TEXT, &self.y.name);
        }
        legend::add(&mut canvas, &self.entries(&plan));
        canvas
    }

    fn draw_panel(&self, index: usize, plan: &Plan, canvas: &mut Canvas) {
        let (panel, title) = (&self.panels[index], &plan.titles[index]);
        let (left, top) = plan.corner(self, index);
        let first = index.is_multiple_of(plan.across);
        for (number, line) in title.iter().enumerate() {
            let from_below = (title.len() - 1 - number) as f64;
            let y = top + plan.title_height - 8.0 - LINE * from_below;
            canvas.text((left, y), Anchor::Start, TEXT, line);
        }
        let corner = (left, top + plan.title_height);
        for (row, cells) in panel.rows.iter().enumerate() {
            let y = corner.1 + plan.cell.1 * self.line(row) as f64;
            if first && let Some(text) = plan.rows.get(row).filter(|text| !text.is_empty()) {
                canvas.text((left - 8.0, y + plan.cell.1 / 2.0 + 4.0), Anchor::End, TEXT, text);
            }
            for (column, outcome) in cells.iter().enumerate() {
                let at = (left + plan.cell.0 * column as f64, y);
                self.draw_cell(outcome.as_ref(), at, plan, canvas);
            }
        }
        let below = corner.1 + plan.panel(self).1;
        for (column, lines) in plan.columns.iter().enumerate() {
            let middle = left + plan.cell.0 * (column as f64 + 0.5);
            for (number, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_empty()) {
                if plan.upward {
                    canvas.upward_text((middle + 4.0, below + 8.0), Anchor::End, TEXT, line);
                } else {
                    canvas.text((middle, below + 15.0 + LINE * number as f64), Anchor::Middle, TEXT, line);
                }
            }
        }
        for crossing in &panel.crossings {
            self.draw_crossing(crossing, corner, plan, canvas);
        }
    }

    /// At which place from above a row is drawn.
    fn line(&self, row: usize) -> usize {
        if self.y.numeric { self.y.values.len().max(1) - 1 - row } else { row }
    }

    fn draw_cell(&self, outcome: Option<&Outcome>, (x, y): (f64, f64), plan: &Plan, canvas: &mut Canvas) {
        let (wide, tall) = plan.cell;
        let edge = if wide.min(tall) < 20.0 { 0.5 } else { 1.0 };
        let (at, size) = ((x + edge, y + edge), (wide - 2.0 * edge, tall - 2.0 * edge));
        canvas.fill((x, y), plan.cell, EDGE);
        let Some(outcome) = outcome else { return };
        match (outcome.winner, outcome.clarity(self.within)) {
            (None, _) | (_, Clarity::Nothing) => canvas.fill(at, size, NOTHING),
            (Some(winner), Clarity::Same) => {
                canvas.fill(at, size, SAME);
                canvas.hatch(at, size, &shade(winner, 1));
            }
            (Some(winner), Clarity::Level(level)) => canvas.fill(at, size, &shade(winner, level)),
        }
        if outcome.gaps && outcome.winner.is_some() && wide.min(tall) >= 18.0 {
            canvas.corner((x + wide - edge, y + edge), "#555555");
        }
        let middle = x + wide / 2.0;
        let name = outcome.winner.map(|winner| if plan.named { self.choices[winner].clone() } else { key(winner) });
        let margin = outcome.text(self.within);
        let fits = |text: &str| width(text, TEXT) + 4.0 <= wide;
        let both = name.as_ref().map(|name| format!("{name}  {margin}"));
        match (&name, both) {
            (Some(name), _) if tall >= 44.0 && fits(&margin) && fits(name) => {
                canvas.text((middle, y + 19.0), Anchor::Middle, TEXT, name);
                canvas.text((middle, y + 34.0), Anchor::Middle, TEXT, &margin);
            }
            (_, Some(both)) if tall >= LINE && fits(&both) => {
                canvas.text((middle, y + tall / 2.0 + 4.0), Anchor::Middle, TEXT, &both);
            }
            (Some(name), _) if tall >= LINE && fits(name) => {
                canvas.text((middle, y + tall / 2.0 + 4.0), Anchor::Middle, TEXT, name);
            }
            (None, _) if tall >= LINE && fits(&margin) => {
                canvas.text((middle, y + tall / 2.0 + 4.0), Anchor::Middle, TEXT, &margin);
            }
            _ => {}
        }
    }

    fn draw_crossing(&self, crossing: &Crossing, corner: (f64, f64), plan: &Plan, canvas: &mut Canvas) {
        const TALL: f64 = 12.0;
        let (wide, tall) = plan.cell;
        let x = corner.0 + wide * crossing.column as f64;
        let y = corner.1 + tall * self.line(crossing.row) as f64;
        let pill = width(&crossing.text, SMALL) + PILL;
        let place = match crossing.side {
            Side::NextColumn => {
                canvas.line((x + wide, y), (x + wide, y + tall), INK, 2.5, None);
                // Below the text of the cells, above the values of the lines between rows.
                (x + wide, y + tall - 6.0 - TALL)
            }
            Side::NextRow => {
                let between = if self.y.numeric { y } else { y + tall };
                canvas.line((x, between), (x + wide, between), INK, 2.5, None);
                (x + wide / 2.0, between - TALL / 2.0)
            }
        };
        // Two values beside each other, and one above the other, have room in a cell of this size.
        if tall >= 54.0 && 2.0 * pill + 2.0 <= wide {
            canvas.fill((place.0 - pill / 2.0, place.1), (pill, TALL), "#ffffff");
            canvas.text((place.0, place.1 + 10.0), Anchor::Middle, SMALL, &crossing.text);
        }
    }

    /// How wide the widest box with the value of a crossing is.
    fn widest_pill(&self) -> f64 {
        let texts = self.panels.iter().flat_map(|panel| &panel.crossings).map(|crossing| &crossing.text);
        texts.map(|text| width(text, SMALL) + PILL).fold(0.0, f64::max)
    }

    /// The choices that win somewhere, in their order.
    fn winners(&self) -> Vec<usize> {
        let mut winners: Vec<usize> = self.outcomes().filter_map(|outcome| outcome.winner).collect();
        winners.sort_unstable();
        winners.dedup();
        winners
    }

    /// Every outcome that was computed.
    pub fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.panels.iter().flat_map(|panel| &panel.rows).flatten().flatten()
    }

    fn entries(&self, plan: &Plan) -> Vec<Entry> {
        let entry = |label: String, colour: &str, sample: Sample| Entry { label, colour: colour.to_owned(), sample };
        let winners = self.winners();
        let mut entries: Vec<Entry> = winners
            .iter()
            .take(MOST_ENTRIES)
            .map(|place| {
                let name = &self.choices[*place];
                let label = if plan.named { name.clone() } else { format!("{}: {name}", key(*place)) };
                entry(label, colour_of(*place), Sample::Fill)
            })
            .collect();
        if winners.len() > MOST_ENTRIES {
            entries.push(entry(format!("and {} more", winners.len() - MOST_ENTRIES), EDGE, Sample::Fill));
        }
        let is = |wanted: fn(&Clarity) -> bool| self.outcomes().any(|it| wanted(&it.clarity(self.within)));
        if is(|clarity| matches!(clarity, Clarity::Level(_))) && self.outcomes().any(|it| it.margin.is_some()) {
            let levels = level_texts(self.within);
            let colours =
                levels.iter().map(|(level, _)| shade(winners.first().copied().unwrap_or(0), *level)).collect();
            let texts: Vec<&str> = levels.iter().map(|(_, text)| text.as_str()).collect();
            let label = format!("the second is worse by {}", texts.join(", "));
            entries.push(entry(label, EDGE, Sample::Shades(colours)));
        }
        if is(|clarity| *clarity == Clarity::Same) {
            let label = format!("≈ about the same (within {} %)", (1000.0 * self.within).round() / 10.0);
            entries.push(entry(label, &shade(winners.first().copied().unwrap_or(0), 1), Sample::Hatch));
        }
        if is(|clarity| *clarity == Clarity::Nothing) {
            entries.push(entry("no choice has a result".to_owned(), NOTHING, Sample::Fill));
        }
        if self.outcomes().any(|it| it.gaps && it.winner.is_some()) {
            entries.push(entry(self.gaps.clone(), "#555555", Sample::Corner));
        }
        if self.panels.iter().any(|panel| !panel.crossings.is_empty()) {
            let label = "the winner changes at that value".to_owned();
            entries.push(entry(label, INK, Sample::Bar));
        }
        entries
    }
}

/// The most choices that the legend lists.
const MOST_ENTRIES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn axis(name: &str, values: Vec<String>, numeric: bool) -> MapAxis {
        MapAxis { name: name.to_owned(), values, numeric }
    }

    /// A map of that size, whose outcomes are of all kinds.
    fn map(columns: usize, rows: usize, panels: usize, choices: usize, long: usize, numeric: bool) -> WinnerMap {
        let named = |what: &str, at: usize| format!("{what}{at}{}", "-name".repeat(long));
        let outcome = |panel: usize, row: usize, column: usize| {
            let kind = panel * 7 + row * 5 + column * 3;
            (kind % 23 != 22).then(|| Outcome {
                winner: (kind % 19 != 18).then_some((kind / 2) % choices),
                margin: (kind % 11 != 10).then_some((kind % 13) as f64 * 0.11),
                gaps: kind.is_multiple_of(4),
            })
        };
        let panel = |panel: usize| WinnerPanel {
            title: if panels > 1 { format!("{}, skip 40 %", named("model ", panel)) } else { String::new() },
            rows: (0..rows).map(|row| (0..columns).map(|column| outcome(panel, row, column)).collect()).collect(),
            crossings: (0..rows * columns)
                .flat_map(|at| [(at, Side::NextColumn), (at, Side::NextRow)])
                .map(|(at, side)| (at / columns, at % columns, side))
                .filter(|(row, column, side)| match side {
                    Side::NextColumn => column + 1 < columns,
                    Side::NextRow => row + 1 < rows,
                })
                .map(|(row, column, side)| Crossing { column, row, side, text: format!("{}k", 90 + row + column) })
                .collect(),
        };
        let values = |count: usize| -> Vec<String> {
            let value = |at: usize| if numeric { format!("{}", 1024 * (at + 1)) } else { named("value", at) };
            (0..count).map(value).collect()
        };
        WinnerMap {
            name: "map".to_owned(),
            title: "Which memory has the lowest TPOT?".to_owned(),
            notes: vec!["One below 96k tokens, the other above.".to_owned()],
            x: axis("prefill", values(columns), numeric),
            y: axis("skip", values(rows), numeric),
            choices: (0..choices).map(|place| named("choice", place)).collect(),
            panels: (0..panels).map(panel).collect(),
            within: 0.05,
            gaps: "a choice does not fit".to_owned(),
        }
    }

    /// The colour of each cell is that of its outcome, worked out from the place of the cell.
    #[test]
    fn every_cell_has_the_colour_of_its_winner_and_margin() {
        for (columns, rows, numeric) in [(4, 3, true), (3, 5, false), (60, 40, true)] {
            let map = map(columns, rows, 2, 8, 0, numeric);
            let (plan, canvas) = (Plan::new(&map), map.canvas());
            let (left, top) = plan.corner(&map, 1);
            for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                let line = if numeric { rows - 1 - row } else { row };
                // Near the lower left corner there is neither text nor a mark.
                let x = left + plan.cell.0 * column as f64 + 2.0;
                let y = top + plan.title_height + plan.cell.1 * (line + 1) as f64 - 2.0;
                let expected = match map.panels[1].rows[row][column] {
                    None => EDGE.to_owned(),
                    Some(Outcome { winner: None, .. }) => NOTHING.to_owned(),
                    Some(Outcome { margin: Some(margin), .. }) if margin <= 0.05 => SAME.to_owned(),
                    Some(Outcome { winner: Some(winner), margin, .. }) => {
                        let level = match margin.unwrap_or(f64::MAX) {
                            margin if margin <= 0.1 => 1,
                            margin if margin <= 0.3 => 2,
                            margin if margin <= 1.0 => 3,
                            _ => 4,
                        };
                        shade(winner, level)
                    }
                };
                assert_eq!(canvas.filled_at((x, y)), Some(expected), "{row}, {column} of {columns} by {rows}");
            }
        }
    }

    /// No text lies on another, and none is cut off.
    fn check(map: &WinnerMap) {
        let canvas = map.canvas();
        let boxes = canvas.text_boxes();
        for (index, ([left, top, right, bottom], text)) in boxes.iter().enumerate() {
            assert!(*left >= 0.0 && *top >= 0.0, "{text} begins outside");
            assert!(*right <= canvas.width() && *bottom <= canvas.height(), "{text} ends outside");
            for ([a, b, c, d], other) in &boxes[..index] {
                assert!(right <= a || c <= left || bottom <= b || d <= top, "{text} on {other}");
            }
        }
    }

    #[test]
    fn a_small_map_names_every_winner_and_margin() {
        let map = map(3, 2, 1, 2, 0, true);
        let canvas = map.canvas();
        let texts: Vec<&str> = canvas.text_boxes().into_iter().map(|(_, text)| text).collect();
        for outcome in map.outcomes().filter(|outcome| outcome.winner.is_some()) {
            assert!(texts.contains(&outcome.text(0.05).as_str()) && texts.contains(&map.choices[0].as_str()));
        }
        assert!(texts.contains(&"90k") && texts.contains(&"≈ about the same (within 5 %)"), "{texts:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn texts_never_meet_and_are_never_cut(
            (columns, rows, panels) in (1usize..30, 1usize..20, 1usize..17),
            (choices, long) in (1usize..9, 0usize..9),
            numeric in any::<bool>(),
        ) {
            check(&map(columns, rows, panels, choices, long, numeric));
        }
    }
}
