//! Matrix products.
//!
//! On a GPU a group computes a tile of the result, with the tiles of both operands in local memory. On a processor a work-item
//! computes a block of rows and columns in registers; the right operand is copied first if its rows are not dense.

use super::expression::{load, register_type, storage_type, store, unsigned_type};
use super::params::Block;
use super::pointwise::{Operand, convert, widths};
use super::prelude::entry;
use super::walk::{Route, Walk};
use super::{Dialect, Kernel, Launch, Plan, Slot, Target, Tensor, whole_groups};
use crate::shape::Dims;
use crate::{DType, Layout, Shape};
use std::fmt::Write;

/// Rows and columns of a group's tile on a GPU, and how many of its rows an item computes.
const TILE: usize = 32;
const TILE_ROWS: usize = 4;

/// Rows and columns of an item's block on a processor.
const BLOCK_ROWS: usize = 4;
const BLOCK_COLUMNS: usize = 32;

/// A kernel that multiplies matrices.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MatmulKernel {
    dtype: DType,
    /// The dtype of the right operand: on a processor it may have been converted already.
    right: DType,
    batches: Walk,
}

/// Plans [`Backend::matmul`](crate::Backend::matmul).
pub fn matmul(a: Tensor<'_>, b: Tensor<'_>, out: Tensor<'_>, target: &Target) -> Plan {
    let mut plan = Plan::default();
    let rank = out.layout.rank();
    let mut right = Operand::new(Slot::Input(1), b);
    let wanted = b.dtype.compute();
    let rows = out.layout.dims()[rank - 2];
    let dense = b.layout.strides()[rank - 1] == 1 || b.layout.dims()[rank - 1] == 1;
    if target.is_cpu && (!dense || (wanted != b.dtype && rows > BLOCK_ROWS)) {
        // Axes that only repeat are not copied.
        let (shape, narrow) = unrepeated(b.layout);
        let held = plan.temp(shape.numel() * wanted.size());
        let layout = Layout::contiguous(shape.clone());
        let (from, to) = (Tensor { layout: &narrow, dtype: b.dtype }, Tensor { layout: &layout, dtype: wanted });
        convert(&mut plan, &shape, (Slot::Input(1), from), (held, to), target);
        let mut strides: Dims<isize> = shape.contiguous_strides();
        for (stride, (&own, &size)) in
            strides.iter_mut().zip(b.layout.strides().iter().zip(b.layout.dims())).take(rank - 2)
        {
            if own == 0 || size == 1 {
                *stride = 0;
            }
        }
        right = Operand { slot: held, dtype: wanted, strides, offset: 0 };
    }
    let operands = [Operand::new(Slot::Input(0), a), right, Operand::new(Slot::Output(0), out)];
    let steps = operands.each_ref().map(|operand| [operand.strides[rank - 2], operand.strides[rank - 1]]);
    let batches = operands.map(|operand| Operand { strides: operand.strides[..rank - 2].into(), ..operand });
    let dims = out.layout.dims();
    let sizes = [dims[rank - 2], dims[rank - 1], a.layout.dims()[rank - 1]];
    add(&mut plan, &dims[..rank - 2], sizes, &batches, steps, target);
    plan
}

/// A layout with repeating batch axes reduced to one element.
fn unrepeated(layout: &Layout) -> (Shape, Layout) {
    let rank = layout.rank();
    let mut dims: Dims<usize> = layout.dims().into();
    for (axis, size) in dims.iter_mut().enumerate().take(rank - 2) {
        if layout.strides()[axis] == 0 {
            *size = 1;
        }
    }
    let shape = match Shape::new(&dims) {
        Ok(shape) => shape,
        Err(_) => unreachable!("smaller than a shape that was checked"),
    };
    (shape.clone(), Layout::from_parts(shape, layout.strides().into(), layout.offset()))
}

fn add(
    plan: &mut Plan,
    dims: &[usize],
    sizes: [usize; 3],
    operands: &[Operand; 3],
    steps: [[isize; 2]; 3],
    target: &Target,
) {
    let strides = operands.each_ref().map(|operand| &operand.strides[..]);
    let offsets = operands.each_ref().map(|operand| operand.offset as usize);
    let Some(route) = Route::new(dims, &strides, &offsets) else {
        for position in 0..dims[0] {
            let parts = operands.each_ref().map(|operand| operand.part(position));
            add(plan, &dims[1..], sizes, &parts, steps, target);
        }
        return;
    };
    // Within a matrix indices are 64 bits wide; only the batch's number is taken apart.
    let kernel = MatmulKernel { dtype: operands[2].dtype, right: operands[1].dtype, batches: route.walk };
    let params = kernel.block(&route, sizes, steps, offsets).finish();
    let batches = dims.iter().product::<usize>();
    let [rows, columns, _] = sizes;
    let group = group(target);
    let items = if target.is_cpu {
        [
            whole_groups(columns.div_ceil(BLOCK_COLUMNS), group[0]),
            whole_groups(rows.div_ceil(BLOCK_ROWS), group[1]),
            batches,
        ]
    } else {
        let tiles = [columns.div_ceil(TILE), rows.div_ceil(TILE), batches];
        match target.dialect {
            Dialect::OpenCl => [tiles[0] * group[0], tiles[1] * group[1], tiles[2]],
            // All along the first axis: the others of a CUDA grid end at 65535.
            Dialect::Cuda => [tiles.iter().product::<usize>() * group[0], group[1], 1],
        }
    };
    plan.launches.push(Launch {
        kernel: Kernel::Matmul(kernel),
        params,
        slots: operands.iter().map(|operand| operand.slot).collect(),
        items,
    });
}

/// The group of a matrix product.
pub(super) fn group(target: &Target) -> [usize; 3] {
    if target.is_cpu { [1, 8.min(target.max_group), 1] } else { [TILE, TILE / TILE_ROWS, 1] }
}

impl MatmulKernel {
    pub(super) fn uses(&self, dtype: DType) -> bool {
        self.dtype == dtype
    }

    fn block(&self, route: &Route, sizes: [usize; 3], steps: [[isize; 2]; 3], offsets: [usize; 3]) -> Block {
        let mut block = Block::default();
        for (name, size) in ["rows", "columns", "inner"].into_iter().zip(sizes) {
            block.one(name, size as i64);
        }
        for (name, steps) in ["step_a", "step_b", "step_out"].into_iter().zip(steps) {
            block.list(name, steps.iter().map(|&step| step as i64));
        }
        block.list("offset", offsets.iter().map(|&offset| offset as u64));
        route.fill("batch", &mut block);
        block
    }

    /// What products are added up in. Integers wrap in their unsigned twin.
    fn sum(&self) -> &'static str {
        if self.dtype.is_float() { register_type(self.dtype) } else { unsigned_type(self.dtype) }
    }

    pub(super) fn body(&self, target: &Target) -> String {
        let params = self.block(&self.batches.blank(3), [1; 3], [[0; 2]; 3], [0; 3]);
        let (element, right, sum) = (storage_type(self.dtype), storage_type(self.right), self.sum());
        let at = ["at_a", "at_b", "at_out"].map(str::to_owned);
        let mut text = widths(self.batches.is_wide());
        text += &params.definition();
        let _ = write!(
            text,
            "typedef {sum} SUM;
{} void {}(const Params p, GLOBAL const {element} *RESTRICT a, GLOBAL const {right} *RESTRICT b, \
             GLOBAL {element} *RESTRICT out) {{
{}{}{}    a += (i64)p.offset[0] + at_a;
    b += (i64)p.offset[1] + at_b;
    out += (i64)p.offset[2] + at_out;
",
            entry(target, Some(3)),
            super::ENTRY,
            if target.is_cpu { String::new() } else { tiles() },
            place(target),
            self.batches.text("batch", "batch", &at)
        );
        let (x, y) = match target.dialect {
            Dialect::OpenCl => ("GROUP(0)", "GROUP(1)"),
            Dialect::Cuda => ("tile_x", "tile_y"),
        };
        text += &if target.is_cpu { self.blocked() } else { self.tiled().replace("TILE_X", x).replace("TILE_Y", y) };
        text + "}\n"
    }

    /// The sum as a value of the dtype, stored.
    fn finish(&self, at: &str, sum: &str) -> String {
        store(self.dtype, "out", at, &format!("({})({sum})", register_type(self.dtype)))
    }

    /// A block of rows and columns in registers. Blocks at the lower edge compute their last row again rather than ask for
    /// each row whether it is there; columns beyond the right edge are computed one by one.
    fn blocked(&self) -> String {
        let (m, n) = (BLOCK_ROWS, BLOCK_COLUMNS);
        let left = load(self.dtype, "a", "row[i] + k * p.step_a[1]");
        let right = load(self.right, "b", "k * p.step_b[0] + column + j");
        let single = load(self.right, "b", "k * p.step_b[0] + c");
        format!(
            "    const i64 column = (i64)ITEM(0) * {n}, first = (i64)ITEM(1) * {m};
    if (column >= p.columns || first >= p.rows) return;
    i64 row[{m}];
    for (i32 i = 0; i < {m}; i++) row[i] = (first + i < p.rows ? first + i : p.rows - 1) * p.step_a[0];
    const i32 rows = p.rows - first < {m} ? (i32)(p.rows - first) : {m};
    if (p.columns - column >= {n}) {{
        SUM sum[{m}][{n}];
        for (i32 i = 0; i < {m}; i++) {{
            for (i32 j = 0; j < {n}; j++) sum[i][j] = 0;
        }}
        for (i64 k = 0; k < p.inner; k++) {{
            SUM right[{n}];
            for (i32 j = 0; j < {n}; j++) right[j] = (SUM){right};
            for (i32 i = 0; i < {m}; i++) {{
                const SUM left = (SUM){left};
                for (i32 j = 0; j < {n}; j++) sum[i][j] += left * right[j];
            }}
        }}
        for (i32 i = 0; i < rows; i++) {{
            for (i32 j = 0; j < {n}; j++) {{
                {}
            }}
        }}
    }} else {{
        for (i32 i = 0; i < rows; i++) {{
            for (i64 c = column; c < p.columns; c++) {{
                SUM sum = 0;
                for (i64 k = 0; k < p.inner; k++) sum += (SUM){left} * (SUM){single};
                {}
            }}
        }}
    }}
",
            self.finish("(first + i) * p.step_out[0] + column + j", "sum[i][j]"),
            self.finish("(first + i) * p.step_out[0] + c", "sum"),
        )
    }

    /// A tile of the result for a group; an item computes every eighth row of one column.
    fn tiled(&self) -> String {
        let (t, r, g) = (TILE, TILE_ROWS, TILE / TILE_ROWS);
        let left = load(self.dtype, "a", "row * p.step_a[0] + (k + x) * p.step_a[1]");
        let right = load(self.right, "b", "(k + y + i * GROUP_ROWS) * p.step_b[0] + column * p.step_b[1]");
        format!(
            "    const i32 x = (i32)LOCAL_ITEM(0), y = (i32)LOCAL_ITEM(1);
    const i64 column = (i64)TILE_X * {t} + x, first = (i64)TILE_Y * {t} + y;
    SUM sum[{r}];
    for (i32 i = 0; i < {r}; i++) sum[i] = 0;
    for (i64 k = 0; k < p.inner; k += {t}) {{
        for (i32 i = 0; i < {r}; i++) {{
            const i64 row = first + i * {g};
            SUM left = 0, right = 0;
            if (row < p.rows && k + x < p.inner) left = (SUM){left};
            if (column < p.columns && k + y + i * {g} < p.inner) right = (SUM){right};
            tile_a[y + i * {g}][x] = left;
            tile_b[y + i * {g}][x] = right;
        }}
        BARRIER;
        for (i32 j = 0; j < {t}; j++) {{
            const SUM right = tile_b[j][x];
            for (i32 i = 0; i < {r}; i++) sum[i] += tile_a[y + i * {g}][j] * right;
        }}
        BARRIER;
    }}
    for (i32 i = 0; i < {r}; i++) {{
        const i64 row = first + i * {g};
        if (row < p.rows && column < p.columns) {{
            {}
        }}
    }}
",
            self.finish("row * p.step_out[0] + column", "sum[i]")
        )
        .replace("GROUP_ROWS", &g.to_string())
    }
}

/// Which matrix of a batch an item works for, and on a GPU which tile its group makes.
fn place(target: &Target) -> String {
    match target.dialect {
        Dialect::OpenCl => "    const COUNT batch = (COUNT)ITEM(2);\n".to_owned(),
        Dialect::Cuda => format!(
            "    const i64 across = (p.columns + {TILE} - 1) / {TILE}, down = (p.rows + {TILE} - 1) / {TILE};
    const i64 tile_x = (i64)GROUP(0) % across, tile_y = (i64)GROUP(0) / across % down;
    const COUNT batch = (COUNT)((i64)GROUP(0) / across / down);
"
        ),
    }
}

/// Local memory may only be declared at the top of a kernel.
fn tiles() -> String {
    format!("    LOCAL SUM tile_a[{TILE}][{TILE} + 1];\n    LOCAL SUM tile_b[{TILE}][{TILE} + 1];\n")
}
