//! Migration: what is decided when a layer has been computed, and how it is carried out.

use super::Run;
use super::completions::Purpose;
use crate::memory::{Machine, TierId, TransferClass};
use crate::simulation::idealization::Ideal;
use crate::simulation::moves::{self, Way};
use crate::simulation::probe::Probe;
use crate::strategy::{MigrationView, MoveBatch, MovePlan, MoveRoute, On, Skips};
use crate::units::{Bytes, RegionId, Step};
use crate::workload::{Stage, Workload};

impl<P: Probe, W: Workload> Run<'_, P, W> {
    /// Decides what moves of the regions that `stage` is the last to use, before the next step
    /// reads them, and issues it.
    pub(super) fn migrate(&mut self, machine: &mut Machine<Purpose>, stage: &Stage) {
        // With one tier there is nowhere to go.
        if self.system.tiers().len() > 1 {
            for &region in &stage.releases {
                if self.decisions.on == On::Both || self.decides_for(region) {
                    self.migrate_region(machine, region);
                }
            }
        }
    }

    fn decides_for(&self, region: RegionId) -> bool {
        (self.decisions.on == On::Experts) == self.workload.regions().is_experts(region)
    }

    fn migrate_region(&mut self, machine: &mut Machine<Purpose>, region: RegionId) {
        // Of a budget each decision leaves the others their part.
        self.decisions.taken += 1;
        let allowed = match self.decisions.budget {
            None => self.decisions.allowed,
            Some(_) => {
                let (taken, in_step) =
                    (self.decisions.taken as u128, (self.decisions.in_step.0 + self.decisions.in_step.1) as u128);
                let moved = self.totals.migrated_in + self.totals.migrated_out;
                self.decisions.allowed.share(taken, in_step).saturating_sub(moved)
            }
        };
        let is_experts = self.workload.regions().is_experts(region);
        let (measured, deciding, kv_room) = if is_experts {
            (&self.measured_experts, self.decisions.in_step.1, &self.rooms.experts)
        } else {
            (&self.measured, self.decisions.in_step.0, &self.rooms.kv)
        };
        let weights_read = self.reads.constant(measured.stage);
        let of_stage =
            measured.read.values().copied().sum::<Bytes>() - weights_read.values().copied().sum() - measured.index;
        let residency = self.moves.residency_at(machine.now(), machine.fabric());
        residency.note_free(&mut self.scratch.free);
        let pages = residency.kv(region);
        let mut plan = std::mem::replace(&mut self.scratch.plan, MovePlan::new(0));
        plan.reset(pages.page_bytes, &residency.ledger, allowed);
        let of_region = pages.token_bytes.times(self.scratch.load.read[region] as u64);
        let view = MigrationView {
            step: self.completed.map_or(Step::default(), Step::next),
            region,
            is_experts,
            layers: self.workload.regions().per_sequence(),
            groups: self.workload.regions().groups(),
            deciding,
            part: if of_stage == Bytes::ZERO { 1.0 } else { of_region.as_f64() / of_stage.as_f64() },
            pages: pages.size.pages(pages.tokens),
            first: pages.live().start,
            page_size: pages.size,
            page_bytes: pages.page_bytes,
            at: &pages.at,
            home: &pages.home,
            in_flight: &pages.in_flight,
            free: &self.scratch.free,
            kv_room,
            shared_room: &self.rooms.shared,
            regions: &*residency,
            weights_read,
            read: &measured.read,
            waited: &measured.waited,
            skips: Skips::all(self.workload.window()),
            system: self.system,
        };
        self.decisions.migration.decide(&view, &mut plan);
        let mut evicted = std::mem::take(&mut self.scratch.evicted);
        plan.evictions_elsewhere(&mut evicted, |region, destination, pages| {
            let way = Way { route: MoveRoute::Direct, source: TierId::HBM, destination };
            self.carry_out(machine, region, pages, way);
        });
        for (route, source, destination, pages) in plan.moves() {
            self.carry_out(machine, region, pages, Way { route, source, destination });
        }
        (self.scratch.plan, self.scratch.evicted) = (plan, evicted);
    }

    /// Whether pages that are retained are in the first tier already: a hot buffer keeps what was
    /// copied there for the stage to read, and nothing is carried twice.
    fn keeps_in_place(&self, way: Way) -> bool {
        let Way { route, source, destination } = way;
        let is_copied = route == MoveRoute::ViaChip && destination == TierId::HBM;
        is_copied
            && self.scenario.runtime().is_staged(source)
            && self.scenario.strategy().migration.places().is_some_and(|places| places.budget.is_some())
    }

    /// Moves pages of `region` as a plan says: issues the transfer, or gives up copies where there
    /// is nothing to carry.
    pub(super) fn carry_out(&mut self, machine: &mut Machine<Purpose>, region: RegionId, pages: &MoveBatch, way: Way) {
        if self.moves.drop_copies(region, pages, way) {
            return;
        }
        let bytes = self.moves.set_out(region, pages, way);
        if self.keeps_in_place(way) {
            self.moves.arrive_at_once(region, pages, way);
            return;
        }
        match moves::class(way.source, way.destination) {
            TransferClass::MigrateIn => self.totals.migrated_in += bytes,
            _ => self.totals.migrated_out += bytes,
        }
        if self.scenario.idealization().has(Ideal::FreeMigration) {
            self.moves.arrive_at_once(region, pages, way);
        } else {
            let tag = |slot| Purpose::Move { slot };
            self.moves.issue(machine, self.system, &self.paging, (region, pages), way, tag);
        }
    }
}
