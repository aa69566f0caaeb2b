//! The figure of each choice over a circumstance that is a number, with the values at which the
//! winner changes as upright lines.

use super::{INK, LINE, MARGIN, colour_of};
use crate::report::canvas::{Anchor, Canvas, TEXT, TITLE};
use crate::report::grids::is_logarithmic;
use crate::report::labels::wrapped;
use crate::report::legend::{self, Entry, Sample};
use crate::report::lettering::width;
use crate::report::{Artifact, ReportError};
use kuva::render::render_utils::generate_ticks;

/// A line for each of several choices.
#[derive(Clone, Debug)]
pub struct WinnerLines {
    /// The name of the files, without an ending.
    pub name: String,
    /// Above the picture.
    pub title: String,
    /// Below the title, a paragraph each.
    pub notes: Vec<String>,
    /// The name of the circumstance.
    pub x_label: String,
    /// Its values: their places and their texts.
    pub x: Vec<(f64, String)>,
    /// The figure, with its unit.
    pub y_label: String,
    /// The lines.
    pub lines: Vec<WinnerLine>,
    /// Where the winner changes: the value, and its text.
    pub crossings: Vec<(f64, String)>,
}

/// A line of [`WinnerLines`].
#[derive(Clone, Debug)]
pub struct WinnerLine {
    /// The choice.
    pub label: String,
    /// Its place in the order of the choices, which sets the colour.
    pub place: usize,
    /// For each value of x the figure; `None` where the choice has no result.
    pub values: Vec<Option<f64>>,
}

const GRID: &str = "#dddddd";
const WIDE: f64 = 600.0;
const TALL: f64 = 330.0;
/// Around the places of the first and the last value.
const INSET: f64 = 18.0;
const DASHES: [Option<&str>; 6] = [None, Some("8 4"), Some("2 3"), Some("10 3 2 3"), Some("4 4"), Some("12 6")];
/// Between the texts of values beside each other.
const APART: f64 = 10.0;
/// Figures that span this factor have a logarithmic scale.
const DECADES_FROM: f64 = 50.0;

/// Where values are, in pixels.
struct Scale {
    left: f64,
    top: f64,
    /// The ends of x, and whether it is logarithmic.
    x: (f64, f64, bool),
    /// The same of y.
    y: (f64, f64, bool),
}

impl Scale {
    fn share((from, to, logarithmic): (f64, f64, bool), value: f64) -> f64 {
        let (from, to, value) = if logarithmic { (from.ln(), to.ln(), value.ln()) } else { (from, to, value) };
        if to > from { (value - from) / (to - from) } else { 0.5 }
    }

    fn x(&self, value: f64) -> f64 {
        self.left + INSET + Self::share(self.x, value) * (WIDE - 2.0 * INSET)
    }

    fn y(&self, value: f64) -> f64 {
        self.top + TALL - Self::share(self.y, value).clamp(0.0, 1.0) * TALL
    }
}

impl WinnerLines {
    /// The picture as `NAME.svg` and `NAME.png`.
    ///
    /// # Errors
    /// [`ReportError`] if it cannot be drawn.
    pub fn artifacts(self) -> Result<[Artifact; 2], ReportError> {
        let name = self.name.clone();
        self.canvas().artifacts(&name)
    }

    fn canvas(&self) -> Canvas {
        let (y_ends, ticks) = self.y_axis();
        let left = MARGIN + 24.0 + ticks.iter().map(|(_, text)| width(text, TEXT)).fold(0.0, f64::max) + 10.0;
        let full = left + WIDE + MARGIN;
        let title = wrapped(&self.title, full - 2.0 * MARGIN, TITLE);
        let notes: Vec<String> = self.notes.iter().flat_map(|note| wrapped(note, full - 2.0 * MARGIN, TEXT)).collect();
        let levels = self.crossing_levels(left);
        let rows = levels.iter().max().map_or(0.0, |most| *most as f64 + 1.0);
        let top = 12.0 + 23.0 * title.len() as f64 + LINE * (notes.len() as f64 + rows) + 14.0;
        let scale = Scale { left, top, x: self.x_ends(), y: y_ends };
        let mut canvas = Canvas::new(full, top + TALL + 52.0);
        for (index, line) in title.iter().enumerate() {
            canvas.text((MARGIN, 28.0 + 23.0 * index as f64), Anchor::Start, TITLE, line);
        }
        for (index, line) in notes.iter().enumerate() {
            let y = 26.0 + 23.0 * title.len() as f64 + LINE * index as f64;
            canvas.text((MARGIN, y), Anchor::Start, TEXT, line);
        }
        self.draw_axes(&scale, &ticks, &mut canvas);
        for ((at, text), level) in self.crossings.iter().zip(&levels) {
            let (x, up) = (scale.x(*at), top - 5.0 - LINE * *level as f64);
            canvas.line((x, up), (x, top + TALL), INK, 1.5, Some("3 3"));
            let half = width(text, TEXT) / 2.0;
            let middle = x.clamp(left + half, left + WIDE - half);
            canvas.fill((middle - half - 2.0, up - 12.0), (2.0 * half + 4.0, 13.0), "#ffffff");
            canvas.text((middle, up - 2.0), Anchor::Middle, TEXT, text);
        }
        for line in &self.lines {
            self.draw_line(line, &scale, &mut canvas);
        }
        legend::add(&mut canvas, &self.entries());
        canvas
    }

    fn x_ends(&self) -> (f64, f64, bool) {
        let (least, most) =
            self.x.iter().fold((f64::MAX, f64::MIN), |(least, most), (x, _)| (least.min(*x), most.max(*x)));
        (least, most, is_logarithmic(least, most))
    }

    /// The ends of the y axis, and its ticks.
    fn y_axis(&self) -> ((f64, f64, bool), Vec<(f64, String)>) {
        let values = || self.lines.iter().flat_map(|line| &line.values).flatten().copied();
        let (least, most) = values().fold((f64::MAX, 0.0f64), |(least, most), y| (least.min(y), most.max(y)));
        if least > 0.0 && most / least >= DECADES_FROM {
            let (from, to) = (10f64.powf(least.log10().floor()), 10f64.powf(most.log10().ceil()));
            let count = (to / from).log10().round() as i32;
            let ticks = (0..=count).map(|step| from * 10f64.powi(step)).map(|at| (at, plain(at, at)));
            return ((from, to, true), ticks.collect());
        }
        let to = if most > 0.0 { 1.08 * most } else { 1.0 };
        let ticks: Vec<f64> = generate_ticks(0.0, to, 6).into_iter().filter(|at| (0.0..=to).contains(at)).collect();
        let step = ticks.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::MAX, f64::min);
        ((0.0, to, false), ticks.into_iter().map(|at| (at, plain(at, step))).collect())
    }

    fn draw_axes(&self, scale: &Scale, ticks: &[(f64, String)], canvas: &mut Canvas) {
        let (left, right, bottom) = (scale.left, scale.left + WIDE, scale.top + TALL);
        for (at, text) in ticks {
            let y = scale.y(*at);
            canvas.line((left, y), (right, y), GRID, 1.0, None);
            canvas.text((left - 8.0, y + 4.0), Anchor::End, TEXT, text);
        }
        canvas.line((left, bottom), (right, bottom), INK, 1.0, None);
        canvas.line((left, scale.top), (left, bottom), INK, 1.0, None);
        let mut free = f64::MIN;
        for (at, text) in &self.x {
            let (x, half) = (scale.x(*at), width(text, TEXT) / 2.0);
            canvas.line((x, bottom), (x, bottom + 5.0), INK, 1.0, None);
            if x - half >= free {
                canvas.text((x, bottom + 18.0), Anchor::Middle, TEXT, text);
                free = x + half + APART;
            }
        }
        canvas.text(((left + right) / 2.0, bottom + 40.0), Anchor::Middle, TEXT, &self.x_label);
        let middle = (scale.top + bottom) / 2.0;
        canvas.upward_text((MARGIN + 12.0, middle), Anchor::Middle, TEXT, &self.y_label);
    }

    fn draw_line(&self, line: &WinnerLine, scale: &Scale, canvas: &mut Canvas) {
        let colour = colour_of(line.place);
        let points: Vec<Option<(f64, f64)>> = self
            .x
            .iter()
            .zip(&line.values)
            .map(|((x, _), value)| value.map(|value| (scale.x(*x), scale.y(value))))
            .collect();
        for pair in points.windows(2) {
            if let [Some(from), Some(to)] = pair {
                canvas.line(*from, *to, colour, 2.0, DASHES[line.place % DASHES.len()]);
            }
        }
        for at in points.into_iter().flatten() {
            canvas.mark(at, colour, line.place);
        }
    }

    /// The height at which the text of each crossing stands, so that none meets another.
    fn crossing_levels(&self, left: f64) -> Vec<usize> {
        let scale = Scale { left, top: 0.0, x: self.x_ends(), y: (0.0, 1.0, false) };
        let mut ends: Vec<f64> = Vec::new();
        let mut order: Vec<usize> = (0..self.crossings.len()).collect();
        order.sort_by(|a, b| self.crossings[*a].0.total_cmp(&self.crossings[*b].0));
        let mut levels = vec![0; self.crossings.len()];
        for index in order {
            let (at, text) = &self.crossings[index];
            let half = width(text, TEXT) / 2.0;
            let x = scale.x(*at).clamp(left + half, left + WIDE - half);
            let level = ends.iter().position(|end| *end <= x - half).unwrap_or(ends.len());
            if level == ends.len() {
                ends.push(f64::MIN);
            }
            ends[level] = x + half + APART;
            levels[index] = level;
        }
        levels
    }

    fn entries(&self) -> Vec<Entry> {
        let mut entries: Vec<Entry> = self
            .lines
            .iter()
            .map(|line| Entry {
                label: line.label.clone(),
                colour: colour_of(line.place).to_owned(),
                sample: Sample::Line(DASHES[line.place % DASHES.len()].map(str::to_owned)),
            })
            .collect();
        if !self.crossings.is_empty() {
            let label = "the winner changes at that value".to_owned();
            entries.push(Entry { label, colour: INK.to_owned(), sample: Sample::Line(Some("3 3".to_owned())) });
        }
        entries
    }
}

/// A number of an axis whose ticks are `step` apart.
fn plain(value: f64, step: f64) -> String {
    let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Many crossings close to each other, with long texts: no two boxes of text meet, and all are
    /// within the picture.
    #[test]
    fn texts_of_crossings_never_meet() {
        let picture = WinnerLines {
            name: "lines".to_owned(),
            title: "A title".to_owned(),
            notes: Vec::new(),
            x_label: "prefill".to_owned(),
            x: vec![(1024.0, "1024".to_owned()), (262_144.0, "262144".to_owned())],
            y_label: "TPOT (ms)".to_owned(),
            lines: vec![WinnerLine { label: "a".to_owned(), place: 0, values: vec![Some(1.0), None] }],
            crossings: (0..12).map(|at| (1024.0 + 300.0 * f64::from(at), format!("between {at}"))).collect(),
        };
        let canvas = picture.canvas();
        let texts: Vec<(f64, f64, f64)> = canvas
            .texts()
            .filter(|(_, _, text)| text.starts_with("between"))
            .map(|(x, y, text)| (x - width(text, TEXT) / 2.0, x + width(text, TEXT) / 2.0, y))
            .collect();
        assert_eq!(texts.len(), 12);
        for (index, (from, to, y)) in texts.iter().enumerate() {
            assert!(*from > 0.0 && *to < canvas.width() && *y > 30.0);
            for (other_from, other_to, other_y) in &texts[..index] {
                assert!((y - other_y).abs() >= 12.0 || to < other_from || other_to < from);
            }
        }
    }
}
