//! Blocks that are like one before: what a block brought about, and how often.
//!
//! Within a step, blocks of one class issue the same requests at the same times after their start.
//! Where nothing else is in flight at the start, they take the same time, to the picosecond (see
//! [`Machine::is_idle`]), and where nothing is in flight at the end, the next one finds the machine
//! as this one did. So of the blocks of a class the first that begins and ends so is simulated, and
//! for each of the others the clock is set forward; what they have carried is added at the end of
//! the step.

use super::outcome::ServingWaits;
use super::probe::TransferRecord;
use crate::memory::{Machine, PerTier, Span};
use crate::units::SimTime;

/// What the blocks of the present step bring about, by class.
pub(super) struct Spans {
    classes: Vec<Known>,
    /// What is being simulated.
    open: Known,
}

/// What a block brings about.
#[derive(Clone, Debug)]
struct Known {
    is_known: bool,
    span: Span,
    waits: ServingWaits,
    transfers: Vec<TransferRecord>,
    /// How many more blocks were like it.
    times: u64,
}

impl Spans {
    /// None yet, of so many classes of blocks.
    pub fn new(classes: usize, tiers: usize) -> Self {
        let none = Known {
            is_known: false,
            span: Span::default(),
            waits: ServingWaits {
                tiers: PerTier::filled(tiers, SimTime::ZERO),
                compute: SimTime::ZERO,
                fixed: SimTime::ZERO,
                moves: SimTime::ZERO,
                idle: SimTime::ZERO,
            },
            transfers: Vec::new(),
            times: 0,
        };
        Self { classes: vec![none.clone(); classes], open: none }
    }

    /// Nothing of the step is known yet.
    pub fn begin_step(&mut self) {
        self.classes.iter_mut().for_each(|known| known.is_known = false);
    }

    /// A block of `class` begins while nothing is in flight: how long it takes, if that is known;
    /// it counts then.
    #[inline]
    pub fn again(&mut self, class: usize) -> Option<SimTime> {
        let known = &mut self.classes[class];
        known.is_known.then(|| {
            known.times += 1;
            known.span.time()
        })
    }

    /// A block that is not known begins while nothing is in flight.
    pub fn begin<Tag: Copy>(&mut self, machine: &Machine<Tag>, waits: &ServingWaits) {
        machine.begin_span(&mut self.open.span);
        self.open.waits.copy_from(waits);
    }

    /// It has ended, and nothing is in flight: it is known from now on. Takes over the `transfers`
    /// that were completed in it.
    pub fn end<Tag: Copy>(
        &mut self,
        class: usize,
        machine: &Machine<Tag>,
        waits: &ServingWaits,
        transfers: &mut Vec<TransferRecord>,
    ) {
        machine.end_span(&mut self.open.span);
        self.open.waits.since(waits);
        self.open.transfers.clear();
        self.open.transfers.append(transfers);
        (self.open.is_known, self.open.times) = (true, 0);
        std::mem::swap(&mut self.open, &mut self.classes[class]);
    }

    /// The step has ended: adds what was passed over, and reports the transfers of all that is
    /// known.
    pub fn end_step<Tag: Copy>(
        &mut self,
        machine: &mut Machine<Tag>,
        waits: &mut ServingWaits,
        mut report: impl FnMut(&TransferRecord),
    ) {
        for known in self.classes.iter_mut().filter(|known| known.is_known) {
            if known.times > 0 {
                machine.count(&known.span, known.times);
                waits.add(&known.waits, known.times);
            }
            for transfer in &known.transfers {
                report(&TransferRecord { count: transfer.count * (known.times + 1), ..*transfer });
            }
        }
    }
}
