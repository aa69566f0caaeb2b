//! A stage as the bounds see it: what it reads, in floats, and how long it computes.
//!
//! Where several stages of a step read the same KV, a byte of it that lies on HBM serves all of
//! them. The bounds let each of these stages have a placement of its own, of which each byte takes
//! its part of the room, one byte over the number of readers. A real placement is one of those,
//! with the same reads and the same room, so the bounds remain lower bounds.

use super::KvLoad;
use crate::memory::{PerTier, TierId};
use crate::units::{Bytes, RegionId, Table};
use crate::workload::{KvRegionRead, Regions, Roofline, Runtime, Stage, StageFlop, StageReads};

/// The reads and the compute of one stage, the same in every step but for the KV.
#[derive(Clone, Debug)]
pub(super) struct BoundStage {
    pub weights: Vec<Piece>,
    /// Its recurrent state, with its size: it is read with the KV.
    pub state: Vec<(RegionId, f64)>,
    pub kv: Vec<KvPiece>,
    /// Its experts that are units, of which each step reads others: at most one region.
    pub experts: Vec<ExpertPiece>,
    pub flop: StageFlop,
    /// Of how many tokens.
    pub tokens: usize,
    /// In picoseconds.
    pub fixed: f64,
}

/// A piece of the weights: bytes stored, and bytes read in a step.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub region: RegionId,
    pub stored: f64,
    pub read: f64,
    /// What a byte of it takes at least of each tier's bandwidth: 1 where kernels reach all of it.
    pub costs: PerTier<f64>,
    /// Whether each tier computes it itself; empty where no tier computes anything.
    pub computed: Vec<bool>,
}

/// KV regions that a stage reads and that are alike: those of all sequences that decode, say. It
/// does not matter to a bound how much of what they store together is whose.
#[derive(Clone, Debug)]
pub(super) struct KvPiece {
    pub regions: Vec<RegionId>,
    /// K and V of one token.
    pub token_bytes: f64,
    /// How many stages of the step read each of them.
    pub readers: f64,
    /// How many tokens attend to each.
    pub queries: f64,
    /// Its place among the pieces of all stages.
    place: usize,
}

/// A region of experts that are units.
#[derive(Clone, Debug)]
pub(super) struct ExpertPiece {
    pub region: RegionId,
    pub expert_bytes: f64,
    /// As of a [`Piece`].
    pub costs: PerTier<f64>,
    /// As of a [`Piece`].
    pub computed: Vec<bool>,
    /// Its place among the experts of all stages.
    place: usize,
}

/// What a step reads of each piece of KV, and of experts, in bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct KvRead {
    kv: Vec<f64>,
    experts: Vec<f64>,
}

impl KvRead {
    /// Takes note of a step. O(stages + KV regions), the only walk over all regions.
    pub fn note(&mut self, stages: &[BoundStage], load: &KvLoad) {
        self.kv.clear();
        self.experts.clear();
        for piece in stages.iter().flat_map(|stage| &stage.kv) {
            let tokens: usize = piece.regions.iter().map(|region| load.read[*region]).sum();
            self.kv.push(piece.token_bytes * tokens as f64);
        }
        for piece in stages.iter().flat_map(|stage| &stage.experts) {
            self.experts.push(piece.expert_bytes * load.read[piece.region] as f64);
        }
    }

    /// The bytes that are read of a piece.
    pub fn of(&self, piece: &KvPiece) -> f64 {
        self.kv[piece.place]
    }

    /// The bytes that are read of experts.
    pub fn of_experts(&self, piece: &ExpertPiece) -> f64 {
        self.experts[piece.place]
    }
}

impl BoundStage {
    /// What `stages` read of `regions`, which is on so many tiers.
    pub fn all(stages: &[Stage], regions: &Regions, tiers: usize, runtime: &Runtime) -> Vec<Self> {
        let reads: Vec<StageReads> = stages.iter().map(|stage| stage.reads_of(regions)).collect();
        let mut readers = Table::filled(regions.paged_len(), 0.0);
        reads.iter().flat_map(|reads| &reads.kv).for_each(|kv| readers[kv.region] += 1.0);
        let (mut pieces, mut expert_pieces) = (0, 0);
        let of_stage = |(stage, reads): (&Stage, &StageReads)| {
            let fixed: Bytes = reads.weights.iter().map(|(_, weights)| weights.read).sum();
            let experts: Bytes = reads.experts.iter().map(|(_, experts)| experts.stored).sum();
            let all = fixed + experts;
            // How much of the weights is on which tier is not known, unless there is but one; nor
            // is how many experts a step reads.
            let share = |tier, format| match tiers {
                1 if experts == Bytes::ZERO => runtime.weights_share(tier, format, all),
                _ => runtime.most_weights_share(tier, format, all),
            };
            let computed = |region: RegionId| match runtime.computes() {
                computes if computes.is_empty() => Vec::new(),
                computes => computes.by_tier(tiers, &regions.region(region).contents).into_iter().collect(),
            };
            let of_experts = reads.experts.iter().filter_map(|(region, _)| {
                let of = regions.experts(*region)?;
                let cost = |tier: TierId| {
                    let of_format = |(format, bytes): (_, Bytes)| bytes.as_f64() / share(tier, format);
                    of.formats(of.stored()).map(of_format).sum::<f64>() / of.stored().as_f64()
                };
                expert_pieces += 1;
                let (costs, place) = (PerTier::from_fn(tiers, cost), expert_pieces - 1);
                let (expert_bytes, computed) = (of.expert_bytes.as_f64(), computed(*region));
                Some(ExpertPiece { region: *region, expert_bytes, costs, computed, place })
            });
            let experts: Vec<ExpertPiece> = of_experts.collect();
            let weights = reads.weights.iter().map(|(region, weights)| Piece {
                region: *region,
                stored: weights.stored.as_f64(),
                read: weights.read.as_f64(),
                costs: PerTier::from_fn(tiers, |tier| {
                    runtime.weights_amplification(tier, stage.tokens) / share(tier, weights.format)
                }),
                computed: computed(*region),
            });
            let kv = pieces_of(&reads.kv, &readers, &mut pieces);
            Self {
                weights: weights.collect(),
                state: reads.state.iter().map(|(region, bytes)| (*region, bytes.as_f64())).collect(),
                kv,
                experts,
                flop: stage.flop,
                tokens: stage.tokens,
                fixed: stage.fixed.as_ps() as f64,
            }
        };
        stages.iter().zip(&reads).map(of_stage).collect()
    }

    /// The bytes of weights that it reads, experts that are units aside: in every step the same.
    pub fn fixed_read(&self) -> f64 {
        self.weights.iter().map(|piece| piece.read).sum()
    }

    /// The bytes of weights that it reads.
    pub fn weights_read(&self, read: &KvRead) -> f64 {
        let weights = self.fixed_read();
        self.experts.iter().fold(weights, |all, piece| all + read.of_experts(piece))
    }

    /// What its weights take at least of the bandwidth of `tier` if all of them are read from
    /// there, in bytes at full reach.
    pub fn weights_work(&self, tier: TierId, read: &KvRead) -> f64 {
        let weights: f64 = self.weights.iter().map(|piece| piece.read * piece.costs[tier]).sum();
        self.experts.iter().fold(weights, |all, piece| all + read.of_experts(piece) * piece.costs[tier])
    }

    /// The bytes of state that it reads.
    pub fn state_read(&self) -> f64 {
        self.state.iter().map(|(_, bytes)| bytes).sum()
    }

    /// The bytes of KV and state that it reads.
    pub fn kv_read(&self, read: &KvRead) -> f64 {
        self.paged_read(read) + self.state_read()
    }

    /// The bytes of KV that it reads, without state.
    pub fn paged_read(&self, read: &KvRead) -> f64 {
        self.kv.iter().map(|kv| read.of(kv)).sum()
    }

    /// The same over the readers of each region: what takes room for it.
    pub fn paged_stored(&self, read: &KvRead) -> f64 {
        self.kv.iter().map(|kv| read.of(kv) / kv.readers).sum()
    }

    /// How long it computes in a step with that KV, in picoseconds, of what goes with the weights
    /// and what goes with the KV and state that are read; the rest of [`compute`](Self::compute)
    /// is on the chip.
    pub fn compute_of_parts(&self, roofline: Option<Roofline>, read: &KvRead) -> (f64, f64) {
        let Some(roofline) = roofline else { return (0.0, 0.0) };
        let attended = |kv: &KvPiece| kv.queries * read.of(kv);
        let kv = self.kv.iter().map(attended).sum::<f64>() + self.state_read();
        let (of_weights, of_kv) = (StageFlop { per_kv_byte: 0.0, kv_on_chip: 0.0, ..self.flop }, self.flop);
        let of_kv = StageFlop { fixed: 0.0, kv_on_chip: 0.0, ..of_kv };
        let weights = roofline.picoseconds(self.tokens, self.weights_read(read), 0.0, of_weights);
        (weights, roofline.picoseconds(self.tokens, 0.0, kv, of_kv))
    }

    /// How long it computes in a step with that KV, in picoseconds.
    pub fn compute(&self, roofline: Option<Roofline>, read: &KvRead) -> f64 {
        let Some(roofline) = roofline else { return 0.0 };
        let attended = |kv: &KvPiece| kv.queries * read.of(kv);
        let kv = self.kv.iter().map(attended).sum::<f64>() + self.state_read();
        roofline.picoseconds(self.tokens, self.weights_read(read), kv, self.flop)
    }
}

/// The pieces that the KV of a stage makes; `all` counts those of all stages.
fn pieces_of(reads: &[KvRegionRead], readers: &Table<RegionId, f64>, all: &mut usize) -> Vec<KvPiece> {
    let mut pieces: Vec<KvPiece> = Vec::new();
    for read in reads {
        let (token_bytes, readers, queries) = (read.token_bytes.as_f64(), readers[read.region], read.queries as f64);
        let is_alike =
            |piece: &&mut KvPiece| (piece.token_bytes, piece.readers, piece.queries) == (token_bytes, readers, queries);
        match pieces.iter_mut().find(is_alike) {
            Some(piece) => piece.regions.push(read.region),
            None => {
                pieces.push(KvPiece { regions: vec![read.region], token_bytes, readers, queries, place: *all });
                *all += 1;
            }
        }
    }
    pieces
}

/// What a byte of KV takes at least of the bandwidth of `tier` in a stage that reads `bytes` of KV
/// and state.
pub(super) fn kv_cost(runtime: &Runtime, tier: TierId, bytes: f64, tiers: usize) -> f64 {
    let bytes = Bytes::new(bytes as u64);
    match tiers {
        1 => 1.0 / runtime.kv_reach(tier, bytes).share(),
        _ => 1.0 / runtime.most_kv_share(tier, bytes),
    }
}
