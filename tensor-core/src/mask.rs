//! Where a mask holds, for backends that scan and scatter.

use crate::backend::{Input, ScanOp, ScatterOp, View, ViewMut};
use crate::op::{BinaryOp, TernaryOp};
use crate::{Backend, DType, Layout, Program, Result, Scalar, Shape};

/// [`Backend::mask_indices`] by [`Backend::scan`] and [`Backend::scatter`]: the running count of true elements says where each one's
/// number goes. All others go to one place behind the last.
///
/// # Errors
/// If the device fails or has no memory left.
pub fn by_scatter<B: Backend>(backend: &B, mask: View<'_, B>, out: ViewMut<'_, B>) -> Result<()> {
    let (shape, count) = (mask.layout.shape(), out.layout.numel());
    let all = Layout::contiguous(shape.clone());
    let bytes = all.numel() * DType::I64.size();
    let (mut numbers, mut places) = (backend.alloc(bytes)?, backend.alloc(bytes)?);
    let mut widen = Program::new();
    let hit = widen.input(DType::Bool);
    let one = widen.cast(hit, DType::I64);
    widen.output(one);
    let into = ViewMut { buffer: &mut numbers, layout: &all, dtype: DType::I64 };
    backend.pointwise(&widen, shape, &[Input::View(mask)], &mut [into])?;
    let ones = View { buffer: &numbers, layout: &all, dtype: DType::I64 };
    backend.scan(ScanOp::Sum, 0, ones, ViewMut { buffer: &mut places, layout: &all, dtype: DType::I64 })?;

    let mut choose = Program::new();
    let (rank, hit) = (choose.input(DType::I64), choose.input(DType::Bool));
    let one = choose.scalar(Scalar::Int(1), DType::I64);
    let behind = choose.scalar(Scalar::from(count), DType::I64);
    let rank = choose.binary(BinaryOp::Sub, rank, one);
    let place = choose.ternary(TernaryOp::Where, hit, rank, behind);
    choose.output(place);
    let into = ViewMut { buffer: &mut places, layout: &all, dtype: DType::I64 };
    backend.pointwise(&choose, shape, &[Input::Output(0), Input::View(mask)], &mut [into])?;
    let mut count_up = Program::new();
    let number = count_up.iota(0);
    count_up.output(number);
    let into = ViewMut { buffer: &mut numbers, layout: &all, dtype: DType::I64 };
    backend.pointwise(&count_up, shape, &[], &mut [into])?;

    let room = Layout::contiguous(Shape::new([count + 1])?);
    let mut found = backend.alloc((count + 1) * DType::I64.size())?;
    let [places, numbers] = [&places, &numbers].map(|buffer| View { buffer, layout: &all, dtype: DType::I64 });
    let into = ViewMut { buffer: &mut found, layout: &room, dtype: DType::I64 };
    backend.scatter(ScatterOp::Set, 0, places, numbers, into)?;
    let front = room.narrow(0, 0, count)?;
    let view = View { buffer: &found, layout: &front, dtype: DType::I64 };
    backend.pointwise(&Program::copy(DType::I64), front.shape(), &[Input::View(view)], &mut [out])
}
