use super::config::{ExternalKv, RequestsConfig, WriteBack};

impl RequestsConfig {
    /// How reports call the way in which requests are served: `Fcfs/Recompute/Hbm`, by the order of
    /// the queue, what happens to those that are preempted, and which tiers keep prefix blocks.
    /// What is as usual besides is left out.
    #[must_use]
    pub fn policy(&self) -> String {
        let mut name = format!("{:?}/{:?}/{:?}", self.order, self.preemption, self.kv.cache);
        if self.kv.external != ExternalKv::default() {
            name += &format!("/{:?}", self.kv.external);
        }
        if self.kv.write != WriteBack::default() {
            name += &format!("/{:?}", self.kv.write);
        }
        name
    }
}
