//! Walking the graph backwards.
//!
//! The walk takes the node with the highest level from a heap, so every consumer of a tensor has given its share before the
//! tensor's own node runs. There is no recursion and nothing global: threads that walk graphs with common leaves meet only
//! where a leaf's gradient is added up.

mod queue;

use crate::graph::{Kept, KeptNumber, KeptOperand, Node, Saved, Taken, Target};
use crate::misuse::attempt;
use crate::mode::with_grad;
use crate::operand::Operand;
use crate::primitive::{Primitive, ViewOp};
use crate::rules::{self, Call};
use crate::tensor::Tensor;
use queue::{ByAddress, ByAddressHasher, NEAR, Queue, Slots};
use smallvec::SmallVec;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use tensor_core::{Array, Backend, Error, Result};

/// How a backward pass runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GradOptions {
    /// Keeps what the graph saved, so that it can be walked again.
    pub retain_graph: bool,
    /// Records the pass itself, so that its gradients can be differentiated. Implies `retain_graph`.
    pub create_graph: bool,
    /// For [`grad`]: an input that the outputs do not depend on gives `None` instead of an error.
    pub allow_unused: bool,
}

impl GradOptions {
    /// Keeps what the graph saved.
    #[must_use]
    pub fn retain_graph(mut self) -> Self {
        self.retain_graph = true;
        self
    }

    /// Records the pass itself.
    #[must_use]
    pub fn create_graph(mut self) -> Self {
        self.create_graph = true;
        self
    }

    /// Unused inputs give `None`.
    #[must_use]
    pub fn allow_unused(mut self) -> Self {
        self.allow_unused = true;
        self
    }

    fn keeps(&self) -> bool {
        self.retain_graph || self.create_graph
    }
}

/// The sum of the gradients of `outputs` with respect to each input, which may be leaves or intermediate tensors. Leaves'
/// `.grad` stays untouched. `gradients` are those of the outputs; an empty list stands for ones of one-element outputs.
///
/// ```
/// # use tensor_core::reference::Reference;
/// # type Tensor = autograd::Tensor<Reference>;
/// use autograd::{GradOptions, grad};
/// let x = Tensor::scalar(2.0).requires_grad_();
/// let y = x.powi(5);
/// let first = grad(&[&y], &[&x], &[], GradOptions::default().create_graph()).remove(0).unwrap();
/// let second = grad(&[&first], &[&x], &[], GradOptions::default().create_graph()).remove(0).unwrap();
/// let third = grad(&[&second], &[&x], &[], GradOptions::default()).remove(0).unwrap();
/// assert_eq!([first.item(), second.item(), third.item()], [80.0, 160.0, 240.0]);
/// ```
///
/// # Panics
/// If an input does not require a gradient, an output does not depend on any leaf that does, an input is not used (unless
/// `allow_unused`), shapes do not fit, or the graph was freed by a pass before.
#[track_caller]
pub fn grad<B: Backend>(
    outputs: &[&Tensor<B>],
    inputs: &[&Tensor<B>],
    gradients: &[&Tensor<B>],
    options: GradOptions,
) -> Vec<Option<Tensor<B>>> {
    crate::misuse::ok(attempt(|| try_grad(outputs, inputs, gradients, options)).flatten())
}

pub(crate) fn try_grad<B: Backend>(
    outputs: &[&Tensor<B>],
    inputs: &[&Tensor<B>],
    gradients: &[&Tensor<B>],
    options: GradOptions,
) -> Result<Vec<Option<Tensor<B>>>> {
    if !gradients.is_empty() && gradients.len() != outputs.len() {
        return Err(Error::gradient(
            "grad",
            format!("a gradient for each of {} outputs, or none", outputs.len()),
            format!("{}", gradients.len()),
        ));
    }
    if let Some(place) = inputs.iter().position(|input| !input.requires_grad()) {
        return Err(Error::gradient(
            "grad",
            "inputs that require a gradient",
            format!("input number {place}, which does not"),
        )
        .hint("call requires_grad_() on it before it is used"));
    }
    let given: Vec<Option<&Tensor<B>>> = match gradients {
        [] => vec![None; outputs.len()],
        list => list.iter().copied().map(Some).collect(),
    };
    let mut pass = Pass::new(&options);
    pass.targets = Some(Targets::new(outputs, inputs));
    pass.seed("grad", outputs, &given)?;
    pass.run("grad")?;
    let mut found = pass.captured;
    let mut result = Vec::with_capacity(inputs.len());
    for (place, input) in inputs.iter().enumerate() {
        let gradient = found.get_mut(&target_key(&input.edge())).cloned();
        if gradient.is_none() && !options.allow_unused {
            return Err(Error::gradient(
                "grad",
                "inputs that the outputs depend on",
                format!("input number {place}, which was not used"),
            )
            .hint("allow_unused gives None instead"));
        }
        result.push(gradient);
    }
    Ok(result)
}

/// Adds the gradients of the outputs to the `.grad` of all leaves.
pub(crate) fn backward<B: Backend>(
    outputs: &[&Tensor<B>],
    gradients: &[Option<&Tensor<B>>],
    options: &GradOptions,
) -> Result<()> {
    // The rules are written with operators, which panic when a device fails; here that becomes an error again.
    attempt(|| try_backward(outputs, gradients, options)).flatten()
}

fn try_backward<B: Backend>(
    outputs: &[&Tensor<B>],
    gradients: &[Option<&Tensor<B>>],
    options: &GradOptions,
) -> Result<()> {
    let mut pass = Pass::new(options);
    pass.seed("backward", outputs, gradients)?;
    pass.run("backward")?;
    for (leaf, gradient) in pass.leaves {
        let gradient = leaf.hooked(gradient)?;
        leaf.receive(gradient, options.create_graph)?;
    }
    Ok(())
}

/// Which result of which node, or which leaf.
type Key = (usize, usize);

fn target_key<B: Backend>(target: &Target<B>) -> Key {
    match target {
        Target::Node(_, output) => (target.key(), *output),
        _ => (target.key(), 0),
    }
}

/// The inputs that [`grad`] asks for, and the nodes on the way to them.
struct Targets {
    wanted: HashSet<Key, ByAddressHasher>,
    on_the_way: HashSet<usize, ByAddressHasher>,
}

impl Targets {
    fn new<B: Backend>(outputs: &[&Tensor<B>], inputs: &[&Tensor<B>]) -> Self {
        let wanted: HashSet<Key, _> = inputs.iter().map(|input| target_key(&input.edge())).collect();
        // All reachable nodes, operands before consumers, found without recursion.
        let mut seen: ByAddress<usize, ()> = HashMap::default();
        let mut nodes: Vec<&Arc<Node<B>>> = Vec::new();
        let mut open: Vec<&Arc<Node<B>>> = outputs.iter().filter_map(|output| output.node()).collect();
        while let Some(node) = open.pop() {
            if seen.insert(Arc::as_ptr(node).addr(), ()).is_none() {
                nodes.push(node);
                for edge in &node.inputs {
                    if let Target::Node(next, _) = &edge.target {
                        open.push(next);
                    }
                }
            }
        }
        nodes.sort_by_key(|node| node.level);
        let mut on_the_way: HashSet<usize, _> = HashSet::default();
        for node in nodes {
            let leads = node
                .inputs
                .iter()
                .any(|edge| wanted.contains(&target_key(&edge.target)) || on_the_way.contains(&edge.target.key()));
            if leads {
                on_the_way.insert(Arc::as_ptr(node).addr());
            }
        }
        Self { wanted, on_the_way }
    }

    fn needs<B: Backend>(&self, target: &Target<B>) -> bool {
        self.wanted.contains(&target_key(target)) || self.on_the_way.contains(&target.key())
    }
}

/// One walk.
struct Pass<'a, B: Backend> {
    options: &'a GradOptions,
    targets: Option<Targets>,
    queue: Queue<B>,
    /// The gradients gathered for leaves, in the order they were reached.
    leaves: Vec<(Tensor<B>, Tensor<B>)>,
    leaf_places: ByAddress<usize, usize>,
    captured: ByAddress<Key, Tensor<B>>,
}

impl<'a, B: Backend> Pass<'a, B> {
    fn new(options: &'a GradOptions) -> Self {
        Self {
            options,
            targets: None,
            queue: Queue::new(),
            leaves: Vec::new(),
            leaf_places: HashMap::default(),
            captured: HashMap::default(),
        }
    }

    /// Starts from the outputs' gradients.
    fn seed(&mut self, op: &'static str, outputs: &[&Tensor<B>], gradients: &[Option<&Tensor<B>>]) -> Result<()> {
        for (output, given) in outputs.iter().zip(gradients) {
            if !output.requires_grad() {
                return Err(Error::gradient(
                    op,
                    "a tensor that depends on one that requires a gradient",
                    "one that does not",
                )
                .hint("call requires_grad_() on the leaf, before it is used and outside of no_grad"));
            }
            let array = output.array();
            let gradient = match given {
                Some(given) => {
                    if given.checked_shape() != *array.shape() {
                        return Err(Error::gradient(
                            op,
                            format!("a gradient of shape {}", array.shape()),
                            format!("{}", given.checked_shape()),
                        ));
                    }
                    if given.dtype() == array.dtype() { (*given).clone() } else { given.try_to_dtype(array.dtype())? }
                }
                None if array.numel() == 1 => {
                    Tensor::from_array(Array::full(array.backend(), 1.0, array.shape(), array.dtype()))
                }
                None => {
                    return Err(Error::gradient(op, "a tensor of one element", format!("shape {}", array.shape()))
                        .hint("reduce it first, such as with sum(), or use backward_with(&gradient)"));
                }
            };
            self.add(&output.edge(), gradient)?;
        }
        Ok(())
    }

    /// Gives a target its share.
    fn add(&mut self, target: &Target<B>, gradient: Tensor<B>) -> Result<()> {
        match target {
            Target::None => {}
            Target::Leaf(leaf) => match self.leaf_place(leaf.key()) {
                Some(place) => {
                    let sum = self.sum(&self.leaves[place].1, &gradient)?;
                    self.leaves[place].1 = sum;
                }
                None => {
                    if self.leaves.len() >= NEAR {
                        self.leaf_places.insert(leaf.key(), self.leaves.len());
                    }
                    self.leaves.push((leaf.clone(), gradient));
                }
            },
            Target::Node(node, output) => {
                let slots = self.queue.slots(node);
                while slots.len() <= *output {
                    slots.push(None);
                }
                slots[*output] = Some(match slots[*output].take() {
                    Some(held) => with_grad(self.options.create_graph, || held.try_add(&gradient))?,
                    None => gradient,
                });
            }
        }
        Ok(())
    }

    /// Adds the gradient of a slice of a tensor to that part of the tensor's gradient, where other consumers have given theirs before: so
    /// not each slice's share is a tensor of the whole's size. `false` if that is not what the node is, or it is the first.
    fn add_to_part(&mut self, node: &Node<B>, gradient: &Tensor<B>) -> Result<bool> {
        let Primitive::View(view) = &node.primitive else { return Ok(false) };
        let (op @ (ViewOp::Slice { .. } | ViewOp::Select { .. }), Target::Node(of, output)) =
            (&view.0, &node.inputs[0].target)
        else {
            return Ok(false);
        };
        let Some(slot) = self.queue.slots(of).get_mut(*output) else { return Ok(false) };
        if slot.as_ref().is_none_or(|held| held.dtype() != gradient.dtype()) {
            return Ok(false);
        }
        let Some(held) = slot.take() else { return Ok(false) };
        let sum = held.into_array().add_at(|layout| op.of_layout(layout), &gradient.array())?;
        *slot = Some(Tensor::from_array(sum));
        Ok(true)
    }

    fn leaf_place(&self, key: usize) -> Option<usize> {
        let near = self.leaves.iter().take(NEAR).position(|(leaf, _)| leaf.key() == key);
        if near.is_some() || self.leaves.len() <= NEAR { near } else { self.leaf_places.get(&key).copied() }
    }

    fn sum(&self, a: &Tensor<B>, b: &Tensor<B>) -> Result<Tensor<B>> {
        with_grad(self.options.create_graph, || a.try_add(b))
    }

    fn run(&mut self, op: &'static str) -> Result<()> {
        while let Some((node, mut slots)) = self.queue.pop() {
            let key = Arc::as_ptr(&node).addr();
            if let Some(hooks) = node.hooks.get() {
                for (output, slot) in slots.iter_mut().enumerate() {
                    if let Some(gradient) = slot.take() {
                        *slot = Some(hooks.run(output, gradient)?);
                    }
                }
            }
            if let Some(targets) = &self.targets {
                for (output, slot) in slots.iter().enumerate() {
                    if let Some(gradient) = slot
                        && targets.wanted.contains(&(key, output))
                    {
                        self.captured.insert((key, output), gradient.clone());
                    }
                }
                if !targets.on_the_way.contains(&key) {
                    continue;
                }
            }
            self.step(op, &node, slots)?;
        }
        if let Some(targets) = &self.targets {
            for (leaf, gradient) in std::mem::take(&mut self.leaves) {
                let key = (leaf.key(), 0);
                if targets.wanted.contains(&key) {
                    self.captured.insert(key, leaf.hooked(gradient)?);
                }
            }
        }
        Ok(())
    }

    /// Runs one node's rule.
    fn step(&mut self, op: &'static str, node: &Arc<Node<B>>, slots: Slots<B>) -> Result<()> {
        let kept = take_saved(op, node, self.options.keeps())?;
        let create_graph = self.options.create_graph;
        if let Primitive::Custom(custom) = &node.primitive {
            let wanted: SmallVec<[bool; 4]> = node.inputs.iter().map(|edge| self.wants(&edge.target)).collect();
            let gradients = with_grad(create_graph, || custom.backward(node, &slots, &wanted, self.options.keeps()))?;
            for (edge, gradient) in node.inputs.iter().zip(gradients) {
                if let Some(gradient) = gradient {
                    self.add(&edge.target, gradient)?;
                }
            }
            return Ok(());
        }
        let Some(gradient) = slots.into_iter().next().flatten() else { return Ok(()) };
        with_grad(create_graph, || {
            let call = unpack(node, kept, create_graph, || gradient.device());
            let row = rules::row(&node.primitive);
            for (number, edge) in node.inputs.iter().enumerate() {
                if !self.wants(&edge.target) || !create_graph && self.add_to_part(node, &gradient)? {
                    continue;
                }
                let mut share = (row.vjp)(&call, &gradient, number);
                if let Some(meta) = &edge.meta {
                    let (shape, dtype) = &**meta;
                    share = share.try_sum_to(shape)?.try_to_dtype(*dtype)?;
                }
                self.add(&edge.target, share)?;
            }
            Ok(())
        })
    }

    fn wants(&self, target: &Target<B>) -> bool {
        !target.is_none() && self.targets.as_ref().is_none_or(|targets| targets.needs(target))
    }
}

/// What a node kept, which is freed unless the graph is to stay.
pub(crate) fn take_saved<B: Backend>(op: &'static str, node: &Node<B>, keep: bool) -> Result<Taken<B>> {
    let mut saved = node.saved.lock().unwrap_or_else(PoisonError::into_inner);
    match &*saved {
        Saved::Nothing => Ok(Taken::Nothing),
        Saved::Freed => Err(Error::gradient(
            op,
            "a graph that no backward pass has used",
            "one whose saved values were freed by a backward pass",
        )
        .hint("give the first pass retain_graph")),
        Saved::Kept(kept) if keep => {
            Ok(Taken::Kept(Box::new(Kept { operands: kept.operands.clone(), output: kept.output.clone() })))
        }
        Saved::Numbers(numbers) if keep => Ok(Taken::Numbers(*numbers)),
        Saved::Kept(_) | Saved::Numbers(_) => match std::mem::replace(&mut *saved, Saved::Freed) {
            Saved::Kept(kept) => Ok(Taken::Kept(kept)),
            Saved::Numbers(numbers) => Ok(Taken::Numbers(numbers)),
            Saved::Nothing | Saved::Freed => unreachable!("it was looked at under this lock"),
        },
    }
}

/// The kept values as tensors again: in the graph if this pass is recorded, plain ones otherwise. Numbers are where the
/// gradient is.
pub(crate) fn unpack<'n, B: Backend>(
    node: &'n Arc<Node<B>>,
    taken: Taken<B>,
    in_graph: bool,
    backend: impl FnOnce() -> B,
) -> Call<'n, B> {
    let origin = |number: usize| if in_graph { node.inputs[number].target.clone() } else { Target::None };
    let mut operands: SmallVec<[Option<Operand<'static, B>>; 3]> = SmallVec::new();
    let mut output = None;
    match taken {
        Taken::Nothing => {}
        Taken::Numbers(numbers) => {
            let backend = backend();
            for (number, kept) in numbers.into_iter().enumerate() {
                operands.push(match kept {
                    KeptNumber::Absent => None,
                    KeptNumber::Scalar(scalar) => Some(Operand::Scalar(scalar)),
                    KeptNumber::Tensor(value) => {
                        let array = Array::from_number(backend.clone(), value);
                        Some(Operand::Own(Tensor::with_origin(array, origin(number))))
                    }
                });
            }
        }
        Taken::Kept(kept) => {
            for (number, operand) in kept.operands.into_iter().enumerate() {
                operands.push(match operand {
                    KeptOperand::Absent => None,
                    KeptOperand::Scalar(scalar) => Some(Operand::Scalar(scalar)),
                    KeptOperand::Array(array) => Some(Operand::Own(Tensor::with_origin(array, origin(number)))),
                });
            }
            output = kept.output.map(|array| {
                let origin = if in_graph { Target::Node(node.clone(), 0) } else { Target::None };
                Tensor::with_origin(array, origin)
            });
        }
    }
    Call { primitive: &node.primitive, operands, output }
}
