//! Linear least squares by a singular value decomposition, with the condition number that says
//! whether its result means anything.
//!
//! The matrices are small (as many columns as costs, as many rows as measured runs), so the
//! decomposition is the simplest accurate one: one-sided Jacobi (Hestenes, 1958; Golub and Van
//! Loan, Matrix Computations, 8.6.3). Rotations of pairs of columns make all columns orthogonal;
//! their lengths are the singular values. Columns are scaled to length 1 before, so that the
//! condition number does not depend on the units of the unknowns.

/// A least-squares solution.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Solution {
    /// The unknowns, in the order of the columns.
    pub unknowns: Vec<f64>,
    /// The largest singular value over the smallest, of the columns scaled to length 1: by how much
    /// relative errors of the measured figures may be magnified. Infinite where a column is a
    /// combination of others.
    pub condition: f64,
}

/// The most sweeps over all pairs of columns; convergence is quadratic, and six suffice.
const MOST_SWEEPS: usize = 60;
/// Columns whose cosine is below this are orthogonal.
const ORTHOGONAL: f64 = 1e-15;
/// A singular value below this share of the largest is 0.
const NOTHING: f64 = 1e-13;

/// The unknowns x for which the squares of `rows` x - `right` add up to the least. O(rows columns²)
/// a sweep. `None` where there are fewer rows than unknowns, none at all, or a value is not finite.
pub(super) fn solve(rows: &[Vec<f64>], right: &[f64]) -> Option<Solution> {
    let unknowns = rows.first()?.len();
    let finite = rows.iter().flatten().chain(right).all(|value| value.is_finite());
    if unknowns == 0 || rows.len() < unknowns || rows.len() != right.len() || !finite {
        return None;
    }
    let mut columns: Vec<Vec<f64>> = (0..unknowns).map(|at| rows.iter().map(|row| row[at]).collect()).collect();
    let lengths: Vec<f64> = columns.iter().map(|column| dot(column, column).sqrt()).collect();
    for (column, length) in columns.iter_mut().zip(&lengths).filter(|(_, length)| **length > 0.0) {
        column.iter_mut().for_each(|value| *value /= length);
    }
    // The rotations, whose product is the matrix of right singular vectors.
    let mut rotated: Vec<Vec<f64>> = (0..unknowns).map(|at| unit(unknowns, at)).collect();
    for _ in 0..MOST_SWEEPS {
        let mut largest = 0.0f64;
        for i in 0..unknowns {
            for j in i + 1..unknowns {
                largest = largest.max(orthogonalize(&mut columns, &mut rotated, i, j));
            }
        }
        if largest < ORTHOGONAL {
            break;
        }
    }
    let singular: Vec<f64> = columns.iter().map(|column| dot(column, column).sqrt()).collect();
    let (least, most) = singular.iter().fold((f64::MAX, 0.0f64), |(least, most), it| (least.min(*it), most.max(*it)));
    let condition = if least <= NOTHING * most { f64::INFINITY } else { most / least };
    let mut found = vec![0.0; unknowns];
    for ((column, vector), value) in columns.iter().zip(&rotated).zip(&singular) {
        if *value > NOTHING * most {
            let amount = dot(column, right) / (value * value);
            found.iter_mut().zip(vector).for_each(|(unknown, part)| *unknown += amount * part);
        }
    }
    for (unknown, length) in found.iter_mut().zip(&lengths) {
        *unknown = if *length > 0.0 { *unknown / length } else { 0.0 };
    }
    Some(Solution { unknowns: found, condition })
}

/// Rotates columns `i` and `j` so that they are orthogonal; returns the cosine that they had.
fn orthogonalize(columns: &mut [Vec<f64>], rotated: &mut [Vec<f64>], i: usize, j: usize) -> f64 {
    let (a, b, c) = (dot(&columns[i], &columns[i]), dot(&columns[j], &columns[j]), dot(&columns[i], &columns[j]));
    let lengths = (a * b).sqrt();
    if lengths == 0.0 || c.abs() <= ORTHOGONAL * lengths {
        return 0.0;
    }
    let zeta = (b - a) / (2.0 * c);
    let tangent = zeta.signum() / (zeta.abs() + (1.0 + zeta * zeta).sqrt());
    let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
    for matrix in [columns, rotated] {
        for at in 0..matrix[i].len() {
            let (x, y) = (matrix[i][at], matrix[j][at]);
            matrix[i][at] = cosine * (x - tangent * y);
            matrix[j][at] = cosine * (tangent * x + y);
        }
    }
    c.abs() / lengths
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn unit(length: usize, at: usize) -> Vec<f64> {
    (0..length).map(|index| f64::from(u8::from(index == at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()))
    }

    #[test]
    fn a_line_through_three_points_by_hand() {
        // y = 1 + 2 x through (0, 1), (1, 3.3), (2, 5): the normal equations are
        // 3 a + 3 b = 9.3 and 3 a + 5 b = 13.3, so b = 2 and a = 1.1.
        let rows = [[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]].map(Vec::from);
        let found = solve(&rows, &[1.0, 3.3, 5.0]).unwrap();
        assert!(near(found.unknowns[0], 1.1) && near(found.unknowns[1], 2.0), "{found:?}");
    }

    #[test]
    fn the_condition_number_is_that_of_the_angle() {
        // Columns of length 1 at an angle of 60 degrees: singular values sqrt(1 ± cos 60°).
        let rows = [vec![1.0, 0.5], vec![0.0, 0.75f64.sqrt()]];
        assert!(near(solve(&rows, &[1.0, 1.0]).unwrap().condition, 3.0f64.sqrt()));
        // Units do not matter.
        let scaled = [vec![1e9, 0.5e-6], vec![0.0, 0.75f64.sqrt() * 1e-6]];
        assert!(near(solve(&scaled, &[1.0, 1.0]).unwrap().condition, 3.0f64.sqrt()));
        let twice = [vec![1.0, 2.0], vec![3.0, 6.0], vec![5.0, 10.0]];
        assert_eq!(solve(&twice, &[1.0, 2.0, 3.0]).unwrap().condition, f64::INFINITY);
    }

    #[test]
    fn fewer_rows_than_unknowns_have_no_solution() {
        assert_eq!(solve(&[vec![1.0, 2.0]], &[1.0]), None);
        assert_eq!(solve(&[], &[]), None);
        assert_eq!(solve(&[vec![f64::NAN]], &[1.0]), None);
    }

    proptest! {
        /// The residual of the solution is orthogonal to every column, as the normal equations say.
        #[test]
        fn residuals_are_orthogonal_to_all_columns(
            values in prop::collection::vec(-10.0f64..10.0, 5 * 3), right in prop::collection::vec(-10.0f64..10.0, 5)
        ) {
            let rows: Vec<Vec<f64>> = values.chunks(3).map(<[f64]>::to_vec).collect();
            let found = solve(&rows, &right).unwrap();
            prop_assume!(found.condition < 1e6);
            for at in 0..3 {
                let left: f64 = rows.iter().zip(&right).map(|(row, right)| row[at] * (dot(row, &found.unknowns) - right)).sum();
                prop_assert!(left.abs() < 1e-6, "{left}");
            }
        }
    }
}
