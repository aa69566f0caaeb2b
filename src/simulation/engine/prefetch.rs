//! Prefetching: what is decided in the middle of a step for a layer that it has yet to come to, and
//! what comes of it.

use super::Run;
use super::completions::Purpose;
use crate::memory::{Machine, TierId};
use crate::simulation::moves::Way;
use crate::simulation::probe::{Prefetched, Probe};
use crate::simulation::residency::PagedRegion;
use crate::strategy::{After, MovePlan, Piece, Prefetch, PrefetchView};
use crate::units::{Bytes, LayerId, RegionId, StageId, Step, Table};
use crate::workload::tokens::WORD_BITS;
use crate::workload::{Amount, Skipped, Stage, Workload};

/// The part that prefetches, and what it has asked for.
pub(super) struct Prefetching {
    part: Box<dyn Prefetch>,
    /// By stage, the regions that it decides for when that has ended.
    due: Table<StageId, Vec<RegionId>>,
    /// By region, the pages that it has asked for and that the step has yet to read.
    asked: Table<RegionId, Vec<u32>>,
}

impl Prefetching {
    pub fn new(part: Box<dyn Prefetch>, regions: usize) -> Self {
        Self { part, due: Table::new(), asked: Table::filled(regions, Vec::new()) }
    }

    /// The steps to come have these stages.
    pub fn begin_stages(&mut self, stages: &[Stage]) {
        // Each layer with its first and its last stage.
        let mut layers: Vec<(LayerId, usize, usize)> = Vec::new();
        for (index, stage) in stages.iter().enumerate() {
            match (stage.layer, layers.last_mut()) {
                (Some(layer), Some((of, _, last))) if *of == layer => *last = index,
                (Some(layer), _) => layers.push((layer, index, index)),
                (None, _) => {}
            }
        }
        self.due = Table::filled(stages.len(), Vec::new());
        // Prompts that are computed are left alone.
        let decides = |region: RegionId| stages.iter().any(|stage| stage.releases.contains(&region));
        let is_paged = |amount: Amount| matches!(amount, Amount::Unskipped { .. } | Amount::Routed { .. });
        let ahead = self.part.ahead();
        for (deciding, target) in layers.iter().zip(layers.iter().skip(ahead)) {
            let decided = match self.part.after() {
                After::Attention => deciding.1,
                After::Layer => deciding.2,
            };
            // What the very next stage reads is issued at the moment of the decision.
            for stage in &stages[target.1.max(decided + 2).min(target.2 + 1)..=target.2] {
                for read in stage.reads.iter().filter(|read| is_paged(read.amount)) {
                    let due = &mut self.due[StageId::new(decided)];
                    if decides(read.region) && !due.contains(&read.region) {
                        due.push(read.region);
                    }
                }
            }
        }
    }

    /// The step is about to read `region`: what it asked for is useful, late or wrong.
    pub fn read(&mut self, region: RegionId, pages: &PagedRegion, skipped: Skipped<'_>, total: &mut Prefetched) {
        for page in self.asked[region].drain(..).map(|page| page as usize) {
            *if skipped.pages.contains(page) {
                &mut total.wrong
            } else if pages.at[TierId::HBM].contains(page) {
                &mut total.useful
            } else {
                &mut total.late
            } += pages.page_bytes;
        }
    }

    /// A region is given up.
    pub fn forget(&mut self, region: RegionId) {
        self.asked[region].clear();
    }
}

impl<P: Probe, W: Workload> Run<'_, P, W> {
    /// Decides what moves to HBM before later stages of `step` read it, now that `stage` has ended,
    /// and issues it.
    pub(super) fn prefetch(&mut self, machine: &mut Machine<Purpose>, step: Step, stage: StageId) {
        let Some(mut prefetching) = self.prefetching.take() else { return };
        // With one tier there is nothing to fetch.
        if self.system.tiers().len() > 1 {
            for index in 0..prefetching.due[stage].len() {
                let region = prefetching.due[stage][index];
                self.prefetch_region(machine, &mut prefetching, step, region);
            }
        }
        self.prefetching = Some(prefetching);
    }

    fn prefetch_region(
        &mut self,
        machine: &mut Machine<Purpose>,
        prefetching: &mut Prefetching,
        step: Step,
        region: RegionId,
    ) {
        let moved = self.totals.migrated_in + self.totals.migrated_out;
        let allowed = self.decisions.allowed.saturating_sub(moved);
        let residency = self.moves.residency_at(machine.now(), machine.fabric());
        let pages = residency.kv(region);
        let page_bytes = pages.page_bytes;
        if page_bytes == Bytes::ZERO {
            return;
        }
        let mut plan = std::mem::replace(&mut self.scratch.plan, MovePlan::new(0));
        plan.reset(page_bytes, &residency.ledger, allowed);
        let skipped = self.workload.window().skipped(0, region).expect("the window shows the present step");
        let view = PrefetchView { step, region, at: &pages.at, in_flight: &pages.in_flight, skipped };
        prefetching.part.choose(&view, &mut plan);
        let asked = &mut prefetching.asked[region];
        for (route, source, destination, pages) in plan.moves() {
            self.totals.prefetched.issued += page_bytes.times(pages.len() as u64);
            pages.all(|piece| match piece {
                Piece::Listed(list) => asked.extend_from_slice(list),
                Piece::Words(first, words) => {
                    (first..).zip(words).for_each(|(index, word)| push_word(asked, index, *word));
                }
                Piece::Word(index, word) => push_word(asked, index, word),
            });
            self.carry_out(machine, region, pages, Way { route, source, destination });
        }
        self.decisions.migration.prefetched(step, region, asked);
        self.scratch.plan = plan;
    }
}

/// Adds the pages of word `index` to `pages`.
fn push_word(pages: &mut Vec<u32>, index: usize, mut word: usize) {
    while word != 0 {
        pages.push((index * WORD_BITS) as u32 + word.trailing_zeros());
        word &= word - 1;
    }
}
