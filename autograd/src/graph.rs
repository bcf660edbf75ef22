//! The recorded graph: nodes, the edges between them, and what they keep for the way back.
//!
//! A node is an operation that was run; its edges lead to where its operands came from. Levels order the graph: a node's
//! level is one more than the highest among its operands, so walking levels downwards meets every consumer before what it
//! consumed. That needs no counter that threads would have to share.

use crate::primitive::Primitive;
use crate::tensor::Tensor;
use smallvec::SmallVec;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tensor_core::{Array, Backend, DType, Number, Scalar, Shape};

/// An operation that was recorded.
pub(crate) struct Node<B: Backend> {
    pub(crate) level: u64,
    pub(crate) primitive: Primitive<B>,
    pub(crate) inputs: SmallVec<[Edge<B>; 2]>,
    pub(crate) saved: Mutex<Saved<B>>,
    /// Hooks on the tensors that this node made.
    pub(crate) hooks: OnceLock<Box<Hooks<B>>>,
}

/// Where an operand's gradient goes.
pub(crate) struct Edge<B: Backend> {
    pub(crate) target: Target<B>,
    /// The operand's shape and dtype where they differ from the result's, so that its gradient can be summed and converted
    /// back.
    pub(crate) meta: Option<Box<(Shape, DType)>>,
}

/// What an edge leads to.
pub(crate) enum Target<B: Backend> {
    /// The operand carries no gradient.
    None,
    /// A leaf that gathers its gradient.
    Leaf(Tensor<B>),
    /// The node that made the operand, and which of its results the operand is.
    Node(Arc<Node<B>>, usize),
}

impl<B: Backend> Clone for Target<B> {
    fn clone(&self) -> Self {
        match self {
            Self::None => Self::None,
            Self::Leaf(leaf) => Self::Leaf(leaf.clone()),
            Self::Node(node, output) => Self::Node(node.clone(), *output),
        }
    }
}

impl<B: Backend> Target<B> {
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    pub(crate) fn level(&self) -> u64 {
        match self {
            Self::None | Self::Leaf(_) => 0,
            Self::Node(node, _) => node.level,
        }
    }

    /// A number that is the same for edges that lead to the same place.
    pub(crate) fn key(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Leaf(leaf) => leaf.key(),
            Self::Node(node, _) => Arc::as_ptr(node).addr(),
        }
    }
}

/// What a node keeps of its operands and result for its gradient rule.
pub(crate) enum Saved<B: Backend> {
    /// The rule needs nothing, so the node can run any number of times.
    Nothing,
    /// What is needed, until it is used.
    Kept(Box<Kept<B>>),
    /// What is needed of two operands that are single numbers, until it is used: scalar code pays no allocation for them.
    Numbers([KeptNumber; 2]),
    /// A backward pass without `retain_graph` has used it.
    Freed,
}

/// The values kept. Graphs are kept by the node's edges, so that values here own no other nodes.
pub(crate) struct Kept<B: Backend> {
    pub(crate) operands: SmallVec<[KeptOperand<B>; 2]>,
    pub(crate) output: Option<Array<B>>,
}

/// A kept operand.
#[derive(Clone)]
pub(crate) enum KeptOperand<B: Backend> {
    /// Not needed by the rule.
    Absent,
    /// A tensor's value.
    Array(Array<B>),
    /// A scalar operand.
    Scalar(Scalar),
}

/// A kept operand that is a single number.
#[derive(Clone, Copy)]
pub(crate) enum KeptNumber {
    /// Not needed by the rule.
    Absent,
    /// A tensor's value.
    Tensor(Number),
    /// A scalar operand.
    Scalar(Scalar),
}

/// What [`Saved`] gives out.
pub(crate) enum Taken<B: Backend> {
    Nothing,
    Kept(Box<Kept<B>>),
    Numbers([KeptNumber; 2]),
}

/// A function that sees a gradient on its way and may replace it.
pub(crate) type Hook<B> = Arc<dyn Fn(&Tensor<B>) -> Option<Tensor<B>> + Send + Sync>;

/// Hooks, each with the number by which it can be removed and the result it belongs to.
pub(crate) struct Hooks<B: Backend> {
    list: Mutex<Vec<(u64, usize, Hook<B>)>>,
}

impl<B: Backend> Hooks<B> {
    pub(crate) fn new() -> Self {
        Self { list: Mutex::new(Vec::new()) }
    }

    pub(crate) fn add(&self, output: usize, hook: Hook<B>) -> u64 {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let number = list.last().map_or(0, |(last, _, _)| last + 1);
        list.push((number, output, hook));
        number
    }

    pub(crate) fn remove(&self, number: u64) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).retain(|(held, _, _)| *held != number);
    }

    /// Runs the hooks of a result in the order they were added. No lock is held meanwhile.
    pub(crate) fn run(&self, output: usize, mut gradient: Tensor<B>) -> tensor_core::Result<Tensor<B>> {
        let hooks: Vec<Hook<B>> = {
            let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
            list.iter().filter(|(_, of, _)| *of == output).map(|(_, _, hook)| hook.clone()).collect()
        };
        for hook in hooks {
            if let Some(replaced) = hook(&gradient) {
                if replaced.shape() != gradient.shape() {
                    return Err(tensor_core::Error::gradient(
                        "hook",
                        format!("a gradient of shape {:?}", gradient.shape()),
                        format!("{:?}", replaced.shape()),
                    ));
                }
                gradient = replaced;
            }
        }
        Ok(gradient)
    }
}

impl<B: Backend> Drop for Node<B> {
    /// Takes a graph apart without recursion, so that its depth does not matter.
    fn drop(&mut self) {
        let mut waiting: Vec<Arc<Self>> = Vec::new();
        detach(&mut self.inputs, &mut self.primitive, &mut waiting);
        while let Some(mut node) = waiting.pop() {
            if let Some(node) = Arc::get_mut(&mut node) {
                // Where it stands, as moving a node takes longer than this does. Without edges, its own drop does not recurse.
                detach(&mut node.inputs, &mut node.primitive, &mut waiting);
            } else if let Some(mut node) = Arc::into_inner(node) {
                // Another thread let go of it in between.
                detach(&mut node.inputs, &mut node.primitive, &mut waiting);
            }
        }
    }
}

/// Moves the nodes that edges and custom functions own onto a list.
fn detach<B: Backend>(
    inputs: &mut SmallVec<[Edge<B>; 2]>,
    primitive: &mut Primitive<B>,
    waiting: &mut Vec<Arc<Node<B>>>,
) {
    for edge in inputs {
        if let Target::Node(node, _) = std::mem::replace(&mut edge.target, Target::None) {
            waiting.push(node);
        }
    }
    if let Primitive::Custom(custom) = primitive {
        custom.detach(waiting);
    }
}

impl<B: Backend> fmt::Debug for Node<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("name", &self.primitive.name()).field("level", &self.level).finish_non_exhaustive()
    }
}
