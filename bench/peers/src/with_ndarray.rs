//! The cases with ndarray and rayon: one pass with `par_map_collect` where its users would write one. It has no gradients.

use crate::data::{integers, uniform, unit};
use crate::job::{Job, Library, job};
use ndarray::{Array, Array1, Array2, Array3, Axis, Dimension, Zip, concatenate, parallel::prelude::*};
use std::hint::black_box;

pub(crate) fn library() -> Library {
    Library { name: "ndarray".into(), version: "ndarray 0.17".into(), prepare: Box::new(prepare) }
}

fn vector(seed: u64, count: usize, scale: f32) -> Array1<f32> {
    uniform(seed, count, scale).into()
}

fn matrix(seed: u64, rows: usize, columns: usize, scale: f32) -> Array2<f32> {
    vector(seed, rows * columns, scale).into_shape_with_order((rows, columns)).expect("fits")
}

fn op<T: Copy + Into<f64> + 'static, S: Dimension + 'static>(
    step: impl FnMut() -> Array<T, S> + 'static,
) -> Option<Box<dyn Job>> {
    job(step, |y| y.iter().map(|&y| y.into()).collect())
}

/// A job whose results are whole numbers.
fn whole<T: Copy + 'static, S: Dimension + 'static>(
    step: impl FnMut() -> Array<T, S> + 'static,
    number: impl Fn(T) -> f64 + 'static,
) -> Option<Box<dyn Job>> {
    job(step, move |y| y.iter().map(|&y| number(y)).collect())
}

/// In one pass over all threads.
fn map(x: Array1<f32>, f: impl Fn(f32) -> f32 + Sync + Send + Copy + 'static) -> Option<Box<dyn Job>> {
    op(move || Zip::from(&x).par_map_collect(|&x| f(x)))
}

fn prepare(case: &str) -> Option<Box<dyn Job>> {
    pointwise(case).or_else(|| reductions(case)).or_else(|| layouts(case)).or_else(|| products(case))
}

fn pointwise(case: &str) -> Option<Box<dyn Job>> {
    match case {
        "add_1k" | "add_64k" => {
            let count = if case == "add_1k" { 1 << 10 } else { 1 << 16 };
            let (x, y) = (vector(1, count, 4.0), vector(2, count, 4.0));
            op(move || black_box(&x) + black_box(&y))
        }
        "add_16m" => {
            let (x, y) = (vector(1, 1 << 24, 4.0), vector(2, 1 << 24, 4.0));
            op(move || Zip::from(&x).and(&y).par_map_collect(|x, y| x + y))
        }
        "f_16m" => map(vector(1, 1 << 24, 4.0), |x| x.powi(3) + 3.0 * x.powi(2) - 5.0 * x + 4.0),
        "sigmoid_4m" => map(vector(1, 1 << 22, 4.0), |x| 1.0 / (1.0 + (-x).exp())),
        "exp_4m" => map(vector(1, 1 << 22, 4.0), f32::exp),
        "tanh_4m" => map(vector(1, 1 << 22, 4.0), f32::tanh),
        _ => None,
    }
}

fn reductions(case: &str) -> Option<Box<dyn Job>> {
    if !["sum_all", "sum_rows", "sum_columns", "argmax_rows"].contains(&case) {
        return None;
    }
    let x = Array1::from(unit(1, 1 << 24)).into_shape_with_order((4096, 4096)).expect("fits");
    match case {
        "sum_all" => {
            let sum = move || x.axis_chunks_iter(Axis(0), 2048).into_par_iter().map(|part| part.sum()).sum::<f32>();
            job(sum, |y| vec![f64::from(y)])
        }
        "sum_rows" => op(move || Zip::from(x.rows()).par_map_collect(|row| row.sum())),
        "sum_columns" => op(move || {
            let parts = x.axis_chunks_iter(Axis(0), 2048).into_par_iter().map(|part| part.sum_axis(Axis(0)));
            parts.reduce_with(|a, b| a + b).expect("rows")
        }),
        _ => whole(
            move || {
                Zip::from(x.rows()).par_map_collect(|row| {
                    let best = (0, f32::NEG_INFINITY);
                    row.iter().enumerate().fold(best, |best, (i, &x)| if x > best.1 { (i, x) } else { best }).0
                })
            },
            |i| i as f64,
        ),
    }
}

fn layouts(case: &str) -> Option<Box<dyn Job>> {
    match case {
        "broadcast_row" | "broadcast_column" => {
            let x = matrix(1, 4096, 4096, 4.0);
            let other = if case == "broadcast_row" { matrix(2, 1, 4096, 4.0) } else { matrix(2, 4096, 1, 4.0) };
            op(move || Zip::from(&x).and(other.broadcast((4096, 4096)).expect("fits")).par_map_collect(|x, y| x + y))
        }
        "transpose" => {
            let x = matrix(1, 4096, 4096, 4.0);
            // `to_owned` would keep the order in memory.
            op(move || x.t().as_standard_layout().into_owned())
        }
        "index_select" => {
            let table = matrix(1, 100_000, 64, 4.0);
            let places: Vec<usize> = integers(2, 100_000, 100_000).into_iter().map(|i| i as usize).collect();
            op(move || table.select(Axis(0), &places))
        }
        "cat" => {
            let parts: Vec<Array2<f32>> = (0..16).map(|i| matrix(1 + i, 1024, 1024, 4.0)).collect();
            op(move || concatenate(Axis(0), &parts.iter().map(|part| part.view()).collect::<Vec<_>>()).expect("fits"))
        }
        _ => None,
    }
}

fn products(case: &str) -> Option<Box<dyn Job>> {
    match case.strip_prefix("matmul_")? {
        "f64" => {
            let (a, b) = (matrix(1, 1024, 1024, 1.0).mapv(f64::from), matrix(2, 1024, 1024, 1.0).mapv(f64::from));
            op(move || a.dot(&b))
        }
        "abt" => {
            let (a, b) = (matrix(1, 1024, 1024, 1.0), matrix(2, 1024, 1024, 1.0));
            op(move || a.dot(&b.t()))
        }
        "skinny" => {
            let (a, b) = (matrix(1, 64, 4096, 1.0), matrix(2, 4096, 4096, 1.0));
            op(move || a.dot(&b))
        }
        "batched" => {
            let batch = |seed| -> Array3<f32> {
                matrix(seed, 32 * 128, 128, 1.0).into_shape_with_order((32, 128, 128)).expect("fits")
            };
            let (a, b) = (batch(1), batch(2));
            op(move || {
                let mut out = Array3::zeros((32, 128, 128));
                let parts = Zip::from(out.outer_iter_mut()).and(a.outer_iter()).and(b.outer_iter());
                parts.par_for_each(|mut out, a, b| out.assign(&a.dot(&b)));
                out
            })
        }
        "i64" => {
            let whole_matrix =
                |seed| Array2::from_shape_vec((256, 256), integers(seed, 256 * 256, 1000)).expect("fits");
            let (a, b) = (whole_matrix(1), whole_matrix(2));
            whole(move || a.dot(&b), |x| x as f64)
        }
        size => {
            let n = size.parse().ok()?;
            let (a, b) = (matrix(1, n, n, 1.0), matrix(2, n, n, 1.0));
            op(move || a.dot(&b))
        }
    }
}
