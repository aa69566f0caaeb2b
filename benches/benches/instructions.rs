//! Instructions, by valgrind: `cargo bench --bench instructions`. The same on a busy machine, so
//! that a change of one in a thousand shows. Needs valgrind and `cargo install gungraun-runner` of
//! the version in `Cargo.lock`.

use gungraun::{library_benchmark, library_benchmark_group, main};
use std::hint::black_box;
use tiersim::memory::MemorySystem;
use tiersim::simulation::Scenario;
use tiersim_benches::*;

#[library_benchmark]
#[bench::baseline(study(128, "0", "baseline"))]
#[bench::best_ratio(study(128, "0.4", "best-ratio"))]
#[bench::best_ratio_after_16k(long(16384, 32, "best-ratio"))]
fn run(scenario: Scenario) -> u64 {
    simulate(black_box(&scenario))
}

#[library_benchmark]
#[bench::of_128_steps(study(128, "0.4", "best-ratio"))]
fn skip_sets(scenario: Scenario) -> u64 {
    generate(black_box(&scenario))
}

#[library_benchmark]
#[bench::at_once_10((memory(), arrivals(10, 20_000)))]
#[bench::at_once_1000((memory(), arrivals(1_000, 20_000)))]
fn transfers((system, arrivals): (MemorySystem, Vec<Arrival>)) -> u64 {
    replay(black_box(&system), black_box(&arrivals))
}

library_benchmark_group!(name = all, benchmarks = [run, skip_sets, transfers]);
main!(library_benchmark_groups = all);
