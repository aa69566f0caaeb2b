//! Rows of horizontal bars. A row has its label to the left and its figure to the right, each in a
//! column of its own, so that no text meets another, however many rows there are and however long
//! their labels.

use super::artifact::{Artifact, ReportError};
use super::canvas::{Anchor, Canvas, TEXT, TITLE};
use super::labels::wrapped;
use super::lettering::width;
use kuva::render::render_utils::generate_ticks;

/// A picture of rows.
#[derive(Clone, Debug)]
pub(super) struct Bars {
    /// The name of the files, without an ending.
    pub name: String,
    pub title: String,
    pub x_label: String,
    /// The ends of the axis.
    pub x: (f64, f64),
    pub rows: Vec<Row>,
    /// The legend: what each colour stands for.
    pub legend: Vec<(String, &'static str)>,
}

/// A row of [`Bars`].
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// To the left, in as many lines as it needs.
    pub label: String,
    /// To the right.
    pub figure: String,
    pub parts: Vec<Part>,
    /// The x value at which a thin line connects it to the next row.
    pub leads_on: Option<f64>,
}

/// A piece of a bar.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub from: f64,
    pub to: f64,
    pub colour: &'static str,
    /// In the bar, where there is room for it.
    pub text: String,
}

const WIDTH: f64 = 860.0;
const MARGIN: f64 = 14.0;
const GAP: f64 = 10.0;
/// How wide a column of labels may be, and one of figures.
const LABEL_ROOM: f64 = 280.0;
const LINE: f64 = 15.0;
const BAR: f64 = 18.0;
const ROW: f64 = 28.0;
const GRID: &str = "#cccccc";
const INK: &str = "#000000";

/// Positions, in pixels.
struct Plan {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    /// For each row the middle of its bar.
    middles: Vec<f64>,
}

impl Bars {
    /// The picture as `NAME.svg` and `NAME.png`.
    pub fn artifacts(self) -> Result<[Artifact; 2], ReportError> {
        let labels: Vec<Vec<String>> = self.rows.iter().map(|row| wrapped(&row.label, LABEL_ROOM, TEXT)).collect();
        let title = wrapped(&self.title, WIDTH - 2.0 * MARGIN, TITLE);
        let legend = self.legend_rows();
        let plan = self.plan(&labels, title.len(), legend.len());
        let mut canvas = Canvas::new(WIDTH, plan.bottom + 46.0);
        for (index, line) in title.iter().enumerate() {
            canvas.text((WIDTH / 2.0, 26.0 + 22.0 * index as f64), Anchor::Middle, TITLE, line);
        }
        let mut y = 26.0 + 22.0 * title.len() as f64;
        for row in legend {
            let mut x = plan.left;
            for (label, colour) in row {
                canvas.fill((x, y - 10.0), (12.0, 12.0), colour);
                canvas.text((x + 18.0, y), Anchor::Start, TEXT, label);
                x += legend_width(label);
            }
            y += 20.0;
        }
        self.draw_axis(&plan, &mut canvas);
        for (index, (row, label)) in self.rows.iter().zip(&labels).enumerate() {
            self.draw_row(row, label, index, &plan, &mut canvas);
        }
        canvas.artifacts(&self.name)
    }

    fn plan(&self, labels: &[Vec<String>], title_lines: usize, legend_lines: usize) -> Plan {
        let widest = |texts: &mut dyn Iterator<Item = &String>| texts.map(|text| width(text, TEXT)).fold(0.0, f64::max);
        let left = MARGIN + widest(&mut labels.iter().flatten()) + GAP;
        let right = WIDTH - MARGIN - GAP - widest(&mut self.rows.iter().map(|row| &row.figure));
        let top = 18.0 + 22.0 * title_lines as f64 + 20.0 * legend_lines as f64;
        let mut bottom = top;
        let mut middles = Vec::new();
        for label in labels {
            let tall = ROW.max(LINE * label.len() as f64 + 8.0);
            middles.push(bottom + tall / 2.0);
            bottom += tall;
        }
        Plan { left, right, top, bottom, middles }
    }

    /// The entries of the legend, line by line.
    fn legend_rows(&self) -> Vec<Vec<(&str, &'static str)>> {
        let mut rows: Vec<Vec<(&str, &'static str)>> = Vec::new();
        let mut x = f64::MAX;
        for (label, colour) in &self.legend {
            if x + legend_width(label) > WIDTH - LABEL_ROOM {
                rows.push(Vec::new());
                x = 0.0;
            }
            x += legend_width(label);
            if let Some(row) = rows.last_mut() {
                row.push((label, colour));
            }
        }
        rows
    }

    fn x(&self, plan: &Plan, value: f64) -> f64 {
        let (from, to) = self.x;
        plan.left + (value.clamp(from, to) - from) / (to - from) * (plan.right - plan.left)
    }

    fn draw_axis(&self, plan: &Plan, canvas: &mut Canvas) {
        let count = ((plan.right - plan.left) / 90.0).max(2.0) as usize;
        let ticks: Vec<f64> = generate_ticks(self.x.0, self.x.1, count)
            .into_iter()
            .filter(|at| (self.x.0..=self.x.1).contains(at))
            .collect();
        let step = ticks.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::MAX, f64::min);
        let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
        for at in ticks {
            let x = self.x(plan, at);
            canvas.line((x, plan.top), (x, plan.bottom), GRID, 1.0, None);
            canvas.line((x, plan.bottom), (x, plan.bottom + 5.0), INK, 1.0, None);
            canvas.text((x, plan.bottom + 18.0), Anchor::Middle, TEXT, &format!("{at:.decimals$}"));
        }
        canvas.line((plan.left, plan.bottom), (plan.right, plan.bottom), INK, 1.0, None);
        let middle = (plan.left + plan.right) / 2.0;
        canvas.text((middle, plan.bottom + 37.0), Anchor::Middle, TEXT, &self.x_label);
    }

    fn draw_row(&self, row: &Row, label: &[String], index: usize, plan: &Plan, canvas: &mut Canvas) {
        let middle = plan.middles[index];
        let first = middle - LINE * (label.len() as f64 - 1.0) / 2.0 + 4.0;
        for (number, line) in label.iter().enumerate() {
            canvas.text((plan.left - GAP, first + LINE * number as f64), Anchor::End, TEXT, line);
        }
        canvas.text((WIDTH - MARGIN, middle + 4.0), Anchor::End, TEXT, &row.figure);
        for part in &row.parts {
            let (from, to) = (self.x(plan, part.from.min(part.to)), self.x(plan, part.from.max(part.to)));
            // Even the smallest part is visible.
            let across = if part.from == part.to { 0.0 } else { (to - from).max(1.5) };
            canvas.fill((from, middle - BAR / 2.0), (across, BAR), part.colour);
            if !part.text.is_empty() && width(&part.text, TEXT) + 8.0 <= across {
                let backing = width(&part.text, TEXT) + 6.0;
                canvas.fill(((from + to - backing) / 2.0, middle - 7.0), (backing, 14.0), "#ffffff");
                canvas.text(((from + to) / 2.0, middle + 4.0), Anchor::Middle, TEXT, &part.text);
            }
        }
        if let (Some(at), Some(next)) = (row.leads_on, plan.middles.get(index + 1)) {
            let x = self.x(plan, at);
            canvas.line((x, middle - BAR / 2.0), (x, next + BAR / 2.0), INK, 1.0, Some("2 2"));
        }
    }
}

fn legend_width(label: &str) -> f64 {
    width(label, TEXT) + 18.0 + 20.0
}
