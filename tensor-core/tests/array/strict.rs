//! A backend that runs the reference and asserts everything that backends are promised.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tensor_core::reference::{HostBuffer, Reference};
use tensor_core::rows::{RowKind, RowSpec};
use tensor_core::{
    Array, Backend, DType, DeviceInfo, Element, Input, Layout, MatmulSpec, Program, ReduceOp, ReduceSpec, Result,
    ScanOp, ScatterOp, Shape, View, ViewMut,
};

/// A device of its own; clones are the same device.
#[derive(Clone, Debug)]
pub(crate) struct Strict(Arc<Device>);

#[derive(Debug)]
struct Device {
    label: &'static str,
    reads_are_free: bool,
    eager_below: usize,
    runs: AtomicUsize,
    instructions: AtomicUsize,
}

impl PartialEq for Strict {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Strict {}

impl Strict {
    /// A device that keeps scalars in its memory and lets everything wait, like a GPU.
    pub(crate) fn far(label: &'static str) -> Self {
        Self::new(label, false, 0)
    }

    /// A device whose memory is the host's, like a CPU, but one that still lets everything wait.
    pub(crate) fn near(label: &'static str) -> Self {
        Self::new(label, true, 0)
    }

    /// A device that lets nothing wait.
    pub(crate) fn eager(label: &'static str) -> Self {
        Self::new(label, true, usize::MAX)
    }

    fn new(label: &'static str, reads_are_free: bool, eager_below: usize) -> Self {
        let (runs, instructions) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self(Arc::new(Device { label, reads_are_free, eager_below, runs, instructions }))
    }

    /// How many pointwise programs and computations over rows ran.
    pub(crate) fn runs(&self) -> usize {
        self.0.runs.load(Ordering::Relaxed)
    }

    /// How many instructions they and the prologues of reductions had.
    pub(crate) fn instructions(&self) -> usize {
        self.0.instructions.load(Ordering::Relaxed)
    }

    pub(crate) fn array<T: Element>(&self, data: &[T], dims: &[usize]) -> Array<Self> {
        Array::from_slice(self, data, dims).unwrap()
    }

    pub(crate) fn vector<T: Element>(&self, data: &[T]) -> Array<Self> {
        self.array(data, &[data.len()])
    }
}

/// A readable view: not empty and within its buffer.
fn check<'a>(view: &View<'a, Strict>) -> View<'a, Reference> {
    let (_, last) = view.layout.bounds().expect("nothing empty reaches a backend");
    assert!((last + 1) * view.dtype.size() <= Reference.size(view.buffer), "{:?} lies within the buffer", view.layout);
    View { buffer: view.buffer, layout: view.layout, dtype: view.dtype }
}

/// A writable view: besides, nobody else holds its buffer and it touches no element twice.
fn check_out<'a>(view: ViewMut<'a, Strict>) -> ViewMut<'a, Reference> {
    check(&View { buffer: &*view.buffer, layout: view.layout, dtype: view.dtype });
    assert!(Reference.is_unique(view.buffer), "nobody else holds an output");
    let mut touched: Vec<usize> = view.layout.indices().collect();
    touched.sort_unstable();
    assert!(touched.windows(2).all(|pair| pair[0] < pair[1]), "{:?} touches no element twice", view.layout);
    ViewMut { buffer: view.buffer, layout: view.layout, dtype: view.dtype }
}

fn check_program(program: &Program, inputs: impl Iterator<Item = DType>) {
    assert_eq!(inputs.collect::<Vec<_>>(), program.inputs(), "inputs have the program's dtypes");
    assert!(program.insts().len() <= tensor_core::program::MAX_INSTRUCTIONS);
    for (place, inst) in program.insts().iter().enumerate() {
        assert!(inst.op.operands().iter().all(|reg| reg.index() < place), "operands come first:\n{program}");
    }
}

impl Backend for Strict {
    type Buffer = HostBuffer;

    fn info(&self) -> DeviceInfo {
        Reference.info()
    }

    fn label(&self) -> Cow<'static, str> {
        self.0.label.into()
    }

    fn alloc(&self, bytes: usize) -> Result<HostBuffer> {
        // Fresh memory holds anything.
        let mut buffer = Reference.alloc(bytes)?;
        Reference.write(&mut buffer, 0, &vec![1; bytes])?;
        Ok(buffer)
    }

    fn write(&self, buffer: &mut HostBuffer, offset: usize, bytes: &[u8]) -> Result<()> {
        assert!(Reference.is_unique(buffer), "nobody else holds what is written");
        Reference.write(buffer, offset, bytes)
    }

    fn read(&self, buffer: &HostBuffer, offset: usize, bytes: &mut [u8]) -> Result<()> {
        Reference.read(buffer, offset, bytes)
    }

    fn size(&self, buffer: &HostBuffer) -> usize {
        Reference.size(buffer)
    }

    fn is_unique(&self, buffer: &mut HostBuffer) -> bool {
        Reference.is_unique(buffer)
    }

    fn is_same(&self, a: &HostBuffer, b: &HostBuffer) -> bool {
        Reference.is_same(a, b)
    }

    fn eager_below(&self) -> usize {
        self.0.eager_below
    }

    fn reads_are_free(&self) -> bool {
        self.0.reads_are_free
    }

    fn pointwise(
        &self,
        program: &Program,
        shape: &Shape,
        inputs: &[Input<'_, Self>],
        outputs: &mut [ViewMut<'_, Self>],
    ) -> Result<()> {
        self.0.runs.fetch_add(1, Ordering::Relaxed);
        self.0.instructions.fetch_add(program.insts().len(), Ordering::Relaxed);
        let mut outputs: Vec<_> = outputs
            .iter_mut()
            .map(|out| check_out(ViewMut { buffer: &mut *out.buffer, layout: out.layout, dtype: out.dtype }))
            .collect();
        let inputs: Vec<_> = inputs
            .iter()
            .map(|input| match input {
                Input::View(view) => Input::View(check(view)),
                Input::Output(number) => Input::Output(*number),
            })
            .collect();
        let dtype_of = |input: &Input<'_, Reference>| match input {
            Input::View(view) => view.dtype,
            Input::Output(number) => outputs[*number].dtype,
        };
        check_program(program, inputs.iter().map(dtype_of));
        assert!(outputs.iter().map(|out| out.dtype).eq(program.outputs().iter().map(|&reg| program.dtype(reg))));
        assert!(outputs.iter().all(|out| out.layout.shape() == shape));
        assert!(inputs.iter().all(|input| !matches!(input, Input::View(view) if view.layout.shape() != shape)));
        Reference.pointwise(program, shape, &inputs, &mut outputs)
    }

    fn reduce(&self, spec: &ReduceSpec<'_>, inputs: &[View<'_, Self>], out: ViewMut<'_, Self>) -> Result<()> {
        self.0.instructions.fetch_add(spec.prologue.insts().len(), Ordering::Relaxed);
        let (inputs, out): (Vec<_>, _) = (inputs.iter().map(check).collect(), check_out(out));
        check_program(spec.prologue, inputs.iter().map(|view| view.dtype));
        assert!(inputs.iter().all(|view| view.layout.shape() == spec.shape));
        assert!(!spec.axes.is_empty() && spec.axes.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(*out.layout.shape(), spec.out_shape());
        let [result] = spec.prologue.outputs() else { panic!("a prologue has one output") };
        let dtype = spec.prologue.dtype(*result);
        if matches!(spec.op, ReduceOp::ArgMax | ReduceOp::ArgMin) {
            assert_eq!((spec.axes.len(), out.dtype), (1, DType::I64));
        } else {
            assert_eq!(out.dtype, dtype);
        }
        Reference.reduce(spec, &inputs, out)
    }

    fn scan(&self, op: ScanOp, axis: usize, input: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        let (input, out) = (check(&input), check_out(out));
        assert_eq!((input.layout.shape(), input.dtype), (out.layout.shape(), out.dtype));
        assert!(input.dtype != DType::Bool);
        Reference.scan(op, axis, input, out)
    }

    fn matmul(
        &self,
        spec: &MatmulSpec<'_>,
        a: View<'_, Self>,
        b: View<'_, Self>,
        extras: &[View<'_, Self>],
        out: ViewMut<'_, Self>,
    ) -> Result<()> {
        let (a, b, out) = (check(&a), check(&b), check_out(out));
        let MatmulSpec { batch, rows, inner, columns, epilogue } = *spec;
        let [of_a, of_b, of_out] = [a.layout, b.layout, out.layout].map(Layout::dims);
        assert_eq!(
            [of_a.len(), of_b.len(), of_out.len()],
            [batch + rows + inner, batch + inner + columns, batch + rows + columns]
        );
        assert!(of_a[..batch] == of_out[..batch] && of_b[..batch] == of_out[..batch]);
        assert_eq!(of_a[batch + rows..], of_b[batch..batch + inner]);
        assert_eq!(of_a[batch..batch + rows], of_out[batch..batch + rows]);
        assert_eq!(of_b[batch + inner..], of_out[batch + rows..]);
        assert!([of_a, of_b].iter().all(|dims| !dims.contains(&0)), "no sum is empty");
        assert!(a.dtype == b.dtype && b.dtype == out.dtype && a.dtype != DType::Bool && out.layout.is_contiguous());
        let extras: Vec<_> = extras.iter().map(check).collect();
        assert!(extras.iter().all(|extra| extra.layout.shape() == out.layout.shape()));
        let inputs: Vec<_> = std::iter::once(out.dtype).chain(extras.iter().map(|extra| extra.dtype)).collect();
        assert_eq!(epilogue.map_or(&inputs[..1], Program::inputs), inputs);
        Reference.matmul(spec, a, b, &extras, out)
    }

    fn gather(&self, axis: usize, input: View<'_, Self>, index: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        let (input, index, out) = (check(&input), check(&index), check_out(out));
        assert_eq!((index.dtype, index.layout.shape()), (DType::I64, out.layout.shape()));
        assert_eq!((input.dtype, input.layout.rank()), (out.dtype, out.layout.rank()));
        let fits = |at: usize| at == axis || input.layout.dims()[at] >= out.layout.dims()[at];
        assert!((0..input.layout.rank()).all(fits));
        Reference.gather(axis, input, index, out)
    }

    fn scatter(
        &self,
        op: ScatterOp,
        axis: usize,
        index: View<'_, Self>,
        src: View<'_, Self>,
        out: ViewMut<'_, Self>,
    ) -> Result<()> {
        let (index, src, out) = (check(&index), check(&src), check_out(out));
        assert_eq!((index.dtype, index.layout.shape()), (DType::I64, src.layout.shape()));
        assert_eq!((src.dtype, src.layout.rank()), (out.dtype, out.layout.rank()));
        let fits = |at: usize| at == axis || src.layout.dims()[at] <= out.layout.dims()[at];
        assert!((0..src.layout.rank()).all(fits));
        Reference.scatter(op, axis, index, src, out)
    }

    fn sort(
        &self,
        axis: usize,
        descending: bool,
        input: View<'_, Self>,
        values: ViewMut<'_, Self>,
        indices: ViewMut<'_, Self>,
    ) -> Result<()> {
        let (input, values, indices) = (check(&input), check_out(values), check_out(indices));
        assert!(values.layout.is_contiguous() && indices.layout.is_contiguous());
        assert_eq!((input.layout.shape(), input.dtype), (values.layout.shape(), values.dtype));
        assert_eq!((input.layout.shape(), DType::I64), (indices.layout.shape(), indices.dtype));
        Reference.sort(axis, descending, input, values, indices)
    }

    fn softmax(&self, axis: usize, log: bool, input: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        let (input, out) = (check(&input), check_out(out));
        assert_eq!((input.layout.shape(), input.dtype), (out.layout.shape(), out.dtype));
        assert!(input.dtype.is_float() && out.layout.is_contiguous());
        Reference.softmax(axis, log, input, out)
    }

    fn rows(&self, spec: &RowSpec<'_>, inputs: &[View<'_, Self>], out: ViewMut<'_, Self>) -> Result<()> {
        let inputs: Vec<View<'_, Reference>> = inputs.iter().map(check).collect();
        let out = check_out(out);
        assert!(inputs.iter().all(|input| input.layout.shape() == spec.shape));
        assert!(!spec.axes.is_empty() && spec.axes.is_sorted_by(|a, b| a < b));
        let mut dtypes: Vec<DType> = inputs.iter().map(|input| input.dtype).collect();
        for (number, step) in spec.steps.iter().enumerate() {
            assert!(step.program.outputs().len() == 1 && !step.program.uses_position());
            let read: Vec<DType> = step.reads.iter().map(|&read| dtypes[usize::from(read)]).collect();
            assert_eq!(read, step.program.inputs());
            match step.kind {
                RowKind::Reduce(op) => assert!(!op.gives_index()),
                RowKind::Rows => assert!(step.reads.iter().all(|&read| usize::from(read) >= inputs.len())),
                RowKind::Elements => assert_eq!(number, spec.steps.len() - 1),
            }
            dtypes.push(step.dtype());
        }
        assert_eq!((out.layout.shape(), Some(&out.dtype)), (&spec.out_shape(), dtypes.last()));
        assert!(out.layout.is_contiguous() && dtypes.len() <= 64);
        self.0.runs.fetch_add(1, Ordering::Relaxed);
        Reference.rows(spec, &inputs, out)
    }
}
