//! What the feed-forward part of a layer stores.

use super::config::{DenseConfig, ExpertsConfig, MlpConfig};
use super::tensor::{Part, Role, Tensor};

/// The tensors of a feed-forward part.
pub(super) fn tensors(config: &MlpConfig, hidden: u32) -> Vec<Tensor> {
    let hidden = u128::from(hidden);
    match config {
        MlpConfig::None => Vec::new(),
        MlpConfig::Dense(DenseConfig { intermediate, gated, bias }) => {
            dense(Part::Mlp, 1, (*intermediate).into(), hidden, *gated, *bias)
        }
        MlpConfig::Experts(experts) => of_experts(experts, hidden),
    }
}

/// `copies` feed-forward networks: gate, up and down.
fn dense(part: Part, copies: u32, intermediate: u128, hidden: u128, gated: bool, bias: bool) -> Vec<Tensor> {
    let mut tensors = Vec::new();
    if gated {
        tensors.push(Tensor::matrix(Role::Gate, part, intermediate, hidden));
    }
    tensors.push(Tensor::matrix(Role::Up, part, intermediate, hidden));
    tensors.push(Tensor::matrix(Role::Down, part, hidden, intermediate));
    if bias {
        tensors.push(Tensor::vector(part, intermediate * if gated { 2 } else { 1 } + hidden));
    }
    tensors.into_iter().map(|tensor| tensor.copies(copies)).collect()
}

fn of_experts(config: &ExpertsConfig, hidden: u128) -> Vec<Tensor> {
    let count = u128::from(config.count);
    let mut tensors = vec![Tensor::matrix(Role::Small, Part::Other, count, hidden)];
    if config.bias {
        tensors.push(Tensor::vector(Part::Other, count));
    }
    if config.shared_gate {
        tensors.push(Tensor::matrix(Role::Small, Part::Other, 1, hidden));
    }
    let width = config.latent.map_or(hidden, u128::from);
    if config.latent.is_some() {
        tensors.push(Tensor::matrix(Role::Matrix, Part::Mlp, width, hidden));
        tensors.push(Tensor::matrix(Role::Matrix, Part::Mlp, hidden, width));
    }
    if config.shared > 0 {
        let intermediate = config.shared_intermediate.unwrap_or(config.intermediate).into();
        tensors.extend(dense(Part::Shared, config.shared, intermediate, hidden, config.gated, config.bias));
    }
    tensors.extend(dense(Part::Experts, config.count, config.intermediate.into(), width, config.gated, config.bias));
    tensors
}
