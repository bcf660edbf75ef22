//! The conformance kit finds what is wrong: backends with planted faults are caught, each by the cases that name it.

use std::borrow::Cow;
use tensor_core::conformance::{CaseResult, Report, Verdict};
use tensor_core::op::{BinaryOp, UnaryOp};
use tensor_core::program::{Op, Program};
use tensor_core::reference::{HostBuffer, Reference};
use tensor_core::rows::RowSpec;
use tensor_core::{
    Backend, DType, DeviceInfo, Input, Layout, ReduceOp, ReduceSpec, Result, Scalar, Shape, View, ViewMut,
};

/// One mistake that somebody could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// tanh is half an ULP and more off in the last lane of a vector of 16.
    WrongTanhInOneLane,
    /// Inputs are read as if they were dense.
    IgnoredStride,
    /// The 257th element is that of its neighbour.
    OffByOneAt257,
    /// The largest of a line leaves NaN out.
    NanDroppedInMax,
    /// Only the first output is written.
    LostSecondOutput,
    /// Reads begin at the start of the buffer.
    IgnoredOffsetInRead,
    /// True elements of a mask are counted from the second one on.
    MaskCountedFromOne,
    /// Equal values come in any order.
    UnstableSort,
    /// Equal ones of the largest come in any order.
    UnstableTopk,
    /// Words 1 and 2 of a random block are exchanged.
    WrongPhiloxWord,
    /// a·b + c is rounded once.
    ContractedProduct,
    /// Writes one element more than there are.
    WritesBeyond,
    /// true is written as 255.
    BoolOfAllBits,
    /// The value of a scalar is taken for a part of the kernel.
    StaleScalar,
    /// The second operand takes the place of an output that is read again.
    ClobberedInPlace,
    /// An allocation that cannot be made panics.
    PanicsOutOfMemory,
    /// Rows are computed four at a time, and the last ones of fewer are left as they were.
    LeftOverRows,
}

/// The reference with one fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Faulty(Fault);

fn lend<'a>(view: &View<'a, Faulty>) -> View<'a, Reference> {
    View { buffer: view.buffer, layout: view.layout, dtype: view.dtype }
}

impl Faulty {
    /// Two neighbours of one value change places.
    fn swap_ties(&self, values: &mut ViewMut<'_, Self>, indices: &mut ViewMut<'_, Self>) -> Result<()> {
        let mut held = Vec::new();
        self.spoil(values, |_, value| {
            held.push(value);
            None
        })?;
        let tie = held.windows(2).position(|pair| pair[0] == pair[1]);
        let mut order = Vec::new();
        self.spoil(indices, |_, value| {
            order.push(value);
            None
        })?;
        if let Some(tie) = tie {
            order.swap(tie, tie + 1);
        }
        self.spoil(indices, |number, _| Some(order[number]))
    }

    /// Replaces some elements of an output, by row-major number.
    fn spoil(
        &self,
        out: &mut ViewMut<'_, Self>,
        mut change: impl FnMut(usize, Scalar) -> Option<Scalar>,
    ) -> Result<()> {
        let size = out.dtype.size();
        let mut bytes = vec![0; Reference.size(out.buffer)];
        Reference.read(out.buffer, 0, &mut bytes)?;
        for (number, at) in out.layout.indices().enumerate() {
            let element = &mut bytes[at * size..(at + 1) * size];
            if let Some(value) = change(number, Scalar::read(out.dtype, element)) {
                value.write(out.dtype, element);
            }
        }
        Reference.write(out.buffer, 0, &bytes)
    }

    /// What the program becomes under the fault.
    fn translated(&self, program: &Program) -> Program {
        let mut changed = Program::new();
        let mut map = Vec::new();
        for inst in program.insts() {
            let at = |reg: tensor_core::program::Reg| map[reg.index()];
            let reg = match inst.op {
                Op::Input(_) => changed.input(inst.dtype),
                Op::Scalar(number) => {
                    let value = program.scalars()[number as usize];
                    // As a kernel that was compiled for another value would have it.
                    let stale = self.0 == Fault::StaleScalar && value.as_f64() == 3.0;
                    changed.scalar(if stale { Scalar::Int(2) } else { value }, inst.dtype)
                }
                Op::Iota(axis) => changed.iota(axis as usize),
                Op::Random { key, word } => {
                    let values = [key, key + 1].map(|number| program.scalars()[number as usize].as_i64() as u64);
                    let key = changed.random_key(values[0], values[1]);
                    let swap = self.0 == Fault::WrongPhiloxWord;
                    changed.random(key, if swap { [0, 2, 1, 3][word as usize] } else { word })
                }
                Op::Unary(op, a) => changed.unary(op, at(a)),
                Op::Binary(op, a, b) => {
                    let contracts = self.0 == Fault::ContractedProduct
                        && matches!(op, BinaryOp::Add | BinaryOp::Sub)
                        && inst.dtype == DType::F32;
                    match program.insts()[a.index()].op {
                        Op::Binary(BinaryOp::Mul, x, y) if contracts => {
                            let [x, y, b] = [at(x), at(y), at(b)].map(|reg| changed.cast(reg, DType::F64));
                            let product = changed.binary(BinaryOp::Mul, x, y);
                            let sum = changed.binary(op, product, b);
                            changed.cast(sum, DType::F32)
                        }
                        _ => changed.binary(op, at(a), at(b)),
                    }
                }
                Op::Compare(op, a, b) => changed.compare(op, at(a), at(b)),
                Op::Ternary(op, a, b, c) => changed.ternary(op, at(a), at(b), at(c)),
                Op::Cast(a) => changed.cast(at(a), inst.dtype),
            };
            map.push(reg);
        }
        for &reg in program.outputs() {
            changed.output(map[reg.index()]);
        }
        changed
    }
}

impl Backend for Faulty {
    type Buffer = HostBuffer;

    fn info(&self) -> DeviceInfo {
        Reference.info()
    }

    fn label(&self) -> Cow<'static, str> {
        "reference".into()
    }

    fn alloc(&self, bytes: usize) -> Result<HostBuffer> {
        if self.0 == Fault::PanicsOutOfMemory {
            return Ok(Reference.alloc(bytes).expect("there is always memory"));
        }
        Reference.alloc(bytes)
    }

    fn write(&self, buffer: &mut HostBuffer, offset: usize, bytes: &[u8]) -> Result<()> {
        Reference.write(buffer, offset, bytes)
    }

    fn read(&self, buffer: &HostBuffer, offset: usize, bytes: &mut [u8]) -> Result<()> {
        Reference.read(buffer, if self.0 == Fault::IgnoredOffsetInRead { 0 } else { offset }, bytes)
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

    fn pointwise(
        &self,
        program: &Program,
        shape: &Shape,
        inputs: &[Input<'_, Self>],
        outputs: &mut [ViewMut<'_, Self>],
    ) -> Result<()> {
        let dense: Vec<Layout> = inputs
            .iter()
            .map(|input| match input {
                Input::View(view) if self.0 == Fault::IgnoredStride => {
                    // Only where it stays within the buffer: a fault that is not seen as a crash.
                    let fits = shape.numel() * view.dtype.size() <= self.size(view.buffer);
                    if fits { Layout::contiguous(shape.clone()) } else { view.layout.clone() }
                }
                Input::View(view) => view.layout.clone(),
                Input::Output(_) => Layout::contiguous(shape.clone()),
            })
            .collect();
        let views: Vec<Input<'_, Reference>> = inputs
            .iter()
            .zip(&dense)
            .map(|(input, layout)| match input {
                Input::View(view) => Input::View(View { layout, ..lend(view) }),
                Input::Output(number) => Input::Output(*number),
            })
            .collect();
        let before: Vec<HostBuffer> = outputs.iter().map(|out| out.buffer.clone()).collect();
        let mut lent: Vec<ViewMut<'_, Reference>> = outputs
            .iter_mut()
            .map(|out| ViewMut { buffer: out.buffer, layout: out.layout, dtype: out.dtype })
            .collect();
        Reference.pointwise(&self.translated(program), shape, &views, &mut lent)?;
        drop(lent);
        match self.0 {
            Fault::LostSecondOutput if outputs.len() > 1 => *outputs[1].buffer = before[1].clone(),
            Fault::ClobberedInPlace if inputs.len() > 1 && matches!(inputs[1], Input::Output(_)) => {
                self.spoil(&mut outputs[0], |number, _| (number == 20).then_some(Scalar::Int(0)))?;
            }
            Fault::WrongTanhInOneLane
                if program.insts().iter().any(|inst| matches!(inst.op, Op::Unary(UnaryOp::Tanh, _))) =>
            {
                let off = |number: usize, value: Scalar| match value {
                    Scalar::Float(value) if number % 16 == 15 && value.abs() < 1.0 => {
                        Some(Scalar::Float(value * 1.000_003))
                    }
                    _ => None,
                };
                self.spoil(&mut outputs[0], off)?;
            }
            Fault::OffByOneAt257 if shape.numel() == 257 => {
                let mut last = None;
                self.spoil(&mut outputs[0], |number, value| {
                    let spoiled = if number == 256 { last } else { None };
                    last = Some(value);
                    spoiled
                })?;
            }
            Fault::WritesBeyond => {
                let out = &mut outputs[0];
                let (_, last) = out.layout.bounds().expect("nothing empty reaches a backend");
                let end = (last + 1) * out.dtype.size();
                if end < self.size(out.buffer) {
                    Reference.write(out.buffer, end, &[0])?;
                }
            }
            Fault::BoolOfAllBits if outputs[0].dtype == DType::Bool => {
                let out = &mut outputs[0];
                let mut bytes = vec![0; Reference.size(out.buffer)];
                Reference.read(out.buffer, 0, &mut bytes)?;
                for at in out.layout.indices() {
                    bytes[at] = if bytes[at] == 1 { 255 } else { 0 };
                }
                Reference.write(out.buffer, 0, &bytes)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn reduce(&self, spec: &ReduceSpec<'_>, inputs: &[View<'_, Self>], mut out: ViewMut<'_, Self>) -> Result<()> {
        let lent: Vec<View<'_, Reference>> = inputs.iter().map(lend).collect();
        let target = ViewMut { buffer: &mut *out.buffer, layout: out.layout, dtype: out.dtype };
        Reference.reduce(spec, &lent, target)?;
        if self.0 == Fault::NanDroppedInMax && spec.op == ReduceOp::Max && out.dtype.is_float() {
            self.spoil(&mut out, |_, value| value.as_f64().is_nan().then_some(Scalar::Float(1.0)))?;
        }
        Ok(())
    }

    fn rows(&self, spec: &RowSpec<'_>, inputs: &[View<'_, Self>], mut out: ViewMut<'_, Self>) -> Result<()> {
        let before = out.buffer.clone();
        let lent: Vec<View<'_, Reference>> = inputs.iter().map(lend).collect();
        let target = ViewMut { buffer: &mut *out.buffer, layout: out.layout, dtype: out.dtype };
        Reference.rows(spec, &lent, target)?;
        let rows = spec.shape.reduce(spec.axes, false).numel();
        if self.0 == Fault::LeftOverRows && rows > 4 && spec.axes == [spec.shape.rank() - 1] {
            let done = out.layout.numel() / rows * (rows / 4 * 4);
            let mut bytes = vec![0; Reference.size(&before)];
            Reference.read(&before, 0, &mut bytes)?;
            let (dtype, size) = (out.dtype, out.dtype.size());
            self.spoil(&mut out, |number, _| (number >= done).then(|| Scalar::read(dtype, &bytes[number * size..])))?;
        }
        Ok(())
    }

    fn mask_indices(&self, mask: View<'_, Self>, mut out: ViewMut<'_, Self>) -> Result<()> {
        let target = ViewMut { buffer: &mut *out.buffer, layout: out.layout, dtype: out.dtype };
        Reference.mask_indices(lend(&mask), target)?;
        if self.0 == Fault::MaskCountedFromOne {
            self.spoil(&mut out, |_, value| Some(Scalar::Int(value.as_i64() + 1)))?;
        }
        Ok(())
    }

    fn sort(
        &self,
        axis: usize,
        descending: bool,
        input: View<'_, Self>,
        mut values: ViewMut<'_, Self>,
        mut indices: ViewMut<'_, Self>,
    ) -> Result<()> {
        let lent_values = ViewMut { buffer: &mut *values.buffer, layout: values.layout, dtype: values.dtype };
        let lent_indices = ViewMut { buffer: &mut *indices.buffer, layout: indices.layout, dtype: indices.dtype };
        Reference.sort(axis, descending, lend(&input), lent_values, lent_indices)?;
        if self.0 == Fault::UnstableSort && input.layout.rank() == 1 {
            self.swap_ties(&mut values, &mut indices)?;
        }
        Ok(())
    }

    fn topk(
        &self,
        axis: usize,
        largest: bool,
        input: View<'_, Self>,
        mut values: ViewMut<'_, Self>,
        mut indices: ViewMut<'_, Self>,
    ) -> Result<()> {
        let lent_values = ViewMut { buffer: &mut *values.buffer, layout: values.layout, dtype: values.dtype };
        let lent_indices = ViewMut { buffer: &mut *indices.buffer, layout: indices.layout, dtype: indices.dtype };
        Reference.topk(axis, largest, lend(&input), lent_values, lent_indices)?;
        if self.0 == Fault::UnstableTopk && input.layout.rank() == 1 {
            self.swap_ties(&mut values, &mut indices)?;
        }
        Ok(())
    }
}

/// The cases that find the fault, among those whose name contains the filter.
fn caught(fault: Fault, filter: &str) -> Vec<CaseResult> {
    let report = Report::of(&Faulty(fault), filter);
    assert!(!report.results().is_empty(), "{filter} chooses cases");
    report.wrong().cloned().collect()
}

/// The fault is found by a case of this name, which says so in these words, and the same case has nothing to say against the
/// backend without the fault.
#[track_caller]
fn is_caught(fault: Fault, case: &str, words: &str) {
    let found = caught(fault, case);
    let [result] = &found[..] else { panic!("{fault:?} is found by {case}: {found:?}") };
    let Verdict::Wrong(what) = &result.outcome.verdict else { panic!("{result:?}") };
    assert!(what.contains(words), "{what}");
    let sound = caught(Fault::None, case);
    assert!(sound.is_empty(), "{sound:?}");
}

#[test]
fn a_wrong_lane() {
    is_caught(Fault::WrongTanhInOneLane, "pointwise/tanh/f32/values", "ULP apart, allowed 5.0");
    is_caught(Fault::WrongTanhInOneLane, "pointwise/tanh/f64/lengths", "tanh of");
    is_caught(Fault::WrongTanhInOneLane, "pointwise/tanh/f32/large", "contiguous [60003]");
    assert!(caught(Fault::WrongTanhInOneLane, "pointwise/sinh/").is_empty());
}

#[test]
fn ignored_strides() {
    is_caught(Fault::IgnoredStride, "pointwise/add/i32/layouts", "Transposed");
    is_caught(Fault::IgnoredStride, "programs/copy/u8/all", "Transposed to Contiguous");
    assert!(caught(Fault::IgnoredStride, "pointwise/add/i32/lengths").is_empty(), "dense operands have dense strides");
}

#[test]
fn off_by_one_at_a_certain_length() {
    is_caught(Fault::OffByOneAt257, "pointwise/neg/f32/lengths", "element 256 of [257]");
    is_caught(Fault::OffByOneAt257, "programs/random_bits/i64/word_3", "element 256 of [257]");
}

#[test]
fn a_dropped_nan() {
    is_caught(Fault::NanDroppedInMax, "reduce/amax/f32/values", "expected NaN");
    is_caught(Fault::NanDroppedInMax, "reduce/amax/bf16/values", "expected NaN");
    assert!(caught(Fault::NanDroppedInMax, "reduce/amin/f32/values").is_empty());
}

#[test]
fn a_lost_output() {
    is_caught(Fault::LostSecondOutput, "programs/several_outputs/f16/all", "of output 1");
    assert!(!caught(Fault::LostSecondOutput, "programs/random_all_dtypes/").is_empty());
    // Where nothing is fused, no array's program has a second output to lose.
    let fused = caught(Fault::LostSecondOutput, "arrays/fused_is_eager/");
    assert_eq!(fused.is_empty(), !tensor_core::fusion_enabled());
}

#[test]
fn rows_left_over() {
    is_caught(Fault::LeftOverRows, "rows/norm/f32/layouts", "(axes [1] of [9, 70]");
    is_caught(Fault::LeftOverRows, "rows/logsumexp/bf16/large", "expected");
    assert!(caught(Fault::LeftOverRows, "softmax/softmax/f32/lengths").is_empty());
}

#[test]
fn an_ignored_offset() {
    is_caught(Fault::IgnoredOffsetInRead, "memory/offset_reads", "1 bytes read from offset 1");
    assert!(caught(Fault::IgnoredOffsetInRead, "memory/offset_writes").is_empty());
}

#[test]
fn a_mask_counted_from_one() {
    is_caught(Fault::MaskCountedFromOne, "index/mask_indices/bool/lengths", "of [");
}

#[test]
fn an_unstable_sort() {
    is_caught(Fault::UnstableSort, "sort/sort/i32/stable", "indices");
    is_caught(Fault::UnstableSort, "sort/sort/bool/lengths", "indices");
}

#[test]
fn unstable_largest_ones() {
    is_caught(Fault::UnstableTopk, "sort/topk/i32/ties", "indices");
    is_caught(Fault::UnstableTopk, "sort/topk/bool/lengths", "indices");
}

#[test]
fn a_wrong_random_word() {
    is_caught(Fault::WrongPhiloxWord, "programs/random_bits/i64/word_1", "word 1 of element 0");
    assert!(caught(Fault::WrongPhiloxWord, "programs/random_bits/i64/word_0").is_empty());
}

#[test]
fn a_contracted_product() {
    is_caught(Fault::ContractedProduct, "programs/no_contraction/f32/all", "a·b − round(a·b)");
}

#[test]
fn a_stray_write() {
    is_caught(Fault::WritesBeyond, "pointwise/sqrt/f32/layouts", "no part of the output");
}

#[test]
fn a_bool_that_is_no_bool() {
    is_caught(Fault::BoolOfAllBits, "pointwise/lt/f32/values", "the byte of a bool is 255, expected 1");
}

#[test]
fn a_kernel_with_the_scalar_of_another() {
    is_caught(Fault::StaleScalar, "programs/same_kernel_other_scalars/f32/all", "times 3");
}

#[test]
fn a_clobbered_operand() {
    is_caught(Fault::ClobberedInPlace, "pointwise/sub/i16/in_place", "in place of operand 1");
}

#[test]
fn a_panic() {
    is_caught(Fault::PanicsOutOfMemory, "memory/impossible_allocation", "it panicked: there is always memory");
}

/// The cases of a fault say nothing of others, and the sound backend is found right in each family.
#[test]
fn nothing_is_caught_without_a_fault() {
    for filter in ["pointwise/exp/", "pointwise/where/", "reduce/argmax/", "programs/", "index/scatter/", "threads/"] {
        let found = caught(Fault::None, filter);
        assert!(found.is_empty(), "{found:?}");
    }
}
