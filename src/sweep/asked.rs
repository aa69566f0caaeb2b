use super::Measure;

/// What a report is about.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The figure that tables are sorted by and pictures show; less is better.
    pub figure: Measure,
    /// The axes of pictures: what is to the right, and what has a line each. Where they are not given, those that matter most.
    pub axes: Vec<usize>,
    /// The two measures of the front. Where they are not given, the capacity that varies and the figure.
    pub front: Option<(Measure, Measure)>,
    /// How many rows the table has.
    pub top: usize,
}
