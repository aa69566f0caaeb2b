use super::{Active, Initialization, Layout};
use crate::memory::{Shortage, TierId};
use crate::units::Bytes;

/// Fills HBM with what is read most for each byte that it takes there, each sublayer up to HBM's best ratio of what it reads.
///
/// All weights that a dense model stores are read in each step, and of the tokens a share that is at least `active`. So of an attention
/// sublayer, which reads KV besides, more of the weights lie on HBM, and fewer of the tokens: weights are read for certain, and
/// tokens can move. Of a mixture of experts, tokens may be the denser ones; then they come first.
pub struct DensityFirst {
    /// The share of the tokens that is assumed to be read in each step.
    pub active: Active,
}

/// What goes on HBM as one.
#[derive(Clone, Copy)]
struct Item {
    /// Reads a stored byte.
    density: f64,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    Weights(usize),
    /// All layers' tokens, token by token.
    Tokens,
}

impl Initialization for DensityFirst {
    fn uses_read_share(&self) -> bool {
        self.active == Active::Auto
    }

    fn lay_out(&self, layout: &mut Layout<'_>) -> Result<(), Shortage> {
        let best = layout.system().best_ratio();
        let active = self.active.of(layout);
        let (prefill, layers) = (layout.prefill(), layout.layers());
        let next = TierId::new(1.min(layout.system().tiers().len() - 1));
        let sublayers = layout.sublayers();
        let tokens: Vec<f64> = (0..layers).map(|layer| layout.kv_bytes(layer).as_f64() * prefill as f64).collect();
        // What each sublayer may yet read from HBM.
        let mut allowance: Vec<f64> = sublayers
            .iter()
            .enumerate()
            .map(|(index, sublayer)| {
                let kv = if index % 2 == 0 { active * tokens[index / 2] } else { 0.0 };
                best * (sublayer.read.as_f64() + kv)
            })
            .collect();
        let density = |index: usize| sublayers[index].read.as_f64() / sublayers[index].stored.as_f64().max(1.0);
        let mut items: Vec<Item> =
            (0..sublayers.len()).map(|index| Item { density: density(index), what: What::Weights(index) }).collect();
        let of_tokens = Item { density: active, what: What::Tokens };
        items.push(of_tokens);
        // Stable: sublayers of equal density in their order, tokens after weights.
        items.sort_by(|a, b| b.density.total_cmp(&a.density));
        for item in items {
            match item.what {
                What::Weights(index) => {
                    let stored = sublayers[index].stored;
                    let wanted = allowance[index] / item.density.max(f64::MIN_POSITIVE);
                    let on_hbm = rounded(wanted).min(stored).min(layout.free(TierId::HBM));
                    allowance[index] -= on_hbm.as_f64() * item.density;
                    layout.put_weights(index, TierId::HBM, on_hbm)?;
                    layout.spill_weights(index, next, stored - on_hbm)?;
                }
                What::Tokens => {
                    // Which are read is not known, so of each layer the share that makes up its best ratio if all are.
                    let shares: Vec<f64> = (0..layers)
                        .map(|layer| {
                            let weights = sublayers[2 * layer].read.as_f64();
                            let on_hbm = best * (weights + active * tokens[layer]) - allowance[2 * layer];
                            let wanted = best * (weights + tokens[layer]) - on_hbm;
                            if tokens[layer] > 0.0 { (wanted / tokens[layer]).clamp(0.0, 1.0) } else { 0.0 }
                        })
                        .collect();
                    for token in 0..prefill {
                        let taken = |layer: usize, tokens: usize| (shares[layer] * tokens as f64).floor();
                        layout.spill_token_of_layers(token, |layer| {
                            if taken(layer, token + 1) > taken(layer, token) { TierId::HBM } else { next }
                        })?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn rounded(bytes: f64) -> Bytes {
    Bytes::new(bytes.max(0.0).round() as u64)
}
