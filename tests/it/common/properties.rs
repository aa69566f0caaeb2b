//! How many cases property tests try.

use proptest::prelude::ProptestConfig;

/// The cases that a push tries of a property that is cheap to test.
pub const CASES: u32 = 256;

/// `cases` at a push. `PROPTEST_CASES` scales all properties alike: with 4096 each tries 16 times
/// as many as with the usual [`CASES`].
pub fn cases(cases: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse::<u64>().ok());
    let scaled = u64::from(cases) * asked.unwrap_or(u64::from(CASES)) / u64::from(CASES);
    ProptestConfig::with_cases(u32::try_from(scaled.max(1)).unwrap_or(u32::MAX))
}
