//! What reductions compute of their operands, as compiled loops.
//!
//! The cheap ones are also summed in the loop that computes them: their values never lie in memory.

use super::{Arithmetic, Formula, Numbers, unify};
use crate::pointwise::float::Float;
use crate::pointwise::moves;
use crate::vecmath::convert::Half;
use crate::vecmath::{self, Isa, Level, Real, Task};
use smallvec::SmallVec;
use std::marker::PhantomData;
use std::sync::LazyLock;
use tensor_core::program::Op;
use tensor_core::{DType, Program, Scalar, bf16, f16};

/// Stamps what a reduction computes of its operands.
macro_rules! prologue {
    ($(#[$doc:meta])* $name:ident<$inputs:literal, $same:literal>$(, long: $long:literal)?,
     |$a:ident, $x:pat_param, $c:pat_param| $value:expr) => {
        $(#[$doc])*
        struct $name;

        impl Formula<$inputs, $same, 1> for $name {
            $(const IS_LONG: bool = $long;)?
            #[inline(always)]
            fn eval<A: Arithmetic>($a: &mut A, $x: [A::Value; $inputs], $c: [A::Value; $same]) -> [A::Value; 1] {
                [$value]
            }
        }
    };
}

prologue! {
    /// Of `logsumexp`, and of softmax over several axes.
    ExpOfDifference<1, 1>, long: true, |a, [x], [top]| {
        let less = a.sub(x, top);
        a.exp(less)
    }
}
prologue! {
    /// Of variances.
    SquareOfDifference<1, 1>, |a, [x], [mean]| {
        let centred = a.sub(x, mean);
        a.square(centred)
    }
}
prologue! {
    /// The same as a product.
    ProductOfDifference<1, 1>, |a, [x], [mean]| {
        let centred = a.sub(x, mean);
        a.mul(centred, centred)
    }
}
prologue! {
    /// Of squared errors.
    SquareOfDistance<2, 0>, |a, [x, y], []| {
        let distance = a.sub(x, y);
        a.square(distance)
    }
}
prologue! {
    /// Of norms.
    SquareOfValue<1, 0>, |a, [x], []| a.square(x)
}
prologue! {
    /// Of inner products, and of the gradients of what was broadcast.
    ProductOfTwo<2, 0>, |a, [x, y], []| a.mul(x, y)
}

/// A number as it is.
struct Value;

impl Formula<1, 0, 1> for Value {
    #[inline(always)]
    fn eval<A: Arithmetic>(_: &mut A, [x]: [A::Value; 1], []: [A::Value; 0]) -> [A::Value; 1] {
        [x]
    }
}

/// What reductions often compute of their operands, for both dtypes.
fn prologues() -> &'static [Prologue] {
    static TABLE: LazyLock<Vec<Prologue>> = LazyLock::new(|| {
        let mut table = Vec::new();
        for dtype in [DType::F32, DType::F64] {
            table.push(Prologue::new::<ExpOfDifference, 1, 1>(dtype));
            table.push(Prologue::new::<SquareOfDifference, 1, 1>(dtype));
            table.push(Prologue::new::<ProductOfDifference, 1, 1>(dtype));
            table.push(Prologue::new::<SquareOfDistance, 2, 0>(dtype));
            table.push(Prologue::new::<SquareOfValue, 1, 0>(dtype));
            table.push(Prologue::new::<ProductOfTwo, 2, 0>(dtype));
        }
        table
    });
    &TABLE
}

/// What a reduction computes of its operands, as one loop. Its first inputs differ from element to element, the others are
/// the same along what is reduced.
pub(crate) struct Prologue {
    program: Program,
    /// How many inputs differ from element to element.
    pub(crate) varying: usize,
    /// Computes `count` elements. If that is long, memory is asked for what lies some bytes, the number before the results,
    /// behind the first input's elements, unless it is 0.
    ///
    /// # Safety
    /// There is a pointer for each of the prologue's inputs: to `count` elements of its dtype, or to one of those that are the
    /// same. The results have room for `count`, and overlap no input.
    pub(crate) fill: unsafe fn(Level, &[*const u8], usize, *mut u8, usize),
    /// What sums it if the elements are stored as the dtype is, or as this other one; nothing does if it takes so long to compute
    /// that it makes no difference.
    pub(crate) sum: fn(Option<DType>) -> Option<Sum>,
}

/// Adds up in f64 what is computed of `count` elements. If that needs what an earlier step found, so that they are in the cache
/// already, memory may be asked for what lies some bytes, the number before the count, behind the first input's, unless it is 0.
///
/// # Safety
/// As for [`Prologue::fill`]; elements of inputs that differ are stored as the function was asked for.
pub(crate) type Sum = unsafe fn(Level, &[*const u8], usize, usize) -> f64;

/// What sums elements that are stored in 16 bits.
pub(crate) fn sum_of_elements(half: DType) -> Option<Sum> {
    sum_f32::<Value, 1, 0>(Some(half))
}

/// An operand of a prologue, as the program that was recognised knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leaf {
    Input(usize),
    Scalar(Scalar),
}

impl Prologue {
    fn new<F: Formula<I, S, 1>, const I: usize, const S: usize>(dtype: DType) -> Self {
        let mut program = Program::new();
        let inputs = [(); I].map(|()| program.input(dtype));
        let same = [(); S].map(|()| program.input(dtype));
        let [output] = F::eval(&mut program, inputs, same);
        program.output(output);
        if dtype == DType::F64 {
            Self { program, varying: I, fill: fill::<f64, F, I, S>, sum: sum_f64::<F, I, S> }
        } else {
            Self { program, varying: I, fill: fill::<f32, F, I, S>, sum: sum_f32::<F, I, S> }
        }
    }

    /// The prologues that a program may be, with its operands.
    pub(crate) fn of(program: &Program) -> impl Iterator<Item = (&'static Self, SmallVec<[Leaf; 4]>)> {
        prologues().iter().filter_map(move |prologue| {
            let found = unify(&prologue.program, program, false)?;
            let inputs = prologue.program.insts().iter().zip(found).filter(|(inst, _)| matches!(inst.op, Op::Input(_)));
            let leaves = inputs.map(|(_, reg)| match program.insts()[reg?.index()].op {
                Op::Input(number) => Some(Leaf::Input(number as usize)),
                Op::Scalar(number) => Some(Leaf::Scalar(program.scalars()[number as usize])),
                _ => None,
            });
            Some((prologue, leaves.collect::<Option<_>>()?))
        })
    }
}

/// What [`Prologue::fill`] does.
///
/// # Safety
/// See there, for values of type `T`; there are one or two inputs that differ.
unsafe fn fill<T: Float, F: Formula<I, S, 1>, const I: usize, const S: usize>(
    level: Level,
    inputs: &[*const u8],
    ahead: usize,
    to: *mut u8,
    count: usize,
) {
    // SAFETY: the caller's promise: `count` elements behind the first inputs, one behind each other, and room for the results.
    let (varying, same, to) = unsafe {
        (
            [inputs[0], inputs[I - 1]].map(|from| std::slice::from_raw_parts(from.cast::<T>(), count)),
            std::array::from_fn(|number| inputs[I + number].cast::<T>().read()),
            std::slice::from_raw_parts_mut(to.cast::<T>(), count),
        )
    };
    level.run(Fill::<T, F, I, S> { varying, same, ahead, to, formula: PhantomData });
}

struct Fill<'a, T, F, const I: usize, const S: usize> {
    /// The first and the last.
    varying: [&'a [T]; 2],
    same: [T; S],
    ahead: usize,
    to: &'a mut [T],
    formula: PhantomData<F>,
}

impl<T: Float, F: Formula<I, S, 1>, const I: usize, const S: usize> Task for Fill<'_, T, F, I, S> {
    type Output = ();

    #[inline(always)]
    fn run<Set: Isa>(self) {
        let Self { varying: [a, b], same, ahead, to, .. } = self;
        let (a, b) = (a.chunks(vecmath::TOGETHER), b.chunks(vecmath::TOGETHER));
        for ((to, a), b) in to.chunks_mut(vecmath::TOGETHER).zip(a).zip(b) {
            if F::IS_LONG && vecmath::takes_longer_than_memory::<Set>() && ahead > 0 {
                moves::prefetch(a.as_ptr().wrapping_byte_add(ahead), a.len());
            }
            if !each::<Set, T, F, I, S, true>(to, a, b, same) {
                each::<Set, T, F, I, S, false>(to, a, b, same);
            }
        }
    }
}

/// Computes each element; says whether the results are right.
#[inline(always)]
fn each<Set: Isa, T: Float, F: Formula<I, S, 1>, const I: usize, const S: usize, const MODERATE: bool>(
    to: &mut [T],
    a: &[T],
    b: &[T],
    same: [T; S],
) -> bool {
    let mut moderate = true;
    for ((to, &a), &b) in to.iter_mut().zip(a).zip(b) {
        let mut numbers = Numbers::<Set, T, MODERATE>::new();
        [*to] = F::eval(&mut numbers, std::array::from_fn(|input| if input == 0 { a } else { b }), same);
        moderate &= numbers.moderate;
    }
    moderate
}

/// Elements as they are stored.
trait Stored: Copy + 'static {
    type Wide: Float;
    fn widen<Set: Isa>(from: &[Self], to: &mut [Self::Wide]);
}

/// Stamps what is computed in what it is stored in.
macro_rules! stored_as_is {
    ($($float:ty),*) => {$(
        impl Stored for $float {
            type Wide = Self;
            #[inline(always)]
            fn widen<Set: Isa>(from: &[Self], to: &mut [Self]) {
                to.copy_from_slice(from);
            }
        }
    )*};
}
stored_as_is!(f32, f64);

impl Stored for f16 {
    type Wide = f32;
    #[inline(always)]
    fn widen<Set: Isa>(from: &[Self], to: &mut [f32]) {
        Half::widen::<Set>(from, to);
    }
}

impl Stored for bf16 {
    type Wide = f32;
    #[inline(always)]
    fn widen<Set: Isa>(from: &[Self], to: &mut [f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            // A NaN may stay a signaling one here: it becomes quiet as it is added.
            *to = f32::from_bits(u32::from(from.to_bits()) << 16);
        }
    }
}

fn sum_f32<F: Formula<I, S, 1>, const I: usize, const S: usize>(half: Option<DType>) -> Option<Sum> {
    match half {
        _ if F::IS_LONG => None,
        None => Some(sum::<f32, F, I, S>),
        Some(DType::F16) => Some(sum::<f16, F, I, S>),
        Some(DType::BF16) => Some(sum::<bf16, F, I, S>),
        Some(_) => None,
    }
}

fn sum_f64<F: Formula<I, S, 1>, const I: usize, const S: usize>(half: Option<DType>) -> Option<Sum> {
    (half.is_none() && !F::IS_LONG).then_some(sum::<f64, F, I, S>)
}

/// A [`Sum`].
///
/// # Safety
/// See there, for elements of type `E`; there are one or two inputs that differ.
unsafe fn sum<E: Stored, F: Formula<I, S, 1>, const I: usize, const S: usize>(
    level: Level,
    inputs: &[*const u8],
    ahead: usize,
    count: usize,
) -> f64 {
    // SAFETY: the caller's promise: `count` elements behind the first inputs, one behind each other.
    let (varying, same) = unsafe {
        (
            [inputs[0], inputs[I - 1]].map(|from| std::slice::from_raw_parts(from.cast::<E>(), count)),
            std::array::from_fn(|number| inputs[I + number].cast::<E::Wide>().read()),
        )
    };
    level.run(Summed::<E, F, I, S> { varying, same, ahead, formula: PhantomData })
}

struct Summed<'a, E: Stored, F, const I: usize, const S: usize> {
    /// The first and the last.
    varying: [&'a [E]; 2],
    same: [E::Wide; S],
    ahead: usize,
    formula: PhantomData<F>,
}

/// Sums that are carried side by side: as many f64 as a quarter of the registers of AVX2 hold, as their values need some too.
pub(crate) const SUM_LANES: usize = 16;

impl<E: Stored, F: Formula<I, S, 1>, const I: usize, const S: usize> Task for Summed<'_, E, F, I, S> {
    type Output = f64;

    #[inline(always)]
    fn run<Set: Isa>(self) -> f64 {
        let Self { varying: [a, b], same, ahead, .. } = self;
        let (a, b) = (a.as_chunks::<SUM_LANES>(), b.as_chunks::<SUM_LANES>());
        let mut lanes = [0.0; SUM_LANES];
        for (a, b) in a.0.iter().zip(b.0) {
            if S > 0 && vecmath::takes_longer_than_memory::<Set>() && ahead > 0 {
                moves::prefetch(a.as_ptr().wrapping_byte_add(ahead), SUM_LANES);
            }
            for (lane, value) in lanes.iter_mut().zip(values::<Set, E, F, I, S>(a, b, same)) {
                *lane += value.wide();
            }
        }
        if !a.1.is_empty() {
            for (lane, value) in lanes.iter_mut().zip(values::<Set, E, F, I, S>(a.1, b.1, same)).take(a.1.len()) {
                *lane += value.wide();
            }
        }
        // Halves onto each other: pairwise.
        let mut width = SUM_LANES;
        while width > 1 {
            width /= 2;
            let (low, high) = lanes.split_at_mut(width);
            for (low, &high) in low.iter_mut().zip(&*high) {
                *low += high;
            }
        }
        lanes[0]
    }
}

/// The values of up to [`SUM_LANES`] elements. Where there are fewer, what follows them means nothing.
#[inline(always)]
fn values<Set: Isa, E: Stored, F: Formula<I, S, 1>, const I: usize, const S: usize>(
    a: &[E],
    b: &[E],
    same: [E::Wide; S],
) -> [E::Wide; SUM_LANES] {
    let (mut x, mut y) = ([E::Wide::lit(0.0); SUM_LANES], [E::Wide::lit(0.0); SUM_LANES]);
    E::widen::<Set>(a, &mut x[..a.len()]);
    if I > 1 {
        E::widen::<Set>(b, &mut y[..b.len()]);
    }
    for (x, &y) in x.iter_mut().zip(&y) {
        let mut numbers = Numbers::<Set, E::Wide, true>::new();
        [*x] = F::eval(&mut numbers, std::array::from_fn(|input| if input == 0 { *x } else { y }), same);
    }
    x
}
