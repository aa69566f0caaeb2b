//! HBM for the bytes that are read most often for their size.

use super::{Active, Initialization, Layout};
use crate::memory::{Shortage, TierId};
use crate::units::{Bytes, Page, RegionId, Table};
use crate::workload::{StageReads, Weights};

/// Fills HBM with the bytes that are read most often for their size, each stage up to HBM's best
/// ratio of what it reads.
///
/// A dense model reads all of its weights in each step, and of the tokens a share that is at least
/// `active`. So of an attention stage, which reads KV besides, more of the weights lie on HBM, and
/// fewer of the tokens: weights are read for certain, and tokens can move. Of a mixture of experts,
/// tokens may be read more often than weights; then they come first.
///
/// A stage reads the KV of all sequences, and each of them has the same share of its pages on HBM.
/// Prompts that are computed when the run begins count as if they were there.
pub struct DensityFirst {
    /// The share of the tokens that is assumed to be read in each step.
    pub active: Active,
}

/// What goes on HBM as one.
#[derive(Clone, Copy)]
struct Item {
    /// Reads per stored byte.
    density: f64,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    Weights {
        stage: usize,
        region: RegionId,
        stored: Bytes,
    },
    /// All regions' pages, page by page.
    Pages,
}

impl Initialization for DensityFirst {
    fn uses_read_share(&self) -> bool {
        self.active == Active::Auto
    }

    fn lay_out(&self, layout: &mut Layout<'_>) -> Result<(), Shortage> {
        let best = layout.system().best_ratio();
        let active = self.active.of(layout);
        let next = TierId::new(1.min(layout.system().tiers().len() - 1));
        let stages = layout.stages();
        let of_region = |region| layout.page_bytes(region).as_f64() * layout.expected(region) as f64;
        let kv: Table<RegionId, f64> = layout.kv().map(of_region).collect();
        let read_by = |stage: &StageReads| -> f64 { stage.divisible().map(|(_, of)| of.read.as_f64()).sum() };
        // What each stage may yet read from HBM.
        let allowance = |stage: &StageReads| {
            best * (read_by(stage) + stage.kv.iter().map(|read| active * kv[read.region]).sum::<f64>())
        };
        let mut allowance: Vec<f64> = stages.iter().map(allowance).collect();
        for item in items(&stages, active) {
            match item.what {
                What::Weights { stage, region, stored } => {
                    let wanted = allowance[stage] / item.density.max(f64::MIN_POSITIVE);
                    let on_hbm = rounded(wanted).min(stored).min(layout.free(TierId::HBM));
                    allowance[stage] -= on_hbm.as_f64() * item.density;
                    layout.put_weights(region, TierId::HBM, on_hbm)?;
                    layout.spill_weights(region, next, stored - on_hbm)?;
                }
                What::Pages => {
                    // Which are read is not known, so of each region the share that makes up the
                    // best ratio of its stage if all are.
                    let mut shares: Table<RegionId, f64> = Table::filled(kv.len(), 0.0);
                    for (stage, allowance) in stages.iter().zip(&allowance) {
                        let (weights, all) = (read_by(stage), stage.kv.iter().map(|read| kv[read.region]).sum::<f64>());
                        let on_hbm = best * (weights + active * all) - allowance;
                        let wanted = best * (weights + all) - on_hbm;
                        for read in &stage.kv {
                            shares[read.region] = if all > 0.0 { (wanted / all).clamp(0.0, 1.0) } else { 0.0 };
                        }
                    }
                    layout.spill_pages(
                        |region| shares[region].to_bits(),
                        |region, live, pattern| {
                            let taken = |pages: usize| (shares[region] * pages as f64).floor();
                            for (place, page) in live.enumerate() {
                                let tier = if taken(place + 1) > taken(place) { TierId::HBM } else { next };
                                pattern.put(Page::new(page), tier);
                            }
                        },
                    )?;
                }
            }
        }
        Ok(())
    }
}

/// What is laid out, the most often read first; of equals in the order of a step, pages after
/// weights.
fn items(stages: &[StageReads], active: f64) -> Vec<Item> {
    let density = |of: &Weights| of.read.as_f64() / of.stored.as_f64().max(1.0);
    let mut items: Vec<Item> = Vec::new();
    for (stage, reads) in stages.iter().enumerate() {
        items.extend(reads.divisible().map(|(region, of)| Item {
            density: density(&of),
            what: What::Weights { stage, region, stored: of.stored },
        }));
    }
    items.push(Item { density: active, what: What::Pages });
    items.sort_by(|a, b| b.density.total_cmp(&a.density));
    items
}

fn rounded(bytes: f64) -> Bytes {
    Bytes::new(bytes.max(0.0).round() as u64)
}
