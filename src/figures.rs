//! Tensors in figures.

use crate::{Tensor, no_grad};
use plot::{Axes, Figure, Interval, Line, Points, Tangent};

/// How many points a curve of a tensor function is drawn through.
const SAMPLES: usize = 501;

/// A figure with the curve of a function of tensors over a range.
///
/// ```
/// use gradix::prelude::*;
/// let figure = plot_func(|x| x.powi(2), -2..2);
/// assert!(figure.to_svg().starts_with("<?xml") || figure.to_svg().starts_with("<svg"));
/// ```
pub fn plot_func(f: impl Fn(&Tensor) -> Tensor, range: impl Interval) -> Figure {
    let mut figure = Figure::new();
    figure.axes().grid(true).grid_color("#dfdfdf").plot_tensor_func(f, range);
    figure
}

/// What [`plot::Axes`] can draw of tensors.
pub trait TensorAxes {
    /// The curve of a function of tensors over a range. The function is run once, on all points.
    fn plot_tensor_func(&mut self, f: impl Fn(&Tensor) -> Tensor, range: impl Interval) -> &mut Line;

    /// The tangent of a function at `x`, with a slope that is guessed or was computed, such as
    /// `x.grad().unwrap().item()`.
    ///
    /// # Panics
    /// If `x` or `f(x)` does not have one element.
    fn plot_tangent(&mut self, f: impl Fn(&Tensor) -> Tensor, x: &Tensor, slope: f64) -> &mut Tangent;

    /// A line through the points of two tensors of one number of elements.
    ///
    /// # Panics
    /// If the numbers of elements differ.
    fn plot_tensor(&mut self, x: &Tensor, y: &Tensor) -> &mut Line;

    /// The points of two tensors of one number of elements.
    ///
    /// # Panics
    /// If the numbers of elements differ.
    fn scatter_tensor(&mut self, x: &Tensor, y: &Tensor) -> &mut Points;
}

impl TensorAxes for Axes {
    fn plot_tensor_func(&mut self, f: impl Fn(&Tensor) -> Tensor, range: impl Interval) -> &mut Line {
        let (start, end) = range.ends();
        let x = Tensor::linspace(start, end, SAMPLES);
        let y = no_grad(|| f(&x));
        self.plot_tensor(&x, &y)
    }

    #[track_caller]
    fn plot_tangent(&mut self, f: impl Fn(&Tensor) -> Tensor, x: &Tensor, slope: f64) -> &mut Tangent {
        let y = no_grad(|| f(x));
        self.plot_gradient(x.item(), y.item(), slope)
    }

    #[track_caller]
    fn plot_tensor(&mut self, x: &Tensor, y: &Tensor) -> &mut Line {
        self.plot(numbers(x), numbers(y))
    }

    #[track_caller]
    fn scatter_tensor(&mut self, x: &Tensor, y: &Tensor) -> &mut Points {
        self.scatter(numbers(x), numbers(y))
    }
}

/// The elements as plain numbers.
#[track_caller]
fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.detach().to(crate::DType::F64).to_vec()
}
