//! Random small runs: against figures by hand, against a slow model of the bytes that `best-ratio`
//! moves, and what must hold of every run.

use super::*;
use crate::common::runs::skipping;

/// The bytes of a `best-ratio` run, computed literally: tokens as plain lists, and every move
/// complete at once.
struct SlowBytes {
    kv: u64,
    context: usize,
    on_hbm: Vec<Vec<bool>>,
    weights: u64,
    weights_on_hbm: u64,
    best: (u64, u64),
    migrated: (u64, u64),
}

fn round_half_up(numerator: i128, denominator: i128) -> i128 {
    (2 * numerator + denominator).div_euclid(2 * denominator)
}

impl SlowBytes {
    fn new(layers: usize, weights: u64, kv: u64, prefill: usize, hbm: u64, external: u64) -> Self {
        let best = (hbm, hbm + external);
        let n = round_half_up(i128::from(hbm) * prefill as i128, i128::from(best.1)) as usize;
        let on_hbm = (0..prefill).map(|j| (j + 1) * n / prefill > j * n / prefill).collect();
        Self {
            kv,
            context: prefill,
            on_hbm: vec![on_hbm; layers],
            weights,
            weights_on_hbm: round_half_up(i128::from(hbm) * i128::from(weights), i128::from(best.1)) as u64,
            best,
            migrated: (0, 0),
        }
    }

    fn read(&self, skips: &StepSkips) -> u64 {
        let mut on_hbm = 0;
        for (layer, tokens) in self.on_hbm.iter().enumerate() {
            on_hbm += self.weights_on_hbm;
            for (token, here) in tokens.iter().enumerate() {
                if *here && !skips.sets[layer].contains(token) {
                    on_hbm += self.kv;
                }
            }
        }
        on_hbm
    }

    fn write(&mut self) {
        for tokens in &mut self.on_hbm {
            let share = tokens.iter().filter(|here| **here).count() as u64;
            tokens.push(share * self.best.1 <= self.best.0 * tokens.len() as u64);
        }
        self.context += 1;
    }

    fn migrate(&mut self, next: &StepSkips) {
        self.migrated = (0, 0);
        for (layer, tokens) in self.on_hbm.iter_mut().enumerate() {
            let skipped = |token: usize| next.sets[layer].contains(token);
            for (token, here) in tokens.iter_mut().enumerate() {
                if *here && skipped(token) {
                    *here = false;
                    self.migrated.1 += self.kv;
                }
            }
            let active = (0..tokens.len()).filter(|token| !skipped(*token)).count() as i128;
            let (hbm, all, kv) = (i128::from(self.best.0), i128::from(self.best.1), i128::from(self.kv));
            let wanted = hbm * (i128::from(self.weights) + active * kv) - all * i128::from(self.weights_on_hbm);
            let target = round_half_up(wanted, all * kv).clamp(0, active);
            let mut on_hbm = tokens.iter().filter(|here| **here).count() as i128;
            for token in (0..tokens.len()).rev() {
                if on_hbm < target && !tokens[token] && !skipped(token) {
                    tokens[token] = true;
                    on_hbm += 1;
                    self.migrated.0 += self.kv;
                }
            }
            for here in tokens.iter_mut() {
                if on_hbm > target && *here {
                    *here = false;
                    on_hbm -= 1;
                    self.migrated.1 += self.kv;
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn baseline_by_hand_in_random_small_scenarios(
        layers in 1usize..5, attention in 1u64..40, mlp in 1u64..40, kv in 1u64..40, prefill in 0u32..60, decode in 1u32..40,
        fill in 0u64..120,
    ) {
        // Weights in MB and KV in hundreds of bytes: posted writes are small against a stage.
        let (attention, mlp, kv) = (attention * 1_000_000, mlp * 1_000_000, kv * 100);
        let all = layers as u64 * (attention + mlp + u64::from(prefill + decode) * kv);
        let hbm = 1 + all * fill / 100;
        let (_, keep) = simulate_steps(&small(layers as u32, (attention, mlp), kv, hbm, prefill, decode));
        let mut by_hand = ByHand::new(layers, &[attention, mlp], kv, hbm, u64::from(prefill), 1000.0, 250.0);
        for kept in &keep.steps {
            let expected = by_hand.step();
            let off = kept.latency.as_ns() / expected - 1.0;
            // A write takes at most 16 ns on the slowest lane.
            prop_assert!(off > -1e-9 && off < 0.001 + 16.0 * layers as f64 / expected, "{kept:?}: {expected}");
        }
    }

    #[test]
    fn best_ratio_moves_as_the_slow_model(
        layers in 2usize..5, kv in 1u64..2000, prefill in 1usize..80, decode in 2usize..25, skip in 0u32..=1000,
        churn in 0u32..=1000, seed: u64,
    ) {
        // Weights of 200 MB a stage: every write and move of a layer is over before its next step,
        // as there are other layers in between.
        let weights = 200_000_000;
        let mut config = small(layers as u32, (weights, weights), kv, 1 << 40, prefill as u32, decode as u32);
        let generator = GeneratorConfig {
            skip: Ratio::from_permille(skip).unwrap(),
            churn: Ratio::from_permille(churn).unwrap(),
            seed,
            ..GeneratorConfig::default()
        };
        config.trace = TraceConfig::Generated(generator.clone());
        config.strategy = BEST_RATIO;
        let (_, keep) = simulate_steps(&config);

        let mut source = Generator::new(generator, layers, prefill + decode);
        let mut skips = |step: usize| {
            let mut skips = StepSkips::none(layers, prefill + decode);
            source.next_step(prefill + step, &mut skips).unwrap();
            skips
        };
        let mut slow = SlowBytes::new(layers, weights, kv, prefill, 1000, 250);
        let mut now = skips(0);
        for (step, kept) in keep.steps.iter().enumerate() {
            prop_assert_eq!(kept.late, 0);
            prop_assert_eq!(kept.attention_read[0], slow.read(&now), "step {}", step);
            slow.write();
            slow.migrated = (0, 0);
            if step + 1 < decode {
                now = skips(step + 1);
                slow.migrate(&now);
            }
            prop_assert_eq!(kept.migrated, slow.migrated, "step {}", step);
        }
    }

    #[test]
    fn what_always_holds(
        layers in 1u32..4, attention in 0u64..20_000, mlp in 1u64..20_000, kv in 1u64..3_000, prefill in 0u32..70,
        decode in 1u32..25, fill in 1u64..130, skip in 0u32..=1000, churn in 0u32..=1000, seed: u64,
        arbitration in prop::sample::select(vec![Arbitration::Fair, Arbitration::Priority, Arbitration::Fifo]),
        initialization in prop::sample::select(InitializationKind::ALL),
        placement in prop::sample::select(PlacementKind::ALL),
        migration in prop::sample::select(MigrationKind::ALL),
        late in prop::sample::select(vec![Late::Finish, Late::Drop]),
        weight_prefetch in 0u32..4, flop in prop::option::of(0u32..4), reads in 1u64..4, combined in prop::bool::ANY,
        third in prop::option::of(0u64..100), latency in prop::sample::select(vec![0u64, 0, 1, 70_000, 2_000_000]),
    ) {
        let all = u64::from(layers) * (attention + mlp + u64::from(prefill + decode) * kv);
        let mut config = small(layers, (attention, mlp), kv, (all * fill / 100).max(1), prefill, decode);
        config.strategy = Parts { initialization, placement, migration, late, ..Parts::REFERENCE };
        config.trace = skipping(skip, churn, seed);
        config.weight_prefetch = weight_prefetch;
        config.compute = flop.map(|flop| ComputeConfig {
            rate: "1 TFLOP/s".parse().unwrap(),
            flop_per_weight_byte: Some(f64::from(flop)),
            flop_per_kv_byte: Some(f64::from(flop) / 2.0),
        });
        memory(&mut config).arbitration = arbitration;
        if combined {
            memory(&mut config).tiers[1].link_mut().unwrap().combined = Some(bandwidth(300));
        }
        memory(&mut config).tiers[1].latency = SimTime::from_ps(latency);
        if let Some(fill) = third {
            // A tier in between, which may be full as well.
            let capacity = Bytes::new((all * fill / 100).max(1));
            let between = TierConfig { duplex: Duplex::Full, ..TierConfig::new("between", capacity, bandwidth(400)) };
            memory(&mut config).tiers.insert(1, between);
        }
        if let Reference::Inline(model) = &mut config.model {
            model.layers[0].mlp.read = Some(Bytes::new(mlp * reads));
        }

        let (outcome, keep) = simulate_steps(&config);
        prop_assert!(outcome.error.is_none());
        // Capacity, at every moment.
        let memory = memory(&mut config).clone();
        for (tier, peak) in memory.tiers.iter().zip(&outcome.peak) {
            prop_assert!(*peak <= tier.capacity);
        }
        // Exclusive residency: nothing is lost, and what is in use twice is on its way.
        let stored = u64::from(layers) * (attention + mlp);
        for (step, kept) in keep.steps.iter().enumerate() {
            let used: u64 = kept.used.iter().sum();
            prop_assert!(used >= stored + u64::from(layers) * (u64::from(prefill) + step as u64 + 1) * kv);
        }
        // Bytes, exactly.
        prop_assert_eq!(outcome.issued, accounted(&outcome));
        prop_assert_eq!(outcome.in_flight, PerClass::filled(Bytes::ZERO));
        let steps = u64::from(decode);
        let layer = &model(&config).layers[0];
        let weights = layer.attention.stored.get() + layer.mlp.read.unwrap().get();
        let read_tokens: u64 = (0..steps)
            .map(|step| {
                let context = u64::from(prefill) + step;
                context - Ratio::from_permille(skip).unwrap().floor_of(context)
            })
            .sum();
        let migrated = keep.steps.iter().fold((0, 0), |sum, kept| (sum.0 + kept.migrated.0, sum.1 + kept.migrated.1));
        let expected = vec![
            steps * u64::from(layers) * weights,
            u64::from(layers) * read_tokens * kv,
            steps * u64::from(layers) * kv,
            migrated.0 - outcome.dropped[TransferClass::MigrateIn].get(),
            migrated.1 - outcome.dropped[TransferClass::MigrateOut].get(),
            0,
            0,
        ];
        prop_assert_eq!(keep.bytes.values().copied().collect::<Vec<_>>(), expected);
        // No step beats its bound; steps follow one another at once.
        for kept in &keep.steps {
            prop_assert!(kept.latency >= kept.bound, "{:?}", kept);
        }
        prop_assert_eq!(keep.steps.iter().map(|kept| kept.latency).sum::<SimTime>(), outcome.simulated);
        // No lane carries more than it can.
        let scenario = Scenario::new(config.clone()).unwrap();
        for (lane, load) in scenario.memory().lanes().iter().zip(&outcome.lanes) {
            let bytes: Bytes = load.bytes.values().copied().sum();
            prop_assert!(lane.whole.time_for(bytes) <= outcome.drained + SimTime::from_ps(1));
            prop_assert!(load.busy <= outcome.drained);
        }
        // The same again is the same.
        let (again, kept_again) = simulate_steps(&config);
        prop_assert_eq!((again.events, again.drained), (outcome.events, outcome.drained));
        prop_assert_eq!(kept_again.steps, keep.steps);
    }
}

proptest! {
    #![proptest_config(cases(48))]

    /// A strategy pays for its moves, whatever it sees; the bound that charges for moves is no
    /// lower than the one that does not.
    #[test]
    fn no_run_beats_the_bound_that_pays_for_moves(
        layers in 1u32..4, attention in 0u64..20_000, mlp in 1u64..20_000, kv in 1u64..3_000, prefill in 0u32..40,
        decode in 1u32..14, fill in 1u64..110, skip in 0u32..=1000, churn in 0u32..=1000, seed: u64,
        initialization in prop::sample::select(InitializationKind::ALL),
        placement in prop::sample::select(PlacementKind::ALL),
        migration in prop::sample::select(MigrationKind::ALL),
        weight_prefetch in 0u32..3, third in prop::option::of(0u64..100),
        late in prop::sample::select(vec![Late::Finish, Late::Drop]),
    ) {
        let all = u64::from(layers) * (attention + mlp + u64::from(prefill + decode) * kv);
        let mut config = small(layers, (attention, mlp), kv, (all * fill / 100).max(1), prefill, decode);
        config.strategy = Parts { initialization, placement, migration, late, ..Parts::REFERENCE };
        config.trace = skipping(skip, churn, seed);
        config.weight_prefetch = weight_prefetch;
        config.bound = tiersim::strategy::BoundKind::Charged;
        if let Some(fill) = third {
            let capacity = Bytes::new((all * fill / 100).max(1));
            memory(&mut config).tiers.insert(1, TierConfig::new("between", capacity, bandwidth(400)));
        }
        let (outcome, keep) = simulate_steps(&config);
        let charged = Scenario::new(config).unwrap().charged_bound().unwrap().unwrap();
        let free: SimTime = keep.steps.iter().map(|kept| kept.bound).sum();
        prop_assert!(outcome.simulated >= charged, "{:?} beats {:?}", outcome.simulated, charged);
        prop_assert!(charged >= free);
    }
}

proptest! {
    #![proptest_config(cases(100))]

    /// Steps of several runs in turn, with skip sets generated once for all and perhaps on another
    /// thread, change nothing, even where some end early.
    #[test]
    fn runs_in_lockstep_are_as_single_runs(
        layers in 1u32..4, kv in 1u64..3_000, prefill in 0u32..70, decode in 1u32..40, skip in 0u32..=1000, churn in 0u32..=500,
        seed: u64, page_tokens in 1u32..6, ahead: bool,
        runs in prop::collection::vec((
            prop::sample::select(InitializationKind::ALL), prop::sample::select(PlacementKind::ALL),
            prop::sample::select(MigrationKind::ALL),
            prop::sample::select(vec![Late::Finish, Late::Drop]), 1u64..130, 50u64..130), 1..5),
    ) {
        let all = u64::from(layers) * (40_000 + u64::from(prefill + decode) * kv);
        let scenarios: Vec<Scenario> = runs
            .into_iter()
            .filter_map(|(initialization, placement, migration, late, hbm, external)| {
                let hbm = (all * hbm / 100).max(1);
                let mut config = small(layers, (20_000, 20_000), kv, hbm, prefill, decode);
                config.page_tokens = page_tokens;
                config.strategy = Parts { initialization, placement, migration, late, ..Parts::REFERENCE };
                config.trace = skipping(skip, churn, seed);
                // Some have no room for all, or not even for what there is to begin with.
                memory(&mut config).tiers[1].capacity = Bytes::new((all * external / 100).saturating_sub(hbm).max(1));
                Scenario::new(config).ok()
            })
            .filter(|scenario| run(scenario, &mut ()).is_ok())
            .collect();
        let all: Vec<&Scenario> = scenarios.iter().collect();
        let mut kept: Vec<Steps> = scenarios.iter().map(|_| Steps::default()).collect();
        let made = if ahead { SkipThread::Background } else { SkipThread::Inline };
        let outcomes = run_in_lockstep(&all, made, &mut kept).unwrap();
        prop_assert_eq!(outcomes.len(), scenarios.len());
        for ((scenario, outcome), kept) in scenarios.iter().zip(outcomes).zip(kept) {
            let mut single = Steps::default();
            let expected = run(scenario, &mut single).unwrap();
            prop_assert_eq!(format!("{outcome:?}"), format!("{expected:?}"));
            prop_assert_eq!((kept.steps, kept.bytes), (single.steps, single.bytes));
        }
    }
}
