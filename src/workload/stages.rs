//! The stages of a step: what the layers of a model read, compute and append for a batch of
//! sequences.
//!
//! In each layer `attention` reads the layer's weights and the KV of the tokens that are not
//! skipped, and appends the KV of the tokens that are being computed; `mlp` reads its weights. A
//! matrix is read once, whatever the number of tokens; of experts, the union of those that the
//! tokens are routed to.

use super::compute::StageFlop;
use super::label::StageLabel;
use super::region::Regions;
use super::schedule::{Chunk, StepBatch};
use super::step::{Amount, Append, Read, Stage};
use super::{LanguageModel, LayerKv};
use crate::units::{Bytes, LayerId, RegionId, SequenceId, SimTime, Table};

/// The stages of a step in which each of `sequences` produces one token.
#[must_use]
pub fn stages(model: &LanguageModel, regions: &Regions, sequences: &[SequenceId]) -> Vec<Stage> {
    batch_stages(model, regions, &StepBatch::decoding(sequences))
}

/// What a step computes of one sequence: a token, or a part of its prompt.
#[derive(Clone, Copy)]
struct Part {
    sequence: SequenceId,
    tokens: usize,
    /// The part of a prompt, if it is one.
    chunk: Option<Chunk>,
}

/// The stages of a step that computes `batch`. O(stages x sequences).
///
/// Only tokens that come out of the step pass the head: where none does, as in the middle of a
/// prompt, it is not read. Where several layers read the KV of one, the tokens that are being
/// computed stay on the chip until the last of them has run: that one appends them, and no stage of
/// the step reads them back.
#[must_use]
pub fn batch_stages(model: &LanguageModel, regions: &Regions, batch: &StepBatch) -> Vec<Stage> {
    let decoding = batch.decoding.iter().map(|&sequence| Part { sequence, tokens: 1, chunk: None });
    let of_chunk = |chunk: &Chunk| Part { sequence: chunk.sequence, tokens: chunk.tokens, chunk: Some(*chunk) };
    let parts: Vec<Part> = decoding.chain(batch.chunks.iter().map(of_chunk)).collect();
    let mut weights = regions.weights().map(|(region, _)| region);
    let all = model.stages();
    let last_reader = last_readers(model);
    let mut stages = Vec::with_capacity(all.len());
    for (index, of) in all.iter().enumerate() {
        let tokens = if of.label == StageLabel::Head { batch.outputs() } else { batch.tokens() };
        let mut reads: Vec<Read> = Vec::new();
        let experts = of.layer.filter(|_| of.has_experts()).and_then(|layer| regions.experts_of(layer));
        for piece in of.weights.iter().filter(|piece| experts.is_none() || !piece.are_experts()) {
            let region = weights.next().expect("each piece of the weights has its region");
            reads.push(Read { region, amount: Amount::Evenly(piece.read_at(tokens as u32)) });
        }
        if tokens == 0 {
            continue;
        }
        if let Some((region, experts)) = experts.and_then(|region| Some((region, regions.experts(region)?))) {
            reads.push(Read { region, amount: Amount::Routed { expected: experts.read_at(tokens as u32) } });
        }
        let attends = of.layer.filter(|_| of.attends);
        let state: Vec<RegionId> = of.state_of().map_or_else(Vec::new, |layer| {
            parts.iter().filter_map(|part| regions.state_of(part.sequence, layer)).collect()
        });
        reads.extend(state.iter().map(|&region| Read { region, amount: Amount::Whole }));
        let kv_of = |layer: LayerId| -> Vec<(RegionId, &Part)> {
            let kv = model.kv()[layer];
            let with_kv = parts.iter().filter(|_| model.kv()[kv.source].token_bytes > Bytes::ZERO);
            let groups =
                with_kv.flat_map(|part| regions.kv_of(part.sequence, kv.source).map(move |region| (region, part)));
            groups.filter(|(region, _)| regions.has_bytes(*region)).collect()
        };
        let kv = attends.map_or_else(Vec::new, kv_of);
        let read = |(region, part): &(RegionId, &Part)| Read {
            region: *region,
            amount: Amount::Unskipped { queries: part.tokens },
        };
        reads.extend(kv.iter().map(read));
        let is_last_reader = |layer: LayerId| last_reader[model.kv()[layer].source] == Some(layer);
        let ends_layer = all.get(index + 1).is_none_or(|next| next.layer != of.layer);
        let releases = of.layer.filter(|layer| ends_layer && is_last_reader(*layer));
        let decodes = |(region, part): (RegionId, &Part)| part.chunk.is_none().then_some(region);
        stages.push(Stage {
            label: of.label,
            layer: of.layer,
            tokens,
            reads,
            flop: StageFlop {
                fixed: of.flop * tokens as f64,
                per_kv_byte: of.flop_per_kv_byte,
                kv_on_chip: attends.map_or(0.0, |layer| on_the_chip(model, layer, &parts)),
            },
            appends: if attends.is_some_and(is_last_reader) {
                kv.iter().map(|(region, part)| Append { region: *region, tokens: part.tokens }).collect()
            } else {
                Vec::new()
            },
            updates: state,
            fixed: SimTime::ZERO,
            // Of a prompt that is being computed no KV moves.
            releases: releases
                .map_or_else(Vec::new, |layer| kv_of(layer).into_iter().filter_map(decodes).collect::<Vec<_>>())
                .into_iter()
                .chain(experts)
                .collect(),
        });
    }
    stages
}

/// The KV that the tokens of chunks attend to besides what is read, in bytes, added up: that of
/// earlier tokens of the same chunk, which is on the chip. O(1) for each chunk.
///
/// Token i of a chunk attends to the `first + i` tokens before it, of which it sees the last
/// `window`. What is read are the last `window` of the `first` tokens before the chunk, and it is
/// counted once for each token of the chunk.
fn on_the_chip(model: &LanguageModel, layer: LayerId, parts: &[Part]) -> f64 {
    let LayerKv { source, window, .. } = model.kv()[layer];
    let window = window.map_or(u64::MAX, u64::from);
    let tokens: f64 =
        parts.iter().filter_map(|part| part.chunk).map(|chunk| attended_on_the_chip(&chunk, window)).sum();
    tokens * model.kv()[source].token_bytes.as_f64()
}

/// The sum over the tokens of a chunk of how many more tokens each sees than the first one.
fn attended_on_the_chip(&Chunk { first, tokens, .. }: &Chunk, window: u64) -> f64 {
    attended_more(first as u64, tokens as u64, window)
}

/// The sum over `tokens` tokens after the `first` ones of how many more tokens each sees than the
/// first of them, where each sees the last `window`.
pub(crate) fn attended_more(first: u64, tokens: u64, window: u64) -> f64 {
    // Token i sees i more, until its window is full.
    let room = window.saturating_sub(first);
    let growing = tokens.min(room.saturating_add(1));
    let full = tokens - growing;
    growing as f64 * growing.saturating_sub(1) as f64 / 2.0 + full as f64 * room.min(tokens) as f64
}

/// For each layer the last one whose attention reads its KV, if one does.
pub(crate) fn last_readers(model: &LanguageModel) -> Table<LayerId, Option<LayerId>> {
    let mut last = Table::filled(model.layers(), None);
    for layer in model.stages().iter().filter(|stage| stage.attends).filter_map(|stage| stage.layer) {
        last[model.kv()[layer].source] = Some(layer);
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Lengths;
    use proptest::prelude::*;

    fn model() -> LanguageModel {
        let text = "(name: \"m\", layers: [\
            (count: 1, attention: (stored: \"10 B\"), mlp: (stored: \"40 B\", read: \"20 B\"), kv_bytes: \"2 B\"), \
            (count: 1, attention: (stored: \"11 B\"), mlp: (stored: \"41 B\"), kv_bytes: \"0 B\")])";
        LanguageModel::new(&crate::config::parse(text, "model").unwrap()).unwrap()
    }

    #[test]
    fn a_step_reads_weights_once_and_the_kv_of_each_sequence() {
        let model = model();
        let regions = Regions::new(&model, &[Lengths::default(); 2]);
        let both = [SequenceId::new(0), SequenceId::new(1)];
        let stages = stages(&model, &regions, &both);
        let labels: Vec<StageLabel> = stages.iter().map(|stage| stage.label).collect();
        assert_eq!(labels, [StageLabel::Attention, StageLabel::Mlp, StageLabel::Attention, StageLabel::Mlp]);
        // KV regions are 0 to 3, layer by layer of each sequence; weights are 4 to 7.
        let reads = |stage: usize| -> Vec<(usize, Amount)> {
            stages[stage].reads.iter().map(|read| (read.region.index(), read.amount)).collect()
        };
        let evenly = |bytes| Amount::Evenly(Bytes::new(bytes));
        let unskipped = |queries| Amount::Unskipped { queries };
        assert_eq!(reads(0), [(4, evenly(10)), (0, unskipped(1)), (2, unskipped(1))]);
        assert_eq!(reads(1), [(5, evenly(20))]);
        // A layer without KV reads and appends none.
        assert_eq!(reads(2), [(6, evenly(11))]);
        let appended: Vec<usize> = stages[0].appends.iter().map(|append| append.region.index()).collect();
        assert_eq!((appended, stages[2].appends.len()), (vec![0, 2], 0));
        // Migration decides for a layer when its last stage ends.
        let released: Vec<Vec<usize>> =
            stages.iter().map(|stage| stage.releases.iter().map(|region| region.index()).collect()).collect();
        assert_eq!(released, [vec![], vec![0, 2], vec![], vec![]]);
    }

    #[test]
    fn the_tokens_of_a_chunk_attend_to_those_before_them() {
        let model = model();
        let regions = Regions::new(&model, &[Lengths::default(); 2]);
        let chunk = Chunk { sequence: SequenceId::new(1), first: 6, tokens: 4, is_last: false };
        let batch =
            StepBatch { decoding: vec![SequenceId::new(0)], chunks: vec![chunk], sequences: 2, ..StepBatch::default() };
        let stages = batch_stages(&model, &regions, &batch);
        let kv: Vec<Amount> = stages[0].reads[1..].iter().map(|read| read.amount).collect();
        assert_eq!(kv, [Amount::Unskipped { queries: 1 }, Amount::Unskipped { queries: 4 }]);
        let appended: Vec<usize> = stages[0].appends.iter().map(|append| append.tokens).collect();
        assert_eq!((appended, stages[0].tokens), (vec![1, 4], 5));
        // Nothing of a prompt moves.
        assert!(stages[1].releases.iter().copied().eq(regions.kv_of(SequenceId::new(0), LayerId::new(0))));
    }

    proptest! {
        #[test]
        fn what_a_chunk_sees_is_as_counted_token_by_token(first in 0usize..40, tokens in 1usize..40, window in 1u64..90) {
            let seen = |token: usize| (token as u64).min(window);
            let by_hand: u64 = (first..first + tokens).map(|token| seen(token) - seen(first)).sum();
            let chunk = Chunk { sequence: SequenceId::new(0), first, tokens, is_last: true };
            prop_assert_eq!(attended_on_the_chip(&chunk, window), by_hand as f64);
        }
    }
}
