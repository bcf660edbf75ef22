//! The gradient table: one row for each primitive.
//!
//! A row says which values its rule needs, the rule itself (the vector–Jacobian product: from the gradient of the result to
//! the gradient of an operand), and how a tangent is pushed forward. Rules are written with tensor operations, so the
//! gradient of a gradient needs nothing more. They may ignore broadcasting and promotion: the engine sums a gradient back to
//! its operand's shape and converts it to its dtype.
//!
//! Formulas are those of calculus; at points where the derivative does not exist the convention is PyTorch's, named in the
//! row. `g` is the result's gradient, `a`, `b`, `c` the operands, `y` the result.

mod conv;
mod index;
mod linear;
mod pointwise;
mod reduce;
mod rows;

pub(crate) use rows::softmax_gradient;

use crate::operand::Operand;
use crate::primitive::Primitive;
use crate::tensor::Tensor;
use smallvec::SmallVec;
use tensor_core::Backend;

/// The rule needs the first operand.
pub(crate) const A: u8 = 1;
/// The rule needs the second operand.
pub(crate) const B: u8 = 2;
/// The rule needs the third operand.
pub(crate) const C: u8 = 4;
/// The rule needs the result.
pub(crate) const OUTPUT: u8 = 8;

/// What the rule needs to compute the gradient of each of the first three operands. Further operands need nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs(pub(crate) [u8; 3]);

impl Needs {
    /// Nothing, for any operand.
    pub(crate) const NOTHING: Self = Self([0; 3]);

    /// What the gradient of operand `number` needs.
    #[inline]
    pub(crate) fn of(self, number: usize) -> u8 {
        self.0.get(number).copied().unwrap_or(0)
    }
}

/// A row of the table.
pub(crate) struct Row<K: Backend> {
    /// What is saved.
    pub(crate) needs: Needs,
    /// The gradient of one operand from the gradient of the result.
    pub(crate) vjp: Vjp<K>,
    /// How tangents of the operands become the tangent of the result.
    pub(crate) jvp: Jvp,
}

/// A rule: the call, the result's gradient, the operand's number.
pub(crate) type Vjp<K> = fn(&Call<'_, K>, &Tensor<K>, usize) -> Tensor<K>;

/// How tangents are pushed forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Jvp {
    /// The Jacobian is diagonal (or symmetric), so the rule itself does it: Σ vjp(tangent).
    Diagonal,
    /// The primitive is linear in all operands together: run it on the tangents.
    Linear,
    /// The primitive is linear in each operand: run it with one operand replaced by its tangent, and add up.
    Multilinear,
    /// Differentiate the rule with respect to the result's gradient, in which it is linear.
    Transposed,
}

/// A primitive as it was run, with what was saved.
pub(crate) struct Call<'a, K: Backend> {
    pub(crate) primitive: &'a Primitive<K>,
    pub(crate) operands: SmallVec<[Option<Operand<'static, K>>; 3]>,
    pub(crate) output: Option<Tensor<K>>,
}

impl<K: Backend> Call<'_, K> {
    /// An operand, which may be a scalar.
    pub(crate) fn operand(&self, number: usize) -> Operand<'_, K> {
        let operand = self.operands.get(number).and_then(Option::as_ref);
        operand.expect("the row says that its rule needs this operand").by_ref()
    }

    fn tensor(&self, number: usize) -> &Tensor<K> {
        let operand = self.operands.get(number).and_then(Option::as_ref).and_then(Operand::tensor);
        operand.expect("the row says that its rule needs this operand, which is a tensor")
    }

    /// The first operand, which may be a scalar.
    pub(crate) fn a(&self) -> Operand<'_, K> {
        self.operand(0)
    }

    /// The second operand, which may be a scalar.
    pub(crate) fn b(&self) -> Operand<'_, K> {
        self.operand(1)
    }

    /// The third operand, which may be a scalar.
    pub(crate) fn c(&self) -> Operand<'_, K> {
        self.operand(2)
    }

    /// The only operand, a tensor.
    pub(crate) fn x(&self) -> &Tensor<K> {
        self.tensor(0)
    }

    /// The second operand, a tensor.
    pub(crate) fn second(&self) -> &Tensor<K> {
        self.tensor(1)
    }

    /// The result.
    pub(crate) fn y(&self) -> &Tensor<K> {
        self.output.as_ref().expect("the row says that its rule needs the result")
    }
}

/// The row of a primitive.
pub(crate) fn row<K: Backend>(primitive: &Primitive<K>) -> Row<K> {
    match primitive {
        Primitive::Unary(op) => pointwise::unary(*op),
        Primitive::Binary(op) => pointwise::binary(*op),
        Primitive::Ternary(op) => pointwise::ternary(*op),
        Primitive::Clamp(..) => pointwise::clamp(),
        Primitive::Cast(_) | Primitive::Alias => linear::identity(),
        Primitive::ToDevice { .. } => linear::to_device(),
        Primitive::Sum(_) => reduce::sum(),
        Primitive::Prod(_) => reduce::prod(),
        Primitive::Extreme(..) => reduce::extreme(),
        Primitive::Scan(op, _) => reduce::scan(*op),
        Primitive::Softmax(_, log) => rows::softmax(*log),
        Primitive::Normalize(..) => rows::normalize(),
        Primitive::Variance(..) => rows::variance(),
        Primitive::LogSumExp(_) => rows::logsumexp(),
        Primitive::MseLoss => reduce::mse_loss(),
        Primitive::Matmul => linear::matmul(),
        Primitive::Linear => linear::linear(),
        Primitive::Contract(_) => conv::contract(),
        Primitive::Conv(_) => conv::conv(),
        Primitive::Windows(_) => conv::windows(),
        Primitive::Fold(_) => conv::fold(),
        Primitive::WindowPick(_) | Primitive::WindowPlace(_) => conv::chosen(),
        Primitive::View(..) => linear::view(),
        Primitive::Gather(..) => index::gather(),
        Primitive::Scatter(op, ..) => index::scatter(*op),
        Primitive::IndexSelect(..) => index::index_select(),
        Primitive::IndexScatter(op, ..) => index::index_scatter(*op),
        Primitive::Cat(..) => index::cat(),
        Primitive::Assign(_) => index::assign(),
        Primitive::Custom(_) => linear::custom(),
    }
}
