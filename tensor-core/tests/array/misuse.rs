//! Every misuse, and the sentence it gets.

use crate::strict::Strict;
use tensor_core::op::{BinaryOp, CompareOp, TernaryOp, UnaryOp};
use tensor_core::{
    About, Array, DType, ErrorKind, Layout, Program, ReduceOp, Result, Scalar, ScanOp, ScatterOp, Shape, f16,
};

/// Asserts the whole sentence and what it is about.
#[track_caller]
fn refused<T>(result: Result<T>, about: About, sentence: &str) {
    let error = match result {
        Ok(_) => panic!("this should be refused: {sentence}"),
        Err(error) => error,
    };
    assert_eq!(error.to_string(), sentence);
    assert!(matches!(error.kind(), ErrorKind::Misuse { about: found, .. } if *found == about), "{error:?}");
}

fn device() -> Strict {
    Strict::far("far")
}

fn floats(d: &Strict, dims: &[usize]) -> Array<Strict> {
    d.array(&vec![1f32; dims.iter().product()], dims)
}

fn shape(dims: &[usize]) -> Shape {
    Shape::new(dims).unwrap()
}

#[test]
fn shapes_that_do_not_fit() {
    let d = device();
    let (a, b) = (floats(&d, &[2, 3]), floats(&d, &[4]));
    refused(
        a.add(&b),
        About::Shape,
        "add: expected shapes that broadcast, got [2, 3] and [4], which differ at axis 1 (3 and 4); hint: aligned at the \
         last axis, sizes must be equal or 1",
    );
    refused(
        Array::compare(CompareOp::Lt, &b, &a),
        About::Shape,
        "lt: expected shapes that broadcast, got [4] and [2, 3], which differ at axis 1 (4 and 3); hint: aligned at the \
         last axis, sizes must be equal or 1",
    );
    refused(
        a.expand(&shape(&[3, 3])),
        About::Shape,
        "expand: expected a shape that [2, 3] broadcasts to, got [3, 3]; hint: aligned at the last axis, only axes of size \
         1 can grow",
    );
    refused(a.reshape(&shape(&[4, 2])), About::Shape, "reshape: expected a shape of 6 elements, got [4, 2] of 8");
    refused(a.view(&[4, -1]), About::Shape, "view: expected a shape of 6 elements, got [4, -1]");
    refused(a.view(&[-1, -1]), About::Shape, "view: expected at most one size of -1, got [-1, -1]");
    refused(a.view(&[-2, 3]), About::Shape, "view: expected sizes of at least 0, or one -1, got [-2, 3]");
    refused(
        floats(&d, &[0]).view(&[-1, 0]),
        About::Shape,
        "view: expected sizes that determine the -1, got [-1, 0] for 0 elements",
    );
    refused(
        a.transpose(0, 1).unwrap().view(&[6]),
        About::Shape,
        "view: expected a layout in which the new axes do not cross old ones, got shape [3, 2] with strides [1, 3] as [6]; \
         hint: use reshape, which copies where it must",
    );
    refused(
        Shape::new([1 << 40, 1 << 40]),
        About::Shape,
        "shape: expected at most 1152921504606846975 elements, got [1099511627776, 1099511627776], whose number of elements \
         overflows",
    );
    refused(
        Array::from_slice(&d, &[1, 2, 3i64], [2]),
        About::Shape,
        "from_slice: expected 2 elements for shape [2], got 3",
    );
    refused(
        a.item(),
        About::Shape,
        "item: expected a tensor of one element, got shape [2, 3]; hint: reduce it first, or use to_vec",
    );
    refused(b.triangle(0, true), About::Shape, "triu: expected a tensor with at least two axes, got shape [4]");
}

#[test]
fn products_that_do_not_fit() {
    let d = device();
    let (a, b) = (floats(&d, &[2, 3]), floats(&d, &[4, 2, 3]));
    refused(
        a.matmul(&a),
        About::Shape,
        "matmul: expected as many columns on the left as rows on the right, got [2, 3] and [2, 3] (3 and 2)",
    );
    refused(
        b.matmul(&floats(&d, &[5, 3, 2])),
        About::Shape,
        "matmul: expected leading axes that broadcast, got [4, 2, 3] and [5, 3, 2]; hint: aligned before the matrices' two \
         axes, sizes must be equal or 1",
    );
    refused(
        a.matmul(&Array::full(&d, 2.0, &Shape::scalar(), DType::F32)),
        About::Shape,
        "matmul: expected tensors with at least one axis, got shapes [2, 3] and []; hint: use * to multiply by a scalar",
    );
    refused(
        a.matmul(&a.cast(DType::F64).unwrap()),
        About::DType,
        "matmul: expected two tensors of one number dtype, got f32 and f64; hint: convert one with .to(dtype)",
    );
    let mask = d.array(&[true], &[1, 1]);
    refused(
        mask.matmul(&mask),
        About::DType,
        "matmul: expected two tensors of one number dtype, got bool and bool; hint: convert one with .to(dtype)",
    );
}

#[test]
fn axes_that_do_not_exist() {
    let d = device();
    let a = floats(&d, &[2, 3]);
    let out_of_range = |op: &str, axis: isize| format!("{op}: expected an axis from -2 to 1, got {axis}");
    refused(a.sum(&[2], false), About::Index, &out_of_range("sum", 2));
    refused(a.reduce(ReduceOp::ArgMax, &[-3], false), About::Index, &out_of_range("argmax", -3));
    refused(a.transpose(0, 2), About::Index, &out_of_range("transpose", 2));
    refused(a.permute(&[0, 5]), About::Index, &out_of_range("permute", 5));
    refused(a.flip(&[9]), About::Index, &out_of_range("flip", 9));
    refused(a.squeeze(Some(&[2])), About::Index, &out_of_range("squeeze", 2));
    refused(a.softmax(2, false), About::Index, &out_of_range("softmax", 2));
    refused(a.softmax(2, true), About::Index, &out_of_range("log_softmax", 2));
    refused(a.sort(isize::MIN, false), About::Index, &out_of_range("sort", isize::MIN));
    refused(a.scan(ScanOp::Prod, 2), About::Index, &out_of_range("cumprod", 2));
    refused(a.select(2, 0), About::Index, &out_of_range("select", 2));
    refused(a.narrow(-3, 0, 0), About::Index, &out_of_range("narrow", -3));
    refused(a.unfold(2, 1, 1), About::Index, &out_of_range("unfold", 2));
    refused(Array::cat(&[&a, &a], 2), About::Index, &out_of_range("cat", 2));
    refused(a.unsqueeze(3), About::Index, "unsqueeze: expected an axis from -3 to 2, got 3");
    refused(a.sum(&[0, 1, -2], false), About::Index, "sum: expected each axis once, got axis 0 twice in [0, 1, -2]");
    refused(a.flip(&[1, 1]), About::Index, "flip: expected each axis once, got axis 1 twice in [1, 1]");
    refused(a.permute(&[1, -1]), About::Index, "permute: expected each axis once, got axis 1 twice in [1, -1]");
    refused(a.permute(&[1]), About::Index, "permute: expected an order of 2 axes, got [1] of length 1");
    refused(a.diagonal(0, 1, -1), About::Index, "diagonal: expected two different axes, got 1 and -1 of shape [2, 3]");
    refused(
        a.reduce(ReduceOp::ArgMin, &[0, 1], false),
        About::Index,
        "argmin: expected one axis, or none for all elements, got [0, 1]",
    );
    let scalar = Array::full(&d, 1.0, &Shape::scalar(), DType::F32);
    refused(scalar.sum(&[1], false), About::Index, "sum: expected an axis from -1 to 0, got 1");
    refused(scalar.sum(&[0, -1], false), About::Index, "sum: expected each axis once, got axis 0 twice in [0, -1]");
    refused(scalar.select(0, 0), About::Index, "select: expected a tensor with at least one axis, got a 0-d tensor");
}

#[test]
fn elements_that_do_not_exist() {
    let d = device();
    let a = floats(&d, &[2, 3]);
    refused(a.select(0, 2), About::Index, "select: expected an index within axis 0 of size 2, got 2");
    refused(a.select(-1, -4), About::Index, "select: expected an index within axis 1 of size 3, got -4");
    refused(
        a.narrow(1, 2, 2),
        About::Index,
        "narrow: expected a range within axis 1 of size 3, got start 2 and length 2",
    );
    refused(
        a.slice(1, 0, 3, 2),
        About::Index,
        "slice: expected elements within axis 1 of size 3, got 3 elements from 0 in steps of 2",
    );
    refused(a.slice(1, 0, 1, 0), About::Index, "slice: expected a step other than 0, got 0");
    refused(a.unfold(0, 3, 1), About::Index, "unfold: expected a window of at most 2 elements, got 3");
    refused(a.unfold(0, 1, 0), About::Index, "unfold: expected a step of at least 1, got 0");
    let index = |list: &[i64]| d.vector(list);
    let (column, source) = (d.array(&[0i64, 2], &[2, 1]), floats(&d, &[2, 1]));
    refused(a.gather(0, &column), About::Index, "gather: expected indices within axis 0 of size 2, got 2");
    let negative = d.array(&[-1i64], &[1, 1]);
    refused(a.gather(1, &negative), About::Index, "gather: expected indices within axis 1 of size 3, got -1");
    refused(
        a.scatter(ScatterOp::Add, 0, &column, &source),
        About::Index,
        "scatter_add: expected indices within axis 0 of size 2, got 2",
    );
    refused(a.index_select(0, &index(&[0, -3])), About::Index, "index_select: expected indices from -2 to 1, got -3");
    refused(a.index_select(1, &index(&[3])), About::Index, "index_select: expected indices from -3 to 2, got 3");
    refused(
        a.index_scatter(ScatterOp::Set, 0, &index(&[2]), &floats(&d, &[1, 3])),
        About::Index,
        "scatter: expected indices from -2 to 1, got 2",
    );
    refused(
        floats(&d, &[0, 3]).index_select(0, &index(&[0])),
        About::Index,
        "index_select: expected no index for an axis of size 0, got 0",
    );
    refused(
        floats(&d, &[0, 3]).reduce(ReduceOp::Max, &[], false),
        About::Shape,
        "amax: expected at least one element along the reduced axes, got shape [0, 3]",
    );
    refused(
        floats(&d, &[2, 0]).reduce(ReduceOp::ArgMin, &[1], false),
        About::Shape,
        "argmin: expected at least one element along the reduced axes, got shape [2, 0]",
    );
}

#[test]
fn indices_of_the_wrong_kind() {
    let d = device();
    let a = floats(&d, &[2, 3]);
    let integer = "an index of an integer dtype (u8, i8, i16, i32, i64)";
    refused(a.gather(0, &a), About::DType, &format!("gather: expected {integer}, got f32"));
    refused(
        a.index_select(0, &d.vector(&[true, false])),
        About::DType,
        &format!("index_select: expected {integer}, got bool"),
    );
    refused(
        a.gather(0, &d.vector(&[0i64])),
        About::Shape,
        "gather: expected an index with as many axes as the tensor of shape [2, 3], got [1]",
    );
    let column = d.array(&[0i64, 1], &[2, 1]);
    refused(
        a.scatter(ScatterOp::Set, 0, &column, &floats(&d, &[2])),
        About::Shape,
        "scatter: expected a source with as many axes as the tensor of shape [2, 3], got [2]",
    );
    refused(
        a.gather(1, &d.array(&[0i64; 3], &[3, 1])),
        About::Shape,
        "gather: expected an index of size 2 at most along axis 0, got [3, 1] for a tensor of shape [2, 3]",
    );
    refused(
        a.scatter(ScatterOp::Set, 1, &column, &floats(&d, &[1, 1])),
        About::Shape,
        "scatter: expected an index of size 1 at most along axis 0, got [2, 1] for a tensor of shape [2, 3] and a source of \
         shape [1, 1]",
    );
    refused(a.index_select(0, &column), About::Shape, "index_select: expected a vector of indices, got shape [2, 1]");
    refused(
        a.index_scatter(ScatterOp::Add, 0, &d.vector(&[0i64]), &floats(&d, &[2, 3])),
        About::Shape,
        "scatter_add: expected a source of shape [1, 3], got [2, 3]",
    );
    let scalar = Array::full(&d, 1.0, &Shape::scalar(), DType::F32);
    refused(
        scalar.index_select(0, &d.vector(&[0i64, 0])),
        About::Shape,
        "index_select: expected one index for a 0-d tensor, got 2",
    );
    refused(
        a.scatter(ScatterOp::Set, 0, &column, &floats(&d, &[2, 1]).cast(DType::F64).unwrap()),
        About::DType,
        "scatter: expected a source of the tensor's dtype f32, got f64; hint: convert it with .to(dtype)",
    );
    let mask = d.vector(&[true]);
    refused(
        mask.scatter(ScatterOp::Add, 0, &d.vector(&[0i64]), &mask),
        About::DType,
        "scatter_add: expected a number dtype (u8, i8, i16, i32, i64, f16, bf16, f32, f64), got bool",
    );
    refused(
        a.masked_select(&column),
        About::DType,
        "masked_select: expected a mask of dtype bool, got i64; hint: compare it with something, or convert it with \
         .to(DType::Bool)",
    );
}

#[test]
fn dtypes_that_an_operation_refuses() {
    let d = device();
    let (ints, bools) = (d.vector(&[1i64, 0]), d.vector(&[true, false]));
    let floats = d.vector(&[1f32, 0.0]);
    let float = "a float dtype (f16, bf16, f32, f64)";
    let number = "a number dtype (u8, i8, i16, i32, i64, f16, bf16, f32, f64)";
    refused(ints.unary(UnaryOp::Gelu), About::DType, &format!("gelu: expected {float}, got i64"));
    refused(ints.unary(UnaryOp::Frac), About::DType, &format!("frac: expected {float}, got i64"));
    refused(ints.softmax(0, false), About::DType, &format!("softmax: expected {float}, got i64"));
    refused(bools.unary(UnaryOp::Abs), About::DType, &format!("abs: expected {number}, got bool"));
    refused(
        bools.unary(UnaryOp::Neg),
        About::DType,
        &format!("neg: expected {number}, got bool; hint: use ! or bitwise_not to invert a mask"),
    );
    refused(
        bools.sub(&bools),
        About::DType,
        &format!("sub: expected {number}, got bool; hint: use ^ or logical_xor for bools"),
    );
    for op in [BinaryOp::Pow, BinaryOp::FloorDiv, BinaryOp::Remainder, BinaryOp::Fmod] {
        let sentence = format!("{}: expected {number}, got bool", op.name());
        refused(Array::binary(op, &bools, &bools), About::DType, &sentence);
    }
    refused(
        Array::binary(BinaryOp::BitAnd, &floats, &floats),
        About::DType,
        "bitwise_and: expected bool or an integer dtype (bool, u8, i8, i16, i32, i64), got f32",
    );
    refused(
        floats.unary(UnaryOp::BitNot),
        About::DType,
        "bitwise_not: expected bool or an integer dtype (bool, u8, i8, i16, i32, i64), got f32",
    );
    refused(
        Array::binary(BinaryOp::Shl, &bools, &bools),
        About::DType,
        "bitwise_left_shift: expected an integer dtype (u8, i8, i16, i32, i64), got bool",
    );
    refused(
        Array::ternary(TernaryOp::Where, &ints, &floats, 0.0),
        About::DType,
        "where: expected a condition of dtype bool, got i64; hint: compare it with something, or convert it with \
         .to(DType::Bool)",
    );
    refused(
        Array::ternary(TernaryOp::Clamp, &bools, false, true),
        About::DType,
        &format!("clamp: expected {number}, got bool"),
    );
    refused(Array::ternary(TernaryOp::Lerp, &ints, 2, 3), About::DType, &format!("lerp: expected {float}, got i64"));
    refused(
        floats.to_vec::<f64>(),
        About::DType,
        "to_vec: expected elements of type f32, got f64; hint: convert the tensor first",
    );
    refused(
        Array::map(&Program::copy(DType::F64), &[&floats], "copy"),
        About::DType,
        "copy: expected an operand of dtype f64, got f32; hint: convert it with .to(dtype)",
    );
    let shape = shape(&[2]);
    refused(Array::rand(&d, 0, 0, &shape, DType::I64), About::DType, &format!("rand: expected {float}, got i64"));
    refused(Array::randn(&d, 0, 0, &shape, DType::Bool), About::DType, &format!("randn: expected {float}, got bool"));
    refused(Array::arange(&d, 0, 2, 1, DType::Bool), About::DType, &format!("arange: expected {number}, got bool"));
    refused(
        Array::linspace(&d, 0.0, 2.0, 1, DType::Bool),
        About::DType,
        &format!("linspace: expected {number}, got bool"),
    );
    let randint = Array::randint(&d, 0, 0, 0, 1, &shape, DType::Bool);
    refused(randint, About::DType, &format!("randint: expected {number}, got bool"));
}

#[test]
fn divisors_and_powers_that_integers_do_not_have() {
    let zero = |op: &str| {
        format!(
            "{op}: expected a divisor without zeros for integers, got a zero; hint: convert to a float dtype, where x / 0 is \
             ±inf or NaN"
        )
    };
    for d in [Strict::far("far"), Strict::near("near")] {
        let x = d.vector(&[1i64, 2]);
        let zeros = d.vector(&[1i64, 0]);
        for op in [BinaryOp::FloorDiv, BinaryOp::TruncDiv, BinaryOp::Remainder, BinaryOp::Fmod] {
            let sentence = zero(op.name());
            refused(Array::binary(op, &x, 0), About::Value, &sentence);
            refused(Array::binary(op, &x, &zeros), About::Value, &sentence);
            refused(Array::binary(op, 1, &zeros), About::Value, &sentence);
            refused(Array::binary(op, &x, false), About::Value, &sentence);
            // In the dtype of the division 256 is 0.
            let bytes = d.vector(&[1u8]);
            refused(Array::binary(op, &bytes, 256), About::Value, &sentence);
            let wide = d.vector(&[256i64, 1]).select(0, 0).unwrap();
            refused(Array::binary(op, &bytes, &wide), About::Value, &sentence);
            // Floats have an answer.
            assert!(Array::binary(op, &x.cast(DType::F32).unwrap(), 0).is_ok());
            assert!(Array::binary(op, &x, 0.0).is_ok());
        }
        refused(
            Array::binary(BinaryOp::Pow, &x, -1),
            About::Value,
            "pow: expected a power of at least 0 for an integer tensor, got -1; hint: convert the tensor to a float dtype \
             first",
        );
    }
}

#[test]
fn devices_that_differ() {
    let (a, b) = (Strict::far("first"), Strict::far("second"));
    let differ = |op: &str| {
        format!("{op}: expected tensors on one device, got first and second; hint: move one of them with .to(&device)")
    };
    let (x, y) = (a.vector(&[1f32, 2.0]), b.vector(&[3f32, 4.0]));
    let index = b.vector(&[0i64, 1]);
    refused(x.add(&y), About::Device, &differ("add"));
    refused(Array::compare(CompareOp::Eq, &x, &y), About::Device, &differ("eq"));
    refused(Array::ternary(TernaryOp::Lerp, &x, 1.0, &y), About::Device, &differ("lerp"));
    refused(x.matmul(&y), About::Device, &differ("matmul"));
    refused(x.gather(0, &index), About::Device, &differ("gather"));
    refused(x.index_select(0, &index), About::Device, &differ("index_select"));
    refused(x.scatter(ScatterOp::Add, 0, &index, &y), About::Device, &differ("scatter_add"));
    refused(x.scatter(ScatterOp::Set, 0, &a.vector(&[0i64]), &y), About::Device, &differ("scatter"));
    refused(x.index_scatter(ScatterOp::Set, 0, &a.vector(&[0i64, 1]), &y), About::Device, &differ("scatter"));
    refused(x.assign(|layout| Ok(layout.clone()), &y), About::Device, &differ("assign"));
    refused(x.masked_select(&b.vector(&[true, false])), About::Device, &differ("masked_select"));
    refused(x.masked_fill(&b.vector(&[true, false]), 0), About::Device, &{
        // The mask is the first operand of what runs.
        "masked_fill: expected tensors on one device, got second and first; hint: move one of them with .to(&device)"
            .to_owned()
    });
    refused(Array::cat(&[&x, &y], 0), About::Device, &differ("cat"));

    // A 0-d constant is at home everywhere, on either side, and the result is where the data is.
    let two = Array::full(&b, 2.0, &Shape::scalar(), DType::F32);
    for result in [x.mul(&two).unwrap(), two.mul(&x).unwrap()] {
        assert_eq!((result.backend(), result.to_vec::<f32>().unwrap()), (&a, vec![2.0, 4.0]));
    }
    // Not only among arrays with axes: a scalar in the other device's memory decides, too.
    let held = x.select(0, 1).unwrap();
    let result = two.mul(&held).unwrap();
    assert_eq!((result.backend(), result.item().unwrap()), (&a, Scalar::Float(4.0)));
    refused(Array::ternary(TernaryOp::Lerp, &two, &held, &y), About::Device, &differ("lerp"));
    let first = Array::full(&b, 0, &Shape::scalar(), DType::I64);
    assert_eq!(x.index_select(0, &first).unwrap().to_vec::<f32>().unwrap(), [1.0]);
    let set = x.scatter(ScatterOp::Set, 0, &first, &two).unwrap();
    assert_eq!((set.backend(), set.to_vec::<f32>().unwrap()), (&a, vec![2.0, 2.0]));
    let set = x.assign(|layout| layout.narrow(0, 1, 1), &two).unwrap();
    assert_eq!((set.backend(), set.to_vec::<f32>().unwrap()), (&a, vec![1.0, 2.0]));
    refused(
        two.assign(|layout| Ok(layout.clone()), &held),
        About::Device,
        "assign: expected tensors on one device, got second and first; hint: move one of them with .to(&device)",
    );
}

#[test]
fn ranges_that_make_no_sense() {
    let d = device();
    let range = |start: Scalar, end: Scalar, step: Scalar, dtype| Array::arange(&d, start, end, step, dtype);
    refused(
        range(0.into(), 3.into(), 0.into(), DType::I64),
        About::Value,
        "arange: expected a step other than 0, got start 0, end 3, step 0",
    );
    refused(
        range(0.into(), 3.into(), (-1).into(), DType::I64),
        About::Value,
        "arange: expected a step that leads from start to end, got start 0, end 3, step -1",
    );
    refused(
        range(0.0.into(), f64::INFINITY.into(), 1.0.into(), DType::F32),
        About::Value,
        "arange: expected finite numbers and a step other than 0, got start 0.0, end inf, step 1.0",
    );
    refused(
        range(3.0.into(), 0.0.into(), 0.5.into(), DType::F32),
        About::Value,
        "arange: expected a step that leads from start to end, got start 3.0, end 0.0, step 0.5",
    );
    refused(
        range(0.into(), 5.into(), 0.5.into(), DType::I64),
        About::Value,
        "arange: expected a whole start and step for an integer dtype, got start 0, end 5, step 0.5",
    );
    let randint = |low, high, dtype| Array::randint(&d, 0, 0, low, high, &shape(&[2]), dtype);
    refused(
        randint(3, 3, DType::I64),
        About::Value,
        "randint: expected 1 to 2^53 numbers from low to high, got 3 and 3",
    );
    refused(
        randint(i64::MIN, i64::MAX, DType::I64),
        About::Value,
        "randint: expected 1 to 2^53 numbers from low to high, got -9223372036854775808 and 9223372036854775807",
    );
    refused(randint(0, 257, DType::U8), About::Value, "randint: expected numbers that u8 holds, got 0 to 256");
}

#[test]
fn parts_that_do_not_fit() {
    let d = device();
    let (a, b) = (floats(&d, &[2, 3]), floats(&d, &[2, 4]));
    refused(Array::<Strict>::cat(&[], 0), About::Shape, "cat: expected at least one tensor, got an empty list");
    refused(
        Array::cat(&[&a, &b], 0),
        About::Shape,
        "cat: expected shapes equal to [2, 3] but along axis 0, got [2, 4] as tensor number 1",
    );
    let scalar = Array::full(&d, 1.0, &Shape::scalar(), DType::F32);
    refused(
        Array::cat(&[&scalar], 0),
        About::Shape,
        "cat: expected tensors with at least one axis, got shape []; hint: use stack for scalars",
    );
    refused(
        a.assign(|layout| layout.narrow(1, 0, 2), &a),
        About::Shape,
        "assign: expected a shape that [2, 3] broadcasts to, got [2, 2]; hint: aligned at the last axis, only axes of size 1 \
         can grow",
    );
    refused(
        a.assign(|layout| layout.narrow(0, 0, 1)?.expand(&shape(&[5, 3])), &scalar),
        About::Shape,
        "assign: expected a view that has each element once, got shape [5, 3] with strides [0, 1]; hint: an expanded or \
         unfolded view has one element at several places; assign before expanding",
    );
    refused(
        a.assign(|layout| layout.unfold(1, 2, 1), &scalar),
        About::Shape,
        "assign: expected a view that has each element once, got shape [2, 2, 2] with strides [3, 1, 1]; hint: an expanded \
         or unfolded view has one element at several places; assign before expanding",
    );
    refused(
        a.assign(|_| Ok(Layout::contiguous(shape(&[7]))), &scalar),
        About::Index,
        "assign: expected a view within the 6 elements of the tensor, got one that reaches element 6",
    );
    refused(
        a.assign(|layout| layout.select(0, 2), &scalar),
        About::Index,
        "select: expected an index within axis 0 of size 2, got 2",
    );
}

#[test]
#[should_panic(expected = "one of the operands must be an array")]
fn two_scalars() {
    let _never = Array::<Strict>::binary(BinaryOp::Add, 1.0, 2.0);
}

/// What cannot be refused by shape is no error: bytes of a bool other than 0 and 1 are `true`.
#[test]
fn foreign_bools() {
    let d = device();
    let x = Array::from_bytes(&d, DType::Bool, &[0, 1, 2, 255], &shape(&[4])).unwrap();
    assert_eq!(x.to_vec::<bool>().unwrap(), [false, true, true, true]);
    let one = Array::from_bytes(&d, DType::Bool, &[7], &Shape::scalar()).unwrap();
    assert_eq!(one.item().unwrap(), Scalar::Bool(true));
    assert_eq!(
        d.vector(&[f16::from_f32(-0.0), f16::NAN]).cast(DType::Bool).unwrap().to_vec::<bool>().unwrap(),
        [false, true]
    );
}
