//! Words: choices, conditions on circumstances, and margins, as sentences have them.

use super::sides::shown;
use super::tree::is_ordered;
use super::{Crossover, Decision, DecisionAxis};
use crate::strategy::Knowledge;
use crate::sweep::Unit;

/// A choice: the names of its values, those that are numbers with the name of their axis.
pub(super) fn choice(decision: &Decision, choice: &[usize]) -> String {
    let word = |(axis, level): (&DecisionAxis, &usize)| {
        let (name, number) = &axis.levels[*level];
        if number.is_some() { format!("{} {name}", axis.name) } else { name.clone() }
    };
    let several = decision.choices.iter().zip(choice).filter(|(axis, _)| axis.levels.len() > 1);
    several.map(word).collect::<Vec<_>>().join(" with ")
}

/// The same, with what it must know where that is more than the past.
pub(super) fn label(decision: &Decision, of: &[usize]) -> String {
    let ranked = decision.circumstances.iter().flat_map(|it| &it.ranking).find(|ranked| ranked.choice == of);
    let knows = ranked.map_or(Knowledge::Realizable, |ranked| ranked.knows);
    knows.label(&choice(decision, of))
}

/// How a circumstance is called in a sentence.
enum Noun {
    /// `at 32k tokens`, `below 32k tokens`.
    Context,
    /// `with pages of 16 tokens`.
    Pages,
    /// `with 40 % skipped`.
    Skip,
    /// `with 8 sequences`.
    Batch,
    /// `for llama-3.1-70b`.
    Model,
    /// `on gh200`.
    Machine,
    /// `with NAME VALUE`.
    Other,
}

fn noun(name: &str) -> Noun {
    match name.replace('_', "-").as_str() {
        "prefill" | "prefill-tokens" | "context" => Noun::Context,
        "page-tokens" => Noun::Pages,
        "skip" | "trace.skip" => Noun::Skip,
        "batch" => Noun::Batch,
        "model" => Noun::Model,
        "memory" => Noun::Machine,
        _ => Noun::Other,
    }
}

/// A bound of a part of a circumstance: a value, and whether values below or above it are meant.
enum Part {
    At(String),
    Below(String),
    Above(String),
    UpTo(String),
    From(String),
    Between(String, String),
}

/// The condition that a part of a circumstance is, in words. `levels` is the part, in ascending
/// order of numbers; `within` are the levels of all circumstances around it.
pub(super) fn condition(decision: &Decision, along: usize, levels: &[usize], within: &[Vec<usize>]) -> String {
    let axis = &decision.given[along];
    if !is_ordered(axis) {
        let names: Vec<&str> = levels.iter().map(|level| axis.levels[*level].0.as_str()).collect();
        let names = listed(&names);
        return match noun(&axis.name) {
            Noun::Model => format!("for {names}"),
            Noun::Machine => format!("on {names}"),
            _ => format!("with {} {names}", axis.name),
        };
    }
    phrase(axis, part(decision, along, levels, within))
}

fn part(decision: &Decision, along: usize, levels: &[usize], within: &[Vec<usize>]) -> Part {
    let axis = &decision.given[along];
    let name = |level: usize| axis.levels[level].0.clone();
    let mut order: Vec<usize> = (0..axis.levels.len()).collect();
    order.sort_by(|a, b| axis.levels[*a].1.unwrap_or_default().total_cmp(&axis.levels[*b].1.unwrap_or_default()));
    let place = |level: Option<&usize>| order.iter().position(|it| Some(it) == level).unwrap_or_default();
    let (first, last) = (place(levels.first()), place(levels.last()));
    let border = |lower: usize| border(decision, along, (order[lower], order[lower + 1]), within);
    let below = (first > 0).then(|| border(first - 1));
    let above = (last + 1 < order.len()).then(|| border(last));
    let exact = first == last;
    match (below, above) {
        (None, Some(Some(border))) => Part::Below(border),
        (Some(Some(border)), None) => Part::Above(border),
        (Some(Some(low)), Some(Some(high))) => Part::Between(low, high),
        _ if exact => Part::At(name(order[first])),
        (None, _) => Part::UpTo(name(order[last])),
        (_, None) => Part::From(name(order[first])),
        _ => Part::Between(name(order[first]), name(order[last])),
    }
}

/// The border between two neighbouring values, where the crossovers there say where it is.
fn border(decision: &Decision, along: usize, pair: (usize, usize), within: &[Vec<usize>]) -> Option<String> {
    let axis = &decision.given[along];
    let (low, high) = (axis.levels[pair.0].1?, axis.levels[pair.1].1?);
    let inside = |it: &&Crossover| {
        it.along == along
            && it.between.0 >= low
            && it.between.1 <= high
            && it
                .given
                .iter()
                .zip(within)
                .enumerate()
                .all(|(place, (level, levels))| place == along || levels.contains(level))
    };
    let values: Vec<f64> =
        decision.crossovers.iter().filter(inside).filter_map(|it| narrow(axis.unit, it.between)).collect();
    let least = values.iter().copied().min_by(f64::total_cmp)?;
    let most = values.iter().copied().max_by(f64::total_cmp)?;
    // A few percent are less than how well a crossover is known; where it depends on the other
    // circumstances by more than half, the neighbouring values say more.
    const SAME: f64 = 1.05;
    const APART: f64 = 1.5;
    if most > least * APART {
        return None;
    }
    let show = |value: f64| shown(&axis.name, axis.unit, rounded(axis.unit, value));
    if most <= least * SAME || show(least) == show(most) {
        Some(show(least.midpoint(most)))
    } else {
        Some(format!("{} to {}", show(least), show(most)))
    }
}

/// The value of a crossover that is narrowed down; `None` of one that is not.
fn narrow(unit: Unit, (low, high): (f64, f64)) -> Option<f64> {
    const NARROW: f64 = 0.1;
    if unit == Unit::Whole && high - low <= 1.0 {
        return Some(high);
    }
    (high - low <= NARROW * high.abs()).then(|| low.midpoint(high))
}

/// To two digits or so; a crossover is not known better.
fn rounded(unit: Unit, value: f64) -> f64 {
    let text = format!("{value:.1e}").parse().unwrap_or(value);
    if unit == Unit::Whole {
        if value >= 1024.0 { (value / 1024.0).round() * 1024.0 } else { value.round() }
    } else {
        text
    }
}

fn phrase(axis: &DecisionAxis, part: Part) -> String {
    let name = &axis.name;
    let tokens = |value: &str| if value == "1" { "token" } else { "tokens" };
    match (noun(name), part) {
        (Noun::Context, Part::At(value)) => format!("at {value} {}", tokens(&value)),
        (Noun::Context, Part::Below(value)) => format!("below {value} tokens"),
        (Noun::Context, Part::Above(value)) => format!("above {value} tokens"),
        (Noun::Context, Part::UpTo(value)) => format!("up to {value} tokens"),
        (Noun::Context, Part::From(value)) => format!("from {value} tokens on"),
        (Noun::Context, Part::Between(low, high)) => format!("between {low} and {high} tokens"),
        (Noun::Pages, Part::At(value)) => format!("with pages of {value} {}", tokens(&value)),
        (Noun::Pages, Part::Below(value)) => format!("with pages below {value} tokens"),
        (Noun::Pages, Part::UpTo(value)) => format!("with pages of up to {value} tokens"),
        (Noun::Pages, Part::Above(value) | Part::From(value)) => format!("with pages from {value} tokens on"),
        (Noun::Skip, Part::Below(value)) => format!("with less than {value} skipped"),
        (Noun::Skip, Part::Above(value)) => format!("with more than {value} skipped"),
        (Noun::Skip, Part::UpTo(value)) => format!("with up to {value} skipped"),
        (Noun::Skip, Part::From(value)) => format!("with {value} or more skipped"),
        (Noun::Batch, Part::Below(value)) => format!("with fewer than {value} sequences"),
        (Noun::Batch, Part::UpTo(value)) => format!("with up to {value} sequences"),
        (Noun::Batch, Part::Above(value) | Part::From(value)) => format!("with {value} or more sequences"),
        (Noun::Skip, Part::At(value)) if value == "0 %" => "with nothing skipped".to_owned(),
        (Noun::Skip, Part::At(value)) => format!("with {value} skipped"),
        (Noun::Batch, Part::At(value)) if value == "1" => "with 1 sequence".to_owned(),
        (Noun::Batch, Part::At(value)) => format!("with {value} sequences"),
        (_, Part::At(value)) => format!("with {name} {value}"),
        (_, Part::Below(value)) => format!("with {name} below {value}"),
        (_, Part::Above(value)) => format!("with {name} from {value} on"),
        (_, Part::UpTo(value)) => format!("with {name} up to {value}"),
        (_, Part::From(value)) => format!("with {name} from {value} on"),
        (_, Part::Between(low, high)) => format!("with {name} between {low} and {high}"),
    }
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn listed<T: AsRef<str>>(names: &[T]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match &names[..] {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}

/// A range of margins: `by 8 to 20 %`, `by 40 % to 2.3x`; nothing of none.
pub(super) fn margins(of: &[f64]) -> Option<String> {
    let least = of.iter().copied().min_by(f64::total_cmp)?;
    let most = of.iter().copied().max_by(f64::total_cmp)?;
    let (low, high) = (margin(least), margin(most));
    Some(if low == high {
        format!("by {low}")
    } else {
        match (low.strip_suffix(" %"), high.ends_with('%')) {
            (Some(low), true) => format!("by {low} to {high}"),
            _ => format!("by {low} to {high}"),
        }
    })
}

/// A margin: in percent below 100 %, above as a factor.
pub(super) fn margin(of: f64) -> String {
    match of {
        of if of >= 0.995 => format!("{:.1}x", 1.0 + of),
        of if of >= 0.0095 => format!("{:.0} %", 100.0 * of),
        of => format!("{:.1} %", 100.0 * of),
    }
}

/// The first letter in upper case.
pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + letters.as_str())
}
