//! What lanes have done: how long each was busy, and what it carried.

use super::request::LaneLoad;
use crate::memory::TransferClass;
use crate::units::{Bytes, SimTime};

/// The account of every lane, by lane.
#[derive(Clone, Debug)]
pub(super) struct Lanes(Vec<LaneState>);

#[derive(Clone, Debug, Default)]
struct LaneState {
    load: LaneLoad,
    /// How many transfers are active on it.
    serving: u32,
    /// When the first of them became active.
    since: SimTime,
}

impl Lanes {
    /// So many idle lanes.
    pub fn new(lanes: usize) -> Self {
        Self(vec![LaneState::default(); lanes])
    }

    /// A transfer becomes active on `held` at `now`.
    #[inline]
    pub fn enter(&mut self, held: &[usize], now: SimTime) {
        for &lane in held {
            let lane = &mut self.0[lane];
            if lane.serving == 0 {
                lane.since = now;
            }
            lane.serving += 1;
        }
    }

    /// A transfer that was active on `held` is not any more.
    #[inline]
    pub fn leave(&mut self, held: &[usize], now: SimTime) {
        for &lane in held {
            let lane = &mut self.0[lane];
            lane.serving -= 1;
            if lane.serving == 0 {
                lane.load.busy += now - lane.since;
            }
        }
    }

    /// Each of `held` has carried `bytes` of `class`.
    #[inline]
    pub fn count(&mut self, held: &[usize], class: TransferClass, bytes: Bytes) {
        for &lane in held {
            self.0[lane].load.bytes[class] += bytes;
        }
    }

    /// What each lane has done, by lane, while all of them are idle.
    pub fn done(&self) -> impl Iterator<Item = &LaneLoad> {
        self.0.iter().map(|lane| &lane.load)
    }

    /// Each lane has done that so many times more.
    pub fn add(&mut self, loads: &[LaneLoad], times: u64) {
        for (lane, load) in self.0.iter_mut().zip(loads) {
            lane.load.busy += load.busy.times(times);
            for (sum, bytes) in lane.load.bytes.values_mut().zip(load.bytes.values()) {
                *sum += bytes.times(times);
            }
        }
    }

    /// What each lane has done by `now`, by lane.
    pub fn loads(&self, now: SimTime) -> Vec<LaneLoad> {
        let load = |lane: &LaneState| {
            let running = if lane.serving > 0 { now.saturating_sub(lane.since) } else { SimTime::ZERO };
            LaneLoad { busy: lane.load.busy + running, ..lane.load }
        };
        self.0.iter().map(load).collect()
    }
}
