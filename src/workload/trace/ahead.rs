//! Skip sets generated on a thread of their own, a few steps ahead of the run that takes them.
//!
//! A run neither waits for the generator nor spends its own core on it; steps that it has used go
//! back to the thread to be written over.

use super::{SkipSource, StepSkips, TraceError};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};

/// A source whose steps another thread generates, a few ahead of the reader.
pub struct Ahead {
    made: Receiver<Result<StepSkips, TraceError>>,
    /// Steps to be written over.
    used: Sender<StepSkips>,
}

/// How many steps the thread may be ahead: enough that neither side waits for the other's uneven
/// steps.
const STEPS: usize = 8;

impl Ahead {
    /// The steps of `source` for contexts from `prefill` to `prefill + decode`, of `layers` layers;
    /// `source` itself where the system starts no further thread. The thread ends with the last
    /// step, with an error, or when the reader is dropped.
    #[must_use]
    pub fn start(
        source: Box<dyn SkipSource + Send>,
        layers: usize,
        prefill: usize,
        decode: usize,
    ) -> Box<dyn SkipSource + Send> {
        let (send_made, made) = sync_channel(STEPS);
        let (used, receive_used) = channel::<StepSkips>();
        let (hand_over, receive_source) = channel::<Box<dyn SkipSource + Send>>();
        let make = move || {
            let Ok(mut source) = receive_source.recv() else { return };
            for context in prefill..prefill + decode {
                let mut skips = receive_used.try_recv().unwrap_or_else(|_| StepSkips::none(layers, prefill + decode));
                let step = source.next_step(context, &mut skips).map(|()| skips);
                let failed = step.is_err();
                if send_made.send(step).is_err() || failed {
                    break;
                }
            }
        };
        match std::thread::Builder::new().name("skip sets".to_owned()).spawn(make) {
            Ok(_) => match hand_over.send(source) {
                Ok(()) => Box::new(Self { made, used }),
                Err(refused) => refused.0,
            },
            Err(_) => source,
        }
    }
}

impl SkipSource for Ahead {
    fn next_step(&mut self, _: usize, skips: &mut StepSkips) -> Result<(), TraceError> {
        // A thread that ended without a word has panicked, and has said so.
        let step = self.made.recv().unwrap_or(Err(TraceError::Interrupted))?;
        let gone = std::mem::replace(skips, step);
        // The thread may have made its last step.
        let _ = self.used.send(gone);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Ratio;
    use crate::workload::{Generator, GeneratorConfig};

    #[test]
    fn the_steps_are_those_of_the_source() {
        let config = GeneratorConfig {
            skip: Ratio::from_permille(400).unwrap(),
            churn: "0.2".parse().unwrap(),
            seed: 5,
            ..GeneratorConfig::default()
        };
        let source = || Generator::new(config.clone(), 3, 500);
        let mut ahead = Ahead::start(Box::new(source()), 3, 100, 400);
        let mut twin = source();
        let (mut skips, mut expected) = (StepSkips::none(3, 500), StepSkips::none(3, 500));
        for context in 100..500 {
            ahead.next_step(context, &mut skips).unwrap();
            twin.next_step(context, &mut expected).unwrap();
            assert_eq!((&skips.sets, &skips.counts), (&expected.sets, &expected.counts));
        }
    }

    #[test]
    fn an_error_arrives_in_its_step() {
        struct Two(usize);
        impl SkipSource for Two {
            fn next_step(&mut self, _: usize, _: &mut StepSkips) -> Result<(), TraceError> {
                self.0 += 1;
                if self.0 > 2 { Err(TraceError::OldBias { old_bias: 9 }) } else { Ok(()) }
            }
        }
        let mut ahead = Ahead::start(Box::new(Two(0)), 1, 1, 10);
        let mut skips = StepSkips::none(1, 11);
        assert!(ahead.next_step(1, &mut skips).is_ok() && ahead.next_step(2, &mut skips).is_ok());
        assert!(matches!(ahead.next_step(3, &mut skips), Err(TraceError::OldBias { old_bias: 9 })));
    }
}
