//! The answer of a decision, in sentences.
//!
//! The first sentence says all: the leaves of the [tree](super::tree) over the circumstances, each
//! with its choice and by how much it is ahead. Where there are more leaves than a reader can keep
//! in mind, it says how many circumstances each choice wins and which circumstance matters most;
//! the tree follows, a sentence for each of its first parts.

use super::words::{capital, condition, label, listed, margin, margins};
use super::{By, Circumstance, Decision, Tree};
use crate::strategy::Knowledge;
use crate::sweep::DOES_NOT_FIT;

/// The most leaves that one sentence has.
const MOST_LEAVES: usize = 6;
/// The most leaves of a sentence that are said side by side, though all but one are alike.
const SIDE_BY_SIDE: usize = 3;
/// The most leaves that further sentences have.
const MOST_DETAILS: usize = 24;

/// What a decision says, a sentence each; the first says all.
#[must_use]
pub fn sentences(decision: &Decision) -> Vec<String> {
    if decision.circumstances.iter().all(|it| it.ranking.is_empty()) {
        return vec!["No choice has a figure in any circumstance.".to_owned()];
    }
    if !decision.best.is_empty() {
        let mut lines = sentences(&decision.of_outer_choices());
        lines.extend(inner(decision));
        return lines;
    }
    let tree = Tree::new(decision);
    let words = Words { decision, choices: Tree::choices(decision) };
    let mut lines = match &tree {
        Some(tree) if tree.leaves() <= MOST_LEAVES => vec![words.whole(tree)],
        _ => vec![words.summary()],
    };
    if let Some(tree) = tree.filter(|tree| (MOST_LEAVES + 1..=MOST_DETAILS).contains(&tree.leaves())) {
        lines.extend(words.details(&tree));
    }
    lines.extend(realizable(decision));
    lines.extend(without(decision));
    lines.extend(cheapest(decision));
    lines
}

struct Words<'a> {
    decision: &'a Decision,
    choices: Vec<Vec<usize>>,
}

impl Words<'_> {
    /// The whole tree, in one sentence.
    fn whole(&self, tree: &Tree) -> String {
        let everywhere: Vec<Vec<usize>> =
            self.decision.given.iter().map(|axis| (0..axis.levels.len()).collect()).collect();
        match tree {
            Tree::Leaf { .. } => {
                let place = if self.decision.circumstances.len() > 1 { " everywhere" } else { "" };
                let (who, how) = self.leaf(tree);
                format!("{who}{place}{how}.")
            }
            Tree::Cut { along, parts } => {
                let text = self.part(tree, &everywhere, 0);
                // A sentence that begins with a choice keeps its name as it is.
                let condition = |levels: &[usize]| condition(self.decision, *along, levels, &everywhere);
                let begins = parts.iter().any(|(levels, _)| text.starts_with(&condition(levels)));
                (if begins { capital(&text) } else { text }) + "."
            }
        }
    }

    /// A sentence for each of the first parts of the tree.
    fn details(&self, tree: &Tree) -> Vec<String> {
        let Tree::Cut { along, parts } = tree else { return Vec::new() };
        let everywhere: Vec<Vec<usize>> =
            self.decision.given.iter().map(|axis| (0..axis.levels.len()).collect()).collect();
        let sentence = |(levels, tree): &(Vec<usize>, Tree)| {
            let mut within = everywhere.clone();
            within[*along] = levels.clone();
            let here = condition(self.decision, *along, levels, &everywhere);
            capital(&format!("{here}: {}.", self.part(tree, &within, 0)))
        };
        parts.iter().map(sentence).collect()
    }

    /// A part of the tree, `depth` cuts below the beginning of its sentence: a rule with its one
    /// exception, or what holds under each condition of its first cut.
    fn part(&self, tree: &Tree, within: &[Vec<usize>], depth: usize) -> String {
        let Tree::Cut { along, parts } = tree else {
            let (who, how) = self.leaf(tree);
            return who + &how;
        };
        if let Some(rule) = self.rule(tree, within).filter(|_| depth > 0 || tree.leaves() > SIDE_BY_SIDE) {
            return rule;
        }
        let side_by_side = depth > 0 || parts.iter().all(|(_, tree)| tree.leaves() == 1);
        let said = parts.iter().map(|(levels, tree)| {
            let here = condition(self.decision, *along, levels, within);
            if side_by_side && tree.leaves() == 1 {
                let (who, how) = self.leaf(tree);
                return format!("{who} {here}{how}");
            }
            let mut inner = within.to_vec();
            inner[*along] = levels.clone();
            let rest = self.part(tree, &inner, depth + 1);
            format!("{here}{} {rest}", if depth == 0 { ":" } else { "" })
        });
        said.collect::<Vec<_>>().join(if side_by_side { ", " } else { "; " })
    }

    /// `A (by 8 to 20 %), but B with 8 sequences (by 70 %)`: a part in which one leaf differs from
    /// all others, which name the same choice. `None` of any other part, and of two leaves that
    /// share one condition: these are said side by side.
    fn rule(&self, tree: &Tree, within: &[Vec<usize>]) -> Option<String> {
        let mut leaves: Vec<(&Tree, String)> = Vec::new();
        self.leaves(tree, within, &mut Vec::new(), &mut leaves);
        let of = |leaf: &Tree| match leaf {
            Tree::Leaf { best, .. } => *best,
            Tree::Cut { .. } => None,
        };
        let is_alone = |place: usize| {
            let mut others = leaves.iter().enumerate().filter(|(other, _)| *other != place).map(|(_, it)| of(it.0));
            let first = others.next().flatten();
            first.is_some() && first != of(leaves[place].0) && others.all(|other| other == first)
        };
        let alone = (0..leaves.len()).find(|place| leaves.len() > 2 && is_alone(*place))?;
        let (exception, conditions) = leaves.swap_remove(alone);
        let usual = self.choices.get(of(leaves.first()?.0)?)?;
        let circumstances: Vec<&Circumstance> = leaves.iter().flat_map(|(leaf, _)| self.inside(leaf)).collect();
        let standing = Standing::of(self.decision, usual, &circumstances);
        let (who, how) = self.leaf(exception);
        let (usual, usually) = (label(self.decision, usual), standing.words(self.decision));
        Some(format!("{usual}{usually}, but {who} {conditions}{how}"))
    }

    /// The leaves of a part, each with its conditions within the part in words.
    fn leaves<'t>(
        &self,
        tree: &'t Tree,
        within: &[Vec<usize>],
        before: &mut Vec<String>,
        found: &mut Vec<(&'t Tree, String)>,
    ) {
        let Tree::Cut { along, parts } = tree else {
            found.push((tree, listed(before)));
            return;
        };
        for (levels, tree) in parts {
            let mut inner = within.to_vec();
            inner[*along] = levels.clone();
            before.push(condition(self.decision, *along, levels, within));
            self.leaves(tree, &inner, before, found);
            before.pop();
        }
    }

    /// The circumstances of a leaf.
    fn inside(&self, leaf: &Tree) -> Vec<&Circumstance> {
        let Tree::Leaf { levels, .. } = leaf else { return Vec::new() };
        let inside = |it: &&Circumstance| it.given.iter().zip(levels).all(|(level, levels)| levels.contains(level));
        self.decision.circumstances.iter().filter(inside).collect()
    }

    /// A leaf: its choice, and by how much it is ahead.
    fn leaf(&self, tree: &Tree) -> (String, String) {
        let Tree::Leaf { best, good, .. } = tree else { return (String::new(), String::new()) };
        let Some(best) = best.and_then(|place| self.choices.get(place)) else {
            return ("nothing fits".to_owned(), String::new());
        };
        let standing = Standing::of(self.decision, best, &self.inside(tree));
        if standing.ahead.is_empty() && standing.alone == 0 {
            let good = (0..self.choices.len()).filter(|place| good >> place & 1 == 1);
            let names: Vec<String> = good.map(|place| label(self.decision, &self.choices[place])).collect();
            let within = margin(self.decision.within);
            return match &names[..] {
                [one] => (one.clone(), format!(", and others within {within}")),
                names => (listed(names), format!(" about the same (within {within})")),
            };
        }
        (label(self.decision, best), standing.words(self.decision))
    }

    /// How many circumstances each choice wins, and which circumstance matters most.
    fn summary(&self) -> String {
        let decision = self.decision;
        let all = decision.circumstances.len();
        let close = |it: &&Circumstance| it.margin(&decision.by).is_some_and(|margin| margin <= decision.within);
        let mut parts: Vec<(usize, String)> = Vec::new();
        let choices = decision.circumstances.iter().filter_map(|it| Some(it.ranking.first()?.choice.clone()));
        let mut seen: Vec<Vec<usize>> = Vec::new();
        for choice in choices {
            if seen.contains(&choice) {
                continue;
            }
            let wins =
                decision.circumstances.iter().filter(|it| it.ranking.first().is_some_and(|it| it.choice == choice));
            let clear: Vec<&Circumstance> = wins.filter(|it| !close(it)).collect();
            let ahead: Vec<f64> = clear.iter().filter_map(|it| it.margin(&decision.by)).collect();
            let by = margins(&ahead).map_or_else(String::new, |by| format!(" ({by})"));
            if !clear.is_empty() {
                parts.push((
                    clear.len(),
                    format!("{} wins {} of {all} circumstances{by}", label(decision, &choice), clear.len()),
                ));
            }
            seen.push(choice);
        }
        parts.sort_by_key(|(wins, _)| std::cmp::Reverse(*wins));
        let mut parts: Vec<String> = parts.into_iter().map(|(_, text)| text).collect();
        let same = decision.circumstances.iter().filter(close).count();
        if same > 0 {
            parts.push(format!("in {same} the best are within {}", margin(decision.within)));
        }
        let matters = self.matters().map_or_else(String::new, |text| format!("; {text}"));
        format!("{}{matters}.", parts.join(", "))
    }

    /// The circumstance of which another value changes the winner the most often.
    fn matters(&self) -> Option<String> {
        let decision = self.decision;
        let winner = |it: &Circumstance| it.ranking.first().map(|ranked| ranked.choice.clone());
        let share = |along: usize| {
            let (mut pairs, mut changes) = (0u32, 0u32);
            for (place, one) in decision.circumstances.iter().enumerate() {
                for other in &decision.circumstances[place + 1..] {
                    let differ = one.given.iter().zip(&other.given).enumerate();
                    if differ.filter(|(_, (a, b))| a != b).map(|(place, _)| place).eq([along]) {
                        pairs += 1;
                        changes += u32::from(winner(one) != winner(other));
                    }
                }
            }
            if pairs == 0 { 0.0 } else { f64::from(changes) / f64::from(pairs) }
        };
        let shares = (0..decision.given.len()).map(|along| (along, share(along)));
        let (along, share) =
            shares.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0))).filter(|(_, share)| *share > 0.0)?;
        Some(format!(
            "{} matters most: another value of it changes the winner in {} of the cases",
            decision.given[along].name,
            margin(share.min(0.99)).replace("99 %", "nearly all")
        ))
    }
}

/// How a choice stands in some circumstances.
#[derive(Default)]
struct Standing {
    /// By how much it is ahead of the second, where that is more than the tolerance of a tie.
    ahead: Vec<f64>,
    /// In how many it is as good as the best, or as the second.
    close: usize,
    /// In how many it alone fits.
    alone: usize,
}

impl Standing {
    fn of(decision: &Decision, choice: &[usize], circumstances: &[&Circumstance]) -> Self {
        let mut standing = Self::default();
        for it in circumstances {
            match it.margin(&decision.by) {
                None => standing.alone += 1,
                Some(margin) if margin > decision.within && it.ranking[0].choice == choice => {
                    standing.ahead.push(margin);
                }
                Some(_) => standing.close += 1,
            }
        }
        standing
    }

    fn words(&self, decision: &Decision) -> String {
        let mut parts: Vec<String> = Vec::new();
        parts.extend(margins(&self.ahead));
        let all = self.ahead.len() + self.close + self.alone;
        if self.close > 0 {
            let share = margin(decision.within);
            parts.push(format!("in {} of {all} the best are within {share}", self.close));
        }
        match self.alone {
            0 => {}
            alone if alone == all => parts.push("it alone fits".to_owned()),
            alone => parts.push(format!("in {alone} of {all} it alone fits")),
        }
        if parts.is_empty() { String::new() } else { format!(" ({})", parts.join("; ")) }
    }
}

/// Which inner choices the winners have, and how often.
fn inner(decision: &Decision) -> Option<String> {
    let names = |choice: &[usize]| {
        let axes = decision.best.iter().map(|place| (&decision.choices[*place], choice[*place]));
        axes.map(|(axis, level)| axis.levels[level].0.as_str()).collect::<Vec<_>>().join(" with ")
    };
    let mut counts: Vec<(String, usize)> = Vec::new();
    for winner in decision.circumstances.iter().filter_map(|it| it.ranking.first()) {
        let name = names(&winner.choice);
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name, 1)),
        }
    }
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let won: usize = counts.iter().map(|(_, count)| count).sum();
    let what: Vec<&str> = decision.best.iter().map(|place| decision.choices[*place].name.as_str()).collect();
    let parts = match &counts[..] {
        [] => return None,
        [(name, _)] => format!("{name} everywhere"),
        counts => {
            let part = |(name, count): &(String, usize)| format!("{name} in {count} of {won}");
            listed(&counts.iter().map(part).collect::<Vec<_>>())
        }
    };
    Some(format!("Each choice has its best {}; that of the winners is {parts}.", listed(&what)))
}

/// What wins among the realizable choices, where one that sees the future wins.
fn realizable(decision: &Decision) -> Option<String> {
    let wins = |it: &Circumstance| it.ranking.first().is_some_and(|ranked| ranked.knows != Knowledge::Realizable);
    let oracles = decision.circumstances.iter().filter(|it| wins(it)).count();
    if oracles == 0 {
        return None;
    }
    let mut without = decision.clone();
    without.crossovers.clear();
    for it in &mut without.circumstances {
        it.ranking.retain(|ranked| ranked.knows == Knowledge::Realizable);
    }
    if without.circumstances.iter().all(|it| it.ranking.is_empty()) {
        return Some("No choice is realizable: all know what no real system does.".to_owned());
    }
    let first = sentences(&without).swap_remove(0);
    let all = decision.circumstances.len();
    Some(format!(
        "In {oracles} of {all} circumstances the winner knows what no real system does; of realizable choices: {first}"
    ))
}

/// Where choices have no figure.
fn without(decision: &Decision) -> Vec<String> {
    let all = decision.circumstances.len();
    let mut counts: Vec<(Vec<usize>, usize, Option<String>)> = Vec::new();
    for (choice, why) in decision.circumstances.iter().flat_map(|it| &it.without) {
        let why = (!why.starts_with(DOES_NOT_FIT)).then(|| why.clone());
        match counts.iter_mut().find(|(known, _, kind)| known == choice && kind.is_some() == why.is_some()) {
            Some((_, count, _)) => *count += 1,
            None => counts.push((choice.clone(), 1, why)),
        }
    }
    let line = |(choice, count, why): (Vec<usize>, usize, Option<String>)| {
        let (name, of) = (super::words::choice(decision, &choice), format!("{count} of {all} circumstances"));
        match why {
            None => format!("{name} does not fit in {of}."),
            Some(why) => format!("{name} has no figure in {of}: {why}."),
        }
    };
    counts.into_iter().map(line).collect()
}

/// Which choices produce the cheapest tokens, where machines have prices.
fn cheapest(decision: &Decision) -> Option<String> {
    let currency = decision.currency.as_deref().filter(|_| decision.by.path != By::COST)?;
    let mut counts: Vec<(Vec<usize>, usize, Vec<f64>)> = Vec::new();
    for it in &decision.circumstances {
        let costs = it.ranking.iter().filter_map(|ranked| Some((ranked, ranked.cost?)));
        let Some((ranked, cost)) = costs.min_by(|a, b| a.1.total_cmp(&b.1)) else { continue };
        match counts.iter_mut().find(|(choice, ..)| *choice == ranked.choice) {
            Some((_, count, costs)) => {
                *count += 1;
                costs.push(cost);
            }
            None => counts.push((ranked.choice.clone(), 1, vec![cost])),
        }
    }
    counts.sort_by_key(|(_, count, _)| std::cmp::Reverse(*count));
    let all = decision.circumstances.len();
    let text = |(choice, count, costs): &(Vec<usize>, usize, Vec<f64>)| {
        let least = costs.iter().copied().fold(f64::INFINITY, f64::min);
        let most = costs.iter().copied().fold(0.0, f64::max);
        let range = if format!("{least:.2}") == format!("{most:.2}") {
            format!("{least:.2}")
        } else {
            format!("{least:.2} to {most:.2}")
        };
        format!(
            "{} in {count} of {all} circumstances ({range} {currency} a million)",
            super::words::choice(decision, choice)
        )
    };
    let parts: Vec<String> = counts.iter().map(text).collect();
    (!parts.is_empty()).then(|| format!("The cheapest tokens: {}.", parts.join(", ")))
}
