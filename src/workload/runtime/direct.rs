//! What direct reads of a tier cost beside the bytes that are needed, checked against a memory
//! system.
//!
//! * *Interference*: while kernels read a tier in place, their reads of the first tier get less
//!   than its bandwidth, as requests to both wait in the same queues.
//! * *Amplification*: several blocks of the chip that compute different tokens read the same bytes
//!   of the tier again, as it lies behind no cache that they share.

use super::check::{RuntimeError, tier_named};
use super::config::{ReachClass, RuntimeConfig};
use super::curve::Curve;
use crate::memory::{Arbitration, Interleaving, MemorySystem, TierId};
use crate::units::{Bytes, SimTime};

/// What direct reads cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Direct {
    /// What kernels reach of the first tier's bandwidth while they read the tier.
    pub interference: Vec<(TierId, f64)>,
    /// By how much more bytes cross, by tokens.
    pub amplification: Vec<Amplified>,
}

/// By how much more bytes of a class cross the link of a tier.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Amplified {
    tier: TierId,
    class: ReachClass,
    /// By tokens.
    factors: Vec<(u32, f64)>,
}

impl Direct {
    /// What `config` says of the tiers of `system`; those that `is_direct` does not hold for are
    /// left out.
    ///
    /// # Errors
    /// [`RuntimeError`] for a tier that does not exist or is the first, and for what cannot be
    /// simulated on the system.
    pub fn new(
        config: &RuntimeConfig,
        system: &MemorySystem,
        is_direct: impl Fn(TierId) -> bool,
        is_read_in_place: impl Fn(TierId) -> bool,
    ) -> Result<Self, RuntimeError> {
        let mut direct = Self::default();
        for (index, rule) in config.interference.iter().enumerate() {
            let field = || format!("interference[{index}].tier");
            let tier = tier_beyond_first(&rule.tier, system, field)?;
            if system.arbitration() == Arbitration::Fifo {
                return Err(RuntimeError::Fifo { field: format!("interference[{index}]") });
            }
            let left = Curve::new(&rule.left).at(in_flight(rule.in_flight, tier, system));
            if is_direct(tier) && left < 1.0 {
                direct.interference.push((tier, left));
            }
        }
        for (index, rule) in config.amplification.iter().enumerate() {
            let field = || format!("amplification[{index}].tier");
            let tier = tier_beyond_first(&rule.tier, system, field)?;
            let spec = &system.tiers()[tier.index()];
            if spec.interleaving != Interleaving::Striped {
                return Err(RuntimeError::AmplifiedPages { field: field(), name: spec.name.clone() });
            }
            if is_read_in_place(tier) {
                let factors = rule.factors.clone();
                direct.amplification.push(Amplified { tier, class: rule.class, factors });
            }
        }
        Ok(direct)
    }

    /// By how much more bytes of `class` cross the link of `tier` when `tokens` share a read.
    pub fn amplification(&self, tier: TierId, class: ReachClass, tokens: usize) -> f64 {
        let rule = self.amplification.iter().find(|rule| (rule.tier, rule.class) == (tier, class));
        rule.map_or(1.0, |rule| at(&rule.factors, tokens))
    }
}

/// The tier of that name, which is not the first.
fn tier_beyond_first(name: &str, system: &MemorySystem, field: impl Fn() -> String) -> Result<TierId, RuntimeError> {
    match tier_named(name, system, &field)? {
        TierId::HBM => Err(RuntimeError::DirectFirst { field: field(), name: name.to_owned() }),
        tier => Ok(tier),
    }
}

/// How many bytes kernels have in flight to `tier`: `kept`, or what it carries in its latency, and
/// no more than may be in flight.
fn in_flight(kept: Option<Bytes>, tier: TierId, system: &MemorySystem) -> Bytes {
    let spec = &system.tiers()[tier.index()];
    let of_rate = || {
        let bytes = u128::from(spec.wire_bandwidth.get()) * u128::from(spec.latency.as_ps());
        Bytes::new(u64::try_from(bytes / u128::from(SimTime::PS_PER_SECOND)).unwrap_or(u64::MAX))
    };
    let routes = system.even_reads(tier).iter();
    let windows =
        routes.flat_map(|route| system.route(*route)).filter_map(|hold| system.lanes()[hold.lane.index()].window);
    windows.fold(kept.unwrap_or_else(of_rate), Bytes::min)
}

/// The factor at so many tokens: linear between two points, constant before the first and after the
/// last.
fn at(factors: &[(u32, f64)], tokens: usize) -> f64 {
    let after = factors.partition_point(|(point, _)| (*point as usize) < tokens);
    match (after.checked_sub(1).map(|before| factors[before]), factors.get(after)) {
        (Some((low, at_low)), Some(&(high, at_high))) => {
            at_low + (at_high - at_low) * ((tokens as f64 - f64::from(low)) / f64::from(high - low))
        }
        (Some((_, last)), None) => last,
        (None, Some((_, first))) => *first,
        (None, None) => 1.0,
    }
}

/// `bytes` times `factor`, rounded up.
pub(super) fn amplified(bytes: Bytes, factor: f64) -> Bytes {
    if factor == 1.0 { bytes } else { Bytes::new((bytes.as_f64() * factor).ceil() as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_linear_in_tokens() {
        let factors = [(1, 1.0), (9, 3.0)];
        assert_eq!([0, 1, 5, 9, 100].map(|tokens| at(&factors, tokens)), [1.0, 1.0, 2.0, 3.0, 3.0]);
        assert_eq!((amplified(Bytes::new(10), 1.01), amplified(Bytes::new(7), 1.0)), (Bytes::new(11), Bytes::new(7)));
    }
}
