use super::residency::Residency;
use crate::memory::TierId;
use crate::units::Bytes;

/// Where the bytes are at one moment of a run: the stored weights and the KV on each tier, in
/// bytes.
///
/// KV is counted in whole pages, as they take room, and a page that moves is counted on its
/// destination. Under inclusive residency a byte is counted on the tier that it is read from; the
/// copies on the last tier are not counted besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Stored weights, by tier.
    pub weights: Vec<Bytes>,
    /// KV, by tier.
    pub kv: Vec<Bytes>,
}

impl Stored {
    /// What lies on each tier of `residency`.
    pub(super) fn new(residency: &Residency, tiers: usize) -> Self {
        let (weights, kv) = (0..tiers).map(|tier| residency.stored_on(TierId::new(tier))).unzip();
        Self { weights, kv }
    }
}
