//! A memory system in operation: its clock, its transfers and its timers.
//!
//! A [`Fabric`] knows who shares which lanes and when the next transfer completes; a [`Calendar`]
//! knows what is due next. A [`Machine`] owns both and keeps the rules of an instant in one place,
//! for everyone who simulates anything:
//!
//! 1. All events that are due at the instant are handled, in the calendar's order. The machine's
//!    [`Owner`] hears of each completed transfer and each expired timer.
//! 2. What the owner issues, admits, cancels or raises in urgency takes effect when the instant is
//!    [settled](Machine::settle): all of it shares the lanes from that instant on.

use super::fabric::{Cancelled, Carried, Completed, Fabric, Request, TransferId};
use super::system::MemorySystem;
use crate::kernel::{Calendar, EventId};
use crate::units::SimTime;

/// A timer of a machine's owner. An owner numbers its timers from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer(pub u16);

impl Timer {
    fn event(self) -> EventId {
        EventId::new(Fabric::<()>::OWNERS_EVENTS + u32::from(self.0))
    }

    fn of(event: EventId) -> Option<Self> {
        let number = event.number().checked_sub(Fabric::<()>::OWNERS_EVENTS)?;
        u16::try_from(number).ok().map(Self)
    }
}

/// Whoever uses a machine, and hears of what happens on it.
pub trait Owner<Tag: Copy> {
    /// A transfer has completed, at the machine's present time.
    fn completed(&mut self, machine: &mut Machine<Tag>, transfer: Completed<Tag>);

    /// A timer has expired.
    fn expired(&mut self, machine: &mut Machine<Tag>, timer: Timer) {
        let _ = (machine, timer);
    }
}

/// Calls a function with each completed transfer.
impl<Tag: Copy, F: FnMut(Completed<Tag>)> Owner<Tag> for F {
    fn completed(&mut self, _machine: &mut Machine<Tag>, transfer: Completed<Tag>) {
        self(transfer);
    }
}

/// What happened between two moments at which a machine was idle.
#[derive(Clone, Debug, Default)]
pub struct Span {
    /// How long it took; when it began, before it ended.
    time: SimTime,
    events: u64,
    before: Carried,
    carried: Carried,
}

impl Span {
    /// How long it took.
    #[must_use]
    #[inline]
    pub fn time(&self) -> SimTime {
        self.time
    }
}

/// A memory system in operation. `Tag` is what its owner calls its transfers by.
///
/// ```
/// use tiersim::memory::{Machine, MemorySystem, Path, Pattern, Request};
/// use tiersim::memory::{Reach, TierId, TransferClass, Urgency};
/// use tiersim::units::Bytes;
///
/// let system = MemorySystem::new(&tiersim::catalog::memory("study")?)?;
/// let mut machine = Machine::new(&system);
/// let bytes = Bytes::new(1_000_000);
/// machine.issue(Request {
///     class: TransferClass::KvRead,
///     path: Path::Even(system.even_reads(TierId::HBM)),
///     bytes,
///     granule: bytes,
///     pattern: Pattern::Random,
///     urgency: Urgency::Due,
///     reach: Reach::FULL,
///     tag: "a read",
/// });
/// machine.settle();
/// let mut arrived = Vec::new();
/// while machine.next_instant(&mut |transfer| arrived.push(transfer)).is_some() {}
/// // 1 MB at 4915 GB/s, rounded up to whole picoseconds.
/// assert_eq!((arrived[0].tag, machine.now().as_ps()), ("a read", 203_459));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Machine<Tag> {
    calendar: Calendar,
    fabric: Fabric<Tag>,
    /// Scratch space: transfers that complete with one event.
    done: Vec<Completed<Tag>>,
}

impl<Tag: Copy> Machine<Tag> {
    /// `system` at time 0, with nothing in flight.
    #[must_use]
    pub fn new(system: &MemorySystem) -> Self {
        Self { calendar: Calendar::with_capacity(64), fabric: Fabric::new(system), done: Vec::with_capacity(64) }
    }

    /// The present time.
    #[must_use]
    #[inline]
    pub fn now(&self) -> SimTime {
        self.calendar.now()
    }

    /// How many events have been handled.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.calendar.events()
    }

    /// When the next event is due; `None` if nothing is pending.
    #[must_use]
    #[inline]
    pub fn next_time(&self) -> Option<SimTime> {
        self.calendar.next_time()
    }

    /// Its transfers.
    #[must_use]
    #[inline]
    pub fn fabric(&self) -> &Fabric<Tag> {
        &self.fabric
    }

    /// Its transfers, for what only their owner may ask (see [`Fabric::meter`]).
    #[inline]
    pub fn fabric_mut(&mut self) -> &mut Fabric<Tag> {
        &mut self.fabric
    }

    /// Issues a transfer now. See [`Fabric::issue`].
    #[inline]
    pub fn issue(&mut self, request: Request<'_, Tag>) -> TransferId {
        self.fabric.issue(self.calendar.now(), request)
    }

    /// Issues a transfer now that waits until it is [admitted](Self::admit).
    #[inline]
    pub fn issue_held(&mut self, request: Request<'_, Tag>) -> TransferId {
        self.fabric.issue_held(self.calendar.now(), request)
    }

    /// Lets a transfer that was issued held go its way.
    #[inline]
    pub fn admit(&mut self, transfer: TransferId) {
        self.fabric.admit(self.calendar.now(), transfer);
    }

    /// Makes an early transfer one that is due.
    #[inline]
    pub fn raise_urgency(&mut self, transfer: TransferId) {
        self.fabric.raise_urgency(self.calendar.now(), transfer);
    }

    /// Drops a transfer with what it has not delivered.
    #[inline]
    pub fn cancel(&mut self, transfer: TransferId) -> Cancelled<Tag> {
        self.fabric.cancel(self.calendar.now(), transfer)
    }

    /// Lets `timer` expire at `at`, or no more before that if it was pending; false if the clock
    /// does not go that far.
    pub fn set_timer(&mut self, timer: Timer, at: SimTime) -> bool {
        self.calendar.schedule(timer.event(), at);
        at < SimTime::MAX
    }

    /// Jumps to the next event, handles all that is due at its time, and settles. Returns the time;
    /// `None` if nothing is pending. O(log n) per event for n groups of transfers. Inlined, as most
    /// of a run is spent in here.
    #[inline(always)]
    pub fn next_instant(&mut self, owner: &mut impl Owner<Tag>) -> Option<SimTime> {
        let (now, first) = self.calendar.pop()?;
        let mut next = Some(first);
        while let Some(event) = next {
            self.handle(now, event, owner);
            next = self.calendar.pop_due();
        }
        self.settle();
        Some(now)
    }

    /// Lets time pass until `at`, before which nothing may be pending, and handles what is due
    /// then. For an owner that issues transfers at times of its own: it issues them after this, and
    /// then [settles](Self::settle).
    ///
    /// # Panics
    /// In debug builds, if something is due before `at`.
    pub fn advance(&mut self, at: SimTime, owner: &mut impl Owner<Tag>) {
        debug_assert!(self.next_time().is_none_or(|next| next >= at), "an event is due before {at:?}");
        self.calendar.advance(at);
        while let Some(event) = self.calendar.pop_due() {
            self.handle(at, event, owner);
        }
    }

    /// Whether nothing is in flight and nothing is pending: then all that it carries from here on
    /// takes the same time as after any other such moment, unless its fabric does not
    /// [forget](Fabric::forgets).
    #[must_use]
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.fabric.is_idle() && self.calendar.next_time().is_none()
    }

    /// Writes to `span` that it begins now. To be called while the machine is idle.
    pub fn begin_span(&self, span: &mut Span) {
        (span.time, span.events) = (self.now(), self.events());
        self.fabric.note_carried(&mut span.before);
    }

    /// Writes to `span` what happened since it [began](Self::begin_span). To be called while the
    /// machine is idle.
    pub fn end_span(&self, span: &mut Span) {
        (span.time, span.events) = (self.now() - span.time, self.events() - span.events);
        self.fabric.note_carried(&mut span.carried);
        span.carried.since(&span.before);
    }

    /// Passes over a time in which what happened in `span` happens so many times more, one after
    /// the other. To be called while the machine is idle. Returns false if the clock does not go
    /// that far.
    pub fn repeat(&mut self, span: &Span, times: u64) -> bool {
        let until = self.now() + span.time.times(times);
        self.pass(until) && {
            self.count(span, times);
            true
        }
    }

    /// Passes over a time in which something happens that is [counted](Self::count) later. To be
    /// called while the machine is idle. Returns false if the clock does not go that far.
    #[inline]
    pub fn pass(&mut self, until: SimTime) -> bool {
        debug_assert!(self.is_idle(), "what is in flight would be passed over");
        if until < SimTime::MAX {
            self.calendar.advance(until);
        }
        until < SimTime::MAX
    }

    /// Counts what happened in `span` so many times more, for times that were
    /// [passed](Self::pass).
    pub fn count(&mut self, span: &Span, times: u64) {
        self.calendar.count(span.events.saturating_mul(times));
        self.fabric.add_carried(&span.carried, times);
    }

    #[inline]
    fn handle(&mut self, now: SimTime, event: EventId, owner: &mut impl Owner<Tag>) {
        if let Some(timer) = Timer::of(event) {
            owner.expired(self, timer);
            return;
        }
        let mut done = std::mem::take(&mut self.done);
        self.fabric.complete(now, event, &mut done);
        for transfer in done.drain(..) {
            owner.completed(self, transfer);
        }
        self.done = done;
    }

    /// Gives effect to what was issued, admitted, cancelled or completed at this instant.
    #[inline]
    pub fn settle(&mut self) {
        self.fabric.settle(&mut self.calendar);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Path, Pattern, Reach, TierId, TransferClass, Urgency};
    use crate::units::Bytes;

    struct Log(Vec<(u64, &'static str)>);

    impl Owner<&'static str> for Log {
        fn completed(&mut self, machine: &mut Machine<&'static str>, transfer: Completed<&'static str>) {
            self.0.push((machine.now().as_ps(), transfer.tag));
        }

        fn expired(&mut self, machine: &mut Machine<&'static str>, timer: Timer) {
            assert_eq!(timer, Timer(3));
            self.0.push((machine.now().as_ps(), "timer"));
        }
    }

    fn request<'a>(system: &'a MemorySystem, bytes: u64, tag: &'static str) -> Request<'a, &'static str> {
        let bytes = Bytes::new(bytes);
        Request {
            class: TransferClass::KvRead,
            path: Path::Even(system.even_reads(TierId::HBM)),
            bytes,
            granule: bytes,
            pattern: Pattern::Random,
            urgency: Urgency::Due,
            reach: Reach::FULL,
            tag,
        }
    }

    #[test]
    fn completions_timers_and_arrivals_of_an_instant() {
        let system = MemorySystem::new(&crate::catalog::memory("study").unwrap()).unwrap();
        let (mut machine, mut log) = (Machine::new(&system), Log(Vec::new()));
        // 4915 B take a nanosecond.
        machine.issue(request(&system, 4915, "first"));
        assert!(machine.set_timer(Timer(3), SimTime::from_ps(1000)));
        assert!(!machine.set_timer(Timer(4), SimTime::MAX), "never");
        machine.settle();
        machine.advance(SimTime::from_ps(500), &mut log);
        assert!(log.0.is_empty());
        // Shares the lane from now on: 2457.5 B are left of the first.
        machine.issue(request(&system, 4915, "second"));
        machine.settle();
        assert_eq!(machine.next_instant(&mut log), Some(SimTime::from_ps(1000)));
        assert_eq!(machine.next_instant(&mut log), Some(SimTime::from_ps(1500)));
        assert_eq!(machine.next_instant(&mut log), Some(SimTime::from_ps(2000)));
        assert_eq!(machine.next_instant(&mut log), None);
        assert_eq!(log.0, [(1000, "timer"), (1500, "first"), (2000, "second")]);
        assert_eq!(machine.events(), 3);
    }
}
