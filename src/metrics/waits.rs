use crate::memory::{Bottleneck, MemorySystem, PerClass};
use crate::simulation::{Probe, StepRecord, Waiting, Waits};
use crate::units::{SimTime, Step};
use std::ops::ControlFlow;

/// What a run waits for, instant by instant.
///
/// A sublayer waits for the last of its reads and its compute to end: of reads that end at the same instant, for the first issued,
/// of these for weights before KV, of these for the faster tier's; for a read, where compute ends with it. (Known when it has ended.) All time of the sublayer counts for what held that one up at each instant
/// ([`Bottleneck`]). So the times of all causes add up to the latency of the step, to the picosecond.
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
/// // All of it lies on HBM.
/// assert_eq!(waits.total(4), [("hbm.bus", outcome.simulated)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct WaitRecorder {
    /// The names of the causes: lanes, then [`OTHERS`].
    causes: Vec<String>,
    steps: Vec<StepWaits>,
    /// What steps waited for, all of one after all of the one before.
    waits: Vec<Wait>,
    /// What the present step waited for so far, by cause.
    present: Vec<Wait>,
    /// The present sublayer: moments, and what it lacked from each on.
    moments: Vec<Moment>,
    lacked: Vec<Lacked>,
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
    /// Where in `lacked` its own begin.
    start: usize,
}

#[derive(Clone, Copy, Debug)]
struct Lacked {
    waiting: Waiting,
    /// What the lane that holds it up carries.
    rates: PerClass<f64>,
}

/// Causes that are no lanes: a latency, a write of what is to be read, what one transfer gets at most, the chip.
pub const OTHERS: [&str; 4] = ["latency", "pending write", "transfer cap", "compute"];
const LATENCY: usize = 0;
const WRITE: usize = 1;
const CAP: usize = 2;
const COMPUTE: usize = 3;

impl WaitRecorder {
    /// For a run on `system`.
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
            lacked: Vec::new(),
        }
    }

    /// What can be waited for: every lane, then [`OTHERS`].
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

    /// What a step that has ended waited for, by cause.
    #[must_use]
    pub fn of_step(&self, step: usize) -> &[Wait] {
        let start = step.checked_sub(1).map_or(0, |before| self.steps[before].end);
        &self.waits[start..self.steps[step].end]
    }

    /// What the first `steps` steps waited for, by the name of the cause, the longest first.
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

    /// The present sublayer has ended at `now`: its time counts for the bottleneck of
    /// the last transfer that it waited for.
    fn end_stage(&mut self, now: SimTime) {
        let lacked_from = |index: usize| {
            let end = self.moments.get(index + 1).map_or(self.lacked.len(), |next| next.start);
            &self.lacked[self.moments[index].start..end]
        };
        let end_of = |index: usize| self.moments.get(index + 1).map_or(now, |next| next.at);
        let last = (0..self.moments.len()).rfind(|&index| end_of(index) > self.moments[index].at);
        // None: the chip is what is waited for.
        let awaited = last.and_then(|last| lacked_from(last).first()).map(|lacked| lacked.waiting.read);
        let mut spans = Vec::with_capacity(self.moments.len());
        for index in 0..self.moments.len() {
            let span = end_of(index) - self.moments[index].at;
            let lacked = || lacked_from(index).iter().map(|lacked| (lacked, lacked.waiting.read));
            // Before its parts are on their lanes, a read is in one piece.
            let whole = || lacked().find(|(_, read)| Some(read.0) == awaited.map(|awaited| awaited.0));
            let read = lacked().find(|(_, read)| Some(*read) == awaited).or_else(whole).map(|(lacked, _)| lacked);
            let seconds = span.as_ps() as f64 / SimTime::PS_PER_SECOND as f64;
            spans.push(match read {
                Some(read) => (self.cause(read.waiting.bottleneck), span, read.rates.map(|rate| rate * seconds)),
                None => (self.causes.len() - OTHERS.len() + COMPUTE, span, PerClass::filled(0.0)),
            });
            debug_assert!(span == SimTime::ZERO || read.is_some() || self.moments[index].computing);
        }
        for (cause, span, carried) in spans {
            self.present[cause].time += span;
            for (sum, bytes) in self.present[cause].carried.values_mut().zip(carried.values()) {
                *sum += bytes;
            }
        }
        self.moments.clear();
        self.lacked.clear();
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
        if waits.reads.is_empty() && !waits.computing {
            self.end_stage(now);
            return;
        }
        self.moments.push(Moment { at: now, computing: waits.computing, start: self.lacked.len() });
        self.lacked.extend(waits.reads.iter().map(|&waiting| Lacked {
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
