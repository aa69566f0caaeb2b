//! Lanes on which a byte's cost depends on its granule and on what else is carried; caps on the rate of a transfer.

mod common;

use common::random::{self, With};
use common::*;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn shares_of_a_lane_with_losses_are_progressive_filling_over_the_times_of_bytes(
        memory in random::memory(With { efficiency: true, channels: true, ..With::default() }, random::sharing()),
        drafts in random::plan(12),
    ) {
        let system = lay(&memory);
        let plan = random::on(&system, &drafts);
        agree(&finishes(&system, &plan), &twin(&system, &plan).finishes)?;
    }

    #[test]
    fn capped_transfers_leave_the_rest_to_others(
        memory in random::memory(With { caps: true, ..With::default() }, random::sharing()),
        drafts in random::plan(16),
    ) {
        let system = lay(&memory);
        let plan = random::on(&system, &drafts);
        agree(&finishes(&system, &plan), &twin(&system, &plan).finishes)?;
    }

    #[test]
    fn limits_latencies_caps_and_losses_together(
        memory in random::memory(
            With { efficiency: true, caps: true, limits: true, latencies: true, channels: true, ..With::default() },
            random::sharing(),
        ),
        drafts in random::plan(14),
    ) {
        let system = lay(&memory);
        let plan = random::on(&system, &drafts);
        agree(&finishes(&system, &plan), &twin(&system, &plan).finishes)?;
    }

    #[test]
    fn parts_over_hashed_channels_are_flows_of_their_own(
        memory in random::memory(
            With { caps: true, channels: true, hashed: true, efficiency: true, limits: true, ..With::default() },
            random::sharing(),
        ),
        drafts in random::plan(8),
    ) {
        let system = lay(&memory);
        let plan = random::on(&system, &drafts);
        agree(&finishes(&system, &plan), &twin(&system, &plan).finishes)?;
    }
}
