use super::super::{program, run};
use super::*;
use crate::pointwise::registers;
use tensor_core::op::{BinaryOp, UnaryOp};
use tensor_core::{Backend, Scalar};

/// What the formulas give is what the program in blocks does, but for the order of a sum's terms.
#[test]
fn formulas_reduce_to_what_their_programs_do() {
    for &level in Level::available() {
        let cpu = Cpu::with_level(level);
        for dtype in [DType::F32, DType::F64] {
            for (lines, length) in [(3, 70_000), (100, 1000), (1000, 70), (1, 64)] {
                let shape = Shape::new([lines, length]).unwrap();
                let layout = Layout::contiguous(shape.clone());
                let column = Layout::contiguous(Shape::new([lines, 1]).unwrap()).expand(&shape).unwrap();
                let filled = |count: usize, seed: usize| {
                    let mut buffer = cpu.alloc(count * dtype.size()).unwrap();
                    for (number, element) in buffer.bytes_mut().chunks_exact_mut(dtype.size()).enumerate() {
                        let value = ((number * 7919 + seed * 104_729) % 1009) as f64 / 1009.0;
                        Scalar::Float(value).write(dtype, element);
                    }
                    buffer
                };
                let (x, c, y) = (filled(lines * length, 1), filled(lines, 2), filled(lines * length, 3));
                let whole = |buffer| View { buffer, layout: &layout, dtype };
                let same = View { buffer: &c, layout: &column, dtype };
                let one = |first, then: fn(&mut Program, tensor_core::program::Reg) -> _| {
                    let mut p = Program::new();
                    let (a, b) = (p.input(dtype), p.input(dtype));
                    let value = p.binary(first, a, b);
                    let value = then(&mut p, value);
                    p.output(value);
                    p
                };
                let exp = one(BinaryOp::Sub, |p, value| p.unary(UnaryOp::Exp, value));
                let square = one(BinaryOp::Sub, |p, value| p.unary(UnaryOp::Square, value));
                let product = one(BinaryOp::Mul, |_, value| value);
                let cases = [
                    (&exp, [whole(&x), same]),
                    (&square, [whole(&x), same]),
                    (&square, [whole(&x), whole(&y)]),
                    (&product, [whole(&x), whole(&y)]),
                ];
                for (prologue, inputs) in cases {
                    for (op, axes) in [(ReduceOp::Sum, &[1][..]), (ReduceOp::Sum, &[0, 1]), (ReduceOp::Max, &[1])] {
                        let spec = ReduceSpec { op, shape: &shape, axes, prologue };
                        let to = Layout::contiguous(spec.out_shape());
                        let results = [false, true].map(|by_formula| {
                            let mut buffer = cpu.alloc(to.numel() * dtype.size()).unwrap();
                            let mut out = ViewMut { buffer: &mut buffer, layout: &to, dtype };
                            if by_formula {
                                let is_whole_and_column = lines > 1 && axes.len() == 2 && inputs[1].layout != &layout;
                                assert_eq!(reduce(level, &spec, &inputs, &mut out), !is_whole_and_column);
                                if is_whole_and_column {
                                    program::reduce(&cpu, &spec, &inputs, out).unwrap();
                                }
                            } else {
                                program::reduce(&cpu, &spec, &inputs, out).unwrap();
                            }
                            let elements = buffer.bytes().chunks_exact(dtype.size());
                            elements.map(|element| Scalar::read(dtype, element).as_f64()).collect::<Vec<_>>()
                        });
                        for (expected, got) in results[0].iter().zip(&results[1]) {
                            let off = (expected - got).abs() / expected.abs();
                            assert!(off <= 1.2e-7, "{prologue} {op:?} {axes:?} {dtype}: {got} for {expected}");
                        }
                    }
                }
            }
        }
    }
}

/// What a program of cheap instructions gives tile by tile is what it does in blocks, but for the order of a sum's terms.
#[test]
fn cheap_programs_reduce_to_what_their_blocks_do() {
    let dtype = DType::F32;
    let (lines, length) = (70, 3000);
    let mut p = Program::new();
    let [x, column, row] = [(); 3].map(|()| p.input(dtype));
    let factor = p.scalar(Scalar::Float(-1.5), dtype);
    let square = p.unary(UnaryOp::Square, x);
    let scaled = p.binary(BinaryOp::Mul, square, factor);
    let moved = p.binary(BinaryOp::Sub, column, scaled);
    let value = p.binary(BinaryOp::Mul, moved, row);
    p.output(value);
    let shape = Shape::new([lines, length]).unwrap();
    let layout = |dims: [usize; 2]| Layout::contiguous(Shape::new(dims).unwrap()).expand(&shape).unwrap();
    let layouts = [layout([lines, length]), layout([lines, 1]), layout([1, length])];
    for &level in Level::available() {
        let cpu = Cpu::with_level(level);
        let buffers = [lines * length, lines, length].map(|count| {
            let mut buffer = cpu.alloc(count * dtype.size()).unwrap();
            for (number, element) in buffer.bytes_mut().chunks_exact_mut(dtype.size()).enumerate() {
                Scalar::Float((number * 7919 % 1009) as f64 / 1009.0).write(dtype, element);
            }
            buffer
        });
        let inputs: Vec<View<'_, Cpu>> =
            buffers.iter().zip(&layouts).map(|(buffer, layout)| View { buffer, layout, dtype }).collect();
        for op in [ReduceOp::Sum, ReduceOp::Max] {
            let spec = ReduceSpec { op, shape: &shape, axes: &[1], prologue: &p };
            let to = Layout::contiguous(spec.out_shape());
            let results = [false, true].map(|by_line| {
                let mut buffer = cpu.alloc(to.numel() * dtype.size()).unwrap();
                let mut out = ViewMut { buffer: &mut buffer, layout: &to, dtype };
                if by_line && registers::are_for(level) {
                    assert!(reduce(level, &spec, &inputs, &mut out), "{level:?}");
                } else {
                    program::reduce(&cpu, &spec, &inputs, out).unwrap();
                }
                let elements = buffer.bytes().chunks_exact(dtype.size());
                elements.map(|element| Scalar::read(dtype, element).as_f64()).collect::<Vec<_>>()
            });
            for (expected, got) in results[0].iter().zip(&results[1]) {
                let off = (expected - got).abs() / expected.abs().max(1.0);
                assert!(off <= 1.2e-7, "{op:?}, {level:?}: {got} for {expected}");
            }
        }
    }
}

/// Operands that are stored in 16 bits give what they give once they were widened into memory.
#[test]
fn halves_reduce_to_what_they_do_as_f32() {
    let one_of = |dtype: DType, compute: fn(&mut Program, Reg, Reg) -> Reg| {
        let mut p = Program::new();
        let (x, c) = (p.input(dtype), p.input(DType::F32));
        let wide = p.cast(x, DType::F32);
        let value = compute(&mut p, wide, c);
        p.output(value);
        p
    };
    let computes: [fn(&mut Program, Reg, Reg) -> Reg; 3] = [
        |p, x, c| {
            let less = p.binary(BinaryOp::Sub, x, c);
            p.unary(UnaryOp::Exp, less)
        },
        |p, x, c| {
            let less = p.binary(BinaryOp::Sub, x, c);
            p.unary(UnaryOp::Square, less)
        },
        // No formula, but a run of cheap instructions.
        |p, x, c| {
            let less = p.binary(BinaryOp::Maximum, x, c);
            let scaled = p.binary(BinaryOp::Mul, less, c);
            p.binary(BinaryOp::Sub, scaled, x)
        },
    ];
    for &level in Level::available() {
        let cpu = Cpu::with_level(level);
        for (lines, length) in [(3, 70_000), (70, 2049), (100, 64)] {
            let shape = Shape::new([lines, length]).unwrap();
            let layout = Layout::contiguous(shape.clone());
            let column = Layout::contiguous(Shape::new([lines, 1]).unwrap()).expand(&shape).unwrap();
            for half in [DType::F16, DType::BF16] {
                let filled = |dtype: DType, count: usize| {
                    let mut buffer = cpu.alloc(count * dtype.size()).unwrap();
                    for (number, element) in buffer.bytes_mut().chunks_exact_mut(dtype.size()).enumerate() {
                        // Both types hold these.
                        Scalar::Float((number * 7919 % 251) as f64 / 64.0).write(dtype, element);
                    }
                    buffer
                };
                let c = filled(DType::F32, lines);
                for compute in computes {
                    for op in [ReduceOp::Sum, ReduceOp::Max] {
                        let results = [half, DType::F32].map(|dtype| {
                            let prologue = &one_of(dtype, compute);
                            let x = filled(dtype, lines * length);
                            let inputs = [
                                View { buffer: &x, layout: &layout, dtype },
                                View { buffer: &c, layout: &column, dtype: DType::F32 },
                            ];
                            let spec = ReduceSpec { op, shape: &shape, axes: &[1], prologue };
                            let to = Layout::contiguous(spec.out_shape());
                            let mut buffer = cpu.alloc(lines * 4).unwrap();
                            let mut out = ViewMut { buffer: &mut buffer, layout: &to, dtype: DType::F32 };
                            if !reduce(level, &spec, &inputs, &mut out) {
                                assert!(!registers::are_for(level), "{prologue}");
                                program::reduce(&cpu, &spec, &inputs, out).unwrap();
                            }
                            buffer.bytes().to_vec()
                        });
                        assert_eq!(results[0], results[1], "{half} {op:?} {lines}×{length} {level:?}");
                    }
                }
                // As they are.
                let mut copy = Program::new();
                let x = copy.input(half);
                let wide = copy.cast(x, DType::F32);
                copy.output(wide);
                let (stored, wide) = (filled(half, lines * length), filled(DType::F32, lines * length));
                let sums = [(&copy, &stored, half), (&Program::copy(DType::F32), &wide, DType::F32)];
                let sums = sums.map(|(prologue, buffer, dtype)| {
                    let spec = ReduceSpec { op: ReduceOp::Sum, shape: &shape, axes: &[1], prologue };
                    let (input, to) = (View { buffer, layout: &layout, dtype }, Layout::contiguous(spec.out_shape()));
                    let mut sums = cpu.alloc(lines * 4).unwrap();
                    let mut out = ViewMut { buffer: &mut sums, layout: &to, dtype: DType::F32 };
                    if dtype == DType::F32 {
                        run(level, &spec, &input, &mut out);
                    } else {
                        assert!(reduce(level, &spec, &[input], &mut out));
                    }
                    sums.bytes().to_vec()
                });
                assert_eq!(sums[0], sums[1], "{half} sum {lines}×{length} {level:?}");
            }
        }
    }
}

/// What rounds to 16 bits on the way is not computed in f32 alone.
#[test]
fn rounding_on_the_way_is_kept() {
    let mut p = Program::new();
    let (x, y) = (p.input(DType::BF16), p.input(DType::F32));
    let rounded = p.cast(y, DType::BF16);
    let sum = p.binary(BinaryOp::Add, x, rounded);
    let wide = p.cast(sum, DType::F32);
    p.output(wide);
    assert!(of_wide_inputs(&p).is_none());
}
