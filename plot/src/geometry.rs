//! Polylines, before they are drawn: what is far outside of the picture goes, and what can't be told apart in it too.

use crate::scene::Rect;

/// Columns per point of width within which a long line keeps only its extremes.
const COLUMNS: f64 = 8.0;
/// Lines with fewer points than this are kept as they are.
const LONG: usize = 4000;

/// The parts of a line that lie within the rectangle. A `None` among its points is a gap.
pub(crate) fn visible(points: impl IntoIterator<Item = Option<(f64, f64)>>, within: &Rect) -> Vec<Vec<(f64, f64)>> {
    let mut parts: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut last: Option<(f64, f64)> = None;
    let mut going_on = false;
    for point in points {
        let Some(to) = point else {
            (last, going_on) = (None, false);
            continue;
        };
        if let Some(from) = last {
            match clip(from, to, within) {
                Some((a, b)) => {
                    match parts.last_mut() {
                        Some(part) if going_on => part.push(b),
                        _ => parts.push(vec![a, b]),
                    }
                    going_on = b == to;
                }
                None => going_on = false,
            }
        }
        last = Some(to);
    }
    parts.into_iter().map(thin).collect()
}

/// The part of a straight line within the rectangle (Liang and Barsky's way).
fn clip(from: (f64, f64), to: (f64, f64), r: &Rect) -> Option<((f64, f64), (f64, f64))> {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let (mut enter, mut leave) = (0.0f64, 1.0f64);
    let sides = [(-dx, from.0 - r.left), (dx, r.right - from.0), (-dy, from.1 - r.top), (dy, r.bottom - from.1)];
    for (step, room) in sides {
        if step == 0.0 {
            if room < 0.0 {
                return None;
            }
        } else if step < 0.0 {
            enter = enter.max(room / step);
        } else {
            leave = leave.min(room / step);
        }
    }
    let at = |t: f64| (from.0 + t * dx, from.1 + t * dy);
    let start = if enter > 0.0 { at(enter) } else { from };
    let end = if leave < 1.0 { at(leave) } else { to };
    (enter <= leave).then_some((start, end))
}

/// Of a long line's points that share a column, the first, the lowest, the highest and the last: the picture is the
/// same, and its size is bounded by the paper's and not by the data's.
fn thin(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    if points.len() < LONG {
        return points;
    }
    let column = |&(x, _): &(f64, f64)| (x * COLUMNS).floor();
    let mut kept = Vec::new();
    for group in points.chunk_by(|a, b| column(a) == column(b)) {
        let by_height = |&a: &usize, &b: &usize| group[a].1.total_cmp(&group[b].1);
        let lowest = (0..group.len()).min_by(by_height).unwrap_or(0);
        let highest = (0..group.len()).max_by(by_height).unwrap_or(0);
        let mut keep = [0, lowest, highest, group.len() - 1];
        keep.sort_unstable();
        for (i, &at) in keep.iter().enumerate() {
            if i == 0 || keep[i - 1] != at {
                kept.push(group[at]);
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const R: Rect = Rect { left: 0.0, top: 0.0, right: 10.0, bottom: 10.0 };

    fn seen(points: &[(f64, f64)]) -> Vec<Vec<(f64, f64)>> {
        visible(points.iter().map(|&p| Some(p)), &R)
    }

    #[test]
    fn a_line_is_cut_at_the_edges() {
        assert_eq!(seen(&[(-5.0, 5.0), (15.0, 5.0)]), [[(0.0, 5.0), (10.0, 5.0)]]);
        assert_eq!(seen(&[(1.0, 1.0), (9.0, 9.0)]), [[(1.0, 1.0), (9.0, 9.0)]]);
        assert_eq!(seen(&[(-5.0, 3.0), (3.0, -5.0)]), Vec::<Vec<_>>::new(), "passes the corner outside");
        assert_eq!(seen(&[(20.0, 0.0), (20.0, 10.0)]), Vec::<Vec<_>>::new());
    }

    #[test]
    fn a_line_that_leaves_and_comes_back_has_two_parts() {
        let parts = seen(&[(1.0, 5.0), (5.0, 5.0), (5.0, 50.0), (6.0, 50.0), (6.0, 5.0)]);
        assert_eq!(parts, [vec![(1.0, 5.0), (5.0, 5.0), (5.0, 10.0)], vec![(6.0, 10.0), (6.0, 5.0)]]);
    }

    #[test]
    fn gaps_part_a_line() {
        let points =
            [Some((1.0, 1.0)), Some((2.0, 1.0)), None, Some((3.0, 1.0)), None, Some((4.0, 1.0)), Some((5.0, 1.0))];
        assert_eq!(visible(points, &R), [[(1.0, 1.0), (2.0, 1.0)], [(4.0, 1.0), (5.0, 1.0)]]);
    }

    #[test]
    fn far_away_points_keep_their_direction() {
        let parts = seen(&[(5.0, 5.0), (1e12, 1e12)]);
        assert_eq!(parts, [[(5.0, 5.0), (10.0, 10.0)]]);
    }

    #[test]
    fn a_long_line_keeps_its_extremes() {
        let noise = |i: usize| ((i * 7919) % 1000) as f64 / 100.0;
        let mut points: Vec<_> = (0..100_000).map(|i| (i as f64 / 10_000.0, noise(i))).collect();
        points[50_003].1 = 10.0;
        let parts = seen(&points);
        assert_eq!(parts.len(), 1);
        assert!(parts[0].len() <= 4 * 81, "{}", parts[0].len());
        assert!(parts[0].contains(&points[50_003]));
        assert_eq!((parts[0][0], parts[0][parts[0].len() - 1]), (points[0], points[99_999]));
    }
}
