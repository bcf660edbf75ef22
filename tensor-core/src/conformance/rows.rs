//! Computations over rows.

use super::case::{Case, Check, Probe};
use super::judge::Bound;
use super::tensor::{Arrangement, HostTensor, LENGTHS, SHAPES};
use super::values::{Rng, sample, specials};
use crate::backend::{ReduceOp, ReduceSpec, View};
use crate::op::{BinaryOp, TernaryOp, UnaryOp};
use crate::program::Reg;
use crate::reference::{self, HostInput, HostView};
use crate::rows::{RowKind, RowSpec, RowStep};
use crate::{Backend, DType, Layout, Program, Scalar, Shape};

/// The cases of computations over rows.
pub(super) fn cases<B: Backend>() -> Vec<Case<B>> {
    let mut cases = Vec::new();
    for computation in [NORM, LOGSUMEXP, GRADIENT] {
        for dtype in DType::ALL.into_iter().filter(|dtype| dtype.is_float()) {
            let mut add = |aspect: &'static str, run: fn(&mut Probe<'_, B>, &Computation, DType) -> Check| {
                cases.push(Case::new("rows", computation.name, dtype, aspect, move |probe| {
                    run(probe, &computation, dtype)
                }));
            };
            add("lengths", lengths);
            // On some devices each layout compiles kernels, so not everything is asked in every dtype.
            match dtype {
                DType::F32 => {
                    add("layouts", layouts);
                    add("values", values);
                    add("large", large);
                }
                DType::F16 => add("values", values),
                DType::BF16 => add("large", large),
                _ => {}
            }
        }
    }
    cases
}

/// One computation on two operands.
#[derive(Clone, Copy)]
struct Computation {
    name: &'static str,
    /// Its steps for rows of some elements.
    steps: fn(DType, usize) -> Vec<RowStep>,
    /// Results that are smaller than this may be as wrong as it may be: differences were formed on the way.
    scale: f64,
}

/// Rows with mean 0 and variance 1, times the second operand.
const NORM: Computation = Computation { name: "norm", steps: norm, scale: 8.0 };
/// The logarithm of the sum of exponentials; the second operand is added.
const LOGSUMEXP: Computation = Computation { name: "logsumexp", steps: logsumexp, scale: 16.0 };
/// The gradient of softmax: `y·(g − Σ g·y)`.
const GRADIENT: Computation = Computation { name: "softmax_gradient", steps: gradient, scale: 4096.0 };

/// A program of inputs, each in the dtype that is computed in.
fn program(inputs: &[DType], out: DType, compute: impl FnOnce(&mut Program, &[Reg]) -> Reg) -> Program {
    let mut program = Program::new();
    let held: Vec<Reg> = inputs.iter().map(|&dtype| program.input(dtype)).collect();
    let wide: Vec<Reg> = held.iter().map(|&reg| program.cast(reg, out.compute())).collect();
    let result = compute(&mut program, &wide);
    let result = program.cast(result, out);
    program.output(result);
    program
}

fn norm(dtype: DType, length: usize) -> Vec<RowStep> {
    let wide = dtype.compute();
    let mean = program(&[wide], wide, |p, v| {
        let length = p.scalar(Scalar::from(length), wide);
        p.binary(BinaryOp::Div, v[0], length)
    });
    let squares = program(&[dtype, wide], wide, |p, v| {
        let centred = p.binary(BinaryOp::Sub, v[0], v[1]);
        p.unary(UnaryOp::Square, centred)
    });
    let scale = program(&[wide], wide, |p, v| {
        let (length, eps) = (p.scalar(Scalar::from(length), wide), p.scalar(Scalar::Float(0.25), wide));
        let variance = p.binary(BinaryOp::Div, v[0], length);
        let sum = p.binary(BinaryOp::Add, variance, eps);
        p.unary(UnaryOp::Rsqrt, sum)
    });
    let element = program(&[dtype, wide, wide, dtype], dtype, |p, v| {
        let centred = p.binary(BinaryOp::Sub, v[0], v[1]);
        let normal = p.binary(BinaryOp::Mul, centred, v[2]);
        p.binary(BinaryOp::Mul, normal, v[3])
    });
    vec![
        RowStep::new(RowKind::Reduce(ReduceOp::Sum), program(&[dtype], wide, |_, v| v[0]), &[0]),
        RowStep::new(RowKind::Rows, mean, &[2]),
        RowStep::new(RowKind::Reduce(ReduceOp::Sum), squares, &[0, 3]),
        RowStep::new(RowKind::Rows, scale, &[4]),
        RowStep::new(RowKind::Elements, element, &[0, 3, 5, 1]),
    ]
}

fn logsumexp(dtype: DType, _length: usize) -> Vec<RowStep> {
    let wide = dtype.compute();
    let sum = |p: &mut Program, v: &[Reg]| p.binary(BinaryOp::Add, v[0], v[1]);
    let top = program(&[wide], wide, |p, v| {
        let (finite, zero) = (p.unary(UnaryOp::IsFinite, v[0]), p.scalar(Scalar::Float(0.0), wide));
        p.ternary(TernaryOp::Where, finite, v[0], zero)
    });
    let exponential = program(&[dtype, dtype, wide], wide, |p, v| {
        let sum = sum(p, v);
        let shifted = p.binary(BinaryOp::Sub, sum, v[2]);
        p.unary(UnaryOp::Exp, shifted)
    });
    let result = program(&[wide, wide], dtype, |p, v| {
        let log = p.unary(UnaryOp::Log, v[0]);
        p.binary(BinaryOp::Add, log, v[1])
    });
    vec![
        RowStep::new(RowKind::Reduce(ReduceOp::Max), program(&[dtype, dtype], wide, sum), &[0, 1]),
        RowStep::new(RowKind::Rows, top, &[2]),
        RowStep::new(RowKind::Reduce(ReduceOp::Sum), exponential, &[0, 1, 3]),
        RowStep::new(RowKind::Rows, result, &[4, 3]),
    ]
}

fn gradient(dtype: DType, _length: usize) -> Vec<RowStep> {
    let wide = dtype.compute();
    let product = program(&[dtype, dtype], wide, |p, v| p.binary(BinaryOp::Mul, v[0], v[1]));
    let element = program(&[dtype, dtype, wide], dtype, |p, v| {
        let rest = p.binary(BinaryOp::Sub, v[1], v[2]);
        p.binary(BinaryOp::Mul, v[0], rest)
    });
    vec![
        RowStep::new(RowKind::Reduce(ReduceOp::Sum), product, &[0, 1]),
        RowStep::new(RowKind::Elements, element, &[0, 1, 2]),
    ]
}

/// A computation on both, along these axes.
fn check<B: Backend>(
    probe: &mut Probe<'_, B>,
    computation: &Computation,
    axes: &[usize],
    operands: [&HostTensor; 2],
    what: &str,
) -> Check {
    let (dtype, shape) = (operands[0].dtype, operands[0].shape());
    let length = axes.iter().map(|&axis| shape.dims()[axis]).product();
    let steps = (computation.steps)(dtype, length);
    let spec = RowSpec { shape, axes, steps: &steps };
    let out = HostTensor::unwritten(dtype, Arrangement::Contiguous.layout(spec.out_shape().dims()));
    let held = [probe.upload(operands[0])?, probe.upload(operands[1])?];
    let views = [0, 1].map(|number| View { buffer: &held[number], layout: &operands[number].layout, dtype });
    let got = probe.written(&out, |out| probe.backend.rows(&spec, &views, out))?;
    let wanted = expected(&spec, operands, &out)?;
    let results = HostTensor { bytes: wanted.clone(), ..out.clone() }.values();
    let bound = |number: usize| {
        let value = results[number].as_f64();
        // Where an intermediate value overflows depends on the order of additions.
        if value.is_finite() { Bound::at_scale(32.0, value.abs().max(computation.scale), dtype) } else { Bound::EXACT }
    };
    probe.compare(&out, &got, &wanted, &bound, &|_| format!(" (axes {axes:?} of {shape}, {what})"))
}

/// What the reference gives: the content of the output's buffer.
fn expected(spec: &RowSpec<'_>, operands: [&HostTensor; 2], out: &HostTensor) -> crate::Result<Vec<u8>> {
    let mut values: Vec<HostTensor> = operands.into_iter().cloned().collect();
    let numbers = Layout::contiguous(spec.shape.reduce(spec.axes, false));
    // A row's number for each of its elements.
    let spread = Layout::contiguous(spec.shape.reduce(spec.axes, true)).expand(spec.shape)?;
    for step in spec.steps {
        let layout = if step.kind == RowKind::Rows { &numbers } else { &spread };
        let views: Vec<HostView<'_>> = step
            .reads
            .iter()
            .map(|&read| match &values[usize::from(read)] {
                operand if usize::from(read) < operands.len() => operand.view(),
                number => HostView { layout, ..number.view() },
            })
            .collect();
        let of_rows = step.kind != RowKind::Elements;
        let to = if of_rows { numbers.clone() } else { out.layout.clone() };
        let mut result = HostTensor::unwritten(step.dtype(), (to.clone(), to.numel()));
        match step.kind {
            RowKind::Reduce(op) => {
                let spec = ReduceSpec { op, shape: spec.shape, axes: spec.axes, prologue: &step.program };
                reference::reduce(&spec, &views, &mut result.view_mut());
            }
            RowKind::Rows | RowKind::Elements => {
                let views: Vec<HostInput<'_>> = views.into_iter().map(HostInput::View).collect();
                reference::pointwise(&step.program, layout.shape(), &views, &mut [result.view_mut()]);
            }
        }
        values.push(result);
    }
    Ok(values.pop().map_or_else(Vec::new, |result| result.bytes))
}

fn rng(computation: &Computation, dtype: DType, aspect: &str) -> Rng {
    Rng::named(&format!("rows {} {dtype} {aspect}", computation.name))
}

/// Two operands that lie so, with numbers of ordinary size.
fn operands(dtype: DType, dims: &[usize], arranged: [Arrangement; 2], rng: &mut Rng) -> [HostTensor; 2] {
    arranged.map(|arrangement| HostTensor::new(dtype, arrangement.layout(dims), || sample(dtype, (-4.0, 4.0), rng)))
}

fn lengths<B: Backend>(probe: &mut Probe<'_, B>, computation: &Computation, dtype: DType) -> Check {
    let mut rng = rng(computation, dtype, "lengths");
    for (number, length) in LENGTHS.into_iter().enumerate().filter(|(number, _)| number % 6 == 5 || *number == 0) {
        let [a, b] = operands(dtype, &[1 + number % 5, length], [Arrangement::Contiguous; 2], &mut rng);
        check(probe, computation, &[1], [&a, &b], "dense")?;
    }
    Ok(())
}

/// Every arrangement, along the last axis, another one, the last two or all.
fn layouts<B: Backend>(probe: &mut Probe<'_, B>, computation: &Computation, dtype: DType) -> Check {
    let mut rng = rng(computation, dtype, "layouts");
    for (which, dims) in SHAPES.into_iter().enumerate() {
        let rank = dims.len();
        let axes = [vec![rank - 1], vec![which % rank], (rank - 2..rank).collect(), (0..rank).collect()];
        for turn in [2 * which, 2 * which + 1] {
            let [arrangement, other] = [turn, 3 * turn + 1].map(|at| Arrangement::ALL[at % Arrangement::ALL.len()]);
            let [a, b] = operands(dtype, dims, [arrangement, other], &mut rng);
            let axes = &axes[(turn / 2 + turn % 2 * 2) % axes.len()];
            check(probe, computation, axes, [&a, &b], &format!("{arrangement:?} and {other:?}"))?;
        }
    }
    Ok(())
}

/// Infinities, NaN and zeros: their rows have them, and no others.
fn values<B: Backend>(probe: &mut Probe<'_, B>, computation: &Computation, dtype: DType) -> Check {
    let mut rng = rng(computation, dtype, "values");
    let extreme = |value: &Scalar| value.as_f64().is_finite() && value.as_f64().abs() > 1e3;
    let special: Vec<Scalar> = specials(dtype).into_iter().filter(|value| !extreme(value)).collect();
    for length in [3, 40, 600] {
        let [mut a, b] = operands(dtype, &[40, length], [Arrangement::Contiguous; 2], &mut rng);
        // One in every second row.
        for row in (0..40).step_by(2) {
            let at = (row * length + rng.below(length)) * dtype.size();
            rng.pick(&special).write(dtype, &mut a.bytes[at..at + dtype.size()]);
        }
        check(probe, computation, &[1], [&a, &b], "special values")?;
    }
    Ok(())
}

/// Enough rows for several threads, a weight for all of them, and one long row.
fn large<B: Backend>(probe: &mut Probe<'_, B>, computation: &Computation, dtype: DType) -> Check {
    let mut rng = rng(computation, dtype, "large");
    for (dims, other) in [
        ([701, 300], Arrangement::Row),
        ([303, 700], Arrangement::Contiguous),
        ([2, 70_000], Arrangement::Contiguous),
        ([60_001, 3], Arrangement::Column),
    ] {
        let shape = Shape::new(dims)?;
        let [a, b] = operands(dtype, shape.dims(), [Arrangement::Contiguous, other], &mut rng);
        check(probe, computation, &[1], [&a, &b], &format!("large, with {other:?}"))?;
    }
    Ok(())
}
