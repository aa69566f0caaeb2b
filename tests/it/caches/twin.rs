//! Caches against a twin that keeps ordered sets of tokens and knows nothing of time, and `Belady`
//! against all ways to choose what stays.

use super::*;

/// A parameter of a run that a twin follows.
#[derive(Clone, Copy, Debug)]
struct Setup {
    /// How many KV regions there are: layers, of several sequences those of all, layer by layer.
    layers: usize,
    /// How many sequences: those of a layer are read together, and decide one after the other.
    sequences: usize,
    prefill: usize,
    /// In bytes, for KV.
    room: u64,
    exclusive: bool,
    prefers_hbm: bool,
    cache: MigrationKind,
}

#[derive(Clone, Copy, PartialEq)]
enum By {
    Recency,
    Frequency,
    Arrival,
    NextRead(usize),
}

/// A cache as ordered sets of tokens, one per layer, that knows nothing of time: every move has
/// completed when the next layer decides.
struct Twin<'a> {
    setup: Setup,
    by: By,
    shared: bool,
    kept_free: usize,
    /// How many tokens of a layer may be on HBM.
    budget: usize,
    reads: &'a Reads,
    on_hbm: Vec<BTreeSet<usize>>,
    last_use: BTreeMap<(usize, usize), i64>,
    uses: BTreeMap<(usize, usize), i64>,
    arrival: BTreeMap<(usize, usize), i64>,
    /// By layer, the last step that it has decided in, from 1 on.
    decided: Vec<i64>,
    /// Written in this step by sequences that have not decided in it.
    just_written: BTreeSet<(usize, usize)>,
    /// Admitted by the decisions of this moment, by layer and token.
    admitted: BTreeSet<(usize, usize)>,
    /// Layer and token of what it evicts that is to be carried: the layer computed next still reads
    /// it where it is.
    leaving: BTreeSet<(usize, usize)>,
}

impl<'a> Twin<'a> {
    fn new(setup: Setup, reads: &'a Reads) -> Self {
        let (by, room, writes, budget) = match setup.cache {
            MigrationKind::Lru { room, writes, budget } => (By::Recency, room, writes, budget),
            MigrationKind::Lfu { room, writes, budget } => (By::Frequency, room, writes, budget),
            MigrationKind::Fifo { room, writes, budget } => (By::Arrival, room, writes, budget),
            MigrationKind::Belady { steps, room, writes, budget } => {
                (By::NextRead(steps.steps()), room, writes, budget)
            }
            other => panic!("{other} is no cache"),
        };
        let mut twin = Self {
            setup,
            by,
            shared: room == Room::Shared,
            kept_free: usize::from(writes == Writes::Allocate),
            budget: budget.map_or(usize::MAX, |tokens| tokens.get() as usize),
            reads,
            on_hbm: vec![BTreeSet::new(); setup.layers],
            last_use: BTreeMap::new(),
            uses: BTreeMap::new(),
            arrival: BTreeMap::new(),
            decided: vec![0; setup.layers],
            just_written: BTreeSet::new(),
            admitted: BTreeSet::new(),
            leaving: BTreeSet::new(),
        };
        // The layout goes sequence by sequence.
        let sequences = setup.sequences;
        for token in 0..setup.prefill {
            for layer in (0..sequences).flat_map(|sequence| (sequence..setup.layers).step_by(sequences)) {
                if twin.free() > 0 {
                    twin.on_hbm[layer].insert(token);
                }
            }
        }
        twin
    }

    fn free(&self) -> usize {
        (self.setup.room / KV) as usize - self.on_hbm.iter().map(BTreeSet::len).sum::<usize>()
    }

    fn run(mut self) -> Vec<u64> {
        let reads = self.reads;
        let mut missed = vec![0; reads.len()];
        for (step, of_step) in reads.iter().enumerate() {
            let new = self.setup.prefill + step;
            for together in (0..of_step.len()).step_by(self.setup.sequences) {
                let regions = together..together + self.setup.sequences;
                for region in regions.clone() {
                    let misses = of_step[region].difference(&self.on_hbm[region]);
                    missed[step] += misses.filter(|token| !self.leaving.contains(&(region, **token))).count() as u64;
                }
                self.leaving.clear();
                for region in regions.clone() {
                    if self.setup.prefers_hbm && self.free() > 0 {
                        self.on_hbm[region].insert(new);
                    }
                    self.just_written.insert((region, new));
                }
                self.admitted.clear();
                for region in regions.filter(|_| step + 1 < reads.len()) {
                    let misses: Vec<usize> = of_step[region].difference(&self.on_hbm[region]).copied().collect();
                    self.decide(step as i64 + 1, region, &misses, new);
                }
            }
        }
        missed
    }

    fn decide(&mut self, step: i64, layer: usize, misses: &[usize], new: usize) {
        for &token in self.reads[step as usize - 1][layer].iter().chain([&new]) {
            self.last_use.insert((layer, token), step);
            *self.uses.entry((layer, token)).or_default() += 1;
        }
        misses.iter().chain([&new]).for_each(|token| {
            self.arrival.insert((layer, *token), step);
        });
        self.decided[layer] = step;
        self.just_written.remove(&(layer, new));
        let mut misses: Vec<usize> = misses.to_vec();
        if self.by == By::NextRead(usize::MAX) {
            misses.retain(|token| self.next_read(layer, *token).is_some());
        }
        misses.sort_by_key(|token| Reverse((self.rank(layer, *token), *token)));

        let held_now = self.held(layer);
        let places_now = (self.room().saturating_sub(held_now)).min(self.free());
        while self.held(layer) > self.room() && self.evict(layer, None) {}
        if !self.setup.exclusive {
            for token in misses {
                while self.held(layer) >= self.room() || self.free() == 0 {
                    if !self.evict(layer, Some(self.rank(layer, token))) {
                        return;
                    }
                }
                self.on_hbm[layer].insert(token);
                self.admitted.insert((layer, token));
            }
            return;
        }
        for &token in misses.iter().take(places_now) {
            self.on_hbm[layer].insert(token);
            self.admitted.insert((layer, token));
        }
        for (index, &token) in misses.iter().enumerate() {
            while self.held(layer) + index + 1 > self.room() {
                if !self.evict(layer, Some(self.rank(layer, token))) {
                    return;
                }
            }
        }
    }

    /// How many tokens may be on HBM.
    fn room(&self) -> usize {
        let (layers, all) = (self.setup.layers, self.setup.room / KV);
        if self.shared {
            (all as usize).min(self.budget.saturating_mul(layers)).saturating_sub(layers * self.kept_free)
        } else {
            ((all / layers as u64) as usize).min(self.budget).saturating_sub(self.kept_free)
        }
    }

    fn held(&self, layer: usize) -> usize {
        if self.shared { self.on_hbm.iter().map(BTreeSet::len).sum() } else { self.on_hbm[layer].len() }
    }

    fn evict(&mut self, layer: usize, below: Option<(i64, i64)>) -> bool {
        let layers = if self.shared { 0..self.setup.layers } else { layer..layer + 1 };
        let residents = layers
            .flat_map(|other| self.on_hbm[other].iter().map(move |token| (other, *token)))
            .filter(|of| !self.admitted.contains(of) && !self.just_written.contains(of));
        // Of equals the first layer of the first sequence.
        let place = |layer: usize| (layer % self.setup.sequences, layer);
        let worst = residents.map(|(other, token)| (self.rank(other, token), place(other), token)).min();
        match worst {
            Some((rank, (_, other), token)) if below.is_none_or(|below| rank < below) => {
                if self.setup.exclusive {
                    self.leaving.insert((other, token));
                }
                self.on_hbm[other].remove(&token)
            }
            _ => false,
        }
    }

    fn rank(&self, layer: usize, token: usize) -> (i64, i64) {
        let of = |map: &BTreeMap<(usize, usize), i64>| map.get(&(layer, token)).copied().unwrap_or(0);
        match self.by {
            By::Recency => (of(&self.last_use), layer as i64),
            By::Frequency => {
                let just_used = self.decided[layer] > 0 && of(&self.last_use) == self.decided[layer];
                (i64::from(just_used), of(&self.uses))
            }
            By::Arrival => (of(&self.arrival), layer as i64),
            By::NextRead(_) => {
                self.next_read(layer, token).map_or((i64::MIN, 0), |next| (-(next as i64), -(layer as i64)))
            }
        }
    }

    fn next_read(&self, layer: usize, token: usize) -> Option<usize> {
        let By::NextRead(steps) = self.by else { return None };
        let from = self.decided[layer] as usize;
        // Before its first decision a layer's next read may be in the present step.
        let steps = steps.saturating_add(usize::from(from == 0));
        let seen = self.reads.iter().enumerate().skip(from).take(steps);
        seen.filter(|(_, step)| step[layer].contains(&token)).map(|(step, _)| step).next()
    }
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn every_cache_is_as_its_twin(
        layers in 2usize..5, prefill in 1usize..70, decode in 2usize..25, skip in 300u32..=1000, churn in 0u32..=600,
        seed: u64, tokens in 0u64..150, rest in 0u64..KV, exclusive: bool, prefers_hbm: bool, cache in any_cache(),
    ) {
        let reads = generated(layers, prefill, decode, skip, churn, seed);
        let setup = Setup { layers, sequences: 1, prefill, room: tokens * KV + rest, exclusive, prefers_hbm, cache };
        let parts = (placement(prefers_hbm), cache);
        let scenario =
            of_reads(layers, (prefill as u32, decode as u32), setup.room, residency(exclusive), parts, &reads);
        prop_assert_eq!(misses(&scenario), Twin::new(setup, &reads).run(), "{}", cache);
    }

    /// Several sequences, each with its own reads: what one evicts of another that was read at the
    /// same time is a miss of that one.
    #[test]
    fn every_cache_of_several_sequences_is_as_its_twin(
        layers in 2usize..4, sequences in 2usize..4, prefill in 1usize..40, decode in 2usize..20, skip in 300u32..=1000,
        churn in 0u32..=600, seed: u64, tokens in 0u64..150, rest in 0u64..KV, prefers_hbm: bool, cache in any_cache(),
    ) {
        let regions = layers * sequences;
        let reads = generated(regions, prefill, decode, skip, churn, seed);
        let of_sequence = |sequence: usize| -> Reads {
            let of = |step: &Vec<BTreeSet<usize>>| step.iter().skip(sequence).step_by(sequences).cloned().collect();
            reads.iter().map(of).collect()
        };
        let each: Vec<Reads> = (0..sequences).map(of_sequence).collect();
        let room = tokens * KV + rest;
        let setup = Setup { layers: regions, sequences, prefill, room, exclusive: false, prefers_hbm, cache };
        let shape = (prefill as u32, decode as u32);
        let parts = (placement(prefers_hbm), cache);
        let scenario = of_batch(layers, shape, room, ResidencyKind::Inclusive, parts, &each);
        prop_assert_eq!(misses(&scenario), Twin::new(setup, &reads).run(), "{}", cache);
    }

    /// With the same places for new tokens, the oracle has no more misses than any other, and none
    /// in common room than in shares.
    #[test]
    fn none_misses_less_than_belady(
        layers in 2usize..5, prefill in 1usize..60, decode in 2usize..25, skip in 300u32..=1000, churn in 0u32..=600,
        seed: u64, tokens in 0u64..50, allocate: bool, budget in prop::option::of(1u32..30),
    ) {
        let reads = generated(layers, prefill, decode, skip, churn, seed);
        let budget = budget.map(|tokens| tokens.try_into().unwrap());
        let writes = if allocate { Writes::Allocate } else { Writes::Around };
        let run = |migration: MigrationKind| -> u64 {
            let room = tokens * layers as u64 * KV;
            let parts = (placement(false), migration);
            let shape = (prefill as u32, decode as u32);
            misses(&of_reads(layers, shape, room, ResidencyKind::Inclusive, parts, &reads)).iter().sum()
        };
        let belady = |room| run(MigrationKind::Belady { steps: Horizon::All, room, writes, budget });
        for room in [Room::PerLayer, Room::Shared] {
            let best = belady(room);
            let others = [
                MigrationKind::Lru { room, writes, budget },
                MigrationKind::Lfu { room, writes, budget },
                MigrationKind::Fifo { room, writes, budget },
                MigrationKind::Belady { steps: Horizon::Steps(2.try_into().unwrap()), room, writes, budget },
            ];
            for other in others {
                prop_assert!(best <= run(other), "{}", other);
            }
        }
        // Where places are kept free, or a budget is less than the layout took, the layout's first
        // tokens leave before other layers have read them.
        prop_assert!(allocate || budget.is_some() || belady(Room::Shared) <= belady(Room::PerLayer));
    }

    /// Of all ways to choose what stays, none has fewer misses.
    #[test]
    fn belady_is_the_best_of_all_choices(
        prefill in 1usize..5, steps in prop::collection::vec(prop::collection::vec(any::<u16>(), 2), 1..6),
        tokens in 0u64..6, budget in prop::option::of(1u64..4),
    ) {
        let layers = 2;
        let bits = |word: u16, context: usize| (0..context).filter(move |token| word >> token & 1 == 1);
        let reads: Reads = steps
            .iter()
            .enumerate()
            .map(|(step, words)| words.iter().map(|word| bits(*word, prefill + step).collect()).collect())
            .collect();
        // Room for fewer tokens, or a budget that asks for no more: both are a cache of that size.
        let (tokens, hbm) = budget.map_or((tokens, tokens), |each| (2 * each, 100));
        let cache = budget.map_or("Belady(room: Shared)".to_owned(), |each| format!("Belady(room: Shared, budget: {each})"));
        let migration = kind(&cache);
        let shape = (prefill as u32, steps.len() as u32);
        let parts = (placement(false), migration);
        let scenario = of_reads(layers, shape, hbm * KV, ResidencyKind::Inclusive, parts, &reads);
        let found: u64 = misses(&scenario).iter().sum();
        // With room to spare all of the prompt is on HBM at first.
        let at_first = layers * prefill.min(hbm as usize / layers + 1);
        prop_assert_eq!(found, least_misses(&reads, (layers, prefill), at_first.min(hbm as usize), tokens as usize));
    }

    /// What holds of every run, in whatever room, budget and order of arrivals.
    #[test]
    fn capacities_and_budgets_are_kept(
        layers in 1u32..4, weights in 1u64..20_000, kv in 1u64..3_000, prefill in 0u32..60, decode in 1u32..25,
        fill in 1u64..120, skip in 0u32..=1000, churn in 0u32..=1000, seed: u64, cache in any_cache(), exclusive: bool,
        third in prop::option::of(1u64..100), late in prop::sample::select(vec![Late::Finish, Late::Drop]),
        budget in prop::option::of(0u64..30_000), page_tokens in 1u32..5,
        arbitration in prop::sample::select(vec![Arbitration::Fair, Arbitration::Priority, Arbitration::Fifo]),
    ) {
        let pages = |tokens: u32| u64::from(tokens.div_ceil(page_tokens) * page_tokens);
        let all = u64::from(layers) * (2 * weights + pages(prefill + decode) * kv);
        let mut config = small(layers, (weights, weights), kv, (all * fill / 100).max(1), prefill, decode);
        config.trace = skipping(skip, churn, seed);
        config.page_tokens = page_tokens;
        let budget = budget.map(|bytes| tiersim::strategy::Budget::Bytes(Bytes::new(bytes)));
        config.strategy = Parts { migration: cache, late, budget, ..runs::BASELINE };
        let memory = memory(&mut config);
        (memory.residency, memory.arbitration) = (residency(exclusive), arbitration);
        memory.tiers[1].capacity = Bytes::new(all);
        if let Some(fill) = third {
            memory.tiers.insert(1, TierConfig::new("between", Bytes::new((all * fill / 100).max(1)), runs::bandwidth(400)));
        }
        let capacities: Vec<Bytes> = memory.tiers.iter().map(|tier| tier.capacity).collect();
        let (outcome, keep) = simulate(&config);
        prop_assert!(outcome.error.is_none(), "{:?}", outcome.error);
        prop_assert_eq!(outcome.issued, runs::accounted(&outcome));
        prop_assert!(outcome.peak.iter().zip(&capacities).all(|(peak, capacity)| peak <= capacity));
        for step in &keep.steps {
            prop_assert!(step.latency >= step.bound);
            if let Some(tiersim::strategy::Budget::Bytes(budget)) = budget {
                prop_assert!(step.migrated.0 + step.migrated.1 <= budget.get());
            }
            if !exclusive {
                prop_assert_eq!(step.migrated.1, 0);
            }
        }
    }
}

/// The fewest misses of all ways to keep tokens, by trying all of them: after each layer's reads
/// any `tokens` of what was there and what was read. The first `at_first` tokens of the prompt are
/// there before the first step. New tokens are written elsewhere.
fn least_misses(reads: &Reads, (layers, prefill): (usize, usize), at_first: usize, tokens: usize) -> u64 {
    let range = prefill + reads.len();
    let bit = |layer: usize, token: usize| 1u32 << (layer * range + token);
    let first: u32 =
        (0..prefill).flat_map(|token| (0..layers).map(move |layer| bit(layer, token))).take(at_first).sum();
    let mut states = BTreeMap::from([(first, 0u64)]);
    for (index, step) in reads.iter().enumerate() {
        // Nothing moves in the last step.
        let moves = index + 1 < reads.len();
        for (layer, read) in step.iter().enumerate() {
            let read: u32 = read.iter().map(|token| bit(layer, *token)).sum();
            let mut next = BTreeMap::new();
            for (kept, missed) in states {
                let missed = missed + u64::from((read & !kept).count_ones());
                if !moves {
                    let least = next.entry(kept).or_insert(u64::MAX);
                    *least = missed.min(*least);
                    continue;
                }
                let all = kept | read;
                let mut subset = all;
                loop {
                    if subset.count_ones() as usize == tokens.min(all.count_ones() as usize) {
                        let least = next.entry(subset).or_insert(u64::MAX);
                        *least = missed.min(*least);
                    }
                    if subset == 0 {
                        break;
                    }
                    subset = (subset - 1) & all;
                }
            }
            states = next;
        }
    }
    states.into_values().min().unwrap()
}
