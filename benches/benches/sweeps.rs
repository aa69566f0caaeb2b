//! What a sweep costs beyond its runs, and what a second core is worth: ratios of times taken one
//! after the other.
//!
//! `cargo bench --bench sweeps` runs 200 cells of the study's 4096 tokens three times and 10,000
//! cells of 64 tokens once; with `-- 0.1` a tenth of each. On a machine that does something else
//! its figures mean nothing.

use std::sync::atomic::AtomicBool;
use std::time::Instant;
use tiersim::metrics::Recorder;
use tiersim::simulation::{Scenario, ScenarioConfig, run};
use tiersim::runs::Resources;
use tiersim::sweep::{AxisConfig, Existing, Folder, Plan, Shard, SweepConfig, Tally, Watcher, execute};
use tiersim::units::Bytes;

struct Silent;

impl Watcher for Silent {
    fn tally(&self, _tally: Tally) {}
}

fn plan(decode: u32, capacities: u32, links: u32) -> Plan {
    let mut base = ScenarioConfig::load("study").expect("it is shipped");
    base.decode_tokens = decode;
    let geometric = |field: &str, from: &str, to: &str, points: u32| AxisConfig::Geometric {
        field: field.to_owned(),
        from: from.into(),
        to: to.into(),
        points: Some(points),
    };
    let axes = vec![
        geometric("memory.hbm.capacity", "1.25GiB", "5GiB", capacities),
        geometric("memory.external.link.read+write", "225GB/s", "1800GB/s", links),
        AxisConfig::Values { field: "strategy".to_owned(), values: vec!["baseline".into(), "best-ratio".into()] },
    ];
    let mut config = SweepConfig::of("bench".to_owned(), base, axes);
    config.set.insert("trace.skip".to_owned(), "40%".into());
    Plan::new(config).expect("a plan")
}

/// How long a sweep takes, from nothing to its dataset.
fn sweep(plan: &Plan, jobs: usize) -> f64 {
    let place = tempfile::tempdir().expect("a folder");
    let cancel = AtomicBool::new(false);
    let resources = Resources { threads: jobs, memory: Bytes::new(8 << 30) };
    let begun = Instant::now();
    let folder = Folder::take(place.path(), plan, Shard::ALL, Existing::Keep).expect("it is new");
    let tally = execute(plan, &folder, resources, &cancel, &Silent).expect("it runs");
    assert_eq!((tally.done, tally.failed), (plan.cells(), 0));
    begun.elapsed().as_secs_f64()
}

/// How long the runs take without the sweep, one after the other.
fn runs(plan: &Plan) -> f64 {
    let begun = Instant::now();
    for cell in 0..plan.cells() {
        let levels = plan.levels(cell).expect("nothing is excluded");
        let scenario = Scenario::new(plan.scenario(&levels).expect("a scenario")).expect("a valid one");
        let mut recorder = Recorder::new(&scenario);
        let outcome = run(&scenario, &mut recorder).expect("it runs");
        std::hint::black_box(recorder.finish(&scenario, &outcome));
    }
    begun.elapsed().as_secs_f64()
}

fn main() {
    let share: f64 = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(1.0);
    let points = |count: f64| ((count * share).round() as u32).max(2);
    let large = plan(4096, points(20.0), 5);
    let (without, one, two) = (runs(&large), sweep(&large, 1), sweep(&large, 2));
    println!(
        "{} cells of 4096 tokens: the runs {without:.2} s, as a sweep {one:.2} s on one core and {two:.2} s on two",
        large.cells()
    );
    println!("  beyond the runs: {:+.2} % (to reach: under 3 %)", 100.0 * (one / without - 1.0));
    println!("  two cores: {:.3} times as fast as one (to reach: 1.9)", one / two);
    let small = plan(64, points(250.0), 20);
    let taken = sweep(&small, 2);
    println!(
        "{} cells of 64 tokens on two cores: {:.0} a second (to reach: 2000)",
        small.cells(),
        small.cells() as f64 / taken
    );
}
