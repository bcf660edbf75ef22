//! Elementary functions on slices, vectorised by the compiler.
//!
//! Each function is written once, as branch-free scalar code that is generic over the type ([`Real`]: `f32`, `f64`)
//! and the instruction set ([`Isa`]): [`exp`], [`tanh`], [`erf`] and so on. Inlined into a loop whose enclosing
//! function has the instruction set enabled, LLVM turns it into vector code. [`UnaryFn`] and [`BinaryFn`] list them with such
//! loops ready-made; [`Level::run`] compiles loops of one's own (softmax, a fused chain) per instruction set, decided
//! once at run time.
//!
//! Rules for the scalar functions, on which vectorisation depends: no table look-ups (gathers are slow), no
//! conversions between 64-bit integers and floats, no shifts of signed 64-bit integers (AVX2 has neither), and no
//! calls; conditions choose between two values that are both computed.
//!
//! Errors are in ULP of the exact result in its type, the largest found by this module's tests over every exponent on
//! the instruction sets with fused multiply-add; without it they are up to 0.6 ULP larger (1.2 for erfc in f64). NaN,
//! infinities, signed zeros and denormals are kept; nothing is flushed to zero. f16 and bf16 are computed in f32;
//! [`convert`] widens and narrows them.

mod arith;
mod by_width;
pub mod convert;
mod erf;
mod exp;
mod functions;
mod isa;
mod kernel;
mod log;
mod real;
mod special;
#[cfg(test)]
mod tests;
mod trig;

pub use arith::{ceil, floor, fmod, frac, hypot, reciprocal, remainder, round, rsqrt, sign, sqrt, trunc};
pub use by_width::{ByWidth, acosh, asinh, atanh, gelu, pow};
pub use erf::{erf, erfc};
pub(crate) use exp::{TOGETHER, exp_if_moderate, exp_of_differences, is_moderate, takes_longer_than_memory};
pub use exp::{cosh, exp, exp2, expm1, gelu_tanh, sigmoid, silu, sinh, softplus, tanh};
pub use functions::{BinaryFn, Hard, UnaryFn};
pub use isa::{Avx2, Avx512, Baseline, Isa, Level, Neon, Task};
pub use kernel::{BinaryKernel, UnaryKernel};
pub use log::{ln, log1p, log2, log10};
pub use real::Real;
pub use special::{digamma, erfinv, lgamma};
pub use trig::{acos, asin, atan, atan2, cos, sin, tan};
