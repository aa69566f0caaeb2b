//! Divisions of large integers by way of floats: exact, and faster than the general one.

/// A divisor with its inverse.
#[derive(Clone, Copy, Debug)]
pub(super) struct Divisor {
    value: u128,
    inverse: f64,
}

/// Quotients below this are found by floats: the estimate of one is wrong by less than a half.
const LARGEST: f64 = (1u64 << 48) as f64;

impl Divisor {
    /// Nothing can be divided by it.
    pub const ZERO: Self = Self { value: 0, inverse: f64::INFINITY };

    pub fn new(value: u128) -> Self {
        Self { value, inverse: 1.0 / float(value) }
    }

    pub fn get(self) -> u128 {
        self.value
    }

    /// `numerator / self`, rounded up; `u64::MAX` if that is too large, or the divisor is 0.
    #[inline]
    pub fn div_ceil(self, numerator: u128) -> u64 {
        let estimate = float(numerator) * self.inverse;
        let small = (numerator | self.value) >> 120 == 0;
        // An infinite or undefined estimate is no smaller.
        if small && estimate < LARGEST {
            // Rounded down, the estimate is at least the quotient less one and a half, and at most the quotient rounded up. No
            // loop: the compiler would unroll it.
            let least = estimate as u64;
            let product = self.value * u128::from(least);
            least + u64::from(product < numerator) + u64::from(product + self.value < numerator)
        } else {
            self.div_ceil_exactly(numerator)
        }
    }

    #[cold]
    fn div_ceil_exactly(self, numerator: u128) -> u64 {
        match self.value {
            0 => u64::MAX,
            value => u64::try_from(numerator.div_ceil(value)).unwrap_or(u64::MAX),
        }
    }
}

/// `value` to the precision of floats.
fn float(value: u128) -> f64 {
    const TWO_64: f64 = (1u128 << 64) as f64;
    (value >> 64) as u64 as f64 * TWO_64 + value as u64 as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn equals_the_integer_division(
            numerator: u128, divisor: u128, numerator_bits in 0u32..128, divisor_bits in 0u32..128, off in -2i8..3, quotient: u64,
            quotient_bits in 0u32..64,
        ) {
            let divisor = (divisor >> divisor_bits).max(1);
            // Any, and one that the divisor divides, or nearly.
            let near = divisor.saturating_mul(u128::from(quotient >> quotient_bits)).saturating_add_signed(i128::from(off));
            for numerator in [numerator >> numerator_bits, near] {
                let expected = u64::try_from(numerator.div_ceil(divisor)).unwrap_or(u64::MAX);
                prop_assert_eq!(Divisor::new(divisor).div_ceil(numerator), expected, "{} / {}", numerator, divisor);
            }
        }
    }

    #[test]
    fn nothing_is_divided_by_zero() {
        assert_eq!(Divisor::new(0).div_ceil(0), u64::MAX);
        assert_eq!(Divisor::new(0).div_ceil(1), u64::MAX);
        assert_eq!(Divisor::ZERO.div_ceil(1), u64::MAX);
    }
}
