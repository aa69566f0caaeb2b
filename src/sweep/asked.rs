use super::Measure;

/// The subject of a report: its figure, axes and front.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The figure that tables are sorted by and pictures show; less is better.
    pub figure: Measure,
    /// The axes of pictures: the x axis, and the axis that has a line for each value. By default
    /// those that matter most.
    pub axes: Vec<usize>,
    /// The two measures of the front. By default the capacity that varies, and the figure.
    pub front: Option<(Measure, Measure)>,
    /// How many rows the table has.
    pub top: usize,
}
