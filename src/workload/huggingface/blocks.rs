//! Layers one by one as blocks: a number of times the same layers in the same order.

use crate::workload::{BlockConfig, LayerConfig};

/// The longest cycle of layers that is looked for.
const LONGEST: usize = 16;

/// `layers` as few blocks: at each layer the cycle that leaves out the most, the shortest of
/// several. O(layers times the longest cycle).
pub(super) fn blocks(layers: &[LayerConfig]) -> Vec<BlockConfig> {
    let mut blocks = Vec::new();
    let mut rest = layers;
    while !rest.is_empty() {
        let (mut cycle, mut count) = (1, 1);
        for length in 1..=LONGEST.min(rest.len() / 2) {
            let repeats = rest.chunks_exact(length).take_while(|chunk| *chunk == &rest[..length]).count();
            if length * (repeats - 1) > cycle * (count - 1) {
                (cycle, count) = (length, repeats);
            }
        }
        blocks.push(BlockConfig { count: count as u32, layers: rest[..cycle].to_vec() });
        rest = &rest[cycle * count..];
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(layers: &[u64]) -> Vec<(u32, Vec<u64>)> {
        let layers: Vec<LayerConfig> =
            layers.iter().map(|size| LayerConfig { extra_parameters: *size, ..LayerConfig::default() }).collect();
        let found = blocks(&layers);
        let again: Vec<LayerConfig> =
            found.iter().flat_map(|block| (0..block.count).flat_map(|_| block.layers.clone())).collect();
        assert_eq!(again, layers);
        let sizes = |block: BlockConfig| block.layers.iter().map(|layer| layer.extra_parameters).collect();
        found.into_iter().map(|block| (block.count, sizes(block))).collect()
    }

    #[test]
    fn equal_layers_and_cycles_are_found() {
        assert_eq!(sizes(&[1; 5]), [(5, vec![1])]);
        assert_eq!(sizes(&[1, 1, 1, 2, 2]), [(3, vec![1]), (2, vec![2])]);
        assert_eq!(sizes(&[1, 1, 2, 1, 1, 2, 1]), [(2, vec![1, 1, 2]), (1, vec![1])]);
        assert_eq!(sizes(&[1, 2, 3]), [(1, vec![1]), (1, vec![2]), (1, vec![3])]);
        assert_eq!(sizes(&[]), []);
    }
}
