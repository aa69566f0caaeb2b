//! Exact division of large integers by a divisor that is used again and again.
//!
//! A rate divides every size that is sent at it. A division of 128-bit integers is a library call;
//! here it is a multiplication by the inverse, which is computed once, and a correction.

/// A divisor with its inverse.
#[derive(Clone, Copy, Debug)]
pub(super) struct Divisor {
    value: u128,
    /// 2^(63 + b) / `value`, a little less, where b is how many bits `value` has: between 2^63 and
    /// 2^64.
    inverse: u64,
    /// b - [`SPARE`]: so many bits of a numerator make no difference to the estimate.
    shift: u32,
    /// Smaller numerators are divided by way of the inverse.
    limit: u128,
}

/// The bits of a divisor that an estimate looks at.
const SPARE: u32 = 15;
/// Sums of two numbers below 2^120 do not overflow.
const MOST_BITS: u32 = 120;

impl Divisor {
    /// Division by it gives `u64::MAX`.
    pub const ZERO: Self = Self { value: 0, inverse: 0, shift: 0, limit: 0 };

    pub fn new(value: u128) -> Self {
        let bits = u128::BITS - value.leading_zeros();
        if !(SPARE..=MOST_BITS).contains(&bits) {
            return Self { value, ..Self::ZERO };
        }
        let highest = ((value << (u128::BITS - bits)) >> 64) + 1;
        let shift = bits - SPARE;
        Self { value, inverse: ((1 << 127) / highest) as u64, shift, limit: 1 << MOST_BITS.min(64 + shift) }
    }

    pub fn get(self) -> u128 {
        self.value
    }

    /// `numerator / self`, rounded up; `u64::MAX` if that is too large, or the divisor is 0.
    ///
    /// With n the numerator, d the divisor, s the shift, and i the inverse, the estimate is
    /// `(n >> s) * i >> (63 + SPARE)`. It is never more than n / d. It is less by what the shift of
    /// n leaves out, below 2^s / d <= 2^-14; by the error of i, less than 3 for each unit of the
    /// shifted n, which is below 2^64, so below 3 * 2^-14; and by what is cut off, below 1. The
    /// total is less than 1.001, so that the quotient rounded up is the estimate, or one or two
    /// more.
    #[inline]
    pub fn div_ceil(self, numerator: u128) -> u64 {
        if numerator < self.limit {
            let estimate = u128::from((numerator >> self.shift) as u64) * u128::from(self.inverse);
            let least = (estimate >> (63 + SPARE)) as u64;
            // No loop: the compiler would unroll it.
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
