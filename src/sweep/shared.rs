//! Work that several cells share: skip sets, and generators fitted to a recorded trace.

use crate::simulation::{Scenario, ScenarioConfig, StoredSequences};
use crate::units::Bytes;
use crate::workload::TraceConfig;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A slot that the first thread fills, while the others wait for it.
type Place<T> = Arc<OnceLock<T>>;

pub(super) struct Shared {
    /// The memory that skip sets may take.
    room: Bytes,
    /// By trace and shape; the latest use of each.
    skips: Mutex<(u64, HashMap<String, Skips>)>,
    traces: Mutex<HashMap<String, Place<TraceConfig>>>,
}

struct Skips {
    /// `None` where the trace cannot be read to its end; each run reports that error itself.
    place: Place<Option<Arc<StoredSequences>>>,
    bytes: Bytes,
    used: u64,
}

impl Skips {
    /// Whether no run uses the skip sets or is about to. A thread takes the slot under the lock of
    /// the map.
    fn is_unused(&self) -> bool {
        let by_a_run =
            |stored: &Option<Arc<StoredSequences>>| stored.as_ref().is_some_and(|stored| Arc::strong_count(stored) > 1);
        Arc::strong_count(&self.place) == 1 && !self.place.get().is_some_and(by_a_run)
    }
}

impl Shared {
    pub fn new(room: Bytes) -> Self {
        Self { room, skips: Mutex::new((0, HashMap::new())), traces: Mutex::new(HashMap::new()) }
    }

    /// The work that is done once for all scenarios with the same trace, model, prefill and decode:
    /// the generator fitted to the recorded trace. `None` where there is none.
    pub fn fitted(&self, config: &ScenarioConfig) -> Option<Place<TraceConfig>> {
        let TraceConfig::Recorded(_) = &config.trace else { return None };
        let parts = (&config.trace, &config.model, config.prefill_tokens, config.decode_tokens);
        let key = serde_json::to_string(&parts).ok()?;
        Some(lock(&self.traces).entry(key).or_default().clone())
    }

    /// `scenario` with its skip sets from memory, if there is room for them.
    pub fn with_skips(&self, scenario: Scenario) -> Scenario {
        if scenario.requests().is_some() {
            return scenario;
        }
        let bytes = scenario.skips_bytes();
        let config = scenario.resolved();
        let of_sequences = (&config.trace, config.batch, &config.sequences);
        let Ok(skips) = serde_json::to_string(&of_sequences) else { return scenario };
        if bytes > self.room {
            return scenario;
        }
        let groups = scenario.model().kv_groups();
        let (layers, prefill, decode) = (scenario.model().kv_regions(), scenario.prefill(), scenario.decode());
        let Some(place) = self.place(format!("{layers} {groups:?} {prefill} {decode} {skips}"), bytes) else {
            return scenario;
        };
        match place.get_or_init(|| scenario.store_skips().ok().map(Arc::new)) {
            Some(stored) => scenario.with_stored_skips(Arc::clone(stored)),
            None => scenario,
        }
    }

    /// The slot of those skip sets. The least recently used skip sets that no run uses are evicted
    /// to make room. `None` where that is not enough.
    fn place(&self, key: String, bytes: Bytes) -> Option<Place<Option<Arc<StoredSequences>>>> {
        let mut skips = lock(&self.skips);
        let (now, known) = &mut *skips;
        *now += 1;
        if let Some(found) = known.get_mut(&key) {
            found.used = *now;
            return Some(found.place.clone());
        }
        while known.values().map(|skips| skips.bytes).sum::<Bytes>() + bytes > self.room {
            let unused = known.iter().filter(|(_, skips)| skips.is_unused());
            let oldest = unused.min_by_key(|(_, skips)| skips.used).map(|(key, _)| key.clone())?;
            known.remove(&oldest);
        }
        let place = Place::default();
        known.insert(key, Skips { place: place.clone(), bytes, used: *now });
        Some(place)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A cell that panicked left no partial state here.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::StoredSkips;

    #[test]
    fn skip_sets_are_made_once_and_the_oldest_make_room() {
        let scenario = |decode: u32| {
            let mut config = ScenarioConfig { decode_tokens: decode, ..ScenarioConfig::load("study").unwrap() };
            let skip = crate::units::Ratio::from_permille(400).unwrap();
            config.trace = TraceConfig::Generated(crate::workload::GeneratorConfig { skip, ..Default::default() });
            Scenario::new(config).unwrap()
        };
        let bytes = |decode: usize| StoredSkips::bytes(32, 1024, decode);
        let shared = Shared::new(bytes(10) + bytes(11));
        let held = |shared: &Shared| lock(&shared.skips).1.len();
        shared.with_skips(scenario(10));
        shared.with_skips(scenario(10));
        assert_eq!(held(&shared), 1);
        shared.with_skips(scenario(11));
        shared.with_skips(scenario(10));
        assert_eq!(held(&shared), 2);
        shared.with_skips(scenario(9));
        // Of 10 and 11, 11 was not used for longer.
        assert!(lock(&shared.skips).1.keys().all(|key| !key.starts_with("32 1024 11 ")));
        // Skip sets in use stay; other runs stream theirs meanwhile.
        let (one, two) = (shared.with_skips(scenario(10)), shared.with_skips(scenario(9)));
        shared.with_skips(scenario(12));
        assert!(lock(&shared.skips).1.keys().all(|key| !key.starts_with("32 1024 12 ")));
        drop((one, two));
        // Skip sets larger than the limit are streamed.
        shared.with_skips(scenario(1000));
        assert_eq!(held(&shared), 2);
    }
}
