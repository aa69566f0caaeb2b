//! Groups of KV: what of a layer's KV lies, moves and is skipped as a unit of its own.
//!
//! Usually the KV of a sequence in a layer is one region: a page holds the keys and the values of
//! its tokens, of all heads. Keys and values may be kept apart, as where attention scores all keys
//! and reads only the values that matter, and so may heads, each of which may select tokens of its
//! own. Each group is then a region, with its own layout, pages, moves and skip sets.
//!
//! The token bytes of a layer's groups add up to the layer's. A byte that does not divide by the
//! heads goes to the first ones.

use super::template::{KvParts, LayerKv};
use crate::units::{Bytes, LayerId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Into which regions the KV of a layer is divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KvGroups {
    /// One region: the keys and the values of all heads.
    #[default]
    Whole,
    /// Two: the keys of all heads, then their values.
    KeysAndValues,
    /// One for each KV head: its keys and values.
    Heads,
    /// Two for each KV head: its keys, then its values.
    KeysAndValuesOfHeads,
}

/// What a group holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvGroup {
    /// The KV head; `None` for all of them.
    pub head: Option<usize>,
    /// Keys or values; `None` for both.
    pub part: Option<KvPart>,
}

/// Keys, or values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvPart {
    /// The keys.
    Keys,
    /// The values.
    Values,
}

/// KV that cannot be divided as asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum KvGroupsError {
    #[error(
        "kv_groups: {asked:?}, but layer {layer} keeps one vector of a token that is neither keys nor values (latent attention): leave \
         kv_groups out"
    )]
    Latent { asked: KvGroups, layer: usize },
    #[error(
        "kv_groups: {asked:?}, but a model in bytes does not say how many KV heads layer {layer} has: give its architecture, or use \
         KeysAndValues"
    )]
    NoHeads { asked: KvGroups, layer: usize },
    #[error(
        "kv_groups: {asked:?} of {heads} KV heads makes {groups} regions of each of {layers} layers, but together they may be at most {most}: \
         use KeysAndValues, or leave kv_groups out"
    )]
    TooMany { asked: KvGroups, heads: usize, groups: usize, layers: usize, most: usize },
}

impl KvGroups {
    /// Each with its name on the command line and with what it does, in a line.
    pub const ALL: [(&'static str, &'static str, Self); 4] = [
        ("Whole", "The keys and values of all heads are one region", Self::Whole),
        ("KeysAndValues", "Keys and values are two regions", Self::KeysAndValues),
        ("Heads", "Each KV head is a region", Self::Heads),
        ("KeysAndValuesOfHeads", "Keys and values of each KV head are two regions", Self::KeysAndValuesOfHeads),
    ];

    /// The most KV regions of a sequence.
    pub const MOST_REGIONS: usize = 1 << 16;

    /// Whether the KV of a layer is one region.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        *self == Self::Whole
    }

    /// How many regions the KV of a layer is divided into, where no layer has more than `heads` KV
    /// heads.
    #[must_use]
    pub fn count(self, heads: usize) -> usize {
        match self {
            Self::Whole => 1,
            Self::KeysAndValues => 2,
            Self::Heads => heads.max(1),
            Self::KeysAndValuesOfHeads => 2 * heads.max(1),
        }
    }

    /// What the group of that number holds.
    #[must_use]
    pub fn group(self, number: usize) -> KvGroup {
        let part = |number: usize| Some(if number.is_multiple_of(2) { KvPart::Keys } else { KvPart::Values });
        match self {
            Self::Whole => KvGroup { head: None, part: None },
            Self::KeysAndValues => KvGroup { head: None, part: part(number) },
            Self::Heads => KvGroup { head: Some(number), part: None },
            Self::KeysAndValuesOfHeads => KvGroup { head: Some(number / 2), part: part(number) },
        }
    }

    /// What a token takes in a group of a layer; 0 of heads that the layer does not have.
    #[must_use]
    pub fn bytes(self, number: usize, kv: &LayerKv) -> Bytes {
        let KvGroup { head, part } = self.group(number);
        let Some(KvParts { heads, keys }) = kv.parts else { return kv.token_bytes };
        let all = match part {
            None => kv.token_bytes,
            Some(KvPart::Keys) => keys,
            Some(KvPart::Values) => kv.token_bytes.saturating_sub(keys),
        };
        let Some(head) = head else { return all };
        let (head, heads) = (head as u64, u64::from(heads.unwrap_or(1)).max(1));
        let first = u64::from(head < all.get() % heads);
        if head < heads { Bytes::new(all.get() / heads + first) } else { Bytes::ZERO }
    }

    /// How many groups the layers have, each as many as the one with the most heads.
    ///
    /// # Errors
    /// [`KvGroupsError`] if a layer's KV cannot be divided so.
    pub(super) fn of_layers<'a>(
        self,
        layers: impl ExactSizeIterator<Item = (LayerId, &'a LayerKv)>,
    ) -> Result<usize, KvGroupsError> {
        let (count, mut most) = (layers.len(), 1);
        for (layer, kv) in layers.filter(|(_, kv)| !self.is_whole() && kv.token_bytes > Bytes::ZERO) {
            let layer = layer.index();
            let parts = kv.parts.ok_or(KvGroupsError::Latent { asked: self, layer })?;
            match (self.group(0).head, parts.heads) {
                (Some(_), None) => return Err(KvGroupsError::NoHeads { asked: self, layer }),
                (_, heads) => most = most.max(heads.unwrap_or(1) as usize),
            }
        }
        let groups = self.count(most);
        if groups > 1 && groups.saturating_mul(count) > Self::MOST_REGIONS {
            let (heads, layers, most) = (most, count, Self::MOST_REGIONS);
            return Err(KvGroupsError::TooMany { asked: self, heads, groups, layers, most });
        }
        Ok(groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(token: u64, keys: u64, heads: Option<u32>) -> LayerKv {
        let parts = Some(KvParts { heads, keys: Bytes::new(keys) });
        LayerKv {
            token_bytes: Bytes::new(token),
            index_bytes: Bytes::ZERO,
            window: None,
            state: Bytes::ZERO,
            source: LayerId::new(0),
            parts,
        }
    }

    #[test]
    fn the_groups_of_a_layer_add_up_to_it() {
        for (_, _, kind) in KvGroups::ALL {
            for (token, keys, heads) in [(4096, 2048, 8), (100, 61, 3), (7, 7, 4), (5, 1, 2)] {
                let kv = kv(token, keys, Some(heads));
                let all: u64 = (0..kind.count(8)).map(|group| kind.bytes(group, &kv).get()).sum();
                assert_eq!(all, token, "{kind:?} of {kv:?}");
            }
        }
        let bytes = |kind: KvGroups, kv: &LayerKv| -> Vec<u64> {
            (0..kind.count(2)).map(|group| kind.bytes(group, kv).get()).collect()
        };
        let unequal = kv(100, 60, Some(2));
        assert_eq!(bytes(KvGroups::Whole, &unequal), [100]);
        assert_eq!(bytes(KvGroups::KeysAndValues, &unequal), [60, 40]);
        assert_eq!(bytes(KvGroups::Heads, &unequal), [50, 50]);
        assert_eq!(bytes(KvGroups::KeysAndValuesOfHeads, &unequal), [30, 20, 30, 20]);
        // A head that a layer does not have takes nothing.
        assert_eq!(bytes(KvGroups::Heads, &kv(100, 60, Some(1))), [100, 0]);
    }

    #[test]
    fn what_cannot_be_divided_is_refused() {
        let count = |kind: KvGroups, layers: &[LayerKv]| {
            kind.of_layers(
                layers.iter().enumerate().map(|(layer, kv)| (LayerId::new(layer), kv)).collect::<Vec<_>>().into_iter(),
            )
        };
        let (of_heads, in_bytes) = (kv(100, 50, Some(4)), kv(100, 50, None));
        let latent = LayerKv { parts: None, ..of_heads };
        let none = LayerKv { token_bytes: Bytes::ZERO, ..latent };
        assert_eq!(count(KvGroups::Heads, &[of_heads, none]), Ok(4));
        assert_eq!(count(KvGroups::KeysAndValues, &[in_bytes]), Ok(2));
        assert_eq!(count(KvGroups::Whole, &[latent]), Ok(1));
        assert!(count(KvGroups::KeysAndValues, &[of_heads, latent]).unwrap_err().to_string().contains("layer 1"));
        assert!(count(KvGroups::Heads, &[in_bytes]).unwrap_err().to_string().contains("KV heads"));
        assert!(matches!(count(KvGroups::Heads, &[kv(1 << 20, 0, Some(1 << 17))]), Err(KvGroupsError::TooMany { .. })));
    }
}
