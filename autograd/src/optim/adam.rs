//! Adam, and [`AdamW`], whose weight decay does not pass through the moments.

use super::{Formula, Optimizer, at_least_zero, below_one, checked, run, zeros};
use crate::misuse::ok;
use crate::tensor::Tensor;
use tensor_core::op::{BinaryOp, UnaryOp};
use tensor_core::{Array, Backend, DType, Program};

#[derive(Clone, Copy, Debug, PartialEq)]
struct Settings {
    learning_rate: f64,
    betas: (f64, f64),
    eps: f64,
    weight_decay: f64,
    /// Whether decay acts on the parameter itself rather than through its gradient.
    decoupled: bool,
}

/// What both optimizers are.
#[derive(Debug)]
struct Moments<B: Backend> {
    name: &'static str,
    params: Vec<Tensor<B>>,
    /// For each parameter its steps, and its moments once it has made one.
    states: Vec<(u32, Vec<Array<B>>)>,
    settings: Settings,
}

impl<B: Backend> Moments<B> {
    #[track_caller]
    fn new<'a>(
        name: &'static str,
        params: impl IntoIterator<Item = &'a Tensor<B>>,
        learning_rate: f64,
        decoupled: bool,
    ) -> Self {
        let params = checked(name, params);
        let states = params.iter().map(|_| (0, Vec::new())).collect();
        let learning_rate = at_least_zero(name, "a learning rate", learning_rate);
        let weight_decay = if decoupled { 0.01 } else { 0.0 };
        let settings = Settings { learning_rate, betas: (0.9, 0.999), eps: 1e-8, weight_decay, decoupled };
        Self { name, params, states, settings }
    }

    #[track_caller]
    fn step(&mut self) {
        let mut last: Option<(DType, u32, Program)> = None;
        for (param, (steps, moments)) in self.params.iter().zip(&mut self.states) {
            let Some(grad) = param.grad() else { continue };
            let dtype = param.dtype();
            if moments.is_empty() {
                moments.extend([zeros(param), zeros(param)]);
            }
            *steps = steps.saturating_add(1);
            if last.as_ref().is_none_or(|(of, at, _)| *of != dtype || at != steps) {
                last = Some((dtype, *steps, formula(self.settings, dtype, *steps)));
            }
            let Some((_, _, program)) = &last else { continue };
            ok(run(program, param, moments, &grad.array()));
        }
    }
}

/// One step, the `steps`-th, of a parameter of `dtype`: `x, m, v, g ↦ x, m, v`.
fn formula(settings: Settings, dtype: DType, steps: u32) -> Program {
    let Settings { learning_rate, betas, eps, weight_decay, decoupled } = settings;
    let state = dtype.compute();
    let mut f = Formula::new(dtype);
    let (mut x, m, v, mut g) = (f.input(dtype), f.input(state), f.input(state), f.input(dtype));
    if decoupled {
        x = f.scale(x, 1.0 - learning_rate * weight_decay);
    } else if weight_decay > 0.0 {
        let decay = f.scale(x, weight_decay);
        g = f.add(g, decay);
    }
    let (old, new) = (f.scale(m, betas.0), f.scale(g, 1.0 - betas.0));
    let m = f.add(old, new);
    let square = f.mul(g, g);
    let (old, new) = (f.scale(v, betas.1), f.scale(square, 1.0 - betas.1));
    let v = f.add(old, new);
    let correction = |beta: f64| 1.0 - beta.powf(f64::from(steps));
    let root = f.program.unary(UnaryOp::Sqrt, v);
    let root = f.scale(root, 1.0 / correction(betas.1).sqrt());
    let eps = f.number(eps);
    let root = f.add(root, eps);
    let step = f.scale(m, learning_rate / correction(betas.0));
    let step = f.program.binary(BinaryOp::Div, step, root);
    let x = f.sub(x, step);
    f.output(x, dtype);
    f.output(m, state);
    f.output(v, state);
    f.program
}

macro_rules! adam {
    ($(#[$doc:meta])* $name:ident, $lower:literal, $decoupled:literal, $(#[$decay_doc:meta])* weight_decay) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<B: Backend>(Moments<B>);

        impl<B: Backend> $name<B> {
            /// For leaves that require gradients, with betas 0.9 and 0.999 and eps 1e-8. The usual rate is 0.001.
            ///
            /// # Panics
            /// If a parameter is no leaf that requires a gradient or is given twice, or the rate is negative or not finite.
            #[track_caller]
            #[must_use]
            pub fn new<'a>(params: impl IntoIterator<Item = &'a Tensor<B>>, learning_rate: f64) -> Self {
                Self(Moments::new($lower, params, learning_rate, $decoupled))
            }

            /// How slowly the mean of gradients and the mean of their squares change.
            ///
            /// # Panics
            /// If one lies outside of 0 to below 1.
            #[track_caller]
            #[must_use]
            pub fn betas(mut self, first: f64, second: f64) -> Self {
                self.0.settings.betas =
                    (below_one($lower, "a first beta", first), below_one($lower, "a second beta", second));
                self
            }

            /// What keeps the division from 0.
            ///
            /// # Panics
            /// If it is negative or not finite.
            #[track_caller]
            #[must_use]
            pub fn eps(mut self, eps: f64) -> Self {
                self.0.settings.eps = at_least_zero($lower, "an eps", eps);
                self
            }

            $(#[$decay_doc])*
            ///
            /// # Panics
            /// If it is negative or not finite.
            #[track_caller]
            #[must_use]
            pub fn weight_decay(mut self, weight_decay: f64) -> Self {
                self.0.settings.weight_decay = at_least_zero($lower, "a weight decay", weight_decay);
                self
            }
        }

        impl<B: Backend> Optimizer<B> for $name<B> {
            fn params(&self) -> &[Tensor<B>] {
                &self.0.params
            }

            #[track_caller]
            fn step(&mut self) {
                self.0.step();
            }

            fn learning_rate(&self) -> f64 {
                self.0.settings.learning_rate
            }

            #[track_caller]
            fn set_learning_rate(&mut self, learning_rate: f64) {
                self.0.settings.learning_rate = at_least_zero(self.0.name, "a learning rate", learning_rate);
            }
        }
    };
}

adam! {
    /// Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015: steps of the mean of gradients `m` over the root of
    /// the mean of their squares `v`, both corrected for their start at 0: `x −= rate·m̂ / (√v̂ + eps)`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// use autograd::optim::{Adam, Optimizer};
    /// let x = Tensor::scalar(1.0).requires_grad_();
    /// let mut adam = Adam::new([&x], 0.25);
    /// x.powi(2).backward();
    /// adam.step();
    /// assert!((x.item() - 0.75).abs() < 1e-6);
    /// ```
    Adam, "adam", false,
    /// How strongly parameters are drawn to 0: `weight_decay·x` is added to the gradient. 0 at first.
    weight_decay
}

adam! {
    /// Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019: as [`Adam`], but before each step
    /// `x *= 1 − rate·weight_decay`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// use autograd::optim::{AdamW, Optimizer};
    /// let x = Tensor::scalar(1.0).requires_grad_();
    /// let mut adamw = AdamW::new([&x], 0.5).weight_decay(0.5);
    /// x.powi(2).backward();
    /// adamw.step();
    /// assert!((x.item() - 0.25).abs() < 1e-6);
    /// ```
    AdamW, "adamw", true,
    /// How strongly parameters are drawn to 0, times the rate at each step. 0.01 at first.
    weight_decay
}
