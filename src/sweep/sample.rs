use super::config::SampleConfig;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// For each point its position on the axis of that number, as a share of the axis's length in
/// [0, 1).
pub(super) fn shares(sample: SampleConfig, axis: u32) -> Vec<f64> {
    match sample {
        SampleConfig::LatinHypercube { points, seed } => {
            let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
            // The random streams of different axes do not overlap.
            (0..axis).for_each(|_| random.jump());
            let mut parts: Vec<u32> = (0..points).collect();
            parts.shuffle(&mut random);
            // 53 bits: the precision of a float between 0 and 1.
            let mut within = || (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
            parts.into_iter().map(|part| (f64::from(part) + within()) / f64::from(points)).collect()
        }
        SampleConfig::Sobol { points, seed } => {
            let scramble = (seed ^ (seed >> 32)) as u32;
            (0..points).map(|point| f64::from(sobol_burley::sample(point, axis, scramble))).collect()
        }
    }
}

/// The most points and axes that Sobol's sequence has here.
pub(super) const SOBOL_LIMITS: (u32, u32) = (1 << 16, sobol_burley::NUM_DIMENSIONS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_an_axis_has_a_point() {
        for points in [1, 2, 16, 64, 100] {
            for axis in 0..4 {
                let latin = SampleConfig::LatinHypercube { points, seed: 7 };
                let mut parts: Vec<u32> =
                    shares(latin, axis).iter().map(|share| (share * f64::from(points)) as u32).collect();
                parts.sort_unstable();
                assert_eq!(parts, (0..points).collect::<Vec<_>>());
            }
        }
        // Of Sobol's sequence this holds for powers of two.
        for axis in 0..4 {
            let sobol = SampleConfig::Sobol { points: 64, seed: 1 };
            let mut parts: Vec<u32> = shares(sobol, axis).iter().map(|share| (share * 64.0) as u32).collect();
            parts.sort_unstable();
            assert_eq!(parts, (0..64).collect::<Vec<_>>());
        }
        let of = |axis| shares(SampleConfig::LatinHypercube { points: 50, seed: 7 }, axis);
        assert_ne!(of(0), of(1));
        assert_eq!(of(1), of(1));
    }
}
