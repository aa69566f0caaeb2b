//! The output of STREAM: what a CPU reaches of its memory.
//!
//! Copy and Scale read one array and write one; Add and Triad read two and write one. STREAM counts
//! these bytes and no others: where a write fetches the line first, the memory carries more.

use super::error::{ImportError, figure};

/// The rates of the four kernels, in GB/s.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StreamBandwidths {
    /// Copy, Scale, Add and Triad.
    pub rates: [f64; 4],
    /// How many threads ran; 0 where it does not say.
    pub threads: u32,
}

/// The kernels, in the order of [`StreamBandwidths::rates`].
const KERNELS: [&str; 4] = ["Copy:", "Scale:", "Add:", "Triad:"];

impl StreamBandwidths {
    /// The best rate with as many reads as writes.
    #[must_use]
    pub fn even(&self) -> f64 {
        self.rates[0].max(self.rates[1])
    }

    /// The best rate with two reads a write.
    #[must_use]
    pub fn two_reads(&self) -> f64 {
        self.rates[2].max(self.rates[3])
    }
}

/// Reads the output in `text`.
///
/// # Errors
/// [`ImportError`] where one of the four kernels is missing, or has a rate that no machine has.
pub fn stream(text: &str) -> Result<StreamBandwidths, ImportError> {
    let mut rates = [None; 4];
    let mut threads = 0;
    for (number, line) in (1..).zip(text.lines()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(first) = words.first() else { continue };
        if let Some(kernel) = KERNELS.iter().position(|kernel| kernel == first) {
            let rate = words.get(1).copied().unwrap_or_default();
            // MB/s are millions of bytes a second there.
            rates[kernel] = Some(figure(number, first.trim_end_matches(':'), rate)? / 1000.0);
        }
        if line.starts_with("Number of Threads counted") || line.starts_with("Number of Threads requested") {
            threads = words.last().and_then(|count| count.parse().ok()).unwrap_or(threads);
        }
    }
    let mut all = [0.0; 4];
    for ((rate, kernel), all) in rates.into_iter().zip(KERNELS).zip(&mut all) {
        let name = kernel.trim_end_matches(':');
        *all =
            rate.ok_or_else(|| ImportError::missing(name, "STREAM prints a line for it: give its output in full"))?;
    }
    Ok(StreamBandwidths { rates: all, threads })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn megabytes_are_decimal_and_every_kernel_counts() {
        let text = "STREAM version $Revision: 5.10 $\nNumber of Threads counted = 16\n\
            Function    Best Rate MB/s  Avg time     Min time     Max time\n\
            Copy:          150000.0     0.01     0.01     0.01\nScale:         140000.0     0.01     0.01     0.01\n\
            Add:           160000.0     0.01     0.01     0.01\nTriad:         161000.0     0.01     0.01     0.01\n";
        let found = stream(text).unwrap();
        assert_eq!((found.even(), found.two_reads(), found.threads), (150.0, 161.0, 16));
        let cut = &text[..text.find("Triad").unwrap()];
        assert!(stream(cut).unwrap_err().to_string().starts_with("Triad: "));
        let bad = text.replace("150000.0", "-1");
        assert!(stream(&bad).unwrap_err().to_string().starts_with("line 4: Copy: '-1'"));
    }
}
