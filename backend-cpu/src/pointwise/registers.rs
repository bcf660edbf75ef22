//! Runs of cheap instructions whose values stay in vector registers.
//!
//! Additions and the like take less time than their operands' way from the first-level cache and back. Here a few vectors of
//! each value, a *group*, are computed at a time, by functions that hand two groups on to each other in registers: one
//! function for each operation and place of its operands, found when a program is planned ([`line`](super::line)). So a whole
//! program goes over memory as one loop does, and what it costs to go from one function to the next is shared by a group.
//! That costs more than the few operations themselves, so there are also functions for two of the commonest in a row, to the
//! same group.
//!
//! Every operation rounds as it does on its own, so nothing about the results changes.

mod code;
#[cfg(target_arch = "x86_64")]
mod vectors;

use super::plan::Lane;
use crate::vecmath::{Isa, Level, Task};
pub(super) use code::{Code, Does, Half, Place};
use smallvec::SmallVec;
use tensor_core::program::MAX_INPUTS;
use tensor_core::{DType, Scalar};
#[cfg(target_arch = "x86_64")]
use vectors::Vector;

/// How many groups can be put aside.
pub(super) const SLOTS: usize = 8;

/// The most lanes that a line reads and writes.
pub(super) const MAX_LANES: usize = 16;

/// The functions of a line for which there is room without an allocation.
pub(super) const FEW: usize = 24;

/// The bytes of the largest group.
const GROUP_BYTES: usize = 256;

/// Memory for a group.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Group([u8; GROUP_BYTES]);

impl Group {
    pub(crate) const EMPTY: Self = Self([0; GROUP_BYTES]);

    /// Repeats an element that is `size` bytes long, 4 or 8.
    pub(crate) fn repeat(&mut self, element: &[u8; 8], size: usize) {
        if size == 8 {
            self.0.as_chunks_mut().0.fill(*element);
        } else {
            debug_assert_eq!(size, 4);
            let [a, b, c, d, ..] = *element;
            self.0.as_chunks_mut().0.fill([a, b, c, d]);
        }
    }

    /// Repeats a value as a float of this type, f32 or f64.
    pub(crate) fn repeat_value(&mut self, value: Scalar, wide: DType) {
        let mut element = [0; 8];
        value.write(wide, &mut element[..wide.size()]);
        self.repeat(&element, wide.size());
    }

    /// Repeats what a float in memory is computed in.
    ///
    /// # Safety
    /// There is an element of this dtype to be read.
    pub(crate) unsafe fn repeat_stored(&mut self, at: *const u8, dtype: DType) {
        let mut bytes = [0; 8];
        // SAFETY: the caller's promise; no dtype has more than eight bytes.
        unsafe { bytes.as_mut_ptr().copy_from_nonoverlapping(at, dtype.size()) };
        self.repeat_value(Scalar::read(dtype, &bytes), dtype.compute());
    }

    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }
}

/// What is the same for some elements, for each operand.
pub(crate) type Groups = SmallVec<[Group; MAX_INPUTS]>;

/// A lane's memory: where the tile's elements are, and whether there is one for each, or a few that repeat.
#[derive(Clone, Copy)]
pub(crate) struct At {
    pub(crate) at: *mut u8,
    pub(crate) moves: bool,
}

/// Whether this level has functions for lines.
pub(crate) fn are_for(level: Level) -> bool {
    struct Width;
    impl Task for Width {
        type Output = usize;
        #[inline(always)]
        fn run<I: Isa>(self) -> usize {
            I::VECTOR_BYTES
        }
    }
    cfg!(target_arch = "x86_64") && level.run(Width) >= 32
}

/// The functions of a line, found once for many runs.
pub(super) struct Found {
    /// Of the type that the level and the size of the elements say.
    functions: SmallVec<[fn(); FEW]>,
}

/// Finds a line's functions for elements of `size` bytes: f32 or f64. What is streamed must lie at a multiple of 64.
pub(super) fn find(level: Level, codes: &[Code], size: usize) -> Found {
    struct Find<'a>(&'a [Code], usize);
    impl Task for Find<'_> {
        type Output = Found;
        #[inline(always)]
        fn run<I: Isa>(self) -> Found {
            #[cfg(target_arch = "x86_64")]
            {
                use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};
                let Self(codes, size) = self;
                let functions = match (I::VECTOR_BYTES, size) {
                    (64, 4) => avx512::erased::<__m512>(codes),
                    (64, _) => avx512::erased::<__m512d>(codes),
                    (_, 4) => avx2::erased::<__m256>(codes),
                    _ => avx2::erased::<__m256d>(codes),
                };
                Found { functions }
            }
            #[cfg(not(target_arch = "x86_64"))]
            Found { functions: SmallVec::new() }
        }
    }
    level.run(Find(codes, size))
}

/// Runs a line on `count` elements of `size` bytes: f32 or f64.
///
/// # Safety
/// The level is one that [`are_for`] approves, and there are at most [`MAX_LANES`] lanes and [`SLOTS`]
/// slots in the line. What was found is for the same level, codes and size. `lane` gives memory for `count` elements, or if it does not move, for as many as
/// [`SPLAT`](super::kernel::SPLAT) allows. What is written overlaps nothing but what the line itself reads from there later.
pub(super) unsafe fn run(
    level: Level,
    codes: &[Code],
    found: Option<&Found>,
    size: usize,
    count: usize,
    lane: impl Fn(Lane) -> At,
) {
    #[cfg(target_arch = "x86_64")]
    {
        let nowhere = At { at: std::ptr::null_mut(), moves: false };
        let at = codes.iter().map(|code| if let Place::Lane(number) = code.with { lane(number) } else { nowhere });
        level.run(Line { codes, found, size, count, at: &at.collect::<SmallVec<[At; FEW]>>() });
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (level, codes, found, size, count, lane);
        unreachable!("no level of this architecture has functions for lines");
    }
}

#[cfg(target_arch = "x86_64")]
struct Line<'a> {
    codes: &'a [Code],
    found: Option<&'a Found>,
    size: usize,
    count: usize,
    /// The memory of each function that has some.
    at: &'a [At],
}

#[cfg(target_arch = "x86_64")]
impl Task for Line<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};
        // SAFETY: levels with such vectors have the instruction sets; the rest is what `run`'s caller promised.
        unsafe {
            match (I::VECTOR_BYTES, self.size) {
                (64, 4) => avx512::tile::<__m512>(&self),
                (64, _) => avx512::tile::<__m512d>(&self),
                (32, 4) => avx2::tile::<__m256>(&self),
                (32, _) => avx2::tile::<__m256d>(&self),
                _ => unreachable!("no level without such vectors has functions for lines"),
            }
        }
    }
}

/// A function as it is called: where the next one is told, how far into the tile the group is, and the two groups.
///
/// Named by its calling convention, which alone has vectors travel in registers; eight is all that it has room for.
#[cfg(target_arch = "x86_64")]
type Function<V> = unsafe extern "sysv64" fn(*const Ready<V>, usize, V, V, V, V, V, V, V, V);

/// A function of a line with its operand in memory.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
#[repr(C)]
struct Ready<V> {
    function: Function<V>,
    at: *mut u8,
    /// All bits if the operand moves with the elements, else none.
    moves: usize,
}

/// What the functions' operand is: the first group, the second, or memory.
#[cfg(target_arch = "x86_64")]
const FIRST: u8 = 0;
#[cfg(target_arch = "x86_64")]
const SECOND: u8 = 1;
#[cfg(target_arch = "x86_64")]
const MEMORY: u8 = 2;

/// Numbers for what functions do, as they are parameters of a function.
#[cfg(target_arch = "x86_64")]
mod number {
    pub(super) const LOAD: u8 = 0;
    pub(super) const STORE: u8 = 1;
    pub(super) const STREAM: u8 = 2;
    pub(super) const ADD: u8 = 3;
    pub(super) const SUB: u8 = 4;
    pub(super) const SUB_FROM: u8 = 5;
    pub(super) const MUL: u8 = 6;
    pub(super) const DIV: u8 = 7;
    pub(super) const DIV_INTO: u8 = 8;
    pub(super) const MAX: u8 = 9;
    pub(super) const MAX_OF: u8 = 10;
    pub(super) const MIN: u8 = 11;
    pub(super) const MIN_OF: u8 = 12;
    pub(super) const NEG: u8 = 13;
    pub(super) const ABS: u8 = 14;
    pub(super) const RELU: u8 = 15;
    pub(super) const SQRT: u8 = 16;
    pub(super) const RECIPROCAL: u8 = 17;
    pub(super) const RSQRT: u8 = 18;
    pub(super) const LOAD_F16: u8 = 19;
    pub(super) const LOAD_BF16: u8 = 20;
    pub(super) const STORE_F16: u8 = 21;
    pub(super) const STORE_BF16: u8 = 22;
    pub(super) const STREAM_F16: u8 = 23;
    pub(super) const STREAM_BF16: u8 = 24;
    pub(super) const ROUND_F16: u8 = 25;
    pub(super) const ROUND_BF16: u8 = 26;

    /// Whether a group goes to memory.
    pub(super) const fn is_store(does: u8) -> bool {
        matches!(does, STORE | STREAM | STORE_F16 | STORE_BF16 | STREAM_F16 | STREAM_BF16)
    }

    /// How many times as long as its memory's elements those of a group are.
    pub(super) const fn narrower(does: u8) -> usize {
        match does {
            LOAD_F16 | LOAD_BF16 | STORE_F16 | STORE_BF16 | STREAM_F16 | STREAM_BF16 => 2,
            _ => 1,
        }
    }
}

/// What becomes of a vector of the group.
///
/// # Safety
/// The code that this is inlined into runs only where there is the instruction set.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn value<V: Vector, const DOES: u8>(a: V, b: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        match DOES {
            number::LOAD | number::LOAD_F16 | number::LOAD_BF16 => b,
            number::ADD => a.add(b),
            number::SUB => a.sub(b),
            number::SUB_FROM => b.sub(a),
            number::MUL => a.mul(b),
            number::DIV => a.div(b),
            number::DIV_INTO => b.div(a),
            number::MAX => a.max(b),
            number::MAX_OF => b.max(a),
            number::MIN => a.min(b),
            number::MIN_OF => b.min(a),
            number::NEG => a.neg(),
            number::ABS => a.abs(),
            number::RELU => a.relu(),
            number::SQRT => a.sqrt(),
            number::RECIPROCAL => V::one().div(a),
            number::RSQRT => V::one().div(a.sqrt()),
            number::ROUND_F16 => a.round_f16(),
            number::ROUND_BF16 => a.round_bf16(),
            _ => a,
        }
    }
}

/// What becomes of the group that a function is about.
///
/// # Safety
/// As for [`value`]; if the operand is in memory, `ready` holds a group's elements `offset` bytes further on (if it moves).
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn group<V: Vector, const DOES: u8, const WITH: u8>(
    ready: *const Ready<V>,
    offset: usize,
    mut on: [V; 4],
    [first, second]: [[V; 4]; 2],
) -> [V; 4] {
    // SAFETY: the caller's promise.
    unsafe {
        let with = match WITH {
            FIRST => first,
            SECOND => second,
            _ => {
                let narrower = const { number::narrower(DOES) };
                let at = (*ready).at.wrapping_add((offset / narrower) & (*ready).moves);
                let load = |vector: usize| {
                    let at = at.wrapping_add(vector * size_of::<V>() / narrower);
                    match DOES {
                        number::LOAD_F16 => V::load_f16(at),
                        number::LOAD_BF16 => V::load_bf16(at),
                        _ => V::load(at),
                    }
                };
                [load(0), load(1), load(2), load(3)]
            }
        };
        for (on, with) in on.iter_mut().zip(with) {
            *on = value::<V, DOES>(*on, with);
        }
    }
    on
}

/// Writes a group to memory.
///
/// # Safety
/// As for [`group`], for memory to write; at a multiple of 64 if `DOES` is to stream. Elements of 16 bits are for groups of f32.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn put<V: Vector, const DOES: u8>(ready: *const Ready<V>, offset: usize, on: [V; 4]) {
    // SAFETY: the caller's promise.
    unsafe {
        let narrower = const { number::narrower(DOES) };
        let at = (*ready).at.wrapping_add((offset / narrower) & (*ready).moves);
        for (vector, on) in on.into_iter().enumerate() {
            let place = at.wrapping_add(vector * size_of::<V>() / narrower);
            match DOES {
                number::STREAM => on.stream(place),
                number::STORE_F16 => on.store_f16(place),
                number::STREAM_F16 => on.stream_f16(place),
                number::STORE_BF16 => on.store_bf16(place),
                number::STREAM_BF16 => on.stream_bf16(place),
                _ => on.store(place),
            }
        }
    }
}

/// Stamps the functions for an instruction set: attributes cannot be parameters.
#[cfg(target_arch = "x86_64")]
macro_rules! functions {
    ($module:ident, $features:literal) => {
        mod $module {
            use super::*;

            /// Does one thing to a group, and goes on with the next function.
            ///
            /// # Safety
            /// `this` is one of a line's functions, behind which the others follow up to [`end`]; its memory holds a group's
            /// elements `offset` bytes further on (if it moves).
            #[target_feature(enable = $features)]
            #[allow(improper_ctypes_definitions, reason = "no other language is involved")]
            unsafe extern "sysv64" fn step<V: Vector, const DOES: u8, const ON: u8, const WITH: u8>(
                this: *const Ready<V>,
                offset: usize,
                a0: V,
                a1: V,
                a2: V,
                a3: V,
                b0: V,
                b1: V,
                b2: V,
                b3: V,
            ) {
                // SAFETY: the caller's promise.
                unsafe {
                    let (first, second) = ([a0, a1, a2, a3], [b0, b1, b2, b3]);
                    let mut on = if ON == FIRST { first } else { second };
                    if const { number::is_store(DOES) } {
                        put::<V, DOES>(this, offset, on);
                    } else {
                        on = group::<V, DOES, WITH>(this, offset, on, [first, second]);
                    }
                    let next = this.add(1);
                    let then = (*next).function;
                    // The last thing that happens, so that it is a jump.
                    if ON == FIRST {
                        then(next, offset, on[0], on[1], on[2], on[3], b0, b1, b2, b3);
                    } else {
                        then(next, offset, a0, a1, a2, a3, on[0], on[1], on[2], on[3]);
                    }
                }
            }

            /// Does two things to a group, of this function and the next one, and goes on with the one after that.
            ///
            /// # Safety
            /// As for `step`, for both.
            #[target_feature(enable = $features)]
            #[allow(improper_ctypes_definitions, reason = "no other language is involved")]
            unsafe extern "sysv64" fn pair<
                V: Vector,
                const DOES: u8,
                const THEN: u8,
                const ON: u8,
                const WITH: u8,
                const AND: u8,
            >(
                this: *const Ready<V>,
                offset: usize,
                a0: V,
                a1: V,
                a2: V,
                a3: V,
                b0: V,
                b1: V,
                b2: V,
                b3: V,
            ) {
                // SAFETY: the caller's promise.
                unsafe {
                    let (first, second) = ([a0, a1, a2, a3], [b0, b1, b2, b3]);
                    let on = if ON == FIRST { first } else { second };
                    let mut on = group::<V, DOES, WITH>(this, offset, on, [first, second]);
                    let groups = if ON == FIRST { [on, second] } else { [first, on] };
                    if matches!(THEN, number::STORE | number::STREAM) {
                        put::<V, THEN>(this.add(1), offset, on);
                    } else {
                        on = group::<V, THEN, AND>(this.add(1), offset, on, groups);
                    }
                    let next = this.add(2);
                    let then = (*next).function;
                    if ON == FIRST {
                        then(next, offset, on[0], on[1], on[2], on[3], b0, b1, b2, b3);
                    } else {
                        then(next, offset, a0, a1, a2, a3, on[0], on[1], on[2], on[3]);
                    }
                }
            }

            /// The function for two codes, the second of which has its memory at `at`.
            fn both<V: Vector>(code: &Code, then: &Code, at: *const u8) -> Option<Function<V>> {
                fn places<V: Vector, const DOES: u8, const THEN: u8>(code: &Code, then: &Code) -> Function<V> {
                    let in_memory = |code: &Code| !matches!(code.with, Place::Held(_));
                    match (code.on, in_memory(code), in_memory(then)) {
                        (false, false, false) => pair::<V, DOES, THEN, FIRST, SECOND, SECOND>,
                        (false, false, true) => pair::<V, DOES, THEN, FIRST, SECOND, MEMORY>,
                        (false, true, false) => pair::<V, DOES, THEN, FIRST, MEMORY, SECOND>,
                        (false, true, true) => pair::<V, DOES, THEN, FIRST, MEMORY, MEMORY>,
                        (true, false, false) => pair::<V, DOES, THEN, SECOND, FIRST, FIRST>,
                        (true, false, true) => pair::<V, DOES, THEN, SECOND, FIRST, MEMORY>,
                        (true, true, false) => pair::<V, DOES, THEN, SECOND, MEMORY, FIRST>,
                        (true, true, true) => pair::<V, DOES, THEN, SECOND, MEMORY, MEMORY>,
                    }
                }
                /// The second is about its own group, or memory that the group goes to.
                fn alone<V: Vector, const DOES: u8, const THEN: u8>(code: &Code) -> Function<V> {
                    match (code.on, matches!(code.with, Place::Held(_))) {
                        (false, true) => pair::<V, DOES, THEN, FIRST, SECOND, FIRST>,
                        (false, false) => pair::<V, DOES, THEN, FIRST, MEMORY, FIRST>,
                        (true, true) => pair::<V, DOES, THEN, SECOND, FIRST, SECOND>,
                        (true, false) => pair::<V, DOES, THEN, SECOND, MEMORY, SECOND>,
                    }
                }
                fn second<V: Vector, const DOES: u8>(code: &Code, then: &Code, at: *const u8) -> Option<Function<V>> {
                    let is_own = then.with == Place::Held(then.on);
                    Some(match then.does {
                        Does::Store { streamed: true } if at.addr().is_multiple_of(64) => {
                            alone::<V, DOES, { number::STREAM }>(code)
                        }
                        Does::Store { .. } => alone::<V, DOES, { number::STORE }>(code),
                        Does::Mul if is_own => alone::<V, DOES, { number::MUL }>(code),
                        Does::Add => places::<V, DOES, { number::ADD }>(code, then),
                        Does::Sub => places::<V, DOES, { number::SUB }>(code, then),
                        Does::SubFrom => places::<V, DOES, { number::SUB_FROM }>(code, then),
                        Does::Mul => places::<V, DOES, { number::MUL }>(code, then),
                        _ => return None,
                    })
                }
                if !code.is_pair(then) {
                    return None;
                }
                match code.does {
                    Does::Load => second::<V, { number::LOAD }>(code, then, at),
                    Does::Add => second::<V, { number::ADD }>(code, then, at),
                    Does::Sub => second::<V, { number::SUB }>(code, then, at),
                    Does::SubFrom => second::<V, { number::SUB_FROM }>(code, then, at),
                    Does::Mul => second::<V, { number::MUL }>(code, then, at),
                    _ => None,
                }
            }

            /// The end of a line.
            ///
            /// # Safety
            /// None but the instruction set.
            #[target_feature(enable = $features)]
            #[allow(improper_ctypes_definitions, reason = "no other language is involved")]
            unsafe extern "sysv64" fn end<V: Vector>(
                _: *const Ready<V>,
                _: usize,
                _: V,
                _: V,
                _: V,
                _: V,
                _: V,
                _: V,
                _: V,
                _: V,
            ) {
            }

            fn function<V: Vector>(code: &Code, at: *const u8) -> Function<V> {
                fn with<V: Vector, const DOES: u8>(code: &Code) -> Function<V> {
                    match (code.on, code.with) {
                        (false, Place::Held(false)) => step::<V, DOES, FIRST, FIRST>,
                        (false, Place::Held(true)) => step::<V, DOES, FIRST, SECOND>,
                        (false, _) => step::<V, DOES, FIRST, MEMORY>,
                        (true, Place::Held(false)) => step::<V, DOES, SECOND, FIRST>,
                        (true, Place::Held(true)) => step::<V, DOES, SECOND, SECOND>,
                        (true, _) => step::<V, DOES, SECOND, MEMORY>,
                    }
                }
                fn alone<V: Vector, const DOES: u8>(code: &Code) -> Function<V> {
                    if code.on { step::<V, DOES, SECOND, SECOND> } else { step::<V, DOES, FIRST, FIRST> }
                }
                match code.does {
                    Does::Load => with::<V, { number::LOAD }>(code),
                    Does::Store { streamed: true } if at.addr().is_multiple_of(64) => {
                        alone::<V, { number::STREAM }>(code)
                    }
                    Does::Store { .. } => alone::<V, { number::STORE }>(code),
                    Does::Add => with::<V, { number::ADD }>(code),
                    Does::Sub => with::<V, { number::SUB }>(code),
                    Does::SubFrom => with::<V, { number::SUB_FROM }>(code),
                    Does::Mul => with::<V, { number::MUL }>(code),
                    Does::Div => with::<V, { number::DIV }>(code),
                    Does::DivInto => with::<V, { number::DIV_INTO }>(code),
                    Does::Max => with::<V, { number::MAX }>(code),
                    Does::MaxOf => with::<V, { number::MAX_OF }>(code),
                    Does::Min => with::<V, { number::MIN }>(code),
                    Does::MinOf => with::<V, { number::MIN_OF }>(code),
                    Does::Neg => alone::<V, { number::NEG }>(code),
                    Does::Abs => alone::<V, { number::ABS }>(code),
                    Does::Relu => alone::<V, { number::RELU }>(code),
                    Does::Sqrt => alone::<V, { number::SQRT }>(code),
                    Does::Reciprocal => alone::<V, { number::RECIPROCAL }>(code),
                    Does::Rsqrt => alone::<V, { number::RSQRT }>(code),
                    Does::LoadHalf(Half::F16) => with::<V, { number::LOAD_F16 }>(code),
                    Does::LoadHalf(Half::BF16) => with::<V, { number::LOAD_BF16 }>(code),
                    Does::StoreHalf { half: Half::F16, streamed: true } if at.addr().is_multiple_of(64) => {
                        alone::<V, { number::STREAM_F16 }>(code)
                    }
                    Does::StoreHalf { half: Half::BF16, streamed: true } if at.addr().is_multiple_of(64) => {
                        alone::<V, { number::STREAM_BF16 }>(code)
                    }
                    Does::StoreHalf { half: Half::F16, .. } => alone::<V, { number::STORE_F16 }>(code),
                    Does::StoreHalf { half: Half::BF16, .. } => alone::<V, { number::STORE_BF16 }>(code),
                    Does::Round(Half::F16) => alone::<V, { number::ROUND_F16 }>(code),
                    Does::Round(Half::BF16) => alone::<V, { number::ROUND_BF16 }>(code),
                }
            }

            /// The functions of a line whose memory is at these places.
            fn functions<V: Vector>(codes: &[Code], at: impl Fn(usize) -> *const u8) -> SmallVec<[Function<V>; FEW]> {
                let mut functions: SmallVec<[Function<V>; FEW]> =
                    codes.iter().enumerate().map(|(number, code)| function(code, at(number))).collect();
                // Each second one is still there for whoever comes to it alone.
                let mut number = 0;
                while let Some([code, then]) = codes.get(number..).and_then(|codes| codes.first_chunk()) {
                    let function = both::<V>(code, then, at(number + 1));
                    if let Some(function) = function {
                        functions[number] = function;
                    }
                    number += if function.is_some() { 2 } else { 1 };
                }
                functions
            }

            /// [`functions`] for who does not know the vector.
            pub(super) fn erased<V: Vector>(codes: &[Code]) -> SmallVec<[fn(); FEW]> {
                let erase = |function: Function<V>| {
                    // SAFETY: function pointers are alike in size, and nobody calls them as what they are given as.
                    unsafe { std::mem::transmute::<Function<V>, fn()>(function) }
                };
                functions::<V>(codes, |_| std::ptr::null()).into_iter().map(erase).collect()
            }

            /// Runs a line on a tile.
            ///
            /// # Safety
            /// What [`run`](super::run) asks for, with vectors of the elements' type.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn tile<V: Vector>(line: &Line<'_>) {
                let group = 4 * size_of::<V>();
                let bytes = line.count * line.size;
                let whole = bytes / group * group;
                let mut slots = [Group::EMPTY; SLOTS];
                let slots = slots.as_mut_ptr();
                let place = |code: &Code, at: &At| match code.with {
                    Place::Slot(slot) => At { at: slots.wrapping_add(slot as usize).cast(), moves: false },
                    _ => *at,
                };
                let mut ready: SmallVec<[Ready<V>; FEW]> = SmallVec::new();
                let mut push = |function, code: &Code, at: &At| {
                    let At { at, moves } = place(code, at);
                    ready.push(Ready { function, at, moves: if moves { usize::MAX } else { 0 } });
                };
                let all = line.codes.iter().zip(line.at);
                match line.found {
                    Some(found) => {
                        for ((code, at), &function) in all.zip(&found.functions) {
                            // SAFETY: `erased` made it of such a function, for this level and size.
                            push(unsafe { std::mem::transmute::<fn(), Function<V>>(function) }, code, at);
                        }
                    }
                    None => {
                        let functions =
                            functions::<V>(line.codes, |number| place(&line.codes[number], &line.at[number]).at);
                        for ((code, at), function) in all.zip(functions) {
                            push(function, code, at);
                        }
                    }
                }
                ready.push(Ready { function: end::<V>, at: std::ptr::null_mut(), moves: 0 });
                // SAFETY: each moving lane holds the elements of the whole groups, the others a group's; `end` is behind the
                // last function.
                unsafe {
                    let zero = V::zero();
                    for offset in (0..whole).step_by(group) {
                        (ready[0].function)(ready.as_ptr(), offset, zero, zero, zero, zero, zero, zero, zero, zero);
                    }
                }
                if whole == bytes {
                    return;
                }
                // What is left is less than a group: it is computed in memory that has room for one.
                let mut rest = [Group::EMPTY; MAX_LANES];
                let mut lanes = [(std::ptr::null_mut::<u8>(), false, 0); MAX_LANES];
                let mut count = 0;
                for ((ready, code), at) in ready.iter_mut().zip(line.codes).zip(line.at) {
                    if !at.moves || !matches!(code.with, Place::Lane(_)) {
                        continue;
                    }
                    let narrower = if code.does.is_half() { 2 } else { 1 };
                    let from = at.at.wrapping_add(whole / narrower);
                    let known = lanes[..count].iter().position(|&(lane, ..)| lane == from);
                    let number = known.unwrap_or(count);
                    count = count.max(number + 1);
                    lanes[number] = (from, lanes[number].1 | code.does.is_store(), (bytes - whole) / narrower);
                    *ready = Ready {
                        function: function(code, std::ptr::dangling()),
                        at: rest[number].0.as_mut_ptr(),
                        moves: 0,
                    };
                }
                // SAFETY: the lanes hold the elements that are left, and all places have room for a group.
                unsafe {
                    for (rest, &(lane, _, bytes)) in rest.iter_mut().zip(&lanes[..count]) {
                        rest.0.as_mut_ptr().copy_from_nonoverlapping(lane, bytes);
                    }
                    let zero = V::zero();
                    (ready[0].function)(ready.as_ptr(), 0, zero, zero, zero, zero, zero, zero, zero, zero);
                    for (rest, &(lane, written, bytes)) in rest.iter().zip(&lanes[..count]) {
                        if written {
                            lane.copy_from_nonoverlapping(rest.0.as_ptr(), bytes);
                        }
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
functions!(avx512, "avx2,fma,f16c,avx512f,avx512vl,avx512dq,avx512bw");
#[cfg(target_arch = "x86_64")]
functions!(avx2, "avx2,fma,f16c");

#[cfg(test)]
mod tests;
