//! Files cut short, with absurd lengths, and with random damage: they are read or refused, without
//! a panic and without much memory. The `fuzz_*` tests run for `FUZZ_SECONDS`.

use super::foreign::{METADATA, foreign, valid_columns};
use super::*;

#[test]
fn truncated_files_are_refused() {
    let sets = small();
    for file in [sets.as_parquet(Encoding::Sets, 3), sets.as_parquet(Encoding::Differences, 3), sets.as_kvs()] {
        for length in 0..file.len() {
            assert!(read(file[..length].to_vec()).is_err(), "{length} of {} bytes were read as a trace", file.len());
        }
    }
}

/// A page whose header announces 1 GB of decompressed data is refused before memory is allocated.
#[test]
fn absurd_lengths_are_not_believed() {
    let file = small().as_parquet(Encoding::Sets, 3);
    // The header of the first page of the first column: 0x15, its type (0 or 4), 0x15, its size.
    let start = 4;
    assert_eq!((file[start], file[start + 2]), (0x15, 0x15));
    let old = if file[start + 3] < 0x80 { 1 } else { 2 };
    let mut huge = file[..start + 3].to_vec();
    // 2^30, zigzag and in groups of 7 bits. The columns' offsets no longer fit, but the first page
    // is met first.
    huge.extend([0x80, 0x80, 0x80, 0x80, 0x08]);
    huge.extend(&file[start + 3 + old..]);
    let message = read(huge).expect_err("an invalid file").to_string();
    assert!(message.contains("a page of 1073741824 bytes"), "{message}");
    // A footer longer than the file.
    let mut footer = file.clone();
    let at = footer.len() - 8;
    footer[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(read(footer).is_err());
}

/// The whole trace of a damaged file, if it still is one: what matters is that nothing panics and
/// little memory is taken.
fn survives(bytes: Vec<u8>) {
    let _ = read(bytes);
}

/// One of the small files, damaged: bytes overwritten, taken out, put in, or doubled.
fn damaged(file: &[u8], damages: &[(u8, prop::sample::Index, u8)]) -> Vec<u8> {
    let mut bytes = file.to_vec();
    for (kind, at, value) in damages {
        let at = at.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
        match kind % 5 {
            _ if bytes.is_empty() => bytes.push(*value),
            0 => bytes[at] = *value,
            1 => bytes[at] ^= 1 << (value % 8),
            2 => drop(bytes.remove(at)),
            3 => bytes.insert(at, *value),
            _ => {
                let end = (at + usize::from(*value)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}

fn files() -> Vec<Vec<u8>> {
    let sets = small();
    vec![
        sets.as_parquet(Encoding::Sets, 3),
        sets.as_parquet(Encoding::Differences, 3),
        foreign(&valid_columns(), &METADATA, 4),
        sets.as_kvs(),
        sets.as_json_lines(),
    ]
}

fn damages() -> impl Strategy<Value = Vec<(u8, prop::sample::Index, u8)>> {
    proptest::collection::vec((any::<u8>(), any::<prop::sample::Index>(), any::<u8>()), 1..6)
}

proptest! {
    #![proptest_config(cases(CASES))]
    #[test]
    fn damaged_files_do_no_harm(which in 0usize..5, damages in damages()) {
        survives(damaged(&files()[which], &damages));
    }
}

/// The same for `FUZZ_SECONDS` seconds, for one format or all.
fn fuzz(which: &[usize]) {
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let end = Instant::now() + Duration::from_secs(seconds);
    let files = files();
    let mut rounds = 0u64;
    while Instant::now() < end {
        // A runner's own random seed: every round is new.
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(5_000)
        });
        let strategy = (proptest::sample::select(which.to_vec()), damages());
        runner
            .run(&strategy, |(which, damages)| {
                survives(damaged(&files[which], &damages));
                Ok(())
            })
            .unwrap();
        rounds += 5_000;
    }
    println!("{rounds} damaged files in {seconds} s");
}

#[test]
#[ignore = "runs for FUZZ_SECONDS"]
fn fuzz_parquet() {
    fuzz(&[0, 1, 2]);
}

#[test]
#[ignore = "runs for FUZZ_SECONDS"]
fn fuzz_kvs() {
    fuzz(&[3]);
}

#[test]
#[ignore = "runs for FUZZ_SECONDS"]
fn fuzz_json_lines() {
    fuzz(&[4]);
}
