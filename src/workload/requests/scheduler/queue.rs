//! Requests that wait to be admitted: the preempted ones first, then those that have never run.

use crate::units::RequestId;
use crate::workload::requests::QueueOrder;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Requests that wait, in the order in which they are to be admitted.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    /// Those that were preempted, the one that was admitted first in front.
    preempted: VecDeque<RequestId>,
    fresh: Fresh,
}

/// Those that have never run.
#[derive(Clone, Debug)]
enum Fresh {
    /// In the order of arrival.
    Fcfs(VecDeque<RequestId>),
    /// By the tokens of their prompts; of equals by arrival.
    Shortest(BinaryHeap<Reverse<(u32, u32)>>),
}

impl Queue {
    /// An empty queue.
    pub(super) fn new(order: QueueOrder) -> Self {
        let fresh = match order {
            QueueOrder::Fcfs => Fresh::Fcfs(VecDeque::new()),
            QueueOrder::ShortestFirst => Fresh::Shortest(BinaryHeap::new()),
        };
        Self { preempted: VecDeque::new(), fresh }
    }

    /// A request with so many tokens in its prompt has arrived. O(1), or O(log) for shortest first.
    pub(super) fn arrive(&mut self, request: RequestId, prompt: u32) {
        match &mut self.fresh {
            Fresh::Fcfs(queue) => queue.push_back(request),
            // Ids fit 32 bits.
            Fresh::Shortest(heap) => heap.push(Reverse((prompt, request.index() as u32))),
        }
    }

    /// A request was preempted: it comes before all others.
    pub(super) fn push_front(&mut self, request: RequestId) {
        self.preempted.push_front(request);
    }

    /// The one to be admitted next. O(1).
    pub(super) fn front(&self) -> Option<RequestId> {
        self.preempted.front().copied().or_else(|| match &self.fresh {
            Fresh::Fcfs(queue) => queue.front().copied(),
            Fresh::Shortest(heap) => heap.peek().map(|Reverse((_, id))| RequestId::new(*id as usize)),
        })
    }

    /// Takes the [front](Self::front) out.
    pub(super) fn pop_front(&mut self) {
        if self.preempted.pop_front().is_some() {
            return;
        }
        match &mut self.fresh {
            Fresh::Fcfs(queue) => drop(queue.pop_front()),
            Fresh::Shortest(heap) => drop(heap.pop()),
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        let fresh = match &self.fresh {
            Fresh::Fcfs(queue) => queue.len(),
            Fresh::Shortest(heap) => heap.len(),
        };
        self.preempted.len() + fresh
    }
}
