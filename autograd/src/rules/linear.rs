//! Rows of what is linear: views, conversions, matrix products.

use super::{A, B, Jvp, Needs, Row};
use crate::primitive::{Primitive, ViewOp};
use crate::tensor::Tensor;
use tensor_core::array::Windows;
use tensor_core::{Backend, Dims};

pub(super) fn identity<K: Backend>() -> Row<K> {
    Row { needs: Needs::NOTHING, vjp: |_, g, _| g.clone(), jvp: Jvp::Linear }
}

/// Back to where the operand lives.
pub(super) fn to_device<K: Backend>() -> Row<K> {
    Row {
        needs: Needs::NOTHING,
        vjp: |k, g, _| {
            let Primitive::ToDevice { from, .. } = k.primitive else { unreachable!("this is the devices' row") };
            g.to_device(from)
        },
        jvp: Jvp::Linear,
    }
}

/// `∂/∂a (ab) = g·bᵀ`, `∂/∂b (ab) = aᵀ·g`; broadcast batches are summed by the engine.
pub(super) fn matmul<K: Backend>() -> Row<K> {
    Row {
        needs: Needs([B, A, 0]),
        vjp: |k, g, i| {
            if i == 0 {
                return g.matmul(&k.second().transpose(-2, -1));
            }
            if k.x().rank() > 2 && k.second().rank() == 2 {
                // One sum over the rows of all matrices, instead of a product for each of them to be added up.
                let rows = |x: &Tensor<K>| x.flatten_dims(0, -2);
                return rows(k.x()).t().matmul(&rows(g));
            }
            k.x().transpose(-2, -1).matmul(g)
        },
        jvp: Jvp::Multilinear,
    }
}

/// With `y = x·wᵀ + b`: `∂/∂x = g·w`, `∂/∂w = gᵀ·x`, all axes but the last being rows, and for `b` the sum of `g` over them.
pub(super) fn linear<K: Backend>() -> Row<K> {
    Row {
        needs: Needs([B, A, 0]),
        vjp: |k, g, i| {
            let rows = g.rank() - 1;
            match i {
                0 => g.contract(k.second(), [0, rows, 1, 1]),
                1 => g.axes_swapped(0, rows).contract(k.x(), [0, 1, rows, 1]),
                _ if rows == 0 => g.clone(),
                _ => g.sum_dims(&(0..rows as isize).collect::<Dims<isize>>(), false),
            }
        },
        // With a bias it is no product of its operands.
        jvp: Jvp::Transposed,
    }
}

/// The way back of each view.
pub(super) fn view<K: Backend>() -> Row<K> {
    Row {
        needs: Needs::NOTHING,
        vjp: |k, g, _| {
            let Primitive::View(view) = k.primitive else { unreachable!("this is the views' row") };
            let (op, shape) = &**view;
            match op {
                ViewOp::Reshape(_) => g.reshape_to(shape),
                ViewOp::Permute(order) => {
                    let rank = order.len() as isize;
                    let mut back = order.clone();
                    for (to, &from) in order.iter().enumerate() {
                        back[((from + rank) % rank) as usize] = to as isize;
                    }
                    g.permute(&back)
                }
                ViewOp::Expand(_) => g.sum_to(shape),
                ViewOp::Flip(axes) => g.flip(axes),
                ViewOp::Slice { .. } | ViewOp::Select { .. } | ViewOp::Diagonal { .. } => {
                    Tensor::zeros_of(&g.device(), shape, g.dtype()).assigned(vec![op.clone()], g)
                }
                // Windows overlap, so their gradients are added up where they came from.
                ViewOp::Unfold { size: 0, .. } => Tensor::zeros_of(&g.device(), shape, g.dtype()),
                ViewOp::Unfold { .. } if shape.rank() == 0 => g.reshape_to(shape),
                ViewOp::Unfold { axis, size, step } => {
                    let one = |value: usize| Dims::from_elem(value, 1);
                    let windows = Windows { size: one(*size), stride: one(*step), dilation: one(1) };
                    let axis = axis.rem_euclid(shape.rank() as isize);
                    let length = [shape.dims()[axis as usize]];
                    g.movedim(axis, -2).folded(&windows, &length).movedim(-1, axis)
                }
            }
        },
        jvp: Jvp::Linear,
    }
}

/// Custom functions bring their own rule; the engine calls it.
pub(super) fn custom<K: Backend>() -> Row<K> {
    Row {
        needs: Needs::NOTHING,
        vjp: |_, _, _| unreachable!("the engine runs custom functions itself"),
        jvp: Jvp::Transposed,
    }
}
