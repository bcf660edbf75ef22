//! Products over the stand-in for the driver: to which of them cuBLASLt adds a bias or applies `ReLU`, and that the others get
//! theirs afterwards.

mod common;

use backend_cuda::Cuda;
use common::Fake;
use tensor_core::op::UnaryOp;
use tensor_core::{Array, DType, ErrorKind, Result, bf16};

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
    let y = a.matmul(&b)?.add(&bias)?.unary(UnaryOp::Abs)?;
    let sizes: Vec<f32> = wanted(6, 4, 8, |_, j| entry(j)).into_iter().map(f32::abs).collect();
    assert_eq!(values(&y), sizes);
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

/// `relu(a·b)`, or `relu(a·b + bias)`; nothing that it was made of is held any more.
fn layer(a: &Array<Cuda>, b: &Array<Cuda>, bias: Option<&Array<Cuda>>) -> Result<Array<Cuda>> {
    let product = a.matmul(b)?;
    let sum = if let Some(bias) = bias { product.add(bias)? } else { product };
    sum.unary(UnaryOp::Relu)
}

#[test]
fn relu_is_done_by_the_product_where_that_keeps_nan() -> Result<()> {
    let Some(fake) = Fake::get() else { return Ok(()) };
    let device = Cuda::open(0)?;
    let entry = |i: usize| (i * 2 % 7) as f32 - 3.0;
    // Kinds of products of which nothing is known yet.
    for (keeps_nan, columns) in [(true, 16), (false, 24)] {
        fake.set("lt_relu_nan", i64::from(keeps_nan));
        let (a, b) = (numbers(&device, &[6, 4], 3), numbers(&device, &[4, columns], 5));
        let bias = numbers(&device, &[columns], 2);
        let mut with_nan = a.to_vec::<f32>()?;
        with_nan[4] = f32::NAN;
        let with_nan = Array::from_slice(&device, &with_nan, [6, 4])?;
        for bias in [None, Some(&bias)] {
            let plus = |_: usize, j: usize| if bias.is_some() { entry(j) } else { 0.0 };
            let positive: Vec<f32> = wanted(6, 4, columns, plus).into_iter().map(|x| x.max(0.0)).collect();
            let (products, launches) = (fake.count("lt_relus"), fake.count("launches"));
            for _ in 0..3 {
                assert_eq!(values(&layer(&a, &b, bias)?), positive);
            }
            // One of them asked; those that follow know.
            assert_eq!(fake.count("lt_relus") - products, if keeps_nan { 4 } else { 1 });
            assert_eq!(fake.count("launches") - launches, if keeps_nan { 0 } else { 3 });
            let y = values(&layer(&with_nan, &b, bias)?);
            assert!(y[columns..2 * columns].iter().all(|x| x.is_nan()), "{y:?}");
            assert_eq!((&y[..columns], &y[2 * columns..]), (&positive[..columns], &positive[2 * columns..]));
            let narrow = |x: &Array<Cuda>| x.cast(DType::BF16);
            let narrow_bias = bias.map(narrow).transpose()?;
            let y = layer(&narrow(&a)?, &narrow(&b)?, narrow_bias.as_ref())?;
            let rounded: Vec<bf16> = positive.iter().map(|&x| bf16::from_f32(x)).collect();
            assert_eq!(y.to_vec::<bf16>()?, rounded);
            // It has none for f64.
            let wide = |x: &Array<Cuda>| x.cast(DType::F64);
            let wide_bias = bias.map(wide).transpose()?;
            let y = layer(&wide(&a)?, &wide(&b)?, wide_bias.as_ref())?;
            assert_eq!(values(&y.cast(DType::F32)?), positive);
        }
    }
    Ok(())
}

#[test]
fn what_cublaslt_lacks_memory_for_is_tried_again_once_that_is_given_back() -> Result<()> {
    let Some(fake) = Fake::get() else { return Ok(()) };
    let device = Cuda::open(0)?;
    // A kind of product of which nothing is known yet: its plan fails first, which is kept then, and next the product.
    let (a, b) = (numbers(&device, &[6, 4], 3), numbers(&device, &[4, 56], 5));
    let product = || a.matmul(&b)?.to_vec::<f32>();
    for what in ["plan", "product"] {
        fake.set("lt_oom_at", 1);
        assert_eq!(product()?, wanted(6, 4, 56, |_, _| 0.0), "{what}");
        assert_eq!(fake.count("lt_oom_at"), 0, "it failed once");
    }
    fake.set("lt_oom_always", 1);
    let error = product().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::OutOfMemory { bytes, .. } if *bytes == 6 * 56 * 4), "{error}");
    fake.set("defaults", "");
    assert_eq!(product()?, wanted(6, 4, 56, |_, _| 0.0));
    Ok(())
}

#[test]
fn nothing_is_asked_while_a_graph_is_recorded() -> Result<()> {
    let Some(fake) = Fake::get() else { return Ok(()) };
    let device = Cuda::open(0)?;
    let (a, b) = (numbers(&device, &[6, 4], 3), numbers(&device, &[4, 40], 5));
    let positive: Vec<f32> = wanted(6, 4, 40, |_, _| 0.0).into_iter().map(|x| x.max(0.0)).collect();
    let record = || {
        device.capture(|| {
            let y = layer(&a, &b, None)?;
            y.force()?;
            Ok(y)
        })
    };
    let before = fake.count("lt_relus");
    let (_graph, y) = record()?;
    assert_eq!(values(&y), positive);
    assert_eq!(fake.count("lt_relus"), before);
    assert_eq!(values(&layer(&a, &b, None)?), positive);
    assert_eq!(fake.count("lt_relus") - before, 2);
    let (_graph, y) = record()?;
    assert_eq!(values(&y), positive);
    assert_eq!(fake.count("lt_relus") - before, 3);
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
