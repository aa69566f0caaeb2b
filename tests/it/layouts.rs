//! Every initialization against a twin that puts pages one by one, on random models, sequences and
//! memories, ample and tight.
//!
//! The library puts the pages of ten thousands of regions at once where they fit; the twin goes
//! page by page, of each page region by region, and looks for room for each.

use crate::common::properties::{CASES, cases};
use crate::common::systems::{config, giga, lay, tier};
use proptest::prelude::*;
use tiersim::memory::{
    Arbitration, ClassWeights, Ledger, LinkConfig, MemorySystem, PerTier, ResidencyKind, Shortage, TierId,
};
use tiersim::strategy::{AsBound, BoundReads, Initialization, InitializationKind, LaidOut, Layout};
use tiersim::units::{Bytes, Page, PageSize, Ratio, RegionId, SequenceId, Table};
use tiersim::workload::{LanguageModel, Lengths, Regions, Stage, StageReads, StepSkips, TokenSet, Weights, stages};

/// Where pages go: for each region and page that it has a tier, page by page.
fn one_by_one(layout: &mut Layout<'_>, tier: impl Fn(&Layout<'_>, RegionId, usize) -> TierId) -> Result<(), Shortage> {
    for page in 0..layout.prefill() {
        for region in layout.kv() {
            if layout.live(region).contains(&page) {
                let tier = tier(layout, region, page - layout.live(region).start);
                layout.spill_page(region, Page::new(page), tier)?;
            }
        }
    }
    Ok(())
}

fn next(layout: &Layout<'_>) -> TierId {
    TierId::new(1.min(layout.system().tiers().len() - 1))
}

fn weights_first(layout: &mut Layout<'_>) -> Result<(), Shortage> {
    layout.divisible().into_iter().try_for_each(|(region, of)| layout.spill_weights(region, TierId::HBM, of.stored))
}

fn hbm_first(layout: &mut Layout<'_>) -> Result<(), Shortage> {
    weights_first(layout)?;
    one_by_one(layout, |_, _, _| TierId::HBM)
}

/// How many of those that faster tiers leave a tier takes: its best ratio among the tiers from it
/// on. Halves round up.
fn portion(system: &MemorySystem, tier: TierId, left: u64) -> u64 {
    let bandwidths = || system.tiers().iter().map(|tier| u128::from(tier.read_bandwidth.get()));
    let (its, all): (u128, u128) = (bandwidths().nth(tier.index()).unwrap(), bandwidths().skip(tier.index()).sum());
    ((2 * u128::from(left) * its + all) / (2 * all)) as u64
}

/// Where the place of a page is among so many.
fn spread(system: &MemorySystem, pages: usize, place: usize) -> TierId {
    let (mut left, mut place) = (pages as u64, place as u64);
    for tier in system.tier_ids().filter(|tier| *tier != system.last_tier()) {
        let taken = portion(system, tier, left);
        let before = place * taken / left;
        if (place + 1) * taken / left > before {
            return tier;
        }
        (place, left) = (place - before, left - taken);
    }
    system.last_tier()
}

fn best_ratio(layout: &mut Layout<'_>) -> Result<(), Shortage> {
    let system = layout.system();
    for (region, weights) in layout.divisible() {
        let mut left = weights.stored;
        for tier in system.tier_ids().filter(|tier| *tier != system.last_tier()) {
            let part = Bytes::new(portion(system, tier, left.get())).min(layout.free(tier));
            layout.put_weights(region, tier, part)?;
            left -= part;
        }
        layout.spill_weights(region, system.last_tier(), left)?;
    }
    one_by_one(layout, |layout, region, place| spread(layout.system(), layout.live(region).len(), place))
}

fn by_share(layout: &mut Layout<'_>, weights: Ratio, kv: Ratio) -> Result<(), Shortage> {
    for (region, of) in layout.divisible() {
        let on_hbm = Bytes::new(weights.round_of(of.stored.get())).min(layout.free(TierId::HBM));
        layout.put_weights(region, TierId::HBM, on_hbm)?;
        layout.spill_weights(region, next(layout), of.stored - on_hbm)?;
    }
    one_by_one(layout, |layout, _, place| {
        let takes = kv.floor_of(place as u64 + 1) > kv.floor_of(place as u64);
        if takes { TierId::HBM } else { next(layout) }
    })
}

/// KV that a stage reads if all of it is read.
fn kv_of(layout: &Layout<'_>, stage: &StageReads) -> f64 {
    let of = |region: RegionId| layout.page_bytes(region).as_f64() * layout.expected(region) as f64;
    stage.kv.iter().map(|read| of(read.region)).sum()
}

/// A piece of the weights: its stage, its region and its sizes.
type OfStage = (usize, RegionId, Weights);

/// Weights by density; the pages where their density comes.
fn density_first(layout: &mut Layout<'_>, active: f64) -> Result<(), Shortage> {
    let best = layout.system().best_ratio();
    let stages = layout.stages();
    let density = |of: &Weights| of.read.as_f64() / of.stored.as_f64().max(1.0);
    let read = |stage: &StageReads| stage.divisible().map(|(_, of)| of.read.as_f64()).sum::<f64>();
    let mut left: Vec<f64> = stages.iter().map(|stage| best * (read(stage) + active * kv_of(layout, stage))).collect();
    let mut items: Vec<(f64, Option<OfStage>)> = vec![(active, None)];
    for (index, stage) in stages.iter().enumerate().rev() {
        let of_stage: Vec<_> = stage.divisible().collect();
        of_stage.into_iter().rev().for_each(|(region, of)| items.insert(0, (density(&of), Some((index, region, of)))));
    }
    items.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (density, item) in items {
        let Some((stage, region, of)) = item else {
            let share = |stage: usize| {
                let (weights, all) = (read(&stages[stage]), kv_of(layout, &stages[stage]));
                let on_hbm = best * (weights + active * all) - left[stage];
                if all > 0.0 { ((best * (weights + all) - on_hbm) / all).clamp(0.0, 1.0) } else { 0.0 }
            };
            let mut shares = vec![0.0; layout.kv().len()];
            for (index, stage) in stages.iter().enumerate() {
                stage.kv.iter().for_each(|read| shares[read.region.index()] = share(index));
            }
            one_by_one(layout, |layout, region, place| {
                let taken = |pages: usize| (shares[region.index()] * pages as f64).floor();
                if taken(place + 1) > taken(place) { TierId::HBM } else { next(layout) }
            })?;
            continue;
        };
        let wanted = Bytes::new((left[stage] / density.max(f64::MIN_POSITIVE)).max(0.0).round() as u64);
        let on_hbm = wanted.min(of.stored).min(layout.free(TierId::HBM));
        left[stage] -= on_hbm.as_f64() * density;
        layout.put_weights(region, TierId::HBM, on_hbm)?;
        layout.spill_weights(region, next(layout), of.stored - on_hbm)?;
    }
    Ok(())
}

fn by_room(layout: &mut Layout<'_>, growth: u32, active: f64) -> Result<(), Shortage> {
    let weights: u64 = layout.divisible().iter().map(|(_, of)| of.stored.get()).sum();
    let of = |region: RegionId| layout.page_bytes(region).get() * layout.expected(region) as u64;
    let kv: u64 = layout.kv().map(of).sum();
    if weights + u64::from(growth) * kv <= layout.free(TierId::HBM).get() {
        best_ratio(layout)
    } else {
        density_first(layout, active)
    }
}

/// Deals the pages that the first step reads, then the others, each region in the shares of
/// `reads`.
fn as_bound(layout: &mut Layout<'_>, reads: &BoundReads, skips: &StepSkips) -> Result<(), Shortage> {
    let (system, last) = (layout.system(), layout.system().last_tier());
    for (region, weights) in layout.divisible() {
        let per_read = weights.stored.as_f64() / weights.read.as_f64().max(1.0);
        let mut left = weights.stored;
        for tier in system.tier_ids().filter(|tier| *tier != last) {
            let part = Bytes::new((reads[region][tier] * per_read).round() as u64).min(left).min(layout.free(tier));
            layout.put_weights(region, tier, part)?;
            left -= part;
        }
        layout.spill_weights(region, last, left)?;
    }
    let mut dealt = vec![0.0f64; layout.kv().len()];
    for skipped in [false, true] {
        for page in 0..layout.prefill() {
            for region in layout.kv() {
                let is_here = layout.live(region).contains(&page);
                if !is_here || skips.sets[region.index()].contains(page) != skipped {
                    continue;
                }
                let page_bytes = layout.page_bytes(region);
                let all = ((layout.live(region).end - skips.counts[region.index()]) as f64).max(1.0);
                let before = dealt[region.index()];
                dealt[region.index()] += 1.0;
                let takes = |tier: TierId| (reads[region][tier] / page_bytes.as_f64().max(1.0)).round();
                // The first tier up to which the pages dealt grow by more than up to the one
                // before.
                let grows = |tiers: usize| {
                    let until: f64 = (0..tiers).map(|tier| takes(TierId::new(tier))).sum();
                    ((before + 1.0) * until / all).floor() - (before * until / all).floor()
                };
                let to = (0..last.index()).find(|tier| grows(tier + 1) > grows(*tier)).map_or(last, TierId::new);
                let has_room = !skipped || layout.free(to) >= page_bytes;
                layout.spill_page(region, Page::new(page), if has_room { to } else { last })?;
            }
        }
    }
    Ok(())
}

fn twin(kind: InitializationKind, layout: &mut Layout<'_>) -> Result<(), Shortage> {
    let share = |active: tiersim::strategy::Active, layout: &Layout<'_>| match active {
        tiersim::strategy::Active::Auto => layout.read_share(),
        tiersim::strategy::Active::Share(share) => share.as_f64(),
    };
    match kind {
        InitializationKind::HbmFirst => hbm_first(layout),
        InitializationKind::BestRatio => best_ratio(layout),
        InitializationKind::DensityFirst { active } => density_first(layout, share(active, layout)),
        InitializationKind::Static { weights, kv } => by_share(layout, weights, kv),
        InitializationKind::WeightsFirst => {
            weights_first(layout)?;
            for region in layout.kv() {
                layout.live(region).try_for_each(|page| layout.spill_page(region, Page::new(page), TierId::HBM))?;
            }
            Ok(())
        }
        InitializationKind::KvFirst => {
            one_by_one(layout, |_, _, _| TierId::HBM)?;
            weights_first(layout)
        }
        InitializationKind::ByRoom { growth, active } => by_room(layout, growth.get(), share(active, layout)),
    }
}

/// One model, some sequences, and a memory that may be too small.
#[derive(Clone, Debug)]
struct Case {
    /// By layer: weights of attention and mlp, KV of a token, window.
    layers: Vec<(u64, u64, u64, Option<u32>)>,
    sequences: Vec<Lengths>,
    page: u32,
    /// Bandwidth and share of all that is stored, by tier.
    tiers: Vec<(u64, u64)>,
    inclusive: bool,
    read_share: f64,
}

prop_compose! {
    fn case()(
        layers in prop::collection::vec(
            (0u64..3000, 0u64..3000, prop::sample::select(vec![0u64, 10, 10, 10, 70, 200]), prop::option::of(1u32..150)), 1..4),
        sequences in prop::collection::vec((prop_oneof![Just(0usize), Just(100), 0usize..200], 1usize..60, 0usize..4), 1..5),
        page in prop::sample::select(vec![1u32, 1, 1, 3, 16]),
        tiers in prop::collection::vec((100u64..3000, 5u64..130), 1..4),
        inclusive: bool,
        read_share in 0.0f64..=1.0,
    ) -> Case {
        // Of some, the prompt is computed, or they begin later.
        let sequences = sequences.into_iter().map(|(prompt, decode, kind)| Lengths {
            at_start: if kind < 2 { prompt } else { 0 },
            prompt,
            expected: if kind < 3 { prompt } else { 0 },
            most: prompt + decode,
        });
        Case { layers, sequences: sequences.collect(), page, tiers, inclusive, read_share }
    }
}

/// What is needed to lay a case out.
struct Setting {
    regions: Regions,
    stages: Vec<Stage>,
    system: MemorySystem,
    size: PageSize,
    read_share: f64,
}

impl Setting {
    fn new(case: &Case) -> Self {
        let layer = |(attention, mlp, kv, window): &(u64, u64, u64, Option<u32>)| {
            let window = window.map_or("None".to_owned(), |window| format!("Some({window})"));
            format!(
                "(count: 1, attention: (stored: \"{attention} B\"), mlp: (stored: \"{mlp} B\", read: \"{} B\"), \
                 kv_bytes: \"{kv} B\", window: {window})",
                mlp / 3
            )
        };
        let layers: Vec<String> = case.layers.iter().map(layer).collect();
        let text = format!("(name: \"m\", layers: [{}])", layers.join(", "));
        let model = LanguageModel::new(&tiersim::config::parse(&text, "model").unwrap()).unwrap();
        let regions = Regions::new(&model, &case.sequences);
        let all: Vec<SequenceId> = SequenceId::all(case.sequences.len()).collect();
        let size = PageSize::new(case.page).unwrap();
        let kv: u64 = regions
            .token_bytes()
            .zip(regions.lengths())
            .map(|(bytes, of)| bytes.get() * (size.pages(of.at_start) * size.tokens()) as u64)
            .sum();
        let stored = kv + regions.divisible().map(|(_, of)| of.stored.get()).sum::<u64>();
        let tiers = case.tiers.iter().map(|(bandwidth, share)| tiersim::memory::TierConfig {
            capacity: Bytes::new((stored * share / 100).max(1)),
            link: Some(LinkConfig::new(giga(*bandwidth), giga(*bandwidth)).into()),
            ..tier("t", giga(*bandwidth))
        });
        let mut memory = config(Arbitration::Fair, ClassWeights::default(), tiers.collect());
        memory.residency = if case.inclusive { ResidencyKind::Inclusive } else { ResidencyKind::Exclusive };
        let stages = stages(&model, &regions, &all);
        Self { regions, stages, system: lay(&memory), size, read_share: case.read_share }
    }

    fn lay_out(
        &self,
        fill: impl FnOnce(&mut Layout<'_>) -> Result<(), Shortage>,
    ) -> (Result<LaidOut, Shortage>, Ledger) {
        let mut ledger = Ledger::new(&self.system);
        let layout = Layout::new(&self.regions, &self.stages, &self.system, &mut ledger, self.size);
        let mut layout = layout.with_read_share(self.read_share);
        let filled = fill(&mut layout);
        let laid_out = layout.finish();
        (filled.and(laid_out), ledger)
    }

    /// The same bytes and pages on the same tiers, or the same shortage.
    fn same(
        &self,
        fill: impl FnOnce(&mut Layout<'_>) -> Result<(), Shortage>,
        twin: impl FnOnce(&mut Layout<'_>) -> Result<(), Shortage>,
    ) -> Result<(), TestCaseError> {
        let ((fast, ledger), (slow, of_twin)) = (self.lay_out(fill), self.lay_out(twin));
        match (fast, slow) {
            (Err(fast), Err(slow)) => prop_assert_eq!(fast, slow),
            (fast, slow) => {
                let (fast, slow) = (fast.unwrap(), slow.unwrap());
                prop_assert_eq!(fast.divided, slow.divided);
                prop_assert_eq!(fast.pages, slow.pages);
                for tier in self.system.tier_ids() {
                    prop_assert_eq!(ledger.used(tier), of_twin.used(tier));
                    prop_assert_eq!(ledger.peak(tier), of_twin.peak(tier));
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn layouts_are_as_page_by_page(case in case()) {
        let setting = Setting::new(&case);
        let shares = ["Static(weights: 0.3, kv: 0.6)", "DensityFirst(active: 0.4)", "ByRoom(growth: 1)"];
        let parsed = shares.iter().map(|text| text.parse::<InitializationKind>().unwrap());
        for kind in InitializationKind::ALL.iter().copied().chain(parsed) {
            setting.same(|layout| kind.build().lay_out(layout), |layout| twin(kind, layout))?;
        }
    }

    #[test]
    fn the_layout_of_the_bound_is_as_page_by_page(
        case in case(),
        reads in prop::collection::vec(prop::collection::vec(0.0f64..3000.0, 4), 40),
        skipped in prop::collection::vec(prop::option::of(prop::collection::vec(any::<bool>(), 200)), 20),
        alike: bool,
    ) {
        let setting = Setting::new(&case);
        let tiers = setting.system.tiers().len();
        let of = |region: usize| &reads[if alike { region % 2 } else { region }];
        let reads: BoundReads = (0..setting.regions.len())
            .map(|region| PerTier::from_fn(tiers, |tier| of(region)[tier.index()]))
            .collect::<Table<RegionId, _>>();
        let lengths: Vec<(Lengths, usize)> = setting.regions.lengths().zip(setting.regions.windows()).collect();
        let mut skips = StepSkips { sets: Vec::new(), counts: Vec::new() };
        for (region, (Lengths { at_start, .. }, window)) in lengths.into_iter().enumerate() {
            let mut set = TokenSet::new(setting.size.pages(at_start));
            let gone = at_start.saturating_sub(window) / setting.size.tokens();
            let is_skipped = |page: &usize| {
                *page < gone || skipped[region].as_ref().is_some_and(|skipped| skipped[*page])
            };
            set.extend((0..set.range()).filter(is_skipped));
            skips.counts.push(set.count());
            skips.sets.push(set);
        }
        let fast = AsBound::new(reads.clone(), &skips);
        setting.same(|layout| fast.lay_out(layout), |layout| as_bound(layout, &reads, &skips))?;
    }
}
