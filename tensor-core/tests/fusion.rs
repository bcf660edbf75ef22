//! Pending expressions: what is fused, what runs when, and that results do not depend on it.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tensor_core::op::{BinaryOp, UnaryOp};
use tensor_core::reference::{HostBuffer, Reference};
use tensor_core::{
    Array, Backend, DType, DeviceInfo, Input, MatmulSpec, Program, Result, Shape, View, ViewMut, bf16, fusion_enabled,
};

/// The reference with counts of pointwise runs, of their outputs, of buffers made, of products and of their epilogues.
#[derive(Clone, Debug, Default)]
struct Counting(Arc<[AtomicUsize; 5]>);

impl PartialEq for Counting {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Counting {}

impl Counting {
    fn runs(&self) -> usize {
        self.0[0].load(Ordering::Relaxed)
    }
    fn outputs(&self) -> usize {
        self.0[1].load(Ordering::Relaxed)
    }
    fn products(&self) -> (usize, usize) {
        (self.0[3].load(Ordering::Relaxed), self.0[4].load(Ordering::Relaxed))
    }
    fn allocations(&self) -> usize {
        self.0[2].load(Ordering::Relaxed)
    }
}

impl Backend for Counting {
    type Buffer = HostBuffer;
    fn info(&self) -> DeviceInfo {
        Reference.info()
    }
    fn label(&self) -> Cow<'static, str> {
        "counting".into()
    }
    fn alloc(&self, bytes: usize) -> Result<HostBuffer> {
        self.0[2].fetch_add(1, Ordering::Relaxed);
        Reference.alloc(bytes)
    }
    fn write(&self, buffer: &mut HostBuffer, offset: usize, bytes: &[u8]) -> Result<()> {
        Reference.write(buffer, offset, bytes)
    }
    fn read(&self, buffer: &HostBuffer, offset: usize, bytes: &mut [u8]) -> Result<()> {
        Reference.read(buffer, offset, bytes)
    }
    fn size(&self, buffer: &HostBuffer) -> usize {
        Reference.size(buffer)
    }
    fn is_same(&self, a: &HostBuffer, b: &HostBuffer) -> bool {
        Reference.is_same(a, b)
    }
    fn is_unique(&self, buffer: &mut HostBuffer) -> bool {
        Reference.is_unique(buffer)
    }
    fn pointwise(
        &self,
        program: &Program,
        shape: &Shape,
        inputs: &[Input<'_, Self>],
        outputs: &mut [ViewMut<'_, Self>],
    ) -> Result<()> {
        self.0[0].fetch_add(1, Ordering::Relaxed);
        self.0[1].fetch_add(outputs.len(), Ordering::Relaxed);
        let inputs: Vec<Input<'_, Reference>> = inputs
            .iter()
            .map(|input| match input {
                Input::View(view) => {
                    Input::View(tensor_core::View { buffer: view.buffer, layout: view.layout, dtype: view.dtype })
                }
                Input::Output(number) => Input::Output(*number),
            })
            .collect();
        let mut outputs: Vec<ViewMut<'_, Reference>> = outputs
            .iter_mut()
            .map(|out| ViewMut { buffer: &mut *out.buffer, layout: out.layout, dtype: out.dtype })
            .collect();
        Reference.pointwise(program, shape, &inputs, &mut outputs)
    }
    fn matmul(
        &self,
        spec: &MatmulSpec<'_>,
        a: View<'_, Self>,
        b: View<'_, Self>,
        extras: &[View<'_, Self>],
        out: ViewMut<'_, Self>,
    ) -> Result<()> {
        self.0[3].fetch_add(1, Ordering::Relaxed);
        self.0[4].fetch_add(usize::from(spec.epilogue.is_some()), Ordering::Relaxed);
        let extras: Vec<View<'_, Reference>> =
            extras.iter().map(|view| View { buffer: view.buffer, layout: view.layout, dtype: view.dtype }).collect();
        let a = View::<Reference> { buffer: a.buffer, layout: a.layout, dtype: a.dtype };
        let b = View::<Reference> { buffer: b.buffer, layout: b.layout, dtype: b.dtype };
        let out = ViewMut::<Reference> { buffer: &mut *out.buffer, layout: out.layout, dtype: out.dtype };
        Reference.matmul(spec, a, b, &extras, out)
    }
}

fn vector(backend: &Counting, values: &[f32]) -> Array<Counting> {
    Array::from_slice(backend, values, [values.len()]).unwrap()
}

#[test]
fn a_chain_runs_once() {
    let backend = Counting::default();
    let x = vector(&backend, &[1.0, 2.0, 3.0]);
    let y = {
        let a = x.mul(&x).unwrap();
        let b = a.add(1.0).unwrap();
        b.unary(UnaryOp::Sqrt).unwrap()
    };
    if fusion_enabled() {
        assert_eq!(backend.runs(), 0, "nothing runs before it is needed");
        assert!(y.is_pending());
    }
    assert_eq!(y.to_vec::<f32>().unwrap(), [2.0_f32.sqrt(), 5.0_f32.sqrt(), 10.0_f32.sqrt()]);
    if fusion_enabled() {
        assert_eq!((backend.runs(), backend.outputs()), (1, 1));
    }
}

#[test]
fn what_somebody_holds_is_written_in_the_same_run() {
    let backend = Counting::default();
    let x = vector(&backend, &[1.0, 2.0]);
    let a = x.add(1.0).unwrap();
    let b = a.mul(&a).unwrap();
    assert_eq!(b.to_vec::<f32>().unwrap(), [4.0, 9.0]);
    assert_eq!(a.to_vec::<f32>().unwrap(), [2.0, 3.0]);
    if fusion_enabled() {
        assert_eq!((backend.runs(), backend.outputs()), (1, 2));
    }
}

#[test]
fn doubling_does_not_grow_exponentially() {
    let backend = Counting::default();
    let mut x = vector(&backend, &[1.0, -1.0]);
    for _ in 0..60 {
        x = x.add(&x).unwrap();
    }
    let expected = 2.0_f32.powi(60);
    assert_eq!(x.to_vec::<f32>().unwrap(), [expected, -expected]);
    assert!(backend.runs() <= 60);
}

#[test]
fn long_chains_stay_within_the_limits() {
    let backend = Counting::default();
    let mut x = vector(&backend, &[0.0; 3]);
    for i in 0..1000 {
        let other = vector(&backend, &[i as f32; 3]);
        x = x.add(&other).unwrap();
    }
    assert_eq!(x.to_vec::<f32>().unwrap(), [499_500.0; 3]);
}

#[test]
fn a_sum_computes_its_operand_on_the_fly_once() {
    let backend = Counting::default();
    let x = vector(&backend, &[1.0, 2.0, 3.0]);
    let square = x.mul(&x).unwrap();
    assert_eq!(square.sum(&[], false).unwrap().item().unwrap().as_f64(), 14.0);
    if fusion_enabled() {
        assert_eq!(backend.runs(), 0);
    }
    assert_eq!(square.sum(&[], false).unwrap().item().unwrap().as_f64(), 14.0);
    assert_eq!(square.to_vec::<f32>().unwrap(), [1.0, 4.0, 9.0]);
    if fusion_enabled() {
        assert_eq!(backend.runs(), 1);
    }
}

#[test]
fn views_of_pending_values_see_them() {
    let backend = Counting::default();
    let x = Array::from_slice(&backend, &[1i64, 2, 3, 4, 5, 6], [2, 3]).unwrap();
    let y = x.mul(10).unwrap();
    let column = y.transpose(0, 1).unwrap().select(0, 1).unwrap();
    let sum = Array::binary(BinaryOp::Add, &column, &column).unwrap();
    assert_eq!(sum.to_vec::<i64>().unwrap(), [40, 100]);
    assert_eq!(y.dtype(), DType::I64);
}

#[test]
fn two_threads_force_one_expression() {
    let backend = Counting::default();
    let x = vector(&backend, &[1.0; 64]);
    let mut shared = x.clone();
    for _ in 0..20 {
        shared = shared.add(&x).unwrap();
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(shared.to_vec::<f32>().unwrap(), [21.0; 64]));
        }
    });
}

/// `x − g` and `v + g` of `x`, `v` and `g`.
fn two_targets() -> Program {
    let mut program = Program::new();
    let [x, v, g] = [(); 3].map(|()| program.input(DType::F32));
    let (less, more) = (program.binary(BinaryOp::Sub, x, g), program.binary(BinaryOp::Add, v, g));
    program.output(less);
    program.output(more);
    program
}

#[test]
fn overwriting_takes_memory_that_nobody_else_sees() -> Result<()> {
    let backend = Counting::default();
    let mut targets = [vector(&backend, &[1.0, 2.0]), vector(&backend, &[3.0, 4.0])];
    let g = vector(&backend, &[0.5, 1.0]);
    Array::overwrite(&two_targets(), &mut targets, &[&g])?;
    assert_eq!(targets[0].to_vec::<f32>()?, [0.5, 1.0]);
    assert_eq!(targets[1].to_vec::<f32>()?, [3.5, 5.0]);
    let before = (backend.runs(), backend.allocations());
    Array::overwrite(&two_targets(), &mut targets, &[&g])?;
    assert_eq!((backend.runs(), backend.allocations()), (before.0 + 1, before.1), "one pass, no new memory");

    // What others see stays: a clone, a view, a pending expression.
    let (clone, view, pending) = (targets[0].clone(), targets[1].narrow(0, 1, 1)?, targets[1].add(1.0)?);
    Array::overwrite(&two_targets(), &mut targets, &[&g])?;
    assert_eq!(clone.to_vec::<f32>()?, [0.0, 0.0]);
    assert_eq!(view.to_vec::<f32>()?, [6.0]);
    assert_eq!(pending.to_vec::<f32>()?, [5.0, 7.0]);
    assert_eq!(targets[0].to_vec::<f32>()?, [-0.5, -1.0]);
    assert_eq!(targets[1].to_vec::<f32>()?, [4.5, 7.0]);
    Ok(())
}

#[test]
fn overwriting_computes_what_pends_on_the_way() -> Result<()> {
    let backend = Counting::default();
    let mut targets = [vector(&backend, &[1.0, 2.0]), vector(&backend, &[3.0, 4.0])];
    // The operand is an expression of a target itself, so that target's memory is seen by another.
    let g = targets[0].mul(2.0)?.add(1.0)?;
    let before = backend.runs();
    Array::overwrite(&two_targets(), &mut targets, &[&g])?;
    assert_eq!(backend.runs(), before + 1, "one pass");
    assert_eq!(targets[0].to_vec::<f32>()?, [-2.0, -3.0]);
    assert_eq!(targets[1].to_vec::<f32>()?, [6.0, 9.0]);
    assert_eq!(g.to_vec::<f32>()?, [3.0, 5.0]);
    // Constants and broadcasting.
    let mut zeros = [Array::full(&backend, 0.0, &Shape::new([2, 2])?, DType::F32)];
    let mut sum = Program::new();
    let [x, g] = [(); 2].map(|()| sum.input(DType::F32));
    let total = sum.binary(BinaryOp::Add, x, g);
    sum.output(total);
    Array::overwrite(&sum, &mut zeros, &[&targets[1]])?;
    assert_eq!(zeros[0].to_vec::<f32>()?, [6.0, 9.0, 6.0, 9.0]);
    Ok(())
}

#[test]
fn overwriting_refuses_what_does_not_fit() {
    let backend = Counting::default();
    let whole = |values: &[f32]| vector(&backend, values);
    let mut targets = [whole(&[1.0, 2.0]), whole(&[1.0])];
    let error = Array::overwrite(&two_targets(), &mut targets, &[&whole(&[1.0])]).unwrap_err();
    assert_eq!(error.to_string(), "overwrite: expected targets of shape [2], got [1]");
    let error = Array::overwrite(&two_targets(), &mut targets[..1], &[&whole(&[1.0])]).unwrap_err();
    assert_eq!(error.to_string(), "overwrite: expected inputs of [F32, F32, F32], got [F32, F32]");
    let mut targets = [whole(&[1.0, 2.0]), whole(&[1.0, 2.0])];
    let error = Array::overwrite(&two_targets(), &mut targets, &[&whole(&[1.0, 2.0, 3.0])]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "overwrite: expected a shape that [3] broadcasts to, got [2]; hint: aligned at the last axis, only axes of size 1 can grow"
    );
    assert_eq!(targets[0].to_vec::<f32>().unwrap(), [1.0, 2.0], "nothing was taken");
}

/// `[[1, 2], [3, 4]]` times itself is `[[7, 10], [15, 22]]`.
fn square_matrix(backend: &Counting) -> Array<Counting> {
    Array::from_slice(backend, &[1.0_f32, 2.0, 3.0, 4.0], [2, 2]).unwrap()
}

#[test]
fn what_follows_a_product_is_its_epilogue() {
    let backend = Counting::default();
    let (m, bias) = (square_matrix(&backend), vector(&backend, &[-10.0, 1.0]));
    let y = m.matmul(&m).unwrap().add(&bias).unwrap().unary(UnaryOp::Relu).unwrap();
    // Used twice, it is still one input.
    let z = {
        let product = m.matmul(&m).unwrap();
        product.mul(&product).unwrap()
    };
    if fusion_enabled() {
        assert_eq!(backend.products(), (0, 0), "a product waits");
    }
    assert_eq!(y.to_vec::<f32>().unwrap(), [0.0, 11.0, 5.0, 23.0]);
    assert_eq!(z.to_vec::<f32>().unwrap(), [49.0, 100.0, 225.0, 484.0]);
    if fusion_enabled() {
        assert_eq!((backend.products(), backend.runs()), ((2, 2), 0));
    }
}

#[test]
fn a_product_that_somebody_holds_is_computed_once() {
    let backend = Counting::default();
    let m = square_matrix(&backend);
    let product = m.matmul(&m).unwrap();
    let y = product.add(1.0).unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [8.0, 11.0, 16.0, 23.0]);
    assert_eq!(product.to_vec::<f32>().unwrap(), [7.0, 10.0, 15.0, 22.0]);
    // Two results, or two products, are no epilogue.
    let fresh = m.matmul(&m).unwrap();
    let a = fresh.add(1.0).unwrap();
    let b = a.mul(2.0).unwrap();
    drop(fresh);
    assert_eq!(b.to_vec::<f32>().unwrap(), [16.0, 22.0, 32.0, 46.0]);
    assert_eq!(a.to_vec::<f32>().unwrap(), [8.0, 11.0, 16.0, 23.0]);
    let both = m.matmul(&m).unwrap().sub(&m.transpose(0, 1).unwrap().matmul(&m).unwrap()).unwrap();
    assert_eq!(both.to_vec::<f32>().unwrap(), [-3.0, -4.0, 1.0, 2.0]);
    assert_eq!(backend.products(), (4, 0));
    // Nor does one run of which nobody wants anything.
    drop(m.matmul(&m).unwrap().add(1.0).unwrap());
    if fusion_enabled() {
        assert_eq!(backend.products(), (4, 0));
    }
}

#[test]
fn views_and_reductions_of_waiting_products() {
    let backend = Counting::default();
    let m = square_matrix(&backend);
    let product = || m.matmul(&m).unwrap();
    assert_eq!(product().transpose(0, 1).unwrap().add(0.0).unwrap().to_vec::<f32>().unwrap(), [7.0, 15.0, 10.0, 22.0]);
    assert_eq!(product().sum(&[0], false).unwrap().to_vec::<f32>().unwrap(), [22.0, 32.0]);
    assert_eq!(product().select(0, 1).unwrap().to_vec::<f32>().unwrap(), [15.0, 22.0]);
    assert_eq!(product().add(1.0).unwrap().sum(&[1], false).unwrap().to_vec::<f32>().unwrap(), [19.0, 39.0]);
    let mut chain = product();
    for _ in 0..20_000 {
        chain = chain.matmul(&Array::eye(&backend, 2, 2, DType::F32).unwrap()).unwrap();
    }
    assert_eq!(chain.to_vec::<f32>().unwrap(), [7.0, 10.0, 15.0, 22.0]);
}

#[test]
fn an_epilogue_sees_the_product_as_memory_would_hold_it() {
    let backend = Counting::default();
    let x = Array::from_slice(&backend, &[1.0_f32, 1.0 / 256.0], [1, 2]).unwrap().cast(DType::BF16).unwrap();
    let y = Array::from_slice(&backend, &[1.0_f32, 1.0], [2, 1]).unwrap().cast(DType::BF16).unwrap();
    // 1 + 1/256 is no bf16, so the difference from 1 is gone once the product is one.
    let off = x.matmul(&y).unwrap().sub(1.0).unwrap();
    assert_eq!(off.to_vec::<bf16>().unwrap(), [bf16::ZERO]);
}
