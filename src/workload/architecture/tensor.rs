//! Tensors: what a part of a layer stores, matrix by matrix.
//!
//! Bytes, FLOP and numbers of weights all follow from one list of tensors, so that they cannot
//! disagree.

/// One tensor, or several equal ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tensor {
    pub role: Role,
    pub part: Part,
    /// Outputs.
    pub rows: u128,
    /// Inputs: contiguous in memory, so that blocks of a format lie within a row.
    pub columns: u128,
    /// How many there are: the number of experts, or 1.
    pub copies: u32,
}

/// What a tensor is for: llama.cpp's file types store some roles with more bits than others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Query,
    Key,
    Value,
    /// Queries, keys and values as one matrix.
    QueryKeyValue,
    Output,
    Gate,
    Up,
    Down,
    Embedding,
    Head,
    /// Any other matrix that is quantized.
    Matrix,
    /// Weights without a shape.
    Extra,
    /// A small matrix that no quantization touches: a router, a convolution.
    Small,
    /// A vector: a norm, a bias. It takes no FLOP worth counting.
    Vector,
}

/// The part of a model that a tensor belongs to, by which its format is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Attention,
    Mlp,
    Experts,
    Shared,
    Embedding,
    Head,
    /// Neither of these.
    Other,
}

impl Tensor {
    pub fn matrix(role: Role, part: Part, rows: u128, columns: u128) -> Self {
        Self { role, part, rows, columns, copies: 1 }
    }

    pub fn vector(part: Part, weights: u128) -> Self {
        Self::matrix(Role::Vector, part, 1, weights)
    }

    pub fn copies(self, copies: u32) -> Self {
        Self { copies, ..self }
    }

    /// How many weights all copies have.
    pub fn weights(&self) -> u128 {
        self.rows.saturating_mul(self.columns).saturating_mul(self.copies.into())
    }

    /// The FLOP of a token that passes so many of the copies: two for each weight of a matrix.
    pub fn flop(&self, passed: u32) -> f64 {
        match self.role {
            Role::Vector | Role::Embedding => 0.0,
            _ => 2.0 * self.rows as f64 * self.columns as f64 * f64::from(passed),
        }
    }
}
