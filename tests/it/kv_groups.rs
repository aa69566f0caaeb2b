//! KV in groups: keys and values apart, heads apart. Each group is a region, with tiers, moves and
//! skip sets of its own.

use std::fmt::Write;
use tiersim::metrics::{Recorder, Summary};
use tiersim::simulation::{Scenario, ScenarioConfig, run};

/// Two layers of 16 KiB of weights, whose tokens leave 2 KiB of KV: 4 heads of 128 elements, keys
/// and values, at 2 bytes; HBM that reads 4 GB/s and external memory that reads 1.
fn config(fields: &str) -> ScenarioConfig {
    let mut text = String::from(
        "Scenario(name: \"groups\", model: LanguageModel(name: \"m\", architecture: (hidden: 256, vocabulary: 64, \
         blocks: [(count: 2, layers: [(attention: Full(heads: 4, kv_heads: 4, head_size: 128), \
         mlp: Dense(intermediate: 256))])])), memory: MemorySystem(name: \"s\", arbitration: Fair, tiers: [\
         (name: \"hbm\", capacity: \"CAPACITY\", bandwidth: \"4 GB/s\"), \
         (name: \"external\", capacity: \"64 MiB\", bandwidth: \"1 GB/s\", link: (read: \"1 GB/s\", write: \"1 GB/s\"))]), \
         prefill_tokens: 64, decode_tokens: 6, ",
    );
    write!(text, "{fields})").unwrap();
    let text = text.replace("CAPACITY", if fields.contains("/*short*/") { "3 MiB" } else { "16 MiB" });
    tiersim::config::parse(&text, "groups").unwrap()
}

fn summary(fields: &str) -> Summary {
    let scenario = Scenario::new(config(fields)).unwrap();
    let mut recorder = Recorder::new(&scenario);
    let outcome = run(&scenario, &mut recorder).unwrap();
    let summary = recorder.finish(&scenario, &outcome).summary;
    assert!(summary.complete, "{:?}", summary.error);
    summary
}

/// The bytes of a class of transfers, on all tiers.
fn bytes(summary: &Summary, class: &str) -> u64 {
    let classes = &summary.transfers.0;
    let of =
        classes.iter().find(|(name, _)| name.starts_with(class)).unwrap_or_else(|| panic!("{class} of {classes:?}"));
    of.1.bytes.0.iter().map(|(_, bytes)| *bytes).sum()
}

const GROUPS: [&str; 3] = ["KeysAndValues", "Heads", "KeysAndValuesOfHeads"];

/// Where all groups have the same sets and lie on the same tier, nothing changes but that there are
/// more regions.
#[test]
fn groups_that_lie_and_are_skipped_alike_are_as_fast_as_one_region() {
    for skip in ["trace: Generated(skip: 0, churn: 0, seed: 1)", "trace: Generated(skip: 0.4, churn: 0.2, seed: 1)"] {
        let fields = |groups: &str| format!("kv_groups: {groups}, strategy: \"baseline\", {skip}");
        let whole = summary(&fields("Whole"));
        for groups in GROUPS {
            let apart = summary(&fields(groups));
            assert_eq!(bytes(&apart, "KvRead"), bytes(&whole, "KvRead"), "{groups}");
            assert_eq!(bytes(&apart, "KvWrite"), bytes(&whole, "KvWrite"), "{groups}");
            assert_eq!(bytes(&apart, "WeightRead"), bytes(&whole, "WeightRead"), "{groups}");
            // Rounding to the picosecond.
            assert!((apart.simulated_ns - whole.simulated_ns).abs() < 1.0, "{groups}");
            assert!((apart.bound.simulated_ns - whole.bound.simulated_ns).abs() < 1e-3 * whole.bound.simulated_ns);
        }
    }
}

/// Every strategy reads the same bytes however KV is divided, and none beats the bound.
#[test]
fn strategies_move_groups_as_they_move_any_region() {
    for strategy in [
        "\"baseline\"",
        "\"best-ratio\"",
        "\"balanced\"",
        "\"balanced-online\"",
        "(initialization: \"HbmFirst\", \
         placement: \"PreferHbm\", migration: \"Lru\")",
        "(initialization: \"BestRatio\", placement: \"LayerImportance\", \
         migration: \"PastWindow\")",
        "(initialization: \"KvFirst\", placement: \"SplitLayers\", migration: \"Belady\")",
    ] {
        let fields = |groups: &str| {
            format!(
                "/*short*/ kv_groups: {groups}, batch: 6, page_tokens: 4, strategy: {strategy}, \
                 trace: Generated(skip: 0.5, churn: 0.2, seed: 3)"
            )
        };
        let whole = summary(&fields("Whole"));
        for groups in GROUPS {
            let apart = summary(&fields(groups));
            assert_eq!(bytes(&apart, "KvRead"), bytes(&whole, "KvRead"), "{groups} {strategy}");
            assert!(apart.bound.achieved_over_bound >= Some(1.0), "{groups} {strategy}");
        }
    }
}

/// Keys on HBM, values in external memory. A step of context c reads 1 KiB of keys and as much of
/// values for each of c tokens in each layer. The 1 MiB of weights of attention takes HBM 262 us,
/// longer than external memory takes for all KV (2 KiB x 69 at 1 GB/s: 141 us): so each byte of
/// keys that HBM reads and writes besides takes its 0.25 ns.
#[test]
fn keys_lie_on_hbm_and_values_in_external_memory() {
    let split = summary("strategy: \"baseline\", kv_groups: KeysAndValues, layout: \"values=external, *=hbm\"");
    let tokens: u64 = (64..70).sum();
    let of_values = 2 * tokens * 1024;
    let read = |class: &str, tier: &str| {
        let classes = &split.transfers.0;
        let of = &classes.iter().find(|(name, _)| name.starts_with(class)).unwrap().1.bytes.0;
        of.iter().find(|(name, _)| name == tier).unwrap().1
    };
    assert_eq!((read("KvRead", "external"), read("KvRead", "hbm")), (of_values, of_values));
    assert_eq!((read("KvWrite", "external"), read("KvWrite", "hbm")), (2 * 6 * 1024, 2 * 6 * 1024));
    // The same with the keys of head by head.
    let of_heads =
        summary("strategy: \"baseline\", kv_groups: KeysAndValuesOfHeads, layout: \"values=external, *=hbm\"");
    assert!((of_heads.simulated_ns - split.simulated_ns).abs() < 1.0);
    let whole = summary("strategy: \"baseline\", layout: \"kv=external, *=hbm\"");
    let longer = split.simulated_ns - whole.simulated_ns;
    let by_hand = (of_values + 2 * 6 * 1024) as f64 / 4.0;
    assert!((longer - by_hand).abs() < 1.0, "{longer} of {by_hand}");
}

#[test]
fn what_cannot_be_divided_is_refused() {
    let refused = |config: ScenarioConfig| Scenario::new(config).unwrap_err().to_string();
    let of_model = |model: &str, groups: &str| {
        let mut config = config(&format!("kv_groups: {groups}"));
        config.model = tiersim::config::Reference::Name(model.to_owned());
        refused(config)
    };
    assert!(of_model("deepseek-v3", "KeysAndValues").contains("latent attention"));
    assert!(of_model("study", "Heads").contains("KV heads"));
    assert!(refused(config("layout: \"keys=hbm, *=external\"")).contains("kv_groups"));
    assert!(refused(config("kv_groups: Heads, layout: \"keys=hbm, *=external\"")).contains("kv_groups"));
    assert!(refused(config("kv_groups: Heads, bound: Charged")).contains("kv_groups"));
}
