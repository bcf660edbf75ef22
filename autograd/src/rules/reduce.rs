//! Rows of reductions and scans.

use super::{A, B, Call, Jvp, Needs, OUTPUT, Row};
use crate::primitive::{Primitive, Reduction};
use crate::tensor::Tensor;
use tensor_core::{Backend, Dims, ScanOp};

fn reduction<'a, K: Backend>(k: &'a Call<'_, K>) -> &'a Reduction {
    match k.primitive {
        Primitive::Sum(to) | Primitive::Prod(to) | Primitive::Extreme(_, to) => to,
        _ => unreachable!("this is a reduction's row"),
    }
}

/// A reduced tensor spread over the operand's shape again.
pub(super) fn spread<K: Backend>(reduced: &Tensor<K>, to: &Reduction) -> Tensor<K> {
    reduced.reshape_to(&to.kept_shape()).expand_to(&to.shape)
}

/// Every element has slope 1.
pub(super) fn sum<K: Backend>() -> Row<K> {
    Row { needs: Needs::NOTHING, vjp: |k, g, _| spread(g, reduction(k)), jvp: Jvp::Linear }
}

/// `±2/n·(a − b)`.
pub(super) fn mse_loss<K: Backend>() -> Row<K> {
    Row {
        needs: Needs([A | B, A | B, 0]),
        vjp: |k, g, i| {
            let slope = (if i == 0 { 2.0 } else { -2.0 }) / k.x().numel() as f64;
            (k.x() - k.second()) * (g * slope)
        },
        jvp: Jvp::Transposed,
    }
}

/// The product of all others: y/a, or where there are zeros, the products before and after each element.
pub(super) fn prod<K: Backend>() -> Row<K> {
    Row {
        needs: Needs([A | OUTPUT, 0, 0]),
        vjp: |k, g, _| {
            let to = reduction(k);
            let spread_g = spread(g, to);
            if !k.x().eq(0).any().item_scalar().as_bool() {
                return spread_g * spread(k.y(), to) / k.x();
            }
            spread_g * product_of_others(k.x(), to)
        },
        jvp: Jvp::Transposed,
    }
}

/// For each element the product of all others along the reduced axes.
fn product_of_others<K: Backend>(x: &Tensor<K>, to: &Reduction) -> Tensor<K> {
    // The reduced axes go last, as one.
    let rank = to.shape.rank() as isize;
    let kept: Vec<isize> = (0..rank).filter(|axis| !to.axes.contains(axis)).collect();
    let order: Dims<isize> = kept.iter().chain(&to.axes).copied().collect();
    let moved = x.permute(&order);
    let lines = moved.flatten_from(kept.len());
    let others = exclusive_products(&lines) * exclusive_products(&lines.flip(&[-1])).flip(&[-1]);
    let mut back: Dims<isize> = Dims::from_elem(0, order.len());
    for (to, &from) in order.iter().enumerate() {
        back[from as usize] = to as isize;
    }
    others.reshape_to(&moved.checked_shape()).permute(&back)
}

/// Along the last axis, the product of everything before each element.
fn exclusive_products<K: Backend>(x: &Tensor<K>) -> Tensor<K> {
    let length = x.size(-1);
    let first = x.narrow(-1, 0, 1).ones_like();
    Tensor::cat(&[&first, &x.cumprod(-1).narrow(-1, 0, length - 1)], -1)
}

/// The gradient is shared evenly by all elements that have the extreme value; NaNs count as equal.
pub(super) fn extreme<K: Backend>() -> Row<K> {
    Row {
        needs: Needs([A | OUTPUT, 0, 0]),
        vjp: |k, g, _| {
            let to = reduction(k);
            let y = spread(k.y(), to);
            let hit = k.x().eq(&y).logical_or(&k.x().isnan().logical_and(&y.isnan())).to_dtype(g.dtype());
            let axes: Vec<isize> = to.axes.to_vec();
            let count = hit.sum_dims(&axes, true);
            spread(g, to) * (hit / count)
        },
        jvp: Jvp::Transposed,
    }
}

/// Running sums: the sum of all later gradients. Running products: see [`cumprod`].
pub(super) fn scan<K: Backend>(op: ScanOp) -> Row<K> {
    match op {
        ScanOp::Sum => Row {
            needs: Needs::NOTHING,
            vjp: |k, g, _| {
                let Primitive::Scan(_, axis) = k.primitive else { unreachable!("this is the scans' row") };
                reverse_cumsum(g, *axis)
            },
            jvp: Jvp::Linear,
        },
        ScanOp::Prod => Row {
            needs: Needs([A | OUTPUT, 0, 0]),
            vjp: |k, g, _| {
                let Primitive::Scan(_, axis) = k.primitive else { unreachable!("this is the scans' row") };
                cumprod(k, g, *axis)
            },
            jvp: Jvp::Transposed,
        },
    }
}

fn reverse_cumsum<K: Backend>(g: &Tensor<K>, axis: isize) -> Tensor<K> {
    if g.rank() == 0 {
        return g.clone();
    }
    g.flip(&[axis]).cumsum(axis).flip(&[axis])
}

/// `∂yⱼ/∂aᵢ = yⱼ/aᵢ` for i ≤ j. Where there are zeros: the product before i times, for each j, the product after i up to j,
/// as a matrix of n × n a line.
fn cumprod<K: Backend>(k: &Call<'_, K>, g: &Tensor<K>, axis: isize) -> Tensor<K> {
    let x = k.x();
    if x.rank() == 0 {
        return g.clone();
    }
    if !x.eq(0).any().item_scalar().as_bool() {
        return reverse_cumsum(&(g * k.y()), axis) / x;
    }
    let x = x.transpose(axis, -1);
    let g = g.transpose(axis, -1);
    let length = x.size(-1);
    let mut square = x.shape();
    square.push(length);
    let square =
        tensor_core::Shape::new(&square).expect("a gradient's working space that overflows would not fit memory");
    // Row i holds 1 up to the diagonal and x behind it.
    let rows = x.unsqueeze(-2).expand_to(&square);
    let behind = rows.ones_like().triu(1).to_dtype(tensor_core::DType::Bool);
    let products = rows.keep_where(&behind, &rows.ones_like()).cumprod(-1).triu(0);
    let after = (products * g.unsqueeze(-2)).sum_dims(&[-1], false);
    (after * exclusive_products(&x)).transpose(axis, -1)
}
