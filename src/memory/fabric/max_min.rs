//! Weighted max-min fair rates by progressive filling, over groups of transfers that hold the same lanes.

/// A rate in bytes a picosecond, as a fixed-point number with 64 fractional bits.
pub(super) type Rate = u128;

/// Transfers that hold the same lanes with the same weight and precedence: max-min fairness gives each the same rate.
#[derive(Clone, Debug)]
pub(super) struct Demand {
    /// The lanes that each of them holds, by index.
    pub lanes: Vec<usize>,
    /// The share of one of them against one of weight 1.
    pub weight: u64,
    /// Lower levels are served first; a level gets what the ones below it leave.
    pub level: u8,
    /// How many there are now.
    pub count: u64,
}

/// The scratch space of [`fill`], kept between calls so that none allocates.
#[derive(Clone, Debug)]
pub(super) struct Filling {
    capacity: Vec<Rate>,
    residual: Vec<Rate>,
    pressure: Vec<u64>,
    fixed: Vec<bool>,
    levels: u8,
}

impl Filling {
    /// For lanes of these capacities, so many demands, and precedence levels `0..levels`.
    pub fn new(capacity: Vec<Rate>, demands: usize, levels: u8) -> Self {
        Self {
            residual: vec![0; capacity.len()],
            pressure: vec![0; capacity.len()],
            fixed: vec![false; demands],
            capacity,
            levels,
        }
    }

    /// Sets `rates[i]` to the rate of one transfer of `demands[i]`; 0 where there is none.
    ///
    /// The most pressed lane (the least left for each unit of weight) sets the rate of all that hold it; what they take is
    /// gone from their other lanes, and the next lane follows. Rates are rounded down, so no lane is oversubscribed.
    pub fn fill(&mut self, demands: &[Demand], rates: &mut [Rate]) {
        self.residual.copy_from_slice(&self.capacity);
        rates.fill(0);
        for level in 0..self.levels {
            self.fill_level(level, demands, rates);
        }
    }

    fn fill_level(&mut self, level: u8, demands: &[Demand], rates: &mut [Rate]) {
        let here = |demand: &Demand| demand.level == level && demand.count > 0;
        let mut waiting = demands.iter().filter(|demand| here(demand)).count();
        if waiting == 0 {
            return;
        }
        self.pressure.fill(0);
        for demand in demands.iter().filter(|demand| here(demand)) {
            for &lane in &demand.lanes {
                self.pressure[lane] += demand.weight * demand.count;
            }
        }
        self.fixed.fill(false);
        while waiting > 0 {
            let (tightest, share) = self
                .pressure
                .iter()
                .enumerate()
                .filter(|(_, pressure)| **pressure > 0)
                .map(|(lane, pressure)| (lane, self.residual[lane] / u128::from(*pressure)))
                .min_by_key(|(_, share)| *share)
                .expect("whoever waits presses on a lane");
            for (index, demand) in demands.iter().enumerate() {
                if self.fixed[index] || !here(demand) || !demand.lanes.contains(&tightest) {
                    continue;
                }
                self.fixed[index] = true;
                waiting -= 1;
                rates[index] = share * u128::from(demand.weight);
                for &lane in &demand.lanes {
                    self.residual[lane] -= rates[index] * u128::from(demand.count);
                    self.pressure[lane] -= demand.weight * demand.count;
                }
            }
        }
    }
}
