//! What the functions of a line do, and on what.

use crate::pointwise::plan::Lane;
use tensor_core::DType;

/// What a function does to the group that it is about, `a`; `b` is its operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pointwise) enum Does {
    /// `b`
    Load,
    /// Writes `a` to memory; past the caches if the memory lies at a cache line.
    Store { streamed: bool },
    /// `a + b`
    Add,
    /// `a − b`
    Sub,
    /// `b − a`
    SubFrom,
    /// `a · b`
    Mul,
    /// `a / b`
    Div,
    /// `b / a`
    DivInto,
    /// The larger of `a` and `b`; `a` if that is NaN.
    Max,
    /// The larger of `b` and `a`; `b` if that is NaN.
    MaxOf,
    /// The smaller of `a` and `b`; `a` if that is NaN.
    Min,
    /// The smaller of `b` and `a`; `b` if that is NaN.
    MinOf,
    /// `−a`
    Neg,
    /// `|a|`
    Abs,
    /// 0 if `a` is below, else `a`
    Relu,
    /// `√a`
    Sqrt,
    /// `1 / a`
    Reciprocal,
    /// `1 / √a`
    Rsqrt,
    /// `b`, which is stored in 16 bits.
    LoadHalf(Half),
    /// Writes the nearest number of 16 bits to memory, as [`Store`](Self::Store) does.
    StoreHalf { half: Half, streamed: bool },
    /// The nearest number of 16 bits.
    Round(Half),
}

/// What is stored in 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pointwise) enum Half {
    F16,
    BF16,
}

impl Half {
    /// The type if it is one of these.
    pub(in crate::pointwise) fn of(dtype: DType) -> Option<Self> {
        match dtype {
            DType::F16 => Some(Self::F16),
            DType::BF16 => Some(Self::BF16),
            _ => None,
        }
    }
}

impl Does {
    /// Whether its memory holds elements of 16 bits.
    pub(super) fn is_half(self) -> bool {
        matches!(self, Self::LoadHalf(_) | Self::StoreHalf { .. })
    }

    pub(in crate::pointwise) fn is_store(self) -> bool {
        matches!(self, Self::Store { .. } | Self::StoreHalf { .. })
    }
}

/// Where an operand is, or where a group goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pointwise) enum Place {
    /// In registers: the first or second group.
    Held(bool),
    /// In the memory of a lane.
    Lane(Lane),
    /// Put aside, until the next elements.
    Slot(u8),
}

/// One function of a line.
#[derive(Clone, Copy, Debug)]
pub(in crate::pointwise) struct Code {
    pub(in crate::pointwise) does: Does,
    /// Which group it is about: the first or the second.
    pub(in crate::pointwise) on: bool,
    pub(in crate::pointwise) with: Place,
}

impl Code {
    /// Whether one function does this and then the other one.
    pub(in crate::pointwise) fn is_pair(&self, then: &Self) -> bool {
        let is_own = |code: &Self| code.with == Place::Held(code.on);
        let is_sum = |does| matches!(does, Does::Add | Does::Sub | Does::SubFrom | Does::Mul);
        let begins = (self.does == Does::Load || is_sum(self.does)) && !is_own(self);
        let ends = match then.does {
            Does::Store { .. } => self.does != Does::Load,
            does => is_sum(does) && (!is_own(then) || does == Does::Mul),
        };
        self.on == then.on && begins && ends
    }
}
