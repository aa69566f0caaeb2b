//! Prefetching within a step: pages that a later layer of the same step will read.
//!
//! Migrations decide when a layer has been computed, for its next step. A [`Prefetch`] decides in
//! the middle of a step, for a layer that the step has yet to come to: it moves pages to HBM that
//! this layer will read. A cache with a budget decides, when that layer has been computed, which of
//! them stay.
//!
//! # The predictor
//! No system knows what the next layers read before it has computed what they read it for; it
//! predicts. [`Predictor`] is an idealized one of *stated* accuracy, as publications report it:
//! * of the pages that the layer will read and that are not on HBM, it names each with probability
//!   `hit_rate`;
//! * of the pages that it names, the share `precision` is read (by default as many as `hit_rate`
//!   says); the others are drawn evenly from those that the layer skips and that are not on HBM.
//!
//! It works from the skip sets of the present step, so a strategy with it is neither realizable nor
//! an oracle: reports say that it assumes a predictor of that hit rate. What it draws depends on
//! `seed`, the step and the region alone.
//!
//! # What comes of them
//! A page that has arrived when its layer is read is *useful*; one that is still on its way is
//! *late*, and is read where it was; one that the layer does not read is *wrong*. Late and wrong
//! pages have been carried as well, and share the lanes with what stages wait for.

use super::MovePlan;
use crate::memory::{PerTier, TierId};
use crate::strategy::registry::registry;
use crate::units::{Page, Ratio, RegionId, Step};
use crate::workload::tokens::{WORD_BITS, Word};
use crate::workload::{Skipped, TokenSet};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

registry! {
    /// What prefetches within a step, by name.
    PrefetchKind, "prefetch", Prefetch:
    Prefetch {
        ahead: NonZeroU32 = NonZeroU32::MIN, after: After = After::Attention,
        hit_rate: Ratio = Ratio::from_permille(900).unwrap(),
        #[serde(skip_serializing_if = "Option::is_none")] precision: Option<Ratio> = Option::None,
        seed: u64 = 0
    } => Predictor { ahead, after, hit_rate, precision: precision.unwrap_or(hit_rate), seed, chosen: Vec::new(), ranks: Vec::new() }, "when a layer is computed, what the layer that is some layers ahead will read of the same step comes into HBM, as far as a predictor of that hit rate names it";
}

impl PrefetchKind {
    /// The share of what is read that is named in time.
    #[must_use]
    pub fn hit_rate(self) -> Ratio {
        let Self::Prefetch { hit_rate, .. } = self;
        hit_rate
    }

    /// The share of what is named that is read, where it is not as much as the hit rate.
    #[must_use]
    pub fn precision(self) -> Option<Ratio> {
        let Self::Prefetch { precision, .. } = self;
        precision
    }
}

/// When a layer's decision is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum After {
    /// When its first stage, attention, has ended: what its router and its MLP work from is known
    /// then.
    #[default]
    Attention,
    /// When all of it has ended.
    Layer,
}

/// What a prefetch sees of a region that the step has yet to read.
pub struct PrefetchView<'a> {
    /// The step of the run.
    pub step: Step,
    /// Which region.
    pub region: RegionId,
    /// For each tier the pages that are there, a moving one at its source.
    pub at: &'a PerTier<TokenSet>,
    /// The pages whose write or move is in flight: they are left alone.
    pub in_flight: &'a TokenSet,
    /// What the present step will skip of the region.
    pub skipped: Skipped<'a>,
}

/// Decides what moves to HBM before a later layer of the same step reads it.
pub trait Prefetch {
    /// How many layers ahead of the one that decides.
    fn ahead(&self) -> usize;
    /// When a layer's decision is due.
    fn after(&self) -> After;
    /// Adds pages of `view.region` that are to move to HBM to `plan`.
    fn choose(&mut self, view: &PrefetchView<'_>, plan: &mut MovePlan);
}

/// A predictor of stated accuracy. O(n / 64 + p log p) per decision, with n tokens of context and p
/// pages that are named or might have been.
struct Predictor {
    ahead: NonZeroU32,
    after: After,
    hit_rate: Ratio,
    precision: Ratio,
    seed: u64,
    /// Scratch space: the pages that are named, and where they lie.
    chosen: Vec<(u32, TierId)>,
    /// Scratch space: which of the pages that are not read are named, by their places among them.
    ranks: Vec<u64>,
}

impl Prefetch for Predictor {
    fn ahead(&self) -> usize {
        self.ahead.get() as usize
    }

    fn after(&self) -> After {
        self.after
    }

    fn choose(&mut self, view: &PrefetchView<'_>, plan: &mut MovePlan) {
        // Steps and regions have random streams of their own, whatever else is drawn.
        let place = ((view.step.index() as u64) << 32) | view.region.index() as u64;
        let stream = self.seed.wrapping_add(place.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut random = Xoshiro256PlusPlus::seed_from_u64(stream);
        self.chosen.clear();
        for (tier, word, bits) in words(view, |at, skipped| at & !skipped) {
            for page in pages(word, bits) {
                if share(&mut random) < self.hit_rate.as_f64() {
                    self.chosen.push((page, tier));
                }
            }
        }
        self.add_wrong(view, &mut random);
        // Which of them are right is not known, so they go in the order of the context.
        self.chosen.sort_unstable();
        let _ = self.chosen.iter().all(|&(page, tier)| plan.add(Page::new(page as usize), tier, TierId::HBM));
    }
}

impl Predictor {
    /// Names as many pages that are not read as the precision says.
    fn add_wrong(&mut self, view: &PrefetchView<'_>, random: &mut Xoshiro256PlusPlus) {
        let candidates: u64 =
            words(view, |at, skipped| at & skipped).map(|(.., bits)| u64::from(bits.count_ones())).sum();
        let precision = self.precision.as_f64();
        let wanted = if precision > 0.0 { self.chosen.len() as f64 * (1.0 - precision) / precision } else { 0.0 };
        let rounded = wanted.floor() + f64::from(u8::from(share(random) < wanted.fract()));
        let wanted = (rounded as u64).min(candidates);
        // Floyd's choice of so many out of all candidates, each set of them equally likely.
        self.ranks.clear();
        for last in candidates - wanted..candidates {
            let drawn = ((u128::from(random.next_u64()) * u128::from(last + 1)) >> 64) as u64;
            match self.ranks.binary_search(&drawn) {
                // The greatest of all so far.
                Ok(_) => self.ranks.push(last),
                Err(place) => self.ranks.insert(place, drawn),
            }
        }
        let (mut before, mut ranks) = (0, self.ranks.iter().copied().peekable());
        for (tier, word, bits) in words(view, |at, skipped| at & skipped) {
            let end = before + u64::from(bits.count_ones());
            while let Some(rank) = ranks.next_if(|rank| *rank < end) {
                let page = pages(word, bits).nth((rank - before) as usize);
                self.chosen.extend(page.map(|page| (page, tier)));
            }
            before = end;
        }
    }
}

/// The words of the pages outside HBM that are not in flight: tier by tier, each with its number,
/// as `of` makes them from the word of what lies there and that of what is skipped.
fn words<'a>(
    view: &'a PrefetchView<'_>,
    of: impl Fn(Word, Word) -> Word + Copy + 'a,
) -> impl Iterator<Item = (TierId, usize, Word)> + 'a {
    let (flying, skipped) = (view.in_flight.words(), view.skipped.pages.words());
    view.at.iter().skip(1).flat_map(move |(tier, at)| {
        let words = at.words().iter().enumerate().filter(|(_, at)| **at != 0);
        words.map(move |(index, at)| (tier, index, of(at & !flying[index], skipped[index])))
    })
}

/// The pages of word `index`, in ascending order.
fn pages(index: usize, bits: Word) -> impl Iterator<Item = u32> {
    let mut left = bits;
    std::iter::from_fn(move || {
        (left != 0).then(|| {
            let bit = left.trailing_zeros() as usize;
            left &= left - 1;
            (index * WORD_BITS + bit) as u32
        })
    })
}

/// A random number from 0 on, below 1.
fn share(random: &mut Xoshiro256PlusPlus) -> f64 {
    // 53 bits: the precision of a float between 0 and 1.
    (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}
