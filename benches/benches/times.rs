//! Times and their spread, by criterion: `cargo bench --bench times`. For ratios see `targets`.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tiersim_benches::*;

fn runs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("run");
    group.sample_size(10);
    for (decode, skip, strategy) in [(1024, "0", "baseline"), (1024, "0.4", "best-ratio"), (4096, "0.4", "best-ratio")]
    {
        let scenario = study(decode, skip, strategy);
        group.bench_function(format!("{strategy}, {decode} tokens, {skip} skipped"), |bencher| {
            bencher.iter(|| simulate(black_box(&scenario)));
        });
    }
    group.finish();
    let scenario = study(1024, "0.4", "best-ratio");
    criterion.bench_function("skip sets of 1024 steps", |bencher| bencher.iter(|| generate(black_box(&scenario))));
}

fn kernel(criterion: &mut Criterion) {
    let system = memory();
    let mut group = criterion.benchmark_group("transfers that share a lane");
    group.throughput(Throughput::Elements(100_000));
    for at_once in [10, 1_000, 10_000] {
        let arrivals = arrivals(at_once, 100_000);
        group.bench_function(format!("{at_once} at once"), |bencher| {
            bencher.iter_batched_ref(|| arrivals.clone(), |arrivals| replay(&system, arrivals), BatchSize::LargeInput);
        });
    }
    group.finish();
}

criterion_group!(all, runs, kernel);
criterion_main!(all);
