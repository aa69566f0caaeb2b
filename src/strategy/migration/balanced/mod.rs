//! Moves a page where that saves more time than it takes.
//!
//! An attention stage waits for the tier that takes longest. So each excess page in external memory
//! costs one external read, and each excess page in HBM costs one HBM read, which is far cheaper.
//! How many pages are in excess is measured: by how much longer the stage waits for one than for
//! the other. For the next step it is predicted from the bytes that the stage would read from each
//! with the pages as they lie, and corrected by the error of the last predictions: contention,
//! latencies, efficiency losses, channels that are loaded unevenly, and what was not known of the
//! skip sets.
//!
//! Both the prediction and the measurement vary from step to step, and give the odds that a read of
//! a page from HBM saves one from external memory in a later step ([`Worth`]). By that, and by the
//! steps in which a page is expected to be read, it moves or stays:
//!
//! * Too little in HBM: of the pages that the present step has read from elsewhere, those that are
//!   skipped least are retained in HBM. They are on the chip already, so this takes no second read,
//!   only HBM's time to write them. Where HBM has no room, pages that the next step skips go out
//!   first, those that are skipped most: over the link's other direction, which reads do not need.
//! * Too much in HBM: of the pages in HBM, those that are skipped least go out, so that the balance
//!   lasts.
//!
//! No more moves than is out of balance, and nothing moves within the balance, skipped or not. The
//! less certain the prediction, the more pages are kept in HBM (a safety stock), as a shortfall
//! there costs more than an excess.
//!
//! # The constants
//! None of them is critical. Simulated time changes by at most 0.016 % when one of them is halved
//! or doubled (`balanced` and `balanced-online` on the study with 1024 and 4096 tokens, with 2048
//! tokens and 1.5 GiB of HBM, and with the shipped lifelike trace, each with 40 % skipped; on the
//! GH200):
//!
//! | constant | value | halved | doubled |
//! | --- | --- | --- | --- |
//! | `NEW` | 1/8 | -0.006 to +0.008 % | -0.006 to +0.016 % |
//! | `STAY` | 4 | -0.002 to 0 % | 0 to +0.001 % |
//! | `LATER` | 8 | -0.001 to 0 % | -0.001 to +0.001 % |
//! | `LEAST_GAIN` | 2 | 0 % | 0 % |
//! | `MOST_PERSISTENT` | 0.99 (99 reads) | 0 % at 0.98 | 0 % at 0.995 |
//!
//! | file | question |
//! | --- | --- |
//! | `mod.rs` | what moves? |
//! | `estimate.rs` | how many pages are in excess, how certain is that, and what is a page in HBM worth? |
//! | `outlook.rs` | what will be read: seen ahead, or inferred from the past? |

mod estimate;
mod outlook;

pub use outlook::{Ahead, Behind, Outlook};

use super::select::{Choice, Counts, First};
use super::{Migration, MigrationView, MovePlan};
use crate::memory::{MemorySystem, TierId};
use crate::units::{Bytes, Page, RegionId, Table};
use crate::workload::tokens::{WORD_BITS, Word};
use crate::workload::{Shape, Skipped};
use estimate::{ReadTimes, Spread, Worth};

/// The migration, by what it knows of the steps to come.
pub struct Balanced<O> {
    outlook: O,
    regions: Table<RegionId, OfRegion>,
    /// The sum of what is unmet.
    unmet: Bytes,
    choice: Choice,
}

/// What is known of a region.
struct OfRegion {
    /// In how many of the steps that are looked at each page is skipped.
    skipped: Counts,
    /// How many pages were in excess in external memory when they were read.
    found: Spread,
    /// How many were going to be when their moves were decided.
    predicted: Spread,
    /// By how many the prediction was too low.
    missed: Spread,
    /// How many the present step was expected to find.
    expected: Option<f64>,
    /// The bytes that it wants in HBM and does not have there.
    unmet: Bytes,
}

/// For how many times the steps that are looked at a page is taken to stay where it moves to.
const STAY: f64 = 4.0;

/// By how many times the gain of a page in HBM must exceed its HBM read before other regions make
/// room for it: another page is read from HBM to make room, besides the write.
const LEAST_GAIN: f64 = 2.0;

/// One decision: what it is about, and what it has found out.
struct Decision<'a, 'v, O: Outlook> {
    outlook: &'a O,
    view: &'a MigrationView<'v, O::Knows>,
    /// What the next step is expected to skip, and how many pages it reads.
    next: Skipped<'v>,
    active: usize,
    /// Pages of the region in HBM, or moving there, that the next step reads.
    on_hbm: usize,
    worth: Worth,
    /// Pages in excess in external memory in the present step.
    found: f64,
    /// The same, as predicted for the next step.
    predicted: f64,
    /// Pages in HBM beyond the prediction, for its uncertainty.
    safety_stock: f64,
}

impl<'a, 'v, O: Outlook> Decision<'a, 'v, O> {
    /// Takes note of the present step and predicts the next; `None` where there is nothing to
    /// decide.
    fn new(outlook: &'a O, region: &mut OfRegion, view: &'a MigrationView<'v, O::Knows>) -> Option<Self> {
        let (next, active) = outlook.next(view)?;
        let times = ReadTimes::of(view)?;
        let found = times.excess_in_external(view);
        region.found.note(found);
        if let Some(expected) = region.expected {
            region.missed.note(found - expected);
        }
        let on_hbm = match next.set() {
            Some(next) => view.home[TierId::HBM].count_without(next),
            None => view.regions.region(view.region).count[TierId::HBM],
        };
        let predicted = times.predicted(view, active, on_hbm) + region.missed.mean;
        region.predicted.note(predicted);
        let worth = Worth::new(&times, &region.predicted, &region.found);
        let safety_stock = times.safety_stock(&region.missed);
        Some(Self { outlook, view, next, active, on_hbm, worth, found, predicted, safety_stock })
    }

    /// How many pages are wanted in HBM for the next step; negative where there are too many.
    fn wanted(&self) -> f64 {
        (self.predicted + self.safety_stock).round()
    }

    /// Word `index` of the pages on `tier` that are not in flight.
    fn at_rest(&self, tier: TierId, index: usize) -> Word {
        self.view.at[tier].words()[index] & !self.view.in_flight.words()[index]
    }

    /// How many words hold the pages.
    fn words(&self) -> usize {
        self.view.pages.div_ceil(WORD_BITS)
    }

    /// What it is worth in the steps after the next to have `page` in HBM.
    fn later(&self, page: usize) -> f64 {
        STAY * self.outlook.later_reads(self.view, page) * self.worth.later
    }

    /// Retains pages in HBM that the present step has read from elsewhere: first what the next step
    /// reads; then, while HBM has room for all that is `unmet`, what later ones do. Returns how
    /// many of the first.
    fn retain(&self, unmet: Bytes, counts: &Counts, choice: &mut Choice, plan: &mut MovePlan) -> usize {
        let retained = self.retain_pages(self.wanted(), false, counts, choice, plan);
        if self.worth.later > 0.0 && unmet <= self.view.free[TierId::HBM] {
            let wanted = (self.predicted.max(self.found) + self.safety_stock).floor() - retained as f64;
            self.retain_pages(wanted, true, counts, choice, plan);
        }
        retained
    }

    /// Retains `wanted` pages that the next step skips, or that it reads. Returns how many.
    fn retain_pages(
        &self,
        wanted: f64,
        skipped_next: bool,
        counts: &Counts,
        choice: &mut Choice,
        plan: &mut MovePlan,
    ) -> usize {
        if wanted < 1.0 || (skipped_next && self.next.count == 0) {
            return 0;
        }
        let present = self.view.skipped().pages;
        let (next_read, _) = self.outlook.next_read(self.view);
        let soon = if skipped_next { 0.0 } else { next_read * self.worth.external };
        let (next, wrong_way) = (self.next.pages.words(), if skipped_next { 0 } else { Word::MAX });
        let mut left = (wanted as usize).min(plan.room(TierId::HBM));
        let mut retained = 0;
        for tier in self.view.system.tier_ids().skip(1) {
            if left == 0 {
                break;
            }
            choice.offer(self.words(), |word| {
                self.at_rest(tier, word) & !present.words()[word] & (next[word] ^ wrong_way)
            });
            choice.choose(left, counts, First::Least);
            for page in choice.chosen() {
                // A retained page is written to HBM.
                if soon + self.later(page) > self.worth.hbm && plan.retain(Page::new(page), tier, TierId::HBM) {
                    left -= 1;
                    retained += 1;
                }
            }
        }
        retained
    }

    /// How many bytes of the region are wanted in HBM and have no room there. As much as is wanted
    /// now will be then, but no more than is read from external memory and will be read again.
    fn unmet(&self) -> Bytes {
        let reads_saved = self.outlook.reads_saved(self.view.region).min(self.outlook.steps() as f64);
        let gain = self.worth.external + reads_saved * self.worth.later;
        let (_, read_again) = self.outlook.next_read(self.view);
        let again = read_again * self.active.saturating_sub(self.on_hbm) as f64;
        let is_worth_it = gain > LEAST_GAIN * self.worth.hbm;
        let pages = if is_worth_it { self.wanted().min(again).max(0.0) as u64 } else { 0 };
        self.view.page_bytes.times(pages)
    }

    /// Where there is too much in HBM, pages that the next step reads leave it. Returns how many.
    fn restore_balance(&self, counts: &Counts, choice: &mut Choice, plan: &mut MovePlan) -> usize {
        let wanted = self.wanted();
        if wanted > -1.0 || self.worth.later >= 0.0 {
            return 0;
        }
        choice.offer(self.words(), |word| self.at_rest(TierId::HBM, word) & !self.next.pages.words()[word]);
        choice.choose(-wanted as usize, counts, First::Least);
        let (next_read, _) = self.outlook.next_read(self.view);
        // It is read from HBM to leave.
        let gains = |page: &usize| next_read * self.worth.hbm - self.later(*page) > self.worth.hbm;
        leave(self.view, choice.chosen().filter(gains), plan)
    }

    /// Makes room for what is `unmet` of `regions` regions: of each its part.
    fn make_room(&self, unmet: Bytes, regions: u64, counts: &Counts, choice: &mut Choice, plan: &mut MovePlan) {
        let view = self.view;
        let short = unmet.saturating_sub(view.free[TierId::HBM]);
        if short == Bytes::ZERO
            || self.next.count == 0
            || self.outlook.reads_saved(view.region) <= reads_to_leave(view.system)
        {
            return;
        }
        let part = short.whole_units(view.page_bytes.times(regions)) as usize + 1;
        choice.offer(self.words(), |word| self.at_rest(TierId::HBM, word) & self.next.pages.words()[word]);
        choice.choose(part, counts, First::Most);
        leave(view, choice.chosen(), plan);
    }
}

impl OfRegion {
    /// Nothing known of a region of so many words of pages, of which so many steps are looked at.
    fn new(words: usize, steps: usize) -> Self {
        Self {
            skipped: Counts::new(words, steps),
            found: Spread::default(),
            predicted: Spread::default(),
            missed: Spread::default(),
            expected: None,
            unmet: Bytes::ZERO,
        }
    }
}

impl<O: Outlook> Balanced<O> {
    /// With nothing known yet.
    pub fn new(outlook: O) -> Self {
        Self { outlook, regions: Table::new(), unmet: Bytes::ZERO, choice: Choice::default() }
    }
}

impl<O: Outlook> Migration for Balanced<O> {
    type Knows = O::Knows;

    fn look_ahead(&self) -> usize {
        self.outlook.look_ahead()
    }

    fn memory(&self, shape: Shape, skips: bool) -> Bytes {
        let words = shape.range().div_ceil(WORD_BITS);
        let skipped = if skips { words } else { 0 };
        let a_region = self.outlook.memory(skipped, shape.decode) + Counts::bytes(skipped, self.outlook.steps()) + 512;
        Bytes::new(shape.layers as u64 * a_region + 2 * (words * 8) as u64)
    }

    fn forget(&mut self, region: RegionId) {
        let Self { outlook, regions, unmet, .. } = self;
        outlook.forget(region);
        if let Some(known) = regions.get(region) {
            *unmet -= known.unmet;
            regions[region] = OfRegion::new(known.skipped.words(), outlook.steps());
        }
    }

    fn decide(&mut self, view: &MigrationView<'_, O::Knows>, plan: &mut MovePlan) {
        let words = view.in_flight.words().len();
        let Self { outlook, regions, unmet, choice } = self;
        let region = regions.or_insert_with(view.region, || OfRegion::new(words, outlook.steps()));
        // A region is decided on after others whose sequences have other lengths, with which it was
        // added to the table.
        if region.skipped.words() != words {
            *region = OfRegion::new(words, outlook.steps());
        }
        outlook.update(view, &mut region.skipped);
        let Some(decision) = Decision::new(outlook, region, view) else { return };
        let retained = decision.retain(*unmet, &region.skipped, choice, plan);
        let unmet_now = decision.unmet();
        *unmet = *unmet - region.unmet + unmet_now;
        region.unmet = unmet_now;
        let gone = decision.restore_balance(&region.skipped, choice, plan);
        region.expected = Some(decision.predicted - retained as f64 + gone as f64);
        let known = regions.len() as u64;
        decision.make_room(*unmet, known, &regions[view.region].skipped, choice, plan);
    }
}

/// How many reads from external memory take the time of writing a page there: none where it can be
/// written to while it is read from at full bandwidth.
fn reads_to_leave(system: &MemorySystem) -> f64 {
    let tier = &system.tiers()[1];
    let read = tier.read_bandwidth.as_f64();
    // Both a byte read and a byte written, less the byte read.
    (2.0 * read / tier.mixed_bandwidth.as_f64() - 1.0).max(0.0)
}

/// `pages` leave HBM for the fastest tier that has room. Returns how many.
fn leave<K>(view: &MigrationView<'_, K>, pages: impl Iterator<Item = usize>, plan: &mut MovePlan) -> usize {
    let mut tiers = view.system.tier_ids().skip(1);
    let Some(mut to) = tiers.next() else { return 0 };
    let mut left = 0;
    for page in pages {
        while !plan.add(Page::new(page), TierId::HBM, to) {
            let Some(next) = tiers.next() else { return left };
            to = next;
        }
        left += 1;
    }
    left
}
