//! Plans: transfers with the instants at which they are issued, admitted, raised in urgency and
//! cancelled.
//!
//! A plan is carried out by the fabric ([`Replay`](super::Replay)) and by its twins, so that their
//! times can be compared. Instants are in picoseconds.

use std::collections::VecDeque;
use tiersim::memory::{Lane, MemorySystem, Reach, RouteId, TierId, TransferClass, Urgency};

/// The routes that a transfer is striped over.
#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    One(RouteId),
    Even(Vec<RouteId>),
    Parts(Vec<(RouteId, u64)>),
}

/// A transfer, and what happens to it from outside. Times in picoseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    pub class: TransferClass,
    pub source: Option<TierId>,
    pub destination: Option<TierId>,
    pub way: Way,
    pub bytes: u64,
    pub granule: u64,
    pub issued: u64,
    /// How long after its issue it is admitted; `None`: at once.
    pub held: Option<u64>,
    /// How long after its issue its urgency is raised.
    pub raised: Option<u64>,
    /// How long after its issue it is cancelled, if it is not complete by then.
    pub cancelled: Option<u64>,
    pub urgency: Urgency,
    pub reach: Reach,
}

impl Planned {
    /// The routes of the transfer and the bytes on each.
    pub fn parts(&self) -> Vec<(RouteId, f64)> {
        match &self.way {
            Way::One(route) => vec![(*route, self.bytes as f64)],
            Way::Even(routes) => {
                let part = self.bytes as f64 / routes.len() as f64;
                routes.iter().map(|route| (*route, part)).collect()
            }
            Way::Parts(parts) => parts.iter().map(|(route, bytes)| (*route, *bytes as f64)).collect(),
        }
    }

    /// When the transfer is admitted, in picoseconds.
    pub fn admitted(&self) -> u64 {
        self.issued + self.held.unwrap_or(0)
    }

    pub fn holds(&self, system: &MemorySystem, lane: usize) -> bool {
        lanes_with(system, self, |_| true).contains(&lane)
    }

    pub fn latency(&self, system: &MemorySystem) -> u64 {
        [self.source, self.destination]
            .into_iter()
            .flatten()
            .map(|tier| system.tiers()[tier.index()].latency.as_ps())
            .sum()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    Issue,
    Admit,
    RaiseUrgency,
    Cancel,
}

/// The actions of a plan by time. Equal actions of one instant are in the order of the plan.
pub fn agenda(plan: &[Planned]) -> VecDeque<(u64, Action, usize)> {
    let mut agenda = Vec::new();
    for (index, planned) in plan.iter().enumerate() {
        agenda.push((planned.issued, Action::Issue, index));
        agenda.extend(planned.held.map(|_| (planned.admitted(), Action::Admit, index)));
        agenda.extend(planned.raised.map(|delay| (planned.issued + delay, Action::RaiseUrgency, index)));
        agenda.extend(planned.cancelled.map(|delay| (planned.issued + delay, Action::Cancel, index)));
    }
    agenda.sort_unstable();
    agenda.into()
}

pub fn take_due(agenda: &mut VecDeque<(u64, Action, usize)>, now: u64) -> Option<(Action, usize)> {
    let &(at, action, index) = agenda.front()?;
    (at == now).then(|| {
        agenda.pop_front();
        (action, index)
    })
}

/// The lanes of any part of the transfer for which `what` holds, sorted.
pub fn lanes_with(system: &MemorySystem, planned: &Planned, what: impl Fn(&Lane) -> bool) -> Vec<usize> {
    let parts = planned.parts();
    let lanes = parts.iter().flat_map(|(route, _)| system.route(*route)).map(|hold| hold.lane.index());
    let mut found: Vec<usize> = lanes.filter(|lane| what(&system.lanes()[*lane])).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// A due transfer of 1 B, issued at 0 and striped evenly over all ports of its tiers.
pub fn transfer(
    system: &MemorySystem,
    class: TransferClass,
    source: Option<TierId>,
    destination: Option<TierId>,
) -> Planned {
    let way = Way::Even(match (source, destination) {
        (Some(tier), None) => system.even_reads(tier).to_vec(),
        (None, Some(tier)) => system.even_writes(tier).to_vec(),
        (Some(source), Some(destination)) => system
            .ports(source)
            .flat_map(|from| system.ports(destination).map(move |to| (from, to)))
            .map(|(from, to)| system.move_route(from, to))
            .collect(),
        (None, None) => panic!("a transfer has an end at a tier"),
    });
    Planned {
        class,
        source,
        destination,
        way,
        bytes: 1,
        granule: 1 << 30,
        issued: 0,
        held: None,
        raised: None,
        cancelled: None,
        urgency: Urgency::Due,
        reach: Reach::FULL,
    }
}

pub fn read(system: &MemorySystem, tier: TierId, issued: u64, bytes: u64) -> Planned {
    Planned { issued, bytes, ..transfer(system, TransferClass::KvRead, Some(tier), None) }
}

pub fn write(system: &MemorySystem, tier: TierId, issued: u64, bytes: u64) -> Planned {
    Planned { issued, bytes, ..transfer(system, TransferClass::KvWrite, None, Some(tier)) }
}

pub fn moved(system: &MemorySystem, source: TierId, destination: TierId, issued: u64, bytes: u64) -> Planned {
    let class = if destination < source { TransferClass::MigrateIn } else { TransferClass::MigrateOut };
    Planned { issued, bytes, ..transfer(system, class, Some(source), Some(destination)) }
}
