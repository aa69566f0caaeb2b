//! A run allocates nothing a step in steady state, and its memory grows with layers times tokens alone.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use tiersim::config::Reference;
use tiersim::memory::Arbitration;
use tiersim::simulation::{Probe, Scenario, ScenarioConfig, StepRecord, run};
use tiersim::workload::TraceConfig;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static HELD: AtomicU64 = AtomicU64::new(0);
static MOST_HELD: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        let size = layout.size() as u64;
        MOST_HELD.fetch_max(HELD.fetch_add(size, Ordering::Relaxed) + size, Ordering::Relaxed);
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

/// The allocations from the end of step 500 on.
#[derive(Default)]
struct FromStep500(Option<u64>);

impl Probe for FromStep500 {
    fn step(&mut self, step: &StepRecord<'_>) -> ControlFlow<()> {
        if step.step.index() == 500 {
            self.0 = Some(ALLOCATIONS.load(Ordering::Relaxed));
        }
        ControlFlow::Continue(())
    }
}

fn study(change: impl FnOnce(&mut ScenarioConfig)) -> Scenario {
    let mut config = ScenarioConfig::load("study").unwrap();
    config.decode_tokens = 2000;
    config.strategy = "best-ratio".parse().unwrap();
    if let TraceConfig::Generated(generator) = &mut config.trace {
        generator.skip = "0.4".parse().unwrap();
    }
    change(&mut config);
    Scenario::new(config).unwrap()
}

fn arbitrated(config: &mut ScenarioConfig, arbitration: Arbitration) {
    let mut memory = tiersim::catalog::memory("study").unwrap();
    memory.arbitration = arbitration;
    config.memory = Reference::Inline(memory);
}

/// The most bytes held at once while `scenario` runs, beyond those held before.
fn most_held(scenario: &Scenario) -> u64 {
    let before = HELD.load(Ordering::Relaxed);
    MOST_HELD.store(before, Ordering::Relaxed);
    assert!(run(scenario, &mut ()).unwrap().error.is_none());
    MOST_HELD.load(Ordering::Relaxed) - before
}

/// One test, as what other threads allocate would count as well.
#[test]
fn steps_do_not_allocate_and_memory_is_sets_of_tokens() {
    type Change = fn(&mut ScenarioConfig);
    // Not under `priority`, where migrations wait for reads to leave them something: there they pile up, each with its tokens.
    let scenarios: [(&str, Change); 9] = [
        ("fair", |_| {}),
        ("baseline", |config| config.strategy = "baseline".parse().unwrap()),
        ("balanced", |config| config.strategy = "balanced".parse().unwrap()),
        ("balanced-online", |config| config.strategy = "balanced-online".parse().unwrap()),
        ("lru", |config| config.strategy.migration = "Lru(writes: Allocate)".parse().unwrap()),
        ("shared lfu", |config| config.strategy.migration = "Lfu(room: Shared)".parse().unwrap()),
        ("fifo", |config| arbitrated(config, Arbitration::Fifo)),
        ("pages", |config| config.page_tokens = 4),
        ("prefetch", |config| config.weight_prefetch = 2),
    ];
    for (name, change) in scenarios {
        let mut probe = FromStep500::default();
        run(&study(change), &mut probe).unwrap();
        let allocated = ALLOCATIONS.load(Ordering::Relaxed) - probe.0.unwrap();
        // 1500 steps of 32 layers, each with reads, a write and migrations both ways. The lists of moving tokens grow with
        // the context now and then, and the outcome at the end is a few vectors.
        assert!(allocated < 100, "{name}: {allocated} allocations");
    }

    let after = |prefill: u32| {
        study(|config| {
            config.prefill_tokens = prefill;
            config.decode_tokens = 4;
        })
    };
    let (short, long) = (after(50_000), after(250_000));
    let grown = most_held(&long) - most_held(&short);
    // A bit a token and layer for each set: where tokens lie and are going on both tiers, which are in flight, what two steps
    // skip, and what the generator made of the last two. Those that move at the start, and are listed, come on top.
    let set = 32 * 200_000 / 8;
    assert!(grown < 12 * set, "{grown} bytes more for 200,000 tokens more, of which a set is {set}");
}
