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
    /// The KV of `residency` beside `weights`, which are by tier.
    pub(super) fn new(weights: Vec<Bytes>, residency: &Residency, layers: usize) -> Self {
        let on = |tier: TierId| {
            let of_layer = |layer: usize| {
                let tokens = residency.layer(layer);
                tokens.kv_bytes.times(tokens.count[tier.index()] as u64)
            };
            (0..layers).map(of_layer).sum()
        };
        Self { kv: (0..weights.len()).map(TierId::new).map(on).collect(), weights }
    }
}
