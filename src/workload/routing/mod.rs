//! Routing: which experts the tokens of a step use, and how many different ones.
//!
//! Each token is routed to `active` of a layer's `count` experts. A step reads the union of the
//! experts of its tokens; the others are left unread, as attention leaves skipped tokens unread.
//!
//! * [`Routing`] is how one layer routes: how many experts there are, how many a token uses, and
//!   how popular they are. From it follow the expected size of a union ([`Routing::union`]) and
//!   each expert's probability ([`Routing::probabilities`]).
//! * A [`RoutingSource`] says step by step which experts are unread, where experts are units that
//!   are placed, cached and moved: a [`RoutingGenerator`], or [`RecordedRouting`] read from a file.
//! * A [`RoutingWindow`] keeps what a run sees of it: the present step and those that its strategy
//!   may look ahead.
//! * [`ExpertTraceConfig`] selects the source; [`RoutingStatistics`] says what routing is like.

mod config;
mod generator;
mod recorded;
mod slots;
mod statistics;
mod text;
mod window;

pub use config::{ExpertTraceConfig, RecordedRoutingConfig, RoutingExtend, RoutingGeneratorConfig};
pub use generator::RoutingGenerator;
pub use recorded::{ExpertSteps, RecordedRouting};
pub use statistics::{EXPERT_ROOMS, ExpertPolicy, RoutingStatistics};
pub use text::RoutingTextError;
pub use window::RoutingWindow;

use super::template::Growth;
use super::trace::{StepSkips, TraceError};
use super::union::Routing;
use super::{LanguageModel, StageLabel};
use crate::units::LayerId;

/// A stream of the experts that steps leave unread, from step 0 on.
///
/// `unread` has a set for each layer of the model, with room for the layer's experts, or for none
/// where the layer has none. On entry the sets and counts may hold anything; on return the set of
/// each layer holds the experts that none of the step's tokens is routed to, and its count is how
/// many they are. A layer without experts has an empty set.
pub trait RoutingSource: Send {
    /// Writes the unread experts of the next step, which computes so many tokens, over `unread`.
    ///
    /// # Errors
    /// [`TraceError`] where a recording cannot be read or makes no sense.
    fn next_step(&mut self, tokens: usize, unread: &mut StepSkips) -> Result<(), TraceError>;

    /// The share of tokens that is expected to be routed to each expert of `layer`: probabilities
    /// whose sum is how many experts a token uses. Empty for a layer without experts. Layouts that
    /// keep the popular experts in HBM go by it.
    fn popularity(&self, layer: LayerId) -> Vec<f64>;
}

/// How each layer of `model` routes; `None` for a layer without experts.
#[must_use]
pub fn routings(model: &LanguageModel) -> Vec<Option<Routing>> {
    let mut routings = vec![None; model.layers()];
    for stage in model.stages().iter().filter(|stage| stage.label == StageLabel::Mlp) {
        let found = stage.weights.iter().find_map(|weights| match weights.growth {
            Growth::Experts(routing) => Some(routing),
            Growth::Fixed | Growth::Rows => None,
        });
        if let (Some(layer), Some(routing)) = (stage.layer, found) {
            routings[layer.index()] = Some(routing);
        }
    }
    routings
}

/// Room for the unread experts of each layer that routes so, all of them unread.
#[must_use]
pub fn unread(layers: &[Option<Routing>]) -> StepSkips {
    let counts = Vec::from_iter(layers.iter().map(|layer| layer.map_or(0, |routing| routing.count() as usize)));
    let sets = counts.iter().map(|count| {
        let mut set = super::TokenSet::new(*count);
        set.insert_all(0..*count);
        set
    });
    StepSkips { sets: sets.collect(), counts }
}
