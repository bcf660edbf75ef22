//! The statements of a program, for one element.

use super::expression::{self, register_type};
use super::params::Block;
use crate::program::{Op, Reg};
use crate::{DType, Program, Scalar, Shape};
use smallvec::SmallVec;
use std::fmt::Write;

/// The name of a register's variable.
pub(super) fn register(reg: Reg) -> String {
    format!("r{}", reg.0)
}

/// One constant for each register. `load` gives the expression of an input; `number` is the row-major number of the element,
/// in a variable of type `COUNT`; the parameters are in `p`.
pub(super) fn statements(program: &Program, load: impl Fn(usize) -> String, number: &str) -> String {
    statements_of("", program, load, number)
}

/// The same for one of several programs whose parameters are in `p`; their names begin with `whose`.
pub(super) fn statements_of(whose: &str, program: &Program, load: impl Fn(usize) -> String, number: &str) -> String {
    let mut text = String::new();
    let mut keys: SmallVec<[u8; 2]> = SmallVec::new();
    for (place, inst) in program.insts().iter().enumerate() {
        let name = |reg: Reg| register(reg);
        let value = match inst.op {
            Op::Input(input) => load(input as usize),
            Op::Scalar(scalar) => format!("p.{whose}scalar{scalar}"),
            Op::Iota(axis) => format!("(i64)({number} / (COUNT)p.{whose}below{axis} % (COUNT)p.{whose}size{axis})"),
            Op::Random { key, word } => {
                if !keys.contains(&key) {
                    keys.push(key);
                    let _ = writeln!(
                        text,
                        "    u32 random{key}[4];\n    philox((u64){number}, (u64)p.{whose}scalar{}, (u64)p.{whose}scalar{key}, random{key});",
                        key + 1
                    );
                }
                format!("(i64)random{key}[{word}]")
            }
            Op::Unary(op, a) => expression::unary(op, program.dtype(a), &name(a)),
            Op::Binary(op, a, b) => expression::binary(op, inst.dtype, &name(a), &name(b)),
            Op::Compare(op, a, b) => expression::compare(op, &name(a), &name(b)),
            Op::Ternary(op, a, b, c) => expression::ternary(op, inst.dtype, &name(a), &name(b), &name(c)),
            Op::Cast(a) => expression::cast(program.dtype(a), inst.dtype, &name(a)),
        };
        let _ = writeln!(text, "    const {} r{place} = {value};", register_type(inst.dtype));
    }
    text
}

/// Adds a program's own parameters: scalars, and what coordinates are computed from.
pub(super) fn fill(program: &Program, shape: &Shape, block: &mut Block) {
    fill_of("", program, shape, block);
}

/// The same for one of several programs; the parameters' names begin with `whose`.
pub(super) fn fill_of(whose: &str, program: &Program, shape: &Shape, block: &mut Block) {
    for inst in program.insts() {
        if let Op::Iota(axis) = inst.op {
            let dims = shape.dims().get(axis as usize..).unwrap_or_default();
            block.one(&format!("{whose}below{axis}"), dims.iter().skip(1).product::<usize>() as u64);
            block.one(&format!("{whose}size{axis}"), dims.first().copied().unwrap_or(1) as u64);
        }
    }
    // The largest first, so that there are no gaps.
    for size in [8, 4, 2, 1] {
        for (number, &value) in program.scalars().iter().enumerate() {
            let dtype = scalar_dtype(program, number).compute();
            if dtype.size() == size {
                push(&format!("{whose}scalar{number}"), dtype, value, block);
            }
        }
    }
}

/// The dtype of a run-time scalar; those of random keys have no instruction of their own.
fn scalar_dtype(program: &Program, number: usize) -> DType {
    let own = program.insts().iter().find(|inst| inst.op == Op::Scalar(number as u8));
    own.map_or(DType::I64, |inst| inst.dtype)
}

fn push(name: &str, dtype: DType, value: Scalar, block: &mut Block) {
    match dtype {
        DType::Bool | DType::U8 => block.one(name, value.as_i64() as u8),
        DType::I8 => block.one(name, value.as_i64() as i8),
        DType::I16 => block.one(name, value.as_i64() as i16),
        DType::I32 => block.one(name, value.as_i64() as i32),
        DType::I64 => block.one(name, value.as_i64()),
        DType::F16 | DType::BF16 | DType::F32 => block.one(name, value.as_f64() as f32),
        DType::F64 => block.one(name, value.as_f64()),
    }
}
