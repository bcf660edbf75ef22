//! What backends have no kernel for: the reference interpreter stands in, and that is counted.
//!
//! The functions are what [`Backend`]'s provided methods do: download, interpret, upload. A backend whose own method serves
//! only some cases calls them for the others, with the arguments that it was given.
//!
//! ```
//! use tensor_core::{Backend, ScanOp, View, ViewMut, fallback};
//!
//! /// A backend's `scan` that has a kernel for vectors only.
//! fn scan<B: Backend>(
//!     backend: &B,
//!     op: ScanOp,
//!     axis: usize,
//!     input: View<'_, B>,
//!     out: ViewMut<'_, B>,
//! ) -> tensor_core::Result<()> {
//!     if input.layout.rank() != 1 {
//!         return fallback::scan(backend, op, axis, input, out);
//!     }
//!     // … launch the kernel
//! #   fallback::scan(backend, op, axis, input, out)
//! }
//! ```

use crate::reference::{self, HostInput, HostView, HostViewMut};
use crate::{
    AttentionSpec, Backend, Error, ErrorKind, Input, MatmulSpec, Program, ReduceSpec, Result, ScanOp, ScatterOp, Shape,
    View, ViewMut,
};
use smallvec::SmallVec;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock, PoisonError};

/// [`Backend::pointwise`] by the reference interpreter.
///
/// # Errors
/// If the device fails, or `GRADIX_DENY_FALLBACK=1` is set.
pub fn pointwise<B: Backend>(
    backend: &B,
    program: &Program,
    shape: &Shape,
    inputs: &[Input<'_, B>],
    outputs: &mut [ViewMut<'_, B>],
) -> Result<()> {
    note_fallback("pointwise", backend)?;
    let held = inputs
        .iter()
        .map(|input| match input {
            Input::View(view) => download(backend, view.buffer),
            Input::Output(_) => Ok(Vec::new()),
        })
        .collect::<Result<SmallVec<[_; 8]>>>()?;
    let host_inputs: SmallVec<[HostInput<'_>; 8]> = inputs
        .iter()
        .zip(&held)
        .map(|(input, bytes)| match input {
            Input::View(view) => HostInput::View(on_host(view, bytes)),
            Input::Output(number) => HostInput::Output(*number),
        })
        .collect();
    let mut results = outputs.iter().map(|out| download(backend, out.buffer)).collect::<Result<SmallVec<[_; 8]>>>()?;
    let mut host_outputs: SmallVec<[HostViewMut<'_>; 8]> = outputs
        .iter()
        .zip(&mut results)
        .map(|(out, bytes)| HostViewMut { bytes, layout: out.layout, dtype: out.dtype })
        .collect();
    reference::pointwise(program, shape, &host_inputs, &mut host_outputs);
    drop(host_outputs);
    for (out, bytes) in outputs.iter_mut().zip(&results) {
        backend.write(out.buffer, 0, bytes)?;
    }
    Ok(())
}

/// [`Backend::reduce`] by the reference interpreter.
///
/// # Errors
/// If the device fails, or `GRADIX_DENY_FALLBACK=1` is set.
pub fn reduce<B: Backend>(
    backend: &B,
    spec: &ReduceSpec<'_>,
    inputs: &[View<'_, B>],
    out: ViewMut<'_, B>,
) -> Result<()> {
    note_fallback(spec.op.name(), backend)?;
    let held = inputs.iter().map(|view| download(backend, view.buffer)).collect::<Result<SmallVec<[_; 8]>>>()?;
    let host: SmallVec<[HostView<'_>; 8]> =
        inputs.iter().zip(&held).map(|(view, bytes)| on_host(view, bytes)).collect();
    replace(backend, out, |out| reference::reduce(spec, &host, out))
}

/// [`Backend::scan`] by the reference interpreter.
///
/// # Errors
/// If the device fails, or `GRADIX_DENY_FALLBACK=1` is set.
pub fn scan<B: Backend>(backend: &B, op: ScanOp, axis: usize, input: View<'_, B>, out: ViewMut<'_, B>) -> Result<()> {
    note_fallback(op.name(), backend)?;
    let held = download(backend, input.buffer)?;
    replace(backend, out, |out| reference::scan(op, axis, &on_host(&input, &held), out))
}

/// [`Backend::matmul`] by the reference interpreter.
///
/// # Errors
/// If the device fails, or `GRADIX_DENY_FALLBACK=1` is set.
pub fn matmul<B: Backend>(
    backend: &B,
    spec: &MatmulSpec<'_>,
    a: View<'_, B>,
    b: View<'_, B>,
    extras: &[View<'_, B>],
    out: ViewMut<'_, B>,
) -> Result<()> {
    note_fallback("matmul", backend)?;
    let (held_a, held_b) = (download(backend, a.buffer)?, download(backend, b.buffer)?);
    let held = extras.iter().map(|view| download(backend, view.buffer)).collect::<Result<SmallVec<[_; 4]>>>()?;
    let extras: SmallVec<[HostView<'_>; 4]> =
        extras.iter().zip(&held).map(|(view, bytes)| on_host(view, bytes)).collect();
    replace(backend, out, |out| {
        reference::matmul(spec, &on_host(&a, &held_a), &on_host(&b, &held_b), &extras, out);
    })
}

/// [`Backend::gather`] by the reference interpreter.
///
/// # Errors
/// If the device fails, or `GRADIX_DENY_FALLBACK=1` is set.
pub fn gather<B: Backend>(
    backend: &B,
    axis: usize,
    input: View<'_, B>,
    index: View<'_, B>,
    out: ViewMut<'_, B>,
) -> Result<()> {
    note_fallback("gather", backend)?;
    let (held_input, held_index) = (download(backend, input.buffer)?, download(backend, index.buffer)?);
    let (input, index) = (on_host(&input, &held_input), on_host(&index, &held_index));
    replace(backend, out, |out| reference::gather(axis, &input, &index, out))
}

/// [`Backend::scatter`] by the reference interpreter.
///
/// # Errors
/// If the device fails, or `GRADIX_DENY_FALLBACK=1` is set.
pub fn scatter<B: Backend>(
    backend: &B,
    op: ScatterOp,
    axis: usize,
    index: View<'_, B>,
    src: View<'_, B>,
    out: ViewMut<'_, B>,
) -> Result<()> {
    note_fallback(op.name(), backend)?;
    let (held_index, held_src) = (download(backend, index.buffer)?, download(backend, src.buffer)?);
    let (index, src) = (on_host(&index, &held_index), on_host(&src, &held_src));
    replace(backend, out, |out| reference::scatter(op, axis, &index, &src, out))
}

/// [`Backend::sort`] by the reference interpreter.
///
/// # Errors
/// If the device fails, or `GRADIX_DENY_FALLBACK=1` is set.
pub fn sort<B: Backend>(
    backend: &B,
    axis: usize,
    descending: bool,
    input: View<'_, B>,
    values: ViewMut<'_, B>,
    indices: ViewMut<'_, B>,
) -> Result<()> {
    note_fallback("sort", backend)?;
    let held = download(backend, input.buffer)?;
    let (mut held_values, mut held_indices) = (download(backend, values.buffer)?, download(backend, indices.buffer)?);
    reference::sort(
        axis,
        descending,
        &on_host(&input, &held),
        &mut HostViewMut { bytes: &mut held_values, layout: values.layout, dtype: values.dtype },
        &mut HostViewMut { bytes: &mut held_indices, layout: indices.layout, dtype: indices.dtype },
    );
    backend.write(values.buffer, 0, &held_values)?;
    backend.write(indices.buffer, 0, &held_indices)
}

/// [`Backend::softmax`] by the reference interpreter.
///
/// # Errors
/// If the device fails, or `GRADIX_DENY_FALLBACK=1` is set.
pub fn softmax<B: Backend>(backend: &B, axis: usize, log: bool, input: View<'_, B>, out: ViewMut<'_, B>) -> Result<()> {
    note_fallback(if log { "log_softmax" } else { "softmax" }, backend)?;
    let held = download(backend, input.buffer)?;
    replace(backend, out, |out| reference::softmax(axis, log, &on_host(&input, &held), out))
}

/// [`Backend::attention`] by the reference interpreter.
///
/// # Errors
/// If the device fails, or `GRADIX_DENY_FALLBACK=1` is set.
pub fn attention<B: Backend>(
    backend: &B,
    spec: &AttentionSpec,
    inputs: [View<'_, B>; 3],
    out: ViewMut<'_, B>,
) -> Result<()> {
    note_fallback("attention", backend)?;
    let [query, key, value] = &inputs;
    let (a, b, c) =
        (download(backend, query.buffer)?, download(backend, key.buffer)?, download(backend, value.buffer)?);
    let views = [&on_host(query, &a), &on_host(key, &b), &on_host(value, &c)];
    replace(backend, out, |out| reference::attention(spec, views, out))
}

/// [`Backend::attention_gradients`] by the reference interpreter.
///
/// # Errors
/// If the device fails, or `GRADIX_DENY_FALLBACK=1` is set.
pub fn attention_gradients<B: Backend>(
    backend: &B,
    spec: &AttentionSpec,
    inputs: [View<'_, B>; 4],
    outs: [ViewMut<'_, B>; 3],
) -> Result<()> {
    note_fallback("attention_gradients", backend)?;
    let held = inputs.iter().map(|view| download(backend, view.buffer)).collect::<Result<SmallVec<[_; 4]>>>()?;
    let views = [0, 1, 2, 3].map(|number| on_host(&inputs[number], &held[number]));
    let mut bytes = outs.iter().map(|out| download(backend, out.buffer)).collect::<Result<SmallVec<[_; 3]>>>()?;
    let [a, b, c] = &mut bytes[..] else { unreachable!("there are three gradients") };
    let on_host = |number: usize, bytes| HostViewMut { bytes, layout: outs[number].layout, dtype: outs[number].dtype };
    let (mut of_query, mut of_key, mut of_value) = (on_host(0, a), on_host(1, b), on_host(2, c));
    reference::attention_gradients(spec, views.each_ref(), [&mut of_query, &mut of_key, &mut of_value]);
    outs.into_iter().zip(&bytes).try_for_each(|(out, bytes)| backend.write(out.buffer, 0, bytes))
}

fn download<B: Backend>(backend: &B, buffer: &B::Buffer) -> Result<Vec<u8>> {
    let mut bytes = vec![0; backend.size(buffer)];
    backend.read(buffer, 0, &mut bytes)?;
    Ok(bytes)
}

fn on_host<'a, B: Backend>(view: &View<'a, B>, bytes: &'a [u8]) -> HostView<'a> {
    HostView { bytes, layout: view.layout, dtype: view.dtype }
}

/// Downloads, lets `change` change the elements, uploads.
fn replace<B: Backend>(backend: &B, out: ViewMut<'_, B>, change: impl FnOnce(&mut HostViewMut<'_>)) -> Result<()> {
    let mut bytes = download(backend, out.buffer)?;
    change(&mut HostViewMut { bytes: &mut bytes, layout: out.layout, dtype: out.dtype });
    backend.write(out.buffer, 0, &bytes)
}

static FALLBACKS: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

/// How often each operation ran on the reference interpreter because its backend has no kernel for it, since the process
/// began. An empty map says that everything was native.
pub fn fallback_counts() -> BTreeMap<&'static str, u64> {
    FALLBACKS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

thread_local! {
    /// What [`record_fallbacks`] has seen on this thread; `None` while nothing records.
    static RECORDED: RefCell<Option<BTreeSet<&'static str>>> = const { RefCell::new(None) };
}

/// Runs something and says which operations fell back meanwhile, on this thread; other threads do not disturb it. An
/// attempt that `GRADIX_DENY_FALLBACK=1` refused counts too.
///
/// ```
/// use tensor_core::{Array, reference::Reference};
/// let a = Array::from_slice(&Reference, &[3.0_f32, 1.0], [2])?;
/// let (sorted, fallbacks) = tensor_core::fallback::record_fallbacks(|| a.sort(0, false));
/// assert!(fallbacks.contains("sort"), "the reference has no kernels at all");
/// # let _ = sorted;
/// # Ok::<(), tensor_core::Error>(())
/// ```
pub fn record_fallbacks<T>(run: impl FnOnce() -> T) -> (T, BTreeSet<&'static str>) {
    /// Puts back what an outer recording had, also when `run` panics.
    struct Recording(Option<BTreeSet<&'static str>>);
    impl Drop for Recording {
        fn drop(&mut self) {
            let inner = RECORDED.replace(self.0.take());
            RECORDED.with_borrow_mut(|outer| {
                if let (Some(outer), Some(inner)) = (outer, inner) {
                    outer.extend(inner);
                }
            });
        }
    }
    let recording = Recording(RECORDED.replace(Some(BTreeSet::new())));
    let result = run();
    let seen = RECORDED.with_borrow(Clone::clone).unwrap_or_default();
    drop(recording);
    (result, seen)
}

/// Counts a fallback. The functions of this module do it themselves; a backend that has a slow way of its own calls it.
///
/// # Errors
/// If `GRADIX_DENY_FALLBACK=1` is set. Backends whose label starts with `reference` are exempt: who asks for
/// the interpreter by name means it.
pub fn note_fallback<B: Backend>(op: &'static str, backend: &B) -> Result<()> {
    RECORDED.with_borrow_mut(|recorded| {
        if let Some(recorded) = recorded {
            recorded.insert(op);
        }
    });
    static DENIED: OnceLock<bool> = OnceLock::new();
    if *DENIED.get_or_init(|| std::env::var_os("GRADIX_DENY_FALLBACK").is_some_and(|value| value == "1"))
        && !backend.label().starts_with("reference")
    {
        return Err(Error::new(ErrorKind::FallbackDenied { op: op.into(), device: backend.label().into_owned() }));
    }
    *FALLBACKS.lock().unwrap_or_else(PoisonError::into_inner).entry(op).or_insert(0) += 1;
    Ok(())
}
