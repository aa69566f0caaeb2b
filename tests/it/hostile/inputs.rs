//! What the driver starts from, and how it spoils it.

/// SplitMix64: the same inputs for the same seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub(super) fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// Values where something may break.
pub(super) const EXTREMES: [&str; 34] = [
    "0",
    "1",
    "-1",
    "2",
    "255",
    "65536",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "1e-308",
    "1e400",
    "NaN",
    "inf",
    "-inf",
    "-0.0",
    "0.5",
    "1.0000001",
    "\"\"",
    "\"64 PiB\"",
    "\"65 PiB\"",
    "\"1 B\"",
    "\"0 B\"",
    "\"100 PB/s\"",
    "\"1 MB/s\"",
    "\"213 d\"",
    "\"18446744073 s\"",
    "\"1 ps\"",
    "[]",
    "{}",
    "None",
    "\"a\\u{1b}[31m\"",
    "\"../../x\"",
];

pub(super) const SCENARIO: &str = r#"Scenario(
    name: "small", about: "a small one",
    model: LanguageModel(name: "m", layers: [
        (count: 2, attention: (stored: "8 MB", read: "4 MB"), mlp: (stored: "16 MB"), kv_bytes: "32 KiB"),
    ]),
    memory: MemorySystem(name: "two tiers", arbitration: Fair, tiers: [
        (name: "hbm", capacity: "64 MiB", bandwidth: "1000 GB/s", channels: 4, latency: "100 ns", max_transfers: 8),
        (name: "external", capacity: "4 GiB", bandwidth: "300 GB/s", link: (read: "100 GB/s", write: "100 GB/s", latency: "200 ns")),
    ]),
    prefill_tokens: 64, decode_tokens: 12, page_tokens: 4, weight_prefetch: 1,
    trace: Generated(skip: 0.4, churn: 0.05, seed: 7, sinks: 4, recent: 8),
    strategy: "best-ratio",
    compute: (rate: "100 TFLOP/s", flop_per_weight_byte: 1.0, flop_per_kv_byte: 2.0),
)"#;

pub(super) const SWEEP: &str = r#"Sweep(
    name: "small", about: "a small one", base: "study", set: {"decode_tokens": 4, "prefill_tokens": 32},
    axes: [
        Values(field: "trace.skip", values: [0.0, "20%"]),
        Linear(field: "memory.hbm.capacity", from: "2GiB", to: "4GiB", points: 2),
        Choices(name: "c", choices: [("a", {"strategy": "baseline"}), ("b", {"strategy": "best-ratio"})]),
    ],
    exclude: [{"c": "a", "trace.skip": "> 0.1"}], repeats: 1, seed: "trace.seed",
)"#;

pub(super) const GENERATOR: &str = r#"Lifelike(skip: 0.4, seed: 3, sinks: 4, layer_independence: 0.5, exchange: 0.3, drift: 0.2, drift_steps: 30,
    patch_tokens: 8, recency: [0.1, 0.2, -0.3])"#;

pub(super) const TRAFFIC: &str = "issue_ns,class,source,destination,bytes\n0,WeightRead,hbm,chip,4096\n10.5,KvRead,external,chip,1MiB\n\
    12,MigrateIn,external,hbm,64KiB\n13,KvWrite,chip,external,32KiB\n";

pub(super) const JSONL: &str = "{\"step\":0,\"layer\":0,\"skipped\":[1,2],\"prefill_tokens\":8}\n{\"step\":0,\"layer\":1,\"skipped\":[3]}\n\
    {\"step\":1,\"layer\":0,\"skipped\":[1]}\n{\"step\":1,\"layer\":1,\"skipped\":[]}\n";

/// Changes `bytes` as a damaged disk, a careless person or an attacker would.
pub(super) fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    // Most often a single number, so that most of the input stays valid.
    if random.below(2) == 0 {
        let is_start = |at: &usize| bytes[*at].is_ascii_digit() && (*at == 0 || !bytes[*at - 1].is_ascii_digit());
        let starts: Vec<usize> = (0..bytes.len()).filter(is_start).collect();
        if !starts.is_empty() {
            let start = starts[random.below(starts.len())];
            let end = (start..bytes.len()).find(|at| !bytes[*at].is_ascii_digit()).unwrap_or(bytes.len());
            bytes.splice(start..end, random.of(&WHOLE).bytes());
        }
        return;
    }
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(12) {
            // A value becomes an extreme one.
            0..=4 => {
                let starts: Vec<usize> = (1..bytes.len())
                    .filter(|&at| {
                        (bytes[at].is_ascii_digit() || bytes[at] == b'"') && b" :[(,".contains(&bytes[at - 1])
                    })
                    .collect();
                if starts.is_empty() {
                    continue;
                }
                let start = starts[random.below(starts.len())];
                let is_end = |&at: &usize| b",)]}\n".contains(&bytes[at]);
                let end = (start + 1..bytes.len()).find(is_end).unwrap_or(bytes.len());
                bytes.splice(start..end, random.of(&EXTREMES).bytes());
            }
            5 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            6 => bytes.truncate(at),
            7 => {
                let end = (at + random.below(64)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                let times = if random.below(8) == 0 { 3000 } else { 1 };
                bytes.splice(at..at, part.repeat(times));
            }
            8 => drop(bytes.drain(at..(at + random.below(32)).min(bytes.len()))),
            9 => {
                let junk: Vec<u8> = (0..random.below(16)).map(|_| random.next() as u8).collect();
                bytes.splice(at..at, junk);
            }
            10 => {
                let odd = ["\u{feff}", "\0", "\u{1b}]0;x\u{7}", "(((((((((", "\r\n", "\u{202e}", "'", "//", "/*", "é"];
                bytes.splice(at..at, random.of(&odd).bytes());
            }
            _ => bytes.splice(at..at, " ".repeat(random.below(70_000)).bytes()).for_each(drop),
        }
    }
}

/// Odd values that fields of a kind may have, and some that they may not.
pub(super) const WHOLE: [&str; 12] =
    ["0", "1", "2", "3", "7", "16", "100", "1000", "65536", "4294967295", "999999999999", "18446744073709551615"];
pub(super) const SHARES: [&str; 9] = ["0", "1", "0.001", "99.9%", "50%", "33.3333%", "0.999999999", "100%", "1.5"];
pub(super) const SIZES: [&str; 9] = ["0 B", "1 B", "3 B", "4097 B", "1 MiB", "63.9 MiB", "1 GiB", "64 PiB", "1.5 B"];
pub(super) const RATES: [&str; 7] =
    ["1 MB/s", "1.000001 MB/s", "3 GB/s", "300 GB/s", "1000 GB/s", "1 PB/s", "100 PB/s"];
pub(super) const TIMES: [&str; 6] = ["0 ps", "1 ps", "999 ns", "1 ms", "1 s", "1.1 s"];
pub(super) const STRATEGIES: [&str; 6] =
    ["baseline", "best-ratio", "balanced", "balanced-online", "best-ratio-drop", "none"];
pub(super) const MIGRATIONS: [&str; 7] = [
    "None",
    "LookAhead",
    "Lru",
    "Lfu",
    "PastWindow(steps: 4294967295)",
    "Predictive",
    "LookAheadBatch(steps: 4294967295)",
];
pub(super) const OTHERS: [&str; 8] =
    ["null", "Inclusive", "Exclusive", "fifo", "priority", "Charged", "{\"Hashed\":{\"page_tokens\":1}}", "[]"];

/// Flags and fields, with the values of their kinds.
pub(super) const FLAGS: [(&str, &[&str]); 40] = [
    ("--prefill", &WHOLE),
    ("--decode", &WHOLE),
    ("--page-tokens", &WHOLE),
    ("--skip", &SHARES),
    ("--churn", &SHARES),
    ("--seed", &WHOLE),
    ("--hbm-capacity", &SIZES),
    ("--hbm-bandwidth", &RATES),
    ("--link-bandwidth", &RATES),
    ("--migration-budget", &SIZES),
    ("--timeline", &WHOLE),
    ("--jobs", &WHOLE),
    ("--memory-limit", &SIZES),
    ("--migration", &MIGRATIONS),
    ("--strategy", &STRATEGIES),
    ("--arbitration", &OTHERS),
    ("prefill_tokens", &WHOLE),
    ("decode_tokens", &WHOLE),
    ("weight_prefetch", &WHOLE),
    ("trace.skip", &SHARES),
    ("trace.churn", &SHARES),
    ("trace.sinks", &WHOLE),
    ("trace.recent", &WHOLE),
    ("trace.old_bias", &WHOLE),
    ("memory.hbm.channels", &WHOLE),
    ("memory.hbm.latency", &TIMES),
    ("memory.external.link.read", &RATES),
    ("memory.external.link.latency", &TIMES),
    ("memory.external.capacity", &SIZES),
    ("memory.hbm.max_transfers", &WHOLE),
    ("memory.hbm.transfer_cap", &RATES),
    ("memory.residency", &OTHERS),
    ("memory.hbm.turnaround", &TIMES),
    ("memory.hbm.stripe", &SIZES),
    ("memory.hbm.interleaving", &OTHERS),
    ("model.layers[0].count", &WHOLE),
    ("model.layers[0].kv_bytes", &SIZES),
    ("compute.flop_per_kv_byte", &SHARES),
    ("bound", &OTHERS),
    ("name", &STRATEGIES),
];
