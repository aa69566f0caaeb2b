//! A runtime on a memory system, checked: what the engine and the bounds ask of it.

use super::check::{MOST_COPIES, RuntimeError, tier_named};
use super::config::{ReachClass, RuntimeConfig};
use super::curve::{Curve, reach};
use super::direct::{Direct, amplified};
use super::reads::{Pipeline, Reads};
use super::tier_compute::TierComputes;
use crate::memory::{MemorySystem, PerTier, Reach, TierId};
use crate::units::{Bytes, SimTime};
use crate::workload::{Amount, Format, Stage, StageLabel};

/// The harmonic mean of several formats' reaches is a multiple of 1 / this.
const MIXED_STEPS: f64 = 4096.0;

/// A runtime on a memory system, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Runtime {
    per_stage: SimTime,
    per_sequence: SimTime,
    per_step: SimTime,
    /// In each attention and mlp stage.
    all_reduce: SimTime,
    reaches: PerTier<TierReaches>,
    reads: Reads,
    computes: TierComputes,
    direct: Direct,
}

/// The rules that hold on a tier.
#[derive(Clone, Debug, Default, PartialEq)]
struct TierReaches {
    /// Of weights: of which format, or of all; the first that matches holds.
    weights: Vec<(Option<Format>, Curve)>,
    kv: Option<Curve>,
}

impl Runtime {
    /// Checks `config` for `system`.
    ///
    /// # Errors
    /// [`RuntimeError`], naming the field, the value and what to write instead.
    pub fn new(config: &RuntimeConfig, system: &MemorySystem) -> Result<Self, RuntimeError> {
        config.check()?;
        let mut reaches = PerTier::from_fn(system.tiers().len(), |_| TierReaches::default());
        for (index, rule) in config.reaches.iter().enumerate() {
            let tier = match &rule.tier {
                None => TierId::HBM,
                Some(name) => tier_named(name, system, || format!("reaches[{index}].tier"))?,
            };
            let curve = Curve::new(&rule.reach);
            match rule.class {
                ReachClass::Weights => reaches[tier].weights.push((rule.format, curve)),
                ReachClass::Kv if reaches[tier].kv.is_none() => reaches[tier].kv = Some(curve),
                ReachClass::Kv => {}
            }
        }
        let reads = Reads::new(config, system)?;
        let is_read_in_place = |tier: TierId| !reads.staged.contains(&tier);
        let is_direct = |tier: TierId| is_read_in_place(tier) && !reads.serial.contains(&tier);
        let direct = Direct::new(config, system, is_direct, is_read_in_place)?;
        let ranks = config.ranks.filter(|ranks| ranks.count > 1);
        Ok(Self {
            per_stage: config.per_stage,
            per_sequence: config.per_sequence,
            per_step: config.per_step,
            all_reduce: ranks.map_or(SimTime::ZERO, |ranks| ranks.all_reduce),
            reaches,
            reads,
            computes: TierComputes::new(config, system)?,
            direct,
        })
    }

    /// The runtime without costs, on a memory system of so many tiers.
    #[must_use]
    pub fn ideal(tiers: usize) -> Self {
        Self {
            per_stage: SimTime::ZERO,
            per_sequence: SimTime::ZERO,
            per_step: SimTime::ZERO,
            all_reduce: SimTime::ZERO,
            reaches: PerTier::from_fn(tiers, |_| TierReaches::default()),
            reads: Reads::default(),
            computes: TierComputes::default(),
            direct: Direct::default(),
        }
    }

    /// The tiers that compute.
    #[must_use]
    #[inline]
    pub fn computes(&self) -> &TierComputes {
        &self.computes
    }

    /// The tiers on which some reads do not reach all of the bandwidth, or may not.
    pub fn tiers_with_reaches(&self) -> impl Iterator<Item = TierId> + '_ {
        self.reaches.ids().filter(|tier| self.has_reaches(*tier))
    }

    /// Whether some reads on `tier` do not reach all of its bandwidth, or may not.
    #[must_use]
    pub fn has_reaches(&self, tier: TierId) -> bool {
        !self.reaches[tier].weights.is_empty() || self.reaches[tier].kv.is_some()
    }

    /// Whether all tiers are read in place, and at once.
    #[must_use]
    #[inline]
    pub fn reads_all_at_once(&self) -> bool {
        self.reads.serial.is_empty() && self.reads.staged.is_empty()
    }

    /// The tiers of which a stage begins to read when it has read all faster ones, the fastest
    /// first.
    pub fn serial_tiers(&self) -> impl Iterator<Item = TierId> + '_ {
        self.reads.serial.iter().copied()
    }

    /// The tiers that are copied into a buffer on the first tier, the fastest first.
    pub fn staged_tiers(&self) -> impl Iterator<Item = TierId> + '_ {
        self.reads.staged.iter().copied()
    }

    /// The tiers whose direct reads leave less of the first tier's bandwidth to kernels, and how
    /// much.
    #[must_use]
    pub fn interference(&self) -> &[(TierId, f64)] {
        &self.direct.interference
    }

    /// Whether more bytes may cross links than are needed.
    #[must_use]
    #[inline]
    pub fn amplifies(&self) -> bool {
        !self.direct.amplification.is_empty()
    }

    /// What crosses the link of `tier` when `tokens` share a read of so many weights from there.
    #[must_use]
    pub fn crossing_weights(&self, tier: TierId, tokens: usize, bytes: Bytes) -> Bytes {
        amplified(bytes, self.weights_amplification(tier, tokens))
    }

    /// By how much more weights cross the link of `tier` when `tokens` share a read.
    #[must_use]
    pub fn weights_amplification(&self, tier: TierId, tokens: usize) -> f64 {
        self.direct.amplification(tier, ReachClass::Weights, tokens)
    }

    /// What crosses the link of `tier` when `tokens` share a read of so much KV from there.
    #[must_use]
    pub fn crossing_kv(&self, tier: TierId, tokens: usize, bytes: Bytes) -> Bytes {
        amplified(bytes, self.direct.amplification(tier, ReachClass::Kv, tokens))
    }

    /// How each tier that is copied is, where copies go on ahead of their stages or chunk by chunk;
    /// none where every stage copies all that it needs itself, before it reads.
    #[must_use]
    #[inline]
    pub fn pipelines(&self) -> &[Pipeline] {
        &self.reads.pipelines
    }

    /// Checks that a step which copies all of `stored` bytes does so in no more than
    /// `MOST_COPIES` (2^20) copies.
    ///
    /// # Errors
    /// [`RuntimeError::Copies`].
    pub fn check_copies(&self, system: &MemorySystem, stored: Bytes) -> Result<(), RuntimeError> {
        for pipeline in self.pipelines() {
            let copies = stored.get().div_ceil(pipeline.most().get());
            if copies > MOST_COPIES {
                let name = system.tiers()[pipeline.tier.index()].name.clone();
                return Err(RuntimeError::Copies { name, copies, most: pipeline.most(), stored });
            }
        }
        Ok(())
    }

    /// Whether copies may begin before the stage that reads them.
    #[must_use]
    pub fn copies_ahead(&self) -> bool {
        self.reads.pipelines.iter().any(|pipeline| pipeline.ahead > 0)
    }

    /// Whether a stage reads in place only when its copies have arrived.
    #[must_use]
    #[inline]
    pub fn waits_for_copies(&self) -> bool {
        let waits = |pipeline: &Pipeline| pipeline.chunk.is_none();
        !self.reads.staged.is_empty() && (self.reads.pipelines.is_empty() || self.reads.pipelines.iter().any(waits))
    }

    /// Whether `tier` is copied into a buffer on the first tier.
    #[must_use]
    #[inline]
    pub fn is_staged(&self, tier: TierId) -> bool {
        self.reads.staged.contains(&tier)
    }

    /// The room that buffers take on the first tier.
    #[must_use]
    pub fn buffers(&self) -> Bytes {
        self.reads.buffers
    }

    /// The tier from which kernels read what lies on `tier`.
    #[must_use]
    pub fn read_from(&self, tier: TierId) -> TierId {
        if self.is_staged(tier) { TierId::HBM } else { tier }
    }

    /// Whether a stage begins to read `tier` when it has read all faster ones.
    #[must_use]
    #[inline]
    pub fn is_serial(&self, tier: TierId) -> bool {
        self.reads.serial.contains(&tier)
    }

    /// Whether stages or steps take fixed times.
    #[must_use]
    pub fn has_fixed_times(&self) -> bool {
        [self.per_stage, self.per_sequence, self.per_step, self.all_reduce].iter().any(|time| *time > SimTime::ZERO)
    }

    /// Adds its fixed times to the stages of a step of so many sequences: to each stage that reads
    /// something (the all-reduce to attention and mlp), and to the first what a step takes.
    pub fn charge(&self, stages: &mut [Stage], sequences: usize) {
        for (index, stage) in stages.iter_mut().enumerate() {
            let reads = stage.reads.iter().any(|read| read.amount != Amount::Evenly(Bytes::ZERO));
            stage.fixed += self.fixed(stage.label, reads, sequences as u64, index == 0);
        }
    }

    /// The fixed time of a stage of a step of so many sequences: by whether it reads anything, and
    /// whether it is the first of the step.
    #[must_use]
    pub fn fixed(&self, label: StageLabel, reads: bool, sequences: u64, is_first: bool) -> SimTime {
        let mut fixed = SimTime::ZERO;
        if reads {
            fixed += self.per_stage + self.per_sequence.times(sequences);
            if matches!(label, StageLabel::Attention | StageLabel::Mlp) {
                fixed += self.all_reduce;
            }
        }
        if is_first {
            fixed += self.per_step;
        }
        fixed
    }

    /// The reach of a read of these weights from `tier`: of so many bytes of each format.
    #[must_use]
    pub fn weights_reach(&self, tier: TierId, pieces: &[(Option<Format>, Bytes)]) -> Reach {
        if self.reaches[tier].weights.is_empty() {
            return Reach::FULL;
        }
        let all: Bytes = pieces.iter().map(|(_, bytes)| *bytes).sum();
        let mut shares = pieces
            .iter()
            .filter(|(_, bytes)| *bytes > Bytes::ZERO)
            .map(|(format, bytes)| (self.weights_share(tier, *format, all), bytes.as_f64()));
        let Some((first, of_first)) = shares.next() else { return Reach::FULL };
        let (mut is_one, mut time) = (true, of_first / first);
        for (share, bytes) in shares {
            is_one &= share == first;
            time += bytes / share;
        }
        if is_one {
            return reach(first);
        }
        reach((all.as_f64() / time * MIXED_STEPS).floor() / MIXED_STEPS)
    }

    /// The share of the bandwidth of `tier` that weights of `format` reach where a stage reads
    /// `bytes` of weights from it.
    #[must_use]
    pub fn weights_share(&self, tier: TierId, format: Option<Format>, bytes: Bytes) -> f64 {
        self.weights_curve(tier, format).map_or(1.0, |curve| curve.at(bytes))
    }

    /// The reach of a read of so many bytes of KV from `tier`.
    #[must_use]
    #[inline]
    pub fn kv_reach(&self, tier: TierId, bytes: Bytes) -> Reach {
        self.reaches[tier].kv.as_ref().map_or(Reach::FULL, |curve| reach(curve.at(bytes)))
    }

    /// The most of the bandwidth of `tier` that weights of `format` reach where a stage reads up to
    /// `bytes` of weights from it.
    #[must_use]
    pub fn most_weights_share(&self, tier: TierId, format: Option<Format>, bytes: Bytes) -> f64 {
        self.weights_curve(tier, format).map_or(1.0, |curve| curve.most_up_to(bytes))
    }

    /// The most of the bandwidth of `tier` that reads of up to `bytes` of KV reach.
    #[must_use]
    #[inline]
    pub fn most_kv_share(&self, tier: TierId, bytes: Bytes) -> f64 {
        self.reaches[tier].kv.as_ref().map_or(1.0, |curve| curve.most_up_to(bytes))
    }

    /// Whether the KV of any tier has a reach.
    #[must_use]
    pub fn has_kv_reaches(&self) -> bool {
        self.reaches.values().any(|tier| tier.kv.is_some())
    }

    /// The least share that any read reaches.
    #[must_use]
    pub fn least_share(&self) -> f64 {
        let of_tier = |tier: &TierReaches| {
            let curves = tier.weights.iter().map(|(_, curve)| curve).chain(&tier.kv);
            curves.map(Curve::least).fold(1.0, f64::min)
        };
        let cores = self.computes.iter().map(|of| of.reach.share());
        self.reaches.values().map(of_tier).chain(cores).fold(1.0, f64::min)
    }

    fn weights_curve(&self, tier: TierId, format: Option<Format>) -> Option<&Curve> {
        let matches = |rule: &&(Option<Format>, Curve)| rule.0.is_none() || rule.0 == format;
        self.reaches[tier].weights.iter().find(matches).map(|(_, curve)| curve)
    }
}
