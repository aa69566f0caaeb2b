//! Progress: bytes as fixed-point numbers with 64 fractional bits.
//!
//! What a transfer is to receive, what it has received and how far a group of transfers has come
//! are all counted so. Rates are in the same format, in bytes a picosecond, and are rounded down;
//! [`sharing`](super::sharing) says how exact that is, and why a transfer that lacks no more than
//! [`TOLERANCE`] is complete.

use crate::units::Bytes;

/// A byte in the fixed-point format of progress.
pub(super) const BYTE: u128 = 1 << 64;
/// What a complete transfer may lack, because rates are rounded down: 2^-20 byte.
pub(super) const TOLERANCE: u128 = 1 << 44;

/// The least progress at which one more transfer of a group that is at `progress` can have received
/// `bytes` more whole bytes: it may be anywhere within a byte now, and the last of them may lack
/// [`TOLERANCE`].
pub(super) fn progress_after(progress: u128, bytes: Bytes) -> u128 {
    progress.saturating_add((u128::from(bytes.get()).saturating_sub(1) * BYTE).saturating_sub(TOLERANCE))
}

/// What a transfer is to receive, in the format of progress. One that is spread evenly over several
/// lanes is complete when all of it lacks [`TOLERANCE`], so each part when it lacks its part of
/// that.
pub(super) fn size(bytes: Bytes, parts: u64) -> u128 {
    if parts == 1 {
        return u128::from(bytes.get()) * BYTE;
    }
    let parts = u128::from(parts);
    (u128::from(bytes.get()) * BYTE).div_ceil(parts) + TOLERANCE - TOLERANCE / parts
}
