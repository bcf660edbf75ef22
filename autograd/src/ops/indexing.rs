//! Indexing as in numpy and PyTorch: `x.i((1.., ..3, -1))`, and assignment to what an index names.
//!
//! An index is first read against the tensor's shape into a plan: a chain of views for numbers, ranges and new axes, and
//! tensors of places for the axes of the view that are picked from. Reading and assigning then follow the plan.

use super::indices::{Index, Indices};
use crate::misuse::ok;
use crate::mode::is_grad_enabled;
use crate::operand::Operand;
use crate::primitive::{Primitive, ViewOp, apply, apply1};
use crate::tensor::Tensor;
use tensor_core::{Array, Backend, DType, Dims, Error, ErrorKind, Result, Scalar, ScatterOp, Shape};

/// An index read against a shape.
struct Plan<B: Backend> {
    /// From the tensor to the view that is picked from.
    views: Vec<ViewOp>,
    /// The view's shape.
    dims: Vec<usize>,
    /// Axes of the view with the places to pick along each, none negative, as `I64`; all of one shape.
    picks: Vec<(usize, Array<B>)>,
    /// The shape of the places.
    places: Shape,
}

/// Where the picked axes' places stand among the axes of the result.
struct Arrangement {
    /// The order of the view's axes that brings the picked ones together.
    order: Dims<isize>,
    /// The axis of the result at which the places' axes begin.
    at: usize,
    /// The view's shape in that order, the picked axes as one.
    merged: Vec<usize>,
}

impl<B: Backend> Plan<B> {
    fn new(shape: &Shape, device: &B, entries: &[Index<B>], op: &'static str) -> Result<Self> {
        let mut plan =
            Self { views: Vec::new(), dims: shape.dims().to_vec(), picks: Vec::new(), places: Shape::scalar() };
        let whole = whole_axes(shape, entries, op)?;
        // `axis` counts axes of the view, `own` those of the tensor, which errors speak of.
        let (mut axis, mut own) = (0, 0);
        for entry in entries {
            match entry {
                Index::At(index) => {
                    plan.select(axis, own, *index, op)?;
                    own += 1;
                }
                Index::Slice(slice) => {
                    if slice.step_size() == 0 {
                        return Err(Error::index(op, "a step other than 0", format!("step 0 along axis {own}")));
                    }
                    let size = plan.dims[axis];
                    let (start, len) = slice.on(size);
                    if (start, len, slice.step_size()) != (0, size, 1) {
                        plan.views.push(ViewOp::Slice { axis: axis as isize, start, len, step: slice.step_size() });
                        plan.dims[axis] = len;
                    }
                    (axis, own) = (axis + 1, own + 1);
                }
                Index::Ellipsis => (axis, own) = (axis + whole, own + whole),
                Index::NewAxis => {
                    plan.insert(axis)?;
                    axis += 1;
                }
                Index::List(list) => {
                    let numbers: Vec<i64> = list.iter().map(|&place| place as i64).collect();
                    let places = Array::from_slice(device, &numbers, [numbers.len()])?;
                    plan.pick(axis, own, &places, op)?;
                    (axis, own) = (axis + 1, own + 1);
                }
                Index::Tensor(tensor) if tensor.dtype() == DType::Bool => {
                    let covered = plan.mask(axis, own, &tensor.array().to_backend(device)?, op)?;
                    (axis, own) = (axis + covered.max(1), own + covered);
                }
                Index::Tensor(tensor) => {
                    plan.pick(axis, own, &tensor.array().to_backend(device)?, op)?;
                    (axis, own) = (axis + 1, own + 1);
                }
            }
        }
        plan.broadcast(op)?;
        Ok(plan)
    }

    fn select(&mut self, axis: usize, own: usize, index: isize, op: &'static str) -> Result<()> {
        let size = self.dims[axis] as isize;
        if !(-size..size).contains(&index) {
            return Err(out_of_bounds(op, own, size as usize, &index.to_string()));
        }
        self.views.push(ViewOp::Select { axis: axis as isize, index });
        self.dims.remove(axis);
        Ok(())
    }

    fn insert(&mut self, axis: usize) -> Result<()> {
        self.dims.insert(axis, 1);
        self.views.push(ViewOp::Reshape(Shape::new(&self.dims)?));
        Ok(())
    }

    fn pick(&mut self, axis: usize, own: usize, places: &Array<B>, op: &'static str) -> Result<()> {
        let size = self.dims[axis];
        let places = places.non_negative(size, op).map_err(|error| match error.kind() {
            ErrorKind::Misuse { about: tensor_core::About::Index, got, .. } => out_of_bounds(op, own, size, got),
            _ => error,
        })?;
        self.picks.push((axis, places.cast(DType::I64)?));
        Ok(())
    }

    /// Turns a mask into places along each axis that it covers; gives the number of the tensor's axes.
    fn mask(&mut self, axis: usize, own: usize, mask: &Array<B>, op: &'static str) -> Result<usize> {
        let rank = mask.rank();
        if rank == 0 {
            // One truth value keeps or drops the whole: a new axis of size 1 that is picked from once or never.
            self.insert(axis)?;
            self.picks.push((axis, mask.mask_indices()?));
            return Ok(0);
        }
        let covered = &self.dims[axis..axis + rank];
        if mask.dims() != covered {
            let axes = if rank == 1 { format!("axis {own}") } else { format!("axes {own} to {}", own + rank - 1) };
            return Err(Error::shape(op, format!("a mask of shape {covered:?} for {axes}"), mask.shape().to_string()));
        }
        let rows = mask.nonzero()?;
        for column in 0..rank {
            self.picks.push((axis + column, rows.select(1, column as isize)?));
        }
        Ok(rank)
    }

    /// Brings all places to one shape.
    fn broadcast(&mut self, op: &'static str) -> Result<()> {
        for (_, places) in &self.picks {
            self.places = self.places.broadcast(places.shape(), op).map_err(|_apart| {
                let shapes: Vec<String> = self.picks.iter().map(|(_, places)| places.shape().to_string()).collect();
                Error::shape(op, "index tensors whose shapes broadcast", shapes.join(" and "))
            })?;
        }
        for (_, places) in &mut self.picks {
            *places = places.expand(&self.places)?;
        }
        Ok(())
    }

    /// Picked axes that are neighbours stay where they are; otherwise their places come first, as in numpy.
    fn arrangement(&self) -> Arrangement {
        let axes: Vec<usize> = self.picks.iter().map(|(axis, _)| *axis).collect();
        let together = axes.windows(2).all(|pair| pair[1] == pair[0] + 1);
        let at = if together { axes[0] } else { 0 };
        let mut order: Dims<isize> =
            (0..self.dims.len()).filter(|axis| !axes.contains(axis)).map(|axis| axis as isize).collect();
        for (number, &axis) in axes.iter().enumerate() {
            order.insert(at + number, axis as isize);
        }
        let ordered: Vec<usize> = order.iter().map(|&axis| self.dims[axis as usize]).collect();
        let mut merged = ordered[..at].to_vec();
        merged.push(ordered[at..at + axes.len()].iter().product());
        merged.extend(&ordered[at + axes.len()..]);
        Arrangement { order, at, merged }
    }

    /// The row-major numbers of the places along the merged axis, as a vector.
    fn numbers(&self) -> Result<Array<B>> {
        let (_, first) = &self.picks[0];
        let mut numbers = first.clone();
        for (axis, places) in &self.picks[1..] {
            numbers = numbers.mul(self.dims[*axis])?.add(places)?;
        }
        numbers.reshape(&Shape::new([self.places.numel()])?)
    }

    fn view(&self, tensor: &Tensor<B>) -> Result<Tensor<B>> {
        self.views.iter().try_fold(tensor.clone(), |view, op| view.try_viewed(op.clone()))
    }

    fn read(&self, tensor: &Tensor<B>) -> Result<Tensor<B>> {
        let view = self.view(tensor)?;
        if self.picks.is_empty() {
            return Ok(view);
        }
        let plan = self.arrangement();
        let merged = Shape::new(&plan.merged)?;
        let flat = view.try_permuted(&plan.order)?.try_reshape_to(&merged)?;
        let picked = apply1(Primitive::IndexSelect(plan.at as isize, Box::new((self.numbers()?, merged))), &flat)?;
        picked.try_reshape_to(&self.result_shape(&plan)?)
    }

    /// The shape of what the index names.
    fn result_shape(&self, plan: &Arrangement) -> Result<Shape> {
        let mut dims = plan.merged[..plan.at].to_vec();
        dims.extend(self.places.dims());
        dims.extend(&plan.merged[plan.at + 1..]);
        Shape::new(&dims)
    }

    fn write(&self, how: ScatterOp, tensor: &Tensor<B>, values: &Tensor<B>, op: &'static str) -> Result<Tensor<B>> {
        if self.picks.is_empty() {
            let values = fitted(values, &Shape::new(&self.dims)?, op)?;
            let values = match how {
                ScatterOp::Add => self.view(tensor)?.try_add(&values)?,
                _ => values,
            };
            return self.put_back(tensor, &values, op);
        }
        let plan = self.arrangement();
        let values = fitted(values, &self.result_shape(&plan)?, op)?.try_to_dtype(tensor.dtype())?;
        let mut source = plan.merged.clone();
        source[plan.at] = self.places.numel();
        let values = values.try_reshape_to(&Shape::new(&source)?)?;
        let ordered = self.view(tensor)?.try_permuted(&plan.order)?;
        let flat = ordered.try_reshape_to(&Shape::new(&plan.merged)?)?;
        let scatter = Primitive::IndexScatter(how, plan.at as isize, Box::new(self.numbers()?));
        let changed = apply(scatter, &[Operand::Ref(&flat), Operand::Ref(&values)]).map_err(|e| e.named(op))?;
        let mut back: Dims<isize> = Dims::from_elem(0, plan.order.len());
        for (place, &axis) in plan.order.iter().enumerate() {
            back[axis as usize] = place as isize;
        }
        let changed = changed.try_reshape_to(&ordered.checked_shape())?.try_permuted(&back)?;
        self.put_back(tensor, &changed, op)
    }

    /// The tensor with its view replaced.
    fn put_back(&self, tensor: &Tensor<B>, view: &Tensor<B>, op: &'static str) -> Result<Tensor<B>> {
        if self.views.is_empty() && !self.picks.is_empty() {
            return Ok(view.clone());
        }
        apply(Primitive::Assign(self.views.clone()), &[Operand::Ref(tensor), Operand::Ref(view)])
            .map_err(|error| error.named(op))
    }
}

/// How many whole axes an ellipsis stands for, or an error if the entries need more axes than there are.
fn whole_axes<B: Backend>(shape: &Shape, entries: &[Index<B>], op: &'static str) -> Result<usize> {
    let needed: usize = entries
        .iter()
        .map(|entry| match entry {
            Index::Ellipsis | Index::NewAxis => 0,
            Index::Tensor(tensor) if tensor.dtype() == DType::Bool => tensor.rank(),
            _ => 1,
        })
        .sum();
    let rank = shape.rank();
    if needed > rank {
        let count = if rank == 1 { "1 index".to_owned() } else { format!("{rank} indices") };
        return Err(Error::index(op, format!("at most {count} for shape {shape}"), format!("{needed}")));
    }
    if entries.iter().filter(|entry| matches!(entry, Index::Ellipsis)).count() > 1 {
        return Err(Error::index(op, "one Ellipsis at most", "several"));
    }
    Ok(rank - needed)
}

fn out_of_bounds(op: &'static str, axis: usize, size: usize, got: &str) -> Error {
    let expected = match size {
        0 => format!("no index for axis {axis} of size 0"),
        _ => format!("an index from -{size} to {} for axis {axis} of size {size}", size - 1),
    };
    Error::index(op, expected, got)
}

/// Values broadcast to the place they go to. Leading axes of size 1 that are too many go.
fn fitted<B: Backend>(values: &Tensor<B>, place: &Shape, op: &'static str) -> Result<Tensor<B>> {
    let own = values.checked_shape();
    let spare = own.rank().saturating_sub(place.rank());
    let trimmed = if spare > 0 && own.dims()[..spare].iter().all(|&size| size == 1) {
        values.try_reshape_to(&Shape::new(&own.dims()[spare..])?)?
    } else {
        values.clone()
    };
    if trimmed.checked_shape() == *place {
        return Ok(trimmed);
    }
    trimmed
        .try_viewed(ViewOp::Expand(place.clone()))
        .map_err(|_unfit| Error::shape(op, format!("values that broadcast to shape {place}"), own.to_string()))
}

impl<B: Backend> Tensor<B> {
    fn try_permuted(&self, order: &Dims<isize>) -> Result<Self> {
        if order.iter().enumerate().all(|(place, &axis)| place as isize == axis) {
            return Ok(self.clone());
        }
        self.try_viewed(ViewOp::Permute(order.clone()))
    }

    fn plan(&self, index: impl Indices<B>, op: &'static str) -> Result<Plan<B>> {
        let mut entries = Vec::new();
        index.append(&mut entries);
        Plan::new(&self.checked_shape(), &self.device(), &entries, op)
    }

    /// The part of the tensor that an index names, as `x[…]` in numpy and PyTorch.
    ///
    /// | entry | what it does to its axis |
    /// |---|---|
    /// | an integer | picks one place; the axis goes. Below 0 it counts from the back |
    /// | `1..`, `..3`, `1..=-2`, `..` | keeps a range; bounds below 0 count from the back, those beyond the axis are cut to it |
    /// | [`(0..6).step(2)`](super::StepBy::step) | keeps every second place; a negative step walks backwards |
    /// | [`Ellipsis`](super::Ellipsis) | keeps as many whole axes as the other entries leave |
    /// | [`NewAxis`](super::NewAxis) | adds an axis of size 1 |
    /// | a tensor, array or vector of integers | picks places in that order; the axis becomes the axes of the tensor |
    /// | a tensor of bools | keeps where it holds; its axes become one |
    ///
    /// Axes without an entry stay whole. Several tensors broadcast together and pick one place for each of their elements;
    /// their axes stand where the first of them did, or in front if other entries stand between them (integers do not count,
    /// as in PyTorch). Integers and ranges give views; tensors copy. Differentiable: an element picked several times gets the
    /// sum of its gradients.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::arange(0, 24, 1).reshape([2, 3, 4]);
    /// assert_eq!(x.i((1.., ..2, -1)).to_vec::<i64>(), [15, 19]);
    /// assert_eq!(x.i((1.., ..2, -1)).shape(), [1, 2]);
    /// assert_eq!(x.i((0, [2, 0], 1)).to_vec::<i64>(), [9, 1]);
    /// assert_eq!(x.i(&x.gt(20)).to_vec::<i64>(), [21, 22, 23]);
    /// ```
    ///
    /// # Panics
    /// If there are more entries than axes, an index lies outside its axis, a step is 0, a mask has another shape than what it
    /// covers, index tensors do not broadcast or have a float dtype.
    #[track_caller]
    #[must_use]
    pub fn i(&self, index: impl Indices<B>) -> Self {
        ok(self.plan(index, "i").and_then(|plan| plan.read(self)))
    }

    /// This tensor with what an index names replaced by values: a scalar, or a tensor that broadcasts to the shape of
    /// [`x.i(index)`](Self::i). Values are converted to the tensor's dtype. Where an index names a place several times, one of
    /// the values stays.
    ///
    /// The tensor itself keeps its value; [`i_set_`](Self::i_set_) changes it. Differentiable in both: what was replaced gets
    /// the gradient 0.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::zeros([2, 3]);
    /// let y = x.i_set((.., 1..), &Tensor::from([1.0_f32, 2.0]));
    /// assert_eq!(y.to_vec::<f32>(), [0.0, 1.0, 2.0, 0.0, 1.0, 2.0]);
    /// assert_eq!(y.i_set(&y.gt(1), -1).to_vec::<f32>(), [0.0, 1.0, -1.0, 0.0, 1.0, -1.0]);
    /// ```
    ///
    /// # Panics
    /// As [`i`](Self::i), and if the values do not broadcast to the place.
    #[track_caller]
    #[must_use]
    pub fn i_set<'a>(&'a self, index: impl Indices<B>, values: impl Into<Operand<'a, B>>) -> Self {
        ok(self.try_put(ScatterOp::Set, index, &values.into(), "i_set"))
    }

    /// This tensor with values added to what an index names. A place named several times gets all of its values.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let counts = Tensor::zeros([3]).i_add([0, 2, 2], 1);
    /// assert_eq!(counts.to_vec::<f32>(), [1.0, 0.0, 2.0]);
    /// ```
    ///
    /// # Panics
    /// As [`i_set`](Self::i_set).
    #[track_caller]
    #[must_use]
    pub fn i_add<'a>(&'a self, index: impl Indices<B>, values: impl Into<Operand<'a, B>>) -> Self {
        ok(self.try_put(ScatterOp::Add, index, &values.into(), "i_add"))
    }

    fn try_put(
        &self,
        how: ScatterOp,
        index: impl Indices<B>,
        values: &Operand<'_, B>,
        op: &'static str,
    ) -> Result<Self> {
        let mut entries = Vec::new();
        index.append(&mut entries);
        // A mask over the whole tensor and one value: no places have to be counted, which a device would have to wait for.
        if let ([Index::Tensor(mask)], ScatterOp::Set) = (&entries[..], how)
            && mask.dtype() == DType::Bool
            && mask.rank() > 0
            && mask.checked_shape() == self.checked_shape()
            && let Operand::Scalar(value) = values
        {
            return self.try_masked_fill(mask, *value);
        }
        let plan = Plan::new(&self.checked_shape(), &self.device(), &entries, op)?;
        let values = match values {
            Operand::Scalar(value) => &self.scalar_like(*value),
            Operand::Ref(tensor) => tensor,
            Operand::Own(tensor) => tensor,
        };
        plan.write(how, self, values, op)
    }

    /// A 0-d tensor of this tensor's dtype and device.
    fn scalar_like(&self, value: Scalar) -> Self {
        Self::from_array(Array::full(&self.device(), value, &Shape::scalar(), self.dtype()))
    }

    /// Replaces what an index names in this very tensor: [`i_set`](Self::i_set) in place.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::zeros([3]);
    /// x.i_set_(1.., 5);
    /// assert_eq!(x.to_vec::<f32>(), [0.0, 5.0, 5.0]);
    /// ```
    ///
    /// # Panics
    /// As [`i_set`](Self::i_set), and outside of [`no_grad`](crate::no_grad) if the tensor or the values require a gradient.
    #[track_caller]
    pub fn i_set_<'a>(&'a self, index: impl Indices<B>, values: impl Into<Operand<'a, B>>) -> &'a Self {
        let values = values.into();
        ok(not_lost("i_set_", &values));
        ok(self.update("i_set_", |old| {
            let new = Self::from_array(old.clone()).try_put(ScatterOp::Set, index, &values, "i_set_")?;
            Ok(new.array())
        }));
        self
    }
}

/// Refuses an operand of an in-place operation whose gradient would be lost: the changed tensor cannot join a graph.
pub(crate) fn not_lost<B: Backend>(op: &'static str, operand: &Operand<'_, B>) -> Result<()> {
    if operand.requires_grad() && is_grad_enabled() {
        return Err(Error::gradient(op, "values outside of the graph", "values that require a gradient")
            .hint("use the operation without the underscore, or wrap the update in no_grad(|| …)"));
    }
    Ok(())
}
