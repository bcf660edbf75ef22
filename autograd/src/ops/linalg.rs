//! Matrix products.

use crate::misuse::ok;
use crate::operand::Operand;
use crate::primitive::{Primitive, apply};
use crate::tensor::Tensor;
use tensor_core::op::BinaryOp;
use tensor_core::{Backend, Error, Result};

impl<B: Backend> Tensor<B> {
    /// The matrix product by PyTorch's rules, for every number dtype:
    /// vectors are rows on the left and columns on the right, leading axes are batches and broadcast.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let m = Tensor::from([[1_i64, 2], [3, 4]]);
    /// let c = Tensor::from([10_i64, 1]);
    /// assert_eq!(m.matmul(&c.reshape([-1, 1])).to_vec::<i64>(), [12, 34]);
    /// assert_eq!(m.matmul(&c).shape(), [2]);
    /// ```
    ///
    /// # Panics
    /// If an operand is 0-d, the inner sizes differ, or the dtypes differ or are bool.
    #[track_caller]
    #[must_use]
    pub fn matmul(&self, other: &Self) -> Self {
        ok(self.try_matmul(other))
    }

    fn try_matmul(&self, other: &Self) -> Result<Self> {
        let (left, right) = (self.rank(), other.rank());
        if left >= 2 && right >= 2 || left == 0 || right == 0 {
            return apply(Primitive::Matmul, &[Operand::Ref(self), Operand::Ref(other)]);
        }
        // The sentence must show the shapes the user has, so sizes are checked before vectors become matrices.
        if self.size(-1) != other.size(if right == 1 { 0 } else { -2 }) || self.dtype() != other.dtype() {
            self.array().matmul(&other.array())?;
        }
        let a = if left == 1 { self.unsqueeze(0) } else { self.clone() };
        let b = if right == 1 { other.unsqueeze(1) } else { other.clone() };
        let product = apply(Primitive::Matmul, &[Operand::Own(a), Operand::Own(b)])?;
        let mut shape = product.shape();
        if left == 1 {
            shape.remove(shape.len() - 2);
        }
        if right == 1 {
            shape.pop();
        }
        Ok(product.reshape_to(&tensor_core::Shape::new(&shape)?))
    }

    /// The inner product of two vectors.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([1.0_f32, 2.0]);
    /// assert_eq!(x.dot(&x).item(), 5.0);
    /// ```
    ///
    /// # Panics
    /// If an operand is no vector, or the lengths or dtypes differ.
    #[track_caller]
    #[must_use]
    pub fn dot(&self, other: &Self) -> Self {
        if self.rank() != 1 || other.rank() != 1 || self.numel() != other.numel() {
            ok::<()>(Err(Error::shape(
                "dot",
                "two vectors of one length",
                format!("shapes {:?} and {:?}", self.shape(), other.shape()),
            )));
        }
        ok(self.try_matmul(other).map_err(|error| error.named("dot")))
    }

    /// The products of all pairs of elements of two vectors, as a matrix.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([1_i64, 2]);
    /// assert_eq!(x.outer(&x).to_vec::<i64>(), [1, 2, 2, 4]);
    /// ```
    ///
    /// # Panics
    /// If an operand is no vector.
    #[track_caller]
    #[must_use]
    pub fn outer(&self, other: &Self) -> Self {
        if self.rank() != 1 || other.rank() != 1 {
            ok::<()>(Err(Error::shape(
                "outer",
                "two vectors",
                format!("shapes {:?} and {:?}", self.shape(), other.shape()),
            )));
        }
        let product =
            super::try_binary(BinaryOp::Mul, Operand::Own(self.unsqueeze(1)), Operand::Own(other.unsqueeze(0)));
        ok(product.map_err(|error| error.named("outer")))
    }
}
