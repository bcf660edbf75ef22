//! The reference interpreter: every operation in plain, obvious Rust.
//!
//! It is the oracle that backends are judged by and the fallback for what a backend does not do itself. It computes one
//! element at a time, floats in f64, and rounds to the dtype after each instruction (f16 and bf16 to f32 between
//! instructions, as they are storage types). It is slow and stays so.

mod attention;
mod backend;
mod pointwise;

pub use attention::{attention, attention_gradients};
pub use backend::{HostBuffer, Reference};
pub use pointwise::{evaluate, pointwise};

use crate::backend::{ReduceOp, ReduceSpec, ScanOp, ScatterOp};
use crate::op::math;
use crate::{DType, Layout, MatmulSpec, Scalar};
use std::cmp::Ordering;

/// A tensor in host memory to read.
#[derive(Clone, Copy, Debug)]
pub struct HostView<'a> {
    /// The memory.
    pub bytes: &'a [u8],
    /// Where the elements lie in it.
    pub layout: &'a Layout,
    /// What the elements are.
    pub dtype: DType,
}

/// A tensor in host memory to write.
#[derive(Debug)]
pub struct HostViewMut<'a> {
    /// The memory.
    pub bytes: &'a mut [u8],
    /// Where the elements lie in it.
    pub layout: &'a Layout,
    /// What the elements are.
    pub dtype: DType,
}

/// Where a pointwise program's input comes from.
#[derive(Clone, Copy, Debug)]
pub enum HostInput<'a> {
    /// A tensor.
    View(HostView<'a>),
    /// The old content of the output of this number.
    Output(usize),
}

impl HostView<'_> {
    /// The element at an element index.
    pub fn at(&self, index: usize) -> Scalar {
        Scalar::read(self.dtype, &self.bytes[index * self.dtype.size()..])
    }

    /// The element at a position.
    pub fn get(&self, position: &[usize]) -> Scalar {
        self.at(self.layout.index(position))
    }
}

impl HostViewMut<'_> {
    /// The element at an element index.
    pub fn at(&self, index: usize) -> Scalar {
        Scalar::read(self.dtype, &self.bytes[index * self.dtype.size()..])
    }

    /// Writes an element, converted to the dtype.
    pub fn set_at(&mut self, index: usize, value: Scalar) {
        let size = self.dtype.size();
        value.write(self.dtype, &mut self.bytes[index * size..]);
    }

    /// The element at a position.
    pub fn get(&self, position: &[usize]) -> Scalar {
        self.at(self.layout.index(position))
    }

    /// Writes the element at a position, converted to the dtype.
    pub fn set(&mut self, position: &[usize], value: Scalar) {
        self.set_at(self.layout.index(position), value);
    }
}

/// All positions of a shape in row-major order.
pub fn positions(dims: &[usize]) -> impl Iterator<Item = Vec<usize>> + use<> {
    let dims = dims.to_vec();
    let count = dims.iter().product::<usize>();
    (0..count).map(move |mut number| {
        let mut position = vec![0; dims.len()];
        for (coordinate, &size) in position.iter_mut().zip(&dims).rev() {
            *coordinate = number % size;
            number /= size;
        }
        position
    })
}

/// See [`Backend::reduce`](crate::Backend::reduce). Float sums are exact to the last bit but one: they use compensated
/// summation.
pub fn reduce(spec: &ReduceSpec<'_>, inputs: &[HostView<'_>], out: &mut HostViewMut<'_>) {
    let kept = spec.kept_axes();
    let inner: Vec<usize> = spec.axes.iter().map(|&axis| spec.shape.dims()[axis]).collect();
    for outer in positions(out.layout.dims()) {
        let mut position = vec![0; spec.shape.rank()];
        for (&axis, &coordinate) in kept.iter().zip(&outer) {
            position[axis] = coordinate;
        }
        let mut total = Total::new(spec.op);
        for walk in positions(&inner) {
            for (&axis, &coordinate) in spec.axes.iter().zip(&walk) {
                position[axis] = coordinate;
            }
            total.take(evaluate(spec.prologue, spec.shape, &position, |number| inputs[number].get(&position))[0]);
        }
        out.set(&outer, total.value());
    }
}

/// A reduction under way.
struct Total {
    op: ReduceOp,
    count: i64,
    best: i64,
    held: Option<Scalar>,
    /// What rounding took from the sum so far (Neumaier's method).
    lost: f64,
}

impl Total {
    fn new(op: ReduceOp) -> Self {
        Self { op, count: 0, best: 0, held: None, lost: 0.0 }
    }

    fn take(&mut self, value: Scalar) {
        let Some(held) = self.held else {
            self.held = Some(value);
            self.count = 1;
            return;
        };
        let next = match self.op {
            ReduceOp::Sum => match (held, value) {
                (Scalar::Float(a), Scalar::Float(b)) => {
                    let sum = a + b;
                    self.lost += if a.abs() >= b.abs() { (a - sum) + b } else { (b - sum) + a };
                    Scalar::Float(sum)
                }
                (a, b) => Scalar::Int(a.as_i64().wrapping_add(b.as_i64())),
            },
            ReduceOp::Prod => match (held, value) {
                (Scalar::Float(a), Scalar::Float(b)) => Scalar::Float(a * b),
                (a, b) => Scalar::Int(a.as_i64().wrapping_mul(b.as_i64())),
            },
            ReduceOp::Max | ReduceOp::Min | ReduceOp::ArgMax | ReduceOp::ArgMin => {
                let wanted = if matches!(self.op, ReduceOp::Max | ReduceOp::ArgMax) {
                    Ordering::Greater
                } else {
                    Ordering::Less
                };
                if wins(value, held, wanted) {
                    self.best = self.count;
                    value
                } else {
                    held
                }
            }
        };
        self.held = Some(next);
        self.count += 1;
    }

    fn value(self) -> Scalar {
        match (self.op, self.held) {
            (ReduceOp::ArgMax | ReduceOp::ArgMin, _) => Scalar::Int(self.best),
            // An infinite sum has lost everything; what the method holds then is NaN.
            (ReduceOp::Sum, Some(Scalar::Float(sum))) if sum.is_finite() => Scalar::Float(sum + self.lost),
            (_, Some(held)) => held,
            (_, None) => Scalar::Int(0),
        }
    }
}

/// Whether a new value replaces the held one in a search for the largest or smallest: NaN does, unless one is held.
fn wins(new: Scalar, held: Scalar, wanted: Ordering) -> bool {
    match (new, held) {
        (Scalar::Float(new), Scalar::Float(held)) => {
            !held.is_nan() && (new.is_nan() || new.partial_cmp(&held) == Some(wanted))
        }
        (new, held) => new.as_i64().cmp(&held.as_i64()) == wanted,
    }
}

/// See [`Backend::scan`](crate::Backend::scan).
pub fn scan(op: ScanOp, axis: usize, input: &HostView<'_>, out: &mut HostViewMut<'_>) {
    let mut lines = input.layout.dims().to_vec();
    let length = std::mem::replace(&mut lines[axis], 1);
    for mut position in positions(&lines) {
        let mut total: Option<Scalar> = None;
        for i in 0..length {
            position[axis] = i;
            let value = input.get(&position);
            let next = match (op, total, value) {
                (_, None, value) => value,
                (ScanOp::Sum, Some(Scalar::Float(a)), Scalar::Float(b)) => Scalar::Float(a + b),
                (ScanOp::Prod, Some(Scalar::Float(a)), Scalar::Float(b)) => Scalar::Float(a * b),
                (ScanOp::Sum, Some(a), b) => Scalar::Int(a.as_i64().wrapping_add(b.as_i64())),
                (ScanOp::Prod, Some(a), b) => Scalar::Int(a.as_i64().wrapping_mul(b.as_i64())),
            };
            total = Some(next);
            out.set(&position, next);
        }
    }
}

/// See [`Backend::matmul`](crate::Backend::matmul).
pub fn matmul(
    spec: &MatmulSpec<'_>,
    a: &HostView<'_>,
    b: &HostView<'_>,
    extras: &[HostView<'_>],
    out: &mut HostViewMut<'_>,
) {
    let summed = &a.layout.dims()[spec.batch + spec.rows..];
    for position in positions(out.layout.dims()) {
        let (batch, rest) = position.split_at(spec.batch);
        let (row, column) = rest.split_at(spec.rows);
        let (mut float, mut int) = (0.0f64, 0i64);
        for inner in positions(summed) {
            match (a.get(&[batch, row, &inner].concat()), b.get(&[batch, &inner, column].concat())) {
                (Scalar::Float(a), Scalar::Float(b)) => float += a * b,
                (a, b) => int = int.wrapping_add(a.as_i64().wrapping_mul(b.as_i64())),
            }
        }
        let value = if out.dtype.is_float() { Scalar::Float(float) } else { Scalar::Int(int) };
        out.set(&position, value);
    }
    if let Some(program) = spec.epilogue {
        let mut inputs = vec![HostInput::Output(0)];
        inputs.extend(extras.iter().map(|&view| HostInput::View(view)));
        let out = HostViewMut { bytes: &mut *out.bytes, layout: out.layout, dtype: out.dtype };
        let shape = out.layout.shape().clone();
        pointwise(program, &shape, &inputs, &mut [out]);
    }
}

/// See [`Backend::gather`](crate::Backend::gather).
pub fn gather(axis: usize, input: &HostView<'_>, index: &HostView<'_>, out: &mut HostViewMut<'_>) {
    for position in positions(out.layout.dims()) {
        let mut from = position.clone();
        from[axis] = index.get(&position).as_i64() as usize;
        out.set(&position, input.get(&from));
    }
}

/// See [`Backend::scatter`](crate::Backend::scatter).
pub fn scatter(op: ScatterOp, axis: usize, index: &HostView<'_>, src: &HostView<'_>, out: &mut HostViewMut<'_>) {
    for position in positions(src.layout.dims()) {
        let mut to = position.clone();
        to[axis] = index.get(&position).as_i64() as usize;
        let (held, new) = (out.get(&to), src.get(&position));
        let value = match (op, held, new) {
            (ScatterOp::Set, _, new) => new,
            (ScatterOp::Add, Scalar::Float(a), Scalar::Float(b)) => Scalar::Float(a + b),
            (ScatterOp::Mul, Scalar::Float(a), Scalar::Float(b)) => Scalar::Float(a * b),
            (ScatterOp::Max, Scalar::Float(a), Scalar::Float(b)) => Scalar::Float(math::maximum(a, b)),
            (ScatterOp::Min, Scalar::Float(a), Scalar::Float(b)) => Scalar::Float(math::minimum(a, b)),
            (ScatterOp::Add, a, b) => Scalar::Int(a.as_i64().wrapping_add(b.as_i64())),
            (ScatterOp::Mul, a, b) => Scalar::Int(a.as_i64().wrapping_mul(b.as_i64())),
            (ScatterOp::Max, a, b) => Scalar::Int(a.as_i64().max(b.as_i64())),
            (ScatterOp::Min, a, b) => Scalar::Int(a.as_i64().min(b.as_i64())),
        };
        out.set(&to, value);
    }
}

/// See [`Backend::mask_indices`](crate::Backend::mask_indices).
pub fn mask_indices(mask: &HostView<'_>, out: &mut HostViewMut<'_>) {
    let hits = (0..mask.layout.numel()).filter(|&number| mask.get(&[number]).as_bool());
    for (rank, number) in hits.enumerate() {
        out.set(&[rank], Scalar::from(number));
    }
}

/// The order in which values are sorted: NaN above everything, both zeros equal.
pub fn sort_order(a: Scalar, b: Scalar) -> Ordering {
    match (a, b) {
        (Scalar::Float(a), Scalar::Float(b)) => a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan())),
        (a, b) => a.as_i64().cmp(&b.as_i64()),
    }
}

/// The elements of a line along an axis, each with its number. The position's place on that axis is written to.
fn numbered(input: &HostView<'_>, axis: usize, length: usize, position: &mut [usize]) -> Vec<(Scalar, usize)> {
    let element = |i| {
        position[axis] = i;
        (input.get(position), i)
    };
    (0..length).map(element).collect()
}

/// See [`Backend::sort`](crate::Backend::sort).
pub fn sort(
    axis: usize,
    descending: bool,
    input: &HostView<'_>,
    values: &mut HostViewMut<'_>,
    indices: &mut HostViewMut<'_>,
) {
    let mut lines = input.layout.dims().to_vec();
    let length = std::mem::replace(&mut lines[axis], 1);
    for mut position in positions(&lines) {
        let mut line = numbered(input, axis, length, &mut position);
        line.sort_by(|a, b| if descending { sort_order(b.0, a.0) } else { sort_order(a.0, b.0) });
        for (i, (value, from)) in line.into_iter().enumerate() {
            position[axis] = i;
            values.set(&position, value);
            indices.set(&position, Scalar::from(from));
        }
    }
}

/// See [`Backend::topk`](crate::Backend::topk).
pub fn topk(
    axis: usize,
    largest: bool,
    input: &HostView<'_>,
    values: &mut HostViewMut<'_>,
    indices: &mut HostViewMut<'_>,
) {
    let mut lines = input.layout.dims().to_vec();
    let length = std::mem::replace(&mut lines[axis], 1);
    for mut position in positions(&lines) {
        let mut left = numbered(input, axis, length, &mut position);
        for i in 0..values.layout.dims()[axis] {
            let mut best = 0;
            for (at, other) in left.iter().enumerate() {
                let order = sort_order(other.0, left[best].0);
                if order == (if largest { Ordering::Greater } else { Ordering::Less }) {
                    best = at;
                }
            }
            let (value, from) = left.remove(best);
            position[axis] = i;
            values.set(&position, value);
            indices.set(&position, Scalar::from(from));
        }
    }
}

/// See [`Backend::softmax`](crate::Backend::softmax).
pub fn softmax(axis: usize, log: bool, input: &HostView<'_>, out: &mut HostViewMut<'_>) {
    let mut lines = input.layout.dims().to_vec();
    let length = std::mem::replace(&mut lines[axis], 1);
    for mut position in positions(&lines) {
        let line: Vec<f64> = (0..length)
            .map(|i| {
                position[axis] = i;
                input.get(&position).as_f64()
            })
            .collect();
        let largest = line.iter().copied().reduce(math::maximum).unwrap_or(0.0);
        let total: f64 = line.iter().map(|x| (x - largest).exp()).sum();
        for (i, x) in line.into_iter().enumerate() {
            position[axis] = i;
            let value = if log { (x - largest) - total.ln() } else { (x - largest).exp() / total };
            out.set(&position, Scalar::Float(value));
        }
    }
}
