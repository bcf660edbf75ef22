//! The text of generated kernels.

use tensor_core::codegen::{self, Dialect, Source, Target, Tensor};
use tensor_core::op::{BinaryOp, UnaryOp};
use tensor_core::{DType, Layout, Program, ReduceOp, ReduceSpec, Scalar, Shape};

fn target(dialect: Dialect) -> Target {
    Target {
        dialect,
        has_f64: true,
        divides_correctly: true,
        is_cpu: false,
        compute_units: 4,
        max_group: 1024,
        max_argument_bytes: 1024,
    }
}

/// A kernel's source without the prelude, which ends where the parameters' types begin.
fn body(dialect: Dialect, program: &Program, layouts: &[Layout]) -> String {
    let target = target(dialect);
    let shape = layouts[0].shape();
    let inputs = layouts.iter().zip(program.inputs());
    let inputs: Vec<Source<'_>> = inputs.map(|(layout, &dtype)| Source::Tensor(Tensor { layout, dtype })).collect();
    let dense = Layout::contiguous(shape.clone());
    let registers = program.outputs().iter();
    let outputs: Vec<Tensor<'_>> = registers.map(|&reg| Tensor { layout: &dense, dtype: program.dtype(reg) }).collect();
    let plan = codegen::pointwise(program, shape, &inputs, &outputs, &target);
    let source = plan.launches[0].kernel.source(&target);
    source[source.find("typedef i32 INDEX").unwrap()..].to_owned()
}

fn scaled() -> Program {
    let mut program = Program::new();
    let x = program.input(DType::F16);
    let scale = program.scalar(Scalar::Float(0.5), DType::F16);
    let product = program.binary(BinaryOp::Mul, x, scale);
    let result = program.unary(UnaryOp::Tanh, product);
    program.output(result);
    program
}

#[test]
fn dense_operands_need_no_index_arithmetic() {
    let layout = Layout::contiguous(Shape::new([4, 6]).unwrap());
    let expected = "typedef i32 INDEX;
typedef u32 UINDEX;
typedef u32 COUNT;
typedef struct {
    u64 count;
    u64 offset[2];
    f32 scalar0;
} Params;
ENTRY(256, 1, 1) void gradix(const Params p, GLOBAL const u16 *in0, GLOBAL u16 *out0) {
    const COUNT index = (COUNT)ITEM(0);
    if (index >= (COUNT)p.count) return;
    const INDEX at_in0 = index;
    const INDEX at_out0 = index;
    in0 += p.offset[0];
    out0 += p.offset[1];
    const f32 r0 = LOAD_F16(in0, at_in0);
    const f32 r1 = p.scalar0;
    const f32 r2 = r0 * r1;
    const f32 r3 = tanh(r2);
    STORE_F16(out0, at_out0, r3);
}
";
    assert_eq!(body(Dialect::OpenCl, &scaled(), std::slice::from_ref(&layout)), expected);
}

#[test]
fn dense_operands_travel_sixteen_bytes_at_once_on_cuda() {
    let layout = Layout::contiguous(Shape::new([4, 6]).unwrap());
    let expected = "    const COUNT index = (COUNT)ITEM(0) * 8, count = (COUNT)p.count;
    if (index >= count) return;
    const COUNT rest = count - index;
    in0 += p.offset[0];
    struct __align__(16) Pack_in0 { u16 v[8]; };
    Pack_in0 pack_in0 = {};
    if (rest >= 8) pack_in0 = *(const Pack_in0 *)(in0 + index);
    else for (COUNT l = 0; l < rest; l++) pack_in0.v[l] = in0[index + l];
    out0 += p.offset[1];
    struct __align__(16) Pack_out0 { u16 v[8]; };
    Pack_out0 pack_out0 = {};
    #pragma unroll
    for (i32 l = 0; l < 8; l++) {
    const f32 r0 = LOAD_F16(pack_in0.v, l);
    const f32 r1 = p.scalar0;
    const f32 r2 = r0 * r1;
    const f32 r3 = tanh(r2);
    STORE_F16(pack_out0.v, l, r3);
    }
    if (rest >= 8) *(Pack_out0 *)(out0 + index) = pack_out0;
    else for (COUNT l = 0; l < rest; l++) out0[index + l] = pack_out0.v[l];
}
";
    let text = body(Dialect::Cuda, &scaled(), std::slice::from_ref(&layout));
    assert!(text.ends_with(expected), "{text}");
    // An operand that is not dense is read element by element, by the text that both dialects share.
    let turned = [layout.transpose(0, 1).unwrap()];
    assert_eq!(body(Dialect::Cuda, &scaled(), &turned), body(Dialect::OpenCl, &scaled(), &turned));
}

#[test]
fn layouts_of_one_class_share_a_kernel() {
    let kernel = |layout: Layout, program: &Program| {
        let dense = Layout::contiguous(layout.shape().clone());
        let input = Source::Tensor(Tensor { layout: &layout, dtype: DType::F16 });
        let output = Tensor { layout: &dense, dtype: DType::F16 };
        let plan = codegen::pointwise(program, layout.shape(), &[input], &[output], &target(Dialect::OpenCl));
        plan.launches[0].kernel.clone()
    };
    let matrix = |rows, columns| Layout::contiguous(Shape::new([rows, columns]).unwrap());
    let program = scaled();
    let dense = kernel(matrix(3, 4), &program);
    assert_eq!(dense, kernel(matrix(50, 60), &program));
    assert_eq!(dense, kernel(matrix(50, 60).narrow(0, 7, 9).unwrap(), &program));
    let transposed = kernel(matrix(3, 4).transpose(0, 1).unwrap(), &program);
    assert_eq!(transposed, kernel(matrix(30, 41).transpose(0, 1).unwrap(), &program));
    assert_ne!(dense, transposed);
    assert_ne!(dense, kernel(matrix(3, 4), &Program::copy(DType::F16)));
}

/// The sources of a sum along an axis, without their preludes.
fn sums(dialect: Dialect, layout: &Layout, axis: usize, dtype: DType) -> Vec<String> {
    let target = target(dialect);
    let shape = layout.shape();
    let out = Layout::contiguous(shape.reduce(&[axis], false));
    let copy = Program::copy(dtype);
    let spec = ReduceSpec { op: ReduceOp::Sum, shape, axes: &[axis], prologue: &copy };
    let plan = codegen::reduce(&spec, &[Tensor { layout, dtype }], Tensor { layout: &out, dtype }, &target);
    let sources = plan.launches.iter().map(|launch| launch.kernel.source(&target));
    sources.map(|source| source[source.find("typedef i32 INDEX").unwrap()..].to_owned()).collect()
}

#[test]
fn rows_are_summed_by_warps_that_read_sixteen_bytes_at_once_on_cuda() {
    let matrix = |rows, columns| Layout::contiguous(Shape::new([rows, columns]).unwrap());
    for (dtype, lanes) in [(DType::F64, 2), (DType::F32, 4), (DType::BF16, 8), (DType::F16, 8)] {
        let rows = &sums(Dialect::Cuda, &matrix(64, 4096), 1, dtype)[0];
        let kind = if dtype == DType::F64 { "f64" } else { "f32" };
        let kind = if lanes == 8 { "u16" } else { kind };
        assert!(rows.contains(&format!("struct __align__(16) Pack0 {{ {kind} v[{lanes}]; }}")), "{rows}");
        assert!(rows.contains("const Pack0 pack0 = ((const Pack0 *)in0)[pack];"), "{rows}");
        // A block of several warps: one round through shared memory between them.
        assert!(rows.contains("__shfl_down_sync(0xffffffffu"), "{rows}");
        assert_eq!(rows.matches("BARRIER").count(), 1, "{rows}");
        // One warp needs none.
        let short = &sums(Dialect::Cuda, &matrix(64, 256), 1, dtype)[0];
        assert!(short.contains("__shfl_down_sync") && !short.contains("BARRIER"), "{short}");
    }
    // What does not begin at a multiple of 16 bytes, or lies apart, is read one by one.
    let part = |from, columns| matrix(64, 4096).narrow(1, from, columns).unwrap();
    assert!(sums(Dialect::Cuda, &part(4, 2050), 1, DType::F32)[0].contains("Pack0"));
    for odd in [part(3, 2048), matrix(64, 4095), matrix(64, 4096).slice(1, 0, 2048, 2).unwrap()] {
        assert!(!sums(Dialect::Cuda, &odd, 1, DType::F32)[0].contains("Pack0"), "{odd:?}");
    }
    for text in sums(Dialect::OpenCl, &matrix(64, 4096), 1, DType::F32) {
        assert!(!text.contains("__shfl") && !text.contains("Pack0"), "{text}");
    }
}

#[test]
fn an_item_sums_columns_that_lie_beside_each_other_on_cuda() {
    let matrix = |rows, columns| Layout::contiguous(Shape::new([rows, columns]).unwrap());
    for (dtype, lanes) in [(DType::F64, 2), (DType::F32, 4), (DType::BF16, 8)] {
        let text = &sums(Dialect::Cuda, &matrix(64, 4096), 0, dtype)[0];
        assert!(text.contains(&format!("Total totals[{lanes}];")) && !text.contains("__shfl"), "{text}");
        assert!(text.contains("const Pack0 pack0 = *(const Pack0 *)(in0 + at0);"), "{text}");
    }
    let part = matrix(64, 4096).narrow(1, 3, 2048).unwrap();
    for odd in [part, matrix(64, 4094), matrix(64, 4096).slice(1, 0, 2048, 2).unwrap()] {
        assert!(!sums(Dialect::Cuda, &odd, 0, DType::F32)[0].contains("Pack0"), "{odd:?}");
    }
    assert!(!sums(Dialect::OpenCl, &matrix(64, 4096), 0, DType::F32)[0].contains("Pack0"));
}

#[test]
fn what_stays_the_same_along_a_row_is_read_once_on_cuda() {
    let matrix = Layout::contiguous(Shape::new([64, 4096]).unwrap());
    let column = Layout::contiguous(Shape::new([64, 1]).unwrap()).expand(matrix.shape()).unwrap();
    let mut program = Program::new();
    let (x, mean) = (program.input(DType::F32), program.input(DType::F32));
    let less = program.binary(BinaryOp::Sub, x, mean);
    program.output(less);
    let spec = ReduceSpec { op: ReduceOp::Sum, shape: matrix.shape(), axes: &[1], prologue: &program };
    let out = Layout::contiguous(Shape::new([64]).unwrap());
    let tensor = |layout| Tensor { layout, dtype: DType::F32 };
    let target = target(Dialect::Cuda);
    let plan = codegen::reduce(&spec, &[tensor(&matrix), tensor(&column)], tensor(&out), &target);
    let text = plan.launches[0].kernel.source(&target);
    assert!(text.contains("Pack0") && text.contains("const f32 still1 = in1[0];") && !text.contains("Pack1"), "{text}");
}
