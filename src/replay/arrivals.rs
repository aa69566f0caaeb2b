//! Random arrivals of transfers, for loaded-latency curves.
//!
//! Arrivals are a Poisson process: the gaps between them are independent and exponentially
//! distributed. This is the usual open-loop load of a queueing experiment, as arrivals do not slow
//! down when the memory system does. The random numbers and their arithmetic are the same to the
//! bit on every machine, so curves are reproducible.

use crate::memory::{Path, Pattern, Reach, Request, RouteId, TransferClass, Urgency};
use crate::units::{Bytes, Ratio, SimTime};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// A Poisson process of transfers of one size, each a read or a write at random and over a random
/// one of several routes. Tags count from 0.
pub(super) struct Arrivals<'a> {
    random: Xoshiro256PlusPlus,
    mean_gap: f64,
    read_share: f64,
    bytes: Bytes,
    reads: &'a [Vec<RouteId>],
    writes: &'a [Vec<RouteId>],
    /// The present time in picoseconds.
    now: f64,
    next: u32,
}

impl<'a> Arrivals<'a> {
    pub fn new(
        seed: u64,
        mean_gap: f64,
        read_share: Ratio,
        bytes: Bytes,
        reads: &'a [Vec<RouteId>],
        writes: &'a [Vec<RouteId>],
    ) -> Self {
        let random = Xoshiro256PlusPlus::seed_from_u64(seed);
        Self { random, mean_gap, read_share: read_share.as_f64(), bytes, reads, writes, now: 0.0, next: 0 }
    }

    /// A uniform random number in [0, 1), of 53 random bits.
    fn uniform(&mut self) -> f64 {
        (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// An exponentially distributed number with mean 1, by von Neumann's method ("Various
    /// techniques used in connection with random digits", 1951). It only compares uniform numbers:
    /// a logarithm would differ in its last bits between machines. O(1) on average.
    fn exponential(&mut self) -> f64 {
        let mut whole = 0.0;
        loop {
            let first = self.uniform();
            let mut last = first;
            let mut falling = 1;
            loop {
                let next = self.uniform();
                if next >= last {
                    break;
                }
                last = next;
                falling += 1;
            }
            // Accepted if an odd number of draws fell in succession.
            if falling % 2 == 1 {
                return whole + first;
            }
            whole += 1.0;
        }
    }
}

impl<'a> Iterator for Arrivals<'a> {
    type Item = (SimTime, Request<'a, u32>);

    fn next(&mut self) -> Option<Self::Item> {
        self.now += self.exponential() * self.mean_gap;
        let read = self.uniform() < self.read_share;
        let (class, routes) =
            if read { (TransferClass::KvRead, self.reads) } else { (TransferClass::KvWrite, self.writes) };
        let route = (self.uniform() * routes.len() as f64) as usize;
        let request = Request {
            class,
            path: Path::Even(&routes[route]),
            bytes: self.bytes,
            granule: self.bytes,
            pattern: Pattern::Random,
            urgency: Urgency::Due,
            reach: Reach::FULL,
            tag: self.next,
        };
        self.next += 1;
        Some((SimTime::from_ps(self.now as u64), request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_exponential_and_reads_as_many_as_asked_for() {
        let route = [vec![RouteId::new(0)]];
        let share: Ratio = "0.3".parse().unwrap();
        let arrivals = Arrivals::new(1, 1000.0, share, Bytes::new(1), &route, &route);
        let all: Vec<_> = arrivals.take(100_000).map(|(at, request)| (at.as_ps(), request.class)).collect();
        let gaps: Vec<f64> = all.windows(2).map(|pair| (pair[1].0 - pair[0].0) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        // The standard deviation of the mean is 0.3 %; of the share beyond the mean (1 / e), 0.15
        // points.
        assert!((mean / 1000.0 - 1.0).abs() < 0.015, "{mean}");
        let beyond = gaps.iter().filter(|gap| **gap > 1000.0).count() as f64 / gaps.len() as f64;
        assert!((beyond - 0.3679).abs() < 0.008, "{beyond}");
        let twice = gaps.iter().filter(|gap| **gap > 2000.0).count() as f64 / gaps.len() as f64;
        assert!((twice - 0.1353).abs() < 0.006, "{twice}");
        let reads = all.iter().filter(|(_, class)| *class == TransferClass::KvRead).count() as f64 / all.len() as f64;
        assert!((reads - 0.3).abs() < 0.008, "{reads}");
    }
}
