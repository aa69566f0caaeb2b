//! What a completed transfer brings about, and what a stage waits for meanwhile.

use super::{COMPUTED, LAUNCHED, Run};
use crate::memory::{Completed, Machine, Owner, PerClass, TierId, Timer, TransferId};
use crate::simulation::probe::{Ends, Probe};
use crate::simulation::waits::{Waiting, Waits};
use crate::units::{Bytes, RegionId, SimTime, StageId, Token};
use crate::workload::Workload;

/// What a transfer of a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leg {
    In,
    Read,
    Out,
}

/// What a transfer is for, when it comes back.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Read {
        stage: StageId,
        tier: TierId,
    },
    /// Copies what a stage reads of a tier into a buffer on the first tier.
    Copy {
        stage: StageId,
        tier: TierId,
    },
    /// Copies what a stage reads of a tier into its buffer, ahead of the stage or chunk by chunk.
    Chunk {
        tier: TierId,
    },
    /// Reads what was copied so, and frees the room that it takes in the buffer.
    Buffered {
        stage: StageId,
        source: TierId,
        room: Bytes,
    },
    Write {
        region: RegionId,
        token: Token,
        tier: TierId,
    },
    Update {
        region: RegionId,
        tier: TierId,
    },
    Move {
        slot: u32,
    },
    /// Of the part of a stage that a tier computes.
    Part {
        stage: StageId,
        tier: TierId,
        leg: Leg,
    },
}

impl<P: Probe, W: Workload> Owner<Purpose> for Run<'_, P, W> {
    fn completed(&mut self, machine: &mut Machine<Purpose>, transfer: Completed<Purpose>) {
        let now = machine.now();
        let ends = match transfer.tag {
            Purpose::Read { stage, tier } => self.end_read(now, stage, tier, transfer.id),
            Purpose::Buffered { stage, source, room } => {
                let ends = self.end_read(now, stage, TierId::HBM, transfer.id);
                self.end_buffered(machine, source, room);
                ends
            }
            Purpose::Chunk { tier } => {
                self.end_copy(machine, tier);
                Ends { source: Some(tier), destination: Some(TierId::HBM) }
            }
            Purpose::Copy { stage, tier } => {
                self.reads.complete(stage, transfer.id);
                Ends { source: Some(tier), destination: Some(TierId::HBM) }
            }
            Purpose::Write { region, token, tier } => {
                self.end_write(machine, region, token, tier);
                Ends { source: None, destination: Some(tier) }
            }
            Purpose::Update { region, tier } => {
                self.end_update(machine, region, tier, transfer.id);
                Ends { source: None, destination: Some(tier) }
            }
            Purpose::Move { slot } => {
                let (source, destination, late) = self.moves.complete(now, slot);
                self.probe.lateness(transfer.class, late);
                Ends { source, destination: Some(destination) }
            }
            Purpose::Part { stage, tier, leg } => {
                if leg == Leg::Read {
                    self.measured.arrived(stage, tier, now);
                }
                self.note_arrival(now, stage, tier);
                self.end_leg(machine, stage, tier, leg);
                // What is read where it is computed comes to no other place.
                Ends { source: (leg != Leg::In).then_some(tier), destination: (leg != Leg::Out).then_some(tier) }
            }
        };
        self.probe.transfer(&transfer, ends);
    }

    fn expired(&mut self, machine: &mut Machine<Purpose>, timer: Timer) {
        match timer {
            COMPUTED | LAUNCHED => (self.computing, self.launching) = (false, false),
            timer => self.part_expired(machine, timer),
        }
    }
}

impl<P: Probe, W: Workload> Run<'_, P, W> {
    /// A read of `stage` from `tier` has arrived.
    #[inline(always)]
    fn end_read(&mut self, now: SimTime, stage: StageId, tier: TierId, read: TransferId) -> Ends {
        self.note_arrival(now, stage, tier);
        self.measured.arrived(stage, tier, now);
        self.measured_experts.arrived(stage, tier, now);
        self.reads.complete(stage, read);
        Ends { source: Some(tier), destination: None }
    }

    /// Shows the probe what lanes carry from now on, and what the present stage waits for, if it
    /// watches these.
    #[inline(always)]
    pub(super) fn watch(&mut self, machine: &Machine<Purpose>) {
        if self.probe.watches_lanes() {
            self.probe.lane_rates(machine.now(), &machine.fabric().lane_rates());
        }
        if self.probe.watches_waits()
            && let Some(stage) = self.present
        {
            self.report_waits(machine, stage);
        }
    }

    /// A transfer that `stage` waits for has arrived from `tier`.
    #[inline(always)]
    fn note_arrival(&mut self, now: SimTime, stage: StageId, tier: TierId) {
        if self.present == Some(stage) {
            self.arrived = Some(match self.arrived {
                Some((at, other)) if at == now => (now, other.min(tier)),
                _ => (now, tier),
            });
        }
    }

    fn report_waits(&mut self, machine: &Machine<Purpose>, stage: StageId) {
        let mut reads: Vec<(TierId, Waiting)> = machine
            .fabric()
            .in_progress()
            .filter_map(|read| {
                let tier = self.waits_for(stage, read.tag)?;
                let waiting = Waiting {
                    read: (read.id.number(), read.part),
                    class: read.class,
                    issued: read.issued,
                    bottleneck: read.bottleneck,
                };
                Some((tier, waiting))
            })
            .collect();
        reads.sort_by_key(|(tier, waiting)| (waiting.issued, waiting.class, *tier, waiting.read));
        let reads: Vec<Waiting> = reads.into_iter().map(|(_, waiting)| waiting).collect();
        let mut rates = vec![PerClass::filled(0.0); self.system.lanes().len()];
        machine.fabric().add_class_rates(machine.now(), &mut rates);
        self.probe.waits(
            machine.now(),
            &Waits {
                reads: &reads,
                computing: self.computing,
                launching: self.launching,
                on_tiers: (!self.parts.is_empty()).then(|| self.parts.is_computing()),
                rates: &rates,
            },
        );
    }

    /// The tier from which a transfer comes that the present `stage` waits for.
    fn waits_for(&self, stage: StageId, purpose: Purpose) -> Option<TierId> {
        match purpose {
            Purpose::Read { stage: of, tier }
            | Purpose::Copy { stage: of, tier }
            | Purpose::Part { stage: of, tier, .. } => (of == stage).then_some(tier),
            Purpose::Buffered { stage: of, .. } => (of == stage).then_some(TierId::HBM),
            // Copies go one after another.
            Purpose::Chunk { tier } => self.staging.is_awaited(tier).then_some(tier),
            Purpose::Write { .. } | Purpose::Update { .. } | Purpose::Move { .. } => None,
        }
    }
}
