//! Rows of what picks and places elements. An element that was picked several times gets the sum of its gradients.

use super::{Jvp, Needs, Row};
use crate::primitive::{Primitive, ViewOp};
use crate::tensor::Tensor;
use tensor_core::{Array, Backend, ScatterOp};

pub(super) fn gather<K: Backend>() -> Row<K> {
    Row {
        needs: Needs::NOTHING,
        vjp: |k, g, _| {
            let Primitive::Gather(axis, from) = k.primitive else { unreachable!("this is gather's row") };
            let (index, shape) = &**from;
            let index = Tensor::from_array(Array::clone(index));
            Tensor::zeros_of(&g.device(), shape, g.dtype()).scatter_add(*axis, &index, g)
        },
        jvp: Jvp::Linear,
    }
}

/// What was replaced gets nothing; the source gets the gradient of where it went.
pub(super) fn scatter<K: Backend>(op: ScatterOp) -> Row<K> {
    match op {
        ScatterOp::Set => Row {
            needs: Needs::NOTHING,
            vjp: |k, g, i| {
                let Primitive::Scatter(_, axis, index) = k.primitive else { unreachable!("this is scatter's row") };
                let index = Tensor::from_array(Array::clone(index));
                if i == 0 { g.scatter(*axis, &index, &g.zeros_like()) } else { g.gather(*axis, &index) }
            },
            jvp: Jvp::Linear,
        },
        ScatterOp::Add => Row {
            needs: Needs::NOTHING,
            vjp: |k, g, i| {
                let Primitive::Scatter(_, axis, index) = k.primitive else { unreachable!("this is scatter's row") };
                if i == 0 { g.clone() } else { g.gather(*axis, &Tensor::from_array(Array::clone(index))) }
            },
            jvp: Jvp::Linear,
        },
        ScatterOp::Mul | ScatterOp::Max | ScatterOp::Min => not_recorded(),
    }
}

pub(super) fn index_select<K: Backend>() -> Row<K> {
    Row {
        needs: Needs::NOTHING,
        vjp: |k, g, _| {
            let Primitive::IndexSelect(axis, from) = k.primitive else { unreachable!("this is index_select's row") };
            let (index, shape) = &**from;
            let index = Tensor::from_array(Array::clone(index));
            Tensor::zeros_of(&g.device(), shape, g.dtype()).index_add(*axis, &index, g)
        },
        jvp: Jvp::Linear,
    }
}

pub(super) fn index_scatter<K: Backend>(op: ScatterOp) -> Row<K> {
    match op {
        ScatterOp::Set => Row {
            needs: Needs::NOTHING,
            vjp: |k, g, i| {
                let Primitive::IndexScatter(_, axis, index) = k.primitive else {
                    unreachable!("this is index_copy's row")
                };
                let index = Tensor::from_array(Array::clone(index));
                let picked = g.index_select(*axis, &index);
                if i == 0 { g.index_copy(*axis, &index, &picked.zeros_like()) } else { picked }
            },
            jvp: Jvp::Linear,
        },
        ScatterOp::Add => Row {
            needs: Needs::NOTHING,
            vjp: |k, g, i| {
                let Primitive::IndexScatter(_, axis, index) = k.primitive else {
                    unreachable!("this is index_add's row")
                };
                if i == 0 { g.clone() } else { g.index_select(*axis, &Tensor::from_array(Array::clone(index))) }
            },
            jvp: Jvp::Linear,
        },
        ScatterOp::Mul | ScatterOp::Max | ScatterOp::Min => not_recorded(),
    }
}

/// Tensors offer these only without gradients.
fn not_recorded<K: Backend>() -> Row<K> {
    Row {
        needs: Needs::NOTHING,
        vjp: |_, _, _| unreachable!("scatter with this operation is never recorded"),
        jvp: Jvp::Transposed,
    }
}

/// Each part gets its piece.
pub(super) fn cat<K: Backend>() -> Row<K> {
    Row {
        needs: Needs::NOTHING,
        vjp: |k, g, i| {
            let Primitive::Cat(axis, sizes) = k.primitive else { unreachable!("this is cat's row") };
            g.narrow(*axis, sizes[..i].iter().sum(), sizes[i])
        },
        jvp: Jvp::Linear,
    }
}

/// What was replaced gets nothing; the values get the gradient of where they went.
pub(super) fn assign<K: Backend>() -> Row<K> {
    Row {
        needs: Needs::NOTHING,
        vjp: |k, g, i| {
            let Primitive::Assign(views) = k.primitive else { unreachable!("this is the assignment's row") };
            if i == 0 {
                let zero = Tensor::zeros_of(&g.device(), &tensor_core::Shape::scalar(), g.dtype());
                g.assigned(views.clone(), &zero)
            } else {
                views.iter().fold(g.clone(), |view, op: &ViewOp| view.viewed(op.clone()))
            }
        },
        jvp: Jvp::Linear,
    }
}
