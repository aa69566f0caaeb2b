//! Top-k attention: the misses of caches of KV, of the shipped recording and of the generators that
//! are like it.

use super::*;
use tiersim::catalog;
use tiersim::workload::{CACHE_ROOMS, CacheMisses, LayerMisses, Policy};

/// Checks a row of a table, in percent: each figure to within `within` of it, and not finer than it
/// is written.
fn check(misses: &CacheMisses, policy: Policy, wanted: [f64; CACHE_ROOMS.len()], within: f64) {
    let row = Policy::ALL.iter().position(|(_, it)| *it == policy).unwrap();
    for (room, wanted) in wanted.into_iter().enumerate() {
        let found = 100.0 * misses.mean(|layer: &LayerMisses| layer.misses[row][room]);
        assert!((found - wanted).abs() <= within * wanted + 0.0501, "{policy:?}, room {room}: {found:.2} for {wanted}");
    }
}

fn of_recording(mut recording: Recording) -> CacheMisses {
    let header = recording.header().clone();
    CacheMisses::measure(&mut recording, header.layers, header.prefill, header.steps).unwrap().unwrap()
}

/// The shipped cut has every third layer of the recording, and so the figures that were published
/// with it.
#[test]
fn caches_of_the_shipped_pages_miss_as_published() {
    let path = Path::new("python_argparse_pages16_top64");
    let misses = of_recording(catalog::open_trace(path).unwrap());
    assert_eq!((misses.layers.len(), misses.warm), (10, 64));
    check(&misses, Policy::Fifo, [33.0, 10.8, 2.3], 0.0);
    check(&misses, Policy::Lru, [21.8, 6.6, 1.3], 0.0);
    check(&misses, Policy::Belady, [13.4, 3.2, 0.6], 0.0);
    let size = catalog::trace("python_argparse_pages16_top64").unwrap().len();
    assert!(size < 400_000, "{size}");
}

fn of_generator(name: &str, prefill: usize, steps: usize) -> CacheMisses {
    let config = catalog::generator(name).unwrap().unwrap();
    let mut source = config.synthetic(1, prefill, steps).unwrap().unwrap();
    CacheMisses::measure(&mut source, 1, prefill, steps).unwrap().unwrap()
}

/// The table in traces/README.md.
#[test]
fn generators_miss_as_they_are_said_to() {
    let recorded = of_generator("topk-1024-of-6k", 6144, 300);
    check(&recorded, Policy::Fifo, [35.4, 10.0, 1.4], 0.0);
    check(&recorded, Policy::Lru, [24.6, 5.1, 0.6], 0.0);
    check(&recorded, Policy::Belady, [13.3, 2.3, 0.5], 0.0);
    // As recorded, to a tenth.
    check(&recorded, Policy::Fifo, [34.0, 9.9, 1.5], 0.1);
    check(&recorded, Policy::Lru, [23.1, 5.4, 0.7], 0.1);
    check(&recorded, Policy::Belady, [13.8, 2.5, 0.4], 0.13);
    // Published: 30 % with room for k, LRU 13.4 and 6.7 %.
    let published = of_generator("topk-2048-of-100k", 100_000, 214);
    check(&published, Policy::Fifo, [42.1, 19.6, 9.6], 0.0);
    check(&published, Policy::Lru, [29.9, 12.9, 6.8], 0.0);
    check(&published, Policy::Belady, [17.2, 7.1, 3.3], 0.0);
    // As published.
    check(&published, Policy::Lru, [30.0, 13.4, 6.7], 0.05);
}

/// What `Generated` exchanges returns at random: no churn gives both a small cache's misses and a
/// large one's.
#[test]
fn exchange_at_random_returns_too_rarely() {
    use tiersim::workload::{Generator, GeneratorConfig};
    let config = GeneratorConfig {
        skip: "0.8333".parse().unwrap(),
        churn: "0.048".parse().unwrap(),
        seed: 1,
        ..GeneratorConfig::default()
    };
    let mut source = Generator::new(config, 1, 6144 + 300);
    let misses = CacheMisses::measure(&mut source, 1, 6144, 300).unwrap().unwrap();
    check(&misses, Policy::Lru, [25.0, 20.2, 10.1], 0.05);
}

/// The figures of the whole recordings, which are not shipped.
#[test]
#[ignore = "needs recordings: TIERSIM_RECORDED=FOLDER cargo test --test it topk -- --ignored"]
fn caches_of_the_whole_recordings_miss_as_published() {
    let Some(folder) = std::env::var_os("TIERSIM_RECORDED").map(PathBuf::from) else {
        skip!("TIERSIM_RECORDED names no folder of recordings");
    };
    let rows = [
        ("forced_python_argparse_top1024.parquet", [34.0, 9.9, 1.5], [23.1, 5.4, 0.7], [13.8, 2.5, 0.4]),
        ("forced_python_argparse_pages16_top64.parquet", [33.0, 10.8, 2.3], [21.8, 6.6, 1.3], [13.4, 3.2, 0.6]),
    ];
    for (name, fifo, lru, belady) in rows {
        let mut misses = of_recording(Recording::open(&folder.join(name)).unwrap());
        // The published figures are of every third layer.
        misses.layers = misses.layers.into_iter().step_by(3).collect();
        check(&misses, Policy::Fifo, fifo, 0.0);
        check(&misses, Policy::Lru, lru, 0.0);
        check(&misses, Policy::Belady, belady, 0.0);
    }
}
