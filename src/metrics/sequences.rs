//! The times of sequences: TPOT, TTFT and tokens/s of a run that decodes several, or whose prompts
//! take time.
//!
//! A [`SequenceRecorder`] is part of the [`Recorder`](super::Recorder) of such a run. It keeps the
//! time of each sequence's last token, so that a step costs O(sequences decoded) and allocates
//! nothing. Sequences of a group mostly wait equally long for a token: equal times are counted
//! together before they are added to a histogram.
//!
//! * TPOT is the time between two tokens of a sequence. The first decoded token counts from the
//!   first token of its sequence, which came out of the step that ended its prompt; with a given
//!   prompt it counts from the start of the step with which the sequence begins.
//! * TTFT is the time from the start of the step with which a sequence begins to the end of the
//!   step that ends its prompt, waiting for other prompts included. Given prompts have none.

use super::distribution::Timings;
use super::summary::SequencesSummary;
use crate::simulation::{Scenario, StepRecord};
use crate::units::{GroupId, SequenceId, SimTime, Table};
use crate::workload::Sequence;
use std::collections::HashMap;

/// The distributions of a run's tokens: TPOT and TTFT.
#[derive(Clone, Debug, Default)]
pub struct TokenTimings {
    /// Between two tokens of a sequence.
    pub tpot: Timings,
    /// From the start of the step with which a sequence begins to its first token.
    pub ttft: Timings,
}

/// What became of one sequence: a row of `sequences.csv`. Times are counted from the start of the
/// run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SequenceRow {
    /// The sequence as the scenario has it.
    pub of: Sequence,
    /// How many tokens of its prompt were computed, or given.
    pub prompt: usize,
    /// How many tokens it decoded.
    pub decoded: usize,
    /// The start of the step with which it began, if the run got there.
    pub began: Option<SimTime>,
    /// When its first token came out.
    pub first_token: Option<SimTime>,
    /// When its last token came out, if it decoded all of them.
    pub ended: Option<SimTime>,
    /// Its TTFT, if its prompt took time.
    pub ttft: Option<SimTime>,
    /// The mean of its TPOT in picoseconds, over all of its tokens; those of warm-up steps
    /// included.
    pub tpot_mean_ps: Option<f64>,
    /// The least time that at least 99 % of its tokens do not exceed.
    pub tpot_p99: Option<SimTime>,
    /// The longest.
    pub tpot_max: Option<SimTime>,
}

/// Records the times of the sequences of a run.
#[derive(Clone, Debug)]
pub(super) struct SequenceRecorder {
    of: Table<SequenceId, Sequence>,
    groups: usize,
    /// Whether prompts take time.
    timed: bool,
    /// The ids by their start.
    by_start: Vec<SequenceId>,
    /// How many of `by_start` have begun.
    begun: usize,
    times: Table<SequenceId, Progress>,
    /// The ends of the steps that decoded something.
    decoding_ends: Vec<SimTime>,
    /// The end of the last step that is not measured.
    warm: SimTime,
    /// By group: the tokens that came out of measured steps.
    tokens: Table<GroupId, u64>,
}

/// How far a sequence has got.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    began: Option<SimTime>,
    prompt: usize,
    first_token: Option<SimTime>,
    /// Where the TPOT of its first decoded token starts.
    decodes_from: SimTime,
    /// When its last token came out; before its first one, where TPOT starts.
    last: SimTime,
    decoded: usize,
    /// Which of `decoding_ends` is that of its first decoded token. It decodes in all that follow
    /// until it ends, as a step decodes all sequences that can or none.
    first_end: usize,
}

/// Equal times of one group that are not in its histogram yet.
#[derive(Clone, Copy, Debug)]
struct Alike {
    group: GroupId,
    time: SimTime,
    count: u64,
}

impl SequenceRecorder {
    /// For a run of `scenario`; `None` where it decodes one sequence whose prompt is given, of
    /// which every token takes a step.
    pub fn of(scenario: &Scenario) -> Option<Self> {
        if scenario.is_single() {
            return None;
        }
        let sequences = scenario.sequences();
        Some(Self::new(sequences.all().clone(), sequences.groups(), !sequences.prefill().is_given(), scenario.steps()))
    }

    fn new(of: Table<SequenceId, Sequence>, groups: usize, timed: bool, steps: usize) -> Self {
        let mut by_start: Vec<SequenceId> = of.ids().collect();
        by_start.sort_by_key(|id| of[*id].start);
        Self {
            times: Table::filled(of.len(), Progress::default()),
            tokens: Table::filled(groups, 0),
            decoding_ends: Vec::with_capacity(steps),
            warm: SimTime::ZERO,
            by_start,
            begun: 0,
            groups,
            timed,
            of,
        }
    }

    /// How many groups there are.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Adds the tokens of a step, to the distributions only if it is measured. `by_group` is empty
    /// where there is one group, or where there are too many. O(sequences computed).
    pub fn step(
        &mut self,
        step: &StepRecord<'_>,
        measures: bool,
        all: &mut TokenTimings,
        by_group: &mut [TokenTimings],
    ) {
        if !measures {
            self.warm = step.ended;
        }
        self.begin(step.step.index(), step.ended - step.latency);
        self.decode(step, measures, all, by_group);
        for chunk in &step.batch.chunks {
            let progress = &mut self.times[chunk.sequence];
            progress.prompt += chunk.tokens;
            if chunk.is_last {
                progress.first_token = Some(step.ended);
                (progress.decodes_from, progress.last) = (step.ended, step.ended);
                let group = self.of[chunk.sequence].group;
                if let Some(began) = progress.began.filter(|_| measures) {
                    self.tokens[group] += 1;
                    all.ttft.record(step.ended - began);
                    if let Some(of_group) = by_group.get_mut(group.index()) {
                        of_group.ttft.record(step.ended - began);
                    }
                }
            }
        }
    }

    /// The sequences that begin with `step` do so at `now`.
    fn begin(&mut self, step: usize, now: SimTime) {
        while let Some(&id) = self.by_start.get(self.begun)
            && self.of[id].start <= step
        {
            self.begun += 1;
            let given = if self.timed { 0 } else { self.of[id].prefill };
            self.times[id] =
                Progress { began: Some(now), prompt: given, decodes_from: now, last: now, ..Progress::default() };
        }
    }

    /// A token of each sequence that `step` decodes.
    fn decode(&mut self, step: &StepRecord<'_>, measures: bool, all: &mut TokenTimings, by_group: &mut [TokenTimings]) {
        if step.batch.decoding.is_empty() {
            return;
        }
        let end = self.decoding_ends.len();
        self.decoding_ends.push(step.ended);
        let mut alike: Option<Alike> = None;
        for id in &step.batch.decoding {
            let (progress, group) = (&mut self.times[*id], self.of[*id].group);
            let time = step.ended - progress.last;
            if progress.decoded == 0 {
                progress.first_end = end;
                progress.first_token.get_or_insert(step.ended);
            }
            debug_assert_eq!(progress.first_end + progress.decoded, end, "sequences decode without gaps");
            progress.decoded += 1;
            progress.last = step.ended;
            match &mut alike {
                Some(of) if (of.group, of.time) == (group, time) => of.count += 1,
                other => {
                    let before = other.replace(Alike { group, time, count: 1 });
                    before
                        .into_iter()
                        .filter(|_| measures)
                        .for_each(|of| self.tokens[of.group] += of.put(all, by_group));
                }
            }
        }
        alike.into_iter().filter(|_| measures).for_each(|of| self.tokens[of.group] += of.put(all, by_group));
    }

    /// The tokens that came out of measured steps.
    pub fn tokens(&self) -> u64 {
        self.tokens.iter().sum()
    }

    /// The figures of each group. Rates are over `seconds`, the time of the measured steps.
    pub fn summary(&self, seconds: f64, all: &TokenTimings, by_group: &[TokenTimings]) -> Vec<SequencesSummary> {
        let mut groups: Vec<SequencesSummary> = Vec::with_capacity(self.groups);
        for (id, of) in self.of.entries() {
            let finished = u64::from(self.times[id].decoded == of.decode);
            if let Some(group) = groups.get_mut(of.group.index()) {
                group.count += 1;
                group.finished += finished;
                continue;
            }
            let computed = (by_group.is_empty() && self.groups > 1).then(|| self.timings_of(of.group, id));
            let timings = by_group.get(of.group.index()).or(computed.as_ref()).unwrap_or(all);
            groups.push(SequencesSummary {
                count: 1,
                prefill_tokens: of.prefill as u64,
                decode_tokens: of.decode as u64,
                start_step: of.start as u64,
                finished,
                tokens_per_s: (seconds > 0.0).then(|| self.tokens[of.group] as f64 / seconds),
                tpot_ns: timings.tpot.distribution(),
                ttft_ns: timings.ttft.distribution(),
            });
        }
        groups
    }

    /// The distributions of a group, whose first sequence is `first`. O(tokens of the group).
    fn timings_of(&self, group: GroupId, first: SequenceId) -> TokenTimings {
        let mut timings = TokenTimings::default();
        let members = self.of.entries().skip(first.index()).take_while(|(_, of)| of.group == group);
        for (id, of) in members {
            let progress = &self.times[id];
            let mut last = progress.decodes_from;
            for end in &self.decoding_ends[progress.first_end..progress.first_end + progress.decoded] {
                let time = *end - std::mem::replace(&mut last, *end);
                if *end > self.warm {
                    timings.tpot.record(time);
                }
            }
            let first_token = progress.first_token.filter(|first| *first > self.warm);
            if let (Some(ttft), Some(_)) = (self.ttft(progress, of), first_token) {
                timings.ttft.record(ttft);
            }
        }
        timings
    }

    /// From the start of the step with which a sequence began to the end of its prompt, if that
    /// took time.
    fn ttft(&self, progress: &Progress, of: &Sequence) -> Option<SimTime> {
        progress.began.filter(|_| self.timed && of.prefill > 0).and_then(|began| Some(progress.first_token? - began))
    }

    /// A row of each sequence. O(tokens), of sequences that decode in the same steps once.
    pub fn rows(&self) -> Vec<SequenceRow> {
        let mut known: HashMap<(usize, usize, SimTime), (SimTime, SimTime)> = HashMap::new();
        let row = |(id, of): (SequenceId, &Sequence)| {
            let progress = &self.times[id];
            let steps = (progress.first_end, progress.decoded, progress.decodes_from);
            let tpot = (progress.decoded > 0).then(|| *known.entry(steps).or_insert_with(|| self.tpot(progress)));
            SequenceRow {
                of: *of,
                prompt: progress.prompt,
                decoded: progress.decoded,
                began: progress.began,
                first_token: progress.first_token,
                ended: (progress.decoded == of.decode).then_some(progress.last),
                ttft: self.ttft(progress, of),
                tpot_mean_ps: tpot.map(|_| mean_ps(progress.last - progress.decodes_from, progress.decoded)),
                tpot_p99: tpot.map(|(p99, _)| p99),
                tpot_max: tpot.map(|(_, max)| max),
            }
        };
        self.of.entries().map(row).collect()
    }

    /// The 99th percentile and the greatest of a sequence's TPOT, of which there is at least one.
    fn tpot(&self, progress: &Progress) -> (SimTime, SimTime) {
        let mut last = progress.decodes_from;
        let ends = &self.decoding_ends[progress.first_end..progress.first_end + progress.decoded];
        let mut times: Vec<SimTime> = ends.iter().map(|end| *end - std::mem::replace(&mut last, *end)).collect();
        let rank = (times.len() * 99).div_ceil(100) - 1;
        let p99 = *times.select_nth_unstable(rank).1;
        (p99, times[rank..].iter().copied().max().unwrap_or(p99))
    }
}

fn mean_ps(sum: SimTime, count: usize) -> f64 {
    sum.as_ps() as f64 / count as f64
}

impl Alike {
    /// Adds the times to the distributions, and returns how many there are.
    fn put(self, all: &mut TokenTimings, by_group: &mut [TokenTimings]) -> u64 {
        all.tpot.record_n(self.time, self.count);
        if let Some(of) = by_group.get_mut(self.group.index()) {
            of.tpot.record_n(self.time, self.count);
        }
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::PerTier;
    use crate::units::{Bytes, Step};
    use crate::workload::{PerLabel, PrefillConfig, PrefillOrder, Schedule, Sequences, StepBatch, scheduled};
    use proptest::prelude::*;

    /// A recorder and its distributions, and what the slow twin keeps: every token's time.
    struct Watched {
        recorder: SequenceRecorder,
        all: TokenTimings,
        by_group: Vec<TokenTimings>,
        /// By sequence: its begin, and when each of its tokens came out with whether that step is
        /// measured; the first tokens of prompts apart.
        twin: Vec<Twin>,
    }

    #[derive(Clone, Default)]
    struct Twin {
        began: Option<SimTime>,
        prompt_ended: Option<(SimTime, bool)>,
        decoded: Vec<(SimTime, bool)>,
    }

    impl Twin {
        /// Every TPOT, with whether it is measured.
        fn tpot(&self) -> Vec<(SimTime, bool)> {
            let mut last = self.prompt_ended.map(|(time, _)| time).or(self.began);
            let gap = |(time, measured): &(SimTime, bool)| (*time - last.replace(*time).unwrap(), *measured);
            self.decoded.iter().map(gap).collect()
        }

        fn ttft(&self) -> Option<(SimTime, bool)> {
            self.prompt_ended.map(|(time, measured)| (time - self.began.unwrap(), measured))
        }
    }

    /// Runs the schedule of `sequences` with steps of these picoseconds, again and again, the first
    /// `warmup` of which are not measured.
    fn watch(sequences: &Sequences, latencies: &[u64], warmup: usize, stop: usize) -> Watched {
        let timed = !sequences.prefill().is_given();
        let recorder = SequenceRecorder::new(sequences.all().clone(), sequences.groups(), timed, 4);
        let by_group = crate::metrics::Histograms::of_groups(recorder.groups()).groups;
        let twin = vec![Twin::default(); sequences.count()];
        let mut watched = Watched { recorder, all: TokenTimings::default(), by_group, twin };
        let (mut schedule, mut now) = (Schedule::new(sequences), SimTime::ZERO);
        for step in 0..stop {
            let Some(batch) = schedule.next_step().cloned() else { break };
            let began = now;
            now += SimTime::from_ps(latencies[step % latencies.len()]);
            let measured = step >= warmup;
            for (id, _) in sequences.all().entries().filter(|(_, of)| of.start == step) {
                watched.twin[id.index()].began = Some(began);
            }
            batch.decoding.iter().for_each(|id| watched.twin[id.index()].decoded.push((now, measured)));
            for chunk in batch.chunks.iter().filter(|chunk| chunk.is_last) {
                watched.twin[chunk.sequence.index()].prompt_ended = Some((now, measured));
            }
            let (read, used) =
                (PerLabel::from_fn(|_| PerTier::filled(1, Bytes::ZERO)), PerTier::filled(1, Bytes::ZERO));
            let record = record(&batch, step, now - began, now, &read, &used);
            watched.recorder.step(&record, measured, &mut watched.all, &mut watched.by_group);
        }
        watched
    }

    fn record<'a>(
        batch: &'a StepBatch,
        step: usize,
        latency: SimTime,
        ended: SimTime,
        read: &'a PerLabel<PerTier<Bytes>>,
        used: &'a PerTier<Bytes>,
    ) -> StepRecord<'a> {
        let (step, none) = (Step::new(step), Bytes::ZERO);
        StepRecord {
            step,
            context: 0,
            batch,
            read_kv_tokens: 0,
            read_beyond: none,
            latency,
            ended,
            bound: latency,
            read,
            used,
            migrated_in: none,
            migrated_out: none,
            late_tokens: 0,
            kv_hits: crate::simulation::Hits::default(),
            prefetched: crate::simulation::Prefetched::default(),
            experts: None,
        }
    }

    /// Two sequences whose steps take 10, 20, 30, ... ps.
    #[test]
    fn two_sequences_by_hand() {
        let ps = SimTime::from_ps;
        let latencies = [10, 20, 30, 40, 50, 60];
        // A: steps 0, 1, 2. B begins with step 1: steps 1, 2, 3.
        let given = scheduled(&[(1, 7, 3, 0), (1, 9, 3, 1)], PrefillConfig::Given).unwrap();
        let watched = watch(&given, &latencies, 0, 9);
        let rows = watched.recorder.rows();
        let (a, b) = (rows[0], rows[1]);
        assert_eq!((a.began, a.first_token, a.ended, a.ttft), (Some(ps(0)), Some(ps(10)), Some(ps(60)), None));
        assert_eq!((b.began, b.first_token, b.ended, b.ttft), (Some(ps(10)), Some(ps(30)), Some(ps(100)), None));
        assert_eq!((a.tpot_mean_ps, b.tpot_mean_ps), (Some(20.0), Some(30.0)));
        assert_eq!((b.prompt, b.decoded, b.tpot_max, b.tpot_p99), (9, 3, Some(ps(40)), Some(ps(40))));
        assert_eq!((watched.all.tpot.count(), watched.all.tpot.sum_ps(), watched.recorder.tokens()), (6, 150, 6));

        // Prompts of 4 tokens a step, before others decode. A computes in step 0, decodes in step
        // 1, waits while B computes in steps 2 and 3, and decodes beside it in step 4.
        let first = PrefillConfig::Timed { chunk_tokens: 4, order: PrefillOrder::First };
        let timed = scheduled(&[(1, 4, 2, 0), (1, 6, 1, 2)], first).unwrap();
        let watched = watch(&timed, &latencies, 0, 9);
        let rows = watched.recorder.rows();
        assert_eq!((rows[0].ttft, rows[1].ttft), (Some(ps(10)), Some(ps(70))));
        assert_eq!((rows[0].tpot_max, rows[0].tpot_mean_ps), (Some(ps(120)), Some(70.0)));
        assert_eq!((rows[1].tpot_max, rows[1].ended, rows[1].prompt), (Some(ps(50)), Some(ps(150)), 6));
        assert_eq!(watched.recorder.tokens(), 5, "three that are decoded, and two that end prompts");
        // Without the first two steps: A's last token, and B's two.
        let warm = watch(&timed, &latencies, 2, 9);
        assert_eq!((warm.recorder.tokens(), warm.all.tpot.sum_ps(), warm.all.ttft.sum_ps()), (3, 170, 70));
        assert_eq!(warm.recorder.rows(), rows);
        let summary = warm.recorder.summary(2.0, &warm.all, &warm.by_group);
        assert_eq!((summary[0].tokens_per_s, summary[1].tokens_per_s), (Some(0.5), Some(1.0)));
    }

    /// The distribution has exactly these times, and percentiles to 3 digits.
    fn same(timings: &Timings, mut times: Vec<u64>) -> Result<(), TestCaseError> {
        times.sort_unstable();
        prop_assert_eq!(
            (timings.count(), timings.sum_ps()),
            (times.len() as u64, times.iter().map(|t| u128::from(*t)).sum())
        );
        let mut own = Timings::default();
        times.iter().for_each(|time| own.record(SimTime::from_ps(*time)));
        prop_assert_eq!(timings.distribution(), own.distribution());
        Ok(())
    }

    proptest! {
        /// Against a twin that keeps every token's time: random groups, given prompts and timed
        /// ones of both orders, runs that stop early.
        #[test]
        fn times_are_those_of_every_token(
            groups in prop::collection::vec((1u32..4, 0u32..20, 1u32..9, 0u32..12), 1..5),
            latencies in prop::collection::vec(1u64..5_000_000, 1..7),
            chunk_tokens in 1u32..12,
            kind in 0..3,
            warmup in 0usize..6,
            stop in prop_oneof![Just(usize::MAX), 1usize..30],
        ) {
            let prefill = match kind {
                0 => PrefillConfig::Given,
                1 => PrefillConfig::Timed { chunk_tokens, order: PrefillOrder::Mixed },
                _ => PrefillConfig::Timed { chunk_tokens, order: PrefillOrder::First },
            };
            let Some(sequences) = scheduled(&groups, prefill) else { return Ok(()) };
            let Watched { recorder, all, by_group, twin } = watch(&sequences, &latencies, warmup, stop);
            let measured = |times: Vec<(SimTime, bool)>| {
                times.into_iter().filter(|(_, measured)| *measured).map(|(time, _)| time.as_ps()).collect::<Vec<u64>>()
            };
            let every = sequences.all();
            let of = |group: Option<usize>| {
                let within = move |(id, _): &(usize, &Twin)| {
                    group.is_none_or(|group| every[SequenceId::new(*id)].group.index() == group)
                };
                let twins: Vec<&Twin> = twin.iter().enumerate().filter(within).map(|(_, twin)| twin).collect();
                let tpot: Vec<u64> = twins.iter().flat_map(|twin| measured(twin.tpot())).collect();
                let ttft: Vec<u64> = twins.iter().flat_map(|twin| measured(twin.ttft().into_iter().collect())).collect();
                (tpot, ttft)
            };
            let (tpot, ttft) = of(None);
            let tokens = tpot.len() + ttft.len();
            prop_assert_eq!(recorder.tokens(), tokens as u64);
            same(&all.tpot, tpot)?;
            same(&all.ttft, ttft)?;
            let summary = recorder.summary(1.0, &all, &by_group);
            prop_assert_eq!(summary.len(), groups.len());
            prop_assert_eq!(by_group.len(), if groups.len() > 1 { groups.len() } else { 0 });
            for (group, figures) in summary.iter().enumerate() {
                let (tpot, ttft) = of(Some(group));
                prop_assert_eq!(figures.tokens_per_s, Some((tpot.len() + ttft.len()) as f64));
                let (first, _) = every.entries().find(|(_, of)| of.group.index() == group).unwrap();
                let computed = recorder.timings_of(every[first].group, first);
                same(&computed.tpot, tpot.clone())?;
                same(&computed.ttft, ttft.clone())?;
                if let Some(timings) = by_group.get(group) {
                    same(&timings.tpot, tpot)?;
                    same(&timings.ttft, ttft)?;
                    prop_assert_eq!(figures.tpot_ns, timings.tpot.distribution());
                }
            }
            for ((row, twin), of) in recorder.rows().iter().zip(&twin).zip(every.iter()) {
                let mut tpot: Vec<SimTime> = twin.tpot().iter().map(|(time, _)| *time).collect();
                tpot.sort_unstable();
                prop_assert_eq!((row.decoded, row.began), (twin.decoded.len(), twin.began));
                let ended = (twin.decoded.len() == of.decode).then(|| twin.decoded[of.decode - 1].0);
                prop_assert_eq!(row.ended, ended);
                prop_assert_eq!(row.ttft, twin.ttft().map(|(time, _)| time));
                let first = twin.prompt_ended.or(twin.decoded.first().copied());
                prop_assert_eq!(row.first_token, first.map(|(time, _)| time));
                prop_assert_eq!(row.tpot_max, tpot.last().copied());
                let p99 = (!tpot.is_empty()).then(|| tpot[(tpot.len() as f64 * 0.99).ceil() as usize - 1]);
                prop_assert_eq!(row.tpot_p99, p99);
                let sum: u64 = tpot.iter().map(|time| time.as_ps()).sum();
                prop_assert_eq!(row.tpot_mean_ps, (!tpot.is_empty()).then(|| sum as f64 / tpot.len() as f64));
            }
        }
    }
}
