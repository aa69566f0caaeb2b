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

use super::{Fabric, Role};
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
    fn enter(&mut self, set: WindowSet, bytes: Bytes) -> WindowSet {
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
    fn leave(&mut self, set: WindowSet, bytes: Bytes) {
        for index in members(set) {
            let window = &mut self.0[index];
            window.in_flight -= bytes.min(window.limit);
        }
    }
}

fn members(set: WindowSet) -> impl Iterator<Item = usize> {
    (0..WindowSet::BITS as usize).filter(move |index| set >> index & 1 == 1)
}

impl<Tag: Copy> Fabric<Tag> {
    /// What is requested now is in flight from here on. Where it does not fit, it holds the
    /// window's lane.
    pub(super) fn enter_windows(&mut self, slot: u32) {
        let transfer = &mut self.slots[slot];
        let profile = &self.profiles[transfer.profile];
        if profile.windows == 0 {
            return;
        }
        transfer.in_windows = true;
        let fitting = self.windows.enter(profile.windows, transfer.bytes);
        // It was given the lanes that it holds where nothing else is in flight.
        if fitting != profile.fits {
            self.hold_windows(slot, fitting);
        }
    }

    /// A transfer whose bytes count in windows is in flight no more.
    pub(super) fn leave_windows(&mut self, slot: u32) {
        let transfer = &mut self.slots[slot];
        debug_assert!(transfer.in_windows);
        transfer.in_windows = false;
        self.windows.leave(self.profiles[transfer.profile].windows, transfer.bytes);
    }

    /// The transfer in `slot`, and each of its parts, holds the lanes of all windows on its route
    /// but those in which it fits.
    fn hold_windows(&mut self, slot: u32, fits: WindowSet) {
        let profile = self.profile_fitting(self.slots[slot].profile, fits);
        self.slots[slot].profile = profile;
        let whole = self.slots[slot].bytes;
        let Role::Head(number) = self.slots[slot].role else {
            self.slots[slot].carry = self.profiles[profile].rate.time_for(whole, 1);
            return;
        };
        let stripe = &self.slots.stripes[number as usize];
        let (even, equal, count) = (stripe.even, stripe.equal_parts(), stripe.parts.len());
        for at in 0..count {
            let part = self.slots.stripes[number as usize].parts[at];
            let profile = self.profile_fitting(self.slots[part].profile, fits);
            let bytes = if even { whole } else { self.slots[part].bytes };
            self.slots[part].profile = profile;
            self.slots[part].carry = self.profiles[profile].rate.time_for(bytes, equal);
        }
        self.slots.measure(slot, number, &self.profiles);
    }
}
