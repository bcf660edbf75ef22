//! Which dtype operations run in, and what comes out.

use crate::strict::Strict;
use tensor_core::op::{BinaryOp, CompareOp, TernaryOp, UnaryOp};
use tensor_core::{Array, Category, DType, Operand, Scalar, Shape};

fn device() -> Strict {
    Strict::far("far")
}

/// The dtype in which arrays of these dtypes and ranks meet, told by the rule's own words.
fn meeting(a: (DType, usize), b: (DType, usize)) -> DType {
    let ((high, high_rank), (low, low_rank)) = if a.1 >= b.1 { (a, b) } else { (b, a) };
    if (high_rank == 0) == (low_rank == 0) {
        high.promote(low)
    } else if low.category() > high.category() {
        low
    } else {
        high
    }
}

#[test]
fn every_pair_of_dtypes_and_ranks() {
    let backend = device();
    for a in DType::ALL {
        for b in DType::ALL {
            for dims in [[0usize, 0], [0, 1], [1, 0], [1, 1], [2, 1]] {
                let make = |rank: usize, dtype: DType, constant: bool| {
                    let shape = Shape::new(vec![1; rank]).unwrap();
                    let one = Array::full(&backend, 1, &shape, dtype);
                    if constant {
                        return one;
                    }
                    let bytes = [one.to_bytes().unwrap(), one.to_bytes().unwrap()].concat();
                    let two = Array::from_bytes(&backend, dtype, &bytes, &Shape::new([2]).unwrap()).unwrap();
                    two.select(0, 0).unwrap().expand(&shape).unwrap()
                };
                for constant in [false, true] {
                    let (x, y) = (make(dims[0], a, constant), make(dims[1], b, constant));
                    let expected = meeting((a, dims[0]), (b, dims[1]));
                    let sum = x.add(&y).unwrap();
                    assert_eq!(sum.dtype(), expected, "{a} of rank {} + {b} of rank {}", dims[0], dims[1]);
                    let two = if expected == DType::Bool { 1.0 } else { 2.0 };
                    assert_eq!(sum.item().unwrap().as_f64(), two);
                    let equal = Array::compare(CompareOp::Eq, &x, &y).unwrap();
                    assert_eq!((equal.dtype(), equal.item().unwrap()), (DType::Bool, Scalar::Bool(true)));
                    let quotient = Array::binary(BinaryOp::Div, &x, &y).unwrap();
                    assert_eq!(quotient.dtype(), expected.or_float());
                    let mask = Array::full(&backend, true, &Shape::scalar(), DType::Bool);
                    let chosen = Array::ternary(TernaryOp::Where, &mask, &x, &y).unwrap();
                    assert_eq!(chosen.dtype(), expected);
                }
            }
        }
    }
}

#[test]
fn scalars_are_weak() {
    let backend = device();
    for dtype in DType::ALL {
        let x = Array::full(&backend, 1, &Shape::new([2]).unwrap(), dtype);
        for scalar in [Scalar::Bool(true), Scalar::Int(1), Scalar::Float(1.0)] {
            let rises = scalar.default_dtype().category() > dtype.category();
            let expected = if rises { scalar.default_dtype() } else { dtype };
            for sum in [x.add(scalar).unwrap(), Array::binary(BinaryOp::Add, scalar, &x).unwrap()] {
                assert_eq!(sum.dtype(), expected, "{dtype} + {scalar}");
            }
        }
    }
}

/// Asserts dtype and values, for operands in memory and for constants.
#[track_caller]
fn expect<'a>(
    op: BinaryOp,
    a: impl Into<Operand<'a, Strict>>,
    b: impl Into<Operand<'a, Strict>>,
    dtype: DType,
    values: &[f64],
) {
    let result = Array::binary(op, a, b).unwrap();
    assert_eq!(result.dtype(), dtype);
    let got = result.cast(DType::F64).unwrap().to_vec::<f64>().unwrap();
    let same = |(x, y): (&f64, &f64)| x == y || (x.is_nan() && y.is_nan());
    assert!(got.len() == values.len() && got.iter().zip(values).all(same), "{got:?} instead of {values:?}");
}

/// What PyTorch was measured to give.
#[test]
fn measured_arithmetic() {
    use BinaryOp::*;
    use DType::*;
    let d = device();
    let zero_d = |value: Scalar, dtype| Array::full(&d, value, &Shape::scalar(), dtype);
    expect(Add, &d.vector(&[1u8]), 300, U8, &[45.0]);
    expect(Add, &d.vector(&[1u8]), -1, U8, &[0.0]);
    expect(Add, &d.vector(&[1u8]), &zero_d(300.into(), I64), U8, &[45.0]);
    expect(Add, &d.vector(&[1i32]), &zero_d(300.into(), I64), I32, &[301.0]);
    expect(Add, &d.vector(&[1i32]), &zero_d(1.0.into(), F64), F64, &[2.0]);
    expect(Add, &d.vector(&[1f32]), &zero_d(1.0.into(), F64), F32, &[2.0]);
    expect(Add, &d.vector(&[true]), &zero_d(3.into(), I64), I64, &[4.0]);
    expect(Add, &d.vector(&[true]), &zero_d(3.0.into(), F16), F16, &[4.0]);
    expect(Add, &d.vector(&[true]), 1, I64, &[2.0]);
    expect(Add, &d.vector(&[true]), true, Bool, &[1.0]);
    expect(Add, &d.vector(&[true]), 1.5, F32, &[2.5]);
    expect(Add, &d.vector(&[1i32]), 1.5, F32, &[2.5]);
    expect(Add, &zero_d(1.into(), I64), 1.5, F32, &[2.5]);
    let half = |x: f32| tensor_core::f16::from_f32(x);
    expect(Mul, &d.vector(&[half(1.0)]), 1e6, F16, &[f64::INFINITY]);
    expect(Mul, &d.vector(&[half(1.0)]), 2, F16, &[2.0]);
    expect(Add, &d.vector(&[half(1.0)]), &zero_d(1.0.into(), F32), F16, &[2.0]);
    expect(Add, &d.vector(&[half(1.0)]), &d.vector(&[tensor_core::bf16::ONE]), F32, &[2.0]);
    expect(Add, &d.vector(&[half(1.0)]), &d.vector(&[1i64]), F16, &[2.0]);
    expect(Div, &d.vector(&[7i64]), 2, F32, &[3.5]);
    expect(Div, &d.vector(&[7i32]), &d.vector(&[2i32]), F32, &[3.5]);
    expect(Div, &d.vector(&[true]), &d.vector(&[true]), F32, &[1.0]);
    expect(Div, &d.vector(&[1i64]), 0, F32, &[f64::INFINITY]);
    expect(FloorDiv, &d.vector(&[-7i64]), 2, I64, &[-4.0]);
    expect(FloorDiv, &d.vector(&[7i64]), -2, I64, &[-4.0]);
    expect(FloorDiv, &d.vector(&[-7f32]), 2, F32, &[-4.0]);
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
    expect(FloorDiv, &d.vector(&[7f32, -7.0, 0.0]), 0, F32, &wide(&[inf, -inf, nan]));
    expect(FloorDiv, &d.vector(&[inf, 2.0, -2.0]), &d.vector(&[2f32, inf, inf]), F32, &wide(&[nan, 0.0, -1.0]));
    expect(FloorDiv, &d.vector(&[6f64]), 0.1, F64, &[59.0]);
    expect(Remainder, &d.vector(&[6f64]), 0.1, F64, &[0.09999999999999967]);
    expect(Remainder, &d.vector(&[-7i64, 7]), &d.vector(&[3i64, -3]), I64, &[2.0, -2.0]);
    expect(Remainder, &d.vector(&[-7f32, 5.0]), &d.vector(&[3f32, -3.0]), F32, &[2.0, -1.0]);
    expect(Remainder, &d.vector(&[5f32, -5.0, 5.0]), &d.vector(&[inf, inf, -inf]), F32, &wide(&[5.0, inf, -inf]));
    expect(Remainder, &d.vector(&[5f32]), 0, F32, &[f64::NAN]);
    expect(Fmod, &d.vector(&[-7i64]), 3, I64, &[-1.0]);
    expect(Fmod, &d.vector(&[-7f32]), 3, F32, &[-1.0]);
    expect(TruncDiv, &d.vector(&[-7i64]), 2, I64, &[-3.0]);
    expect(Add, &d.vector(&[255u8]), 1, U8, &[0.0]);
    expect(Add, &d.vector(&[127i8]), 1, I8, &[-128.0]);
    expect(Add, &d.vector(&[i64::MAX]), 1, I64, &[i64::MIN as f64]);
    expect(Sub, &d.vector(&[0u8]), 1, U8, &[255.0]);
    expect(Pow, &d.vector(&[2i64]), 63, I64, &[i64::MIN as f64]);
    expect(Pow, &d.vector(&[0i64, 1, -1, 2]), &d.vector(&[-1i64]), I64, &[0.0, 1.0, -1.0, 0.0]);
    expect(Pow, &d.vector(&[0i64]), 0, I64, &[1.0]);
    expect(Pow, &d.vector(&[2i64]), 2.0, F32, &[4.0]);
    expect(Mul, &d.vector(&[true, false]), &d.vector(&[true]), Bool, &[1.0, 0.0]);
    expect(Shl, &d.vector(&[1i64]), &d.vector(&[63i64, 64, -1]), I64, &[i64::MIN as f64, 0.0, 0.0]);
    expect(Shr, &d.vector(&[-8i64, 8, 8, -8]), &d.vector(&[1i64, 64, -1, 64]), I64, &[-4.0, 0.0, 0.0, -1.0]);
    expect(Shl, &d.vector(&[1u8]), 8, U8, &[0.0]);
    expect(Maximum, &d.vector(&[1i32]), &d.vector(&[2f32]), F32, &[2.0]);
    expect(Maximum, &d.vector(&[nan, 1.0]), &d.vector(&[1.0, nan]), F32, &wide(&[nan, nan]));
    expect(Maximum, &d.vector(&[true, false]), &d.vector(&[false]), Bool, &[1.0, 0.0]);
}

#[test]
fn measured_comparisons() {
    let d = device();
    let holds = |op, a: Operand<'_, Strict>, b: Operand<'_, Strict>| Array::compare(op, a, b).unwrap().to_vec::<bool>();
    let (u8s, big, float) = (d.vector(&[1u8, 0]), d.vector(&[16_777_217i64]), d.vector(&[16_777_216f32]));
    assert_eq!(holds(CompareOp::Lt, (&u8s).into(), (-1).into()).unwrap(), [true, true]);
    assert_eq!(holds(CompareOp::Eq, (&u8s).into(), 256.into()).unwrap(), [false, true]);
    assert_eq!(holds(CompareOp::Eq, (&big).into(), (&float).into()).unwrap(), [true], "both are f32 then");
    assert_eq!(holds(CompareOp::Lt, (&d.vector(&[false])).into(), (&d.vector(&[true])).into()).unwrap(), [true]);
    let nan = d.vector(&[f32::NAN]);
    for (op, expected) in [
        (CompareOp::Eq, false),
        (CompareOp::Ne, true),
        (CompareOp::Lt, false),
        (CompareOp::Le, false),
        (CompareOp::Gt, false),
        (CompareOp::Ge, false),
    ] {
        assert_eq!(holds(op, (&nan).into(), (&nan).into()).unwrap(), [expected], "{op:?}");
    }
    // Beyond 2⁵³ integers are still compared as integers.
    let (a, b) = (d.vector(&[i64::MAX]), d.vector(&[i64::MAX - 1]));
    assert_eq!(holds(CompareOp::Gt, (&a).into(), (&b).into()).unwrap(), [true]);
}

#[test]
fn measured_unary() {
    let d = device();
    let unary = |array: Array<Strict>, op| {
        let result = array.unary(op).unwrap();
        (result.dtype(), result.cast(DType::F64).unwrap().to_vec::<f64>().unwrap())
    };
    assert_eq!(unary(d.vector(&[-128i8]), UnaryOp::Neg), (DType::I8, vec![-128.0]));
    assert_eq!(unary(d.vector(&[-128i8]), UnaryOp::Abs), (DType::I8, vec![-128.0]));
    assert_eq!(unary(d.vector(&[1u8]), UnaryOp::Neg), (DType::U8, vec![255.0]));
    assert_eq!(unary(d.vector(&[true]), UnaryOp::BitNot), (DType::Bool, vec![0.0]));
    assert_eq!(unary(d.vector(&[5i64]), UnaryOp::BitNot), (DType::I64, vec![-6.0]));
    assert_eq!(unary(d.vector(&[true, false]), UnaryOp::Sign), (DType::Bool, vec![1.0, 0.0]));
    assert_eq!(unary(d.vector(&[4i64]), UnaryOp::Sqrt), (DType::F32, vec![2.0]));
    assert_eq!(unary(d.vector(&[4i64]), UnaryOp::Reciprocal), (DType::F32, vec![0.25]));
    assert_eq!(unary(d.vector(&[0i64]), UnaryOp::Sigmoid), (DType::F32, vec![0.5]));
    assert_eq!(unary(d.vector(&[true]), UnaryOp::Exp), (DType::F32, vec![f64::from(1f32.exp())]));
    assert_eq!(unary(d.vector(&[3i64]), UnaryOp::Square), (DType::I64, vec![9.0]));
    assert_eq!(unary(d.vector(&[-4i64]), UnaryOp::Relu), (DType::I64, vec![0.0]));
    for op in [UnaryOp::Floor, UnaryOp::Ceil, UnaryOp::Round, UnaryOp::Trunc] {
        assert_eq!(unary(d.vector(&[4i64]), op), (DType::I64, vec![4.0]));
    }
    let halves = d.vector(&[0.5f32, 1.5, 2.5, -0.5, -2.5]);
    let rounded = halves.unary(UnaryOp::Round).unwrap().to_vec::<f32>().unwrap();
    assert_eq!(rounded.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), [0f32, 2.0, 2.0, -0.0, -2.0].map(f32::to_bits));
    let cut = d.vector(&[-0.5f32]).unary(UnaryOp::Trunc).unwrap().to_vec::<f32>().unwrap();
    assert_eq!(cut[0].to_bits(), (-0f32).to_bits());
    assert_eq!(unary(d.vector(&[f32::NAN, -0.0, 3.0]), UnaryOp::Sign), (DType::F32, vec![0.0, 0.0, 1.0]));
    assert!(unary(d.vector(&[f32::NAN]), UnaryOp::Relu).1[0].is_nan());
    assert_eq!(unary(d.vector(&[3i64]), UnaryOp::IsFinite), (DType::Bool, vec![1.0]));
}

#[test]
fn measured_ternary() {
    let d = device();
    let values = |array: Array<Strict>| (array.dtype(), array.cast(DType::F64).unwrap().to_vec::<f64>().unwrap());
    let clamp =
        |x: &Array<Strict>, low: Scalar, high: Scalar| values(Array::ternary(TernaryOp::Clamp, x, low, high).unwrap());
    assert_eq!(clamp(&d.vector(&[0i64, 1]), 0.5.into(), 2.0.into()), (DType::F32, vec![0.5, 1.0]));
    assert_eq!(clamp(&d.vector(&[0i64, 5]), 1.into(), 3.into()), (DType::I64, vec![1.0, 3.0]));
    assert_eq!(clamp(&d.vector(&[2f32]), 3.0.into(), 1.0.into()), (DType::F32, vec![1.0]), "the upper end wins");
    assert!(clamp(&d.vector(&[f32::NAN]), 0.0.into(), 1.0.into()).1[0].is_nan());
    assert!(clamp(&d.vector(&[0.5f32]), f64::NAN.into(), 1.0.into()).1[0].is_nan());
    let mask = d.vector(&[true]);
    let choose =
        |a: Operand<'_, Strict>, b: Operand<'_, Strict>| values(Array::ternary(TernaryOp::Where, &mask, a, b).unwrap());
    let (f, i) = (d.vector(&[1f32]), d.vector(&[2i64]));
    let zero_d = Array::full(&d, 5.0, &Shape::scalar(), DType::F64);
    assert_eq!(choose((&f).into(), (&zero_d).into()).0, DType::F32);
    assert_eq!(choose(1.0.into(), (&i).into()), (DType::F32, vec![1.0]));
    assert_eq!(choose(1.into(), 2.into()), (DType::I64, vec![1.0]));
    assert_eq!(choose(true.into(), false.into()), (DType::Bool, vec![1.0]));
    // The other branch leaves no trace.
    assert_eq!(choose((&f).into(), f64::NAN.into()).1, [1.0]);
    let lerp = Array::ternary(TernaryOp::Lerp, &d.vector(&[1f32]), &d.vector(&[3f32]), 1.0).unwrap();
    assert_eq!(lerp.to_vec::<f32>().unwrap(), [3.0]);
}

/// A scalar that a storage type cannot hold still scales it right, in any order and form.
#[test]
fn scalars_beyond_a_storage_type() {
    let d = device();
    let small = tensor_core::f16::from_f32(0.001);
    let exact = f64::from(small) * 65536.0;
    for x in [d.vector(&[small]), Array::full(&d, small, &Shape::new([1]).unwrap(), DType::F16)] {
        let x0 = x.reshape(&Shape::scalar()).unwrap();
        for x in [&x, &x0] {
            for product in [x.mul(65536).unwrap(), Array::binary(BinaryOp::Mul, 65536.0, x).unwrap()] {
                assert_eq!((product.dtype(), product.item().unwrap().as_f64()), (DType::F16, exact));
            }
            let quotient = Array::binary(BinaryOp::Div, x, 1e6).unwrap().item().unwrap();
            assert_eq!(quotient, Scalar::Float(f64::from(small) / 1e6).cast(DType::F32).cast(DType::F16));
        }
    }
    // Comparisons see the scalar as the dtype holds it, so that a tensor filled with 0.1 equals 0.1.
    let tenth = Array::full(&d, 0.1, &Shape::new([1]).unwrap(), DType::BF16);
    assert_eq!(Array::compare(CompareOp::Eq, &tenth, 0.1).unwrap().to_vec::<bool>().unwrap(), [true]);
    assert_eq!(DType::BF16.category(), Category::Float);
}

#[test]
fn powers_with_shortcuts() {
    let d = device();
    for power in [0.0, 0.5, -0.5, 1.0, -1.0, 2.0, 3.0, 2.5, -2.0] {
        let x = d.vector(&[0.5f64, 1.0, 3.0, 10.0]);
        let got = Array::binary(BinaryOp::Pow, &x, power).unwrap().to_vec::<f64>().unwrap();
        for (got, x) in got.iter().zip([0.5f64, 1.0, 3.0, 10.0]) {
            let expected = x.powf(power);
            assert!((got - expected).abs() <= 1e-15 * expected.abs(), "{x}^{power} is {expected}, got {got}");
        }
    }
    for (power, expected) in
        [(0, [1i64, 1, 1]), (1, [-3, 0, 5]), (2, [9, 0, 25]), (3, [-27, 0, 125]), (4, [81, 0, 625])]
    {
        let x = d.vector(&[-3i64, 0, 5]);
        assert_eq!(Array::binary(BinaryOp::Pow, &x, power).unwrap().to_vec::<i64>().unwrap(), expected);
        let narrow = x.cast(DType::I8).unwrap();
        let wrapped = expected.map(|x| x as i8);
        assert_eq!(Array::binary(BinaryOp::Pow, &narrow, power).unwrap().to_vec::<i8>().unwrap(), wrapped);
    }
    let mask = d.vector(&[true, false]);
    assert_eq!(Array::binary(BinaryOp::Pow, &mask, 2).unwrap().to_vec::<i64>().unwrap(), [1, 0]);
    let base = Array::binary(BinaryOp::Pow, 2, &d.vector(&[0i64, 10])).unwrap();
    assert_eq!(base.to_vec::<i64>().unwrap(), [1, 1024]);
}
