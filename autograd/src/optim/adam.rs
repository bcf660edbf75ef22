//! Adam, and [`AdamW`], whose weight decay does not pass through the moments.

use super::{Formula, Optimizer, at_least_zero, below_one, checked, run, zeros};
use crate::misuse::ok;
use crate::tensor::Tensor;
use tensor_core::op::{BinaryOp, UnaryOp};
use tensor_core::{Array, Backend, DType, DeviceKind, Program, Result, Scalar, Shape};

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
    states: Vec<State<B>>,
    /// On devices, where steps are counted; one for all parameters that have made the same steps.
    clocks: Vec<Clock<B>>,
    /// The dtype of the clocks' factors; none where the host counts steps.
    counted: Option<DType>,
    settings: Settings,
}

/// What is kept of a parameter.
#[derive(Clone, Debug)]
struct State<B: Backend> {
    steps: u32,
    /// Both, once it has made a step.
    moments: Vec<Array<B>>,
    /// The number of its clock, where it has one.
    clock: Option<usize>,
}

/// Steps as a device counts them, so that a step that was captured as a graph counts on each time it is launched: the powers
/// of both betas in f64, and what the first moment and the root of the second are multiplied by for their start at 0.
#[derive(Clone, Debug)]
struct Clock<B: Backend>([Array<B>; 4]);

impl<B: Backend> Clock<B> {
    /// Before any step.
    fn new(backend: &B, factor: DType) -> Result<Self> {
        let number = |value: f64, dtype| {
            let number = Array::full(backend, value, &Shape::scalar(), dtype);
            // Memory of its own, which is written in place from then on.
            number.force().map(|()| number)
        };
        Ok(Self([number(1.0, DType::F64)?, number(1.0, DType::F64)?, number(1.0, factor)?, number(1.0, factor)?]))
    }

    fn tick(&mut self, betas: (f64, f64)) -> Result<()> {
        let mut program = Program::new();
        let powers = [DType::F64; 2].map(|dtype| program.input(dtype));
        let dtype = self.0[2].dtype();
        for _factor in 0..2 {
            program.input(dtype);
        }
        let one = program.scalar(Scalar::Float(1.0), DType::F64);
        let mut grow = |power, beta| {
            let beta = program.scalar(Scalar::Float(beta), DType::F64);
            let power = program.binary(BinaryOp::Mul, power, beta);
            (power, program.binary(BinaryOp::Sub, one, power))
        };
        let [(first, below_first), (second, below_second)] = [grow(powers[0], betas.0), grow(powers[1], betas.1)];
        let root = program.unary(UnaryOp::Sqrt, below_second);
        let factors = [below_first, root].map(|value| program.binary(BinaryOp::Div, one, value));
        for power in [first, second] {
            program.output(power);
        }
        for factor in factors {
            let factor = program.cast(factor, dtype);
            program.output(factor);
        }
        Array::overwrite(&program, &mut self.0, &[])
    }

    fn factors(&self) -> [&Array<B>; 2] {
        [&self.0[2], &self.0[3]]
    }
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
        let states = params.iter().map(|_| State { steps: 0, moments: Vec::new(), clock: None }).collect();
        let learning_rate = at_least_zero(name, "a learning rate", learning_rate);
        let weight_decay = if decoupled { 0.01 } else { 0.0 };
        let settings = Settings { learning_rate, betas: (0.9, 0.999), eps: 1e-8, weight_decay, decoupled };
        let counted = counted(&params);
        Self { name, params, states, clocks: Vec::new(), counted, settings }
    }

    #[track_caller]
    fn step(&mut self) {
        let grads: Vec<Option<Tensor<B>>> = self.params.iter().map(Tensor::grad).collect();
        ok(self.tick(&grads));
        let mut last: Option<(DType, Steps, Program)> = None;
        for ((param, state), grad) in self.params.iter().zip(&mut self.states).zip(&grads) {
            let Some(grad) = grad else { continue };
            let dtype = param.dtype();
            if state.moments.is_empty() {
                state.moments.extend([zeros(param), zeros(param)]);
            }
            state.steps = state.steps.saturating_add(1);
            let clock = state.clock.map(|number| &self.clocks[number]);
            let steps = clock.map_or(Steps::Number(state.steps), |clock| Steps::Factors(clock.0[2].dtype()));
            if last.as_ref().is_none_or(|(of, at, _)| (*of, *at) != (dtype, steps)) {
                last = Some((dtype, steps, formula(self.settings, dtype, steps)));
            }
            let Some((.., program)) = &last else { continue };
            let grad = grad.array();
            ok(match clock.map(Clock::factors) {
                Some([first, second]) => run(program, param, &mut state.moments, &[&grad, first, second]),
                None => run(program, param, &mut state.moments, &[&grad]),
            });
        }
    }

    /// Lets the clocks of all parameters go on that are about to make a step.
    fn tick(&mut self, grads: &[Option<Tensor<B>>]) -> Result<()> {
        let (Some(factor), Some(backend)) = (self.counted, self.params.first().map(Tensor::device)) else {
            return Ok(());
        };
        let goes = |number: usize| grads[number].is_some();
        let mut clocks: Vec<Option<usize>> = self.states.iter().map(|state| state.clock).collect();
        clocks.sort_unstable();
        clocks.dedup();
        for clock in clocks {
            let (going, waiting): (Vec<usize>, Vec<usize>) =
                (0..grads.len()).filter(|&number| self.states[number].clock == clock).partition(|&number| goes(number));
            if going.is_empty() {
                continue;
            }
            let number = match clock {
                Some(number) if waiting.is_empty() => number,
                // Those without a gradient stay behind.
                other => {
                    let fresh = match other {
                        Some(number) => self.clocks[number].clone(),
                        None => Clock::new(&backend, factor)?,
                    };
                    self.clocks.push(fresh);
                    self.clocks.len() - 1
                }
            };
            going.iter().for_each(|&state| self.states[state].clock = Some(number));
            self.clocks[number].tick(self.settings.betas)?;
        }
        Ok(())
    }
}

/// The dtype of factors that a device keeps for these parameters; none if the host is to count their steps, as for processors.
fn counted<B: Backend>(params: &[Tensor<B>]) -> Option<DType> {
    let backend = params.first()?.device();
    let info = backend.info();
    let widest = if params.iter().any(|param| param.dtype() == DType::F64) { DType::F64 } else { DType::F32 };
    let one_device = params.iter().all(|param| param.device() == backend);
    (info.kind != DeviceKind::Cpu && info.dtypes.contains(&DType::F64) && one_device).then_some(widest)
}

/// How a formula knows which step it is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Steps {
    Number(u32),
    /// By a clock's factors, of this dtype.
    Factors(DType),
}

impl Steps {
    /// What a moment with this beta, which started at 0, has grown to of what it will be.
    fn correction(self, beta: f64) -> f64 {
        match self {
            Self::Number(steps) => 1.0 - beta.powf(f64::from(steps)),
            Self::Factors(_) => 1.0,
        }
    }
}

/// One step of a parameter of `dtype`: `x, m, v, g ↦ x, m, v`; a clock's factors come last.
fn formula(settings: Settings, dtype: DType, steps: Steps) -> Program {
    let Settings { learning_rate, betas, eps, weight_decay, decoupled } = settings;
    let state = dtype.compute();
    let mut f = Formula::new(dtype);
    let (mut x, m, v, mut g) = (f.input(dtype), f.input(state), f.input(state), f.input(dtype));
    let factors = match steps {
        Steps::Number(_) => None,
        Steps::Factors(dtype) => Some([f.input(dtype), f.input(dtype)]),
    };
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
    let root = f.program.unary(UnaryOp::Sqrt, v);
    let root = match factors {
        Some([_, second]) => f.mul(root, second),
        None => f.scale(root, 1.0 / steps.correction(betas.1).sqrt()),
    };
    let eps = f.number(eps);
    let root = f.add(root, eps);
    let step = match factors {
        Some([first, _]) => {
            let rate = f.scale(first, learning_rate);
            f.mul(m, rate)
        }
        None => f.scale(m, learning_rate / steps.correction(betas.0)),
    };
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
