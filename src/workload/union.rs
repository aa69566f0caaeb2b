//! How many different experts the tokens of a step use, and how probable each expert is.
//!
//! Each token is routed to `active` of `count` experts. A step that decodes several sequences reads
//! the union of their experts, so its weights grow with the batch, but ever more slowly. With `p_i`
//! the probability that a token is routed to expert i, and tokens independent of each other, the
//! expected size of the union over B tokens is `sum_i (1 - (1 - p_i)^B)`.
//!
//! * Uniform routing: `p_i = active / count`, exact.
//! * Zipf routing: expert i has the weight `w_i = i^-exponent`, and a token draws `active` experts
//!   without replacement, each draw in proportion to the weights of those that are left. Such draws
//!   are the first `active` of independent exponential clocks with the rates `w_i` (Rosén 1997), so
//!   `p_i` is close to `1 - exp(-w_i t)`, where `t` is the time at which `active` clocks are
//!   expected to have rung: `sum_i (1 - exp(-w_i t)) = active`. At one token the sum is exact.

use super::math::{exp_minus, ln, one_minus_exp};

/// How the tokens of a step are routed to experts.
///
/// ```
/// use tiersim::workload::{Popularity, Routing};
/// let routing = Routing::new(8, 2, Popularity::Uniform).unwrap();
/// assert_eq!(routing.union(1), 2.0);
/// assert_eq!(routing.union(2), 3.5);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Routing {
    count: u32,
    active: u32,
    popularity: Popularity,
}

/// How often tokens are routed to which expert.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Popularity {
    /// To each equally often.
    Uniform,
    /// To the i-th most popular with a weight of i to the power of minus this exponent.
    Zipf(f64),
}

/// Equality is total: an exponent is a number from 0 to [`Routing::MAX_EXPONENT`].
impl Eq for Routing {}

impl Routing {
    /// The most experts.
    pub const MAX_EXPERTS: u32 = 1 << 16;
    /// The greatest exponent of Zipf routing.
    pub const MAX_EXPONENT: f64 = 8.0;

    /// `active` of `count` experts for each token; `None` for none active, more than there are or
    /// than [`MAX_EXPERTS`](Self::MAX_EXPERTS), or an exponent that is not a number from 0 to
    /// [`MAX_EXPONENT`](Self::MAX_EXPONENT).
    #[must_use]
    pub fn new(count: u32, active: u32, popularity: Popularity) -> Option<Self> {
        let exponent = match popularity {
            Popularity::Uniform => 0.0,
            Popularity::Zipf(exponent) => exponent,
        };
        let valid = active > 0 && active <= count && count <= Self::MAX_EXPERTS;
        let valid = valid && (0.0..=Self::MAX_EXPONENT).contains(&exponent);
        valid.then_some(Self { count, active, popularity })
    }

    /// How many experts there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How many of them a token is routed to.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.active
    }

    /// How probable it is that a token is routed to each expert, the most popular first: numbers
    /// whose sum is [`active`](Self::active), the same on every machine. [`union`](Self::union) is
    /// the sum of `1 - (1 - p)^tokens` over them. O(count).
    #[must_use]
    pub fn probabilities(&self) -> Vec<f64> {
        let exponent = match self.popularity {
            Popularity::Zipf(exponent) if exponent > 0.0 && self.active < self.count => exponent,
            _ => return vec![f64::from(self.active) / f64::from(self.count); self.count as usize],
        };
        let weights = Vec::from_iter((1..=self.count).map(|rank| exp_minus(exponent * ln(f64::from(rank)))));
        let rung = |time: f64| weights.iter().map(|weight| one_minus_exp(weight * time)).sum::<f64>();
        let time = bisected(rung, f64::from(self.active));
        weights.iter().map(|weight| one_minus_exp(weight * time)).collect()
    }

    /// How many different experts so many tokens are routed to, expected. O(1) for uniform routing,
    /// O(count) for Zipf.
    #[must_use]
    pub fn union(&self, tokens: u32) -> f64 {
        let (count, active, tokens) = (f64::from(self.count), f64::from(self.active), f64::from(tokens));
        match self.popularity {
            // One token, or all experts: exact, without a power that rounds.
            _ if tokens <= 1.0 || self.active == self.count => active * tokens.min(1.0),
            Popularity::Uniform => count * (1.0 - (1.0 - active / count).powf(tokens)),
            Popularity::Zipf(exponent) => {
                let weights = Vec::from_iter((1..=self.count).map(|rank| f64::from(rank).powf(-exponent)));
                // (1 - p)^B of an expert is exp(-w t B).
                rung(&weights, time_of(&weights, active) * tokens)
            }
        }
    }
}

/// How many exponential clocks with these rates have rung at a time, expected.
fn rung(rates: &[f64], time: f64) -> f64 {
    rates.iter().map(|rate| -(-rate * time).exp_m1()).sum()
}

/// The time at which so many clocks have rung, expected; fewer than there are. By bisection.
fn time_of(rates: &[f64], wanted: f64) -> f64 {
    bisected(|time| rung(rates, time), wanted)
}

/// The time at which so many have rung.
fn bisected(rung: impl Fn(f64) -> f64, wanted: f64) -> f64 {
    let (mut early, mut late) = (0.0, 1.0);
    while rung(late) < wanted {
        (early, late) = (late, 2.0 * late);
    }
    // Each halving is a bit of the result; a double has 53.
    for _ in 0..60 {
        let middle = 0.5 * (early + late);
        if rung(middle) < wanted { early = middle } else { late = middle }
    }
    late
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_xoshiro::Xoshiro256PlusPlus;
    use rand_xoshiro::rand_core::{Rng, SeedableRng};

    /// The twin: every way to route `tokens` tokens, each as likely as the others.
    fn enumerated(count: u32, active: u32, tokens: u32) -> f64 {
        let choices = Vec::from_iter((0u32..1 << count).filter(|set| set.count_ones() == active));
        let mut unions = vec![0u32];
        for _ in 0..tokens {
            unions = unions.iter().flat_map(|union| choices.iter().map(move |choice| union | choice)).collect();
        }
        unions.iter().map(|union| f64::from(union.count_ones())).sum::<f64>() / unions.len() as f64
    }

    #[test]
    fn uniform_unions_are_those_of_all_routings() {
        for (count, active, tokens) in [(4, 1, 3), (5, 2, 3), (6, 3, 2), (8, 2, 3), (4, 4, 2)] {
            let routing = Routing::new(count, active, Popularity::Uniform).unwrap();
            let twin = enumerated(count, active, tokens);
            assert!((routing.union(tokens) - twin).abs() < 1e-9, "{count} {active} {tokens}: {twin}");
        }
    }

    /// The twin: draws without replacement, one expert after another.
    fn sampled(count: u32, active: u32, exponent: f64, tokens: u32) -> f64 {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
        let rounds = 2000;
        let mut total = 0;
        for _ in 0..rounds {
            let mut used = vec![false; count as usize];
            for _ in 0..tokens {
                let mut weights: Vec<f64> = (1..=count).map(|rank| f64::from(rank).powf(-exponent)).collect();
                for _ in 0..active {
                    let mut at = (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64 * weights.iter().sum::<f64>();
                    let hit = weights.iter().position(|weight| {
                        at -= weight;
                        at < 0.0
                    });
                    let hit = hit.or_else(|| weights.iter().rposition(|weight| *weight > 0.0)).unwrap();
                    weights[hit] = 0.0;
                    used[hit] = true;
                }
            }
            total += used.iter().filter(|used| **used).count();
        }
        total as f64 / f64::from(rounds)
    }

    #[test]
    fn zipf_unions_are_those_of_draws() {
        for (count, active, exponent, tokens) in
            [(128, 8, 0.0, 16), (128, 8, 1.0, 1), (128, 8, 1.0, 8), (64, 6, 0.7, 32), (8, 2, 1.2, 4), (256, 8, 1.5, 64)]
        {
            let routing = Routing::new(count, active, Popularity::Zipf(exponent)).unwrap();
            let (formula, twin) = (routing.union(tokens), sampled(count, active, exponent, tokens));
            assert!((formula / twin - 1.0).abs() < 0.02, "{count} {active} {exponent} {tokens}: {formula} {twin}");
        }
    }

    #[test]
    fn unions_follow_from_the_probabilities() {
        for (count, active, exponent) in [(128, 8, 0.0), (128, 8, 1.0), (64, 6, 0.7), (8, 2, 8.0), (256, 255, 3.0)] {
            let routing = Routing::new(count, active, Popularity::Zipf(exponent)).unwrap();
            let probabilities = routing.probabilities();
            assert!((probabilities.iter().sum::<f64>() - f64::from(active)).abs() < 1e-9);
            assert!(probabilities.windows(2).all(|pair| pair[0] >= pair[1]) && probabilities[0] <= 1.0);
            for tokens in [1, 2, 7, 64] {
                let sum: f64 = probabilities.iter().map(|p| 1.0 - (1.0 - p).powi(tokens)).sum();
                let union = routing.union(tokens as u32);
                assert!((sum / union - 1.0).abs() < 1e-9, "{count} {active} {exponent} {tokens}: {sum} {union}");
            }
        }
    }

    #[test]
    fn unions_grow_up_to_all_experts() {
        for popularity in [Popularity::Uniform, Popularity::Zipf(1.0), Popularity::Zipf(8.0)] {
            let routing = Routing::new(128, 8, popularity).unwrap();
            assert_eq!((routing.union(0), routing.union(1)), (0.0, 8.0));
            let unions: Vec<f64> = (1..=256).map(|tokens| routing.union(tokens)).collect();
            assert!(unions.windows(2).all(|pair| pair[0] <= pair[1] && pair[1] <= 128.0), "{popularity:?}");
        }
        // A uniform router spreads tokens over more experts than any other.
        let union = |popularity| Routing::new(128, 8, popularity).unwrap().union(16);
        assert!(union(Popularity::Uniform) > union(Popularity::Zipf(0.5)));
        assert!(union(Popularity::Zipf(0.5)) > union(Popularity::Zipf(1.0)));
    }

    #[test]
    fn routings_that_cannot_be_are_none() {
        assert_eq!(Routing::new(8, 0, Popularity::Uniform), None);
        assert_eq!(Routing::new(8, 9, Popularity::Uniform), None);
        assert_eq!(Routing::new(8, 2, Popularity::Zipf(f64::NAN)), None);
        assert_eq!(Routing::new(8, 2, Popularity::Zipf(-1.0)), None);
        assert_eq!(Routing::new(Routing::MAX_EXPERTS + 1, 2, Popularity::Uniform), None);
    }
}
