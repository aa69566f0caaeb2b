//! Outputs of benchmarks become memory systems and cases.

use crate::common::program::tiersim;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use tiersim::memory::{MemoryConfig, MemorySystem};

/// Of a GPU whose link carries less in both directions together than in each.
const NVBANDWIDTH: &str = "nvbandwidth Version: v0.8\n\nDevice 0: GPU A (00000000:01:00)\n\n\
    Running host_to_device_memcpy_sm.\nmemcpy SM CPU(row) -> GPU(column) bandwidth (GB/s)\n           0\n 0    335.50\n\n\
    Running device_to_host_memcpy_sm.\nmemcpy SM CPU(row) <- GPU(column) bandwidth (GB/s)\n           0\n 0    297.00\n\n\
    Running host_to_device_bidirectional_memcpy_sm.\nmemcpy SM CPU(row) <-> GPU(column) bandwidth (GB/s)\n           0\n 0    179.00\n\n\
    Running device_to_host_bidirectional_memcpy_sm.\nmemcpy SM CPU(row) <-> GPU(column) bandwidth (GB/s)\n           0\n 0    181.00\n\n\
    Running host_device_latency_sm.\nmemory latency SM CPU(row) <-> GPU(column) (ns)\n           0\n 0    800.00\n\n\
    Running device_local_copy.\nmemcpy local GPU(column) bandwidth (GB/s)\n           0\n 0   1500.00\n\nSUM device_local_copy 1500.00\n";

const STREAM: &str = "STREAM version $Revision: 5.10 $\nNumber of Threads counted = 16\n\
    Function    Best Rate MB/s  Avg time     Min time     Max time\n\
    Copy:          300000.0     0.01     0.01     0.01\nScale:         300000.0     0.01     0.01     0.01\n\
    Add:           340000.0     0.01     0.01     0.01\nTriad:         348000.0     0.01     0.01     0.01\n";

const TABLE: &str = "| model         |     size |  params | backend | ngl |          test |            t/s |\n\
    | ------------- | -------: | ------: | ------- | --: | ------------: | -------------: |\n\
    | llama 7B Q4_0 | 3.56 GiB |  6.74 B | CUDA    |  99 |         pp512 | 5000.0 ± 10.00 |\n\
    | llama 7B Q4_0 | 3.56 GiB |  6.74 B | CUDA    |  99 |         tg128 |  130.25 ± 0.10 |\n\
    | llama 7B Q4_0 | 3.56 GiB |  6.74 B | CUDA    |  99 | tg128 @ d2048 |  110.50 ± 0.10 |\n";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
    folder
}

/// The exit code, and what is printed on stdout and stderr.
fn run(place: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = tiersim(place, &[&["memory", "import"], args].concat()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_gpu_and_its_host_become_two_tiers() {
    let place = folder(&[("gpu.txt", NVBANDWIDTH), ("cpu.txt", STREAM)]);
    let args = ["gpu.txt", "cpu.txt", "--capacity", "96GB", "--capacity", "480GB", "--name", "box", "-o", "box.ron"];
    let (code, _, notes) = run(place.path(), &args);
    assert_eq!(code, Some(0), "{notes}");
    let text = fs::read_to_string(place.path().join("box.ron")).unwrap();
    let config: MemoryConfig = tiersim::config::parse(&text, "box.ron").unwrap();
    MemorySystem::new(&config).unwrap();
    let [hbm, host] = config.tiers.as_slice() else { panic!("{text}") };
    let gb = |text: &str| text.parse().unwrap();
    // 1500 GB/s are read and as many written.
    assert_eq!((hbm.name.as_str(), hbm.bandwidth, hbm.capacity), ("hbm", gb("3000 GB/s"), "96 GB".parse().unwrap()));
    // STREAM's Triad; as many reads as writes achieve 300 of 348.
    assert_eq!(host.bandwidth, gb("348 GB/s"));
    assert!(text.contains("achieved: [[0.8621, 1.0000]]"), "{text}");
    let link = host.link().unwrap();
    assert_eq!((link.read, link.write, link.combined), (gb("335.5 GB/s"), gb("297 GB/s"), Some(gb("360 GB/s"))));
    assert_eq!(link.latency, "800 ns".parse().unwrap());
    for words in ["read: gpu.txt: host_to_device_memcpy_sm", "GPU A", "assumed: a copy of 1500 GB/s", "16 threads"] {
        assert!(notes.contains(words), "{notes}");
    }
}

#[test]
fn a_remote_memory_is_behind_a_link() {
    let far = STREAM.replace("300000.0", "90000.0").replace("340000.0", "100000.0").replace("348000.0", "105000.0");
    let place = folder(&[("near.txt", STREAM), ("far.txt", &far)]);
    let (code, text, _) = run(place.path(), &["near.txt", "far.txt", "--capacity", "256GB", "--capacity", "256GB"]);
    assert_eq!(code, Some(0));
    let config: MemoryConfig = tiersim::config::parse(&text, "near").unwrap();
    let [ram, remote] = config.tiers.as_slice() else { panic!("{text}") };
    assert_eq!((config.name.as_str(), ram.name.as_str(), remote.name.as_str()), ("near", "ram", "remote"));
    let link = remote.link().unwrap();
    assert_eq!((link.read, link.combined), ("105 GB/s".parse().unwrap(), Some("105 GB/s".parse().unwrap())));
    assert_eq!((remote.bandwidth, ram.link()), (ram.bandwidth, None));
}

#[test]
fn a_table_becomes_cases_that_are_validated() {
    let place = folder(&[("bench.md", TABLE)]);
    let args =
        ["bench.md", "--memory", "a100", "--model", "study", "--runtime", "", "--name", "mine", "-o", "cases.csv"];
    let (code, _, notes) = run(place.path(), &args);
    assert_eq!(code, Some(0), "{notes}");
    assert!(notes.contains("1 rows of prompt processing"), "{notes}");
    let text = fs::read_to_string(place.path().join("cases.csv")).unwrap();
    let rows: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(
        rows,
        [
            "mine-study-d0-b1,mine,a100,,study,,1,128,1,tokens_per_s,130.25,tokens/s,bench.md line 4: CUDA llama 7B Q4_0,check",
            "mine-study-d2048-b1,mine,a100,,study,,2048,128,1,tokens_per_s,110.5,tokens/s,bench.md line 5: CUDA llama 7B Q4_0,check",
        ]
    );
    let output = tiersim(place.path(), &["validate", "cases.csv", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["groups"]["mine"]["count"], 2);
}

/// Exit code 2, a message that names what is wrong, and nothing written.
#[test]
fn bad_input_is_refused() {
    let table = TABLE.replace("130.25", "0.00");
    let two = format!("{TABLE}{}", TABLE.lines().nth(3).unwrap().replace("7B", "8B"));
    let local = NVBANDWIDTH.find("Running device_local_copy").unwrap();
    let files = [
        ("gpu.txt", NVBANDWIDTH),
        ("cpu.txt", STREAM),
        ("bench.md", TABLE),
        ("zero.md", &table),
        ("two.md", &two),
        ("hello.txt", "hello\n"),
        ("no-local.txt", &NVBANDWIDTH[..local]),
    ];
    let place = folder(&files);
    let ram = ["--capacity", "1GB"];
    for (args, words) in [
        (&["hello.txt"][..], &["hello.txt", "no output of"][..]),
        (&["gpu.txt"], &["--capacity", "0 given", "hbm, host"]),
        (&["cpu.txt", ram[0], ram[1], ram[0], ram[1]], &["--capacity", "2 given"]),
        (&["cpu.txt", "--capacity", "1 gig"], &["1 gig"]),
        (&["gpu.txt", "--device", "4", ram[0], ram[1]], &["gpu.txt", "'4'", "--device"]),
        (&["no-local.txt", ram[0], ram[1], ram[0], ram[1]], &["no-local.txt", "device_local_copy"]),
        (&["bench.md", "--model", "study"], &["--memory"]),
        (&["bench.md", "--memory", "a100"], &["--model", "llama 7B Q4_0"]),
        (&["two.md", "--memory", "a100", "--model", "study"], &["several models", "llama 8B Q4_0=NAME"]),
        (&["zero.md", "--memory", "a100", "--model", "study"], &["zero.md", "line 4", "'0.00'"]),
        (&["gpu.txt", "bench.md"], &["apart"]),
        (&["absent.txt"], &["absent.txt"]),
    ] {
        let (code, printed, message) = run(place.path(), &[args, &["-o", "out.ron"]].concat());
        assert_eq!((code, printed.as_str()), (Some(2), ""), "{args:?}: {message}");
        assert!(words.iter().all(|word| message.contains(word)), "{args:?}: {message}");
        assert!(!place.path().join("out.ron").exists(), "{args:?}");
    }
}
