//! The printed form of tensors, which is `PyTorch`'s to the letter but for the dtype's name (`dtype=f64`).
//!
//! A tensor of more than [`PrintOptions::threshold`] elements shows only the first and last few along each axis, and all
//! that decides about width and notation is decided from the elements that are shown. So printing touches O(shown)
//! elements however large the tensor: a backend that holds them far away asks [`shown`] which they are, fetches those, and
//! calls [`repr_of_shown`]; whoever can index cheaply calls [`tensor_repr`].

use crate::{DType, Scalar, Shape};
use std::fmt::{self, Write as _};
use std::ops::Range;
use std::sync::{PoisonError, RwLock};

/// How tensors are printed: digits, when to summarise, and the width of a line.
///
/// ```
/// use tensor_core::print::PrintOptions;
/// let options = PrintOptions { precision: 2, ..PrintOptions::DEFAULT };
/// assert_eq!(options.linewidth, 80);
/// assert_eq!(PrintOptions::default(), PrintOptions::DEFAULT);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrintOptions {
    /// Digits after the point.
    pub precision: usize,
    /// A tensor with more elements than this is summarised.
    pub threshold: usize,
    /// How many elements a summary keeps at the beginning and at the end of each axis.
    pub edgeitems: usize,
    /// The number of characters after which a line is broken.
    pub linewidth: usize,
    /// Scientific notation always (`Some(true)`), never (`Some(false)`), or by the values' range (`None`).
    pub sci_mode: Option<bool>,
}

impl PrintOptions {
    /// Four digits, a summary above 1000 elements with three at each edge, 80 characters a line.
    pub const DEFAULT: Self = Self { precision: 4, threshold: 1000, edgeitems: 3, linewidth: 80, sci_mode: None };

    /// Two digits and two elements at each edge of a summary.
    pub const SHORT: Self = Self { precision: 2, edgeitems: 2, ..Self::DEFAULT };

    /// Never a summary.
    pub const FULL: Self = Self { threshold: usize::MAX, ..Self::DEFAULT };

    /// The options that `Display` and `Debug` use now, in every thread: [`DEFAULT`](Self::DEFAULT) unless
    /// [`set_global`](Self::set_global) changed them.
    pub fn global() -> Self {
        // The value is plain data: a panic elsewhere cannot have left it half written.
        *GLOBAL.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what `Display` and `Debug` use from now on, in every thread, and returns what they used before.
    ///
    // Doc tests share a process, and this one changes what the others would print.
    /// ```standalone_crate
    /// use tensor_core::print::PrintOptions;
    /// let before = PrintOptions::set_global(PrintOptions::SHORT);
    /// assert_eq!(PrintOptions::global().precision, 2);
    /// PrintOptions::set_global(before);
    /// ```
    pub fn set_global(options: Self) -> Self {
        std::mem::replace(&mut GLOBAL.write().unwrap_or_else(PoisonError::into_inner), options)
    }

    /// The options for one `Display` or `Debug` call: the global ones, with the precision of `{:.2}` if one was written.
    pub fn for_formatter(formatter: &fmt::Formatter<'_>) -> Self {
        let global = Self::global();
        Self { precision: formatter.precision().unwrap_or(global.precision), ..global }
    }

    /// Whether a tensor of this shape is summarised.
    fn summarises(&self, shape: &Shape) -> bool {
        shape.numel() > self.threshold
    }
}

impl Default for PrintOptions {
    /// [`PrintOptions::DEFAULT`], not the global options.
    fn default() -> Self {
        Self::DEFAULT
    }
}

static GLOBAL: RwLock<PrintOptions> = RwLock::new(PrintOptions::DEFAULT);

/// What is written after a tensor's elements, besides its dtype and size, which the printer knows itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suffixes {
    /// The device if it is not the default one, such as `cuda:0`; printed as `device='cuda:0'`.
    pub device: Option<String>,
    /// Whether gradients are asked for; printed only where there is no `grad_fn`.
    pub requires_grad: bool,
    /// The name of the operation that made the tensor, such as `MulBackward0`; printed as `grad_fn=<MulBackward0>`.
    pub grad_fn: Option<String>,
}

/// The indices along one axis that are printed: all of them, or a head and a tail with `...` between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownAxis {
    /// The indices at the beginning; all of them where the axis is not summarised.
    pub head: Range<usize>,
    /// The indices at the end; empty where the axis is not summarised.
    pub tail: Range<usize>,
}

impl ShownAxis {
    /// How many indices are printed.
    pub fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Whether no index is printed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `position`th of the printed indices.
    fn index(&self, position: usize) -> usize {
        if position < self.head.len() { position } else { self.tail.start + (position - self.head.len()) }
    }

    /// Whether `...` stands before the `position`th printed index.
    fn gap_before(&self, position: usize) -> bool {
        !self.tail.is_empty() && position == self.head.len()
    }
}

/// Which elements of a tensor are printed: the product, over the axes, of the indices given for each.
///
/// ```
/// use tensor_core::{Shape, print::{PrintOptions, shown}};
/// let axes = shown(&Shape::new([2, 5000])?, &PrintOptions::DEFAULT);
/// assert_eq!((axes[0].head.clone(), axes[0].tail.clone()), (0..2, 0..0));
/// assert_eq!((axes[1].head.clone(), axes[1].tail.clone()), (0..3, 4997..5000));
/// # Ok::<(), tensor_core::Error>(())
/// ```
pub fn shown(shape: &Shape, options: &PrintOptions) -> Vec<ShownAxis> {
    let summarise = options.summarises(shape);
    let edge = options.edgeitems;
    let axis = |&size: &usize| match summarise {
        true if size / 2 > edge || (size / 2 == edge && size % 2 == 1) => {
            ShownAxis { head: 0..edge, tail: size - edge..size }
        }
        _ => ShownAxis { head: 0..size, tail: 0..0 },
    };
    shape.dims().iter().map(axis).collect()
}

/// The printed form with the [global](PrintOptions::global) options; see [`tensor_repr_with`].
///
/// ```
/// use tensor_core::{DType, Scalar, Shape, print::{Suffixes, tensor_repr}};
/// let shape = Shape::new([2, 2])?;
/// let get = |index: &[usize]| Scalar::Float(index[0] as f64 + 0.5 * index[1] as f64);
/// assert_eq!(
///     tensor_repr(DType::F64, &shape, &get, &Suffixes::default()),
///     "tensor([[0.0000, 0.5000],\n        [1.0000, 1.5000]], dtype=f64)"
/// );
/// # Ok::<(), tensor_core::Error>(())
/// ```
pub fn tensor_repr(dtype: DType, shape: &Shape, get: &dyn Fn(&[usize]) -> Scalar, suffixes: &Suffixes) -> String {
    tensor_repr_with(dtype, shape, get, suffixes, &PrintOptions::global())
}

/// The printed form of a tensor. `get` is called once for each element that is printed, in row-major order, with an index
/// for each axis; its scalars are expected to be of `dtype`'s category.
pub fn tensor_repr_with(
    dtype: DType,
    shape: &Shape,
    get: &dyn Fn(&[usize]) -> Scalar,
    suffixes: &Suffixes,
    options: &PrintOptions,
) -> String {
    let axes = shown(shape, options);
    let mut values = Vec::with_capacity(axes.iter().map(ShownAxis::len).product());
    let mut positions = vec![0; axes.len()];
    let mut index: Vec<usize> = axes.iter().map(|axis| axis.index(0)).collect();
    if !axes.iter().any(ShownAxis::is_empty) {
        loop {
            values.push(get(&index));
            let Some(stepped) = advance(&mut positions, &axes) else { break };
            for axis in stepped..axes.len() {
                index[axis] = axes[axis].index(positions[axis]);
            }
        }
    }
    repr_of_shown(dtype, shape, &values, suffixes, options)
}

/// The printed form of a tensor from the elements that [`shown`] names for the same shape and options, in row-major order.
///
/// # Panics
/// If the number of values is another than what [`shown`] names.
#[track_caller]
pub fn repr_of_shown(
    dtype: DType,
    shape: &Shape,
    values: &[Scalar],
    suffixes: &Suffixes,
    options: &PrintOptions,
) -> String {
    const PREFIX: &str = "tensor(";
    let axes = shown(shape, options);
    assert_eq!(values.len(), axes.iter().map(ShownAxis::len).product::<usize>(), "one value for each element shown");
    let mut out = String::from(PREFIX);
    if shape.numel() == 0 {
        out.push_str("[]");
    } else if values.is_empty() {
        out.push_str("[...]");
    } else {
        write_elements(&mut out, &axes, values, &Notation::choose(dtype, values, options), options, PREFIX.len());
    }
    add_suffixes(&mut out, &suffix_list(dtype, shape, suffixes, options), options.linewidth, PREFIX.len());
    out.push(')');
    out
}

/// Steps to the next printed element in row-major order and returns the first axis whose position changed, or `None` at
/// the end. Every axis after it starts anew.
fn advance(positions: &mut [usize], axes: &[ShownAxis]) -> Option<usize> {
    for axis in (0..axes.len()).rev() {
        positions[axis] += 1;
        if positions[axis] < axes[axis].len() {
            return Some(axis);
        }
        positions[axis] = 0;
    }
    None
}

/// Writes the nested brackets. Iterative over rows, so that no rank is too deep.
fn write_elements(
    out: &mut String,
    axes: &[ShownAxis],
    values: &[Scalar],
    notation: &Notation,
    options: &PrintOptions,
    indent: usize,
) {
    let Some((row_axis, outer)) = axes.split_last() else {
        notation.write(out, values[0]);
        return;
    };
    let rank = axes.len();
    let mut positions = vec![0; outer.len()];
    push_repeated(out, '[', rank - 1);
    for row in values.chunks_exact(row_axis.len()) {
        write_row(out, row_axis, row, notation, options, indent + rank - 1);
        let Some(stepped) = advance(&mut positions, outer) else { break };
        push_repeated(out, ']', rank - 2 - stepped);
        let separator = |out: &mut String| {
            out.push(',');
            push_repeated(out, '\n', rank - 1 - stepped);
            push_repeated(out, ' ', indent + stepped + 1);
        };
        separator(out);
        if outer[stepped].gap_before(positions[stepped]) {
            out.push_str("...");
            separator(out);
        }
        push_repeated(out, '[', rank - 2 - stepped);
    }
    push_repeated(out, ']', rank - 1);
}

/// Writes `[a, b, …]` along the last axis, broken into lines of as many elements as fit.
fn write_row(
    out: &mut String,
    axis: &ShownAxis,
    row: &[Scalar],
    notation: &Notation,
    options: &PrintOptions,
    indent: usize,
) {
    let per_line = (options.linewidth.saturating_sub(indent) / (notation.width + 2)).max(1);
    let mut cells = 0;
    let mut start_cell = |out: &mut String| {
        if cells > 0 && cells % per_line == 0 {
            out.push_str(",\n");
            push_repeated(out, ' ', indent + 1);
        } else if cells > 0 {
            out.push_str(", ");
        }
        cells += 1;
    };
    out.push('[');
    for (position, &value) in row.iter().enumerate() {
        if axis.gap_before(position) {
            start_cell(out);
            out.push_str(" ...");
        }
        start_cell(out);
        notation.write(out, value);
    }
    out.push(']');
}

fn push_repeated(out: &mut String, character: char, count: usize) {
    out.extend(std::iter::repeat_n(character, count));
}

/// How the elements of one tensor are written, so that they align.
struct Notation {
    form: Form,
    precision: usize,
    width: usize,
}

#[derive(Clone, Copy)]
enum Form {
    /// Integers, `True` and `False`.
    Exact,
    /// Floats that are all whole: `3.`
    Whole,
    /// `3.1416`
    Fixed,
    /// `3.1416e+00`
    Scientific,
}

impl Notation {
    fn choose(dtype: DType, values: &[Scalar], options: &PrintOptions) -> Self {
        let mut notation = Self { form: Form::Exact, precision: options.precision, width: 1 };
        if !dtype.is_float() {
            notation.measure(values.iter().copied());
            return notation;
        }
        notation.form = Form::Whole;
        let finite = || values.iter().map(|value| value.as_f64()).filter(|value| value.is_finite() && *value != 0.0);
        if finite().next().is_none() {
            return notation;
        }
        let (min, max) =
            finite().fold((f64::INFINITY, 0f64), |(min, max), value| (min.min(value.abs()), max.max(value.abs())));
        if options.sci_mode.unwrap_or(max / min > 1000.0 || max > 1e8 || min < 1e-4) {
            notation.form = Form::Scientific;
        } else if finite().any(|value| value.fract() != 0.0) {
            notation.form = Form::Fixed;
        }
        // What is not finite does not count: it may stick out of a narrow column.
        notation.measure(finite().map(Scalar::Float));
        notation
    }

    /// Sets the width to that of the widest value.
    fn measure(&mut self, values: impl Iterator<Item = Scalar>) {
        let mut cell = String::new();
        for value in values {
            cell.clear();
            self.write_bare(&mut cell, value);
            self.width = self.width.max(cell.len());
        }
    }

    /// Writes the value, aligned at the right.
    fn write(&self, out: &mut String, value: Scalar) {
        let start = out.len();
        self.write_bare(out, value);
        let written = out.len() - start;
        if written < self.width {
            out.insert_str(start, &" ".repeat(self.width - written));
        }
    }

    fn write_bare(&self, out: &mut String, value: Scalar) {
        const INFALLIBLE: &str = "a String takes everything";
        let value = match value {
            Scalar::Bool(truth) => return out.push_str(if truth { "True" } else { "False" }),
            Scalar::Int(integer) => return write!(out, "{integer}").expect(INFALLIBLE),
            Scalar::Float(float) if float.is_nan() => return out.push_str("nan"),
            Scalar::Float(float) => float,
        };
        match self.form {
            _ if value.is_infinite() => write!(out, "{value}"),
            Form::Whole => write!(out, "{value:.0}."),
            Form::Fixed => write!(out, "{value:.*}", self.precision),
            Form::Exact => write!(out, "{value}"),
            Form::Scientific => {
                let text = format!("{value:.*e}", self.precision);
                let (digits, exponent) = text.split_once('e').expect("Rust writes an e");
                let exponent: i32 = exponent.parse().expect("Rust writes a decimal exponent");
                // A sign and at least two digits, as C does.
                write!(out, "{digits}e{exponent:+03}")
            }
        }
        .expect(INFALLIBLE);
    }
}

/// The suffixes in their order.
fn suffix_list(dtype: DType, shape: &Shape, suffixes: &Suffixes, options: &PrintOptions) -> Vec<String> {
    let mut list = Vec::new();
    if let Some(device) = &suffixes.device {
        list.push(format!("device='{device}'"));
    }
    let empty = shape.numel() == 0;
    // Without edge items a summary would tell nothing at all, so the size stands for it.
    if (empty && shape.rank() != 1) || (!empty && options.edgeitems == 0) {
        list.push(format!("size={}", tuple(shape.dims())));
    }
    let default = dtype == DType::DEFAULT_FLOAT || (!empty && matches!(dtype, DType::I64 | DType::Bool));
    if !default {
        list.push(format!("dtype={dtype}"));
    }
    if let Some(name) = &suffixes.grad_fn {
        list.push(format!("grad_fn=<{name}>"));
    } else if suffixes.requires_grad {
        list.push("requires_grad=True".to_owned());
    }
    list
}

/// Python's spelling of a tuple, with the comma that makes one of a single size.
fn tuple(dims: &[usize]) -> String {
    match dims {
        [size] => format!("({size},)"),
        _ => {
            let sizes: Vec<String> = dims.iter().map(usize::to_string).collect();
            format!("({})", sizes.join(", "))
        }
    }
}

/// Appends the suffixes, each on a new line if it would not fit on the last one.
fn add_suffixes(out: &mut String, suffixes: &[String], linewidth: usize, indent: usize) {
    let last_line = out.len() - out.rfind('\n').map_or(0, |newline| newline + 1);
    // Two more than there are: room for what closes the line.
    let mut used = last_line + 2;
    for suffix in suffixes {
        if used + suffix.len() + 2 > linewidth {
            out.push_str(",\n");
            push_repeated(out, ' ', indent);
            used = indent + suffix.len();
        } else {
            out.push_str(", ");
            used += suffix.len() + 2;
        }
        out.push_str(suffix);
    }
}
