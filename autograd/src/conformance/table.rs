//! Every row of the gradient table against finite differences, first and second derivatives, reverse and forward mode.

use super::{Device, has_f64, index, leaf, numbers, plain, positive, spread};
use crate::{GradcheckOptions, StepBy, Tensor, gradcheck, gradgradcheck};
use tensor_core::DType;
use tensor_core::op::{BINARY, BinaryOp, TERNARY, TernaryOp, UNARY, UnaryOp};

type Function<B> = Box<dyn Fn(&[Tensor<B>]) -> Vec<Tensor<B>>>;

/// Functions to check. Failures are gathered, so that one run shows all.
pub(super) struct Checks<B: Device> {
    failures: Vec<String>,
    count: usize,
    options: GradcheckOptions,
    _backend: std::marker::PhantomData<B>,
}

impl<B: Device> Checks<B> {
    pub(super) fn new() -> Self {
        Self {
            failures: Vec::new(),
            count: 0,
            options: GradcheckOptions::default(),
            _backend: std::marker::PhantomData,
        }
    }

    pub(super) fn many(
        &mut self,
        name: &str,
        inputs: &[Tensor<B>],
        f: impl Fn(&[Tensor<B>]) -> Vec<Tensor<B>> + 'static,
    ) {
        if !has_f64::<B>() {
            return;
        }
        self.count += 1;
        let f: Function<B> = Box::new(f);
        if let Err(error) = gradcheck(&f, inputs, self.options) {
            self.failures.push(format!("{name}: {error}"));
        } else if let Err(error) = gradgradcheck(&f, inputs, self.options) {
            self.failures.push(format!("{name}, second derivative: {error}"));
        }
    }

    pub(super) fn one(&mut self, name: &str, x: &Tensor<B>, f: impl Fn(&Tensor<B>) -> Tensor<B> + 'static) {
        self.many(name, std::slice::from_ref(x), move |list| vec![f(&list[0])]);
    }

    pub(super) fn two(
        &mut self,
        name: &str,
        a: &Tensor<B>,
        b: &Tensor<B>,
        f: impl Fn(&Tensor<B>, &Tensor<B>) -> Tensor<B> + 'static,
    ) {
        self.many(name, &[a.clone(), b.clone()], move |list| vec![f(&list[0], &list[1])]);
    }

    #[track_caller]
    pub(super) fn done(self) {
        assert!(
            self.failures.is_empty(),
            "{} of {} failed:\n{}",
            self.failures.len(),
            self.count,
            self.failures.join("\n")
        );
        assert!(self.count > 0 || !has_f64::<B>(), "nothing was checked");
    }
}

/// The part of a domain where slopes are neither tiny nor huge, at some fractions of it.
fn samples(domain: (f64, f64), fractions: &[f64]) -> Vec<f64> {
    let (low, high) = (domain.0.max(-2.7), domain.1.min(3.1));
    fractions.iter().map(|fraction| low + (high - low) * fraction).collect()
}

/// The method of an operation. Without a wildcard, so that a new row cannot be forgotten here.
fn unary<B: Device>(op: UnaryOp, x: &Tensor<B>) -> Tensor<B> {
    match op {
        UnaryOp::Neg => -x,
        UnaryOp::Abs => x.abs(),
        UnaryOp::Sign => x.sign(),
        UnaryOp::Ceil => x.ceil(),
        UnaryOp::Floor => x.floor(),
        UnaryOp::Round => x.round(),
        UnaryOp::Trunc => x.trunc(),
        UnaryOp::Frac => x.frac(),
        UnaryOp::Reciprocal => x.reciprocal(),
        UnaryOp::Sqrt => x.sqrt(),
        UnaryOp::Rsqrt => x.rsqrt(),
        UnaryOp::Square => x.square(),
        UnaryOp::Exp => x.exp(),
        UnaryOp::Exp2 => x.exp2(),
        UnaryOp::Expm1 => x.expm1(),
        UnaryOp::Log => x.log(),
        UnaryOp::Log2 => x.log2(),
        UnaryOp::Log10 => x.log10(),
        UnaryOp::Log1p => x.log1p(),
        UnaryOp::Sin => x.sin(),
        UnaryOp::Cos => x.cos(),
        UnaryOp::Tan => x.tan(),
        UnaryOp::Asin => x.asin(),
        UnaryOp::Acos => x.acos(),
        UnaryOp::Atan => x.atan(),
        UnaryOp::Sinh => x.sinh(),
        UnaryOp::Cosh => x.cosh(),
        UnaryOp::Tanh => x.tanh(),
        UnaryOp::Asinh => x.asinh(),
        UnaryOp::Acosh => x.acosh(),
        UnaryOp::Atanh => x.atanh(),
        UnaryOp::Erf => x.erf(),
        UnaryOp::Erfc => x.erfc(),
        UnaryOp::Sigmoid => x.sigmoid(),
        UnaryOp::Relu => x.relu(),
        UnaryOp::Gelu => x.gelu(),
        UnaryOp::GeluTanh => x.gelu_tanh(),
        UnaryOp::Silu => x.silu(),
        UnaryOp::Softplus => x.softplus(),
        UnaryOp::BitNot => x.bitwise_not(),
        UnaryOp::IsNan => x.isnan(),
        UnaryOp::IsInf => x.isinf(),
        UnaryOp::IsFinite => x.isfinite(),
    }
}

fn binary<B: Device>(op: BinaryOp, a: &Tensor<B>, b: &Tensor<B>) -> Tensor<B> {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::FloorDiv => a.floor_divide(b),
        BinaryOp::TruncDiv => a.trunc_divide(b),
        BinaryOp::Remainder => a.remainder(b),
        BinaryOp::Fmod => a.fmod(b),
        BinaryOp::Pow => a.pow(b),
        BinaryOp::Atan2 => a.atan2(b),
        BinaryOp::Hypot => a.hypot(b),
        BinaryOp::Maximum => a.maximum(b),
        BinaryOp::Minimum => a.minimum(b),
        BinaryOp::BitAnd => a.bitwise_and(b),
        BinaryOp::BitOr => a.bitwise_or(b),
        BinaryOp::BitXor => a.bitwise_xor(b),
        BinaryOp::Shl => a.bitwise_left_shift(b),
        BinaryOp::Shr => a.bitwise_right_shift(b),
    }
}

/// The operation with a scalar on the right.
fn binary_scalar<B: Device>(op: BinaryOp, a: &Tensor<B>, b: f64) -> Tensor<B> {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::FloorDiv => a.floor_divide(b),
        BinaryOp::TruncDiv => a.trunc_divide(b),
        BinaryOp::Remainder => a.remainder(b),
        BinaryOp::Fmod => a.fmod(b),
        BinaryOp::Pow => a.pow(b),
        BinaryOp::Atan2 => a.atan2(b),
        BinaryOp::Hypot => a.hypot(b),
        BinaryOp::Maximum => a.maximum(b),
        BinaryOp::Minimum => a.minimum(b),
        BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor | BinaryOp::Shl | BinaryOp::Shr => {
            unreachable!("floats have no bits to combine")
        }
    }
}

fn on_bits(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor | BinaryOp::Shl | BinaryOp::Shr)
}

/// Every row of `UNARY`, on a vector and on a transposed matrix.
pub(super) fn unary_operations<B: Device>() {
    let mut checks = Checks::<B>::new();
    for row in &UNARY {
        let op = row.op;
        if op == UnaryOp::BitNot {
            continue;
        }
        let at = samples(row.domain, &[0.07, 0.31, 0.53, 0.77, 0.93, 0.24]);
        let x = leaf(&at, &[6]);
        if row.gives_bool {
            assert!(!unary(op, &x).requires_grad(), "{}", row.name);
            continue;
        }
        checks.one(row.name, &x, move |x| unary(op, x));
        checks.one(row.name, &leaf(&at, &[2, 3]), move |x| unary(op, &x.t()));
        checks.one(row.name, &leaf(&at[..1], &[]), move |x| unary(op, x));
    }
    // Both sides of softplus's threshold.
    checks.one("softplus", &leaf(&[19.5, 20.5, -30.0], &[3]), Tensor::softplus);
    checks.done();
}

/// Every row of `BINARY`: equal shapes, broadcast on either side, 0-d, and a scalar.
pub(super) fn binary_operations<B: Device>() {
    let mut checks = Checks::<B>::new();
    for row in BINARY.iter().filter(|row| !on_bits(row.op)) {
        let op = row.op;
        let a = samples(row.domain.0, &[0.11, 0.37, 0.83]);
        let b = samples(row.domain.1, &[0.19, 0.61, 0.97]);
        checks.two(row.name, &leaf(&a, &[3]), &leaf(&b, &[3]), move |a, b| binary(op, a, b));
        checks.two(row.name, &leaf(&a[..2], &[2, 1]), &leaf(&b, &[3]), move |a, b| binary(op, a, b));
        checks.two(row.name, &leaf(&a, &[3]), &leaf(&b[1..], &[2, 1]), move |a, b| binary(op, a, b));
        checks.two(row.name, &leaf(&a[2..], &[]), &leaf(&b, &[3]), move |a, b| binary(op, a, b));
        checks.two(row.name, &leaf(&a[2..], &[]), &leaf(&b[1..2], &[]), move |a, b| binary(op, a, b));
        checks.two(row.name, &leaf(&a, &[3]), &plain(&b, &[3]), move |a, b| binary(op, a, b));
        checks.two(row.name, &plain(&a, &[3]), &leaf(&b, &[3]), move |a, b| binary(op, a, b));
        // The same tensor twice.
        checks.one(row.name, &leaf(&samples(row.domain.0, &[0.83]), &[1]), move |a| binary(op, a, &(a * 0.37)));
        let scalar = b[2];
        checks.one(row.name, &leaf(&a, &[3]), move |a| binary_scalar(op, a, scalar));
    }
    let x = spread(&[4], 1);
    checks.one("rsub", &x, |x| 3.5 - x);
    checks.one("rdiv", &x, |x| 3.5 / x);
    checks.one("rrem", &x, |x| 3.5 % x);
    checks.one("radd", &x, |x| 2 + x);
    checks.one("rmul", &x, |x| 2 * x);
    for power in [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 2.5] {
        checks.one(&format!("pow {power}"), &positive(&[3], 2), move |x| x.pow(power));
    }
    for power in [-3, -1, 0, 1, 2, 3, 5] {
        checks.one(&format!("powi {power}"), &x, move |x| x.powi(power));
    }
    checks.done();
}

/// Every row of `TERNARY`, with scalars and broadcasting, and what is made of them.
pub(super) fn ternary_operations<B: Device>() {
    let mut checks = Checks::<B>::new();
    let (a, b, row_b) = (spread(&[2, 3], 1), spread(&[2, 3], 2), spread(&[3], 3));
    let mask = Tensor::<B>::from_slice(&[true, false, true, true, false, false], [2, 3]);
    for row in &TERNARY {
        match row.op {
            TernaryOp::Where => {
                let m = mask.clone();
                checks.two("where", &a, &b, move |a, b| m.where_cond(a, b));
                let m = mask.clone();
                checks.two("where, broadcast", &a, &row_b, move |a, b| m.where_cond(b, a));
                let m = mask.clone();
                checks.one("where, scalar", &a, move |a| m.where_cond(a, 1.5));
                let m = mask.clone();
                checks.one("where, scalar first", &a, move |a| m.where_cond(1.5, a));
                let m = mask.clone();
                checks.one("where, wide mask", &row_b, move |b| m.where_cond(b, 0.0));
                let m = mask.clone();
                checks.one("masked_fill", &a, move |a| a.masked_fill(&m, 7.0));
            }
            TernaryOp::Clamp => {
                checks.one("clamp", &a, |a| a.clamp(-0.7, 0.9));
                checks.one("clamp_min", &a, |a| a.clamp_min(0.1));
                checks.one("clamp_max", &a, |a| a.clamp_max(0.1));
                checks.many("clamp, tensors", &[a.clone(), b.clone(), row_b.clone()], |list| {
                    vec![list[0].clamp(&list[1], &list[2])]
                });
                checks.two("clamp, one tensor", &a, &row_b, |a, b| a.clamp(-0.5, b));
            }
            TernaryOp::Lerp => {
                checks.many("lerp", &[a.clone(), b.clone(), row_b.clone()], |list| {
                    vec![list[0].lerp(&list[1], &list[2])]
                });
                checks.two("lerp, scalar weight", &a, &row_b, |a, b| a.lerp(b, 0.3));
                checks.two("lerp, scalar end", &a, &row_b, |a, w| a.lerp(2.5, w));
                checks.one("lerp, scalars", &a, |a| a.lerp(2.5, 0.3));
            }
        }
    }
    checks.many("addcmul", &[a.clone(), b.clone(), row_b.clone()], |list| {
        vec![list[0].addcmul(&list[1], &list[2], 0.5), list[0].addcmul(&list[1], &list[2], 1.0)]
    });
    checks.many("addcdiv", &[a, b, row_b], |list| vec![list[0].addcdiv(&list[1], &list[2], 0.5)]);
    checks.done();
}

/// Between floats; f32 is rough, so the steps are long.
pub(super) fn casts<B: Device>() {
    let mut checks = Checks::<B>::new();
    checks.options = GradcheckOptions { eps: 1e-2, atol: 1e-3, rtol: 1e-3, forward: true };
    checks.one("to f32 and back", &spread(&[4], 1), |x| x.to_dtype(DType::F32).to_dtype(DType::F64) * 2);
    checks.two("mixed", &spread(&[4], 1), &spread(&[1], 2), |a, b| a.to_dtype(DType::F32) * b);
    checks.done();
}

/// Sums, products and extremes over every choice of axes.
pub(super) fn reductions<B: Device>() {
    let mut checks = Checks::<B>::new();
    let x = spread(&[2, 3, 2], 1);
    for axes in [&[][..], &[0], &[1], &[-1], &[0, 2], &[-1, 0], &[0, 1, 2]] {
        for keepdim in [false, true] {
            let name = |op: &str| format!("{op} {axes:?} {keepdim}");
            checks.one(&name("sum"), &x, move |x| x.sum_dims(axes, keepdim));
            checks.one(&name("mean"), &x, move |x| x.mean_dims(axes, keepdim));
            checks.one(&name("amax"), &x, move |x| x.amax(axes, keepdim));
            checks.one(&name("amin"), &x, move |x| x.amin(axes, keepdim));
            checks.one(&name("logsumexp"), &x, move |x| x.logsumexp(axes, keepdim));
        }
        // A dozen factors: third derivatives of a whole product are slow to check, and the same as along one axis.
        if axes.len() < 2 && !axes.is_empty() {
            checks.one(&format!("prod {axes:?}"), &x, move |x| x.prod_dims(axes, false));
        }
    }
    checks.one("prod", &spread(&[2, 2], 3), Tensor::prod);
    checks.one("prod, keepdim", &spread(&[2, 2], 3), |x| x.prod_dims(&[0, 1], true));
    checks.one("sum, 0-d", &spread(&[], 3), Tensor::sum);
    checks.one("prod, 0-d", &spread(&[], 3), Tensor::prod);
    checks.one("max, 0-d", &spread(&[], 3), Tensor::max);
    checks.one("sum of a view", &x, |x| x.permute(&[2, 0, 1]).slice(2, 2, 2, -1).sum_dims(&[0, 1], false));
    checks.done();
}

/// Variance, deviation and norms.
pub(super) fn statistics<B: Device>() {
    let mut checks = Checks::<B>::new();
    let x = spread(&[2, 3], 4);
    for axes in [&[][..], &[0], &[-1]] {
        for keepdim in [false, true] {
            for correction in [0, 1] {
                checks.one("var", &x, move |x| x.var_dims(axes, correction, keepdim));
                checks.one("std", &x, move |x| x.std_dims(axes, correction, keepdim));
            }
            for p in [2.0, 1.0, 3.0, 0.5, f64::INFINITY, f64::NEG_INFINITY] {
                checks.one(&format!("norm {p} {axes:?}"), &x, move |x| x.norm_dims(p, axes, keepdim));
            }
        }
    }
    checks.done();
}

/// Products along lines with no, one and two zeros, to the second derivative.
pub(super) fn products_with_zeros<B: Device>() {
    let mut checks = Checks::<B>::new();
    let lines = [1.5, 0.0, -0.7, 0.0, 2.0, 0.0, 0.3, 1.1, -1.3];
    checks.one("prod along lines", &leaf(&lines, &[3, 3]), |x| x.prod_dims(&[1], false));
    checks.one("prod along columns", &leaf(&lines, &[3, 3]), |x| x.prod_dims(&[0], true));
    checks.one("prod with one zero", &leaf(&[1.5, 0.0, -0.7], &[3]), Tensor::prod);
    checks.one("prod with two zeros", &leaf(&[1.5, 0.0, -0.7, 0.0], &[4]), Tensor::prod);
    checks.one("prod of a zero matrix", &leaf(&[0.0; 4], &[2, 2]), Tensor::prod);
    for axis in [0, 1, -1] {
        checks.one("cumprod along lines", &leaf(&lines, &[3, 3]), move |x| x.cumprod(axis));
    }
    checks.one("cumprod with a zero first", &leaf(&[0.0, 2.0, 3.0], &[3]), |x| x.cumprod(0));
    checks.one("cumprod with two zeros", &leaf(&[1.5, 0.0, 3.0, 0.0, 2.0], &[5]), |x| x.cumprod(0));
    checks.done();
}

pub(super) fn scans<B: Device>() {
    let mut checks = Checks::<B>::new();
    let x = spread(&[2, 3, 2], 5);
    for axis in [0, 1, 2, -1] {
        checks.one(&format!("cumsum {axis}"), &x, move |x| x.cumsum(axis));
        checks.one(&format!("cumprod {axis}"), &spread(&[2, 2, 3], 5), move |x| x.cumprod(axis));
    }
    checks.one("cumsum, 0-d", &spread(&[], 5), |x| x.cumsum(0));
    checks.one("cumprod, 0-d", &spread(&[], 5), |x| x.cumprod(-1));
    checks.one("cumsum of a flipped view", &x, |x| x.flip(&[1]).cumsum(1));
    checks.done();
}

pub(super) fn softmaxes<B: Device>() {
    let mut checks = Checks::<B>::new();
    let x = spread(&[2, 3, 2], 6);
    for axis in [0, 1, 2, -1] {
        checks.one(&format!("softmax {axis}"), &x, move |x| x.softmax(axis));
        checks.one(&format!("log_softmax {axis}"), &x, move |x| x.log_softmax(axis));
    }
    checks.one("softmax of a transposed view", &spread(&[3, 2], 6), |x| x.t().softmax(1));
    for shape in [&[2][..], &[3, 2], &[2, 3, 2]] {
        checks.one(&format!("layer_norm {shape:?}"), &x, move |x| x.layer_norm(shape, None, None, 0.1));
        checks.one(&format!("rms_norm {shape:?}"), &x, move |x| x.rms_norm(shape, None, 0.1));
    }
    let weight = spread(&[3], 3);
    checks.two("layer_norm of a transposed view", &spread(&[3, 2], 6), &weight, |x, weight| {
        x.t().layer_norm(&[3], Some(weight), Some(&weight.square()), 0.1)
    });
    checks.done();
}

/// All combinations of ranks, batches that broadcast, views as operands, one operand without a gradient.
pub(super) fn matrix_products<B: Device>() {
    let mut checks = Checks::<B>::new();
    let shapes: [(&[usize], &[usize]); 12] = [
        (&[3], &[3]),
        (&[3], &[3, 2]),
        (&[2, 3], &[3]),
        (&[2, 3], &[3, 2]),
        (&[2, 2, 3], &[3]),
        (&[3], &[2, 3, 2]),
        (&[2, 2, 3], &[3, 2]),
        (&[2, 3], &[2, 3, 2]),
        (&[2, 2, 3], &[2, 3, 2]),
        (&[1, 2, 3], &[2, 3, 1]),
        (&[2, 1, 2, 3], &[2, 3, 2]),
        (&[2, 1, 1, 2], &[1, 2, 2, 1]),
    ];
    for (left, right) in shapes {
        let name = format!("matmul {left:?} {right:?}");
        checks.two(&name, &spread(left, 7), &spread(right, 8), |a, b| a.matmul(b));
    }
    checks.two("mse_loss", &spread(&[2, 3], 7), &spread(&[2, 3], 8), |x, y| x.mse_loss(y));
    for rows in [&[3][..], &[2, 3], &[2, 2, 3]] {
        let (x, weight, bias) = (spread(rows, 7), spread(&[4, 3], 8), spread(&[4], 9));
        checks.two(&format!("linear {rows:?}"), &x, &weight, |x, weight| x.linear(weight, None));
        checks.many(&format!("linear {rows:?} with a bias"), &[x, weight, bias], |list| {
            vec![list[0].linear(&list[1], Some(&list[2]))]
        });
    }
    let (x, weight) = (plain(&numbers(6, 9), &[2, 3]), plain(&numbers(9, 8), &[3, 3]));
    checks.one("linear of its own weight", &spread(&[3, 3], 8), |w| w.linear(&w.t(), Some(&w.i(0))));
    checks.one("linear, bias only", &spread(&[3], 9), move |bias| x.linear(&weight, Some(bias)));
    let (a, b) = (spread(&[3, 2], 7), spread(&[2, 3], 8));
    checks.two("matmul of views", &a, &b, |a, b| a.t().matmul(&b.t()));
    checks.two("matmul of flipped views", &a, &b, |a, b| a.flip(&[0]).matmul(&b.slice(1, 2, 2, -2)));
    checks.two("matmul, left only", &a, &plain(&numbers(6, 9), &[2, 3]), |a, b| a.matmul(b));
    checks.two("matmul, right only", &plain(&numbers(6, 9), &[3, 2]), &b, |a, b| a.matmul(b));
    checks.one("matmul with itself", &spread(&[3, 3], 7), |a| a.matmul(a));
    checks.two("dot", &spread(&[3], 7), &spread(&[3], 8), |a, b| a.dot(b));
    checks.two("outer", &spread(&[3], 7), &spread(&[2], 8), |a, b| a.outer(b));
    checks.done();
}

pub(super) fn views<B: Device>() {
    let mut checks = Checks::<B>::new();
    let x = spread(&[2, 3, 4], 9);
    checks.one("reshape", &x, |x| x.reshape([4, -1]));
    checks.one("reshape of a transposed view", &x, |x| x.transpose(0, 2).reshape([2, 12]));
    checks.one("flatten", &x, Tensor::flatten);
    checks.one("flatten_dims", &x, |x| x.flatten_dims(1, 2));
    checks.one("unflatten", &x, |x| x.unflatten(2, [2, 2]));
    checks.one("permute", &x, |x| x.permute(&[2, 0, 1]));
    checks.one("permute, negative axes", &x, |x| x.permute(&[-1, 0, -2]));
    checks.one("transpose", &x, |x| x.transpose(0, -1));
    checks.one("movedim", &x, |x| x.movedim(0, 2));
    checks.one("expand", &spread(&[2, 1, 3], 9), |x| x.expand([4, 2, 2, 3]));
    checks.one("squeeze and unsqueeze", &spread(&[1, 3, 1], 9), |x| x.squeeze().unsqueeze(-1));
    checks.one("narrow", &x, |x| x.narrow(2, 1, 2));
    checks.one("slice with a step", &x, |x| x.slice(2, 0, 2, 2));
    checks.one("slice backwards", &x, |x| x.slice(1, 2, 3, -1));
    checks.one("slice backwards with a step", &x, |x| x.slice(2, 3, 2, -2));
    checks.one("slice of a slice backwards", &x, |x| x.slice(2, 3, 4, -1).slice(2, 2, 2, -2));
    checks.one("select", &x, |x| x.select(1, -1));
    checks.one("flip", &x, |x| x.flip(&[0, 2]));
    checks.one("diagonal", &x, |x| x.diagonal(0, 1, 2));
    checks.one("diagonal above", &x, |x| x.diagonal(1, 0, 2));
    checks.one("diagonal below", &x, |x| x.diagonal(-1, -2, -1));
    checks.one("trace", &spread(&[3, 3], 9), Tensor::trace);
    checks.one("unfold, apart", &x, |x| x.unfold(2, 2, 2));
    checks.one("unfold, overlapping", &x, |x| x.unfold(2, 3, 1));
    checks.one("unfold twice", &x, |x| x.unfold(2, 3, 1).unfold(1, 2, 1));
    checks.one("contiguous", &x, |x| x.transpose(0, 1).contiguous());
    checks.one("roll", &x, |x| x.roll(3, 2));
    checks.one("repeat", &spread(&[2, 2], 9), |x| x.repeat(&[2, 1, 3]));
    checks.one("tril", &x, |x| x.tril(0));
    checks.one("triu", &x, |x| x.triu(1));
    checks.one("split", &x, |x| x.split(3, 2).iter().map(Tensor::sum).fold(x.sum(), |a, b| a * b));
    checks.many("chunk", std::slice::from_ref(&x), |list| list[0].chunk(3, 1));
    checks.many("unbind", &[x], |list| list[0].unbind(0));
    checks.done();
}

/// Gather, select and take, with indices that occur several times.
pub(super) fn picking<B: Device>() {
    let mut checks = Checks::<B>::new();
    let x = spread(&[3, 2], 10);
    checks.one("gather", &x, |x| x.gather(0, &index(&[0, 2, 0, 1, 2, 0, 0, 1], &[4, 2])));
    checks.one("gather, smaller", &x, |x| x.gather(1, &index(&[1, 1], &[2, 1])));
    checks.one("gather from a view", &x, |x| x.t().gather(-1, &index(&[2, 2, 0, 0, 1, 1], &[2, 3])));
    checks.one("index_select", &x, |x| x.index_select(0, &index(&[2, 0, 2, -1], &[4])));
    checks.one("index_select, columns", &x, |x| x.index_select(-1, &index(&[1, 1, 0], &[3])));
    checks.one("i with a mask", &x, |x| x.i(x.detach().gt(0.0)));
    checks.one("i with rows several times", &x, |x| x.i(([2, 0, 2], 1..)));
    checks.one("take_along", &x, |x| x.take_along(&index(&[1, 0, 1], &[1, 3]), 1));
    checks.one("masked_select", &x, |x| x.masked_select(&x.detach().gt(0.0)));
    checks.done();
}

/// Scatter, add and copy; sources that meet only where they are added.
pub(super) fn placing<B: Device>() {
    let mut checks = Checks::<B>::new();
    let (x, y) = (spread(&[3, 2], 11), spread(&[2, 2], 12));
    checks.two("scatter", &x, &y, |x, y| x.scatter(0, &index(&[0, 2, 1, 0], &[2, 2]), y));
    checks.two("scatter, larger source", &x, &spread(&[3, 2], 12), |x, y| x.scatter(1, &index(&[1, 0], &[2, 1]), y));
    checks.two("scatter_add", &x, &y, |x, y| x.scatter_add(0, &index(&[2, 2, 2, 0], &[2, 2]), y));
    checks.two("scatter_add, columns", &x, &y, |x, y| x.scatter_add(1, &index(&[1, 1, 0, 1], &[2, 2]), y));
    checks.two("index_add", &x, &y, |x, y| x.index_add(0, &index(&[2, 2], &[2]), y));
    checks.two("index_copy", &x, &y, |x, y| x.index_copy(0, &index(&[2, 0], &[2]), y));
    checks.two("i_set of a view", &x, &spread(&[2], 12), |x, y| x.i_set((1.., 0), y));
    checks.two("i_set backwards", &x, &y, |x, y| x.i_set(((..).step(-2), ..), y));
    checks.two("i_set of rows", &x, &y, |x, y| x.i_set([2, 0], y));
    checks.two("i_set of a mask", &x, &spread(&[], 12), |x, y| x.i_set(x.detach().gt(0.0), y));
    checks.two("i_add, rows several times", &x, &spread(&[3, 2], 12), |x, y| x.i_add([2, 0, 2], y));
    checks.two("i_add of a view", &x, &spread(&[2], 12), |x, y| x.i_add((.., 0..1), y.unsqueeze(0).narrow(1, 0, 1)));
    checks.two("into a plain tensor", &plain(&[0.0; 6], &[3, 2]), &y, |x, y| {
        x.scatter(0, &index(&[0, 2, 1, 0], &[2, 2]), y)
    });
    checks.two("from a plain tensor", &x, &plain(&[1.0; 4], &[2, 2]), |x, y| x.index_copy(0, &index(&[2, 0], &[2]), y));
    checks.done();
}

pub(super) fn joining<B: Device>() {
    let mut checks = Checks::<B>::new();
    let (a, b, c) = (spread(&[2, 2], 13), spread(&[2, 3], 14), plain(&numbers(2, 15), &[2, 1]));
    checks.many("cat", &[a.clone(), b, c], |list| vec![Tensor::cat(&[&list[0], &list[2], &list[1]], 1)]);
    checks.one("cat with itself", &a, |a| Tensor::cat(&[a, a, &a.t()], 0));
    checks.two("stack", &a, &spread(&[2, 2], 16), |a, b| Tensor::stack(&[a, b, a], -1));
    checks.two("stack in front", &a, &spread(&[2, 2], 16), |a, b| Tensor::stack(&[a, b], 0));
    checks.done();
}

/// Sorting and extremes along an axis hand the gradient to what they chose.
pub(super) fn choosing<B: Device>() {
    let mut checks = Checks::<B>::new();
    let x = spread(&[3, 4], 17);
    for axis in [0, 1] {
        for flag in [false, true] {
            checks.one("sort", &x, move |x| x.sort(axis, flag).0);
            checks.one("topk", &x, move |x| x.topk(2, axis, flag).0);
            checks.one("max_dim", &x, move |x| x.max_dim(axis, flag).0);
            checks.one("min_dim", &x, move |x| x.min_dim(axis, flag).0);
        }
    }
    checks.many("values and indices", &[x], |list| {
        let (values, indices) = list[0].max_dim(1, false);
        vec![values, indices]
    });
    checks.done();
}

/// Indices, comparisons, integers and bools never require a gradient.
pub(super) fn integers_carry_no_gradient<B: Device>() {
    let x: Tensor<B> = Tensor::from_slice(&[0.5_f32, -1.0, 2.0], [3]).requires_grad_();
    let all = [
        ("argmax", x.argmax()),
        ("argmin_dim", x.argmin_dim(0, false)),
        ("gt", x.gt(0)),
        ("eq", x.eq(&x)),
        ("isnan", x.isnan()),
        ("sort indices", x.sort(0, false).1),
        ("argsort", x.argsort(0, true)),
        ("topk indices", x.topk(2, 0, true).1),
        ("max indices", x.max_dim(0, false).1),
        ("to i64", x.to_dtype(DType::I64)),
        ("to bool", x.to_dtype(DType::Bool)),
        ("any", x.any()),
        ("count_nonzero", x.count_nonzero()),
        ("nonzero", x.nonzero()),
        ("logical_not", x.logical_not()),
    ];
    for (name, result) in all {
        assert!(!result.requires_grad() && result.is_leaf() && result.grad_fn().is_none(), "{name}");
    }
    for row in BINARY.iter().filter(|row| on_bits(row.op)) {
        let bits: Tensor<B> = index(&[1, 2, 3], &[3]);
        assert!(!binary(row.op, &bits, &bits).requires_grad(), "{}", row.name);
    }
}
