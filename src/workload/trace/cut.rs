//! A part of a recorded trace: its first steps, and every so manieth layer.

use super::{Recorded, SkipSource, StepSkips, TraceError, TraceHeader};

/// A recorded trace of which only the first steps are read, and only every so manieth layer.
pub struct Cut<R> {
    recording: R,
    header: TraceHeader,
    every: usize,
    /// The sets of all layers.
    whole: StepSkips,
}

impl<R: Recorded> Cut<R> {
    /// The first `steps` steps and the layers 0, `every`, 2 `every`, ... of a recording of which
    /// nothing has been read. The sets are as recorded.
    ///
    /// # Errors
    /// [`TraceError::TooLarge`] if it has fewer steps or layers.
    pub fn new(recording: R, steps: Option<usize>, every: usize) -> Result<Self, TraceError> {
        let whole = recording.header().clone();
        let every = every.max(1);
        let steps = steps.unwrap_or(whole.steps);
        let check = |field: &'static str, value: usize, most: usize| {
            let limit = format!("the trace has {most}");
            if value > most { Err(TraceError::TooLarge { field, value, limit }) } else { Ok(()) }
        };
        check("steps", steps, whole.steps)?;
        check("every", every, whole.layers)?;
        let header = TraceHeader { steps, layers: whole.layers.div_ceil(every), skip_permille: None, ..whole.clone() };
        // It grows with the context, not to what the header announces.
        Ok(Self { recording, header, every, whole: StepSkips::none(whole.sets(), 0) })
    }
}

impl<R: Recorded> Recorded for Cut<R> {
    fn header(&self) -> &TraceHeader {
        &self.header
    }
}

impl<R: Recorded> SkipSource for Cut<R> {
    fn next_step(&mut self, context: usize, skips: &mut StepSkips) -> Result<(), TraceError> {
        self.whole.sets.iter_mut().for_each(|set| set.grow(context));
        self.recording.next_step(context, &mut self.whole)?;
        let parts = self.header.parts();
        for (row, (set, count)) in skips.sets.iter_mut().zip(&mut skips.counts).enumerate() {
            let from = row / parts * self.every * parts + row % parts;
            set.copy_words(&self.whole.sets[from]);
            *count = self.whole.counts[from];
        }
        Ok(())
    }
}
