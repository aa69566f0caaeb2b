//! Request logs: which formats there are, and how each becomes [`Requests`](super::Requests).

use serde::{Deserialize, Serialize};

/// The format of a request log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFormat {
    /// `TIMESTAMP,ContextTokens,GeneratedTokens`: Azure's LLM inference traces.
    Azure,
    /// JSON Lines with `timestamp` (ms), `input_length`, `output_length`, `hash_ids`: Mooncake's.
    Mooncake,
    /// `arrival_s,prompt_tokens,output_tokens[,prefix...]`: ours.
    Csv,
}
