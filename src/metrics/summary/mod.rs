//! The figures of one run: the types behind `summary.json`.
//!
//! A [`Summary`] is both written and read back, and its JSON Schema is derived from these types
//! (their doc comments are its descriptions). The names and the order of the fields are a published
//! format: [`SCHEMA`](super::SCHEMA) counts its versions. Times are in nanoseconds, sizes in bytes,
//! shares from 0 to 1. Maps by tier, lane or class are [`Named`] lists, because their order means
//! something: the fastest tier comes first.

mod requests;

pub use requests::{GoodputSummary, HitTokens, MoveSummary, RequestsSummary};

use crate::simulation::{Hits, Prefetched, ScenarioConfig};
use crate::units::{Bytes, SizeStyle};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// The figures of one run, in the order and under the names of `summary.json`. Times are in
/// nanoseconds, sizes in bytes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// The version of this layout.
    pub schema: u32,
    /// The strategy's name.
    pub strategy: String,
    /// The knowledge of skip sets that the strategy needs: `realizable` (only past steps), `assumes
    /// a predictor of hit rate N %`, or `oracle: sees N steps`.
    #[serde(default)]
    pub knows: String,
    /// Whether the run got to its last step.
    pub complete: bool,
    /// The error that ended it early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How many steps were simulated to their end.
    pub steps: u64,
    /// From the start of the first step to the end of the last.
    pub simulated_ns: f64,
    /// Tokens a second of simulated time, of all sequences, over the steps that are measured: all,
    /// or those after `scenario.warmup_steps`. Tokens that are decoded count, and the first tokens,
    /// which come out of the steps that end prompts.
    #[serde(default)]
    pub tokens_per_s: Option<f64>,
    /// From the start of the first step to the end of the last transfer: posted writes and moves
    /// may go on after the last step. It is what `lanes` are counted over.
    #[serde(default)]
    pub drained_ns: f64,
    /// How many events were handled.
    pub events: u64,
    /// HBM's share of all read bandwidth.
    pub best_ratio: f64,
    /// HBM's share of the bytes read.
    pub alpha: AlphaSummary,
    /// Every tier's share of the bytes read: the mean over steps.
    pub read_share: Named<Option<f64>>,
    /// From a step's start to its end, of the steps that are measured.
    pub token_latency_ns: Option<Distribution>,
    /// TPOT: the time between two tokens of a sequence, over all sequences, of the tokens that come
    /// out of measured steps. The first decoded token counts from the first token of its sequence
    /// or, where its prompt is given, from the start of the step with which the sequence begins.
    /// Absent for one sequence whose prompt is given: its TPOT is `token_latency_ns`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tpot_ns: Option<Distribution>,
    /// TTFT: from the start of the step with which a sequence begins to the end of the step that
    /// ends its prompt, waiting for other prompts included; over the sequences whose prompts end in
    /// measured steps. Absent where prompts are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_ns: Option<Distribution>,
    /// By group of sequences, in the order of the scenario. Absent for one sequence whose prompt is
    /// given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sequences: Vec<SequencesSummary>,
    /// From a layer's start to its end.
    pub layer_latency_ns: Option<Distribution>,
    /// By class.
    pub transfers: Named<TransferSummary>,
    /// The most in use on each tier at any moment.
    pub peak_bytes: Named<u64>,
    /// The capacity of each tier.
    pub capacity_bytes: Named<u64>,
    /// The layout of the bytes at the start and at the end. Not in the summaries of earlier
    /// versions.
    #[serde(default)]
    pub layout: Option<LayoutSummary>,
    /// The time spent waiting for each tier and for compute. Not in the summaries of earlier
    /// versions.
    #[serde(default)]
    pub waits: Option<WaitsSummary>,
    /// By lane, over `drained_ns`: the bytes of a lane are its utilization times its bandwidth
    /// times `drained_ns`.
    pub lanes: Named<LaneSummary>,
    /// KV of skipped tokens that was read with the rest of their pages.
    #[serde(default)]
    pub read_beyond_bytes: u64,
    /// The same as a share of the KV that the trace asks for: 0.02 is 2 % more than that.
    #[serde(default)]
    pub read_beyond_share: f64,
    /// Migration between steps.
    pub migration: MigrationSummary,
    /// What was found in the first tier, and what was fetched; only where the migration is a cache
    /// or something prefetches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheSummary>,
    /// The experts that were read, where experts are units: those found in the first tier, and the
    /// others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experts: Option<HitsSummary>,
    /// The lower bound on the time over all placements; empty where requests are served.
    pub bound: BoundSummary,
    /// The requests of a run that serves requests. There `tpot_ns` is of every token, and
    /// `requests.tpot_ns` of each request's mean; `ttft_ns` counts from its arrival.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<RequestsSummary>,
    /// The CRC-32 checksums (8 hexadecimal digits) of the files of the same run that are read back
    /// with this one, by name: a folder with other files is of several runs.
    #[serde(default, skip_serializing_if = "Named::is_empty")]
    pub files: Named<String>,
    /// The whole resolved input, from which `tiersim run` repeats the run.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub scenario: ScenarioConfig,
}

impl Summary {
    /// How many steps are measured: those after the warm-up.
    #[must_use]
    pub fn measured_steps(&self) -> u64 {
        self.steps.saturating_sub(u64::from(self.scenario.warmup_steps))
    }

    /// Whether it decodes one sequence whose prompt is given: every token takes a step.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.sequences.is_empty() && self.requests.is_none()
    }

    /// TPOT over all sequences; of one sequence whose prompt is given the latency of a step.
    #[must_use]
    pub fn tpot(&self) -> Option<Distribution> {
        if self.is_single() { self.token_latency_ns } else { self.tpot_ns }
    }

    /// How many sequences it decodes.
    #[must_use]
    pub fn count_sequences(&self) -> u64 {
        if let Some(requests) = &self.requests {
            return requests.arrived;
        }
        self.sequences.iter().map(|group| group.count).sum::<u64>().max(1)
    }

    /// How many tokens it decodes if it is complete, of all sequences.
    #[must_use]
    pub fn decoded_tokens(&self) -> u64 {
        if let Some(requests) = &self.requests {
            return requests.output_tokens;
        }
        if self.is_single() {
            return self.steps;
        }
        self.sequences.iter().map(|group| group.count * group.decode_tokens).sum()
    }

    /// What a complete run does, as the verb of a sentence: `decodes 320 tokens of 8 sequences`.
    #[must_use]
    pub fn work(&self) -> String {
        if let Some(requests) = &self.requests {
            return format!("serves {} requests of {} output tokens", requests.arrived, requests.output_tokens);
        }
        let (tokens, count) = (self.decoded_tokens(), self.count_sequences());
        let prompts = self.sequences.iter().filter(|group| group.prefill_tokens > 0).map(|group| group.count).sum();
        let timed = !self.scenario.prefill.is_given();
        match (count, if timed { prompts } else { 0 }) {
            (1, 0) => format!("decodes {tokens} tokens"),
            (count, 0) => format!("decodes {tokens} tokens of {count} sequences"),
            (1, _) => format!("computes its prompt and decodes {tokens} tokens"),
            (count, prompts) => format!("computes {prompts} prompts and decodes {tokens} tokens of {count} sequences"),
        }
    }

    /// The KV that was read only because it shares pages with tokens that the trace asks for, as a
    /// share of the KV that the trace asks for.
    #[must_use]
    pub fn read_beyond_share(&self) -> Option<f64> {
        let read: u64 = self.transfers.get("KvRead")?.bytes.0.iter().map(|(_, bytes)| bytes).sum();
        let asked = read.checked_sub(self.read_beyond_bytes).filter(|asked| *asked > 0)?;
        Some(self.read_beyond_bytes as f64 / asked as f64)
    }

    /// The strategy's name as tables, legends and sentences show it; an oracle's name includes how
    /// many future steps it sees.
    #[must_use]
    pub fn label(&self) -> String {
        self.scenario.strategy.knowledge().label(&self.strategy)
    }

    /// The units in which the capacity of its first tier was most likely typed, for all sizes that
    /// are shown of it.
    #[must_use]
    pub fn size_style(&self) -> SizeStyle {
        self.capacity_bytes.0.first().map_or(SizeStyle::Binary, |(_, bytes)| Bytes::new(*bytes).style())
    }

    /// The time over that of `first`, where both runs got to their end.
    #[must_use]
    pub fn time_against(&self, first: &Self) -> Option<f64> {
        let comparable = self.complete && first.complete && first.simulated_ns > 0.0;
        comparable.then(|| self.simulated_ns / first.simulated_ns)
    }
}

/// Alpha over the steps: means are unweighted. `None` where nothing was read.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub struct AlphaSummary {
    pub mean: Option<f64>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub first: Option<f64>,
    pub last: Option<f64>,
    pub attention: StageAlpha,
    pub mlp: StageAlpha,
    /// Of a model that has an embedding stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding: Option<StageAlpha>,
    /// Of a model that has a head stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<StageAlpha>,
}

/// Alpha of the stages of one kind.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub struct StageAlpha {
    pub mean: Option<f64>,
    pub last: Option<f64>,
}

/// A distribution of times, in nanoseconds. Percentiles have 3 significant digits; the others are
/// exact.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub struct Distribution {
    pub mean: f64,
    pub min: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// A group of equal sequences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SequencesSummary {
    /// How many sequences it has.
    pub count: u64,
    /// The tokens of each prompt.
    pub prefill_tokens: u64,
    /// The tokens that each decodes.
    pub decode_tokens: u64,
    /// The step with which they begin.
    pub start_step: u64,
    /// How many decoded all of their tokens.
    pub finished: u64,
    /// Its tokens a second of simulated time, over all steps that are measured: the rates of the
    /// groups add up to that of the run.
    pub tokens_per_s: Option<f64>,
    /// TPOT of its sequences.
    pub tpot_ns: Option<Distribution>,
    /// TTFT of its sequences; absent where prompts are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_ns: Option<Distribution>,
}

/// The transfers of one class.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TransferSummary {
    /// How many completed in the steps that are measured: those that the distributions are of.
    pub count: u64,
    /// The bytes of all steps: by the tier read from or written to, for a migration its
    /// destination.
    pub bytes: Named<u64>,
    /// From issue to the last byte.
    pub latency_ns: Option<Distribution>,
    /// Queueing delay: latency minus the unloaded service time.
    pub queueing_ns: Option<Distribution>,
    /// For migrations: the time from the issue of the reads that a move was meant for to its
    /// completion, where it was late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lateness_ns: Option<Distribution>,
}

/// The layout of the bytes before the first step and when the run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LayoutSummary {
    /// Before the first step.
    pub start: StoredSummary,
    /// When the run ended.
    pub end: StoredSummary,
}

/// The layout of the bytes at one moment: by tier, in bytes and as shares of all. KV counts in
/// whole pages, and on the destination of a move; under inclusive residency a byte counts on the
/// tier that it is read from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StoredSummary {
    /// Stored weights.
    pub weights_bytes: Named<u64>,
    /// Each tier's share of the stored weights.
    pub weights_share: Named<Option<f64>>,
    /// KV.
    pub kv_bytes: Named<u64>,
    /// Each tier's share of the KV.
    pub kv_share: Named<Option<f64>>,
}

/// For how long stages waited, by what arrived last: the reads of a tier, or compute; and the fixed
/// times of the runtime. The times add up to `simulated_ns` of a complete run; where requests are
/// served with `requests.moves_ns` and `requests.idle_ns`. `tiersim explain` has the same by lane
/// and by cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WaitsSummary {
    /// By the tier whose reads arrived last.
    pub tiers_ns: Named<f64>,
    /// Where compute ended after all reads.
    pub compute_ns: f64,
    /// The fixed times of the runtime: kernel launches, synchronization. Absent where there are
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_ns: Option<f64>,
}

/// One lane.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LaneSummary {
    /// How long at least one transfer was active on it, of `drained_ns`.
    pub busy_ns: f64,
    /// The bytes that it carried.
    pub bytes: u64,
    /// The bytes that it carried over those that its bandwidth allows in `drained_ns`, from 0 to 1.
    pub utilization: f64,
    /// The bytes that it carried, by class.
    pub bytes_by_class: Named<u64>,
}

/// Migration between steps.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MigrationSummary {
    /// Bytes towards faster tiers, as they were issued.
    pub in_bytes: u64,
    /// Bytes towards slower tiers, as they were issued.
    pub out_bytes: u64,
    /// Tokens read at the source of a move that was not complete.
    pub late_tokens: u64,
    /// Bytes of these moves that were never carried, as they were late and the strategy drops late
    /// moves.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped_bytes: u64,
}

/// The first tier as a cache, over the steps that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CacheSummary {
    /// The KV that was read.
    pub kv: HitsSummary,
    /// What was prefetched within steps; only where something prefetches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefetch: Option<PrefetchSummary>,
}

/// Reads that found their pages (of experts: the experts) in the first tier, and those that did
/// not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HitsSummary {
    /// Pages read from the first tier.
    pub hits: u64,
    /// Pages read from other tiers: fetched on demand.
    pub misses: u64,
    /// The hits over all pages read; absent where nothing was read.
    pub hit_rate: Option<f64>,
    /// The bytes of the hits.
    pub hit_bytes: u64,
    /// The bytes of the misses.
    pub missed_bytes: u64,
}

impl From<Hits> for HitsSummary {
    fn from(of: Hits) -> Self {
        let all = of.hits + of.misses;
        Self {
            hits: of.hits,
            misses: of.misses,
            hit_rate: (all > 0).then(|| of.hits as f64 / all as f64),
            hit_bytes: of.hit_bytes.get(),
            missed_bytes: of.missed_bytes.get(),
        }
    }
}

/// The bytes of the pages that were prefetched within steps, by what came of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PrefetchSummary {
    /// All of them.
    pub issued_bytes: u64,
    /// Had arrived when they were read.
    pub useful_bytes: u64,
    /// Were read where they had been, as they had not arrived.
    pub late_bytes: u64,
    /// Were not read by the step that they were fetched for.
    pub wrong_bytes: u64,
}

impl From<Prefetched> for PrefetchSummary {
    fn from(of: Prefetched) -> Self {
        Self {
            issued_bytes: of.issued.get(),
            useful_bytes: of.useful.get(),
            late_bytes: of.late.get(),
            wrong_bytes: of.wrong.get(),
        }
    }
}

fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

impl MigrationSummary {
    /// Bytes moved either way: carried, whether their tokens arrived or not.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.in_bytes + self.out_bytes - self.dropped_bytes
    }
}

/// The bound of section 5 of the model over all steps.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BoundSummary {
    /// The sum of the steps' bounds.
    pub simulated_ns: f64,
    /// The run's time over that.
    pub achieved_over_bound: Option<f64>,
    /// The lower bound over all placements including the migration that they need; only where the
    /// scenario asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charged_ns: Option<f64>,
    /// The time of a complete run over that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub achieved_over_charged: Option<f64>,
}

/// Values by name, in a meaningful order.
#[derive(Clone, Debug, PartialEq)]
pub struct Named<T>(pub Vec<(String, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Named<T> {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&T> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

impl<T> FromIterator<(String, T)> for Named<T> {
    fn from_iter<I: IntoIterator<Item = (String, T)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl<T: Serialize> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Named_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        std::collections::BTreeMap::<String, T>::json_schema(generator)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Pairs<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("values by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Named(pairs))
            }
        }
        deserializer.deserialize_map(Pairs(PhantomData))
    }
}
