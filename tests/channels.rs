//! Channels one by one: a striped tier gives what its one lane gives, a hashed one waits for its most loaded channel; limits on
//! how many transfers a lane carries; links of packets; buses that turn around.

mod common;

use common::random::{self, With};
use common::*;
use proptest::prelude::*;
use tiersim::memory::{
    Arbitration, ClassWeights, Completed, Duplex, EfficiencyConfig, Interleaving, LinkConfig, MemoryConfig,
    MemorySystem, Packet, TierConfig, TierId, TransferClass, Urgency,
};
use tiersim::units::{Bytes, SimTime};

const HBM: TierId = TierId(0);
const EXTERNAL: TierId = TierId(1);

fn plain(arbitration: Arbitration, tiers: Vec<TierConfig>) -> MemoryConfig {
    config(arbitration, ClassWeights::default(), tiers)
}

/// What a completion says, but for its id.
fn said(done: &Completed<usize>) -> (usize, SimTime, SimTime, SimTime) {
    (done.tag, done.started, done.finished, done.alone)
}

fn merged_and_one_by_one(
    memory: &MemoryConfig,
    drafts: &[random::Draft],
) -> [Vec<(usize, SimTime, SimTime, SimTime)>; 2] {
    [MemorySystem::new(memory).unwrap(), MemorySystem::channel_by_channel(memory).unwrap()].map(|system| {
        let plan = random::on(&system, drafts);
        Replay::new(&system, &plan).finish().iter().map(said).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn channels_that_carry_the_same_may_be_one_lane(
        memory in random::memory(With { channels: true, caps: true, latencies: true, ..With::default() }, random::sharing()),
        drafts in random::plan(10),
    ) {
        let [merged, one_by_one] = merged_and_one_by_one(&memory, &drafts);
        prop_assert_eq!(merged, one_by_one);
    }

    #[test]
    fn channels_that_carry_the_same_may_be_one_lane_with_losses_and_limits(
        memory in random::memory(
            With { channels: true, caps: true, limits: true, efficiency: true, ..With::default() },
            random::sharing(),
        ),
        drafts in random::plan(10),
    ) {
        let [merged, one_by_one] = merged_and_one_by_one(&memory, &drafts);
        prop_assert_eq!(merged, one_by_one);
    }

    #[test]
    fn channels_that_carry_the_same_may_be_one_lane_under_fifo(
        memory in random::memory(With { channels: true, caps: true, efficiency: true, ..With::default() }, Just(Arbitration::Fifo)),
        drafts in random::plan(10),
    ) {
        let [merged, one_by_one] = merged_and_one_by_one(&memory, &drafts);
        prop_assert_eq!(merged, one_by_one);
    }
}
