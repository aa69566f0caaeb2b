//! Logarithms, powers and exponentials that are the same on every machine.
//!
//! Those of the standard library come from the system's and may differ in the last bit. These are
//! made of additions, multiplications and divisions of IEEE floats alone, to a relative error below
//! 1e-12.

use std::f64::consts::LN_2;

/// The natural logarithm of a positive normal number.
pub(super) fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) as i64 - 1023) as f64;
    // From 1 to 2, then from about 0.7 to 1.4, where the series is fastest.
    let mut fraction = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if fraction > std::f64::consts::SQRT_2 {
        fraction *= 0.5;
        exponent += 1.0;
    }
    // ln(f) = 2 artanh((f - 1) / (f + 1)).
    let z = (fraction - 1.0) / (fraction + 1.0);
    let square = z * z;
    let series = (0..14).rev().fold(0.0, |sum, term| sum * square + 1.0 / f64::from(2 * term + 1));
    exponent * LN_2 + 2.0 * z * series
}

/// 1 - e^-x for x of at least 0.
pub(super) fn one_minus_exp(x: f64) -> f64 {
    if x < 0.5 {
        // 1 - e^-x = x (1 - x/2 (1 - x/3 (...))).
        let series = (2..=16).rev().fold(1.0, |sum, term| 1.0 - x / f64::from(term) * sum);
        return x * series;
    }
    1.0 - exp_minus(x)
}

/// e^-x for x of at least 0.
pub(super) fn exp_minus(x: f64) -> f64 {
    let halvings = (x / LN_2).round();
    if halvings > 1022.0 {
        return 0.0;
    }
    let rest = halvings * LN_2 - x;
    let series = (1..=20).rev().fold(1.0, |sum, term| 1.0 + rest / f64::from(term) * sum);
    series * f64::from_bits((1023 - halvings as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_of_the_standard_library() {
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-12 * b.abs() + f64::MIN_POSITIVE;
        for x in (1..2000).map(|x| f64::from(x) * 0.37) {
            assert!(near(ln(x), x.ln()), "ln {x}");
            assert!(near(exp_minus(x), (-x).exp()), "exp -{x}");
            assert!(near(one_minus_exp(x), -(-x).exp_m1()), "1 - exp -{x}");
            let small = x * 1e-9;
            assert!(near(one_minus_exp(small), -(-small).exp_m1()), "1 - exp -{small}");
        }
        assert_eq!((ln(1.0), exp_minus(0.0), one_minus_exp(0.0)), (0.0, 1.0, 0.0));
        assert_eq!((exp_minus(1e300), one_minus_exp(1e300)), (0.0, 1.0));
    }
}
