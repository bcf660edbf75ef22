//! What arrays make of a backend: results that do not depend on what was fused, and tensors without elements.

use super::case::{Case, Check, Failure, Probe, ensure};
use super::random::shrinking;
use super::values::{Rng, sample};
use crate::backend::{ReduceOp, ScanOp, ScatterOp};
use crate::op::{BINARY, BinaryOp, COMPARE, CompareOp, TERNARY, TernaryOp, UNARY, UnaryOp};
use crate::{Array, Backend, DType, Scalar, Shape};

const RANDOM: u64 = 16;

/// The cases that go through [`Array`].
pub(super) fn cases<B: Backend>() -> Vec<Case<B>> {
    let mut cases = Vec::new();
    let mut add = |op: &'static str, aspect: String, needs: &[DType], run: Question<B>| {
        cases.push(Case::new("arrays", op, None, aspect, run).needing(needs.iter().copied()));
    };
    const DTYPES: [DType; 3] = [DType::Bool, DType::I64, DType::F32];
    for seed in 0..RANDOM {
        let run = move |probe: &mut Probe<'_, B>| fused_is_eager(probe, seed, &DTYPES);
        add("fused_is_eager", format!("{seed:02}"), &DTYPES, Box::new(run));
        let run = move |probe: &mut Probe<'_, B>| fused_is_eager(probe, RANDOM + seed, &DType::ALL);
        add("fused_is_eager_all_dtypes", format!("{seed:02}"), &DType::ALL, Box::new(run));
    }
    for dtype in DType::ALL {
        let run = move |probe: &mut Probe<'_, B>| empty(probe, dtype);
        add("empty", dtype.name().to_owned(), &[dtype, DType::Bool, DType::I64], Box::new(run));
    }
    add("reused_buffers", "all".to_owned(), &[DType::F32], Box::new(reused_buffers));
    add("out_of_memory", "all".to_owned(), &[DType::F64], Box::new(out_of_memory));
    cases
}

type Question<B> = Box<dyn Fn(&mut Probe<'_, B>) -> Check + Send + Sync>;

/// One step of a random computation.
#[derive(Clone, Copy, Debug)]
enum Step {
    Unary(UnaryOp, usize),
    Binary(BinaryOp, usize, usize),
    Compare(CompareOp, usize, usize),
    Where(usize, usize, usize),
    Cast(DType, usize),
    Transpose(usize),
    Sum(usize),
}

/// A random computation over a few arrays, run twice: once as it comes, so that pending steps fuse, and once with every
/// step finished before the next begins. Several results are asked for. Every bit must agree.
fn fused_is_eager<B: Backend>(probe: &mut Probe<'_, B>, seed: u64, dtypes: &[DType]) -> Check {
    shrinking(1000 + seed, 25, |choices| {
        let (mut rng, operands) = (Rng::new(seed), &mut choices.operands);
        // Squares, so that a transposed operand still fits; some small enough to run at once, some not.
        let side = operands.pick(&[1, 7, 33, 96]);
        let shape = Shape::new([side, side])?;
        let mut inputs = Vec::new();
        for _ in 0..3 {
            let dtype = operands.pick(dtypes);
            let mut bytes = vec![0; shape.numel() * dtype.size()];
            for element in bytes.chunks_exact_mut(dtype.size()) {
                sample(dtype, (-50.0, 50.0), &mut rng).write(dtype, element);
            }
            inputs.push(Array::from_bytes(probe.backend, dtype, &bytes, &shape)?);
        }
        let mut steps = Vec::new();
        for step in &mut choices.steps {
            steps.push(random_step(inputs.len() + steps.len(), dtypes, step));
        }
        let asked: Vec<usize> =
            choices.results.iter_mut().map(|result| steps.len() - 1 - result.below(steps.len())).collect();
        let fused = compute(&inputs, &steps, false)?;
        let eager = compute(&inputs, &steps, true)?;
        for &place in asked.iter().rev() {
            same_bits(&fused[inputs.len() + place], &eager[inputs.len() + place], place, &steps)?;
        }
        Ok(())
    })
}

/// Compares the results of a step.
fn same_bits<B: Backend>(fused: &Array<B>, eager: &Array<B>, place: usize, steps: &[Step]) -> Check {
    let (a, b) = (fused.to_bytes()?, eager.to_bytes()?);
    let dtype = eager.dtype();
    let size = dtype.size();
    let differs = a.chunks_exact(size).zip(b.chunks_exact(size)).position(|(a, b)| {
        let values = (Scalar::read(dtype, a), Scalar::read(dtype, b));
        a != b && !(values.0.as_f64().is_nan() && values.1.as_f64().is_nan() && dtype.is_float())
    });
    ensure(differs.is_none() && a.len() == b.len(), || {
        let at = differs.unwrap_or(0) * size;
        format!(
            "element {} of step {place} of {steps:?} on {} is {} when fused and {} when not",
            at / size,
            eager.shape(),
            Scalar::read(dtype, &a[at..]),
            Scalar::read(dtype, &b[at..])
        )
    })
}

fn random_step(known: usize, dtypes: &[DType], rng: &mut Rng) -> Step {
    // Mostly the latest, so that chains grow long.
    let mut recent = || if rng.below(3) == 2 { rng.below(known) } else { known - 1 - rng.below(known.min(2)) };
    let (a, b, c) = (recent(), recent(), recent());
    match rng.below(12) {
        0 => Step::Unary(rng.pick(&[UnaryOp::Neg, UnaryOp::Abs, UnaryOp::Relu, UnaryOp::Floor]), a),
        1 => Step::Unary(UnaryOp::IsNan, a),
        2 => Step::Compare(rng.pick(&[CompareOp::Lt, CompareOp::Ge, CompareOp::Ne]), a, b),
        3 => Step::Where(a, b, c),
        4 => Step::Cast(rng.pick(dtypes), a),
        5 => Step::Transpose(a),
        6 if rng.below(2) == 0 => Step::Sum(a),
        _ => {
            let ops = [BinaryOp::Add, BinaryOp::Mul, BinaryOp::Maximum, BinaryOp::Minimum];
            Step::Binary(rng.pick(&ops), a, b)
        }
    }
}

fn compute<B: Backend>(inputs: &[Array<B>], steps: &[Step], eager: bool) -> Result<Vec<Array<B>>, Failure> {
    let mut known = inputs.to_vec();
    for &step in steps {
        let next = match step {
            // Bools have no sign: what a step cannot do it leaves out, the same way in both runs.
            Step::Unary(op, a) if known[a].dtype() == DType::Bool && op != UnaryOp::IsNan => known[a].clone(),
            Step::Unary(op, a) => known[a].unary(op)?,
            Step::Binary(op, a, b) => Array::binary(op, &known[a], &known[b])?,
            Step::Compare(op, a, b) => Array::compare(op, &known[a], &known[b])?,
            Step::Where(a, b, c) => {
                let condition = known[a].cast(DType::Bool)?;
                Array::ternary(TernaryOp::Where, &condition, &known[b], &known[c])?
            }
            Step::Cast(dtype, a) => known[a].cast(dtype)?,
            Step::Transpose(a) => known[a].transpose(0, 1)?,
            Step::Sum(a) => {
                let dtype = known[a].dtype();
                // Of bools and integers: a float's sum may depend on how it is split up.
                let whole = match dtype.is_float() {
                    true => Array::compare(CompareOp::Ne, &known[a], Scalar::Int(0))?,
                    false => known[a].clone(),
                };
                whole.sum(&[0], true)?.expand(known[a].shape())?
            }
        };
        if eager {
            next.force()?;
        }
        known.push(next);
    }
    Ok(known)
}

/// Every operation of tensors without elements: no backend sees them, and each answers with the right shape and dtype.
fn empty<B: Backend>(probe: &mut Probe<'_, B>, dtype: DType) -> Check {
    for dims in [&[0][..], &[0, 3], &[3, 0], &[2, 0, 5]] {
        let shape = Shape::new(dims)?;
        let x = Array::from_bytes(probe.backend, dtype, &[], &shape)?;
        let is_empty = |what: &str, result: &Array<B>, dtype: DType, dims: &[usize]| {
            ensure(result.dims() == dims && result.dtype() == dtype && result.to_bytes()?.is_empty(), || {
                format!("{what} of an empty {shape} of {dtype} is {result:?}, expected {dims:?} of {dtype}")
            })
        };
        for row in UNARY.iter().filter(|row| row.takes.runs_in(dtype)) {
            let out = if row.gives_bool { DType::Bool } else { dtype };
            is_empty(row.name, &x.unary(row.op)?, out, dims)?;
        }
        for row in BINARY.iter().filter(|row| row.takes.runs_in(dtype)) {
            is_empty(row.name, &Array::binary(row.op, &x, &x)?, dtype, dims)?;
        }
        for row in &COMPARE {
            is_empty(row.name, &Array::compare(row.op, &x, &x)?, DType::Bool, dims)?;
        }
        for row in TERNARY.iter().filter(|row| row.takes.runs_in(dtype)) {
            let first = if row.condition { x.cast(DType::Bool)? } else { x.clone() };
            is_empty(row.name, &Array::ternary(row.op, &first, &x, &x)?, dtype, dims)?;
        }
        for to in DType::ALL {
            is_empty("cast", &x.cast(to)?, to, dims)?;
        }
        indexed_empty(&x, &is_empty)?;
    }
    Ok(())
}

fn indexed_empty<B: Backend>(x: &Array<B>, is_empty: &dyn Fn(&str, &Array<B>, DType, &[usize]) -> Check) -> Check {
    let dtype = x.dtype();
    let dims = x.dims().to_vec();
    let at = dims.iter().position(|&size| size == 0).unwrap_or(0);
    let widened = if dtype.is_float() { dtype } else { DType::I64 };
    let (values, indices) = x.sort(0, false)?;
    is_empty("sort", &values, dtype, &dims)?;
    is_empty("sort's indices", &indices, DType::I64, &dims)?;
    for op in ScanOp::ALL {
        is_empty(op.name(), &x.scan(op, 0)?, widened, &dims)?;
    }
    if dtype.is_float() {
        is_empty("softmax", &x.softmax(at as isize, false)?, dtype, &dims)?;
    }
    let index = x.cast(DType::I64)?;
    is_empty("gather", &x.gather(0, &index)?, dtype, &dims)?;
    is_empty("scatter", &x.scatter(ScatterOp::Set, 0, &index, x)?, dtype, &dims)?;
    // A sum over no elements is 0, and a product 1.
    for (op, value) in [(ReduceOp::Sum, 0), (ReduceOp::Prod, 1)] {
        let total = x.reduce(op, &[], false)?;
        ensure(total.item()? == Scalar::Int(value).cast(widened), || {
            format!("{} of an empty tensor of {dtype} is {:?}", op.name(), total.item())
        })?;
    }
    Ok(())
}

/// A value that somebody still holds is not overwritten by what is computed from it.
fn reused_buffers<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    for count in [5usize, 10_000] {
        let data: Vec<f32> = (0..count).map(|at| at as f32).collect();
        let x = Array::from_slice(probe.backend, &data, [count])?;
        let kept = x.mul(2.0)?;
        kept.force()?;
        let mut y = kept.clone();
        for _ in 0..5 {
            y = y.add(1.0)?;
            y.force()?;
        }
        let expected = |step: f32, factor: f32| data.iter().map(|x| x * factor + step).collect::<Vec<f32>>();
        for (what, array, wanted) in
            [("x", &x, expected(0.0, 1.0)), ("2x", &kept, expected(0.0, 2.0)), ("2x + 5", &y, expected(5.0, 2.0))]
        {
            ensure(array.to_vec::<f32>()? == wanted, || format!("{what} of {count} elements has changed"))?;
        }
    }
    Ok(())
}

/// A result that no memory can hold is refused, and the device goes on.
fn out_of_memory<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    let small = Array::from_slice(probe.backend, &[1.0_f64, 2.0], [2, 1])?;
    // Where nothing waits to be fused, the addition itself fails.
    let huge = small.expand(&Shape::new([2, 1 << 50])?)?.add(&small).and_then(|huge| huge.force());
    ensure(huge.is_err(), || "2⁵¹ sums were computed".to_owned())?;
    let sum = small.add(&small)?.to_vec::<f64>()?;
    ensure(sum == [2.0, 4.0], || format!("after an allocation failed, 2·[1, 2] is {sum:?}"))
}
