//! Reductions and scans.

use super::case::{Case, Check, Failure, Probe};
use super::judge::Bound;
use super::tensor::{Arrangement, HostTensor, LENGTHS, SHAPES};
use super::values::{Rng, sample, specials, whole};
use crate::backend::{ReduceOp, ReduceSpec, ScanOp, View};
use crate::op::{BinaryOp, UnaryOp};
use crate::reference::{self, HostView};
use crate::{Backend, DType, Program, Scalar, Shape};

/// The cases of reductions and scans.
pub(super) fn cases<B: Backend>() -> Vec<Case<B>> {
    let mut cases = Vec::new();
    for op in ReduceOp::ALL {
        for dtype in DType::ALL.into_iter().filter(|&dtype| takes(op, dtype)) {
            let mut add = |aspect: &'static str, run: fn(&mut Probe<'_, B>, ReduceOp, DType) -> Check| {
                let case = Case::new("reduce", op.name(), dtype, aspect, move |probe| run(probe, op, dtype));
                cases.push(if op.gives_index() { case.needing([DType::I64]) } else { case });
            };
            add("lengths", lengths);
            add("axes", axes);
            add("layouts", layouts);
            add("strided_output", strided_output);
            add("values", values);
            add("large", large);
            if dtype.is_float() && op == ReduceOp::Sum {
                add("accuracy", accuracy);
            }
            if dtype.is_float() && op == ReduceOp::Sum || matches!(op, ReduceOp::Max | ReduceOp::ArgMin) {
                add("prologue", prologue);
            }
        }
    }
    cases.push(Case::new("reduce", "sum", DType::I64, "positions", positions));
    for op in ScanOp::ALL {
        for dtype in DType::ALL.into_iter().filter(|&dtype| dtype != DType::Bool) {
            let mut add = |aspect: &'static str, run: fn(&mut Probe<'_, B>, ScanOp, DType) -> Check| {
                cases.push(Case::new("scan", op.name(), dtype, aspect, move |probe| run(probe, op, dtype)));
            };
            add("lengths", scan_lengths);
            add("layouts", scan_layouts);
            add("values", scan_values);
        }
    }
    cases
}

/// Bools have no sums and products: arrays count them as integers.
fn takes(op: ReduceOp, dtype: DType) -> bool {
    dtype != DType::Bool || !matches!(op, ReduceOp::Sum | ReduceOp::Prod)
}

/// A value whose sums and products are exact in whatever they are accumulated in.
fn exact(product: bool, dtype: DType, rng: &mut Rng) -> Scalar {
    if product && dtype.is_float() {
        // Powers of two, mostly 1, so that neither end of the range is reached.
        return Scalar::Float(match rng.below(64) {
            0 => 2.0,
            1 => 0.5,
            2..=8 => -1.0,
            _ => 1.0,
        });
    }
    match dtype {
        DType::Bool => Scalar::Bool(rng.below(40) == 0),
        dtype if dtype.is_float() => whole(dtype, rng),
        // Integers wrap, so their sums and products are exact whatever they are.
        _ => sample(dtype, (0.0, 0.0), rng),
    }
}

fn rng(op: &str, dtype: DType, aspect: &str) -> Rng {
    Rng::named(&format!("{op} {dtype} {aspect}"))
}

/// One reduction: the specification and what it reads.
struct Reduction<'a> {
    spec: ReduceSpec<'a>,
    inputs: &'a [HostTensor],
}

impl Reduction<'_> {
    fn result_dtype(&self) -> DType {
        let spec = &self.spec;
        if spec.op.gives_index() { DType::I64 } else { spec.prologue.dtype(spec.prologue.outputs()[0]) }
    }

    fn out(&self, arrangement: Arrangement) -> HostTensor {
        HostTensor::unwritten(self.result_dtype(), arrangement.layout(self.spec.out_shape().dims()))
    }

    fn on_backend<B: Backend>(&self, probe: &Probe<'_, B>, out: &HostTensor) -> Result<Vec<u8>, Failure> {
        let held = self.inputs.iter().map(|input| probe.upload(input)).collect::<Result<Vec<_>, _>>()?;
        let views: Vec<View<'_, B>> = self
            .inputs
            .iter()
            .zip(&held)
            .map(|(input, buffer)| View { buffer, layout: &input.layout, dtype: input.dtype })
            .collect();
        probe.written(out, |out| probe.backend.reduce(&self.spec, &views, out))
    }

    fn on_reference(&self, out: &HostTensor) -> HostTensor {
        let views: Vec<HostView<'_>> = self.inputs.iter().map(HostTensor::view).collect();
        let mut wanted = out.clone();
        reference::reduce(&self.spec, &views, &mut wanted.view_mut());
        wanted
    }

    /// Runs it on both and compares exactly.
    fn check<B: Backend>(&self, probe: &mut Probe<'_, B>, arrangement: Arrangement, what: &str) -> Check {
        let out = self.out(arrangement);
        let got = self.on_backend(probe, &out)?;
        let wanted = self.on_reference(&out);
        let what = format!("{what}, shape {}, axes {:?}", self.spec.shape, self.spec.axes);
        probe.compare_all(&out, &got, &wanted.bytes, Bound::EXACT, &what)
    }
}

/// Reduces a tensor as it is along axes and compares exactly.
fn plain<B: Backend>(
    probe: &mut Probe<'_, B>,
    op: ReduceOp,
    axes: &[usize],
    input: &HostTensor,
    arrangement: Arrangement,
    what: &str,
) -> Check {
    let program = Program::copy(input.dtype);
    let spec = ReduceSpec { op, shape: input.shape(), axes, prologue: &program };
    Reduction { spec, inputs: std::slice::from_ref(input) }.check(probe, arrangement, what)
}

fn lengths<B: Backend>(probe: &mut Probe<'_, B>, op: ReduceOp, dtype: DType) -> Check {
    let mut rng = rng(op.name(), dtype, "lengths");
    let product = op == ReduceOp::Prod;
    for length in LENGTHS {
        let input = HostTensor::dense(dtype, &[length], || exact(product, dtype, &mut rng));
        plain(probe, op, &[0], &input, Arrangement::Contiguous, "contiguous")?;
        // As many results as elements, and few.
        for (dims, axis) in [([length, 3], 0), ([3, length], 1), ([length, 3], 1), ([3, length], 0)] {
            if length > 300 {
                break;
            }
            let input = HostTensor::dense(dtype, &dims, || exact(product, dtype, &mut rng));
            plain(probe, op, &[axis], &input, Arrangement::Contiguous, "contiguous")?;
        }
    }
    Ok(())
}

/// Every set of axes.
fn axes<B: Backend>(probe: &mut Probe<'_, B>, op: ReduceOp, dtype: DType) -> Check {
    let mut rng = rng(op.name(), dtype, "axes");
    let product = op == ReduceOp::Prod;
    for dims in [&[3, 4, 5, 6][..], &[2, 1, 3, 2, 1, 2, 3, 5]] {
        let rank = dims.len();
        let sets: Vec<Vec<usize>> = if op.gives_index() {
            (0..rank).map(|axis| vec![axis]).collect()
        } else if rank <= 4 {
            (1..1 << rank).map(|set: usize| (0..rank).filter(|axis| set >> axis & 1 == 1).collect()).collect()
        } else {
            [&[0][..], &[7], &[0, 7], &[1, 4], &[0, 2, 5, 6], &[0, 1, 2, 3, 4, 5, 6, 7]].map(<[usize]>::to_vec).to_vec()
        };
        for set in sets {
            let arrangement = rng.pick(&[Arrangement::Contiguous, Arrangement::Transposed, Arrangement::Window]);
            let input = HostTensor::new(dtype, arrangement.layout(dims), || exact(product, dtype, &mut rng));
            plain(probe, op, &set, &input, Arrangement::Contiguous, &format!("{arrangement:?}"))?;
        }
    }
    Ok(())
}

fn layouts<B: Backend>(probe: &mut Probe<'_, B>, op: ReduceOp, dtype: DType) -> Check {
    let mut rng = rng(op.name(), dtype, "layouts");
    let product = op == ReduceOp::Prod;
    for dims in [&[9, 70][..], &[70, 9], &[5, 3, 67]] {
        for arrangement in Arrangement::ALL {
            for axis in 0..dims.len() {
                let input = HostTensor::new(dtype, arrangement.layout(dims), || exact(product, dtype, &mut rng));
                plain(probe, op, &[axis], &input, Arrangement::Contiguous, &format!("{arrangement:?}"))?;
            }
            if !op.gives_index() {
                let all: Vec<usize> = (0..dims.len()).collect();
                let input = HostTensor::new(dtype, arrangement.layout(dims), || exact(product, dtype, &mut rng));
                plain(probe, op, &all, &input, Arrangement::Contiguous, &format!("{arrangement:?}"))?;
            }
        }
    }
    Ok(())
}

fn strided_output<B: Backend>(probe: &mut Probe<'_, B>, op: ReduceOp, dtype: DType) -> Check {
    let mut rng = rng(op.name(), dtype, "strided_output");
    let product = op == ReduceOp::Prod;
    let dims = [5, 7, 9];
    for arrangement in Arrangement::OUTPUTS {
        for axis in 0..3 {
            let input = HostTensor::dense(dtype, &dims, || exact(product, dtype, &mut rng));
            plain(probe, op, &[axis], &input, arrangement, &format!("to {arrangement:?}"))?;
        }
    }
    Ok(())
}

/// Special values in each place, ties, and samples whose sums are not exact.
fn values<B: Backend>(probe: &mut Probe<'_, B>, op: ReduceOp, dtype: DType) -> Check {
    let mut rng = rng(op.name(), dtype, "values");
    let extreme = matches!(op, ReduceOp::Max | ReduceOp::Min) || op.gives_index();
    if extreme {
        // Each special value alone in each of some places, then many of them at once; ties give the first.
        for value in specials(dtype) {
            let rows = 40;
            let mut at = 0;
            let input = HostTensor::dense(dtype, &[rows, rows], || {
                at += 1;
                if (at - 1) % (rows + 1) == 0 { value } else { whole(dtype, &mut rng) }
            });
            plain(probe, op, &[1], &input, Arrangement::Contiguous, &format!("{value} on the diagonal"))?;
            plain(probe, op, &[0], &input, Arrangement::Contiguous, &format!("{value} on the diagonal"))?;
        }
        let special = specials(dtype);
        for dims in [[50, 7], [7, 50], [1, 300], [300, 1]] {
            let input = HostTensor::dense(dtype, &dims, || rng.pick(&special));
            plain(probe, op, &[0], &input, Arrangement::Contiguous, "special values")?;
            plain(probe, op, &[1], &input, Arrangement::Contiguous, "special values")?;
        }
        return Ok(());
    }
    if !dtype.is_float() {
        let special = specials(dtype);
        let input = HostTensor::dense(dtype, &[60, 9], || rng.pick(&special));
        plain(probe, op, &[0], &input, Arrangement::Contiguous, "special values")?;
        return plain(probe, op, &[1], &input, Arrangement::Contiguous, "special values");
    }
    // NaN and infinities go through every sum and product.
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0] {
        for place in [0, 1, 16, 255, 256, 599] {
            let mut at = 0;
            let input = HostTensor::dense(dtype, &[600], || {
                at += 1;
                if at - 1 == place { Scalar::Float(value) } else { Scalar::Float(1.0) }
            });
            plain(probe, op, &[0], &input, Arrangement::Contiguous, &format!("{value} at {place}"))?;
        }
    }
    for both in [[f64::INFINITY, f64::NEG_INFINITY], [f64::INFINITY, 0.0], [f64::NAN, f64::INFINITY]] {
        let mut pair = both.into_iter().cycle();
        let input = HostTensor::dense(dtype, &[2, 3], || Scalar::Float(pair.next().expect("it never ends")));
        plain(probe, op, &[1], &input, Arrangement::Contiguous, &format!("{both:?} in turn"))?;
    }
    inexact(probe, op, dtype, &mut rng)
}

/// Samples of the reals: sums are judged at the scale of what was summed, as small sums of large numbers inherit their
/// rounding; products at their own.
fn inexact<B: Backend>(probe: &mut Probe<'_, B>, op: ReduceOp, dtype: DType, rng: &mut Rng) -> Check {
    for dims in [[1, 5], [3, 100], [100, 3], [7, 1000]] {
        // Around 1, so that a product of a thousand stays within f16's range.
        let domain = if op == ReduceOp::Prod { (0.995, 1.005) } else { (-1.0, 1.0) };
        let input = HostTensor::dense(dtype, &dims, || sample(dtype, domain, rng));
        for axis in [0, 1] {
            let axes = [axis];
            let copy = Program::copy(dtype);
            let spec = ReduceSpec { op, shape: input.shape(), axes: &axes, prologue: &copy };
            let reduction = Reduction { spec, inputs: std::slice::from_ref(&input) };
            let out = reduction.out(Arrangement::Contiguous);
            let (got, wanted) = (reduction.on_backend(probe, &out)?, reduction.on_reference(&out));
            let results = wanted.values();
            let scales = sums_of_magnitudes(&input, &axes);
            let count = dims[axis] as f64;
            let bound = |number: usize| match op {
                // Pairwise sums of short runs: each element meets a few partial sums of a run, then log₂ of their number.
                ReduceOp::Sum => Bound::at_scale(4.0 + count.log2(), scales[number], dtype),
                // Each factor brings half a unit of its own.
                _ => Bound::at_scale(1.0 + count, results[number].as_f64(), dtype),
            };
            probe.compare(&out, &got, &wanted.bytes, &bound, &|_| format!(" (axis {axis} of {dims:?}, samples)"))?;
        }
    }
    Ok(())
}

/// What the magnitudes of the elements sum up to.
fn sums_of_magnitudes(input: &HostTensor, axes: &[usize]) -> Vec<f64> {
    let mut magnitude = Program::new();
    let x = magnitude.input(input.dtype);
    let wide = magnitude.cast(x, DType::F64);
    let positive = magnitude.unary(UnaryOp::Abs, wide);
    magnitude.output(positive);
    let spec = ReduceSpec { op: ReduceOp::Sum, shape: input.shape(), axes, prologue: &magnitude };
    let reduction = Reduction { spec, inputs: std::slice::from_ref(input) };
    reduction.on_reference(&reduction.out(Arrangement::Contiguous)).values().iter().map(|sum| sum.as_f64()).collect()
}

/// A million equal numbers: one running total in the dtype would be far off, or stand still at some point.
fn accuracy<B: Backend>(probe: &mut Probe<'_, B>, op: ReduceOp, dtype: DType) -> Check {
    const COUNT: usize = 1 << 20;
    let value = Scalar::Float(0.01).cast(dtype);
    let mut element = vec![0; dtype.size()];
    value.write(dtype, &mut element);
    let program = Program::copy(dtype);
    for (dims, axes) in [(&[COUNT][..], &[0][..]), (&[1024, 1024], &[0, 1]), (&[COUNT / 2, 2], &[0])] {
        let (layout, _) = Arrangement::Contiguous.layout(dims);
        let input = HostTensor { bytes: element.repeat(COUNT), layout, dtype };
        let spec = ReduceSpec { op, shape: input.shape(), axes, prologue: &program };
        let reduction = Reduction { spec, inputs: std::slice::from_ref(&input) };
        let out = reduction.out(Arrangement::Contiguous);
        let got = reduction.on_backend(probe, &out)?;
        // Exact in f64: a power of two times the value.
        let exact = value.as_f64() * (COUNT / out.shape().numel()) as f64;
        let mut wanted = out.clone();
        for element in wanted.bytes.chunks_exact_mut(dtype.size()) {
            Scalar::Float(exact).write(dtype, element);
        }
        let bound = Bound::at_scale(4.0 + (COUNT as f64).log2(), exact, dtype);
        probe.compare_all(&out, &got, &wanted.bytes, bound, &format!("{value} everywhere in {dims:?}"))?;
    }
    Ok(())
}

/// What is computed of several inputs before they are reduced, one of them broadcast.
fn prologue<B: Backend>(probe: &mut Probe<'_, B>, op: ReduceOp, dtype: DType) -> Check {
    let mut rng = rng(op.name(), dtype, "prologue");
    let mut program = Program::new();
    let (a, b) = (program.input(dtype), program.input(dtype));
    let joined = if dtype == DType::Bool {
        program.binary(BinaryOp::BitAnd, a, b)
    } else {
        let one = program.scalar(Scalar::Int(1), dtype);
        let product = program.binary(BinaryOp::Mul, a, b);
        program.binary(BinaryOp::Sub, product, one)
    };
    program.output(joined);
    for (dims, axes) in [(&[300][..], &[0][..]), (&[33, 65], &[0]), (&[33, 65], &[1]), (&[3, 17, 2, 5], &[1])] {
        for (first, second) in [
            (Arrangement::Contiguous, Arrangement::Row),
            (Arrangement::Column, Arrangement::Transposed),
            (Arrangement::Flipped, Arrangement::Single),
        ] {
            let inputs =
                [first, second].map(|kind| HostTensor::new(dtype, kind.layout(dims), || whole(dtype, &mut rng)));
            let shape = Shape::new(dims).expect("a small shape");
            let spec = ReduceSpec { op, shape: &shape, axes, prologue: &program };
            Reduction { spec, inputs: &inputs }.check(
                probe,
                Arrangement::Contiguous,
                &format!("{first:?}, {second:?}"),
            )?;
        }
    }
    Ok(())
}

/// A prologue without inputs that knows where it is: coordinates and random bits.
fn positions<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    let mut program = Program::new();
    let (first, second) = (program.iota(0), program.iota(1));
    let key = program.random_key(99, 3);
    let bits = program.random(key, 2);
    let product = program.binary(BinaryOp::Mul, first, second);
    let sum = program.binary(BinaryOp::Add, product, bits);
    program.output(sum);
    let shape = Shape::new([33, 65]).expect("a small shape");
    for axes in [&[0][..], &[1], &[0, 1]] {
        let spec = ReduceSpec { op: ReduceOp::Sum, shape: &shape, axes, prologue: &program };
        Reduction { spec, inputs: &[] }.check(probe, Arrangement::Contiguous, "coordinates and random bits")?;
    }
    Ok(())
}

/// Enough elements for several threads, with results that follow from the values themselves.
fn large<B: Backend>(probe: &mut Probe<'_, B>, op: ReduceOp, dtype: DType) -> Check {
    let mut rng = rng(op.name(), dtype, "large");
    let (rows, columns) = (700, 300);
    // One row repeated, so that the reference needs to see few of them: what a column holds is one value.
    let row: Vec<Scalar> = (0..columns).map(|_| exact(op == ReduceOp::Prod, dtype, &mut rng)).collect();
    let mut cells = (0..rows).flat_map(|_| row.iter().copied());
    let input = HostTensor::dense(dtype, &[rows, columns], || cells.next().expect("a value for each element"));
    let along_rows = HostTensor::dense(dtype, &[1, columns], {
        let mut values = row.iter().copied();
        move || values.next().expect("a value for each column")
    });
    let program = Program::copy(dtype);
    let result = |input: &HostTensor, axes: &[usize]| {
        let spec = ReduceSpec { op, shape: input.shape(), axes, prologue: &program };
        let reduction = Reduction { spec, inputs: std::slice::from_ref(input) };
        reduction.on_reference(&reduction.out(Arrangement::Contiguous))
    };
    let of_row = result(&along_rows, &[1]).values()[0];
    let column_results = |value: Scalar| match op {
        ReduceOp::ArgMax | ReduceOp::ArgMin => Scalar::Int(0),
        ReduceOp::Max | ReduceOp::Min => value,
        ReduceOp::Sum | ReduceOp::Prod => (1..rows).fold(value, |total, _| match (op, total, value) {
            (ReduceOp::Sum, Scalar::Float(a), Scalar::Float(b)) => Scalar::Float(a + b),
            (_, Scalar::Float(a), Scalar::Float(b)) => Scalar::Float(a * b),
            (ReduceOp::Sum, a, b) => Scalar::Int(a.as_i64().wrapping_add(b.as_i64())),
            (_, a, b) => Scalar::Int(a.as_i64().wrapping_mul(b.as_i64())),
        }),
    };
    for axis in [0, 1] {
        let axes = [axis];
        let spec = ReduceSpec { op, shape: input.shape(), axes: &axes, prologue: &program };
        let reduction = Reduction { spec, inputs: std::slice::from_ref(&input) };
        let out = reduction.out(Arrangement::Contiguous);
        let got = reduction.on_backend(probe, &out)?;
        let mut wanted = out.clone();
        for (number, element) in wanted.bytes.chunks_exact_mut(out.dtype.size()).enumerate() {
            let value = if axis == 1 { of_row } else { column_results(row[number]) };
            value.write(out.dtype, element);
        }
        probe.compare_all(&out, &got, &wanted.bytes, Bound::EXACT, &format!("axis {axis} of [{rows}, {columns}]"))?;
    }
    if op == ReduceOp::Sum && dtype.is_float() {
        // All at once; a single winner at the very end for the others.
        let total = Scalar::Float(row.iter().map(|value| value.as_f64()).sum::<f64>() * rows as f64);
        let spec = ReduceSpec { op, shape: input.shape(), axes: &[0, 1], prologue: &program };
        let reduction = Reduction { spec, inputs: std::slice::from_ref(&input) };
        let out = reduction.out(Arrangement::Contiguous);
        let got = reduction.on_backend(probe, &out)?;
        let mut wanted = out.clone();
        total.write(dtype, &mut wanted.bytes);
        return probe.compare_all(&out, &got, &wanted.bytes, Bound::EXACT, "all axes");
    }
    if matches!(op, ReduceOp::Max | ReduceOp::ArgMax) && dtype != DType::Bool {
        let count = 200_001;
        let mut number = 0;
        let input = HostTensor::dense(dtype, &[count], || {
            number += 1;
            Scalar::Int(if number > count - 2 { 100 } else { i64::from(number % 3 == 0) }).cast(dtype)
        });
        let spec = ReduceSpec { op, shape: input.shape(), axes: &[0], prologue: &program };
        let reduction = Reduction { spec, inputs: std::slice::from_ref(&input) };
        let out = reduction.out(Arrangement::Contiguous);
        let got = reduction.on_backend(probe, &out)?;
        let mut wanted = out.clone();
        let winner = if op.gives_index() { Scalar::from(count - 2) } else { Scalar::Int(100) };
        winner.write(out.dtype, &mut wanted.bytes);
        return probe.compare_all(&out, &got, &wanted.bytes, Bound::EXACT, "the last two are the largest");
    }
    Ok(())
}

/// One scan on both; sums are judged at the scale of what was summed so far.
fn check_scan<B: Backend>(
    probe: &mut Probe<'_, B>,
    op: ScanOp,
    axis: usize,
    input: &HostTensor,
    arrangement: Arrangement,
    exact: bool,
    what: &str,
) -> Check {
    let dtype = input.dtype;
    let out = HostTensor::unwritten(dtype, arrangement.layout(input.shape().dims()));
    let held = probe.upload(input)?;
    let got = probe
        .written(&out, |out| probe.backend.scan(op, axis, View { buffer: &held, layout: &input.layout, dtype }, out))?;
    let mut wanted = out.clone();
    reference::scan(op, axis, &input.view(), &mut wanted.view_mut());
    let describe = |_: usize| format!(" (axis {axis} of {}, {what})", input.shape());
    if exact || !dtype.is_float() {
        return probe.compare(&out, &got, &wanted.bytes, &|_| Bound::EXACT, &describe);
    }
    let results = wanted.values();
    let magnitudes = HostTensor::dense(DType::F64, input.shape().dims(), {
        let mut values = input.values().into_iter();
        move || Scalar::Float(values.next().expect("a magnitude for each element").as_f64().abs())
    });
    let mut scales = HostTensor::unwritten(DType::F64, Arrangement::Contiguous.layout(input.shape().dims()));
    reference::scan(op, axis, &magnitudes.view(), &mut scales.view_mut());
    let scales = scales.values();
    let count = input.shape().dims()[axis] as f64;
    let bound = |number: usize| {
        if dtype == DType::F64 {
            return Bound::at_scale(4.0 + count, scales[number].as_f64(), dtype);
        }
        // Accumulated in f64, only the last rounding is left.
        Bound::at_scale(2.0, results[number].as_f64(), dtype)
    };
    probe.compare(&out, &got, &wanted.bytes, &bound, &describe)
}

fn scan_lengths<B: Backend>(probe: &mut Probe<'_, B>, op: ScanOp, dtype: DType) -> Check {
    let mut rng = rng(op.name(), dtype, "lengths");
    let product = op == ScanOp::Prod;
    for length in LENGTHS {
        let input = HostTensor::dense(dtype, &[length], || exact(product, dtype, &mut rng));
        check_scan(probe, op, 0, &input, Arrangement::Contiguous, true, "contiguous")?;
        for (dims, axis) in [([length, 3], 0), ([3, length], 1)] {
            let input = HostTensor::dense(dtype, &dims, || exact(product, dtype, &mut rng));
            check_scan(probe, op, axis, &input, Arrangement::Contiguous, true, "contiguous")?;
        }
    }
    Ok(())
}

fn scan_layouts<B: Backend>(probe: &mut Probe<'_, B>, op: ScanOp, dtype: DType) -> Check {
    let mut rng = rng(op.name(), dtype, "layouts");
    let product = op == ScanOp::Prod;
    for (which, dims) in SHAPES.into_iter().enumerate() {
        for (turn, arrangement) in Arrangement::ALL.into_iter().enumerate() {
            let (axis, out) = ((turn + which) % dims.len(), Arrangement::OUTPUTS[(turn * 2 + which) % 9]);
            let input = HostTensor::new(dtype, arrangement.layout(dims), || exact(product, dtype, &mut rng));
            check_scan(probe, op, axis, &input, out, true, &format!("{arrangement:?} to {out:?}"))?;
        }
    }
    Ok(())
}

fn scan_values<B: Backend>(probe: &mut Probe<'_, B>, op: ScanOp, dtype: DType) -> Check {
    let mut rng = rng(op.name(), dtype, "values");
    if !dtype.is_float() {
        let special = specials(dtype);
        let input = HostTensor::dense(dtype, &[70, 5], || rng.pick(&special));
        return check_scan(probe, op, 0, &input, Arrangement::Contiguous, true, "special values");
    }
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0] {
        for place in [0, 16, 255, 299] {
            let mut at = 0;
            let input = HostTensor::dense(dtype, &[300], || {
                at += 1;
                Scalar::Float(if at - 1 == place { value } else { 1.0 })
            });
            check_scan(probe, op, 0, &input, Arrangement::Contiguous, true, &format!("{value} at {place}"))?;
        }
    }
    for dims in [[2, 1000], [1000, 2]] {
        let domain = if op == ScanOp::Prod { (0.995, 1.005) } else { (-1.0, 1.0) };
        let axis = usize::from(dims[0] == 2);
        let input = HostTensor::dense(dtype, &dims, || sample(dtype, domain, &mut rng));
        check_scan(probe, op, axis, &input, Arrangement::Contiguous, false, "samples")?;
    }
    Ok(())
}
