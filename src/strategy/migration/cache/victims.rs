//! Which resident of a cache goes first.

use super::{OfLayer, Order, Room, tokens};
use crate::strategy::migration::{LayerKv, MigrationView};
use crate::units::Bytes;
use crate::workload::tokens::WORD_BITS;

/// A token on HBM that may be evicted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Victim {
    pub rank: u64,
    pub layer: usize,
    pub token: u32,
}

/// The residents that compete, as they are at this moment.
pub(super) struct Residents<'a, 'v, O: Order> {
    pub order: &'a O,
    pub layers: &'a [OfLayer],
    pub view: &'a MigrationView<'v, O::Knows>,
    /// How many victims a layer with a room of its own needs at most.
    pub most: usize,
}

/// Residents in the order in which they are evicted, sorted when a decision first asks for one.
pub(super) struct Victims {
    room: Room,
    /// One for each layer; a single one that is filled anew for every decision where layers have
    /// rooms of their own.
    queues: Vec<Queue>,
}

#[derive(Default)]
struct Queue {
    /// Rank and token, the least rank first; of equals the lowest token.
    tokens: Vec<(u64, u32)>,
    next: usize,
    is_filled: bool,
}

impl Victims {
    pub fn new(room: Room) -> Self {
        Self { room, queues: Vec::new() }
    }

    /// The worth of the tokens of `layer`, or its residents, have changed.
    pub fn outdated(&mut self, layer: usize) {
        let queue = self.queue_of(layer);
        if queue >= self.queues.len() {
            self.queues.resize_with(queue + 1, Queue::default);
        }
        self.queues[queue].is_filled = false;
    }

    /// The resident that is worth least; of equals that of the lowest layer, then the lowest token.
    pub fn worst<O: Order>(&mut self, of: &Residents<'_, '_, O>) -> Option<Victim> {
        match self.room {
            Room::PerLayer => self.queues[0].front(of, of.view.layer, of.most),
            Room::Shared => {
                let queues = self.queues.iter_mut().enumerate();
                let with_kv = queues.filter(|(layer, _)| of.view.layers.layer(*layer).kv_bytes > Bytes::ZERO);
                with_kv.filter_map(|(layer, queue)| queue.front(of, layer, usize::MAX)).min()
            }
        }
    }

    /// The worst resident of `layer` is evicted.
    pub fn take(&mut self, layer: usize) {
        let queue = self.queue_of(layer);
        self.queues[queue].next += 1;
    }

    fn queue_of(&self, layer: usize) -> usize {
        if self.room == Room::Shared { layer } else { 0 }
    }
}

impl Queue {
    fn front<O: Order>(&mut self, of: &Residents<'_, '_, O>, layer: usize, most: usize) -> Option<Victim> {
        let kv = of.view.layers.layer(layer);
        if !self.is_filled {
            self.fill(of, layer, kv, most);
        }
        // What was evicted by a decision of another layer was taken; what is in flight since the
        // queue was filled is not evicted.
        while let Some(&(rank, token)) = self.tokens.get(self.next) {
            if kv.at[0].contains(token as usize) && !kv.in_flight.contains(token as usize) {
                return Some(Victim { rank, layer, token });
            }
            self.next += 1;
        }
        None
    }

    fn fill<O: Order>(&mut self, of: &Residents<'_, '_, O>, layer: usize, kv: LayerKv<'_>, most: usize) {
        let (worth, layers) = (&of.layers[layer].worth, of.layers.len());
        self.tokens.clear();
        for (index, (at, in_flight)) in kv.at[0].words().iter().zip(kv.in_flight.words()).enumerate() {
            self.tokens.extend(tokens(&[at & !in_flight]).map(|bit| {
                let token = index * WORD_BITS + bit;
                (of.order.rank(worth[token], layer, layers), token as u32)
            }));
        }
        if most < self.tokens.len() {
            self.tokens.select_nth_unstable(most);
            self.tokens.truncate(most);
        }
        self.tokens.sort_unstable();
        (self.next, self.is_filled) = (0, true);
    }
}
