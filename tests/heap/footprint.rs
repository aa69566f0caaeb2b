//! The memory that a run takes against the memory that it predicts: never more, and not much less
//! where it is large.

use crate::{held, most_held};
use std::sync::Arc;
use tiersim::metrics::Recorder;
use tiersim::simulation::{Fields, Scenario, ScenarioConfig, run};

pub fn a_run_stays_below_what_it_said() {
    let settings: [(&str, &[(&str, &str)]); 11] = [
        ("study", &[("decode_tokens", "16"), ("strategy", "\"baseline\"")]),
        ("study", &[("decode_tokens", "4096"), ("trace.skip", "0.4"), ("strategy", "\"best-ratio\"")]),
        ("study", &[("decode_tokens", "4096"), ("trace.skip", "0.4"), ("strategy", "\"balanced\"")]),
        ("study", &[("decode_tokens", "4096"), ("trace.skip", "0.4"), ("strategy", "\"balanced-online\"")]),
        (
            "study",
            &[
                ("decode_tokens", "300"),
                ("trace.skip", "0.9"),
                ("trace.churn", "1"),
                ("prefill_tokens", "60000"),
                ("memory.external.capacity", "\"1TiB\""),
            ],
        ),
        (
            "study",
            &[
                ("decode_tokens", "200"),
                ("page_tokens", "16"),
                ("memory.hbm.interleaving", "{\"Hashed\":{\"page_tokens\":16}}"),
                ("memory.hbm.channels", "64"),
                ("strategy", "\"best-ratio\""),
            ],
        ),
        ("recorded", &[("decode_tokens", "400"), ("strategy", "\"best-ratio\"")]),
        ("study", &[("decode_tokens", "300"), ("memory", "\"hbm-lpddr-cxl\""), ("strategy", "\"best-ratio\"")]),
        ("gh200", &[("decode_tokens", "8"), ("strategy", "\"best-ratio\"")]),
        (
            "study",
            &[
                ("decode_tokens", "16"),
                ("batch", "32"),
                ("strategy", "\"baseline\""),
                ("prefill_tokens", "8192"),
                ("memory.external.capacity", "\"1TiB\""),
            ],
        ),
        (
            "study",
            &[("decode_tokens", "100"), ("batch", "8"), ("trace.skip", "0.4"), ("strategy", "\"balanced-online\"")],
        ),
    ];
    for (name, assignments) in settings {
        let mut fields = Fields::new(&ScenarioConfig::load(name).unwrap()).unwrap();
        for (path, value) in assignments {
            fields.set(path, serde_json::from_str(value).unwrap()).unwrap();
        }
        let scenario = Scenario::new(fields.config().unwrap()).unwrap();
        let predicted = scenario.memory_needed().get();
        let took = most_held(|| {
            let mut recorder = Recorder::new(&scenario);
            let outcome = run(&scenario, &mut recorder).unwrap();
            drop(recorder.finish(&scenario, &outcome));
        });
        println!("{name} {assignments:?}: predicted {predicted}, took {took}");
        assert!(took <= predicted, "{name} {assignments:?}: predicted {predicted}, took {took}");
        assert!(
            took * 8 >= predicted || predicted < 200 << 20,
            "{name} {assignments:?}: predicted {predicted}, took {took}"
        );
    }

    let mut fields = Fields::new(&ScenarioConfig::load("study").unwrap()).unwrap();
    fields.set("decode_tokens", 500.into()).unwrap();
    // Where nothing is skipped, nothing is stored.
    let scenario = Scenario::new(fields.config().unwrap()).unwrap();
    assert!(scenario.store_skips().unwrap().iter().all(Option::is_none));
    fields.set("trace.skip", 0.4.into()).unwrap();
    let scenario = Scenario::new(fields.config().unwrap()).unwrap();
    let before = held();
    let stored = Arc::new(scenario.store_skips().unwrap());
    let took = held() - before;
    let predicted = tiersim::workload::StoredSkips::bytes(32, 1024, 500).get();
    assert!(took >= predicted && took - predicted < 1000, "predicted {predicted}, took {took}");
    drop(stored);
}
