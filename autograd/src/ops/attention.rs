//! Attention.

use crate::function::{Context, Function, apply_function};
use crate::misuse::ok;
use crate::mode::is_grad_enabled;
use crate::rules::softmax_gradient;
use crate::tensor::Tensor;
use std::ops::Range;
use tensor_core::{Array, Backend, DType, DeviceKind, Error, Shape};

/// Causal attention goes block by block from so many places on.
const MANY: usize = 128;
/// The fewest places of a block, and the most blocks.
const BLOCK: usize = 64;
const BLOCKS: usize = 16;

impl<B: Backend> Tensor<B> {
    /// `softmax(q·kᵀ/√d + mask)·v`: this tensor is the queries `[…, L, d]`, with keys `[…, S, d]` and values `[…, S, e]`. A mask
    /// broadcasts to `[…, L, S]`: bools say which keys count, floats are added. `causal` lets place `i` see the keys up to
    /// `i` only.
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
        let (places, keys) = (self.size(-2), key.size(-2));
        if causal && mask.is_none() && self.suits_blocks(key, value) {
            return apply_function(CausalAttention, &[self, key, value]).remove(0);
        }
        let mut scores = scaled(self).matmul(&key.transpose(-2, -1));
        // Added, not filled in: the gradient of an addition is no pass over the scores, and it is 0 where the weight is.
        let never = f64::NEG_INFINITY;
        if causal {
            scores += causal_mask(&scores, 0..places, keys);
        }
        match mask {
            Some(mask) if mask.dtype() == DType::Bool => {
                let zero = Self::from_array(Array::full(&mask.device(), 0.0, &mask.checked_shape(), scores.dtype()));
                scores += zero.masked_fill(&mask.logical_not(), never);
            }
            Some(mask) => scores += mask,
            None => {}
        }
        scores.softmax(-1).matmul(value)
    }

    /// Whether causal attention is worth doing block by block: it is long, nothing broadcasts, and another launch costs nothing.
    fn suits_blocks(&self, key: &Self, value: &Self) -> bool {
        let outer = |x: &Self| x.shape()[..x.rank() - 2].to_vec();
        self.size(-2) >= MANY
            && self.numel() > 0
            && key.size(-2) > 0
            && outer(self) == outer(key)
            && outer(self) == outer(value)
            && self.dtype() == key.dtype()
            && self.dtype() == value.dtype()
            && self.device().info().kind == DeviceKind::Cpu
    }
}

/// Causal attention in blocks of places. The keys behind a block's last place are left out, which is nearly half of all, and no
/// more than a block's scores are held at a time but for the weights that the gradient needs.
struct CausalAttention;

/// Some places, and how many keys they see.
struct Block {
    places: Range<usize>,
    keys: usize,
}

impl Block {
    fn all(places: usize, keys: usize) -> impl Iterator<Item = Self> {
        let length = places.div_ceil(BLOCKS).max(BLOCK);
        (0..places.div_ceil(length)).map(move |number| {
            let places = number * length..places.min((number + 1) * length);
            Self { keys: keys.min(places.end), places }
        })
    }

    /// The block's rows of a tensor with a row for each place.
    fn of<B: Backend>(&self, x: &Tensor<B>) -> Tensor<B> {
        x.narrow(-2, self.places.start, self.places.len())
    }

    /// The rows of a tensor with a row for each key that the block sees.
    fn seen<B: Backend>(&self, x: &Tensor<B>) -> Tensor<B> {
        x.narrow(-2, 0, self.keys)
    }

    /// The weights of the keys.
    fn weights<B: Backend>(&self, query: &Tensor<B>, key: &Tensor<B>) -> Tensor<B> {
        let scores = self.of(query).matmul(&self.seen(key).transpose(-2, -1));
        let mask = causal_mask(&scores, self.places.clone(), self.keys);
        (scores + mask).softmax(-1)
    }
}

/// What is added to scores of some places, so that each sees the keys before it and its own.
fn causal_mask<B: Backend>(scores: &Tensor<B>, places: Range<usize>, keys: usize) -> Tensor<B> {
    let shape = ok(Shape::new([places.len(), keys]));
    let never = Array::full(&scores.device(), f64::NEG_INFINITY, &shape, scores.dtype());
    Tensor::from_array(ok(never.triangle(places.start as i64 + 1, true)))
}

fn scaled<B: Backend>(query: &Tensor<B>) -> Tensor<B> {
    query * scale(query)
}

fn scale<B: Backend>(query: &Tensor<B>) -> f64 {
    (query.size(-1) as f64).sqrt().recip()
}

impl<B: Backend> Function<B> for CausalAttention {
    fn name(&self) -> &str {
        "CausalAttention"
    }

    fn forward(&self, context: &mut Context<B>, inputs: &[&Tensor<B>]) -> Vec<Tensor<B>> {
        let [query, key, value] = inputs else { unreachable!("attention has three operands") };
        context.save(inputs);
        let scaled = scaled(query);
        let keeps = (0..3).any(|input| context.needs_input_grad(input));
        let mut parts = Vec::new();
        for block in Block::all(query.size(-2), key.size(-2)) {
            let weights = block.weights(&scaled, key);
            parts.push(weights.matmul(&block.seen(value)));
            if keeps {
                context.save(&[&weights]);
            }
        }
        vec![Tensor::cat(&parts.iter().collect::<Vec<_>>(), -2)]
    }

    fn backward(&self, context: &Context<B>, gradients: &[Tensor<B>]) -> Vec<Option<Tensor<B>>> {
        let [query, key, value, kept @ ..] = context.saved() else { unreachable!("three operands were saved") };
        let (places, keys) = (query.size(-2), key.size(-2));
        let scaled = scaled(query);
        let mut of_query = Vec::new();
        let [mut of_key, mut of_value] = [Sums::new(places, keys), Sums::new(places, keys)];
        for (number, block) in Block::all(places, keys).enumerate() {
            // Weights that were kept have no graph.
            let weights = if is_grad_enabled() { block.weights(&scaled, key) } else { kept[number].clone() };
            let g = block.of(&gradients[0]);
            if context.needs_input_grad(2) {
                of_value.add(&block, &weights.transpose(-2, -1).matmul(&g));
            }
            if !context.needs_input_grad(0) && !context.needs_input_grad(1) {
                continue;
            }
            let of_weights = g.matmul(&block.seen(value).transpose(-2, -1));
            let of_scores = softmax_gradient(&weights, &of_weights, -1, false);
            if context.needs_input_grad(0) {
                of_query.push(of_scores.matmul(&block.seen(key)) * scale(query));
            }
            if context.needs_input_grad(1) {
                of_key.add(&block, &of_scores.transpose(-2, -1).matmul(&block.of(&scaled)));
            }
        }
        let of_query = (!of_query.is_empty()).then(|| Tensor::cat(&of_query.iter().collect::<Vec<_>>(), -2));
        vec![of_query, of_key.whole(key), of_value.whole(value)]
    }
}

/// Sums of what blocks contribute to the keys that they see.
struct Sums<B: Backend> {
    /// Where each piece begins and ends: at the ends of what blocks see.
    pieces: Vec<Range<usize>>,
    sums: Vec<Option<Tensor<B>>>,
}

impl<B: Backend> Sums<B> {
    fn new(places: usize, keys: usize) -> Self {
        let mut pieces: Vec<Range<usize>> = Vec::new();
        for block in Block::all(places, keys) {
            let start = pieces.last().map_or(0, |piece| piece.end);
            if block.keys > start {
                pieces.push(start..block.keys);
            }
        }
        Self { sums: vec![None; pieces.len()], pieces }
    }

    fn add(&mut self, block: &Block, part: &Tensor<B>) {
        for (piece, sum) in self.pieces.iter().zip(&mut self.sums).filter(|(piece, _)| piece.end <= block.keys) {
            let part = part.narrow(-2, piece.start, piece.len());
            *sum = Some(sum.take().map_or_else(|| part.clone(), |sum| sum + &part));
        }
    }

    /// All of it, beside keys that no block sees; `None` if nothing was added.
    fn whole(self, like: &Tensor<B>) -> Option<Tensor<B>> {
        let end = self.pieces.last()?.end;
        let mut parts = self.sums.into_iter().collect::<Option<Vec<_>>>()?;
        if end < like.size(-2) {
            parts.push(like.narrow(-2, end, like.size(-2) - end).zeros_like());
        }
        Some(Tensor::cat(&parts.iter().collect::<Vec<_>>(), -2))
    }
}
