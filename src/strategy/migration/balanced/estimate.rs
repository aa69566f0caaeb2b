//! How many pages are in excess in external memory, how certain that is, and what a page in HBM is
//! worth.

use crate::memory::TierId;
use crate::strategy::migration::MigrationView;
use crate::units::SimTime;

/// How much of what is known of a region is of the last step: an exponential average over about
/// eight steps.
pub(super) const NEW: f64 = 1.0 / 8.0;

/// A number that varies from step to step: its mean and variance over the last ones, the later ones
/// counting for more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spread {
    pub mean: f64,
    variance: f64,
    pub seen: bool,
}

impl Spread {
    pub fn note(&mut self, value: f64) {
        if self.seen {
            let off = value - self.mean;
            self.mean += NEW * off;
            self.variance = (1.0 - NEW) * (self.variance + NEW * off * off);
        } else {
            (self.mean, self.seen) = (value, true);
        }
    }

    /// The scale of the logistic distribution with that variance, whose deviation is no less than
    /// half a page.
    pub fn scale(&self) -> f64 {
        self.variance.sqrt().max(0.5) * 3f64.sqrt() / std::f64::consts::PI
    }

    /// The probability that it is positive.
    pub fn positive(&self) -> f64 {
        1.0 / (1.0 + exp(-self.mean / self.scale()))
    }
}

/// e to the `x`, from additions, multiplications and divisions alone, which every machine rounds
/// alike; `f64::exp` differs between machines, and results must not.
///
/// It is (1 + x / 1024)^1024, so it is too small by a factor of about e^(-x^2 / 2048): within 0.05
/// % for |x| <= 1, 1.3 % for 5, 5 % for 10, 18 % for 20; 0 below -1024. It serves odds, whose
/// inputs (means and deviations of a few steps) are less certain than that.
pub(super) fn exp(x: f64) -> f64 {
    (0..HALVINGS).fold((1.0 + x / f64::from(1 << HALVINGS)).max(0.0), |power, _| power * power)
}

/// The inverse of [`exp`], for x > 0: too large by about ln(x)^2 / 2048, so by 1.3 % of 5 at x =
/// e^5.
pub(super) fn ln(x: f64) -> f64 {
    f64::from(1 << HALVINGS) * ((0..HALVINGS).fold(x, |root, _| root.sqrt()) - 1.0)
}

/// How often an exponent is halved until 1 + x is taken for e to the x.
const HALVINGS: i32 = 10;

/// What a read of a page takes from HBM, and from the other tiers in proportion to their
/// bandwidths, in picoseconds.
pub(super) struct ReadTimes {
    pub hbm: f64,
    pub external: f64,
}

impl ReadTimes {
    /// `None` where there is no tier but HBM.
    pub fn of<K>(view: &MigrationView<'_, K>) -> Option<Self> {
        let hbm = view.system.tiers()[0].read_bandwidth.as_f64();
        let external = view.system.total_read_bandwidth() as f64 - hbm;
        let page = view.page_bytes.as_f64() * SimTime::PS_PER_SECOND as f64;
        (external > 0.0).then(|| Self { hbm: page / hbm, external: page / external })
    }

    /// How many pages of the region were in excess in external memory in the present step: its part
    /// of those of the stage, by how long that waited for either side.
    pub fn excess_in_external<K>(&self, view: &MigrationView<'_, K>) -> f64 {
        let waited = |tier: TierId| view.waited[tier].as_ps() as f64;
        let external = view.waited.ids().skip(1).map(waited).fold(0.0, f64::max);
        view.part * (external - waited(TierId::HBM)) / (self.hbm + self.external)
    }

    /// How many will be if the next step reads `active` pages, `on_hbm` of which are in HBM or on
    /// their way there. The weights are balanced by all regions that the stage reads, each its
    /// part.
    pub fn predicted<K>(&self, view: &MigrationView<'_, K>, active: usize, on_hbm: usize) -> f64 {
        let page = view.page_bytes.as_f64();
        let all: f64 = view.weights_read.values().map(|bytes| bytes.as_f64()).sum();
        let (weights, on_hbm_weights) =
            (view.part * all / page, view.part * view.weights_read[TierId::HBM].as_f64() / page);
        let share = self.external / (self.hbm + self.external);
        let target = share * (weights + active as f64) - on_hbm_weights;
        target.clamp(0.0, active as f64) - on_hbm as f64
    }

    /// Pages to keep in HBM beyond the prediction, whose error is `missed`: the newsvendor's safety
    /// stock (Arrow, Harris and Marschak, "Optimal inventory policy", 1951). The critical fractile
    /// c_under / (c_under + c_over) of a logistic error is scale * ln(c_under / c_over).
    pub fn safety_stock(&self, missed: &Spread) -> f64 {
        if missed.seen { missed.scale() * ln(self.external / self.hbm) } else { 0.0 }
    }
}

/// What a read of a page takes on either side, and what it is worth to have the page in HBM, in
/// picoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Worth {
    pub hbm: f64,
    pub external: f64,
    /// What it is worth in a later step, for each time that the page is read.
    pub later: f64,
}

impl Worth {
    pub fn new(&ReadTimes { hbm, external }: &ReadTimes, predicted: &Spread, found: &Spread) -> Self {
        // Predicted but not observed: a retained page covered the shortfall.
        let short = predicted.positive();
        let uncovered = found.positive().min(short);
        let later = uncovered * external + (short - uncovered) * hbm - (1.0 - short) * hbm;
        Self { hbm, external, later }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_and_ln_err_by_no_more_than_they_say() {
        for (x, error) in [(0.0, 1e-12), (0.1, 1e-5), (1.0, 6e-4), (5.0, 0.013), (10.0, 0.05), (20.0, 0.18)] {
            for x in [x, -x] {
                let off = (exp(x) / f64::exp(x) - 1.0).abs();
                assert!(off <= error, "exp({x}) is off by {off}");
                // No better either: the documented error is the true one.
                assert!(error < 1e-9 || off >= error / 4.0, "exp({x}) is off by {off} only");
            }
            assert!((ln(x.exp()) - x).abs() <= x * x / 2048.0 * 1.02 + 1e-9, "ln(e^{x}) is {}", ln(x.exp()));
        }
        assert_eq!(exp(-2000.0), 0.0);
        // Inverses of each other, whatever their error.
        for x in [0.01, 1.0, 7.0, 1000.0] {
            assert!((exp(ln(x)) / x - 1.0).abs() < 1e-9, "{x}");
        }
    }

    #[test]
    fn the_spread_follows_what_varies() {
        let mut spread = Spread::default();
        (0..200).for_each(|step| spread.note(if step % 2 == 0 { 3.0 } else { 5.0 }));
        assert!((spread.mean - 4.0).abs() < 0.1, "{spread:?}");
        // A logistic distribution of deviation s has the scale s sqrt(3) / pi.
        assert!((spread.scale() - 3f64.sqrt() / std::f64::consts::PI).abs() < 0.05, "{spread:?}");
        assert!(spread.positive() > 0.99);
        let certain = Spread { mean: 0.0, variance: 0.0, seen: true };
        assert_eq!(certain.positive(), 0.5);
    }

    #[test]
    fn a_shortfall_that_costs_more_asks_for_more_stock() {
        let missed = Spread { mean: 0.0, variance: 9.0, seen: true };
        let stock = |external: f64| ReadTimes { hbm: 1.0, external }.safety_stock(&missed);
        assert_eq!(stock(1.0), 0.0);
        assert!(stock(5.0) > stock(2.0) && stock(2.0) > 0.0 && stock(0.5) < 0.0);
        // By the quantile of a logistic distribution: P(error <= stock) = 5 / 6.
        let scale = missed.scale();
        assert!((1.0 / (1.0 + (-stock(5.0) / scale).exp()) - 5.0 / 6.0).abs() < 1e-3);
    }
}
