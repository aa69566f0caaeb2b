//! tiersim answers one question: *my model and its KV cache do not fit in HBM; where should the
//! data be placed, what should move, and what will it cost, in time?*
//!
//! It is a discrete-event simulator of LLM decode over tiered memory. Each decode step reads every
//! layer's weights and the KV cache of the tokens that attention does not skip, from HBM and from
//! external memory concurrently; it writes one token's KV; and it moves KV between the tiers in the
//! background. Each of these is a transfer that occupies lanes and shares them with other
//! transfers, simulated to the picosecond.
//!
//! # The model in one page
//! * The data lies in [`memory`] *tiers*: HBM (fast, small) and external memory (slower, large,
//!   behind a *link*). A tier's channels and each direction of a link are *lanes*; a lane's
//!   efficiency depends on what it carries. A *transfer* holds all lanes of its route at once;
//!   transfers share a lane by the system's *arbitration*: `fair`, `priority` or `fifo`.
//! * A step is a list of *stages*, which run in order: `attention`, `mlp`, `attention`, ... A stage
//!   issues its reads on all tiers at its start and ends when all have arrived. The KV write after
//!   attention is posted: only the next step's read of that token waits for it. The list comes from
//!   a [`workload`].
//! * A *runtime* says what the software costs: fixed times in which a stage reads nothing, and the
//!   *reach* of its kernels, the share of a tier's bandwidth that they get.
//! * What occupies memory is a *region*: a piece of the weights, the KV of one sequence in one
//!   layer, in pages, or the state of a recurrent layer. KV that has left its layer's attention
//!   window is freed.
//! * A [`strategy`] has three independent parts: the layout at the start (*initialization*), where
//!   new KV goes (*placement*), and what moves between steps (*migration*).
//! * Requests may arrive over time: a scheduler decides which of them each step computes, and which
//!   KV is loaded, stored or swapped; these moves share the lanes with the steps' reads.
//! * *alpha* is HBM's share of the bytes read. Reads are fastest when each tier serves bytes in
//!   proportion to its bandwidth, at the *best ratio*. Alpha shows where bytes lie; only time shows
//!   whether getting them there was worth it.
//! * The *bound* of a step is the least time that any placement could give. No run beats it, so
//!   `achieved_over_bound` shows what is left to gain.
//!
//! # Words
//! | word | meaning |
//! | --- | --- |
//! | tier | one kind of memory with its channels and, if it is external, its link |
//! | runtime | what one piece of software and its kernels achieve on a machine |
//! | reach | the share of a tier's bandwidth that a kernel reads at |
//! | lane | what transfers share: a channel's bus, or one direction of a link |
//! | granule | the number of contiguous bytes that one channel serves; efficiency depends on it |
//! | skip set | the tokens whose KV sparse attention does not read, in one layer and step |
//! | churn | the share of a skip set that is exchanged from one step to the next |
//! | alpha | HBM's share of the weight and KV bytes read |
//! | best ratio | HBM's share of all read bandwidth: the alpha at which reads are fastest |
//! | bound | the least time of a step under any placement, migration free |
//! | late token | a token that is read at the source of a move that was meant to have arrived |
//! | step | a pass over the model: a token of each sequence that decodes, and parts of prompts |
//! | tokens/s | the tokens that come out, of all sequences, over the time of the steps |
//! | TPOT | the time between two tokens of a sequence |
//! | TTFT | the time from the start of a sequence, or its request's arrival, to its first token |
//! | prefix block | so many tokens of a prompt that prompts which begin alike share |
//! | goodput | the requests a second that meet given limits on TTFT, TPOT or end-to-end time |
//! | oracle | a strategy that sees future steps, as no real system does |
//!
//! # An example
//! The study's model and memory for 16 tokens: with all of it in HBM, and spread at the best ratio.
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
//! # A decision of one's own
//! A machine and a model from files, a sweep over both, and which machine wins where.
//!
//! ```
//! use tiersim::decision::{Asked, Asking, By, Question, decide, from_results};
//! use tiersim::runs::{Cancel, Resources, Silent};
//! use tiersim::simulation::ScenarioConfig;
//! use tiersim::sweep::{AxisConfig, Plan, Results, SweepConfig, run_all};
//!
//! let mut question = Question::new(ScenarioConfig::load("study")?);
//! question.choose = vec![Asked::list("memory", ["tests/data/hbm96-c2c.ron", "h200-pcie"])];
//! question.given = vec![Asked::list("model", ["tests/data/pieces.ron"]), Asked::list("batch", [1, 2])];
//! let (resources, cancel) = (Resources::new(Some(1), None), Cancel::new(false));
//! let decision = decide(&question, resources, &cancel, &Silent)?;
//! println!("{}", decision.answer[0]);
//! for it in &decision.circumstances {
//!     assert!(it.ranking[0].value <= it.ranking[1].value);
//! }
//!
//! // The same of a sweep: its results can be asked for other figures as well.
//! let axes = question.choose.iter().chain(&question.given).map(|asked| asked.axis.clone()).collect();
//! let plan = Plan::new(SweepConfig::of("own".to_owned(), question.base.clone(), axes))?;
//! let rows = run_all(&plan, resources, &cancel, &|| ())?;
//! let results = Results::of(plan, rows);
//! let again = from_results(&results, &Asking::of(&results, &[], &[], By::tpot())?)?;
//! assert_eq!(again.circumstances.len(), decision.circumstances.len());
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
//! | [`workload`] | which regions does a step read, stage by stage, and which tokens does it skip? |
//! | [`strategy`] | where are bytes placed, what moves, and what is the best possible? |
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
//! | [`planner`] | which layout, way of reading and strategy are fastest, and how fast? |
//! | [`decision`] | which choice wins in which circumstances, and where does the winner change? |
//! | [`explore`] | what does a page show that answers while its reader plays? |
//! | [`validation`] | how far are simulated times from measured ones? |
//! | [`cli`] | what can be asked for on the command line? |
//!
//! # Where things are added
//! | a new ... | is one place |
//! | --- | --- |
//! | kind of stage | a line in `StageLabel` (`workload/label.rs`); the workload that makes such stages |
//! | number format | a line in the table of `workload/format.rs` |
//! | kind of attention | a variant in `workload/architecture/config.rs` and its tensors in `attention.rs` beside it |
//! | model, batch or schedule | a [`Workload`](workload::Workload) in a file of its own |
//! | initialization, placement, migration | a file of its own and a line in its folder's list |
//! | cause of delay of requests | a variant of `ServingIdeal`, its words in `explain/serving.rs` |
//! | format of a request log | a file in `workload/requests/log/`, a line in its `LogFormat` |
//! | column of `requests.csv` | a line in `report/requests/records.rs` |
//! | figure of a run | a line in the table of [`metrics::figures`] |
//! | column of `steps.csv` | a line in [`metrics::STEP_COLUMNS`] |
//! | flag that sets a scenario's field | a row of `FLAGS` in `cli/flags.rs` |
//! | model, memory system, runtime, link, DRAM part | a file in `models/`, a line in [`catalog`] |
//! | measured case | a row in `models/validation/` |
//! | family of published models | a line in `workload/huggingface/families/mod.rs` |
//! | method of quantized checkpoints | a line in `workload/huggingface/quantization/methods.rs` |
//! | format of recorded traces | a file in `workload/trace/` and a line in `recording.rs` |

#![forbid(unsafe_code)]

pub mod catalog;
pub mod cli;
pub mod config;
pub mod decision;
pub mod explain;
pub mod explore;
mod files;
pub mod kernel;
pub mod memory;
pub mod metrics;
pub mod planner;
pub mod replay;
pub mod report;
pub mod results;
pub mod runs;
pub mod simulation;
pub mod strategy;
pub mod study;
pub mod sweep;
pub mod units;
pub mod validation;
pub mod workload;
