//! The tensor: a value and its place in the graph.

use crate::engine;
use crate::graph::{Hook, Hooks, Node, Target};
use crate::misuse::ok;
use crate::mode::is_grad_enabled;
use crate::operand::Operand;
use crate::primitive::Value;
use smallvec::SmallVec;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use tensor_core::op::BinaryOp;
use tensor_core::{Array, Backend, DType, Element, Error, Number, Program, Result, Scalar, Shape};

/// A tensor on a device, with automatic gradients.
///
/// A `Tensor` is a handle: clones are cheap and name the same tensor, as assigning a variable does in Python. Its value is
/// immutable; the methods whose names end in an underscore give the tensor a new value instead (reusing the memory when
/// nobody else holds it), so values that other tensors were computed from stay what they were.
///
/// ```
/// # use tensor_core::reference::Reference;
/// # type Tensor = autograd::Tensor<Reference>;
/// let x = Tensor::scalar(3.0).requires_grad_();
/// let y = x.powi(2);
/// y.backward();
/// assert_eq!(x.grad().unwrap().item(), 6.0);
/// ```
pub struct Tensor<B: Backend>(Arc<Inner<B>>);

struct Inner<B: Backend> {
    value: RwLock<Array<B>>,
    origin: Target<B>,
    requires_grad: AtomicBool,
    /// What the value is as a number, for tensors without axes.
    known: Option<Known<B>>,
    /// What only few tensors have: a gradient, hooks.
    leaf: OnceLock<Box<Leaf<B>>>,
}

/// The value of a tensor without axes where the host knows it, to be read without a lock: that takes longer than arithmetic.
///
/// It is written under the value's lock. New values have the shape, the dtype and the device of the old one.
struct Known<B> {
    backend: B,
    /// The number as f64.
    bits: AtomicU64,
    /// [`UNKNOWN`](Self::UNKNOWN), or the dtype.
    kind: AtomicU8,
}

impl<B: Backend> Known<B> {
    const UNKNOWN: u8 = 0;
    const F32: u8 = 1;
    const F64: u8 = 2;

    #[inline]
    fn of(array: &Array<B>) -> Option<Self> {
        if array.rank() > 0 {
            return None;
        }
        let known =
            Self { backend: array.backend().clone(), bits: AtomicU64::new(0), kind: AtomicU8::new(Self::UNKNOWN) };
        known.set(array);
        Some(known)
    }

    #[inline]
    fn set(&self, array: &Array<B>) {
        let kind = match array.number() {
            None => Self::UNKNOWN,
            Some(Number { value, dtype }) => {
                self.bits.store(value.to_bits(), Ordering::Relaxed);
                if dtype == DType::F32 { Self::F32 } else { Self::F64 }
            }
        };
        // Release: the bits, to whoever sees that there are some.
        self.kind.store(kind, Ordering::Release);
    }

    #[inline]
    fn get(&self) -> Option<Number> {
        let dtype = match self.kind.load(Ordering::Acquire) {
            Self::F32 => DType::F32,
            Self::F64 => DType::F64,
            _ => return None,
        };
        Some(Number { value: f64::from_bits(self.bits.load(Ordering::Relaxed)), dtype })
    }
}

struct Leaf<B: Backend> {
    grad: Mutex<Option<Tensor<B>>>,
    hooks: Hooks<B>,
    after: Hooks<B>,
    retains: AtomicBool,
}

impl<B: Backend> Clone for Tensor<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A registered hook; [`remove`](Self::remove) takes it off again. Dropping it leaves the hook in place.
#[derive(Debug)]
pub struct HookHandle<B: Backend> {
    tensor: Tensor<B>,
    number: u64,
    after: bool,
}

impl<B: Backend> HookHandle<B> {
    /// Takes the hook off.
    pub fn remove(self) {
        if self.after {
            self.tensor.leaf().after.remove(self.number);
        } else {
            self.tensor.hooks().remove(self.number);
        }
    }
}

impl<B: Backend> Tensor<B> {
    /// A tensor with this value that carries no gradient.
    #[inline]
    pub fn from_array(value: Array<B>) -> Self {
        Self::with_origin(value, Target::None)
    }

    #[inline]
    pub(crate) fn with_origin(value: Array<B>, origin: Target<B>) -> Self {
        let requires_grad = AtomicBool::new(!origin.is_none());
        let known = Known::of(&value);
        Self(Arc::new(Inner { value: RwLock::new(value), origin, requires_grad, known, leaf: OnceLock::new() }))
    }

    /// The value, without gradients.
    #[inline]
    pub fn array(&self) -> Array<B> {
        self.with_array(Clone::clone)
    }

    #[inline]
    pub(crate) fn with_array<R>(&self, f: impl FnOnce(&Array<B>) -> R) -> R {
        f(&self.0.value.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The value if the host knows it as a number, and the device.
    #[inline]
    pub(crate) fn number(&self) -> Option<(Number, B)> {
        let known = self.0.known.as_ref()?;
        Some((known.get()?, known.backend.clone()))
    }

    /// Runs something on this tensor's value and another's, without clones of them. `None` if another thread is about to
    /// replace one of them: two locks are never waited for.
    #[inline]
    pub(crate) fn with_arrays<R>(&self, other: &Self, f: impl FnOnce(&Array<B>, &Array<B>) -> R) -> Option<R> {
        let a = self.0.value.try_read().ok()?;
        if Arc::ptr_eq(&self.0, &other.0) {
            return Some(f(&a, &a));
        }
        let b = other.0.value.try_read().ok()?;
        Some(f(&a, &b))
    }

    /// The sizes of the axes; empty for a scalar.
    pub fn shape(&self) -> Vec<usize> {
        self.with_array(|array| array.dims().to_vec())
    }

    pub(crate) fn has_shape(&self, shape: &Shape) -> bool {
        self.with_array(|array| array.shape() == shape)
    }

    /// Whether operations on it get a node, so that what a node needs is worth putting together.
    pub(crate) fn is_recording(&self) -> bool {
        self.requires_grad() && is_grad_enabled()
    }

    pub(crate) fn checked_shape(&self) -> Shape {
        self.with_array(|array| array.shape().clone())
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.with_array(Array::rank)
    }

    /// The number of elements.
    pub fn numel(&self) -> usize {
        self.with_array(Array::numel)
    }

    /// The size of an axis; negative ones count from the back.
    ///
    /// # Panics
    /// If there is no such axis.
    #[track_caller]
    pub fn size(&self, axis: isize) -> usize {
        ok(self.with_array(|array| {
            let at = array.shape().axis(axis, "size")?;
            array
                .dims()
                .get(at)
                .copied()
                .ok_or_else(|| Error::index("size", "a tensor with at least one axis", "a 0-d tensor"))
        }))
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.with_array(Array::dtype)
    }

    /// The device that holds it.
    pub fn device(&self) -> B {
        self.with_array(|array| array.backend().clone())
    }

    /// The only element, as a float.
    ///
    /// # Panics
    /// If there is not exactly one element, or the device fails.
    #[track_caller]
    pub fn item(&self) -> f64 {
        self.item_scalar().as_f64()
    }

    /// The only element, with its kind.
    ///
    /// # Panics
    /// If there is not exactly one element, or the device fails.
    #[track_caller]
    pub fn item_scalar(&self) -> Scalar {
        ok(self.array().item())
    }

    /// The elements in row-major order.
    ///
    /// # Panics
    /// If `T` is not the type of the elements, or the device fails.
    #[track_caller]
    pub fn to_vec<T: Element>(&self) -> Vec<T> {
        ok(self.array().to_vec())
    }

    /// Has pending work on this tensor done now. Values are the same without it: whatever needs them has them computed. It is
    /// for measuring, and for memory that must not be held by an expression.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let y = Tensor::ones([100_000]) * 2 + 1;
    /// assert_eq!(y.force().sum().item(), 300_000.0);
    /// ```
    ///
    /// # Panics
    /// If the device fails or has no memory left.
    #[track_caller]
    pub fn force(&self) -> &Self {
        // What is computed already is not even cloned; what is not is computed outside of the lock.
        if let Some(array) = self.with_array(|array| array.is_pending().then(|| array.clone())) {
            ok(array.force());
        }
        self
    }

    /// Whether gradients flow to or through this tensor.
    #[inline]
    pub fn requires_grad(&self) -> bool {
        self.0.requires_grad.load(Ordering::Relaxed)
    }

    /// Whether the tensor was made by the user rather than by a recorded operation. Only leaves gather `.grad`.
    pub fn is_leaf(&self) -> bool {
        self.0.origin.is_none()
    }

    pub(crate) fn origin(&self) -> &Target<B> {
        &self.0.origin
    }

    /// Where gradients of this tensor go when it is an operand.
    pub(crate) fn edge(&self) -> Target<B> {
        match &self.0.origin {
            Target::None if self.requires_grad() => Target::Leaf(self.clone()),
            origin => origin.clone(),
        }
    }

    pub(crate) fn key(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Makes this leaf gather its gradient. Gives the same tensor back, so that it can follow a constructor.
    ///
    /// # Panics
    /// If the dtype is no float.
    #[track_caller]
    #[expect(clippy::must_use_candidate, reason = "it is called for its effect as well as for its result")]
    pub fn requires_grad_(&self) -> Self {
        self.set_requires_grad(true);
        self.clone()
    }

    /// Switches whether this leaf gathers its gradient.
    ///
    /// # Panics
    /// If the dtype is no float, or the tensor was made by a recorded operation and gradients are to be switched off.
    #[track_caller]
    pub fn set_requires_grad(&self, requires_grad: bool) {
        let dtype = self.dtype();
        if requires_grad && !dtype.is_float() {
            ok::<()>(Err(Error::gradient("requires_grad", "a float dtype (f16, bf16, f32, f64)", dtype.name())
                .hint("convert the tensor first: .to(DType::F32)")));
        }
        if !self.is_leaf() {
            if !requires_grad {
                ok::<()>(Err(Error::gradient("requires_grad", "a leaf", "the result of a recorded operation")
                    .hint("use detach() for a tensor outside the graph")));
            }
            return;
        }
        self.0.requires_grad.store(requires_grad, Ordering::Relaxed);
    }

    fn leaf(&self) -> &Leaf<B> {
        self.0.leaf.get_or_init(|| {
            Box::new(Leaf {
                grad: Mutex::new(None),
                hooks: Hooks::new(),
                after: Hooks::new(),
                retains: AtomicBool::new(false),
            })
        })
    }

    /// The gradient that backward passes have gathered, or `None` before the first. The tensor it gives is the leaf's own:
    /// `x.grad().unwrap().zero_()` empties what `x` has gathered.
    pub fn grad(&self) -> Option<Self> {
        self.0.leaf.get()?.grad.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces or removes the gradient.
    ///
    /// # Panics
    /// If its shape, dtype or device differ from the tensor's, or it is the tensor itself.
    #[track_caller]
    pub fn set_grad(&self, grad: Option<Self>) {
        if let Some(grad) = &grad {
            let describe =
                |t: &Self| format!("shape {:?} and dtype {} on {}", t.shape(), t.dtype(), t.device().label());
            if grad.key() == self.key() {
                ok::<()>(Err(Error::gradient("set_grad", "another tensor", "the tensor itself")));
            }
            if grad.shape() != self.shape() || grad.dtype() != self.dtype() || grad.device() != self.device() {
                ok::<()>(Err(Error::gradient("set_grad", describe(self), describe(grad))));
            }
        }
        *self.leaf().grad.lock().unwrap_or_else(PoisonError::into_inner) = grad;
    }

    /// Removes the gradient, so that the next backward pass starts afresh. [`grad`](Self::grad) is `None` then.
    pub fn zero_grad(&self) {
        if let Some(leaf) = self.0.leaf.get() {
            let old = leaf.grad.lock().unwrap_or_else(PoisonError::into_inner).take();
            // Outside the lock: the gradient may own a graph that leads back here.
            drop(old);
        }
    }

    /// Adds to the gradient. Two threads may do so at once: the sum is taken under the lock.
    pub(crate) fn accumulate(&self, mut gradient: Self, create_graph: bool) -> Result<()> {
        let leaf = self.leaf();
        let mut held = leaf.grad.lock().unwrap_or_else(PoisonError::into_inner);
        match &*held {
            None => {
                // A tensor of its own: what the user does to `.grad` must not reach tensors of the graph.
                let is_own = !gradient.requires_grad() && Arc::get_mut(&mut gradient.0).is_some();
                let own = if create_graph || is_own { gradient } else { Self::from_array(gradient.array()) };
                *held = Some(own);
            }
            Some(grad) if create_graph => *held = Some(grad.try_add(&gradient)?),
            Some(grad) => {
                if grad.requires_grad()
                    || !grad.overwrite_binary("backward", BinaryOp::Add, &Operand::Ref(&gradient))?
                {
                    let sum = grad.array().add(&gradient.array())?;
                    grad.replace(sum);
                }
            }
        }
        Ok(())
    }

    /// Gives the tensor a new value.
    pub(crate) fn replace(&self, value: Array<B>) {
        let mut place = self.0.value.write().unwrap_or_else(PoisonError::into_inner);
        debug_assert_eq!(
            (place.shape(), place.dtype()),
            (value.shape(), value.dtype()),
            "a tensor keeps its shape and dtype"
        );
        let old = std::mem::replace(&mut *place, value);
        self.0.known.as_ref().inspect(|known| known.set(&place));
        // What it frees need not be freed under the lock.
        drop(place);
        drop(old);
    }

    /// Refuses an update in place by which a gradient would be lost.
    fn expect_updatable(&self, op: &'static str) -> Result<()> {
        if self.requires_grad() && is_grad_enabled() {
            let (expected, got, hint) = if self.is_leaf() {
                ("a leaf outside of recording", "a leaf that requires a gradient", "wrap the update in no_grad(|| …)")
            } else {
                ("a leaf", "the result of a recorded operation", "use the operation without the underscore")
            };
            return Err(Error::gradient(op, expected, got).hint(hint));
        }
        Ok(())
    }

    /// An operation in place, `self = self ∘ other`, within the tensor's own memory where nobody else sees it. `false` if the
    /// operands need more than that (another dtype, a value that only the host knows), so that it must be done step by step.
    pub(crate) fn update_binary(&self, name: &'static str, op: BinaryOp, other: &Operand<'_, B>) -> Result<bool> {
        self.expect_updatable(name)?;
        self.overwrite_binary(name, op, other)
    }

    fn overwrite_binary(&self, name: &'static str, op: BinaryOp, other: &Operand<'_, B>) -> Result<bool> {
        let (dtype, is_constant) = self.with_array(|array| (array.dtype(), array.constant().is_some()));
        if is_constant || !matches!(dtype, DType::F32 | DType::F64) {
            return Ok(false);
        }
        let other = match other.tensor() {
            None => match other.value() {
                Value::Scalar(scalar) => self.with_array(|a| Array::full(a.backend(), scalar, &Shape::scalar(), dtype)),
                Value::Array(_) => return Ok(false),
            },
            Some(tensor) => tensor.array(),
        };
        let fits = self.with_array(|array| {
            let same = *array.shape() == *other.shape() || other.rank() == 0;
            same && other.dtype() == dtype && (other.constant().is_some() || *other.backend() == *array.backend())
        });
        if !fits {
            return Ok(false);
        }
        let mut program = Program::new();
        let [a, b] = [(); 2].map(|()| program.input(dtype));
        let result = program.binary(op, a, b);
        program.output(result);
        self.overwrite(&program, &mut [], &[&other]).map_err(|error| error.named(name))?;
        Ok(true)
    }

    /// Gives the tensor a new value computed from its old one, by the rules of in-place operations: the shape stays, the
    /// dtype must be able to take the result, and no gradient may be lost.
    pub(crate) fn update(&self, op: &'static str, f: impl FnOnce(&Array<B>) -> Result<Array<B>>) -> Result<()> {
        self.expect_updatable(op)?;
        let old = self.array();
        let new = f(&old)?;
        if new.shape() != old.shape() {
            return Err(Error::shape(op, format!("a result of shape {}", old.shape()), new.shape().to_string()));
        }
        if new.dtype().category() > old.dtype().category() {
            return Err(Error::dtype(op, format!("a result that fits dtype {}", old.dtype()), new.dtype().name()));
        }
        self.replace(new.cast(old.dtype())?);
        Ok(())
    }

    /// Gives this tensor and `state` new values in one pass, by a program of both and `others`: see [`Array::overwrite`].
    pub(crate) fn overwrite(&self, program: &Program, state: &mut [Array<B>], others: &[&Array<B>]) -> Result<()> {
        let mut value = self.0.value.write().unwrap_or_else(PoisonError::into_inner);
        if state.is_empty() {
            let ran = Array::overwrite(program, std::slice::from_mut(&mut *value), others);
            self.0.known.as_ref().inspect(|known| known.set(&value));
            return ran;
        }
        // A stand-in that takes no memory, so that the value has one owner. Nobody sees it while the lock is held.
        let stand_in = |of: &Array<B>| Array::full(of.backend(), 0.0, &Shape::scalar(), of.dtype());
        let mut targets: SmallVec<[Array<B>; 4]> = SmallVec::new();
        for array in std::iter::once(&mut *value).chain(&mut *state) {
            let stand_in = stand_in(array);
            targets.push(std::mem::replace(array, stand_in));
        }
        let ran = Array::overwrite(program, &mut targets, others);
        let mut targets = targets.into_iter();
        for (place, new) in std::iter::once(&mut *value).chain(state).zip(&mut targets) {
            *place = new;
        }
        self.0.known.as_ref().inspect(|known| known.set(&value));
        ran
    }

    /// The same value outside of the graph.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self::from_array(self.array())
    }

    /// Computes the gradients of this one-element tensor and adds them to the `.grad` of every leaf it depends on.
    ///
    /// What the graph kept is freed on the way; use [`backward_with`](Self::backward_with) to keep it.
    ///
    /// # Panics
    /// If the tensor has more than one element or does not depend on a leaf that requires a gradient, or if the graph was
    /// used by a backward pass before.
    #[track_caller]
    pub fn backward(&self) {
        ok(engine::backward(&[self], &[None], &engine::GradOptions::default()));
    }

    /// [`backward`](Self::backward) from a given gradient of this tensor, which may have any number of elements.
    ///
    /// # Panics
    /// As [`backward`](Self::backward), and if the gradient's shape differs from the tensor's.
    #[track_caller]
    pub fn backward_with(&self, gradient: &Self) {
        ok(engine::backward(&[self], &[Some(gradient)], &engine::GradOptions::default()));
    }

    /// [`backward`](Self::backward) with options.
    ///
    /// # Panics
    /// As [`backward`](Self::backward), and if the gradient's shape differs from the tensor's.
    #[track_caller]
    pub fn backward_opts(&self, gradient: Option<&Self>, options: engine::GradOptions) {
        ok(engine::backward(&[self], &[gradient], &options));
    }

    /// Makes a tensor that is not a leaf keep its gradient in `.grad` too.
    ///
    /// # Panics
    /// If the tensor does not require a gradient.
    #[track_caller]
    pub fn retain_grad(&self) {
        if !self.requires_grad() {
            ok::<()>(Err(Error::gradient("retain_grad", "a tensor that requires a gradient", "one that does not")));
        }
        let Target::Node(node, output) = self.origin() else { return };
        if self.leaf().retains.swap(true, Ordering::Relaxed) {
            return;
        }
        let owner = Arc::downgrade(&self.0);
        let hook: Hook<B> = Arc::new(move |gradient| {
            if let Some(inner) = owner.upgrade() {
                // A gradient that fits; an error here would be the device's, and the pass itself will meet it.
                let tensor = Self(inner);
                drop(tensor.accumulate(gradient.clone(), gradient.requires_grad()));
            }
            None
        });
        node.hooks.get_or_init(|| Box::new(Hooks::new())).add(*output, hook);
    }

    fn hooks(&self) -> &Hooks<B> {
        match self.origin() {
            Target::Node(node, _) => node.hooks.get_or_init(|| Box::new(Hooks::new())),
            _ => &self.leaf().hooks,
        }
    }

    /// Calls `hook` with this tensor's gradient when a backward pass has computed it; what it returns replaces the gradient.
    /// Hooks run in the order they were registered. A leaf's hooks see the pass's gradient, before it is added to `.grad`.
    ///
    /// # Panics
    /// If the tensor does not require a gradient. A backward pass panics if the replacement has another shape.
    #[track_caller]
    pub fn register_hook(&self, hook: impl Fn(&Self) -> Option<Self> + Send + Sync + 'static) -> HookHandle<B> {
        if !self.requires_grad() {
            ok::<()>(Err(Error::gradient("register_hook", "a tensor that requires a gradient", "one that does not")));
        }
        let output = if let Target::Node(_, output) = self.origin() { *output } else { 0 };
        let number = self.hooks().add(output, Arc::new(hook));
        HookHandle { tensor: self.clone(), number, after: false }
    }

    /// Calls `hook` with this leaf after a backward pass has added to its `.grad`.
    ///
    /// # Panics
    /// If the tensor is not a leaf that requires a gradient.
    #[track_caller]
    pub fn register_post_accumulate_hook(&self, hook: impl Fn(&Self) + Send + Sync + 'static) -> HookHandle<B> {
        if !self.requires_grad() || !self.is_leaf() {
            ok::<()>(Err(Error::gradient(
                "register_post_accumulate_hook",
                "a leaf that requires a gradient",
                "another tensor",
            )));
        }
        let hook: Hook<B> = Arc::new(move |leaf| {
            hook(leaf);
            None
        });
        let number = self.leaf().after.add(0, hook);
        HookHandle { tensor: self.clone(), number, after: true }
    }

    /// What a backward pass does with a leaf's gradient: hooks, accumulation, hooks.
    pub(crate) fn receive(&self, gradient: Self, create_graph: bool) -> Result<()> {
        self.accumulate(gradient, create_graph)?;
        if let Some(leaf) = self.0.leaf.get() {
            leaf.after.run(0, self.clone())?;
        }
        Ok(())
    }

    /// The gradient after the leaf's own hooks.
    pub(crate) fn hooked(&self, gradient: Self) -> Result<Self> {
        match self.0.leaf.get() {
            Some(leaf) => leaf.hooks.run(0, gradient),
            None => Ok(gradient),
        }
    }

    /// The graph behind this tensor in Graphviz's DOT language: operations as boxes, leaves as ellipses.
    pub fn to_dot(&self) -> String {
        crate::dot::render(self)
    }

    pub(crate) fn node(&self) -> Option<&Arc<Node<B>>> {
        match self.origin() {
            Target::Node(node, _) => Some(node),
            _ => None,
        }
    }

    /// The value, which nobody else has if this was the only handle of the tensor.
    pub(crate) fn into_array(self) -> Array<B> {
        match Arc::try_unwrap(self.0) {
            Ok(inner) => inner.value.into_inner().unwrap_or_else(PoisonError::into_inner),
            Err(shared) => Self(shared).array(),
        }
    }

    pub(crate) fn into_node(self) -> Option<Arc<Node<B>>> {
        match &self.0.origin {
            Target::Node(node, _) => Some(node.clone()),
            _ => None,
        }
    }
}
