//! Pictures of decisions: which choice wins in which circumstances, and by how much.
//!
//! A [`WinnerMap`] has a cell for each pair of values of two circumstances, in the winner's colour;
//! [`WinnerLines`] show the figure of each choice over one circumstance that is a number, and
//! [`winner_bars`] over circumstances that are not. All name the choices in the same order, and a
//! choice has the colour of its place in that order, here and on pages.
//!
//! Nothing depends on colour alone: cells have the name or the key of their winner, lines have
//! different dashes and marks, and cells without a clear winner are hatched.

mod bars;
mod lines;
mod map;

pub use bars::{BarGroup, winner_bars};
pub use lines::{WinnerLine, WinnerLines};
pub use map::{Crossing, MapAxis, Side, WinnerMap, WinnerPanel};

use super::strokes::colour;

/// The colour of axes, marks and borders.
const INK: &str = "#000000";
/// Around a picture.
const MARGIN: f64 = 14.0;
/// The height of a line of text.
const LINE: f64 = 15.0;

/// How many choices have a colour of their own; the others are grey.
pub const COLOURED: usize = 6;

/// The outcome of one combination of circumstances.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// The place of the winner in the list of choices; `None` if no choice has the figure.
    pub winner: Option<usize>,
    /// By how much the second choice is worse: 0.08 is 8 %. `None` if there is no second.
    pub margin: Option<f64>,
    /// Whether some choice has no result: it does not fit, or failed.
    pub gaps: bool,
}

/// How clear an outcome is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Clarity {
    /// No choice has the figure.
    Nothing,
    /// The second is within the share that counts as equally good.
    Same,
    /// The margin's place among [`LEVELS`], from 1.
    Level(usize),
}

/// Where the shades of a colour begin: a margin over the last one has the strongest.
pub const LEVELS: [f64; 4] = [0.0, 0.1, 0.3, 1.0];

/// The shares of a colour in its shades, on white. Black can be read on all of them.
const SHADES: [f64; 4] = [0.28, 0.45, 0.62, 0.8];

impl Outcome {
    /// How clear it is, where choices within the share `within` count as equally good.
    #[must_use]
    pub fn clarity(&self, within: f64) -> Clarity {
        match (self.winner, self.margin) {
            (None, _) => Clarity::Nothing,
            // Nothing competes with an only choice.
            (Some(_), None) => Clarity::Level(LEVELS.len()),
            (Some(_), Some(margin)) if margin <= within => Clarity::Same,
            (Some(_), Some(margin)) => Clarity::Level(LEVELS.iter().filter(|from| margin > **from).count().max(1)),
        }
    }

    /// Its margin as a person reads it: `+12 %`, `≈ +2 %`, `only one`, `none`.
    #[must_use]
    pub fn text(&self, within: f64) -> String {
        match (self.winner, self.margin) {
            (None, _) => "none".to_owned(),
            (Some(_), None) => "only one".to_owned(),
            (Some(_), Some(margin)) if margin <= within => format!("≈ {}", margin_text(margin)),
            (Some(_), Some(margin)) => margin_text(margin),
        }
    }
}

/// A margin as a person reads it: `+12 %`, from ten times on `12x`.
#[must_use]
pub fn margin_text(margin: f64) -> String {
    let percent = 100.0 * margin;
    match percent {
        percent if percent >= 900.0 => format!("{:.0}x", 1.0 + margin),
        percent if percent < 0.05 => "+0 %".to_owned(),
        percent if percent < 1.0 => format!("+{percent:.1} %"),
        _ => format!("+{percent:.0} %"),
    }
}

/// The shades that margins over `within` can have, in words: `5 to 10 %`, ... `over 100 %`, each
/// with its place from 1.
#[must_use]
pub fn level_texts(within: f64) -> Vec<(usize, String)> {
    let percent = |share: f64| format!("{}", (1000.0 * share).round() / 10.0);
    let range = |(place, from): (usize, &f64)| {
        let from = from.max(within);
        match LEVELS.get(place + 1) {
            Some(to) if *to <= from => None,
            Some(to) => Some((place + 1, format!("{} to {} %", percent(from), percent(*to)))),
            None => Some((place + 1, format!("over {} %", percent(from)))),
        }
    };
    LEVELS.iter().enumerate().filter_map(range).collect()
}

/// The key of the choice at `place`: `A`, `B`, ... `Z`, `A1`, ...
#[must_use]
pub fn key(place: usize) -> String {
    const LETTERS: usize = 26;
    let letter = char::from(b'A' + (place % LETTERS) as u8);
    match place / LETTERS {
        0 => letter.to_string(),
        round => format!("{letter}{round}"),
    }
}

/// The colour of the choice at `place`.
fn colour_of(place: usize) -> &'static str {
    if place < COLOURED { colour::ALL[place] } else { colour::GREY }
}

/// The colour of a cell.
fn shade(place: usize, level: usize) -> String {
    let share = SHADES[level.clamp(1, SHADES.len()) - 1];
    let part = |at: usize| {
        let strong = u8::from_str_radix(&colour_of(place)[at..at + 2], 16).unwrap_or(0);
        255.0 + (f64::from(strong) - 255.0) * share
    };
    format!("#{:02x}{:02x}{:02x}", part(1).round() as u8, part(3).round() as u8, part(5).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn margins_are_shown_as_they_are_and_shaded_by_their_level() {
        let outcome = |margin: Option<f64>| Outcome { winner: Some(0), margin, gaps: false };
        let shown = |margin: f64| outcome(Some(margin)).text(0.05);
        assert_eq!(
            [0.0, 0.004, 0.049, 0.051, 0.124, 1.0, 8.99, 11.4].map(shown),
            ["≈ +0 %", "≈ +0.4 %", "≈ +5 %", "+5 %", "+12 %", "+100 %", "+899 %", "12x"]
        );
        let clarity = |margin: f64| outcome(Some(margin)).clarity(0.05);
        assert_eq!(
            [0.05, 0.06, 0.11, 0.31, 1.01].map(clarity),
            [Clarity::Same, Clarity::Level(1), Clarity::Level(2), Clarity::Level(3), Clarity::Level(4)]
        );
        assert_eq!(outcome(None).clarity(0.05), Clarity::Level(4));
        assert_eq!(outcome(Some(0.0)).clarity(0.0), Clarity::Same);
        assert_eq!(Outcome { winner: None, margin: None, gaps: true }.clarity(0.05), Clarity::Nothing);
        let texts: Vec<String> = level_texts(0.125).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["12.5 to 30 %", "30 to 100 %", "over 100 %"]);
    }

    /// The contrast of black text on every shade, by WCAG 2: 4.5 is needed.
    #[test]
    fn black_can_be_read_on_every_shade_and_shades_get_stronger() {
        let luminance = |colour: &str| {
            let part = |at: usize| {
                let share = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
                if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
        };
        for place in 0..=COLOURED {
            let all: Vec<f64> = (1..=LEVELS.len()).map(|level| luminance(&shade(place, level))).collect();
            assert!(all.is_sorted_by(|a, b| a > b), "{place}: {all:?}");
            assert!((all[3] + 0.05) / 0.05 > 4.5, "{place}: {all:?}");
        }
    }

    #[test]
    fn keys_differ() {
        let keys: std::collections::BTreeSet<String> = (0..200).map(key).collect();
        assert_eq!(keys.len(), 200);
        assert_eq!([key(0), key(25), key(26)], ["A", "Z", "A1"]);
    }
}
