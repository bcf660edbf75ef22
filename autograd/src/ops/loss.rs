//! Losses, each as the mean over what it compares. For a sum, or for every element's own, write the formula out.

use crate::misuse::ok;
use crate::operand::Operand;
use crate::primitive::{Primitive, apply};
use crate::tensor::Tensor;
use tensor_core::{Array, Backend, DType, DeviceKind, Error, Result, Shape};

/// The class that [`Tensor::nll_loss`] and [`Tensor::cross_entropy`] leave out, as in PyTorch.
const IGNORED: i64 = -100;

impl<B: Backend> Tensor<B> {
    /// Losses compare like with like: PyTorch broadcasts with a warning, which is nearly always a mistake.
    fn expect_same_shape(&self, target: &Self, op: &'static str) -> Result<()> {
        self.expect_float(op)?;
        if self.has_shape(&target.checked_shape()) {
            return Ok(());
        }
        Err(Error::shape(op, format!("a target of shape {:?}", self.shape()), format!("{:?}", target.shape()))
            .hint("expand or reshape one of them first"))
    }

    /// The mean of `(x − target)²`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let loss = Tensor::from([1.0_f32, 2.0]).mse_loss(&Tensor::from([1.0_f32, 4.0]));
    /// assert_eq!(loss.item(), 2.0);
    /// ```
    ///
    /// # Panics
    /// If shapes differ, or the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn mse_loss(&self, target: &Self) -> Self {
        ok(self.expect_same_shape(target, "mse_loss"));
        let dtype = self.dtype();
        if !matches!(dtype, DType::F32 | DType::F64) || target.dtype() != dtype {
            return (self - target).square().mean();
        }
        let loss = apply(Primitive::MseLoss, &[Operand::Ref(self), Operand::Ref(target)]);
        ok(loss.map_err(|error| error.named("mse_loss")))
    }

    /// The mean of `|x − target|`. Gradient: 0 where both are equal.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let loss = Tensor::from([1.0_f32, 2.0]).l1_loss(&Tensor::from([1.0_f32, 4.0]));
    /// assert_eq!(loss.item(), 1.0);
    /// ```
    ///
    /// # Panics
    /// If shapes differ, or the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn l1_loss(&self, target: &Self) -> Self {
        ok(self.expect_same_shape(target, "l1_loss"));
        (self - target).abs().mean()
    }

    /// The mean of `d²/2` for `d = |x − target|` up to `delta`, and of `delta·(d − delta/2)` beyond.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let loss = Tensor::from([0.0_f32, 0.0]).huber_loss(&Tensor::from([1.0_f32, 3.0]), 1.0);
    /// assert_eq!(loss.item(), 1.5);
    /// ```
    ///
    /// # Panics
    /// If shapes differ, the dtype is no float, or `delta` is not above 0.
    #[track_caller]
    #[must_use]
    pub fn huber_loss(&self, target: &Self, delta: f64) -> Self {
        ok(self.expect_same_shape(target, "huber_loss"));
        if delta.is_nan() || delta <= 0.0 {
            ok::<()>(Err(Error::value("huber_loss", "delta above 0", delta.to_string())));
        }
        let distance = (self - target).abs();
        let near = distance.square() * 0.5;
        let far = (&distance - 0.5 * delta) * delta;
        distance.le(delta).where_cond(near, far).mean()
    }

    /// The mean of `d²/(2·beta)` for `d = |x − target|` below `beta`, and of `d − beta/2` from there.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let loss = Tensor::from([0.0_f32, 0.0]).smooth_l1_loss(&Tensor::from([1.0_f32, 3.0]), 1.0);
    /// assert_eq!(loss.item(), 1.5);
    /// ```
    ///
    /// # Panics
    /// If shapes differ, the dtype is no float, or `beta` is below 0.
    #[track_caller]
    #[must_use]
    pub fn smooth_l1_loss(&self, target: &Self, beta: f64) -> Self {
        ok(self.expect_same_shape(target, "smooth_l1_loss"));
        if beta.is_nan() || beta < 0.0 {
            ok::<()>(Err(Error::value("smooth_l1_loss", "beta of at least 0", beta.to_string())));
        }
        if beta == 0.0 {
            return self.l1_loss(target);
        }
        let distance = (self - target).abs();
        let near = distance.square() * (0.5 / beta);
        let far = &distance - 0.5 * beta;
        distance.lt(beta).where_cond(near, far).mean()
    }

    /// The mean of `−log_p[target]`: this tensor has the log-probabilities of the classes along axis 1 (axis 0 of a vector),
    /// the target the right class at each place. A target of −100 is left out; without any other the loss is NaN.
    ///
    /// A GPU's numbers are not read back to look for classes that do not exist, so that nothing waits and a step can be captured
    /// as a graph: one such class makes the loss and its gradients NaN there.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let log_p = Tensor::from([[-0.5_f32, -1.0], [-2.0, -0.1]]);
    /// assert_eq!(log_p.nll_loss(&Tensor::from([0_i64, 0])).item(), 1.25);
    /// ```
    ///
    /// # Panics
    /// If the target's shape is not this tensor's without its class axis, its dtype no integer, a class does not exist (on a
    /// CPU), or the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn nll_loss(&self, target: &Self) -> Self {
        ok(self.try_nll(target, "nll_loss"))
    }

    fn class_axis(&self) -> isize {
        isize::from(self.rank() > 1)
    }

    fn try_nll(&self, target: &Self, op: &'static str) -> Result<Self> {
        self.expect_float(op)?;
        let mut places = self.shape();
        if places.is_empty() {
            return Err(Error::shape(op, "an axis of classes", "shape []"));
        }
        let axis = self.class_axis();
        let classes = places.remove(axis as usize);
        if target.shape() != places {
            return Err(Error::shape(op, format!("a target of shape {places:?}"), format!("{:?}", target.shape())));
        }
        if !target.dtype().is_int() {
            return Err(Error::dtype(op, "a target of an integer dtype", target.dtype().name()));
        }
        if self.device().info().kind != DeviceKind::Cpu {
            return self.nll_unread(target, axis, classes);
        }
        let counted = target.ne(IGNORED);
        let index = target.masked_fill(&counted.logical_not(), 0);
        if index.numel() > 0
            && (index.lt(0).any().item_scalar().as_bool() || index.ge(classes).any().item_scalar().as_bool())
        {
            let wrong = if index.min().item() < 0.0 { index.min() } else { index.max() };
            let expected = format!("classes from 0 to {}", classes as i64 - 1);
            return Err(Error::index(op, expected, wrong.item_scalar().to_string()));
        }
        let picked = self.try_gather(axis, &index.unsqueeze(axis))?.squeeze_dims(&[axis]);
        let total = picked.masked_fill(&counted.logical_not(), 0).sum();
        Ok(-total / counted.sum().to_dtype(self.dtype()))
    }

    /// The same without reading a number back, which would have to wait for the device. No memory is addressed by a class, so
    /// one that does not exist harms nothing; it makes everything NaN.
    fn nll_unread(&self, target: &Self, axis: isize, classes: usize) -> Result<Self> {
        let dtype = self.dtype().promote(DType::F32);
        let mut along = vec![1; self.rank()];
        along[axis as usize] = classes;
        let numbers = Array::arange(&self.device(), 0, classes, 1, DType::I64)?.reshape(&Shape::new(&along)?)?;
        let ignored = target.eq(IGNORED);
        let missing = target.lt(0).logical_or(&target.ge(classes)).logical_and(&ignored.logical_not());
        // Where the class does not exist, all of them count, so that their gradients become NaN with the loss.
        let hit = target.unsqueeze(axis).eq(Self::from_array(numbers)).logical_or(&missing.unsqueeze(axis));
        let total = self.masked_fill(&hit.logical_not(), 0).sum();
        let counted = ignored.logical_not().to_dtype(dtype).masked_fill(&missing, f64::NAN);
        Ok(-total / counted.sum().to_dtype(self.dtype()))
    }

    /// The mean cross entropy of raw scores: [`log_softmax`](Self::log_softmax) and [`nll_loss`](Self::nll_loss) for a target
    /// of classes; for a float target of this tensor's shape, which holds a probability for each class, the mean of
    /// `−Σ target·log_p`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let scores = Tensor::zeros([3, 4]);
    /// let loss = scores.cross_entropy(&Tensor::from([0_i64, 3, 1]));
    /// assert!((loss.item() - 4_f64.ln()).abs() < 1e-6);
    /// ```
    ///
    /// # Panics
    /// As [`nll_loss`](Self::nll_loss), and if a float target has another shape.
    #[track_caller]
    #[must_use]
    pub fn cross_entropy(&self, target: &Self) -> Self {
        ok(self.expect_float("cross_entropy"));
        if target.dtype().is_int() || self.rank() == 0 {
            let log_p = if self.rank() == 0 { self.clone() } else { self.log_softmax(self.class_axis()) };
            return ok(log_p.try_nll(target, "cross_entropy"));
        }
        ok(self.expect_same_shape(target, "cross_entropy"));
        let axis = self.class_axis();
        let places = self.numel() / self.size(axis).max(1);
        -(self.log_softmax(axis) * target).sum() / places
    }

    /// The mean binary cross entropy of raw scores and probabilities between 0 and 1, without overflow:
    /// `−target·ln σ(x) − (1 − target)·ln(1 − σ(x))`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let loss = Tensor::from([0.0_f32]).binary_cross_entropy_with_logits(&Tensor::from([1.0_f32]));
    /// assert!((loss.item() - 2_f64.ln()).abs() < 1e-6);
    /// ```
    ///
    /// # Panics
    /// If shapes differ, or the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn binary_cross_entropy_with_logits(&self, target: &Self) -> Self {
        ok(self.expect_same_shape(target, "binary_cross_entropy_with_logits"));
        ((1 - target) * self - self.logsigmoid()).mean()
    }
}
