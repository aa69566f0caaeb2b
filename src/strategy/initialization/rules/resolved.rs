//! Rules held against a model and a memory system.

use super::{LayoutError, LayoutRules, Part, Piece, Rule};
use crate::config::did_you_mean;
use crate::memory::{MemorySystem, TierId};
use crate::units::{Bytes, LayerId, Ratio, RegionId};
use crate::workload::{Contents, Growth, KvGroup, Regions, StageLabel, Weights};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A layout by piece, checked: for every stored byte the rule and the tier that it goes to.
///
/// It is an [`Initialization`](crate::strategy::Initialization), and places the KV of new tokens
/// with [`ByRules`](crate::strategy::ByRules).
#[derive(Clone, Debug)]
pub struct Rules(Arc<Resolved>);

#[derive(Debug)]
struct Resolved {
    rules: Vec<Rule>,
    /// By layer and part.
    layers: Vec<[Vec<Take>; Part::OF_LAYER.len()]>,
    outside: [Vec<Take>; Part::OUTSIDE.len()],
    /// What each group of the KV of a layer holds.
    groups: Vec<KvGroup>,
}

/// What a rule takes of a part of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::strategy) struct Take {
    /// Which rule, from 0.
    pub rule: usize,
    /// Where it goes.
    pub tier: TierId,
    /// The share that this rule and those before it take together.
    pub upto: Ratio,
}

/// What of a region is of one part.
#[derive(Clone, Copy, Debug)]
pub(super) struct OfPart {
    pub part: Part,
    pub stored: Bytes,
    /// How many experts it is of: they lie on one tier each.
    pub units: Option<u32>,
}

impl Rules {
    /// `rules` for what `regions` hold, on `system`. O(rules x layers).
    ///
    /// # Errors
    /// [`LayoutError`] if a rule names a tier or a layer that there is not, is never reached, or
    /// no rule says where something lies.
    pub fn new(rules: &LayoutRules, regions: &Regions, system: &MemorySystem) -> Result<Self, LayoutError> {
        let layers = regions.layers();
        let mut tiers = Vec::with_capacity(rules.0.len());
        for rule in &rules.0 {
            tiers.push(tier_of(rule, system)?);
            let of = rule.layers;
            if of.is_some_and(|of| of.end.unwrap_or(of.start + 1) as usize > layers) {
                return Err(LayoutError::NoSuchLayer { rule: rule.to_string(), layers });
            }
        }
        let takes = |part, layer| takes(&rules.0, &tiers, part, layer);
        let resolved = Resolved {
            rules: rules.0.clone(),
            layers: (0..layers).map(|layer| Part::OF_LAYER.map(|part| takes(part, Some(layer)))).collect(),
            outside: Part::OUTSIDE.map(|part| takes(part, None)),
            groups: regions.kv_groups().collect(),
        };
        let rules = Self(Arc::new(resolved));
        rules.check(regions, system)?;
        Ok(rules)
    }

    /// Whether each rule is reached, and each part that there is lies somewhere.
    fn check(&self, regions: &Regions, system: &MemorySystem) -> Result<(), LayoutError> {
        let present = present(regions);
        let is_apart = present.iter().any(|(part, _)| matches!(part, Part::Keys | Part::Values));
        let of_part = |rule: &&Rule| matches!(rule.piece, Piece::Keys | Piece::Values);
        if let Some(rule) = self.0.rules.iter().find(|rule| of_part(rule) && !is_apart) {
            return Err(LayoutError::TogetherKv { rule: rule.to_string() });
        }
        for (index, rule) in self.0.rules.iter().enumerate() {
            let is_whole = |rule: &Rule| rule.piece == Piece::All && rule.layers.is_none();
            let before = &self.0.rules[..index];
            // An end that holds for what other models have.
            let is_end = is_whole(rule) && before.iter().all(|rule| !is_whole(rule) || rule.share.is_some());
            if !is_end && !self.is_reached(index) {
                return Err(LayoutError::NeverReached { rule: rule.to_string() });
            }
        }
        let is_missing = |(part, layer): &&(Part, Option<usize>)| {
            self.takes(*part, layer.map(LayerId::new)).last().is_none_or(|take| take.upto < Ratio::ONE)
        };
        if let Some((part, _)) = present.iter().find(is_missing) {
            let all: Vec<usize> =
                present.iter().filter(is_missing).filter(|of| of.0 == *part).filter_map(|of| of.1).collect();
            let taken = self.takes(*part, all.first().copied().map(LayerId::new)).last();
            let left = taken.map_or_else(String::new, |take| {
                format!("the other {} % of ", Ratio::ONE.saturating_sub(take.upto).percent())
            });
            let layers = match (all.first(), all.last()) {
                (Some(first), Some(last)) if all.len() < regions.layers() => {
                    format!(" of layers {}", super::shown(&(*first..last + 1)))
                }
                _ => String::new(),
            };
            let tier = system.tiers()[system.last_tier().index()].name.clone();
            return Err(LayoutError::Missing { what: format!("{left}{part}{layers}"), tier });
        }
        Ok(())
    }

    /// Whether a rule takes anything of a model that has all parts in all layers.
    fn is_reached(&self, index: usize) -> bool {
        let of_layers = self.0.layers.iter().flatten();
        of_layers.chain(&self.0.outside).flatten().any(|take| take.rule == index)
    }

    /// How many rules there are.
    pub(super) fn count(&self) -> usize {
        self.0.rules.len()
    }

    /// A rule as it is written.
    pub(super) fn rule(&self, index: usize) -> &Rule {
        &self.0.rules[index]
    }

    /// What rules take of a part of a layer, or of none, in their order.
    pub(super) fn takes(&self, part: Part, layer: Option<LayerId>) -> &[Take] {
        let of_layer = Part::OF_LAYER.iter().position(|of| *of == part);
        match (layer, of_layer) {
            (Some(layer), Some(part)) => &self.0.layers[layer.index()][part],
            _ => Part::OUTSIDE.iter().position(|of| *of == part).map_or(&[], |part| &self.0.outside[part]),
        }
    }

    /// What rules take of a group of the KV of a layer.
    pub(super) fn of_kv(&self, layer: LayerId, group: KvGroup) -> &[Take] {
        self.takes(Part::of_group(group), Some(layer))
    }

    /// What rules take of each region of KV of a sequence: of each group of each layer.
    pub(in crate::strategy) fn kv_takes(&self) -> Vec<Vec<Take>> {
        let of_layer = |layer| self.0.groups.iter().map(move |group| self.of_kv(layer, *group).to_vec());
        LayerId::all(self.0.layers.len()).flat_map(of_layer).collect()
    }
}

/// What each rule takes of a part: the first match wins, a share leaves the rest to the next.
fn takes(rules: &[Rule], tiers: &[TierId], part: Part, layer: Option<usize>) -> Vec<Take> {
    let (mut takes, mut taken) = (Vec::new(), Ratio::default());
    for (index, (rule, tier)) in rules.iter().zip(tiers).enumerate() {
        if taken < Ratio::ONE && rule.selects(part, layer) {
            taken = taken.saturating_add(rule.share.unwrap_or(Ratio::ONE));
            takes.push(Take { rule: index, tier: *tier, upto: taken });
        }
    }
    takes
}

/// The names by which rules call tiers whatever they are called in the memory system: the first
/// one, and the other one of two.
const FIRST: &str = "hbm";
const OTHER: &str = "external";

/// The tier of a rule.
fn tier_of(rule: &Rule, system: &MemorySystem) -> Result<TierId, LayoutError> {
    let tiers = system.tiers();
    let named = tiers.iter().position(|tier| tier.name == rule.tier);
    let found = named.or(match (rule.tier.as_str(), tiers.len()) {
        (FIRST, _) => Some(0),
        (OTHER, 2) => Some(1),
        _ => None,
    });
    found.map(TierId::new).ok_or_else(|| {
        let names = || tiers.iter().map(|tier| tier.name.as_str());
        let known = if rule.tier == OTHER {
            format!("'{}' has {} tiers", system.name(), tiers.len())
        } else {
            format!("'{}' has no tier named '{}'", system.name(), rule.tier)
        };
        LayoutError::Tier {
            rule: rule.to_string(),
            tier: rule.tier.clone(),
            known,
            names: names().collect::<Vec<_>>().join(", "),
            meant: did_you_mean(&rule.tier, names()),
        }
    })
}

/// The parts that a region is of, with what each stores; none for a region of KV.
pub(super) fn parts(regions: &Regions, region: RegionId) -> [Option<OfPart>; 2] {
    let one = |part, stored, units| [Some(OfPart { part, stored, units }), None];
    match &regions.region(region).contents {
        Contents::Kv { .. } => [None, None],
        Contents::Experts(experts) => one(Part::Experts, experts.stored(), Some(experts.count as u32)),
        &Contents::State { bytes, .. } => one(Part::Kv, bytes, None),
        &Contents::Weights { stage, weights } => {
            let Weights { stored, growth, shared, .. } = weights;
            match (stage, growth) {
                (_, Growth::Experts(routing)) => one(Part::Experts, stored, Some(routing.count())),
                (StageLabel::Embedding, _) => one(Part::Embedding, stored, None),
                (StageLabel::Head, _) => one(Part::Head, stored, None),
                (StageLabel::Attention, _) => one(Part::Attention, stored, None),
                // Of a model in bytes: how many experts it is of is not known.
                (StageLabel::Mlp, _) if weights.is_experts() => one(Part::Experts, stored, None),
                (StageLabel::Mlp, _) => {
                    let of = |part, stored| (stored > Bytes::ZERO).then_some(OfPart { part, stored, units: None });
                    [of(Part::Mlp, stored - shared), of(Part::Shared, shared)]
                }
            }
        }
    }
}

/// The parts of a model that store anything, with their layers.
fn present(regions: &Regions) -> BTreeSet<(Part, Option<usize>)> {
    let mut present = BTreeSet::new();
    for region in RegionId::all(regions.len()) {
        let layer = regions.layer_of(region).map(LayerId::index);
        if let Contents::Kv { token_bytes, group, .. } = regions.region(region).contents
            && token_bytes > Bytes::ZERO
        {
            present.insert((Part::of_group(group), layer));
        }
        let stored = parts(regions, region).into_iter().flatten().filter(|of| of.stored > Bytes::ZERO);
        present.extend(stored.map(|of| (of.part, layer)));
    }
    present
}

/// So many bytes, pages or experts, divided among rules.
pub(super) fn divided(takes: &[Take], count: u64) -> impl Iterator<Item = (Take, u64)> + '_ {
    let mut before = 0;
    takes.iter().map(move |take| {
        let upto = take.upto.round_of(count);
        let here = upto - before;
        before = upto;
        (*take, here)
    })
}

/// The bytes of a part of a region, divided among rules: experts as whole ones.
pub(super) fn bytes(takes: &[Take], of: OfPart) -> impl Iterator<Item = (Take, Bytes)> + '_ {
    let stored = of.stored.get();
    let units = of.units.map_or(stored, u64::from).max(1);
    let end = move |upto: u64| (u128::from(stored) * u128::from(upto) / u128::from(units)) as u64;
    let mut before = 0;
    divided(takes, units).map(move |(take, here)| {
        let (start, stop) = (end(before), end(before + here));
        before += here;
        (take, Bytes::new(stop - start))
    })
}
