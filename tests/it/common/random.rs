//! Random memory systems and plans.
//!
//! A system is drawn with the features that [`With`] names, its tiers in order of read bandwidth. A
//! transfer is drawn as a [`Draft`] before its system is known, and then laid over the routes of
//! the system.

use super::plans::{Planned, Way, transfer};
use super::systems::{config, giga, in_order, tier};
use tiersim::memory::{
    Arbitration, ClassWeights, Interleaving, MemoryConfig, MemorySystem, RouteId, TierConfig, TierId, TransferClass,
    Urgency,
};
use tiersim::units::{Bandwidth, Bytes, SimTime};

use proptest::prelude::*;
use tiersim::memory::{Duplex, EfficiencyConfig, EfficiencyTable, LinkConfig};
use tiersim::units::Ratio;

/// The optional features of the systems that are drawn.
#[derive(Clone, Copy, Debug, Default)]
pub struct With {
    pub efficiency: bool,
    pub caps: bool,
    pub limits: bool,
    pub channels: bool,
    pub hashed: bool,
    pub latencies: bool,
    /// Limits on the bytes in flight; they matter only with latencies.
    pub windows: bool,
}

pub fn gigabytes() -> impl Strategy<Value = Bandwidth> {
    prop_oneof![Just(900), Just(1000), 1u64..=5000].prop_map(giga)
}

/// Tables whose bytes take so nearly the same time in either direction that a byte more takes more
/// time in any company: of other granules as well.
pub fn table() -> impl Strategy<Value = EfficiencyTable> {
    let granules = prop::collection::btree_set(prop_oneof![1u64..100, 1u64..10_000, 1u64..1_000_000], 1..4);
    let shares = prop::collection::btree_set(0u32..=4, 1..4);
    (granules, shares).prop_flat_map(|(granules, shares)| {
        let (rows, columns) = (granules.len(), shares.len());
        let base = prop::collection::vec(100u32..=900, rows);
        let tilt = prop::collection::vec(prop::collection::vec(0u32..=40, columns), rows);
        (base, tilt).prop_map(move |(mut base, tilt)| {
            base.sort_unstable();
            // No row may achieve less than the row before, so each column is sorted.
            let mut columns: Vec<Vec<u32>> = (0..tilt[0].len())
                .map(|column| (0..base.len()).map(|row| base[row] + base[row] * tilt[row][column] / 400).collect())
                .collect();
            columns.iter_mut().for_each(|column| column.sort_unstable());
            let achieved = (0..base.len())
                .map(|row| columns.iter().map(|column| Ratio::from_permille(column[row]).unwrap()).collect())
                .collect();
            EfficiencyTable {
                granules: granules.iter().copied().map(Bytes::new).collect(),
                read_shares: shares.iter().map(|share| Ratio::from_permille(share * 250).unwrap()).collect(),
                achieved,
            }
        })
    })
}

/// Large enough that the residual bandwidth of a lane is not tiny.
fn window() -> impl Strategy<Value = Bytes> {
    prop_oneof![1_000u64..=20_000, 1_000u64..=2_000_000].prop_map(Bytes::new)
}

fn efficiency() -> impl Strategy<Value = EfficiencyConfig> {
    table().prop_map(|table| EfficiencyConfig { source: "a test".to_owned(), table: Some(table), dram: None })
}

prop_compose! {
    fn link(with: With)(
        read in gigabytes(),
        write in gigabytes(),
        combined in prop::option::of(gigabytes()),
        cap in prop::option::of(gigabytes()),
        limit in prop::option::of(1u32..4),
        latency in prop::sample::select(vec![0u64, 0, 1_000, 70_000]),
        window in prop::option::of(window()),
    ) -> LinkConfig {
        LinkConfig {
            outstanding: window.filter(|_| with.windows),
            combined,
            transfer_cap: cap.filter(|_| with.caps),
            max_transfers: limit.filter(|_| with.limits),
            latency: SimTime::from_ps(if with.latencies { latency } else { 0 }),
            ..LinkConfig::new(read, write)
        }
    }
}

prop_compose! {
    fn one_tier(with: With)(
        bandwidth in gigabytes(),
        duplex in prop_oneof![Just(Duplex::Half), Just(Duplex::Full)],
        link in prop::option::of(link(with)),
        efficiency in prop::option::weighted(0.8, efficiency()),
        cap in prop::option::of(gigabytes()),
        limit in prop::option::of(1u32..4),
        channels in 1u32..6,
        hashed in prop::option::of(1u32..4),
        stripe in prop_oneof![Just(256u64), 1u64..2000],
        latency in prop::sample::select(vec![0u64, 0, 1_000, 70_000]),
        window in prop::option::of(window()),
    ) -> TierConfig {
        TierConfig {
            outstanding: window.filter(|_| with.windows),
            duplex,
            link: link.map(Into::into),
            efficiency: efficiency.filter(|_| with.efficiency).map(Into::into),
            transfer_cap: cap.filter(|_| with.caps),
            max_transfers: limit.filter(|_| with.limits),
            channels: if with.channels { channels } else { 1 },
            interleaving: match hashed {
                Some(page_tokens) if with.hashed => Interleaving::Hashed { page_tokens },
                _ => Interleaving::Striped,
            },
            stripe: Bytes::new(stripe),
            latency: SimTime::from_ps(if with.latencies { latency } else { 0 }),
            ..tier("tier", bandwidth)
        }
    }
}

pub fn class_weights() -> impl Strategy<Value = ClassWeights> {
    prop_oneof![Just([1; 5]), prop::array::uniform5(1u32..=5)].prop_map(
        |[weight_read, kv_read, kv_write, migrate_in, migrate_out]| ClassWeights {
            weight_read,
            kv_read,
            kv_write,
            migrate_in,
            migrate_out,
        },
    )
}

pub fn sharing() -> impl Strategy<Value = Arbitration> {
    prop::sample::select(vec![Arbitration::Fair, Arbitration::Priority])
}

pub fn any_arbitration() -> impl Strategy<Value = Arbitration> {
    prop::sample::select(vec![Arbitration::Fair, Arbitration::Priority, Arbitration::Fifo])
}

/// Two or three tiers in order.
pub fn memory(with: With, arbitration: impl Strategy<Value = Arbitration>) -> impl Strategy<Value = MemoryConfig> {
    (arbitration, class_weights(), prop::collection::vec(one_tier(with), 2..4))
        .prop_map(|(arbitration, weights, tiers)| in_order(&config(arbitration, weights, tiers)))
}

pub fn size() -> impl Strategy<Value = u64> {
    prop_oneof![1u64..=16, 1u64..=10_000, 1u64..=10_000_000, Just(1_000_000)]
}

pub fn instant() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), (0u64..20).prop_map(|step| step * 1_000_000), 0u64..1_000, 0u64..20_000_000]
}

pub fn delay() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0u64..1_000, 0u64..10_000_000]
}

/// The draw of a transfer before the tiers and channels are known.
#[derive(Clone, Debug)]
pub struct Draft {
    class: TransferClass,
    ends: [usize; 2],
    bytes: u64,
    granule: u64,
    issued: u64,
    held: Option<u64>,
    raised: Option<u64>,
    early: bool,
    /// Where pages are hashed: the bytes of each part.
    spread: Vec<u64>,
}

prop_compose! {
    pub fn draft()(
        class in prop::sample::select(TransferClass::ALL.to_vec()),
        ends in prop::array::uniform2(0usize..6),
        bytes in size(),
        granule in prop_oneof![1u64..300, 1u64..100_000, Just(u64::MAX)],
        issued in instant(),
        held in prop::option::weighted(0.2, delay()),
        raised in prop::option::of(delay()),
        early in prop::bool::weighted(0.3),
        spread in prop::collection::vec(prop_oneof![Just(0), size()], 36),
    ) -> Draft {
        Draft { class, ends, bytes, granule, issued, held, raised, early, spread }
    }
}

impl Draft {
    /// The transfer, on `system`.
    pub fn on(&self, system: &MemorySystem) -> Planned {
        let tiers = system.tiers().len();
        let first = TierId::new(self.ends[0] % tiers);
        let second = TierId::new((first.index() + 1 + self.ends[1] % (tiers - 1)) % tiers);
        let (faster, slower) = (first.min(second), first.max(second));
        let (source, destination) = match self.class {
            TransferClass::WeightRead | TransferClass::KvRead => (Some(first), None),
            TransferClass::KvWrite | TransferClass::Activation => (None, Some(first)),
            TransferClass::MigrateIn | TransferClass::Stage => (Some(slower), Some(faster)),
            TransferClass::MigrateOut => (Some(faster), Some(slower)),
        };
        let mut planned = transfer(system, self.class, source, destination);
        let hashed = |tier: TierId| matches!(system.tiers()[tier.index()].interleaving, Interleaving::Hashed { .. });
        let Way::Even(routes) = &planned.way else { panic!("a plan begins evenly") };
        planned.bytes = self.bytes;
        if [source, destination].into_iter().flatten().any(hashed) && self.class != TransferClass::WeightRead {
            let mut parts: Vec<(RouteId, u64)> = routes
                .iter()
                .zip(self.spread.iter().cycle())
                .map(|(route, bytes)| (*route, *bytes))
                .filter(|(_, bytes)| *bytes > 0)
                .collect();
            if parts.is_empty() {
                parts.push((routes[0], self.bytes));
            }
            planned.bytes = parts.iter().map(|(_, bytes)| bytes).sum();
            planned.way = Way::Parts(parts);
        }
        planned.granule = self.granule.min(planned.bytes);
        planned.issued = self.issued;
        planned.held = self.held;
        if self.early {
            planned.urgency = Urgency::Early;
            planned.raised = self.raised;
        }
        planned
    }
}

pub fn plan(most: usize) -> impl Strategy<Value = Vec<Draft>> {
    prop::collection::vec(draft(), 1..most)
}

pub fn on(system: &MemorySystem, drafts: &[Draft]) -> Vec<Planned> {
    drafts.iter().map(|draft| draft.on(system)).collect()
}
