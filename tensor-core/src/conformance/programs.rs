//! Whole programs: several instructions and outputs, in place, with positions and random bits.

use super::case::{Case, Check, In, Probe, ensure, expected_pointwise};
use super::judge::Bound;
use super::random::shrinking;
use super::tensor::{Arrangement, HostTensor};
use super::values::{Rng, sample, specials};
use crate::op::{BinaryOp, CompareOp, TernaryOp, UnaryOp};
use crate::program::{MAX_INPUTS, MAX_INSTRUCTIONS, MAX_OUTPUTS, Reg};
use crate::random::philox4x32;
use crate::{Backend, DType, Program, Scalar, Shape};

/// How many random programs there are of each kind.
const RANDOM: u64 = 24;

/// The cases of programs.
pub(super) fn cases<B: Backend>() -> Vec<Case<B>> {
    let mut cases = Vec::new();
    let exact = [DType::Bool, DType::I64, DType::F32];
    for seed in 0..RANDOM {
        let name = format!("{seed:02}");
        cases.push(
            Case::new("programs", "random_f32_i64_bool", None, name, move |probe| random(probe, seed, &exact))
                .needing(exact),
        );
    }
    for seed in 0..RANDOM {
        let name = format!("{seed:02}");
        let run = move |probe: &mut Probe<'_, B>| random(probe, RANDOM + seed, &DType::ALL);
        cases.push(Case::new("programs", "random_all_dtypes", None, name, run).needing(DType::ALL));
    }
    for dtype in DType::ALL {
        let case = |op, run: fn(&mut Probe<'_, B>, DType) -> Check| {
            Case::new("programs", op, dtype, "all", move |probe| run(probe, dtype))
        };
        cases.push(case("several_outputs", several_outputs));
        cases.push(case("fill", fill));
        cases.push(case("copy", copies));
        cases.push(case("iota", iota).needing([DType::I64]));
    }
    for word in 0..4u8 {
        let name = format!("word_{word}");
        cases.push(Case::new("programs", "random_bits", DType::I64, name, move |probe| random_bits(probe, word)));
    }
    cases.push(Case::new("programs", "random_bits", DType::I64, "strided", random_bits_strided));
    cases.push(Case::new("programs", "random_bits", DType::I64, "dropout", dropout).needing([DType::F32]));
    cases.push(Case::new("programs", "limits", DType::I64, "all", limits));
    cases.push(Case::new("programs", "no_contraction", DType::F32, "all", no_contraction));
    cases.push(Case::new("programs", "swapped_outputs", DType::I32, "all", swapped));
    cases.push(Case::new("programs", "same_kernel_other_scalars", DType::F32, "all", other_scalars));
    cases.push(Case::new("programs", "large", DType::F32, "all", large));
    cases
}

/// Runs a program on the backend and on the reference; every bit must agree.
fn check<B: Backend>(
    probe: &mut Probe<'_, B>,
    program: &Program,
    shape: &Shape,
    inputs: &[In],
    outputs: &[HostTensor],
    what: &str,
) -> Check {
    let got = probe.pointwise(program, shape, inputs, outputs)?;
    let wanted = expected_pointwise(program, shape, inputs, outputs);
    for (number, ((out, got), wanted)) in outputs.iter().zip(&got).zip(&wanted).enumerate() {
        let describe = |_: usize| format!(" of output {number} ({what}) of the program\n{program}\n");
        probe.compare(out, got, wanted, &|_| Bound::EXACT, &describe)?;
    }
    Ok(())
}

fn dense(dims: &[usize]) -> (crate::Layout, usize) {
    Arrangement::Contiguous.layout(dims)
}

/// Builds programs of operations that IEEE 754 or integer arithmetic defines to the last bit, so that chains of any length
/// must agree. Division is not among them: devices may round it otherwise.
struct Builder<'a> {
    program: Program,
    registers: Vec<Reg>,
    dtypes: &'a [DType],
}

impl Builder<'_> {
    fn pick(&self, rng: &mut Rng) -> Reg {
        rng.pick(&self.registers)
    }

    /// A register of a dtype: one that is there, or a cast of one.
    fn pick_of(&mut self, dtype: DType, rng: &mut Rng) -> Reg {
        let reg = self.pick(rng);
        self.program.cast(reg, dtype)
    }

    fn instruction(&mut self, rng: &mut Rng) {
        use BinaryOp::*;
        const FLOAT: [BinaryOp; 5] = [Add, Sub, Mul, Maximum, Minimum];
        const INT: [BinaryOp; 9] = [Add, Sub, Mul, Maximum, Minimum, FloorDiv, Remainder, BitXor, Shl];
        const BOOL: [BinaryOp; 3] = [BitAnd, BitOr, BitXor];
        let a = self.pick(rng);
        let dtype = self.program.dtype(a);
        let binary: &[BinaryOp] = match dtype {
            DType::Bool => &BOOL,
            dtype if dtype.is_float() => &FLOAT,
            _ => &INT,
        };
        let made = match rng.below(8) {
            0 => {
                let to = rng.pick(self.dtypes);
                self.program.cast(a, to)
            }
            1 => {
                let all = [CompareOp::Eq, CompareOp::Ne, CompareOp::Lt, CompareOp::Le, CompareOp::Gt, CompareOp::Ge];
                let (op, b) = (rng.pick(&all), self.pick_of(dtype, rng));
                self.program.compare(op, a, b)
            }
            2 => {
                let (condition, b) = (self.pick_of(DType::Bool, rng), self.pick_of(dtype, rng));
                self.program.ternary(TernaryOp::Where, condition, a, b)
            }
            3 if dtype != DType::Bool => {
                let all = [UnaryOp::Neg, UnaryOp::Abs, UnaryOp::Relu, UnaryOp::Floor, UnaryOp::IsNan];
                let op = rng.pick(&all);
                self.program.unary(op, a)
            }
            4 => {
                let value = sample(dtype, (-10.0, 10.0), rng);
                let b = self.program.scalar(value, dtype);
                let op = rng.pick(&binary[..3]);
                self.program.binary(op, a, b)
            }
            _ => {
                let (op, b) = (rng.pick(binary), self.pick_of(dtype, rng));
                self.program.binary(op, a, b)
            }
        };
        self.registers.push(made);
    }
}

/// A random program with random tensors of all arrangements.
fn random<B: Backend>(probe: &mut Probe<'_, B>, seed: u64, dtypes: &[DType]) -> Check {
    shrinking(seed, 16, |choices| {
        let mut rng = Rng::new(seed);
        let operands = &mut choices.operands;
        let dims = [[9, 70], [3, 257], [64, 17], [1, 1025]][operands.below(4)];
        let shape = Shape::new(dims).expect("a small shape");
        let mut builder = Builder { program: Program::new(), registers: Vec::new(), dtypes };
        let mut inputs = Vec::new();
        for _ in 0..1 + operands.below(4) {
            let dtype = operands.pick(dtypes);
            let arranged = operands.pick(&Arrangement::ALL).layout(&dims);
            builder.registers.push(builder.program.input(dtype));
            inputs.push(In::Tensor(HostTensor::new(dtype, arranged, || sample(dtype, (-50.0, 50.0), &mut rng))));
        }
        if operands.below(3) == 2 {
            let axis = operands.below(2);
            builder.registers.push(builder.program.iota(axis));
        }
        if operands.below(3) == 2 {
            let key = builder.program.random_key(rng.bits(), rng.bits());
            for _ in 0..1 + operands.below(3) {
                let word = rng.below(4) as u8;
                builder.registers.push(builder.program.random(key, word));
            }
        }
        for step in &mut choices.steps {
            builder.instruction(step);
        }
        let mut outputs = Vec::new();
        for result in &mut choices.results {
            // The latest comes first, as what is simplest to choose.
            let reg = builder.registers[builder.registers.len() - 1 - result.below(builder.registers.len())];
            builder.program.output(reg);
            let arranged = result.pick(&Arrangement::OUTPUTS).layout(&dims);
            outputs.push(HostTensor::unwritten(builder.program.dtype(reg), arranged));
        }
        // An output may take the place of an input of its dtype.
        let place = operands.below(inputs.len());
        let free = outputs.iter().position(|out| Some(&out.dtype) == builder.program.inputs().get(place));
        if let (Some(number), In::Tensor(held)) = (free, &inputs[place])
            && !held.layout.overlaps()
        {
            outputs[number] = held.clone();
            inputs[place] = In::Output(number);
        }
        check(probe, &builder.program, &shape, &inputs, &outputs, &format!("seed {seed}, {dims:?}"))
    })
}

/// The input, another input, and a choice between them; each to an output of its own arrangement.
fn several_outputs<B: Backend>(probe: &mut Probe<'_, B>, dtype: DType) -> Check {
    let mut rng = Rng::new(7);
    let mut program = Program::new();
    let (a, b) = (program.input(dtype), program.input(dtype));
    let less = program.compare(CompareOp::Lt, a, b);
    let lower = program.ternary(TernaryOp::Where, less, a, b);
    for reg in [lower, a, less, b, lower] {
        program.output(reg);
    }
    for dims in [&[257][..], &[3, 67], &[2, 3, 4, 5]] {
        let shape = Shape::new(dims).expect("a small shape");
        let inputs = [Arrangement::Transposed, Arrangement::StepLast]
            .map(|kind| In::Tensor(HostTensor::new(dtype, kind.layout(dims), || sample(dtype, (-9.0, 9.0), &mut rng))));
        let kinds = [
            Arrangement::Contiguous,
            Arrangement::Flipped,
            Arrangement::Window,
            Arrangement::Transposed,
            Arrangement::Contiguous,
        ];
        let outputs: Vec<_> = kinds
            .iter()
            .zip(program.outputs())
            .map(|(kind, &reg)| HostTensor::unwritten(program.dtype(reg), kind.layout(dims)))
            .collect();
        check(probe, &program, &shape, &inputs, &outputs, &format!("{dims:?}"))?;
    }
    Ok(())
}

/// A program without inputs: one scalar everywhere.
fn fill<B: Backend>(probe: &mut Probe<'_, B>, dtype: DType) -> Check {
    for (place, value) in specials(dtype).into_iter().enumerate() {
        let mut program = Program::new();
        let scalar = program.scalar(value, dtype);
        program.output(scalar);
        let dims: &[usize] = [&[][..], &[1], &[65], &[3, 5, 7]][place % 4];
        let arranged = Arrangement::OUTPUTS[place % Arrangement::OUTPUTS.len()].layout(dims);
        let shape = Shape::new(dims).expect("a small shape");
        check(
            probe,
            &program,
            &shape,
            &[],
            &[HostTensor::unwritten(dtype, arranged)],
            &format!("filled with {value}"),
        )?;
    }
    Ok(())
}

/// Every arrangement copied to every arrangement, bit for bit.
fn copies<B: Backend>(probe: &mut Probe<'_, B>, dtype: DType) -> Check {
    let program = Program::copy(dtype);
    let mut rng = Rng::new(8);
    let special = specials(dtype);
    for dims in [&[17, 33][..], &[2, 65, 3]] {
        for from in Arrangement::ALL {
            for to in Arrangement::OUTPUTS {
                let input = HostTensor::new(dtype, from.layout(dims), || match rng.below(4) {
                    0 => rng.pick(&special),
                    _ => sample(dtype, (-1e3, 1e3), &mut rng),
                });
                let out = HostTensor::unwritten(dtype, to.layout(dims));
                let shape = out.shape().clone();
                let (inputs, out) = ([In::Tensor(input)], [out]);
                let got = probe.pointwise(&program, &shape, &inputs, &out)?;
                let wanted = expected_pointwise(&program, &shape, &inputs, &out);
                probe.compare_all(&out[0], &got[0], &wanted[0], Bound::SAME, &format!("{from:?} to {to:?}"))?;
            }
        }
    }
    Ok(())
}

/// Each axis' coordinates, converted to the dtype.
fn iota<B: Backend>(probe: &mut Probe<'_, B>, dtype: DType) -> Check {
    for dims in [&[300][..], &[5, 70], &[70, 5], &[3, 4, 33], &[2, 1, 3, 2, 1, 2, 3, 5]] {
        let shape = Shape::new(dims).expect("a small shape");
        for axis in 0..dims.len() {
            let mut program = Program::new();
            let coordinate = program.iota(axis);
            let value = program.cast(coordinate, dtype);
            program.output(value);
            for kind in [Arrangement::Contiguous, Arrangement::Transposed, Arrangement::Mixed] {
                let out = HostTensor::unwritten(dtype, kind.layout(dims));
                check(probe, &program, &shape, &[], &[out], &format!("axis {axis} of {dims:?}, {kind:?}"))?;
            }
        }
    }
    Ok(())
}

/// A word of each element's block, for keys and streams with bits in both halves.
fn random_bits<B: Backend>(probe: &mut Probe<'_, B>, word: u8) -> Check {
    let keys = [(0, 0), (1, 0), (0, 1), (u64::MAX, u64::MAX), (0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321)];
    for (seed, stream) in keys {
        for dims in [&[1][..], &[257], &[1025], &[7, 11, 13]] {
            let mut program = Program::new();
            let key = program.random_key(seed, stream);
            let bits = program.random(key, word);
            program.output(bits);
            let shape = Shape::new(dims).expect("a small shape");
            let out = HostTensor::unwritten(DType::I64, dense(dims));
            let got = probe.pointwise(&program, &shape, &[], std::slice::from_ref(&out))?;
            if probe.left_out() {
                continue;
            }
            for (element, bytes) in got[0].chunks_exact(8).enumerate() {
                let wanted = Scalar::from(philox4x32(element as u64, stream, seed)[word as usize] as i64);
                let found = Scalar::read(DType::I64, bytes);
                ensure(found == wanted, || {
                    format!(
                        "word {word} of element {element} of {shape} with seed {seed:#x} and stream {stream:#x}: got \
                         {found}, expected {wanted}"
                    )
                })?;
            }
        }
    }
    Ok(())
}

/// The element's number is that of its position in the shape, wherever it lies; and all words of a block in one program.
fn random_bits_strided<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    let mut program = Program::new();
    let key = program.random_key(42, 7);
    let other = program.random_key(43, 7);
    for (key, word) in [(key, 0), (key, 3), (other, 1), (key, 1), (key, 2)] {
        let bits = program.random(key, word);
        program.output(bits);
    }
    for dims in [&[9, 70][..], &[3, 5, 2, 17]] {
        let shape = Shape::new(dims).expect("a small shape");
        for kind in Arrangement::OUTPUTS {
            let outputs: Vec<_> = (0..5).map(|_| HostTensor::unwritten(DType::I64, kind.layout(dims))).collect();
            check(probe, &program, &shape, &[], &outputs, &format!("{dims:?}, {kind:?}"))?;
        }
    }
    Ok(())
}

/// Random bits that decide what is kept: leaves and inputs in one program.
fn dropout<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    let mut rng = Rng::new(9);
    let mut program = Program::new();
    let x = program.input(DType::F32);
    let key = program.random_key(2024, 1);
    let bits = program.random(key, 0);
    let limit = program.scalar(Scalar::Int(1 << 31), DType::I64);
    let keep = program.compare(CompareOp::Lt, bits, limit);
    let two = program.scalar(Scalar::Float(2.0), DType::F32);
    let scaled = program.binary(BinaryOp::Mul, x, two);
    let zero = program.scalar(Scalar::Float(0.0), DType::F32);
    let kept = program.ternary(TernaryOp::Where, keep, scaled, zero);
    program.output(kept);
    for dims in [&[4097][..], &[33, 65]] {
        let shape = Shape::new(dims).expect("a small shape");
        let x = HostTensor::new(DType::F32, Arrangement::Flipped.layout(dims), || {
            sample(DType::F32, (-1.0, 1.0), &mut rng)
        });
        let out = HostTensor::unwritten(DType::F32, dense(dims));
        check(probe, &program, &shape, &[In::Tensor(x)], &[out], &format!("{dims:?}"))?;
    }
    Ok(())
}

/// As many instructions, inputs and outputs as a program may have.
fn limits<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    let mut rng = Rng::new(10);
    let mut program = Program::new();
    let mut registers: Vec<Reg> = (0..MAX_INPUTS).map(|_| program.input(DType::I64)).collect();
    while program.insts().len() < MAX_INSTRUCTIONS {
        let (a, b) = (registers[registers.len() - 1], registers[registers.len() - MAX_INPUTS]);
        let op = [BinaryOp::Add, BinaryOp::Mul, BinaryOp::BitXor][registers.len() % 3];
        registers.push(program.binary(op, a, b));
    }
    for back in 1..=MAX_OUTPUTS {
        program.output(registers[registers.len() - back]);
    }
    // Eight axes that do not collapse, for every operand.
    let dims = [2, 3, 2, 1, 3, 2, 2, 5];
    let shape = Shape::new(dims).expect("a small shape");
    let inputs: Vec<In> = (0..MAX_INPUTS)
        .map(|number| {
            let arranged = Arrangement::ALL[(3 * number + 1) % Arrangement::ALL.len()].layout(&dims);
            In::Tensor(HostTensor::new(DType::I64, arranged, || Scalar::Int(rng.bits() as i64)))
        })
        .collect();
    let outputs: Vec<_> = (0..MAX_OUTPUTS)
        .map(|number| {
            HostTensor::unwritten(DType::I64, Arrangement::OUTPUTS[number % Arrangement::OUTPUTS.len()].layout(&dims))
        })
        .collect();
    check(probe, &program, &shape, &inputs, &outputs, "a program of the largest size")
}

/// A product is rounded before something is added to it: a fused multiply-add would give other bits than two operations
/// that run one after the other.
fn no_contraction<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    let mut rng = Rng::new(11);
    let mut program = Program::new();
    let (a, b, c) = (program.input(DType::F32), program.input(DType::F32), program.input(DType::F32));
    let product = program.binary(BinaryOp::Mul, a, b);
    let sum = program.binary(BinaryOp::Add, product, c);
    let difference = program.binary(BinaryOp::Sub, product, c);
    program.output(sum);
    program.output(difference);
    let dims = [1000];
    let column = |rng: &mut Rng| HostTensor::dense(DType::F32, &dims, || sample(DType::F32, (-2.0, 2.0), rng));
    let (a, b) = (column(&mut rng), column(&mut rng));
    // Minus the rounded product, so that only what rounding lost would be left.
    let products = a.values().into_iter().zip(b.values()).map(|(a, b)| -(a.as_f64() * b.as_f64()));
    let mut products = products.map(|value| Scalar::Float(value).cast(DType::F32));
    let c = HostTensor::dense(DType::F32, &dims, || products.next().expect("a product for each element"));
    let outputs = [HostTensor::unwritten(DType::F32, dense(&dims)), HostTensor::unwritten(DType::F32, dense(&dims))];
    let shape = Shape::new(dims).expect("a small shape");
    check(probe, &program, &shape, &[In::Tensor(a), In::Tensor(b), In::Tensor(c)], &outputs, "a·b − round(a·b)")
}

/// Two outputs that exchange their old contents.
fn swapped<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    let mut rng = Rng::new(12);
    let mut program = Program::new();
    let (a, b) = (program.input(DType::I32), program.input(DType::I32));
    program.output(b);
    program.output(a);
    for dims in [&[5][..], &[1025], &[33, 65]] {
        let shape = Shape::new(dims).expect("a small shape");
        let held: Vec<_> =
            (0..2).map(|_| HostTensor::dense(DType::I32, dims, || sample(DType::I32, (0.0, 1.0), &mut rng))).collect();
        // The reference reads an element's inputs before it writes any output, as every backend has to.
        check(probe, &program, &shape, &[In::Output(0), In::Output(1)], &held, &format!("{dims:?}"))?;
    }
    Ok(())
}

/// Programs that differ only in their scalars are equal, so a cache finds one for the other.
fn other_scalars<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    let mut rng = Rng::new(13);
    for value in [2.0, 3.0, -1.5, 0.0, 1e30] {
        let mut program = Program::new();
        let x = program.input(DType::F32);
        let c = program.scalar(Scalar::Float(value), DType::F32);
        let y = program.binary(BinaryOp::Mul, x, c);
        program.output(y);
        let x = HostTensor::dense(DType::F32, &[100], || sample(DType::F32, (-2.0, 2.0), &mut rng));
        let out = HostTensor::unwritten(DType::F32, dense(&[100]));
        let shape = out.shape().clone();
        check(probe, &program, &shape, &[In::Tensor(x)], &[out], &format!("times {value}"))?;
    }
    Ok(())
}

/// Enough elements that any number of threads has work, with a sum that is known without the reference.
fn large<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    const COUNT: usize = 3_000_017;
    let mut program = Program::new();
    let (a, b) = (program.input(DType::F32), program.input(DType::F32));
    let sum = program.binary(BinaryOp::Add, a, b);
    program.output(sum);
    let tensor = |value: fn(usize) -> f32| HostTensor {
        bytes: (0..COUNT).flat_map(|number| value(number).to_ne_bytes()).collect(),
        layout: dense(&[COUNT]).0,
        dtype: DType::F32,
    };
    let (a, b) = (tensor(|number| (number % 4099) as f32), tensor(|number| (number / 4099) as f32));
    let wanted = tensor(|number| (number % 4099 + number / 4099) as f32);
    let out = HostTensor::unwritten(DType::F32, dense(&[COUNT]));
    let shape = out.shape().clone();
    let got = probe.pointwise(&program, &shape, &[In::Tensor(a), In::Tensor(b)], std::slice::from_ref(&out))?;
    probe.compare_all(&out, &got[0], &wanted.bytes, Bound::EXACT, "a + b")
}
