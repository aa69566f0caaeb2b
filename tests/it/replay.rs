//! Lists of transfers that the memory system carries without a model.
//!
//! Single transfers are checked against figures by hand, and the mean waits of many against
//! queueing theory.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use std::fmt::Write;
use tiersim::memory::{Arbitration, MemorySystem, TierId};
use tiersim::replay::{Traffic, replay};

fn system(arbitration: Arbitration) -> MemorySystem {
    let mut config = tiersim::catalog::memory("study").unwrap();
    config.arbitration = arbitration;
    config.tiers[0].bandwidth = "1000 GB/s".parse().unwrap();
    MemorySystem::new(&config).unwrap()
}

fn carried(arbitration: Arbitration, rows: &str) -> String {
    let system = system(arbitration);
    let text = format!("issue_ns,class,source,destination,bytes\n{rows}");
    let traffic = Traffic::read(text.into_bytes(), "test.csv", &system).unwrap();
    let mut output = Vec::new();
    traffic.write(&replay(&system, &traffic).unwrap().times, &mut output).unwrap();
    let text = String::from_utf8(output).unwrap();
    text.split_once('\n').unwrap().1.to_owned()
}

const OVERLAP: &str = "100,KvRead,hbm,chip,200000\n0,WeightRead,hbm,chip,300000\n50.5,KvWrite,chip,external,900\n";

#[test]
fn fair_rows_keep_their_order_and_share_while_they_overlap() {
    // The bus carries 1000 B/ns. The weights have had 100 ns of it when the KV read comes; they
    // share until it has had its 200 kB at half the rate, at 500 ns; by then the weights have had
    // 100 + 200 of their 300 kB as well.
    let expected = "100,KvRead,hbm,chip,200000,100.000,500.000,200.000\n\
                    0,WeightRead,hbm,chip,300000,0.000,500.000,200.000\n\
                    50.5,KvWrite,chip,external,900,50.500,51.500,0.000\n";
    assert_eq!(carried(Arbitration::Fair, OVERLAP), expected);
}

#[test]
fn fifo_rows_wait_for_the_one_before() {
    let expected = "100,KvRead,hbm,chip,200000,300.000,500.000,200.000\n\
                    0,WeightRead,hbm,chip,300000,0.000,300.000,0.000\n\
                    50.5,KvWrite,chip,external,900,50.500,51.500,0.000\n";
    assert_eq!(carried(Arbitration::Fifo, OVERLAP), expected);
}

#[test]
fn a_starved_migration_starts_when_reads_leave_it_something() {
    let rows = "0,KvRead,hbm,chip,1000\n0,MigrateOut,hbm,external,900\n";
    let expected = "0,KvRead,hbm,chip,1000,0.000,1.000,0.000\n0,MigrateOut,hbm,external,900,1.000,2.000,1.000\n";
    assert_eq!(carried(Arbitration::Priority, rows), expected);
}

#[test]
fn a_request_takes_its_lanes_when_its_latency_is_over() {
    let mut config = tiersim::catalog::memory("study").unwrap();
    config.tiers[0].latency = "100 ns".parse().unwrap();
    config.tiers[1].latency = "150 ns".parse().unwrap();
    config.tiers[1].link_mut().unwrap().latency = "200 ns".parse().unwrap();
    let system = MemorySystem::new(&config).unwrap();
    let port = |tier| system.ports(TierId::new(tier)).next().unwrap();
    assert_eq!(system.route_latency(system.move_route(port(0), port(1))).as_ns(), 450.0);
    for arbitration in [Arbitration::Fair, Arbitration::Priority, Arbitration::Fifo] {
        // The same as issuing each as much later to a system without latencies, but for what counts
        // as waiting.
        let mut random = Xoshiro256PlusPlus::seed_from_u64(9);
        let mut texts = [String::from("issue_ns,class,source,destination,bytes\n"), String::new()];
        texts[1] = texts[0].clone();
        for row in 0..500 {
            let (class, latency) = [
                ("KvRead,hbm,chip", 100),
                ("WeightRead,external,chip", 350),
                ("KvWrite,chip,external", 350),
                ("MigrateIn,external,hbm", 450),
                ("MigrateOut,hbm,external", 450),
            ][random.next_u64() as usize % 5];
            let (issue, bytes) = (random.next_u64() % 2_000, 1 + random.next_u64() % 50_000);
            // No two at the same picosecond: of those, fifo takes the one first that comes over the
            // first route.
            writeln!(texts[0], "{issue}.{row:03},{class},{bytes}").unwrap();
            writeln!(texts[1], "{}.{row:03},{class},{bytes}", issue + latency).unwrap();
        }
        config.arbitration = arbitration;
        let with = MemorySystem::new(&config).unwrap();
        let mut plain = tiersim::catalog::memory("study").unwrap();
        plain.arbitration = arbitration;
        let without = MemorySystem::new(&plain).unwrap();
        let times = |text: &String, system: &MemorySystem| {
            let traffic = Traffic::read(text.clone().into_bytes(), "test.csv", system).unwrap();
            replay(system, &traffic).unwrap().times
        };
        let (later, shifted) = (times(&texts[0], &with), times(&texts[1], &without));
        for (later, shifted) in later.iter().zip(&shifted) {
            assert_eq!((later.start, later.finish, later.queueing), (shifted.start, shifted.finish, shifted.queueing));
        }
    }
}

#[test]
fn wrong_rows_are_refused_by_line_and_column() {
    let system = system(Arbitration::Fair);
    let refused = |text: &str| match Traffic::read(text.as_bytes().to_vec(), "test.csv", &system) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("accepted: {text}"),
    };
    let row = |row: &str| refused(&format!("issue_ns,class,source,destination,bytes\n0,KvRead,hbm,chip,1\n{row}\n"));
    for (text, parts) in [
        ("-1,KvRead,hbm,chip,1", ["test.csv:3", "issue_ns"]),
        ("NaN,KvRead,hbm,chip,1", ["test.csv:3", "issue_ns"]),
        ("0,KvReed,hbm,chip,1", ["class", "KvRead"]),
        ("0,KvRead,hmb,chip,1", ["source", "hbm, external, chip"]),
        ("0,KvRead,chip,hbm,1", ["destination", "from a tier to the chip"]),
        ("0,MigrateIn,hbm,external,1", ["destination", "to a faster one"]),
        ("0,KvRead,hbm,chip,0", ["bytes", "at least 1 byte"]),
        ("0,KvRead,hbm,chip,many", ["bytes", "many"]),
        ("0,KvRead,hbm,chip", ["test.csv", "fields"]),
    ] {
        let message = row(text);
        assert!(parts.iter().all(|part| message.contains(part)), "{text}: {message}");
    }
    assert!(refused("").contains("columns"));
    assert!(refused("issue_ns,class,source,target,bytes\n").contains("target"));
    assert!(Traffic::read(b"issue_ns,class,source,destination,bytes,address\n".to_vec(), "", &system).is_ok());
}

/// Exponentially distributed with mean 1.
fn exponential(random: &mut Xoshiro256PlusPlus) -> f64 {
    let uniform = ((random.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -uniform.ln()
}

/// The mean of (finish - issue), in means of the service time of 100 ns, of reads that come at
/// random at `load` of what the bus can carry.
fn mean_stay(arbitration: Arbitration, load: f64, size: impl Fn(&mut Xoshiro256PlusPlus) -> f64) -> f64 {
    const READS: usize = 200_000;
    let mut random = Xoshiro256PlusPlus::seed_from_u64(42);
    let mut text = String::from("issue_ns,class,source,destination,bytes\n");
    let mut now = 0.0;
    for _ in 0..READS {
        now += 100.0 / load * exponential(&mut random);
        let bytes = (100_000.0 * size(&mut random)).max(1.0) as u64;
        writeln!(text, "{now:.3},KvRead,hbm,chip,{bytes}").unwrap();
    }
    let system = system(arbitration);
    let traffic = Traffic::read(text.into_bytes(), "test.csv", &system).unwrap();
    let times = replay(&system, &traffic).unwrap().times;
    let stays = traffic.rows().iter().zip(&times).map(|(row, times)| (times.finish - row.issue).as_ns());
    stays.sum::<f64>() / READS as f64 / 100.0
}

#[test]
fn fifo_with_equal_sizes_waits_as_m_d_1() {
    // Pollaczek and Khinchine: the wait is load / (2 (1 - load)) services. The mean of 200,000
    // correlated waits is right to about 2 % at these loads.
    for load in [0.3, 0.8] {
        let expected = 1.0 + load / (2.0 * (1.0 - load));
        let mean = mean_stay(Arbitration::Fifo, load, |_| 1.0);
        assert!((mean / expected - 1.0).abs() < 0.03, "{load}: {mean} against {expected}");
    }
}

#[test]
fn fair_stays_as_m_m_1_and_m_d_1_under_processor_sharing() {
    // Under processor sharing the mean stay is 1 / (1 - load) services, whatever the distribution
    // of sizes.
    for load in [0.3, 0.8] {
        let expected = 1.0 / (1.0 - load);
        for mean in [mean_stay(Arbitration::Fair, load, exponential), mean_stay(Arbitration::Fair, load, |_| 1.0)] {
            assert!((mean / expected - 1.0).abs() < 0.05, "{load}: {mean} against {expected}");
        }
    }
}
