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
use super::{StepBound, lower_bound, tolerance};
use crate::memory::{MemorySystem, ResidencyKind};
use crate::units::{PageSize, RegionId, SimTime, Table};
use crate::workload::{Regions, Roofline, Runtime, Shape, SkipSource, Stage, StageFlop, TraceError};
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
    /// How many tokens of the context the attention of each KV region sees.
    windows: Vec<usize>,
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
        "bound: Charged is for one sequence whose prompt is given, but there are {0} or its prompt is computed: use bound: Free"
    )]
    Sequences(usize),
    #[error("bound: Charged is for tokens that are kept one by one, but page_tokens is {0}: use 1, or bound: Free")]
    Pages(usize),
}

impl ChargedBound {
    /// How many steps a stretch has: the programs grow with two to this power.
    const STRETCH: usize = 4;

    /// For steps of `stages` on `system`; `overlap` as for [`StepBound::new`].
    ///
    /// # Errors
    /// [`ChargedError`] for inclusive residency, several sequences, and pages of several tokens.
    pub fn new(
        stages: &[Stage],
        regions: &Regions,
        system: &MemorySystem,
        runtime: &Runtime,
        roofline: Option<Roofline>,
        overlap: bool,
        page_size: PageSize,
    ) -> Result<Self, ChargedError> {
        if regions.sequences() != 1 || regions.lengths().any(|lengths| lengths.at_start != lengths.prompt) {
            return Err(ChargedError::Sequences(regions.sequences()));
        }
        if page_size != PageSize::TOKEN {
            return Err(ChargedError::Pages(page_size.tokens()));
        }
        if system.residency() == ResidencyKind::Inclusive {
            return Err(ChargedError::Inclusive);
        }
        let mut kinds_of = Table::filled(regions.kv_len(), Vec::new());
        let mut kinds = Vec::<StageKind>::new();
        for stage in BoundStage::all(stages, regions, system.tiers().len(), runtime) {
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
            stage.kv.iter().for_each(|kv| kinds_of[kv.region].push(place));
        }
        let per_second = SimTime::PS_PER_SECOND as f64;
        Ok(Self {
            stretch: Self::STRETCH,
            steps: StepBound::new(stages, regions, system, runtime, roofline, overlap),
            capacity: system.tiers().iter().map(|tier| tier.capacity.as_f64()).collect(),
            bandwidth: system.tiers().iter().map(|tier| tier.wire_bandwidth.as_f64() / per_second).collect(),
            roofline,
            overlap,
            windows: regions.windows().collect(),
            kinds_of,
            lanes: lanes(system),
            kinds,
            tolerance: tolerance(system, runtime, stages.len()),
        })
    }

    /// The least time of a run over the skip sets of `source`, and the sum of the bounds of its
    /// steps, which let migration be free.
    ///
    /// # Errors
    /// [`TraceError`] if the trace cannot be read.
    pub fn of(
        &mut self,
        mut source: impl FnMut() -> Result<Box<dyn SkipSource + Send>, TraceError>,
        shape: Shape,
    ) -> Result<(SimTime, SimTime), TraceError> {
        let count = shape.decode.div_ceil(self.stretch);
        let every = count.div_ceil(SAMPLES).max(1);
        let mut samples = Vec::new();
        self.stretches(&mut *source()?, shape, |_, index, stretch| {
            // From the middle of each part, so that the first steps do not stand for all.
            if index % every == every / 2 || count == 1 {
                samples.push(stretch.clone());
            }
        })?;
        let weights = self.best_weights(&samples);
        let (mut total, mut free) = (0.0, 0.0);
        self.stretches(&mut *source()?, shape, |bound, _, stretch| {
            free += stretch.free;
            // Without a solution, what holds whatever the weights: the time of the steps, which are
            // there in full or in part.
            total += bound.least(stretch, &weights).unwrap_or((1.0 - weights.iter().sum::<f64>()) * stretch.free);
        })?;
        let charged = lower_bound(total, SOLVER_ERROR, self.tolerance * shape.decode as f64);
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
    use crate::workload::{LanguageModel, Lengths, ModelConfig, StepSkips, stages};
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

    const PREFILL: usize = 3;
    const STEPS: usize = 4;

    fn bound(capacity: usize, read: &[Vec<bool>]) -> SimTime {
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
        let regions = Regions::new(&model, &[Lengths::default()]);
        let stages = stages(&model, &regions, &[SequenceId::default()]);
        let mut bound =
            ChargedBound::new(&stages, &regions, &memory, &Runtime::ideal(2), None, false, PageSize::TOKEN).unwrap();
        let skipped = |step: usize| (0..PREFILL + step).filter(|token| !read[step][*token]).collect();
        let steps: Vec<Vec<usize>> = (0..STEPS).map(skipped).collect();
        let source = || -> Result<Box<dyn SkipSource + Send>, TraceError> {
            Ok(Box::new(Listed { steps: steps.clone(), next: 0 }))
        };
        let shape = Shape { layers: 1, prefill: PREFILL, decode: STEPS, page_size: PageSize::TOKEN };
        bound.of(source, shape).unwrap().0
    }

    /// The fewest tokens that are read from external memory or carried from there, over all ways to
    /// keep up to `capacity` of them on HBM: where HBM and the way out take no time to speak of,
    /// what a run takes at least, in milliseconds.
    fn exhaustive(capacity: usize, read: &[Vec<bool>]) -> u32 {
        // By the set of tokens on HBM, what it took so far. At first, and when it is written, a
        // token may lie anywhere.
        let fits = |set: &usize, tokens: usize| set.count_ones() as usize <= capacity && *set < 1 << tokens;
        let reads = |set: usize, step: usize| {
            (0..PREFILL + step).filter(|token| read[step][*token] && set >> token & 1 == 0).count() as u32
        };
        let all = 1usize << (PREFILL + STEPS);
        let mut least: Vec<Option<u32>> = (0..all).map(|set| fits(&set, PREFILL).then(|| reads(set, 0))).collect();
        for step in 1..STEPS {
            let mut next = vec![None; all];
            for (set, place) in next.iter_mut().enumerate().filter(|(set, _)| fits(set, PREFILL + step)) {
                // What the step before has read is on the chip.
                let read_before = (0..PREFILL + step - 1).filter(|token| read[step - 1][*token]);
                let on_chip: usize = read_before.map(|token| 1 << token).sum();
                let moved = |before: usize| (set & !before & !on_chip & ((1 << (PREFILL + step - 1)) - 1)).count_ones();
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
            capacity in 1usize..5,
            read in proptest::collection::vec(proptest::collection::vec(any::<bool>(), PREFILL + STEPS), STEPS),
        ) {
            let least = f64::from(exhaustive(capacity, &read));
            let bound = bound(capacity, &read).as_ns() / 1e6;
            // HBM's own time is at most 7 MB a step at 10 TB/s.
            prop_assert!(bound >= least * (1.0 - 1e-5) && bound <= least + 4.0 * 7.0 * 1e-4 + 1e-5, "{} against {}", bound, least);
        }
    }

    #[test]
    fn what_must_move_is_paid_for() {
        // Two tokens take turns; HBM holds one. Free of charge each is on HBM when it is read; but
        // carrying it there takes as long as reading it where it is.
        let turns: Vec<Vec<bool>> =
            (0..STEPS).map(|step| (0..PREFILL + STEPS).map(|token| token == step % 2).collect()).collect();
        assert_eq!(exhaustive(1, &turns), 2);
        let bound = bound(1, &turns).as_ns() / 1e6;
        assert!((bound - 2.0).abs() < 0.01, "{bound} ms");
    }
}
