//! The data of one step of a serving engine, and of the moves around it.

use crate::units::{MoveId, RequestId, SimTime};
use crate::workload::requests::Request;

/// How many pages of KV there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvRoom {
    /// In the first tier.
    pub hbm: u64,
    /// In external memory: 0 where nothing is kept there.
    pub external: u64,
}

/// The next thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A step.
    Step,
    /// Nothing before that time (the next arrival), or the next completed move if that is earlier.
    /// [`SimTime::MAX`] where no request is to arrive: only a move can end the wait.
    Wait(SimTime),
    /// Nothing any more. Moves may still be in flight.
    End,
}

/// What a step computes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepPart {
    /// Which.
    pub request: RequestId,
    /// How many tokens come before: those whose KV is read.
    pub context: u32,
    /// Of these, how many are read in place in external memory: the first ones.
    pub context_external: u32,
    /// How many tokens are computed: 1 of a request that decodes.
    pub tokens: u32,
    /// Of these, how many have their KV written to external memory: the last ones.
    pub tokens_external: u32,
    /// Whether a token comes out: it decodes, or its prompt ends.
    pub outputs: bool,
    /// Whether it is a part of a prompt, or of tokens that are computed again.
    pub is_chunk: bool,
}

/// What one step computes, and what it waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServingStep {
    /// What it computes, of running requests in the order of admission, then of those it admits.
    pub parts: Vec<StepPart>,
    /// Moves that must be complete before it begins: its pages are taken until then.
    pub after: Vec<MoveId>,
    /// Loads of which each layer's part must have arrived before that layer's attention reads.
    pub by_layer: Vec<MoveId>,
    /// How many requests run, those that only wait for their loads not counted.
    pub running: u32,
    /// How many wait to be admitted.
    pub waiting: u32,
    /// Pages of KV in use in the first tier while it runs, cached blocks that nobody reads
    /// included, and those that moves still hold.
    pub pages_hbm: u64,
    /// Of these, cached blocks that no running request reads.
    pub pages_cached: u64,
    /// Pages of KV in use in external memory.
    pub pages_external: u64,
}

impl ServingStep {
    /// How many tokens it computes.
    #[must_use]
    pub fn tokens(&self) -> u32 {
        self.parts.iter().map(|part| part.tokens).sum()
    }

    /// How many tokens come out.
    #[must_use]
    pub fn outputs(&self) -> u32 {
        self.parts.iter().map(|part| u32::from(part.outputs)).sum()
    }
}

/// What a move is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MoveKind {
    /// Prefix blocks that a request needs, from external memory.
    Load,
    /// Prefix blocks, to external memory.
    Store,
    /// The KV of a preempted request, to external memory.
    SwapOut,
    /// The KV of a request that is admitted again, from external memory.
    SwapIn,
}

impl MoveKind {
    /// How many kinds there are.
    pub const COUNT: usize = 4;
    /// Every kind, in order: the place of a kind is `kind as usize`.
    pub const ALL: [Self; Self::COUNT] = [Self::Load, Self::Store, Self::SwapOut, Self::SwapIn];

    /// The name used in every report.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Load => "Load",
            Self::Store => "Store",
            Self::SwapOut => "SwapOut",
            Self::SwapIn => "SwapIn",
        }
    }

    /// Whether it goes to the first tier.
    #[must_use]
    pub fn is_inward(self) -> bool {
        matches!(self, Self::Load | Self::SwapIn)
    }
}

/// Which steps wait for a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenMoved {
    /// Nobody.
    Background,
    /// The first step of its request, or the steps that name it in [`ServingStep::after`].
    Awaited,
    /// The layers of the steps that name it in [`ServingStep::by_layer`]: it goes layer by layer.
    ByLayer,
}

/// A move of KV between the first tier and external memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvMove {
    /// Its id: ids rise, and are not used again.
    pub id: MoveId,
    /// What it is for.
    pub kind: MoveKind,
    /// The request that it is for.
    pub request: RequestId,
    /// How many tokens of KV, of all layers.
    pub tokens: u32,
    /// Which steps wait for it.
    pub when: WhenMoved,
}

/// Why a request was rejected when it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Longer than `limits.context`.
    Context,
    /// Its KV fits in no tier that may hold it, even if it ran alone.
    Kv,
}

/// The record of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// When it arrived.
    pub arrival: SimTime,
    /// When its first step was decided; `None` if it was not. It begins then, or when the moves
    /// that it waits for are complete.
    pub scheduled: Option<SimTime>,
    /// When its first token was out.
    pub first_token: Option<SimTime>,
    /// When its last token was out.
    pub finished: Option<SimTime>,
    /// How many tokens are out.
    pub tokens_out: u32,
    /// How often it was preempted.
    pub preemptions: u32,
    /// The tokens of its prompt that it found in the first tier, and so did not compute; those that
    /// it finds again after a preemption do not count again.
    pub hit_hbm: u32,
    /// The same in external memory.
    pub hit_external: u32,
    /// Tokens that were computed again after preemptions.
    pub recomputed: u32,
    /// Why it was rejected, if it was.
    pub rejected: Option<Rejection>,
}

impl RequestRecord {
    /// That of a request of which nothing is known but its arrival.
    #[must_use]
    pub fn new(request: &Request) -> Self {
        Self {
            arrival: request.arrival,
            scheduled: None,
            first_token: None,
            finished: None,
            tokens_out: 0,
            preemptions: 0,
            hit_hbm: 0,
            hit_external: 0,
            recomputed: 0,
            rejected: None,
        }
    }
}
