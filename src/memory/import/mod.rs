//! Measured figures of a machine, from the output of benchmarks.
//!
//! * [`nvbandwidth`] reads NVIDIA's benchmark of GPUs and host memory, [`stream`] the benchmark of
//!   a CPU's memory; [`memory_file`] makes a memory system of them.
//! * [`llama_bench`] reads the tables of llama.cpp's benchmarks: measured rates of decoding, which
//!   are cases to validate against.
//!
//! [`Benchmark::of`] recognizes which one an output is of.

mod error;
mod llama;
mod nvbandwidth;
mod stream;
mod system;

pub use error::ImportError;
pub use llama::{DecodeRate, DecodeRates, llama_bench};
pub use nvbandwidth::{GpuBandwidths, HostBandwidths, nvbandwidth};
pub use stream::{StreamBandwidths, stream};
pub use system::{Measured, MemoryFile, memory_file};

/// A benchmark whose output is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Benchmark {
    /// NVIDIA's nvbandwidth.
    Nvbandwidth,
    /// STREAM.
    Stream,
    /// llama-bench or llama-batched-bench.
    LlamaBench,
}

impl Benchmark {
    /// Which benchmark `text` is the output of.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if has(&["nvbandwidth", "memcpy CE CPU", "memcpy SM CPU", "memcpy local GPU"]) {
            Some(Self::Nvbandwidth)
        } else if has(&["STREAM version", "Best Rate MB/s"]) {
            Some(Self::Stream)
        } else if has(&["| t/s", "t/s |", "S_TG t/s", "avg_ts", "speed_tg"]) {
            Some(Self::LlamaBench)
        } else {
            None
        }
    }
}
