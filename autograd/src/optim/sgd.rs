//! Stochastic gradient descent.

use super::{Formula, Optimizer, at_least_zero, checked, run, zeros};
use crate::misuse::ok;
use crate::tensor::Tensor;
use smallvec::SmallVec;
use tensor_core::{Array, Backend, DType, Program};

/// Gradient descent, with momentum if wanted: with the gradient `g` (plus `weight_decay·x`),
/// `v = momentum·v + (1 − dampening)·g` (the first `v` is `g`), and `x −= learning_rate·v`; Nesterov's form takes
/// `g + momentum·v` for `v` in the last step.
///
/// ```
/// # use tensor_core::reference::Reference;
/// # type Tensor = autograd::Tensor<Reference>;
/// use autograd::optim::{Optimizer, Sgd};
/// let x = Tensor::scalar(1.0).requires_grad_();
/// let mut sgd = Sgd::new([&x], 0.5).momentum(0.9);
/// x.powi(2).backward();
/// sgd.step();
/// assert_eq!(x.item(), 0.0);
/// ```
#[derive(Debug)]
pub struct Sgd<B: Backend> {
    params: Vec<Tensor<B>>,
    velocities: Vec<Option<Array<B>>>,
    settings: Settings,
    /// The last step's program, and for which dtype and whether for a first step it is.
    last: Option<(DType, bool, Program)>,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    learning_rate: f64,
    momentum: f64,
    dampening: f64,
    weight_decay: f64,
    nesterov: bool,
}

impl<B: Backend> Sgd<B> {
    /// Plain gradient descent on leaves that require gradients.
    ///
    /// # Panics
    /// If a parameter is no leaf that requires a gradient or is given twice, or the rate is negative or not finite.
    #[track_caller]
    #[must_use]
    pub fn new<'a>(params: impl IntoIterator<Item = &'a Tensor<B>>, learning_rate: f64) -> Self {
        let params = checked("sgd", params);
        let learning_rate = at_least_zero("sgd", "a learning rate", learning_rate);
        let velocities = params.iter().map(|_| None).collect();
        let settings = Settings { learning_rate, momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false };
        Self { params, velocities, settings, last: None }
    }

    /// How much of the last step goes on.
    ///
    /// # Panics
    /// If it is negative or not finite.
    #[track_caller]
    #[must_use]
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.last = None;
        self.settings.momentum = at_least_zero("sgd", "a momentum", momentum);
        self
    }

    /// How much of the gradient is kept out of the momentum.
    ///
    /// # Panics
    /// If it is negative or not finite.
    #[track_caller]
    #[must_use]
    pub fn dampening(mut self, dampening: f64) -> Self {
        self.last = None;
        self.settings.dampening = at_least_zero("sgd", "a dampening", dampening);
        self
    }

    /// How strongly parameters are drawn to 0: `weight_decay·x` is added to the gradient.
    ///
    /// # Panics
    /// If it is negative or not finite.
    #[track_caller]
    #[must_use]
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.last = None;
        self.settings.weight_decay = at_least_zero("sgd", "a weight decay", weight_decay);
        self
    }

    /// Whether the momentum looks ahead. Without momentum this changes nothing.
    #[must_use]
    pub fn nesterov(mut self, nesterov: bool) -> Self {
        self.last = None;
        self.settings.nesterov = nesterov;
        self
    }
}

/// A step of a parameter of `dtype`: `x, g ↦ x`, or `x, v, g ↦ x, v`.
fn formula(settings: Settings, dtype: DType, first: bool) -> Program {
    let mut f = Formula::new(dtype);
    let with_momentum = settings.momentum > 0.0;
    let x = f.input(dtype);
    let state = dtype.compute();
    let velocity = with_momentum.then(|| f.input(state));
    let mut g = f.input(dtype);
    if settings.weight_decay > 0.0 {
        let decay = f.scale(x, settings.weight_decay);
        g = f.add(g, decay);
    }
    let mut direction = g;
    let mut kept = None;
    if let Some(velocity) = velocity {
        let v = if first {
            g
        } else {
            let (old, new) = (f.scale(velocity, settings.momentum), f.scale(g, 1.0 - settings.dampening));
            f.add(old, new)
        };
        kept = Some(v);
        direction = v;
        if settings.nesterov {
            let ahead = f.scale(v, settings.momentum);
            direction = f.add(g, ahead);
        }
    }
    let step = f.scale(direction, settings.learning_rate);
    let x = f.sub(x, step);
    f.output(x, dtype);
    if let Some(v) = kept {
        f.output(v, state);
    }
    f.program
}

impl<B: Backend> Optimizer<B> for Sgd<B> {
    fn params(&self) -> &[Tensor<B>] {
        &self.params
    }

    #[track_caller]
    fn step(&mut self) {
        for (param, velocity) in self.params.iter().zip(&mut self.velocities) {
            let Some(grad) = param.grad() else { continue };
            let (dtype, first) = (param.dtype(), velocity.is_none());
            let known = self.last.as_ref().is_some_and(|(of, at, _)| *of == dtype && *at == first);
            if !known {
                self.last = Some((dtype, first, formula(self.settings, dtype, first)));
            }
            let Some((_, _, program)) = &self.last else { continue };
            let mut state: SmallVec<[Array<B>; 1]> = SmallVec::new();
            if self.settings.momentum > 0.0 {
                state.push(velocity.take().unwrap_or_else(|| zeros(param)));
            }
            let ran = run(program, param, &mut state, &[&grad.array()]);
            *velocity = state.pop();
            ok(ran);
        }
    }

    fn learning_rate(&self) -> f64 {
        self.settings.learning_rate
    }

    #[track_caller]
    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.last = None;
        self.settings.learning_rate = at_least_zero("sgd", "a learning rate", learning_rate);
    }
}
