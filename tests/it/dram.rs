//! The formulas of DRAM parts against figures of cycle-level simulators: what was published or
//! given, and our own slow twin.

use crate::common::dram_commands::{self, PARTS, Traffic, timing};
use tiersim::memory::{Dram, DramConfig, Pattern};
use tiersim::units::Bytes;

fn model(config: &DramConfig, traffic: Traffic, read_share: f64) -> f64 {
    let (pattern, granule) = match traffic {
        Traffic::Random(granule) => (Pattern::Random, granule),
        Traffic::Streams(burst) => (Pattern::Streams, burst),
        Traffic::Mixed => (Pattern::Streams, 64),
    };
    Dram::new(config).unwrap().achieved(pattern, Bytes::new(granule as u64), read_share)
}

type Given = (&'static str, &'static [(&'static str, u32)], Traffic, f64, f64);

/// Figures of cycle-level simulators that others ran: Ramulator 2.1 with queues of 128 reads and 64
/// writes for HBM3, 64 and 64 for LPDDR5 and DDR5; random reads of DDR4 by the number of ranks;
/// streams of HBM4 by the read queue; the limit that refresh sets. (part, fields to change,
/// traffic, read share, achieved)
#[rustfmt::skip]
const GIVEN: [Given; 22] = [
    ("hbm3-6400", &[], Traffic::Streams(1 << 40), 1.0, 0.898),
    ("hbm3-6400", &[], Traffic::Streams(1 << 40), 0.0, 0.897),
    ("hbm3-6400", &[], Traffic::Streams(4096), 0.5, 0.811),
    ("hbm3-6400", &[], Traffic::Random(64), 1.0, 0.590),
    ("hbm3-6400", &[], Traffic::Random(4096), 1.0, 0.846),
    ("lpddr5-6400", &[], Traffic::Streams(1 << 40), 1.0, 0.917),
    ("lpddr5-6400", &[], Traffic::Streams(1 << 40), 0.0, 0.907),
    ("lpddr5-6400", &[], Traffic::Streams(4096), 0.5, 0.873),
    ("lpddr5-6400", &[], Traffic::Random(64), 1.0, 0.710),
    ("lpddr5-6400", &[], Traffic::Random(4096), 1.0, 0.891),
    ("ddr5-4800", &[], Traffic::Streams(1 << 40), 1.0, 0.917),
    ("ddr5-4800", &[], Traffic::Streams(1 << 40), 0.0, 0.906),
    ("ddr5-4800", &[], Traffic::Streams(4096), 0.5, 0.875),
    ("ddr5-4800", &[], Traffic::Random(64), 1.0, 0.611),
    ("ddr5-4800", &[], Traffic::Random(4096), 1.0, 0.907),
    ("ddr4-3200", &[("ranks", 1)], Traffic::Random(64), 1.0, 11.3 / 25.6),
    ("ddr4-3200", &[("ranks", 2)], Traffic::Random(64), 1.0, 20.7 / 25.6),
    ("ddr4-3200", &[("ranks", 4)], Traffic::Random(64), 1.0, 22.7 / 25.6),
    ("hbm4-8000", &[("read_queue", 64)], Traffic::Streams(1 << 40), 1.0, 0.822),
    ("hbm4-8000", &[("read_queue", 128)], Traffic::Streams(1 << 40), 1.0, 0.879),
    ("hbm2-2000-8gb", &[], Traffic::Streams(1 << 40), 1.0, 0.902),
    ("ddr4-3200-2r", &[], Traffic::Random(64), 1.0, 20.7 / 25.6),
];

#[test]
fn given_figures_are_met_to_two_points() {
    for (name, changes, traffic, read_share, given) in GIVEN {
        let mut config = timing(name);
        for &(field, value) in changes {
            *(match field {
                "ranks" => &mut config.ranks,
                "read_queue" => &mut config.read_queue,
                _ => unreachable!("{field}"),
            }) = value;
        }
        let model = model(&config, traffic, read_share);
        assert!(
            (model - given).abs() < 0.02,
            "{name} {changes:?} {traffic:?} {read_share}: {model:.4}, given {given:.4}"
        );
    }
}

/// What an earlier simulator of ours ran, written apart from the twin. (part, pattern, granule,
/// read share, achieved, how near the model is)
#[rustfmt::skip]
const BEYOND: [(&str, Pattern, u64, f64, f64, f64); 26] = [
    ("hbm3-6400", Pattern::Random, 256, 1.0, 0.592, 0.02),
    ("hbm3-6400", Pattern::Random, 1024, 1.0, 0.855, 0.02),
    ("hbm3-6400", Pattern::Random, 16384, 1.0, 0.893, 0.02),
    ("hbm3-6400", Pattern::Random, 64, 0.5, 0.406, 0.02),
    ("hbm3-6400", Pattern::Random, 4096, 0.75, 0.756, 0.025),
    ("hbm3-6400", Pattern::Streams, 1024, 0.25, 0.659, 0.02),
    ("hbm3-6400", Pattern::Streams, 16384, 0.5, 0.853, 0.02),
    ("lpddr5-6400", Pattern::Random, 512, 1.0, 0.880, 0.025),
    ("lpddr5-6400", Pattern::Random, 64, 0.25, 0.470, 0.03),
    ("lpddr5-6400", Pattern::Random, 1024, 0.5, 0.716, 0.03),
    ("lpddr5-6400", Pattern::Streams, 256, 0.67, 0.776, 0.02),
    ("ddr5-4800", Pattern::Random, 512, 1.0, 0.610, 0.02),
    ("ddr5-4800", Pattern::Random, 64, 0.5, 0.603, 0.02),
    ("ddr5-4800", Pattern::Random, 4096, 0.5, 0.815, 0.02),
    ("ddr5-4800", Pattern::Streams, 1024, 0.5, 0.859, 0.02),
    ("hbm2-2000", Pattern::Random, 64, 1.0, 0.614, 0.02),
    ("hbm2-2000", Pattern::Random, 4096, 1.0, 0.879, 0.02),
    ("hbm2-2000", Pattern::Streams, 4096, 0.5, 0.839, 0.02),
    ("hbm4-8000", Pattern::Random, 64, 1.0, 0.455, 0.02),
    ("hbm4-8000", Pattern::Random, 4096, 1.0, 0.838, 0.02),
    ("hbm4-8000", Pattern::Streams, 16384, 0.5, 0.818, 0.025),
    ("ddr4-3200", Pattern::Random, 64, 1.0, 0.434, 0.02),
    ("ddr4-3200", Pattern::Random, 4096, 1.0, 0.912, 0.02),
    ("ddr4-3200", Pattern::Streams, 4096, 0.67, 0.891, 0.02),
    ("lpddr5x-8533", Pattern::Random, 64, 1.0, 0.679, 0.02),
    ("lpddr5x-8533", Pattern::Streams, 1024, 0.75, 0.815, 0.02),
];

#[test]
fn an_earlier_simulator_agrees() {
    for (name, pattern, granule, read_share, simulated, near) in BEYOND {
        let model = Dram::new(&timing(name)).unwrap().achieved(pattern, Bytes::new(granule), read_share);
        let what = format!("{name} {pattern:?} {granule} {read_share}");
        assert!((model - simulated).abs() < near, "{what}: {model:.4} against {simulated}");
    }
}

/// A cell of each kind for each part: streams, short and long granules, mixes. The limit of each
/// kind is what the whole grid needs.
#[test]
fn the_formulas_follow_the_twin() {
    let cells = [
        (Traffic::Streams(1 << 40), 1.0, 0.02),
        (Traffic::Mixed, 0.7, 0.045),
        (Traffic::Random(4096), 0.5, 0.03),
        (Traffic::Random(64), 1.0, 0.04),
    ];
    for (name, extras) in PARTS {
        // The ranks of the twin are nearer to ideal than the given figures.
        for (traffic, read_share, limit) in cells.into_iter().filter(|_| name != "ddr4-3200-2r") {
            let config = timing(name);
            let twin = dram_commands::achieved(&config, extras, traffic, read_share, 15);
            let model = model(&config, traffic, read_share);
            assert!((model - twin).abs() < limit, "{name} {traffic:?} {read_share}: {model:.4}, twin {twin:.4}");
        }
    }
}

/// Pieces of a row's length in one bank group after another: a queue of half a piece keeps two
/// groups going, a short one does not, and columns are t_ccd_l apart.
#[test]
fn the_address_map_decides_whether_bank_groups_overlap() {
    let extras = PARTS.iter().find(|part| part.0 == "ddr4-3200").unwrap().1;
    for interleave in [64, 1024, 8192] {
        for read_queue in [16, 64] {
            let config = DramConfig { interleave: Bytes::new(interleave), read_queue, ..timing("ddr4-3200") };
            for traffic in [Traffic::Mixed, Traffic::Random(64), Traffic::Random(1024), Traffic::Random(4096)] {
                let twin = dram_commands::achieved(&config, extras, traffic, 1.0, 15);
                let model = model(&config, traffic, 1.0);
                let limit = if read_queue == 64 { 0.06 } else { 0.12 };
                let what = format!("{interleave} {read_queue} {traffic:?}");
                assert!((model - twin).abs() < limit, "{what}: {model:.4}, twin {twin:.4}");
            }
        }
    }
    let stream = |read_queue| {
        let config = DramConfig { interleave: Bytes::new(8192), read_queue, ..timing("ddr4-3200") };
        model(&config, Traffic::Mixed, 1.0)
    };
    assert!(stream(16) < 0.56 && stream(64) > 0.94, "{} {}", stream(16), stream(64));
}

/// A rank more never achieves less, and four activations in t_faw limit one rank only.
#[test]
fn ranks_share_the_bus_but_not_their_activations() {
    let achieved = |ranks: u32, granule: u64, read_share: f64| {
        let config = DramConfig { ranks, ..timing("ddr4-3200") };
        model(&config, Traffic::Random(granule as i64), read_share)
    };
    for granule in [64, 256, 1024, 4096] {
        for read_share in [0.0, 0.5, 1.0] {
            for ranks in [1, 2, 4] {
                let (few, many) = (achieved(ranks, granule, read_share), achieved(2 * ranks, granule, read_share));
                assert!(many > few - 0.01, "{granule} {read_share}: {ranks} ranks {few:.4}, twice as many {many:.4}");
            }
        }
    }
    assert!(achieved(2, 64, 1.0) > 1.7 * achieved(1, 64, 1.0));
    // Of long granules, activations are no limit to begin with.
    assert!((achieved(4, 4096, 1.0) - achieved(1, 4096, 1.0)).abs() < 0.05);
}

/// Cell by cell, over granules, mixes and parts; prints them all.
#[test]
#[ignore = "minutes"]
fn the_whole_grid() {
    let mut errors = Vec::new();
    for (name, extras) in PARTS {
        let config = timing(name);
        let mut cells = Vec::new();
        for read_share in [1.0, 0.7, 0.5, 0.25, 0.0] {
            cells.extend([64, 256, 1024, 4096, 16_384].map(|granule| (Traffic::Random(granule), read_share)));
            cells.push((Traffic::Mixed, read_share));
            cells.push((Traffic::Streams(4096), read_share));
        }
        for (traffic, read_share) in cells {
            let twin = dram_commands::achieved(&config, extras, traffic, read_share, 30);
            let model = model(&config, traffic, read_share);
            println!("{name}\t{traffic:?}\t{read_share}\t{twin:.4}\t{model:.4}");
            errors.push((model - twin).abs());
        }
    }
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    let worst = errors.iter().copied().fold(0.0, f64::max);
    println!("{} cells, mean error {mean:.4}, worst {worst:.4}", errors.len());
    assert!(mean < 0.02 && worst < 0.09, "mean {mean:.4}, worst {worst:.4}");
}
