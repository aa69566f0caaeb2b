//! What holds transfers up at a moment, for whoever asks why something takes so long. Nothing else depends on it.

use super::profile::Profile;
use super::sharing::BYTE;
use super::{Arbiter, Fabric, Role, State, Transfer, TransferId};
use crate::memory::{LaneId, PerClass, TransferClass};
use crate::units::SimTime;

/// Why a transfer does not receive more at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldUp {
    /// It was issued, and its issuer has not let it be requested yet.
    NotRequested,
    /// It is under way to its lanes: a latency.
    Latency,
    /// A lane. Where lanes are shared, the full one that limits its rate: the transfer gets as much of it, for its weight, as any
    /// other there that is not held up elsewhere. Where it is in line, the first of its lanes on which its turn has not come.
    /// Where it has its lanes to itself (`fifo`), the slowest.
    Lane(LaneId),
    /// The most that one transfer gets of a tier or a link, however idle it is.
    Cap,
}

/// A transfer that is not complete or, where its parts are on different lanes, a part of it that is not.
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
    pub held_up: HeldUp,
}

impl<Tag: Copy> Fabric<Tag> {
    /// All that was issued and is not complete, as it is from `now` on. To be asked after [`settle`](Fabric::settle).
    pub fn in_progress(&self) -> impl Iterator<Item = InProgress<Tag>> + '_ {
        self.transfers.iter().enumerate().filter_map(|(slot, transfer)| {
            let head = match transfer.role {
                Role::PartOf(head) => head,
                _ => slot as u32,
            };
            let whole = &self.transfers[head as usize];
            let in_parts = matches!(whole.state, State::InParts);
            let is_part = matches!(transfer.role, Role::PartOf(_));
            // Of a transfer that is carried in parts, these; of another, itself.
            if matches!(transfer.state, State::Vacant) || (in_parts != is_part && (in_parts || is_part)) {
                return None;
            }
            Some(InProgress {
                id: TransferId(head),
                part: slot as u32,
                tag: whole.tag,
                class: whole.class,
                issued: whole.issued,
                held_up: self.held_up(slot as u32, transfer),
            })
        })
    }

    fn held_up(&self, slot: u32, transfer: &Transfer<Tag>) -> HeldUp {
        let profile = &self.profiles[transfer.profile];
        let lane = |index: usize| HeldUp::Lane(LaneId::new(index));
        match (&self.arbiter, transfer.state) {
            (_, State::Underway) => HeldUp::Latency,
            (_, State::InLine) => {
                let lanes = self.lanes_of(TransferId(slot));
                lane(self.admission.in_the_way(self.place_of(slot), &lanes).unwrap_or(lanes[0]))
            }
            (Arbiter::Sharing(sharing), State::Shared(member)) => {
                sharing.rate(member.group).1.map_or(HeldUp::Cap, lane)
            }
            (Arbiter::Fifo(fifo), State::Queued) => {
                let lanes = self.lanes_of(TransferId(slot));
                lane(lanes.iter().copied().find(|&lane| fifo.first(lane) != Some(slot)).unwrap_or(lanes[0]))
            }
            (_, State::Running { .. }) => self.slowest(slot, transfer, profile),
            _ => HeldUp::NotRequested,
        }
    }

    /// The lane of which a transfer that has its lanes to itself takes the most time.
    fn slowest(&self, slot: u32, transfer: &Transfer<Tag>, profile: &Profile) -> HeldUp {
        let mut takes: Vec<(usize, f64)> = match transfer.role {
            Role::Gang(gang) => self.takes_of(&self.gangs[gang as usize]),
            _ => profile.takes(self.size_of(slot)).collect(),
        };
        takes.sort_by_key(|(lane, _)| *lane);
        let of_lanes =
            takes.chunk_by(|a, b| a.0 == b.0).map(|run| (run[0].0, run.iter().map(|(_, time)| time).sum::<f64>()));
        // Of equals the first.
        let most = of_lanes.fold((0, -1.0), |most, lane| if lane.1 > most.1 * (1.0 + 1e-9) { lane } else { most });
        let capped = self.profiles.has_cap(profile) && transfer.carry.as_ps() as f64 > most.1 * (1.0 + 1e-9) + 1.0;
        if capped { HeldUp::Cap } else { HeldUp::Lane(LaneId::new(most.0)) }
    }

    /// Adds to each lane what it carries of each class from `now` on, in bytes a second.
    pub fn add_class_rates(&self, now: SimTime, rates: &mut [PerClass<f64>]) {
        let second = SimTime::PS_PER_SECOND as f64;
        let mut add = |transfer: &Transfer<Tag>, rate: f64| {
            for &lane in self.profiles[transfer.profile].lanes() {
                rates[lane][transfer.class] += rate;
            }
        };
        for transfer in &self.transfers {
            match (&self.arbiter, transfer.state) {
                (Arbiter::Sharing(sharing), State::Shared(member)) => {
                    add(transfer, sharing.rate(member.group).0 as f64 / BYTE as f64 * second);
                }
                // A bus that is still turning around carries nothing.
                (_, State::Running { since }) if since <= now => {
                    let seconds = transfer.carry.as_ps() as f64 / second;
                    match transfer.role {
                        Role::Gang(gang) => {
                            for part in &self.gangs[gang as usize].parts {
                                let part = &self.transfers[*part as usize];
                                add(part, part.bytes.as_f64() / seconds);
                            }
                        }
                        _ => add(transfer, transfer.bytes.as_f64() / seconds),
                    }
                }
                _ => {}
            }
        }
    }
}
