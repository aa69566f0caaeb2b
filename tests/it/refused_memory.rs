//! Memory systems that make no sense are refused.
//!
//! `tiersim check` ends with exit code 2 and a message with the field and its value, without a
//! panic. Each test has the invalid values of one kind of field.

use crate::common::program::tiersim;
use std::fs;
use tempfile::TempDir;

/// The message of `tiersim check` for a memory system whose HBM has these fields besides.
fn refused(fields: &str) -> String {
    let place = TempDir::new().expect("a temporary folder");
    let text = format!(
        "MemorySystem(\n  name: \"bad\",\n  tiers: [\n    (name: \"hbm\", capacity: \"4 GiB\", bandwidth: \"1000 GB/s\", {fields}),\n    \
         (name: \"external\", capacity: \"1 TiB\", bandwidth: \"100 GB/s\"),\n  ],\n)"
    );
    fs::write(place.path().join("bad.ron"), &text).expect("a file");
    let output = tiersim(place.path(), &["check", "bad.ron"]).assert().get_output().clone();
    let message = String::from_utf8(output.stderr).expect("messages are UTF-8");
    assert_eq!(output.status.code(), Some(2), "{fields}: {message}");
    assert!(!message.contains("panicked") && message.contains("bad.ron"), "{message}");
    // As the terminal wraps lines.
    message.split_whitespace().collect::<Vec<_>>().join(" ").replace(" │ ", " ")
}

fn refused_with(cases: &[(&str, &[&str])]) {
    for (fields, parts) in cases {
        let message = refused(fields);
        for part in *parts {
            assert!(message.contains(part), "{fields}: no '{part}' in: {message}");
        }
    }
}

#[test]
fn what_no_tier_can_have() {
    refused_with(&[
        ("channels: 0", &["channels", "0"]),
        ("channels: 1025", &["channels", "1025", "1024"]),
        ("channels: -1", &["channels", "-1"]),
        ("interleaving: Hashed(page_tokens: 0)", &["page_tokens", "0"]),
        ("interleaving: Hashed(page_tokens: 65537)", &["interleaving", "65537", "65536"]),
        ("interleaving: Hash(page_tokens: 4)", &["interleaving", "Hash"]),
        ("stripe: \"0 B\"", &["stripe", "0 B"]),
        ("max_transfers: Some(0)", &["max_transfers", "0 transfers"]),
        ("outstanding: Some(\"0 B\")", &["outstanding", "0 B in flight"]),
        ("outstanding: Some(\"1 kB\"), latency: \"10 ms\"", &["outstanding", "1 kB", "10 ms", "less than 1 MB/s"]),
        ("transfer_cap: Some(\"0 GB/s\")", &["transfer_cap", "0 GB/s"]),
        ("latency: \"2 s\"", &["latency", "2 s"]),
    ]);
}

#[test]
fn what_no_link_can_have() {
    refused_with(&[
        ("link: \"pcie9-x16\"", &["pcie9-x16", "pcie5-x16"]),
        ("link: (read: \"1 TB/s\", write: \"1 TB/s\", max_transfers: Some(0))", &["link.max_transfers", "0 transfers"]),
        (
            "link: (read: \"1 TB/s\", write: \"1 TB/s\", outstanding: Some(\"0 B\"))",
            &["link.outstanding", "0 B in flight"],
        ),
        (
            "link: (read: \"1 TB/s\", write: \"1 TB/s\", packet: (payload: \"0 B\", overhead: \"8 B\"))",
            &["payload", "0"],
        ),
        (
            "link: (read: \"1 GB/s\", write: \"1 GB/s\", packet: (payload: \"1 B\", overhead: \"1 MB\"))",
            &["link.packet", "less than 1 MB/s"],
        ),
    ]);
}

#[test]
fn what_no_efficiency_table_can_have() {
    let table = |granules: &str, shares: &str, achieved: &str| {
        format!(
            "efficiency: (source: \"test\", table: (granules: [{granules}], read_shares: [{shares}], achieved: [{achieved}]))"
        )
    };
    let (two, half) = ("\"64 B\", \"4 KiB\"", "0.5, 1");
    for (fields, parts) in [
        (table("\"4 KiB\", \"64 B\"", "1", "[0.5], [0.6]"), ["table.granules[1]", "64 B", "ascending"]),
        (table("\"64 B\", \"64 B\"", "1", "[0.5], [0.6]"), ["table.granules[1]", "64 B", "ascending"]),
        (table(two, "1, 0.5", "[0.5, 0.5], [0.6, 0.6]"), ["table.read_shares[1]", "0.5", "ascending"]),
        (table("", "1", ""), ["table.granules", "0 of them", "from 1 to 64"]),
        (table("\"0 B\"", "1", "[0.5]"), ["table.granules[0]", "at least", "1 byte"]),
        (table(two, half, "[0.5, 0.5]"), ["table.achieved", "1 rows", "2 granules"]),
        (table(two, half, "[0.5, 0.5], [0.5]"), ["table.achieved[1]", "1 entries", "2 read shares"]),
        (table(two, "1", "[0.9], [0.8]"), ["table.achieved[1][0]", "0.8", "0.9"]),
        (table("\"64 B\"", half, "[0.9, 0.01]"), ["table.achieved[0]", "read share 0.5 to 1", "steep"]),
        (table("\"64 B\"", "1", "[NaN]"), ["achieved", "NaN", "bad.ron"]),
        (table("\"64 B\"", "1", "[0]"), ["table.achieved[0][0]", "0 is too little", "0.001"]),
        (table("\"64 B\"", "1", "[1.1]"), ["achieved", "1.1", "between 0 and 1"]),
        (table("\"64 B\"", "1", "[-0.1]"), ["achieved", "-0.1", "bad.ron"]),
    ] {
        let message = refused(&fields);
        for part in parts {
            assert!(message.contains(part), "{fields}: no '{part}' in: {message}");
        }
    }
}

#[test]
fn an_efficiency_is_one_table_or_one_dram_part() {
    let part = include_str!("../../models/dram/hbm3-6400.ron");
    let dram = part.split_once("dram: ").unwrap().1.trim().trim_end_matches(')').trim().trim_end_matches(',');
    let with = |from: &str, to: &str| {
        let changed = dram.replace(from, to);
        assert_ne!(changed, dram, "{from}");
        format!("efficiency: (source: \"test\", dram: {changed})")
    };
    let both = format!(
        "efficiency: (source: \"test\", dram: {dram}, table: (granules: [\"64 B\"], read_shares: [1], achieved: [[0.5]]))"
    );
    for (fields, parts) in [
        (both, ["either a table or a dram", "both"]),
        ("efficiency: (source: \"test\")".to_owned(), ["either a table or a dram", "neither"]),
        ("efficiency: \"hbm9-9999\"".to_owned(), ["hbm9-9999", "hbm3-6400"]),
        (with("t_rfc: \"350 ns\"", "t_rfc: \"4000 ns\""), ["dram.t_refi", "3.9"]),
        (with("t_refi: \"3900 ns\"", "t_refi: \"0 ns\""), ["dram.t_refi", "0"]),
        (with("pseudo_channels: 2", "pseudo_channels: 0"), ["pseudo_channels", "0"]),
        (with("banks: 8", "banks: 5000"), ["dram.banks", "5000"]),
        (with("access: \"32 B\"", "access: \"2 KiB\""), ["dram.access", "2 KiB"]),
        (with("row: \"1024 B\"", "row: \"1024 B\", interleave: \"4 KiB\""), ["dram.interleave", "4 KiB"]),
        (with("pseudo_channels: 2", "pseudo_channels: 2, ranks: 0"), ["ranks", "0"]),
        (with("t_ccd_l: \"2.5 ns\"", "t_ccd_l: \"2 ms\""), ["dram.t_ccd_l", "2 ms"]),
        (with("t_burst: \"1.25 ns\"", "t_burst: \"0 ns\""), ["dram.t_burst", "0"]),
        (with("t_rtw: \"12.5 ns\"", "t_rtw: \"1 ns\""), ["dram.t_rtw", "1 ns"]),
    ] {
        let message = refused(&fields);
        for part in parts {
            assert!(message.contains(part), "{fields}: no '{part}' in: {message}");
        }
    }
}

#[test]
fn the_chips_name_is_taken() {
    // A second name in the same tier would be another error.
    let place = TempDir::new().expect("a temporary folder");
    let study = include_str!("../../models/memory/study.ron").replace("name: \"hbm\"", "name: \"chip\"");
    fs::write(place.path().join("bad.ron"), study).expect("a file");
    let output = tiersim(place.path(), &["check", "bad.ron"]).assert().code(2).get_output().clone();
    let message = String::from_utf8(output.stderr).expect("messages are UTF-8");
    assert!(message.contains("tiers[0].name") && message.contains("'chip'"), "{message}");
}
