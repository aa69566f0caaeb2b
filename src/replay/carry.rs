use crate::memory::{Completed, LaneLoad, Machine, MemorySystem, Request};
use crate::units::SimTime;
use thiserror::Error;

/// Why a replay did not get to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReplayError {
    /// A transfer would end after the last time that the clock can represent.
    #[error("simulated time ran past the clock's 213 days with {left} transfers still to complete")]
    ClockOverflow {
        /// How many.
        left: usize,
    },
}

/// The totals of carrying transfers.
#[derive(Clone, Debug)]
pub struct Carried {
    /// When the last one was complete.
    pub end: SimTime,
    /// How many events were handled.
    pub events: u64,
    /// The load of each lane.
    pub loads: Vec<LaneLoad>,
}

/// Carries `arrivals`, in the order of their times, over the lanes of `system`, and calls `done`
/// with each transfer that is complete.
///
/// At one instant, completions are handled first, then arrivals in their order.
///
/// # Errors
/// [`ReplayError`] if the transfers end after the last time that the clock can represent.
pub fn carry<'a, Tag: Copy>(
    system: &MemorySystem,
    arrivals: impl Iterator<Item = (SimTime, Request<'a, Tag>)>,
    mut done: impl FnMut(&Completed<Tag>),
) -> Result<Carried, ReplayError> {
    let mut arrivals = arrivals.peekable();
    let mut machine = Machine::new(system);
    let mut left = 0;
    loop {
        let arrival = arrivals.peek().map(|(at, _)| *at);
        let mut completed = |transfer: Completed<Tag>| {
            left -= 1;
            done(&transfer);
        };
        match (machine.next_time(), arrival) {
            (Some(now), arrival) if arrival.is_none_or(|arrival| now <= arrival) => {
                machine.next_instant(&mut completed);
            }
            (_, Some(now)) => {
                machine.advance(now, &mut completed);
                while let Some((_, request)) = arrivals.next_if(|(at, _)| *at == now) {
                    left += 1;
                    machine.issue(request);
                }
                machine.settle();
            }
            (_, None) => break,
        }
    }
    if left > 0 {
        return Err(ReplayError::ClockOverflow { left });
    }
    let end = machine.now();
    Ok(Carried { end, events: machine.events(), loads: machine.fabric().loads(end) })
}
