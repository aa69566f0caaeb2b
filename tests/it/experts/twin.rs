//! Caches of experts against a simulator of their own: for each layer a list of the experts on HBM,
//! and for each step what is read from where. Memory has a copy of every expert, so an eviction
//! takes no time, and moves are free, so that a step takes as long as its reads.

use super::{EXPERT, Routed, routing, scenario};
use crate::common::runs::memory;
use proptest::prelude::*;
use tiersim::memory::ResidencyKind;
use tiersim::simulation::{Ideal, Scenario, run};
use tiersim::strategy::{MigrationKind, On};
use tiersim::units::LayerId;
use tiersim::workload::{StageLabel, Weights, routings, unread};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Lru,
    Lfu,
    Fifo,
    Belady,
}

/// The experts that each step reads of a layer, and how many of them are on HBM then.
fn hits(order: Order, room: usize, reads: &[Vec<usize>]) -> Vec<usize> {
    // At first the first experts are there, in a cache that has seen no use.
    let mut resident: Vec<usize> = (0..room).collect();
    let (mut used, mut uses, mut came) = ([0usize; 64], [0usize; 64], [0usize; 64]);
    let mut hits = Vec::new();
    for (step, read) in reads.iter().enumerate() {
        hits.push(read.iter().filter(|expert| resident.contains(expert)).count());
        let next = |expert: usize| {
            let later = reads[step + 1..].iter().position(|read| read.contains(&expert));
            later.map_or(usize::MAX, |ahead| ahead)
        };
        for &expert in read {
            (used[expert], uses[expert]) = (step + 1, uses[expert] + 1);
            if !resident.contains(&expert) {
                came[expert] = step + 1;
            }
        }
        // Greater: kept longer.
        let worth = |expert: usize| match order {
            Order::Lru => used[expert],
            Order::Lfu => uses[expert] + if read.contains(&expert) { 1 << 20 } else { 0 },
            Order::Fifo => came[expert],
            Order::Belady => usize::MAX - next(expert),
        };
        let mut misses: Vec<usize> = read.iter().copied().filter(|expert| !resident.contains(expert)).collect();
        misses.sort_by_key(|expert| std::cmp::Reverse((worth(*expert), *expert)));
        for miss in misses {
            if order == Order::Belady && worth(miss) == 0 {
                continue;
            }
            if resident.len() == room {
                let Some(worst) = resident.iter().copied().min_by_key(|expert| (worth(*expert), *expert)) else {
                    break;
                };
                if worth(worst) >= worth(miss) {
                    break;
                }
                resident.retain(|expert| *expert != worst);
            }
            resident.push(miss);
        }
    }
    hits
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn caches_of_experts_are_those_of_the_twin(
        order in prop::sample::select(vec![Order::Lru, Order::Lfu, Order::Fifo, Order::Belady]),
        (room, batch) in (0usize..=16, 1u32..4),
        exponent in 0.0f64..1.5,
        persistence in 0u32..=1000,
        seed in 0u64..1000,
    ) {
        let steps = 30;
        // A share that is a whole number of experts of sixteen.
        let mut config = scenario(16, 2, &format!("{}%", room as f64 * 6.25), (3, steps));
        config.routing = routing(exponent, persistence, seed);
        config.batch = batch;
        memory(&mut config).residency = ResidencyKind::Inclusive;
        config.strategy.migration = format!("{order:?}").parse::<MigrationKind>().unwrap();
        config.strategy.on = On::Experts;
        let scenario = Scenario::new(config).unwrap();
        let (mut source, mut left) = (scenario.routing().unwrap().unwrap(), unread(&routings(scenario.model())));
        // By layer, what each step reads.
        let mut reads = vec![Vec::new(); 3];
        for _ in 0..steps {
            source.next_step(batch as usize, &mut left).unwrap();
            for (layer, unread) in left.sets.iter().enumerate() {
                reads[layer].push((0..16).filter(|expert| !unread.contains(*expert)).collect::<Vec<_>>());
            }
        }
        let hits: Vec<Vec<usize>> = reads.iter().map(|reads| hits(order, room, reads)).collect();
        let mut routed = Routed::default();
        let free = scenario.idealized([Ideal::FreeMigration, Ideal::FreeWrites].into_iter().collect()).unwrap();
        run(&free, &mut routed).unwrap();
        for step in 0..steps as usize {
            let (on_hbm, all) = (0..3).fold((0, 0), |(hit, all), layer| {
                (hit + hits[layer][step], all + reads[layer][step].len())
            });
            let simulated: Vec<u64> = routed.steps[step].read.values().copied().collect();
            prop_assert_eq!(simulated, vec![on_hbm as u64, (all - on_hbm) as u64], "step {}", step);
            // At 1000 and 250 GB/s a byte takes 1 and 4 ps. The KV of a token takes 128 B in a
            // layer.
            let mut time = 3 * u64::from(batch) * (3 + step as u64) * 128;
            for stage in scenario.model().stages() {
                let is_fixed = |weights: &&Weights| !weights.are_experts();
                let fixed: u64 = stage.weights.iter().filter(is_fixed).map(|of| of.read_at(batch).get()).sum();
                time += match stage.layer.filter(|_| stage.label == StageLabel::Mlp).map(LayerId::index) {
                    None => fixed,
                    Some(layer) => {
                        let (hit, all) = (hits[layer][step], reads[layer][step].len());
                        u64::max(fixed + hit as u64 * EXPERT, (all - hit) as u64 * EXPERT * 4)
                    }
                };
            }
            prop_assert_eq!(routed.latencies[step], time, "step {}", step);
        }
    }
}
