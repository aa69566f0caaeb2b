//! The schedule of a run: which sequences each step decodes, and which prompts it computes.
//!
//! It follows from the sequences alone, not from time. Sequences are taken in the order of their
//! ids, those that begin earlier first. A prompt that is given is there when its sequence begins; a
//! prompt that takes time is computed in chunks, up to a number of tokens a step: prompts in the
//! order of their sequences, so that a step may end one prompt and begin the next. The step that
//! ends a prompt produces the first token of its sequence; the step after it is the first that
//! decodes.

use super::sequences::{PrefillConfig, PrefillOrder, Sequence, Sequences, SequencesError};
use crate::units::SequenceId;
use std::collections::VecDeque;
use std::sync::Arc;

/// What one step computes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepBatch {
    /// The sequences that decode a token each.
    pub decoding: Vec<SequenceId>,
    /// The parts of prompts that are computed.
    pub chunks: Vec<Chunk>,
    /// The sequences whose prompts are there from this step on, at no cost; those of the first step
    /// are laid out before it.
    pub arrivals: Vec<SequenceId>,
    /// The sequences that have ended with the step before.
    pub ended: Vec<SequenceId>,
    /// How many sequences have begun and not ended, those that wait for their prompts included.
    pub sequences: usize,
}

/// A part of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Of which sequence.
    pub sequence: SequenceId,
    /// How many of its tokens come before.
    pub first: usize,
    /// How many tokens it has.
    pub tokens: usize,
    /// Whether the prompt ends with it, so that the step produces the first token of the sequence.
    pub is_last: bool,
}

impl StepBatch {
    /// A step that decodes a token of each of `sequences`, and nothing else.
    #[must_use]
    pub fn decoding(sequences: &[SequenceId]) -> Self {
        Self { decoding: sequences.to_vec(), sequences: sequences.len(), ..Self::default() }
    }

    /// How many tokens it computes: one of each sequence that decodes, and those of the chunks.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.decoding.len() + self.prompt_tokens()
    }

    /// How many tokens of prompts it computes.
    #[must_use]
    pub fn prompt_tokens(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.tokens).sum()
    }

    /// How many tokens come out of it: one of each sequence that decodes, and of each whose prompt
    /// ends.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.decoding.len() + self.chunks.iter().filter(|chunk| chunk.is_last).count()
    }

    /// How many sequences it computes something of.
    #[must_use]
    pub fn active(&self) -> usize {
        self.decoding.len() + self.chunks.len()
    }
}

/// The steps of a run, one after the other.
///
/// Where a step pauses the sequences that decode, their ends are later by one. So they are counted
/// in *decoding steps*, which are the steps of the run without those that decode nothing.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// By id.
    sequences: Vec<Sequence>,
    chunk_tokens: Option<usize>,
    order: PrefillOrder,
    /// The ids by their start, of equals by id.
    by_start: Vec<SequenceId>,
    /// How many of `by_start` have begun.
    begun: usize,
    /// Those that wait for their prompts or compute them, the first first, with how many tokens of
    /// the prompt are done.
    prompts: VecDeque<(SequenceId, usize)>,
    /// Those that decode, by id, with the decoding step after their last.
    decoding: Vec<(SequenceId, usize)>,
    /// How many steps decoded nothing so far: decoding steps are numbered without them.
    paused: usize,
    /// The next step.
    step: usize,
    /// The step whose batch differs from the one before, unless prompts are computed.
    changes: usize,
    batch: Arc<StepBatch>,
}

impl Schedule {
    /// That of `sequences`, from step 0 on. O(sequences log sequences).
    #[must_use]
    pub fn new(sequences: &Sequences) -> Self {
        let (chunk_tokens, order) = match sequences.prefill() {
            PrefillConfig::Given => (None, PrefillOrder::Mixed),
            PrefillConfig::Timed { chunk_tokens, order } => (Some(chunk_tokens as usize), order),
        };
        let mut by_start: Vec<SequenceId> = sequences.all().ids().collect();
        by_start.sort_by_key(|id| sequences.all()[*id].start);
        Self {
            sequences: sequences.all().iter().copied().collect(),
            chunk_tokens,
            order,
            by_start,
            begun: 0,
            prompts: VecDeque::new(),
            decoding: Vec::new(),
            paused: 0,
            step: 0,
            changes: 0,
            batch: Arc::default(),
        }
    }

    /// As [`new`](Self::new), if something runs in every step up to the last.
    ///
    /// # Errors
    /// [`SequencesError`], naming the group, its start and what to write instead.
    pub fn checked(sequences: &Sequences) -> Result<Self, SequencesError> {
        let schedule = Self::new(sequences);
        let mut ahead = schedule.clone();
        for id in &schedule.by_start {
            let Sequence { group, start, .. } = sequences.all()[*id];
            if let Some(end) = ahead.end_before(start) {
                let none_at_start = end == 0;
                return Err(if none_at_start {
                    SequencesError::NoneAtStart
                } else {
                    SequencesError::StartsAfterEnd { group: group.index(), start, end }
                });
            }
        }
        Ok(schedule)
    }

    /// What the next step computes; `None` after the last. O(1) where it is as the one before, else
    /// O(sequences).
    pub fn next_step(&mut self) -> Option<&Arc<StepBatch>> {
        if self.step < self.changes && self.prompts.is_empty() {
            self.step += 1;
            return Some(&self.batch);
        }
        let mut batch = StepBatch::default();
        let now = self.step - self.paused;
        self.decoding.retain(|(sequence, end)| {
            let goes_on = *end > now;
            if !goes_on {
                batch.ended.push(*sequence);
            }
            goes_on
        });
        while let Some(&id) = self.by_start.get(self.begun) {
            let sequence = self.sequences[id.index()];
            if sequence.start > self.step {
                break;
            }
            self.begun += 1;
            if self.chunk_tokens.is_some() && sequence.prefill > 0 {
                self.prompts.push_back((id, 0));
            } else {
                if self.step > 0 {
                    batch.arrivals.push(id);
                }
                self.decode(id, now);
            }
        }
        batch.sequences = self.decoding.len() + self.prompts.len();
        if batch.sequences == 0 {
            return None;
        }
        let pauses = !self.prompts.is_empty() && self.order == PrefillOrder::First;
        if pauses {
            self.paused += 1;
        } else {
            batch.decoding.extend(self.decoding.iter().map(|(sequence, _)| *sequence));
        }
        self.take_chunks(&mut batch);
        let next_start = self.by_start.get(self.begun).map(|id| self.sequences[id.index()].start);
        let next_end = self.decoding.iter().map(|(_, end)| end + self.paused).min();
        self.changes = next_start.into_iter().chain(next_end).min().unwrap_or(self.step + 1);
        // What has only just happened is not so in the step after.
        if !batch.arrivals.is_empty() || !batch.ended.is_empty() || !batch.chunks.is_empty() {
            self.changes = self.step + 1;
        }
        self.step += 1;
        self.batch = Arc::new(batch);
        Some(&self.batch)
    }

    /// Takes as many tokens of prompts as a step computes. A prompt that ends decodes from the next
    /// step on.
    fn take_chunks(&mut self, batch: &mut StepBatch) {
        let mut left = self.chunk_tokens.unwrap_or(0);
        while left > 0
            && let Some((sequence, done)) = self.prompts.front_mut()
        {
            let (id, first) = (*sequence, *done);
            let tokens = left.min(self.sequences[id.index()].prefill - first);
            left -= tokens;
            *done += tokens;
            let is_last = *done == self.sequences[id.index()].prefill;
            batch.chunks.push(Chunk { sequence: id, first, tokens, is_last });
            if is_last {
                self.prompts.pop_front();
                self.decode(id, self.step + 1 - self.paused);
            }
        }
    }

    /// `id` decodes from the decoding step `from` on.
    fn decode(&mut self, id: SequenceId, from: usize) {
        let end = from + self.sequences[id.index()].decode;
        let place = self.decoding.partition_point(|(other, _)| *other < id);
        self.decoding.insert(place, (id, end));
    }

    /// Whether the step that was returned last is the last one.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let now = self.step - self.paused;
        self.prompts.is_empty() && self.begun == self.by_start.len() && self.decoding.iter().all(|(_, end)| *end <= now)
    }

    /// How many steps there are from here on. O(sequences) times the sequences that run at once.
    #[must_use]
    pub fn steps_left(&self) -> usize {
        let mut ahead = self.clone();
        let first = ahead.step;
        while ahead.next_step().is_some() {
            ahead.skip_alike();
        }
        ahead.step - first
    }

    /// How many steps have been returned or passed over.
    #[must_use]
    pub fn step(&self) -> usize {
        self.step
    }

    /// The sequences that have begun and whose KV is there when the last step is completed, with
    /// their tokens by then.
    pub fn stored(&self) -> impl Iterator<Item = (SequenceId, usize)> + '_ {
        let now = self.step - self.paused;
        let decoding = self.decoding.iter().map(move |(id, end)| {
            let Sequence { prefill, decode, .. } = self.sequences[id.index()];
            (*id, prefill + decode - (end - now))
        });
        decoding.chain(self.prompts.iter().copied())
    }

    /// Whether a sequence ends with the last step.
    #[must_use]
    pub fn ends_one(&self) -> bool {
        let now = self.step - self.paused;
        self.decoding.iter().any(|(_, end)| *end <= now)
    }

    /// Passes over the steps that are as the last one.
    pub fn skip_alike(&mut self) {
        if self.prompts.is_empty() {
            self.step = self.step.max(self.changes);
        } else if let [Chunk { sequence, is_last: false, .. }] = self.batch.chunks[..] {
            self.skip_chunks(sequence);
        }
    }

    /// Passes over the steps that compute whole chunks of the prompt of `sequence` alone and do not
    /// end it, while the same sequences decode.
    fn skip_chunks(&mut self, sequence: SequenceId) {
        let (Some(tokens), Some((id, done))) = (self.chunk_tokens, self.prompts.front_mut()) else { return };
        let left = self.sequences[id.index()].prefill - *done;
        if *id != sequence || left == 0 {
            return;
        }
        let next_start = self.by_start.get(self.begun).map(|id| self.sequences[id.index()].start);
        let next_end = match self.order {
            PrefillOrder::Mixed => self.decoding.iter().map(|(_, end)| end + self.paused).min(),
            PrefillOrder::First => None,
        };
        let change = next_start.into_iter().chain(next_end).min().unwrap_or(usize::MAX);
        let steps = ((left - 1) / tokens).min(change.saturating_sub(self.step));
        *done += steps * tokens;
        self.step += steps;
        if self.order == PrefillOrder::First {
            self.paused += steps;
        }
    }

    /// How many steps there are, if nothing is left to run before step `start`.
    fn end_before(&mut self, start: usize) -> Option<usize> {
        while self.step < start {
            if self.next_step().is_none() {
                return Some(self.step);
            }
            self.skip_alike();
        }
        None
    }
}

/// Groups of (count, prompt, tokens to decode, start), if they can be scheduled.
#[cfg(test)]
pub(crate) fn scheduled(groups: &[(u32, u32, u32, u32)], prefill: PrefillConfig) -> Option<Sequences> {
    use super::sequences::{LikeConfig, SequencesConfig};
    let trace = super::trace::TraceConfig::default();
    let like = LikeConfig { prefill_tokens: 0, decode_tokens: 1, trace: &trace };
    let group = |&(count, prefill, decode, start_step): &(u32, u32, u32, u32)| SequencesConfig {
        count,
        prefill_tokens: Some(prefill),
        decode_tokens: Some(decode),
        start_step,
        trace: None,
    };
    let sequences = Sequences::new(&like, 1, &groups.iter().map(group).collect::<Vec<_>>(), prefill).unwrap();
    Schedule::checked(&sequences).is_ok().then_some(sequences)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A step in short: who decodes, and of which prompts how many tokens are computed.
    type InShort = (Vec<usize>, Vec<(usize, usize)>);

    fn steps(sequences: &Sequences) -> Vec<InShort> {
        let mut schedule = Schedule::new(sequences);
        let mut steps = Vec::new();
        while let Some(batch) = schedule.next_step() {
            let chunks = batch.chunks.iter().map(|chunk| (chunk.sequence.index(), chunk.tokens));
            steps.push((batch.decoding.iter().map(|id| id.index()).collect(), chunks.collect()));
            assert_eq!(schedule.is_over(), steps.len() == Schedule::new(sequences).steps_left());
        }
        steps
    }

    #[test]
    fn prompts_run_beside_decoding_or_before_it() {
        let groups = [(1, 5, 2, 0), (1, 3, 1, 1)];
        let timed = |order| PrefillConfig::Timed { chunk_tokens: 4, order };
        let mixed = steps(&scheduled(&groups, timed(PrefillOrder::Mixed)).unwrap());
        // The second step ends the first prompt and computes the other one, which begins with it.
        let expected =
            [(vec![], vec![(0, 4)]), (vec![], vec![(0, 1), (1, 3)]), (vec![0, 1], vec![]), (vec![0], vec![])];
        assert_eq!(mixed, expected);
        let groups = [(1, 4, 2, 0), (1, 6, 1, 2)];
        let first = steps(&scheduled(&groups, timed(PrefillOrder::First)).unwrap());
        let expected = [
            (vec![], vec![(0, 4)]),
            (vec![0], vec![]),
            (vec![], vec![(1, 4)]),
            (vec![], vec![(1, 2)]),
            (vec![0, 1], vec![]),
        ];
        assert_eq!(first, expected);
    }

    #[test]
    fn nothing_may_begin_after_the_end() {
        assert!(scheduled(&[(1, 0, 3, 0), (1, 0, 2, 4)], PrefillConfig::Given).is_none());
        assert!(scheduled(&[(1, 0, 3, 0), (1, 0, 2, 3)], PrefillConfig::Given).is_some());
        assert!(scheduled(&[(1, 0, 3, 0), (1, 0, 2, 2), (1, 0, 1, 5)], PrefillConfig::Given).is_none());
        assert!(scheduled(&[(1, 0, 3, 0), (1, 0, 2, 2), (1, 0, 1, 4)], PrefillConfig::Given).is_some());
        assert!(scheduled(&[(1, 0, 3, 1)], PrefillConfig::Given).is_none());
    }

    proptest! {
        /// Each sequence decodes its tokens, in the steps after its prompt, and chunks make up the
        /// prompts.
        #[test]
        fn every_sequence_gets_its_tokens(
            groups in prop::collection::vec((1u32..4, 0u32..20, 1u32..9, 0u32..12), 1..5),
            chunk_tokens in 1u32..12,
            kind in 0..3,
        ) {
            let prefill = match kind {
                0 => PrefillConfig::Given,
                1 => PrefillConfig::Timed { chunk_tokens, order: PrefillOrder::Mixed },
                _ => PrefillConfig::Timed { chunk_tokens, order: PrefillOrder::First },
            };
            let Some(sequences) = scheduled(&groups, prefill) else { return Ok(()) };
            let mut schedule = Schedule::new(&sequences);
            let all = schedule.steps_left();
            let (mut decoded, mut computed) = (vec![0; sequences.count()], vec![0; sequences.count()]);
            let mut step = 0;
            while let Some(batch) = schedule.next_step().cloned() {
                prop_assert!(batch.tokens() > 0, "step {} computes nothing", step);
                prop_assert!(batch.prompt_tokens() <= chunk_tokens as usize);
                for id in &batch.decoding {
                    let of = sequences.all()[*id];
                    prop_assert!(of.start <= step && (prefill.is_given() || computed[id.index()] == of.prefill));
                    decoded[id.index()] += 1;
                }
                for chunk in &batch.chunks {
                    prop_assert_eq!(chunk.first, computed[chunk.sequence.index()]);
                    prop_assert!(!batch.decoding.contains(&chunk.sequence));
                    computed[chunk.sequence.index()] += chunk.tokens;
                }
                for id in &batch.ended {
                    prop_assert_eq!(decoded[id.index()], sequences.all()[*id].decode);
                }
                if kind == 2 && !batch.chunks.is_empty() {
                    prop_assert!(batch.decoding.is_empty());
                }
                step += 1;
            }
            prop_assert_eq!(step, all);
            for (id, of) in sequences.all().entries() {
                prop_assert_eq!(decoded[id.index()], of.decode);
                prop_assert_eq!(computed[id.index()], if prefill.is_given() { 0 } else { of.prefill });
            }
        }
    }
}
