//! tiersim answers one question: *my model and its KV cache do not fit in HBM; where should the bytes lie, what should
//! move, and what will it cost, in time?*
//!
//! It is a discrete-event simulator of LLM decode over tiered memory. Each decode step reads every layer's weights and
//! the KV cache of the tokens that attention does not skip, from HBM and from external memory at once; it writes one
//! token's KV; and it moves KV between the tiers in the background. Each of these is a transfer that takes lanes for a
//! time and shares them with the others, to the picosecond.
//!
//! # The model in one page
//! * The data lies in [`memory`] *tiers*: HBM (fast, small) and external memory (slower, large, behind a *link*). A tier's
//!   channels and each direction of a link are *lanes*; what a lane achieves of its peak depends on what it carries. A *transfer* holds all lanes of its route at once; transfers share a
//!   lane by the system's *arbitration*: `fair`, `priority` or `fifo`.
//! * A step runs the [`workload`]'s layers in order, attention then mlp. A *sublayer* issues its reads on all tiers at its
//!   start and ends when all have arrived. The KV write after attention is posted: only the next step's read of that
//!   token waits for it.
//! * A [`strategy`] has three independent parts: what lies where at the start (*initialization*), where new KV goes
//!   (*placement*), and what moves between steps (*migration*).
//! * *alpha* is HBM's share of the bytes read. Reads are fastest when each tier serves bytes in proportion to its
//!   bandwidth, at the *best ratio*. Alpha says where bytes lie; only time says whether getting them there was worth it.
//! * The *bound* of a step is the least time that any placement could give. No run beats it, so
//!   `achieved_over_bound` says what is left to gain.
//!
//! # An example
//! The study's model and memory for 16 tokens: with all of it on HBM, and spread at the best ratio.
//!
//! ```
//! use tiersim::metrics::Recorder;
//! use tiersim::simulation::{Scenario, ScenarioConfig, run};
//!
//! let mut nanoseconds = Vec::new();
//! for strategy in ["baseline", "best-ratio"] {
//!     let mut config = ScenarioConfig::load("study")?;
//!     config.decode_tokens = 16;
//!     config.strategy = strategy.parse()?;
//!     let scenario = Scenario::new(config)?;
//!
//!     let mut recorder = Recorder::new(&scenario);
//!     let outcome = run(&scenario, &mut recorder)?;
//!     let summary = recorder.finish(&scenario, &outcome).summary;
//!
//!     assert!(summary.complete);
//!     assert!(summary.bound.achieved_over_bound >= Some(1.0));
//!     nanoseconds.push(summary.simulated_ns);
//! }
//! // HBM alone reads at 4915 GB/s, both tiers together at 5815 GB/s: 18 % more.
//! let gain = nanoseconds[0] / nanoseconds[1];
//! assert!((1.15..1.19).contains(&gain), "{gain}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How the crate is laid out
//! In the order in which data flows; a module uses only what stands before it.
//!
//! | module | what it answers |
//! | --- | --- |
//! | [`units`] | what is a byte, a bandwidth, a time, and how is it read, printed and rounded? |
//! | [`config`] | how is a RON file read, and where in it is the fault? |
//! | `files` | how does a file appear whole, whatever happens meanwhile? |
//! | [`kernel`] | what happens next, and in which order at equal times? |
//! | [`memory`] | which lanes are there, who shares them, what is free? |
//! | [`workload`] | which bytes does a step read, which tokens does it skip? |
//! | [`strategy`] | what lies where, what moves, and what is the best possible? |
//! | [`catalog`] | what is shipped, and what does a name stand for? |
//! | [`simulation`] | how does a run unfold? |
//! | [`metrics`] | what is measured? |
//! | [`replay`] | what does the memory system do with other traffic, and how long does it take under load? |
//! | [`explain`] | why is a run as slow as it is? |
//! | [`report`] | how do results become files and pictures? |
//! | [`runs`] | how are many runs carried out, on how many threads, in how much memory? |
//! | [`results`] | how are results read back, and what do they say side by side? |
//! | [`study`] | which runs make the study, and what do they say? |
//! | [`sweep`] | what do grids of runs say: which cells, run how, kept where? |
//! | [`cli`] | what can be asked for on the command line? |

#![warn(missing_docs)]

pub mod catalog;
pub mod cli;
pub mod config;
pub mod explain;
mod files;
pub mod kernel;
pub mod memory;
pub mod metrics;
pub mod replay;
pub mod report;
pub mod results;
pub mod runs;
pub mod simulation;
pub mod strategy;
pub mod study;
pub mod sweep;
pub mod units;
pub mod workload;
