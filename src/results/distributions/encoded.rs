//! Encoded histograms, as they stand in the lines of interval logs: the formats V0, V1 and V2 of
//! HdrHistogram, of integers or of doubles, compressed or not.
//!
//! The histogram crate decodes V2 of integers only, and allocates what a header asks for. Here the
//! counts that are there are kept, and nothing is allocated for those that are not.

use base64::Engine as _;
use std::io::Read;

/// The most bytes that a histogram may unpack to.
const MAX_HISTOGRAM: u64 = 64 << 20;

/// The lengths of the headers of V1 and V2, and of V0, after which the counts begin.
const HEADER: usize = 40;
const HEADER_V0: usize = 32;

/// A decoded histogram.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Encoded {
    /// The least value that it distinguishes from 0.
    pub low: u64,
    /// The greatest value that it had room for.
    pub high: u64,
    /// Significant decimal digits of its values.
    pub digits: u8,
    /// What an integer value of 1 stands for: 1, but for histograms of doubles.
    pub ratio: f64,
    /// The values that occurred, rising.
    pub buckets: Vec<Bucket>,
}

/// The values from `least` to `top`, which a histogram does not distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    pub least: u64,
    pub middle: u64,
    pub top: u64,
    /// How often one of them occurred; more than 0.
    pub count: u64,
}

/// How counts are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Words {
    /// Big-endian integers with this number of bytes.
    Fixed(usize),
    /// ZigZag LEB128; a negative one is how many zeros follow.
    Variable,
}

impl Encoded {
    /// Decodes the last column of a log's line.
    ///
    /// # Errors
    /// A description of what is wrong with it.
    pub fn read(base64: &str) -> Result<Self, String> {
        let bytes = base64::engine::general_purpose::STANDARD.decode(base64).map_err(|error| damaged(&error))?;
        let (doubles, whole) = match word(&bytes, 0)? & !0xf0 {
            // A histogram of doubles: its digits and its range come before a histogram of integers.
            0x0c72_120e | 0x0c72_120f => (true, bytes.get(16..).ok_or_else(|| damaged(&NOT_WHOLE))?),
            _ => (false, bytes.as_slice()),
        };
        let read = match word(whole, 0)? & !0xf0 {
            0x1c84_9309 | 0x1c84_9302 | 0x1c84_9304 => plain(&unpacked(whole)?),
            _ => plain(whole),
        }?;
        // Histograms of integers have such a ratio as well, but no tool applies it.
        Ok(if doubles { read } else { Self { ratio: 1.0, ..read } })
    }

    /// How many values were recorded; `None` where they are more than a `u64` counts.
    pub fn count(&self) -> Option<u64> {
        self.buckets.iter().try_fold(0u64, |sum, bucket| sum.checked_add(bucket.count))
    }
}

const NOT_WHOLE: &str = "its length differs from the one in its header";

fn damaged(what: &dyn std::fmt::Display) -> String {
    format!("its histogram is damaged: {what}")
}

/// The big-endian word at `at`.
fn word(bytes: &[u8], at: usize) -> Result<u32, String> {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map(u32::from_be_bytes);
    four.ok_or_else(|| damaged(&NOT_WHOLE))
}

fn long(bytes: &[u8], at: usize) -> Result<u64, String> {
    Ok(u64::from(word(bytes, at)?) << 32 | u64::from(word(bytes, at + 4)?))
}

/// What a compressed histogram holds: a cookie, a length and a zlib stream of a plain one.
fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let packed = &bytes[8.min(bytes.len())..];
    if word(bytes, 4)? as usize != packed.len() {
        return Err(damaged(&NOT_WHOLE));
    }
    let mut plain = Vec::new();
    let mut stream = flate2::read::ZlibDecoder::new(packed).take(MAX_HISTOGRAM + 1);
    stream.read_to_end(&mut plain).map_err(|error| damaged(&error))?;
    if plain.len() as u64 > MAX_HISTOGRAM {
        return Err(damaged(&format_args!("it unpacks to more than {MAX_HISTOGRAM} bytes")));
    }
    Ok(plain)
}

fn plain(bytes: &[u8]) -> Result<Encoded, String> {
    let cookie = word(bytes, 0)?;
    let (header, words) = match cookie & !0xf0 {
        0x1c84_9308 => (HEADER_V0, Words::Fixed((cookie >> 4 & 0xe) as usize)),
        0x1c84_9301 => (HEADER, Words::Fixed((cookie >> 4 & 0xe) as usize)),
        0x1c84_9303 => (HEADER, Words::Variable),
        _ => return Err(damaged(&format_args!("it starts with {cookie:08x}, which is not V0, V1 or V2"))),
    };
    if let Words::Fixed(size) = words
        && ![2, 4, 8].contains(&size)
    {
        return Err(damaged(&format_args!("its counts have {size} bytes each, not 2, 4 or 8")));
    }
    let counts = bytes.get(header..).ok_or_else(|| damaged(&NOT_WHOLE))?;
    // V0 does not say how long its counts are. V1 and V2 also have an offset for histograms that
    // shift; counts are written in the order of their values all the same.
    let (digits, at, ratio) = if header == HEADER_V0 {
        (word(bytes, 4)?, 8, 1.0)
    } else {
        if word(bytes, 4)? as usize != counts.len() {
            return Err(damaged(&NOT_WHOLE));
        }
        (word(bytes, 12)?, 16, f64::from_bits(long(bytes, 32)?))
    };
    let (low, high) = (long(bytes, at)?, long(bytes, at + 8)?);
    let shape = Shape::new(digits, low)?;
    if !(ratio > 0.0 && ratio.is_finite()) {
        return Err(damaged(&format_args!("its values are to be multiplied by {ratio:e}")));
    }
    let mut buckets = Vec::new();
    let mut index = 0;
    each_count(counts, words, &mut |skipped, count| {
        index += skipped;
        buckets.push(shape.bucket(index, count).ok_or_else(|| damaged(&"it counts values beyond 2^64"))?);
        index += 1;
        Ok(())
    })?;
    Ok(Encoded { low, high, digits: digits as u8, ratio, buckets })
}

/// Calls `each` with every count that is not 0, and with how many zeros come before it.
fn each_count(bytes: &[u8], words: Words, each: &mut dyn FnMut(u64, u64) -> Result<(), String>) -> Result<(), String> {
    let mut rest = bytes;
    let mut zeros = 0u64;
    while !rest.is_empty() {
        let (count, after) = match words {
            Words::Fixed(size) => {
                let (first, after) = rest.split_at_checked(size).ok_or_else(|| damaged(&NOT_WHOLE))?;
                let count = first.iter().fold(0u64, |count, byte| count << 8 | u64::from(*byte));
                // The sign bit of integers of that width.
                if count >> (8 * size - 1) != 0 {
                    return Err(damaged(&"it has a negative count"));
                }
                (count as i64, after)
            }
            Words::Variable => variable(rest).ok_or_else(|| damaged(&NOT_WHOLE))?,
        };
        rest = after;
        match u64::try_from(count) {
            Ok(0) => zeros += 1,
            Ok(count) => each(std::mem::take(&mut zeros), count)?,
            Err(_) => {
                zeros = zeros.saturating_add(count.unsigned_abs());
            }
        }
        if zeros > u64::from(u32::MAX) {
            return Err(damaged(&"it counts values beyond 2^64"));
        }
    }
    Ok(())
}

/// A ZigZag LEB128 integer of at most nine bytes, the ninth of which has eight bits; and what
/// follows.
fn variable(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(9).enumerate() {
        let last = index == 8 || byte & 0x80 == 0;
        let bits = if index == 8 { *byte } else { byte & 0x7f };
        value |= u64::from(bits) << (7 * index);
        if last {
            return Some(((value >> 1) as i64 ^ -((value & 1) as i64), &bytes[index + 1..]));
        }
    }
    None
}

/// How wide the buckets of a histogram are.
struct Shape {
    /// Values below `1 << unit` are not distinguished from 0.
    unit: u32,
    /// A power of two of values has `1 << half` buckets.
    half: u32,
}

impl Shape {
    fn new(digits: u32, low: u64) -> Result<Self, String> {
        if digits > 5 || low == 0 {
            return Err(damaged(&format_args!("it is to tell values from {low} on to {digits} digits, not 0 to 5")));
        }
        let told_apart = 2 * 10u64.pow(digits);
        let half = told_apart.next_power_of_two().ilog2().max(1) - 1;
        Ok(Self { unit: low.ilog2(), half })
    }

    /// The values of a count's index; `None` above 2^64.
    fn bucket(&self, index: u64, count: u64) -> Option<Bucket> {
        let halves = index >> self.half;
        let (power, within) = match halves {
            0 => (0, index),
            _ => (u32::try_from(halves - 1).ok()?, (index & ((1 << self.half) - 1)) + (1 << self.half)),
        };
        let shift = self.unit.checked_add(power)?;
        let least = within.checked_shl(shift).filter(|value| value >> shift == within)?;
        let top = least.checked_add((1u64 << shift) - 1)?;
        Some(Bucket { least, middle: least + ((1u64 << shift) >> 1).min(top - least), top, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::{Serializer, V2DeflateSerializer, V2Serializer};

    fn recorded(values: &[u64]) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 1 << 40, 3).unwrap();
        values.iter().for_each(|value| histogram.record(*value).unwrap());
        histogram
    }

    /// The buckets as the histogram crate has them.
    fn expected(histogram: &Histogram<u64>) -> Vec<Bucket> {
        let bucket = |value: u64, count: u64| Bucket {
            least: histogram.lowest_equivalent(value),
            middle: histogram.median_equivalent(value),
            top: histogram.highest_equivalent(value),
            count,
        };
        histogram.iter_recorded().map(|it| bucket(it.value_iterated_to(), it.count_at_value())).collect()
    }

    const VALUES: [u64; 8] = [0, 1, 1, 2047, 2048, 2_768_384, 999_999_999, 1 << 39];

    #[test]
    fn reads_what_the_crate_writes() {
        let histogram = recorded(&VALUES);
        for packed in [false, true] {
            let mut bytes = Vec::new();
            let written = if packed {
                V2DeflateSerializer::new().serialize(&histogram, &mut bytes).is_ok()
            } else {
                V2Serializer::new().serialize(&histogram, &mut bytes).is_ok()
            };
            assert!(written);
            let read = Encoded::read(&STANDARD.encode(&bytes)).unwrap();
            assert_eq!((read.low, read.high, read.digits, read.ratio), (1, 1 << 40, 3, 1.0));
            assert_eq!(read.buckets, expected(&histogram));
            assert_eq!(read.count(), Some(VALUES.len() as u64));
        }
    }

    /// The same histogram in the older formats: all counts one after another, in words of 2, 4 or 8
    /// bytes.
    #[test]
    fn reads_the_older_formats() {
        let histogram = recorded(&VALUES);
        let counts: Vec<u64> = {
            let mut counts = vec![0; histogram.distinct_values()];
            // A count's index: the values of the first 2048 are their own.
            for bucket in expected(&histogram) {
                let index = (0..counts.len() as u64)
                    .find(|index| Shape { unit: 0, half: 10 }.bucket(*index, 1).unwrap().least == bucket.least);
                counts[index.unwrap() as usize] = bucket.count;
            }
            counts
        };
        for size in [2u32, 4, 8] {
            let payload: Vec<u8> =
                counts.iter().flat_map(|count| count.to_be_bytes()[8 - size as usize..].to_vec()).collect();
            let bounds: Vec<u8> = [1u64, 1 << 40].iter().flat_map(|bound| bound.to_be_bytes()).collect();
            let cookie = |base: u32| (base | size << 4).to_be_bytes();
            let v0 = [&cookie(0x1c84_9308)[..], &3u32.to_be_bytes(), &bounds, &8u64.to_be_bytes(), &payload].concat();
            let length = (payload.len() as u32).to_be_bytes();
            let ratio = 0.25f64.to_be_bytes();
            let v1 = [&cookie(0x1c84_9301)[..], &length, &[0; 4], &3u32.to_be_bytes(), &bounds, &ratio, &payload];
            let v1 = v1.concat();
            let packed = |base: u32, plain: &[u8]| {
                let packed = miniz_oxide::deflate::compress_to_vec_zlib(plain, 6);
                [&cookie(base)[..], &(packed.len() as u32).to_be_bytes(), &packed].concat()
            };
            // A histogram of doubles is one of integers behind its digits and its range.
            let doubles = [&0x0c72_124e_u32.to_be_bytes()[..], &3u32.to_be_bytes(), &9u64.to_be_bytes(), &v1].concat();
            let all = [(1.0, packed(0x1c84_9309, &v0)), (1.0, v0), (1.0, packed(0x1c84_9302, &v1)), (1.0, v1)];
            for (ratio, bytes) in all.into_iter().chain([(0.25, doubles)]) {
                let read = Encoded::read(&STANDARD.encode(&bytes)).unwrap();
                assert_eq!((read.buckets, read.ratio), (expected(&histogram), ratio));
            }
        }
    }

    #[test]
    fn refuses_what_is_not_whole() {
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&recorded(&VALUES), &mut bytes).unwrap();
        for length in 0..bytes.len() {
            assert!(Encoded::read(&STANDARD.encode(&bytes[..length])).is_err(), "{length}");
        }
        // 2^63 counts of zeros skipped.
        let skipped = [&bytes[..4], &9u32.to_be_bytes(), &bytes[8..40], &[0xff; 9]].concat();
        assert!(Encoded::read(&STANDARD.encode(&skipped)).unwrap_err().contains("beyond"));
        assert_eq!(variable(&[0xff; 9]), Some((i64::MIN, &[][..])));
        assert_eq!(variable(&[0x01, 7]), Some((-1, &[7][..])));
        assert_eq!(variable(&[0x80]), None);
    }
}
