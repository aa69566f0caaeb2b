//! The moves of KV that the scheduler asks for, on the lanes of the machine.
//!
//! A move is one transfer of all its KV. One that goes layer by layer is a transfer for each layer
//! with KV of its own, one after the other. Stores may have to wait while anything is loaded.

use super::kinds::Kinds;
use crate::memory::{Machine, MemorySystem, Path, Pattern, Reach, Request, RouteId, TierId, TransferClass, Urgency};
use crate::units::{Bytes, MoveId, PageSize, SimTime};
use crate::workload::{KvMove, MoveKind, MovePriority, WhenMoved};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// The moves that are asked for and not complete.
pub(super) struct KvMoves {
    slots: Vec<Option<Moving>>,
    vacant: Vec<u32>,
    known: FxHashMap<MoveId, u32>,
    /// Stores that wait until nothing is loaded.
    held: VecDeque<u32>,
    /// How many moves to the first tier are not complete.
    inward: u32,
    priority: MovePriority,
    /// The routes to the first tier, and from there.
    routes: [Vec<RouteId>; 2],
    external: TierId,
    /// What a token takes in each layer that has KV of its own.
    layers: Vec<Bytes>,
    token_bytes: Bytes,
    /// The size of a page in one layer.
    page_bytes: Bytes,
}

/// A move that is not complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moving {
    pub kv: KvMove,
    pub issued: SimTime,
    /// How many layers have arrived, where it goes layer by layer.
    arrived: usize,
}

impl KvMoves {
    /// None yet, between the first tier of `system` and `external`.
    pub fn new(
        system: &MemorySystem,
        external: Option<TierId>,
        kinds: &Kinds,
        size: PageSize,
        priority: MovePriority,
    ) -> Self {
        let routes =
            external.map(|tier| [system.even_copies(tier, TierId::HBM), system.even_copies(TierId::HBM, tier)]);
        let layers: Vec<Bytes> = kinds.kv_layers.iter().map(|(_, bytes)| *bytes).collect();
        Self {
            slots: Vec::new(),
            vacant: Vec::new(),
            known: FxHashMap::default(),
            held: VecDeque::new(),
            inward: 0,
            priority,
            routes: routes.unwrap_or_default(),
            external: external.unwrap_or(TierId::HBM),
            page_bytes: layers.first().copied().unwrap_or(Bytes::ZERO).times(size.tokens() as u64),
            token_bytes: kinds.token_bytes,
            layers,
        }
    }

    /// Whether `id` is not complete.
    #[inline]
    pub fn is_going(&self, id: MoveId) -> bool {
        self.known.contains_key(&id)
    }

    /// Whether the part of `id` for the layer of that place among those with KV has not arrived.
    #[inline]
    pub fn lacks(&self, id: MoveId, place: usize) -> bool {
        let moving = self.known.get(&id).and_then(|slot| self.slots[*slot as usize]);
        moving.is_some_and(|moving| moving.arrived <= place)
    }

    /// The bytes of a move.
    pub fn bytes(&self, kv: &KvMove) -> Bytes {
        self.token_bytes.times(u64::from(kv.tokens))
    }

    /// The tier that a move goes to.
    pub fn destination(&self, slot: u32) -> TierId {
        let is_inward = self.slots[slot as usize].is_some_and(|moving| moving.kv.kind.is_inward());
        if is_inward { TierId::HBM } else { self.external }
    }

    /// Begins a move at the present time, unless there is nothing to carry: returns whether it has
    /// begun.
    pub fn begin<Tag: Copy>(&mut self, machine: &mut Machine<Tag>, kv: KvMove, tag: impl Fn(u32) -> Tag) -> bool {
        if self.bytes(&kv) == Bytes::ZERO {
            return false;
        }
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize] = Some(Moving { kv, issued: machine.now(), arrived: 0 });
        self.known.insert(kv.id, slot);
        self.inward += u32::from(kv.kind.is_inward());
        if kv.kind == MoveKind::Store && self.priority == MovePriority::LoadsFirst && self.inward > 0 {
            self.held.push_back(slot);
        } else {
            self.issue(machine, slot, &tag);
        }
        true
    }

    /// Issues what of a move goes next.
    fn issue<Tag: Copy>(&self, machine: &mut Machine<Tag>, slot: u32, tag: &impl Fn(u32) -> Tag) {
        let Some(Moving { kv, arrived, .. }) = self.slots[slot as usize] else { return };
        let of_token = if kv.when == WhenMoved::ByLayer { self.layers[arrived] } else { self.token_bytes };
        let bytes = of_token.times(u64::from(kv.tokens));
        let is_inward = kv.kind.is_inward();
        machine.issue(Request {
            class: if is_inward { TransferClass::MigrateIn } else { TransferClass::MigrateOut },
            path: Path::Even(&self.routes[usize::from(!is_inward)]),
            bytes,
            granule: self.page_bytes.min(bytes),
            pattern: Pattern::Random,
            urgency: Urgency::Due,
            reach: Reach::FULL,
            tag: tag(slot),
        });
    }

    /// The transfer of a move has arrived. Issues the next one, if there is one; else the move is
    /// complete, and is returned.
    pub fn arrive<Tag: Copy>(
        &mut self,
        machine: &mut Machine<Tag>,
        slot: u32,
        tag: impl Fn(u32) -> Tag,
    ) -> Option<Moving> {
        let moving = self.slots[slot as usize].as_mut()?;
        moving.arrived += 1;
        if moving.kv.when == WhenMoved::ByLayer && moving.arrived < self.layers.len() {
            self.issue(machine, slot, &tag);
            return None;
        }
        let moving = self.slots[slot as usize].take()?;
        self.vacant.push(slot);
        self.known.remove(&moving.kv.id);
        self.inward -= u32::from(moving.kv.kind.is_inward());
        if self.inward == 0 {
            while let Some(held) = self.held.pop_front() {
                self.issue(machine, held, &tag);
            }
        }
        Some(moving)
    }
}
