//! Pending pointwise expressions, and products and row-wise results that wait for them.
//!
//! Only pointwise work waits, and products and [computations over rows](super::rows) for what is computed of them; and not for
//! long:
//! 1. Shapes and dtypes are checked before an expression is built, at the caller's line.
//! 2. At most [`MAX_PENDING`] instructions and [`MAX_INPUTS`] inputs pend; what would grow beyond runs first.
//! 3. Nothing is computed again and again: when an expression runs, every part of it that somebody still holds is written
//!    out in the same pass, and what only the expression itself held can be asked for by nobody else. A reduction may
//!    compute an expression on the fly once; the second consumer makes it run and keep its value.
//!    Another view of a pending result makes it run at once, so that nothing pends deeper than the limit.
//! 4. Results do not depend on what was fused: between expressions f16 and bf16 are rounded as memory would round them.
//! 5. Small arrays do not wait at all ([`Backend::eager_below`]).
//! 6. A product whose operands are in memory waits, and so do elements computed by rows. If all that is computed of one has one
//!    result and nobody else holds it, that is its epilogue; else it is computed as if it had not waited.
//! 7. `GRADIX_EAGER=1` turns waiting off.

use super::rows::Rows;
use super::{Array, Arrays, Held, Operands, Storage, single};
use crate::backend::{Input, View, ViewMut};
use crate::program::{MAX_INPUTS, MAX_OUTPUTS, Op, Program, Reg};
use crate::{Backend, DType, Layout, MatmulSpec, Result, Shape};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The most instructions that may pend.
pub(crate) const MAX_PENDING: usize = 32;

/// The instructions that rounding to a storage type takes.
pub(super) const ROUNDING: usize = 2;

/// Whether pointwise operations may wait to be fused: unless `GRADIX_EAGER=1` is set.
pub fn fusion_enabled() -> bool {
    static ENABLED: OnceLock<bool> = OnceLock::new();
    *ENABLED.get_or_init(|| std::env::var_os("GRADIX_EAGER").is_none_or(|value| value != "1"))
}

/// A pointwise expression, and its value once it ran.
pub(super) struct Lazy<B: Backend> {
    shape: Shape,
    dtype: DType,
    /// Instructions and inputs down to the leaves, counted with repetition.
    instructions: usize,
    inputs: usize,
    /// Whether something computed it on the fly already.
    consumed: AtomicBool,
    state: Mutex<State<B>>,
}

enum State<B: Backend> {
    /// What is to be computed.
    Pending(Arc<Pending<B>>),
    /// A product or elements computed by rows, which what is computed of them may join as their epilogue.
    Waiting(Arc<Waiting<B>>),
    /// The dense result.
    Done(B::Buffer),
}

/// A program of one output and its operands, all of the expression's shape.
struct Pending<B: Backend> {
    program: Arc<Program>,
    operands: Arrays<B>,
}

/// What waits for an epilogue. Its operands are in memory.
enum Waiting<B: Backend> {
    /// A product: how many axes batch, rows, inner sum and columns have.
    Product { operands: [Array<B>; 2], axes: [usize; 4] },
    /// Elements computed by rows.
    Rows(Box<Rows<B>>),
}

impl<B: Backend> Waiting<B> {
    /// Computes it with an epilogue.
    fn run(
        &self,
        backend: &B,
        shape: &Shape,
        dtype: DType,
        epilogue: Option<&Program>,
        extras: &[View<'_, B>],
    ) -> Result<B::Buffer> {
        let (operands, &[batch, rows, inner, columns]) = match self {
            Self::Product { operands, axes } => (operands, axes),
            Self::Rows(rows) => return rows.run(epilogue, extras),
        };
        let spec = MatmulSpec { batch, rows, inner, columns, epilogue };
        let (a, b) = (operands[0].held()?, operands[1].held()?);
        let mut buffer = backend.alloc(shape.numel() * dtype.size())?;
        let layout = Layout::contiguous(shape.clone());
        let out = ViewMut { buffer: &mut buffer, layout: &layout, dtype };
        backend.matmul(&spec, a.view(), b.view(), extras, out)?;
        Ok(buffer)
    }
}

impl<B: Backend> Lazy<B> {
    /// The result's memory, if it is there and this was the last handle to the expression.
    pub(super) fn into_buffer(self: Arc<Self>) -> std::result::Result<B::Buffer, Arc<Self>> {
        if self.is_pending() {
            return Err(self);
        }
        // What was computed stays computed, so the state cannot be pending here.
        let lazy = Arc::try_unwrap(self)?;
        match lazy.state.into_inner().unwrap_or_else(PoisonError::into_inner) {
            State::Done(buffer) => Ok(buffer),
            State::Pending(_) | State::Waiting(_) => unreachable!("an expression that ran does not pend again"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<B>> {
        // A panic while the lock is held leaves the state as it was: every change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_pending(&self) -> bool {
        !matches!(*self.state(), State::Done(_))
    }

    /// What waits for an epilogue, if it does and has not run.
    fn waiting(&self) -> Option<Arc<Waiting<B>>> {
        match &*self.state() {
            State::Waiting(waiting) => Some(Arc::clone(waiting)),
            State::Pending(_) | State::Done(_) => None,
        }
    }

    /// Keeps the dense result. Whoever computed it first wins; another thread's is the same.
    fn done(&self, buffer: B::Buffer) {
        let mut state = self.state();
        if !matches!(*state, State::Done(_)) {
            let old = std::mem::replace(&mut *state, State::Done(buffer));
            // Dropping the operands may drop whole expressions; not under the lock.
            drop(state);
            drop(old);
        }
    }

    /// The dense result; runs the expression if it has not run.
    pub(super) fn force(self: &Arc<Self>, backend: &B) -> Result<B::Buffer> {
        loop {
            if let Some(waiting) = self.waiting() {
                self.done(waiting.run(backend, &self.shape, self.dtype, None, &[])?);
            }
            let alone = match &*self.state() {
                State::Done(buffer) => return Ok(buffer.clone()),
                State::Pending(pending) if stands_alone(backend, &pending.operands) => Some(Arc::clone(pending)),
                State::Pending(_) | State::Waiting(_) => None,
            };
            if let Some(pending) = alone {
                // The program as it is does the same as a graph of one expression, without the time to make one.
                let operands: Operands<'_, B> = pending.operands.iter().map(Cow::Borrowed).collect();
                let (buffer, _) = compute(backend, &pending.program, &self.shape, &operands)?;
                self.done(buffer);
                continue;
            }
            let mut graph = Graph::collect(self);
            // Another thread may have run it in between; then there is nothing to collect.
            if !graph.nodes.is_empty() {
                graph.wanted(self);
                graph.run(backend)?;
            }
        }
    }
}

/// Runs a program of one output over operands of shape `shape`, or lets it wait; then it is taken, and the operands too.
pub(super) fn run<B: Backend>(
    backend: &B,
    program: &mut Program,
    shape: &Shape,
    operands: &mut Operands<'_, B>,
) -> Result<Array<B>> {
    match run_unless_it_waits(backend, program, shape, operands) {
        Some(result) => result,
        None => pend(backend, Arc::new(std::mem::take(program)), shape, operands),
    }
}

/// [`run`] of a program that others run too.
pub(super) fn run_shared<B: Backend>(
    backend: &B,
    program: &Arc<Program>,
    shape: &Shape,
    operands: &mut Operands<'_, B>,
) -> Result<Array<B>> {
    match run_unless_it_waits(backend, program, shape, operands) {
        Some(result) => result,
        None => pend(backend, Arc::clone(program), shape, operands),
    }
}

fn run_unless_it_waits<B: Backend>(
    backend: &B,
    program: &Program,
    shape: &Shape,
    operands: &[Cow<'_, Array<B>>],
) -> Option<Result<Array<B>>> {
    let count = shape.numel();
    if count == 0 {
        let dtype = program.dtype(program.outputs()[0]);
        return Some(Ok(Array::empty_of(backend.clone(), shape.clone(), dtype)));
    }
    let at_once = count <= backend.eager_below() || !fusion_enabled();
    at_once.then(|| run_now(backend, program, shape, operands))
}

/// Runs a program of one output over operands of shape `shape`, which is not empty.
pub(super) fn run_now<B: Backend>(
    backend: &B,
    program: &Program,
    shape: &Shape,
    operands: &[Cow<'_, Array<B>>],
) -> Result<Array<B>> {
    let dtype = program.dtype(program.outputs()[0]);
    let (buffer, layout) = compute(backend, program, shape, operands)?;
    Array::from_dense(backend.clone(), buffer, layout, dtype)
}

/// The result of a program of one output over operands of shape `shape`, which is not empty: dense memory, and its layout.
fn compute<B: Backend>(
    backend: &B,
    program: &Program,
    shape: &Shape,
    operands: &[Cow<'_, Array<B>>],
) -> Result<(B::Buffer, Layout)> {
    match operands {
        [a] => compute_of(backend, program, shape, [a]),
        [a, b] => compute_of(backend, program, shape, [a, b]),
        [a, b, c] => compute_of(backend, program, shape, [a, b, c]),
        _ => {
            let mut held: SmallVec<[Held<'_, B>; MAX_INPUTS]> = SmallVec::new();
            for operand in operands {
                held.push(operand.held()?);
            }
            let inputs: SmallVec<[Input<'_, B>; MAX_INPUTS]> =
                held.iter().map(|held| Input::View(held.view())).collect();
            compute_into(backend, program, shape, &inputs)
        }
    }
}

/// [`compute`] of a few operands. What is in memory, which is nearly everything, is borrowed: on small arrays the time to
/// gather operands would show.
fn compute_of<B: Backend, const COUNT: usize>(
    backend: &B,
    program: &Program,
    shape: &Shape,
    operands: [&Array<B>; COUNT],
) -> Result<(B::Buffer, Layout)> {
    let mut made: [Option<B::Buffer>; COUNT] = std::array::from_fn(|_| None);
    for (made, operand) in made.iter_mut().zip(operands) {
        if !matches!(operand.storage, Storage::Buffer(_)) {
            *made = Some(operand.held()?.buffer.into_owned());
        }
    }
    let inputs: [Input<'_, B>; COUNT] = std::array::from_fn(|number| {
        let operand = operands[number];
        let buffer = match (&operand.storage, &made[number]) {
            (Storage::Buffer(buffer), _) | (_, Some(buffer)) => buffer,
            (Storage::Const(_) | Storage::Lazy(_), None) => unreachable!("what was not in memory was made above"),
        };
        Input::View(View { buffer, layout: &operand.layout, dtype: operand.dtype })
    });
    compute_into(backend, program, shape, &inputs)
}

/// [`compute`] of what is in memory.
#[inline]
fn compute_into<B: Backend>(
    backend: &B,
    program: &Program,
    shape: &Shape,
    inputs: &[Input<'_, B>],
) -> Result<(B::Buffer, Layout)> {
    // A layout that an operand has already need not be made again.
    let plain = inputs.iter().find_map(|input| match input {
        Input::View(view) if view.layout.is_plain() => Some(view.layout),
        Input::View(_) | Input::Output(_) => None,
    });
    let layout = plain.cloned().unwrap_or_else(|| Layout::contiguous(shape.clone()));
    let dtype = program.dtype(program.outputs()[0]);
    let mut buffer = backend.alloc(layout.numel() * dtype.size())?;
    let output = ViewMut { buffer: &mut buffer, layout: &layout, dtype };
    backend.pointwise(program, shape, inputs, &mut [output])?;
    Ok((buffer, layout))
}

impl<B: Backend> Array<B> {
    /// Whether a pointwise operation on arrays like it is run at once, and not by the host.
    #[inline]
    pub(super) fn runs_at_once(&self) -> bool {
        !matches!(self.storage, Storage::Const(_)) && self.numel() <= self.backend.eager_below()
    }
}

/// Runs a program of one output over arrays of one shape at once, if that is what would be done with them: they are small, in
/// memory, and nothing has to be decided.
#[inline]
pub(super) fn run_small<B: Backend, const COUNT: usize>(
    program: &Program,
    operands: [&Array<B>; COUNT],
) -> Option<Result<Array<B>>> {
    let first = operands[0];
    let alike =
        |array: &&Array<B>| array.runs_at_once() && array.shape() == first.shape() && array.backend == first.backend;
    if !first.runs_at_once() || !operands[1..].iter().all(alike) {
        return None;
    }
    let dtype = program.dtype(program.outputs()[0]);
    Some(
        compute_of(&first.backend, program, first.shape(), operands)
            .and_then(|(buffer, layout)| Array::from_dense(first.backend.clone(), buffer, layout, dtype)),
    )
}

/// [`run_small`] of two arrays, the shape of one of which the other broadcasts to.
pub(super) fn run_small_broadcast<B: Backend>(
    program: &Program,
    a: &Array<B>,
    b: &Array<B>,
) -> Option<Result<Array<B>>> {
    let grows = |array: &Array<B>, to: &Array<B>| {
        let mut sizes = array.dims().iter().rev().zip(to.dims().iter().rev());
        array.rank() <= to.rank() && sizes.all(|(&size, &to)| size == to || size == 1)
    };
    if !a.runs_at_once() || !b.runs_at_once() || a.backend != b.backend || a.numel() == 0 || b.numel() == 0 {
        return None;
    }
    let wide =
        |array: &Array<B>, to: &Array<B>| array.layout.expand(to.shape()).map(|layout| array.with_layout(layout));
    if grows(b, a) {
        wide(b, a).map_or_else(|error| Some(Err(error)), |b| run_small(program, [a, &b]))
    } else if grows(a, b) {
        wide(a, b).map_or_else(|error| Some(Err(error)), |a| run_small(program, [&a, b]))
    } else {
        None
    }
}

/// Lets a product wait for what is computed of it. The operands are in memory from here on: a chain of products that all wait
/// would have no bound.
pub(super) fn pend_product<B: Backend>(
    a: &Array<B>,
    b: &Array<B>,
    spec: &MatmulSpec<'_>,
    shape: Shape,
) -> Result<Array<B>> {
    a.force()?;
    b.force()?;
    let axes = [spec.batch, spec.rows, spec.inner, spec.columns];
    let product = Waiting::Product { operands: [a.clone(), b.clone()], axes };
    Ok(lazy_array(&a.backend, shape, a.dtype, (1, 1), State::Waiting(Arc::new(product))))
}

/// Whether a result of this shape may wait for what is computed of it.
pub(super) fn may_wait<B: Backend>(backend: &B, shape: &Shape) -> bool {
    fusion_enabled() && shape.rank() > 0 && shape.numel() > backend.eager_below()
}

/// Lets a computation over rows wait for what is computed of its elements.
pub(super) fn pend_rows<B: Backend>(rows: Box<Rows<B>>) -> Array<B> {
    let (backend, shape, dtype, size) = (rows.backend().clone(), rows.shape().clone(), rows.dtype(), rows.size());
    lazy_array(&backend, shape, dtype, size, State::Waiting(Arc::new(Waiting::Rows(rows))))
}

/// An array that is yet to be computed, and counts as so many instructions and inputs.
fn lazy_array<B: Backend>(
    backend: &B,
    shape: Shape,
    dtype: DType,
    (instructions, inputs): (usize, usize),
    state: State<B>,
) -> Array<B> {
    let (layout, consumed) = (Layout::contiguous(shape.clone()), AtomicBool::new(false));
    let lazy = Lazy { shape, dtype, instructions, inputs, consumed, state: Mutex::new(state) };
    Array { backend: backend.clone(), dtype, layout, storage: Storage::Lazy(Arc::new(lazy)) }
}

/// Lets a program of one output wait over operands of shape `shape`, which are taken.
fn pend<B: Backend>(
    backend: &B,
    program: Arc<Program>,
    shape: &Shape,
    operands: &mut Operands<'_, B>,
) -> Result<Array<B>> {
    let operands: Arrays<B> = std::mem::take(operands).into_iter().map(Cow::into_owned).collect();
    let dtype = program.dtype(program.outputs()[0]);
    for operand in &operands {
        // Another view of a pending result must be in memory to be read. It runs now: a chain of such views that all wait
        // would have no bound, and running or dropping it would recurse as deep as it is long.
        if fusible(operand).is_none() {
            operand.force()?;
        }
    }
    let (mut instructions, mut inputs) = size(&program, &operands);
    if instructions > MAX_PENDING || inputs > MAX_INPUTS {
        for operand in &operands {
            operand.force()?;
        }
        (instructions, inputs) = size(&program, &operands);
    }
    let pending = State::Pending(Arc::new(Pending { program, operands }));
    Ok(lazy_array(backend, shape.clone(), dtype, (instructions, inputs), pending))
}

/// Instructions and inputs of a program with everything that pends below it.
fn size<B: Backend>(program: &Program, operands: &Arrays<B>) -> (usize, usize) {
    // At least one, so that every level of a chain counts. Storage types are rounded between expressions.
    let own = (program.insts().len() - operands.len()).max(1);
    let dtype = program.dtype(program.outputs()[0]);
    let mut instructions = own + if dtype.compute() == dtype { 0 } else { ROUNDING };
    let mut inputs = 0;
    for operand in operands {
        match fusible(operand) {
            Some(lazy) if lazy.is_pending() => {
                instructions += lazy.instructions;
                // At least one: by the time it is used it may be in memory.
                inputs += lazy.inputs.max(1);
            }
            _ => {
                instructions += 1;
                inputs += 1;
            }
        }
    }
    (instructions, inputs)
}

/// The expression of an operand that is exactly an expression's result and no other view of it.
fn fusible<B: Backend>(operand: &Array<B>) -> Option<&Arc<Lazy<B>>> {
    match &operand.storage {
        Storage::Lazy(lazy)
            if lazy.shape == *operand.shape() && operand.layout.offset() == 0 && operand.layout.is_contiguous() =>
        {
            Some(lazy)
        }
        _ => None,
    }
}

/// Whether a program over these operands has nothing to gain from a graph: all are in memory, and none is there twice.
fn stands_alone<B: Backend>(backend: &B, operands: &Arrays<B>) -> bool {
    let is_same = |a: &Array<B>, b: &Array<B>| match (&a.storage, &b.storage) {
        (Storage::Buffer(a), Storage::Buffer(b)) => backend.is_same(a, b),
        (Storage::Lazy(a), Storage::Lazy(b)) => Arc::ptr_eq(a, b),
        _ => false,
    };
    operands.iter().enumerate().all(|(number, operand)| {
        let in_memory = match &operand.storage {
            Storage::Buffer(_) => true,
            Storage::Lazy(lazy) => !lazy.is_pending(),
            Storage::Const(_) => false,
        };
        in_memory && !operands[..number].iter().any(|other| is_same(operand, other) && operand.layout == other.layout)
    })
}

/// What a reduction needs to compute its operand on the fly.
pub(super) struct Fused<B: Backend> {
    pub(super) program: Arc<Program>,
    pub(super) inputs: SmallVec<[(B::Buffer, Layout, DType); MAX_INPUTS]>,
}

/// The operand as a program over what is in memory: its pending expression the first time it is consumed, else a copy.
pub(super) fn prologue<B: Backend>(operand: &Array<B>) -> Result<Fused<B>> {
    if let Some(lazy) = fusible(operand)
        && lazy.is_pending()
        && !lazy.consumed.swap(true, Ordering::Relaxed)
    {
        let graph = Graph::collect(lazy);
        // A part that was computed on the fly before runs now, with all the rest.
        let again = graph
            .nodes
            .iter()
            .any(|node| !Arc::ptr_eq(&node.lazy, lazy) && node.lazy.consumed.swap(true, Ordering::Relaxed));
        // Without nodes another thread has just run it.
        if !again && !graph.nodes.is_empty() {
            let mut fused = graph.fuse(&operand.backend, None)?;
            let root = fused.registers[graph.nodes.len() - 1];
            fused.program.output(root);
            return Ok(Fused { program: Arc::new(fused.program), inputs: fused.inputs });
        }
    }
    in_memory(operand)
}

/// The operand as a copy of what is in memory.
pub(super) fn in_memory<B: Backend>(operand: &Array<B>) -> Result<Fused<B>> {
    let mut inputs = SmallVec::new();
    inputs.push(operand.held()?.into_parts());
    Ok(Fused { program: Arc::clone(single::copy(operand.dtype)), inputs })
}

/// [`prologue`] for a computation over rows, whose steps do it again and again: with more inputs or instructions, or where
/// elements are computed from their positions, the operand is computed first.
pub(super) fn prologue_of_few<B: Backend>(operand: &Array<B>, inputs: usize, instructions: usize) -> Result<Fused<B>> {
    if fusible(operand).is_some_and(|lazy| lazy.inputs > inputs || lazy.instructions > instructions) {
        return in_memory(operand);
    }
    let fused = prologue(operand)?;
    if fused.inputs.is_empty() || fused.program.uses_position() { in_memory(operand) } else { Ok(fused) }
}

/// The pending expressions that one run computes, operands before their consumers.
struct Graph<B: Backend> {
    nodes: SmallVec<[Node<B>; 4]>,
    outputs: SmallVec<[usize; MAX_OUTPUTS]>,
}

/// One expression as it stood when the run began.
struct Node<B: Backend> {
    lazy: Arc<Lazy<B>>,
    pending: Arc<Pending<B>>,
    /// How often other nodes of the graph use it.
    uses: usize,
}

/// A graph as one program.
struct FusedGraph<B: Backend> {
    program: Program,
    inputs: SmallVec<[(B::Buffer, Layout, DType); MAX_INPUTS]>,
    registers: SmallVec<[Reg; MAX_PENDING]>,
    /// The program's inputs before these.
    lead: usize,
}

impl<B: Backend> Graph<B> {
    fn collect(root: &Arc<Lazy<B>>) -> Self {
        let mut graph = Self { nodes: SmallVec::new(), outputs: SmallVec::new() };
        graph.add(root);
        graph
    }

    fn place(&self, lazy: &Arc<Lazy<B>>) -> Option<usize> {
        self.nodes.iter().position(|node| Arc::ptr_eq(&node.lazy, lazy))
    }

    /// Adds an expression after everything pending below it. The depth of the recursion is bounded by [`MAX_PENDING`].
    fn add(&mut self, lazy: &Arc<Lazy<B>>) {
        if let Some(place) = self.place(lazy) {
            self.nodes[place].uses += 1;
            return;
        }
        let pending = match &*lazy.state() {
            State::Pending(pending) => Arc::clone(pending),
            // What waits is an operand like one in memory, unless the graph becomes its epilogue.
            State::Waiting(_) | State::Done(_) => return,
        };
        for operand in &pending.operands {
            if let Some(lazy) = fusible(operand) {
                self.add(lazy);
            }
        }
        self.nodes.push(Node { lazy: lazy.clone(), pending, uses: 1 });
    }

    /// Chooses what is written out: the root and every part that somebody outside the graph still holds.
    fn wanted(&mut self, root: &Arc<Lazy<B>>) {
        for (place, node) in self.nodes.iter().enumerate().rev() {
            // Each use inside the graph is held once, by the expression, and `nodes` holds one. Whoever holds the rest may
            // ask for the value.
            let inside = node.uses + 1;
            let wanted = Arc::ptr_eq(&node.lazy, root) || Arc::strong_count(&node.lazy) > inside;
            if wanted && self.outputs.len() < MAX_OUTPUTS {
                self.outputs.push(place);
            }
        }
    }

    /// The one operand that waits for an epilogue, if the graph has a single result, and nobody but its expressions holds that
    /// operand: then they can be it.
    fn waiting(&self) -> Option<Arc<Lazy<B>>> {
        let root = &self.nodes.last()?.lazy;
        let waiting = || {
            let operands = self.nodes.iter().flat_map(|node| &node.pending.operands).filter_map(fusible);
            operands.filter(|lazy| matches!(*lazy.state(), State::Waiting(_)))
        };
        let first = waiting().next()?;
        let fits = self.outputs.len() == 1
            && first.dtype == root.dtype
            && waiting().all(|other| Arc::ptr_eq(first, other))
            && Arc::strong_count(first) == waiting().count()
            && self.nodes.iter().all(|node| !node.pending.program.uses_position());
        fits.then(|| first.clone())
    }

    /// Computes the only result as the epilogue of what waits for it.
    fn run_after(&self, backend: &B, lazy: &Arc<Lazy<B>>) -> Result<()> {
        // Another thread may have run it in between.
        let Some(waiting) = lazy.waiting() else { return self.run_alone(backend) };
        let mut fused = self.fuse(backend, Some(lazy))?;
        let root = &self.nodes[self.nodes.len() - 1].lazy;
        fused.program.output(fused.registers[self.nodes.len() - 1]);
        let extras: SmallVec<[View<'_, B>; MAX_INPUTS]> =
            fused.inputs.iter().map(|(buffer, layout, dtype)| View { buffer, layout, dtype: *dtype }).collect();
        root.done(waiting.run(backend, &root.shape, root.dtype, Some(&fused.program), &extras)?);
        Ok(())
    }

    fn run(&self, backend: &B) -> Result<()> {
        match self.waiting() {
            Some(waiting) => self.run_after(backend, &waiting),
            None => self.run_alone(backend),
        }
    }

    /// Puts all expressions into one program without outputs. What they are the epilogue of, if anything, is its first input.
    fn fuse(&self, backend: &B, before: Option<&Arc<Lazy<B>>>) -> Result<FusedGraph<B>> {
        let mut fused =
            FusedGraph::<B> { program: Program::new(), inputs: SmallVec::new(), registers: SmallVec::new(), lead: 0 };
        let before = before.map(|lazy| (lazy, fused.program.input(lazy.dtype)));
        fused.lead = usize::from(before.is_some());
        for node in &self.nodes {
            let mut operands: SmallVec<[Reg; 3]> = SmallVec::new();
            for operand in &node.pending.operands {
                let lazy = fusible(operand);
                let pending = lazy.and_then(|lazy| self.place(lazy));
                operands.push(match (pending, before) {
                    (Some(place), _) => fused.registers[place],
                    (None, Some((before, register))) if lazy.is_some_and(|lazy| Arc::ptr_eq(lazy, before)) => register,
                    (None, _) => fused.leaf(backend, operand)?,
                });
            }
            let results = fused.program.append(&node.pending.program, &operands);
            fused.registers.push(round(&mut fused.program, results[0]));
        }
        Ok(fused)
    }

    fn run_alone(&self, backend: &B) -> Result<()> {
        let mut fused = self.fuse(backend, None)?;
        let shape = &self.nodes[self.nodes.len() - 1].lazy.shape;
        let layout = Layout::contiguous(shape.clone());
        let mut buffers: SmallVec<[B::Buffer; 2]> = SmallVec::new();
        for &place in &self.outputs {
            fused.program.output(fused.registers[place]);
            buffers.push(backend.alloc(shape.numel() * self.nodes[place].lazy.dtype.size())?);
        }
        let inputs: SmallVec<[Input<'_, B>; MAX_INPUTS]> = fused
            .inputs
            .iter()
            .map(|(buffer, layout, dtype)| Input::View(View { buffer, layout, dtype: *dtype }))
            .collect();
        let mut outputs: SmallVec<[ViewMut<'_, B>; 2]> = buffers
            .iter_mut()
            .zip(&self.outputs)
            .map(|(buffer, &place)| ViewMut { buffer, layout: &layout, dtype: self.nodes[place].lazy.dtype })
            .collect();
        backend.pointwise(&fused.program, shape, &inputs, &mut outputs)?;
        drop(outputs);
        for (&place, buffer) in self.outputs.iter().zip(buffers) {
            self.nodes[place].lazy.done(buffer);
        }
        Ok(())
    }
}

/// The value as memory would hold it. Within a program f16 and bf16 keep the precision they are computed in, but a result
/// must not depend on what was fused: `x == max(x)` has to find the maximum whether x was in memory or not.
pub(super) fn round(program: &mut Program, result: Reg) -> Reg {
    let dtype = program.dtype(result);
    let exact = matches!(program.insts()[result.index()].op, Op::Input(_) | Op::Scalar(_) | Op::Cast(_));
    if exact || dtype.compute() == dtype {
        return result;
    }
    let wide = program.cast(result, dtype.compute());
    program.cast(wide, dtype)
}

impl<B: Backend> FusedGraph<B> {
    /// The register of an operand that is in memory or known; the same operand gets the same register.
    fn leaf(&mut self, backend: &B, operand: &Array<B>) -> Result<Reg> {
        if let Some(value) = operand.constant() {
            return Ok(self.program.scalar(value, operand.dtype));
        }
        let held = operand.held()?;
        for (number, (buffer, layout, dtype)) in self.inputs.iter().enumerate() {
            if *dtype == held.dtype && layout == held.layout && backend.is_same(buffer, &held.buffer) {
                return Ok(self.program.input_register(self.lead + number));
            }
        }
        self.inputs.push(held.into_parts());
        Ok(self.program.input(operand.dtype))
    }
}
