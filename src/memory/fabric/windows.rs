//! Limits on the bytes in flight (`outstanding`): which transfers have to share a window's
//! bandwidth.
//!
//! A byte is in flight from its request to its arrival.
//! [`Lane::window`](crate::memory::Lane::window) defines what a transfer may do; here it is
//! decided, once for each transfer, when it is requested. A transfer counts with all its bytes
//! until the last of them has arrived, but with no more than the window, since it never has more in
//! flight.
//!
//! # Why no more than window / latency arrives
//! Let W be the window, L the latency, and D(t) the bytes that have arrived t after an idle start.
//! Claim: D(t) <= t W / L. Take the last moment s <= t - L at which a transfer was requested that
//! fitted. By induction D(s) <= s W / L. What was in flight at s is at most W, for it fitted.
//! Transfers that fitted later have not arrived by t, as they take at least L; those that did not
//! fit share the lane, which carries at most (t - s - L) W / L from s + L on. The sum is at most t
//! W / L. If there is no such s, the lane alone has carried all, from L on.

use crate::memory::Lane;
use crate::units::Bytes;

/// A set of windows, a bit for each: at most three for each of at most eight tiers.
pub(super) type WindowSet = u32;

/// The windows of a memory system, in the order of their lanes.
#[derive(Clone, Debug)]
pub(super) struct Windows(Vec<Window>);

#[derive(Clone, Debug)]
struct Window {
    limit: Bytes,
    in_flight: Bytes,
}

impl Windows {
    pub fn new(lanes: &[Lane]) -> Self {
        let windows = lanes.iter().filter_map(|lane| lane.window);
        Self(windows.map(|limit| Window { limit, in_flight: Bytes::ZERO }).collect())
    }

    /// Counts a transfer of `bytes` in the windows of `set`, and returns those in which it fits.
    pub fn enter(&mut self, set: WindowSet, bytes: Bytes) -> WindowSet {
        let mut fitting = 0;
        for index in members(set) {
            let window = &mut self.0[index];
            if bytes <= window.limit.saturating_sub(window.in_flight) {
                fitting |= 1 << index;
            }
            window.in_flight += bytes.min(window.limit);
        }
        fitting
    }

    /// Takes it out again.
    pub fn leave(&mut self, set: WindowSet, bytes: Bytes) {
        for index in members(set) {
            let window = &mut self.0[index];
            window.in_flight -= bytes.min(window.limit);
        }
    }
}

fn members(set: WindowSet) -> impl Iterator<Item = usize> {
    (0..WindowSet::BITS as usize).filter(move |index| set >> index & 1 == 1)
}
