//! A run allocates nothing per step in steady state, and its memory grows only with layers times
//! tokens.

use crate::{allocations, most_held};
use std::ops::ControlFlow;
use tiersim::config::Reference;
use tiersim::memory::Arbitration;
use tiersim::simulation::{Probe, Scenario, ScenarioConfig, StepRecord, run};
use tiersim::workload::TraceConfig;

/// From this step on a run is in steady state.
const STEADY: usize = 300;

/// The allocations up to the end of step [`STEADY`].
#[derive(Default)]
struct UntilSteady(Option<u64>);

impl Probe for UntilSteady {
    fn step(&mut self, step: &StepRecord<'_>) -> ControlFlow<()> {
        if step.step.index() == STEADY {
            self.0 = Some(allocations());
        }
        ControlFlow::Continue(())
    }
}

fn study(change: impl FnOnce(&mut ScenarioConfig)) -> Scenario {
    let mut config = ScenarioConfig::load("study").unwrap();
    config.decode_tokens = 800;
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

/// Four sequences with a quarter of the tokens each.
fn batch(config: &mut ScenarioConfig, strategy: &str) {
    (config.batch, config.prefill_tokens) = (4, 256);
    config.strategy = strategy.parse().unwrap();
}

pub fn steps_do_not_allocate() {
    type Change = fn(&mut ScenarioConfig);
    // Not under `priority`, where migrations wait for reads to leave them something: there they
    // pile up, each with its tokens.
    let scenarios: [(&str, Change); 14] = [
        ("fair", |_| {}),
        ("baseline", |config| config.strategy = "baseline".parse().unwrap()),
        ("balanced", |config| config.strategy = "balanced".parse().unwrap()),
        ("balanced-online", |config| config.strategy = "balanced-online".parse().unwrap()),
        ("lru", |config| config.strategy.migration = "Lru(writes: Allocate)".parse().unwrap()),
        ("shared lfu", |config| config.strategy.migration = "Lfu(room: Shared)".parse().unwrap()),
        ("fifo", |config| arbitrated(config, Arbitration::Fifo)),
        ("pages", |config| config.page_tokens = 4),
        ("prefetch", |config| config.weight_prefetch = 2),
        ("batch", |config| batch(config, "best-ratio")),
        ("batch of baseline", |config| batch(config, "baseline")),
        ("batch of balanced", |config| batch(config, "balanced")),
        ("batch of balanced-online", |config| batch(config, "balanced-online")),
        ("batch that skips nothing", |config| {
            batch(config, "best-ratio");
            config.trace = TraceConfig::default();
        }),
    ];
    for (name, change) in scenarios {
        let mut probe = UntilSteady::default();
        run(&study(change), &mut probe).unwrap();
        let allocated = allocations() - probe.0.unwrap();
        // 500 steps of 32 layers, each with reads, a write and migrations both ways. The lists of
        // moving tokens grow with the context now and then, and the outcome is a few vectors.
        assert!(allocated < 100, "{name}: {allocated} allocations");
    }
}

pub fn memory_is_sets_of_tokens() {
    let after = |prefill: u32| {
        study(|config| {
            config.prefill_tokens = prefill;
            config.decode_tokens = 4;
        })
    };
    let (short, long) = (after(50_000), after(250_000));
    let held = |scenario: &Scenario| most_held(|| assert!(run(scenario, &mut ()).unwrap().error.is_none()));
    let grown = held(&long) - held(&short);
    // A bit a token and layer for each set: where tokens lie and are going on both tiers, which are
    // in flight, what two steps skip, and what the generator made of the last two. Those that move
    // at the start, and are listed, come on top.
    let set = 32 * 200_000 / 8;
    assert!(grown < 12 * set, "{grown} bytes more for 200,000 tokens more, of which a set is {set}");
}
