use super::history::History;
use super::select::{Choice, Counts, First};
use super::{Migration, MigrationView, MovePlan};
use crate::memory::{MemorySystem, TierId};
use crate::strategy::knowledge::{Future, Knows, Past};
use crate::units::Bytes;
use crate::workload::tokens::WORD_BITS;
use crate::workload::{Shape, TokenSet};
use std::num::NonZeroU32;

/// Moves a token where that saves more time than it takes.
///
/// An attention sublayer waits for the tier that takes longest: HBM if it reads more there than the best ratio of it all, else
/// the others. Some steps are looked at (those to come, or the last ones). From the bytes that each would read from HBM with the tokens as they lie
/// follows what one token more or less on HBM would save or cost in each: a token's bytes over the bandwidth of the tier that is waited for.
/// As long as that is more than what the move takes, tokens move:
///
/// * Too little on HBM: of what the present step has read from elsewhere, the tokens that are skipped least stay on HBM. They are on the chip already, so this takes
///   no second read, only HBM's time to write them. Where HBM has no room, tokens that the next step skips go out
///   first, those that are skipped most: over the link's other direction, which reads do not need.
/// * Too much on HBM: of the tokens on HBM, those that are skipped least go out, so that the balance lasts.
///
/// What moves is no more than what is out of balance, and nothing moves within the balance, skipped or not.
pub struct Balanced<O> {
    outlook: O,
    /// For each layer, in how many of the steps that are looked at each token is skipped.
    skipped: Vec<Counts>,
    /// For each layer, the bytes that it wanted on HBM and that had no room, and the sum of it.
    unmet: Vec<Bytes>,
    unmet_in_all: Bytes,
    choice: Choice,
}

/// The steps that are looked at.
pub trait Outlook {
    /// What it knows.
    type Knows: Knows;

    /// How many steps of the future it sees.
    fn look_ahead(&self) -> usize;

    /// How many steps are looked at, at most.
    fn steps(&self) -> usize;

    /// The memory that it takes for a layer of so many words.
    fn memory(&self, words: usize) -> u64;

    /// Brings the counts of a layer up to the present step.
    fn update(&mut self, view: &MigrationView<'_, Self::Knows>, counts: &mut Counts);

    /// How many reads from elsewhere it saves, on the whole, to have on HBM a token that is read in the place of one that is
    /// skipped.
    fn reads_saved(&self, layer: usize) -> f64;

    /// What the step of that distance skips, nearest first from 1 on, and how many tokens it reads.
    fn step<'a>(&'a self, view: &MigrationView<'a, Self::Knows>, distance: usize) -> Option<(&'a TokenSet, usize)>;
}

/// The distances of the steps for which the balance is worked out.
const SAMPLES: [usize; 4] = [1, 2, 4, 8];

impl<O: Outlook> Balanced<O> {
    /// With nothing known yet.
    pub fn new(outlook: O) -> Self {
        Self { outlook, skipped: Vec::new(), unmet: Vec::new(), unmet_in_all: Bytes::ZERO, choice: Choice::default() }
    }
}

/// How many tokens more a layer should have on HBM (if positive) or fewer, by distance of the step.
struct Balance {
    wanted: [i64; SAMPLES.len()],
    steps: usize,
    /// What a token takes to read from HBM, and from the tiers beyond.
    hbm: f64,
    beyond: f64,
}

impl Balance {
    /// The most tokens for which the last one saves more than `cost` when so many more are on HBM.
    fn more_on_hbm(&self, cost: f64) -> usize {
        let gain = |tokens: i64| {
            self.wanted[..self.steps]
                .iter()
                .map(|&wanted| if wanted >= tokens { self.beyond } else { -self.hbm })
                .sum::<f64>()
        };
        self.most(|wanted| wanted, gain, cost)
    }

    /// The same for so many fewer.
    fn fewer_on_hbm(&self, cost: f64) -> usize {
        let gain = |tokens: i64| {
            self.wanted[..self.steps]
                .iter()
                .map(|&wanted| if -wanted >= tokens { self.hbm } else { -self.beyond })
                .sum::<f64>()
        };
        self.most(|wanted| -wanted, gain, cost)
    }

    /// Gains fall with each token, and change only past what some step wants.
    fn most(&self, wanted: impl Fn(i64) -> i64, gain: impl Fn(i64) -> f64, cost: f64) -> usize {
        let wanted = self.wanted[..self.steps].iter().map(|&step| wanted(step));
        wanted.filter(|&tokens| tokens > 0 && gain(tokens) > cost).max().unwrap_or(0) as usize
    }
}

impl<O: Outlook> Migration for Balanced<O> {
    type Knows = O::Knows;

    fn look_ahead(&self) -> usize {
        self.outlook.look_ahead()
    }

    fn memory(&self, shape: Shape) -> Bytes {
        let words = shape.range().div_ceil(WORD_BITS);
        let a_layer = self.outlook.memory(words) + Counts::bytes(words, self.outlook.steps()) + 256;
        Bytes::new(shape.layers as u64 * a_layer + 2 * (words * 8) as u64)
    }

    fn decide(&mut self, view: &MigrationView<'_, O::Knows>, plan: &mut MovePlan) {
        let range = view.in_flight.words().len();
        while self.skipped.len() <= view.layer {
            self.skipped.push(Counts::new(range, self.outlook.steps()));
            self.unmet.push(Bytes::ZERO);
        }
        self.outlook.update(view, &mut self.skipped[view.layer]);
        let (outlook, counts, choice) = (&self.outlook, &self.skipped[view.layer], &mut self.choice);
        let Some(balance) = balance(outlook, view) else { return };

        let hbm = TierId::HBM;
        let words = view.context.div_ceil(WORD_BITS);
        let present = &view.skips.present().sets[view.layer];
        let (next, _) = outlook.step(view, 1).expect("there is a balance, so there is a step");
        let free = |word: usize| !view.in_flight.words()[word];

        // A promotion is written on HBM.
        let more = balance.more_on_hbm(balance.hbm);
        let fitting = more.min(plan.room(hbm));
        let mut left = fitting;
        // First what the next step reads; then, while there is room for all, what later ones do.
        for skipped_next in [false, true] {
            if left == 0 || (skipped_next && self.unmet_in_all > Bytes::ZERO) {
                break;
            }
            for tier in view.system.tier_ids().skip(1) {
                let read = |word: usize| view.at[tier.0].words()[word] & free(word) & !present.words()[word];
                if skipped_next {
                    choice.offer(words, |word| read(word) & next.words()[word]);
                } else {
                    choice.offer(words, |word| read(word) & !next.words()[word]);
                }
                choice.choose(left, counts, First::Least);
                for token in choice.chosen() {
                    left -= usize::from(plan.promote(token, tier, hbm));
                }
            }
        }
        // Where room must be made first, another token is read on HBM as well.
        let unmet = balance.more_on_hbm(2.0 * balance.hbm).saturating_sub(fitting);
        let unmet = view.kv_bytes.times(unmet as u64);
        self.unmet_in_all = self.unmet_in_all - self.unmet[view.layer] + unmet;
        self.unmet[view.layer] = unmet;

        let fewer = if more > 0 { 0 } else { balance.fewer_on_hbm(balance.hbm) };
        if fewer > 0 {
            choice.offer(words, |word| view.at[0].words()[word] & free(word) & !next.words()[word]);
            choice.choose(fewer, counts, First::Least);
            leave(view, choice, plan);
        }
        // All layers make room for those that want it.
        let short = self.unmet_in_all.saturating_sub(view.free[0]);
        if short > Bytes::ZERO && outlook.reads_saved(view.layer) > reads_to_leave(view.system) {
            let part = short.whole_units(view.kv_bytes.times(self.unmet.len() as u64)) as usize + 1;
            choice.offer(words, |word| view.at[0].words()[word] & free(word) & next.words()[word]);
            choice.choose(part, counts, First::Most);
            leave(view, choice, plan);
        }
    }
}

/// How many reads from the tier beyond HBM the write of a token there takes the time of: none where it can be written to while it is read
/// from at full bandwidth.
fn reads_to_leave(system: &MemorySystem) -> f64 {
    let tier = &system.tiers()[1];
    let read = tier.read_bandwidth.as_f64();
    // Both a byte read and a byte written, less the byte read.
    (2.0 * read / tier.mixed_bandwidth.as_f64() - 1.0).max(0.0)
}

/// What was chosen leaves HBM for the fastest tier that has room.
fn leave<K>(view: &MigrationView<'_, K>, choice: &Choice, plan: &mut MovePlan) {
    let mut tiers = view.system.tier_ids().skip(1);
    let Some(mut to) = tiers.next() else { return };
    for token in choice.chosen() {
        while !plan.add(token, TierId::HBM, to) {
            let Some(next) = tiers.next() else { return };
            to = next;
        }
    }
}

/// What the layer's tokens on HBM lack, or are too many by, in the steps that are looked at. `None` where there is no step, or no
/// other tier.
fn balance<O: Outlook>(outlook: &O, view: &MigrationView<'_, O::Knows>) -> Option<Balance> {
    let total = view.system.total_read_bandwidth() as f64;
    let bandwidth = view.system.tiers()[0].read_bandwidth.as_f64();
    let beyond = total - bandwidth;
    if view.system.tiers().len() < 2 || beyond <= 0.0 {
        return None;
    }
    let kv = view.kv_bytes.as_f64();
    let on_hbm = view.weights_read[0].as_f64();
    let weights: f64 = view.weights_read.iter().map(|bytes| bytes.as_f64()).sum();
    let mut balance = Balance { wanted: [0; SAMPLES.len()], steps: 0, hbm: kv / bandwidth, beyond: kv / beyond };
    for distance in SAMPLES {
        let Some((skipped, active)) = outlook.step(view, distance) else { break };
        let target = (bandwidth / total * (weights + active as f64 * kv) - on_hbm) / kv;
        let here = view.home[0].count_without(skipped);
        balance.wanted[balance.steps] = target.clamp(0.0, active as f64).round() as i64 - here as i64;
        balance.steps += 1;
    }
    (balance.steps > 0).then_some(balance)
}

/// Looks at steps to come.
pub struct Ahead {
    /// How many.
    pub steps: NonZeroU32,
}

impl Outlook for Ahead {
    type Knows = Future;

    fn look_ahead(&self) -> usize {
        self.steps.get() as usize
    }

    fn steps(&self) -> usize {
        self.look_ahead()
    }

    fn memory(&self, _words: usize) -> u64 {
        0
    }

    fn update(&mut self, view: &MigrationView<'_, Future>, counts: &mut Counts) {
        let skipped = |ahead: usize| view.skips.ahead(ahead).map(|step| &step.sets[view.layer]);
        let words = view.in_flight.words().len();
        if !counts.is_empty() {
            // What was looked at a step ago and is the present now.
            counts.subtract(&view.skips.present().sets[view.layer], words);
            if let Some(set) = skipped(self.steps()) {
                counts.add(set, words);
            }
        } else {
            (1..=self.steps()).map_while(skipped).for_each(|set| counts.add(set, words));
        }
    }

    /// What comes in is read in the next step, and what leaves is not.
    fn reads_saved(&self, _layer: usize) -> f64 {
        f64::INFINITY
    }

    fn step<'a>(&'a self, view: &MigrationView<'a, Future>, distance: usize) -> Option<(&'a TokenSet, usize)> {
        let step = view.skips.ahead(distance)?;
        Some((&step.sets[view.layer], view.context.saturating_sub(step.counts[view.layer])))
    }
}

/// Looks at the last steps, the present one included.
pub struct Behind {
    history: History,
    /// By layer: how much likelier a token is read that the step before read than one that it skipped, over some steps.
    persistence: Vec<f64>,
}

impl Behind {
    /// At what `history` keeps.
    pub fn new(history: History) -> Self {
        Self { history, persistence: Vec::new() }
    }

    /// Takes note of what has changed from the step before.
    fn compare(&mut self, layer: usize) {
        /// How much of what is known is of the last step.
        const NEW: f64 = 1.0 / 8.0;
        if self.persistence.len() <= layer {
            self.persistence.resize(layer + 1, 1.0);
        }
        let (Some((now, _)), Some((before, read))) = (self.history.step(layer, 0), self.history.step(layer, 1)) else {
            return;
        };
        let (skipped, skipped_before) = (now.count(), before.count());
        if read == 0 || skipped_before == 0 {
            return;
        }
        let returned = before.count_without(now);
        // Newly skipped: what is skipped now and was not before.
        let left = skipped + returned - skipped_before;
        let stay = 1.0 - left as f64 / read as f64;
        let come = returned as f64 / skipped_before as f64;
        let persistence = &mut self.persistence[layer];
        *persistence += NEW * (stay - come - *persistence);
    }
}

impl Outlook for Behind {
    type Knows = Past;

    fn look_ahead(&self) -> usize {
        0
    }

    fn steps(&self) -> usize {
        self.history.window()
    }

    fn memory(&self, words: usize) -> u64 {
        self.history.memory(words) + 8
    }

    fn update(&mut self, view: &MigrationView<'_, Past>, counts: &mut Counts) {
        let present = view.skips.present();
        let skipped = &present.sets[view.layer];
        // The token just written is not known to be skipped.
        self.history.note(view.layer, skipped, view.context - present.counts[view.layer], |gone| {
            counts.subtract(gone, gone.words().len());
        });
        counts.add(skipped, skipped.words().len());
        self.compare(view.layer);
    }

    /// In the next step as many as persistence says, in the one after that as many of these, and so on.
    fn reads_saved(&self, layer: usize) -> f64 {
        let persistence = self.persistence[layer].clamp(0.0, 0.99);
        persistence / (1.0 - persistence)
    }

    fn step<'a>(&'a self, view: &MigrationView<'a, Past>, distance: usize) -> Option<(&'a TokenSet, usize)> {
        let (skipped, read) = self.history.step(view.layer, distance - 1)?;
        // Tokens written since were not there to be skipped: they count as read.
        Some((skipped, read + distance - 1))
    }
}
