//! What the host computes for constants is what a kernel computes, bit for bit, for every operation and dtype.

use crate::strict::Strict;
use tensor_core::op::{BINARY, BinaryOp, COMPARE, TERNARY, UNARY, UnaryOp};
use tensor_core::{Array, DType, Program, Scalar, Shape, f16};

/// Values that break things, as far as the dtype holds them.
fn special(dtype: DType) -> Vec<Scalar> {
    let mut list: Vec<Scalar> = match dtype {
        DType::Bool => vec![Scalar::Bool(false), Scalar::Bool(true)],
        dtype if dtype.is_int() => {
            [0, 1, -1, 2, 3, 7, -7, 8, 63, 64, 127, 128, -128, 255, 300, i64::MIN, i64::MAX].map(Scalar::Int).to_vec()
        }
        _ => [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.5,
            1.5,
            2.5,
            -7.0,
            0.1,
            1.0009765625,
            3.999,
            65504.0,
            1e6,
            1e-7,
            1e30,
            -1e-30,
            1e300,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
        ]
        .map(Scalar::Float)
        .to_vec(),
    };
    for value in &mut list {
        *value = value.cast(dtype);
    }
    list
}

/// Equal to the bit, but that every NaN is as good as another.
fn same(a: Scalar, b: Scalar) -> bool {
    match (a, b) {
        (Scalar::Float(a), Scalar::Float(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
        (a, b) => a == b,
    }
}

/// One value as constants of both kinds, in memory (dense and not), and pending.
fn forms(backend: &Strict, value: Scalar, dtype: DType) -> Vec<Array<Strict>> {
    let one = |dims: &[usize]| Array::full(backend, value, &Shape::new(dims).unwrap(), dtype);
    let mut bytes = vec![0; 3 * dtype.size()];
    bytes.chunks_exact_mut(dtype.size()).for_each(|element| value.write(dtype, element));
    let memory = Array::from_bytes(backend, dtype, &bytes, &Shape::new([3]).unwrap()).unwrap();
    let pending = Array::map(&Program::copy(dtype), &[&memory], "copy").unwrap();
    vec![one(&[]), one(&[3]), memory.clone(), memory.select(0, 1).unwrap(), pending]
}

type Operation<'a> = dyn Fn(&[&Array<Strict>]) -> tensor_core::Result<Array<Strict>> + 'a;

/// Asserts that `f` gives the same value for every form of its operands.
fn check(backend: &Strict, what: &str, operands: &[(Scalar, DType)], f: &Operation<'_>) {
    let forms: Vec<Vec<Array<Strict>>> = operands.iter().map(|&(value, dtype)| forms(backend, value, dtype)).collect();
    let mut seen: Option<Scalar> = None;
    for number in 0..forms[0].len() {
        // All of one form, and each form beside constants.
        for mixed in 0..=operands.len() {
            let picked: Vec<&Array<Strict>> = forms
                .iter()
                .enumerate()
                .map(|(at, forms)| &forms[if mixed > 0 && at + 1 != mixed { 0 } else { number }])
                .collect();
            let value = f(&picked).unwrap_or_else(|error| panic!("{what} of {operands:?}: {error}"));
            let value = value.reshape(&Shape::new([value.numel()]).unwrap()).unwrap().get(&[0]).unwrap();
            let first = *seen.get_or_insert(value);
            assert!(same(first, value), "{what} of {operands:?} is {first} or {value}, as form {number}, {mixed}");
        }
    }
}

/// Miri gets fewer values.
fn samples(dtype: DType) -> Vec<Scalar> {
    let list = special(dtype);
    if cfg!(miri) { list.into_iter().step_by(6).collect() } else { list }
}

#[test]
fn unary() {
    let backend = Strict::far("far");
    for row in &UNARY {
        for dtype in DType::ALL {
            if row.takes.operand(dtype, row.name).is_ok() {
                for value in samples(dtype) {
                    check(&backend, row.name, &[(value, dtype)], &|list| list[0].unary(row.op));
                }
            }
        }
    }
}

#[test]
fn binary() {
    let backend = Strict::near("near");
    for row in &BINARY {
        for dtype in DType::ALL {
            if row.takes.operand(dtype, row.name).is_err() {
                continue;
            }
            let divides =
                matches!(row.op, BinaryOp::FloorDiv | BinaryOp::TruncDiv | BinaryOp::Remainder | BinaryOp::Fmod)
                    && dtype.is_int();
            for a in samples(dtype) {
                for b in samples(dtype).into_iter().step_by(if dtype.is_float() { 2 } else { 1 }) {
                    if !(divides && b == Scalar::Int(0)) {
                        let operands = [(a, dtype), (b, dtype)];
                        check(&backend, row.name, &operands, &|list| Array::binary(row.op, list[0], list[1]));
                    }
                }
            }
        }
    }
}

#[test]
fn compare_ternary_and_cast() {
    let backend = Strict::far("far");
    for dtype in DType::ALL {
        let values = samples(dtype);
        for &a in &values {
            for &b in values.iter().step_by(3) {
                for row in &COMPARE {
                    let operands = [(a, dtype), (b, dtype)];
                    check(&backend, row.name, &operands, &|list| Array::compare(row.op, list[0], list[1]));
                }
            }
            for to in DType::ALL {
                check(&backend, &format!("cast to {to}"), &[(a, dtype)], &|list| list[0].cast(to));
            }
            for row in TERNARY.iter().filter(|row| row.takes.operand(dtype, row.name).is_ok()) {
                let first = if row.condition { (Scalar::Bool(a.as_bool()), DType::Bool) } else { (a, dtype) };
                for &b in values.iter().step_by(4) {
                    let operands = [first, (b, dtype), (a, dtype)];
                    check(&backend, row.name, &operands, &|list| Array::ternary(row.op, list[0], list[1], list[2]));
                }
            }
        }
    }
}

/// Constants of different dtypes meet in the dtype that arrays in memory meet in.
#[test]
fn mixed_dtypes() {
    let backend = Strict::near("near");
    for a in DType::ALL {
        for b in DType::ALL {
            for (x, y) in samples(a).into_iter().zip(samples(b).into_iter().rev()) {
                // Of one rank, as 0-d arrays are of a lower class.
                let forms = |value, dtype| forms(&backend, value, dtype);
                let (x, y) = (forms(x, a), forms(y, b));
                for (x, y) in [(&x[0], &y[0]), (&x[1], &y[1])] {
                    let memory = |array: &Array<Strict>| {
                        let shape = Shape::new([1]).unwrap();
                        let bytes = array.expand(&Shape::new([3]).unwrap()).unwrap().to_bytes().unwrap();
                        let copy = Array::from_bytes(&backend, array.dtype(), &bytes[..array.dtype().size()], &shape);
                        copy.unwrap()
                    };
                    let known = x.mul(y).unwrap();
                    let kernel = memory(x).mul(&memory(y)).unwrap();
                    assert_eq!(known.dtype(), kernel.dtype(), "{a} and {b}");
                    let value = known.constant().expect("constants give a constant");
                    assert!(same(value, kernel.item().unwrap()), "{a} and {b}");
                }
            }
        }
    }
}

/// Sums and the like of constants, which may skip the memory.
#[test]
fn reductions_of_constants() {
    use tensor_core::ReduceOp;
    let backend = Strict::far("far");
    for dtype in DType::ALL {
        for value in samples(dtype) {
            for op in ReduceOp::ALL {
                let forms = forms(&backend, value, dtype);
                let results = [&forms[1], &forms[2], &forms[4]].map(|form| form.reduce(op, &[], false).unwrap());
                let [first, rest @ ..] = results.map(|result| (result.dtype(), result.item().unwrap()));
                assert!(rest.iter().all(|other| other.0 == first.0 && same(first.1, other.1)), "{op:?} of {value}");
                let scalar = [&forms[0], &forms[3]].map(|form| form.reduce(op, &[], true).unwrap());
                assert!(same(scalar[0].item().unwrap(), scalar[1].item().unwrap()), "{op:?} of 0-d {value}");
            }
        }
    }
}

/// Every f16, as a constant and in memory. A kernel rounds to f32 and then to f16, which for some is another value than
/// rounding once.
#[test]
fn every_half() {
    let backend = Strict::near("near");
    let stride = if cfg!(miri) { 1009 } else { 1 };
    let all: Vec<f16> = (0..=u16::MAX).step_by(stride).map(f16::from_bits).collect();
    let memory = backend.vector(&all);
    for op in [UnaryOp::Exp2, UnaryOp::Sin] {
        let kernel = memory.unary(op).unwrap().to_vec::<f16>().unwrap();
        for (x, kernel) in all.iter().zip(kernel) {
            let known = Array::full(&backend, *x, &Shape::scalar(), DType::F16).unary(op).unwrap().item().unwrap();
            assert!(same(known, kernel.into()), "{op:?} of {x} is {known} or {kernel}");
        }
    }
}
