//! Attention.

use crate::function::{Context, Function, apply_function};
use crate::misuse::ok;
use crate::mode::is_grad_enabled;
use crate::rules::softmax_gradient;
use crate::tensor::Tensor;
use tensor_core::{Array, AttentionSpec, Backend, DType, Error, Shape};

impl<B: Backend> Tensor<B> {
    /// `softmax(q·kᵀ/√d + mask)·v`: this tensor is the queries `[…, L, d]`, with keys `[…, S, d]` and values `[…, S, e]`. A mask
    /// broadcasts to `[…, L, S]`: bools say which keys count, floats are added. `causal` lets place `i` see the keys up to
    /// `i` only.
    ///
    /// Without a mask, and where nothing broadcasts, a device that has a kernel for it never holds all `L×S` weights, nor are they
    /// kept for the gradient.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::eye(2);
    /// let y = x.scaled_dot_product_attention(&x, &x, None, true);
    /// assert_eq!(y.i(0).to_vec::<f32>(), [1.0, 0.0]);
    /// ```
    ///
    /// # Panics
    /// If an operand has fewer than two axes, sizes do not fit, or the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn scaled_dot_product_attention(&self, key: &Self, value: &Self, mask: Option<&Self>, causal: bool) -> Self {
        let op = "scaled_dot_product_attention";
        ok(self.expect_float(op));
        if self.rank() < 2 || key.rank() < 2 || value.rank() < 2 {
            let got = format!("shapes {:?}, {:?} and {:?}", self.shape(), key.shape(), value.shape());
            ok::<()>(Err(Error::shape(op, "queries, keys and values with at least two axes", got)));
        }
        if self.size(-1) != key.size(-1) || key.size(-2) != value.size(-2) {
            let got = format!("shapes {:?}, {:?} and {:?}", self.shape(), key.shape(), value.shape());
            ok::<()>(Err(Error::shape(op, "queries and keys of one size, and a value for each key", got)));
        }
        if mask.is_none() && self.suits_kernel(key, value) {
            let spec = AttentionSpec { scale: scale(self), causal };
            // Storage floats are computed in f32, and rounded once.
            let [query, key, value] = [self, key, value].map(|x| x.to_dtype(x.dtype().compute()));
            return apply_function(Attention(spec), &[&query, &key, &value]).remove(0).to_dtype(self.dtype());
        }
        weights(self, key, mask, causal).matmul(value)
    }

    /// Whether the device has a kernel for these operands.
    fn suits_kernel(&self, key: &Self, value: &Self) -> bool {
        let outer = |x: &Self| x.shape()[..x.rank() - 2].to_vec();
        [self, key, value].iter().all(|x| x.numel() > 0)
            && outer(self) == outer(key)
            && outer(self) == outer(value)
            && [key.dtype(), value.dtype()] == [self.dtype(); 2]
            && [key.device(), value.device()].iter().all(|device| *device == self.device())
            && self.device().has_attention(self.dtype().compute())
    }
}

/// The weight of each key for each query.
fn weights<B: Backend>(query: &Tensor<B>, key: &Tensor<B>, mask: Option<&Tensor<B>>, causal: bool) -> Tensor<B> {
    let mut scores = (query * scale(query)).matmul(&key.transpose(-2, -1));
    // Added, not filled in: the gradient of an addition is no pass over the scores, and it is 0 where the weight is.
    let never = f64::NEG_INFINITY;
    if causal {
        let shape = ok(Shape::new([query.size(-2), key.size(-2)]));
        let never = Array::full(&scores.device(), never, &shape, scores.dtype());
        scores += Tensor::from_array(ok(never.triangle(1, true)));
    }
    match mask {
        Some(mask) if mask.dtype() == DType::Bool => {
            let zero = Tensor::from_array(Array::full(&mask.device(), 0.0, &mask.checked_shape(), scores.dtype()));
            scores += zero.masked_fill(&mask.logical_not(), never);
        }
        Some(mask) => scores += mask,
        None => {}
    }
    scores.softmax(-1)
}

fn scale<B: Backend>(query: &Tensor<B>) -> f64 {
    (query.size(-1) as f64).sqrt().recip()
}

/// Attention by the device's kernel, which computes the weights once more for the gradients.
struct Attention(AttentionSpec);

impl<B: Backend> Function<B> for Attention {
    fn name(&self) -> &str {
        "Attention"
    }

    fn forward(&self, context: &mut Context<B>, inputs: &[&Tensor<B>]) -> Vec<Tensor<B>> {
        let [query, key, value] = inputs else { unreachable!("attention has three operands") };
        context.save(inputs);
        vec![Tensor::from_array(ok(query.array().attention(&key.array(), &value.array(), &self.0)))]
    }

    fn backward(&self, context: &Context<B>, gradients: &[Tensor<B>]) -> Vec<Option<Tensor<B>>> {
        let ([query, key, value], [g]) = (context.saved(), gradients) else {
            unreachable!("three operands were saved, and there is one result")
        };
        if !is_grad_enabled() {
            let [query, key, value, g] = [query, key, value, g].map(Tensor::array);
            return ok(query.attention_gradients(&key, &value, &g, &self.0))
                .map(|x| Some(Tensor::from_array(x)))
                .into();
        }
        // What can be differentiated once more.
        let weights = weights(query, key, None, self.0.causal);
        let of_scores = softmax_gradient(&weights, &g.matmul(&value.transpose(-2, -1)), -1, false) * self.0.scale;
        vec![
            Some(of_scores.matmul(key)),
            Some(of_scores.transpose(-2, -1).matmul(query)),
            Some(weights.transpose(-2, -1).matmul(g)),
        ]
    }
}
