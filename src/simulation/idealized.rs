//! What it takes to idealize a scenario: to change its configuration so that a run is free of one
//! cause of loss.

use super::idealization::{Ideal, Idealization};
use super::refused::ScenarioError;
use super::scenario::Scenario;
use super::size::stored_kv;
use crate::config::Reference;
use crate::memory::{Interleaving, MemoryConfig};
use crate::strategy::MigrationKind;
use crate::units::{Bytes, PageSize, SimTime};
use crate::workload::{Merge, RuntimeConfig, Sequence};

impl Scenario {
    /// The same, free of the causes of loss in `idealization` besides those that it is free of
    /// already. Its [`resolved`](Self::resolved) input is changed where a configuration can say so;
    /// [`idealization`](Self::idealization) has all.
    ///
    /// # Errors
    /// [`ScenarioError`], as [`new`](Self::new).
    pub fn idealized(&self, idealization: Idealization) -> Result<Self, ScenarioError> {
        let mut config = self.resolved.clone();
        let ideals = || Ideal::ALL.into_iter().filter(|ideal| idealization.has(*ideal));
        if let Reference::Inline(memory) = &mut config.memory {
            ideals().for_each(|ideal| self.idealize_memory(memory, ideal));
        }
        if let Reference::Inline(runtime) = &mut config.runtime {
            if idealization.has(Ideal::NoFixedTimes) {
                *runtime = runtime.without_fixed_times();
            }
            if idealization.has(Ideal::FullReach) {
                runtime.reaches.clear();
                runtime.interference.clear();
                runtime.amplification.clear();
            }
            if idealization.has(Ideal::TiersAtOnce) {
                *runtime = runtime.with_tiers_at_once();
            }
            if idealization.has(Ideal::DirectReads) {
                *runtime = runtime.with_all_at_once();
            }
        }
        if idealization.has(Ideal::SingleTokens) {
            config.page_tokens = 1;
        }
        let mut scenario = Self::new(config)?;
        scenario.idealization = ideals().fold(self.idealization, Idealization::with);
        if scenario.idealization.has(Ideal::NoLosses) {
            scenario.memory = scenario.memory.without_losses();
        }
        Ok(scenario)
    }

    fn idealize_memory(&self, memory: &mut MemoryConfig, ideal: Ideal) {
        for (index, tier) in memory.tiers.iter_mut().enumerate() {
            match ideal {
                Ideal::NoLimits => {
                    (tier.transfer_cap, tier.max_transfers, tier.outstanding) = (None, None, None);
                    if let Some(link) = tier.link_mut() {
                        (link.transfer_cap, link.max_transfers, link.outstanding) = (None, None, None);
                    }
                }
                Ideal::EvenChannels => tier.interleaving = Interleaving::Striped,
                Ideal::NoLatencies => {
                    tier.latency = SimTime::ZERO;
                    if let Some(link) = tier.link_mut() {
                        link.latency = SimTime::ZERO;
                    }
                }
                Ideal::AmpleHbm if index == 0 => {
                    // Where ranks share it, room for all of them.
                    let ranks = if tier.shared_by_ranks { self.resolved.runtime.inline() } else { None };
                    let ranks = ranks.map_or(1, RuntimeConfig::rank_count);
                    tier.capacity = tier.capacity.max(self.stored_at_the_end().times(ranks.into()));
                }
                _ => {}
            }
        }
    }

    /// What weights, KV and state of all sequences occupy at their ends, once.
    pub(super) fn stored_at_the_end(&self) -> Bytes {
        let of = |sequence: &Sequence| {
            stored_kv(&self.model, (sequence.prefill + sequence.decode) as u64, self.resolved.page_tokens)
        };
        let kv: u128 = self.sequences.all().iter().map(of).sum();
        // Sizes are checked: all of a run's bytes fit a `u64`.
        self.model.stored_weights() + Bytes::new(u64::try_from(kv).unwrap_or(u64::MAX / 4))
    }

    /// Whether idealizing `ideal` can make a difference to this scenario.
    #[must_use]
    pub fn is_affected_by(&self, ideal: Ideal) -> bool {
        let memory = &self.memory;
        let has_kv = self.model.token_bytes() > Bytes::ZERO;
        let has_state = self.model.kv().iter().any(|kv| kv.state > Bytes::ZERO);
        match ideal {
            Ideal::FreeMigration => self.strategy().migration != MigrationKind::None && memory.tiers().len() > 1,
            Ideal::FreeWrites => has_kv || has_state,
            Ideal::NoLosses => memory.lanes().iter().any(|lane| lane.efficiency.is_some()),
            Ideal::NoLimits => memory
                .lanes()
                .iter()
                .any(|lane| lane.transfer_cap.is_some() || lane.max_transfers.is_some() || lane.window.is_some()),
            Ideal::EvenChannels => memory.tiers().iter().any(|tier| tier.interleaving != Interleaving::Striped),
            Ideal::NoLatencies => memory.tiers().iter().any(|tier| tier.latency > SimTime::ZERO),
            Ideal::NoFixedTimes => self.runtime().has_fixed_times(),
            Ideal::FullReach => {
                let runtime = self.runtime();
                runtime.tiers_with_reaches().next().is_some()
                    || runtime.amplifies()
                    || !runtime.interference().is_empty()
            }
            Ideal::TiersAtOnce => !self.runtime().computes().is_empty(),
            Ideal::DirectReads => {
                let runtime = self.runtime();
                let in_turn = runtime.computes().iter().any(|of| of.merge == Merge::Serial);
                in_turn || runtime.serial_tiers().chain(runtime.staged_tiers()).next().is_some()
            }
            Ideal::BoundLayout => memory.tiers().len() > 1,
            Ideal::AmpleHbm => memory.tiers()[0].capacity < self.stored_at_the_end(),
            Ideal::SingleTokens => self.page_size() != PageSize::TOKEN && has_kv,
        }
    }
}
