//! Transfers as fluids: max-min fair rates, found anew at every event.

/// What a complete transfer may lack, in bytes: the fabric's own tolerance.
pub const TOLERANCE: f64 = 1.0 / 1_048_576.0;

/// A tier as the twin sees it, in bytes a picosecond.
#[derive(Clone, Debug)]
pub struct Tier {
    pub capacity: u64,
    /// GB/s, the bottleneck of its bus and its link.
    pub bandwidth: u64,
    /// The lanes of a read and of a write.
    pub read: Vec<usize>,
    pub write: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    Read,
    Write(usize),
    Move(usize),
}

#[derive(Debug)]
struct Flow {
    what: What,
    lanes: Vec<usize>,
    size: f64,
    left: f64,
}

/// What is on its way.
#[derive(Debug)]
pub struct Fluid {
    pub now: u64,
    lanes: Vec<f64>,
    flows: Vec<Flow>,
}

impl Fluid {
    pub fn new(lanes: Vec<f64>) -> Self {
        Self { now: 0, lanes, flows: Vec::new() }
    }

    pub fn issue(&mut self, what: What, lanes: Vec<usize>, bytes: u64) {
        let size = bytes as f64;
        self.flows.push(Flow { what, lanes, size, left: size });
    }

    pub fn cancel(&mut self, what: What) {
        self.flows.retain(|flow| flow.what != what);
    }

    /// How much a transfer has carried, if it is not complete.
    pub fn carried(&self, what: What) -> Option<f64> {
        self.flows.iter().find(|flow| flow.what == what).map(|flow| flow.size - flow.left)
    }

    /// Goes on to the next completion, or to `timer` if that is sooner, and returns what is
    /// complete.
    pub fn next(&mut self, timer: Option<u64>) -> Vec<What> {
        let rates = self.rates();
        let wait = |(flow, rate): (&Flow, &f64)| ((flow.left - TOLERANCE) / rate).ceil().max(0.0) as u64;
        let first = self.flows.iter().zip(&rates).map(wait).min().map(|wait| self.now + wait);
        let next = first.into_iter().chain(timer).min().expect("something happens next");
        for (flow, rate) in self.flows.iter_mut().zip(&rates) {
            flow.left -= rate * (next - self.now) as f64;
        }
        self.now = next;
        self.flows.extract_if(.., |flow| flow.left <= TOLERANCE * (1.0 + 1e-9)).map(|flow| flow.what).collect()
    }

    /// The lane on which each flow would get least is full first.
    fn rates(&self) -> Vec<f64> {
        let mut rates: Vec<Option<f64>> = vec![None; self.flows.len()];
        let mut free = self.lanes.clone();
        while rates.contains(&None) {
            let open = |lane: usize| {
                let flows = self.flows.iter().zip(&rates);
                flows.filter(|(flow, rate)| rate.is_none() && flow.lanes.contains(&lane)).count()
            };
            let shares =
                (0..free.len()).filter(|lane| open(*lane) > 0).map(|lane| (free[lane] / open(lane) as f64, lane));
            let (share, full) = shares.min_by(|a, b| a.0.total_cmp(&b.0)).expect("a flow holds lanes");
            for (flow, rate) in self.flows.iter().zip(&mut rates) {
                if rate.is_none() && flow.lanes.contains(&full) {
                    *rate = Some(share);
                    flow.lanes.iter().for_each(|lane| free[*lane] -= share);
                }
            }
        }
        rates.into_iter().flatten().collect()
    }
}
