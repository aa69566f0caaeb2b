//! A bound on a whole run that pays for the bytes that must move.
//!
//! The bound of a step lets everything lie where that step would have it. Here a token that lies on
//! another tier in the next step has been carried there, over the lanes that demand reads use too.
//! A run of T takes at least what each of its lanes carried over what that lane can carry, so for
//! any weights w of lanes that sum to 1 or less
//!
//! > T >= (1 - sum of w) T + sum over lanes of w * bytes carried / bandwidth.
//!
//! The right side is a sum over stretches of steps. Each is a linear program, whose least value is
//! taken: where weights and tokens lie in each step (weights where they lay all along), what is
//! carried between two steps, within capacity; a stage takes as long as its slowest tier and no
//! less than its compute. Tokens of a stretch that are read in the same steps of it are one
//! quantity, and so are stages that are alike. At the start of a stretch everything lies where it
//! is best, free of charge; so the longer stretches are, the higher the bound. The weights are
//! those that give the highest bound of a few stretches.
//!
//! What is left out, so that it stays a lower bound: KV writes, latencies, losses beyond those of
//! long reads, which moves are ready in time.
//!
//! | file | question |
//! | --- | --- |
//! | `mod.rs` | what is the bound of a run? |
//! | `stretch.rs` | which tokens of a stretch are read in the same steps? |
//! | `program.rs` | what does a stretch cost at least? |
//! | `lanes.rs` | which lane carries what? |

mod lanes;
mod program;
mod stretch;

use super::stage::BoundStage;
use super::{StepBound, TierBound, lower_bound, tolerance};
use crate::memory::{MemorySystem, ResidencyKind};
use crate::units::{PageSize, RegionId, SimTime, Table};
use crate::workload::{Lengths, Regions, Roofline, Runtime, SkipSource, Stage, StageFlop, TraceError};
use lanes::{LaneUse, lanes};
use stretch::Stretch;

/// A bound on a whole run that pays for the bytes that must move.
#[derive(Clone, Debug)]
pub struct ChargedBound {
    stretch: usize,
    steps: StepBound,
    /// By tier, bytes.
    capacity: Vec<f64>,
    /// By tier, what it can be read at, in bytes a picosecond.
    bandwidth: Vec<f64>,
    roofline: Option<Roofline>,
    overlap: bool,
    /// How many tokens of the context the attention of each layer sees.
    windows: Vec<usize>,
    /// How many tokens each sequence has before the first step.
    prompts: Vec<usize>,
    /// For each KV region the kinds of the stages that read it.
    kinds_of: Table<RegionId, Vec<usize>>,
    kinds: Vec<StageKind>,
    lanes: Vec<LaneUse>,
    tolerance: f64,
}

/// Stages that store, read and compute the same.
#[derive(Clone, Debug, PartialEq)]
struct StageKind {
    /// How many.
    count: f64,
    /// Of each piece of its weights, and each state: bytes stored and read.
    weights: Vec<(f64, f64)>,
    /// How many of these bytes, read, are state.
    state: f64,
    /// Of a token, in all regions that it reads.
    kv_bytes: f64,
    /// How many stages read the same KV: a byte of it takes its part of the room for each.
    readers: f64,
    flop: StageFlop,
    /// Of how many tokens.
    tokens: usize,
    /// In picoseconds.
    fixed: f64,
}

/// The solver's error, relative to the whole.
const SOLVER_ERROR: f64 = 1e-6;
/// How many stretches the weights of lanes are chosen by.
const SAMPLES: usize = 6;
/// The shares that are tried.
const SHARES: [f64; 4] = [0.1, 0.3, 0.6, 1.0];
/// How often a share is given at most.
const MOST_ROUNDS: usize = 4;

/// Which bounds a run is held against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum BoundKind {
    /// That of each step, which lets migration be free.
    #[default]
    Free,
    /// That of the run as a whole besides, which pays for what must move.
    Charged,
}

/// What has no charged bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ChargedError {
    #[error(
        "bound: Charged is for exclusive residency, as under inclusive residency moving out costs nothing: use Free"
    )]
    Inclusive,
    #[error(
        "bound: Charged is for sequences that all decode from the first step to the last, but some of the {0} begin later, end earlier or have prompts that are computed: let all be given, begin with step 0 and decode as many tokens, or use bound: Free"
    )]
    Sequences(usize),
    #[error("bound: Charged is for tokens that are kept one by one, but page_tokens is {0}: use 1, or bound: Free")]
    Pages(usize),
    #[error(
        "bound: Charged is for runs in which a step reads what it copies itself, but copies of staged tiers (reads) begin ahead of their stages: use ahead: 0, or bound: Free"
    )]
    Ahead,
    #[error(
        "bound: Charged is for KV that moves, but with `routing` experts are units that may move as well: leave routing \
         out, or use bound: Free"
    )]
    Experts,
    #[error(
        "bound: Charged is for KV that is one region of each layer, but kv_groups divides it: leave kv_groups out, or use bound: Free"
    )]
    KvGroups,
}

impl ChargedBound {
    /// How many steps a stretch has: the programs grow with two to this power.
    const STRETCH: usize = 4;

    /// For steps of `stages` on `system`; `overlap` as for [`StepBound::new`].
    ///
    /// # Errors
    /// [`ChargedError`] for inclusive residency, sequences that do not all decode from the first
    /// step to the last, pages of several tokens, and copies ahead of their stages.
    pub fn new(
        stages: &[Stage],
        regions: &Regions,
        system: &MemorySystem,
        runtime: &Runtime,
        roofline: Option<Roofline>,
        overlap: bool,
        page_size: PageSize,
    ) -> Result<Self, ChargedError> {
        let lengths: Vec<Lengths> = regions.lengths().step_by(regions.per_sequence().max(1)).collect();
        let is_alike =
            |of: &Lengths| of.at_start == of.prompt && of.most - of.prompt == lengths[0].most - lengths[0].prompt;
        if !lengths.iter().all(is_alike) {
            return Err(ChargedError::Sequences(regions.sequences()));
        }
        if regions.groups() > 1 {
            return Err(ChargedError::KvGroups);
        }
        if page_size != PageSize::TOKEN {
            return Err(ChargedError::Pages(page_size.tokens()));
        }
        if runtime.copies_ahead() {
            return Err(ChargedError::Ahead);
        }
        if system.residency() == ResidencyKind::Inclusive {
            return Err(ChargedError::Inclusive);
        }
        let mut kinds_of = Table::filled(regions.paged_len(), Vec::new());
        let mut kinds = Vec::<StageKind>::new();
        let of_stages = BoundStage::all(stages, regions, system.tiers().len(), runtime);
        for stage in &of_stages {
            let kind = StageKind {
                count: 1.0,
                weights: stage
                    .weights
                    .iter()
                    .map(|piece| (piece.stored, piece.read))
                    .chain(stage.state.iter().map(|(_, bytes)| (*bytes, *bytes)))
                    .collect(),
                state: stage.state_read(),
                kv_bytes: stage.kv.iter().map(|kv| kv.token_bytes).fold(0.0, f64::max),
                readers: stage.kv.iter().map(|kv| kv.readers).fold(1.0, f64::max),
                flop: stage.flop,
                tokens: stage.tokens,
                fixed: stage.fixed,
            };
            let known = kinds.iter().position(|known| StageKind { count: 1.0, ..known.clone() } == kind);
            let place = known.unwrap_or_else(|| {
                kinds.push(StageKind { count: 0.0, ..kind });
                kinds.len() - 1
            });
            kinds[place].count += 1.0;
            let regions = stage.kv.iter().flat_map(|kv| &kv.regions);
            regions.for_each(|region| kinds_of[*region].push(place));
        }
        let per_second = SimTime::PS_PER_SECOND as f64;
        Ok(Self {
            stretch: Self::STRETCH,
            steps: StepBound::new(stages, regions, system, runtime, roofline, overlap),
            capacity: system.tiers().iter().map(|tier| tier.capacity.as_f64()).collect(),
            bandwidth: system.tiers().iter().map(|tier| tier.wire_bandwidth.as_f64() / per_second).collect(),
            roofline,
            overlap,
            windows: regions.windows().take(regions.per_sequence()).collect(),
            prompts: lengths.iter().map(|of| of.prompt).collect(),
            kinds_of,
            lanes: lanes(system),
            kinds,
            tolerance: tolerance(system, runtime, &of_stages),
        })
    }

    /// The same on a system of which these tiers compute: those of the runtime. Beside what the
    /// chip reads of such a tier, its cores read; what they read crosses no link, and what they
    /// compute the chip does not. That serial parts follow the chip's is left to the bounds of the
    /// steps.
    #[must_use]
    pub fn with_tiers(mut self, tiers: Vec<TierBound>) -> Self {
        for of in &tiers {
            let tier = of.tier.index();
            let wire = self.bandwidth[tier];
            self.bandwidth[tier] = (wire + of.cores).min(of.bus).max(wire);
            self.lanes.iter_mut().for_each(|lane| lane.reads[tier] = false);
            self.roofline = None;
        }
        self.steps = self.steps.with_tiers(tiers);
        self
    }

    /// The least time of a run of so many steps over the skip sets of `sources`, one for each
    /// sequence, and the sum of the bounds of its steps, which let migration be free.
    ///
    /// # Errors
    /// [`TraceError`] if a trace cannot be read.
    pub fn of(
        &mut self,
        mut sources: impl FnMut() -> Result<Vec<Box<dyn SkipSource + Send>>, TraceError>,
        decode: usize,
    ) -> Result<(SimTime, SimTime), TraceError> {
        let count = decode.div_ceil(self.stretch);
        let every = count.div_ceil(SAMPLES).max(1);
        let mut samples = Vec::new();
        self.stretches(&mut sources()?, decode, |_, index, stretch| {
            // From the middle of each part, so that the first steps do not stand for all.
            if index % every == every / 2 || count == 1 {
                samples.push(stretch.clone());
            }
        })?;
        let weights = self.best_weights(&samples);
        let (mut total, mut free) = (0.0, 0.0);
        self.stretches(&mut sources()?, decode, |bound, _, stretch| {
            free += stretch.free;
            // Without a solution, what holds whatever the weights: the time of the steps, which are
            // there in full or in part.
            total += bound.least(stretch, &weights).unwrap_or((1.0 - weights.iter().sum::<f64>()) * stretch.free);
        })?;
        let charged = lower_bound(total, SOLVER_ERROR, self.tolerance * decode as f64);
        let free = SimTime::from_ps(free as u64);
        Ok((charged.max(free), free))
    }

    /// Weights of lanes whose bound over `samples` is high: from none on, a share of all is given
    /// to the one lane, or to none, that gains most by it, until nothing gains.
    fn best_weights(&self, samples: &[Stretch]) -> Vec<f64> {
        let value = |weights: &[f64]| -> f64 {
            samples.iter().map(|stretch| self.least(stretch, weights).unwrap_or(0.0)).sum()
        };
        let mut weights = vec![0.0; self.lanes.len()];
        let mut best = value(&weights);
        for _ in 0..MOST_ROUNDS {
            let given = |lane: Option<usize>, share: f64| -> Vec<f64> {
                let of = |(place, weight): (usize, &f64)| {
                    weight * (1.0 - share) + if lane == Some(place) { share } else { 0.0 }
                };
                weights.iter().enumerate().map(of).collect()
            };
            let lanes = (0..self.lanes.len()).map(Some).chain([None]);
            let tried =
                lanes.flat_map(|lane| SHARES.map(|share| given(lane, share))).map(|weights| (value(&weights), weights));
            let Some((found, next)) = tried.max_by(|a, b| a.0.total_cmp(&b.0)) else { break };
            if found <= best * (1.0 + 1e-6) {
                break;
            }
            (best, weights) = (found, next);
        }
        weights
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::memory::MemoryConfig;
    use crate::units::SequenceId;
    use crate::workload::{LanguageModel, ModelConfig, StepSkips, stages};
    use proptest::prelude::*;

    /// Skip sets by step, of one layer.
    struct Listed {
        steps: Vec<Vec<usize>>,
        next: usize,
    }

    impl SkipSource for Listed {
        fn next_step(&mut self, _context: usize, skips: &mut StepSkips) -> Result<(), TraceError> {
            let skipped = &self.steps[self.next];
            skips.sets[0].clear();
            skips.sets[0].extend(skipped.iter().copied());
            skips.counts[0] = skipped.len();
            self.next += 1;
            Ok(())
        }
    }

    /// Sequences of one layer that all decode so many steps after prompts of these lengths.
    #[derive(Clone, Copy)]
    struct Run {
        prompts: &'static [usize],
        steps: usize,
    }

    const ONE: Run = Run { prompts: &[3], steps: 4 };
    const TWO: Run = Run { prompts: &[1, 2], steps: 3 };

    impl Run {
        /// All tokens that there will be: sequence and place.
        fn tokens(self) -> Vec<(usize, usize)> {
            let of = |(sequence, prompt): (usize, &usize)| (0..prompt + self.steps).map(move |token| (sequence, token));
            self.prompts.iter().enumerate().flat_map(of).collect()
        }

        /// Those of them that have KV in a step, as bits.
        fn there(self, step: usize) -> usize {
            let there = |(_, (sequence, token)): &(usize, (usize, usize))| *token < self.prompts[*sequence] + step;
            self.tokens().into_iter().enumerate().filter(there).map(|(bit, _)| 1 << bit).sum()
        }

        /// The skip sets of each sequence: a token is read in a step if its bit is set.
        fn sources(self, read: &[usize]) -> Vec<Box<dyn SkipSource + Send>> {
            let of_sequence = |sequence: usize| {
                let skipped = |step: usize| {
                    let is_skipped = |(bit, (of, _)): &(usize, (usize, usize))| {
                        *of == sequence && (self.there(step) & !read[step]) >> bit & 1 == 1
                    };
                    self.tokens().into_iter().enumerate().filter(is_skipped).map(|(_, (_, token))| token).collect()
                };
                Box::new(Listed { steps: (0..self.steps).map(skipped).collect(), next: 0 })
                    as Box<dyn SkipSource + Send>
            };
            (0..self.prompts.len()).map(of_sequence).collect()
        }
    }

    fn bound(run: Run, capacity: usize, read: &[usize]) -> SimTime {
        let memory: MemoryConfig = config::parse(
            &format!(
                "(name: \"m\", tiers: [(name: \"hbm\", capacity: \"{capacity} MB\", bandwidth: \"10 TB/s\"), \
                 (name: \"external\", capacity: \"1 GB\", bandwidth: \"10 TB/s\", link: (read: \"1 GB/s\", write: \"10 TB/s\"))])"
            ),
            "memory",
        )
        .unwrap();
        let model: ModelConfig = config::parse(
            "(name: \"l\", layers: [(count: 1, attention: (stored: \"1 B\"), mlp: (stored: \"0 B\"), kv_bytes: \"1 MB\")])",
            "model",
        )
        .unwrap();
        let (memory, model) = (MemorySystem::new(&memory).unwrap(), LanguageModel::new(&model).unwrap());
        let length = |&prompt: &usize| Lengths { at_start: prompt, prompt, expected: prompt, most: prompt + run.steps };
        let regions = Regions::new(&model, &run.prompts.iter().map(length).collect::<Vec<_>>());
        let all: Vec<SequenceId> = SequenceId::all(run.prompts.len()).collect();
        let stages = stages(&model, &regions, &all);
        let mut bound =
            ChargedBound::new(&stages, &regions, &memory, &Runtime::ideal(2), None, false, PageSize::TOKEN).unwrap();
        bound.of(|| Ok(run.sources(read)), run.steps).unwrap().0
    }

    /// The fewest tokens that are read from external memory or carried from there, over all ways to
    /// keep up to `capacity` of them on HBM: where HBM and the way out take no time to speak of,
    /// what a run takes at least, in milliseconds.
    fn exhaustive(run: Run, capacity: usize, read: &[usize]) -> u32 {
        // By the set of tokens on HBM, what it took so far. At first, and when it is written, a
        // token may lie anywhere.
        let fits = |set: &usize, step: usize| set.count_ones() as usize <= capacity && *set & !run.there(step) == 0;
        let reads = |set: usize, step: usize| (run.there(step) & read[step] & !set).count_ones();
        let all = 1usize << run.tokens().len();
        let mut least: Vec<Option<u32>> = (0..all).map(|set| fits(&set, 0).then(|| reads(set, 0))).collect();
        for step in 1..run.steps {
            let mut next = vec![None; all];
            // What the step before has read is on the chip.
            let (there, on_chip) = (run.there(step - 1), run.there(step - 1) & read[step - 1]);
            for (set, place) in next.iter_mut().enumerate().filter(|(set, _)| fits(set, step)) {
                let moved = |before: usize| (set & !before & !on_chip & there).count_ones();
                let ways = least.iter().enumerate().filter_map(|(before, cost)| Some((*cost)? + moved(before)));
                *place = ways.min().map(|least| least + reads(set, step));
            }
            least = next;
        }
        least.into_iter().flatten().min().unwrap()
    }

    proptest! {
        #[test]
        fn it_is_the_exhaustive_optimum_of_small_runs(
            two: bool, capacity in 1usize..5, read in proptest::collection::vec(0usize..1 << 9, ONE.steps),
        ) {
            let run = if two { TWO } else { ONE };
            let least = f64::from(exhaustive(run, capacity, &read));
            let bound = bound(run, capacity, &read).as_ns() / 1e6;
            // HBM's own time is at most 9 MB a step at 10 TB/s.
            prop_assert!(bound >= least * (1.0 - 1e-5) && bound <= least + 4.0 * 9.0 * 1e-4 + 1e-5, "{} against {}", bound, least);
        }
    }

    #[test]
    fn what_must_move_is_paid_for() {
        // Two tokens take turns; HBM holds one. Free of charge each is on HBM when it is read; but
        // carrying it there takes as long as reading it where it is.
        let turns = [0b01, 0b10, 0b01, 0b10];
        assert_eq!(exhaustive(ONE, 1, &turns), 2);
        let of_one = bound(ONE, 1, &turns).as_ns() / 1e6;
        assert!((of_one - 2.0).abs() < 0.01, "{of_one} ms");
        // The same where they are the first tokens of two sequences: tokens 0 and 4 of all.
        let turns = [0b1, 0b10000, 0b1];
        assert_eq!(exhaustive(TWO, 1, &turns), 1);
        let of_two = bound(TWO, 1, &turns).as_ns() / 1e6;
        assert!((of_two - 1.0).abs() < 0.01, "{of_two} ms");
    }

    #[test]
    fn sequences_that_come_or_go_have_no_charged_bound() {
        let model: ModelConfig = config::parse(
            "(name: \"l\", layers: [(count: 2, attention: (stored: \"1 B\"), mlp: (stored: \"0 B\"), kv_bytes: \"1 MB\")])",
            "model",
        )
        .unwrap();
        let (memory, model) = (crate::catalog::memory("study").unwrap(), LanguageModel::new(&model).unwrap());
        let memory = MemorySystem::new(&memory).unwrap();
        let of = |lengths: [Lengths; 2]| {
            let regions = Regions::new(&model, &lengths);
            let stages = stages(&model, &regions, &SequenceId::all(2).collect::<Vec<_>>());
            ChargedBound::new(&stages, &regions, &memory, &Runtime::ideal(2), None, false, PageSize::TOKEN).map(|_| ())
        };
        let given = |prompt: usize, decode: usize| Lengths {
            at_start: prompt,
            prompt,
            expected: prompt,
            most: prompt + decode,
        };
        assert_eq!(of([given(3, 5), given(9, 5)]), Ok(()));
        assert_eq!(of([given(3, 5), given(3, 6)]), Err(ChargedError::Sequences(2)));
        assert_eq!(of([given(3, 5), Lengths { at_start: 0, ..given(3, 5) }]), Err(ChargedError::Sequences(2)));
    }
}
