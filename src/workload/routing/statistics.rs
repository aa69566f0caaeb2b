//! What routing is like: the figures that decide whether experts can be cached or prefetched.
//!
//! All are of single layers, averaged over the layers that have experts. They cost O(experts used)
//! but for the prediction, which keeps a table of experts by experts for each pair of layers.

use super::recorded::ExpertSteps;
use crate::workload::union::{Popularity, Routing};

/// The sizes of caches: so many hundredths of a layer's experts.
pub const EXPERT_ROOMS: [usize; 3] = [10, 25, 50];

/// What a cache of experts evicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpertPolicy {
    /// What was last used longest ago.
    Lru,
    /// What was used in the fewest steps; of those, what was last used longest ago.
    Lfu,
    /// What is used again last: no cache hits more often.
    Belady,
}

impl ExpertPolicy {
    /// Each with its name.
    pub const ALL: [(&str, Self); 3] = [("LRU", Self::Lru), ("LFU", Self::Lfu), ("Belady", Self::Belady)];
}

/// What routing is like.
#[derive(Clone, Debug, PartialEq)]
pub struct RoutingStatistics {
    /// How many different experts a step uses in a layer.
    pub union: f64,
    /// The exponent of the Zipf popularity under which two tokens would have as many experts in
    /// common as two of the recording's, whichever they are; at most [`Routing::MAX_EXPONENT`].
    pub exponent: f64,
    /// The share of a token's experts that two unrelated tokens have in common: what popularity
    /// alone makes persist.
    pub chance: f64,
    /// The share of a token's experts that the token in its place in the step before used.
    pub kept: Option<f64>,
    /// The share of a step's experts that any token of the step before used.
    pub reused: Option<f64>,
    /// The share of a token's experts that a table, learned from the first half of the steps,
    /// predicts in the second half from the token's experts in the layer before; and the share that
    /// popularity alone predicts. `None` for a single layer, or more experts than
    /// [`MAX_TABLE`](Self::MAX_TABLE).
    pub predicted: Option<(f64, f64)>,
    /// The least share of a layer's experts that covers 50, 90 and 99 % of what is used.
    pub working_set: [f64; 3],
    /// The share of a step's experts that are in a cache of the layer, by [`ExpertPolicy::ALL`],
    /// then [`EXPERT_ROOMS`]. The first quarter of the steps fills the caches and does not count.
    pub hits: [[f64; EXPERT_ROOMS.len()]; ExpertPolicy::ALL.len()],
}

impl RoutingStatistics {
    /// The most experts of which a table predicts.
    pub const MAX_TABLE: usize = 1024;

    /// The persistence of a generator whose tokens keep as many experts.
    #[must_use]
    pub fn persistence(&self) -> Option<f64> {
        self.kept.map(|kept| ((kept - self.chance) / (1.0 - self.chance).max(f64::EPSILON)).clamp(0.0, 1.0))
    }

    /// Measures all steps; `None` where no layer has experts.
    #[must_use]
    pub fn measure(steps: &ExpertSteps) -> Option<Self> {
        let places = 0..steps.routed().len();
        if places.is_empty() {
            return None;
        }
        let over = |figure: &dyn Fn(usize) -> f64| places.clone().map(figure).sum::<f64>() / places.len() as f64;
        let popularity = Vec::from_iter(places.clone().map(|place| steps.popularity(place, 0)));
        let tokens = (steps.steps() * steps.shape().tokens) as f64;
        let active = steps.shape().active as f64;
        // The share of common experts of two tokens is sum p^2 / active. Estimated from frequencies
        // it is too large by their own variance.
        let chance = over(&|place| {
            let in_common = |f: &f64| f * f - if tokens > 1.0 { f * (1.0 - f) / (tokens - 1.0) } else { 0.0 };
            popularity[place].iter().map(in_common).sum::<f64>() / active
        });
        let unions = Vec::from_iter(places.clone().map(|place| unions(steps, place)));
        let several = steps.steps() > 1;
        Some(Self {
            union: over(&|place| unions[place].iter().map(Vec::len).sum::<usize>() as f64 / steps.steps() as f64),
            exponent: exponent_of(steps, chance),
            chance,
            kept: several.then(|| over(&|place| kept(steps, place))),
            reused: several.then(|| over(&|place| reused(&unions[place]))),
            predicted: predicted(steps),
            working_set: [0.5, 0.9, 0.99].map(|share| over(&|place| working_set(&popularity[place], share))),
            hits: ExpertPolicy::ALL.map(|(_, policy)| {
                EXPERT_ROOMS.map(|percent| {
                    let room = (steps.shape().experts * percent).div_ceil(100);
                    over(&|place| hit_rate(&unions[place], steps.shape().experts, room, policy))
                })
            }),
        })
    }
}

/// The experts that each step uses in a layer, the lowest first.
fn unions(steps: &ExpertSteps, place: usize) -> Vec<Vec<u16>> {
    let of_step = |step| {
        let tokens = 0..steps.shape().tokens;
        let mut union = Vec::from_iter(tokens.flat_map(|token| steps.of(step, place, token).iter().copied()));
        union.sort_unstable();
        union.dedup();
        union
    };
    (0..steps.steps()).map(of_step).collect()
}

/// How many of these are among those; both in order.
fn common(these: &[u16], those: &[u16]) -> usize {
    these.iter().filter(|it| those.binary_search(it).is_ok()).count()
}

fn kept(steps: &ExpertSteps, place: usize) -> f64 {
    let tokens = steps.shape().tokens;
    let pairs = (1..steps.steps()).flat_map(|step| (0..tokens).map(move |token| (step, token)));
    let kept = pairs.map(|(step, token)| common(steps.of(step, place, token), steps.of(step - 1, place, token)));
    kept.sum::<usize>() as f64 / ((steps.steps() - 1) * tokens * steps.shape().active) as f64
}

fn reused(unions: &[Vec<u16>]) -> f64 {
    let pairs = unions.windows(2);
    let shares = pairs.map(|pair| common(&pair[1], &pair[0]) as f64 / pair[1].len().max(1) as f64);
    shares.sum::<f64>() / (unions.len() - 1) as f64
}

/// The exponent under which two tokens have that share of their experts in common. By bisection.
fn exponent_of(steps: &ExpertSteps, chance: f64) -> f64 {
    let shape = steps.shape();
    let in_common = |exponent| {
        let routing = Routing::new(shape.experts as u32, shape.active as u32, Popularity::Zipf(exponent));
        let probabilities = routing.map(|routing| routing.probabilities()).unwrap_or_default();
        probabilities.iter().map(|p| p * p).sum::<f64>() / shape.active as f64
    };
    let (mut low, mut high) = (0.0, Routing::MAX_EXPONENT);
    if chance <= in_common(low) {
        return low;
    }
    for _ in 0..30 {
        let middle = 0.5 * (low + high);
        if in_common(middle) < chance { low = middle } else { high = middle }
    }
    high
}

fn working_set(popularity: &[f64], share: f64) -> f64 {
    let mut sorted = popularity.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let wanted = share * sorted.iter().sum::<f64>() * (1.0 - 1e-12);
    let mut covered = 0.0;
    let needed = sorted.iter().position(|popularity| {
        covered += popularity;
        covered >= wanted
    });
    needed.map_or(1.0, |last| (last + 1) as f64 / sorted.len() as f64)
}

/// What a table predicts, and popularity alone.
fn predicted(steps: &ExpertSteps) -> Option<(f64, f64)> {
    let (shape, places) = (steps.shape(), steps.routed().len());
    let (count, half) = (shape.experts, steps.steps() / 2);
    if places < 2 || half == 0 || count > RoutingStatistics::MAX_TABLE {
        return None;
    }
    let (mut by_table, mut by_popularity) = (0, 0);
    let best = |scores: &[f64]| {
        let mut order = Vec::from_iter(0..count as u16);
        let wanted = shape.active.min(count);
        order.select_nth_unstable_by(wanted - 1, |a, b| {
            scores[usize::from(*b)].total_cmp(&scores[usize::from(*a)]).then(a.cmp(b))
        });
        order.truncate(wanted);
        order.sort_unstable();
        order
    };
    for place in 1..places {
        let mut together = vec![0.0f64; count * count];
        let (mut leads, mut used) = (vec![0.0f64; count], vec![0.0f64; count]);
        for (step, token) in (0..half).flat_map(|step| (0..shape.tokens).map(move |token| (step, token))) {
            let follows = steps.of(step, place, token);
            follows.iter().for_each(|expert| used[usize::from(*expert)] += 1.0);
            for lead in steps.of(step, place - 1, token) {
                leads[usize::from(*lead)] += 1.0;
                follows.iter().for_each(|it| together[usize::from(*lead) * count + usize::from(*it)] += 1.0);
            }
        }
        let popular = best(&used);
        let tokens = (half * shape.tokens) as f64;
        let mut scores = vec![0.0; count];
        for (step, token) in (half..steps.steps()).flat_map(|step| (0..shape.tokens).map(move |token| (step, token))) {
            // Popularity, and by how much each expert of the layer before makes another likelier.
            scores.iter_mut().zip(&used).for_each(|(score, used)| *score = used / tokens);
            for lead in steps.of(step, place - 1, token).iter().map(|lead| usize::from(*lead)) {
                let rows = together[lead * count..][..count].iter().zip(&used);
                for (score, (together, used)) in scores.iter_mut().zip(rows) {
                    // By chance, within three deviations, is no sign of anything.
                    let expected = leads[lead] * used / tokens;
                    let deviation = (expected * (1.0 - used / tokens)).sqrt();
                    if together - expected > 3.0 * deviation {
                        *score += (together - expected) / leads[lead].max(1.0);
                    }
                }
            }
            let now = steps.of(step, place, token);
            by_table += common(now, &best(&scores));
            by_popularity += common(now, &popular);
        }
    }
    let all = ((places - 1) * (steps.steps() - half) * shape.tokens * shape.active) as f64;
    Some((by_table as f64 / all, by_popularity as f64 / all))
}

/// The share of the experts of a step that the cache of a layer holds when the step begins.
fn hit_rate(unions: &[Vec<u16>], experts: usize, room: usize, policy: ExpertPolicy) -> f64 {
    let steps = unions.len();
    // When each expert is used, the last first.
    let mut uses: Vec<Vec<usize>> = vec![Vec::new(); experts];
    for (step, union) in unions.iter().enumerate().rev() {
        union.iter().for_each(|expert| uses[usize::from(*expert)].push(step));
    }
    let mut held = vec![false; experts];
    let (mut last, mut count) = (vec![0usize; experts], vec![0usize; experts]);
    let (mut hits, mut reads, mut holds) = (0, 0, 0);
    for (step, union) in unions.iter().enumerate() {
        for expert in union.iter().map(|expert| usize::from(*expert)) {
            uses[expert].pop();
            let hit = std::mem::replace(&mut held[expert], true);
            holds += usize::from(!hit);
            if step >= steps / 4 {
                hits += usize::from(hit);
                reads += 1;
            }
            last[expert] = step;
            count[expert] += 1;
        }
        if holds > room {
            let key = |expert: usize| match policy {
                ExpertPolicy::Lru => (last[expert], expert),
                ExpertPolicy::Lfu => (count[expert] * steps + last[expert], expert),
                ExpertPolicy::Belady => (steps - uses[expert].last().copied().unwrap_or(steps), expert),
            };
            let mut order = Vec::from_iter((0..experts).filter(|expert| held[*expert]).map(key));
            order.sort_unstable();
            order.iter().take(holds - room).for_each(|(_, expert)| held[*expert] = false);
            holds = room;
        }
    }
    f64::from(hits as u32) / f64::from(reads.max(1) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Ratio;
    use crate::workload::trace::Made;
    use crate::workload::{ExpertsShape, RoutingGenerator, RoutingGeneratorConfig, TraceHeader, TraceKind};

    fn generated(exponent: f64, persistence: u32, correlation: u32, tokens: usize) -> RoutingStatistics {
        let config = RoutingGeneratorConfig {
            exponent: Some(exponent),
            persistence: Ratio::from_permille(persistence).unwrap(),
            correlation: Ratio::from_permille(correlation).unwrap(),
            seed: 3,
        };
        let layers = [Routing::new(32, 4, Popularity::Uniform); 6];
        let shape = ExpertsShape { experts: 32, active: 4, tokens };
        let header = TraceHeader { kind: TraceKind::Experts(shape), ..TraceHeader::skips(6, 0, 1200) };
        let source = RoutingGenerator::new(&config, &layers).by_token(tokens);
        let steps = ExpertSteps::read("test", &mut Made(source, header)).unwrap();
        RoutingStatistics::measure(&steps).unwrap()
    }

    #[test]
    fn statistics_find_what_a_generator_was_asked_for() {
        for (exponent, persistence, correlation) in [(0.0, 0, 0), (0.8, 500, 0), (1.2, 300, 700), (0.4, 800, 300)] {
            let found = generated(exponent, persistence, correlation, 1);
            assert!((found.exponent - exponent).abs() < 0.15, "{exponent}: {}", found.exponent);
            let persists = found.persistence().unwrap();
            assert!((persists - f64::from(persistence) / 1000.0).abs() < 0.03, "{persistence}: {persists}");
            let (table, popularity) = found.predicted.unwrap();
            let follows = f64::from(correlation) / 1000.0;
            assert!(table >= popularity - 0.05, "{table} {popularity}");
            if correlation >= 700 {
                assert!(table > follows && table > popularity + 0.2, "{table} {popularity}");
            }
            assert_eq!(found.union, 4.0);
            let [lru, lfu, belady] = found.hits;
            assert!(belady.iter().zip(lru).all(|(best, other)| *best >= other));
            assert!(belady.iter().zip(lfu).all(|(best, other)| *best >= other));
            assert!(found.working_set.windows(2).all(|pair| pair[0] <= pair[1]));
        }
        let many = generated(0.0, 500, 0, 8);
        let union = Routing::new(32, 4, Popularity::Uniform).unwrap().union(8);
        assert!((many.union / union - 1.0).abs() < 0.01);
        assert!(many.reused.unwrap() > many.kept.unwrap());
    }

    #[test]
    fn figures_by_hand() {
        // Ten experts, of which one is used half of the time.
        assert_eq!(working_set(&[1.0, 0.5, 0.25, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], 0.5), 0.1);
        assert_eq!(working_set(&[1.0, 0.5, 0.25, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], 0.9), 0.4);
        // Three experts in turn, room for two: LRU never hits, Belady keeps two of the three.
        let unions: Vec<Vec<u16>> = (0..400).map(|step| vec![step % 3]).collect();
        assert_eq!(hit_rate(&unions, 3, 2, ExpertPolicy::Lru), 0.0);
        assert!((hit_rate(&unions, 3, 2, ExpertPolicy::Belady) - 2.0 / 3.0).abs() < 0.01);
        // One is used every second time: LFU keeps it.
        let unions: Vec<Vec<u16>> =
            (0..400).map(|step| vec![if step % 2 == 0 { 0 } else { 1 + step / 2 % 9 }]).collect();
        assert!((hit_rate(&unions, 10, 2, ExpertPolicy::Lfu) - 0.5).abs() < 0.02);
        assert_eq!(common(&[1, 3, 5], &[3, 4, 5]), 2);
    }
}
