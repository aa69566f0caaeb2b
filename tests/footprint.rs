//! A run takes no more memory than it says beforehand, and not much less where it takes much.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tiersim::metrics::Recorder;
use tiersim::simulation::{Fields, Scenario, ScenarioConfig, run};

struct Counting;

static HELD: AtomicU64 = AtomicU64::new(0);
static MOST: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size() as u64, Ordering::Relaxed) + layout.size() as u64;
        MOST.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the pointer came from `alloc` above, that is, from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// One test, as the counters are of the whole process.
#[test]
fn a_run_stays_below_what_it_said() {
    let settings: [(&str, &[(&str, &str)]); 9] = [
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
    ];
    for (name, assignments) in settings {
        let mut fields = Fields::new(&ScenarioConfig::load(name).unwrap()).unwrap();
        for (path, value) in assignments {
            fields.set(path, serde_json::from_str(value).unwrap()).unwrap();
        }
        let scenario = Scenario::new(fields.config().unwrap()).unwrap();
        let said = scenario.memory_needed().get();
        let before = HELD.load(Ordering::Relaxed);
        MOST.store(before, Ordering::Relaxed);
        let mut recorder = Recorder::new(&scenario);
        let outcome = run(&scenario, &mut recorder).unwrap();
        drop(recorder.finish(&scenario, &outcome));
        let took = MOST.load(Ordering::Relaxed) - before;
        println!("{name} {assignments:?}: said {said}, took {took}");
        assert!(took <= said, "{name} {assignments:?}: said {said}, took {took}");
        assert!(took * 8 >= said || said < 200 << 20, "{name} {assignments:?}: said {said}, took {took}");
    }

    let scenario =
        Scenario::new(ScenarioConfig { decode_tokens: 500, ..ScenarioConfig::load("study").unwrap() }).unwrap();
    let before = HELD.load(Ordering::Relaxed);
    let stored = Arc::new(scenario.store_skips().unwrap());
    let took = HELD.load(Ordering::Relaxed) - before;
    let said = tiersim::workload::StoredSkips::bytes(32, 1024, 500).get();
    assert!(took >= said && took - said < 1000, "said {said}, took {took}");
    drop(stored);
}
