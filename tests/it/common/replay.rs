//! A plan carried out by the fabric.
//!
//! [`Replay`] handles instant by instant, so that a test can look at the fabric in between;
//! [`finishes`] and [`loads`] return only the end.

use super::plans::{Action, Planned, Way, agenda, take_due};
use std::collections::{BTreeMap, VecDeque};
use tiersim::memory::{
    Cancelled, Completed, LaneLoad, Machine, MemorySystem, Path, Pattern, Request, RouteId, TransferId,
};
use tiersim::units::{Bytes, SimTime};

/// A fabric that carries out a plan. The tags are positions in the plan.
pub struct Replay<'a> {
    pub plan: &'a [Planned],
    agenda: VecDeque<(u64, Action, usize)>,
    pub machine: Machine<usize>,
    pub in_flight: BTreeMap<usize, TransferId>,
    pub completed: Vec<Completed<usize>>,
    pub cancelled: Vec<Cancelled<usize>>,
    /// Whether transfers that are not held are issued as held and admitted at once, which must make
    /// no difference.
    pub always_holds: bool,
}

impl<'a> Replay<'a> {
    pub fn new(system: &MemorySystem, plan: &'a [Planned]) -> Self {
        Self {
            plan,
            agenda: agenda(plan),
            machine: Machine::new(system),
            in_flight: BTreeMap::new(),
            completed: Vec::new(),
            cancelled: Vec::new(),
            always_holds: false,
        }
    }

    pub fn next_instant(&self) -> Option<SimTime> {
        let outside = self.agenda.front().map(|&(at, ..)| SimTime::from_ps(at));
        outside.into_iter().chain(self.machine.next_time()).min()
    }

    /// Handles everything at `at`, completions first.
    pub fn handle(&mut self, at: SimTime) {
        let (in_flight, completed) = (&mut self.in_flight, &mut self.completed);
        self.machine.advance(at, &mut |transfer: Completed<usize>| {
            in_flight.remove(&transfer.tag);
            completed.push(transfer);
        });
        while let Some((action, index)) = take_due(&mut self.agenda, at.as_ps()) {
            self.act(action, index);
        }
        self.machine.settle();
        assert!(self.machine.next_time().is_none_or(|next| next > at), "the instant {at} comes up again");
    }

    fn act(&mut self, action: Action, index: usize) {
        let planned = &self.plan[index];
        match action {
            Action::Issue => {
                let parts: Vec<(RouteId, Bytes)>;
                let path = match &planned.way {
                    Way::One(route) => Path::Route(*route),
                    Way::Even(routes) => Path::Even(routes),
                    Way::Parts(of) => {
                        parts = of.iter().map(|(route, bytes)| (*route, Bytes::new(*bytes))).collect();
                        Path::Parts(&parts)
                    }
                };
                let request = Request {
                    class: planned.class,
                    path,
                    bytes: Bytes::new(planned.bytes),
                    granule: Bytes::new(planned.granule),
                    pattern: Pattern::Random,
                    urgency: planned.urgency,
                    reach: planned.reach,
                    tag: index,
                };
                let id = if planned.held.is_none() && !self.always_holds {
                    self.machine.issue(request)
                } else {
                    self.machine.issue_held(request)
                };
                if planned.held.is_none() && self.always_holds {
                    self.machine.admit(id);
                }
                self.in_flight.insert(index, id);
            }
            Action::Admit => {
                if let Some(&id) = self.in_flight.get(&index) {
                    self.machine.admit(id);
                }
            }
            Action::Cancel => {
                if let Some(id) = self.in_flight.remove(&index) {
                    self.cancelled.push(self.machine.cancel(id));
                }
            }
            Action::RaiseUrgency => {
                if let Some(&id) = self.in_flight.get(&index) {
                    self.machine.raise_urgency(id);
                }
            }
        }
    }

    pub fn run(&mut self) {
        while let Some(at) = self.next_instant() {
            self.handle(at);
        }
        assert!(self.in_flight.is_empty(), "never completed: {:?}", self.in_flight);
    }

    /// Runs to the end: the completions, by position in the plan.
    pub fn finish(mut self) -> Vec<Completed<usize>> {
        self.run();
        self.completed.sort_by_key(|transfer| transfer.tag);
        self.completed
    }
}

/// When each transfer of `plan` finishes on the fabric, in picoseconds.
pub fn finishes(system: &MemorySystem, plan: &[Planned]) -> Vec<u64> {
    Replay::new(system, plan).finish().iter().map(|transfer| transfer.finished.as_ps()).collect()
}

/// The loads of all lanes when the plan is complete.
pub fn loads(system: &MemorySystem, plan: &[Planned]) -> Vec<LaneLoad> {
    let mut replay = Replay::new(system, plan);
    replay.run();
    replay.machine.fabric().loads(replay.machine.now())
}
