//! The skip sets of groups of KV: of keys and values, or of heads.

use super::{SkipSource, StepSkips, TraceError};
use crate::workload::kv_groups::KvGroups;

/// The skip sets of groups, from a source of those of layers, or of heads.
///
/// A source may have one set for a layer, which all groups share, or one for each KV head, in row
/// `layer * heads + head`: then a group of a head has that of the head.
pub struct OfGroups<S> {
    source: S,
    rows: StepSkips,
    /// By group of each layer, the row whose set it has.
    row_of: Vec<usize>,
}

impl<S: SkipSource> OfGroups<S> {
    /// The sets of `groups` groups of each of so many layers of up to `range` tokens; `source` has
    /// `heads` rows for each layer.
    pub fn new(source: S, kind: KvGroups, layers: usize, groups: usize, heads: usize, range: usize) -> Self {
        let row = |layer: usize, group: usize| {
            let head = kind.group(group).head.unwrap_or(0);
            layer * heads + if heads > 1 { head.min(heads - 1) } else { 0 }
        };
        let row_of = (0..layers).flat_map(|layer| (0..groups).map(move |group| row(layer, group))).collect();
        Self { source, rows: StepSkips::none(layers * heads, range), row_of }
    }
}

impl<S: SkipSource> SkipSource for OfGroups<S> {
    /// O(groups x context / 64) besides the source.
    fn next_step(&mut self, context: usize, skips: &mut StepSkips) -> Result<(), TraceError> {
        self.source.next_step(context, &mut self.rows)?;
        for ((set, count), &row) in skips.sets.iter_mut().zip(&mut skips.counts).zip(&self.row_of) {
            set.copy_below(&self.rows.sets[row], context);
            *count = self.rows.counts[row];
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows 0 and 1 are the heads of layer 0, rows 2 and 3 those of layer 1.
    #[test]
    fn groups_have_the_sets_of_their_heads_or_of_their_layer() {
        struct Rows;
        impl SkipSource for Rows {
            fn next_step(&mut self, _context: usize, skips: &mut StepSkips) -> Result<(), TraceError> {
                for (row, (set, count)) in skips.sets.iter_mut().zip(&mut skips.counts).enumerate() {
                    set.clear();
                    set.insert(row);
                    *count = 1;
                }
                Ok(())
            }
        }
        let sets = |kind: KvGroups, groups: usize, heads: usize| -> Vec<usize> {
            let mut skips = StepSkips::none(2 * groups, 10);
            OfGroups::new(Rows, kind, 2, groups, heads, 10).next_step(10, &mut skips).unwrap();
            assert!(skips.counts.iter().all(|count| *count == 1));
            skips.sets.iter().map(|set| set.iter().next().unwrap()).collect()
        };
        assert_eq!(sets(KvGroups::Heads, 2, 2), [0, 1, 2, 3]);
        assert_eq!(sets(KvGroups::KeysAndValuesOfHeads, 4, 2), [0, 0, 1, 1, 2, 2, 3, 3]);
        assert_eq!(sets(KvGroups::KeysAndValues, 2, 1), [0, 0, 1, 1]);
        assert_eq!(sets(KvGroups::Heads, 2, 1), [0, 0, 1, 1]);
    }
}
