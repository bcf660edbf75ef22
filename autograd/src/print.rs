//! How tensors print.

use crate::tensor::Tensor;
use tensor_core::Backend;
use tensor_core::print::{Suffixes, tensor_repr};

/// The text of a tensor, in PyTorch's form.
pub(crate) fn repr<B: Backend>(tensor: &Tensor<B>) -> String {
    let array = tensor.array();
    let label = array.backend().label();
    let suffixes = Suffixes {
        device: (label != "cpu").then(|| label.into_owned()),
        requires_grad: tensor.is_leaf() && tensor.requires_grad(),
        grad_fn: tensor.grad_fn(),
    };
    match array.contiguous().and_then(|dense| dense.force().map(|()| dense)) {
        Ok(dense) => tensor_repr(
            dense.dtype(),
            dense.shape(),
            &|position| {
                // Forced above, so that only the device itself can fail now; a picture of the tensor must not.
                dense.get(position).unwrap_or(tensor_core::Scalar::Float(f64::NAN))
            },
            &suffixes,
        ),
        Err(error) => format!("tensor(<{error}>)"),
    }
}
