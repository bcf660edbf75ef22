//! The table of functions: one row a function, from which come the enums, their names, and their kernels.

use super::kernel::{BinaryFormula, BinaryKernel, UnaryFormula, UnaryKernel};
use super::{Isa, Level, Real, arith, by_width, erf, exp, log, trig};

/// Stamps an enum of functions from rows `doc Variant "name" => formula, optional (is_hard => hard)`. Every name in a
/// row stands in full: searching for a function finds its row.
macro_rules! function_table {
    (
        $(#[$enum_doc:meta])* $enum:ident, $kernel:ident, $implement:ident;
        $(
            $(#[$doc:meta])*
            $variant:ident $name:literal => $module:ident::$eval:ident $(, $is_hard:path => $hard:path)?;
        )+
    ) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $enum {
            $($(#[$doc])* $variant,)+
        }

        impl $enum {
            /// All of them, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The function's name, as PyTorch spells it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The function compiled for `level`, for slices of `f32` or `f64`.
            pub fn kernel<T: Hard>(self, level: Level) -> $kernel<T> {
                match self {
                    $(Self::$variant => {
                        struct Formula;
                        $implement!(Formula, $module::$eval $(, $is_hard => $hard)?);
                        $kernel::new::<Formula>(level)
                    })+
                }
            }
        }
    };
}

macro_rules! implement_unary {
    ($formula:ident, $module:ident::$eval:ident $(, $is_hard:path => $hard:path)?) => {
        impl<T: Hard> UnaryFormula<T> for $formula {
            #[inline(always)]
            fn eval<I: Isa>(x: T) -> T {
                $module::$eval::<I, T>(x)
            }
            $(
                const HAS_HARD: bool = true;
                #[inline(always)]
                fn is_hard(x: T) -> bool {
                    $is_hard(x)
                }
                fn hard(x: T) -> T {
                    $hard(x)
                }
            )?
        }
    };
}

macro_rules! implement_binary {
    ($formula:ident, $module:ident::$eval:ident $(, $is_hard:path => $hard:path)?) => {
        impl<T: Hard> BinaryFormula<T> for $formula {
            #[inline(always)]
            fn eval<I: Isa>(x: T, y: T) -> T {
                $module::$eval::<I, T>(x, y)
            }
            $(
                const HAS_HARD: bool = true;
                #[inline(always)]
                fn is_hard(x: T, y: T) -> bool {
                    $is_hard(x, y)
                }
                fn hard(x: T, y: T) -> T {
                    $hard(x, y)
                }
            )?
        }
    };
}

/// What is left to scalar code: arguments that the branch-free formulas do not cover, and the special functions.
///
/// Implemented for `f32` and `f64`; for use as a bound.
pub trait Hard: Real {
    /// sin of an argument beyond [`Real::TRIG_LIMIT`].
    fn sin_huge(x: Self) -> Self;
    /// cos of an argument beyond [`Real::TRIG_LIMIT`].
    fn cos_huge(x: Self) -> Self;
    /// tan of an argument beyond [`Real::TRIG_LIMIT`].
    fn tan_huge(x: Self) -> Self;
    /// C's fmod for any operands.
    fn fmod_any(a: Self, b: Self) -> Self;
}

impl Hard for f32 {
    fn sin_huge(x: Self) -> Self {
        libm::sinf(x)
    }
    fn cos_huge(x: Self) -> Self {
        libm::cosf(x)
    }
    fn tan_huge(x: Self) -> Self {
        libm::tanf(x)
    }
    fn fmod_any(a: Self, b: Self) -> Self {
        libm::fmodf(a, b)
    }
}

impl Hard for f64 {
    fn sin_huge(x: Self) -> Self {
        libm::sin(x)
    }
    fn cos_huge(x: Self) -> Self {
        libm::cos(x)
    }
    fn tan_huge(x: Self) -> Self {
        libm::tan(x)
    }
    fn fmod_any(a: Self, b: Self) -> Self {
        libm::fmod(a, b)
    }
}

function_table! {
    /// The functions of one argument. Their accuracy and special values stand at the scalar functions of
    /// [`vecmath`](super).
    ///
    /// ```
    /// use backend_cpu::vecmath::{Level, UnaryFn};
    /// let mut y = [0.0_f32; 3];
    /// UnaryFn::Exp.kernel(Level::best()).apply(&[0.0, 1.0, -200.0], &mut y);
    /// assert_eq!(y, [1.0, std::f32::consts::E, 0.0]);
    /// ```
    UnaryFn, UnaryKernel, implement_unary;
    /// e^x
    Exp "exp" => exp::exp;
    /// 2^x
    Exp2 "exp2" => exp::exp2;
    /// e^x - 1
    Expm1 "expm1" => exp::expm1;
    /// Natural logarithm
    Ln "log" => log::ln;
    /// Logarithm to base 2
    Log2 "log2" => log::log2;
    /// Logarithm to base 10
    Log10 "log10" => log::log10;
    /// ln(1 + x)
    Log1p "log1p" => log::log1p;
    /// Sine, right for any argument
    Sin "sin" => trig::sin, trig::needs_huge => Hard::sin_huge;
    /// Cosine, right for any argument
    Cos "cos" => trig::cos, trig::needs_huge => Hard::cos_huge;
    /// Tangent, right for any argument
    Tan "tan" => trig::tan, trig::needs_huge => Hard::tan_huge;
    /// Inverse sine
    Asin "asin" => trig::asin;
    /// Inverse cosine
    Acos "acos" => trig::acos;
    /// Inverse tangent
    Atan "atan" => trig::atan;
    /// Hyperbolic sine
    Sinh "sinh" => exp::sinh;
    /// Hyperbolic cosine
    Cosh "cosh" => exp::cosh;
    /// Hyperbolic tangent
    Tanh "tanh" => exp::tanh;
    /// Inverse hyperbolic sine
    Asinh "asinh" => by_width::asinh;
    /// Inverse hyperbolic cosine
    Acosh "acosh" => by_width::acosh;
    /// Inverse hyperbolic tangent
    Atanh "atanh" => by_width::atanh;
    /// Error function
    Erf "erf" => erf::erf;
    /// Complementary error function
    Erfc "erfc" => erf::erfc;
    /// 1 / (1 + e^-x)
    Sigmoid "sigmoid" => exp::sigmoid;
    /// gelu by the error function
    Gelu "gelu" => by_width::gelu;
    /// gelu by tanh
    GeluTanh "gelu_tanh" => exp::gelu_tanh;
    /// x / (1 + e^-x)
    Silu "silu" => exp::silu;
    /// ln(1 + e^x)
    Softplus "softplus" => exp::softplus;
    /// 1 / x
    Reciprocal "reciprocal" => arith::reciprocal;
    /// Square root
    Sqrt "sqrt" => arith::sqrt;
    /// 1 / sqrt(x)
    Rsqrt "rsqrt" => arith::rsqrt;
    /// Largest integer not above x
    Floor "floor" => arith::floor;
    /// Smallest integer not below x
    Ceil "ceil" => arith::ceil;
    /// Integer part
    Trunc "trunc" => arith::trunc;
    /// Nearest integer, ties to even
    Round "round" => arith::round;
    /// x - trunc(x)
    Frac "frac" => arith::frac;
    /// -1, 0 or 1
    Sign "sign" => arith::sign;
    /// ln |gamma(x)|, scalar
    Lgamma "lgamma" => scalar::lgamma;
    /// Logarithmic derivative of gamma, scalar
    Digamma "digamma" => scalar::digamma;
    /// Inverse of erf, scalar
    Erfinv "erfinv" => scalar::erfinv;
}

function_table! {
    /// The functions of two arguments. Their accuracy and special values stand at the scalar functions of
    /// [`vecmath`](super).
    ///
    /// ```
    /// use backend_cpu::vecmath::{BinaryFn, Level};
    /// let mut y = [0.0_f64; 2];
    /// BinaryFn::Pow.kernel(Level::best()).apply_scalar_right(&[3.0, -2.0], 3.0, &mut y);
    /// assert_eq!(y, [27.0, -8.0]);
    /// ```
    BinaryFn, BinaryKernel, implement_binary;
    /// x^y
    Pow "pow" => by_width::pow;
    /// Angle of the point (y, x): the first argument is the ordinate
    Atan2 "atan2" => trig::atan2;
    /// sqrt(x^2 + y^2)
    Hypot "hypot" => arith::hypot;
    /// Remainder with the sign of x
    Fmod "fmod" => arith::fmod, fmod_is_hard => Hard::fmod_any;
    /// Remainder with the sign of y
    Remainder "remainder" => arith::remainder, fmod_is_hard => remainder_any;
}

/// The special functions in the form of a row: f32 rounds the result of f64.
#[allow(clippy::extra_unused_type_parameters, reason = "scalar code is the same for every instruction set")]
mod scalar {
    use super::super::{Isa, special};
    use super::Hard;

    pub(super) fn lgamma<I: Isa, T: Hard>(x: T) -> T {
        T::lit(special::lgamma(x.to_f64()))
    }

    pub(super) fn digamma<I: Isa, T: Hard>(x: T) -> T {
        T::lit(special::digamma(x.to_f64()))
    }

    pub(super) fn erfinv<I: Isa, T: Hard>(x: T) -> T {
        T::lit(special::erfinv(x.to_f64()))
    }
}

#[inline(always)]
fn fmod_is_hard<T: Real>(a: T, b: T) -> bool {
    !arith::fmod_is_easy(a, b)
}

fn remainder_any<T: Hard>(a: T, b: T) -> T {
    arith::to_sign_of_divisor(T::fmod_any(a, b), b)
}
