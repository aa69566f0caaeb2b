//! Migration: what is decided when a layer has been computed, and how it is carried out.

use super::{Decode, Purpose};
use crate::memory::{Pattern, Request, TierId, TransferClass, Urgency};
use crate::simulation::idealization::Ideal;
use crate::simulation::moves;
use crate::simulation::probe::Probe;
use crate::strategy::{Carriage, Convoy, MigrationView, MovePlan, Skips};

impl<P: Probe> Decode<'_, P> {
    /// Decides what moves before the next step reads `layer`, and issues it.
    pub(super) fn migrate(&mut self, step: usize, layer: usize) {
        // With one tier there is nowhere to go.
        if step + 1 == self.scenario.decode() || self.system.tiers().len() == 1 || !self.has_kv(layer) {
            return;
        }
        let now = self.calendar.now();
        self.moves.sync(now, &self.fabric, &mut self.residency);
        self.note_free();
        let tokens = self.residency.layer(layer);
        // Of a budget each layer leaves the others their part.
        let allowed = match self.budget {
            None => self.allowed,
            Some(_) => {
                let so_far = self.allowed.share(layer as u128 + 1, self.model.layers().len() as u128);
                so_far.saturating_sub(self.totals.migrated_in + self.totals.migrated_out)
            }
        };
        self.plan.reset(tokens.kv_bytes, &self.residency.ledger, allowed);
        let view = MigrationView {
            layer,
            context: self.pages(step + 1),
            kv_bytes: tokens.kv_bytes,
            at: &tokens.at,
            home: &tokens.home,
            in_flight: &tokens.in_flight,
            free: &self.free,
            kv_room: &self.kv_room,
            layers: &self.residency,
            weights_read: &self.weights[2 * layer],
            read: &self.measured.read,
            waited: &self.measured.waited,
            skips: Skips::all(&self.window),
            system: self.system,
        };
        self.migration.decide(&view, &mut self.plan);
        let mut plan = std::mem::replace(&mut self.plan, MovePlan::new(0));
        let mut evicted = std::mem::take(&mut self.evicted);
        plan.evictions_elsewhere(&mut evicted, |layer, destination, tokens| {
            self.carry_out(layer, tokens, (Carriage::Move, TierId::HBM, destination));
        });
        for (carriage, source, destination, tokens) in plan.moves() {
            self.carry_out(layer, tokens, (carriage, source, destination));
        }
        (self.plan, self.evicted) = (plan, evicted);
    }

    /// Tokens of `layer` move as a plan says: issues the transfer, or gives up copies where there
    /// is nothing to carry.
    fn carry_out(
        &mut self,
        layer: usize,
        tokens: &Convoy,
        (carriage, source, destination): (Carriage, TierId, TierId),
    ) {
        let now = self.calendar.now();
        if self.residency.has_copy(destination) {
            self.residency.drop_copies(layer, tokens, source, destination);
            return;
        }
        let bytes = self
            .residency
            .begin_move(layer, tokens, source, destination)
            .expect("a plan counts the room of each destination");
        let class = moves::class(source, destination);
        match class {
            TransferClass::MigrateIn => self.totals.migrated_in += bytes,
            _ => self.totals.migrated_out += bytes,
        }
        if self.scenario.idealization().has(Ideal::FreeMigration) {
            self.residency.end_move(layer, (tokens, 0..tokens.len()), source, destination);
            return;
        }
        let kv_bytes = self.residency.layer(layer).kv_bytes;
        let way = (carriage, source, destination);
        let (slot, path) = self.moves.begin(self.system, &self.paging, (layer, kv_bytes), tokens, way);
        let granule = self.paging.granule(destination, kv_bytes);
        let granule = match carriage {
            Carriage::Move => granule.min(self.paging.granule(source, kv_bytes)),
            Carriage::Promotion => granule,
        };
        let request = Request {
            class,
            path,
            bytes,
            granule,
            pattern: Pattern::Random,
            urgency: Urgency::Due,
            tag: Purpose::Move { slot },
        };
        let transfer = self.fabric.issue(now, request);
        self.moves.issued(now, self.system, &mut self.fabric, slot, transfer);
    }
}
