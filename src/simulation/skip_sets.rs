//! The skip sets of a scenario, and what they say before it is run: how much is read, the layout
//! that the bound of the first step uses, the bound that pays for what must move.
//!
//! A stream of skip sets goes once from the first step to the last. Each call of
//! [`Scenario::skips`] opens a new one: a run has its own, unless it has been given stored sets.

use super::scenario::Scenario;
use crate::catalog::open_trace;
use crate::strategy::{AsBound, BoundKind, KvLoad};
use crate::units::{PageSize, RegionId, SimTime};
use crate::workload::{
    Demand, FittedTrace, RecordedConfig, Shape, SkipSource, StoredSkips, TraceConfig, TraceError, TraceWindow,
};
use std::sync::Arc;

impl Scenario {
    /// The layout that the bound of the first step uses.
    ///
    /// # Errors
    /// [`TraceError`] if the first step of a recorded trace cannot be read.
    pub fn layout_of_bound(&self) -> Result<AsBound, TraceError> {
        let shape = self.shape();
        let window = self.window()?;
        let skips = window.step(0).expect("a scenario has at least one step");
        let pages = shape.pages(shape.prefill);
        let missing = pages * shape.page_size.tokens() - shape.prefill;
        let active = skips.counts.iter().zip(&skips.sets).map(|(skipped, set)| {
            let tokens = (pages - skipped) * shape.page_size.tokens();
            if tokens > 0 && !set.contains(pages - 1) { tokens - missing } else { tokens }
        });
        let gone = |region| window.skipped(0, region).map_or(0, |skipped| skipped.gone * shape.page_size.tokens());
        let stored = RegionId::all(shape.layers).map(|region| shape.prefill - gone(region));
        let load = KvLoad { stored: stored.collect(), read: active.collect() };
        Ok(AsBound::new(self.step_bound().reads(&load), skips))
    }

    /// The share of the tokens that the first steps read, between 0 and 1: what the `skip` of a
    /// generator leaves, or measured over the first [`MEASURED_STEPS`](Self::MEASURED_STEPS) steps
    /// of a recorded trace. Of pages of several tokens, and of tokens in attention windows, it is
    /// measured in any case.
    ///
    /// # Errors
    /// [`TraceError`] if these steps cannot be read.
    pub fn read_share(&self) -> Result<f64, TraceError> {
        let shape = self.shape();
        let steps = Self::MEASURED_STEPS.min(shape.decode);
        let slides = self.regions().windows().any(|window| window < shape.prefill + steps);
        let counts_as_written = shape.page_size == PageSize::TOKEN && !slides;
        match &self.resolved.trace {
            TraceConfig::Generated(generator) if counts_as_written => Ok(1.0 - generator.skip.as_f64()),
            TraceConfig::Lifelike(generator) if counts_as_written => Ok(1.0 - generator.skip.as_f64()),
            _ => self.measured_read_share(steps),
        }
    }

    fn measured_read_share(&self, steps: usize) -> Result<f64, TraceError> {
        let shape = self.shape();
        let mut window = self.window()?;
        let (mut read, mut all) = (0, 0);
        for step in 0..steps {
            let pages = shape.pages(shape.prefill + step);
            for skipped in RegionId::all(shape.layers).map_while(|region| window.skipped(0, region)) {
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
        bound.of(|| self.skips(), self.shape()).map(|(charged, _)| Some(charged))
    }

    /// A fresh stream of this scenario's skip sets.
    ///
    /// # Errors
    /// [`TraceError`] if a recorded trace can no longer be opened.
    pub fn skips(&self) -> Result<Box<dyn SkipSource + Send>, TraceError> {
        if let Some(stored) = &self.stored {
            return Ok(stored.stream());
        }
        let trace = &self.resolved.trace;
        Ok(match (trace.synthetic(self.model.layers(), self.prefill(), self.decode())?, trace) {
            (None, TraceConfig::Recorded(recorded)) => Box::new(self.fitted(recorded)?),
            (synthetic, _) => synthetic.expect("every other trace is synthetic"),
        })
    }

    /// The skip sets of the first step, by KV region, to be advanced from step to step.
    fn window(&self) -> Result<TraceWindow, TraceError> {
        TraceWindow::sliding(self.skips()?, self.shape(), self.regions().windows().collect(), 0)
    }

    /// Whether the skip sets of `other` are the same, whatever else differs.
    #[must_use]
    pub fn shares_skips(&self, other: &Self) -> bool {
        let of = |scenario: &Self| (scenario.model.layers(), scenario.prefill(), scenario.decode());
        of(self) == of(other) && self.resolved.trace == other.resolved.trace
    }

    /// The skip sets of this scenario in memory, for all scenarios that share them.
    ///
    /// # Errors
    /// [`TraceError`] if the trace cannot be read to its end.
    pub fn store_skips(&self) -> Result<StoredSkips, TraceError> {
        let Shape { layers, prefill, decode, .. } = self.shape();
        StoredSkips::of(&mut *self.skips()?, layers, prefill, decode)
    }

    /// The same with `stored` skip sets, which must be those of a scenario with this trace,
    /// prefill, decode and layers.
    #[must_use]
    pub fn with_stored_skips(mut self, stored: Arc<StoredSkips>) -> Self {
        self.stored = Some(stored);
        self
    }

    /// The recorded trace that `recorded` names, from its first step on.
    pub(super) fn fitted(&self, recorded: &RecordedConfig) -> Result<FittedTrace, TraceError> {
        let file = recorded.file.clone();
        let demand = Demand { model: &self.model, prefill: self.prefill(), decode: self.decode() };
        FittedTrace::new(move || open_trace(&file), recorded, demand)
    }
}
