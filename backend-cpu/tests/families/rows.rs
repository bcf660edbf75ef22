use crate::common::{Random, Tensor, Values, floats, layouts, same_on_any_number_of_threads};
use backend_cpu::Cpu;
use tensor_core::op::{BinaryOp, CompareOp, TernaryOp, UnaryOp};
use tensor_core::program::Reg;
use tensor_core::reference::Reference;
use tensor_core::rows::{RowKind, RowSpec, RowStep, by_steps};
use tensor_core::{Backend, DType, Layout, Program, ReduceOp, Scalar, Shape, View, ViewMut};

/// A program of inputs of one dtype.
fn program<const N: usize>(dtype: DType, f: impl Fn(&mut Program, [Reg; N]) -> Reg) -> Program {
    let mut program = Program::new();
    let inputs = [(); N].map(|()| program.input(dtype));
    let value = f(&mut program, inputs);
    program.output(value);
    program
}

fn scaled(p: &mut Program, value: Reg, by: f64) -> Reg {
    let by = p.scalar(Scalar::Float(by), p.dtype(value));
    p.binary(BinaryOp::Mul, value, by)
}

const SUM: RowKind = RowKind::Reduce(ReduceOp::Sum);
const MAX: RowKind = RowKind::Reduce(ReduceOp::Max);

/// `(x − mean) / √(variance + ε) · weight`; inputs are `x` and the weight.
fn layer_norm(dtype: DType, length: usize) -> Vec<RowStep> {
    let share = 1.0 / length as f64;
    let centred = program(dtype, |p, [x, mean]| {
        let centred = p.binary(BinaryOp::Sub, x, mean);
        p.unary(UnaryOp::Square, centred)
    });
    let scale = program(dtype, |p, [sum]| {
        let variance = scaled(p, sum, share);
        let eps = p.scalar(Scalar::Float(1e-3), dtype);
        let variance = p.binary(BinaryOp::Add, variance, eps);
        p.unary(UnaryOp::Rsqrt, variance)
    });
    let result = program(dtype, |p, [x, mean, scale, weight]| {
        let centred = p.binary(BinaryOp::Sub, x, mean);
        let normal = p.binary(BinaryOp::Mul, centred, scale);
        p.binary(BinaryOp::Mul, normal, weight)
    });
    vec![
        RowStep::new(SUM, Program::copy(dtype), &[0]),
        RowStep::new(RowKind::Rows, program(dtype, |p, [sum]| scaled(p, sum, share)), &[2]),
        RowStep::new(SUM, centred, &[0, 3]),
        RowStep::new(RowKind::Rows, scale, &[4]),
        RowStep::new(RowKind::Elements, result, &[0, 3, 5, 1]),
    ]
}

/// `log Σ eˣ`, row by row.
fn logsumexp(dtype: DType) -> Vec<RowStep> {
    let top = program(dtype, |p, [top]| {
        let (finite, zero) = (p.unary(UnaryOp::IsFinite, top), p.scalar(Scalar::Float(0.0), dtype));
        p.ternary(TernaryOp::Where, finite, top, zero)
    });
    let exponential = program(dtype, |p, [x, top]| {
        let less = p.binary(BinaryOp::Sub, x, top);
        p.unary(UnaryOp::Exp, less)
    });
    let result = program(dtype, |p, [sum, top]| {
        let log = p.unary(UnaryOp::Log, sum);
        p.binary(BinaryOp::Add, log, top)
    });
    vec![
        RowStep::new(MAX, Program::copy(dtype), &[0]),
        RowStep::new(RowKind::Rows, top, &[2]),
        RowStep::new(SUM, exponential, &[0, 3]),
        RowStep::new(RowKind::Rows, result, &[4, 3]),
    ]
}

/// The gradient of softmax, `y · (g − Σ y·g)`.
fn softmax_gradient(dtype: DType) -> Vec<RowStep> {
    let result = program(dtype, |p, [y, g, sum]| {
        let less = p.binary(BinaryOp::Sub, g, sum);
        p.binary(BinaryOp::Mul, y, less)
    });
    vec![
        RowStep::new(SUM, program(dtype, |p, [y, g]| p.binary(BinaryOp::Mul, y, g)), &[0, 1]),
        RowStep::new(RowKind::Elements, result, &[0, 1, 2]),
    ]
}

/// A cheap program of several inputs before a sum, one that no loop is made for before the product of the largest, and a
/// reduction at the end.
fn many_ways(dtype: DType) -> Vec<RowStep> {
    let cheap = program(dtype, |p, [x, y]| {
        let (most, least) = (p.binary(BinaryOp::Maximum, x, y), p.binary(BinaryOp::Minimum, x, y));
        let distance = p.binary(BinaryOp::Sub, most, least);
        scaled(p, distance, 0.25)
    });
    let dear = program(dtype, |p, [x, y, sum]| {
        let (above, tanh) = (p.compare(CompareOp::Gt, x, y), p.unary(UnaryOp::Tanh, sum));
        let zero = p.scalar(Scalar::Float(0.0), dtype);
        p.ternary(TernaryOp::Where, above, tanh, zero)
    });
    let last = program(dtype, |p, [y, top]| {
        let product = p.binary(BinaryOp::Mul, y, top);
        p.unary(UnaryOp::Abs, product)
    });
    vec![RowStep::new(SUM, cheap, &[0, 1]), RowStep::new(MAX, dear, &[0, 1, 2]), RowStep::new(SUM, last, &[1, 3])]
}

/// Where each row's largest and smallest element are.
fn extremes(dtype: DType) -> Vec<RowStep> {
    let mut p = Program::new();
    let [x, largest, smallest] = [(); 3].map(|()| p.input(dtype));
    let (is_largest, is_smallest) = (p.compare(CompareOp::Eq, x, largest), p.compare(CompareOp::Eq, x, smallest));
    let either = p.binary(BinaryOp::BitOr, is_largest, is_smallest);
    p.output(either);
    vec![
        RowStep::new(MAX, Program::copy(dtype), &[0]),
        RowStep::new(RowKind::Reduce(ReduceOp::Min), Program::copy(dtype), &[0]),
        RowStep::new(RowKind::Elements, p, &[0, 2, 3]),
    ]
}

fn run(spec: &RowSpec<'_>, inputs: &[&Tensor]) -> Tensor {
    let mut out = Tensor::garbage(spec.out_shape().dims(), spec.steps.last().unwrap().dtype());
    let views: Vec<_> = inputs.iter().map(|input| input.view()).collect();
    Cpu::open().rows(spec, &views, out.view_mut()).unwrap();
    out
}

fn check(spec: &RowSpec<'_>, inputs: [&Tensor; 2], what: &str) {
    let mut out = run(spec, &inputs);
    let buffers = inputs.map(|input| {
        let mut buffer = Reference.alloc(input.bytes.len()).unwrap();
        Reference.write(&mut buffer, 0, &input.bytes).unwrap();
        buffer
    });
    let views = [0, 1].map(|number| {
        let Tensor { layout, dtype, .. } = inputs[number];
        View { buffer: &buffers[number], layout, dtype: *dtype }
    });
    let mut expected = Reference.alloc(out.bytes.len()).unwrap();
    let to = ViewMut { buffer: &mut expected, layout: &out.layout, dtype: out.dtype };
    by_steps(&Reference, spec, &views, to).unwrap();
    Reference.read(&expected, 0, &mut out.bytes).unwrap();
    // A mean may differ in its last bit, and what is left when it is taken away is small. The reference adds f64s up in order.
    let ulps = if out.dtype == DType::F64 { 4e3 } else { 16.0 };
    out.check(ulps, |_| 2.0, what);
}

fn check_all(dims: &[usize], axes: &[usize], dtypes: impl IntoIterator<Item = DType>, names: &[&str]) {
    let mut random = Random::new(dims.iter().sum::<usize>() as u64);
    let shape = Shape::new(dims).unwrap();
    let length: usize = axes.iter().map(|&axis| dims[axis]).product();
    for dtype in dtypes {
        let cases = if dtype.is_float() {
            vec![layer_norm(dtype, length), logsumexp(dtype), softmax_gradient(dtype), many_ways(dtype)]
        } else {
            vec![extremes(dtype)]
        };
        for (name, layout) in layouts(dims).into_iter().filter(|(name, _)| names.contains(name)) {
            let x = Tensor::random(layout, dtype, Values::Plain, &mut random);
            // A weight: the same for all rows.
            let weight = Tensor::random(
                Layout::contiguous(Shape::new(&dims[axes[0]..]).unwrap()).expand(&shape).unwrap(),
                dtype,
                Values::Few,
                &mut random,
            );
            let other = Tensor::random(Layout::contiguous(shape.clone()), dtype, Values::Few, &mut random);
            for (number, steps) in cases.iter().enumerate() {
                // Each case sees both in one layout or another.
                let second = if (number + name.len()) % 2 == 0 { &weight } else { &other };
                let spec = RowSpec { shape: &shape, axes, steps };
                check(&spec, [&x, second], &format!("case {number} over {axes:?} of {dims:?}, {name}"));
            }
        }
    }
}

const ALL: &[&str] = &["contiguous", "transposed", "stepped", "flipped", "first repeated", "last repeated"];

#[test]
fn all_dtypes_and_layouts() {
    check_all(&[67, 1003], &[1], DType::ALL, &["contiguous", "last repeated"]);
    check_all(&[40, 1003], &[1], [DType::F32], ALL);
}

#[test]
fn lengths_at_which_loops_change() {
    for (rows, length) in [(600, 63), (600, 64), (17, 4097), (16, 2561)] {
        check_all(&[rows, length], &[1], [DType::F32], &["contiguous", "stepped"]);
    }
    check_all(&[33, 2048], &[1], [DType::BF16], &["contiguous"]);
    check_all(&[200, 129], &[1], [DType::F64], &["contiguous", "first repeated"]);
}

#[test]
fn small_ones_and_other_axes() {
    for dims in [[1, 1], [3, 1], [1, 5], [5, 70], [2, 300]] {
        check_all(&dims, &[1], [DType::F32, DType::I64], ALL);
    }
    check_all(&[8, 9, 20, 31], &[2, 3], [DType::F32], &["contiguous", "transposed", "flipped"]);
    check_all(&[6, 8, 700], &[2], [DType::F32], &["contiguous", "stepped", "first repeated"]);
}

#[test]
fn sums_of_what_is_not_finite() {
    let mut random = Random::new(3);
    let shape = Shape::new([330, 200]).unwrap();
    for dtype in floats() {
        let x = Tensor::random(Layout::contiguous(shape.clone()), dtype, Values::Special, &mut random);
        for steps in [logsumexp(dtype), softmax_gradient(dtype)] {
            check(&RowSpec { shape: &shape, axes: &[1], steps: &steps }, [&x, &x], "special values");
        }
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let mut random = Random::new(1);
    // The last is large enough to be written past the caches.
    for dims in [[2000, 300], [20, 30_000], [9000, 1000]] {
        let shape = Shape::new(dims).unwrap();
        let x = Tensor::random(Layout::contiguous(shape.clone()), DType::F32, Values::Plain, &mut random);
        let steps = layer_norm(DType::F32, dims[1]);
        same_on_any_number_of_threads(|| {
            run(&RowSpec { shape: &shape, axes: &[1], steps: &steps }, &[&x, &x]).device_bytes()
        });
    }
}
