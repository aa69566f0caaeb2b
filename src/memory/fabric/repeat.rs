//! Time that is passed over, as it is like time before.
//!
//! A fabric that is idle keeps nothing of what it has carried: the same requests, issued at the
//! same times after that, take the same times again. The one exception is a bus under `Fifo` that
//! takes time to turn around: it knows in which direction it was used last.

use super::arbiter::Arbiter;
use super::{Fabric, LaneLoad};
use crate::memory::PerClass;
use crate::units::Bytes;

/// What a fabric has done, or has done in some time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::memory) struct Carried {
    loads: Vec<LaneLoad>,
    issued: PerClass<Bytes>,
    completed: PerClass<Bytes>,
}

impl Carried {
    /// What of it came after `before`.
    pub fn since(&mut self, before: &Self) {
        for (load, before) in self.loads.iter_mut().zip(&before.loads) {
            load.busy = load.busy.saturating_sub(before.busy);
            less(&mut load.bytes, &before.bytes);
        }
        less(&mut self.issued, &before.issued);
        less(&mut self.completed, &before.completed);
    }
}

fn less(bytes: &mut PerClass<Bytes>, before: &PerClass<Bytes>) {
    bytes.values_mut().zip(before.values()).for_each(|(bytes, before)| *bytes -= *before);
}

fn more(sum: &mut PerClass<Bytes>, bytes: &PerClass<Bytes>, times: u64) {
    sum.values_mut().zip(bytes.values()).for_each(|(sum, bytes)| *sum += bytes.times(times));
}

impl<Tag: Copy> Fabric<Tag> {
    /// Whether nothing is in flight.
    #[must_use]
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.slots.are_vacant()
    }

    /// Whether what it carries takes the same time whenever it is idle before, whatever it carried
    /// before that.
    #[must_use]
    pub fn forgets(&self) -> bool {
        self.arbiter.forgets()
    }

    /// Writes what it has done to `carried`, while it is idle.
    pub(in crate::memory) fn note_carried(&self, carried: &mut Carried) {
        carried.loads.clear();
        carried.loads.extend(self.lanes.done());
        (carried.issued, carried.completed) = (self.issued, self.completed);
    }

    /// It has done that so many times more.
    pub(in crate::memory) fn add_carried(&mut self, carried: &Carried, times: u64) {
        self.lanes.add(&carried.loads, times);
        more(&mut self.issued, &carried.issued, times);
        more(&mut self.completed, &carried.completed, times);
    }
}
