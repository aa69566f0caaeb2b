//! Decoding one sequence: the study's workload.
//!
//! All steps are alike but for the context and the skip sets. In each layer `attention` reads the
//! layer's weights and the KV of the tokens that are not skipped, and appends the KV of the token
//! that is being computed; `mlp` reads its weights.

use super::compute::StageFlop;
use super::region::Regions;
use super::runtime::Runtime;
use super::step::{Amount, Append, Next, Read, Stage, StepPlan, Workload};
use super::trace::{Shape, SkipSource, TraceError, TraceWindow};
use super::{LanguageModel, ModelStage};
use crate::units::{Bytes, LayerId, RegionId, SequenceId, SimTime, Step, Table};
use std::sync::Arc;

/// One sequence that produces a token a step, from a prompt whose KV is there at the start.
pub struct Decode {
    regions: Regions,
    stages: Arc<[Stage]>,
    window: TraceWindow,
    prefill: usize,
    steps: usize,
}

impl Decode {
    /// `model` decoding `shape.decode` tokens after `shape.prefill`, skipping what `skips` says;
    /// its window shows `look_ahead` steps besides the present one.
    ///
    /// # Errors
    /// [`TraceError`] if the first steps of `skips` cannot be read.
    pub fn new(
        model: &LanguageModel,
        shape: Shape,
        skips: Box<dyn SkipSource + Send>,
        look_ahead: usize,
    ) -> Result<Self, TraceError> {
        let regions = Regions::new(model, 1);
        Ok(Self {
            stages: stages(model, &regions, &[SequenceId::new(0)]).into(),
            window: TraceWindow::sliding(skips, shape, regions.windows().collect(), look_ahead)?,
            prefill: shape.prefill,
            steps: shape.decode,
            regions,
        })
    }
}

impl Decode {
    /// The same with the fixed times of `runtime`.
    #[must_use]
    pub fn with_runtime(mut self, runtime: &Runtime) -> Self {
        let mut stages = self.stages.to_vec();
        runtime.charge(&mut stages, 1);
        self.stages = stages.into();
        self
    }
}

impl Workload for Decode {
    fn regions(&self) -> &Regions {
        &self.regions
    }

    fn stages(&self) -> &[Stage] {
        &self.stages
    }

    fn next(&mut self, _now: SimTime, completed: Option<Step>) -> Result<Next, TraceError> {
        let step = match completed {
            None => Step::new(0),
            Some(completed) => {
                self.window.advance()?;
                completed.next()
            }
        };
        if step.index() >= self.steps {
            return Ok(Next::End);
        }
        Ok(Next::Step(StepPlan {
            step,
            context: self.prefill + step.index(),
            frees: Vec::new(),
            stages: Arc::clone(&self.stages),
            is_last: step.index() + 1 == self.steps,
        }))
    }

    fn window(&self) -> &TraceWindow {
        &self.window
    }
}

/// The stages of a step in which each of `sequences` produces one token. A matrix is read once,
/// whatever the number of sequences; of experts, the union of those that they are routed to.
///
/// Where several layers read the KV of one, the token that is being computed stays on the chip
/// until the last of them has run: that one appends it, and no stage of the step reads it back.
#[must_use]
pub fn stages(model: &LanguageModel, regions: &Regions, sequences: &[SequenceId]) -> Vec<Stage> {
    let mut weights = regions.weights().map(|(region, _)| region);
    let all = model.stages();
    let last_reader = last_readers(model);
    let stage = |(index, of): (usize, &ModelStage)| {
        let mut reads: Vec<Read> = Vec::new();
        for piece in &of.weights {
            let region = weights.next().expect("each piece of the weights has its region");
            reads.push(Read { region, amount: Amount::Evenly(piece.read_at(sequences.len() as u32)) });
        }
        let attends = of.layer.filter(|_| of.attends);
        let state: Vec<RegionId> = of.state_of().map_or_else(Vec::new, |layer| {
            sequences.iter().filter_map(|sequence| regions.state_of(*sequence, layer)).collect()
        });
        reads.extend(state.iter().map(|&region| Read { region, amount: Amount::Whole }));
        let kv_of = |layer: LayerId| -> Vec<RegionId> {
            let kv = model.kv()[layer];
            let with_kv = sequences.iter().filter(|_| model.kv()[kv.source].token_bytes > Bytes::ZERO);
            with_kv.map(|sequence| regions.kv_of(*sequence, kv.source)).collect()
        };
        let kv = attends.map_or_else(Vec::new, kv_of);
        reads.extend(kv.iter().map(|&region| Read { region, amount: Amount::Unskipped }));
        let is_last_reader = |layer: LayerId| last_reader[model.kv()[layer].source] == Some(layer);
        let ends_layer = all.get(index + 1).is_none_or(|next| next.layer != of.layer);
        let releases = of.layer.filter(|layer| ends_layer && is_last_reader(*layer));
        Stage {
            label: of.label,
            layer: of.layer,
            reads,
            appends: if attends.is_some_and(is_last_reader) {
                kv.into_iter().map(|region| Append { region, tokens: 1 }).collect()
            } else {
                Vec::new()
            },
            updates: state,
            flop: StageFlop { fixed: of.flop * sequences.len() as f64, per_kv_byte: of.flop_per_kv_byte },
            fixed: SimTime::ZERO,
            releases: releases.map_or_else(Vec::new, kv_of),
        }
    };
    all.iter().enumerate().map(stage).collect()
}

/// For each layer the last one whose attention reads its KV, if one does.
fn last_readers(model: &LanguageModel) -> Table<LayerId, Option<LayerId>> {
    let mut last = Table::filled(model.layers(), None);
    for layer in model.stages().iter().filter(|stage| stage.attends).filter_map(|stage| stage.layer) {
        last[model.kv()[layer].source] = Some(layer);
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{StageLabel, StepSkips};

    struct NothingSkipped;

    impl SkipSource for NothingSkipped {
        fn next_step(&mut self, _context: usize, _skips: &mut StepSkips) -> Result<(), TraceError> {
            Ok(())
        }
    }

    fn model() -> LanguageModel {
        let text = "(name: \"m\", layers: [\
            (count: 1, attention: (stored: \"10 B\"), mlp: (stored: \"40 B\", read: \"20 B\"), kv_bytes: \"2 B\"), \
            (count: 1, attention: (stored: \"11 B\"), mlp: (stored: \"41 B\"), kv_bytes: \"0 B\")])";
        LanguageModel::new(&crate::config::parse(text, "model").unwrap()).unwrap()
    }

    #[test]
    fn a_step_reads_weights_once_and_the_kv_of_each_sequence() {
        let model = model();
        let regions = Regions::new(&model, 2);
        let both = [SequenceId::new(0), SequenceId::new(1)];
        let stages = stages(&model, &regions, &both);
        let labels: Vec<StageLabel> = stages.iter().map(|stage| stage.label).collect();
        assert_eq!(labels, [StageLabel::Attention, StageLabel::Mlp, StageLabel::Attention, StageLabel::Mlp]);
        // KV regions are 0 to 3, layer by layer of each sequence; weights are 4 to 7.
        let reads = |stage: usize| -> Vec<(usize, Amount)> {
            stages[stage].reads.iter().map(|read| (read.region.index(), read.amount)).collect()
        };
        let evenly = |bytes| Amount::Evenly(Bytes::new(bytes));
        assert_eq!(reads(0), [(4, evenly(10)), (0, Amount::Unskipped), (2, Amount::Unskipped)]);
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
    fn steps_follow_one_another_at_once() {
        let model = model();
        let shape = Shape { layers: 2, prefill: 3, decode: 2, page_size: crate::units::PageSize::TOKEN };
        let mut decode = Decode::new(&model, shape, Box::new(NothingSkipped), 0).unwrap();
        let mut completed = None;
        for step in 0..2 {
            let Next::Step(plan) = decode.next(SimTime::ZERO, completed).unwrap() else { panic!("a step is due") };
            assert_eq!((plan.step.index(), plan.is_last), (step, step == 1));
            completed = Some(plan.step);
        }
        assert!(matches!(decode.next(SimTime::ZERO, completed).unwrap(), Next::End));
    }
}
