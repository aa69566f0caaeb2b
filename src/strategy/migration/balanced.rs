use super::history::History;
use super::select::{Choice, Counts, First};
use super::{Migration, MigrationView, MovePlan};
use crate::memory::{MemorySystem, TierId};
use crate::strategy::knowledge::{Future, Knows, Past};
use crate::units::{Bytes, SimTime};
use crate::workload::tokens::WORD_BITS;
use crate::workload::{Shape, TokenSet};
use std::num::NonZeroU32;

/// Moves a token where that saves more time than it takes.
///
/// An attention sublayer waits for the tier that takes longest. So a token too many beyond HBM costs its read from there, and one too
/// many on HBM its read from HBM, which is much less. How many there are too many is measured: by how much longer a layer waits for
/// one than for the other. For the next step it is foreseen from the bytes that it would read from each with the tokens as they lie, and
/// set right by what was foreseen wrongly in the last steps: by contention, latencies, losses, channels that are loaded unevenly,
/// and by what was not known of the skip sets.
///
/// Both, what is foreseen and what is found, vary from step to step, and say how likely a read of a token from HBM will save one
/// from beyond in a later step (`Worth`). By that and by the steps in which a token is expected to be read, it moves or stays:
///
/// * Too little on HBM: of what the present step has read from elsewhere, the tokens that are skipped least stay on HBM. They are on
///   the chip already, so this takes no second read, only HBM's time to write them. Where HBM has no room, tokens that the next step
///   skips go out first, those that are skipped most: over the link's other direction, which reads do not need.
/// * Too much on HBM: of the tokens on HBM, those that are skipped least go out, so that the balance lasts.
///
/// What moves is no more than what is out of balance, and nothing moves within the balance, skipped or not. The less surely the next step
/// is foreseen, the more lies on HBM: a token too few there costs more than one too many.
pub struct Balanced<O> {
    outlook: O,
    layers: Vec<OfLayer>,
    /// The sum of what is unmet.
    unmet: Bytes,
    choice: Choice,
}

/// What is known of a layer.
struct OfLayer {
    /// In how many of the steps that are looked at each token is skipped.
    skipped: Counts,
    /// How many tokens too many lay beyond HBM when they were read.
    found: Spread,
    /// How many were going to when their moves were decided.
    foreseen: Spread,
    /// By how many more than expected lay beyond.
    missed: Spread,
    /// How many the present step was expected to find.
    expected: Option<f64>,
    /// The bytes that it wants on HBM and does not have there.
    unmet: Bytes,
}

/// How much of what is known of a layer is of the last step.
const NEW: f64 = 1.0 / 8.0;

/// For how many times the steps that are looked at a token stays where it moves to.
const STAY: f64 = 4.0;

/// A number that varies from step to step: its mean and variance over the last ones, the later ones counting for more.
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    mean: f64,
    variance: f64,
    seen: bool,
}

impl Spread {
    fn note(&mut self, value: f64) {
        if self.seen {
            let off = value - self.mean;
            self.mean += NEW * off;
            self.variance = (1.0 - NEW) * (self.variance + NEW * off * off);
        } else {
            (self.mean, self.seen) = (value, true);
        }
    }

    /// The scale of the logistic distribution with that variance, whose deviation is no less than half a token.
    fn scale(&self) -> f64 {
        self.variance.sqrt().max(0.5) * 3f64.sqrt() / std::f64::consts::PI
    }

    /// How likely it is positive.
    fn positive(&self) -> f64 {
        1.0 / (1.0 + exp(-self.mean / self.scale()))
    }
}

/// e to the `x`, nearly, from what every machine rounds alike, which it does not what `f64::exp` gives.
fn exp(x: f64) -> f64 {
    (0..HALVINGS).fold((1.0 + x / f64::from(1 << HALVINGS)).max(0.0), |power, _| power * power)
}

/// The inverse of [`exp`].
fn ln(x: f64) -> f64 {
    f64::from(1 << HALVINGS) * ((0..HALVINGS).fold(x, |root, _| root.sqrt()) - 1.0)
}

/// How often an exponent is halved until 1 + x is e to the x.
const HALVINGS: i32 = 10;

/// What a read of a token takes on either side of the balance, and what having it on HBM is worth.
#[derive(Clone, Copy, Debug)]
struct Worth {
    hbm: f64,
    beyond: f64,
    /// What it is worth in a later step, for each time that it is read.
    later: f64,
}

impl Worth {
    fn new(&Pace { hbm, beyond }: &Pace, foreseen: &Spread, found: &Spread) -> Self {
        // A lack that is foreseen and not found was made up for, by a promotion.
        let lacking = foreseen.positive();
        let unmended = found.positive().min(lacking);
        let later = unmended * beyond + (lacking - unmended) * hbm - (1.0 - lacking) * hbm;
        Self { hbm, beyond, later }
    }
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
    fn memory(&self, words: usize, steps: usize) -> u64;

    /// Brings the counts of a layer up to the present step.
    fn update(&mut self, view: &MigrationView<'_, Self::Knows>, counts: &mut Counts);

    /// What the next step is expected to skip, and how many tokens it reads.
    fn next<'a>(&'a self, view: &MigrationView<'a, Self::Knows>) -> Option<(&'a TokenSet, usize)>;

    /// How many reads from elsewhere it saves, on the whole, to have on HBM a token that is read in the place of one that is
    /// skipped.
    fn reads_saved(&self, layer: usize) -> f64;

    /// How likely a token that [`next`](Self::next) reads is read then, and after it in the step that follows.
    fn next_read(&self, view: &MigrationView<'_, Self::Knows>) -> (f64, f64);

    /// How often a token is read in the steps after the next, as far as they are looked at.
    fn later_reads(&self, view: &MigrationView<'_, Self::Knows>, token: usize) -> f64;
}

impl<O: Outlook> Balanced<O> {
    /// With nothing known yet.
    pub fn new(outlook: O) -> Self {
        Self { outlook, layers: Vec::new(), unmet: Bytes::ZERO, choice: Choice::default() }
    }
}

impl<O: Outlook> Migration for Balanced<O> {
    type Knows = O::Knows;

    fn look_ahead(&self) -> usize {
        self.outlook.look_ahead()
    }

    fn memory(&self, shape: Shape) -> Bytes {
        let words = shape.range().div_ceil(WORD_BITS);
        let a_layer = self.outlook.memory(words, shape.decode) + Counts::bytes(words, self.outlook.steps()) + 512;
        Bytes::new(shape.layers as u64 * a_layer + 2 * (words * 8) as u64)
    }

    fn decide(&mut self, view: &MigrationView<'_, O::Knows>, plan: &mut MovePlan) {
        let range = view.in_flight.words().len();
        while self.layers.len() <= view.layer {
            self.layers.push(OfLayer {
                skipped: Counts::new(range, self.outlook.steps()),
                found: Spread::default(),
                foreseen: Spread::default(),
                missed: Spread::default(),
                expected: None,
                unmet: Bytes::ZERO,
            });
        }
        let layers = self.layers.len();
        let layer = &mut self.layers[view.layer];
        self.outlook.update(view, &mut layer.skipped);
        let (outlook, choice) = (&self.outlook, &mut self.choice);
        let Some((next, active)) = outlook.next(view) else { return };
        let Some(pace) = Pace::of(view) else { return };

        let found = pace.too_many_beyond(view);
        layer.found.note(found);
        if let Some(expected) = layer.expected {
            layer.missed.note(found - expected);
        }
        let on_hbm = view.home[0].count_without(next);
        let foreseen = pace.foreseen(view, active, on_hbm) + layer.missed.mean;
        layer.foreseen.note(foreseen);
        let worth = Worth::new(&pace, &layer.foreseen, &layer.found);
        // As with a merchant's stock: so much that it suffices with odds of what a lack costs to what a surplus costs.
        let stock = if layer.missed.seen { layer.missed.scale() * ln(pace.beyond / pace.hbm) } else { 0.0 };
        let wanted = (foreseen + stock).round();

        let hbm = TierId::HBM;
        let words = view.context.div_ceil(WORD_BITS);
        let present = &view.skips.present().sets[view.layer];
        let free = |word: usize| !view.in_flight.words()[word];
        let (next_read, read_again) = outlook.next_read(view);
        let later = |token: usize| STAY * outlook.later_reads(view, token) * worth.later;
        let mut promoted = 0;
        // First what the next step reads; then, while there is room for all, what later ones do.
        for skipped_next in [false, true] {
            let wanted = if skipped_next { (foreseen.max(found) + stock).floor() - promoted as f64 } else { wanted };
            if wanted < 1.0 || (skipped_next && (worth.later <= 0.0 || self.unmet > view.free[0])) {
                continue;
            }
            let mut left = (wanted as usize).min(plan.room(hbm));
            for tier in view.system.tier_ids().skip(1) {
                if left == 0 {
                    break;
                }
                let read = |word: usize| view.at[tier.index()].words()[word] & free(word) & !present.words()[word];
                if skipped_next {
                    choice.offer(words, |word| read(word) & next.words()[word]);
                } else {
                    choice.offer(words, |word| read(word) & !next.words()[word]);
                }
                choice.choose(left, &layer.skipped, First::Least);
                for token in choice.chosen() {
                    let soon = if skipped_next { 0.0 } else { next_read * worth.beyond };
                    // A promotion is written on HBM.
                    if soon + later(token) > worth.hbm && plan.promote(token, tier, hbm) {
                        left -= 1;
                        promoted += usize::from(!skipped_next);
                    }
                }
            }
        }
        // As much as is wanted now will be then, but no more than is read beyond and will be read again. Where room must be made,
        // another token is read on HBM as well.
        let gain = worth.beyond + outlook.reads_saved(view.layer).min(outlook.steps() as f64) * worth.later;
        let again = read_again * active.saturating_sub(on_hbm) as f64;
        let unmet = if gain > 2.0 * worth.hbm { wanted.min(again).max(0.0) as u64 } else { 0 };
        let unmet = view.kv_bytes.times(unmet);
        self.unmet = self.unmet - layer.unmet + unmet;
        layer.unmet = unmet;

        let mut gone = 0;
        if wanted <= -1.0 && worth.later < 0.0 {
            choice.offer(words, |word| view.at[0].words()[word] & free(word) & !next.words()[word]);
            choice.choose(-wanted as usize, &layer.skipped, First::Least);
            // It is read on HBM to leave.
            let gains = |token: &usize| next_read * worth.hbm - later(*token) > worth.hbm;
            gone = leave(view, choice.chosen().filter(gains), plan);
        }
        layer.expected = Some(foreseen - promoted as f64 + gone as f64);

        // All layers make room for those that want it.
        let short = self.unmet.saturating_sub(view.free[0]);
        if short > Bytes::ZERO && outlook.reads_saved(view.layer) > reads_to_leave(view.system) {
            let part = short.whole_units(view.kv_bytes.times(layers as u64)) as usize + 1;
            choice.offer(words, |word| view.at[0].words()[word] & free(word) & next.words()[word]);
            choice.choose(part, &layer.skipped, First::Most);
            leave(view, choice.chosen(), plan);
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

/// `tokens` leave HBM for the fastest tier that has room. Returns how many.
fn leave<K>(view: &MigrationView<'_, K>, tokens: impl Iterator<Item = usize>, plan: &mut MovePlan) -> usize {
    let mut tiers = view.system.tier_ids().skip(1);
    let Some(mut to) = tiers.next() else { return 0 };
    let mut left = 0;
    for token in tokens {
        while !plan.add(token, TierId::HBM, to) {
            let Some(next) = tiers.next() else { return left };
            to = next;
        }
        left += 1;
    }
    left
}

/// What the read of a token takes from HBM, and from the tiers beyond in proportion to their bandwidths.
struct Pace {
    hbm: f64,
    beyond: f64,
}

impl Pace {
    /// `None` where there is nothing beyond.
    fn of<K>(view: &MigrationView<'_, K>) -> Option<Self> {
        let hbm = view.system.tiers()[0].read_bandwidth.as_f64();
        let beyond = view.system.total_read_bandwidth() as f64 - hbm;
        let token = view.kv_bytes.as_f64() * SimTime::PS_PER_SECOND as f64;
        (beyond > 0.0).then(|| Self { hbm: token / hbm, beyond: token / beyond })
    }

    /// By how many tokens too many lay beyond in the present step, by how long was waited for either side.
    fn too_many_beyond<K>(&self, view: &MigrationView<'_, K>) -> f64 {
        let waited = |tier: usize| view.waited[tier].as_ps() as f64;
        let beyond = (1..view.waited.len()).map(waited).fold(0.0, f64::max);
        (beyond - waited(0)) / (self.hbm + self.beyond)
    }

    /// By how many too many will if the next step reads `active` tokens, `on_hbm` of which are there or on their way.
    fn foreseen<K>(&self, view: &MigrationView<'_, K>, active: usize, on_hbm: usize) -> f64 {
        let kv = view.kv_bytes.as_f64();
        let weights = view.weights_read.iter().map(|bytes| bytes.as_f64()).sum::<f64>() / kv;
        let share = self.beyond / (self.hbm + self.beyond);
        let target = share * (weights + active as f64) - view.weights_read[0].as_f64() / kv;
        target.clamp(0.0, active as f64) - on_hbm as f64
    }
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

    fn memory(&self, _words: usize, _steps: usize) -> u64 {
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

    fn next<'a>(&'a self, view: &MigrationView<'a, Future>) -> Option<(&'a TokenSet, usize)> {
        let step = view.skips.ahead(1)?;
        Some((&step.sets[view.layer], view.context.saturating_sub(step.counts[view.layer])))
    }

    /// What comes in is read in the next step, and what leaves is not.
    fn reads_saved(&self, _layer: usize) -> f64 {
        f64::INFINITY
    }

    fn next_read(&self, view: &MigrationView<'_, Future>) -> (f64, f64) {
        let (Some((next, active)), Some(after)) = (self.next(view), view.skips.ahead(2)) else { return (1.0, 1.0) };
        let left = after.sets[view.layer].count_without(next);
        (1.0, (1.0 - left as f64 / active.max(1) as f64).max(0.0))
    }

    fn later_reads(&self, view: &MigrationView<'_, Future>, token: usize) -> f64 {
        let steps = (2..=self.steps()).map_while(|ahead| view.skips.ahead(ahead));
        steps.filter(|step| !step.sets[view.layer].contains(token)).count() as f64
    }
}

/// Looks at the last steps, the present one included.
pub struct Behind {
    history: History,
    /// By layer: how much likelier a token is read that the step before read than one that it skipped, over some steps.
    persistence: Vec<f64>,
    /// By layer: how likely a token is read that the step before read, over some steps.
    stay: Vec<f64>,
}

/// How many of the last steps stand for as many of those to come.
const LATER: usize = 8;

impl Behind {
    /// At what `history` keeps.
    pub fn new(history: History) -> Self {
        Self { history, persistence: Vec::new(), stay: Vec::new() }
    }

    /// Takes note of what has changed from the step before.
    fn compare(&mut self, layer: usize) {
        if self.persistence.len() <= layer {
            self.persistence.resize(layer + 1, 1.0);
            self.stay.resize(layer + 1, 1.0);
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
        self.stay[layer] += NEW * (stay - self.stay[layer]);
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

    fn memory(&self, words: usize, steps: usize) -> u64 {
        self.history.memory(words, steps) + 8
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

    fn next<'a>(&'a self, view: &MigrationView<'a, Past>) -> Option<(&'a TokenSet, usize)> {
        self.history.step(view.layer, 0)
    }

    fn next_read(&self, view: &MigrationView<'_, Past>) -> (f64, f64) {
        let stay = self.stay[view.layer];
        (stay, stay)
    }

    /// As often as before the present step.
    fn later_reads(&self, view: &MigrationView<'_, Past>, token: usize) -> f64 {
        let steps = (1..self.steps().min(LATER)).map_while(|ago| self.history.step(view.layer, ago));
        steps.filter(|(skipped, _)| !skipped.contains(token)).count() as f64
    }
}
