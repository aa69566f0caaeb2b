//! The long check: random sliders for as long as `EXPLORE_CHECK` says, in seconds.

use super::client::Page;
use crate::common::program::binary;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The memory that a process has, in bytes.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

/// Numbers that look random, the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    /// A state near `defaults`, with a slider or two somewhere else.
    fn state(&mut self, defaults: &Value, wide: bool) -> Value {
        let mut state = defaults.clone();
        state["link_bandwidth"] = json!((100 + self.below(900)) * 1_000_000_000);
        match self.below(5) {
            0 => state["hbm_capacity"] = json!((72 + self.below(80)) * 1_000_000_000),
            1 => state["hbm_bandwidth"] = json!((1000 + self.below(5000)) * 1_000_000_000),
            2 => state["prefill"] = json!((1 + self.below(128)) * 1024),
            3 if wide => state["skip"] = json!(self.below(90) as f64 / 100.0),
            4 if wide => state["batch"] = json!(1 + self.below(4)),
            _ => {}
        }
        state
    }
}

/// The value below which a share of them is.
fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * share) as usize]
}

#[test]
#[ignore = "takes as long as EXPLORE_CHECK says, in seconds"]
fn twenty_minutes_of_random_sliders_neither_grow_nor_get_stuck() {
    let seconds = std::env::var("EXPLORE_CHECK").ok().and_then(|text| text.parse().ok()).unwrap_or(1200);
    let program = std::env::var_os("EXPLORE_BINARY").map_or_else(binary, PathBuf::from);
    let page = Page::start(&program, &["gh200", "--skip", "0"]);
    let defaults = page.get_json("api/catalog")["defaults"].clone();
    let (mut numbers, mut number) = (Numbers(1), 0);
    let (mut first, mut last, mut cancelled, mut early) = (Vec::new(), Vec::new(), 0, 0);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(seconds) {
        number += 1;
        // Every third answer is left before its end, as a slider that moves on does.
        let leaves = numbers.below(3) == 0;
        let state = numbers.state(&defaults, leaves);
        let asked = Instant::now();
        let body = page.post("api/run", &json!({ "session": "slider", "number": number, "state": state }));
        let mut lines = BufReader::new(body).lines();
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        if leaves {
            cancelled += 1;
            continue;
        }
        first.push(asked.elapsed());
        let end = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()).last().unwrap_or(line);
        assert_eq!(end["refined"], true, "{end}");
        last.push(asked.elapsed());
        assert!(asked.elapsed() < Duration::from_secs(60), "a request is stuck");
        if begun.elapsed() < Duration::from_secs(seconds / 4) {
            early = resident(page.process());
        }
    }
    let late = resident(page.process());
    println!(
        "{} answers, {cancelled} left; first line {:?} (95 %: {:?}), last line {:?} (95 %: {:?}); {} MB, at a quarter of the time {} MB",
        last.len(),
        percentile(&mut first, 0.5),
        percentile(&mut first, 0.95),
        percentile(&mut last, 0.5),
        percentile(&mut last, 0.95),
        late / 1_000_000,
        early / 1_000_000
    );
    assert!(late < early + early / 4 + 64_000_000, "memory grows: {early} to {late}");
}
