//! A step as data: what is read, computed and appended, stage by stage.
//!
//! The engine knows nothing of attention, experts, batches or prompts. It runs a list of
//! [stages](Stage), one after the other: a stage issues all its reads when it starts, ends when
//! they have arrived and its compute is done, and then appends what it has computed. A [`Workload`]
//! makes the list, and says what comes next: a step, a time to wait for, or the end. So a new kind
//! of model, batch or schedule is a new workload, and a new kind of stage is a label and its reads.

use super::TraceError;
use super::compute::StageFlop;
use super::label::StageLabel;
use super::model::Weights;
use super::region::{Contents, Regions};
use super::schedule::StepBatch;
use super::windows::SkipWindows;
use crate::units::{Bytes, LayerId, RegionId, SimTime, Step, Token};
use std::sync::Arc;

/// One stage of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// What it computes.
    pub label: StageLabel,
    /// The layer that it belongs to, if it belongs to one.
    pub layer: Option<LayerId>,
    /// Of how many tokens: 1 for each sequence that decodes, besides those of prompts.
    pub tokens: usize,
    /// What it reads, weights first.
    pub reads: Vec<Read>,
    /// What it appends when it ends.
    pub appends: Vec<Append>,
    /// The state that it writes back when it ends, all of each region.
    pub updates: Vec<RegionId>,
    /// FLOP besides those that follow from the bytes read (see [`Roofline`](super::Roofline)).
    pub flop: StageFlop,
    /// Time at its start in which it neither reads nor computes, such as a kernel launch.
    pub fixed: SimTime,
    /// The regions of KV, and of experts, that no later stage of the step uses: when it ends,
    /// migration decides for them.
    pub releases: Vec<RegionId>,
}

/// What a stage reads, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageReads {
    /// Its weight regions, with what they store and what the stage reads of that.
    pub weights: Vec<(RegionId, Weights)>,
    /// Its recurrent state, all of which it reads.
    pub state: Vec<(RegionId, Bytes)>,
    /// Its KV regions.
    pub kv: Vec<KvRegionRead>,
    /// Its regions of experts that are units, with what they store and what a step is expected to
    /// read of that.
    pub experts: Vec<(RegionId, Weights)>,
}

/// A KV region that a stage reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvRegionRead {
    /// Which region.
    pub region: RegionId,
    /// K and V of one token.
    pub token_bytes: Bytes,
    /// How many tokens attend to it: 1 where its sequence decodes, those of a chunk of its prompt.
    pub queries: usize,
}

impl StageReads {
    /// What is laid out in bytes: weights, experts and state, with what they store and what the
    /// stage reads of that.
    pub fn divisible(&self) -> impl Iterator<Item = (RegionId, Weights)> + '_ {
        let state = |&(region, bytes): &(RegionId, Bytes)| (region, Weights::whole(bytes));
        self.weights.iter().chain(&self.experts).copied().chain(self.state.iter().map(state))
    }
}

impl Stage {
    /// What it reads of `regions`.
    #[must_use]
    pub fn reads_of(&self, regions: &Regions) -> StageReads {
        let mut reads = StageReads::default();
        for read in &self.reads {
            match (&regions.region(read.region).contents, read.amount) {
                (Contents::Weights { weights, .. }, Amount::Evenly(bytes)) => {
                    reads.weights.push((read.region, Weights { read: bytes, ..*weights }));
                }
                (Contents::State { bytes, .. }, Amount::Whole) => reads.state.push((read.region, *bytes)),
                (&Contents::Kv { token_bytes, .. }, Amount::Unskipped { queries }) => {
                    reads.kv.push(KvRegionRead { region: read.region, token_bytes, queries });
                }
                (Contents::Experts(experts), Amount::Routed { expected }) => {
                    reads.experts.push((read.region, Weights { read: expected, ..Weights::whole(experts.stored()) }));
                }
                (contents, amount) => unreachable!("{amount:?} is no read of {contents:?}"),
            }
        }
        reads
    }
}

/// A read of one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Which region.
    pub region: RegionId,
    /// How much of it.
    pub amount: Amount,
}

/// How much of a region a stage reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many bytes, spread evenly over what is stored: of weights.
    Evenly(Bytes),
    /// All that is stored: of state.
    Whole,
    /// The pages that the step's skip set of the region does not hold: of KV. So many tokens attend
    /// to them; they are read once.
    Unskipped {
        /// How many.
        queries: usize,
    },
    /// The experts that the step's tokens are routed to: those that its skip set of the region does
    /// not hold.
    Routed {
        /// How many bytes that is expected to be.
        expected: Bytes,
    },
}

/// KV that a stage appends to a region. The KV that leaves the region's window for it is freed
/// first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Append {
    /// Which region.
    pub region: RegionId,
    /// How many tokens.
    pub tokens: usize,
}

/// KV that no step reads any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Free {
    /// All of a region: its sequence has ended. It may be used for another sequence from then on.
    Region(RegionId),
    /// The pages of a region whose tokens all come before that token: they have left the window of
    /// its attention. The skip sets of later steps hold them.
    Before(RegionId, Token),
}

/// KV that comes to a region without being computed or written: the prompt of a sequence that
/// begins. It lies where the placement puts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Which region.
    pub region: RegionId,
    /// How many tokens.
    pub tokens: usize,
}

/// One step, as a [`Workload`] hands it to the engine.
#[derive(Clone, Debug)]
pub struct StepPlan {
    /// Its number, from 0.
    pub step: Step,
    /// The tokens before it, as reports count them: of the longest sequence.
    pub context: usize,
    /// The sequences that it decodes, and the parts of prompts that it computes.
    pub batch: Arc<StepBatch>,
    /// What is given up before it begins.
    pub frees: Vec<Free>,
    /// What is there from its beginning on, at no cost.
    pub arrivals: Vec<Arrival>,
    /// Its stages, in the order in which they run. Steps that are alike share them.
    pub stages: Arc<[Stage]>,
    /// Whether no step follows: then there is nothing to migrate for.
    pub is_last: bool,
}

/// What comes next.
#[derive(Clone, Debug)]
pub enum Next {
    /// This step, at once.
    Step(StepPlan),
    /// Nothing before that time: what is in flight goes on.
    WaitUntil(SimTime),
    /// Nothing any more.
    End,
}

/// What is to be computed, step by step.
pub trait Workload {
    /// Everything that occupies memory.
    fn regions(&self) -> &Regions;

    /// The stages of a step as layouts presume them. They read all weights and all state: what they
    /// leave out may be laid out nowhere.
    fn stages(&self) -> &[Stage];

    /// What comes next at `now`, after `completed` (`None` before the first step). Called once at
    /// the start, once after each step, and once at the time that it asked to wait for.
    ///
    /// # Errors
    /// [`TraceError`] if the skip sets of the step cannot be read.
    fn next(&mut self, now: SimTime, completed: Option<Step>) -> Result<Next, TraceError>;

    /// The skip sets of the step that [`next`](Self::next) returned last, and of as many after it
    /// as a strategy may see: by region of KV, or of experts.
    fn window(&self) -> &SkipWindows;
}

impl<W: Workload + ?Sized> Workload for Box<W> {
    fn regions(&self) -> &Regions {
        (**self).regions()
    }

    fn stages(&self) -> &[Stage] {
        (**self).stages()
    }

    fn next(&mut self, now: SimTime, completed: Option<Step>) -> Result<Next, TraceError> {
        (**self).next(now, completed)
    }

    fn window(&self) -> &SkipWindows {
        (**self).window()
    }
}
