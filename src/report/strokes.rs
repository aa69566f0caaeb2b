//! Lines, and the colours and strokes that distinguish them.

/// Colours of Okabe and Ito, which colour-blind readers can distinguish.
pub(super) mod colour {
    pub const BLUE: &str = "#0072B2";
    pub const VERMILLION: &str = "#D55E00";
    pub const GREEN: &str = "#009E73";
    pub const ORANGE: &str = "#E69F00";
    pub const PURPLE: &str = "#CC79A7";
    pub const SKY: &str = "#56B4E9";
    pub const BLACK: &str = "#000000";
    /// Two more, for the seventh and eighth tier.
    pub const GREY: &str = "#777777";
    pub const OLIVE: &str = "#5B5B00";
    /// In the order of use where one is needed for each of several things.
    pub const ALL: [&str; 6] = [VERMILLION, BLUE, GREEN, PURPLE, ORANGE, SKY];
    /// The same for up to eight things.
    pub const EIGHT: [&str; 8] = [VERMILLION, BLUE, GREEN, PURPLE, ORANGE, SKY, GREY, OLIVE];
    /// The colours of the study's two strategies, which other runs get last.
    pub const OF_THE_STUDY: [&str; 2] = [VERMILLION, BLUE];

    /// The colour that a strategy with a name has in every picture.
    pub fn of_strategy(name: &str) -> Option<&'static str> {
        match name {
            "baseline" => Some(VERMILLION),
            "best-ratio" => Some(BLUE),
            "balanced" => Some(GREEN),
            "balanced-online" => Some(PURPLE),
            "best-ratio-drop" => Some(ORANGE),
            _ => None,
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::strategy::NAMED;
        use std::collections::BTreeSet;

        #[test]
        fn every_named_strategy_has_a_colour_of_its_own() {
            let colours: BTreeSet<&str> = NAMED.iter().map(|(name, _, _)| of_strategy(name).unwrap()).collect();
            assert_eq!(colours.len(), NAMED.len());
            assert!(colours.iter().all(|colour| ALL.contains(colour)));
        }
    }
}

/// How a line is drawn: two lines never differ only in colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stroke {
    Solid,
    Dashed,
    Dotted,
}

/// One line of a panel.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub label: String,
    pub colour: &'static str,
    pub stroke: Stroke,
    pub points: Vec<(f64, f64)>,
}
