//! Requests to a serving engine: which arrive when, and what the engine computes in each step.
//!
//! * [`RequestsConfig`] is what a person typed: a log file or a generator, how fast its requests
//!   arrive, and how the engine schedules them. [`Requests`] is what the scheduler trusts.
//! * A [`Request`] has an arrival time, a prompt, an output length and the prefix blocks of its
//!   prompt: prompts that begin alike share blocks.
//! * The [`Scheduler`] decides step by step, as vLLM's V1 engine does, which requests decode, which
//!   parts of prompts are computed, who waits and who is preempted, and which KV moves between
//!   tiers. It knows no bandwidths: it asks for moves and is called when they complete.
//! * A [`ServingStep`] is the data of one step. An engine needs nothing else to simulate it.
//! * A [`RequestsWorkload`] is the same as a [`Workload`](super::Workload): for the engine of runs.

mod config;
mod error;
mod gathered;
mod generate;
mod goals;
mod log;
mod policy;
mod rate;
mod request;
mod scheduler;
mod workload;

pub use config::{
    CacheConfig, ExternalKv, KvConfig, LimitsConfig, MovePriority, Preemption, QueueOrder, RequestsConfig,
    SourceConfig, StoredBlocks, WriteBack,
};
pub use error::RequestsError;
pub use generate::{ArrivalsConfig, GeneratedConfig, LengthConfig, PrefixesConfig};
pub use goals::GoalsConfig;
pub use log::LogFormat;
pub use rate::RateConfig;
pub use request::{Request, Requests};
pub use scheduler::{
    Decision, KvMove, KvRoom, MoveKind, Rejection, RequestRecord, Scheduler, ServingStep, StepPart, WhenMoved,
};
pub use workload::RequestsWorkload;
