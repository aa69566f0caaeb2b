//! What an owner of a [`Fabric`](super::Fabric) asks for, and what it gets back.

use crate::memory::{LaneId, Pattern, PerClass, Reach, RouteId, TransferClass};
use crate::units::{Bytes, SimTime};

/// A transfer that was issued and is not complete. The fabric reuses ids of completed transfers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransferId(pub(super) u32);

impl TransferId {
    /// Its number, which no other transfer in flight has at the same moment.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }
}

/// Whether a transfer is wanted now or ahead of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// As its class demands.
    Due,
    /// Read ahead of need (`weight_prefetch`): takes only what all due transfers leave of its
    /// lanes; under `Priority`, what demand reads leave. Under `Fifo`, where arrival decides, it
    /// makes no difference.
    Early,
}

/// The routes that a transfer's bytes take.
#[derive(Clone, Copy, Debug)]
pub enum Path<'a> {
    /// All bytes over one route.
    Route(RouteId),
    /// An equal part over each of these routes, to fractions of a byte.
    Even(&'a [RouteId]),
    /// These byte counts over these routes; each at least 1.
    Parts(&'a [(RouteId, Bytes)]),
}

/// What is to be carried. `tag` is the issuer's own and comes back with the completion.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a, Tag> {
    /// What the transfer is for.
    pub class: TransferClass,
    /// The routes that its bytes take.
    pub path: Path<'a>,
    /// Its size; at least one byte.
    pub bytes: Bytes,
    /// How many bytes are contiguous in memory: on average, where they are in several runs. It
    /// matters only where a tier has an efficiency.
    pub granule: Bytes,
    /// Whether these runs lie anywhere, or one after the other. It matters only to a DRAM part's
    /// efficiency.
    pub pattern: Pattern,
    /// Now or ahead of time.
    pub urgency: Urgency,
    /// The share of its tier's bandwidth that a demand read gets. It matters only where the tier
    /// has a lane for [kernels](crate::memory::MemorySystem::with_kernels).
    pub reach: Reach,
    /// Comes back in [`Completed`].
    pub tag: Tag,
}

/// A transfer whose last byte has arrived.
#[derive(Clone, Copy, Debug)]
pub struct Completed<Tag> {
    /// Its id while it was in flight.
    pub id: TransferId,
    /// The request's tag.
    pub tag: Tag,
    /// The request's class.
    pub class: TransferClass,
    /// Its size.
    pub bytes: Bytes,
    /// When it was issued.
    pub issued: SimTime,
    /// When its lanes first gave it something.
    pub started: SimTime,
    /// When its last byte arrived.
    pub finished: SimTime,
    /// Its unloaded service time: what it takes with all its lanes to itself, its route's latency
    /// included.
    pub unloaded: SimTime,
}

impl<Tag> Completed<Tag> {
    /// From issue to the last byte.
    #[must_use]
    pub fn latency(&self) -> SimTime {
        self.finished - self.issued
    }

    /// Queueing delay: latency minus the unloaded service time.
    #[must_use]
    pub fn queueing(&self) -> SimTime {
        self.latency().saturating_sub(self.unloaded)
    }
}

/// How much of a transfer, or of one part of it, has arrived: see
/// [`Fabric::delivered`](super::Fabric::delivered).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// The part is complete, although its transfer is not.
    All,
    /// These whole bytes.
    Part(Bytes),
}

impl Delivered {
    /// The bytes of a part of `size` bytes that have arrived.
    #[must_use]
    pub fn of(self, size: Bytes) -> Bytes {
        match self {
            Self::All => size,
            Self::Part(bytes) => bytes,
        }
    }
}

/// Why a transfer does not receive more at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bottleneck {
    /// It was issued, and its issuer has not let it be requested yet.
    NotRequested,
    /// It is on its way to its lanes: a latency.
    Latency,
    /// A lane. Where lanes are shared, the full one that limits its rate: the transfer gets as much
    /// of it, for its weight, as any other there whose bottleneck is not elsewhere (Bertsekas and
    /// Gallager, *Data Networks*, 1992, 6.5.2). Where it is in line, the first of its lanes on
    /// which its turn has not come. Where it has its lanes to itself (`fifo`), the slowest.
    Lane(LaneId),
    /// The most that one transfer gets of a tier or a link, however idle it is.
    Cap,
}

/// What a lane has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneLoad {
    /// How long at least one transfer was active on it.
    pub busy: SimTime,
    /// Bytes of completed transfers, and what has arrived of cancelled ones, by class. Where a
    /// transfer is spread evenly, whole bytes: the remainder is counted on the first lanes.
    pub bytes: PerClass<Bytes>,
}
