//! Kernels of whole lines over the stand-in for the driver: values that are read several at once, teams of every size, and
//! threads in any order.

mod common;

use backend_cuda::Cuda;
use common::Fake;
use tensor_core::op::UnaryOp;
use tensor_core::reference::Reference;
use tensor_core::{Array, Backend, DType, ReduceOp, Result, Scalar, Shape};

const ORDERS: [&str; 3] = ["ascending", "descending", "random"];

/// Numbers between −4 and 4 with few bits, so that sums of them are exact in every dtype that sums are kept in.
fn numbers<B: Backend>(backend: &B, dims: [usize; 2], dtype: DType) -> Result<Array<B>> {
    let count = dims[0] * dims[1];
    let values: Vec<f32> = (0..count).map(|i| ((i * 37 + i / 19) % 129) as f32 / 16.0 - 4.0).collect();
    Array::from_slice(backend, &values, dims)?.cast(dtype)
}

fn values<B: Backend>(array: &Array<B>) -> Vec<f64> {
    array.cast(DType::F64).unwrap().to_vec().unwrap()
}

/// What softmax may be off by, in the numbers of its dtype below 1 and as a part of larger ones.
fn allowed(dtype: DType) -> f64 {
    match dtype {
        DType::BF16 => 1.0 / 128.0,
        DType::F16 => 1.0 / 1024.0,
        DType::F32 => 1e-6,
        _ => 1e-14,
    }
}

#[test]
fn softmax_of_lines_that_registers_hold_and_of_longer_ones() {
    let Some(fake) = Fake::get() else { return };
    let device = Cuda::open(0).unwrap();
    for (which, length) in [1, 5, 24, 128, 1032, 4096, 8192, 8200].into_iter().enumerate() {
        fake.set("order", ORDERS[which % 3]);
        for dtype in [DType::F32, [DType::F64, DType::F16, DType::BF16][which % 3]] {
            let (ours, theirs) =
                (numbers(&device, [3, length], dtype).unwrap(), numbers(&Reference, [3, length], dtype).unwrap());
            ours.force().unwrap();
            for log in [false, true].into_iter().filter(|&log| dtype == DType::F32 || log == (which % 2 == 0)) {
                let launches = fake.count("launches");
                let got = ours.softmax(1, log).unwrap();
                let held = length <= if dtype == DType::F64 { 4096 } else { 8192 };
                assert_eq!(fake.count("launches") == launches + 1, held, "{length} of {dtype} in one launch");
                let wanted = values(&theirs.softmax(1, log).unwrap());
                for (got, wanted) in values(&got).into_iter().zip(wanted) {
                    let off = (got - wanted).abs() / wanted.abs().max(1e-3);
                    assert!(off <= 4.0 * allowed(dtype), "{length} of {dtype}: {got} for {wanted}");
                }
            }
        }
    }
}

#[test]
fn lines_without_a_pack_of_their_own_are_left_as_they_were() {
    let Some(_fake) = Fake::get() else { return };
    let device = Cuda::open(0).unwrap();
    let nothing = Scalar::Float(f64::NEG_INFINITY);
    let lines = Array::full(&device, nothing, &Shape::new([2, 40]).unwrap(), DType::F32);
    let got = lines.softmax(1, false).unwrap().to_vec::<f32>().unwrap();
    assert!(got.iter().all(|value| value.is_nan()), "{got:?}");
    // A part of wider lines, which are aligned and whose rest must not count.
    let part = |backend| numbers(backend, [5, 64], DType::F32)?.narrow(1, 8, 20);
    let part_there = numbers(&device, [5, 64], DType::F32).unwrap().narrow(1, 8, 20).unwrap();
    let wanted = values(&part(&Reference).unwrap().softmax(1, false).unwrap());
    for (got, wanted) in values(&part_there.softmax(1, false).unwrap()).into_iter().zip(wanted) {
        assert!((got - wanted).abs() < 1e-6, "{got} for {wanted}");
    }
}

/// All of these are exact, so results must be the reference's bit for bit, in whichever order threads run.
#[test]
fn reductions_of_lines_that_are_read_several_values_at_once() {
    let Some(fake) = Fake::get() else { return };
    let device = Cuda::open(0).unwrap();
    let operations = [ReduceOp::Sum, ReduceOp::Max, ReduceOp::ArgMin];
    for (kind, dtype) in [DType::F64, DType::F32, DType::F16, DType::U8].into_iter().enumerate() {
        for (which, dims) in [[5, 16], [2, 1000], [1, 4099]].into_iter().enumerate() {
            let (ours, theirs) = (numbers(&device, dims, dtype).unwrap(), numbers(&Reference, dims, dtype).unwrap());
            let op = operations[(kind + which) % 3];
            let wanted = values(&theirs.reduce(op, &[1], false).unwrap());
            for order in ORDERS {
                fake.set("order", order);
                let got = values(&ours.reduce(op, &[1], false).unwrap());
                assert_eq!(got, wanted, "{op:?} of {dims:?}, {dtype}, {order}");
            }
        }
    }
    // With a prologue of which one input is the same along a line.
    let deviation =
        |x: &Array<Cuda>| x.sub(&x.reduce(ReduceOp::Max, &[1], true)?)?.unary(UnaryOp::Square)?.sum(&[1], false);
    let theirs =
        |x: &Array<Reference>| x.sub(&x.reduce(ReduceOp::Max, &[1], true)?)?.unary(UnaryOp::Square)?.sum(&[1], false);
    let got = values(&deviation(&numbers(&device, [4, 512], DType::F32).unwrap()).unwrap());
    assert_eq!(got, values(&theirs(&numbers(&Reference, [4, 512], DType::F32).unwrap()).unwrap()));
}

/// Outputs beside each other, of which an item makes several; exact as above.
#[test]
fn reductions_of_columns_that_are_read_several_at_once() {
    let Some(fake) = Fake::get() else { return };
    let device = Cuda::open(0).unwrap();
    let operations = [ReduceOp::Sum, ReduceOp::Max, ReduceOp::ArgMin];
    for (kind, dtype) in [DType::F64, DType::F32, DType::F16, DType::U8].into_iter().enumerate() {
        for (which, dims) in [[5, 16], [700, 24], [130, 64]].into_iter().enumerate() {
            let (ours, theirs) = (numbers(&device, dims, dtype).unwrap(), numbers(&Reference, dims, dtype).unwrap());
            let op = operations[(kind + which) % 3];
            let wanted = values(&theirs.reduce(op, &[0], false).unwrap());
            fake.set("order", ORDERS[which]);
            assert_eq!(values(&ours.reduce(op, &[0], false).unwrap()), wanted, "{op:?} of {dims:?}, {dtype}");
        }
    }
    // Of a middle axis, of a part whose beginning is aligned and of one where it is not, and with a prologue whose other input
    // is the same for all columns.
    fn more<B: Backend>(x: &Array<B>) -> Result<Vec<Vec<f64>>> {
        let cube = x.reshape(&Shape::new([3, 20, 64])?)?;
        let far = x.sub(&x.reduce(ReduceOp::Max, &[1], true)?)?.unary(UnaryOp::Square)?;
        Ok(vec![
            values(&cube.sum(&[1], false)?),
            values(&cube.sum(&[0, 1], true)?),
            values(&x.narrow(1, 8, 24)?.sum(&[0], false)?),
            values(&x.narrow(1, 3, 24)?.sum(&[0], false)?),
            values(&far.sum(&[0], false)?),
        ])
    }
    for dtype in [DType::F32, DType::BF16] {
        let got = more(&numbers(&device, [60, 64], dtype).unwrap()).unwrap();
        assert_eq!(got, more(&numbers(&Reference, [60, 64], dtype).unwrap()).unwrap(), "{dtype}");
    }
}
