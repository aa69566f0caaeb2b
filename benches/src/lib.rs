//! What the benches have in common: the runs and the traffic that they measure, and the loops that
//! they are compared with.

use multiversion::multiversion;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use tiersim::kernel::{Calendar, EventId};
use tiersim::memory::{Fabric, MemorySystem, Path, Pattern, Reach, Request, TierId, TransferClass, Urgency};
use tiersim::metrics::{Recorder, RunReport};
use tiersim::replay::carry;
use tiersim::report::run_files;
use tiersim::simulation::{Scenario, ScenarioConfig, run};
use tiersim::units::{Bytes, SimTime};
use tiersim::workload::{SkipSource, StepSkips, TraceConfig};

/// The study's scenario with so many decode tokens and this share skipped.
///
/// # Panics
/// If the study is no valid scenario.
#[must_use]
pub fn study(decode: u32, skip: &str, strategy: &str) -> Scenario {
    let mut config = ScenarioConfig::load("study").expect("the study is shipped");
    config.decode_tokens = decode;
    config.strategy = strategy.parse().expect("a strategy of the study");
    if let TraceConfig::Generated(generator) = &mut config.trace {
        generator.skip = skip.parse().expect("a ratio");
    }
    Scenario::new(config).expect("the study is valid")
}

/// The study's largest run: 16,384 tokens, 40 % skipped, looking ahead.
#[must_use]
pub fn largest() -> Scenario {
    study(16384, "0.4", "best-ratio")
}

/// Simulates `scenario` without a probe, and returns the number of events.
///
/// # Panics
/// If the run does not get to its end.
pub fn simulate(scenario: &Scenario) -> u64 {
    let outcome = run(scenario, &mut ()).expect("the run is valid");
    assert!(outcome.error.is_none());
    outcome.events
}

/// Simulates `scenario` as `tiersim run` does, and returns what there is to report.
///
/// # Panics
/// If the run does not get to its end.
#[must_use]
pub fn record(scenario: &Scenario) -> RunReport {
    let mut recorder = Recorder::new(scenario);
    let outcome = run(scenario, &mut recorder).expect("the run is valid");
    recorder.finish(scenario, &outcome)
}

/// Makes all files of a run, and returns their size.
///
/// # Panics
/// If one cannot be made.
#[must_use]
pub fn make_files(report: &mut RunReport) -> usize {
    run_files(report).expect("a whole run has its files").iter().map(|file| file.bytes.len()).sum()
}

/// Generates all skip sets of `scenario` and nothing else. Returns the number of skipped tokens.
///
/// # Panics
/// If the skip sets of the scenario are not synthetic.
#[must_use]
pub fn generate(scenario: &Scenario) -> u64 {
    let (layers, prefill, decode) = (scenario.model().layers(), scenario.prefill(), scenario.decode());
    let config = &scenario.resolved().trace;
    let mut source = config.synthetic(layers, prefill, decode).expect("valid parameters").expect("synthetic skip sets");
    let mut skips = StepSkips::none(layers, prefill + decode);
    let mut skipped = 0;
    for step in 0..decode {
        source.next_step(prefill + step, &mut skips).expect("synthetic sets never end");
        skipped += skips.counts.iter().sum::<usize>() as u64;
    }
    skipped
}

/// Streams as many words from memory as the skip sets of `scenario` have, once, and counts their
/// bits: as little as any simulation that looks at each set can do. The sets are `words`, over and
/// over, as many as fill `words`.
#[must_use]
pub fn stream_and_count(scenario: &Scenario, words: &[u64]) -> u64 {
    let mut at = 0;
    let mut bits = 0;
    for step in 0..scenario.decode() {
        let length = (scenario.prefill() + step).div_ceil(64);
        for _ in 0..scenario.model().layers() {
            if at + length > words.len() {
                at = 0;
            }
            bits += count(&words[at..at + length]);
            at += length;
        }
    }
    bits
}

/// For what the processor has, as the simulation counts.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512vpopcntdq", "x86_64+avx2+bmi1+bmi2+popcnt"))]
fn count(words: &[u64]) -> u64 {
    words.iter().map(|word| u64::from(word.count_ones())).sum()
}

/// Random words: 512 MiB, more than any cache holds.
#[must_use]
pub fn random_words() -> Vec<u64> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    (0..64 << 20).map(|_| random.next_u64()).collect()
}

/// A transfer: when it is issued, and how large it is.
pub type Arrival = (SimTime, Bytes);

/// The mean size: 100 ns of the study's HBM, whose lane carries 4915 bytes a nanosecond.
const MEAN: u64 = 491_500;
const MEAN_TIME: u64 = 100_000;

/// So many transfers of uniform sizes over one lane, of which about `at_once` are in flight at any
/// time: as many at the start, then one each time that the lane has carried one. Each large one is
/// followed by one that is as much smaller, so that their number does not drift.
#[must_use]
pub fn arrivals(at_once: usize, count: usize) -> Vec<Arrival> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
    let mut spare = None;
    let mut size = || {
        let size = spare.take().unwrap_or_else(|| 1 + random.next_u64() % (2 * MEAN - 1));
        spare = Some(2 * MEAN - size).filter(|other| *other != size);
        Bytes::new(size)
    };
    // Under fair sharing what is left of a transfer is two thirds of the mean size.
    let first = (at_once * 2).div_ceil(3).min(count);
    let at =
        |index: usize| SimTime::from_ps(MEAN_TIME * (index + 1).saturating_sub(first) as u64 + 17 * (index % 7) as u64);
    (0..count).map(|index| (if index < first { SimTime::ZERO } else { at(index) }, size())).collect()
}

/// The study's memory.
///
/// # Panics
/// If it is not valid.
#[must_use]
pub fn memory() -> MemorySystem {
    MemorySystem::new(&tiersim::catalog::memory("study").expect("the study is shipped")).expect("valid")
}

fn request(system: &MemorySystem, bytes: Bytes, tag: u32) -> Request<'_, u32> {
    Request {
        class: TransferClass::KvRead,
        path: Path::Even(system.even_reads(TierId::HBM)),
        bytes,
        granule: bytes,
        pattern: Pattern::Random,
        urgency: Urgency::Due,
        reach: Reach::FULL,
        tag,
    }
}

/// Carries `arrivals` over HBM's lane, and returns how many events there were.
///
/// # Panics
/// If time runs out.
pub fn replay(system: &MemorySystem, arrivals: &[Arrival]) -> u64 {
    let requests = (0..).zip(arrivals).map(|(tag, (at, bytes))| (*at, request(system, *bytes, tag)));
    let mut completed = 0;
    let carried = carry(system, requests, |_| completed += 1).expect("time enough");
    assert_eq!(completed, arrivals.len());
    carried.events
}

/// As many transfers at once as asked for, and as one completes the next is issued.
///
/// # Panics
/// If one does not complete.
pub fn one_for_one(system: &MemorySystem, sizes: &[Arrival], at_once: usize) {
    let mut fabric = Fabric::new(system);
    let mut calendar = Calendar::with_capacity(16);
    let mut done = Vec::new();
    let mut next = sizes.iter().zip(0..);
    let mut completed = 0;
    for ((_, bytes), tag) in next.by_ref().take(at_once) {
        fabric.issue(SimTime::ZERO, request(system, *bytes, tag));
    }
    fabric.settle(&mut calendar);
    while let Some((now, event)) = calendar.pop() {
        fabric.complete(now, event, &mut done);
        for _ in done.drain(..) {
            completed += 1;
            if let Some(((_, bytes), tag)) = next.next() {
                fabric.issue(now, request(system, *bytes, tag));
            }
        }
        fabric.settle(&mut calendar);
    }
    assert_eq!(completed, sizes.len());
}

/// As many transfers at once as asked for, all issued at one instant, and as many again when the
/// last of them is complete: nothing arrives in between.
///
/// # Panics
/// If one does not complete.
pub fn in_batches(system: &MemorySystem, sizes: &[Arrival], at_once: usize) {
    let mut fabric = Fabric::new(system);
    let mut calendar = Calendar::with_capacity(16);
    let mut done = Vec::new();
    for batch in sizes.chunks(at_once) {
        let now = calendar.now();
        for ((_, bytes), tag) in batch.iter().zip(0..) {
            fabric.issue(now, request(system, *bytes, tag));
        }
        fabric.settle(&mut calendar);
        let mut completed = 0;
        while let Some((now, event)) = calendar.pop() {
            fabric.complete(now, event, &mut done);
            completed += done.len();
            done.clear();
            fabric.settle(&mut calendar);
        }
        assert_eq!(completed, batch.len());
    }
}

/// The least that any fair sharing by virtual time does: a binary heap of virtual finish times, of
/// which `at_once` are pending; the first leaves, and one comes.
#[must_use]
pub fn bare_heap(sizes: &[Arrival], at_once: usize) -> u64 {
    let mut heap = BinaryHeap::with_capacity(at_once + 1);
    let mut sizes = (0u32..).zip(sizes.iter().map(|(_, bytes)| bytes.get()));
    for (tag, size) in sizes.by_ref().take(at_once) {
        heap.push(Reverse((size, tag)));
    }
    let mut last = 0;
    for (tag, size) in sizes {
        let Some(Reverse((now, _))) = heap.pop() else { break };
        heap.push(Reverse((now + size, tag)));
    }
    while let Some(Reverse((now, _))) = heap.pop() {
        last = now;
    }
    last
}

/// Delays between events, in picoseconds.
#[must_use]
pub fn delays(count: usize) -> Vec<u64> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(3);
    (0..count).map(|_| 1 + random.next_u64() % 1_000_000).collect()
}

/// tiersim's event loop without a model: `pending` timers, each scheduled again when it is due.
#[must_use]
pub fn calendar_loop(delays: &[u64], pending: usize) -> u64 {
    let mut calendar = Calendar::with_capacity(pending);
    for (id, delay) in (0..pending as u32).zip(delays) {
        calendar.schedule(EventId::new(id), SimTime::from_ps(*delay));
    }
    for delay in delays {
        let Some((now, id)) = calendar.pop() else { break };
        calendar.schedule(id, now + SimTime::from_ps(*delay));
    }
    calendar.now().as_ps()
}

/// The study's model after a prefill of `tokens`, for so many steps, with memory enough.
///
/// # Panics
/// If it is not valid.
#[must_use]
pub fn long(tokens: u32, decode: u32, strategy: &str) -> Scenario {
    let mut config = study(decode, "0.4", strategy).resolved().clone();
    config.prefill_tokens = tokens;
    if let tiersim::config::Reference::Inline(memory) = &mut config.memory {
        memory.tiers[0].capacity = "1 TiB".parse().expect("a size");
    }
    Scenario::new(config).expect("valid")
}
