//! Products over the stand-in for the driver: which of them cuBLASLt gives a bias, and that the others get theirs afterwards.

mod common;

use backend_cuda::Cuda;
use common::Fake;
use tensor_core::op::UnaryOp;
use tensor_core::{Array, DType, Result, bf16};

fn numbers(device: &Cuda, dims: &[usize], step: usize) -> Array<Cuda> {
    let values: Vec<f32> = (0..dims.iter().product()).map(|i| (i * step % 7) as f32 - 3.0).collect();
    Array::from_slice(device, &values, dims).unwrap()
}

/// `a·b` plus what is given, by loops, for a and b of [`numbers`] with steps 3 and 5.
fn wanted(rows: usize, inner: usize, columns: usize, plus: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    let entry = |i: usize, step: usize| (i * step % 7) as f32 - 3.0;
    (0..rows * columns)
        .map(|at| {
            let (i, j) = (at / columns, at % columns);
            (0..inner).map(|k| entry(i * inner + k, 3) * entry(k * columns + j, 5)).sum::<f32>() + plus(i, j)
        })
        .collect()
}

/// The values of a result of which nothing that it was made of is held any more.
fn values(result: &Array<Cuda>) -> Vec<f32> {
    result.to_vec::<f32>().unwrap()
}

#[test]
fn a_bias_for_each_column_is_added_by_the_product() -> Result<()> {
    let Some(fake) = Fake::get() else { return Ok(()) };
    let device = Cuda::open(0)?;
    let (a, b) = (numbers(&device, &[6, 4], 3), numbers(&device, &[4, 8], 5));
    let (bias, column) = (numbers(&device, &[8], 2), numbers(&device, &[6, 1], 2));
    let entry = |i: usize| (i * 2 % 7) as f32 - 3.0;
    let before = fake.count("lt_biases");
    let y = a.matmul(&b)?.add(&bias)?;
    assert_eq!(values(&y), wanted(6, 4, 8, |_, j| entry(j)));
    let y = bias.add(&a.matmul(&b)?)?;
    assert_eq!(values(&y), wanted(6, 4, 8, |_, j| entry(j)));
    let narrow = |x: &Array<Cuda>| x.cast(DType::BF16);
    let y = narrow(&a)?.matmul(&narrow(&b)?)?.add(&narrow(&bias)?)?;
    let rounded: Vec<bf16> = wanted(6, 4, 8, |_, j| entry(j)).into_iter().map(bf16::from_f32).collect();
    assert_eq!(y.to_vec::<bf16>()?, rounded);
    assert_eq!(fake.count("lt_biases") - before, 3);
    // What is no bias for each column, or more than that, follows the product.
    let y = a.matmul(&b)?.add(&column)?;
    assert_eq!(values(&y), wanted(6, 4, 8, |i, _| entry(i)));
    let y = a.matmul(&b)?.add(&bias)?.unary(UnaryOp::Relu)?;
    let positive: Vec<f32> = wanted(6, 4, 8, |_, j| entry(j)).into_iter().map(|x| x.max(0.0)).collect();
    assert_eq!(values(&y), positive);
    // A bias that does not begin at 16 bytes, and f64, which cuBLASLt does not add one to.
    let shifted = numbers(&device, &[9], 2).narrow(0, 1, 8)?;
    let y = a.matmul(&b)?.add(&shifted)?;
    assert_eq!(values(&y), wanted(6, 4, 8, |_, j| entry(j + 1)));
    let wide = |x: &Array<Cuda>| x.cast(DType::F64);
    let y = wide(&a)?.matmul(&wide(&b)?)?.add(&wide(&bias)?)?;
    assert_eq!(values(&y.cast(DType::F32)?), wanted(6, 4, 8, |_, j| entry(j)));
    assert_eq!(fake.count("lt_biases") - before, 3);
    Ok(())
}

#[test]
fn threads_with_biases_of_their_own_share_a_plan() -> Result<()> {
    let Some(_fake) = Fake::get() else { return Ok(()) };
    let device = Cuda::open(0)?;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                let (a, b) = (numbers(&device, &[6, 4], 3), numbers(&device, &[4, 8], 5));
                let bias = Array::from_slice(&device, &[thread as f32; 8], [8]).unwrap();
                for _ in 0..20 {
                    let y = a.matmul(&b).unwrap().add(&bias).unwrap();
                    assert_eq!(values(&y), wanted(6, 4, 8, |_, _| thread as f32));
                }
            });
        }
    });
    Ok(())
}
