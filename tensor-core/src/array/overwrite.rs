//! Giving arrays new values in the memory that they have.

use super::lazy;
use super::{Array, Storage};
use crate::backend::{Input, View, ViewMut};
use crate::program::{MAX_INPUTS, MAX_INSTRUCTIONS, Reg};
use crate::{Backend, DType, Error, Layout, Program, Result, Scalar};
use smallvec::SmallVec;

/// Memory that a target's new value goes to.
struct Place<B: Backend> {
    buffer: B::Buffer,
    /// Whether the buffer is the target's own, whose old content the program reads from it.
    own: bool,
}

impl<B: Backend> Array<B> {
    /// Gives every target a new value in one pass: the program's first inputs are the targets' old values, the others follow;
    /// its outputs are the targets' new values. Where nobody else sees a target's memory, it is written in place. Others
    /// broadcast to the targets' shape; what pends of them is computed on the way.
    ///
    /// ```
    /// use tensor_core::{Array, DType, Program, op::BinaryOp, reference::Reference};
    /// // x −= g
    /// let mut program = Program::new();
    /// let (x, g) = (program.input(DType::F32), program.input(DType::F32));
    /// let less = program.binary(BinaryOp::Sub, x, g);
    /// program.output(less);
    /// let mut x = [Array::from_slice(&Reference, &[3.0_f32, 4.0], [2])?];
    /// let g = Array::from_slice(&Reference, &[1.0_f32], [1])?;
    /// Array::overwrite(&program, &mut x, &[&g])?;
    /// assert_eq!(x[0].to_vec::<f32>()?, [2.0, 3.0]);
    /// # Ok::<(), tensor_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the program does not fit the arrays, shapes or devices do not fit, or the device fails. If it fails while it runs,
    /// targets that are written in place have no defined content.
    pub fn overwrite(program: &Program, targets: &mut [Self], others: &[&Self]) -> Result<()> {
        check(program, targets, others)?;
        if let [target] = targets
            && let Some(ran) = target.overwrite_alone(program, others)
        {
            return ran;
        }
        let Some(first) = targets.first() else { return Ok(()) };
        let (backend, shape) = (first.backend.clone(), first.shape().clone());
        if shape.numel() == 0 {
            return Ok(());
        }
        let mut whole = None;
        let inputs = with_prologues(program, targets, others, &mut whole)?;
        let program = whole.as_ref().unwrap_or(program);
        let layout = if first.layout.is_plain() { first.layout.clone() } else { Layout::contiguous(shape.clone()) };
        let mut places: SmallVec<[Place<B>; 4]> = SmallVec::new();
        let mut olds = SmallVec::<[Option<Part<B>>; 4]>::new();
        for target in targets.iter_mut() {
            target.force()?;
        }
        // Nothing is taken before everything that may fail to be allocated is there.
        for target in targets.iter_mut() {
            let taken = target.take_buffer();
            let own = taken.is_some();
            let place = match taken {
                Some(buffer) => Ok((buffer, None)),
                None => target.held().and_then(|held| {
                    let fresh = backend.alloc(shape.numel() * target.dtype.size())?;
                    Ok((fresh, Some(held.into_parts())))
                }),
            };
            match place {
                Ok((buffer, held)) => {
                    places.push(Place { buffer, own });
                    olds.push(held);
                }
                Err(error) => {
                    give_back(targets, places);
                    return Err(error);
                }
            }
        }
        let mut views: SmallVec<[Input<'_, B>; MAX_INPUTS]> = SmallVec::new();
        for (number, old) in olds.iter().enumerate() {
            views.push(old.as_ref().map_or(Input::Output(number), input));
        }
        views.extend(inputs.iter().map(input));
        let mut outputs: SmallVec<[ViewMut<'_, B>; 4]> = places
            .iter_mut()
            .zip(targets.iter())
            .map(|(place, target)| ViewMut { buffer: &mut place.buffer, layout: &layout, dtype: target.dtype })
            .collect();
        let ran = backend.pointwise(program, &shape, &views, &mut outputs);
        drop(outputs);
        if let Err(error) = ran {
            give_back(targets, places);
            return Err(error);
        }
        for (target, place) in targets.iter_mut().zip(places) {
            *target = Self::from_dense(backend.clone(), place.buffer, layout.clone(), target.dtype)?;
        }
        Ok(())
    }

    /// [`overwrite`](Self::overwrite) of one array in its own memory by at most two others in memory that have its shape: what
    /// optimizers and sums of gradients do, with nothing to be decided. `None` if it is not so.
    fn overwrite_alone(&mut self, program: &Program, others: &[&Self]) -> Option<Result<()>> {
        let is_like = |other: &&Self| {
            matches!(other.storage, Storage::Buffer(_))
                && other.shape() == self.shape()
                && other.backend == self.backend
        };
        if others.len() > 2 || !self.layout.is_plain() || self.numel() == 0 || !others.iter().all(is_like) {
            return None;
        }
        let mut buffer = self.take_buffer()?;
        let mut inputs: SmallVec<[Input<'_, B>; 3]> = SmallVec::new();
        inputs.push(Input::Output(0));
        for other in others {
            if let Storage::Buffer(buffer) = &other.storage {
                inputs.push(Input::View(View { buffer, layout: &other.layout, dtype: other.dtype }));
            }
        }
        let out = ViewMut { buffer: &mut buffer, layout: &self.layout, dtype: self.dtype };
        let ran = self.backend.pointwise(program, self.shape(), &inputs, &mut [out]);
        self.storage = Storage::Buffer(buffer);
        Some(ran)
    }

    /// The array's memory if it is dense from the start and nobody else sees it; a constant stands in its place then.
    pub(super) fn take_buffer(&mut self) -> Option<B::Buffer> {
        if self.layout.offset() != 0 || !self.layout.is_contiguous() {
            return None;
        }
        let stand_in = Storage::Const(Scalar::Int(0).cast(self.dtype));
        let back = match std::mem::replace(&mut self.storage, stand_in) {
            Storage::Buffer(mut buffer) => {
                if self.backend.is_unique(&mut buffer) {
                    return Some(buffer);
                }
                Storage::Buffer(buffer)
            }
            Storage::Lazy(lazy) => match lazy.into_buffer() {
                Ok(mut buffer) => {
                    if self.backend.is_unique(&mut buffer) {
                        return Some(buffer);
                    }
                    Storage::Buffer(buffer)
                }
                Err(lazy) => Storage::Lazy(lazy),
            },
            constant @ Storage::Const(_) => constant,
        };
        self.storage = back;
        None
    }
}

/// Undoes [`Array::take_buffer`].
fn give_back<B: Backend>(targets: &mut [Array<B>], places: SmallVec<[Place<B>; 4]>) {
    for (target, place) in targets.iter_mut().zip(places) {
        if place.own {
            target.storage = Storage::Buffer(place.buffer);
        }
    }
}

fn check<B: Backend>(program: &Program, targets: &[Array<B>], others: &[&Array<B>]) -> Result<()> {
    let given: SmallVec<[DType; MAX_INPUTS]> = targets.iter().chain(others.iter().copied()).map(Array::dtype).collect();
    if program.inputs() != given.as_slice() {
        return Err(Error::dtype("overwrite", format!("inputs of {:?}", program.inputs()), format!("{given:?}")));
    }
    let outputs = program.outputs().iter().map(|&reg| program.dtype(reg));
    if !outputs.clone().eq(targets.iter().map(Array::dtype)) {
        let kinds = outputs.collect::<Vec<_>>();
        return Err(Error::dtype("overwrite", format!("a result for each target, of {given:?}"), format!("{kinds:?}")));
    }
    for target in targets {
        targets[0].same_device(target, "overwrite")?;
        if target.shape() != targets[0].shape() {
            let (expected, got) = (targets[0].shape(), target.shape());
            return Err(Error::shape("overwrite", format!("targets of shape {expected}"), got.to_string()));
        }
    }
    Ok(())
}

/// What is in memory, to be read.
type Part<B> = (<B as Backend>::Buffer, Layout, DType);

/// The inputs that follow the targets'. Room for few: it is moved.
type Rest<B> = SmallVec<[Part<B>; 2]>;

fn input<B: Backend>((buffer, layout, dtype): &Part<B>) -> Input<'_, B> {
    Input::View(View { buffer, layout, dtype: *dtype })
}

/// What the program reads besides the targets. Where something of the others pends, `whole` becomes the program with that in
/// front.
fn with_prologues<B: Backend>(
    program: &Program,
    targets: &[Array<B>],
    others: &[&Array<B>],
    whole: &mut Option<Program>,
) -> Result<Rest<B>> {
    if others.iter().all(|other| other.constant().is_none() && !other.is_pending())
        && let Some(first) = targets.first()
    {
        let mut rest: Rest<B> = SmallVec::new();
        for other in others {
            first.expect_neighbor(other, "overwrite")?;
            let (buffer, layout, dtype) = other.held()?.into_parts();
            let layout = if layout.shape() == first.shape() {
                layout
            } else {
                layout.expand(first.shape()).map_err(|error| error.named("overwrite"))?
            };
            rest.push((buffer, layout, dtype));
        }
        return Ok(rest);
    }
    let whole = whole.insert(Program::new());
    let mut operands: SmallVec<[Reg; MAX_INPUTS]> = targets.iter().map(|target| whole.input(target.dtype)).collect();
    let mut rest: Rest<B> = SmallVec::new();
    let Some(first) = targets.first() else { return Ok(rest) };
    for (number, other) in others.iter().enumerate() {
        let other = first.neighbor(other, "overwrite")?;
        if let Some(value) = other.constant() {
            other.shape().broadcast(first.shape(), "overwrite")?;
            operands.push(whole.scalar(value, other.dtype));
            continue;
        }
        let other = other.expand(first.shape()).map_err(|error| error.named("overwrite"))?;
        let mut fused = lazy::prologue(&other)?;
        // Every other after this one may need an input and an instruction of its own.
        let (open, own) = (others.len() - number - 1, program.insts().len());
        if whole.inputs().len() + fused.inputs.len() + open > MAX_INPUTS
            || whole.insts().len() + fused.program.insts().len() + lazy::ROUNDING + open + own > MAX_INSTRUCTIONS
        {
            fused = lazy::in_memory(&other)?;
        }
        let inputs: SmallVec<[Reg; MAX_INPUTS]> =
            fused.inputs.iter().map(|(_, _, dtype)| whole.input(*dtype)).collect();
        let results = whole.append(&fused.program, &inputs);
        operands.push(lazy::round(whole, results[0]));
        rest.extend(fused.inputs);
    }
    for result in whole.append(program, &operands) {
        whole.output(result);
    }
    Ok(rest)
}
