//! A case: one question to a backend, with a name.

use super::judge::{Bound, judge};
use super::tensor::HostTensor;
use crate::backend::{Input, View, ViewMut};
use crate::fallback::record_fallbacks;
use crate::reference::{self, HostInput};
use crate::{Backend, DType, Error, ErrorKind, Program, Scalar, Shape};
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

/// One question to a backend: an operation in a dtype under one aspect, such as lengths or layouts.
pub struct Case<B: Backend> {
    family: &'static str,
    op: Cow<'static, str>,
    dtype: Option<DType>,
    aspect: Cow<'static, str>,
    needs: Vec<DType>,
    question: Question<B>,
}

type Question<B> = Box<dyn Fn(&mut Probe<'_, B>) -> Check + Send + Sync>;

/// What became of a [`Case`].
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// The largest error that was found in a result that passed, in units in the last place; `None` where nothing is
    /// rounded.
    pub worst_ulp: Option<f64>,
    /// The operations for which the backend has no kernel and the reference interpreter stood in.
    pub fallbacks: BTreeSet<&'static str>,
}

/// The verdict on a [`Case`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The results are right.
    Passed,
    /// The device does not name one of the dtypes in [`DeviceInfo::dtypes`](crate::DeviceInfo::dtypes).
    NotSupported,
    /// The backend has no kernel and `GRADIX_DENY_FALLBACK=1` forbids the reference interpreter.
    Denied,
    /// A result is wrong, a method failed or panicked; in a sentence.
    Wrong(String),
}

/// Why a case did not pass.
#[derive(Debug)]
pub(super) enum Failure {
    Wrong(String),
    Denied,
}

pub(super) type Check = Result<(), Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::FallbackDenied { .. } => Self::Denied,
            _ => Self::Wrong(format!("the backend failed: {error}")),
        }
    }
}

/// A failure that says what was wrong.
pub(super) fn wrong(what: impl Into<String>) -> Failure {
    Failure::Wrong(what.into())
}

/// Fails with a sentence unless the condition holds.
pub(super) fn ensure(condition: bool, what: impl FnOnce() -> String) -> Check {
    if condition { Ok(()) } else { Err(Failure::Wrong(what())) }
}

impl<B: Backend> Case<B> {
    /// A case of an operation in a dtype. What else it needs is said by [`needing`](Self::needing).
    pub(super) fn new(
        family: &'static str,
        op: impl Into<Cow<'static, str>>,
        dtype: impl Into<Option<DType>>,
        aspect: impl Into<Cow<'static, str>>,
        question: impl Fn(&mut Probe<'_, B>) -> Check + Send + Sync + 'static,
    ) -> Self {
        let dtype = dtype.into();
        Self {
            family,
            op: op.into(),
            dtype,
            aspect: aspect.into(),
            needs: dtype.into_iter().collect(),
            question: Box::new(question),
        }
    }

    /// Names further dtypes that the device must have.
    pub(super) fn needing(mut self, dtypes: impl IntoIterator<Item = DType>) -> Self {
        self.needs.extend(dtypes);
        self
    }

    /// The name: family, operation, dtype where there is one, and aspect, with slashes between.
    pub fn name(&self) -> String {
        match self.dtype {
            Some(dtype) => format!("{}/{}/{dtype}/{}", self.family, self.op, self.aspect),
            None => format!("{}/{}/{}", self.family, self.op, self.aspect),
        }
    }

    /// What kind of question it is: `pointwise`, `reduce`, `memory` and so on.
    pub fn family(&self) -> &'static str {
        self.family
    }

    /// The operation, as the method is called.
    pub fn op(&self) -> &str {
        &self.op
    }

    /// The dtype of the operands, for questions about one dtype.
    pub fn dtype(&self) -> Option<DType> {
        self.dtype
    }

    /// Asks the backend. A panic inside counts as wrong.
    pub fn run(&self, backend: &B) -> Outcome {
        let known = backend.info().dtypes;
        if self.needs.iter().any(|dtype| !known.contains(dtype)) {
            return Outcome { verdict: Verdict::NotSupported, worst_ulp: None, fallbacks: BTreeSet::new() };
        }
        let mut probe = Probe::new(backend);
        // A probe that a panic left half-way is only asked for its worst error, which is a number in any case.
        let asked = || catch_unwind(AssertUnwindSafe(|| (self.question)(&mut probe)));
        let (answer, fallbacks) = record_fallbacks(asked);
        let verdict = match answer {
            Ok(Ok(())) => Verdict::Passed,
            Ok(Err(Failure::Denied)) => Verdict::Denied,
            Ok(Err(Failure::Wrong(what))) => Verdict::Wrong(what),
            Err(panic) => Verdict::Wrong(format!("it panicked: {}", panic_text(panic.as_ref()))),
        };
        Outcome { verdict, worst_ulp: probe.worst, fallbacks }
    }
}

impl<B: Backend> fmt::Debug for Case<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name()).field("needs", &self.needs).finish_non_exhaustive()
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

/// Where a program's input comes from.
#[derive(Clone, Debug)]
pub(super) enum In {
    Tensor(HostTensor),
    Output(usize),
}

/// A backend being asked, and the largest error so far.
#[derive(Debug)]
pub(super) struct Probe<'a, B: Backend> {
    pub(super) backend: &'a B,
    worst: Option<f64>,
    /// The elements of the largest tensor that was uploaded since the last call.
    uploaded: Cell<usize>,
    /// Whether the last call was left out because it was too large.
    left_out: Cell<bool>,
}

/// The most elements of a tensor that a device is asked about: `GRADIX_CONFORMANCE_LARGEST`, or any number.
fn largest() -> usize {
    static LARGEST: OnceLock<usize> = OnceLock::new();
    *LARGEST.get_or_init(|| {
        let given = std::env::var("GRADIX_CONFORMANCE_LARGEST").ok();
        given.map_or(usize::MAX, |text| text.parse().expect("GRADIX_CONFORMANCE_LARGEST is a number of elements"))
    })
}

impl<'a, B: Backend> Probe<'a, B> {
    pub(super) fn new(backend: &'a B) -> Self {
        Self { backend, worst: None, uploaded: Cell::new(0), left_out: Cell::new(false) }
    }

    /// Whether the call that is about to be made on what was uploaded is to be left out. Comparisons of its results then find
    /// nothing.
    pub(super) fn leaves_out(&self) -> bool {
        self.left_out.set(self.uploaded.replace(0) > largest());
        self.left_out.get()
    }

    /// Whether the last call was left out, for those who compare its results themselves.
    pub(super) fn left_out(&self) -> bool {
        self.left_out.get()
    }

    /// The tensor's buffer on the device.
    pub(super) fn upload(&self, tensor: &HostTensor) -> Result<B::Buffer, Failure> {
        self.uploaded.set(self.uploaded.get().max(tensor.shape().numel()));
        let mut buffer = self.backend.alloc(tensor.bytes.len())?;
        self.backend.write(&mut buffer, 0, &tensor.bytes)?;
        Ok(buffer)
    }

    /// All bytes of a buffer.
    pub(super) fn download(&self, buffer: &B::Buffer) -> Result<Vec<u8>, Failure> {
        let mut bytes = vec![0; self.backend.size(buffer)];
        self.backend.read(buffer, 0, &mut bytes)?;
        Ok(bytes)
    }

    /// Uploads one output, lets a method write it, and gives its buffer's content afterwards.
    pub(super) fn written(
        &self,
        out: &HostTensor,
        method: impl FnOnce(ViewMut<'_, B>) -> crate::Result<()>,
    ) -> Result<Vec<u8>, Failure> {
        let mut buffer = self.upload(out)?;
        if self.leaves_out() {
            return Ok(out.bytes.clone());
        }
        method(ViewMut { buffer: &mut buffer, layout: &out.layout, dtype: out.dtype })?;
        self.download(&buffer)
    }

    /// Runs a program on the device and gives the outputs' buffers afterwards.
    pub(super) fn pointwise(
        &self,
        program: &Program,
        shape: &Shape,
        inputs: &[In],
        outputs: &[HostTensor],
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let mut held = Vec::new();
        for input in inputs {
            if let In::Tensor(tensor) = input {
                held.push(self.upload(tensor)?);
            }
        }
        let mut buffers = held.iter();
        let views: Vec<Input<'_, B>> = inputs
            .iter()
            .map(|input| match input {
                In::Tensor(tensor) => {
                    let buffer = buffers.next().expect("every tensor was uploaded");
                    Input::View(View { buffer, layout: &tensor.layout, dtype: tensor.dtype })
                }
                In::Output(number) => Input::Output(*number),
            })
            .collect();
        let mut written = outputs.iter().map(|out| self.upload(out)).collect::<Result<Vec<_>, _>>()?;
        if self.leaves_out() {
            return Ok(outputs.iter().map(|out| out.bytes.clone()).collect());
        }
        let mut views_out: Vec<ViewMut<'_, B>> = outputs
            .iter()
            .zip(&mut written)
            .map(|(out, buffer)| ViewMut { buffer, layout: &out.layout, dtype: out.dtype })
            .collect();
        self.backend.pointwise(program, shape, &views, &mut views_out)?;
        drop(views_out);
        written.iter().map(|buffer| self.download(buffer)).collect()
    }

    /// Compares an output's buffer with what it should hold. The bound and the description are asked for the element of a
    /// row-major number, and only where the two differ.
    pub(super) fn compare(
        &mut self,
        out: &HostTensor,
        got: &[u8],
        wanted: &[u8],
        bound: &dyn Fn(usize) -> Bound,
        describe: &dyn Fn(usize) -> String,
    ) -> Check {
        if self.left_out.get() {
            return Ok(());
        }
        let dtype = out.dtype;
        if dtype.is_float() {
            // A result without an error has an error of 0, which is more than not to know.
            self.worst = Some(self.worst.unwrap_or(0.0));
        }
        if got == wanted {
            return Ok(());
        }
        ensure(got.len() == wanted.len(), || format!("a buffer of {} bytes now has {}", wanted.len(), got.len()))?;
        let size = dtype.size();
        let mut covered = vec![false; wanted.len() / size];
        let (mut wrong_elements, mut first) = (0, None);
        for (number, at) in out.layout.indices().enumerate() {
            covered[at] = true;
            let element = at * size..(at + 1) * size;
            let (got, wanted) = (&got[element.clone()], &wanted[element]);
            if got == wanted {
                continue;
            }
            if let Err(what) = self.compare_element(dtype, got, wanted, bound(number)) {
                wrong_elements += 1;
                first.get_or_insert((number, what));
            }
        }
        if let Some((number, what)) = first {
            let more =
                if wrong_elements > 1 { format!("; {} more are wrong", wrong_elements - 1) } else { String::new() };
            return Err(wrong(format!("element {number} of {}{}: {what}{more}", out.shape(), describe(number))));
        }
        let stray = (0..covered.len()).find(|&at| {
            let element = at * size..(at + 1) * size;
            !covered[at] && got[element.clone()] != wanted[element]
        });
        match stray {
            Some(at) => Err(wrong(format!(
                "element {at} of the buffer was written, which is no part of the output ({:?}){}",
                out.layout,
                describe(0)
            ))),
            None => Ok(()),
        }
    }

    fn compare_element(&mut self, dtype: DType, got: &[u8], wanted: &[u8], bound: Bound) -> Result<(), String> {
        if dtype == DType::Bool && got[0] > 1 {
            return Err(format!("the byte of a bool is {}, expected {}", got[0], wanted[0]));
        }
        let (got, wanted) = (Scalar::read(dtype, got), Scalar::read(dtype, wanted));
        match judge(dtype, got, wanted, bound) {
            Ok(units) => {
                self.worst = Some(self.worst.unwrap_or(0.0).max(units));
                Ok(())
            }
            Err(units) if units.is_finite() && units > 0.0 => {
                Err(format!("got {got}, expected {wanted}, {units:.1} ULP apart, allowed {:.1}", bound.ulp))
            }
            Err(_) => Err(format!("got {got}, expected {wanted}")),
        }
    }

    /// [`compare`](Self::compare) with one bound for all elements.
    pub(super) fn compare_all(
        &mut self,
        out: &HostTensor,
        got: &[u8],
        wanted: &[u8],
        bound: Bound,
        what: &str,
    ) -> Check {
        self.compare(out, got, wanted, &|_| bound, &|_| format!(" ({what})"))
    }
}

/// Runs a program on the reference interpreter and gives the outputs' buffers afterwards.
pub(super) fn expected_pointwise(
    program: &Program,
    shape: &Shape,
    inputs: &[In],
    outputs: &[HostTensor],
) -> Vec<Vec<u8>> {
    let views: Vec<HostInput<'_>> = inputs
        .iter()
        .map(|input| match input {
            In::Tensor(tensor) => HostInput::View(tensor.view()),
            In::Output(number) => HostInput::Output(*number),
        })
        .collect();
    let mut written = outputs.to_vec();
    let mut views_out: Vec<_> = written.iter_mut().map(HostTensor::view_mut).collect();
    reference::pointwise(program, shape, &views, &mut views_out);
    drop(views_out);
    written.into_iter().map(|out| out.bytes).collect()
}
