//! What the choices, the circumstances and the figures of a decision are called, and the order of
//! the choices.

use crate::decision::{By, Circumstance, Crossover, Decision, DecisionAxis, sides};
use crate::metrics::{FigureUnit, figure_unit};
use crate::report::winners::{COLOURED, Outcome};
use crate::sweep::Unit;
use std::collections::BTreeMap;

/// The names of a decision.
pub(super) struct Names<'a> {
    decision: &'a Decision,
    /// The choices that are compared, without those that are decided first: their levels on the
    /// axes that are compared. Those with a colour of their own come first.
    order: Vec<Vec<usize>>,
    /// The unit of the figure in pictures: the divisor and the name.
    pub scale: (f64, &'static str),
}

impl<'a> Names<'a> {
    pub fn new(decision: &'a Decision) -> Self {
        let mut names = Self { decision, order: Vec::new(), scale: (1.0, "") };
        names.order = names.ordered();
        let values = || decision.circumstances.iter().flat_map(|it| &it.ranking).map(|ranked| ranked.value);
        let most = values().fold(0.0, f64::max);
        names.scale = match figure_unit(&decision.by.path) {
            FigureUnit::Time => Unit::Time.scale(most),
            FigureUnit::Requests => (1.0, "requests/s"),
            _ => Unit::Real.scale(most),
        };
        names
    }

    /// Every choice once: the winners and, as far as colours last, those that come closest, in the
    /// order in which they are listed; then the others.
    fn ordered(&self) -> Vec<Vec<usize>> {
        // For each choice how often it wins, and the sum of how much worse it is than the winner.
        let mut found: BTreeMap<Vec<usize>, (usize, f64, usize)> = BTreeMap::new();
        for circumstance in &self.decision.circumstances {
            let best = circumstance.ranking.first().map(|first| first.value);
            for (place, ranked) in circumstance.ranking.iter().enumerate() {
                let entry = found.entry(self.decision.outer(&ranked.choice)).or_default();
                entry.0 += usize::from(place == 0);
                entry.1 += best.map_or(0.0, |best| (ranked.value / best).ln().abs());
                entry.2 += 1;
            }
            for (choice, _) in &circumstance.without {
                found.entry(self.decision.outer(choice)).or_default();
            }
        }
        let mut all: Vec<(Vec<usize>, (usize, f64))> = found
            .into_iter()
            .map(|(choice, (wins, off, count))| (choice, (wins, if count > 0 { off / count as f64 } else { f64::MAX })))
            .collect();
        all.sort_by(|(_, a), (_, b)| b.0.cmp(&a.0).then(a.1.total_cmp(&b.1)));
        let mut order: Vec<Vec<usize>> = all.into_iter().map(|(choice, _)| choice).collect();
        let coloured = order.len().min(COLOURED);
        order[..coloured].sort();
        order
    }

    /// The place of a choice in the order.
    pub fn place(&self, choice: &[usize]) -> usize {
        let compared = self.decision.outer(choice);
        self.order.iter().position(|known| *known == compared).unwrap_or(self.order.len())
    }

    /// How many choices are compared.
    pub fn count(&self) -> usize {
        self.order.len()
    }

    /// The names of the choices, in their order.
    pub fn choices(&self) -> Vec<String> {
        self.order.iter().map(|choice| self.choice(choice)).collect()
    }

    /// The name of a choice: its levels on the axes that are compared and have several.
    pub fn choice(&self, choice: &[usize]) -> String {
        let is_named =
            |axis: usize| !self.decision.best.contains(&axis) && self.decision.choices[axis].levels.len() > 1;
        self.levels(choice, is_named)
    }

    /// The name of a choice with what is decided first: `a96 with balanced-online`.
    pub fn whole_choice(&self, choice: &[usize]) -> String {
        let inner = self.levels(choice, |axis| self.decision.best.contains(&axis));
        match inner.is_empty() {
            true => self.choice(choice),
            false => format!("{} with {inner}", self.choice(choice)),
        }
    }

    fn levels(&self, choice: &[usize], is_named: impl Fn(usize) -> bool) -> String {
        let shown = self.decision.choices.iter().zip(choice).enumerate().filter(|(axis, _)| is_named(*axis));
        let shown = shown.map(|(_, (axis, level))| level_name(axis, *level));
        shown.collect::<Vec<_>>().join(", ")
    }

    /// The axes on which choices differ, in words: `memory and strategy`.
    pub fn chosen(&self) -> String {
        let compared =
            |(place, axis): &(usize, &DecisionAxis)| !self.decision.best.contains(place) && axis.levels.len() > 1;
        let names: Vec<&str> =
            self.decision.choices.iter().enumerate().filter(compared).map(|(_, axis)| axis.name.as_str()).collect();
        if names.is_empty() { "choice".to_owned() } else { listed(&names) }
    }

    /// Circumstances in words, those of `axes`: `prefill 32k, skip 40 %`.
    pub fn given(&self, given: &[usize], axes: &[usize]) -> String {
        let named = |axis: &usize| {
            let of = &self.decision.given[*axis];
            format!("{} {}", of.name, level_name(of, given[*axis]))
        };
        axes.iter().map(named).collect::<Vec<_>>().join(", ")
    }

    /// What is the same in all circumstances, in words; empty if nothing is.
    pub fn fixed(&self) -> String {
        let axes: Vec<usize> =
            (0..self.decision.given.len()).filter(|axis| self.decision.given[*axis].levels.len() == 1).collect();
        self.given(&vec![0; self.decision.given.len()], &axes)
    }

    /// The figure's name: TPOT, p99 TPOT, tokens/s.
    pub fn by(&self) -> String {
        match self.decision.by.name.as_str() {
            "tpot" => "TPOT".to_owned(),
            "p99" => "p99 of TPOT".to_owned(),
            "tokens_per_s" => "tokens/s".to_owned(),
            "ttft" => "TTFT".to_owned(),
            "cost" => "cost of a million tokens".to_owned(),
            other => other.to_owned(),
        }
    }

    /// The figure's name with the unit of pictures: `TPOT (ms)`.
    pub fn label(&self) -> String {
        let currency = self.decision.currency.as_deref().filter(|_| self.decision.by.path == By::COST);
        match currency.unwrap_or(self.scale.1) {
            "" => self.by(),
            unit => format!("{} ({unit})", self.by()),
        }
    }

    /// A value of the figure as a person reads it.
    pub fn value(&self, value: f64) -> String {
        self.decision.by.shown(value, self.decision.currency.as_deref())
    }

    /// The question that the decision answers.
    pub fn question(&self) -> String {
        let least = if self.decision.by.more_is_better { "most" } else { "least" };
        let which = match varying_names(self.decision) {
            names if names.is_empty() => String::new(),
            names => format!(", for each {}", listed(&names)),
        };
        match self.decision.by.name.as_str() {
            "cost" => format!("Which {} costs the least for a million tokens{which}?", self.chosen()),
            "tpot" | "p99" | "tokens_per_s" | "ttft" => {
                format!("Which {} has the {} {}{which}?", self.chosen(), word(least), self.by())
            }
            path => format!("Which {} has the {least} {path}{which}?", self.chosen()),
        }
    }

    /// The outcome in a circumstance.
    pub fn outcome(&self, circumstance: &Circumstance) -> Outcome {
        Outcome {
            winner: circumstance.ranking.first().map(|first| self.place(&first.choice)),
            margin: circumstance.margin(&self.decision.by),
            gaps: !circumstance.without.is_empty(),
        }
    }

    /// Where a crossover lies, as a person reads it: the middle of the values around it.
    pub fn crossover(&self, crossover: &Crossover) -> String {
        let (low, high) = crossover.between;
        let axis = &self.decision.given[crossover.along];
        // Of whole numbers next to each other, the upper one is the first of the new winner.
        let is_next = axis.unit == Unit::Whole && high - low <= 1.0;
        shown(axis, if is_next { high } else { low.midpoint(high) })
    }
}

/// Names in words: `a, b and c`.
fn listed(names: &[&str]) -> String {
    match names.split_last() {
        None => String::new(),
        Some((only, [])) => (*only).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// The adjective for times and rates: the lowest TPOT, the most tokens/s.
fn word(least: &str) -> &str {
    if least == "least" { "lowest" } else { least }
}

fn varying_names(decision: &Decision) -> Vec<&str> {
    super::varying(decision).into_iter().map(|axis| decision.given[axis].name.as_str()).collect()
}

/// The name of a value of an axis.
pub(super) fn level_name(axis: &DecisionAxis, level: usize) -> String {
    axis.levels.get(level).map_or_else(String::new, |(name, _)| name.clone())
}

/// A number of an axis, to three digits, as its values are shown.
fn shown(axis: &DecisionAxis, number: f64) -> String {
    let digits = 3 - 1 - number.abs().log10().floor().clamp(-9.0, 15.0) as i32;
    let rounded = (number * 10f64.powi(digits)).round() / 10f64.powi(digits);
    sides::shown(&axis.name, axis.unit, rounded)
}
