//! A timeline: every transfer, layer and rate of a few steps.
//!
//! The [`Recorder`](super::Recorder) keeps sums and histograms; a [`Timeline`] keeps the events
//! themselves, for the range of steps that the user asked for. It is what `timeline.json` and its
//! picture are drawn from. Its size is bounded by [`Timeline::most_steps`], as the noted rates of a
//! layer grow with the square of the number of lanes.

use crate::memory::{Cancelled, Completed, MemorySystem, RouteId, TierId, TransferClass};
use crate::simulation::{Ends, Probe, Scenario, StepRecord};
use crate::units::{Bytes, LayerId, SimTime, Step};
use crate::workload::StageLabel;
use std::ops::{ControlFlow, Range};

/// The events of a few steps of a run: transfers, layers, rates.
#[derive(Clone, Debug)]
pub struct Timeline {
    steps: Range<usize>,
    /// When the first of them began and the last one ended.
    from: Option<SimTime>,
    to: Option<SimTime>,
    /// The names of the lanes and of the tiers.
    pub lanes: Vec<String>,
    /// The names of the tiers.
    pub tiers: Vec<String>,
    /// In the order of completion.
    pub transfers: Vec<TimelineTransfer>,
    /// In the order of their ends; a step after its layers.
    pub spans: Vec<Span>,
    /// From each time until the next: the rate of each lane, in bytes a second.
    pub rates: Vec<(SimTime, Vec<f64>)>,
    /// At the end of each step.
    pub marks: Vec<Mark>,
    system: MemorySystem,
}

/// A transfer of a [`Timeline`].
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct TimelineTransfer {
    pub class: TransferClass,
    pub ends: Ends,
    /// The places of its lanes in [`Timeline::lanes`]; none of channels that are simulated one by
    /// one.
    pub lanes: Vec<usize>,
    pub bytes: Bytes,
    pub issued: SimTime,
    pub started: SimTime,
    pub finished: SimTime,
    pub queueing: SimTime,
    /// The bytes that were never carried, as the move was late and dropped.
    pub dropped: Bytes,
}

/// A step, a layer or a stage that belongs to none.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Span {
    pub what: SpanKind,
    pub began: SimTime,
    pub ended: SimTime,
}

/// What a [`Span`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// The step of that number.
    Step(usize),
    /// The layer of that number.
    Layer(usize),
    /// A stage that belongs to no layer.
    Outside(StageLabel),
}

/// The state at the end of a step.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Mark {
    pub at: SimTime,
    /// HBM's share of the bytes read; `NaN` where nothing was.
    pub alpha: f64,
    /// By tier.
    pub used: Vec<Bytes>,
}

impl Timeline {
    /// For `steps` of a run of `scenario`.
    #[must_use]
    pub fn new(scenario: &Scenario, steps: Range<usize>) -> Self {
        let system = scenario.memory();
        Self {
            steps,
            from: None,
            to: None,
            lanes: system.lanes().iter().map(|lane| lane.name.clone()).collect(),
            tiers: system.tiers().iter().map(|tier| tier.name.clone()).collect(),
            transfers: Vec::new(),
            spans: Vec::new(),
            rates: Vec::new(),
            marks: Vec::new(),
            system: system.clone(),
        }
    }

    /// The most steps that a timeline of `scenario` may have; at least 1. Each layer has transfers
    /// on each lane, and whenever one begins or ends the rates of all lanes are noted, so a layer
    /// takes about the square of the lanes.
    #[must_use]
    pub fn most_steps(scenario: &Scenario) -> usize {
        let lanes = scenario.memory().lanes().len();
        let a_step = scenario.model().layers().saturating_mul(lanes.saturating_mul(lanes));
        (Self::MOST_RATES / a_step.max(1)).max(1)
    }

    /// The most noted rates, which give a file of about half a GB.
    const MOST_RATES: usize = 1_000_000;

    /// When the first of its steps began and the last one ended; `None` if the run did not get
    /// there.
    #[must_use]
    pub fn span(&self) -> Option<(SimTime, SimTime)> {
        let first = self.from?;
        let last = self.to.or_else(|| self.spans.iter().map(|span| span.ended).max());
        Some((first, last.unwrap_or(first)))
    }

    fn is_open(&self) -> bool {
        self.from.is_some() && self.to.is_none()
    }

    /// Whether what was on its way from `issued` to `ended` was so in its steps.
    fn sees(&self, issued: SimTime, ended: SimTime) -> bool {
        self.from.is_some_and(|from| ended > from) && self.to.is_none_or(|to| issued < to)
    }

    fn lanes_of(&self, ends: Ends) -> Vec<usize> {
        let port = |tier: TierId| Some(self.system.ports(tier)).filter(|ports| ports.len() == 1)?.next();
        let route: Option<RouteId> = match (ends.source, ends.destination) {
            (Some(source), None) => port(source).map(|port| self.system.read_route(port)),
            (None, Some(destination)) => port(destination).map(|port| self.system.write_route(port)),
            (Some(source), Some(destination)) if source == destination => {
                port(source).map(|port| self.system.local_route(port))
            }
            (Some(source), Some(destination)) => {
                port(source).zip(port(destination)).map(|(from, to)| self.system.move_route(from, to))
            }
            (None, None) => None,
        };
        let holds = route.map(|route| self.system.route(route)).unwrap_or_default();
        holds.into_iter().map(|hold| hold.lane.index()).collect()
    }
}

impl Probe for Timeline {
    fn begin_step(&mut self, step: Step, now: SimTime) {
        if step.index() == self.steps.start {
            self.from = Some(now);
        }
    }

    fn transfer<Tag>(&mut self, transfer: &Completed<Tag>, ends: Ends) {
        if self.sees(transfer.issued, transfer.finished) {
            self.transfers.push(TimelineTransfer {
                class: transfer.class,
                ends,
                lanes: self.lanes_of(ends),
                bytes: transfer.bytes,
                issued: transfer.issued,
                started: transfer.started,
                finished: transfer.finished,
                queueing: transfer.queueing(),
                dropped: Bytes::ZERO,
            });
        }
    }

    /// For a transfer dropped before its end, the wait for its lanes is the only known delay.
    fn dropped<Tag>(&mut self, transfer: &Cancelled<Tag>, ends: Ends) {
        if self.sees(transfer.issued, transfer.at) {
            self.transfers.push(TimelineTransfer {
                class: transfer.class,
                ends,
                lanes: self.lanes_of(ends),
                bytes: transfer.carried,
                issued: transfer.issued,
                started: transfer.started,
                finished: transfer.at,
                queueing: transfer.started - transfer.issued,
                dropped: transfer.dropped,
            });
        }
    }

    fn watches_lanes(&self) -> bool {
        self.is_open()
    }

    fn lane_rates(&mut self, now: SimTime, rates: &[f64]) {
        if !self.is_open() {
            return;
        }
        // Of several rates noted at one time, the last one holds.
        if self.rates.last().is_some_and(|(at, _)| *at == now) {
            self.rates.pop();
        }
        if self.rates.last().is_none_or(|(_, before)| before != rates) {
            self.rates.push((now, rates.to_vec()));
        }
    }

    fn layer(&mut self, layer: LayerId, began: SimTime, ended: SimTime) {
        if self.is_open() {
            self.spans.push(Span { what: SpanKind::Layer(layer.index()), began, ended });
        }
    }

    fn outside_layers(&mut self, label: StageLabel, began: SimTime, ended: SimTime) {
        if self.is_open() {
            self.spans.push(Span { what: SpanKind::Outside(label), began, ended });
        }
    }

    fn step(&mut self, step: &StepRecord<'_>) -> ControlFlow<()> {
        if self.is_open() {
            let read = |tier: TierId| step.read_from(tier).as_f64();
            let all: f64 = step.used.ids().map(read).sum();
            let used = step.used.as_slice().to_vec();
            self.marks.push(Mark { at: step.ended, alpha: read(TierId::HBM) / all, used });
            self.spans.push(Span {
                what: SpanKind::Step(step.step.index()),
                began: SimTime::from_ps(step.ended.as_ps() - step.latency.as_ps()),
                ended: step.ended,
            });
            if step.step.next().index() == self.steps.end {
                self.to = Some(step.ended);
            }
        }
        ControlFlow::Continue(())
    }
}
