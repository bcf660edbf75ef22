//! Attention as one operation.

use super::Array;
use crate::backend::ViewMut;
use crate::{AttentionSpec, Backend, Error, Layout, Result, Shape};

impl<B: Backend> Array<B> {
    /// `softmax(q·kᵀ·scale)·v`, as [`Backend::attention`] says: these are the queries.
    ///
    /// # Errors
    /// If shapes, dtypes or devices do not fit, there are no elements, the dtype is no float, or the device fails.
    pub fn attention(&self, key: &Self, value: &Self, spec: &AttentionSpec) -> Result<Self> {
        let shape = self.attended(key, value, spec)?;
        let [query, key, value] = [self.held()?, key.held()?, value.held()?];
        let layout = Layout::contiguous(shape);
        let mut buffer = self.backend.alloc(layout.numel() * self.dtype.size())?;
        let out = ViewMut { buffer: &mut buffer, layout: &layout, dtype: self.dtype };
        self.backend.attention(spec, [query.view(), key.view(), value.view()], out)?;
        Self::from_dense(self.backend.clone(), buffer, layout, self.dtype)
    }

    /// The gradients of queries, keys and values from that of [`attention`](Self::attention)'s result.
    ///
    /// # Errors
    /// As [`attention`](Self::attention), or if the gradient's shape is not the result's.
    pub fn attention_gradients(
        &self,
        key: &Self,
        value: &Self,
        gradient: &Self,
        spec: &AttentionSpec,
    ) -> Result<[Self; 3]> {
        let shape = self.attended(key, value, spec)?;
        self.same_device(gradient, "attention")?;
        if *gradient.shape() != shape || gradient.dtype != self.dtype {
            let expected = format!("a gradient of shape {shape} and dtype {}", self.dtype);
            return Err(Error::shape("attention", expected, format!("{} and {}", gradient.shape(), gradient.dtype)));
        }
        let inputs = [self, key, value];
        let layouts = inputs.map(|input| Layout::contiguous(input.shape().clone()));
        let size = |number: usize| layouts[number].numel() * self.dtype.size();
        let mut buffers = [self.backend.alloc(size(0))?, self.backend.alloc(size(1))?, self.backend.alloc(size(2))?];
        let held = [self.held()?, key.held()?, value.held()?, gradient.held()?];
        let mut to = buffers.iter_mut().zip(&layouts);
        let outs = [(); 3].map(|()| {
            let (buffer, layout) = to.next().expect("there are three of each");
            ViewMut { buffer, layout, dtype: self.dtype }
        });
        self.backend.attention_gradients(spec, held.each_ref().map(super::Held::view), outs)?;
        let [a, b, c] = buffers;
        let [of_a, of_b, of_c] = layouts;
        let array = |buffer, layout| Self::from_dense(self.backend.clone(), buffer, layout, self.dtype);
        Ok([array(a, of_a)?, array(b, of_b)?, array(c, of_c)?])
    }

    /// The result's shape, once the operands are known to fit.
    fn attended(&self, key: &Self, value: &Self, spec: &AttentionSpec) -> Result<Shape> {
        let op = "attention";
        self.same_device(key, op)?;
        self.same_device(value, op)?;
        if !self.dtype.is_float() || [key.dtype, value.dtype] != [self.dtype; 2] {
            let got = format!("{}, {} and {}", self.dtype, key.dtype, value.dtype);
            return Err(Error::dtype(op, "three tensors of one float dtype", got));
        }
        let positive = spec.scale > 0.0;
        let fits = match (self.dims(), key.dims(), value.dims()) {
            ([outer @ .., _, d], [of_key @ .., s, d_key], [of_value @ .., s_value, _]) => {
                outer == of_key && outer == of_value && d == d_key && s == s_value
            }
            _ => false,
        };
        if !fits || [self, key, value].iter().any(|x| x.numel() == 0) || !positive {
            let got = format!("shapes {}, {} and {}, scale {}", self.shape(), key.shape(), value.shape(), spec.scale);
            return Err(Error::shape(
                op,
                "queries […, L, d], keys […, S, d], values […, S, e] and a scale above 0",
                got,
            ));
        }
        let mut dims = crate::Dims::from_slice(self.dims());
        let last = dims.len() - 1;
        dims[last] = value.dims()[last];
        Shape::new(&dims)
    }
}
