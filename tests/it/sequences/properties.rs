//! What must always hold of sequences that come and go, on random machines and runtimes and under
//! any strategy.

use super::*;
use crate::attention::{any_layers, any_strategy, attentions, model, with_model};
use crate::common::properties::cases;
use crate::common::runs::{bandwidth, memory, skipping};
use proptest::prelude::*;
use tiersim::config::Reference;
use tiersim::memory::{Arbitration, Interleaving, MemoryConfig, ResidencyKind, TierConfig};
use tiersim::simulation::{SkipThread, run_in_lockstep};
use tiersim::strategy::{MigrationKind, Strategy as Parts};
use tiersim::units::{Bytes, SimTime};
use tiersim::workload::{ComputeConfig, LanguageModel, ReadsConfig, RuntimeConfig};

/// The count of a group, its prompt, tokens and start, and the skip sets of its own.
type GroupOf = (u32, (u32, u32, u32), Option<(u32, u32, u64)>);

/// Groups of a few sequences; of some, the skip sets are their own.
pub fn any_groups() -> impl Strategy<Value = Vec<SequencesConfig>> {
    let own = prop::option::weighted(0.3, (0u32..=1000, 0u32..=500, any::<u64>()));
    let one = (1u32..4, (prop_oneof![Just(0u32), 0u32..50], 1u32..12, prop_oneof![Just(0u32), 0u32..10]), own);
    prop::collection::vec(one, 1..5).prop_map(|groups| {
        let of = |(count, of, own): GroupOf| SequencesConfig {
            trace: own.map(|(skip, churn, seed)| skipping(skip, churn, seed)),
            ..group(count, of)
        };
        let mut groups: Vec<SequencesConfig> = groups.into_iter().map(of).collect();
        groups[0].start_step = 0;
        groups
    })
}

pub fn any_prefill() -> impl Strategy<Value = PrefillConfig> {
    prop_oneof![
        Just(PrefillConfig::Given),
        (1u32..30, prop::sample::select(vec![PrefillOrder::Mixed, PrefillOrder::First]))
            .prop_map(|(chunk, order)| timed(chunk, order)),
    ]
}

/// A machine of two or three tiers, to whose first `fill` percent of all that is stored at once
/// belong.
#[derive(Clone, Debug)]
struct Machine {
    fill: u64,
    third: bool,
    arbitration: Arbitration,
    residency: ResidencyKind,
    channels: [u32; 2],
    hashed: Option<u32>,
    latency: u64,
    combined: bool,
}

prop_compose! {
    fn any_machine()(
        fill in 3u64..110, third: bool,
        arbitration in prop::sample::select(vec![Arbitration::Fair, Arbitration::Priority, Arbitration::Fifo]),
        residency in prop::sample::select(vec![ResidencyKind::Exclusive, ResidencyKind::Exclusive, ResidencyKind::Inclusive]),
        channels in prop::array::uniform2(1u32..5), hashed in prop::option::weighted(0.3, 1u32..20),
        latency in prop::sample::select(vec![0u64, 0, 1, 70_000]), combined: bool,
    ) -> Machine {
        Machine { fill, third, arbitration, residency, channels, hashed, latency, combined }
    }
}

impl Machine {
    fn on(&self, system: &mut MemoryConfig, most: u64) {
        system.arbitration = self.arbitration;
        system.residency = self.residency;
        for (tier, channels) in system.tiers.iter_mut().zip(self.channels) {
            tier.channels = channels;
            tier.interleaving =
                self.hashed.map_or(Interleaving::Striped, |page_tokens| Interleaving::Hashed { page_tokens });
        }
        system.tiers[0].capacity = Bytes::new((most * self.fill / 100).max(1));
        system.tiers[1].latency = SimTime::from_ps(self.latency);
        system.tiers[1].link_mut().unwrap().combined = self.combined.then(|| bandwidth(300));
        if self.third {
            let capacity = Bytes::new((most / 4).max(1));
            system.tiers.insert(1, TierConfig::new("between", capacity, bandwidth(400)));
        }
    }
}

prop_compose! {
    fn any_runtime()(
        way in 0u8..6, (ahead, buffer, chunk) in (0u32..6, 100u64..4_000, prop::option::of(10u64..100)), per_stage in prop_oneof![Just(0u64), 0u64..20_000], per_sequence in prop_oneof![Just(0u64), 0u64..1_000],
    ) -> RuntimeConfig {
        let way = match way {
            0 | 1 => ReadsConfig::Direct,
            2 => ReadsConfig::Serial,
            3 => ReadsConfig::Staged { buffer: Bytes::new(500), ahead: 0, chunk: None },
            _ => {
                let chunk = chunk.map(|percent| Bytes::new(buffer * percent / 100));
                ReadsConfig::Staged { buffer: Bytes::new(buffer), ahead, chunk }
            }
        };
        let [per_stage, per_sequence] = [per_stage, per_sequence].map(SimTime::from_ps);
        RuntimeConfig { reads: [("external".to_owned(), way)].into(), per_stage, per_sequence, ..RuntimeConfig::default() }
    }
}

/// How many tokens of its sequences a run has, step by step, from what its steps computed.
struct Lengths {
    tokens: Vec<u32>,
    /// How many tokens each is still to decode.
    left: Vec<u32>,
    prefill: Vec<u32>,
}

impl Lengths {
    fn new(groups: &[SequencesConfig], prefill: PrefillConfig) -> Self {
        let all = |of: fn(&SequencesConfig) -> Option<u32>| -> Vec<u32> {
            groups.iter().flat_map(|group| vec![of(group).unwrap(); group.count as usize]).collect()
        };
        let prefill_tokens = all(|group| group.prefill_tokens);
        let tokens = vec![0; prefill_tokens.len()];
        let given = if prefill.is_given() { prefill_tokens } else { tokens.clone() };
        Self { tokens, left: all(|group| group.decode_tokens), prefill: given }
    }

    /// The tokens of those that have KV when the step is over.
    fn after(&mut self, step: &Seen) -> Vec<u32> {
        for (tokens, left) in self.tokens.iter_mut().zip(&self.left) {
            *tokens = if *left == 0 { 0 } else { *tokens };
        }
        for &sequence in &step.decoded {
            self.tokens[sequence] += 1 + std::mem::take(&mut self.prefill[sequence]);
            self.left[sequence] -= 1;
        }
        for &(sequence, tokens) in &step.chunks {
            self.tokens[sequence] += tokens as u32;
        }
        self.tokens.clone()
    }
}

prop_compose! {
    fn any_case()(
        layers in (1u32..20).prop_flat_map(any_layers), groups in any_groups(), prefill in any_prefill(), machine in any_machine(),
        runtime in any_runtime(), strategy in any_strategy(), page_tokens in prop_oneof![Just(1u32), 1u32..6, Just(16)],
        budget in prop::sample::select(vec![None, None, Some("2 kB"), Some("30%")]),
        (skip, churn, seed) in (0u32..=900, 0u32..=500, any::<u64>()), weight_prefetch in prop_oneof![Just(0u32), 0u32..3],
        compute in prop::option::of(1u64..5), inline_bytes in prop::bool::weighted(0.3),
    ) -> ScenarioConfig {
        let mut config = small(layers.len() as u32, (700, 900), 32, 1, 1, 1);
        if !inline_bytes {
            config = with_model(config, model(&attentions(&layers, None)));
        }
        let Reference::Inline(of) = &config.model else { unreachable!("it is spelled out") };
        let checked = LanguageModel::new(of).unwrap();
        let pages: u64 = groups
            .iter()
            .map(|of| u64::from(of.count * (of.prefill_tokens.unwrap() + of.decode_tokens.unwrap()).div_ceil(page_tokens)))
            .sum();
        let most = checked.stored_weights().get() + pages * u64::from(page_tokens) * checked.token_bytes().get();
        machine.on(memory(&mut config), most);
        config.compute = compute.map(|rate| ComputeConfig {
            rate: format!("{rate} TFLOP/s").parse().unwrap(),
            flop_per_weight_byte: inline_bytes.then_some(1.0),
            flop_per_kv_byte: inline_bytes.then_some(2.0),
        });
        (config.sequences, config.prefill, config.page_tokens) = (groups, prefill, page_tokens);
        config.trace = skipping(skip, churn, seed);
        config.strategy = Parts { budget: budget.map(|budget| budget.parse().unwrap()), ..strategy };
        config.weight_prefetch = weight_prefetch;
        config.runtime = Reference::Inline(runtime);
        if config.weight_prefetch > 0 {
            // Weights are read early only where all tiers are read at once.
            config.runtime = Reference::Inline(RuntimeConfig::default());
        }
        config
    }
}

proptest! {
    #![proptest_config(cases(300))]

    /// Bytes are accounted for, no tier is over its capacity, time never runs back, no step beats
    /// its bound, and what is stored follows the sequences: it returns to weights and state as they
    /// end.
    #[test]
    fn what_always_holds(config in any_case()) {
        let Ok(scenario) = Scenario::new(config.clone()) else { return Ok(()) };
        let mut seen = Watch::default();
        // A layout may not fit.
        let Ok(outcome) = run(&scenario, &mut seen) else { return Ok(()) };
        for (class, carried) in seen.bytes.iter() {
            prop_assert_eq!(outcome.issued[class], outcome.completed[class] + outcome.dropped[class] + outcome.in_flight[class]);
            prop_assert_eq!(outcome.completed[class].get(), *carried, "{:?}", class);
            prop_assert_eq!(outcome.dropped[class].get(), seen.dropped[class]);
        }
        let memory = scenario.memory();
        for (tier, peak) in memory.tiers().iter().zip(&outcome.peak) {
            prop_assert!(*peak <= tier.capacity, "{} is over its capacity", tier.name);
        }
        let checked = scenario.model();
        let page = config.page_tokens;
        let weights = checked.stored_weights().get();
        let count = scenario.sequences().count() as u64;
        let state: u64 = checked.kv().iter().map(|kv| kv.state.get()).sum::<u64>() * count;
        let of_sequence = |tokens: u32| -> u64 {
            checked.kv().entries().map(|(layer, kv)| {
                let gone = kv.window.map_or(0, |window| tokens.saturating_sub(window)) / page;
                let own = if kv.source == layer { kv.token_bytes.get() } else { 0 };
                u64::from((tokens.div_ceil(page) - gone) * page) * own
            }).sum()
        };
        let inclusive = memory.residency() == ResidencyKind::Inclusive;
        let mut lengths = Lengths::new(&config.sequences, config.prefill);
        let (mut total, mut stored) = (0, 0);
        for step in &seen.steps {
            prop_assert!(step.bound <= step.latency, "{step:?}");
            total += step.latency;
            stored = lengths.after(step).into_iter().map(of_sequence).sum();
            let least = weights + state + stored;
            let used: u64 = if inclusive { *step.used.last().unwrap() } else { step.used.iter().sum() };
            prop_assert!(used >= least, "{used} held of {least}: {step:?}");
            if config.strategy.migration == MigrationKind::None && checked.kv().iter().all(|kv| kv.window.is_none()) {
                prop_assert!(used == least, "{used} held of {least}: {step:?}");
            }
        }
        prop_assert_eq!(SimTime::from_ps(total), outcome.simulated);
        if outcome.error.is_some() {
            return Ok(());
        }
        prop_assert_eq!(seen.steps.len(), scenario.steps());
        prop_assert_eq!(&lengths.left, &vec![0; count as usize]);
        let kv: u64 = outcome.at_end.kv.iter().map(|bytes| bytes.get()).sum();
        prop_assert_eq!(kv, state + stored);
        prop_assert!(outcome.in_flight.values().all(|bytes| *bytes == Bytes::ZERO));
        // The same again is the same; so it is beside others, whose skip sets are made elsewhere.
        let mut again = [Watch::default(), Watch::default()];
        let outcomes = run_in_lockstep(&[&scenario, &scenario], SkipThread::Background, &mut again).unwrap();
        for (other, watch) in outcomes.iter().zip(&again) {
            prop_assert_eq!(watch, &seen);
            prop_assert_eq!(format!("{other:?}"), format!("{outcome:?}"));
        }
    }
}
