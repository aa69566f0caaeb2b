//! A batch against its sequences alone.

use super::*;
use crate::common::properties::cases;
use crate::common::runs::{carry_out, simulate_steps, skipping};
use proptest::prelude::*;
use tiersim::workload::TraceConfig;

/// The same as a batch of one, and as a list of one sequence.
fn ways_to_say_one(config: &ScenarioConfig) -> [ScenarioConfig; 3] {
    let batch = ScenarioConfig { batch: 1, ..config.clone() };
    let listed = ScenarioConfig { sequences: vec![SequencesConfig::default()], ..config.clone() };
    let (prefill, decode) = (config.prefill_tokens, config.decode_tokens);
    let mut spelled_out = ScenarioConfig { sequences: vec![group(1, (prefill, decode, 0))], ..config.clone() };
    // What the group does not leave to the scenario, the scenario may say otherwise.
    (spelled_out.prefill_tokens, spelled_out.decode_tokens) = (prefill / 2, decode + 3);
    [batch, listed, spelled_out]
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn one_sequence_is_one_sequence_however_it_is_said(
        prefill in 0u32..60, decode in 1u32..20, fill in 1u64..130, skip in 0u32..=900, seed: u64, page_tokens in 1u32..5,
        strategy in prop::sample::select(vec!["baseline", "best-ratio", "balanced", "balanced-online"]),
    ) {
        let mut config = small(2, (3000, 2000), 100, 10_000 * fill / 100, prefill, decode);
        config.strategy = strategy.parse().unwrap();
        config.trace = skipping(skip, 50, seed);
        config.page_tokens = page_tokens;
        let (outcome, keep) = carry_out(&Scenario::new(config.clone()).unwrap());
        for other in ways_to_say_one(&config) {
            let (other, kept) = carry_out(&Scenario::new(other).unwrap());
            prop_assert_eq!(&keep, &kept);
            prop_assert_eq!(format!("{outcome:?}"), format!("{other:?}"));
        }
    }

    /// With nothing skipped, B equal sequences read the weights once and B times the KV.
    #[test]
    fn equal_sequences_read_that_many_times_the_kv(
        batch in 1u32..9, prefill in 0u32..60, decode in 1u32..12, fill in 1u64..130, page_tokens in 1u32..5,
        strategy in prop::sample::select(vec!["baseline", "best-ratio", "balanced", "balanced-online"]),
    ) {
        let mut config = small(2, (3000, 2000), 100, 10_000 * fill / 100, prefill, decode);
        config.strategy = strategy.parse().unwrap();
        config.page_tokens = page_tokens;
        let (_, one) = simulate_steps(&config);
        config.batch = batch;
        let (_, all) = simulate_steps(&config);
        prop_assert_eq!(one.bytes[TransferClass::WeightRead], all.bytes[TransferClass::WeightRead]);
        prop_assert_eq!(u64::from(batch) * one.bytes[TransferClass::KvRead], all.bytes[TransferClass::KvRead]);
        for (one, all) in one.steps.iter().zip(&all.steps) {
            prop_assert_eq!(u64::from(batch) * one.read_tokens, all.read_tokens);
        }
    }

    /// Sequence i of a group has the trace of a single one whose seed is i more; groups, however
    /// they come and go, read what each sequence reads alone.
    #[test]
    fn sequences_read_what_each_reads_alone(
        groups in prop::collection::vec((1u32..4, (0u32..50, 1u32..12, 0u32..6), prop::option::of((0u32..=1000, any::<u64>()))), 1..4),
        skip in 0u32..=900, seed: u64, page_tokens in 1u32..5, fill in 1u64..130,
        strategy in prop::sample::select(vec!["baseline", "best-ratio", "balanced", "balanced-online"]),
    ) {
        let mut config = small(2, (3000, 2000), 100, 10_000 * fill / 100, 7, 3);
        config.strategy = strategy.parse().unwrap();
        config.page_tokens = page_tokens;
        config.trace = skipping(skip, 50, seed);
        config.sequences = groups
            .iter()
            .map(|&(count, of, own)| SequencesConfig { trace: own.map(|(skip, seed)| skipping(skip, 30, seed)), ..group(count, of) })
            .collect();
        let Ok(scenario) = Scenario::new(config.clone()) else { return Ok(()) };
        let (_, all) = carry_out(&scenario);
        let (mut read, mut tokens, mut written) = (0, 0, 0);
        for (group, of) in config.sequences.iter().zip(&groups) {
            for place in 0..group.count {
                let mut alone = config.clone();
                alone.sequences.clear();
                (alone.prefill_tokens, alone.decode_tokens) = (of.1.0, of.1.1);
                alone.trace = group.trace.clone().unwrap_or(config.trace.clone());
                if let TraceConfig::Generated(generator) = &mut alone.trace {
                    generator.seed = generator.seed.wrapping_add(u64::from(place));
                }
                let (_, alone) = simulate_steps(&alone);
                read += alone.bytes[TransferClass::KvRead];
                tokens += alone.steps.iter().map(|kept| kept.read_tokens).sum::<u64>();
                written += u64::from(of.1.1) * 2 * 100;
            }
        }
        prop_assert_eq!(all.bytes(TransferClass::KvRead), read);
        prop_assert_eq!(all.steps.iter().map(|kept| kept.read_tokens).sum::<u64>(), tokens);
        // Of the last tokens of a sequence, the write may be dropped.
        prop_assert!(all.bytes(TransferClass::KvWrite) <= written);
    }
}
