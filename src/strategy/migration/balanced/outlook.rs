//! What will be read: seen some steps ahead, or inferred from the last steps.

use super::estimate::NEW;
use crate::strategy::knowledge::{Future, Knows, Past};
use crate::strategy::migration::MigrationView;
use crate::strategy::migration::history::{Counted, History};
use crate::strategy::migration::select::Counts;
use crate::units::{RegionId, Table};
use crate::workload::Skipped;
use std::num::NonZeroU32;

/// The steps that are looked at.
pub trait Outlook {
    /// What it knows.
    type Knows: Knows;

    /// How many steps of the future it sees.
    fn look_ahead(&self) -> usize;

    /// How many steps are looked at, at most.
    fn steps(&self) -> usize;

    /// The memory that it takes for a region of so many words in so many steps, in bytes; with no
    /// words where nothing of it is ever skipped.
    fn memory(&self, words: usize, steps: usize) -> u64;

    /// The region was freed: what is known of it is of another sequence.
    fn forget(&mut self, region: RegionId);

    /// Brings the counts of a region up to the present step.
    fn update(&mut self, view: &MigrationView<'_, Self::Knows>, counts: &mut Counts);

    /// What the next step is expected to skip, and how many pages it reads.
    fn next<'a>(&self, view: &MigrationView<'a, Self::Knows>) -> Option<(Skipped<'a>, usize)>;

    /// How many reads from external memory it saves, over all later steps, to have a page in HBM
    /// that is read in the place of one that is skipped.
    fn reads_saved(&self, region: RegionId) -> f64;

    /// The probability that a page that [`next`](Self::next) reads is read then, and that it is
    /// read again in the step that follows.
    fn next_read(&self, view: &MigrationView<'_, Self::Knows>) -> (f64, f64);

    /// How often a page is read in the steps after the next, as far as they are looked at.
    fn later_reads(&self, view: &MigrationView<'_, Self::Knows>, page: usize) -> f64;
}

/// Looks at steps to come.
pub struct Ahead {
    /// How many.
    pub steps: NonZeroU32,
}

impl Outlook for Ahead {
    type Knows = Future;

    fn look_ahead(&self) -> usize {
        self.steps.get() as usize
    }

    fn steps(&self) -> usize {
        self.look_ahead()
    }

    fn memory(&self, _words: usize, _steps: usize) -> u64 {
        0
    }

    fn forget(&mut self, _region: RegionId) {}

    fn update(&mut self, view: &MigrationView<'_, Future>, counts: &mut Counts) {
        let skipped = |ahead: usize| view.skips.ahead(ahead, view.region).map(|skipped| skipped.set());
        let words = view.in_flight.words().len();
        if !counts.is_empty() {
            // What was looked at a step ago and is the present now.
            counts.subtract(view.skipped().set(), words);
            if let Some(set) = skipped(self.steps()) {
                counts.add(set, words);
            }
        } else {
            (1..=self.steps()).map_while(skipped).for_each(|set| counts.add(set, words));
        }
    }

    fn next<'a>(&self, view: &MigrationView<'a, Future>) -> Option<(Skipped<'a>, usize)> {
        let skipped = view.next_step()?;
        Some((skipped, view.pages.saturating_sub(skipped.count)))
    }

    /// What comes in is read in the next step, and what leaves is not.
    fn reads_saved(&self, _region: RegionId) -> f64 {
        f64::INFINITY
    }

    fn next_read(&self, view: &MigrationView<'_, Future>) -> (f64, f64) {
        let (Some((next, active)), Some(after)) = (self.next(view), view.skips.ahead(2, view.region)) else {
            return (1.0, 1.0);
        };
        let left = after.set().map_or(0, |after| after.count_without(next.pages));
        (1.0, (1.0 - left as f64 / active.max(1) as f64).max(0.0))
    }

    fn later_reads(&self, view: &MigrationView<'_, Future>, page: usize) -> f64 {
        let steps = (2..=self.steps()).map_while(|ahead| view.skips.ahead(ahead, view.region));
        steps.filter(|skipped| !skipped.pages.contains(page)).count() as f64
    }
}

/// Looks at the last steps, the present one included.
pub struct Behind {
    history: History,
    /// How much likelier a page is read that the step before read than one that it skipped, over
    /// some steps.
    persistence: Table<RegionId, f64>,
    /// How likely a page is read that the step before read, over some steps.
    stay: Table<RegionId, f64>,
}

/// How many of the last steps stand for as many of those to come.
const LATER: usize = 8;

impl Behind {
    /// At what `history` keeps.
    pub fn new(history: History) -> Self {
        Self { history, persistence: Table::new(), stay: Table::new() }
    }

    /// Takes note of what has changed from the step before.
    fn compare(&mut self, region: RegionId) {
        let persistence = self.persistence.or_insert_with(region, || 1.0);
        let stays = self.stay.or_insert_with(region, || 1.0);
        let (Some((now, present)), Some((before, Counted { staying: skipped_before, read, .. }))) =
            (self.history.step(region, 0), self.history.step(region, 1))
        else {
            return;
        };
        if read == 0 || skipped_before == 0 {
            return;
        }
        let returned = before.map_or(0, |before| now.map_or_else(|| before.count(), |now| before.count_without(now)));
        // Newly skipped: what is skipped now and was not before.
        let left = present.skipped + returned - skipped_before;
        let stay = 1.0 - left as f64 / read as f64;
        let come = returned as f64 / skipped_before as f64;
        *stays += NEW * (stay - *stays);
        *persistence += NEW * (stay - come - *persistence);
    }
}

impl Outlook for Behind {
    type Knows = Past;

    fn look_ahead(&self) -> usize {
        0
    }

    fn steps(&self) -> usize {
        self.history.window()
    }

    fn memory(&self, words: usize, steps: usize) -> u64 {
        self.history.memory(words, steps) + 8
    }

    fn forget(&mut self, region: RegionId) {
        self.history.forget(region);
        if self.stay.get(region).is_some() {
            (self.persistence[region], self.stay[region]) = (1.0, 1.0);
        }
    }

    fn update(&mut self, view: &MigrationView<'_, Past>, counts: &mut Counts) {
        let skipped = view.skipped();
        let leaving = skipped.gone..view.first;
        let leaving_skipped = leaving.clone().filter(|page| skipped.pages.contains(*page)).count();
        let counted = Counted {
            skipped: skipped.live(),
            staying: skipped.live() - leaving_skipped,
            // The token just written is not known to be skipped.
            read: view.pages - skipped.count - (leaving.len() - leaving_skipped),
        };
        let words = skipped.pages.words().len();
        self.history.note(view.region, skipped, counted, |gone| counts.subtract(gone, words));
        counts.add(skipped.set(), words);
        self.compare(view.region);
    }

    /// In the next step as many as persistence says, in the one after that as many of these, and so
    /// on: a geometric series, cut off where it would not converge.
    fn reads_saved(&self, region: RegionId) -> f64 {
        let persistence = self.persistence[region].clamp(0.0, MOST_PERSISTENT);
        persistence / (1.0 - persistence)
    }

    /// The same as the present one.
    fn next<'a>(&self, view: &MigrationView<'a, Past>) -> Option<(Skipped<'a>, usize)> {
        self.history.step(view.region, 0).map(|(_, counted)| (view.skipped(), counted.read))
    }

    fn next_read(&self, view: &MigrationView<'_, Past>) -> (f64, f64) {
        let stay = self.stay[view.region];
        (stay, stay)
    }

    /// As often as before the present step.
    fn later_reads(&self, view: &MigrationView<'_, Past>, page: usize) -> f64 {
        let steps = (1..self.steps().min(LATER)).map_while(|ago| self.history.step(view.region, ago));
        steps.filter(|(skipped, _)| skipped.is_none_or(|skipped| !skipped.contains(page))).count() as f64
    }
}

/// The highest persistence that is believed: a page then saves 99 reads in all.
const MOST_PERSISTENT: f64 = 0.99;
