//! The C expression of every operation.
//!
//! The `match`es have no arm for "all others": an operation that is new to the tables does not compile before it is here.

use crate::op::{BinaryOp, CompareOp, TernaryOp, UnaryOp};
use crate::{Category, DType};

/// The C type of a register: what values of a dtype are computed in.
pub(super) fn register_type(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "u8",
        DType::F16 | DType::BF16 => "f32",
        other => other.name(),
    }
}

/// The C type of an element in memory.
pub(super) fn storage_type(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "u8",
        DType::F16 | DType::BF16 => "u16",
        other => other.name(),
    }
}

/// The type in which integers wrap.
pub(super) fn unsigned_type(dtype: DType) -> &'static str {
    if dtype == DType::I64 { "u64" } else { "u32" }
}

/// The signed type that the library has functions for, and that holds the dtype.
fn function_type(dtype: DType) -> &'static str {
    if dtype == DType::I64 { "i64" } else { "i32" }
}

/// Reads an element as a register's value.
pub(super) fn load(dtype: DType, pointer: &str, index: &str) -> String {
    match dtype {
        DType::Bool => format!("(u8)({pointer}[{index}] != 0)"),
        DType::F16 => format!("LOAD_F16({pointer}, {index})"),
        DType::BF16 => format!("from_bf16({pointer}[{index}])"),
        _ => format!("{pointer}[{index}]"),
    }
}

/// Writes a register's value as an element: a statement.
pub(super) fn store(dtype: DType, pointer: &str, index: &str, value: &str) -> String {
    match dtype {
        DType::F16 => format!("STORE_F16({pointer}, {index}, {value});"),
        DType::BF16 => format!("{pointer}[{index}] = to_bf16({value});"),
        _ => format!("{pointer}[{index}] = {value};"),
    }
}

fn integers_only(name: &str) -> ! {
    unreachable!("{name} takes floats only: arrays convert or refuse integers")
}

/// An operation of one operand, whose dtype is given.
pub(super) fn unary(op: UnaryOp, dtype: DType, x: &str) -> String {
    use UnaryOp::*;
    let float = dtype.is_float();
    let real = register_type(dtype);
    let wraps = |text: String| format!("({real})({text})");
    let unsigned = unsigned_type(dtype);
    let function = |name: &str| if float { format!("{name}({x})") } else { integers_only(op.name()) };
    let own = |name: &str| if float { format!("{name}_{real}({x})") } else { integers_only(op.name()) };
    match op {
        Neg if float => format!("-{x}"),
        Neg => wraps(format!("({unsigned})0 - ({unsigned}){x}")),
        Abs if float => function("fabs"),
        Abs => wraps(format!("{x} < 0 ? ({unsigned})0 - ({unsigned}){x} : ({unsigned}){x}")),
        Sign => wraps(format!("({x} > 0) - ({x} < 0)")),
        Ceil if float => function("ceil"),
        Floor if float => function("floor"),
        Round if float => function("rint"),
        Trunc if float => function("trunc"),
        Ceil | Floor | Round | Trunc => x.to_owned(),
        Frac => format!("{x} - {}", function("trunc")),
        Reciprocal => format!("div_{real}(1, {x})"),
        Sqrt => own("sqrt"),
        Rsqrt => format!("div_{real}(1, {})", own("sqrt")),
        Square if float => format!("{x} * {x}"),
        Square => wraps(format!("({unsigned}){x} * ({unsigned}){x}")),
        Exp => function("exp"),
        Exp2 => function("exp2"),
        Expm1 => own("expm1"),
        Log => function("log"),
        Log2 => function("log2"),
        Log10 => function("log10"),
        Log1p => own("log1p"),
        Sin => function("sin"),
        Cos => function("cos"),
        Tan => function("tan"),
        Asin => function("asin"),
        Acos => function("acos"),
        Atan => function("atan"),
        Sinh => function("sinh"),
        Cosh => function("cosh"),
        Tanh => function("tanh"),
        Asinh => function("asinh"),
        Acosh => function("acosh"),
        Atanh => function("atanh"),
        Erf => function("erf"),
        Erfc => function("erfc"),
        Sigmoid => own("sigmoid"),
        Relu => format!("{x} < 0 ? ({real})0 : {x}"),
        Gelu => own("gelu"),
        GeluTanh => own("gelu_tanh"),
        Silu => own("silu"),
        Softplus => own("softplus"),
        BitNot if dtype == DType::Bool => format!("(u8)!{x}"),
        BitNot => wraps(format!("~{x}")),
        IsNan => format!("(u8)({x} != {x})"),
        IsInf if float => format!("(u8)(fabs({x}) == INFINITY)"),
        IsInf => "(u8)0".to_owned(),
        IsFinite if float => format!("(u8)(fabs({x}) < INFINITY)"),
        IsFinite => "(u8)1".to_owned(),
    }
}

/// An operation of two operands of one dtype.
pub(super) fn binary(op: BinaryOp, dtype: DType, a: &str, b: &str) -> String {
    use BinaryOp::*;
    let float = dtype.is_float();
    let real = register_type(dtype);
    let (unsigned, signed) = (unsigned_type(dtype), function_type(dtype));
    let wraps = |sign: char| format!("({real})(({unsigned}){a} {sign} ({unsigned}){b})");
    let bits = |sign: char| format!("({real})({a} {sign} {b})");
    let own = |name: &str| {
        if float { format!("{name}_{real}({a}, {b})") } else { format!("({real}){name}_{signed}({a}, {b})") }
    };
    let shift = |within: String, beyond: String| {
        format!("({b} >= 0 && {b} < {width}) ? {within} : {beyond}", width = 8 * dtype.size())
    };
    match op {
        Add if float => format!("{a} + {b}"),
        Sub if float => format!("{a} - {b}"),
        Mul if float => format!("{a} * {b}"),
        Add => wraps('+'),
        Sub => wraps('-'),
        Mul => wraps('*'),
        Div => own("div"),
        FloorDiv => own("floor_divide"),
        TruncDiv => own("trunc_divide"),
        Remainder => own("remainder"),
        Fmod if float => format!("fmod({a}, {b})"),
        Fmod => own("fmod"),
        Pow if float => format!("pow({a}, {b})"),
        Pow => own("pow"),
        Atan2 => format!("atan2({a}, {b})"),
        Hypot => format!("hypot({a}, {b})"),
        Maximum => larger(dtype, a, b),
        Minimum => smaller(dtype, a, b),
        BitAnd => bits('&'),
        BitOr => bits('|'),
        BitXor => bits('^'),
        Shl => shift(format!("({real})(({unsigned}){a} << {b})"), format!("({real})0")),
        Shr => shift(format!("({real})({a} >> {b})"), format!("({real})({a} < 0 ? -1 : 0)")),
    }
}

/// The larger of two values; NaN if either is. (C's own `fmax` drops NaN.)
pub(super) fn larger(dtype: DType, a: &str, b: &str) -> String {
    if dtype.is_float() { format!("({a} != {a} || {a} > {b} ? {a} : {b})") } else { format!("({a} > {b} ? {a} : {b})") }
}

/// The smaller of two values; NaN if either is.
pub(super) fn smaller(dtype: DType, a: &str, b: &str) -> String {
    if dtype.is_float() { format!("({a} != {a} || {a} < {b} ? {a} : {b})") } else { format!("({a} < {b} ? {a} : {b})") }
}

/// A comparison.
pub(super) fn compare(op: CompareOp, a: &str, b: &str) -> String {
    let sign = match op {
        CompareOp::Eq => "==",
        CompareOp::Ne => "!=",
        CompareOp::Lt => "<",
        CompareOp::Le => "<=",
        CompareOp::Gt => ">",
        CompareOp::Ge => ">=",
    };
    format!("(u8)({a} {sign} {b})")
}

/// An operation of three operands; the last two have the dtype.
pub(super) fn ternary(op: TernaryOp, dtype: DType, a: &str, b: &str, c: &str) -> String {
    match op {
        TernaryOp::Where => format!("{a} ? {b} : {c}"),
        TernaryOp::Clamp => smaller(dtype, &larger(dtype, a, b), c),
        TernaryOp::Lerp => format!("lerp_{}({a}, {b}, {c})", register_type(dtype)),
    }
}

/// The ends of an integer dtype's range as C expressions, and the first float above it.
pub(super) fn range(dtype: DType) -> (&'static str, &'static str, &'static str) {
    match dtype {
        DType::Bool => ("0", "1", "2.0"),
        DType::U8 => ("0", "255", "256.0"),
        DType::I8 => ("-128", "127", "128.0"),
        DType::I16 => ("-32768", "32767", "32768.0"),
        DType::I32 => ("(i32)0x80000000", "0x7fffffff", "2147483648.0"),
        DType::I64 => ("(i64)0x8000000000000000", "0x7fffffffffffffff", "9223372036854775808.0"),
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => ("-INFINITY", "INFINITY", "INFINITY"),
    }
}

/// A conversion, as [`Scalar::cast`](crate::Scalar::cast) does it.
pub(super) fn cast(from: DType, to: DType, x: &str) -> String {
    let round = match to {
        DType::F16 => "round_f16",
        _ => "round_bf16",
    };
    match (to, from.category()) {
        (DType::Bool, _) => format!("(u8)({x} != 0)"),
        (DType::F16 | DType::BF16, Category::Float) if from == DType::F64 => format!("{round}(odd_f64({x}))"),
        (DType::F16 | DType::BF16, Category::Float) => format!("{round}({x})"),
        (DType::F16 | DType::BF16, _) if from.size() < 4 => format!("{round}((f32){x})"),
        (DType::F16 | DType::BF16, _) => format!("{round}(odd_i64((i64){x}))"),
        (DType::U8 | DType::I8 | DType::I16 | DType::I32 | DType::I64, Category::Float) => {
            let (low, high, above) = range(to);
            let (real, int) = (register_type(from), to.name());
            let floor = if to == DType::U8 { "0.0".to_owned() } else { format!("-{above}") };
            format!(
                "{x} != {x} ? ({int})0 : {x} <= LIT_{real}({floor}) ? ({int}){low} : {x} >= LIT_{real}({above}) ? \
                 ({int}){high} : ({int}){x}"
            )
        }
        _ => format!("({}){x}", register_type(to)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{BINARY, COMPARE, TERNARY, UNARY};

    /// That every row has a text in every dtype it runs in; what the text computes is for devices to show.
    #[test]
    fn every_row_has_an_expression() {
        for dtype in DType::ALL {
            for row in UNARY.iter().filter(|row| row.takes.runs_in(dtype)) {
                assert!(unary(row.op, dtype, "x").contains('x') || row.gives_bool, "{}", row.name);
            }
            for row in BINARY.iter().filter(|row| row.takes.runs_in(dtype)) {
                let text = binary(row.op, dtype, "a", "b");
                assert!(text.contains('a') && text.contains('b'), "{}", row.name);
            }
            for row in TERNARY.iter().filter(|row| row.takes.runs_in(dtype)) {
                assert!(ternary(row.op, dtype, "a", "b", "c").contains('c'), "{}", row.name);
            }
            for row in &COMPARE {
                assert!(compare(row.op, "a", "b").contains('a'), "{}", row.name);
            }
            for to in DType::ALL {
                assert!(cast(dtype, to, "x").contains('x'), "{dtype} to {to}");
            }
        }
    }
}
