//! Whole programs: several instructions and outputs, in place, with positions and random bits, on several threads.

mod common;

use common::{In, Kind, Rng, Tensor, assert_close, device, on_device, on_reference, random};
use tensor_core::op::{BinaryOp, CompareOp, TernaryOp, UnaryOp};
use tensor_core::program::Reg;
use tensor_core::reference::Reference;
use tensor_core::{Array, Backend, DType, Layout, Program, Scalar, ScanOp, Shape, fallback_counts};

/// Builds programs of operations whose results are exact, so that chains of any length must agree to the bit.
struct Builder {
    program: Program,
    registers: Vec<Reg>,
    rng: Rng,
}

impl Builder {
    fn pick(&mut self) -> Reg {
        self.registers[self.rng.below(self.registers.len())]
    }

    /// A register of a dtype: one that is there, or a cast of one.
    fn pick_of(&mut self, dtype: DType) -> Reg {
        let reg = self.pick();
        self.program.cast(reg, dtype)
    }

    fn instruction(&mut self) {
        use BinaryOp::*;
        const FLOAT: [BinaryOp; 6] = [Add, Sub, Mul, Div, Maximum, Minimum];
        const INT: [BinaryOp; 9] = [Add, Sub, Mul, Maximum, Minimum, FloorDiv, Remainder, BitXor, Shl];
        const BOOL: [BinaryOp; 3] = [BitAnd, BitOr, BitXor];
        let a = self.pick();
        let dtype = self.program.dtype(a);
        let made = match self.rng.below(8) {
            0 => {
                let to = DType::ALL[self.rng.below(DType::ALL.len())];
                self.program.cast(a, to)
            }
            1 => {
                let ops = [CompareOp::Eq, CompareOp::Ne, CompareOp::Lt, CompareOp::Le, CompareOp::Gt, CompareOp::Ge];
                let (op, b) = (ops[self.rng.below(6)], self.pick_of(dtype));
                self.program.compare(op, a, b)
            }
            2 => {
                let (condition, b) = (self.pick_of(DType::Bool), self.pick_of(dtype));
                self.program.ternary(TernaryOp::Where, condition, a, b)
            }
            3 if dtype != DType::Bool => {
                let ops = [UnaryOp::Neg, UnaryOp::Abs, UnaryOp::Relu, UnaryOp::Floor, UnaryOp::Square, UnaryOp::IsNan];
                self.program.unary(ops[self.rng.below(6)], a)
            }
            4 => {
                let value = random(dtype, (-10.0, 10.0), &mut self.rng);
                let b = self.program.scalar(value, dtype);
                let ops: &[BinaryOp] = if dtype == DType::Bool { &BOOL } else { &FLOAT[..3] };
                self.program.binary(ops[self.rng.below(3)], a, b)
            }
            _ => {
                let ops: &[BinaryOp] = match dtype {
                    DType::Bool => &BOOL,
                    dtype if dtype.is_float() => &FLOAT,
                    _ => &INT,
                };
                let (op, b) = (ops[self.rng.below(ops.len())], self.pick_of(dtype));
                self.program.binary(op, a, b)
            }
        };
        self.registers.push(made);
    }
}

/// A random program with random tensors for it.
fn random_case(seed: u64, rows: usize, columns: usize, length: usize) -> (Program, Shape, Vec<In>, Vec<Tensor>) {
    let mut rng = Rng(seed);
    let shape = Shape::new([rows, columns]).unwrap();
    let mut builder = Builder { program: Program::new(), registers: Vec::new(), rng: rng.clone() };
    let mut inputs = Vec::new();
    for _ in 0..1 + rng.below(4) {
        let dtype = DType::ALL[rng.below(DType::ALL.len())];
        let kind = Kind::ALL[rng.below(Kind::ALL.len())];
        let (layout, len) = kind.layout(rows, columns);
        builder.registers.push(builder.program.input(dtype));
        inputs.push(In::Tensor(Tensor::new(dtype, layout, len, |_| random(dtype, (-50.0, 50.0), &mut rng))));
    }
    if rng.below(3) == 0 {
        let axis = rng.below(2);
        builder.registers.push(builder.program.iota(axis));
    }
    if rng.below(3) == 0 {
        let key = builder.program.random_key(rng.bits(), rng.bits());
        for _ in 0..1 + rng.below(3) {
            let word = rng.below(4) as u8;
            builder.registers.push(builder.program.random(key, word));
        }
    }
    for _ in 0..length {
        builder.instruction();
    }
    let mut outputs = Vec::new();
    for _ in 0..1 + rng.below(4) {
        let reg = builder.pick();
        builder.program.output(reg);
        let dtype = builder.program.dtype(reg);
        let (layout, len) = Kind::OUTPUTS[rng.below(Kind::OUTPUTS.len())].layout(rows, columns);
        outputs.push(Tensor::new(dtype, layout, len, |_| random(dtype, (-50.0, 50.0), &mut rng)));
    }
    // An input of an output's dtype may be that output's old content.
    for (number, input) in inputs.iter_mut().enumerate() {
        let dtype = builder.program.inputs()[number];
        if rng.below(3) == 0
            && let Some(output) = outputs.iter().position(|output| output.dtype == dtype)
        {
            *input = In::Output(output);
        }
    }
    (builder.program, shape, inputs, outputs)
}

/// The seeds are fixed: a device that has seen a program compiles it no second time.
#[test]
fn random_programs() {
    let Some(device) = device() else { return };
    for seed in 0..14 {
        let (rows, columns) = (1 + seed as usize * 7 % 40, 1 + seed as usize * 37 % 90);
        let (program, shape, inputs, outputs) = random_case(seed, rows, columns, 4 + seed as usize);
        let expected = on_reference(&program, &shape, &inputs, &outputs);
        let got = on_device(&device, &program, &shape, &inputs, &outputs);
        for (number, output) in outputs.iter().enumerate() {
            assert_close(output.dtype, &got[number], &expected[number], 0, &|element| {
                format!("output {number} at element {element} of\n{program}\n{shape}, {:?}", output.layout)
            });
        }
    }
}

fn dense(dtype: DType, dims: &[usize]) -> Tensor {
    let shape = Shape::new(dims).unwrap();
    let len = shape.numel();
    Tensor::new(dtype, Layout::contiguous(shape), len, |number| Scalar::from(number).cast(dtype))
}

/// A program with as many operands and scalars as there can be, strided in many axes, needs more parameters than a kernel
/// may have.
#[test]
fn more_parameters_than_a_kernel_takes() {
    let Some(device) = device() else { return };
    let mut rng = Rng(9);
    let shape = Shape::new([2, 3, 2, 2, 2, 3, 2, 2]).unwrap();
    let order: [isize; 8] = [7, 2, 5, 0, 3, 6, 1, 4];
    let mut program = Program::new();
    let mut inputs = Vec::new();
    let mut registers = Vec::new();
    for _ in 0..7 {
        registers.push(program.input(DType::I64));
        let mut back = [0isize; 8];
        order.iter().enumerate().for_each(|(place, &axis)| back[axis as usize] = place as isize);
        let sizes: Vec<usize> = order.iter().map(|&axis| shape.dims()[axis as usize]).collect();
        let layout = Layout::contiguous(Shape::new(sizes).unwrap()).permute(&back).unwrap();
        let values = |_| random(DType::I64, (0.0, 1.0), &mut rng);
        inputs.push(In::Tensor(Tensor::new(DType::I64, layout, shape.numel(), values)));
    }
    registers.push(program.input(DType::I64));
    inputs.push(In::Output(7));
    let mut outputs = Vec::new();
    for (number, &register) in registers.iter().enumerate() {
        let mut value = register;
        for step in 0..3 {
            let scalar = program.scalar(Scalar::Int(1000 + number as i64 * 10 + step), DType::I64);
            value = program.binary(BinaryOp::Mul, value, scalar);
        }
        program.output(value);
        let layout = dense(DType::I64, shape.dims()).layout.flip(&[number as isize]).unwrap();
        outputs.push(Tensor::new(DType::I64, layout, shape.numel(), Scalar::from));
    }
    let expected = on_reference(&program, &shape, &inputs, &outputs);
    assert_eq!(on_device(&device, &program, &shape, &inputs, &outputs), expected);
}

#[test]
fn threads_compile_and_compute_on_one_device() {
    let Some(device) = device() else { return };
    std::thread::scope(|scope| {
        for thread in 0..4i64 {
            let device = device.clone();
            scope.spawn(move || {
                for round in 0..20i64 {
                    // Two threads share each program; the scalar is another each time.
                    let mut program = Program::new();
                    let x = program.input(DType::I32);
                    let scalar = program.scalar(Scalar::Int(thread * 100 + round), DType::I32);
                    let op = if thread % 2 == 0 { BinaryOp::Add } else { BinaryOp::Mul };
                    let y = program.binary(op, x, scalar);
                    program.output(y);
                    let shape = Shape::new([1000]).unwrap();
                    let inputs = [In::Tensor(dense(DType::I32, &[1000]))];
                    let outputs = [dense(DType::I32, &[1000])];
                    let expected = on_reference(&program, &shape, &inputs, &outputs);
                    assert_eq!(on_device(&device, &program, &shape, &inputs, &outputs), expected);
                }
            });
        }
    });
}

/// Arrays over the device agree with arrays over the reference interpreter, and nothing ran on the interpreter.
#[test]
fn arrays_compute_on_the_device_alone() {
    fn results<B: Backend>(backend: &B) -> Result<Vec<Vec<f32>>, tensor_core::Error> {
        let shape = Shape::new([6, 5])?;
        let x = Array::rand(backend, 1, 2, &shape, DType::F32)?;
        let product = x.matmul(&x.transpose(0, 1)?)?;
        let (sorted, places) = product.sort(1, true)?;
        let arrays = [
            product.softmax(0, false)?,
            sorted.scan(ScanOp::Sum, 0)?,
            product.gather(1, &places)?,
            product.sum(&[0], false)?,
            places.sum(&[1], true)?.cast(DType::F32)?,
        ];
        arrays.iter().map(|array| array.to_vec::<f32>()).collect()
    }
    let Some(device) = device() else { return };
    let got = results(&device).unwrap();
    assert!(fallback_counts().is_empty(), "{:?}", fallback_counts());
    let expected = results(&Reference).unwrap();
    for (got, expected) in got.iter().flatten().zip(expected.iter().flatten()) {
        assert!((got - expected).abs() <= 1e-5 * (1.0 + expected.abs()), "{got} instead of {expected}");
    }
}
