//! The tree of an answer: cuts of the circumstances that leave the fewest parts, each with a
//! choice that is best, or as good as the best, in all of it.
//!
//! A *box* is a set of levels of each circumstance. A box is a leaf if one choice is within
//! [`Decision::within`] of the best in all of its circumstances, or if nothing fits in any of them.
//! Any other box is cut in two along one circumstance: between neighbouring values of numbers, into
//! any two sets of names. Of all such trees, the one with the fewest leaves is taken; of those, the
//! one whose leaves name the true winner in the most circumstances. Boxes are remembered, so that
//! the search takes a step for each cut of each box: a few thousand for the grids that people ask
//! about. A grid with too many boxes has no tree, and is summarized.

use super::Decision;
use std::collections::HashMap;

/// The most boxes that are looked at.
const MOST_BOXES: usize = 60_000;
/// The most levels of names that are divided into any sets; longer lists are cut between
/// neighbours.
const MOST_SETS: usize = 6;
/// The most levels of a circumstance, and the most choices: sets are bits.
const MOST_BITS: usize = 63;

/// A set of levels, a bit each.
type Levels = u64;

/// The answer as a tree over the circumstances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// A part in which one choice is best, or as good as the best.
    Leaf {
        /// The place of the choice among [`Tree::choices`]; `None` where nothing fits.
        best: Option<usize>,
        /// All choices that are as good as the best everywhere in the part, as a set of bits.
        good: u64,
        /// For each circumstance the levels of the part.
        levels: Vec<Vec<usize>>,
    },
    /// A cut along a circumstance.
    Cut {
        /// The circumstance.
        along: usize,
        /// Its levels and what follows, the lower ones of numbers first.
        parts: Vec<(Vec<usize>, Tree)>,
    },
}

impl Tree {
    /// The choices that win somewhere or are as good as a winner, in the order in which
    /// [`Tree::Leaf`] numbers them: by first appearance.
    #[must_use]
    pub fn choices(decision: &Decision) -> Vec<Vec<usize>> {
        let mut choices: Vec<Vec<usize>> = Vec::new();
        for circumstance in &decision.circumstances {
            for ranked in good(decision, circumstance) {
                if !choices.contains(&ranked.choice) {
                    choices.push(ranked.choice.clone());
                }
            }
        }
        choices
    }

    /// The tree of a decision; `None` where there are too many circumstances or choices for one.
    #[must_use]
    pub fn new(decision: &Decision) -> Option<Self> {
        let choices = Self::choices(decision);
        let lengths: Vec<usize> = decision.given.iter().map(|axis| axis.levels.len()).collect();
        if choices.len() >= MOST_BITS || lengths.iter().any(|length| *length > MOST_BITS) {
            return None;
        }
        let boxes = decision.given.iter().map(|axis| boxes_of(is_ordered(axis), axis.levels.len()));
        boxes.into_iter().try_fold(1usize, |all, more| all.checked_mul(more).filter(|all| *all <= MOST_BOXES))?;
        let mut search = Search::new(decision, &choices, &lengths);
        let whole: Vec<Levels> = lengths.iter().map(|length| (1 << *length) - 1).collect();
        search.best(&whole);
        Some(search.tree(&whole).flattened())
    }

    /// How many leaves it has.
    #[must_use]
    pub fn leaves(&self) -> usize {
        match self {
            Self::Leaf { .. } => 1,
            Self::Cut { parts, .. } => parts.iter().map(|(_, tree)| tree.leaves()).sum(),
        }
    }

    /// The leaf of a circumstance: its choice, or that nothing fits.
    #[must_use]
    pub fn at(&self, given: &[usize]) -> Option<usize> {
        match self {
            Self::Leaf { best, .. } => *best,
            Self::Cut { along, parts } => {
                let part = parts.iter().find(|(levels, _)| levels.contains(&given[*along]));
                part.and_then(|(_, tree)| tree.at(given))
            }
        }
    }

    /// Cuts along the same circumstance that follow each other become one with several parts.
    fn flattened(self) -> Self {
        let Self::Cut { along, parts } = self else { return self };
        let mut flat = Vec::new();
        for (levels, tree) in parts {
            match tree.flattened() {
                Self::Cut { along: inner, parts } if inner == along => flat.extend(parts),
                tree => flat.push((levels, tree)),
            }
        }
        Self::Cut { along, parts: flat }
    }
}

/// Whether the levels of an axis are numbers, which are cut between neighbours.
pub(super) fn is_ordered(axis: &super::DecisionAxis) -> bool {
    axis.levels.iter().all(|(_, number)| number.is_some())
}

fn boxes_of(ordered: bool, levels: usize) -> usize {
    if ordered || levels > MOST_SETS { levels * (levels + 1) / 2 } else { (1 << levels) - 1 }
}

/// The choices of a circumstance that are as good as its best.
fn good<'a>(
    decision: &'a Decision,
    circumstance: &'a super::Circumstance,
) -> impl Iterator<Item = &'a super::Ranked> + 'a {
    let best = circumstance.ranking.first().map(|ranked| ranked.value);
    let close = move |ranked: &&super::Ranked| {
        best.is_some_and(|best| best == ranked.value || decision.by.margin(best, ranked.value) <= decision.within)
    };
    circumstance.ranking.iter().filter(close)
}

/// The bit that stands for "nothing fits".
const NOTHING: u64 = 1 << MOST_BITS;

/// The best cost of a box with the cut that leads to it: the circumstance, and its first part.
type Found = (Cost, Option<(usize, Levels)>);

/// How good a tree is: leaves first, then circumstances whose leaf does not name the true winner.
type Cost = (usize, usize);

struct Search<'a> {
    decision: &'a Decision,
    lengths: &'a [usize],
    /// For each circumstance of the grid the choices that are as good as its best.
    good: Vec<u64>,
    /// The bit of the true winner.
    winner: Vec<u64>,
    /// The order in which the levels of each circumstance are cut, as places.
    order: Vec<Vec<usize>>,
    known: HashMap<Vec<Levels>, Found>,
}

impl<'a> Search<'a> {
    fn new(decision: &'a Decision, choices: &[Vec<usize>], lengths: &'a [usize]) -> Self {
        let bit = |choice: &Vec<usize>| choices.iter().position(|it| it == choice).map_or(NOTHING, |place| 1 << place);
        let cells: usize = lengths.iter().product();
        let (mut all, mut winners) = (vec![NOTHING; cells], vec![NOTHING; cells]);
        for circumstance in &decision.circumstances {
            let place = place_of(lengths, &circumstance.given);
            let set = good(decision, circumstance).fold(0, |set, ranked| set | bit(&ranked.choice));
            if set != 0 {
                all[place] = set;
            }
            winners[place] = circumstance.ranking.first().map_or(NOTHING, |ranked| bit(&ranked.choice));
        }
        let order = decision.given.iter().map(|axis| {
            let mut order: Vec<usize> = (0..axis.levels.len()).collect();
            let number = |level: usize| axis.levels[level].1.unwrap_or_default();
            if is_ordered(axis) {
                order.sort_by(|a, b| number(*a).total_cmp(&number(*b)));
            }
            order
        });
        Self { decision, lengths, good: all, winner: winners, order: order.collect(), known: HashMap::new() }
    }

    /// The best cost of a box; the cut that leads to it is remembered.
    fn best(&mut self, of: &[Levels]) -> Cost {
        if let Some((cost, _)) = self.known.get(of) {
            return *cost;
        }
        let cells = cells(self.lengths, of);
        let good = cells.iter().fold(u64::MAX, |good, cell| good & self.good[*cell]);
        let found = match named(good, &cells, &self.winner) {
            Some((_, misses)) => ((1, misses), None),
            None => self.best_cut(of),
        };
        self.known.insert(of.to_vec(), found);
        found.0
    }

    fn best_cut(&mut self, of: &[Levels]) -> Found {
        let mut best: Found = ((usize::MAX, usize::MAX), None);
        for along in 0..of.len() {
            for first in self.cuts(along, of[along]) {
                let mut part = of.to_vec();
                part[along] = first;
                let one = self.best(&part);
                if one.0 >= best.0.0 {
                    continue;
                }
                part[along] = of[along] & !first;
                let other = self.best(&part);
                let cost = (one.0 + other.0, one.1 + other.1);
                if cost < best.0 {
                    best = (cost, Some((along, first)));
                }
            }
        }
        best
    }

    /// The first parts into which a set of levels may be cut.
    fn cuts(&self, along: usize, set: Levels) -> Vec<Levels> {
        let within: Vec<usize> = self.order[along].iter().copied().filter(|level| set >> level & 1 == 1).collect();
        let axis = &self.decision.given[along];
        if is_ordered(axis) || axis.levels.len() > MOST_SETS {
            return (1..within.len()).map(|cut| bits(&within[..cut])).collect();
        }
        // Sets with the first level, so that each division is tried once.
        let others = within.len().saturating_sub(1);
        let with = |choice: usize| {
            let picked = (0..others).filter(|place| choice >> place & 1 == 1).map(|place| within[place + 1]);
            picked.fold(1 << within[0], |set, level| set | 1 << level)
        };
        if others == 0 { Vec::new() } else { (0..(1 << others) - 1).map(with).collect() }
    }

    fn tree(&self, of: &[Levels]) -> Tree {
        let cut = self.known.get(of).and_then(|(_, cut)| *cut);
        let listed = |along: usize, set: Levels| -> Vec<usize> {
            self.order[along].iter().copied().filter(|level| set >> level & 1 == 1).collect()
        };
        let Some((along, first)) = cut else {
            let cells = cells(self.lengths, of);
            let good = cells.iter().fold(u64::MAX, |good, cell| good & self.good[*cell]);
            let best = named(good, &cells, &self.winner).map(|(best, _)| best).filter(|best| *best < MOST_BITS);
            let levels = of.iter().enumerate().map(|(along, set)| listed(along, *set)).collect();
            return Tree::Leaf { best, good: good & !NOTHING, levels };
        };
        let part = |set: Levels| {
            let mut part = of.to_vec();
            part[along] = set;
            (listed(along, set), self.tree(&part))
        };
        Tree::Cut { along, parts: vec![part(first), part(of[along] & !first)] }
    }
}

fn bits(levels: &[usize]) -> Levels {
    levels.iter().fold(0, |set, level| set | 1 << level)
}

/// Of the choices that are good in all cells the one that wins the most, with how many it does not
/// win; `None` where there is none.
fn named(good: u64, cells: &[usize], winner: &[u64]) -> Option<(usize, usize)> {
    let misses = |choice: usize| cells.iter().filter(|cell| winner[**cell] != 1 << choice).count();
    let choices = (0..=MOST_BITS).filter(|choice| good >> choice & 1 == 1);
    choices.map(|choice| (choice, misses(choice))).min_by_key(|(choice, misses)| (*misses, *choice))
}

/// The place of a circumstance in the grid, the last varies fastest.
fn place_of(lengths: &[usize], given: &[usize]) -> usize {
    lengths.iter().zip(given).fold(0, |place, (length, level)| place * length + level)
}

/// The places of all circumstances of a box.
fn cells(lengths: &[usize], of: &[Levels]) -> Vec<usize> {
    lengths.iter().zip(of).fold(vec![0], |places, (length, set)| {
        let levels: Vec<usize> = (0..*length).filter(|level| set >> level & 1 == 1).collect();
        places.iter().flat_map(|place| levels.iter().map(move |level| place * length + level)).collect()
    })
}
