//! Numbers as pages and pictures show them.

use crate::units::{SimTime, SizeStyle};

/// A time in the unit that fits.
pub(super) fn time(nanoseconds: f64) -> String {
    SimTime::from_ns(nanoseconds).rounded()
}

/// A size in the unit that fits, to three decimals at most.
pub(super) fn bytes(bytes: u64) -> String {
    bytes_in(SizeStyle::Binary, bytes)
}

/// The same in units of `style`: those in which the capacities of the machine were typed.
pub(super) fn bytes_in(style: SizeStyle, bytes: u64) -> String {
    const BINARY: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    const DECIMAL: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (base, units) = match style {
        SizeStyle::Binary => (1024u64, BINARY),
        SizeStyle::Decimal => (1000, DECIMAL),
    };
    let power = (0..units.len()).rfind(|power| bytes >= base.pow(*power as u32)).unwrap_or(0);
    let value = bytes as f64 / base.pow(power as u32) as f64;
    if value.fract() == 0.0 { format!("{value} {}", units[power]) } else { format!("{value:.3} {}", units[power]) }
}

/// A share in percent: `12.3 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// What stands where there is no value.
pub(super) fn dash() -> String {
    "–".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_the_unit_that_fits() {
        let texts = [0, 1023, 1024, 1536, 4 << 30, (4 << 30) + 1, u64::MAX].map(bytes);
        assert_eq!(texts, ["0 B", "1023 B", "1 KiB", "1.500 KiB", "4 GiB", "4.000 GiB", "16777216 TiB"]);
    }
}
