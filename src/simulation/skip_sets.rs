//! The skip sets of a scenario, and what they say before it is run: how much is read, the layout
//! that the bound of the first step uses, the bound that pays for what must move.
//!
//! A stream of skip sets goes once from the first step to the last. Each call of
//! [`Scenario::skips`] opens a new one: a run has its own, unless it has been given stored sets.

use super::scenario::{Scenario, StoredSequences};
use crate::catalog::open_trace;
use crate::strategy::{AsBound, BoundKind, KvLoad};
use crate::units::{Bytes, PageSize, RegionId, SequenceId, SimTime, Table};
use crate::workload::{
    Demand, FittedTrace, OfGroups, RecordedConfig, Sequence, SequenceSkips, Shape, SkipSource, StepSkips, StoredSkips,
    TokenSet, TraceConfig, TraceError, TraceWindow, routings, unread,
};
use std::sync::Arc;

impl Scenario {
    /// The layout that the bound of the first step uses.
    ///
    /// # Errors
    /// [`TraceError`] if the first step of a recorded trace cannot be read.
    pub fn layout_of_bound(&self) -> Result<AsBound, TraceError> {
        let (size, regions) = (self.page_size(), self.regions());
        let mut all = StepSkips { sets: Vec::new(), counts: Vec::new() };
        let mut load = KvLoad { stored: Table::new(), read: Table::new() };
        let lengths = regions.lengths().step_by(regions.per_sequence().max(1));
        for (sequence, lengths) in SequenceId::all(self.sequences.count()).zip(lengths) {
            let shape = self.shape_of(&self.sequences.all()[sequence]);
            let window = self.window(sequence)?;
            let skips = window.step(0).expect("a sequence decodes at least one token");
            let is_there = lengths.at_start > 0;
            let pages = shape.pages(lengths.at_start);
            let missing = pages * size.tokens() - lengths.at_start;
            for (layer, set) in skips.sets.iter().enumerate() {
                let skipped = if is_there { skips.counts[layer] } else { 0 };
                let tokens = (pages - skipped) * size.tokens();
                let last_is_read = tokens > 0 && !set.contains(pages - 1);
                let gone = window.skipped(0, RegionId::new(layer)).map_or(0, |skipped| skipped.gone);
                let gone = if is_there { gone * size.tokens() } else { 0 };
                load.stored.push(lengths.at_start - gone);
                load.read.push(if last_is_read { tokens - missing } else { tokens });
                all.sets.push(if skipped > 0 { set.clone() } else { TokenSet::new(0) });
                all.counts.push(skipped);
            }
        }
        if let Some(mut source) = self.routing()? {
            let mut unread = unread(&routings(&self.model));
            source.next_step(self.sequences.count(), &mut unread)?;
            for (lengths, unread) in regions.lengths().skip(regions.kv_len()).zip(&unread.counts) {
                load.stored.push(lengths.at_start);
                load.read.push(lengths.at_start - unread);
            }
        }
        Ok(AsBound::new(self.step_bound().reads(&load), &all))
    }

    /// The share of the tokens that the first steps read, between 0 and 1: what the `skip` of a
    /// generator leaves, or measured over the first [`MEASURED_STEPS`](Self::MEASURED_STEPS) steps
    /// of a recorded trace. Of pages of several tokens, and of tokens in attention windows, it is
    /// measured in any case. Of several sequences it is the mean, by their tokens.
    ///
    /// # Errors
    /// [`TraceError`] if these steps cannot be read.
    pub fn read_share(&self) -> Result<f64, TraceError> {
        // Sequences of a group read the same share, but for chance: the first stands for all.
        let (mut read, mut all) = (0.0, 0.0);
        for (id, sequence) in self.sequences.all().entries().filter(|(_, sequence)| sequence.place == 0) {
            let of_group = self.sequences.all().iter().filter(|other| other.group == sequence.group).count();
            let weight = (of_group * (sequence.prefill + sequence.decode)) as f64;
            read += weight * self.read_share_of(id)?;
            all += weight;
        }
        Ok(if self.sequences.groups() == 1 { self.read_share_of(SequenceId::new(0))? } else { read / all })
    }

    fn read_share_of(&self, id: SequenceId) -> Result<f64, TraceError> {
        let shape = self.shape_of(&self.sequences.all()[id]);
        let steps = Self::MEASURED_STEPS.min(shape.decode);
        let slides = self.regions().windows().any(|window| window < shape.prefill + steps);
        let counts_as_written = shape.page_size == PageSize::TOKEN && !slides;
        match self.sequences.trace(id) {
            TraceConfig::Generated(generator) if counts_as_written => Ok(1.0 - generator.skip.as_f64()),
            TraceConfig::Lifelike(generator) if counts_as_written && generator.read.is_none() => {
                Ok(1.0 - generator.skip.as_f64())
            }
            _ => self.measured_read_share(id, steps),
        }
    }

    fn measured_read_share(&self, id: SequenceId, steps: usize) -> Result<f64, TraceError> {
        let shape = self.shape_of(&self.sequences.all()[id]);
        let mut window = self.window(id)?;
        let (mut read, mut all) = (0, 0);
        for step in 0..steps {
            let pages = shape.pages(shape.prefill + step);
            for layer in RegionId::all(shape.layers) {
                let Some(skipped) = window.skipped(0, layer) else { break };
                all += pages - skipped.gone;
                read += pages - skipped.count;
            }
            window.advance()?;
        }
        Ok(if all > 0 { read as f64 / all as f64 } else { 1.0 })
    }

    /// The bound of the run as a whole that pays for what must move, if the scenario asks for it.
    ///
    /// # Errors
    /// [`TraceError`] if a recorded trace cannot be read.
    pub fn charged_bound(&self) -> Result<Option<SimTime>, TraceError> {
        if self.resolved.bound == BoundKind::Free {
            return Ok(None);
        }
        let Ok(mut bound) = self.charged() else { return Ok(None) };
        let streams = || self.sequences.all().ids().map(|id| self.stream_of(id)).collect();
        bound.of(streams, self.steps()).map(|(charged, _)| Some(charged))
    }

    /// A fresh stream of the skip sets of the first sequence.
    ///
    /// # Errors
    /// [`TraceError`] if a recorded trace can no longer be opened.
    pub fn skips(&self) -> Result<Box<dyn SkipSource + Send>, TraceError> {
        self.stream_of(SequenceId::new(0))
    }

    /// Fresh streams of the skip sets of all sequences: none where nothing is ever skipped.
    ///
    /// # Errors
    /// [`TraceError`] if a recorded trace can no longer be opened.
    pub fn all_skips(&self) -> Result<Vec<SequenceSkips>, TraceError> {
        let of = |id: SequenceId| {
            let is_stored = self.stored.as_ref().is_some_and(|stored| stored[id].is_some());
            let skips = is_stored || !self.sequences.trace_of(self.sequences.all()[id].group).skips_nothing();
            skips.then(|| self.stream_of(id)).transpose()
        };
        SequenceId::all(self.sequences.count()).map(of).collect()
    }

    /// A fresh stream of the skip sets of a sequence.
    fn stream_of(&self, id: SequenceId) -> Result<Box<dyn SkipSource + Send>, TraceError> {
        if let Some(stored) = self.stored.as_ref().and_then(|stored| stored.get(id)?.as_ref()) {
            return Ok(stored.stream());
        }
        let Sequence { prefill, decode, .. } = self.sequences.all()[id];
        let trace = self.sequences.trace(id);
        let (layers, range) = (self.model.layers(), prefill + decode);
        let source: Box<dyn SkipSource + Send> = match (trace.synthetic(layers, prefill, decode)?, &trace) {
            (None, TraceConfig::Recorded(recorded)) => Box::new(self.fitted(recorded, prefill, decode)?),
            (synthetic, _) => synthetic.expect("every other trace is synthetic"),
        };
        Ok(match self.model.groups() {
            1 => source,
            groups => Box::new(OfGroups::new(source, self.model.kv_groups(), layers, groups, 1, range)),
        })
    }

    /// The skip sets of the first step of a sequence, by layer, to be advanced from step to step.
    fn window(&self, id: SequenceId) -> Result<TraceWindow, TraceError> {
        let shape = self.shape_of(&self.sequences.all()[id]);
        let sliding = self.regions().windows().take(shape.layers).collect();
        TraceWindow::sliding(self.stream_of(id)?, shape, sliding, 0)
    }

    /// Whether the skip sets of `other` are the same, whatever else differs. Runs that serve
    /// requests have none.
    #[must_use]
    pub fn shares_skips(&self, other: &Self) -> bool {
        let serves = self.requests().is_some() || other.requests().is_some();
        !serves
            && self.model.layers() == other.model.layers()
            && self.model.kv_groups() == other.model.kv_groups()
            && self.model.groups() == other.model.groups()
            && self.sequences == other.sequences
    }

    /// The memory that the skip sets of this scenario take.
    #[must_use]
    pub fn skips_bytes(&self) -> Bytes {
        let of = |sequence: &Sequence| {
            let skips = !self.sequences.trace_of(sequence.group).skips_nothing();
            let bytes = || StoredSkips::bytes(self.model.kv_regions(), sequence.prefill, sequence.decode);
            if skips { bytes() } else { Bytes::ZERO }
        };
        self.sequences.all().iter().map(of).sum()
    }

    /// The skip sets of this scenario in memory, for all scenarios that share them.
    ///
    /// # Errors
    /// [`TraceError`] if the trace cannot be read to its end.
    pub fn store_skips(&self) -> Result<StoredSequences, TraceError> {
        let of = |id: SequenceId| {
            let Shape { layers, prefill, decode, .. } = self.shape_of(&self.sequences.all()[id]);
            if self.sequences.trace_of(self.sequences.all()[id].group).skips_nothing() {
                return Ok(None);
            }
            StoredSkips::of(&mut *self.stream_of(id)?, layers, prefill, decode).map(|stored| Some(Arc::new(stored)))
        };
        SequenceId::all(self.sequences.count()).map(of).collect()
    }

    /// The same with `stored` skip sets, which must be those of a scenario with these sequences and
    /// layers.
    #[must_use]
    pub fn with_stored_skips(mut self, stored: Arc<StoredSequences>) -> Self {
        self.stored = Some(stored);
        self
    }

    /// The recorded trace that `recorded` names, from its first step on, for a sequence of these
    /// lengths.
    pub(super) fn fitted(
        &self,
        recorded: &RecordedConfig,
        prefill: usize,
        decode: usize,
    ) -> Result<FittedTrace, TraceError> {
        let file = recorded.file.clone();
        let demand = Demand { model: &self.model, prefill, decode };
        FittedTrace::new(move || open_trace(&file), recorded, demand)
    }
}
