//! What reductions and scans keep of the values seen so far.

use super::expression::{range, register_type, unsigned_type};
use super::reduce::WARP;
use super::{Dialect, Target};
use crate::backend::ReduceOp;
use crate::{Category, DType};
use std::fmt::Write;

/// A running total: how values are taken into it and how two are joined, in C.
///
/// Sums and products of floats narrower than f64 are kept in f64 where the device has it; sums without a wider type keep
/// what rounding takes from them (Knuth's two-sum).
#[derive(Clone, Copy, Debug)]
pub(super) struct Total {
    op: ReduceOp,
    dtype: DType,
    /// The C type that is computed in.
    kept: &'static str,
    compensated: bool,
}

impl Total {
    pub(super) fn new(op: ReduceOp, dtype: DType, target: &Target) -> Self {
        let sums = matches!(op, ReduceOp::Sum | ReduceOp::Prod);
        let (kept, compensated) = match dtype.category() {
            Category::Float if sums && target.has_f64 => ("f64", dtype == DType::F64 && op == ReduceOp::Sum),
            Category::Float if sums => ("f32", op == ReduceOp::Sum),
            // CUDA's registers have 32 bits; for what is narrower its compiler moves bytes about, even to memory.
            Category::Bool | Category::Int if target.dialect == Dialect::Cuda && dtype.size() < 4 => {
                (if sums { "u32" } else { "i32" }, false)
            }
            _ if sums => (unsigned_type(dtype), false),
            _ => (register_type(dtype), false),
        };
        Self { op, dtype, kept, compensated }
    }

    /// Whether it keeps what rounding takes.
    pub(super) fn is_compensated(&self) -> bool {
        self.compensated
    }

    /// An upper bound of its size in memory, in bytes; exact alignment is the compiler's business.
    pub(super) fn size(&self) -> usize {
        if self.compensated || self.op.gives_index() { 16 } else { 8 }
    }

    /// The type `Total` and its functions `empty`, `take` and `join`.
    pub(super) fn text(&self) -> String {
        let (kept, value) = (self.kept, register_type(self.dtype));
        let (low, high, _) = range(self.dtype);
        let empty = match self.op {
            // The one number that changes no other by being added, −0 included.
            ReduceOp::Sum if self.dtype.is_float() => "-0.0f",
            ReduceOp::Sum => "0",
            ReduceOp::Prod => "1",
            ReduceOp::Max | ReduceOp::ArgMax => low,
            ReduceOp::Min | ReduceOp::ArgMin => high,
        };
        let sign = if matches!(self.op, ReduceOp::Max | ReduceOp::ArgMax) { '>' } else { '<' };
        let wins = if self.dtype.is_float() {
            format!("!(held != held) && (value != value || value {sign} held)")
        } else {
            format!("value {sign} held")
        };
        let (fields, start, take, join) = match self.op {
            ReduceOp::Sum if self.compensated => (
                format!("{kept} kept, lost;"),
                "t.lost = 0;",
                format!(
                    "const {kept} x = value, sum = t->kept + x, grown = sum - t->kept;\n    \
                     t->lost += (t->kept - (sum - grown)) + (x - grown);\n    t->kept = sum;"
                ),
                format!(
                    "const {kept} x = other.kept, sum = t->kept + x, grown = sum - t->kept;\n    \
                     t->lost += (t->kept - (sum - grown)) + (x - grown) + other.lost;\n    t->kept = sum;"
                ),
            ),
            ReduceOp::Sum | ReduceOp::Prod => {
                let sign = if self.op == ReduceOp::Sum { '+' } else { '*' };
                (
                    format!("{kept} kept;"),
                    "",
                    format!("t->kept = t->kept {sign} ({kept})value;"),
                    format!("t->kept = t->kept {sign} other.kept;"),
                )
            }
            ReduceOp::Max | ReduceOp::Min => (
                format!("{kept} kept;"),
                "",
                "if (wins(value, t->kept)) t->kept = value;".to_owned(),
                "if (wins(other.kept, t->kept)) t->kept = other.kept;".to_owned(),
            ),
            ReduceOp::ArgMax | ReduceOp::ArgMin => (
                format!("i64 at; {kept} kept;"),
                "t.at = -1;",
                "if (t->at < 0 || wins(value, t->kept)) {\n        t->kept = value;\n        t->at = at;\n    }"
                    .to_owned(),
                // Totals are joined in any order, so of equals the smaller index is looked for.
                "if (other.at >= 0 && (t->at < 0 || wins(other.kept, t->kept) ||\n        \
                 (other.at < t->at && !wins(t->kept, other.kept)))) *t = other;"
                    .to_owned(),
            ),
        };
        format!(
            "typedef struct {{ {fields} }} Total;
DEVICE i32 wins({value} value, {value} held) {{ return {wins}; }}
DEVICE Total empty(void) {{
    Total t;
    t.kept = ({kept}){empty};
    {start}
    return t;
}}
DEVICE void take(Total *t, {value} value, i64 at) {{
    {take}
}}
DEVICE void join(Total *t, Total other) {{
    {join}
}}
"
        )
    }

    /// A function for CUDA: the total that the warp's function of this name moves here, among each `width` neighbouring items.
    /// All items of a warp have to call it.
    pub(super) fn shuffle(&self, name: &str, function: &str) -> String {
        let mut text = format!("DEVICE Total {name}(Total t, i32 place, i32 width) {{\n");
        let mut fields = vec![("kept", self.kept)];
        if self.compensated {
            fields.push(("lost", self.kept));
        }
        if self.op.gives_index() {
            fields.push(("at", "i64"));
        }
        for (field, held) in fields {
            let _ = writeln!(text, "    t.{field} = ({held}){function}(0xffffffffu, t.{field}, place, width);");
        }
        text + "    return t;\n}\n"
    }

    /// Statements for CUDA that join the totals of each `team` neighbouring items, always in the same order, so that each of
    /// them has the same: a power of two up to a warp, or a whole group of warps, whose totals pass through `of_warps` in
    /// shared memory. All items of a group have to run them. The total is of the type in the namespace `kind`. Several totals
    /// are joined together, given with their kinds and places in shared memory.
    pub(super) fn join_for_all(totals: &[[&str; 3]], team: usize) -> String {
        let (width, warps) = (team.min(WARP), team / WARP);
        let mut text = String::new();
        for [kind, total, of_warps] in totals {
            let _ = write!(
                text,
                "    #pragma unroll
    for (i32 far = {width} / 2; far > 0; far /= 2) {kind}::join(&{total}, {kind}::below({total}, far, {width}));
"
            );
            let _ = if team <= WARP {
                writeln!(text, "    {total} = {kind}::from({total}, 0, {width});")
            } else {
                writeln!(
                    text,
                    "    LOCAL {kind}::Total {of_warps}[{warps}];
    if (place % {WARP} == 0) {of_warps}[place / {WARP}] = {total};"
                )
            };
        }
        if team <= WARP {
            return text;
        }
        text += "    BARRIER;\n";
        for [kind, total, of_warps] in totals {
            let _ = write!(
                text,
                "    {total} = {of_warps}[0];
    #pragma unroll
    for (i32 warp = 1; warp < {warps}; warp++) {kind}::join(&{total}, {of_warps}[warp]);
"
            );
        }
        text
    }

    /// The type and its functions for CUDA in a namespace, with those that `join_for_all` needs.
    pub(super) fn namespace(&self, kind: &str) -> String {
        let (below, from) = (self.shuffle("below", "__shfl_down_sync"), self.shuffle("from", "__shfl_sync"));
        format!("namespace {kind} {{\n{}{below}{from}}}\n", self.text())
    }

    /// The expression of the result, as a value to [store](super::expression::store).
    pub(super) fn result(&self, total: &str) -> String {
        let value = register_type(self.dtype);
        if self.op.gives_index() {
            return format!("{total}.at");
        }
        let kept = if self.compensated {
            // An infinite sum has lost everything.
            format!("(fabs({total}.kept) < INFINITY ? {total}.kept + {total}.lost : {total}.kept)")
        } else {
            format!("{total}.kept")
        };
        match self.dtype {
            DType::Bool => format!("(u8)({kept} != 0)"),
            DType::F16 | DType::BF16 if self.kept == "f64" => format!("odd_f64({kept})"),
            _ => format!("({value}){kept}"),
        }
    }

    /// The dtype of the result.
    pub(super) fn out_dtype(&self) -> DType {
        if self.op.gives_index() { DType::I64 } else { self.dtype }
    }
}
