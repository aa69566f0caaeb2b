//! A run allocates nothing a step in steady state.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use tiersim::simulation::{Probe, Scenario, ScenarioConfig, StepRecord, run};
use tiersim::workload::TraceConfig;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, that is, from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The allocations from the end of step 500 on.
#[derive(Default)]
struct FromStep500(Option<u64>);

impl Probe for FromStep500 {
    fn step(&mut self, step: &StepRecord<'_>) -> ControlFlow<()> {
        if step.step == 500 {
            self.0 = Some(ALLOCATIONS.load(Ordering::Relaxed));
        }
        ControlFlow::Continue(())
    }
}

#[test]
fn steps_do_not_allocate() {
    for strategy in ["best-ratio", "balanced", "balanced-online"] {
        let mut config = ScenarioConfig::load("study").unwrap();
        config.decode_tokens = 2000;
        config.strategy = strategy.parse().unwrap();
        if let TraceConfig::Generated(generator) = &mut config.trace {
            generator.skip = "0.4".parse().unwrap();
        }
        let scenario = Scenario::new(config).unwrap();
        let mut probe = FromStep500::default();
        run(&scenario, &mut probe).unwrap();
        let allocated = ALLOCATIONS.load(Ordering::Relaxed) - probe.0.unwrap();
        // 1500 steps of 32 layers, each with reads, a write and migrations both ways. The lists of moving tokens grow with
        // the context now and then, and the outcome at the end is a few vectors.
        assert!(allocated < 100, "{strategy}: {allocated} allocations");
    }
}
