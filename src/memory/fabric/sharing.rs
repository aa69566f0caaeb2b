//! `Fair` and `Priority`: transfers share lanes, at rates that are constant between arrivals and
//! departures.
//!
//! Transfers that hold the same lanes with the same weight, precedence and costs form a *group*,
//! and at any moment all of a group get the same rate. So a group needs only one number, its
//! *progress*: the bytes that a member which was there from the start would have received. This is
//! the virtual time of processor sharing. A transfer completes when the progress reaches what it
//! was at its arrival plus its size; that *completion mark* never changes, whatever the rates do. A
//! group keeps its marks in a ladder queue ([`Marks`]), of which only the first is in the calendar.
//! An arrival or departure is O(1) amortized, independent of the number of transfers, plus
//! progressive filling over the groups whose lanes are connected with those that changed.
//!
//! # Precision
//! Progress and rates are fixed-point with 64 fractional bits. Rates are rounded down, so a
//! transfer lags the exact solution by at most its weight times 2^-64 byte for each picosecond that
//! it is active. To make up for it, a transfer is complete at the first whole picosecond at which
//! it lacks no more than [`TOLERANCE`], 2^-20 byte: more than the lag of 17 simulated seconds at
//! weight 1, and what a lane of 1 GB/s carries in a thousandth of a picosecond. So completions are
//! those of the exact solution, rounded up to a picosecond, except where the solution is within the
//! tolerance after a whole one. The clock is in whole picoseconds, so what a departing transfer had
//! of its lanes is given to the others at the next one.

use super::arbiter::{Arbiter, Entry};
use super::division::Divisor;
use super::event::Event;
use super::filling::{Demand, Pool, Scale, fill};
use super::interference::Interference;
use super::lanes::Lanes;
use super::marks::{Mark, Marks};
use super::memo::Memo;
use super::profile::{Profile, Profiles, ServiceRate};
use super::progress::{BYTE, TOLERANCE};
use super::request::{Bottleneck, Urgency};
use super::slots::{Membership, Slots, State};
use crate::kernel::Calendar;
use crate::memory::{LaneId, PerClass};
use crate::units::{Bytes, SimTime};

/// What a group asks of the transfers that its entries (slot, order) stand for, and what it notes
/// on them.
trait Entries {
    /// Whether the entry still belongs to the group that it is in.
    fn is_current(&self, slot: u32, order: u64) -> bool;

    /// From now on it receives something, for the first time since it joined its group.
    fn start(&mut self, slot: u32, order: u64);
}

/// The slots at one instant.
struct At<'a, Tag> {
    now: SimTime,
    slots: &'a mut Slots<Tag>,
}

impl<Tag> Entries for At<'_, Tag> {
    #[inline]
    fn is_current(&self, slot: u32, order: u64) -> bool {
        self.slots[slot].order == order
    }

    #[inline]
    fn start(&mut self, slot: u32, order: u64) {
        let transfer = &mut self.slots[slot];
        if transfer.order == order {
            transfer.started = transfer.started.min(self.now);
        }
    }
}

#[derive(Clone, Debug)]
struct Group {
    progress: u128,
    rate: Divisor,
    since: SimTime,
    /// Marks in the order of completion; equal marks in the order of issue. An entry whose transfer
    /// has moved to another group is stale and is dropped when it comes up.
    marks: Marks,
    /// How many of the marks are stale.
    stale: usize,
    /// The transfers that have not received anything since they joined: (order, slot).
    waiting: Vec<(u64, u32)>,
    scheduled: SimTime,
    /// Whether transfers joined or left it since rates were last set.
    changed: bool,
    /// The filling that saw it last.
    seen: u64,
}

impl Group {
    fn advance(&mut self, now: SimTime) {
        if now > self.since {
            self.progress += self.rate.get() * u128::from((now - self.since).as_ps());
            self.since = now;
        }
    }

    fn progress_at(&self, now: SimTime) -> u128 {
        self.progress + self.rate.get() * u128::from(now.saturating_sub(self.since).as_ps())
    }

    #[inline]
    fn next_completion(&self) -> SimTime {
        let Some(mark) = self.marks.first() else {
            return SimTime::MAX;
        };
        let missing = mark.at.saturating_sub(self.progress).saturating_sub(TOLERANCE);
        if missing == 0 {
            return self.since;
        }
        // At no rate it never completes.
        let wait = self.rate.div_ceil(missing);
        if wait == u64::MAX { SimTime::MAX } else { self.since + SimTime::from_ps(wait) }
    }

    /// Drops the first marks as long as they are stale.
    fn drop_stale(&mut self, entries: &impl Entries) {
        while self.stale > 0
            && let Some(mark) = self.marks.first()
            && !entries.is_current(mark.slot, mark.order)
        {
            self.marks.pop();
            self.stale -= 1;
        }
    }

    /// From now on its `count` transfers get `rate` each; moves the event of its next completion,
    /// number `id`.
    #[inline(always)]
    fn go_on(&mut self, id: usize, rate: &Divisor, count: u64, calendar: &mut Calendar, entries: &mut impl Entries) {
        self.changed = false;
        let next = if count == 0 {
            self.rate = Divisor::ZERO;
            SimTime::MAX
        } else {
            self.advance(calendar.now());
            self.rate = *rate;
            if rate.get() > 0 && !self.waiting.is_empty() {
                self.waiting.iter().for_each(|(order, slot)| entries.start(*slot, *order));
                self.waiting.clear();
            }
            self.drop_stale(entries);
            self.next_completion()
        };
        if next != self.scheduled {
            self.scheduled = next;
            calendar.schedule(Event::Completion(id as u32).pack(), next);
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Sharing {
    /// By profile: the groups of due transfers and of early ones.
    by_profile: Vec<[usize; 2]>,
    demands: Vec<Demand>,
    groups: Vec<Group>,
    pools: Vec<Pool>,
    scale: Scale,
    memo: Memo,
    /// What direct reads leave to other kernels, where it is not all.
    interference: Option<Interference>,
    /// Whether costs of some lane depend on what it carries.
    any_costs: bool,
    /// The groups that have transfers, a bit for each: see [`bit_of`].
    active: u64,
    /// Whether pools keep lists of their groups that have transfers. Where rates are found only now
    /// and then, the lists are made when they are.
    keeps_lists: bool,
    /// Groups that changed since rates were last set.
    changed: Vec<usize>,
    /// The same, a bit for each group: see [`bit_of`].
    changed_bits: u64,
    /// The number of the present filling, and the one that saw each lane last.
    filling: u64,
    seen: Vec<u64>,
    /// Scratch space: the lanes and groups to fill.
    lanes: Vec<usize>,
    members: Vec<usize>,
}

/// How many groups have a bit of their own.
const GROUP_BITS: usize = u64::BITS as usize;
// Bits are read only where the memo has the rates, which then knows each group.
const _: () = assert!(Memo::MOST_GROUPS <= GROUP_BITS);

/// The bit that stands for `group`: where there are more groups than bits, nobody reads them.
fn bit_of(group: usize) -> u64 {
    1 << (group % GROUP_BITS)
}

impl Sharing {
    pub fn new(pools: Vec<Pool>, scale: Scale, interference: Option<Interference>) -> Self {
        Self {
            by_profile: Vec::new(),
            demands: Vec::new(),
            interference,
            groups: Vec::new(),
            memo: Memo::default(),
            any_costs: pools.iter().any(|pool| pool.read_shares.is_some()),
            seen: vec![0; pools.len()],
            lanes: Vec::with_capacity(pools.len()),
            pools,
            scale,
            active: 0,
            keeps_lists: false,
            changed: Vec::with_capacity(64),
            changed_bits: 0,
            filling: 0,
            members: Vec::with_capacity(64),
        }
    }

    /// The group of those that hold the lanes of `profile` with its weight and cap, and with this
    /// precedence.
    fn group(&mut self, profile: &Profile, level: u8) -> usize {
        let (weight, cap) = (profile.weight, profile.cap);
        let same = |demand: &Demand| {
            (demand.weight, demand.level, demand.cap) == (weight, level, cap) && *demand.holds == *profile.costs
        };
        self.demands.iter().position(same).unwrap_or_else(|| {
            self.demands.push(Demand::new(profile.costs.clone(), weight, level, cap));
            self.memo.add_group();
            if let Some(interference) = &mut self.interference {
                interference.add_group(profile);
            }
            // The rates on a lane with costs may depend on the order of arrival.
            let keeps_lists = self.any_costs || !self.memo.is_used();
            if keeps_lists && !self.keeps_lists {
                self.list_active();
            }
            self.keeps_lists = keeps_lists;
            self.groups.push(Group {
                progress: 0,
                rate: Divisor::ZERO,
                since: SimTime::ZERO,
                marks: Marks::with_capacity(64),
                stale: 0,
                waiting: Vec::with_capacity(64),
                scheduled: SimTime::MAX,
                changed: false,
                seen: 0,
            });
            self.demands.len() - 1
        })
    }

    fn note_change(&mut self, group: usize) {
        if !self.groups[group].changed {
            self.groups[group].changed = true;
            self.changed.push(group);
            self.changed_bits |= bit_of(group);
        }
    }

    fn add(&mut self, group: usize) {
        self.memo.join(group);
        self.demands[group].count += 1;
        if self.demands[group].count == 1 {
            self.active |= bit_of(group);
            if self.keeps_lists {
                for hold in &self.demands[group].holds {
                    self.pools[hold.lane].active.push(group);
                }
            }
        }
        self.note_change(group);
    }

    fn take_away(&mut self, group: usize, transfers: u32) {
        self.memo.leave(group, transfers);
        self.demands[group].count -= u64::from(transfers);
        if self.demands[group].count == 0 {
            self.active &= !bit_of(group);
            if self.keeps_lists {
                for hold in &self.demands[group].holds {
                    let active = &mut self.pools[hold.lane].active;
                    let at = active.iter().position(|other| *other == group).expect("an active group is on its lanes");
                    active.swap_remove(at);
                }
            }
        }
        self.note_change(group);
    }

    /// Lists for each pool its groups that have transfers.
    fn list_active(&mut self) {
        self.pools.iter_mut().for_each(|pool| pool.active.clear());
        for (group, demand) in self.demands.iter().enumerate().filter(|(_, demand)| demand.count > 0) {
            demand.holds.iter().for_each(|hold| self.pools[hold.lane].active.push(group));
        }
    }

    /// The group of `profile` and `urgency`.
    #[inline]
    fn group_of(&self, profile: u32, urgency: Urgency) -> usize {
        self.by_profile[profile as usize][usize::from(urgency == Urgency::Early)]
    }

    /// A transfer that is to receive `size` joins `group`.
    fn enter(&mut self, now: SimTime, group: usize, size: u128, order: u64, slot: u32) -> Membership {
        let target = &mut self.groups[group];
        if self.demands[group].count == 0 {
            // Whatever is left of earlier transfers is stale.
            target.marks.clear();
            target.stale = 0;
            target.waiting.clear();
        }
        target.advance(now);
        let mark = target.progress + size;
        target.marks.push(Mark { at: mark, order, slot });
        target.waiting.push((order, slot));
        self.add(group);
        Membership { group: group as u32, mark }
    }

    /// A transfer that is not complete leaves its group; its entry is stale from now on.
    fn exit(&mut self, now: SimTime, member: Membership) {
        let left = member.group as usize;
        self.groups[left].advance(now);
        self.groups[left].stale += 1;
        self.take_away(left, 1);
    }

    /// What `member` is still to receive at `now`, in the format of progress.
    fn missing(&self, now: SimTime, member: Membership) -> u128 {
        member.mark.saturating_sub(self.groups[member.group as usize].progress_at(now))
    }

    /// Finds rates that are not known.
    #[inline(never)]
    fn fill(&mut self, calendar: &mut Calendar, entries: &mut impl Entries) {
        if !self.keeps_lists {
            self.list_active();
        }
        self.find_connected();
        if let Some(interference) = &self.interference {
            let (lane, capacity) = interference.capacity(&self.demands);
            self.pools[lane].capacity = capacity;
        }
        fill(&mut self.pools, &self.lanes, &mut self.demands, &self.members, self.scale);
        for &index in &self.members {
            let (demand, group) = (&self.demands[index], &mut self.groups[index]);
            if group.changed || group.rate.get() != demand.rate {
                group.go_on(index, &Divisor::new(demand.rate), demand.count, calendar, entries);
            }
        }
        // The shares of a lane with costs that carries both directions are found in floats, and
        // their last digits depend on the order in which its groups became active.
        if !self.any_costs || !self.pools.iter().enumerate().any(|(at, pool)| pool.is_mixed(at, &self.demands)) {
            let found = self.groups.iter().zip(&self.demands);
            self.memo.keep(found.map(|(group, demand)| (group.rate, demand.limit)));
        }
    }

    /// Sets `lanes` and `members` to what is connected with the groups that changed: only their
    /// rates can change.
    fn find_connected(&mut self) {
        self.filling += 1;
        self.lanes.clear();
        self.members.clear();
        let (lanes, members, seen, filling) = (&mut self.lanes, &mut self.members, &mut self.seen, self.filling);
        for &group in &self.changed {
            self.groups[group].seen = filling;
            members.push(group);
        }
        let mut next = 0;
        while next < members.len() {
            let held = self.demands[members[next]].holds.iter().map(|hold| hold.lane);
            let beside = self.interference.as_ref().and_then(|it| it.lane_of(members[next]));
            for lane in held.chain(beside) {
                if std::mem::replace(&mut seen[lane], filling) == filling {
                    continue;
                }
                lanes.push(lane);
                for &group in &self.pools[lane].active {
                    if std::mem::replace(&mut self.groups[group].seen, filling) != filling {
                        members.push(group);
                    }
                }
            }
            next += 1;
        }
        lanes.sort_unstable();
        members.sort_unstable();
    }
}

impl Arbiter for Sharing {
    fn learn(&mut self, profile: &Profile) {
        let groups = profile.levels.map(|level| self.group(profile, level));
        self.by_profile.push(groups);
    }

    #[inline(always)]
    fn join(&mut self, now: SimTime, entry: Entry, held: &[usize], lanes: &mut Lanes) -> State {
        lanes.enter(held, now);
        let group = self.group_of(entry.profile, entry.urgency);
        State::Shared(self.enter(now, group, entry.size, entry.order, entry.slot))
    }

    /// Lanes are shared: parts are carried side by side.
    fn join_as_one(&mut self, _slot: u32, _held: &[usize]) -> Option<State> {
        None
    }

    /// It moves to another group, with what it has received so far.
    fn raise_urgency(&mut self, now: SimTime, state: State, entry: Entry) -> Option<State> {
        let State::Shared(from) = state else { return None };
        let missing = self.missing(now, from);
        self.exit(now, from);
        let group = self.group_of(entry.profile, Urgency::Due);
        Some(State::Shared(self.enter(now, group, missing, entry.order, entry.slot)))
    }

    fn take_complete<Tag>(&mut self, now: SimTime, event: u32, complete: &mut Vec<u32>, slots: &mut Slots<Tag>) {
        let group = event as usize;
        let entries = At { now, slots };
        let target = &mut self.groups[group];
        // The event that led here is spent, whatever it finds.
        target.scheduled = SimTime::MAX;
        target.advance(now);
        let reached = target.progress + TOLERANCE;
        let before = complete.len();
        loop {
            target.drop_stale(&entries);
            match target.marks.first() {
                Some(mark) if mark.at <= reached => complete.push(mark.slot),
                _ => break,
            }
            target.marks.pop();
        }
        self.take_away(group, (complete.len() - before) as u32);
    }

    /// [`take_complete`](Arbiter::take_complete) has taken it out of its group.
    #[inline]
    fn leave(&mut self, _held: &[usize]) {}

    /// Its group's next completion is found anew.
    fn withdraw(&mut self, now: SimTime, _slot: u32, state: State, held: &[usize], lanes: &mut Lanes) -> Option<Event> {
        if let State::Shared(member) = state {
            self.exit(now, member);
            lanes.leave(held, now);
        }
        None
    }

    #[inline]
    fn settle<Tag>(
        &mut self,
        calendar: &mut Calendar,
        slots: &mut Slots<Tag>,
        _profiles: &Profiles,
        _lanes: &mut Lanes,
    ) {
        if self.changed.is_empty() {
            return;
        }
        let entries = &mut At { now: calendar.now(), slots };
        if let Some(rates) = self.memo.rates() {
            // A bit stands for one group: see `Memo`.
            debug_assert!(self.groups.len() <= GROUP_BITS);
            // Only groups that have changed, or whose rate has.
            let mut bits = self.active | self.changed_bits;
            while bits != 0 {
                let index = bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let (group, demand, (rate, limit)) = (&mut self.groups[index], &mut self.demands[index], &rates[index]);
                demand.limit = *limit;
                if group.changed || group.rate.get() != rate.get() {
                    group.go_on(index, rate, demand.count, calendar, entries);
                }
            }
        } else {
            self.fill(calendar, entries);
        }
        self.changed.clear();
        self.changed_bits = 0;
    }

    fn delivered(&self, now: SimTime, state: State, _rate: &ServiceRate, bytes: Bytes, parts: u64) -> Bytes {
        let State::Shared(member) = state else { return Bytes::ZERO };
        let of_part = self.missing(now, member);
        // Less what each part was given besides: see `size`.
        let missing = (of_part * u128::from(parts)).saturating_sub(TOLERANCE * (u128::from(parts) - 1));
        let size = u128::from(bytes.get()) * BYTE;
        let received = (size.saturating_sub(missing) + TOLERANCE) / BYTE;
        Bytes::new(u64::try_from(received).unwrap_or(u64::MAX).min(bytes.get()))
    }

    fn bottleneck(&self, _slot: u32, state: State, _held: &[usize]) -> Option<Bottleneck> {
        let State::Shared(member) = state else { return None };
        let limit = self.demands[member.group as usize].limit;
        Some(limit.map_or(Bottleneck::Cap, |lane| Bottleneck::Lane(LaneId::new(lane))))
    }

    fn add_rates<Tag>(&self, _slots: &Slots<Tag>, _profiles: &Profiles, rates: &mut [f64]) {
        for (demand, group) in self.demands.iter().zip(&self.groups).filter(|(demand, _)| demand.count > 0) {
            let bytes_a_picosecond = group.rate.get() as f64 / BYTE as f64 * demand.count as f64;
            for hold in &demand.holds {
                rates[hold.lane] += bytes_a_picosecond * SimTime::PS_PER_SECOND as f64;
            }
        }
    }

    fn add_class_rates<Tag>(
        &self,
        _now: SimTime,
        slots: &Slots<Tag>,
        profiles: &Profiles,
        rates: &mut [PerClass<f64>],
    ) {
        for (_, transfer) in slots.iter() {
            let State::Shared(member) = transfer.state else { continue };
            let rate = self.groups[member.group as usize].rate.get() as f64 / BYTE as f64;
            for &lane in profiles[transfer.profile].lanes() {
                rates[lane][transfer.class] += rate * SimTime::PS_PER_SECOND as f64;
            }
        }
    }

    fn meter(&self, profile: u32) -> Option<usize> {
        Some(self.group_of(profile, Urgency::Due))
    }

    fn progress(&self, now: SimTime, meter: usize) -> Option<u128> {
        Some(self.groups[meter].progress_at(now))
    }
}
