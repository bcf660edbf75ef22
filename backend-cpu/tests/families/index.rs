use crate::common::{Random, Tensor, Values, layouts, same_on_any_number_of_threads};
use backend_cpu::Cpu;
use tensor_core::{Backend, DType, Layout, ScatterOp, Shape, reference};

/// An index of some dims that picks whole slices along an axis.
fn slice_index(axis: usize, dims: &[usize], bound: usize, random: &mut Random) -> Tensor {
    let mut short = vec![1; dims.len()];
    short[axis] = dims[axis];
    let layout = Layout::contiguous(Shape::new(&short).unwrap()).expand(&Shape::new(dims).unwrap()).unwrap();
    Tensor::indices(layout, bound, random)
}

fn check_gather(axis: usize, input: &Tensor, index: &Tensor, what: &str) {
    let mut out = Tensor::garbage(index.layout.dims(), input.dtype);
    Cpu::open().gather(axis, input.view(), index.view(), out.view_mut()).unwrap();
    reference::gather(axis, &input.host(), &index.host(), &mut out.host_mut());
    out.check(0.0, |_| 0.0, &format!("gather along {axis} {:?} by {:?}: {what}", input.layout, index.layout));
}

fn check_scatter(op: ScatterOp, axis: usize, target: &[usize], index: &Tensor, src: &Tensor, what: &str) {
    let layout = Layout::contiguous(Shape::new(target).unwrap());
    let mut out = Tensor::random(layout, src.dtype, Values::Special, &mut Random::new(11));
    Cpu::open().scatter(op, axis, index.view(), src.view(), out.view_mut()).unwrap();
    reference::scatter(op, axis, &index.host(), &src.host(), &mut out.host_mut());
    out.check(0.0, |_| 0.0, &format!("{} along {axis} {:?} by {:?}: {what}", op.name(), src.layout, index.layout));
}

/// Sizes of the indexed tensor, then of the index.
const CASES: [(&[usize], &[usize]); 9] = [
    (&[7], &[20]),
    (&[5, 4], &[5, 4]),
    (&[5, 9], &[3, 9]),
    (&[3, 40], &[3, 70]),
    (&[40, 16], &[70, 16]),
    (&[2, 7, 64], &[2, 9, 64]),
    (&[4, 3, 5], &[2, 3, 4]),
    (&[2, 1, 3, 4], &[2, 6, 3, 4]),
    (&[3, 4], &[0, 4]),
];

#[test]
fn all_dtypes_and_layouts() {
    let mut random = Random::new(6);
    for (dims, index_dims) in CASES {
        for axis in 0..dims.len() {
            let fits = |at: usize| at == axis || index_dims[at] <= dims[at];
            if !(0..dims.len()).all(fits) {
                continue;
            }
            let mut indices = vec![slice_index(axis, index_dims, dims[axis], &mut random)];
            for (_, layout) in layouts(index_dims) {
                indices.push(Tensor::indices(layout, dims[axis], &mut random));
            }
            for dtype in DType::ALL {
                for (name, layout) in layouts(dims) {
                    let input = Tensor::random(layout, dtype, Values::Plain, &mut random);
                    indices.iter().for_each(|index| check_gather(axis, &input, index, name));
                }
                for (name, layout) in layouts(index_dims) {
                    let src = Tensor::random(layout, dtype, Values::Special, &mut random);
                    for index in &indices {
                        for op in ScatterOp::ALL {
                            check_scatter(op, axis, dims, index, &src, name);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn large_ones_that_several_threads_share() {
    let mut random = Random::new(7);
    for (dims, index_dims) in [
        (&[1000, 64][..], &[3000, 64][..]),
        (&[500, 3], &[100_000, 3]),
        (&[1000], &[200_000]),
        (&[3, 100, 300], &[3, 200, 300]),
        (&[64, 1000], &[64, 3000]),
    ] {
        for axis in 0..dims.len() {
            if !(0..dims.len()).all(|at| at == axis || index_dims[at] <= dims[at]) {
                continue;
            }
            for dtype in [DType::F32, DType::I64, DType::F16] {
                let layout = |dims: &[usize]| Layout::contiguous(Shape::new(dims).unwrap());
                let input = Tensor::random(layout(dims), dtype, Values::Plain, &mut random);
                let src = Tensor::random(layout(index_dims), dtype, Values::Plain, &mut random);
                for index in [
                    slice_index(axis, index_dims, dims[axis], &mut random),
                    Tensor::indices(layout(index_dims), dims[axis], &mut random),
                ] {
                    check_gather(axis, &input, &index, "large");
                    check_scatter(ScatterOp::Set, axis, dims, &index, &src, "large");
                    check_scatter(ScatterOp::Add, axis, dims, &index, &src, "large");
                    same_on_any_number_of_threads(|| {
                        let mut out = Tensor::garbage(dims, dtype);
                        Cpu::open().scatter(ScatterOp::Add, axis, index.view(), src.view(), out.view_mut()).unwrap();
                        out.device_bytes()
                    });
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "index 9 lies within an axis of size 3")]
fn indices_are_never_followed_out_of_the_buffer() {
    let index = Tensor::new(9i64.to_ne_bytes().to_vec(), Layout::contiguous(Shape::new([1]).unwrap()), DType::I64);
    let input = Tensor::garbage(&[3], DType::F32);
    let mut out = Tensor::garbage(&[1], DType::F32);
    Cpu::open().gather(0, input.view(), index.view(), out.view_mut()).unwrap();
}
