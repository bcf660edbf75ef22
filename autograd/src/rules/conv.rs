//! Rows of contractions, windows and convolutions. All are linear in each operand.

use super::{A, B, Call, Jvp, Needs, Row};
use crate::primitive::{ConvCall, ConvKind, Primitive};
use tensor_core::Backend;

/// With `y[b, m, n] = Σₖ a[b, m, k]·c[b, k, n]`, each letter any number of axes: `∂/∂a = Σₙ g[b, m, n]·c[b, k, n]`,
/// `∂/∂c = Σₘ a[b, m, k]·g[b, m, n]`.
pub(super) fn contract<K: Backend>() -> Row<K> {
    Row {
        needs: Needs([B, A, 0]),
        vjp: |k, g, i| {
            let Primitive::Contract(counts) = k.primitive else { unreachable!("this is the contractions' row") };
            let [batch, rows, inner, columns] = **counts;
            if i == 0 {
                g.contract(&k.second().axes_swapped(batch, inner), [batch, rows, columns, inner])
            } else {
                k.x().axes_swapped(batch, rows).contract(g, [batch, inner, rows, columns])
            }
        },
        jvp: Jvp::Multilinear,
    }
}

/// Each of the three operations' gradients is one of the two others, or with the result's gradient in its place, itself.
pub(super) fn conv<K: Backend>() -> Row<K> {
    Row {
        needs: Needs([B, A, 0]),
        vjp: |k, g, i| {
            let Primitive::Conv(call) = k.primitive else { unreachable!("this is the convolutions' row") };
            let with = |kind| ConvCall { kind, ..(**call).clone() };
            match (call.kind, i) {
                // y = conv(x, w)
                (ConvKind::Forward, 0) => g.convolved(k.second(), with(ConvKind::Input)),
                (ConvKind::Forward, _) => g.convolved(k.x(), with(ConvKind::Weight)),
                // x' = conv_input(y', w)
                (ConvKind::Input, 0) => g.convolved(k.second(), with(ConvKind::Forward)),
                (ConvKind::Input, _) => k.x().convolved(g, with(ConvKind::Weight)),
                // w' = conv_weight(y', x)
                (ConvKind::Weight, 0) => k.second().convolved(g, with(ConvKind::Forward)),
                (ConvKind::Weight, _) => k.x().convolved(g, with(ConvKind::Input)),
            }
        },
        jvp: Jvp::Multilinear,
    }
}

/// The sum of the windows' gradients where they came from.
pub(super) fn windows<K: Backend>() -> Row<K> {
    Row {
        needs: Needs::NOTHING,
        vjp: |k: &Call<'_, K>, g, _| {
            let Primitive::Windows(windows) = k.primitive else { unreachable!("this is the windows' row") };
            g.folded(&windows.0, &windows.1)
        },
        jvp: Jvp::Linear,
    }
}

/// The windows of the gradient.
pub(super) fn fold<K: Backend>() -> Row<K> {
    Row {
        needs: Needs::NOTHING,
        vjp: |k: &Call<'_, K>, g, _| {
            let Primitive::Fold(windows) = k.primitive else { unreachable!("this is the sums of windows' row") };
            g.windowed(&windows.0)
        },
        jvp: Jvp::Linear,
    }
}

/// Picking and placing elements of windows are each other's adjoints.
pub(super) fn chosen<K: Backend>() -> Row<K> {
    Row {
        needs: Needs::NOTHING,
        vjp: |k: &Call<'_, K>, g, _| match k.primitive {
            Primitive::WindowPick(call) => g.with_windows(Primitive::WindowPlace(call.clone())),
            Primitive::WindowPlace(call) => g.with_windows(Primitive::WindowPick(call.clone())),
            _ => unreachable!("this is the row of chosen elements"),
        },
        jvp: Jvp::Linear,
    }
}
