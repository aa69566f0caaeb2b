//! Units that are like one before: what a unit brought about, and how often.
//!
//! Units that are the same issue the same requests at the same times after their start, as long as
//! the step computes the same. Where nothing is in flight at the start, they take the same time, to
//! the picosecond (see [`Machine::is_idle`]), and where nothing is in flight at the end, the next
//! one finds the machine as this one did. So the first that begins and ends so is simulated, and
//! for each of the others the clock is set forward; what they have carried is added later.
//!
//! What reads KV takes as long in the other layers of its step, but not in other steps, which read
//! more of it. All else takes as long in later steps too, as long as they compute as many tokens of
//! as many requests.

use super::outcome::ServingWaits;
use super::probe::TransferRecord;
use crate::memory::{Machine, Span};
use crate::units::SimTime;

/// What a unit's time depends on. Those with equal keys take the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Key {
    /// The number of the step, counted from 1, of what takes another time in each; otherwise 0.
    pub step: u64,
    pub tokens: u32,
    pub outputs: u32,
    pub parts: u64,
    /// How many tokens have their KV written to external memory.
    pub external: u64,
}

/// What units bring about.
pub(super) struct Spans {
    units: Vec<Known>,
    /// What is being simulated.
    open: Known,
}

/// What a unit brings about.
#[derive(Clone, Debug)]
struct Known {
    key: Option<Key>,
    span: Span,
    waits: ServingWaits,
    transfers: Vec<TransferRecord>,
    /// How many more were like it.
    times: u64,
}

impl Spans {
    /// None yet, of so many units.
    pub fn new(units: usize, tiers: usize) -> Self {
        let waits = ServingWaits::none(tiers);
        let none = Known { key: None, span: Span::default(), waits, transfers: Vec::new(), times: 0 };
        Self { units: vec![none.clone(); units], open: none }
    }

    /// How long a unit takes that begins while nothing is in flight, if that is known.
    #[inline]
    pub fn known(&self, unit: usize, key: &Key) -> Option<SimTime> {
        let known = &self.units[unit];
        (known.key.as_ref() == Some(key)).then(|| known.span.time())
    }

    /// A known unit occurs so many times more.
    #[inline]
    pub fn again(&mut self, unit: usize, times: u64) {
        self.units[unit].times += times;
    }

    /// A unit that is not known begins while nothing is in flight.
    pub fn begin<Tag: Copy>(&mut self, machine: &Machine<Tag>, waits: &ServingWaits) {
        machine.begin_span(&mut self.open.span);
        self.open.waits.copy_from(waits);
    }

    /// It has ended, and nothing is in flight: it is known from now on, in the place of what was
    /// known of it before. Takes over the `transfers` that were completed in it.
    pub fn end<Tag: Copy>(
        &mut self,
        (unit, key): (usize, Key),
        machine: &mut Machine<Tag>,
        waits: &mut ServingWaits,
        transfers: &mut Vec<TransferRecord>,
        report: impl FnMut(&TransferRecord),
    ) {
        machine.end_span(&mut self.open.span);
        self.open.waits.since(waits);
        self.open.transfers.clear();
        self.open.transfers.append(transfers);
        (self.open.key, self.open.times) = (Some(key), 0);
        std::mem::swap(&mut self.open, &mut self.units[unit]);
        self.open.add_up(machine, waits, report);
    }

    /// Adds all that was passed over, and reports the transfers of all that is known.
    pub fn finish<Tag: Copy>(
        &mut self,
        machine: &mut Machine<Tag>,
        waits: &mut ServingWaits,
        mut report: impl FnMut(&TransferRecord),
    ) {
        self.units.iter_mut().for_each(|known| known.add_up(machine, waits, &mut report));
    }
}

impl Known {
    /// Adds what was passed over, and reports the transfers of all.
    fn add_up<Tag: Copy>(
        &mut self,
        machine: &mut Machine<Tag>,
        waits: &mut ServingWaits,
        mut report: impl FnMut(&TransferRecord),
    ) {
        if self.key.take().is_none() {
            return;
        }
        if self.times > 0 {
            machine.count(&self.span, self.times);
            waits.add(&self.waits, self.times);
        }
        for transfer in &self.transfers {
            report(&TransferRecord { count: transfer.count * (self.times + 1), ..*transfer });
        }
    }
}
