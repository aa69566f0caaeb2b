//! How tiers are read: copies ahead of their stages and chunk by chunk, what direct reads leave of
//! HBM, and by how much more bytes cross a link.

use crate::common::properties::cases;
use crate::common::runs::*;
use proptest::prelude::*;
use tiersim::config::Reference;
use tiersim::memory::{
    Arbitration, Machine, MemorySystem, Path, Pattern, Reach, Request, TierId, TransferClass, Urgency,
};
use tiersim::simulation::{Scenario, ScenarioConfig};
use tiersim::strategy::BoundKind;
use tiersim::units::{Bytes, SimTime};
use tiersim::workload::{AmplificationConfig, BySize, InterferenceConfig, ReachClass, ReadsConfig, RuntimeConfig};

const MB: u64 = 1_000_000;

/// `config` with an external tier that is copied into a buffer of so many bytes, for which HBM has
/// that much more room.
fn staged(mut config: ScenarioConfig, buffer: u64, ahead: u32, chunk: Option<u64>) -> ScenarioConfig {
    memory(&mut config).tiers[0].capacity += Bytes::new(buffer);
    let way = ReadsConfig::Staged { buffer: Bytes::new(buffer), ahead, chunk: chunk.map(Bytes::new) };
    let reads = [("external".to_owned(), way)].into();
    config.runtime = Reference::Inline(RuntimeConfig { name: "test".to_owned(), reads, ..RuntimeConfig::default() });
    config
}

/// Checks the latency of each step, in microseconds, that none beats its bound, and that all bytes
/// are accounted for. Returns how many were copied.
fn check(config: &ScenarioConfig, expected: &[f64]) -> u64 {
    let (outcome, keep) = simulate(config);
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    let found: Vec<f64> = keep.steps.iter().map(|step| step.latency.as_ns() / 1000.0).collect();
    let close = |(found, expected): (&f64, &f64)| (found - expected).abs() < 1e-4 * expected;
    assert!(found.len() == expected.len() && found.iter().zip(expected).all(close), "{found:?}");
    assert!(keep.steps.iter().all(|step| step.bound <= step.latency), "{:?}", keep.steps);
    assert_eq!(outcome.issued, accounted(&outcome));
    keep.bytes(TransferClass::Stage)
}

/// HBM at 1000 GB/s, which holds half of the attention's 2 MB, behind it a link of 250 GB/s; the
/// mlp's 2 MB are external.
fn two_stages() -> ScenarioConfig {
    small(1, (2 * MB, 2 * MB), 0, MB, 0, 2)
}

#[test]
fn without_ahead_a_stage_waits_for_its_own_copy() {
    // 4 us + 2 us, 8 us + 2 us.
    assert_eq!(check(&staged(two_stages(), 10 * MB, 0, None), &[16.0, 16.0]), 6 * MB);
}

#[test]
fn a_copy_ahead_goes_on_while_a_stage_reads() {
    // Attention is copied in 0 to 4 us. It reads 2 MB at 750 GB/s beside the next copy, until
    // 6.667. The mlp is copied until 12; it reads beside the copy of the next step's attention,
    // until 14.667. That copy ends at 16; attention reads until 18.667, the mlp is copied until 24
    // and reads 2 us.
    let first = 12.0 + 2.0 / 0.75;
    assert_eq!(check(&staged(two_stages(), 10 * MB, 1, None), &[first, 26.0 - first]), 6 * MB);
}

#[test]
fn a_copy_ahead_waits_for_room_in_the_buffer() {
    // The buffer holds the mlp's 2 MB alone: it is copied when attention has read. 4 + 2, 8 + 2;
    // the next step's attention is copied when the mlp has read.
    assert_eq!(check(&staged(two_stages(), 2 * MB, 1, None), &[16.0, 16.0]), 6 * MB);
    // With 3 MB both fit.
    let first = 12.0 + 2.0 / 0.75;
    check(&staged(two_stages(), 3 * MB, 1, None), &[first, 26.0 - first]);
}

#[test]
fn what_exceeds_the_buffer_goes_in_rounds() {
    // Rounds of 1 MB: 4 us + 2 us; 4 us + 1 us, twice.
    assert_eq!(check(&staged(two_stages(), MB, 1, None), &[16.0, 16.0]), 6 * MB);
}

#[test]
fn chunks_are_read_as_they_arrive() {
    // Attention reads its 1 MB on HBM in 0 to 1.333 us. Chunks of half a MB arrive every 2 us, and
    // the last of them is read in half a microsecond.
    let of_attention = 4.0 + 0.5;
    let of_mlp = 8.0 + 0.5;
    let step = of_attention + of_mlp;
    assert_eq!(check(&staged(two_stages(), 10 * MB, 0, Some(MB / 2)), &[step, step]), 6 * MB);
    // Ahead, the copies go on without a break: 3 MB a step, of which the last chunk is read while
    // the first of the next step is copied.
    let first = 12.0 + 0.5 / 0.75;
    assert_eq!(check(&staged(two_stages(), 10 * MB, 1, Some(MB / 2)), &[first, 24.5 - first]), 6 * MB);
}

#[test]
fn chunks_are_waited_for_on_the_link() {
    // Of 13 us, in 1 us the last chunks are read; all other time goes by on the link.
    let scenario = Scenario::new(staged(two_stages(), 10 * MB, 0, Some(MB / 2))).unwrap();
    let mut waits = tiersim::metrics::WaitRecorder::new(scenario.memory());
    tiersim::simulation::run(&scenario, &mut waits).unwrap();
    let of = |ns: f64| SimTime::from_ns(ns);
    assert_eq!(waits.total(2), [("external.link.read", of(24_000.0)), ("hbm.bus", of(2_000.0))]);
}

#[test]
fn a_copy_of_kv_waits_for_its_write() {
    // All weights lie on HBM, all KV is external: 1 MB a token.
    let mut config = small(1, (MB, MB), MB, 2 * MB, 1, 2);
    config.strategy = "baseline".parse().unwrap();
    // The first token's KV is copied in 4 us, attention reads 2 MB in 2 us; it writes KV from 6 to
    // 10 us. The mlp ends at 7; from 10 to 18 us 2 tokens are copied, and attention reads 3 MB.
    assert_eq!(check(&staged(config.clone(), 10 * MB, 1, None), &[7.0, 15.0]), 3 * MB);
    // By chunks: attention reads 1 MB meanwhile, then 1 us of KV; it writes from 5 to 9 us. The
    // mlp ends at 6. Chunks arrive at 13 and 17 us, and the second is read in 1 us.
    assert_eq!(check(&staged(config, 10 * MB, 1, Some(MB)), &[6.0, 13.0]), 3 * MB);
}

#[test]
fn copies_of_bad_sizes_are_refused() {
    let refused = |config: ScenarioConfig, parts: &[&str]| {
        let message = Scenario::new(config).unwrap_err().to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    };
    refused(staged(two_stages(), MB, 0, Some(2 * MB)), &["reads.external.chunk: 2 MB", "from 245 B to 1 MB"]);
    refused(staged(two_stages(), MB, 0, Some(1)), &["reads.external.chunk: 1 B", "from 245 B"]);
    refused(staged(two_stages(), MB, 1 << 20, None), &["reads.external.ahead", "at most 65536"]);
    let many = staged(small(1, (200 * MB, MB), 0, MB, 0, 1), 100, 1, None);
    refused(many, &["reads.external: in copies of 100 B", "2010000 copies", "write a larger buffer"]);
    let mut charged = staged(two_stages(), MB, 1, None);
    charged.bound = BoundKind::Charged;
    refused(charged, &["bound: Charged", "ahead: 0"]);
}

// ---- Interference ----

/// `config` with an external tier that leaves so much of HBM to kernels while it is read.
fn interfering(mut config: ScenarioConfig, left: BySize, in_flight: Option<u64>) -> ScenarioConfig {
    let rule = InterferenceConfig { tier: "external".to_owned(), left, in_flight: in_flight.map(Bytes::new) };
    let runtime = RuntimeConfig { name: "test".to_owned(), interference: vec![rule], ..RuntimeConfig::default() };
    config.runtime = Reference::Inline(runtime);
    config
}

#[test]
fn direct_reads_leave_less_of_hbm() {
    // Attention reads 4 MB from HBM and 0.25 MB from external memory in 1 us, in which HBM carries
    // 0.4 MB; then the other 3.6. The mlp reads 2 MB from external memory alone.
    let config = small(1, (4_250_000, 2 * MB), 0, 4 * MB, 0, 1);
    let expected = 1.0 + 3.6 + 8.0;
    let constant = || BySize::Constant(0.4);
    assert_eq!(check(&interfering(config.clone(), constant(), None), &[expected]), 0);
    // By the bytes in flight: what kernels keep, or 250 GB/s times the latency, and no more than
    // may be in flight.
    let by_size = || BySize::Points(vec![(Bytes::new(100_000), 1.0), (Bytes::new(400_000), 0.4)]);
    check(&interfering(config.clone(), by_size(), Some(MB)), &[expected]);
    check(&interfering(config.clone(), by_size(), Some(100_000)), &[12.0]);
    // A latency of 2 us is paid in both stages; 500 kB are in flight.
    let mut late = interfering(config.clone(), by_size(), None);
    memory(&mut late).tiers[1].latency = SimTime::from_ns(2000.0);
    // HBM carries 2 MB before the first byte arrives: 0.4 in the next microsecond, then 1.6.
    check(&late, &[2.0 + 1.0 + 1.6 + 10.0]);
    memory(&mut late).tiers[1].outstanding = Some(Bytes::new(100_000));
    // 100 kB in flight are 50 GB/s: 5 us and 40 us, but HBM has all of its bandwidth.
    let (outcome, keep) = simulate(&late);
    assert!(outcome.error.is_none());
    assert!((keep.steps[0].latency.as_ns() - 47_000.0).abs() < 4_100.0, "{:?}", keep.steps);
    // Read one after the other, or copied, they do not meet.
    let mut serial = interfering(config, constant(), None);
    let Reference::Inline(runtime) = &mut serial.runtime else { panic!("it is spelled out") };
    runtime.reads = [("external".to_owned(), ReadsConfig::Serial)].into();
    check(&serial, &[5.0 + 8.0]);
}

/// The twin: reads that start at given times, in small steps of time. HBM's readers share what is
/// left of it, those of external memory share the link.
fn twin(reads: &[(u64, bool, u64)], left: f64) -> Vec<f64> {
    let mut missing: Vec<f64> = reads.iter().map(|(_, _, bytes)| *bytes as f64).collect();
    let mut ended = vec![0.0; reads.len()];
    let step = 0.5; // ns
    let mut now = 0.0;
    while missing.iter().any(|missing| *missing > 0.0) {
        let active = |external: bool, missing: &[f64]| {
            let is = |at: &usize| reads[*at].1 == external && reads[*at].0 as f64 <= now && missing[*at] > 0.0;
            (0..reads.len()).filter(is).collect::<Vec<_>>()
        };
        let (on_hbm, beyond) = (active(false, &missing), active(true, &missing));
        let hbm = 1000.0 * if beyond.is_empty() { 1.0 } else { left };
        for (of, bandwidth) in [(on_hbm, hbm), (beyond, 250.0)] {
            for at in &of {
                missing[*at] -= bandwidth * step / of.len() as f64;
                ended[*at] = now + step;
            }
        }
        now += step;
    }
    ended
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn interference_is_that_of_the_twin(
        reads in prop::collection::vec((0u64..3_000, any::<bool>(), 1u64..1_000_000), 1..8),
        percent in 1u32..100,
        arbitration in prop::sample::select(vec![Arbitration::Fair, Arbitration::Priority]),
    ) {
        let mut reads = reads;
        reads.sort_unstable();
        let left = f64::from(percent) / 100.0;
        let mut config = small(1, (1, 1), 0, MB, 0, 1);
        memory(&mut config).arbitration = arbitration;
        let system = MemorySystem::new(memory(&mut config)).unwrap().with_interference(&[(TierId::new(1), left)]);
        let mut machine = Machine::new(&system);
        let mut ended = vec![0.0; reads.len()];
        for (tag, &(at, external, bytes)) in reads.iter().enumerate() {
            let at = SimTime::from_ns(at as f64);
            let mut done = Vec::new();
            while machine.next_time().is_some_and(|next| next < at) {
                let now = machine.next_instant(&mut |it: tiersim::memory::Completed<usize>| done.push(it.tag)).unwrap();
                done.drain(..).for_each(|tag| ended[tag] = now.as_ns());
            }
            machine.advance(at, &mut |it: tiersim::memory::Completed<usize>| done.push(it.tag));
            done.drain(..).for_each(|tag| ended[tag] = at.as_ns());
            let tier = TierId::new(usize::from(external));
            machine.issue(Request {
                class: TransferClass::WeightRead, path: Path::Even(system.even_reads(tier)), bytes: Bytes::new(bytes),
                granule: Bytes::new(bytes), pattern: Pattern::Streams, urgency: Urgency::Due, reach: Reach::FULL, tag,
            });
            machine.settle();
        }
        let mut done = Vec::new();
        while let Some(now) = machine.next_instant(&mut |it: tiersim::memory::Completed<usize>| done.push(it.tag)) {
            done.drain(..).for_each(|tag| ended[tag] = now.as_ns());
        }
        for (found, expected) in ended.iter().zip(twin(&reads, left)) {
            prop_assert!((found - expected).abs() <= 10.0, "{ended:?} {:?}", twin(&reads, left));
        }
    }
}

// ---- Amplification ----

#[test]
fn more_bytes_cross_where_tokens_share_a_read() {
    // Eight sequences; half of attention's 2 MB lie on HBM, and the mlp's 1 MB is external. With 8
    // tokens, twice the bytes of the weights cross the link: 2 MB in 8 us, then 2 MB in 8 us.
    let mut config = small(1, (2 * MB, MB), 0, MB, 0, 2);
    config.batch = 8;
    let rule = |factors: Vec<(u32, f64)>| AmplificationConfig {
        tier: "external".to_owned(),
        class: ReachClass::Weights,
        factors,
    };
    let with = |factors: Vec<(u32, f64)>| {
        let amplification = vec![rule(factors)];
        let runtime = RuntimeConfig { name: "test".to_owned(), amplification, ..RuntimeConfig::default() };
        ScenarioConfig { runtime: Reference::Inline(runtime), ..config.clone() }
    };
    check(&with(vec![(1, 1.0), (15, 3.0)]), &[16.0, 16.0]);
    check(&with(vec![(8, 1.0)]), &[8.0, 8.0]);
    // Transfers count what crosses; what a step reads is what it needs.
    let (outcome, _) = simulate(&with(vec![(8, 2.0)]));
    assert_eq!(outcome.completed[TransferClass::WeightRead].get(), 2 * (MB + 4 * MB));
    let refused = |factors: Vec<(u32, f64)>, expected: &str| {
        let message = Scenario::new(with(factors)).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    };
    refused(Vec::new(), "amplification[0].factors: needs a point");
    refused(vec![(1, 0.5)], "amplification[0].factors[0]: 0.5");
    refused(vec![(2, 1.0), (2, 2.0)], "amplification[0].factors[1]: 2 tokens follow 2");
}

#[test]
fn bad_interference_is_refused() {
    let refused = |config: ScenarioConfig, parts: &[&str]| {
        let message = Scenario::new(config).unwrap_err().to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    };
    refused(interfering(two_stages(), BySize::Constant(0.0), None), &["interference[0].left", "0"]);
    refused(
        interfering(two_stages(), BySize::Points(Vec::new()), None),
        &["interference[0].left: a curve needs a point"],
    );
    let mut fifo = interfering(two_stages(), BySize::Constant(0.5), None);
    memory(&mut fifo).arbitration = Arbitration::Fifo;
    refused(fifo, &["interference[0]", "use Fair or Priority"]);
    let mut first = interfering(two_stages(), BySize::Constant(0.5), None);
    let Reference::Inline(runtime) = &mut first.runtime else { panic!("it is spelled out") };
    runtime.interference[0].tier = "hbm".to_owned();
    refused(first, &["interference[0].tier: 'hbm' is the first tier"]);
}

/// 1 GiB a stage on an H100, of which a share lies in host memory, measured where 132 blocks read
/// both (`split` in `models/validation/gpu/h100-memory.csv`).
#[test]
fn an_h100_reads_as_measured() {
    let stage = 1u64 << 30;
    let measured = [(0.01, 480.42), (0.05, 1071.0), (0.2, 4230.0)];
    for (share, at_once) in measured {
        let external = (share * stage as f64) as u64;
        // A stage of the same split: its bytes on HBM, and those in host memory.
        let mut config = small(1, (stage, 0), 0, stage - external, 0, 1);
        let tiers = &mut memory(&mut config).tiers;
        tiers[0].bandwidth = bandwidth(3080);
        tiers[1].link_mut().unwrap().read = bandwidth(51);
        let left = BySize::Points(vec![(Bytes::new(1 << 19), 0.924), (Bytes::new(2112 << 10), 0.264)]);
        let (_, keep) = simulate(&interfering(config, left, Some(2112 << 10)));
        let found = keep.steps[0].latency.as_ns() / 1000.0;
        assert!((found / at_once - 1.0).abs() < 0.06, "{share}: {found} of {at_once}");
    }
}
