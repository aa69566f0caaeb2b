//! One rule for the granules of KV reads: read without gaps, KV is one long granule; in pieces, the
//! mean length of its runs.

use crate::common::properties::cases;
use crate::common::runs::*;
use proptest::prelude::*;
use tiersim::memory::{Efficiency, EfficiencyConfig, TierId, TransferClass};
use tiersim::simulation::{Scenario, ScenarioConfig};
use tiersim::units::{Bytes, SimTime};
use tiersim::workload::StepSkips;

const KV: u64 = 4096;
const PEAK: f64 = 1e12;

/// In long granules all of the peak, in those of one token a quarter.
fn table() -> EfficiencyConfig {
    serde_json::from_str(
        "{\"source\": \"a test\", \"table\": {\"granules\": [\"4 KiB\", \"4 MiB\"], \"read_shares\": [1.0], \"achieved\": [[0.25], [1.0]]}}",
    )
    .unwrap()
}

fn part() -> EfficiencyConfig {
    tiersim::catalog::efficiency("hbm3-6400").unwrap()
}

/// One layer whose KV is all in one tier of 1000 GB/s.
fn config(efficiency: &EfficiencyConfig, page_tokens: u32, skip: u32) -> ScenarioConfig {
    let mut config = small(1, (0, 1000), KV, 1 << 40, 500, 6);
    config.trace = skipping(skip, 300, 1);
    config.page_tokens = page_tokens;
    let tiers = &mut memory(&mut config).tiers;
    tiers.truncate(1);
    tiers[0].efficiency = Some(efficiency.clone().into());
    config
}

/// The unloaded service time of each step's KV read of the layer, and its bytes.
fn reads(config: &ScenarioConfig) -> Vec<(SimTime, Bytes)> {
    let (_, keep) = simulate(config);
    let of_kv = keep.carried.iter().filter(|it| it.0 == TransferClass::KvRead);
    of_kv.map(|it| (it.5, it.1)).collect()
}

/// In how many runs the pages of the context are read that are not skipped in whole: one by one.
fn runs_of(skips: &StepSkips, context: usize, page_tokens: usize) -> usize {
    let page_is_read = |page: usize| {
        (page * page_tokens..((page + 1) * page_tokens).min(context)).any(|token| !skips.sets[0].contains(token))
    };
    let read: Vec<bool> = (0..context.div_ceil(page_tokens)).map(page_is_read).collect();
    read.chunk_by(|a, b| a == b).filter(|run| run[0]).count()
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn a_read_in_pieces_is_charged_for_the_mean_run(
        skip in 0u32..=950,
        page_tokens in 1u32..4,
        of_part: bool,
    ) {
        let efficiency = if of_part { part() } else { table() };
        let config = config(&efficiency, page_tokens, skip);
        let achieved = Efficiency::new(&efficiency).unwrap();
        let mut source = Scenario::new(config.clone()).unwrap().skips().unwrap();
        let mut skips = StepSkips::none(1, 506);
        for (step, (unloaded, bytes)) in reads(&config).into_iter().enumerate() {
            let context = 500 + step;
            source.next_step(context, &mut skips).unwrap();
            let granule = bytes.get() / runs_of(&skips, context, page_tokens as usize) as u64;
            let expected = bytes.as_f64() / (PEAK * achieved.achieved(Bytes::new(granule), 1.0)) * 1e12;
            // The granule is rounded to 3 %, which changes the time by less.
            prop_assert!((unloaded.as_ps() as f64 / expected - 1.0).abs() < 0.03, "step {step}: {unloaded}, not {expected} ps");
        }
    }
}

#[test]
fn kv_without_gaps_is_read_as_fast_as_weights() {
    for efficiency in [table(), part()] {
        let streaming = Efficiency::new(&efficiency).unwrap().streaming(1.0);
        for (unloaded, bytes) in reads(&config(&efficiency, 1, 0)) {
            let expected = bytes.as_f64() / (PEAK * streaming) * 1e12;
            let ratio = unloaded.as_ps() as f64 / expected;
            // 500 tokens of 4 KiB are 2 MB: all but what the table takes off below 4 MiB, or a part
            // for the rows of one stream.
            assert!((0.999..1.02).contains(&ratio), "{}: {ratio}", efficiency.source);
        }
    }
}

#[test]
fn tokens_that_lie_elsewhere_are_no_gaps() {
    // At the best ratio every fifth token lies beyond: dense on either tier.
    let spread = |efficiency: &EfficiencyConfig| {
        let mut config = small(1, (0, 1000), KV, 1 << 40, 500, 2);
        config.strategy = BEST_RATIO;
        memory(&mut config).tiers.iter_mut().for_each(|tier| tier.efficiency = Some(efficiency.clone().into()));
        simulate(&config).1
    };
    for efficiency in [table(), part()] {
        let streaming = Efficiency::new(&efficiency).unwrap().streaming(1.0);
        let keep = spread(&efficiency);
        let external = keep.carried.iter().find(|it| it.0 == TransferClass::KvRead && it.6 == TierId::new(1)).unwrap();
        // Behind a link of 250 GB/s, where a bus of 500 is not the limit in long granules, and is
        // one at a quarter of its peak.
        assert!(streaming > 0.5);
        assert_eq!(external.5.as_ps(), external.1.get() * 4, "{}", efficiency.source);
    }
}

#[test]
fn a_table_of_one_granule_says_the_same_of_all() {
    let one: EfficiencyConfig = serde_json::from_str(
        "{\"source\": \"a test\", \"table\": {\"granules\": [\"4 KiB\"], \"read_shares\": [1.0], \"achieved\": [[0.5]]}}",
    )
    .unwrap();
    for skip in [0, 500] {
        for (unloaded, bytes) in reads(&config(&one, 1, skip)) {
            assert_eq!(unloaded.as_ps(), 2 * bytes.get());
        }
    }
}
