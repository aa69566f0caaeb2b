//! The event loops of other simulators, with the same timers as
//! [`calendar_loop`](crate::calendar_loop).

use nexosim::model::{Context, Model, schedulable};
use nexosim::simulation::{Mailbox, SimInit};
use nexosim::time::MonotonicTime;
use serde::{Deserialize, Serialize};
use simcore::{Event, EventHandler, Simulation, SimulationContext};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

#[derive(Clone, Serialize)]
struct Due;

struct Timers {
    context: SimulationContext,
    delays: Vec<u64>,
    next: usize,
}

impl EventHandler for Timers {
    fn on(&mut self, _event: Event) {
        self.context.emit_self(Due, self.delays[self.next] as f64 * 1e-12);
        self.next += 1;
    }
}

/// The event loop of simcore.
#[must_use]
pub fn simcore_loop(delays: &[u64], pending: usize) -> f64 {
    let mut simulation = Simulation::new(1);
    let context = simulation.create_context("timers");
    for delay in &delays[..pending] {
        context.emit_self(Due, *delay as f64 * 1e-12);
    }
    let timers = Rc::new(RefCell::new(Timers { context, delays: delays.to_vec(), next: 0 }));
    simulation.add_handler("timers", timers);
    for _ in 0..delays.len() {
        simulation.step();
    }
    simulation.time()
}

#[derive(Serialize, Deserialize)]
struct NexoTimers {
    delays: Vec<u64>,
    pending: usize,
    next: usize,
}

#[Model]
impl NexoTimers {
    #[nexosim(init)]
    async fn init(&mut self, context: &Context<Self>) {
        for at in 0..self.pending {
            let delay = Duration::from_nanos(self.delays[at]);
            context.schedule_event(delay, schedulable!(Self::due), ()).expect("a delay above zero");
        }
    }

    #[nexosim(schedulable)]
    async fn due(&mut self, _: (), context: &Context<Self>) {
        if let Some(delay) = self.delays.get(self.next) {
            self.next += 1;
            context
                .schedule_event(Duration::from_nanos(*delay), schedulable!(Self::due), ())
                .expect("a delay above zero");
        }
    }
}

/// The event loop of nexosim, on one thread. Its clock counts nanoseconds, so that a picosecond is
/// one here. It runs until all timers have expired.
///
/// # Panics
/// If a step fails.
pub fn nexosim_loop(delays: &[u64], pending: usize) {
    let model = NexoTimers { delays: delays.to_vec(), pending, next: 0 };
    let mut simulation = SimInit::with_num_threads(1)
        .add_model(model, Mailbox::new(), "timers")
        .init(MonotonicTime::EPOCH)
        .expect("a single model");
    for _ in 0..delays.len() {
        simulation.step().expect("a step");
    }
}
