//! The candidates: layouts, ways of reading, strategies.
//!
//! Each is the question's scenario with some fields changed. To add a way of reading, add a line to
//! [`WAYS`] and one to `ways`; to add a layout, add a line to `layouts`.

use super::flags::Flags;
use super::judge::Judged;
use super::shape::Shape;
use super::{Plan, PlanError, Question, WAYS};
use crate::config::Reference;
use crate::memory::TierId;
use crate::simulation::{Scenario, ScenarioConfig};
use crate::strategy::{LayoutRules, PlacementKind, Rules, Strategy};
use crate::units::{Bytes, RegionId, SimTime};
use crate::workload::{ComputedPiece, Contents, Merge, Regions, RuntimeConfig, Stage, StageLabel, TierComputeConfig};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A plan that is yet to be judged.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What is simulated.
    pub config: ScenarioConfig,
    /// What the layout is like.
    pub shape: Shape,
    /// How external memory is read: a name of [`WAYS`], and what it stands for.
    way: (String, String),
    /// What was changed, as flags of `tiersim run`.
    arguments: Vec<String>,
    layers: usize,
    computes: bool,
}

/// The pieces in the order in which a layout of rules has them: those that another one includes
/// before that one.
const PIECES: [&str; 7] = ["experts", "shared", "attention", "mlp", "head", "embedding", "kv"];

/// Orders in which pieces fill the first tier: what is read most for its size first, with KV before
/// all weights, before experts, and last.
const ORDERS: [[&str; 7]; 3] = [
    ["kv", "attention", "shared", "mlp", "head", "experts", "embedding"],
    ["attention", "shared", "mlp", "head", "kv", "experts", "embedding"],
    ["attention", "shared", "mlp", "head", "experts", "kv", "embedding"],
];

/// All candidates of a question, in an order that does not depend on anything but it; some may not
/// fit. `base` is its scenario.
///
/// # Errors
/// [`PlanError`] for a way of reading that there is not, and where there is no strategy.
pub fn candidates(question: &Question, base: &Scenario) -> Result<Vec<Candidate>, PlanError> {
    if question.strategies.is_empty() {
        return Err(PlanError::NoStrategy);
    }
    let known = || WAYS.map(|(name, _)| name).join(", ");
    if let Some(name) = question.ways.iter().find(|name| WAYS.iter().all(|(known, _)| known != name)) {
        return Err(PlanError::Way { name: name.clone(), known: known() });
    }
    let mut candidates: Vec<Candidate> = Vec::new();
    for (way, runtime) in ways(question, base) {
        let mut config = base.resolved().clone();
        if let Some(runtime) = &runtime {
            config.runtime = Reference::Inline(runtime.clone());
        }
        // A buffer may leave no room, or the way may not be for this machine.
        let plain = ScenarioConfig { layout: None, ..config.clone() };
        let Ok(scenario) = Scenario::new(plain) else { continue };
        let best = best_permille(&scenario, config.runtime.inline());
        let mut add = |layout: Option<LayoutRules>, shape: Shape, strategy: Strategy| {
            let mut arguments = Vec::new();
            if let (Some(layout), false) = (&layout, shape == Shape::Given) {
                arguments.extend(["--layout".to_owned(), layout.to_string()]);
            }
            arguments.extend(strategy_arguments(&strategy));
            if let Some(runtime) = &runtime {
                let own = base.resolved().runtime.inline();
                let set = |field: &str, value: String| ["--set".to_owned(), format!("runtime.{field}={value}")];
                if own.is_none_or(|own| own.reads != runtime.reads) {
                    arguments.extend(set("reads", serde_json::to_string(&runtime.reads).unwrap_or_default()));
                }
                if own.is_none_or(|own| own.computes != runtime.computes) {
                    arguments.extend(set("computes", serde_json::to_string(&runtime.computes).unwrap_or_default()));
                }
            }
            let config = ScenarioConfig { layout, strategy, ..config.clone() };
            let computes = config.runtime.inline().is_some_and(|runtime| !runtime.computes.is_empty());
            let layers = base.model().layers();
            let candidate = Candidate { config, shape, way: way.clone(), arguments, layers, computes };
            if !candidates.iter().any(|known| known.config == candidate.config) {
                candidates.push(candidate);
            }
        };
        let layouts = match &base.resolved().layout {
            Some(given) => vec![(given.clone(), Shape::Given)],
            None => {
                question.strategies.iter().for_each(|strategy| add(None, Shape::Strategy, *strategy));
                layouts(&scenario, best)
            }
        };
        for (layout, shape) in layouts {
            for strategy in with_rules(question, base) {
                add(Some(layout.clone()), shape.clone(), strategy);
            }
        }
    }
    Ok(candidates)
}

/// The strategies of layouts by rules: nothing moves; where KV is skipped, also the migrations of
/// the question's strategies. Initialization and placement are those of the rules.
fn with_rules(question: &Question, base: &Scenario) -> Vec<Strategy> {
    let mut strategies = vec![Strategy::REFERENCE];
    let sequences = base.sequences();
    if !sequences.all().iter().all(|of| sequences.trace_of(of.group).skips_nothing()) {
        let moving = question.strategies.iter().filter(|strategy| strategy.moves_anything());
        for strategy in moving {
            // Of two that differ in what the rules replace, one.
            if strategies.iter().all(|known| known.moves() != strategy.moves()) {
                strategies.push(*strategy);
            }
        }
    }
    strategies
}

/// The flags of `tiersim run` for a strategy.
fn strategy_arguments(strategy: &Strategy) -> Vec<String> {
    let name = strategy.name();
    if name.parse::<Strategy>().is_ok() {
        return vec!["--strategy".to_owned(), name];
    }
    let whole = serde_json::to_string(strategy).unwrap_or_default();
    vec!["--set".to_owned(), format!("strategy={whole}")]
}

/// The runtime that reads nothing over the link.
const LLAMA_CPP: &str = "llama.cpp";
/// How the names of tiers begin that are the memory of a CPU.
const OF_CPUS: [&str; 5] = ["cpu", "ddr", "dram", "host", "lpddr"];

/// What crosses the link for a token where the model does not say how wide it is: 8192 elements of
/// two bytes, as a model of 70B has.
const ACTIVATIONS: Bytes = Bytes::new(16 << 10);

/// How a CPU computes unless the runtime says so: 16 to 66 % of DRAM's peak are reached in
/// practice.
fn cpu(is_in_bytes: bool) -> TierComputeConfig {
    TierComputeConfig {
        pieces: vec![ComputedPiece::Weights, ComputedPiece::Kv],
        reach: 0.6,
        per_stage: SimTime::from_ps(30_000_000),
        merge: Merge::Parallel,
        rate: None,
        activations: is_in_bytes.then_some(ACTIVATIONS),
    }
}

/// The runtime in which CPUs compute what lies in their memory; `None` where there are none, or the
/// runtime says itself how they do.
fn computed(own: &RuntimeConfig, external: &[String], is_in_bytes: bool) -> Option<RuntimeConfig> {
    let of_cpus = external.iter().filter(|name| OF_CPUS.iter().any(|start| name.starts_with(start)));
    let computes: BTreeMap<String, TierComputeConfig> = of_cpus.map(|name| (name.clone(), cpu(is_in_bytes))).collect();
    (own.computes.is_empty() && !computes.is_empty()).then(|| RuntimeConfig { computes, ..own.clone() })
}

/// The ways of reading that the question asks for, each with the runtime that reads so; `None`
/// where it is the scenario's own.
fn ways(question: &Question, base: &Scenario) -> Vec<((String, String), Option<RuntimeConfig>)> {
    let own = base.resolved().runtime.inline().cloned().unwrap_or_default();
    let external: Vec<String> = base.memory().tiers().iter().skip(1).map(|tier| tier.name.clone()).collect();
    let stage = largest_stage(base);
    let buffer = |ahead: u64| {
        let most = base.memory().tiers()[TierId::HBM.index()].capacity.get() / 4;
        Value::String(Bytes::new((stage.get() * (ahead + 1)).clamp(1, most.max(1))).to_string())
    };
    // What a tier computes is not read from it.
    let read = |reads: Value| -> Option<RuntimeConfig> {
        let mut tree = serde_json::to_value(&own).ok()?;
        tree["reads"] =
            external.iter().map(|tier| (tier.clone(), reads.clone())).collect::<serde_json::Map<_, _>>().into();
        tree.as_object_mut()?.remove("computes");
        serde_json::from_value(tree).ok()
    };
    let computed = computed(&own, &external, !base.model().has_flop());
    let only_computes = own.name.starts_with(LLAMA_CPP) && computed.is_some();
    // Which experts a stage reads is known when it begins: no real copy goes ahead of that.
    let has_experts = base.model().weights().any(|weights| weights.is_experts());
    let mut ways = Vec::new();
    for (name, about) in WAYS {
        let is_wanted = match question.ways.is_empty() {
            true if only_computes => name == "computed",
            true => name != "staged-ahead" || !has_experts,
            false => question.ways.iter().any(|way| way == name),
        };
        // With one tier there is nothing to read in another way.
        if !is_wanted || (external.is_empty() && name != "runtime" && question.ways.is_empty()) {
            continue;
        }
        let runtime = match name {
            "runtime" => None,
            "direct" => read(json!("Direct")),
            "serial" => read(json!("Serial")),
            "staged" => read(json!({"Staged": {"buffer": buffer(0)}})),
            "computed" => computed.clone(),
            _ => read(json!({"Staged": {"buffer": buffer(1), "ahead": 1}})),
        };
        if name != "runtime" && runtime.is_none() {
            continue;
        }
        // To read in place is what a runtime does that says nothing.
        let is_own = |runtime: &RuntimeConfig| {
            let plain = |of: &RuntimeConfig| {
                let mut of = of.clone();
                of.reads.retain(|_, reads| *reads != crate::workload::ReadsConfig::Direct);
                of
            };
            plain(runtime) == plain(&own)
        };
        let has_own = ways.iter().any(|(_, runtime): &(_, Option<RuntimeConfig>)| runtime.is_none());
        if has_own && runtime.as_ref().is_some_and(is_own) {
            continue;
        }
        ways.push(((name.to_owned(), about.to_owned()), runtime));
    }
    ways
}

/// What the stage reads that reads most, weights and KV.
fn largest_stage(base: &Scenario) -> Bytes {
    let regions = base.regions();
    let stages = base.stages(&regions);
    let of = |stage: &Stage| -> u64 {
        let reads = stage.reads_of(&regions);
        let weights: u64 = reads.divisible().map(|(_, of)| of.read.get()).sum();
        let kv = |region: RegionId, token: Bytes| {
            let tokens = regions.lengths().nth(region.index()).map_or(0, |lengths| lengths.most);
            let window = regions.windows().nth(region.index()).unwrap_or(usize::MAX);
            token.get().saturating_mul(tokens.min(window) as u64)
        };
        weights.saturating_add(reads.kv.iter().map(|of| kv(of.region, of.token_bytes)).sum())
    };
    Bytes::new(stages.iter().map(of).max().unwrap_or(0))
}

/// Which pieces a model has.
fn present(regions: &Regions) -> Vec<&'static str> {
    let mut present = Vec::new();
    for region in RegionId::all(regions.len()) {
        let pieces: &[&str] = match &regions.region(region).contents {
            Contents::Experts(_) => &["experts"],
            Contents::Kv { token_bytes, .. } if *token_bytes > Bytes::ZERO => &["kv"],
            Contents::Kv { .. } => &[],
            Contents::State { .. } => &["kv"],
            Contents::Weights { stage, weights } => match (stage, weights) {
                (StageLabel::Attention, _) => &["attention"],
                (StageLabel::Embedding, _) => &["embedding"],
                (StageLabel::Head, _) => &["head"],
                (StageLabel::Mlp, weights) if weights.is_experts() => &["experts"],
                (StageLabel::Mlp, weights) if weights.shared == weights.stored => &["shared"],
                (StageLabel::Mlp, weights) if weights.shared > Bytes::ZERO => &["mlp", "shared"],
                (StageLabel::Mlp, _) => &["mlp"],
            },
        };
        present.extend(pieces.iter().copied());
    }
    PIECES.into_iter().filter(|piece| present.contains(piece)).collect()
}

/// Where layouts are tried for whether they fit.
struct Fitting<'a> {
    scenario: &'a Scenario,
    regions: Regions,
    first: &'a str,
    other: &'a str,
}

impl Fitting<'_> {
    /// The rules of that text, if all that they put somewhere fits there, new KV included.
    fn fits(&self, text: &str) -> Option<LayoutRules> {
        let layout: LayoutRules = text.parse().ok()?;
        let rules = Rules::new(&layout, &self.regions, self.scenario.memory()).ok()?;
        let with_growth = self.scenario.resolved().sequences.is_empty();
        let (memory, size) = (self.scenario.memory(), self.scenario.page_size());
        rules.check_room(&self.regions, memory, size, with_growth).ok().map(|()| layout)
    }

    /// The greatest number up to `most` whose layout fits, with that layout; `text` puts more into
    /// the first tier for greater numbers. O(log(most)) layouts.
    fn most(&self, most: usize, text: impl Fn(usize) -> String) -> Option<(usize, LayoutRules)> {
        let at = |number: usize| self.fits(&text(number)).map(|layout| (number, layout));
        if let Some(found) = at(most) {
            return Some(found);
        }
        let (mut found, mut too_many) = (at(1)?, most);
        while too_many - found.0 > 1 {
            let middle = found.0 + (too_many - found.0) / 2;
            match at(middle) {
                Some(fitting) => found = fitting,
                None => too_many = middle,
            }
        }
        Some(found)
    }

    /// Rules of pieces with their permille in the first tier; the rest is external.
    fn of_pieces(&self, permille: &[(&str, usize)]) -> String {
        let share = |piece: &str| permille.iter().find(|(of, _)| *of == piece).map_or(0, |(_, share)| *share);
        let mut rules: Vec<String> = Vec::new();
        for piece in PIECES.into_iter().filter(|piece| permille.iter().any(|(of, _)| of == piece)) {
            match share(piece) {
                // The rule for mlp would take them.
                0 if ["experts", "shared"].contains(&piece) => rules.push(format!("{piece}={}", self.other)),
                0 => {}
                1000 => rules.push(format!("{piece}={}", self.first)),
                share => {
                    rules.push(format!("{piece}={}% {}", share as f64 / 10.0, self.first));
                    if ["experts", "shared"].contains(&piece) {
                        rules.push(format!("{piece}={}", self.other));
                    }
                }
            }
        }
        if permille.iter().any(|(piece, share)| *share < 1000 && !["experts", "shared"].contains(piece)) {
            rules.push(format!("*={}", self.other));
        }
        rules.join(", ")
    }
}

/// The layouts by rules that fit on the machine of a scenario. With one tier there are none: all
/// lies there.
fn layouts(scenario: &Scenario, best: usize) -> Vec<(LayoutRules, Shape)> {
    let memory = scenario.memory();
    let Some(other) = memory.tiers().get(1) else { return Vec::new() };
    let (first, other) = (memory.tiers()[0].name.as_str(), other.name.as_str());
    let fitting = Fitting { scenario, regions: scenario.regions(), first, other };
    let layers = scenario.model().layers();
    let present = present(&fitting.regions);
    let has = |piece: &str| present.contains(&piece);
    let mut found: Vec<(LayoutRules, Shape)> = Vec::new();
    let mut add = |layout: Option<LayoutRules>, shape: Shape| {
        found.extend(layout.map(|layout| (layout, shape)));
    };
    add(fitting.fits(&format!("*={first}")), Shape::All);

    // Layer by layer, the last ones first: with their KV, and without any.
    let head = if has("head") { format!("head={first}, ") } else { String::new() };
    let by_layers = |on_first: usize| format!("layers {}..={first}, {head}*={other}", layers - on_first);
    if let Some((on_first, layout)) = fitting.most(layers, by_layers) {
        add(Some(layout), Shape::Layers { on_first, kv_on_first: true });
    }
    if has("kv") {
        let without_kv = |on_first: usize| format!("kv={other}, {}", by_layers(on_first));
        if let Some((on_first, layout)) = fitting.most(layers, without_kv) {
            add(Some(layout), Shape::Layers { on_first, kv_on_first: false });
        }
    }
    // The experts of as few of the first layers as possible external.
    if has("experts") {
        let by_layers = |on_first: usize| match layers - on_first {
            0 => format!("*={first}"),
            external => format!("experts layers ..{external}={other}, *={first}"),
        };
        // Where all layers' experts must be.
        let all = fitting.fits(&format!("experts={other}, *={first}"));
        match fitting.most(layers - 1, by_layers) {
            Some((on_first, layout)) => add(Some(layout), Shape::ExpertLayers { external: layers - on_first }),
            None => add(all, Shape::ExpertLayers { external: layers }),
        }
    }
    // In orders of pieces, each as far as it fits; and no more of the last than the best ratio.
    for order in ORDERS {
        let order: Vec<&str> = order.into_iter().filter(|piece| has(piece)).collect();
        let mut permille: Vec<(&str, usize)> = order.iter().map(|piece| (*piece, 0)).collect();
        for place in 0..permille.len() {
            let with = |share: usize| {
                let mut of = permille.clone();
                of[place].1 = share;
                fitting.of_pieces(&of)
            };
            let Some((share, layout)) = fitting.most(1000, with) else { break };
            if share < 1000 || place + 1 == permille.len() {
                add(Some(layout), Shape::Pieces);
            }
            if best < share {
                add(fitting.fits(&with(best)), Shape::Pieces);
            }
            permille[place].1 = share;
            if share < 1000 {
                break;
            }
        }
    }
    // Of all weights a share, with all KV in the first tier, in external memory, or in the same
    // share: as much as fits, and the best ratio.
    let weights = |kv: &str, share: usize| match share {
        1000 if kv.is_empty() => format!("weights={first}"),
        share => format!("{kv}weights={}% {first}, *={other}", share as f64 / 10.0),
    };
    let stored = scenario.model().stored_weights();
    for kv in [format!("kv={first}, "), format!("kv={}% {first}, ", best as f64 / 10.0), String::new()] {
        if !has("kv") && !kv.is_empty() {
            continue;
        }
        let all_on_first = kv.starts_with(&format!("kv={first}"));
        let Some((most, layout)) = fitting.most(999, |share| weights(&kv, share)) else { continue };
        for (share, layout) in [(most, Some(layout)), (best, fitting.fits(&weights(&kv, best)))] {
            let external = Bytes::new(stored.get() - stored.get() * share as u64 / 1000);
            add(
                layout.filter(|_| share <= most),
                if all_on_first { Shape::Weights { external } } else { Shape::Pieces },
            );
        }
    }
    // Experts in part at the best ratio, all else as it fits.
    if has("experts") {
        let text = |share: usize| format!("experts={}% {first}, experts={other}, *={first}", share as f64 / 10.0);
        if let Some((most, layout)) = fitting.most(999, text) {
            add(Some(layout), Shape::Pieces);
            add(fitting.fits(&text(best)).filter(|_| best < most), Shape::Pieces);
        }
    }
    found
}

/// The first tier's share of the bandwidth of the first two, in permille, from 1 to 999.
///
/// A tier that computes reads at its own bandwidth, not that of its link.
fn best_permille(scenario: &Scenario, runtime: Option<&RuntimeConfig>) -> usize {
    let Some(other) = scenario.memory().tiers().get(1) else { return 999 };
    let first = scenario.memory().tiers()[TierId::HBM.index()].read_bandwidth.as_f64();
    let computes = runtime.and_then(|runtime| runtime.computes.get(&other.name));
    let own = scenario.resolved().memory.inline().and_then(|memory| memory.tiers.get(1)).map(|tier| tier.bandwidth);
    let other = match (computes, own) {
        (Some(of), Some(own)) => of.reach * own.as_f64(),
        _ => other.read_bandwidth.as_f64(),
    };
    ((1000.0 * first / (first + other)).round() as usize).clamp(1, 999)
}

impl Candidate {
    /// The plan that it makes, now that it is judged.
    pub(super) fn plan(&self, judged: &Judged, bound: SimTime, tiers: &[String]) -> Plan {
        let total = judged.total.as_ps() as f64 / 1000.0;
        let all: u128 = judged.read.iter().sum();
        let name = |tier: usize| tiers.get(tier).map_or("", String::as_str);
        let layout = match &self.shape {
            Shape::Strategy => "as the strategy lays it out".to_owned(),
            Shape::All => format!("all in {}", name(0)),
            Shape::Layers { on_first, kv_on_first: true } => {
                format!("the last {on_first} of {} layers with their KV in {}", self.layers, name(0))
            }
            Shape::Layers { on_first, .. } => {
                format!("the last {on_first} of {} layers in {}, all KV in {}", self.layers, name(0), name(1))
            }
            Shape::ExpertLayers { external } => {
                format!("the experts of the first {external} of {} layers in {}", self.layers, name(1))
            }
            Shape::Weights { external } => format!("{} of the weights in {}", external.rounded(), name(1)),
            Shape::Pieces | Shape::Given => {
                self.config.layout.as_ref().map_or_else(String::new, |rules| format!("'{rules}'"))
            }
        };
        let by_rules = self.config.layout.is_some();
        let strategy = match (by_rules, self.config.strategy.moves_anything()) {
            (true, false) => "nothing moves".to_owned(),
            (true, _) => self.config.strategy.moves(),
            (false, _) => self.config.strategy.name(),
        };
        // The placement of a strategy is not used beside rules.
        let placement = if by_rules { PlacementKind::PreferHbm } else { self.config.strategy.placement };
        Plan {
            layout,
            rules: self.config.layout.clone(),
            reads: self.way.0.clone(),
            strategy,
            knows: Strategy { placement, ..self.config.strategy }.knowledge().to_string(),
            tpot_ns: total / judged.steps.max(1) as f64,
            bound_ns: bound.as_ps() as f64 / 1000.0,
            tokens_per_s: judged.tokens as f64 / total * 1e9,
            alpha: if all == 0 { 1.0 } else { judged.read.first().copied().unwrap_or(0) as f64 / all as f64 },
            used: judged.used.clone(),
            flags: Flags::of(&self.shape, self.layers, self.computes),
            arguments: self.arguments.clone(),
        }
    }
}
