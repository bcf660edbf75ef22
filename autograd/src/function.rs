//! Functions with a gradient rule of the user's own.

use crate::graph::{Edge, Node, Saved, Target};
use crate::misuse::ok;
use crate::mode::{is_grad_enabled, no_grad};
use crate::primitive::Primitive;
use crate::tensor::Tensor;
use smallvec::SmallVec;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tensor_core::{Array, Backend, DType, Error, Result, Shape};

/// A function with a gradient rule of its own.
///
/// ```
/// # use tensor_core::reference::Reference;
/// # type Tensor = autograd::Tensor<Reference>;
/// use autograd::{Context, Function, apply_function};
///
/// struct Cube;
///
/// impl Function<Reference> for Cube {
///     fn name(&self) -> &str {
///         "Cube"
///     }
///     fn forward(&self, context: &mut Context<Reference>, inputs: &[&Tensor]) -> Vec<Tensor> {
///         context.save(&[inputs[0]]);
///         vec![inputs[0] * inputs[0] * inputs[0]]
///     }
///     fn backward(&self, context: &Context<Reference>, gradients: &[Tensor]) -> Vec<Option<Tensor>> {
///         let x = &context.saved()[0];
///         vec![Some(&gradients[0] * 3 * x * x)]
///     }
/// }
///
/// let x = Tensor::scalar(2.0).requires_grad_();
/// let y = apply_function(Cube, &[&x]).remove(0);
/// y.backward();
/// assert_eq!(x.grad().unwrap().item(), 12.0);
/// ```
pub trait Function<B: Backend>: Send + Sync + 'static {
    /// The name in `grad_fn` and in drawings of the graph.
    fn name(&self) -> &str;

    /// Computes the results. Runs without recording; what [`backward`](Self::backward) needs is handed to the context.
    fn forward(&self, context: &mut Context<B>, inputs: &[&Tensor<B>]) -> Vec<Tensor<B>>;

    /// The gradients of the inputs from those of the results; results that nobody used come with zeros. `None` stands for
    /// "no gradient". Written with tensor operations, it can itself be differentiated.
    fn backward(&self, context: &Context<B>, gradients: &[Tensor<B>]) -> Vec<Option<Tensor<B>>>;
}

/// What a [`Function`] keeps between its two halves.
#[derive(Debug)]
pub struct Context<B: Backend> {
    saved: Vec<Tensor<B>>,
    needs: Vec<bool>,
    plain_outputs: Vec<usize>,
}

impl<B: Backend> Context<B> {
    /// Keeps tensors for the backward half: inputs, results, or others.
    pub fn save(&mut self, tensors: &[&Tensor<B>]) {
        self.saved.extend(tensors.iter().map(|&tensor| tensor.clone()));
    }

    /// The tensors kept, in the order they were saved.
    pub fn saved(&self) -> &[Tensor<B>] {
        &self.saved
    }

    /// Whether the gradient of an input is wanted.
    pub fn needs_input_grad(&self, input: usize) -> bool {
        self.needs.get(input).copied().unwrap_or(false)
    }

    /// Says that a result carries no gradient, such as an index.
    pub fn mark_non_differentiable(&mut self, output: usize) {
        self.plain_outputs.push(output);
    }
}

/// A value that a function saved, told apart by where its graph is kept.
#[derive(Clone)]
enum Kept<B: Backend> {
    Input(usize, Array<B>),
    Output(usize, Array<B>),
    Other(Tensor<B>),
}

/// A recorded call of a [`Function`].
pub(crate) struct Custom<B: Backend> {
    function: Arc<dyn Function<B>>,
    saved: Mutex<Option<Vec<Kept<B>>>>,
    inputs: Vec<(Shape, DType)>,
    outputs: Vec<(B, Shape, DType)>,
}

impl<B: Backend> fmt::Debug for Custom<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custom").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// Runs a [`Function`] on tensors and records it where one of them carries a gradient.
///
/// # Panics
/// Where the function itself panics.
#[track_caller]
pub fn apply_function<B: Backend>(function: impl Function<B>, inputs: &[&Tensor<B>]) -> Vec<Tensor<B>> {
    let function: Arc<dyn Function<B>> = Arc::new(function);
    let needs: Vec<bool> = inputs.iter().map(|input| input.requires_grad()).collect();
    let recorded = is_grad_enabled() && needs.contains(&true);
    let mut context = Context { saved: Vec::new(), needs, plain_outputs: Vec::new() };
    let outputs = no_grad(|| function.forward(&mut context, inputs));
    if !recorded {
        return outputs.iter().map(Tensor::detach).collect();
    }
    let kept = context.saved.into_iter().map(|tensor| {
        if let Some(place) = inputs.iter().position(|held| held.key() == tensor.key()) {
            Kept::Input(place, tensor.array())
        } else if let Some(place) = outputs.iter().position(|held| held.key() == tensor.key()) {
            Kept::Output(place, tensor.array())
        } else {
            Kept::Other(tensor)
        }
    });
    let custom = Custom {
        saved: Mutex::new(Some(kept.collect())),
        inputs: inputs.iter().map(|input| (input.checked_shape(), input.dtype())).collect(),
        outputs: outputs.iter().map(|output| (output.device(), output.checked_shape(), output.dtype())).collect(),
        function,
    };
    let edges: SmallVec<[Edge<B>; 2]> = inputs.iter().map(|input| Edge { target: input.edge(), meta: None }).collect();
    let level = edges.iter().map(|edge| edge.target.level()).max().unwrap_or(0) + 1;
    let node = Arc::new(Node {
        level,
        primitive: Primitive::Custom(Arc::new(custom)),
        inputs: edges,
        saved: Mutex::new(Saved::Nothing),
        hooks: OnceLock::new(),
    });
    outputs
        .iter()
        .enumerate()
        .map(|(place, output)| {
            if output.dtype().is_float() && !context.plain_outputs.contains(&place) {
                Tensor::with_origin(output.array(), Target::Node(node.clone(), place))
            } else {
                output.detach()
            }
        })
        .collect()
}

impl<B: Backend> Custom<B> {
    pub(crate) fn name(&self) -> String {
        self.function.name().to_owned()
    }

    /// Device, shape and dtype of each result.
    pub(crate) fn results(&self) -> impl Iterator<Item = &(B, Shape, DType)> {
        self.outputs.iter()
    }

    /// Shape and dtype of an input.
    pub(crate) fn operand(&self, number: usize) -> &(Shape, DType) {
        &self.inputs[number]
    }

    /// Moves the nodes that saved tensors own onto a list.
    pub(crate) fn detach(&self, waiting: &mut Vec<Arc<Node<B>>>) {
        let saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner).take();
        for kept in saved.into_iter().flatten() {
            if let Kept::Other(tensor) = kept {
                waiting.extend(tensor.into_node());
            }
        }
    }

    /// The gradients of the inputs. Runs under the recording mode of the pass.
    pub(crate) fn backward(
        &self,
        node: &Arc<Node<B>>,
        slots: &[Option<Tensor<B>>],
        wanted: &[bool],
        keep: bool,
    ) -> Result<Vec<Option<Tensor<B>>>> {
        let name = self.name();
        let saved = {
            let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
            if keep { saved.clone() } else { saved.take() }
        };
        let Some(saved) = saved else {
            return Err(Error::gradient(
                "backward",
                "a graph that no backward pass has used",
                "one whose saved values were freed by a backward pass",
            )
            .hint("give the first pass retain_graph"));
        };
        let in_graph = is_grad_enabled();
        let with = |array: Array<B>, origin: Target<B>| {
            if in_graph { Tensor::with_origin(array, origin) } else { Tensor::from_array(array) }
        };
        let saved = saved.into_iter().map(|kept| match kept {
            Kept::Input(place, array) => with(array, node.inputs[place].target.clone()),
            Kept::Output(place, array) => with(array, Target::Node(node.clone(), place)),
            Kept::Other(tensor) => tensor,
        });
        let context = Context { saved: saved.collect(), needs: wanted.to_vec(), plain_outputs: Vec::new() };
        let gradients: Vec<Tensor<B>> = self
            .outputs
            .iter()
            .enumerate()
            .map(|(place, (device, shape, dtype))| match slots.get(place).and_then(Option::as_ref) {
                Some(gradient) => gradient.clone(),
                None => Tensor::zeros_of(device, shape, *dtype),
            })
            .collect();
        let result = self.function.backward(&context, &gradients);
        if result.len() != self.inputs.len() {
            return Err(Error::gradient(
                name,
                format!("{} gradients from backward, one for each input", self.inputs.len()),
                result.len().to_string(),
            ));
        }
        let checked = result.into_iter().zip(&self.inputs).enumerate().map(|(place, (gradient, (shape, dtype)))| {
            let Some(gradient) = gradient else { return Ok(None) };
            let own = gradient.checked_shape();
            let fits = own.broadcast(shape, "backward").is_ok_and(|both| both == own);
            if !fits {
                return Err(Error::gradient(
                    name.clone(),
                    format!("a gradient of shape {shape} for input number {place}"),
                    own.to_string(),
                ));
            }
            Ok(Some(gradient.try_sum_to(shape)?.try_to_dtype(*dtype)?))
        });
        checked.collect()
    }
}

/// A function made of two closures, for rules that need no name of their own.
///
/// # Panics
/// As [`apply_function`].
#[track_caller]
pub fn with_gradient<B: Backend>(
    inputs: &[&Tensor<B>],
    forward: impl Fn(&[&Tensor<B>]) -> Tensor<B> + Send + Sync + 'static,
    backward: impl Fn(&[Tensor<B>], &Tensor<B>) -> Vec<Option<Tensor<B>>> + Send + Sync + 'static,
) -> Tensor<B> {
    struct Closures<F, G>(F, G);
    impl<B: Backend, F, G> Function<B> for Closures<F, G>
    where
        F: Fn(&[&Tensor<B>]) -> Tensor<B> + Send + Sync + 'static,
        G: Fn(&[Tensor<B>], &Tensor<B>) -> Vec<Option<Tensor<B>>> + Send + Sync + 'static,
    {
        fn name(&self) -> &str {
            "Custom"
        }
        fn forward(&self, context: &mut Context<B>, inputs: &[&Tensor<B>]) -> Vec<Tensor<B>> {
            context.save(inputs);
            vec![self.0(inputs)]
        }
        fn backward(&self, context: &Context<B>, gradients: &[Tensor<B>]) -> Vec<Option<Tensor<B>>> {
            self.1(context.saved(), &gradients[0])
        }
    }
    let mut outputs = apply_function(Closures(forward, backward), inputs);
    ok(outputs.pop().ok_or_else(|| Error::gradient("with_gradient", "a result", "none")))
}
