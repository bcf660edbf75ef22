//! Which products cuBLASLt does, and how they are put to it.

use crate::blas::{After, Failure, Matrix, Product};
use crate::{Buffer, Cuda};
use smallvec::SmallVec;
use tensor_core::op::{BinaryOp, UnaryOp};
use tensor_core::program::{Op, Reg};
use tensor_core::{DType, Layout, MatmulSpec, Result, View, ViewMut};

/// The most calls that one product is made of; with more, one launch of the generator's kernel is better.
const MOST_CALLS: usize = 64;

/// Axes of batches: a size, and the steps of `a`, `b` and `out`.
type Axes = SmallVec<[(usize, [isize; 3]); 4]>;

/// A product as calls of one kind, at several places.
#[derive(Debug)]
struct Calls {
    /// Alignments are still to be found.
    product: Product,
    axes: Axes,
}

/// What becomes of a product's elements that cuBLASLt may do as well.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epilogue<'a, 'v> {
    /// A number for each column, which is added.
    pub(crate) bias: Option<&'a View<'v, Cuda>>,
    /// Whether a `ReLU` follows.
    relu: bool,
}

impl Cuda {
    /// Multiplies by cuBLASLt, with what follows if that is given, or says that it cannot be.
    pub(crate) fn matmul_by_blas(
        &self,
        a: &View<'_, Self>,
        b: &View<'_, Self>,
        epilogue: Option<Epilogue<'_, '_>>,
        out: &ViewMut<'_, Self>,
    ) -> Result<bool> {
        let device = self.0;
        let Some(mut calls) = Calls::new(a.layout, b.layout, out.layout, out.dtype, self.tf32()) else {
            return Ok(false);
        };
        let size = out.dtype.size() as u64;
        let start = |buffer: &Buffer, layout: &Layout| buffer.address() + layout.offset() as u64 * size;
        let bias = epilogue.and_then(|epilogue| epilogue.bias);
        calls.product.after = After { bias: bias.is_some(), relu: epilogue.is_some_and(|epilogue| epilogue.relu) };
        let bias = bias.map_or(0, |bias| start(bias.buffer, bias.layout));
        // Kernels may read it 16 bytes at once.
        if !bias.is_multiple_of(16) {
            return Ok(false);
        }
        let starts = [start(a.buffer, a.layout), start(b.buffer, b.layout), start(out.buffer, out.layout)];
        let count: usize = calls.axes.iter().map(|axis| axis.0).product();
        for number in 0..count {
            let mut addresses = starts;
            let mut rest = number;
            for (size_of_axis, steps) in calls.axes.iter().rev() {
                let place = (rest % size_of_axis) as u64;
                rest /= size_of_axis;
                for (address, &step) in addresses.iter_mut().zip(steps) {
                    *address += place * step as u64 * size;
                }
            }
            let align = |address: u64| 1 << address.trailing_zeros().min(4);
            let product = &mut calls.product;
            product.a.align = align(addresses[0]);
            product.b.align = align(addresses[1]);
            product.out.align = align(addresses[2]);
            let [to_a, to_b, to_out] = addresses;
            let addresses = [to_a, to_b, to_out, bias];
            // SAFETY: the core promises that views lie within their buffers and that nobody shares the output's; `Calls` walks
            // the elements of the layouts and no others. A bias has an element for each column.
            match unsafe { device.blas.run(product, addresses, device) } {
                Ok(()) => {}
                // What was done before is done again, with the same result.
                Err(Failure::Unsupported) => return Ok(false),
                Err(failure) => return Err(failure.into_error(device, out.layout.numel() * out.dtype.size())),
            }
        }
        Ok(true)
    }
}

/// The epilogue, if it does nothing but add a number for each column that lies densely, apply `ReLU`, or both in this order:
/// cuBLASLt does that before it rounds, which these do not tell from doing it afterwards. Whether its `ReLU` keeps NaN is asked
/// of the device ([`crate::blas`]). Both kinds of GELU are ours: NVIDIA does not say how exact its own is, the approximation by
/// tanh, and of the usual formula's `x/2·(1 + tanh …)` f32 has no digits left at −5, where ours promises 16 units in the last
/// place.
pub(crate) fn epilogue<'a, 'v>(
    spec: &MatmulSpec<'_>,
    extras: &'a [View<'v, Cuda>],
    out: &ViewMut<'_, Cuda>,
) -> Option<Epilogue<'a, 'v>> {
    let program = spec.epilogue?;
    let op = |reg: Reg| program.insts()[reg.index()].op;
    // A f16 or bf16 is rounded by casts, which cuBLASLt does as well.
    let rounded = |mut reg: Reg| {
        while let Op::Cast(from) = op(reg)
            && out.dtype.compute() != out.dtype
        {
            reg = from;
        }
        reg
    };
    let last = rounded(program.outputs()[0]);
    let (relu, sum) = match op(last) {
        Op::Unary(UnaryOp::Relu, of) => (true, rounded(of)),
        _ => (false, last),
    };
    if relu && op(sum) == Op::Input(0) && extras.is_empty() {
        return Some(Epilogue { bias: None, relu });
    }
    let (Op::Binary(BinaryOp::Add, left, right), [extra]) = (op(sum), extras) else { return None };
    let adds = matches!((op(left), op(right)), (Op::Input(0), Op::Input(1)) | (Op::Input(1), Op::Input(0)));
    let mut step = 1;
    let dense = (0..extra.layout.rank()).rev().all(|axis| {
        let (size, stride) = (extra.layout.dims()[axis], extra.layout.strides()[axis]);
        let wanted = if axis >= spec.batch + spec.rows { step } else { 0 };
        step *= size as isize;
        size == 1 || stride == wanted
    });
    (adds && dense && extra.dtype == out.dtype).then_some(Epilogue { bias: Some(extra), relu })
}

/// How a matrix lies in memory, if rows or columns do so densely.
fn matrix(rows: usize, columns: usize, steps: [isize; 2]) -> Option<Matrix> {
    let lies = |row_major: bool, outer: usize, inner: usize, [outer_step, inner_step]: [isize; 2]| {
        let leading = if outer == 1 { inner as isize } else { outer_step };
        let dense = (inner == 1 || inner_step == 1) && leading >= inner as isize;
        dense.then_some(Matrix { row_major, leading: leading as usize, batch_step: 0, align: 1 })
    };
    lies(true, rows, columns, steps).or_else(|| lies(false, columns, rows, [steps[1], steps[0]]))
}

impl Calls {
    fn new(a: &Layout, b: &Layout, out: &Layout, dtype: DType, tf32: bool) -> Option<Self> {
        if !dtype.is_float() {
            return None;
        }
        let rank = out.rank();
        let last = |layout: &Layout| [layout.strides()[rank - 2], layout.strides()[rank - 1]];
        let (mut rows, columns, inner) = (out.dims()[rank - 2], out.dims()[rank - 1], a.dims()[rank - 1]);
        let mut left = matrix(rows, inner, last(a))?;
        let mut right = matrix(inner, columns, last(b))?;
        let mut result = matrix(rows, columns, last(out))?;
        if !result.row_major {
            return None;
        }
        let mut axes = batches(a, b, out);
        if axes.iter().any(|(_, steps)| steps.iter().any(|&step| step < 0)) {
            return None;
        }
        if let Some(&(size, steps)) = axes.last() {
            let row = |of: &Matrix, rows: usize, step: isize| if rows == 1 { step } else { of.leading as isize };
            let (row_a, row_out) = (row(&left, rows, steps[0]), row(&result, rows, steps[2]));
            let folds = steps[1] == 0
                && (left.row_major || rows == 1)
                && steps[0] == rows as isize * row_a
                && steps[2] == rows as isize * row_out
                && row_a >= inner as isize
                && row_out >= columns as isize;
            let dense_rows = left.row_major || inner == 1 || last(a)[1] == 1;
            if folds && dense_rows {
                // One right operand for all batches: their rows are rows of one large left operand.
                left = Matrix { row_major: true, leading: row_a as usize, ..left };
                result.leading = row_out as usize;
                rows *= size;
                axes.pop();
            }
        }
        let (batches, steps) = axes.pop().unwrap_or((1, [0; 3]));
        for (of, step) in [&mut left, &mut right, &mut result].into_iter().zip(steps) {
            of.batch_step = step as usize;
        }
        let calls: usize = axes.iter().map(|axis| axis.0).product();
        let product = Product {
            dtype,
            tf32: tf32 && dtype == DType::F32,
            rows,
            columns,
            inner,
            batches,
            a: left,
            b: right,
            out: result,
            after: After::default(),
        };
        (calls <= MOST_CALLS).then_some(Self { product, axes })
    }
}

/// The leading axes: those of size 1 dropped, and those that all three walk as one merged.
fn batches(a: &Layout, b: &Layout, out: &Layout) -> Axes {
    let mut axes = Axes::new();
    for axis in 0..out.rank() - 2 {
        let size = out.dims()[axis];
        if size == 1 {
            continue;
        }
        let steps = [a, b, out].map(|layout| layout.strides()[axis]);
        match axes.last_mut() {
            Some((held, outer)) if outer.iter().zip(steps).all(|(&outer, step)| outer == step * size as isize) => {
                *held *= size;
                *outer = steps;
            }
            _ => axes.push((size, steps)),
        }
    }
    axes
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor_core::Shape;

    fn dense(dims: &[usize]) -> Layout {
        Layout::contiguous(Shape::new(dims).unwrap())
    }

    fn calls(a: &Layout, b: &Layout, out: &[usize]) -> Option<Calls> {
        Calls::new(a, b, &dense(out), DType::F32, false)
    }

    /// Every element that a call reads or writes, in the order of the product's own indices, must be the layout's.
    fn check(a: &Layout, b: &Layout, out: &[usize]) {
        let calls = calls(a, b, out).unwrap();
        let product = &calls.product;
        let place = |of: &Matrix, batch: usize, row: usize, column: usize| {
            let (outer, inner) = if of.row_major { (row, column) } else { (column, row) };
            batch * of.batch_step + outer * of.leading + inner
        };
        let out = dense(out);
        let mut seen = std::collections::BTreeMap::new();
        let count: usize = calls.axes.iter().map(|axis| axis.0).product();
        for number in 0..count {
            let mut starts = [a.offset(), b.offset(), out.offset()];
            let mut rest = number;
            for (size, steps) in calls.axes.iter().rev() {
                for (start, &step) in starts.iter_mut().zip(steps) {
                    *start += rest % size * step as usize;
                }
                rest /= size;
            }
            for batch in 0..product.batches {
                for row in 0..product.rows {
                    for column in 0..product.columns {
                        let terms: Vec<(usize, usize)> = (0..product.inner)
                            .map(|k| {
                                let left = starts[0] + place(&product.a, batch, row, k);
                                (left, starts[1] + place(&product.b, batch, k, column))
                            })
                            .collect();
                        let to = starts[2] + place(&product.out, batch, row, column);
                        assert!(seen.insert(to, terms).is_none(), "an element is written twice");
                    }
                }
            }
        }
        let rank = out.rank();
        for (number, to) in out.indices().enumerate() {
            let mut position = vec![0; rank];
            let mut rest = number;
            for axis in (0..rank).rev() {
                position[axis] = rest % out.dims()[axis];
                rest /= out.dims()[axis];
            }
            let inner = a.dims()[rank - 1];
            let terms: Vec<(usize, usize)> = (0..inner)
                .map(|k| {
                    let (mut left, mut right) = (position.clone(), position.clone());
                    left[rank - 1] = k;
                    right[rank - 2] = k;
                    (a.index(&left), b.index(&right))
                })
                .collect();
            assert_eq!(seen.get(&to), Some(&terms), "{position:?}");
        }
    }

    #[test]
    fn calls_walk_the_layouts() {
        let turned = |dims: &[usize]| dense(dims).transpose(-1, -2).unwrap();
        let spread = |dims: &[usize], to: &[usize]| dense(dims).expand(&Shape::new(to).unwrap()).unwrap();
        check(&dense(&[3, 4]), &dense(&[4, 5]), &[3, 5]);
        check(&turned(&[4, 3]), &turned(&[5, 4]), &[3, 5]);
        check(&dense(&[1, 4]), &dense(&[4, 1]), &[1, 1]);
        check(&dense(&[6, 1]), &dense(&[1, 5]), &[6, 5]);
        check(&dense(&[2, 3, 4]), &dense(&[2, 4, 5]), &[2, 3, 5]);
        check(&dense(&[2, 3, 4]), &spread(&[1, 4, 5], &[2, 4, 5]), &[2, 3, 5]);
        check(&turned(&[2, 4, 3]), &spread(&[1, 4, 5], &[2, 4, 5]), &[2, 3, 5]);
        check(&dense(&[2, 1, 4]), &spread(&[1, 4, 5], &[2, 4, 5]), &[2, 1, 5]);
        check(&turned(&[2, 4, 1]), &spread(&[1, 4, 5], &[2, 4, 5]), &[2, 1, 5]);
        check(&spread(&[1, 3, 4], &[2, 3, 4]), &dense(&[2, 4, 5]), &[2, 3, 5]);
        check(&dense(&[2, 3, 3, 4]), &spread(&[2, 1, 4, 5], &[2, 3, 4, 5]), &[2, 3, 3, 5]);
        check(&spread(&[2, 1, 3, 4], &[2, 3, 3, 4]), &spread(&[1, 3, 4, 5], &[2, 3, 4, 5]), &[2, 3, 3, 5]);
        let part = dense(&[2, 6, 7]).narrow(1, 1, 3).unwrap().narrow(2, 2, 4).unwrap();
        check(&part, &dense(&[2, 4, 5]), &[2, 3, 5]);
        check(&part, &spread(&[1, 4, 5], &[2, 4, 5]), &[2, 3, 5]);
        let stepped = dense(&[8, 4]).slice(0, 1, 3, 2).unwrap();
        check(&stepped, &dense(&[4, 5]), &[3, 5]);
        let column = dense(&[4, 7]).narrow(1, 3, 1).unwrap();
        check(&dense(&[3, 4]), &column, &[3, 1]);
    }

    #[test]
    fn one_right_operand_makes_one_product() {
        let weight = dense(&[1, 4, 5]).expand(&Shape::new([6, 4, 5]).unwrap()).unwrap();
        let found = calls(&dense(&[6, 3, 4]), &weight, &[6, 3, 5]).unwrap();
        assert_eq!((found.product.rows, found.product.batches, found.axes.len()), (18, 1, 0));
    }

    #[test]
    fn odd_layouts_are_refused() {
        let plain = dense(&[4, 5]);
        let flipped = dense(&[3, 4]).flip(&[0]).unwrap();
        let stepped = dense(&[3, 8]).slice(1, 0, 4, 2).unwrap();
        let row = dense(&[1, 4]).expand(&Shape::new([3, 4]).unwrap()).unwrap();
        for odd in [flipped, stepped, row] {
            assert!(calls(&odd, &plain, &[3, 5]).is_none(), "{odd:?}");
        }
        assert!(Calls::new(&dense(&[3, 4]), &plain, &dense(&[3, 5]), DType::I32, false).is_none());
    }
}
