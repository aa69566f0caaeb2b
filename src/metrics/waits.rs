//! Attribution of time: the bottleneck that a run waits for at every instant.
//!
//! A total such as "the link was busy for 90 % of the run" does not say whether anything waited for
//! it. This recorder follows the critical path instead: at each instant it asks what the transfer
//! that completes last in the present stage is limited by (a lane, a latency, a cap, a write before
//! it, compute, or the fixed time of the runtime), and adds the time to that cause. The times of a
//! step's causes add up to its latency exactly.

use crate::memory::{Bottleneck, MemorySystem, PerClass};
use crate::simulation::{Probe, StepRecord, Waiting, Waits};
use crate::units::{SimTime, Step};
use std::ops::ControlFlow;

/// Records what a run waits for, instant by instant.
///
/// A stage waits for the last of its reads or its compute, whichever ends later; at equal ends it
/// waits for the read. Among reads that end at the same instant it waits for the first issued, then
/// for weights before KV, then for the faster tier. The awaited transfer is known only when the
/// stage has ended, so the recorder buffers the stage and then attributes each of its instants to
/// the [`Bottleneck`] of that transfer at that instant. The times of all causes add up to the
/// latency of the step, to the picosecond.
///
/// ```
/// use tiersim::metrics::WaitRecorder;
/// use tiersim::simulation::{Scenario, ScenarioConfig, run};
///
/// let mut config = ScenarioConfig::load("study")?;
/// config.decode_tokens = 4;
/// config.strategy = "baseline".parse()?;
/// let scenario = Scenario::new(config)?;
/// let mut waits = WaitRecorder::new(scenario.memory());
/// let outcome = run(&scenario, &mut waits)?;
/// // All bytes are on HBM.
/// assert_eq!(waits.total(4), [("hbm.bus", outcome.simulated)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct WaitRecorder {
    /// The names of the causes: lanes, then [`OTHERS`].
    causes: Vec<String>,
    steps: Vec<StepWaits>,
    /// The waits of all steps, step after step.
    waits: Vec<Wait>,
    /// The waits of the present step so far, by cause.
    present: Vec<Wait>,
    /// The present stage: its moments, and the reads outstanding from each moment on.
    moments: Vec<Moment>,
    outstanding: Vec<Outstanding>,
}

/// One cause of a step's waits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wait {
    /// Its place in [`WaitRecorder::causes`].
    pub cause: usize,
    /// For how long.
    pub time: SimTime,
    /// Where it is a lane, the bytes that it carried meanwhile, by class.
    pub carried: PerClass<f64>,
}

/// A step, and where its waits end.
#[derive(Clone, Copy, Debug)]
struct StepWaits {
    latency: SimTime,
    bound: SimTime,
    end: usize,
}

#[derive(Clone, Copy, Debug)]
struct Moment {
    at: SimTime,
    computing: bool,
    launching: bool,
    /// Where tiers compute parts of the stage: whether one does, and reads nothing.
    on_tiers: Option<bool>,
    /// Where its entries begin in `outstanding`.
    start: usize,
}

/// What a stage waits for: a read by its name and the time of its issue, a tier that computes, or
/// the chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnPath {
    Read((u32, u32), SimTime),
    Tier,
    Chip,
}

#[derive(Clone, Copy, Debug)]
struct Outstanding {
    waiting: Waiting,
    /// The rates of the lane that is its bottleneck, by class.
    rates: PerClass<f64>,
}

/// Causes that are not lanes: a latency, a pending write of the bytes to be read, the cap on one
/// transfer's rate, compute, the fixed times of the runtime, and what a tier that computes takes
/// besides its reads.
pub const OTHERS: [&str; 6] = ["latency", "pending write", "transfer cap", "compute", "fixed times", "tier's compute"];
const LATENCY: usize = 0;
const WRITE: usize = 1;
const CAP: usize = 2;
const COMPUTE: usize = 3;
const FIXED: usize = 4;
const TIER: usize = 5;

impl WaitRecorder {
    /// A recorder for a run on `system`.
    #[must_use]
    pub fn new(system: &MemorySystem) -> Self {
        let lanes = system.lanes().iter().map(|lane| lane.name.clone());
        let causes: Vec<String> = lanes.chain(OTHERS.map(str::to_owned)).collect();
        let nothing = |cause| Wait { cause, time: SimTime::ZERO, carried: PerClass::filled(0.0) };
        Self {
            present: (0..causes.len()).map(nothing).collect(),
            causes,
            steps: Vec::new(),
            waits: Vec::new(),
            moments: Vec::new(),
            outstanding: Vec::new(),
        }
    }

    /// The names of all causes: every lane, then [`OTHERS`].
    #[must_use]
    pub fn causes(&self) -> &[String] {
        &self.causes
    }

    /// How many steps have ended.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps.len()
    }

    /// The latency and the bound of a step that has ended.
    #[must_use]
    pub fn times(&self, step: usize) -> (SimTime, SimTime) {
        (self.steps[step].latency, self.steps[step].bound)
    }

    /// The waits of a step that has ended, by cause.
    #[must_use]
    pub fn of_step(&self, step: usize) -> &[Wait] {
        let start = step.checked_sub(1).map_or(0, |before| self.steps[before].end);
        &self.waits[start..self.steps[step].end]
    }

    /// The waits of the first `steps` steps together, by the name of the cause, the longest first.
    /// O(steps × causes).
    #[must_use]
    pub fn total(&self, steps: usize) -> Vec<(&str, SimTime)> {
        let mut times = vec![SimTime::ZERO; self.causes.len()];
        for wait in (0..steps).flat_map(|step| self.of_step(step)) {
            times[wait.cause] += wait.time;
        }
        let mut named: Vec<(&str, SimTime)> =
            self.causes.iter().map(String::as_str).zip(times).filter(|(_, time)| *time > SimTime::ZERO).collect();
        named.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
        named
    }

    fn cause(&self, bottleneck: Bottleneck) -> usize {
        let lanes = self.causes.len() - OTHERS.len();
        match bottleneck {
            Bottleneck::Lane(lane) => lane.index(),
            Bottleneck::Latency => lanes + LATENCY,
            Bottleneck::NotRequested => lanes + WRITE,
            Bottleneck::Cap => lanes + CAP,
        }
    }

    /// Ends the present stage at `now`: its time is attributed to the bottlenecks of the last
    /// transfer that it waited for.
    fn end_stage(&mut self, now: SimTime) {
        if self.moments.iter().any(|moment| moment.on_tiers.is_some()) {
            self.end_stage_by_path(now);
            return;
        }
        let outstanding_from = |index: usize| {
            let end = self.moments.get(index + 1).map_or(self.outstanding.len(), |next| next.start);
            &self.outstanding[self.moments[index].start..end]
        };
        let end_of = |index: usize| self.moments.get(index + 1).map_or(now, |next| next.at);
        let last = (0..self.moments.len()).rfind(|&index| end_of(index) > self.moments[index].at);
        // None: the stage waits for compute.
        let awaited = last.and_then(|last| outstanding_from(last).first()).map(|entry| entry.waiting.read);
        let mut spans = Vec::with_capacity(self.moments.len());
        for index in 0..self.moments.len() {
            let span = end_of(index) - self.moments[index].at;
            let reads = || outstanding_from(index).iter().map(|entry| (entry, entry.waiting.read));
            // A read is one piece until its parts are on their lanes.
            let whole = || reads().find(|(_, read)| Some(read.0) == awaited.map(|awaited| awaited.0));
            let read = reads().find(|(_, read)| Some(*read) == awaited).or_else(whole).map(|(entry, _)| entry);
            let seconds = span.as_ps() as f64 / SimTime::PS_PER_SECOND as f64;
            let others = self.causes.len() - OTHERS.len();
            spans.push(match read {
                _ if self.moments[index].launching => (others + FIXED, span, PerClass::filled(0.0)),
                Some(read) => (self.cause(read.waiting.bottleneck), span, read.rates.map(|rate| rate * seconds)),
                None => (others + COMPUTE, span, PerClass::filled(0.0)),
            });
            if span > SimTime::ZERO && read.is_none() && !self.moments[index].computing {
                // It was issued when a copy that it waited for had arrived.
                self.end_stage_by_path(now);
                return;
            }
        }
        self.attribute(spans);
    }

    /// Adds spans of time to their causes, and begins anew.
    fn attribute(&mut self, spans: Vec<(usize, SimTime, PerClass<f64>)>) {
        for (cause, span, carried) in spans {
            self.present[cause].time += span;
            for (sum, bytes) in self.present[cause].carried.values_mut().zip(carried.values()) {
                *sum += bytes;
            }
        }
        self.moments.clear();
        self.outstanding.clear();
    }

    /// The same for a stage of which tiers compute parts, or that reads chunks as they arrive: what
    /// it waits for at its end has begun when something else had ended, which it waited for until
    /// then, and so on back to its start.
    fn end_stage_by_path(&mut self, now: SimTime) {
        let others = self.causes.len() - OTHERS.len();
        let going_on = |index: usize, goes_on: OnPath| -> Option<&Outstanding> {
            let OnPath::Read(read, issued) = goes_on else { return None };
            let end = self.moments.get(index + 1).map_or(self.outstanding.len(), |next| next.start);
            let mut there = self.outstanding[self.moments[index].start..end].iter();
            there.find(|entry| (entry.waiting.read, entry.waiting.issued) == (read, issued))
        };
        let goes_on = |index: usize, what: OnPath| match what {
            OnPath::Read(..) => going_on(index, what).is_some(),
            OnPath::Tier => self.moments[index].on_tiers == Some(true),
            OnPath::Chip => self.moments[index].computing,
        };
        let mut spans = Vec::with_capacity(self.moments.len());
        let mut awaited: Option<OnPath> = None;
        let mut end = now;
        for index in (0..self.moments.len()).rev() {
            let moment = self.moments[index];
            let span = end - moment.at;
            end = moment.at;
            if span == SimTime::ZERO {
                continue;
            }
            if awaited.is_none_or(|what| !goes_on(index, what)) {
                // What ended with this moment: not there in the next.
                let last = self.moments.get(index + 1).map_or(self.outstanding.len(), |next| next.start);
                let reads = self.outstanding[moment.start..last].iter();
                let reads = reads.map(|entry| OnPath::Read(entry.waiting.read, entry.waiting.issued));
                let all: Vec<OnPath> =
                    reads.chain([OnPath::Tier, OnPath::Chip]).filter(|what| goes_on(index, *what)).collect();
                let after = (index + 1..self.moments.len()).find(|next| self.moments[*next].at > moment.at);
                let has_ended = |what: &&OnPath| after.is_none_or(|next| !goes_on(next, **what));
                awaited = all.iter().find(has_ended).or(all.first()).copied();
            }
            let seconds = span.as_ps() as f64 / SimTime::PS_PER_SECOND as f64;
            let nothing = PerClass::filled(0.0);
            spans.push(match awaited.and_then(|what| going_on(index, what)) {
                _ if moment.launching => (others + FIXED, span, nothing),
                Some(read) => (self.cause(read.waiting.bottleneck), span, read.rates.map(|rate| rate * seconds)),
                None if awaited == Some(OnPath::Tier) => (others + TIER, span, nothing),
                None => (others + COMPUTE, span, nothing),
            });
        }
        self.attribute(spans);
    }
}

impl Probe for WaitRecorder {
    fn begin_step(&mut self, _step: Step, _now: SimTime) {
        for wait in &mut self.present {
            (wait.time, wait.carried) = (SimTime::ZERO, PerClass::filled(0.0));
        }
    }

    fn watches_waits(&self) -> bool {
        true
    }

    fn waits(&mut self, now: SimTime, waits: &Waits<'_>) {
        if waits.reads.is_empty() && !waits.computing && waits.on_tiers != Some(true) {
            self.end_stage(now);
            return;
        }
        self.moments.push(Moment {
            at: now,
            computing: waits.computing,
            launching: waits.launching,
            on_tiers: waits.on_tiers,
            start: self.outstanding.len(),
        });
        self.outstanding.extend(waits.reads.iter().map(|&waiting| Outstanding {
            waiting,
            rates: match waiting.bottleneck {
                Bottleneck::Lane(lane) => waits.rates[lane.index()],
                _ => PerClass::filled(0.0),
            },
        }));
    }

    fn step(&mut self, step: &StepRecord<'_>) -> ControlFlow<()> {
        self.waits.extend(self.present.iter().filter(|wait| wait.time > SimTime::ZERO));
        self.steps.push(StepWaits { latency: step.latency, bound: step.bound, end: self.waits.len() });
        ControlFlow::Continue(())
    }
}
