//! A reach by the size of a read: linear in the logarithm of the size.
//!
//! Simulations give the same results on every machine, so no logarithm of the platform is used: the
//! binary logarithm of a size is found bit by bit, in integers.

use super::config::BySize;
use crate::memory::Reach;
use crate::units::Bytes;

/// Values between the points of a curve are multiples of 1 / this.
const STEPS: f64 = 1024.0;
/// How many fractional bits logarithms have.
const FRACTION: u32 = 20;

/// A reach by the size of a read; one number is a curve of one point.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Curve {
    /// The logarithm of each size, and the reach from there on.
    points: Vec<(u64, f64)>,
}

impl Curve {
    /// The curve of `sized`, which has a point and whose sizes increase.
    pub fn new(sized: &BySize) -> Self {
        let points = match sized {
            BySize::Constant(value) => vec![(0, *value)],
            BySize::Points(points) => points.iter().map(|(size, value)| (logarithm(*size), *value)).collect(),
        };
        Self { points }
    }

    /// The share that a read of `bytes` reaches.
    pub fn at(&self, bytes: Bytes) -> f64 {
        let (Some(&(first, at_first)), Some(&(_, at_last))) = (self.points.first(), self.points.last()) else {
            return 1.0;
        };
        if self.points.len() == 1 {
            return at_first;
        }
        let size = logarithm(bytes);
        if size <= first {
            return at_first;
        }
        let after = self.points.partition_point(|(at, _)| *at < size);
        let Some(&(high, at_high)) = self.points.get(after) else { return at_last };
        if high == size {
            return at_high;
        }
        let (low, at_low) = self.points[after - 1];
        let value = at_low + (at_high - at_low) * ((size - low) as f64 / (high - low) as f64);
        let rounded = (value * STEPS).round() / STEPS;
        rounded.clamp(at_low.min(at_high), at_low.max(at_high))
    }

    /// The least share of all sizes.
    pub fn least(&self) -> f64 {
        self.points.iter().map(|(_, value)| *value).fold(1.0, f64::min)
    }

    /// The largest share that reads of up to `bytes` reach.
    pub fn most_up_to(&self, bytes: Bytes) -> f64 {
        let size = logarithm(bytes);
        let below = self.points.iter().filter(|(at, _)| *at <= size).map(|(_, value)| *value);
        below.fold(self.at(Bytes::new(1)).max(self.at(bytes)), f64::max)
    }
}

/// The share as a transfer has it.
pub(super) fn reach(share: f64) -> Reach {
    Reach::new(share.clamp(Reach::LEAST, 1.0)).unwrap_or(Reach::FULL)
}

/// The binary logarithm of a size, rounded down to [`FRACTION`] fractional bits; 0 for none.
///
/// The fraction's bits are found by squaring: the logarithm of m^2 is twice that of m, so the next
/// bit is whether m^2 is at least 2 (Knuth, TAOCP 1, 1.2.2, exercise 25).
fn logarithm(bytes: Bytes) -> u64 {
    let Some(whole) = bytes.get().checked_ilog2() else { return 0 };
    // From 1 to 2, with 63 fractional bits.
    let mut mantissa = bytes.get() << (63 - whole);
    let mut fraction = 0;
    for _ in 0..FRACTION {
        let square = u128::from(mantissa) * u128::from(mantissa);
        let is_two = square >> 127 == 1;
        mantissa = (square >> if is_two { 64 } else { 63 }) as u64;
        fraction = fraction << 1 | u64::from(is_two);
    }
    u64::from(whole) << FRACTION | fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_those_of_floats() {
        for bytes in [1, 2, 3, 5, 1000, 65_535, 65_536, 1_000_000_007, u64::MAX] {
            let found = logarithm(Bytes::new(bytes)) as f64 / f64::from(1 << FRACTION);
            let float = (bytes as f64).log2();
            assert!((found - float).abs() < 2e-6, "{bytes}: {found} {float}");
        }
        assert_eq!(logarithm(Bytes::ZERO), 0);
    }

    #[test]
    fn a_curve_is_linear_in_the_logarithm() {
        let size = |kib: u64| Bytes::new(kib << 10);
        let curve = Curve::new(&BySize::Points(vec![(size(64), 0.3), (size(16 << 10), 0.8)]));
        assert_eq!(curve.at(Bytes::new(1)), 0.3);
        assert_eq!(curve.at(size(64)), 0.3);
        assert_eq!(curve.at(size(16 << 10)), 0.8);
        assert_eq!(curve.at(size(1 << 20)), 0.8);
        // 64 KiB to 16 MiB are 8 doublings: half of them is 1 MiB, and 0.55 is 563 of 1024.
        assert_eq!(curve.at(size(1 << 10)), 563.0 / 1024.0);
        assert_eq!(curve.most_up_to(size(1 << 10)), 563.0 / 1024.0);
        let falling = Curve::new(&BySize::Points(vec![(size(1), 0.9), (size(4), 0.5)]));
        assert_eq!((falling.at(size(2)), falling.most_up_to(size(2))), (717.0 / 1024.0, 0.9));
        assert_eq!(Curve::new(&BySize::Constant(0.93)).at(size(3)), 0.93);
    }
}
