//! The instruction sets that vector code is compiled for, and how one is chosen at run time.
//!
//! All arithmetic in [`vecmath`](super) is portable Rust. What differs from one instruction set to the next is only
//! which compiler features the enclosing loop has, and which of two spellings of the same step is the fast one. The
//! second is what [`Isa`] carries, so calling a function with the "wrong" `Isa` is slow at worst, never unsound.

use std::fmt;
use std::sync::OnceLock;

/// Compile-time facts about an instruction set.
pub trait Isa: Copy + Send + Sync + 'static {
    /// Whether `mul_add` is one instruction. Where it is not, `f32::mul_add` would call the C library (about a
    /// hundred times slower), so code must multiply and add in two roundings.
    const FMA: bool;
    /// Whether rounding to an integer (`floor`, `trunc`, …) is one instruction.
    const ROUND: bool;
    /// The bytes of its widest vectors.
    const VECTOR_BYTES: usize;
}

/// What every target can do: no fused multiply-add, no rounding instruction.
#[derive(Clone, Copy, Debug)]
pub struct Baseline;
/// x86-64 with AVX2, FMA and F16C (Haswell, Zen and later).
#[derive(Clone, Copy, Debug)]
pub struct Avx2;
/// x86-64 with AVX-512 F, VL, DQ and BW (Skylake-X, Zen 4 and later).
#[derive(Clone, Copy, Debug)]
pub struct Avx512;
/// `AArch64`, where NEON is always there.
#[derive(Clone, Copy, Debug)]
pub struct Neon;

impl Isa for Baseline {
    const FMA: bool = false;
    const ROUND: bool = false;
    const VECTOR_BYTES: usize = 16;
}
impl Isa for Avx2 {
    const FMA: bool = true;
    const ROUND: bool = true;
    const VECTOR_BYTES: usize = 32;
}
impl Isa for Avx512 {
    const FMA: bool = true;
    const ROUND: bool = true;
    const VECTOR_BYTES: usize = 64;
}
impl Isa for Neon {
    const FMA: bool = true;
    const ROUND: bool = true;
    const VECTOR_BYTES: usize = 16;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

/// An instruction set that this machine is known to have.
///
/// Values come only from [`Level::BASELINE`], [`Level::best`], [`Level::available`] and [`Level::named`], so holding
/// one proves that its instructions may be executed.
///
/// ```
/// use backend_cpu::vecmath::Level;
/// assert!(Level::available().contains(&Level::best()));
/// assert_eq!(Level::named("baseline"), Some(Level::BASELINE));
/// assert_eq!(Level::named("abacus"), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(Kind);

impl Level {
    /// The instruction set that every machine of this architecture has.
    pub const BASELINE: Self = Self(Kind::Baseline);

    /// The level that kernels use by default: the most capable one of this machine, or the one that the environment
    /// variable `GRADIX_CPU_ISA` names (`baseline`, `avx2`, `avx512`, `neon`). Decided once.
    ///
    /// # Panics
    /// If `GRADIX_CPU_ISA` names an instruction set that this machine does not have, or none at all: a test that
    /// asked for a level must not silently run on another.
    pub fn best() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| match std::env::var("GRADIX_CPU_ISA") {
            Ok(name) if !name.is_empty() => Self::named(&name)
                .unwrap_or_else(|| panic!("GRADIX_CPU_ISA={name}: this machine can run {:?}", Self::available())),
            _ => *Self::available().last().expect("the baseline is always available"),
        })
    }

    /// All levels of this machine, the least capable first.
    pub fn available() -> &'static [Self] {
        static AVAILABLE: OnceLock<Vec<Level>> = OnceLock::new();
        AVAILABLE.get_or_init(|| {
            #[allow(unused_mut, reason = "architectures without further levels push nothing")]
            let mut levels = vec![Self(Kind::Baseline)];
            #[cfg(target_arch = "x86_64")]
            {
                let avx2 = is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c");
                let avx512 = avx2
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw");
                if avx2 {
                    levels.push(Self(Kind::Avx2));
                }
                if avx512 {
                    levels.push(Self(Kind::Avx512));
                }
            }
            #[cfg(target_arch = "aarch64")]
            if std::arch::is_aarch64_feature_detected!("neon") {
                levels.push(Self(Kind::Neon));
            }
            levels
        })
    }

    /// The level of that name (`baseline`, `avx2`, `avx512`, `neon`; any case) if this machine has it.
    pub fn named(name: &str) -> Option<Self> {
        Self::available().iter().copied().find(|level| level.name().eq_ignore_ascii_case(name))
    }

    /// The name that [`Level::named`] takes.
    pub const fn name(self) -> &'static str {
        match self.0 {
            Kind::Baseline => "baseline",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => "neon",
        }
    }

    /// Runs `task` compiled for this level.
    ///
    /// ```
    /// use backend_cpu::vecmath::{Isa, Level, Task, exp};
    /// struct SumOfExp<'a>(&'a [f32]);
    /// impl Task for SumOfExp<'_> {
    ///     type Output = f32;
    ///     #[inline(always)]
    ///     fn run<I: Isa>(self) -> f32 {
    ///         self.0.iter().map(|&x| exp::<I, _>(x)).sum()
    ///     }
    /// }
    /// assert_eq!(Level::best().run(SumOfExp(&[0.0, 0.0])), 2.0);
    /// ```
    #[inline]
    pub fn run<W: Task>(self, task: W) -> W::Output {
        match self.0 {
            Kind::Baseline => task.run::<Baseline>(),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a `Level` of this kind exists only if `available` detected all that `run_avx2` enables.
            Kind::Avx2 => unsafe { run_avx2(task) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a `Level` of this kind exists only if `available` detected all that `run_avx512` enables.
            Kind::Avx512 => unsafe { run_avx512(task) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: a `Level` of this kind exists only if `available` detected NEON.
            Kind::Neon => unsafe { run_neon(task) },
        }
    }
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A piece of work that [`Level::run`] compiles once per instruction set.
pub trait Task {
    /// What the work results in.
    type Output;

    /// Does the work. Mark the implementation, and all it calls in its loops, `#[inline(always)]`: only code that is
    /// inlined into the caller is compiled with the caller's instructions.
    fn run<I: Isa>(self) -> Self::Output;
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn run_avx2<W: Task>(task: W) -> W::Output {
    task.run::<Avx2>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vl,avx512dq,avx512bw")]
fn run_avx512<W: Task>(task: W) -> W::Output {
    task.run::<Avx512>()
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn run_neon<W: Task>(task: W) -> W::Output {
    task.run::<Neon>()
}
