//! The targets, each measured within one run: `cargo bench --bench targets`.
//!
//! Every figure is the least of several rounds that take turns, in time of the processor, so that
//! other load on the machine affects all alike.

use cpu_time::ProcessTime;
use std::hint::black_box;
use std::time::Duration;
use tiersim_benches::*;

#[path = "../src/others.rs"]
mod others;

/// The least time of each of `tasks`, in turns.
fn least(rounds: usize, tasks: &mut [&mut dyn FnMut()]) -> Vec<Duration> {
    let mut least = vec![Duration::MAX; tasks.len()];
    for _ in 0..rounds {
        for (least, task) in least.iter_mut().zip(tasks.iter_mut()) {
            let start = ProcessTime::now();
            task();
            *least = (*least).min(start.elapsed());
        }
    }
    least
}

fn millions(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64() / 1e6
}

fn kernel() {
    let system = memory();
    println!("\nTransfers that share one lane under `fair`, in millions a second");
    println!(
        "{:>9} {:>17} {:>12} {:>11} {:>11} {:>21}",
        "at once", "arrivals between", "one for one", "in batches", "bare heap", "of which they are"
    );
    for (at_once, count) in [(10, 300_000), (1_000, 300_000), (100_000, 600_000)] {
        let arrivals = arrivals(at_once, count);
        let times = least(
            15,
            &mut [
                &mut || {
                    black_box(replay(&system, black_box(&arrivals)));
                },
                &mut || one_for_one(&system, black_box(&arrivals), at_once),
                &mut || in_batches(&system, black_box(&arrivals), at_once),
                &mut || {
                    black_box(bare_heap(black_box(&arrivals), at_once));
                },
            ],
        );
        let rates: Vec<f64> = times.iter().map(|time| millions(count, *time)).collect();
        let of_heap = |which: usize| rates[which] / rates[3];
        println!(
            "{at_once:>9} {:>17.2} {:>12.2} {:>11.2} {:>11.2} {:>7.2}{:>7.2}{:>7.2}",
            rates[0],
            rates[1],
            rates[2],
            rates[3],
            of_heap(0),
            of_heap(1),
            of_heap(2)
        );
    }
}

fn event_loops() {
    println!("\nThe event loop without a model: timers that are scheduled again when due, in millions a second");
    println!("{:>9} {:>11} {:>11} {:>11}", "pending", "tiersim", "simcore", "nexosim");
    for pending in [1, 10, 1_000] {
        let delays = delays(200_000);
        let times = least(
            5,
            &mut [
                &mut || {
                    black_box(calendar_loop(black_box(&delays), pending));
                },
                &mut || {
                    black_box(others::simcore_loop(black_box(&delays), pending));
                },
                &mut || others::nexosim_loop(black_box(&delays), pending),
            ],
        );
        let rates: Vec<f64> = times.iter().map(|time| millions(delays.len(), *time)).collect();
        println!("{pending:>9} {:>11.2} {:>11.2} {:>11.2}", rates[0], rates[1], rates[2]);
    }
}

fn near_the_limit() {
    let scenario = largest();
    let words = random_words();
    let mut events = 0;
    let times = least(
        5,
        &mut [
            &mut || events = simulate(black_box(&scenario)),
            &mut || {
                black_box(generate(black_box(&scenario)));
            },
            &mut || {
                black_box(stream_and_count(&scenario, black_box(&words)));
            },
        ],
    );
    let seconds: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
    println!("\nThe study's largest run (16,384 tokens, 40 % skipped, best-ratio), on one core, without reports");
    println!("run                                       {:>8.3} s, {} events", seconds[0], events);
    println!("generating its skip sets, without a run   {:>8.3} s", seconds[1]);
    println!("streaming them once and counting bits     {:>8.3} s", seconds[2]);
    println!("run / streaming                           {:>8.2}", seconds[0] / seconds[2]);
    println!("(run - generating) / streaming            {:>8.2}", (seconds[0] - seconds[1]) / seconds[2]);
}

fn reports() {
    println!("\nReports of the study's runs, 40 % skipped, best-ratio: milliseconds of the processor");
    println!("{:>9} {:>11} {:>11} {:>11} {:>9}", "tokens", "run", "its files", "of a run", "MB");
    for tokens in [256, 1024, 4096, 16384] {
        let scenario = study(tokens, "0.4", "best-ratio");
        let mut report = record(&scenario);
        let mut bytes = 0;
        let times = least(
            5,
            &mut [
                &mut || {
                    black_box(record(black_box(&scenario)));
                },
                &mut || bytes = make_files(black_box(&mut report)),
            ],
        );
        let ms: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        println!(
            "{tokens:>9} {:>11.1} {:>11.1} {:>9.1} % {:>9.2}",
            ms[0],
            ms[1],
            100.0 * ms[1] / ms[0],
            bytes as f64 / 1e6
        );
    }
}

/// The slope of log(time) over log(size), of the last steps of a series.
fn slope(series: &[(f64, f64)]) -> f64 {
    let logs: Vec<(f64, f64)> = series.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let count = logs.len() as f64;
    let (x, y) = logs.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let (xy, xx) = logs
        .iter()
        .fold((0.0, 0.0), |(xy, xx), point| (xy + (point.0 - x) * (point.1 - y), xx + (point.0 - x) * (point.0 - x)));
    xy / xx
}

fn growth() {
    println!("\nGrowth: microseconds a step and layer, of 256 steps after so many tokens, 40 % skipped");
    println!("{:>9} {:>11} {:>11}", "tokens", "baseline", "best-ratio");
    let mut series = [Vec::new(), Vec::new()];
    for tokens in [1u32 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18] {
        let mut row = Vec::new();
        for (strategy, series) in ["baseline", "best-ratio"].into_iter().zip(&mut series) {
            let scenario = long(tokens, 256, strategy);
            let short = long(tokens, 1, strategy);
            let times =
                least(3, &mut [&mut || _ = black_box(simulate(&scenario)), &mut || _ = black_box(simulate(&short))]);
            let micros = times[0].saturating_sub(times[1]).as_secs_f64() * 1e6 / 255.0 / 32.0;
            series.push((f64::from(tokens), micros));
            row.push(micros);
        }
        println!("{tokens:>9} {:>11.2} {:>11.2}", row[0], row[1]);
    }
    println!("{:>9} {:>11.2} {:>11.2}", "exponent", slope(&series[0]), slope(&series[1]));
    let mut series = Vec::new();
    let system = memory();
    for count in [10_000, 100_000, 1_000_000] {
        let arrivals = arrivals(1_000, count);
        let times = least(3, &mut [&mut || _ = black_box(replay(&system, &arrivals))]);
        series.push((count as f64, times[0].as_secs_f64()));
    }
    println!("transfers: exponent {:.2} over 10,000 to 1,000,000 of them", slope(&series));
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    for (name, part) in [
        ("kernel", kernel as fn()),
        ("loops", event_loops),
        ("limit", near_the_limit),
        ("reports", reports),
        ("growth", growth),
    ] {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            part();
        }
    }
}
