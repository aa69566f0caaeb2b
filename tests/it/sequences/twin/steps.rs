//! The steps of the twin: who decodes, which prompts are computed, what each stage does.

use super::COMPUTE;
use super::fluid::{Fluid, TOLERANCE, Tier, What};
use super::places::{Places, Region};
use std::collections::BTreeSet;
use tiersim::config::Reference;
use tiersim::simulation::ScenarioConfig;
use tiersim::strategy::MigrationKind;
use tiersim::workload::{Generator, PrefillConfig, PrefillOrder, SkipSource, StepSkips, TraceConfig};

/// What a step came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    pub latency: u64,
    pub attention_read: Vec<u64>,
    pub mlp_read: Vec<u64>,
    pub used: Vec<u64>,
    pub migrated: (u64, u64),
    pub late: u64,
    pub read_tokens: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Waits,
    /// So many tokens of its prompt are computed.
    Prompt(usize),
    /// So many tokens are decoded.
    Decodes(usize),
    Ended,
}

#[derive(Debug)]
struct Sequence {
    prefill: usize,
    decode: usize,
    start: usize,
    state: State,
    /// By step and layer.
    skips: Vec<Vec<BTreeSet<usize>>>,
}

/// A write: of which region and pages, to which tier.
#[derive(Debug)]
struct Write {
    region: usize,
    pages: Vec<usize>,
    tier: usize,
    is_pending: bool,
}

#[derive(Debug)]
struct Move {
    region: usize,
    pages: Vec<usize>,
    arrived: usize,
}

/// A part of a step: a sequence, the tokens before it, and its tokens.
#[derive(Clone, Copy, Debug)]
struct Part {
    sequence: usize,
    first: usize,
    tokens: usize,
    decodes: Option<usize>,
}

#[derive(Debug)]
pub struct Twin<'a> {
    config: &'a ScenarioConfig,
    layers: usize,
    kv: u64,
    sequences: Vec<Sequence>,
    /// Those that compute their prompts or wait for that, the first first.
    prompts: Vec<usize>,
    places: Places,
    fluid: Fluid,
    writes: Vec<Write>,
    moves: Vec<Move>,
    /// The KV reads that wait: of which tier, for which writes.
    held: Vec<(usize, u64, Vec<usize>)>,
    reads: usize,
    step: usize,
    figures: Figures,
}

fn sequences(config: &ScenarioConfig, layers: usize) -> Vec<Sequence> {
    let mut all = Vec::new();
    for group in &config.sequences {
        for place in 0..group.count {
            let (prefill, decode) = (group.prefill_tokens.unwrap() as usize, group.decode_tokens.unwrap() as usize);
            let TraceConfig::Generated(mut generator) = group.trace.clone().unwrap_or(config.trace.clone()) else {
                panic!("the twin knows no recorded traces")
            };
            generator.seed = generator.seed.wrapping_add(u64::from(place));
            let mut source = Generator::new(generator, layers, prefill + decode);
            let skips = (0..decode).map(|step| {
                let mut skips = StepSkips::none(layers, prefill + decode);
                source.next_step(prefill + step, &mut skips).unwrap();
                let of =
                    |layer: usize| (0..prefill + step).filter(|token| skips.sets[layer].contains(*token)).collect();
                (0..layers).map(of).collect()
            });
            let skips = skips.collect();
            all.push(Sequence { prefill, decode, start: group.start_step as usize, state: State::Waits, skips });
        }
    }
    all
}

impl<'a> Twin<'a> {
    pub fn new(config: &'a ScenarioConfig) -> Self {
        let (Reference::Inline(model), Reference::Inline(memory)) = (&config.model, &config.memory) else {
            panic!("it is spelled out")
        };
        let of = &model.layers[0];
        let layers = of.count as usize;
        // Bytes a picosecond: a bus for each tier, two lanes more for a link.
        let (mut lanes, mut tiers) = (Vec::new(), Vec::new());
        let rate = |bandwidth: tiersim::units::Bandwidth| bandwidth.get() as f64 / 1e12;
        for tier in &memory.tiers {
            let bus = lanes.len();
            lanes.push(rate(tier.bandwidth));
            let is_linked = tier.link.is_some();
            if is_linked {
                lanes.extend([0.25, 0.25]);
            }
            let with = |lane: usize| if is_linked { vec![bus, lane] } else { vec![bus] };
            let bandwidth = if is_linked { 250 } else { tier.bandwidth.get() / 1_000_000_000 };
            tiers.push(Tier { capacity: tier.capacity.get(), bandwidth, read: with(bus + 1), write: with(bus + 2) });
        }
        let sequences = sequences(config, layers);
        let size = config.page_tokens as usize;
        let kv = of.kv_bytes.get();
        let mut places = Places {
            tiers,
            weights: Vec::new(),
            regions: vec![Region::default(); sequences.len() * layers],
            page_bytes: kv * size as u64,
            size,
        };
        let stages: Vec<u64> = (0..layers).flat_map(|_| [of.attention.stored.get(), of.mlp.stored.get()]).collect();
        let at_start = |of: &Sequence| if config.prefill.is_given() && of.start == 0 { of.prefill } else { 0 };
        let prompts: Vec<usize> = sequences.iter().flat_map(|of| vec![at_start(of); layers]).collect();
        places.lay_out(config.strategy.initialization, &stages, &prompts);
        Self {
            config,
            layers,
            kv,
            sequences,
            prompts: Vec::new(),
            places,
            fluid: Fluid::new(lanes),
            writes: Vec::new(),
            moves: Vec::new(),
            held: Vec::new(),
            reads: 0,
            step: 0,
            figures: Figures::default(),
        }
    }

    /// The next step; `None` after the last.
    pub fn step(&mut self) -> Option<Figures> {
        for sequence in 0..self.sequences.len() {
            let of = &self.sequences[sequence];
            if of.state == State::Decodes(of.decode) {
                self.sequences[sequence].state = State::Ended;
                (0..self.layers).for_each(|layer| self.free(sequence * self.layers + layer));
            }
        }
        let arrivals = self.begin_sequences();
        let parts = self.parts();
        if parts.is_empty() {
            return None;
        }
        let tiers = self.places.tiers.len();
        self.figures = Figures { attention_read: vec![0; tiers], mlp_read: vec![0; tiers], ..Figures::default() };
        arrivals.into_iter().for_each(|sequence| self.arrive(sequence, &parts));
        let started = self.fluid.now;
        let is_last = self.is_last(&parts);
        for layer in 0..self.layers {
            let mut read = self.attention(layer, &parts);
            for part in &parts {
                self.append(part.sequence * self.layers + layer, part.tokens, &mut read);
            }
            self.mlp(layer, &parts);
            if !is_last && self.config.strategy.migration == MigrationKind::LookAhead {
                for part in &parts {
                    if let Some(decoded) = part.decodes {
                        self.migrate(part.sequence, layer, decoded + 1);
                    }
                }
            }
        }
        for part in &parts {
            let of = &mut self.sequences[part.sequence];
            of.state = match part.decodes {
                Some(decoded) => State::Decodes(decoded + 1),
                None if part.first + part.tokens == of.prefill => State::Decodes(0),
                None => State::Prompt(part.first + part.tokens),
            };
        }
        self.prompts.retain(|sequence| matches!(self.sequences[*sequence].state, State::Prompt(_)));
        self.step += 1;
        self.figures.latency = self.fluid.now - started;
        self.see();
        self.figures.used = self.places.used();
        Some(self.figures.clone())
    }

    /// Sequences begin; returns those whose prompts arrive.
    fn begin_sequences(&mut self) -> Vec<usize> {
        let mut arrivals = Vec::new();
        for sequence in 0..self.sequences.len() {
            let of = &mut self.sequences[sequence];
            if of.state != State::Waits || of.start > self.step {
                continue;
            }
            if self.config.prefill.is_given() || of.prefill == 0 {
                of.state = State::Decodes(0);
                if of.start > 0 {
                    arrivals.push(sequence);
                }
            } else {
                of.state = State::Prompt(0);
                self.prompts.push(sequence);
            }
        }
        arrivals
    }

    /// What the step computes.
    fn parts(&self) -> Vec<Part> {
        let (mut left, first) = match self.config.prefill {
            PrefillConfig::Given => (0, false),
            PrefillConfig::Timed { chunk_tokens, order } => (chunk_tokens as usize, order == PrefillOrder::First),
        };
        let mut parts = Vec::new();
        let decodes = self.prompts.is_empty() || !first;
        for (sequence, of) in self.sequences.iter().enumerate().filter(|_| decodes) {
            if let State::Decodes(decoded) = of.state {
                parts.push(Part { sequence, first: of.prefill + decoded, tokens: 1, decodes: Some(decoded) });
            }
        }
        for &sequence in &self.prompts {
            let State::Prompt(done) = self.sequences[sequence].state else { panic!("it computes its prompt") };
            let tokens = left.min(self.sequences[sequence].prefill - done);
            left -= tokens;
            if tokens > 0 {
                parts.push(Part { sequence, first: done, tokens, decodes: None });
            }
        }
        parts
    }

    /// Whether nothing is left to do after a step of `parts`.
    fn is_last(&self, parts: &[Part]) -> bool {
        self.sequences.iter().enumerate().all(|(sequence, of)| match of.state {
            State::Ended => true,
            State::Decodes(decoded) => {
                let decodes = parts.iter().any(|part| part.sequence == sequence);
                decoded + usize::from(decodes) == of.decode
            }
            _ => false,
        })
    }

    /// The prompt of a sequence lies where the placement wants it, layer by layer.
    fn arrive(&mut self, sequence: usize, parts: &[Part]) {
        self.see();
        let (prefill, size) = (self.sequences[sequence].prefill, self.places.size);
        for layer in 0..self.layers {
            let mut read = self.places.weights[2 * layer].clone();
            for part in parts {
                for page in &self.places.regions[part.sequence * self.layers + layer].pages {
                    read[page.home] += self.places.page_bytes;
                }
            }
            let region = sequence * self.layers + layer;
            for page in 0..prefill.div_ceil(size) {
                self.places.place(self.config.strategy.placement, region, &mut read);
                self.places.regions[region].pages[page].is_open = (page + 1) * size > prefill;
            }
            self.places.regions[region].tokens = prefill;
        }
    }

    /// Runs the attention of a layer. Returns what it read from each tier.
    fn attention(&mut self, layer: usize, parts: &[Part]) -> Vec<u64> {
        self.see();
        let tiers = self.places.tiers.len();
        let size = self.places.size;
        let (mut read, mut awaited) = (vec![0; tiers], vec![Vec::new(); tiers]);
        let mut attended = 0;
        for part in parts {
            let index = part.sequence * self.layers + layer;
            let region = &self.places.regions[index];
            assert_eq!(region.tokens, part.first, "the tokens before it have KV");
            let skipped = part.decodes.map(|decoded| &self.sequences[part.sequence].skips[decoded][layer]);
            let is_skipped = |token: usize| skipped.is_some_and(|skipped| skipped.contains(&token));
            let mut tokens_read = 0;
            for (page, of) in region.pages.iter().enumerate() {
                let tokens = page * size..((page + 1) * size).min(region.tokens);
                if tokens.clone().all(is_skipped) {
                    continue;
                }
                read[of.at] += tokens.len() as u64 * self.kv;
                tokens_read += tokens.len();
                if of.moves() {
                    self.figures.late += size as u64;
                }
                let writes = self.writes.iter().enumerate().filter(|(_, write)| {
                    write.is_pending && (write.region, write.tier) == (index, of.at) && write.pages.contains(&page)
                });
                awaited[of.at].extend(writes.map(|(write, _)| write));
            }
            self.figures.read_tokens += tokens_read as u64;
            attended += part.tokens * tokens_read + part.tokens * (part.tokens - 1) / 2;
        }
        let weights = self.places.weights[2 * layer].clone();
        for (tier, (bytes, awaited)) in read.iter().zip(awaited).enumerate() {
            self.read(tier, weights[tier], Vec::new());
            self.read(tier, *bytes, awaited);
        }
        self.wait(parts, weights.iter().sum(), attended as u64 * self.kv);
        let all: Vec<u64> = read.iter().zip(weights).map(|(kv, weights)| kv + weights).collect();
        self.figures.attention_read.iter_mut().zip(&all).for_each(|(sum, read)| *sum += read);
        all
    }

    fn mlp(&mut self, layer: usize, parts: &[Part]) {
        let weights = self.places.weights[2 * layer + 1].clone();
        for (tier, bytes) in weights.iter().enumerate() {
            self.read(tier, *bytes, Vec::new());
            self.figures.mlp_read[tier] += bytes;
        }
        self.wait(parts, weights.iter().sum(), 0);
    }

    /// Reads of a stage: at once, or when `writes` are complete.
    fn read(&mut self, tier: usize, bytes: u64, writes: Vec<usize>) {
        if bytes == 0 {
            return;
        }
        self.reads += 1;
        if writes.is_empty() {
            self.fluid.issue(What::Read, self.places.tiers[tier].read.clone(), bytes);
        } else {
            self.held.push((tier, bytes, writes));
        }
    }

    /// Waits for the reads of a stage and its compute.
    fn wait(&mut self, parts: &[Part], weights: u64, kv: u64) {
        let tokens: usize = parts.iter().map(|part| part.tokens).sum();
        let flop = (tokens as u64 * weights) as f64 * COMPUTE[0] + kv as f64 * COMPUTE[1];
        let computes = if self.config.compute.is_some() { flop.ceil() as u64 } else { 0 };
        let end = self.fluid.now + computes;
        while self.reads > 0 || self.fluid.now < end {
            let timer = (self.fluid.now < end).then_some(end);
            for what in self.fluid.next(timer) {
                match what {
                    What::Read => self.reads -= 1,
                    What::Write(write) => self.written(write),
                    What::Move(it) => self.arrived(it, usize::MAX),
                }
            }
        }
    }

    fn written(&mut self, write: usize) {
        self.writes[write].is_pending = false;
        let (region, pages) = (self.writes[write].region, self.writes[write].pages.clone());
        for page in pages {
            let is_pending = self
                .writes
                .iter()
                .any(|write| write.is_pending && write.region == region && write.pages.contains(&page));
            let of = &mut self.places.regions[region];
            of.pages[page].is_open = is_pending || of.tokens < (page + 1) * self.places.size;
        }
        for (tier, bytes, awaited) in std::mem::take(&mut self.held) {
            let awaited: Vec<usize> = awaited.into_iter().filter(|other| *other != write).collect();
            self.reads -= 1;
            self.read(tier, bytes, awaited);
        }
    }

    /// Appends tokens to a region: one write for each tier.
    fn append(&mut self, region: usize, tokens: usize, read: &mut [u64]) {
        self.see();
        let (first, size) = (self.places.regions[region].tokens, self.places.size);
        let mut pages = vec![Vec::new(); self.places.tiers.len()];
        let mut bytes = vec![0; self.places.tiers.len()];
        for token in first..first + tokens {
            let page = token / size;
            if page == self.places.regions[region].pages.len() {
                self.places.place(self.config.strategy.placement, region, read);
            }
            let tier = self.places.regions[region].pages[page].at;
            bytes[tier] += self.kv;
            if !pages[tier].contains(&page) {
                pages[tier].push(page);
            }
        }
        self.places.regions[region].tokens += tokens;
        for (tier, pages) in pages.into_iter().enumerate().filter(|(_, pages)| !pages.is_empty()) {
            self.fluid.issue(What::Write(self.writes.len()), self.places.tiers[tier].write.clone(), bytes[tier]);
            self.writes.push(Write { region, pages, tier, is_pending: true });
        }
    }

    /// Pages of moves under way have arrived one by one.
    fn see(&mut self) {
        for it in 0..self.moves.len() {
            if let Some(carried) = self.fluid.carried(What::Move(it)) {
                self.arrived(it, ((carried + TOLERANCE) / self.places.page_bytes as f64).floor() as usize);
            }
        }
    }

    fn arrived(&mut self, it: usize, pages: usize) {
        let it = &mut self.moves[it];
        for page in &it.pages[it.arrived.min(pages)..pages.min(it.pages.len())] {
            let page = &mut self.places.regions[it.region].pages[*page];
            page.at = page.home;
        }
        it.arrived = it.arrived.max(pages.min(it.pages.len()));
    }

    /// A sequence has ended.
    fn free(&mut self, region: usize) {
        self.see();
        for (index, write) in self.writes.iter_mut().enumerate().filter(|(_, write)| write.region == region) {
            write.is_pending = false;
            self.fluid.cancel(What::Write(index));
        }
        for (index, _) in self.moves.iter().enumerate().filter(|(_, it)| it.region == region) {
            self.fluid.cancel(What::Move(index));
        }
        self.places.regions[region] = Region::default();
    }

    /// Look-ahead for what `sequence` reads of a layer when it decodes its token `next`.
    fn migrate(&mut self, sequence: usize, layer: usize, next: usize) {
        self.see();
        let Some(skips) = self.sequences[sequence].skips.get(next) else { return };
        let (skipped, size) = (&skips[layer], self.places.size);
        let region = sequence * self.layers + layer;
        let of = &self.places.regions[region];
        let is_active =
            |page: usize| (page * size..((page + 1) * size).min(of.tokens)).any(|token| !skipped.contains(&token));
        let pages = 0..of.pages.len();
        let active = pages.clone().filter(|page| is_active(*page)).count() as i128;
        let rests =
            |page: usize, tier: usize| of.pages[page].at == tier && !of.pages[page].moves() && !of.pages[page].is_open;
        let mut out: Vec<usize> = pages.clone().filter(|page| rests(*page, 0) && !is_active(*page)).collect();
        let weights = &self.places.weights[2 * layer];
        let (page, best) = (i128::from(self.places.page_bytes), 1000);
        let wanted = best * (i128::from(weights.iter().sum::<u64>()) + active * page) - 1250 * i128::from(weights[0]);
        let target = (2 * wanted + 1250 * page).div_euclid(2 * 1250 * page).clamp(0, active);
        let here = pages.clone().filter(|page| of.pages[*page].home == 0 && is_active(*page)).count() as i128;
        let room = self.places.free(0) / self.places.page_bytes;
        let too_few = (target - here).clamp(0, i128::from(room)) as usize;
        let too_many = (here - target).max(0) as usize;
        let inward: Vec<usize> =
            pages.clone().rev().filter(|page| rests(*page, 1) && is_active(*page)).take(too_few).collect();
        out.extend(pages.filter(|page| rests(*page, 0) && is_active(*page)).take(too_many));
        self.figures.migrated.0 += inward.len() as u64 * self.places.page_bytes;
        self.figures.migrated.1 += out.len() as u64 * self.places.page_bytes;
        for (pages, from, to) in [(out, 0, 1), (inward, 1, 0)] {
            if pages.is_empty() {
                continue;
            }
            pages.iter().for_each(|page| self.places.regions[region].pages[*page].home = to);
            let tiers = &self.places.tiers;
            let lanes = [&tiers[from].read[..], &tiers[to].write[..]].concat();
            let bytes = pages.len() as u64 * self.places.page_bytes;
            self.fluid.issue(What::Move(self.moves.len()), lanes, bytes);
            self.moves.push(Move { region, pages, arrived: 0 });
        }
    }
}
