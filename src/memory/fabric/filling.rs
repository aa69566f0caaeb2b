//! Weighted max-min fair rates by progressive filling, over groups of transfers that hold the same
//! lanes.
//!
//! All rates of a level grow together, each by its weight, until a lane is full or a group has
//! reached its cap: the groups that hold that lane, or have that cap, are fixed, and the others go
//! on (Bertsekas and Gallager, *Data Networks*, 2nd edition, 1992, 6.5.2). A level of precedence is
//! filled with what the levels before it leave. With g groups, l lanes and h lanes a group, a
//! filling takes O(g (l + h)), and O(g) more for each cap that is reached.
//!
//! # Lanes whose efficiency depends on what they carry
//! The *cost* of a byte on such a lane is how much more of it the byte takes than a byte of long
//! reads does. Where a lane carries only reads or only writes, costs are constants, and the lane is
//! full when the costs of all rates add up to its capacity: integers, as on any lane. Where it
//! carries both, a byte's cost depends on the share of reads among all bytes, so the lane's share
//! is the root of a function that grows with all rates ([`Efficiency`](super::super::Efficiency)
//! sees to that), found in floats, which are the same on every machine as only additions,
//! multiplications and divisions are used.

use super::super::efficiency::segment;
use crate::memory::Direction;
use std::sync::Arc;

/// A rate in bytes a picosecond, as a fixed-point number with 64 fractional bits.
pub(super) type Rate = u128;

/// The cost of a byte that takes no more of a lane than its bandwidth says, as a fixed-point number
/// with 32 fractional bits.
pub(super) const PLAIN: u64 = 1 << 32;

/// A factor for what is computed in floats, so that their errors never make a share too large: less
/// than 1 by more than they can be wrong by here.
const FLOAT_TOLERANCE: f64 = 1.0 - 1e-14;

/// Residual capacity below this fraction of a lane is rounding error: transfers of a lower
/// precedence must not be started on it.
const RESIDUAL_TOLERANCE: f64 = 1e-12;

/// The resolution of precedences and shares in a memory system.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// Precedence levels are `0..levels`.
    pub levels: u8,
    /// Shares have so many fractional bits more than rates, where weights are large.
    pub shift: u32,
}

/// A lane that a group holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GroupHold {
    pub lane: usize,
    pub direction: Direction,
    /// What a byte costs while the lane carries this direction alone, rounded up; [`PLAIN`] on a
    /// lane without losses.
    pub cost: u64,
    /// What a byte costs at each of the lane's read shares.
    pub costs: Option<Arc<[f64]>>,
}

/// Transfers that hold the same lanes with the same weight, precedence and costs: max-min fairness
/// gives each the same rate.
#[derive(Clone, Debug)]
pub(super) struct Demand {
    pub holds: Box<[GroupHold]>,
    /// The share of one of them against one of weight 1.
    pub weight: u64,
    /// Lower levels are served first; a level gets what the ones below it leave.
    pub level: u8,
    /// The most that one of them gets.
    pub cap: Option<Rate>,
    /// How many there are now.
    pub count: u64,
    /// What one of them gets.
    pub rate: Rate,
    /// The lane that is full and gives no more; `None` where it is the cap.
    pub limit: Option<usize>,
    growth: Growth,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Growth {
    /// Its level's turn has not come.
    Waiting,
    Growing,
    Fixed,
}

impl Demand {
    pub fn new(holds: Box<[GroupHold]>, weight: u64, level: u8, cap: Option<Rate>) -> Self {
        Self { holds, weight, level, cap, count: 0, rate: 0, limit: None, growth: Growth::Waiting }
    }

    fn pressure(&self) -> u128 {
        u128::from(self.weight) * u128::from(self.count)
    }

    fn hold_of(&self, lane: usize) -> &GroupHold {
        self.holds.iter().find(|hold| hold.lane == lane).expect("an active group holds its lanes")
    }
}

/// A lane, as filling sees it.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub capacity: Rate,
    /// The read shares at which costs are given, where they depend on them.
    pub read_shares: Option<Box<[f64]>>,
    /// Whether bytes cost what their hold says, and not one byte each.
    pub priced: bool,
    /// The groups that have transfers on it.
    pub active: Vec<usize>,
    residual: Rate,
    /// What its growing groups take of it for each unit of growth.
    pressure: u128,
    growing: usize,
    /// By how much its growing groups may grow, each by its weight, until it is full.
    share: Rate,
    mixed: bool,
    /// Whether higher levels of precedence have left but what roundings leave.
    spent: bool,
}

impl Pool {
    pub fn new(capacity: Rate, read_shares: Option<Box<[f64]>>, priced: bool) -> Self {
        Self {
            capacity,
            priced: priced || read_shares.is_some(),
            read_shares,
            active: Vec::with_capacity(16),
            residual: 0,
            pressure: 0,
            growing: 0,
            share: 0,
            mixed: false,
            spent: false,
        }
    }

    /// Whether what its bytes cost depends on how many are read and how many written.
    pub fn is_mixed(&self, index: usize, demands: &[Demand]) -> bool {
        self.read_shares.is_some() && self.carries_both(index, demands)
    }

    fn carries_both(&self, index: usize, demands: &[Demand]) -> bool {
        let mut directions = self.active.iter().map(|&group| demands[group].hold_of(index).direction);
        let first = directions.next();
        directions.any(|direction| Some(direction) != first)
    }

    /// Whether the residual capacity is rounding error.
    fn is_rounding_error(&self, shift: u32) -> bool {
        let unit = if self.priced { PLAIN as f64 } else { 1.0 } * (1u64 << shift) as f64;
        self.share as f64 * self.pressure as f64 <= RESIDUAL_TOLERANCE * self.capacity as f64 * unit
    }

    /// Finds the share at which the lane is full, after all growing groups have grown by `grown`.
    fn find_share(&mut self, index: usize, demands: &[Demand], grown: Rate, shift: u32) {
        self.share = if self.growing == 0 {
            Rate::MAX
        } else if self.spent {
            0
        } else if self.mixed {
            let unit = (1u64 << shift) as f64;
            grown.max((mixed_share(self, index, demands, grown as f64 / unit) * unit) as Rate)
        } else if !self.priced {
            (self.residual << shift) / self.pressure
        } else if shift == 0 {
            self.residual * Rate::from(PLAIN) / self.pressure
        } else {
            // Too many digits for integers.
            let exact = self.residual as f64 * PLAIN as f64 / self.pressure as f64 * (1u64 << shift) as f64;
            (exact * FLOAT_TOLERANCE) as Rate
        };
    }
}

/// Sets the rate of every group of `members`, which are all that are active on `pools_used`. Both
/// are in ascending order.
///
/// Rates are rounded down, so no lane is oversubscribed.
pub(super) fn fill(pools: &mut [Pool], pools_used: &[usize], demands: &mut [Demand], members: &[usize], scale: Scale) {
    for &index in pools_used {
        let pool = &mut pools[index];
        pool.residual = pool.capacity;
        pool.mixed = pool.is_mixed(index, demands);
    }
    for &member in members {
        demands[member].growth = Growth::Waiting;
        demands[member].rate = 0;
    }
    for level in 0..scale.levels {
        fill_level(level, pools, pools_used, demands, members, scale.shift);
    }
}

/// Has the groups of a level grow, and adds up what they press on each pool. Returns how many
/// groups grow, and whether any has a cap.
fn start_level(
    level: u8,
    pools: &mut [Pool],
    pools_used: &[usize],
    demands: &mut [Demand],
    members: &[usize],
) -> (usize, bool) {
    for &index in pools_used {
        pools[index].pressure = 0;
        pools[index].growing = 0;
        pools[index].spent = false;
    }
    let mut growing = 0;
    let mut any_cap = false;
    for &member in members {
        let demand = &mut demands[member];
        if demand.level != level || demand.count == 0 {
            continue;
        }
        growing += 1;
        any_cap |= demand.cap.is_some();
        demand.growth = Growth::Growing;
        for hold in &demand.holds {
            let pool = &mut pools[hold.lane];
            pool.growing += 1;
            pool.pressure += demand.pressure() * if pool.priced { u128::from(hold.cost) } else { 1 };
        }
    }
    (growing, any_cap)
}

fn fill_level(
    level: u8,
    pools: &mut [Pool],
    pools_used: &[usize],
    demands: &mut [Demand],
    members: &[usize],
    shift: u32,
) {
    let (mut growing, any_cap) = start_level(level, pools, pools_used, demands, members);
    if growing == 0 {
        return;
    }
    for &index in pools_used {
        let pool = &mut pools[index];
        pool.find_share(index, demands, 0, shift);
        if level > 0 && pool.growing > 0 && pool.is_rounding_error(shift) {
            pool.spent = true;
            pool.share = 0;
        }
    }
    let mut grown = 0;
    while growing > 0 {
        let tightest = pools_used
            .iter()
            .copied()
            .filter(|&index| pools[index].growing > 0)
            .min_by_key(|&index| pools[index].share);
        let tightest = tightest.expect("a growing group holds a lane");
        let share = pools[tightest].share;
        if any_cap {
            // Groups that reach their caps first, and only these: what is left to the others
            // depends on how far all have grown.
            let reached = |demand: &Demand| {
                let cap = demand.cap.filter(|_| demand.growth == Growth::Growing)?;
                Some((cap << shift).div_ceil(Rate::from(demand.weight)))
            };
            let first = members.iter().filter_map(|&member| reached(&demands[member])).min();
            if let Some(first) = first.filter(|first| *first <= share) {
                grown = first.max(grown);
                for &member in members {
                    if reached(&demands[member]) == Some(first) {
                        growing -= 1;
                        demands[member].limit = None;
                        fix(member, demands[member].cap.unwrap_or(0), pools, demands, grown, shift);
                    }
                }
                continue;
            }
        }
        grown = share;
        for at in 0..pools[tightest].active.len() {
            let member = pools[tightest].active[at];
            if demands[member].growth == Growth::Growing {
                growing -= 1;
                demands[member].limit = Some(tightest);
                fix(member, (share * Rate::from(demands[member].weight)) >> shift, pools, demands, grown, shift);
            }
        }
    }
}

/// Fixes a group: each of its transfers gets `rate`. The others have grown by `grown`.
fn fix(member: usize, rate: Rate, pools: &mut [Pool], demands: &mut [Demand], grown: Rate, shift: u32) {
    let demand = &mut demands[member];
    demand.growth = Growth::Fixed;
    demand.rate = rate;
    let (taken, pressure) = (rate * Rate::from(demand.count), demand.pressure());
    for at in 0..demands[member].holds.len() {
        let GroupHold { lane, cost, .. } = demands[member].holds[at];
        let pool = &mut pools[lane];
        pool.growing -= 1;
        if pool.priced {
            pool.pressure -= pressure * u128::from(cost);
            pool.residual = pool.residual.saturating_sub((taken * Rate::from(cost)).div_ceil(Rate::from(PLAIN)));
        } else {
            pool.pressure -= pressure;
            pool.residual -= taken;
        }
        pool.find_share(lane, demands, grown, shift);
    }
}

/// The share at which a lane that carries reads and writes is full: how far its growing groups,
/// which have grown by `grown` so far, may grow.
///
/// From there on, and not from 0: where reads and writes are of different granules, more of one may
/// take less of the lane in all, and without what has grown the lane could be more than full.
fn mixed_share(pool: &Pool, index: usize, demands: &[Demand], grown: f64) -> f64 {
    let shares = pool.read_shares.as_deref().expect("a mixed lane has read shares");
    let capacity = pool.capacity as f64;
    let flows = || {
        pool.active.iter().map(|&group| {
            let demand = &demands[group];
            let hold = demand.hold_of(index);
            let (fixed, growth) = match demand.growth {
                Growth::Waiting => (0.0, 0.0),
                Growth::Growing => (0.0, demand.pressure() as f64),
                Growth::Fixed => (demand.rate as f64 * demand.count as f64, 0.0),
            };
            (fixed, growth, hold)
        })
    };
    // What all take of the lane once the growing groups have grown by `t`.
    let taken = |t: f64| {
        let (mut all, mut reads) = (0.0, 0.0);
        for (fixed, growth, hold) in flows() {
            let rate = fixed + t * growth;
            all += rate;
            reads += if hold.direction == Direction::Read { rate } else { 0.0 };
        }
        let (at, part) = segment(shares, if all > 0.0 { reads / all } else { 1.0 });
        let cost = |costs: &[f64]| costs[at] + part * (costs[at + 1] - costs[at]);
        flows().map(|(fixed, growth, hold)| (fixed + t * growth) * hold.costs.as_deref().map_or(1.0, cost)).sum::<f64>()
    };
    let (fixed, growth) = flows().fold((0.0, 0.0), |(fixed, growth), (f, g, _)| (fixed + f, growth + g));
    let t = if fixed == 0.0 {
        // The read share is what it is at any growth: all is proportional to it.
        capacity / taken(1.0)
    } else {
        let least = flows()
            .flat_map(|(_, _, hold)| hold.costs.iter().flat_map(|costs| costs.iter().copied()))
            .fold(f64::INFINITY, f64::min);
        root(|t| taken(t) - capacity, grown, ((capacity / least - fixed) / growth).max(grown))
    };
    t * FLOAT_TOLERANCE
}

/// An x from `low` to `high` up to which `f` may grow: `f` is not above 0 there and is a little
/// further on; `low` if it is above 0 from the start. By regula falsi in the Illinois variant, to
/// the precision of floats.
fn root(f: impl Fn(f64) -> f64, low: f64, high: f64) -> f64 {
    let (mut low, mut high) = (low, high);
    let (mut f_low, mut f_high) = (f(low), f(high));
    if f_low >= 0.0 {
        return low;
    }
    if f_high <= 0.0 {
        return high;
    }
    let mut last_moved_low = None;
    for round in 0..128 {
        // Never so near an end that it is hit: from there nothing is learned about the other one.
        let nearest = 1e-15 * high;
        if high - low <= 2.0 * nearest {
            break;
        }
        let middle = if round % 4 == 3 { low.midpoint(high) } else { (low * f_high - high * f_low) / (f_high - f_low) };
        let middle = middle.clamp(low + nearest, high - nearest);
        let f_middle = f(middle);
        if f_middle <= 0.0 {
            (low, f_low) = (middle, f_middle);
            if last_moved_low == Some(true) {
                f_high /= 2.0;
            }
            last_moved_low = Some(true);
        } else {
            (high, f_high) = (middle, f_middle);
            if last_moved_low == Some(false) {
                f_low /= 2.0;
            }
            last_moved_low = Some(false);
        }
        if f_middle == 0.0 {
            break;
        }
    }
    low
}
