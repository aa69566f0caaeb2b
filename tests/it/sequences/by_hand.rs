//! Sequences that begin together, later, and that end before others.

use super::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use tiersim::strategy::{Migration, MigrationView, MovePlan, Past};
use tiersim::units::Bytes;

const LARGE: u64 = 1 << 30;

#[test]
fn equal_sequences_read_weights_once_and_their_kv_in_one_transfer() {
    let mut config = small(1, (1000, 2000), 10, LARGE, 100, 3);
    config.batch = 2;
    let (outcome, watch) = watch(&config);
    // Attention reads 1000 B and twice 100 tokens of 10 B; then two writes of 10 B share the bus
    // with the 2000 B of the mlp.
    assert_eq!(watch.latencies(), [3000 + 2020, 3020 + 2020, 3040 + 2020]);
    assert_eq!(watch.used(0), [3000 + 2 * 1010, 3000 + 2 * 1020, 3000 + 2 * 1030]);
    let [weights, reads, writes] =
        [TransferClass::WeightRead, TransferClass::KvRead, TransferClass::KvWrite].map(|class| watch.count[class]);
    assert_eq!((weights, reads, writes), (2 * 3, 3, 2 * 3));
    assert_eq!(outcome.at_end.kv[0], Bytes::new(2 * 1030), "the last step frees nothing");
}

#[test]
fn a_sequence_that_ends_frees_its_kv_before_the_next_step() {
    let (_, watch) = watch(&decoding(LARGE, &[(50, 2, 0), (200, 4, 0)]));
    assert_eq!(watch.latencies(), [3500 + 2020, 3520 + 2020, 3020 + 2010, 3030 + 2010]);
    let used = [3000 + 510 + 2010, 3000 + 520 + 2020, 3000 + 2030, 3000 + 2040];
    assert_eq!(watch.used(0), used);
    assert_eq!(watch.steps[1].decoded, [0, 1]);
    assert_eq!(watch.steps[2].decoded, [1]);
}

#[test]
fn a_given_prompt_arrives_at_no_cost_when_its_sequence_begins() {
    let (outcome, watch) = watch(&decoding(LARGE, &[(100, 5, 0), (50, 2, 2)]));
    let attention = [2000, 2010, 2020 + 500, 2030 + 510, 2040];
    let mlp = [2010, 2010, 2020, 2020, 2010];
    let expected: Vec<u64> = attention.iter().zip(mlp).map(|(attention, mlp)| attention + mlp).collect();
    assert_eq!(watch.latencies(), expected);
    assert_eq!(watch.used(0), [4010, 4020, 4030 + 510, 4040 + 520, 4050]);
    assert_eq!(watch.bytes[TransferClass::KvWrite], 7 * 10, "only what was decoded is written");
    assert_eq!(outcome.peak[0], Bytes::new(4040 + 520));
}

#[test]
fn a_prompt_that_arrives_takes_what_room_there_is_and_leaves_it_again() {
    // After step 0 there is room for 21 of the 50 tokens on HBM.
    let hbm = 3000 + 1010 + 210;
    let (_, watch) = watch(&decoding(hbm, &[(100, 2, 0), (50, 3, 1)]));
    let attention = [
        2000,              // 1000 B of weights, 100 tokens
        1000 + 1010 + 210, // on HBM; the 29 tokens elsewhere take 1160 ps
        1000 + 210,        // 30 tokens elsewhere take 1200 ps
        1000 + 220,        // as before
    ];
    // In step 1 both tokens are written elsewhere; then the first sequence has left its room.
    let mlp = [2010, 2000, 2010, 2010];
    let expected: Vec<u64> = attention.iter().zip(mlp).map(|(attention, mlp)| attention + mlp).collect();
    assert_eq!(watch.latencies(), expected);
    assert_eq!(watch.used(0), [4010, hbm, 3000 + 220, 3000 + 230]);
    assert_eq!(watch.used(1), [0, 10 + 300, 300, 300]);
}

#[test]
fn what_is_in_flight_when_its_sequence_ends_is_dropped() {
    // A write of 1000 B at 1 B/ns; the step after it takes 10 ns.
    let mut config = decoding(1, &[(1, 1, 0), (1, 3, 0)]);
    let memory = crate::common::runs::memory(&mut config);
    let slow = tiersim::memory::LinkConfig::new(crate::common::runs::bandwidth(250), crate::common::runs::bandwidth(1));
    memory.tiers[1].link = Some(slow.into());
    let (outcome, watch) = watch(&config);
    // The mlp takes 8000 ps, in which two writes of 10 B at 1 B/ns together carry 4 B each; the
    // first is dropped then.
    assert_eq!(watch.dropped[TransferClass::KvWrite], 6);
    assert_eq!(outcome.dropped[TransferClass::KvWrite].get(), 6);
    assert_eq!(watch.used(1).last().copied(), Some(watch.used(1)[0] - 2 * 10 + 2 * 10));
}

#[test]
fn compute_is_that_of_all_sequences() {
    let mut config = decoding(LARGE, &[(50, 2, 0), (200, 2, 0)]);
    config.compute = Some(tiersim::workload::ComputeConfig {
        rate: "1 TFLOP/s".parse().unwrap(),
        flop_per_weight_byte: Some(5.0),
        flop_per_kv_byte: Some(2.0),
    });
    let (_, watch) = watch(&config);
    // 5 FLOP a byte of weights for each of two tokens, 2 FLOP a byte of the KV of each.
    let of_step = |step: u64| 2 * 5 * 3000 + 2 * 10 * (250 + 2 * step);
    assert_eq!(watch.latencies(), [of_step(0), of_step(1)]);
    assert!(watch.steps.iter().all(|step| step.bound == step.latency));
}

/// Sets that a strategy keeps are as long as the longest sequence.
#[test]
fn any_strategy_moves_the_pages_of_short_and_of_long_sequences() {
    let groups = [(10, 8, 0), (400, 12, 0), (900, 5, 2)];
    let [short_first, long_first] = [[0, 1, 2], [1, 2, 0]].map(|order| order.map(|index: usize| groups[index]));
    for groups in [short_first, long_first] {
        // Of several layers, the first one of all sequences comes before the second one of any.
        let mut config = small(3, (1000, 2000), 10, 20_000, 1, 1);
        config.sequences = groups.iter().map(|of| super::group(1, *of)).collect();
        let memory = crate::common::runs::memory(&mut config);
        let between =
            tiersim::memory::TierConfig::new("between", Bytes::new(9000), crate::common::runs::bandwidth(400));
        memory.tiers.insert(1, between);
        config.trace = crate::common::runs::skipping(400, 300, 1);
        let read = |watch: &Watch| watch.steps.iter().map(|step| step.read_tokens).collect::<Vec<_>>();
        let still = read(&watch(&config).1);
        for migration in tiersim::strategy::MigrationKind::ALL {
            config.strategy.migration = *migration;
            for hbm in [4000, 12_000, 27_000] {
                crate::common::runs::memory(&mut config).tiers[0].capacity = Bytes::new(hbm);
                assert_eq!(read(&watch(&config).1), still, "{migration}");
            }
        }
    }
}

/// Notes each region's part in what its stage read, and moves nothing.
#[derive(Default)]
struct Parts(Rc<RefCell<ByLayer>>);

/// By step and layer, the parts in the order of their sequences.
type ByLayer = BTreeMap<(usize, usize), Vec<f64>>;

impl Migration for Parts {
    type Knows = Past;

    fn decide(&mut self, view: &MigrationView<'_, Past>, _plan: &mut MovePlan) {
        let layer = view.region.index() % view.layers;
        self.0.borrow_mut().entry((view.step.index(), layer)).or_default().push(view.part);
    }
}

/// What a stage waits for is each region's by its part, and the parts are the whole.
#[test]
fn the_parts_of_the_regions_of_a_stage_make_up_the_whole() {
    let mut config = small(2, (1000, 2000), 10, 1 << 20, 1, 1);
    config.sequences = [(10, 8, 0), (30, 12, 0), (60, 5, 2)].map(|of| super::group(1, of)).to_vec();
    let scenario = Scenario::new(config).unwrap();
    let parts = Parts::default();
    let seen = Rc::clone(&parts.0);
    let strategy = tiersim::strategy::Parts { migration: Box::new(parts), ..scenario.strategy().build() };
    tiersim::simulation::run_with(&scenario, strategy, &mut ()).unwrap();
    let seen = seen.borrow();
    // In step 0 the sequences read 10 and 30 tokens.
    assert_eq!(seen[&(0, 0)], [0.25, 0.75]);
    assert_eq!(seen.len(), 2 * 11, "in every step but the last");
    for parts in seen.values() {
        assert!((parts.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{parts:?}");
    }
}

/// Four sequences do not each make up for all that their layers lack in balance.
#[test]
fn balanced_does_not_overshoot_with_several_sequences() {
    let mut config = ScenarioConfig::load("gh200").unwrap();
    (config.prefill_tokens, config.decode_tokens, config.batch) = (16 << 10, 32, 4);
    for strategy in ["balanced", "balanced-online"] {
        config.strategy = strategy.parse().unwrap();
        let (_, watch) = watch(&config);
        let sum = |of: fn(&Seen) -> u64| watch.steps.iter().map(of).sum::<u64>() as f64;
        let over = sum(|step| step.latency) / sum(|step| step.bound);
        assert!(over < 1.01, "{strategy}: {over} times the bound");
    }
}
