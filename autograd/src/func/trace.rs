//! A function's graph between its inputs and its results, walked in both directions.
//!
//! The function runs on aliases of its inputs: nodes of their own, behind which nothing of this transform lies. An alias
//! leads on to whatever its input was computed from, so the results of one transform are part of the graph of the next
//! around it, and transforms nest to any depth.

use crate::engine::{self, GradOptions};
use crate::graph::{Edge, Node, Saved, Target};
use crate::misuse::attempt;
use crate::mode::{enable_grad, is_grad_enabled, with_grad};
use crate::operand::Operand;
use crate::primitive::{Primitive, apply};
use crate::rules::{self, Jvp};
use crate::tensor::Tensor;
use smallvec::{SmallVec, smallvec};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock};
use tensor_core::{Backend, DType, Error, Result, Shape};

/// Shape and dtype of a value.
type Meta = (Shape, DType);

/// Which result of which node.
type Key = (usize, usize);

/// A function's run.
pub(crate) struct Trace<B: Backend> {
    op: &'static str,
    inputs: Vec<Tensor<B>>,
    outputs: Vec<Tensor<B>>,
    /// The operations between inputs and results, operands before consumers.
    steps: Vec<Step<B>>,
    /// Whether the results also depend on tensors outside that require a gradient, or whose gradients another transform
    /// around this one computes.
    outside: bool,
}

/// A node with what its results look like.
struct Step<B: Backend> {
    node: Arc<Node<B>>,
    results: SmallVec<[Option<Meta>; 1]>,
}

/// A tensor whose gradient can be asked for: the input's value, with the input behind it in the graph if it carries one.
fn source<B: Backend>(input: &Tensor<B>) -> Tensor<B> {
    let target = input.edge();
    let node = Node {
        level: target.level() + 1,
        primitive: Primitive::Alias,
        inputs: smallvec![Edge { target, meta: None }],
        saved: Mutex::new(Saved::Nothing),
        hooks: OnceLock::new(),
    };
    Tensor::with_origin(input.array(), Target::Node(Arc::new(node), 0))
}

fn key_of<B: Backend>(tensor: &Tensor<B>) -> Option<Key> {
    match tensor.origin() {
        Target::Node(node, output) => Some((Arc::as_ptr(node).addr(), *output)),
        _ => None,
    }
}

impl<B: Backend> Trace<B> {
    /// Runs the function on aliases of the inputs, recording, and refuses it if no result depends on anything.
    pub(crate) fn new(
        op: &'static str,
        f: impl FnOnce(&[Tensor<B>]) -> Vec<Tensor<B>>,
        inputs: &[Tensor<B>],
    ) -> Result<Self> {
        let trace = Self::run(op, f, inputs)?;
        if trace.outputs.iter().any(Tensor::requires_grad) {
            return Ok(trace);
        }
        Err(Error::gradient(
            op,
            "a function whose result depends on its input",
            if trace.outputs.is_empty() { "one without results" } else { "a result that does not" },
        )
        .hint("compute it from the tensors that the function is given, without no_grad, detach or integers"))
    }

    /// Runs the function on aliases of the inputs, recording.
    pub(crate) fn run(
        op: &'static str,
        f: impl FnOnce(&[Tensor<B>]) -> Vec<Tensor<B>>,
        inputs: &[Tensor<B>],
    ) -> Result<Self> {
        if inputs.is_empty() {
            return Err(Error::gradient(op, "at least one input", "none"));
        }
        if let Some(place) = inputs.iter().position(|input| !input.dtype().is_float()) {
            return Err(Error::gradient(
                op,
                "inputs of a float dtype (f16, bf16, f32, f64)",
                format!("{} as input number {place}", inputs[place].dtype()),
            )
            .hint("convert it with .to(DType::F32), or let the function capture it"));
        }
        let inputs: Vec<Tensor<B>> = inputs.iter().map(source).collect();
        let outputs = enable_grad(|| f(&inputs));
        let mut trace = Self { op, inputs, outputs, steps: Vec::new(), outside: false };
        trace.collect();
        Ok(trace)
    }

    /// Finds the steps, without recursion.
    fn collect(&mut self) {
        let own: HashSet<usize> = self.inputs.iter().filter_map(key_of).map(|(node, _)| node).collect();
        let mut seen: HashSet<usize> = HashSet::new();
        let mut nodes: Vec<Arc<Node<B>>> = Vec::new();
        let mut open: Vec<Arc<Node<B>>> = self.outputs.iter().filter_map(|output| output.node().cloned()).collect();
        self.outside = self.outputs.iter().any(|output| matches!(output.edge(), Target::Leaf(_)));
        while let Some(node) = open.pop() {
            let address = Arc::as_ptr(&node).addr();
            if !seen.insert(address) {
                continue;
            }
            if own.contains(&address) {
                self.outside |= !node.inputs[0].target.is_none();
                continue;
            }
            // A node without operands in the graph is an alias that another transform made.
            self.outside |= node.inputs.iter().all(|edge| edge.target.is_none());
            for edge in &node.inputs {
                match &edge.target {
                    Target::None => {}
                    Target::Leaf(_) => self.outside = true,
                    Target::Node(next, _) => open.push(next.clone()),
                }
            }
            nodes.push(node);
        }
        nodes.sort_by_key(|node| node.level);
        let mut moves = own;
        nodes.retain(|node| {
            let moved = node.inputs.iter().any(|edge| moves.contains(&edge.target.key()));
            moved && moves.insert(Arc::as_ptr(node).addr())
        });
        self.steps = describe(nodes, &self.outputs);
    }

    pub(crate) fn inputs(&self) -> &[Tensor<B>] {
        &self.inputs
    }

    pub(crate) fn outputs(&self) -> &[Tensor<B>] {
        &self.outputs
    }

    /// Whether what is computed from these tensors and the function's run has to be recorded.
    fn recorded(&self, given: &[Tensor<B>]) -> bool {
        is_grad_enabled() && (self.outside || given.iter().any(Tensor::requires_grad))
    }

    /// The results as the caller sees them: without the graph unless something outside needs it.
    pub(crate) fn values(&self) -> Vec<Tensor<B>> {
        if self.recorded(&[]) { self.outputs.clone() } else { self.outputs.iter().map(Tensor::detach).collect() }
    }

    fn check(&self, given: &[Tensor<B>], like: &[Tensor<B>], what: &str) -> Result<()> {
        if given.len() != like.len() {
            return Err(Error::gradient(self.op, format!("{} {what}s", like.len()), given.len().to_string()));
        }
        for (place, (given, like)) in given.iter().zip(like).enumerate() {
            if given.checked_shape() != like.checked_shape() {
                return Err(Error::gradient(
                    self.op,
                    format!("a {what} of shape {} as number {place}", like.checked_shape()),
                    given.checked_shape().to_string(),
                ));
            }
            if given.device() != like.device() {
                return Err(Error::gradient(
                    self.op,
                    format!("a {what} on {} as number {place}", like.device().label()),
                    format!("one on {}", given.device().label()),
                ));
            }
        }
        Ok(())
    }

    /// The gradients of the inputs from those of the results. Inputs that the results do not depend on get zeros.
    pub(crate) fn pull(&self, gradients: &[Tensor<B>], again: bool) -> Result<Vec<Tensor<B>>> {
        self.check(gradients, &self.outputs, "gradient")?;
        let create_graph = self.recorded(gradients);
        let carries: Vec<usize> =
            (0..self.outputs.len()).filter(|&place| self.outputs[place].requires_grad()).collect();
        let outputs: Vec<&Tensor<B>> = carries.iter().map(|&place| &self.outputs[place]).collect();
        let gradients: Vec<&Tensor<B>> = carries.iter().map(|&place| &gradients[place]).collect();
        let inputs: Vec<&Tensor<B>> = self.inputs.iter().collect();
        let options = GradOptions { retain_graph: again, create_graph, allow_unused: true };
        let found = attempt(|| engine::try_grad(&outputs, &inputs, &gradients, options)).flatten()?;
        Ok(found.into_iter().zip(&self.inputs).map(|(found, input)| finished(found, input, create_graph)).collect())
    }

    /// The tangents of the results from those of the inputs. Results that do not depend on the inputs get zeros.
    pub(crate) fn push(&self, tangents: &[Tensor<B>]) -> Result<Vec<Tensor<B>>> {
        self.check(tangents, &self.inputs, "tangent")?;
        let record = self.recorded(tangents);
        attempt(|| with_grad(record, || self.push_recorded(tangents, record))).flatten()
    }

    fn push_recorded(&self, tangents: &[Tensor<B>], record: bool) -> Result<Vec<Tensor<B>>> {
        let mut known: HashMap<Key, Tensor<B>> = HashMap::new();
        for (input, tangent) in self.inputs.iter().zip(tangents) {
            let key = key_of(input).expect("an alias has a node");
            known.insert(key, tangent.try_to_dtype(input.dtype())?);
        }
        for step in &self.steps {
            let given: SmallVec<[Option<Tensor<B>>; 3]> = step
                .node
                .inputs
                .iter()
                .map(|edge| match &edge.target {
                    Target::Node(node, output) => known.get(&(Arc::as_ptr(node).addr(), *output)).cloned(),
                    _ => None,
                })
                .collect();
            if given.iter().all(Option::is_none) {
                continue;
            }
            let address = Arc::as_ptr(&step.node).addr();
            for (output, tangent) in step.push(self.op, &given, record)?.into_iter().enumerate() {
                if let Some(tangent) = tangent {
                    known.insert((address, output), tangent);
                }
            }
        }
        let found = self.outputs.iter().map(|output| key_of(output).and_then(|key| known.get(&key).cloned()));
        Ok(found.zip(&self.outputs).map(|(found, output)| finished(found, output, record)).collect())
    }
}

/// A derivative as the caller gets it: zeros where there is none. Within another transform even a constant one is part of
/// the graph, so that differentiating it gives zeros like any other, not an error.
fn finished<B: Backend>(found: Option<Tensor<B>>, like: &Tensor<B>, in_graph: bool) -> Tensor<B> {
    let derivative = found.unwrap_or_else(|| like.zeros_like());
    if in_graph && !derivative.requires_grad() { source(&derivative) } else { derivative }
}

/// The steps with the shapes and dtypes of their results, which nodes do not hold themselves: each consumer knows those of
/// its operands, and the last results are known.
fn describe<B: Backend>(nodes: Vec<Arc<Node<B>>>, outputs: &[Tensor<B>]) -> Vec<Step<B>> {
    let mut known: HashMap<Key, Meta> = HashMap::new();
    for output in outputs {
        if let Some(key) = key_of(output) {
            known.insert(key, (output.checked_shape(), output.dtype()));
        }
    }
    let mut steps: Vec<Step<B>> = Vec::with_capacity(nodes.len());
    for node in nodes.into_iter().rev() {
        let address = Arc::as_ptr(&node).addr();
        let results: SmallVec<[Option<Meta>; 1]> = match &node.primitive {
            Primitive::Custom(custom) => {
                custom.results().map(|(_, shape, dtype)| Some((shape.clone(), *dtype))).collect()
            }
            _ => smallvec![known.get(&(address, 0)).cloned()],
        };
        for (place, edge) in node.inputs.iter().enumerate() {
            let Target::Node(from, output) = &edge.target else { continue };
            let meta = match (&node.primitive, &edge.meta) {
                (Primitive::Custom(custom), _) => Some(custom.operand(place).clone()),
                (_, Some(meta)) => Some((**meta).clone()),
                (_, None) => results[0].clone(),
            };
            if let Some(meta) = meta {
                known.insert((Arc::as_ptr(from).addr(), *output), meta);
            }
        }
        steps.push(Step { node, results });
    }
    steps.reverse();
    steps
}

impl<B: Backend> Step<B> {
    /// The tangents of the node's results.
    fn push(&self, op: &'static str, tangents: &[Option<Tensor<B>>], record: bool) -> Result<Vec<Option<Tensor<B>>>> {
        let kept = engine::take_saved(op, &self.node, true)?;
        if let Primitive::Custom(custom) = &self.node.primitive {
            let seeds: Vec<Tensor<B>> = custom
                .results()
                .map(|(device, shape, dtype)| source(&Tensor::zeros_of(device, shape, *dtype)))
                .collect();
            let slots: Vec<Option<Tensor<B>>> = seeds.iter().cloned().map(Some).collect();
            let wanted: Vec<bool> = tangents.iter().map(Option::is_some).collect();
            let pulled = enable_grad(|| custom.backward(&self.node, &slots, &wanted, true))?;
            return transpose(&seeds, &pulled, tangents, record);
        }
        let (shape, dtype) = self.results[0].as_ref().expect("a step's result has a consumer or is a result of all");
        let row = rules::row(&self.node.primitive);
        let device = || tangents.iter().flatten().next().map(Tensor::device).expect("a step has a tangent");
        let call = engine::unpack(&self.node, kept, record, device);
        let mut total: Option<Tensor<B>> = None;
        let mut add = |part: Tensor<B>| -> Result<()> {
            total = Some(match total.take() {
                Some(held) => held.try_add(&part)?,
                None => part,
            });
            Ok(())
        };
        match row.jvp {
            Jvp::Diagonal => {
                for (number, tangent) in tangents.iter().enumerate() {
                    let Some(tangent) = tangent else { continue };
                    let wide = tangent.try_to_dtype(*dtype)?.expand_to(shape);
                    add((row.vjp)(&call, &wide, number))?;
                }
            }
            Jvp::Linear => {
                let operands = self.node.inputs.iter().zip(tangents).map(|(edge, tangent)| {
                    Operand::Own(match tangent {
                        Some(tangent) => tangent.clone(),
                        None => {
                            let meta = edge.meta.as_deref();
                            let (shape, dtype) = meta.map_or((shape, dtype), |(shape, dtype)| (shape, dtype));
                            Tensor::zeros_of(&device(), shape, *dtype)
                        }
                    })
                });
                let operands: SmallVec<[Operand<'_, B>; 3]> = operands.collect();
                add(apply(self.node.primitive.clone(), &operands)?)?;
            }
            Jvp::Multilinear => {
                for (number, tangent) in tangents.iter().enumerate() {
                    let Some(tangent) = tangent else { continue };
                    let operands: SmallVec<[Operand<'_, B>; 3]> = (0..tangents.len())
                        .map(|place| if place == number { Operand::Ref(tangent) } else { call.operand(place) })
                        .collect();
                    add(apply(self.node.primitive.clone(), &operands)?)?;
                }
            }
            Jvp::Transposed => {
                let device = tangents.iter().flatten().next().map(Tensor::device).expect("a step has a tangent");
                let seed = source(&Tensor::zeros_of(&device, shape, *dtype));
                let pulled: Vec<Option<Tensor<B>>> = enable_grad(|| {
                    let pull = |(number, tangent): (usize, &Option<Tensor<B>>)| {
                        tangent.as_ref().map(|_| (row.vjp)(&call, &seed, number))
                    };
                    tangents.iter().enumerate().map(pull).collect()
                });
                return transpose(&[seed], &pulled, tangents, record);
            }
        }
        Ok(vec![total])
    }
}

/// A rule is linear in the gradients it is given, so its derivative with respect to them, applied to the tangents, is what
/// pushes the tangents forward.
fn transpose<B: Backend>(
    seeds: &[Tensor<B>],
    pulled: &[Option<Tensor<B>>],
    tangents: &[Option<Tensor<B>>],
    record: bool,
) -> Result<Vec<Option<Tensor<B>>>> {
    let pairs = pulled.iter().zip(tangents).filter_map(|(pulled, tangent)| Some((pulled.as_ref()?, tangent.as_ref()?)));
    // What does not depend on the seeds is a gradient of zero.
    let (outputs, gradients): (Vec<&Tensor<B>>, Vec<&Tensor<B>>) =
        pairs.filter(|(pulled, _)| pulled.requires_grad()).unzip();
    if outputs.is_empty() {
        return Ok(seeds.iter().map(|_| None).collect());
    }
    let seeds: Vec<&Tensor<B>> = seeds.iter().collect();
    let options = GradOptions { retain_graph: false, create_graph: record, allow_unused: true };
    engine::try_grad(&outputs, &seeds, &gradients, options)
}
