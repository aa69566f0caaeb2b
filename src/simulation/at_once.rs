//! Whether what several sequences store at once fits the machine, and how many of them would.
//!
//! The schedule of a run follows from its sequences alone, so what each has stored by the end of a
//! step is known before anything is simulated. KV only grows until a sequence ends, so the most is
//! stored in a step with which one ends. Steps between two changes are passed over: O(sequences)
//! steps are looked at, each in O(sequences that run at once).

use super::refused::ScenarioError;
use super::size::{KvSizes, capacity};
use crate::memory::MemorySystem;
use crate::units::{Bytes, GroupId, SequenceId, Step, Table};
use crate::workload::{LanguageModel, Schedule, Sequences};

/// The KV of several sequences in the step in which it is the most.
struct AtOnce {
    kv: u128,
    step: Step,
    sequences: usize,
    by_group: Table<GroupId, u128>,
}

/// Whether the weights and the KV of all sequences that run at once fit on the tiers, in every
/// step.
pub(super) fn check_at_once(
    model: &LanguageModel,
    memory: &MemorySystem,
    sequences: &Sequences,
    page_tokens: u32,
    is_batch: bool,
) -> Result<(), ScenarioError> {
    let sizes = KvSizes::new(model, page_tokens);
    let weights = model.stored_weights();
    let capacity = capacity(memory);
    let room = capacity.saturating_sub(u128::from(weights.get()));
    let most = most_at_once(sequences, &sizes);
    if most.kv <= room {
        return Ok(());
    }
    let narrow = |bytes: u128| Bytes::new(u64::try_from(bytes).unwrap_or(u64::MAX));
    Err(ScenarioError::NoRoomAtOnce {
        field: if is_batch { "batch" } else { "sequences" },
        sequences: most.sequences,
        kv: narrow(most.kv),
        step: most.step,
        weights,
        missing: narrow(most.kv - room),
        capacity: narrow(capacity),
        remedy: remedy(sequences, &most, is_batch, |fewer| most_at_once(fewer, &sizes).kv <= room),
    })
}

/// What to write instead: how many sequences of the group that stores the most would fit.
fn remedy(sequences: &Sequences, most: &AtOnce, is_batch: bool, fits: impl Fn(&Sequences) -> bool) -> String {
    let largest = most.by_group.entries().max_by_key(|(_, kv)| **kv).map(|(group, _)| group);
    let group = largest.unwrap_or_default();
    let count = sequences.all().iter().filter(|of| of.group == group).count();
    let (mut least, mut end) = (0, count);
    // `least` sequences fit, as 0 do or are taken to, and `end` do not.
    while end - least > 1 {
        let middle = least + (end - least) / 2;
        let fewer = sequences.resized(group, middle);
        *(if fits(&fewer) { &mut least } else { &mut end }) = middle;
    }
    match (least, is_batch) {
        (0, true) => "not even one fits: enlarge a tier, or lower prefill_tokens or decode_tokens".to_owned(),
        (fit, true) => {
            format!("at most {fit} fit: write batch: {fit}, enlarge a tier, or lower prefill_tokens or decode_tokens")
        }
        (0, false) => {
            "write fewer or shorter sequences, let some begin when others have ended (start_step), or enlarge a tier"
                .to_owned()
        }
        (fit, false) => format!(
            "with sequences[{}].count: {fit} instead of {count} all fit; or let some begin when others have ended (start_step), or \
             enlarge a tier",
            group.index()
        ),
    }
}

/// The most KV that is stored at once.
fn most_at_once(sequences: &Sequences, sizes: &KvSizes) -> AtOnce {
    let groups = || GroupId::all(sequences.groups()).map(|_| 0).collect();
    let mut most = AtOnce { kv: 0, step: Step::new(0), sequences: 0, by_group: groups() };
    let mut schedule = Schedule::new(sequences);
    while schedule.next_step().is_some() {
        schedule.skip_alike();
        if !schedule.ends_one() {
            continue;
        }
        let mut by_group: Table<GroupId, u128> = groups();
        for (id, tokens) in schedule.stored() {
            by_group[group_of(sequences, id)] += sizes.of(tokens as u64);
        }
        let kv = by_group.iter().sum();
        if kv > most.kv {
            let step = Step::new(schedule.step().saturating_sub(1).min(u32::MAX as usize));
            most = AtOnce { kv, step, sequences: schedule.stored().count(), by_group };
        }
    }
    most
}

fn group_of(sequences: &Sequences, id: SequenceId) -> GroupId {
    sequences.all()[id].group
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::ScenarioConfig;
    use crate::workload::{PrefillConfig, PrefillOrder, scheduled};
    use proptest::prelude::*;

    fn prefill() -> impl Strategy<Value = PrefillConfig> {
        let order = prop_oneof![Just(PrefillOrder::Mixed), Just(PrefillOrder::First)];
        prop_oneof![
            Just(PrefillConfig::Given),
            (1..9u32, order).prop_map(|(chunk_tokens, order)| PrefillConfig::Timed { chunk_tokens, order }),
        ]
    }

    proptest! {
        /// Against every step in turn.
        #[test]
        fn the_most_is_that_of_all_steps(
            groups in prop::collection::vec((1..4u32, 0..40u32, 1..20u32, 0..12u32), 1..5),
            prefill in prefill(),
        ) {
            let mut groups = groups;
            groups[0].3 = 0;
            let sequences = scheduled(&groups, prefill);
            prop_assume!(sequences.is_some());
            let sequences = sequences.unwrap();
            let study = ScenarioConfig::load("study").unwrap();
            let model = LanguageModel::new(&study.model.resolve(crate::catalog::model).unwrap()).unwrap();
            let sizes = KvSizes::new(&model, 1);
            let mut by_step: Vec<u128> = Vec::new();
            let mut tokens: Table<SequenceId, usize> = sequences.all().iter().map(|_| 0).collect();
            let mut schedule = Schedule::new(&sequences);
            while let Some(batch) = schedule.next_step() {
                if batch.arrivals.is_empty() && by_step.is_empty() && prefill.is_given() {
                    let there = sequences.all().entries().filter(|(_, of)| of.start == 0);
                    there.for_each(|(id, of)| tokens[id] = of.prefill);
                }
                batch.ended.iter().for_each(|id| tokens[*id] = 0);
                batch.arrivals.iter().for_each(|id| tokens[*id] = sequences.all()[*id].prefill);
                batch.decoding.iter().for_each(|id| tokens[*id] += 1);
                batch.chunks.iter().for_each(|chunk| tokens[chunk.sequence] += chunk.tokens);
                by_step.push(tokens.iter().map(|tokens| sizes.of(*tokens as u64)).sum());
            }
            let most = most_at_once(&sequences, &sizes);
            prop_assert_eq!(Some(most.kv), by_step.iter().copied().max());
            prop_assert_eq!(by_step[most.step.index()], most.kv);
        }
    }
}
