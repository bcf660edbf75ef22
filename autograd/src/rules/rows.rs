//! Rows of what works on whole rows: softmax, norms, variance, logarithms of sums of exponentials.
//!
//! Where no graph of the gradient is wanted, arrays compute it in one pass over the rows. Else the same formula is written out,
//! so that it has gradients of its own.

use super::reduce::spread;
use super::{A, Jvp, Needs, OUTPUT, Row};
use crate::misuse::ok;
use crate::primitive::Primitive;
use crate::tensor::Tensor;
use tensor_core::{Array, Backend, Result};

/// The gradient from a kept value and the result's gradient: in one pass, or written out if either takes part in a graph.
fn gradient<K: Backend>(
    [kept, g]: [&Tensor<K>; 2],
    in_one_pass: impl FnOnce(&Array<K>, &Array<K>) -> Result<Array<K>>,
    written_out: impl FnOnce() -> Tensor<K>,
) -> Tensor<K> {
    if kept.is_recording() || g.is_recording() || kept.device() != g.device() {
        return written_out();
    }
    Tensor::from_array(ok(in_one_pass(&kept.array(), &g.array())))
}

/// With y = softmax(a): y·(g − Σ g·y). With y = log softmax(a): g − eʸ·Σ g.
pub(super) fn softmax<K: Backend>(log: bool) -> Row<K> {
    Row {
        needs: Needs([OUTPUT, 0, 0]),
        vjp: |k, g, _| {
            let Primitive::Softmax(axis, log) = k.primitive else { unreachable!("this is softmax's row") };
            softmax_gradient(k.y(), g, *axis, *log)
        },
        // The Jacobian of softmax itself is symmetric.
        jvp: if log { Jvp::Transposed } else { Jvp::Diagonal },
    }
}

/// The gradient of softmax, or of its logarithm, from the result and the result's gradient.
pub(crate) fn softmax_gradient<K: Backend>(y: &Tensor<K>, g: &Tensor<K>, axis: isize, log: bool) -> Tensor<K> {
    let one_pass = |y: &Array<K>, g: &Array<K>| y.softmax_grad(g, axis, log);
    gradient([y, g], one_pass, || {
        if log { g - y.exp() * g.sum_dims(&[axis], true) } else { y * (g - (g * y).sum_dims(&[axis], true)) }
    })
}

/// With y = (a − mean)·r: r·(g − mean of g − y·mean of g·y), without the mean of g if rows are not centred.
pub(super) fn normalize<K: Backend>() -> Row<K> {
    Row {
        needs: Needs([A, 0, 0]),
        vjp: |k, g, _| {
            let Primitive::Normalize(to, centred, eps) = k.primitive else { unreachable!("this is the norms' row") };
            let (x, centred, eps) = (k.x(), *centred, *eps);
            let one_pass = |x: &Array<K>, g: &Array<K>| x.normalize_grad(g, &to.axes, centred, eps);
            gradient([x, g], one_pass, || {
                let mean = |x: &Tensor<K>| x.mean_dims(&to.axes, true);
                let [x, g] = [x, g].map(|x| x.to_dtype(x.dtype().compute()));
                let [x, rest] = [&x, &g].map(|x| if centred { x - mean(x) } else { x.clone() });
                let scale = (mean(&x.square()) + eps).rsqrt();
                let y = x * &scale;
                let along = mean(&(g * &y));
                (scale * (rest - y * along)).to_dtype(k.x().dtype())
            })
        },
        // The Jacobian is symmetric.
        jvp: Jvp::Diagonal,
    }
}

/// g·2·(a − mean)/(n − correction).
pub(super) fn variance<K: Backend>() -> Row<K> {
    Row {
        needs: Needs([A, 0, 0]),
        vjp: |k, g, _| {
            let Primitive::Variance(to, correction) = k.primitive else { unreachable!("this is variance's row") };
            let (x, g) = (k.x(), spread(g, to));
            let one_pass = |x: &Array<K>, g: &Array<K>| x.variance_grad(g, &to.axes, *correction);
            gradient([x, &g], one_pass, || {
                let slope = 2.0 / to.count().saturating_sub(*correction) as f64;
                let wide = x.to_dtype(x.dtype().compute());
                let centred = &wide - wide.mean_dims(&to.axes, true);
                (centred * (&g * slope)).to_dtype(x.dtype())
            })
        },
        jvp: Jvp::Transposed,
    }
}

/// g·eᵃ⁻ʸ: each element's share of the sum.
pub(super) fn logsumexp<K: Backend>() -> Row<K> {
    Row {
        needs: Needs([A | OUTPUT, 0, 0]),
        vjp: |k, g, _| {
            let Primitive::LogSumExp(to) = k.primitive else { unreachable!("this is logsumexp's row") };
            let (x, y) = (k.x(), k.y());
            let wide = x.dtype().compute();
            if wide == x.dtype() {
                return spread(g, to) * (x - spread(y, to)).exp();
            }
            // Of a large logarithm 16 bits hold too little: a difference to it, and the share by as many per cent, would be off.
            let x = x.to_dtype(wide);
            let y = x.logsumexp(&to.axes, true).expand_to(&to.shape);
            (spread(&g.to_dtype(wide), to) * (x - y).exp()).to_dtype(g.dtype())
        },
        jvp: Jvp::Transposed,
    }
}
