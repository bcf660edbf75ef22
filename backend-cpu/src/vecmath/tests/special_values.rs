//! Infinities, NaN, signed zeros, denormals, exact results and hard cases, in both types on every level; and that a
//! result depends on nothing but its argument.

use super::super::{BinaryFn, Hard, Level, UnaryFn};

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

/// (function, argument, result): exact in both types.
#[rustfmt::skip]
const UNARY: &[(UnaryFn, f64, f64)] = &[
    (UnaryFn::Exp, 0.0, 1.0), (UnaryFn::Exp, -0.0, 1.0), (UnaryFn::Exp, INF, INF), (UnaryFn::Exp, -INF, 0.0),
    (UnaryFn::Exp, 1e4, INF), (UnaryFn::Exp, -1e4, 0.0),
    (UnaryFn::Exp2, 10.0, 1024.0), (UnaryFn::Exp2, -1.0, 0.5), (UnaryFn::Exp2, -140.0, 7.174648137343064e-43),
    (UnaryFn::Exp2, INF, INF), (UnaryFn::Exp2, -INF, 0.0), (UnaryFn::Exp2, 1e5, INF), (UnaryFn::Exp2, -1e5, 0.0),
    (UnaryFn::Expm1, 0.0, 0.0), (UnaryFn::Expm1, -0.0, -0.0), (UnaryFn::Expm1, INF, INF), (UnaryFn::Expm1, -INF, -1.0),
    (UnaryFn::Expm1, -1e3, -1.0), (UnaryFn::Expm1, 1e3, INF),
    (UnaryFn::Ln, 1.0, 0.0), (UnaryFn::Ln, 0.0, -INF), (UnaryFn::Ln, -0.0, -INF), (UnaryFn::Ln, INF, INF),
    (UnaryFn::Ln, -1.0, NAN), (UnaryFn::Ln, -INF, NAN),
    (UnaryFn::Log2, 8.0, 3.0), (UnaryFn::Log2, 0.0078125, -7.0), (UnaryFn::Log2, 0.0, -INF), (UnaryFn::Log2, INF, INF),
    (UnaryFn::Log2, 7.174648137343064e-43, -140.0), (UnaryFn::Log2, -2.0, NAN),
    (UnaryFn::Log10, 1000.0, 3.0), (UnaryFn::Log10, 1.0, 0.0), (UnaryFn::Log10, 0.0, -INF), (UnaryFn::Log10, INF, INF),
    (UnaryFn::Log1p, 0.0, 0.0), (UnaryFn::Log1p, -0.0, -0.0), (UnaryFn::Log1p, -1.0, -INF), (UnaryFn::Log1p, -1.5, NAN),
    (UnaryFn::Log1p, INF, INF), (UnaryFn::Log1p, -INF, NAN),
    (UnaryFn::Sin, 0.0, 0.0), (UnaryFn::Sin, -0.0, -0.0), (UnaryFn::Sin, INF, NAN), (UnaryFn::Sin, -INF, NAN),
    (UnaryFn::Cos, 0.0, 1.0), (UnaryFn::Cos, -0.0, 1.0), (UnaryFn::Cos, INF, NAN),
    (UnaryFn::Tan, 0.0, 0.0), (UnaryFn::Tan, -0.0, -0.0), (UnaryFn::Tan, -INF, NAN),
    (UnaryFn::Asin, 0.0, 0.0), (UnaryFn::Asin, -0.0, -0.0), (UnaryFn::Asin, 1.5, NAN), (UnaryFn::Asin, -INF, NAN),
    (UnaryFn::Acos, 1.0, 0.0), (UnaryFn::Acos, 1.5, NAN), (UnaryFn::Acos, -1.5, NAN), (UnaryFn::Acos, INF, NAN),
    (UnaryFn::Atan, 0.0, 0.0), (UnaryFn::Atan, -0.0, -0.0),
    (UnaryFn::Sinh, 0.0, 0.0), (UnaryFn::Sinh, -0.0, -0.0), (UnaryFn::Sinh, INF, INF), (UnaryFn::Sinh, -INF, -INF),
    (UnaryFn::Cosh, 0.0, 1.0), (UnaryFn::Cosh, INF, INF), (UnaryFn::Cosh, -INF, INF), (UnaryFn::Cosh, 1e4, INF),
    (UnaryFn::Tanh, 0.0, 0.0), (UnaryFn::Tanh, -0.0, -0.0), (UnaryFn::Tanh, INF, 1.0), (UnaryFn::Tanh, -INF, -1.0),
    (UnaryFn::Tanh, 50.0, 1.0),
    (UnaryFn::Asinh, 0.0, 0.0), (UnaryFn::Asinh, -0.0, -0.0), (UnaryFn::Asinh, INF, INF), (UnaryFn::Asinh, -INF, -INF),
    (UnaryFn::Acosh, 1.0, 0.0), (UnaryFn::Acosh, 0.5, NAN), (UnaryFn::Acosh, INF, INF), (UnaryFn::Acosh, -INF, NAN),
    (UnaryFn::Acosh, -2.0, NAN),
    (UnaryFn::Atanh, 0.0, 0.0), (UnaryFn::Atanh, -0.0, -0.0), (UnaryFn::Atanh, 1.0, INF), (UnaryFn::Atanh, -1.0, -INF),
    (UnaryFn::Atanh, 1.5, NAN), (UnaryFn::Atanh, -INF, NAN),
    (UnaryFn::Erf, 0.0, 0.0), (UnaryFn::Erf, -0.0, -0.0), (UnaryFn::Erf, INF, 1.0), (UnaryFn::Erf, -INF, -1.0),
    (UnaryFn::Erf, 30.0, 1.0),
    (UnaryFn::Erfc, 0.0, 1.0), (UnaryFn::Erfc, INF, 0.0), (UnaryFn::Erfc, -INF, 2.0), (UnaryFn::Erfc, 30.0, 0.0),
    (UnaryFn::Erfc, -30.0, 2.0),
    (UnaryFn::Sigmoid, 0.0, 0.5), (UnaryFn::Sigmoid, INF, 1.0), (UnaryFn::Sigmoid, -INF, 0.0), (UnaryFn::Sigmoid, 1e3, 1.0),
    (UnaryFn::Sigmoid, -1e3, 0.0),
    (UnaryFn::Gelu, 0.0, 0.0), (UnaryFn::Gelu, -0.0, -0.0), (UnaryFn::Gelu, INF, INF), (UnaryFn::Gelu, -INF, -0.0),
    (UnaryFn::Gelu, 100.0, 100.0), (UnaryFn::Gelu, -100.0, -0.0),
    (UnaryFn::GeluTanh, 0.0, 0.0), (UnaryFn::GeluTanh, -0.0, -0.0), (UnaryFn::GeluTanh, INF, INF),
    (UnaryFn::GeluTanh, -INF, NAN), (UnaryFn::GeluTanh, 1e4, 1e4), (UnaryFn::GeluTanh, -1e4, -0.0),
    (UnaryFn::Silu, 0.0, 0.0), (UnaryFn::Silu, -0.0, -0.0), (UnaryFn::Silu, INF, INF), (UnaryFn::Silu, -INF, NAN),
    (UnaryFn::Silu, 1e4, 1e4), (UnaryFn::Silu, -1e4, -0.0),
    (UnaryFn::Softplus, INF, INF), (UnaryFn::Softplus, -INF, 0.0), (UnaryFn::Softplus, 21.0, 21.0),
    (UnaryFn::Softplus, -1e4, 0.0),
    (UnaryFn::Reciprocal, 0.0, INF), (UnaryFn::Reciprocal, -0.0, -INF), (UnaryFn::Reciprocal, -INF, -0.0),
    (UnaryFn::Sqrt, 9.0, 3.0), (UnaryFn::Sqrt, -0.0, -0.0), (UnaryFn::Sqrt, -1.0, NAN), (UnaryFn::Sqrt, INF, INF),
    (UnaryFn::Rsqrt, 4.0, 0.5), (UnaryFn::Rsqrt, 0.0, INF), (UnaryFn::Rsqrt, -0.0, -INF), (UnaryFn::Rsqrt, INF, 0.0),
    (UnaryFn::Rsqrt, -1.0, NAN),
    (UnaryFn::Floor, -0.5, -1.0), (UnaryFn::Floor, 0.75, 0.0), (UnaryFn::Floor, -0.0, -0.0), (UnaryFn::Floor, INF, INF),
    (UnaryFn::Floor, 1e30f32 as f64, 1e30f32 as f64),
    (UnaryFn::Ceil, -0.5, -0.0), (UnaryFn::Ceil, 0.25, 1.0), (UnaryFn::Ceil, 8388607.5, 8388608.0), (UnaryFn::Ceil, -INF, -INF),
    (UnaryFn::Trunc, -0.5, -0.0), (UnaryFn::Trunc, -1.75, -1.0), (UnaryFn::Trunc, 2.5, 2.0), (UnaryFn::Trunc, INF, INF),
    (UnaryFn::Round, 0.5, 0.0), (UnaryFn::Round, 1.5, 2.0), (UnaryFn::Round, 2.5, 2.0), (UnaryFn::Round, -0.5, -0.0),
    (UnaryFn::Round, -1.5, -2.0), (UnaryFn::Round, 8388609.0, 8388609.0), (UnaryFn::Round, -INF, -INF),
    (UnaryFn::Frac, -1.25, -0.25), (UnaryFn::Frac, 2.0, 0.0), (UnaryFn::Frac, INF, NAN),
    (UnaryFn::Sign, -3.0, -1.0), (UnaryFn::Sign, 0.0, 0.0), (UnaryFn::Sign, -0.0, 0.0), (UnaryFn::Sign, INF, 1.0),
    (UnaryFn::Lgamma, 1.0, 0.0), (UnaryFn::Lgamma, 2.0, 0.0), (UnaryFn::Lgamma, 0.0, INF), (UnaryFn::Lgamma, -3.0, INF),
    (UnaryFn::Lgamma, INF, INF), (UnaryFn::Lgamma, -INF, INF),
    (UnaryFn::Digamma, 0.0, -INF), (UnaryFn::Digamma, -0.0, INF), (UnaryFn::Digamma, -2.0, NAN), (UnaryFn::Digamma, INF, INF),
    (UnaryFn::Erfinv, 0.0, 0.0), (UnaryFn::Erfinv, -0.0, -0.0), (UnaryFn::Erfinv, 1.0, INF), (UnaryFn::Erfinv, -1.0, -INF),
    (UnaryFn::Erfinv, 1.5, NAN),
];

#[rustfmt::skip]
const BINARY: &[(BinaryFn, f64, f64, f64)] = &[
    (BinaryFn::Pow, 2.0, 10.0, 1024.0), (BinaryFn::Pow, -2.0, 3.0, -8.0), (BinaryFn::Pow, -2.0, 2.0, 4.0),
    (BinaryFn::Pow, -2.0, 0.5, NAN), (BinaryFn::Pow, -0.0, 0.5, 0.0), (BinaryFn::Pow, 9.0, 0.5, 3.0),
    (BinaryFn::Pow, 0.0, 0.0, 1.0), (BinaryFn::Pow, NAN, 0.0, 1.0), (BinaryFn::Pow, 1.0, NAN, 1.0),
    (BinaryFn::Pow, NAN, 1.0, NAN), (BinaryFn::Pow, 2.0, NAN, NAN), (BinaryFn::Pow, -1.0, NAN, NAN),
    (BinaryFn::Pow, 0.0, 3.0, 0.0), (BinaryFn::Pow, -0.0, 3.0, -0.0), (BinaryFn::Pow, -0.0, 2.0, 0.0),
    (BinaryFn::Pow, 0.0, -3.0, INF), (BinaryFn::Pow, -0.0, -3.0, -INF), (BinaryFn::Pow, -0.0, -2.0, INF),
    (BinaryFn::Pow, -0.0, -0.5, INF), (BinaryFn::Pow, 0.0, INF, 0.0), (BinaryFn::Pow, 0.0, -INF, INF),
    (BinaryFn::Pow, 1.0, INF, 1.0), (BinaryFn::Pow, -1.0, INF, 1.0), (BinaryFn::Pow, -1.0, -INF, 1.0),
    (BinaryFn::Pow, 0.5, INF, 0.0), (BinaryFn::Pow, 0.5, -INF, INF), (BinaryFn::Pow, -0.5, INF, 0.0),
    (BinaryFn::Pow, 2.0, INF, INF), (BinaryFn::Pow, 2.0, -INF, 0.0), (BinaryFn::Pow, -2.0, INF, INF),
    (BinaryFn::Pow, INF, 2.0, INF), (BinaryFn::Pow, INF, -2.0, 0.0), (BinaryFn::Pow, INF, INF, INF),
    (BinaryFn::Pow, INF, -INF, 0.0), (BinaryFn::Pow, -INF, 3.0, -INF), (BinaryFn::Pow, -INF, 2.0, INF),
    (BinaryFn::Pow, -INF, 2.5, INF), (BinaryFn::Pow, -INF, -3.0, -0.0), (BinaryFn::Pow, -INF, -2.0, 0.0),
    (BinaryFn::Pow, -INF, INF, INF), (BinaryFn::Pow, 10.0, 1e4, INF), (BinaryFn::Pow, 10.0, -1e4, 0.0),
    (BinaryFn::Pow, -10.0, 10001.0, -INF), (BinaryFn::Pow, -10.0, -10001.0, -0.0), (BinaryFn::Pow, -1.0, 8388607.0, -1.0),
    (BinaryFn::Pow, -1.0, 1e30, 1.0), (BinaryFn::Pow, 2.0, -140.0, 7.174648137343064e-43),
    (BinaryFn::Atan2, 0.0, 1.0, 0.0), (BinaryFn::Atan2, -0.0, 1.0, -0.0), (BinaryFn::Atan2, 0.0, 0.0, 0.0),
    (BinaryFn::Atan2, -0.0, 0.0, -0.0), (BinaryFn::Atan2, 1.0, INF, 0.0), (BinaryFn::Atan2, -1.0, INF, -0.0),
    (BinaryFn::Atan2, NAN, 1.0, NAN), (BinaryFn::Atan2, 1.0, NAN, NAN),
    (BinaryFn::Hypot, 3.0, 4.0, 5.0), (BinaryFn::Hypot, 0.0, -0.0, 0.0), (BinaryFn::Hypot, INF, NAN, INF),
    (BinaryFn::Hypot, NAN, -INF, INF), (BinaryFn::Hypot, NAN, 1.0, NAN), (BinaryFn::Hypot, 1.0, NAN, NAN),
    (BinaryFn::Fmod, 7.0, 3.0, 1.0), (BinaryFn::Fmod, -7.0, 3.0, -1.0), (BinaryFn::Fmod, 7.0, -3.0, 1.0),
    (BinaryFn::Fmod, 5.5, 0.0, NAN), (BinaryFn::Fmod, INF, 2.0, NAN), (BinaryFn::Fmod, -5.0, INF, -5.0),
    (BinaryFn::Fmod, -6.0, 3.0, -0.0), (BinaryFn::Fmod, 0.0, 3.0, 0.0), (BinaryFn::Fmod, NAN, 3.0, NAN),
    (BinaryFn::Fmod, 1.0, NAN, NAN), (BinaryFn::Fmod, 1e38f32 as f64, 3.0, 2.0),
    (BinaryFn::Remainder, -7.0, 3.0, 2.0), (BinaryFn::Remainder, 7.0, -3.0, -2.0), (BinaryFn::Remainder, 7.0, 3.0, 1.0),
    (BinaryFn::Remainder, -5.0, INF, INF), (BinaryFn::Remainder, 5.0, INF, 5.0), (BinaryFn::Remainder, 5.0, 0.0, NAN),
    (BinaryFn::Remainder, -1e38f32 as f64, 3.0, 1.0),
];

/// Equal, zeros with their signs, NaN to NaN.
fn same(a: f64, b: f64) -> bool {
    (a.is_nan() && b.is_nan()) || (a == b && a.is_sign_negative() == b.is_sign_negative())
}

fn check<T: Hard>(failures: &mut Vec<String>) {
    for &level in Level::available() {
        for &(f, x, expected) in UNARY {
            let mut y = [T::lit(7.0)];
            f.kernel::<T>(level).apply(&[T::lit(x)], &mut y);
            if !same(y[0].to_f64(), T::lit(expected).to_f64()) {
                failures.push(format!("{level:?} {f:?}({x:?}) = {:?}, not {expected:?}", y[0]));
            }
        }
        for &f in UnaryFn::ALL {
            let mut y = [T::lit(7.0)];
            f.kernel::<T>(level).apply(&[T::NAN], &mut y);
            let expected = if f == UnaryFn::Sign { 0.0 } else { NAN };
            if !same(y[0].to_f64(), expected) {
                failures.push(format!("{level:?} {f:?}(NaN) = {:?}", y[0]));
            }
        }
        for &(f, a, b, expected) in BINARY {
            let mut y = [T::lit(7.0)];
            f.kernel::<T>(level).apply(&[T::lit(a)], &[T::lit(b)], &mut y);
            if !same(y[0].to_f64(), T::lit(expected).to_f64()) {
                failures.push(format!("{level:?} {f:?}({a:?}, {b:?}) = {:?}, not {expected:?}", y[0]));
            }
        }
    }
}

#[test]
fn special_values() {
    let mut failures = Vec::new();
    check::<f32>(&mut failures);
    check::<f64>(&mut failures);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn angles_of_the_axes_and_of_infinities() {
    use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, PI};
    let cases = [
        (0.0, -1.0, PI),
        (-0.0, -1.0, -PI),
        (0.0, -0.0, PI),
        (-0.0, -0.0, -PI),
        (1.0, 0.0, FRAC_PI_2),
        (-1.0, -0.0, -FRAC_PI_2),
        (INF, INF, FRAC_PI_4),
        (INF, -INF, 3.0 * FRAC_PI_4),
        (-INF, INF, -FRAC_PI_4),
        (-INF, -INF, -3.0 * FRAC_PI_4),
        (INF, 1.0, FRAC_PI_2),
        (1.0, -INF, PI),
        (f64::MAX, f64::MAX, FRAC_PI_4),
        (f64::MAX, -f64::MAX, 3.0 * FRAC_PI_4),
        (f64::from_bits(1), f64::from_bits(1), FRAC_PI_4),
        (f64::from_bits(1), f64::MAX, 0.0),
    ];
    for &level in Level::available() {
        for (y, x, expected) in cases {
            let mut out = [0.0];
            BinaryFn::Atan2.kernel::<f64>(level).apply(&[y], &[x], &mut out);
            assert!((out[0] - expected).abs() <= 4e-16 && same(out[0] * 0.0, expected * 0.0), "{y} {x}: {}", out[0]);
        }
        let mut out = [0.0; 2];
        UnaryFn::Atan.kernel::<f64>(level).apply(&[INF, -f64::MAX], &mut out);
        assert_eq!(out, [FRAC_PI_2, -FRAC_PI_2]);
    }
}

#[test]
fn huge_angles() {
    for &level in Level::available() {
        let x = [1e5_f64, 1e22, -1e22, f64::MAX, 0.5];
        let mut y = [0.0; 5];
        UnaryFn::Sin.kernel::<f64>(level).apply(&x, &mut y);
        let exact = [
            0.035_748_797_972_016_51,
            -0.852_200_849_767_188_8,
            0.852_200_849_767_188_8,
            0.004_961_954_789_184_062,
            0.479_425_538_604_203,
        ];
        for (y, exact) in y.iter().zip(exact) {
            assert!((y - exact).abs() <= 2e-16 * exact.abs(), "{y}, not {exact}");
        }
        // 1e22 is not a number of f32; the nearest one is 9999999778196308361216.
        let mut y = [0.0_f32; 2];
        UnaryFn::Sin.kernel::<f32>(level).apply(&[1e5, 1e22], &mut y);
        assert_eq!(y, [0.035_748_8, -0.734_081_535_296_f64 as f32]);
    }
}

/// The largest finite and the smallest denormal results come out where mathematics has them.
#[test]
fn edges_of_the_range() {
    for &level in Level::available() {
        let mut y = [0.0_f32; 4];
        UnaryFn::Exp.kernel::<f32>(level).apply(&[88.722_83, 88.722_84, -103.27, -103.98], &mut y);
        assert!(y[0] > 3.402e38 && y[0] < f32::INFINITY, "{y:?}");
        assert_eq!(y[1], f32::INFINITY);
        assert_eq!(y[2], f32::from_bits(1));
        assert_eq!(y[3], 0.0);
        let mut y = [0.0_f64; 4];
        UnaryFn::Exp
            .kernel::<f64>(level)
            .apply(&[709.782_712_893_383_9, 709.782_712_893_384_1, -744.5, -745.2], &mut y);
        assert!(y[0] > 1.797e308 && y[0] < f64::INFINITY, "{y:?}");
        assert_eq!(y[1], f64::INFINITY);
        assert_eq!(y[2], f64::from_bits(1));
        assert_eq!(y[3], 0.0);
        let mut y = [0.0_f32; 2];
        BinaryFn::Hypot.kernel::<f32>(level).apply(&[1e30, 3e-42], &[1e30, 4e-42], &mut y);
        assert_eq!(y, [std::f32::consts::SQRT_2 * 1e30, 5e-42]);
        let mut y = [0.0_f64; 2];
        BinaryFn::Hypot.kernel::<f64>(level).apply(&[3e307, 3e-320], &[4e307, 4e-320], &mut y);
        assert_eq!(y, [5e307, 5e-320]);
    }
}

/// Vector body, scalar rest and in-place tiles agree bit for bit.
#[test]
fn results_do_not_depend_on_position() {
    let x: Vec<f32> = (0..1500).map(|i| (i as f32 - 700.0) * 0.013 + if i % 97 == 0 { 1e6 } else { 0.0 }).collect();
    for &level in Level::available() {
        for &f in UnaryFn::ALL {
            let kernel = f.kernel::<f32>(level);
            let mut whole = vec![0.0; x.len()];
            kernel.apply(&x, &mut whole);
            let mut in_place = x.clone();
            kernel.apply_in_place(&mut in_place);
            for (i, &x) in x.iter().enumerate() {
                let mut one = [0.0];
                kernel.apply(&[x], &mut one);
                assert_eq!(one[0].to_bits(), whole[i].to_bits(), "{f:?} {level:?} at {x}");
                assert_eq!(in_place[i].to_bits(), whole[i].to_bits(), "{f:?} {level:?} in place at {x}");
            }
        }
    }
}

#[test]
fn scalars_and_in_place_of_two_arguments() {
    let x: Vec<f64> = (0..1300).map(|i| f64::from(i) * 0.37 - 200.0).collect();
    let y: Vec<f64> = (0..1300).map(|i| 3.0 - f64::from(i) * 0.011).collect();
    for &level in Level::available() {
        for &f in BinaryFn::ALL {
            let kernel = f.kernel::<f64>(level);
            let bits = |v: &[f64]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            let mut whole = vec![0.0; x.len()];
            kernel.apply(&x, &y, &mut whole);
            let mut left = x.clone();
            kernel.apply_in_place(&mut left, &y);
            assert_eq!(bits(&left), bits(&whole), "{f:?} {level:?}");
            let mut right = y.clone();
            kernel.apply_in_place_right(&x, &mut right);
            assert_eq!(bits(&right), bits(&whole), "{f:?} {level:?}");

            let mut scalar = vec![0.0; x.len()];
            kernel.apply(&x, &vec![1.5; x.len()], &mut whole);
            kernel.apply_scalar_right(&x, 1.5, &mut scalar);
            assert_eq!(bits(&scalar), bits(&whole), "{f:?} {level:?}");
            kernel.apply(&vec![1.5; x.len()], &y, &mut whole);
            kernel.apply_scalar_left(1.5, &y, &mut scalar);
            assert_eq!(bits(&scalar), bits(&whole), "{f:?} {level:?}");
        }
    }
}

#[test]
#[should_panic(expected = "differ in length")]
fn lengths_must_agree() {
    UnaryFn::Exp.kernel::<f32>(Level::BASELINE).apply(&[1.0], &mut [0.0, 0.0]);
}
