//! Legends: a sample long enough to distinguish dashes from dots, and a label that is broken into
//! lines where it is long.

use super::canvas::{Anchor, Canvas, TEXT};
use super::labels::{shortened, wrapped};
use super::lettering::width;

/// An entry of a legend.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub label: String,
    pub colour: String,
    pub sample: Sample,
}

/// Its sample.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Sample {
    /// A line, with its dash pattern if it has one.
    Line(Option<String>),
    /// A filled box.
    Fill,
    /// A filled box with diagonal lines in the entry's colour.
    Hatch,
    /// Boxes side by side, in these colours.
    Shades(Vec<String>),
    /// A thick upright line.
    Bar,
    /// A box with a marked corner.
    Corner,
    /// The mark of a point, by its shape.
    Mark(usize),
}

/// How long the sample of a line is: two of the longest dash patterns.
const SAMPLE: f64 = 48.0;
/// How wide a filled box is.
const BOX: f64 = 20.0;
const GAP: f64 = 8.0;
const PADDING: f64 = 10.0;
const LINE: f64 = 15.0;
/// Between two entries, besides their lines.
const LEADING: f64 = 5.0;
/// How wide labels may be, and how many characters they may have: four lines of about forty.
const ROOM: f64 = 240.0;
const CHARACTERS: usize = 140;

/// Adds a box with `entries` to the right of `canvas`, which grows by it.
pub(super) fn add(canvas: &mut Canvas, entries: &[Entry]) {
    if entries.is_empty() {
        return;
    }
    let labels: Vec<String> = entries.iter().map(|entry| entry.label.clone()).collect();
    let labels: Vec<Vec<String>> =
        shortened(&labels, CHARACTERS).iter().map(|label| wrapped(label, ROOM, TEXT)).collect();
    let widest = labels.iter().flatten().map(|line| width(line, TEXT)).fold(0.0, f64::max);
    let tall = |lines: &Vec<String>| LINE * lines.len() as f64 + LEADING;
    let height = labels.iter().map(tall).sum::<f64>() + 2.0 * PADDING - LEADING;
    let is_line = |entry: &Entry| matches!(entry.sample, Sample::Line(_));
    let sample = if entries.iter().any(is_line) { SAMPLE } else { BOX };
    let across = 2.0 * PADDING + sample + GAP + widest;
    let left = canvas.width();
    canvas.grow(left + across + PADDING, height + 2.0 * PADDING);
    let top = ((canvas.height() - height) / 2.0).max(PADDING);
    canvas.outline((left, top), (across, height));
    let mut y = top + PADDING;
    for (entry, lines) in entries.iter().zip(&labels) {
        let middle = y + LINE / 2.0 - 1.0;
        let from = left + PADDING;
        match &entry.sample {
            Sample::Line(dashes) => {
                canvas.line((from, middle), (from + sample, middle), &entry.colour, 2.0, dashes.as_deref());
            }
            Sample::Mark(shape) => canvas.mark((from + sample - BOX / 2.0, middle), &entry.colour, *shape),
            Sample::Fill => canvas.fill((from + sample - BOX, middle - 6.0), (BOX, 12.0), &entry.colour),
            Sample::Hatch => {
                canvas.fill((from + sample - BOX, middle - 6.0), (BOX, 12.0), "#eeeeee");
                canvas.hatch((from + sample - BOX, middle - 6.0), (BOX, 12.0), &entry.colour);
            }
            Sample::Shades(colours) => {
                let wide = BOX / colours.len().max(1) as f64;
                for (place, colour) in colours.iter().enumerate() {
                    canvas.fill((from + sample - BOX + wide * place as f64, middle - 6.0), (wide, 12.0), colour);
                }
            }
            Sample::Bar => {
                let x = from + sample - BOX / 2.0;
                canvas.line((x, middle - 7.0), (x, middle + 7.0), &entry.colour, 2.5, None);
            }
            Sample::Corner => {
                canvas.fill((from + sample - BOX, middle - 6.0), (BOX, 12.0), "#eeeeee");
                canvas.corner((from + sample, middle - 6.0), &entry.colour);
            }
        }
        for (number, line) in lines.iter().enumerate() {
            let at = (from + sample + GAP, middle + 4.0 + LINE * number as f64);
            canvas.text(at, Anchor::Start, TEXT, line);
        }
        y += tall(lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The boxes of all lines of text are apart, and within the picture.
    #[test]
    fn labels_of_any_length_stay_apart_and_within() {
        let entry = |label: String| Entry { label, colour: "#000000".to_owned(), sample: Sample::Line(None) };
        let long = "DensityFirst+BestRatio+LookAheadBatch (oracle: sees 3000 steps) ".repeat(4);
        let entries: Vec<Entry> = (0..30).map(|index| entry(format!("{long}{index}"))).collect();
        let mut canvas = Canvas::new(400.0, 300.0);
        add(&mut canvas, &entries);
        let mut boxes: Vec<(f64, f64, f64)> =
            canvas.texts().map(|(x, y, text)| (x, y, x + width(text, TEXT))).collect();
        assert!(boxes.len() > 30 && boxes.iter().all(|(x, _, end)| *x > 400.0 && *end < canvas.width()));
        boxes.sort_by(|a, b| a.1.total_cmp(&b.1));
        assert!(boxes.windows(2).all(|pair| pair[1].1 - pair[0].1 >= f64::from(TEXT)), "{boxes:?}");
        assert!(boxes.last().is_some_and(|(_, y, _)| *y < canvas.height()));
        // Each label's last characters tell it from the others.
        let shown: Vec<String> = canvas.texts().map(|(_, _, text)| text.to_owned()).collect();
        assert!(shown.iter().any(|text| text.ends_with("29")) && shown.iter().any(|text| text.ends_with("17")));
    }
}
