//! Notes on a runtime: what it costs, and how far its figures hold.

use super::config::{BySize, ReachConfig, ReadsConfig, RuntimeConfig};
use crate::units::SimTime;

impl RuntimeConfig {
    /// What it costs, in a line.
    ///
    /// ```
    /// use tiersim::workload::RuntimeConfig;
    /// let ideal = RuntimeConfig::default();
    /// assert_eq!(ideal.described(), "no software or kernel costs");
    /// let some = RuntimeConfig { per_stage: "5 us".parse()?, ..ideal };
    /// assert_eq!(some.described(), "5.000 us a stage");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn described(&self) -> String {
        let times =
            [(self.per_stage, "a stage"), (self.per_sequence, "a sequence in each stage"), (self.per_step, "a step")];
        let times = times.into_iter().filter(|(time, _)| *time > SimTime::ZERO);
        let mut parts: Vec<String> = times.map(|(time, of)| format!("{} {of}", time.rounded())).collect();
        if let Some(ranks) = self.ranks.filter(|ranks| ranks.count > 1) {
            let reduce = ranks.all_reduce.rounded();
            parts.push(format!("one of {} chips, {reduce} an all-reduce", ranks.count));
        }
        parts.extend(self.reaches.iter().map(ReachConfig::described));
        let serial = self.reads.iter().filter(|(_, way)| **way == ReadsConfig::Serial);
        parts.extend(serial.map(|(tier, _)| format!("{tier} read after the faster tiers")));
        let copied = |(tier, way): (&String, &ReadsConfig)| {
            let ReadsConfig::Staged { ahead, chunk, .. } = *way else { return None };
            let ahead = if ahead > 0 { format!(" up to {ahead} stages ahead") } else { String::new() };
            let chunk = chunk.map_or_else(String::new, |chunk| format!(" in chunks of {}", chunk.rounded()));
            Some(format!("{tier} copied into a buffer{ahead}{chunk}"))
        };
        parts.extend(self.reads.iter().filter_map(copied));
        parts.extend(self.interference.iter().map(|rule| {
            let least = match &rule.left {
                BySize::Constant(value) => *value,
                BySize::Points(points) => points.iter().map(|(_, value)| *value).fold(1.0, f64::min),
            };
            format!("direct reads of {} leave down to {least} of the first tier's bandwidth", rule.tier)
        }));
        parts.extend(self.amplification.iter().map(|rule| {
            let most = rule.factors.iter().map(|(_, factor)| *factor).fold(1.0, f64::max);
            format!(
                "{} of {} cross its link up to {most} times (counted in transfers, not in alpha)",
                rule.class, rule.tier
            )
        }));
        parts.extend(self.computes.iter().map(|(tier, of)| of.described(tier)));
        parts.extend(self.compute.map(|rate| rate.to_string()));
        if parts.is_empty() { "no software or kernel costs".to_owned() } else { parts.join(", ") }
    }

    /// What to say of a run with it on the memory system named `memory`: what it costs, and whether
    /// it was fitted there.
    #[must_use]
    pub fn notes(&self, memory: &str) -> Vec<String> {
        if self.is_ideal() {
            return vec![format!("runtime: {} (no software or kernel costs)", self.name)];
        }
        let costs = format!("runtime: {} ({})", self.name, self.described());
        let fitted = match self.machine.as_deref() {
            Some(machine) if machine == memory => None,
            Some(machine) => Some(format!("{} has not been fitted on {memory}: values of {machine}", self.name)),
            None => Some(format!("{} has not been fitted on {memory}: typical values", self.name)),
        };
        std::iter::once(costs).chain(fitted).collect()
    }
}

impl ReachConfig {
    /// Such as `weights in q8_0 at 0.93 of the bandwidth of ram`.
    fn described(&self) -> String {
        let format = self.format.map_or_else(String::new, |format| format!(" in {format}"));
        let tier = self.tier.as_ref().map_or_else(String::new, |tier| format!(" of {tier}"));
        let share = match &self.reach {
            BySize::Constant(value) => value.to_string(),
            BySize::Points(points) => {
                let shares = || points.iter().map(|(_, value)| *value);
                let (least, most) = (shares().fold(1.0, f64::min), shares().fold(0.0, f64::max));
                format!("{least} to {most}, by size,")
            }
        };
        format!("{}{format} at {share} of the bandwidth{tier}", self.class)
    }
}
