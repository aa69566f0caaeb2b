//! Index bytes: what attention reads of every page, from the first tier, to select those that it
//! attends to.

use crate::common::properties::{CASES, cases};
use crate::common::runs::{memory, simulate, skipping, small};
use proptest::prelude::*;
use tiersim::memory::ResidencyKind;
use tiersim::simulation::{Scenario, ScenarioConfig};
use tiersim::units::{Bytes, RegionId};
use tiersim::workload::IndexConfig;

fn with_index(mut config: ScenarioConfig, bytes: u64) -> ScenarioConfig {
    config.index = Some(IndexConfig::PerPage(Bytes::new(bytes)));
    config
}

/// Two layers of 10 tokens in pages of 4, of which nothing is skipped: the index of 3 pages, from
/// HBM, wherever the KV lies, until a fourth page begins with token 12.
#[test]
fn every_page_is_read_in_every_step() {
    for hbm in [100_000, 3_000] {
        let mut config = small(2, (1000, 0), 10, hbm, 10, 4);
        config.page_tokens = 4;
        let (without, with) = (simulate(&config).1, simulate(&with_index(config.clone(), 100)).1);
        let scenario = Scenario::new(with_index(config, 100)).unwrap();
        // 14 tokens are 4 pages in each of 2 layers.
        assert_eq!(scenario.memory().tiers()[0].capacity, Bytes::new(hbm - 2 * 4 * 100));
        let index = [3, 3, 3, 4].map(|pages| 2 * pages * 100);
        for ((plain, indexed), index) in without.steps.iter().zip(&with.steps).zip(index) {
            let all = |step: &crate::common::runs::Kept| step.attention_read.iter().sum::<u64>();
            assert_eq!(all(indexed), all(plain) + index);
            assert_eq!(indexed.read_tokens, plain.read_tokens);
            if hbm == 100_000 {
                assert_eq!(indexed.attention_read[0], plain.attention_read[0] + index);
                // HBM reads 1000 bytes a nanosecond, and so does the bound.
                assert_eq!(indexed.latency.as_ps(), plain.latency.as_ps() + index);
            }
        }
    }
}

/// Where nearly all that is read is index, the step takes what HBM takes to read it, and so does
/// the bound.
#[test]
fn the_bound_knows_that_an_index_is_in_the_first_tier() {
    let mut config = small(3, (1000, 0), 10, 2_000_000, 50, 6);
    config.trace = skipping(900, 30, 1);
    let (_, keep) = simulate(&with_index(config, 10_000));
    for (step, context) in keep.steps.iter().zip(50..) {
        // Weights and KV fit on external memory's share of the time.
        let index = 3 * context * 10_000;
        assert!(step.bound.as_ps() + 4 >= index && step.bound.as_ps() <= index, "{step:?}");
        assert!(step.latency >= step.bound && step.latency.as_ps() < index + 5000);
    }
}

/// The index keys of a model that has an indexer are read in full, and no longer as part of the KV.
#[test]
fn the_index_of_a_model() {
    let mut config = ScenarioConfig::load("study").unwrap();
    config.model = tiersim::config::Reference::Name("deepseek-v3.2".to_owned());
    let whole = tiersim::catalog::memory("study").unwrap();
    config.memory = tiersim::config::Reference::Inline(whole);
    memory(&mut config).tiers[0].capacity = "1 TB".parse().unwrap();
    (config.prefill_tokens, config.decode_tokens) = (1000, 1);
    let plain = Scenario::new(config.clone()).unwrap();
    config.index = Some(IndexConfig::Model);
    let indexed = Scenario::new(config.clone()).unwrap();
    // 128 bytes and a scale of 4 in each of 61 layers; the latent and the rotated key in BF16.
    assert_eq!(plain.model().token_bytes(), Bytes::new(61 * (2 * 576 + 132)));
    assert_eq!(indexed.model().token_bytes(), Bytes::new(61 * 2 * 576));
    assert_eq!(indexed.index().unwrap().of(RegionId::new(60)), Bytes::new(132));
    let json = serde_json::to_string(indexed.resolved()).unwrap();
    assert!(json.contains(r#""index":"Model""#));
    assert_eq!(serde_json::from_str::<ScenarioConfig>(&json).unwrap().index, config.index);
    assert!(!serde_json::to_string(plain.resolved()).unwrap().contains("\"index\""));
    // Nothing is skipped: the same bytes, all of them on HBM.
    let read = |config: &ScenarioConfig| simulate(config).1.steps[0].attention_read.iter().sum::<u64>();
    let without = read(&ScenarioConfig { index: None, ..config.clone() });
    assert_eq!(read(&config), without);
    // Three tokens in four are skipped: of the plain model with their index keys.
    config.trace = skipping(750, 30, 1);
    let without = read(&ScenarioConfig { index: None, ..config.clone() });
    assert_eq!(read(&config), without + 61 * 750 * 132);
}

#[test]
fn an_index_that_cannot_be_is_refused() {
    let mut config = small(2, (1000, 0), 10, 10_000, 10, 4);
    config.index = Some(IndexConfig::Model);
    let message = Scenario::new(config.clone()).unwrap_err().to_string();
    assert!(message.starts_with("index: Model, but the model small has no indexer"), "{message}");
    let message = Scenario::new(with_index(config, 1000)).unwrap_err().to_string();
    assert!(message.starts_with("index: the index of all sequences takes 28000 B of hbm, which has"), "{message}");
}

proptest! {
    #![proptest_config(cases(CASES))]

    /// No run beats the bound, and the capacity holds.
    #[test]
    fn no_run_with_an_index_beats_the_bound(
        layers in 1u32..4, weights in 1u64..20_000, kv in 1u64..3_000, prefill in 0u32..60, decode in 1u32..15,
        fill in 1u64..120, skip in 0u32..=1000, churn in 0u32..=1000, seed: u64, page_tokens in 1u32..5,
        index in 1u64..3_000, weight_prefetch in 0u32..3, batch in 1u32..4, inclusive: bool,
        migration in prop::sample::select(vec!["None", "Lru(budget: 8)", "BalancedOnline", "LookAhead"]),
    ) {
        let pages = |tokens: u32| u64::from(tokens.div_ceil(page_tokens));
        let of_kv = u64::from(layers * batch) * pages(prefill + decode) * u64::from(page_tokens) * kv;
        let all = u64::from(layers) * 2 * weights + of_kv;
        let indexed = u64::from(layers * batch) * pages(prefill + decode) * index;
        let mut config = small(layers, (weights, weights), kv, (all * fill / 100).max(1) + indexed, prefill, decode);
        config.trace = skipping(skip, churn, seed);
        (config.page_tokens, config.weight_prefetch, config.batch) = (page_tokens, weight_prefetch, batch);
        if inclusive {
            memory(&mut config).residency = ResidencyKind::Inclusive;
        }
        config.strategy.migration = migration.parse().unwrap();
        let (outcome, keep) = simulate(&with_index(config, index));
        prop_assert!(outcome.error.is_none(), "{:?}", outcome.error);
        prop_assert!(outcome.peak[0].get() <= (all * fill / 100).max(1));
        for (number, step) in keep.steps.iter().enumerate() {
            prop_assert!(step.latency >= step.bound);
            let least = u64::from(layers * batch) * pages(prefill + number as u32) * index;
            prop_assert!(step.attention_read[0] >= least);
        }
    }
}
