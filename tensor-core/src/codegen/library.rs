//! Functions that neither dialect has, or has with other results.

use super::Target;

/// Text that stands before everything else of the library. `LIT_f32(0.1)` is a literal of the type without a conversion.
const CONSTANTS: &str = "#define LIT_f32(x) x##f
#define LIT_f64(x) x
#define TINY_f32 5.9604645e-8f
#define TINY_f64 1.1102230246251565e-16
#define SQRT_HALF_f32 0.70710677f
#define SQRT_HALF_REST_f32 1.21016175e-8f
#define SQRT_HALF_f64 0.7071067811865476
#define SQRT_HALF_REST_f64 -4.833646656726457e-17
#define LINEAR_f32 1.5957692f
#define LINEAR_REST_f32 -4.534068e-8f
#define LINEAR_f64 1.5957691216057308
#define LINEAR_REST_f64 -9.96930880911092e-17
#define CUBIC_f32 0.071354814f
#define CUBIC_REST_f32 2.3988325e-9f
#define CUBIC_f64 0.07135481627260025
#define CUBIC_REST_f64 -6.175149918155315e-19
#define UNDERFLOWS_f32 -80.0f
#define UNDERFLOWS_f64 -700.0
";

/// A function and its name, in order: one may use those before it.
type Function = (&'static str, &'static str);

const PLAIN: &[Function] = &[
    (
        "odd_i64",
        // The integer as an f32 that rounds to f16 and bf16 as the integer itself does: what does not fit is cut off and the
        // last bit set.
        "DEVICE f32 odd_i64(i64 x) {
    const u64 size = x < 0 ? (u64)0 - (u64)x : (u64)x;
    u64 kept = size;
    u32 shift = 0;
    while (kept >> 24) {
        kept >>= 1;
        shift += 1;
    }
    u64 rest = size - (kept << shift);
    const f32 value = (f32)(u32)(rest ? kept | 1 : kept) * FROM_BITS_F32((127 + shift) << 23);
    return x < 0 ? -value : value;
}
",
    ),
    (
        "to_bf16",
        "DEVICE u16 to_bf16(f32 x) {
    const u32 bits = BITS_F32(x);
    return (u16)(x != x ? (bits >> 16) | 0x40 : (bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
",
    ),
    ("from_bf16", "DEVICE f32 from_bf16(u16 h) { return FROM_BITS_F32((u32)h << 16); }\n"),
    ("round_bf16", "DEVICE f32 round_bf16(f32 x) { return from_bf16(to_bf16(x)); }\n"),
    (
        "philox",
        // Philox4x32-10 (Salmon et al., 2011).
        "DEVICE void philox(u64 element, u64 stream, u64 seed, u32 *block) {
    u32 c0 = (u32)element, c1 = (u32)(element >> 32), c2 = (u32)stream, c3 = (u32)(stream >> 32);
    u32 k0 = (u32)seed, k1 = (u32)(seed >> 32);
    for (i32 round = 0; round < 10; round++) {
        const u32 high0 = MUL_HI_U32(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        const u32 high1 = MUL_HI_U32(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    block[0] = c0;
    block[1] = c1;
    block[2] = c2;
    block[3] = c3;
}
",
    ),
];

/// For `i32` and `i64`; `INT` is the type and `UINT` its unsigned twin, in which arithmetic wraps. Narrower integers use
/// `i32`'s.
const INTEGERS: &[Function] = &[
    (
        "pow_INT",
        "DEVICE INT pow_INT(INT a, INT b) {
    if (b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 == 0 ? 1 : -1) : 0;
    UINT base = (UINT)a, product = 1, exponent = (UINT)b;
    while (exponent) {
        if (exponent & 1) product *= base;
        base *= base;
        exponent >>= 1;
    }
    return (INT)product;
}
",
    ),
    (
        "trunc_divide_INT",
        // The quotients that C leaves undefined: by zero, and of the smallest integer by −1.
        "DEVICE INT trunc_divide_INT(INT a, INT b) {
    return b == 0 ? 0 : b == -1 ? (INT)((UINT)0 - (UINT)a) : a / b;
}
",
    ),
    ("fmod_INT", "DEVICE INT fmod_INT(INT a, INT b) { return b == 0 || b == -1 ? 0 : a % b; }\n"),
    (
        "floor_divide_INT",
        "DEVICE INT floor_divide_INT(INT a, INT b) {
    const INT quotient = trunc_divide_INT(a, b);
    return fmod_INT(a, b) != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}
",
    ),
    (
        "remainder_INT",
        "DEVICE INT remainder_INT(INT a, INT b) {
    const INT rest = fmod_INT(a, b);
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
",
    ),
];

/// For `f32` and `f64`; `REAL` is the type, `WIDE` a type that holds a product of two where the device has one.
const REALS: &[Function] = &[
    (
        "expm1_REAL",
        // Some libraries lose denormals.
        "DEVICE REAL expm1_REAL(REAL x) { return fabs(x) < TINY_REAL ? x : expm1(x); }\n",
    ),
    ("log1p_REAL", "DEVICE REAL log1p_REAL(REAL x) { return fabs(x) < TINY_REAL ? x : log1p(x); }\n"),
    (
        "sigmoid_REAL",
        "DEVICE REAL sigmoid_REAL(REAL x) {
    const REAL e = exp(-fabs(x));
    return div_REAL(x >= 0 ? (REAL)1 : e, 1 + e);
}
",
    ),
    (
        "gelu_REAL",
        // What rounding took from erfc's argument is made up for by the derivative, as in the reference.
        "DEVICE REAL gelu_REAL(REAL x) {
    if (x == -INFINITY) return -(REAL)0;
    const REAL z = -x * SQRT_HALF_REAL;
    const REAL rest = fma(-x, SQRT_HALF_REAL, -z) - x * SQRT_HALF_REST_REAL;
    const REAL slope = LIT_REAL(-1.1283791670955126) * exp(-z * z);
    return LIT_REAL(0.5) * x * (erfc(z) + slope * (fabs(rest) < INFINITY ? rest : (REAL)0));
}
",
    ),
    (
        "gelu_tanh_REAL",
        "DEVICE REAL gelu_tanh_REAL(REAL x) {
    if (x == -INFINITY) return -(REAL)0;
    const REAL square = x * x;
    const REAL square_rest = fma(x, x, -square);
    const REAL cubic = CUBIC_REAL * square;
    const REAL cubic_rest = fma(CUBIC_REAL, square, -cubic) + CUBIC_REAL * square_rest + CUBIC_REST_REAL * square;
    const REAL factor = LINEAR_REAL + cubic;
    const REAL kept = factor - LINEAR_REAL;
    const REAL factor_rest = (LINEAR_REAL - (factor - kept)) + (cubic - kept) + cubic_rest + LINEAR_REST_REAL;
    const REAL w = x * factor;
    const REAL rest = fma(x, factor, -w) + x * factor_rest;
    const REAL value = sigmoid_REAL(w);
    return x * (value + value * (1 - value) * (fabs(rest) < INFINITY ? rest : (REAL)0));
}
",
    ),
    (
        "silu_REAL",
        // Where eˣ is denormal, x·eˣ may not be: the exponent is shifted for a while.
        "DEVICE REAL silu_REAL(REAL x) {
    if (x == -INFINITY) return -(REAL)0;
    return x < UNDERFLOWS_REAL ? x * exp(x + 20) * LIT_REAL(2.061153622438558e-9) : x * sigmoid_REAL(x);
}
",
    ),
    ("softplus_REAL", "DEVICE REAL softplus_REAL(REAL x) { return x > 20 ? x : log1p_REAL(exp(x)); }\n"),
    (
        "remainder_REAL",
        "DEVICE REAL remainder_REAL(REAL a, REAL b) {
    const REAL rest = fmod(a, b);
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
",
    ),
    (
        "floor_divide_REAL",
        "DEVICE REAL floor_divide_REAL(REAL a, REAL b) {
    if (b == 0) return a / b;
    const WIDE rest = fmod(a, b);
    WIDE quotient = ((WIDE)a - rest) / (WIDE)b;
    if (rest != 0 && (b < 0) != (rest < 0)) quotient -= 1;
    if (quotient == 0) return (REAL)copysign((WIDE)0, (WIDE)a / (WIDE)b);
    const WIDE below = floor(quotient);
    return (REAL)(quotient - below > LIT_WIDE(0.5) ? below + 1 : below);
}
",
    ),
    ("trunc_divide_REAL", "DEVICE REAL trunc_divide_REAL(REAL a, REAL b) { return (REAL)trunc((WIDE)a / (WIDE)b); }\n"),
    (
        "lerp_REAL",
        "DEVICE REAL lerp_REAL(REAL from, REAL to, REAL weight) {
    const WIDE a = from, b = to, w = weight;
    return (REAL)(fabs(w) < LIT_WIDE(0.5) ? a + w * (b - a) : b - (b - a) * (1 - w));
}
",
    ),
];

/// For f64 alone.
const DOUBLES: &[Function] = &[(
    "odd_f64",
    // See `odd_i64`.
    "DEVICE f32 odd_f64(f64 x) {
    const f32 near = (f32)x;
    const f64 back = (f64)near;
    if (back == x || x != x) return near;
    const u32 bits = BITS_F32(near);
    return FROM_BITS_F32((fabs(back) > fabs(x) ? bits - 1 : bits) | 1);
}
",
)];

fn division(target: &Target) -> &'static str {
    match (target.divides_correctly, target.has_f64) {
        (true, _) => "#define div_f32(a, b) ((f32)(a) / (f32)(b))\n#define sqrt_f32(x) sqrt((f32)(x))\n",
        // A quotient or root of two f32s rounded to f64 first rounds to the same f32.
        (false, true) => {
            "#define div_f32(a, b) ((f32)((f64)(a) / (f64)(b)))\n#define sqrt_f32(x) ((f32)sqrt((f64)(x)))\n"
        }
        (false, false) => "#define div_f32(a, b) ((f32)(a) / (f32)(b))\n#define sqrt_f32(x) sqrt((f32)(x))\n",
    }
}

/// The functions that a body uses, and those that they use.
pub(super) fn needed(target: &Target, body: &str) -> String {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut add = |functions: &[Function], replacements: &[(&str, &str)]| {
        for (name, text) in functions {
            let replace =
                |text: &str| replacements.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
            all.push((replace(name), replace(text)));
        }
    };
    add(PLAIN, &[]);
    add(INTEGERS, &[("UINT", "u32"), ("INT", "i32")]);
    add(INTEGERS, &[("UINT", "u64"), ("INT", "i64")]);
    add(REALS, &[("REAL", "f32"), ("WIDE", if target.has_f64 { "f64" } else { "f32" })]);
    if target.has_f64 {
        add(REALS, &[("REAL", "f64"), ("WIDE", "f64")]);
        add(DOUBLES, &[]);
    }
    let mut used: Vec<&str> = Vec::new();
    for (name, text) in all.iter().rev() {
        if names(body, name) || used.iter().any(|user| names(user, name)) {
            used.push(text);
        }
    }
    let mut text = CONSTANTS.to_owned() + division(target);
    text += "#define div_f64(a, b) ((f64)(a) / (f64)(b))\n#define sqrt_f64(x) sqrt((f64)(x))\n";
    text.extend(used.into_iter().rev());
    text
}

/// Whether a text names an identifier.
fn names(text: &str, name: &str) -> bool {
    let part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.match_indices(name).any(|(at, _)| {
        let bytes = text.as_bytes();
        let end = at + name.len();
        (at == 0 || !part(bytes[at - 1])) && bytes.get(end).is_none_or(|&byte| !part(byte))
    })
}
