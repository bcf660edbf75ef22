//! Programs of one operation, each made once: small arrays are computed in less time than a program takes to make.

use crate::op::{BinaryOp, UnaryOp};
use crate::{DType, Program, Scalar};
use std::sync::{Arc, OnceLock};

/// At least as many as there are operations of a kind.
const OPS: usize = 64;

/// A program for each operation and dtype.
struct Table([OnceLock<Arc<Program>>; OPS * DType::ALL.len()]);

impl Table {
    const fn new() -> Self {
        Self([const { OnceLock::new() }; OPS * DType::ALL.len()])
    }

    #[inline]
    fn get(&'static self, op: usize, dtype: DType, make: impl FnOnce() -> Program) -> &'static Arc<Program> {
        self.0[op * DType::ALL.len() + dtype as usize].get_or_init(|| Arc::new(make()))
    }
}

/// The program that hands elements of a dtype through.
#[inline]
pub(super) fn copy(dtype: DType) -> &'static Arc<Program> {
    static PROGRAMS: [OnceLock<Arc<Program>>; DType::ALL.len()] = [const { OnceLock::new() }; DType::ALL.len()];
    PROGRAMS[dtype as usize].get_or_init(|| Arc::new(Program::copy(dtype)))
}

/// The program of an operation of one operand of a dtype that it runs in.
#[inline]
pub(super) fn unary(op: UnaryOp, dtype: DType) -> &'static Arc<Program> {
    static TABLE: Table = Table::new();
    TABLE.get(op as usize, dtype, || {
        let mut program = Program::new();
        let a = program.input(dtype);
        let result = program.unary(op, a);
        program.output(result);
        program
    })
}

/// The program of an operation of two operands of a dtype that it runs in.
#[inline]
pub(super) fn binary(op: BinaryOp, dtype: DType) -> &'static Arc<Program> {
    static TABLE: Table = Table::new();
    TABLE.get(op as usize, dtype, || {
        let mut program = Program::new();
        let (a, b) = (program.input(dtype), program.input(dtype));
        let result = program.binary(op, a, b);
        program.output(result);
        program
    })
}

/// The program of an operation of an operand of a float dtype and a run-time scalar of that dtype, which is the first operand
/// if `scalar_first`. The scalar's value is to be replaced.
#[inline]
pub(super) fn with_scalar(op: BinaryOp, dtype: DType, scalar_first: bool) -> &'static Arc<Program> {
    static TABLES: [Table; 2] = [Table::new(), Table::new()];
    TABLES[usize::from(scalar_first)].get(op as usize, dtype, || {
        let mut program = Program::new();
        let result = if scalar_first {
            let scalar = program.scalar(Scalar::Float(1.0), dtype);
            let a = program.input(dtype);
            program.binary(op, scalar, a)
        } else {
            let a = program.input(dtype);
            let scalar = program.scalar(Scalar::Float(1.0), dtype);
            program.binary(op, a, scalar)
        };
        program.output(result);
        program
    })
}
