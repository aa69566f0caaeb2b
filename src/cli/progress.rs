use crate::runs::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// A progress bar on stderr, in simulated tokens; hidden where stderr is not a terminal.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub fn new(tokens: u64) -> Self {
        let bar = if super::terminal::is_quiet() { ProgressBar::hidden() } else { ProgressBar::new(tokens) };
        let style =
            ProgressStyle::with_template("{wide_bar:.cyan/blue} {human_pos}/{human_len} steps, {per_sec}, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self(bar)
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Progress for Bar {
    fn advance(&self, steps: u64) {
        self.0.inc(steps);
    }
}
