//! Errors in ULP: f32 against f64 over all exponents, f64 against results that mpmath computed.
//!
//! `GRADIX_VECMATH_STRIDE=1` makes the f32 test exhaustive (every one of the 2^32 numbers; hours), and
//! `GRADIX_VECMATH_REFERENCE` names a larger file of `reference.py`. `--nocapture` prints what was measured.

use std::collections::BTreeMap;

use super::super::{BinaryFn, Level, UnaryFn};

/// The largest errors allowed, in ULP: f32, f64. Reached on the level without fused multiply-add; see the scalar
/// functions for those with it.
fn unary_bound(f: UnaryFn) -> (f64, f64) {
    match f {
        UnaryFn::Exp => (1.0, 1.0),
        UnaryFn::Exp2 => (1.25, 1.1),
        UnaryFn::Expm1 => (1.5, 2.0),
        UnaryFn::Ln | UnaryFn::Log2 | UnaryFn::Log10 | UnaryFn::Log1p => (0.9, 0.8),
        UnaryFn::Sin | UnaryFn::Cos => (1.5, 0.8),
        UnaryFn::Tan => (2.5, 2.0),
        UnaryFn::Asin => (2.4, 2.2),
        UnaryFn::Acos => (1.2, 1.1),
        UnaryFn::Atan => (1.9, 1.8),
        UnaryFn::Sinh | UnaryFn::Cosh => (1.7, 1.5),
        UnaryFn::Tanh => (2.4, 1.5),
        UnaryFn::Asinh | UnaryFn::Acosh | UnaryFn::Atanh => (0.501, 1.8),
        UnaryFn::Erf => (1.2, 1.2),
        UnaryFn::Erfc => (3.6, 3.7),
        UnaryFn::Sigmoid | UnaryFn::Silu => (2.5, 2.1),
        UnaryFn::Gelu => (5.9, 3.9),
        UnaryFn::GeluTanh => (2.7, 2.0),
        UnaryFn::Softplus => (1.7, 1.5),
        UnaryFn::Rsqrt => (1.5, 1.5),
        UnaryFn::Reciprocal
        | UnaryFn::Sqrt
        | UnaryFn::Floor
        | UnaryFn::Ceil
        | UnaryFn::Trunc
        | UnaryFn::Round
        | UnaryFn::Frac
        | UnaryFn::Sign => (0.5, 0.5),
        UnaryFn::Lgamma | UnaryFn::Erfinv => (0.501, 2.0),
        // Arguments near its zeros lose digits, as everywhere.
        UnaryFn::Digamma => (0.501, 1000.0),
    }
}

fn binary_bound(f: BinaryFn) -> (f64, f64) {
    match f {
        BinaryFn::Pow => (0.51, 1.1),
        BinaryFn::Atan2 => (1.8, 1.5),
        BinaryFn::Hypot => (0.51, 1.0),
        BinaryFn::Fmod | BinaryFn::Remainder => (0.5, 0.5),
    }
}

/// The function in double precision by other means: the standard library's or the libm crate's.
fn exact_unary(f: UnaryFn, x: f64) -> f64 {
    match f {
        UnaryFn::Exp => x.exp(),
        UnaryFn::Exp2 => x.exp2(),
        UnaryFn::Expm1 => x.exp_m1(),
        UnaryFn::Ln => x.ln(),
        UnaryFn::Log2 => x.log2(),
        UnaryFn::Log10 => x.log10(),
        UnaryFn::Log1p => x.ln_1p(),
        UnaryFn::Sin => x.sin(),
        UnaryFn::Cos => x.cos(),
        UnaryFn::Tan => x.tan(),
        UnaryFn::Asin => x.asin(),
        UnaryFn::Acos => x.acos(),
        UnaryFn::Atan => x.atan(),
        UnaryFn::Sinh => x.sinh(),
        UnaryFn::Cosh => x.cosh(),
        UnaryFn::Tanh => x.tanh(),
        UnaryFn::Asinh => libm::asinh(x),
        UnaryFn::Acosh => {
            // The libm crate's answers numbers for some x < 1.
            if x < 1.0 { f64::NAN } else { libm::acosh(x) }
        }
        UnaryFn::Atanh => libm::atanh(x),
        UnaryFn::Erf => libm::erf(x),
        UnaryFn::Erfc => libm::erfc(x),
        UnaryFn::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        UnaryFn::Gelu if x == f64::NEG_INFINITY => -0.0,
        UnaryFn::Gelu => 0.5 * x * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2),
        UnaryFn::GeluTanh => {
            let w = (8.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            if x == f64::NEG_INFINITY { f64::NAN } else { x / (1.0 + (-w).exp()) }
        }
        UnaryFn::Silu => x / (1.0 + (-x).exp()),
        UnaryFn::Softplus => {
            if x > 20.0 {
                x
            } else {
                x.exp().ln_1p()
            }
        }
        UnaryFn::Reciprocal => 1.0 / x,
        UnaryFn::Sqrt => x.sqrt(),
        UnaryFn::Rsqrt => 1.0 / x.sqrt(),
        UnaryFn::Floor => x.floor(),
        UnaryFn::Ceil => x.ceil(),
        UnaryFn::Trunc => x.trunc(),
        UnaryFn::Round => x.round_ties_even(),
        UnaryFn::Frac => x - x.trunc(),
        UnaryFn::Sign => f64::from(i8::from(x > 0.0) - i8::from(x < 0.0)),
        UnaryFn::Lgamma => libm::lgamma(x),
        UnaryFn::Digamma => super::super::digamma(x),
        UnaryFn::Erfinv => super::super::erfinv(x),
    }
}

fn exact_binary(f: BinaryFn, x: f64, y: f64) -> f64 {
    match f {
        BinaryFn::Pow => x.powf(y),
        BinaryFn::Atan2 => x.atan2(y),
        BinaryFn::Hypot => libm::hypot(x, y),
        BinaryFn::Fmod => x % y,
        BinaryFn::Remainder => {
            let r = x % y;
            if r != 0.0 && (r < 0.0) != (y < 0.0) { r + y } else { r }
        }
    }
}

/// |got - exact| in units of f32's spacing at `exact`; infinite where one is NaN or infinite and the other not.
fn ulp_f32(got: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    if rounded.is_nan() || got.is_nan() {
        return if rounded.is_nan() && got.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if got == rounded {
        // Rounding itself is at most half an ULP, and equal infinities have no distance.
        return if exact == 0.0 && got.is_sign_negative() != exact.is_sign_negative() {
            f64::INFINITY
        } else if rounded.is_infinite() {
            0.0
        } else {
            distance(f64::from(got), exact)
        };
    }
    if rounded.is_infinite() || got.is_infinite() {
        // One step beyond the largest number counts as the power of two that it stands for.
        let finite = |x: f64| x.clamp(-(2f64.powi(128)), 2f64.powi(128));
        return distance(finite(f64::from(got)), finite(exact));
    }
    distance(f64::from(got), exact)
}

fn distance(got: f64, exact: f64) -> f64 {
    let exponent = (((exact.to_bits() >> 52) & 0x7ff) as i32 - 1023).clamp(-126, 127);
    (got - exact).abs() / 2f64.powi(exponent - 23)
}

fn stride() -> u32 {
    std::env::var("GRADIX_VECMATH_STRIDE").ok().map_or(9_973, |s| s.parse().expect("a number"))
}

/// Every `stride`-th bit pattern, and a fine grid where most functions have their shape.
fn arguments_f32() -> Vec<f32> {
    let mut x: Vec<f32> = (0..u32::MAX / stride()).map(|i| f32::from_bits(i * stride())).collect();
    x.extend((0..50_000).map(|i| (i as f32 - 25_000.0) * (12.0 / 25_000.0) + 1.0e-4));
    x
}

#[test]
fn f32_within_bounds() {
    let x = arguments_f32();
    let mut y = vec![0.0; x.len()];
    let mut failures = Vec::new();
    for &f in UnaryFn::ALL {
        let exact: Vec<f64> = x.iter().map(|&x| exact_unary(f, f64::from(x))).collect();
        for &level in Level::available() {
            f.kernel::<f32>(level).apply(&x, &mut y);
            let mut worst = (0.0, 0.0, 0.0, 0.0);
            for ((&x, &y), &exact) in x.iter().zip(&y).zip(&exact) {
                let e = ulp_f32(y, exact);
                if e > worst.0 {
                    worst = (e, x, y, exact);
                }
            }
            println!(
                "f32 {:10} {level:?}: {:.3} ULP at {:e}: {:e}, not {:e}",
                f.name(),
                worst.0,
                worst.1,
                worst.2,
                worst.3
            );
            if worst.0 > unary_bound(f).0 {
                failures.push(format!("{} {level:?} {worst:?}", f.name()));
            }
        }
    }
    assert!(failures.is_empty(), "f32 beyond the bounds (ULP, argument, result, exact):\n{}", failures.join("\n"));
}

#[test]
fn f32_of_two_arguments_within_bounds() {
    // Pairs over all exponents, and pairs of like size.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 32) as u32
    };
    let mut x = Vec::new();
    let mut y = Vec::new();
    for i in 0..200_000 {
        let (a, b) = (next(), next());
        if i % 2 == 0 {
            x.push(f32::from_bits(a));
            y.push(f32::from_bits(b));
        } else {
            // Exponents within 2^-16..2^16 of 1.
            let like = |u: u32| f32::from_bits((u & 0x87ff_ffff) | 0x3800_0000);
            x.push(like(a));
            y.push(like(b));
        }
    }
    let mut out = vec![0.0; x.len()];
    let mut failures = Vec::new();
    for &f in BinaryFn::ALL {
        for &level in Level::available() {
            f.kernel::<f32>(level).apply(&x, &y, &mut out);
            let mut worst = (0.0, 0.0, 0.0, 0.0, 0.0);
            for ((&x, &y), &out) in x.iter().zip(&y).zip(&out) {
                let exact = exact_binary(f, f64::from(x), f64::from(y));
                let e = ulp_f32(out, exact);
                if e > worst.0 {
                    worst = (e, x, y, out, exact);
                }
            }
            println!("f32 {:10} {level:?}: {worst:?}", f.name());
            if worst.0 > binary_bound(f).0 {
                failures.push(format!("{} {level:?} {worst:?}", f.name()));
            }
        }
    }
    assert!(failures.is_empty(), "f32 beyond the bounds (ULP, arguments, result, exact):\n{}", failures.join("\n"));
}

/// |got - exact| in ULP, where `exact` is `rounded` plus `rest` of its ULP.
fn ulp_f64(got: f64, rounded: f64, rest: f64) -> f64 {
    if got.is_nan() || got.is_infinite() {
        return f64::INFINITY;
    }
    let exponent = (((rounded.to_bits() >> 52) & 0x7ff) as i32 - 1023).max(-1022);
    // 2^-1074 is representable, but the power function need not reach it: scale in two steps.
    let ulp = f64::from_bits(1) * 2f64.powi(exponent + 1022);
    ((got - rounded) / ulp - rest).abs()
}

struct Case {
    x: Vec<f64>,
    y: Vec<f64>,
    rounded: Vec<f64>,
    rest: Vec<f64>,
}

fn references() -> BTreeMap<String, Case> {
    let text = match std::env::var("GRADIX_VECMATH_REFERENCE") {
        Ok(path) => std::fs::read_to_string(path).expect("a readable file"),
        Err(_) => include_str!("reference.txt").to_owned(),
    };
    let mut cases = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let number = |i: usize| f64::from_bits(u64::from_str_radix(fields[i], 16).expect("hex digits"));
        let case = cases.entry(fields[0].to_owned()).or_insert_with(|| Case {
            x: Vec::new(),
            y: Vec::new(),
            rounded: Vec::new(),
            rest: Vec::new(),
        });
        case.x.push(number(1));
        if fields.len() == 5 {
            case.y.push(number(2));
        }
        case.rounded.push(number(fields.len() - 2));
        case.rest.push(fields[fields.len() - 1].parse().expect("a number"));
    }
    cases
}

#[test]
fn f64_within_bounds() {
    let mut failures = Vec::new();
    let mut seen = 0;
    for (name, case) in references() {
        for &level in Level::available() {
            let mut out = vec![0.0; case.x.len()];
            let bound = if let Some(f) = UnaryFn::ALL.iter().find(|f| f.name() == name) {
                f.kernel::<f64>(level).apply(&case.x, &mut out);
                unary_bound(*f).1
            } else {
                let f = BinaryFn::ALL.iter().find(|f| f.name() == name).expect("a function's name");
                f.kernel::<f64>(level).apply(&case.x, &case.y, &mut out);
                binary_bound(*f).1
            };
            let error = |i: usize| ulp_f64(out[i], case.rounded[i], case.rest[i]);
            let worst = (0..out.len()).max_by(|&a, &b| error(a).total_cmp(&error(b))).expect("cases");
            let y = case.y.get(worst);
            let what =
                format!("{name:10} {level:?}: {:.3} ULP at {:e} {y:?}: {:e}", error(worst), case.x[worst], out[worst]);
            println!("f64 {what}");
            if error(worst) > bound {
                failures.push(what);
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 33, "functions in the reference file");
    assert!(failures.is_empty(), "f64 beyond the bounds:\n{}", failures.join("\n"));
}
