use super::ReplayError;
use crate::kernel::Calendar;
use crate::memory::{Completed, Fabric, LaneLoad, MemorySystem, Request};
use crate::units::SimTime;

/// What carrying transfers came to.
#[derive(Clone, Debug)]
pub struct Carried {
    /// When the last one was complete.
    pub end: SimTime,
    /// How many events were handled.
    pub events: u64,
    /// What each lane did.
    pub loads: Vec<LaneLoad>,
}

/// Carries `arrivals`, in the order of their times, over the lanes of `system`, and tells `done` of each transfer that is
/// complete.
///
/// At one instant, what completes is handled first, then what is issued, in the order of the arrivals.
///
/// # Errors
/// [`ReplayError`] if the transfers take longer than the clock goes.
pub fn carry<'a, Tag: Copy>(
    system: &MemorySystem,
    arrivals: impl Iterator<Item = (SimTime, Request<'a, Tag>)>,
    mut done: impl FnMut(&Completed<Tag>),
) -> Result<Carried, ReplayError> {
    let mut arrivals = arrivals.peekable();
    let mut fabric: Fabric<Tag> = Fabric::new(system);
    let mut calendar = Calendar::with_capacity(64);
    let mut completed = Vec::new();
    let mut left = 0;
    loop {
        let arrival = arrivals.peek().map(|(at, _)| *at);
        match (calendar.next_time(), arrival) {
            (Some(now), arrival) if arrival.is_none_or(|arrival| now <= arrival) => {
                calendar.advance(now);
                while let Some(event) = calendar.pop_due() {
                    fabric.complete(now, event, &mut completed);
                }
                left -= completed.len();
                completed.drain(..).for_each(|transfer| done(&transfer));
            }
            (_, Some(now)) => {
                calendar.advance(now);
                while let Some((_, request)) = arrivals.next_if(|(at, _)| *at == now) {
                    left += 1;
                    fabric.issue(now, request);
                }
            }
            (_, None) => break,
        }
        fabric.settle(&mut calendar);
    }
    if left > 0 {
        return Err(ReplayError::ClockOverflow { left });
    }
    let end = calendar.now();
    Ok(Carried { end, events: calendar.events(), loads: fabric.loads(end) })
}
