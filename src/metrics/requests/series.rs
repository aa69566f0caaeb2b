//! A serving engine over time, in a fixed amount of memory.
//!
//! A run has up to millions of steps, and a picture some hundred points. A [`ServingSeries`]
//! divides the time from 0 into equal bins and adds each step to the bins that it lies in, by the
//! share of its time in each. Where the run outgrows [`MOST_BINS`] bins, the bins become twice as
//! wide and neighbours are merged. So a series takes the same memory for any run, a step costs O(1)
//! amortized, and all sums are exact to floating-point rounding.

use crate::memory::PerTier;
use crate::simulation::{MoveRecord, ServingRecord};
use crate::units::{Bytes, SimTime};
use crate::workload::MoveKind;

/// The most bins of a series.
pub const MOST_BINS: usize = 2_000;

/// The width of bins at the start of a run, as a power of two of picoseconds: 1 us. Widths are
/// powers of two, so that a step finds its bins without a division.
const FIRST_WIDTH: u32 = 20;

/// A serving engine over time.
#[derive(Clone, Debug, PartialEq)]
pub struct ServingSeries {
    tiers: usize,
    /// As a power of two of picoseconds.
    width: u32,
    bins: Vec<ServingBin>,
    /// By bin, then tier.
    by_tier: Vec<TierBin>,
}

/// What happened within one bin of time. Steps count by the share of their time within it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ServingBin {
    /// Steps that ended within it.
    pub steps: u64,
    /// The sum of their times, in picoseconds.
    pub step_time: f64,
    /// The longest of them.
    pub longest_step: SimTime,
    /// Time in steps, in picoseconds.
    pub busy: f64,
    /// Running requests times time in steps, in picoseconds.
    pub running: f64,
    /// The most running requests of a step.
    pub most_running: u32,
    /// The same of waiting requests.
    pub waiting: f64,
    /// The most waiting requests at a step.
    pub most_waiting: u32,
    /// Pages of KV in use in the first tier, cached ones included, times time in steps.
    pub pages_hbm: f64,
    /// Of these, cached blocks that no running request reads.
    pub pages_cached: f64,
    /// Pages of KV in use in external memory, times time in steps.
    pub pages_external: f64,
    /// Tokens that were computed.
    pub tokens: f64,
    /// Of these, tokens of prompts, and tokens that are computed again.
    pub prompt: f64,
    /// Tokens that came out.
    pub outputs: f64,
    /// Bytes moved, by the place of their kind in [`MoveKind::ALL`].
    pub moved: [f64; MoveKind::COUNT],
}

/// How many tokens a step computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepTokens {
    /// All.
    pub all: u32,
    /// Of these, tokens of prompts, and tokens that are computed again.
    pub prompt: u32,
    /// How many came out.
    pub outputs: u32,
}

/// The bytes of one tier within one bin of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TierBin {
    /// Weights read.
    pub weights: f64,
    /// KV read.
    pub kv: f64,
    /// KV written by steps.
    pub written: f64,
    /// Bytes in use times time in steps, in picoseconds.
    pub used: f64,
    /// The most bytes in use.
    pub most_used: Bytes,
}

impl ServingSeries {
    /// An empty series for `tiers` tiers.
    #[must_use]
    pub fn new(tiers: usize) -> Self {
        Self { tiers, width: FIRST_WIDTH, bins: Vec::new(), by_tier: Vec::new() }
    }

    /// The width of a bin.
    #[must_use]
    pub fn width(&self) -> SimTime {
        SimTime::from_ps(1 << self.width)
    }

    /// How many bins there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bins.len()
    }

    /// Whether nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bins.is_empty()
    }

    /// The bins from time 0 on, without gaps: when each begins, what happened within it, and the
    /// same by tier.
    pub fn bins(&self) -> impl ExactSizeIterator<Item = (SimTime, &ServingBin, &[TierBin])> {
        self.bins.iter().enumerate().map(|(index, bin)| {
            (self.width().times(index as u64), bin, &self.by_tier[index * self.tiers..(index + 1) * self.tiers])
        })
    }

    /// The same in at most `most` bins, for pictures that are no wider: widths are doubled.
    #[must_use]
    pub fn coarser(&self, most: usize) -> Self {
        let mut coarser = self.clone();
        while coarser.len() > most.max(1) {
            coarser.widen();
        }
        coarser
    }

    /// Adds a step. O(1) amortized.
    pub fn step(&mut self, record: &ServingRecord<'_>, of: StepTokens) {
        let (step, latency) = (record.step, record.ended - record.began);
        let last = self.spread(record.began, record.ended, |bin, by_tier, share, time| {
            bin.busy += time;
            bin.running += f64::from(step.running) * time;
            bin.most_running = bin.most_running.max(step.running);
            bin.waiting += f64::from(step.waiting) * time;
            bin.most_waiting = bin.most_waiting.max(step.waiting);
            bin.pages_hbm += step.pages_hbm as f64 * time;
            bin.pages_cached += step.pages_cached as f64 * time;
            bin.pages_external += step.pages_external as f64 * time;
            bin.tokens += f64::from(of.all) * share;
            bin.prompt += f64::from(of.prompt) * share;
            bin.outputs += f64::from(of.outputs) * share;
            let bytes_of = |bytes: &PerTier<Bytes>, tier: usize| bytes.as_slice()[tier].as_f64();
            for (tier, here) in by_tier.iter_mut().enumerate() {
                here.weights += bytes_of(record.weights, tier) * share;
                here.kv += bytes_of(record.kv, tier) * share;
                here.written += bytes_of(record.written, tier) * share;
                let used = record.used.as_slice()[tier];
                here.used += used.as_f64() * time;
                here.most_used = here.most_used.max(used);
            }
        });
        let bin = &mut self.bins[last];
        bin.steps += 1;
        bin.step_time += latency.as_ps() as f64;
        bin.longest_step = bin.longest_step.max(latency);
    }

    /// Adds the bytes of a move, evenly over the time that it took.
    pub fn moved(&mut self, moved: &MoveRecord) {
        let (kind, bytes) = (moved.moved.kind as usize, moved.bytes.as_f64());
        self.spread(moved.issued, moved.completed, |bin, _, share, _| bin.moved[kind] += bytes * share);
    }

    /// Calls `add` with each bin between two times, its tiers, the share of the time that lies in
    /// it, and that time in picoseconds. Returns the last of them.
    fn spread(
        &mut self,
        from: SimTime,
        to: SimTime,
        mut add: impl FnMut(&mut ServingBin, &mut [TierBin], f64, f64),
    ) -> usize {
        while to.as_ps() >> self.width >= MOST_BINS as u64 {
            self.widen();
        }
        let (width, tiers) = (self.width, self.tiers);
        // What ends where a bin begins lies within the one before.
        let first = (from.as_ps() >> width) as usize;
        let last = ((to.as_ps().saturating_sub(1) >> width) as usize).max(first);
        if self.bins.len() <= last {
            self.bins.resize(last + 1, ServingBin::default());
            self.by_tier.resize((last + 1) * tiers, TierBin::default());
        }
        let whole = to.saturating_sub(from).as_ps() as f64;
        for bin in first..=last {
            let start = from.as_ps().max((bin as u64) << width);
            let end = to.as_ps().min((bin as u64 + 1) << width);
            let time = end.saturating_sub(start) as f64;
            let share = if first == last { 1.0 } else { time / whole };
            add(&mut self.bins[bin], &mut self.by_tier[bin * tiers..(bin + 1) * tiers], share, time);
        }
        last
    }

    /// Makes bins twice as wide.
    fn widen(&mut self) {
        self.width += 1;
        let halves = self.bins.len().div_ceil(2);
        for half in 0..halves {
            let mut bin = self.bins[2 * half];
            if let Some(next) = self.bins.get(2 * half + 1) {
                bin.add(next);
            }
            self.bins[half] = bin;
            for tier in 0..self.tiers {
                let mut here = self.by_tier[2 * half * self.tiers + tier];
                if let Some(next) = self.by_tier.get((2 * half + 1) * self.tiers + tier) {
                    here.add(next);
                }
                self.by_tier[half * self.tiers + tier] = here;
            }
        }
        self.bins.truncate(halves);
        self.by_tier.truncate(halves * self.tiers);
    }
}

impl ServingBin {
    /// Adds what happened in the bin after this one.
    fn add(&mut self, next: &Self) {
        self.steps += next.steps;
        self.longest_step = self.longest_step.max(next.longest_step);
        self.most_running = self.most_running.max(next.most_running);
        self.most_waiting = self.most_waiting.max(next.most_waiting);
        let sums = [
            (&mut self.step_time, next.step_time),
            (&mut self.busy, next.busy),
            (&mut self.running, next.running),
            (&mut self.waiting, next.waiting),
            (&mut self.pages_hbm, next.pages_hbm),
            (&mut self.pages_cached, next.pages_cached),
            (&mut self.pages_external, next.pages_external),
            (&mut self.tokens, next.tokens),
            (&mut self.prompt, next.prompt),
            (&mut self.outputs, next.outputs),
        ];
        let moved = self.moved.iter_mut().zip(next.moved);
        sums.into_iter().chain(moved).for_each(|(sum, value)| *sum += value);
    }

    /// The mean of a value that was summed times time, over the time in steps; 0 where there was
    /// none.
    #[must_use]
    pub fn mean(&self, sum: f64) -> f64 {
        if self.busy > 0.0 { sum / self.busy } else { 0.0 }
    }
}

impl TierBin {
    fn add(&mut self, next: &Self) {
        self.weights += next.weights;
        self.kv += next.kv;
        self.written += next.written;
        self.used += next.used;
        self.most_used = self.most_used.max(next.most_used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Step;
    use crate::workload::ServingStep;
    use proptest::prelude::*;

    fn tier(bytes: u64) -> PerTier<Bytes> {
        PerTier::filled(1, Bytes::new(bytes))
    }

    proptest! {
        /// Against a twin that adds each step to the bins of the final width.
        #[test]
        fn bins_are_those_of_all_steps(
            steps in prop::collection::vec((0u64..5_000_000_000, 0u64..9_000_000_000, 1u32..9, 0u32..40), 1..400)
        ) {
            let mut series = ServingSeries::new(1);
            let mut now = 0;
            let mut all = Vec::new();
            for (gap, latency, running, waiting) in steps {
                let began = now + gap;
                now = began + latency;
                let step = ServingStep { running, waiting, pages_hbm: 7, ..ServingStep::default() };
                let (weights, kv, written, used) = (tier(1_000), tier(u64::from(running)), tier(5), tier(latency));
                let record = ServingRecord {
                    number: Step::new(0),
                    began: SimTime::from_ps(began),
                    ended: SimTime::from_ps(now),
                    step: &step,
                    weights: &weights,
                    kv: &kv,
                    written: &written,
                    used: &used,
                };
                series.step(&record, StepTokens { all: 3, prompt: 1, outputs: running });
                all.push((began, now, running, waiting));
            }
            prop_assert!(series.len() <= MOST_BINS);
            let width = series.width().as_ps();
            prop_assert!(width == 1 << FIRST_WIDTH || series.len() > MOST_BINS / 2 - 1);
            let near = |one: f64, other: f64| (one - other).abs() <= 1e-9 * one.abs().max(other.abs()).max(1e-9);
            for (from, bin, by_tier) in series.bins() {
                let (from, to) = (from.as_ps(), from.as_ps() + width);
                let (mut busy, mut running, mut outputs, mut kv, mut most, mut ended) = (0.0, 0.0, 0.0, 0.0, 0, 0);
                for (began, end, of, waiting) in &all {
                    if *end > from && *end <= to || *end == *began && (from..to).contains(began) {
                        ended += 1;
                    }
                    let time = (*end).min(to).saturating_sub((*began).max(from)) as f64;
                    let here = (*began).max(from) < (*end).min(to);
                    if here {
                        busy += time;
                        running += time * f64::from(*of);
                        outputs += f64::from(*of) * time / (end - began) as f64;
                        kv += f64::from(*of) * time / (end - began) as f64;
                        most = most.max(*waiting);
                    } else if began == end && (from..to).contains(began) {
                        outputs += f64::from(*of);
                        kv += f64::from(*of);
                        most = most.max(*waiting);
                    }
                }
                prop_assert!(near(bin.busy, busy) && near(bin.running, running), "{bin:?} {busy} {running}");
                prop_assert!(near(bin.outputs, outputs) && near(by_tier[0].kv, kv), "{bin:?} {outputs}");
                prop_assert_eq!((bin.most_waiting, bin.steps), (most, ended));
                prop_assert!(near(bin.pages_hbm, 7.0 * busy));
            }
            let coarser = series.coarser(100);
            let busy = |of: &ServingSeries| of.bins().map(|(_, bin, _)| bin.busy).sum::<f64>();
            prop_assert!(coarser.len() <= 100 && near(busy(&coarser), busy(&series)));
            let steps: u64 = series.bins().map(|(_, bin, _)| bin.steps).sum();
            prop_assert_eq!(steps, all.len() as u64);
            let weights: f64 = series.bins().map(|(_, _, by_tier)| by_tier[0].weights).sum();
            prop_assert!((weights / (1_000.0 * all.len() as f64) - 1.0).abs() < 1e-9);
        }
    }
}
