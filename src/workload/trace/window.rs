use super::{SkipSource, StepSkips, TraceError};
use std::collections::VecDeque;

/// The skip sets of the present step and of the next few: all of a trace that is in memory at a time.
pub struct TraceWindow {
    source: Box<dyn SkipSource + Send>,
    /// The present step first.
    steps: VecDeque<StepSkips>,
    prefill: usize,
    decode: usize,
    /// How many steps were taken from the source.
    read: usize,
}

impl TraceWindow {
    /// A window over `decode` steps of `source` that shows the present step and `look_ahead` more.
    ///
    /// # Errors
    /// [`TraceError`] if the first steps cannot be had.
    pub fn new(
        source: Box<dyn SkipSource + Send>,
        layers: usize,
        prefill: usize,
        decode: usize,
        look_ahead: usize,
    ) -> Result<Self, TraceError> {
        let shown = (look_ahead + 1).min(decode);
        let mut window = Self {
            source,
            steps: (0..shown).map(|_| StepSkips::none(layers, prefill + decode)).collect(),
            prefill,
            decode,
            read: 0,
        };
        for place in 0..shown {
            let context = window.prefill + window.read;
            window.source.next_step(context, &mut window.steps[place])?;
            window.read += 1;
        }
        Ok(window)
    }

    /// The skip sets of the step `ahead` of the present one (0: the present), or `None` past the last step.
    #[must_use]
    pub fn step(&self, ahead: usize) -> Option<&StepSkips> {
        self.steps.get(ahead)
    }

    /// Moves on by one step.
    ///
    /// # Errors
    /// [`TraceError`] if the step that comes into view cannot be had.
    pub fn advance(&mut self) -> Result<(), TraceError> {
        let Some(mut step) = self.steps.pop_front() else {
            return Ok(());
        };
        if self.read < self.decode {
            self.source.next_step(self.prefill + self.read, &mut step)?;
            self.read += 1;
            self.steps.push_back(step);
        }
        Ok(())
    }
}
