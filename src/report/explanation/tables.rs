//! The rows of an explanation's tables, for text and for its page.

use crate::explain::{Explanation, label, percent, time};

/// The columns of the ladder's table.
pub(super) const LADDER: [&str; 5] =
    ["from the bound to the run", "cost", "share of loss", "time reached", "largest added waits"];

/// The ladder's rows, from the bound down to the run as it is.
pub(super) fn ladder_rows(explanation: &Explanation) -> Vec<Vec<String>> {
    let bound = &explanation.bound;
    let total =
        |name: &str, reached: i64| vec![name.to_owned(), String::new(), String::new(), time(reached), String::new()];
    let of_bound = |name: &str, part: i64, reached: i64| {
        vec![name.to_owned(), signed(part), String::new(), time(reached), String::new()]
    };
    let mut rows = Vec::new();
    let mut reached = bound.ideal_ps as i64;
    let of_runtime = [bound.reach_ps, bound.serial_ps, bound.fixed_ps].iter().any(|part| *part != 0);
    if bound.pages_ps != 0 || bound.capacity_ps != 0 || of_runtime {
        rows.push(match of_runtime {
            false => total("with room for everything in HBM, reading single tokens", reached),
            true => total("with room for everything in HBM, reading single tokens, and an ideal runtime", reached),
        });
        for (name, part) in [
            ("whole pages, for any placement", bound.pages_ps),
            ("scarce HBM, for any placement", bound.capacity_ps),
            ("kernels below the full bandwidth, for any placement", bound.reach_ps),
            ("tiers read one after another, for any placement", bound.serial_ps),
            ("fixed times of the runtime, for any placement", bound.fixed_ps),
        ] {
            reached += part;
            if part != 0 {
                rows.push(of_bound(name, part, reached));
            }
        }
    }
    rows.push(total("bound", reached));
    for cost in explanation.costs.iter().rev() {
        reached += cost.loss_ps;
        let waits = cost.waits_ps.0.iter().filter(|(_, time)| *time > 0).take(2);
        let waits: Vec<String> = waits.map(|(cause, longer)| format!("{} {cause}", signed(*longer))).collect();
        rows.push(vec![
            label(&cost.name).to_owned(),
            signed(cost.loss_ps),
            cost.share.map_or_else(|| "-".to_owned(), percent),
            time(reached),
            waits.join(", "),
        ]);
    }
    rows.push(total("achieved", reached));
    rows
}

/// The columns of the table of waits.
pub(super) const WAITS: [&str; 4] = ["bottleneck", "time", "share of time", "its traffic meanwhile"];

/// The rows of the table of waits, the longest first.
pub(super) fn wait_rows(explanation: &Explanation) -> Vec<Vec<String>> {
    let of = |(cause, wait): &(String, crate::explain::WaitShare)| {
        let carried: Vec<String> =
            wait.carried.0.iter().map(|(class, share)| format!("{class} {}", percent(*share))).collect();
        vec![cause.clone(), time(wait.time_ps as i64), percent(wait.share), carried.join(", ")]
    };
    explanation.waits.0.iter().map(of).collect()
}

/// A time with its sign.
pub(super) fn signed(ps: i64) -> String {
    if ps > 0 { format!("+{}", time(ps)) } else { time(ps) }
}
