//! Striped transfers: those that go over several routes at once, a part over each.
//!
//! A striped transfer is complete when its last part is. Under sharing, and under `Fifo` where no
//! two parts hold the same lane, each part is on its lanes by itself. Under `Fifo` with a common
//! lane (the link behind which the channels are), all parts are carried as one, because a lane
//! carries one transfer at a time.

use super::Fabric;
use super::profile::{Profiles, in_turns};
use super::progress;
use super::request::{Request, TransferId};
use super::slots::{Role, Slots, Stripe, Transfer};
use crate::memory::RouteId;
use crate::units::{Bytes, SimTime};

/// Sums of floats may be a little high: by less than this share of them.
const SUM_TOLERANCE: f64 = 1e-12;

impl<Tag: Copy> Fabric<Tag> {
    /// Takes slots for a transfer in `parts` at `now`, `equal` of them or, where that is 1, of the
    /// sizes given. It is held.
    pub(super) fn hold_striped(
        &mut self,
        now: SimTime,
        request: &Request<'_, Tag>,
        parts: impl Iterator<Item = (RouteId, Bytes)> + Clone,
        equal: u64,
    ) -> TransferId {
        let number = self.slots.vacant_stripes.pop().unwrap_or_else(|| {
            self.slots.stripes.push(Stripe::default());
            self.slots.stripes.len() as u32 - 1
        });
        let count = parts.clone().count();
        let (first, _) = parts.clone().next().expect("a transfer has a part");
        let head = self.hold(now, request, first, (request.bytes, 1), count, Role::Head(number)).0;
        let mut stripe = std::mem::take(&mut self.slots.stripes[number as usize]);
        stripe.parts.clear();
        for (route, bytes) in parts {
            let part = self.hold(now, request, route, (bytes, equal), count, Role::PartOf(head));
            stripe.parts.push(part.0);
        }
        stripe.even = equal > 1;
        stripe.left = stripe.parts.len();
        self.slots.stripes[number as usize] = stripe;
        self.slots.measure(head, number, &self.profiles);
        self.slots[head].unloaded = self.slots[head].carry;
        TransferId(head)
    }

    /// Takes a slot for what goes over `route`: `bytes` of it or, where it is spread evenly, one of
    /// `equal` parts of the request. The transfer has `count` parts in all. It is held.
    pub(super) fn hold(
        &mut self,
        now: SimTime,
        request: &Request<'_, Tag>,
        route: RouteId,
        (bytes, equal): (Bytes, u64),
        count: usize,
        role: Role,
    ) -> TransferId {
        let profile = self.find_profile(request, route, count);
        let whole = if equal > 1 { request.bytes } else { bytes };
        let carry = self.profiles[profile].rate.time_for(whole, equal);
        let slot = self.slots.next();
        self.slots.put(slot, Transfer { bytes, role, ..Transfer::whole(now, request, profile, carry) });
        TransferId(slot)
    }
}

impl<Tag> Slots<Tag> {
    /// Notes which lanes the parts of stripe `number` hold, and how long the transfer, whose head
    /// is in `head`, takes on them.
    pub fn measure(&mut self, head: u32, number: u32, profiles: &Profiles) {
        let mut stripe = std::mem::take(&mut self.stripes[number as usize]);
        stripe.lanes.clear();
        for part in &stripe.parts {
            stripe.lanes.extend_from_slice(profiles[self[*part].profile].lanes());
        }
        stripe.lanes.sort_unstable();
        let whole = &self[head];
        let profile = &profiles[whole.profile];
        let carry = if stripe.equal_parts() == profile.ways {
            profile.together.time_for(whole.bytes, 1)
        } else {
            self.carry_of(&stripe, profiles)
        };
        self[head].carry = carry;
        let holds = stripe.lanes.len();
        stripe.lanes.dedup();
        stripe.overlap = stripe.lanes.len() < holds;
        self.stripes[number as usize] = stripe;
    }

    /// How long the parts of a stripe take together, with all their lanes to themselves. Its
    /// `lanes` are those of all parts, sorted, each as often as parts hold it.
    fn carry_of(&self, stripe: &Stripe, profiles: &Profiles) -> SimTime {
        let parts = stripe.parts.len();
        let runs = stripe.lanes.chunk_by(|a, b| a == b);
        let shared: Vec<usize> = runs.filter(|run| run.len() == parts).map(|run| run[0]).collect();
        let carries = stripe.parts.iter().map(|slot| self[*slot].carry);
        let own = carries.chain([self.fullest_lane_of(stripe, profiles)]).max().unwrap_or_default();
        if shared.is_empty() {
            return own;
        }
        let sizes = stripe.parts.iter().map(|slot| self.size_of_part(stripe, *slot)).collect();
        let profile = &profiles[self[stripe.parts[0]].profile];
        in_turns(sizes, profile.rate_but(&shared), profile.rate_of(&shared)).max(own)
    }

    /// What the parts of a stripe take of the lane of which they take the most.
    fn fullest_lane_of(&self, stripe: &Stripe, profiles: &Profiles) -> SimTime {
        let fullest =
            sum_by_lane(self.takes_of(stripe, profiles)).into_iter().map(|(_, time)| time).fold(0.0, f64::max);
        SimTime::from_ps((fullest * (1.0 - SUM_TOLERANCE)).ceil() as u64)
    }

    /// The time that each part of a stripe takes of each of its lanes, in picoseconds.
    pub fn takes_of(&self, stripe: &Stripe, profiles: &Profiles) -> Vec<(usize, f64)> {
        let takes = |&slot: &u32| profiles[self[slot].profile].takes(self.size_of_part(stripe, slot));
        stripe.parts.iter().flat_map(takes).collect()
    }

    /// What the transfer or part in `slot` is to receive, in the format of [`progress::size`].
    pub fn size_of(&self, slot: u32) -> u128 {
        match self[slot].role {
            Role::PartOf(head) => self
                .stripe_of(head)
                .map_or_else(|| progress::size(self[slot].bytes, 1), |it| self.size_of_part(it, slot)),
            _ => progress::size(self[slot].bytes, 1),
        }
    }

    /// The same of a part of `stripe`.
    fn size_of_part(&self, stripe: &Stripe, slot: u32) -> u128 {
        let part = &self[slot];
        match part.role {
            Role::PartOf(head) if stripe.even => progress::size(self[head].bytes, stripe.equal_parts()),
            _ => progress::size(part.bytes, 1),
        }
    }
}

/// Each lane once, with the sum of its times, in ascending order.
pub(super) fn sum_by_lane(mut takes: Vec<(usize, f64)>) -> Vec<(usize, f64)> {
    takes.sort_by_key(|(lane, _)| *lane);
    let of_lane = |run: &[(usize, f64)]| (run[0].0, run.iter().map(|(_, time)| time).sum());
    takes.chunk_by(|a, b| a.0 == b.0).map(of_lane).collect()
}
