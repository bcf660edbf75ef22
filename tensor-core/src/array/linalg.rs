//! Matrix products.

use super::{Array, Held, lazy};
use crate::backend::{View, ViewMut};
use crate::shape::Dims;
use crate::{Backend, DType, Error, Layout, MatmulSpec, Program, Result, Shape};
use smallvec::SmallVec;

impl<B: Backend> Array<B> {
    /// The matrix product by PyTorch's rules: vectors are rows on the left and columns on the right, leading axes
    /// broadcast. Both operands have one number dtype; f16 and bf16 accumulate in f32; integers wrap.
    ///
    /// # Errors
    /// If an operand is 0-d, sizes do not match, dtypes differ or are bool, devices differ, or the device fails.
    pub fn matmul(&self, other: &Self) -> Result<Self> {
        self.same_device(other, "matmul")?;
        if self.dtype != other.dtype || self.dtype == DType::Bool {
            return Err(Error::dtype(
                "matmul",
                "two tensors of one number dtype",
                format!("{} and {}", self.dtype, other.dtype),
            )
            .hint("convert one with .to(dtype)"));
        }
        if self.rank() == 0 || other.rank() == 0 {
            return Err(Error::shape(
                "matmul",
                "tensors with at least one axis",
                format!("shapes {} and {}", self.shape(), other.shape()),
            )
            .hint("use * to multiply by a scalar"));
        }
        let (m, k) = match *self.dims() {
            [.., m, k] => (m, k),
            _ => (1, self.numel()),
        };
        let (kb, n) = match *other.dims() {
            [.., kb, n] => (kb, n),
            _ => (other.numel(), 1),
        };
        if k != kb {
            return Err(Error::shape(
                "matmul",
                "as many columns on the left as rows on the right",
                format!("{} and {} ({k} and {kb})", self.shape(), other.shape()),
            ));
        }
        if self.rank() == 2 && other.rank() == 2 {
            return self.product(other, Shape::new([m, n]).map_err(|error| error.named("matmul"))?);
        }
        let a = if self.rank() == 1 { self.unsqueeze(0)? } else { self.clone() };
        let b = if other.rank() == 1 { other.unsqueeze(1)? } else { other.clone() };
        let batch = |array: &Self| Shape::new(&array.dims()[..array.rank() - 2]);
        let (lead_a, lead_b) = (batch(&a)?, batch(&b)?);
        let mut pairs = lead_a.dims().iter().rev().zip(lead_b.dims().iter().rev());
        if pairs.any(|(&x, &y)| x != y && x != 1 && y != 1) {
            return Err(Error::shape(
                "matmul",
                "leading axes that broadcast",
                format!("{} and {}", self.shape(), other.shape()),
            )
            .hint("aligned before the matrices' two axes, sizes must be equal or 1"));
        }
        let lead = lead_a.broadcast(&lead_b, "matmul")?;
        let with = |rows: usize, columns: usize| {
            let mut dims = Dims::from_slice(lead.dims());
            dims.extend([rows, columns]);
            Shape::new(&dims).map_err(|error| error.named("matmul"))
        };
        let full = with(m, n)?;
        let product = a.expand(&with(m, k)?)?.product(&b.expand(&with(k, n)?)?, full.clone())?;
        let mut dims = Dims::from_slice(full.dims());
        if self.rank() == 1 {
            dims.remove(dims.len() - 2);
        }
        if other.rank() == 1 {
            dims.pop();
        }
        product.reshape(&Shape::new(&dims)?)?.settled()
    }

    /// The products of matrices of the same leading axes, of shape `shape`.
    fn product(&self, other: &Self, shape: Shape) -> Result<Self> {
        if shape.numel() == 0 || self.numel() == 0 {
            return Ok(Self::full(&self.backend, 0, &shape, self.dtype));
        }
        let spec = MatmulSpec::batched(shape.rank());
        self.run_product(other, &spec, &[], shape)
    }

    /// The product over groups of axes: `self` has the axes batch, rows, inner, `other` has batch, inner, columns, and the
    /// result batch, rows, columns, where `spec` says how many each are. Extras broadcast to the result.
    ///
    /// ```
    /// use tensor_core::{Array, MatmulSpec, reference::Reference};
    /// // Σ over two axes: the whole of a row of matrices times a matrix.
    /// let a = Array::from_slice(&Reference, &[1.0_f32, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 1.0], [2, 2, 2])?;
    /// let b = Array::from_slice(&Reference, &[1.0_f32, 10.0, 100.0, 1000.0], [2, 2])?;
    /// let spec = MatmulSpec { batch: 0, rows: 1, inner: 2, columns: 0, epilogue: None };
    /// assert_eq!(a.contract(&b, &spec, &[])?.to_vec::<f32>()?, [4321.0, 1000.0]);
    /// # Ok::<(), tensor_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If ranks, sizes, dtypes or devices do not fit, the epilogue does not fit the extras, or the device fails.
    pub fn contract(&self, other: &Self, spec: &MatmulSpec<'_>, extras: &[&Self]) -> Result<Self> {
        self.same_device(other, "contract")?;
        if self.dtype != other.dtype || self.dtype == DType::Bool {
            let got = format!("{} and {}", self.dtype, other.dtype);
            return Err(Error::dtype("contract", "two tensors of one number dtype", got));
        }
        let ranks = [spec.batch + spec.rows + spec.inner, spec.batch + spec.inner + spec.columns];
        let fits = [self.rank(), other.rank()] == ranks
            && self.dims()[..spec.batch] == other.dims()[..spec.batch]
            && self.dims()[spec.batch + spec.rows..] == other.dims()[spec.batch..spec.batch + spec.inner];
        if !fits {
            return Err(Error::shape(
                "contract",
                format!(
                    "{} axes of batch, {} of rows, {} of the inner sum and {} of columns, the shared ones equal",
                    spec.batch, spec.rows, spec.inner, spec.columns
                ),
                format!("shapes {} and {}", self.shape(), other.shape()),
            ));
        }
        let mut dims = Dims::from_slice(&self.dims()[..spec.batch + spec.rows]);
        dims.extend_from_slice(&other.dims()[spec.batch + spec.inner..]);
        let shape = Shape::new(&dims).map_err(|error| error.named("contract"))?;
        let mut wide: SmallVec<[Self; 2]> = SmallVec::new();
        for extra in extras {
            self.same_device(extra, "contract")?;
            wide.push(extra.expand(&shape).map_err(|error| error.named("contract"))?);
        }
        let given = std::iter::once(self.dtype).chain(extras.iter().map(|extra| extra.dtype));
        let own = [self.dtype];
        let wanted = spec.epilogue.map_or(&own[..], Program::inputs);
        let results = spec.epilogue.map_or(1, |program| program.outputs().len());
        let result = spec.epilogue.map_or(self.dtype, |program| program.dtype(program.outputs()[0]));
        if !given.clone().eq(wanted.iter().copied()) || results != 1 || result != self.dtype {
            let given: Vec<DType> = given.collect();
            let expected = format!("an epilogue of {given:?} with one result of {}", self.dtype);
            return Err(Error::dtype("contract", expected, format!("one of {wanted:?} with {results} of {result}")));
        }
        if shape.numel() == 0 {
            return Ok(Self::empty_of(self.backend.clone(), shape, self.dtype));
        }
        if self.numel() == 0 {
            let zeros = Self::full(&self.backend, 0, &shape, self.dtype);
            let Some(program) = spec.epilogue else { return Ok(zeros) };
            let mut inputs: SmallVec<[&Self; 4]> = SmallVec::new();
            inputs.push(&zeros);
            inputs.extend(&wide);
            return Self::map(program, &inputs, "contract");
        }
        self.run_product(other, spec, &wide, shape)
    }

    /// Runs a product whose operands and result have elements.
    fn run_product(&self, other: &Self, spec: &MatmulSpec<'_>, extras: &[Self], shape: Shape) -> Result<Self> {
        if spec.epilogue.is_none() && lazy::may_wait(&self.backend, &shape) {
            return lazy::pend_product(self, other, spec, shape);
        }
        let (a, b) = (self.held()?, other.held()?);
        let held = extras.iter().map(Self::held).collect::<Result<SmallVec<[_; 2]>>>()?;
        let extras: SmallVec<[View<'_, B>; 2]> = held.iter().map(Held::view).collect();
        let mut buffer = self.backend.alloc(shape.numel() * self.dtype.size())?;
        let layout = Layout::contiguous(shape);
        let out = ViewMut::<B> { buffer: &mut buffer, layout: &layout, dtype: self.dtype };
        self.backend.matmul(spec, a.view(), b.view(), &extras, out)?;
        Self::from_dense(self.backend.clone(), buffer, layout, self.dtype)
    }
}
