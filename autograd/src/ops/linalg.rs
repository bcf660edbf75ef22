//! Matrix products.

use crate::misuse::ok;
use crate::operand::Operand;
use crate::primitive::{Primitive, apply};
use crate::tensor::Tensor;
use tensor_core::op::BinaryOp;
use tensor_core::{Array, Backend, Error, Result, Shape};

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
            if !self.is_recording()
                && !other.is_recording()
                && let Some(result) = self.with_arrays(other, Array::matmul)
            {
                return Ok(Self::from_array(result?));
            }
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
        Ok(product.reshape_to(&Shape::new(&shape)?))
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

    /// Operands of the given numbers of axes.
    fn expect_ranks(&self, other: &Self, ranks: (usize, usize), op: &'static str) -> Result<()> {
        if (self.rank(), other.rank()) == ranks {
            return Ok(());
        }
        let name = |rank| match rank {
            1 => "a vector",
            2 => "a matrix",
            _ => "a batch of matrices",
        };
        let expected = format!("{} and {}", name(ranks.0), name(ranks.1));
        Err(Error::shape(op, expected, format!("shapes {:?} and {:?}", self.shape(), other.shape())))
    }

    /// The product of two matrices: [`matmul`](Self::matmul) of exactly two axes each.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::ones([2, 3]).mm(&Tensor::ones([3, 4])).shape(), [2, 4]);
    /// ```
    ///
    /// # Panics
    /// If an operand is no matrix, sizes do not fit, or dtypes differ.
    #[track_caller]
    #[must_use]
    pub fn mm(&self, other: &Self) -> Self {
        ok(self.expect_ranks(other, (2, 2), "mm"));
        ok(self.try_matmul(other).map_err(|error| error.named("mm")))
    }

    /// The products of two batches of matrices: [`matmul`](Self::matmul) of exactly three axes each.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::ones([5, 2, 3]).bmm(&Tensor::ones([5, 3, 4])).shape(), [5, 2, 4]);
    /// ```
    ///
    /// # Panics
    /// If an operand has not three axes, sizes do not fit, or dtypes differ.
    #[track_caller]
    #[must_use]
    pub fn bmm(&self, other: &Self) -> Self {
        ok(self.expect_ranks(other, (3, 3), "bmm"));
        ok(self.try_matmul(other).map_err(|error| error.named("bmm")))
    }

    /// The product of a matrix and a vector.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let m = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(m.mv(&Tensor::from([1.0_f32, 1.0])).to_vec::<f32>(), [3.0, 7.0]);
    /// ```
    ///
    /// # Panics
    /// If the operands are no matrix and vector, sizes do not fit, or dtypes differ.
    #[track_caller]
    #[must_use]
    pub fn mv(&self, vector: &Self) -> Self {
        ok(self.expect_ranks(vector, (2, 1), "mv"));
        ok(self.try_matmul(vector).map_err(|error| error.named("mv")))
    }

    /// `self + a·b` of matrices; this tensor broadcasts.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let y = Tensor::ones([4]).addmm(&Tensor::ones([2, 3]), &Tensor::ones([3, 4]));
    /// assert_eq!(y.to_vec::<f32>(), [4.0; 8]);
    /// ```
    ///
    /// # Panics
    /// If an operand is no matrix, sizes do not fit, or dtypes differ.
    #[track_caller]
    #[must_use]
    pub fn addmm(&self, a: &Self, b: &Self) -> Self {
        ok(a.expect_ranks(b, (2, 2), "addmm"));
        let product = ok(a.try_matmul(b).map_err(|error| error.named("addmm")));
        let sum = super::try_binary(BinaryOp::Add, Operand::Ref(self), Operand::Own(product));
        ok(sum.map_err(|error| error.named("addmm")))
    }

    /// The inner products along an axis of two tensors that broadcast.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.vecdot(&x, 1).to_vec::<f32>(), [5.0, 25.0]);
    /// ```
    ///
    /// # Panics
    /// If shapes do not broadcast, or the axis does not exist.
    #[track_caller]
    #[must_use]
    pub fn vecdot(&self, other: &Self, axis: isize) -> Self {
        let product = super::try_binary(BinaryOp::Mul, Operand::Ref(self), Operand::Ref(other));
        let product = ok(product.map_err(|error| error.named("vecdot")));
        ok(product.checked_shape().axis(axis, "vecdot"));
        product.sum_dims(&[axis], false)
    }

    /// The Kronecker product: every element of this tensor times the whole other one, block by block.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([1_i64, 10]).kron(&Tensor::from([1_i64, 2]));
    /// assert_eq!(x.to_vec::<i64>(), [1, 2, 10, 20]);
    /// ```
    ///
    /// # Panics
    /// If the result is too large, or devices differ.
    #[track_caller]
    #[must_use]
    pub fn kron(&self, other: &Self) -> Self {
        let rank = self.rank().max(other.rank());
        let dims = |tensor: &Self| {
            let mut dims = vec![1; rank - tensor.rank()];
            dims.extend(tensor.shape());
            dims
        };
        let (left, right) = (dims(self), dims(other));
        let (mut outer, mut inner, mut merged) = (Vec::new(), Vec::new(), Vec::new());
        for (&a, &b) in left.iter().zip(&right) {
            outer.extend([a, 1]);
            inner.extend([1, b]);
            merged.push(a.saturating_mul(b));
        }
        let merged = ok(Shape::new(&merged).map_err(|error| error.named("kron")));
        let (a, b) = (self.reshape_to(&ok(Shape::new(&outer))), other.reshape_to(&ok(Shape::new(&inner))));
        let product = super::try_binary(BinaryOp::Mul, Operand::Own(a), Operand::Own(b));
        ok(product.map_err(|error| error.named("kron"))).reshape_to(&merged)
    }
}
