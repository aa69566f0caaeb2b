//! Thousands of hostile inputs at random: mutated files of every kind, extreme numbers, damaged
//! folders of results, kills at random moments, several processes in one folder, full disks. Every
//! process runs under limits of memory and time.
//!
//! What must hold: the exit code is 0, 1, 2 or 130; no panic and no abort; an error message that
//! says something, at moderate length and without control characters; no temporary file afterwards;
//! a folder has the results of one run.

use super::inputs::{EXTREMES, FLAGS, GENERATOR, JSONL, Random, SCENARIO, SWEEP, TRAFFIC, mutate};
use crate::common::program::binary;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What a process may take.
const MEMORY_KB: u64 = 3_000_000;
/// After so long a process is asked to end by SIGINT, as a user would.
const PATIENCE: Duration = Duration::from_secs(20);
/// And then has so long.
const GRACE: Duration = Duration::from_secs(10);
/// The longest message.
const MESSAGE: usize = 16 << 10;

/// What all cases start from.
struct Seeds {
    folder: TempDir,
    /// Files of each kind, with the commands that take them: `@` is the file.
    files: Vec<(&'static str, PathBuf, Vec<Vec<&'static str>>)>,
}

impl Seeds {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path();
        let text = |name: &str, text: &str| {
            fs::write(path.join(name), text).unwrap();
            path.join(name)
        };
        let run = |args: &[&str]| {
            let status =
                Command::new(binary()).current_dir(path).arg("-q").args(args).stdout(Stdio::null()).status().unwrap();
            assert!(status.success(), "{args:?}");
        };
        let scenario = text("scenario.ron", SCENARIO);
        let sweep = text("sweep.ron", SWEEP);
        run(&["run", "scenario.ron", "--out", "run"]);
        run(&["run", "scenario.ron", "--out", "other", "--set", "memory.hbm.bandwidth=900GB/s"]);
        run(&["sweep", "sweep.ron", "--out", "swept"]);
        for trace in ["t.kvs", "t.parquet", "t.jsonl"] {
            run(&[
                "trace",
                "generate",
                "--layers",
                "2",
                "--prefill",
                "64",
                "--decode",
                "12",
                "--skip",
                "40%",
                "-o",
                trace,
            ]);
        }
        let checked = |command: &[&'static str]| vec![vec!["check", "@"], command.to_vec()];
        let traced = || {
            vec![
                vec!["trace", "info", "@", "--out", "info"],
                vec!["trace", "verify", "@"],
                vec!["run", "scenario.ron", "--trace", "@", "--out", "o"],
                vec!["trace", "import", "@", "-o", "x.parquet"],
                vec!["trace", "export", "@", "-o", "x.jsonl"],
            ]
        };
        let files = vec![
            ("scenario", scenario, checked(&["run", "@", "--out", "o"])),
            ("sweep", sweep, checked(&["sweep", "@", "--out", "o"])),
            ("sweep", path.join("sweep.ron"), vec![vec!["sweep", "@", "--dry-run"]]),
            (
                "generator",
                text("generator.ron", GENERATOR),
                checked(&["run", "scenario.ron", "--trace", "@", "--out", "o"]),
            ),
            (
                "generator",
                path.join("generator.ron"),
                vec![vec!["trace", "generate", "@", "--decode", "4", "-o", "x.kvs"]],
            ),
            ("traffic", text("traffic.csv", TRAFFIC), vec![vec!["replay", "@", "--memory", "study", "--out", "o"]]),
            ("trace", text("small.jsonl", JSONL), traced()),
            ("trace", path.join("t.kvs"), traced()),
            ("trace", path.join("t.parquet"), traced()),
            ("trace", path.join("t.jsonl"), traced()),
            ("summary", path.join("run/summary.json"), checked(&["run", "@", "--out", "o"])),
            ("summary", path.join("run/summary.json"), vec![vec!["explain", "@", "--out", "o"]]),
            (
                "log",
                path.join("run/histograms.hlog"),
                vec![vec!["hist", "@", "--out", "o"], vec!["hist", "@", "--unit", "ns", "--json"]],
            ),
            (
                "hgrm",
                path.join("run/histograms/token_latency.hgrm"),
                vec![vec!["hist", "@", "--out", "o", "--unit", "ns"]],
            ),
        ];
        Self { folder, files }
    }
}

/// A process that ended.
struct Ended {
    status: ExitStatus,
    stderr: String,
    stdout: usize,
    time: Duration,
    interrupted: bool,
}

fn start(folder: &Path, args: &[String]) -> Child {
    let file = |name: &str| File::create(folder.join(name)).unwrap();
    // A limit of memory is the shell's to set.
    Command::new("sh")
        .args(["-c", &format!("ulimit -v {MEMORY_KB}; exec \"$0\" \"$@\"")])
        .arg(binary())
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(file(".stdout"))
        .stderr(file(".stderr"))
        .spawn()
        .unwrap()
}

fn wait(folder: &Path, mut child: Child) -> Ended {
    let began = Instant::now();
    let mut interrupted = false;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > PATIENCE && !interrupted {
            interrupted = true;
            let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        }
        if began.elapsed() > PATIENCE + GRACE {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let stderr = fs::read(folder.join(".stderr")).unwrap_or_default();
    let stdout = fs::metadata(folder.join(".stdout")).map_or(0, |found| found.len() as usize);
    Ended { status, stderr: String::from_utf8_lossy(&stderr).into_owned(), stdout, time: began.elapsed(), interrupted }
}

/// What is wrong with how a process ended.
fn faults(folder: &Path, ended: &Ended) -> Vec<String> {
    let mut faults = Vec::new();
    let message = &ended.stderr;
    match ended.status.code() {
        Some(0 | 1) => {}
        Some(2) if message.trim().len() >= 12 && message.contains(' ') => {}
        Some(130) if ended.interrupted => {}
        code => faults.push(format!("exit code {code:?} ({})", ended.status)),
    }
    for word in ["panicked", "RUST_BACKTRACE", "memory allocation", "stack overflow"] {
        if message.contains(word) {
            faults.push(format!("the message has '{word}'"));
        }
    }
    if message.len() > MESSAGE {
        faults.push(format!("a message of {} bytes", message.len()));
    }
    if let Some(c) = message.chars().find(|c| c.is_control() && !"\n\t".contains(*c)) {
        faults.push(format!("the control character {c:?} in a message"));
    }
    if ended.time > PATIENCE + GRACE {
        faults.push("it ignores Ctrl-C".to_owned());
    }
    let left = temporaries(folder);
    if !left.is_empty() {
        faults.push(format!("left behind: {left:?}"));
    }
    faults
}

/// Temporary files in `folder` and below.
fn temporaries(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(temporaries(&path));
        } else if name.starts_with(".tiersim-") {
            found.push(path);
        }
    }
    found
}

/// What was done, and what was wrong with it.
struct Outcome {
    kind: &'static str,
    what: String,
    faults: Vec<String>,
    time: Duration,
    codes: Vec<i32>,
}

/// Runs one command in `folder`.
fn run(kind: &'static str, folder: &Path, args: &[String]) -> Outcome {
    let ended = wait(folder, start(folder, args));
    let mut faults = faults(folder, &ended);
    if !faults.is_empty() {
        let start: String = ended.stderr.chars().take(400).collect();
        faults.push(format!("stderr: {start:?}, {} bytes of stdout", ended.stdout));
    }
    let codes = ended.status.code().into_iter().collect();
    Outcome { kind, what: args.join(" "), faults, time: ended.time, codes }
}

fn words(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

/// A mutated file, for a command that takes it.
fn mutated_file(seeds: &Seeds, random: &mut Random, folder: &Path) -> Outcome {
    let (kind, file, commands) = &seeds.files[random.below(seeds.files.len())];
    let mut bytes = fs::read(file).unwrap();
    mutate(&mut bytes, random);
    let name = file.file_name().unwrap();
    // The scenario that other files are used with.
    fs::write(folder.join("scenario.ron"), SCENARIO).unwrap();
    fs::write(folder.join(name), bytes).unwrap();
    let command = &commands[random.below(commands.len())];
    let args: Vec<String> = command
        .iter()
        .map(|word| if *word == "@" { name.to_string_lossy().into_owned() } else { (*word).to_owned() })
        .collect();
    let args = [vec!["-q".to_owned()], args].concat();
    run(kind, folder, &args)
}

/// Odd and extreme values of flags and fields.
fn extreme_flags(random: &mut Random, folder: &Path) -> Outcome {
    fs::write(folder.join("scenario.ron"), SCENARIO).unwrap();
    let command = random.of(&["run", "run", "run", "explain", "strategies", "curve"]);
    if command == "curve" {
        let args = ["-q", "curve", "--memory", "study", "--transfers", random.of(&["100", "0", "-1", "1e3", "1000"])];
        let more = ["--reads", random.of(&["0", "1", "-1", "2", "0.5,0.5", "NaN", "1e-9", "50%"]), "--out", "o"];
        let bytes = ["--bytes", random.of(&["1 B", "0 B", "1 GiB", "2 GiB", "64 PiB", "-1", "1.5 B"])];
        return run("flags", folder, &words(&[&args[..], &more, &bytes].concat()));
    }
    let mut args = words(&["-q", command, "scenario.ron", "--out", "o"]);
    for _ in 0..1 + random.below(3) {
        let (name, usual) = FLAGS[random.below(FLAGS.len())];
        let value = match random.below(8) {
            0 => random.of(&EXTREMES).to_owned(),
            1 => random.of(&EXTREMES).trim_matches('"').to_owned(),
            2 => random.next().to_string(),
            _ => random.of(usual).to_owned(),
        };
        if name.starts_with("--") {
            args.push(format!("{name}={value}"));
        } else {
            args.extend(["--set".to_owned(), format!("{name}={value}")]);
        }
    }
    run("flags", folder, &args)
}

/// A folder of results with damaged, exchanged or missing files.
fn damaged_folder(seeds: &Seeds, random: &mut Random, folder: &Path) -> Outcome {
    let sweep = random.below(3) == 0;
    let (name, files): (_, &[&str]) = if sweep {
        ("swept", &["sweep.json", "checksums.json", "cells/part-00000000.parquet"])
    } else {
        ("run", &["summary.json", "steps.csv", "histograms.hlog"])
    };
    copy(&seeds.folder.path().join(name), &folder.join("d"));
    copy(&seeds.folder.path().join("other"), &folder.join("other"));
    fs::copy(seeds.folder.path().join("sweep.ron"), folder.join("sweep.ron")).unwrap();
    let file = folder.join("d").join(random.of(files));
    let mut expect_refusal = false;
    match random.below(6) {
        0 => fs::remove_file(&file).unwrap(),
        1 if !sweep => {
            let other = folder.join("other").join(file.file_name().unwrap());
            fs::copy(other, &file).unwrap();
            expect_refusal = true;
        }
        2 => {
            fs::remove_file(&file).unwrap();
            fs::create_dir(&file).unwrap();
        }
        3 => {
            let mut bytes = fs::read(&file).unwrap();
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
            // What no bit of which may change unseen.
            expect_refusal = !file.ends_with("summary.json") && !file.ends_with("checksums.json");
            fs::write(&file, bytes).unwrap();
        }
        _ => {
            let mut bytes = fs::read(&file).unwrap();
            mutate(&mut bytes, random);
            fs::write(&file, bytes).unwrap();
        }
    }
    let args: &[&str] = if sweep {
        match random.below(4) {
            0 => &["-q", "sweep", "report", "d"],
            1 => &["-q", "sweep", "best", "d", "--min", "simulated_ns"],
            2 => &["-q", "sweep", "merge", "d", "--out", "merged"],
            _ => &["-q", "sweep", "sweep.ron", "--out", "d", "--resume"],
        }
    } else if expect_refusal {
        &["-q", "compare", "other", "d", "--out", "c"]
    } else {
        match random.below(3) {
            0 => &["-q", "compare", "other", "d", "--out", "c"],
            1 => &["-q", "explain", "d"],
            _ => &["-q", "run", "d/summary.json", "--out", "again"],
        }
    };
    let mut outcome = run("results", folder, &words(args));
    if expect_refusal && outcome.codes == [0] {
        outcome.faults.push(format!("{} was changed, and nobody noticed", file.display()));
    }
    outcome
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let target = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            copy(&entry, &target);
        } else {
            fs::copy(&entry, &target).unwrap();
        }
    }
}

/// Two configurations that must never be mixed.
fn configuration(random: &mut Random) -> Vec<String> {
    let bandwidth = random.of(&["400GB/s", "900GB/s", "1600GB/s"]);
    words(&["-q", "run", "scenario.ron", "--out", "o", "--set", &format!("memory.hbm.bandwidth={bandwidth}")])
}

/// Whether `o` has the results of one run, or reports that it has not.
fn whole(folder: &Path) -> Vec<String> {
    let check = run("kills", folder, &words(&["-q", "compare", "a=o", "b=o", "--out", "c"]));
    let mut faults = check.faults;
    if check.codes == [0] {
        let summary = fs::read_to_string(folder.join("o/summary.json")).unwrap_or_default();
        let steps = fs::read(folder.join("o/steps.csv")).unwrap_or_default();
        if !summary.contains(&format!("{:08x}", crc32fast::hash(&steps))) {
            faults.push("steps.csv is not that of summary.json".to_owned());
        }
        for file in ["report.html", "histograms/token_latency.hgrm"] {
            let time = |name: &str| fs::metadata(folder.join("o").join(name)).and_then(|found| found.modified());
            if !time(file)
                .is_ok_and(|time_of_file| time("summary.json").is_ok_and(|record| time_of_file <= record + SOON))
            {
                faults.push(format!("{file} is newer than summary.json"));
            }
        }
    }
    faults
}

/// Files of one run are written within this time.
const SOON: Duration = Duration::from_millis(500);

/// A process is killed at a random moment, some of them over old results.
fn killed(random: &mut Random, folder: &Path) -> Outcome {
    fs::write(folder.join("scenario.ron"), SCENARIO).unwrap();
    let mut faults = Vec::new();
    let (mut codes, began) = (Vec::new(), Instant::now());
    if random.below(2) == 0 {
        let first = run("kills", folder, &configuration(random));
        faults.extend(first.faults);
    }
    let usual = Duration::from_micros(50_000 + random.next() % 250_000);
    for _ in 0..3 {
        let mut child = start(folder, &configuration(random));
        std::thread::sleep(Duration::from_micros(random.next() % usual.as_micros() as u64));
        let _ = child.kill();
        codes.extend(child.wait().unwrap().code());
    }
    faults.extend(leftovers_aside(whole(folder)));
    let last = run("kills", folder, &configuration(random));
    faults.extend(last.faults);
    if last.codes != [0] {
        faults.push("the run after the kills failed".to_owned());
    }
    faults.extend(whole(folder));
    codes.extend(last.codes);
    Outcome { kind: "kills", what: "run, killed".to_owned(), faults, time: began.elapsed() / 5, codes }
}

/// After a kill temporary files are there until the next run.
fn leftovers_aside(faults: Vec<String>) -> Vec<String> {
    let only_leftovers = faults.iter().all(|fault| fault.starts_with("left behind") || fault.starts_with("stderr"));
    if only_leftovers { Vec::new() } else { faults }
}

/// Several processes at a time in one folder.
fn concurrent(random: &mut Random, folder: &Path) -> Outcome {
    let began = Instant::now();
    fs::write(folder.join("scenario.ron"), SCENARIO).unwrap();
    let places: Vec<PathBuf> = (0..3).map(|index| folder.join(index.to_string())).collect();
    let children: Vec<Child> = places
        .iter()
        .map(|place| {
            fs::create_dir(place).unwrap();
            let mut args = configuration(random);
            args[2] = "../scenario.ron".to_owned();
            args[4] = "../o".to_owned();
            start(place, &args)
        })
        .collect();
    let mut faults = Vec::new();
    let mut codes = Vec::new();
    for (place, child) in places.iter().zip(children) {
        let ended = wait(place, child);
        codes.extend(ended.status.code());
        faults.extend(self::faults(place, &ended));
    }
    if !codes.contains(&0) {
        faults.push(format!("none of three wrote the folder: {codes:?}"));
    }
    faults.extend(whole(folder));
    Outcome {
        kind: "concurrent",
        what: "three runs into one folder".to_owned(),
        faults,
        time: began.elapsed() / 3,
        codes,
    }
}

/// A disk that fills, over old results.
fn full_disk(random: &mut Random, folder: &Path) -> Option<Outcome> {
    let began = Instant::now();
    let disk = folder.join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = |command: &mut Command| command.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    let size = format!("size={}k", 4 * (8 + random.below(400)));
    if !mount(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tiersim"]).arg(&disk)) {
        return None;
    }
    fs::write(folder.join("scenario.ron"), SCENARIO).unwrap();
    let mut faults = Vec::new();
    let mut codes = Vec::new();
    for _ in 0..3 {
        let before = fs::read(disk.join("o/summary.json")).ok();
        let mut args = configuration(random);
        args[4] = "disk/o".to_owned();
        let ran = run("full disk", folder, &args);
        faults.extend(ran.faults);
        if ran.codes == [2] && fs::read(disk.join("o/summary.json")).ok() != before {
            faults.push("a full disk changed the old results".to_owned());
        }
        codes.extend(ran.codes);
    }
    mount(Command::new("umount").arg(&disk));
    Some(Outcome { kind: "full disk", what: size, faults, time: began.elapsed() / 3, codes })
}

fn case(seeds: &Seeds, number: usize, seed: u64) -> Option<Outcome> {
    let mut random = Random(seed ^ (number as u64).wrapping_mul(0x2545_f491_4f6c_dd1d));
    let folder = TempDir::new().unwrap();
    match random.below(20) {
        0..=9 => Some(mutated_file(seeds, &mut random, folder.path())),
        10..=13 => Some(extreme_flags(&mut random, folder.path())),
        14..=16 => Some(damaged_folder(seeds, &mut random, folder.path())),
        17 => Some(killed(&mut random, folder.path())),
        18 => Some(concurrent(&mut random, folder.path())),
        _ => full_disk(&mut random, folder.path()),
    }
}

#[test]
#[ignore = "takes minutes: TIERSIM_HOSTILE=3000 cargo test --release --test it hostile::driver -- --ignored --nocapture"]
fn driver() {
    let number =
        |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().expect("a whole number"));
    let (count, seed) = (number("TIERSIM_HOSTILE", 3000) as usize, number("TIERSIM_HOSTILE_SEED", 1));
    let only = std::env::var("TIERSIM_HOSTILE_CASE").ok().and_then(|text| text.parse::<usize>().ok());
    let seeds = Seeds::new();
    let (next, outcomes) = (AtomicUsize::new(only.unwrap_or(0)), Mutex::new(Vec::new()));
    let end = only.map_or(count, |case| case + 1);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        return;
                    }
                    let Some(outcome) = case(&seeds, number, seed) else { continue };
                    if !outcome.faults.is_empty() {
                        println!("case {number} ({}): {}: {}", outcome.kind, outcome.what, outcome.faults.join("; "));
                    }
                    outcomes.lock().unwrap().push(outcome);
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap();
    println!("{}", table(&outcomes, began.elapsed()));
    let faulty = outcomes.iter().filter(|outcome| !outcome.faults.is_empty()).count();
    assert_eq!(faulty, 0, "of {} inputs", outcomes.len());
}

fn table(outcomes: &[Outcome], time: Duration) -> String {
    let mut kinds: Vec<&str> = outcomes.iter().map(|outcome| outcome.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut text = format!(
        "{:<12}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8}{:>12}\n",
        "kind", "inputs", "faulty", "0", "1", "2", "130", "longest"
    );
    for kind in kinds.into_iter().map(Some).chain([None]) {
        let of: Vec<&Outcome> =
            outcomes.iter().filter(|outcome| kind.is_none_or(|kind| outcome.kind == kind)).collect();
        let code = |code: i32| of.iter().flat_map(|outcome| &outcome.codes).filter(|found| **found == code).count();
        let faulty = of.iter().filter(|outcome| !outcome.faults.is_empty()).count();
        let longest = of.iter().map(|outcome| outcome.time).max().unwrap_or_default();
        let _ = writeln!(
            text,
            "{:<12}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8}{:>10.1} s",
            kind.unwrap_or("all"),
            of.len(),
            faulty,
            code(0),
            code(1),
            code(2),
            code(130),
            longest.as_secs_f64()
        );
    }
    text + &format!("{:.0} s in all", time.as_secs_f64())
}
