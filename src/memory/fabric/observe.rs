//! What a fabric reports of itself while it runs: accounts, rates, how far transfers have come, and
//! what keeps them from going faster. Nothing here changes what happens.
//!
//! Each of these looks at every transfer in flight, O(n), but [`Fabric::delivered`] and
//! [`Fabric::progress`], which are O(1).

use super::Fabric;
use super::admission::Place;
use super::arbiter::Arbiter;
use super::profile::{Profile, Runs};
use super::progress;
use super::request::{Bottleneck, Delivered, LaneLoad, TransferId};
use super::slots::{Role, State, Transfer};
use super::stripe::sum_by_lane;
use crate::memory::{LaneId, Pattern, PerClass, Reach, RouteId, TransferClass};
use crate::units::{Bytes, SimTime};

/// A group of transfers that progress alike: see [`Fabric::meter`].
#[derive(Clone, Copy, Debug)]
pub struct Meter(usize);

/// A transfer that is not complete or, where its parts are on different lanes, a part of it that is
/// not.
#[derive(Clone, Copy, Debug)]
pub struct InProgress<Tag> {
    /// The transfer.
    pub id: TransferId,
    /// Which part of it, as long as it is not complete. The numbers have no order.
    pub part: u32,
    /// The request's tag.
    pub tag: Tag,
    /// The request's class.
    pub class: TransferClass,
    /// When it was issued.
    pub issued: SimTime,
    /// Why it does not receive more.
    pub bottleneck: Bottleneck,
}

/// Times within this share of each other are the same time: floats are that exact by far.
const SAME_TIME: f64 = 1e-9;

impl<Tag: Copy> Fabric<Tag> {
    /// The bytes of every transfer issued so far, by class.
    #[must_use]
    pub fn issued(&self) -> PerClass<Bytes> {
        self.issued
    }

    /// The bytes of every transfer completed so far, and what has been carried of those that were
    /// cancelled, by class.
    #[must_use]
    pub fn completed(&self) -> PerClass<Bytes> {
        self.completed
    }

    /// The bytes that are never carried, because their transfers were [cancelled](Fabric::cancel),
    /// by class. Issued bytes are completed, dropped or in flight.
    #[must_use]
    pub fn dropped(&self) -> PerClass<Bytes> {
        self.dropped
    }

    /// The bytes of every transfer that was issued and is not complete, by class.
    #[must_use]
    pub fn in_flight(&self) -> PerClass<Bytes> {
        let mut bytes = PerClass::filled(Bytes::ZERO);
        for (_, transfer) in self.slots.iter() {
            if !matches!(transfer.state, State::Vacant) && !matches!(transfer.role, Role::PartOf(_)) {
                bytes[transfer.class] += transfer.bytes;
            }
        }
        bytes
    }

    /// What each lane has done by `now`, by lane.
    #[must_use]
    pub fn loads(&self, now: SimTime) -> Vec<LaneLoad> {
        self.lanes.loads(now)
    }

    /// What each lane carries at this moment, in bytes a second, by lane.
    #[must_use]
    pub fn lane_rates(&self) -> Vec<f64> {
        let mut rates = vec![0.0; self.profiles.lanes()];
        self.arbiter.add_rates(&self.slots, &self.profiles, &mut rates);
        rates
    }

    /// Adds to each lane what it carries of each class from `now` on, in bytes a second.
    pub fn add_class_rates(&self, now: SimTime, rates: &mut [PerClass<f64>]) {
        self.arbiter.add_class_rates(now, &self.slots, &self.profiles, rates);
    }

    /// How much of `id` has arrived by `now`; of a transfer in parts of given sizes, of the part
    /// `part`.
    #[must_use]
    pub fn delivered(&self, now: SimTime, id: TransferId, part: usize) -> Delivered {
        let whole = &self.slots[id.0];
        let arrived = |transfer: &Transfer<Tag>, bytes, parts| {
            let rate = &self.profiles[transfer.profile].rate;
            Delivered::Part(self.arbiter.delivered(now, transfer.state, rate, bytes, parts))
        };
        let Some(stripe) = self.slots.stripe_of(id.0) else { return arrived(whole, whole.bytes, 1) };
        let of_part = &self.slots[stripe.parts[part]];
        let (bytes, parts) = if stripe.even { (whole.bytes, stripe.equal_parts()) } else { (of_part.bytes, 1) };
        if let State::Running { since } = whole.state {
            // All parts are carried as one.
            let gone = now.saturating_sub(since).min(whole.carry);
            let profile = &self.profiles[whole.profile];
            if stripe.even && parts == profile.ways {
                return Delivered::Part(profile.together.carried(gone, 1).min(whole.bytes));
            }
            // They progress in proportion to their sizes.
            let carried = u128::from(bytes.get()) * u128::from(gone.as_ps()) / u128::from(whole.carry.as_ps().max(1));
            return Delivered::Part(Bytes::new(u64::try_from(carried).unwrap_or(u64::MAX)));
        }
        if self.slots.is_part_of(stripe.parts[part], id.0) { arrived(of_part, bytes, parts) } else { Delivered::All }
    }

    /// A meter of due transfers of `class` over `route` in granules of `granule` that lie
    /// anywhere. `None` where these do not progress alike: under `Fifo`, and where some
    /// fit into a window of bytes in flight and some do not.
    #[must_use]
    pub fn meter(&mut self, route: RouteId, class: TransferClass, granule: Bytes) -> Option<Meter> {
        let runs = Runs { pattern: Pattern::Random, granule, reach: Reach::FULL };
        let profile = self.profile_of(class, route, runs, (Bytes::ZERO, 1));
        if self.profiles[profile].windows != 0 {
            return None;
        }
        self.arbiter.meter(profile).map(Meter)
    }

    /// How far each of the transfers of `meter` has come by `now` since an origin that all of them
    /// share, in bytes of 2^64 units each.
    #[must_use]
    pub fn progress(&self, now: SimTime, meter: Meter) -> Option<u128> {
        self.arbiter.progress(now, meter.0)
    }

    /// The progress at which a transfer that is at `progress` will have received `bytes` more, or
    /// just before.
    #[must_use]
    pub fn progress_after(progress: u128, bytes: Bytes) -> u128 {
        progress::progress_after(progress, bytes)
    }

    /// All that was issued and is not complete, as it is from `now` on. To be called after
    /// [`settle`](Fabric::settle).
    pub fn in_progress(&self) -> impl Iterator<Item = InProgress<Tag>> + '_ {
        self.slots.iter().filter_map(|(slot, transfer)| {
            let head = match transfer.role {
                Role::PartOf(head) => head,
                _ => slot,
            };
            let whole = &self.slots[head];
            let in_parts = matches!(whole.state, State::InParts);
            let is_part = matches!(transfer.role, Role::PartOf(_));
            // Of a transfer that is carried in parts, these; of another, itself.
            if matches!(transfer.state, State::Vacant) || in_parts != is_part {
                return None;
            }
            Some(InProgress {
                id: TransferId(head),
                part: slot,
                tag: whole.tag,
                class: whole.class,
                issued: whole.issued,
                bottleneck: self.bottleneck(slot, transfer),
            })
        })
    }

    fn bottleneck(&self, slot: u32, transfer: &Transfer<Tag>) -> Bottleneck {
        let held = self.slots.lanes_of(slot, &self.profiles);
        match transfer.state {
            State::Underway => Bottleneck::Latency,
            State::InLine => {
                let place: Place = self.place_of(slot);
                Bottleneck::Lane(LaneId::new(self.admission.in_the_way(place, held).unwrap_or(held[0])))
            }
            State::Running { .. } => self.slowest(slot, transfer, &self.profiles[transfer.profile]),
            state => self.arbiter.bottleneck(slot, state, held).unwrap_or(Bottleneck::NotRequested),
        }
    }

    /// The lane of which a transfer that has its lanes to itself takes the most time.
    fn slowest(&self, slot: u32, transfer: &Transfer<Tag>, profile: &Profile) -> Bottleneck {
        let takes = match self.slots.stripe_of(slot) {
            Some(stripe) => self.slots.takes_of(stripe, &self.profiles),
            None => profile.takes(self.slots.size_of(slot)).collect(),
        };
        // Of equals the first.
        let longer =
            |most: (usize, f64), lane: (usize, f64)| if lane.1 > most.1 * (1.0 + SAME_TIME) { lane } else { most };
        let most = sum_by_lane(takes).into_iter().fold((0, -1.0), longer);
        let capped = self.profiles.has_cap(profile) && transfer.carry.as_ps() as f64 > most.1 * (1.0 + SAME_TIME) + 1.0;
        if capped { Bottleneck::Cap } else { Bottleneck::Lane(LaneId::new(most.0)) }
    }
}
