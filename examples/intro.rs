//! A tour: tensors, gradients, and what goes wrong when they pile up.
//!
//! `cargo run --release --example intro` prints each step and writes its pictures to `target/intro/`.

use gradix::plot::{Anchor, Figure};
use gradix::prelude::*;
use std::error::Error;
use std::path::{Path, PathBuf};

fn f(x: &Tensor) -> Tensor {
    x.powi(3) + 3 * x.powi(2) - 5 * x + 4
}

fn g(x: &Tensor) -> Tensor {
    x.powi(2)
}

const F: &str = "f(x) = x³ + 3x² − 5x + 4";
const G: &str = "g(x) = x²";

fn main() -> Result<(), Box<dyn Error>> {
    tensors()?;
    gradients()?;
    piled_up_gradients()?;
    descent()
}

/// Scalars, matrices, products, arrays from elsewhere, devices.
fn tensors() -> Result<(), Box<dyn Error>> {
    heading("Tensors");
    let x = tensor!(3.0);
    show("tensor!(3.0) * 2", &x * 2);

    let m = tensor!([[1, 2], [3, 4]]);
    let c = tensor!([10, 1]);
    show("a matrix", &m);
    show("a vector", &c);
    show("the matrix times 10", &m * 10);
    show("the matrix times the vector as a column", m.matmul(&c.reshape([-1, 1])));

    let a = ndarray::array![[1i64, 2], [3, 4]];
    let m = Tensor::from(a);
    show("from an ndarray", &m);

    let path = folder()?.join("m.npy");
    m.save_npy(&path)?;
    show("from a file that numpy reads too", Tensor::load_npy(&path)?);

    show("where it lives", m.device());
    match Device::cuda(0) {
        Ok(gpu) => show("and on the GPU", m.to(&gpu)),
        Err(why) => println!("no GPU available for our tensors :( ({why})"),
    }
    Ok(())
}

/// A guessed slope, and the computed one.
fn gradients() -> Result<(), Box<dyn Error>> {
    heading("Gradients");
    let x = tensor!(-2.0);
    println!("the gradient of a plain tensor: {:?}", x.grad());

    let mut figure = plot_func(f, -5..3);
    let ax = figure.axes();
    ax.plot_tangent(f, &x, -9.0).label("slope −9, a guess");
    ax.title(F).xlabel("x").ylabel("f(x)").legend();
    save(&figure, "guess")?;

    let x = tensor!(-2.0).requires_grad_();
    let y = f(&x);
    show("f(−2)", &y);
    y.backward();
    show("f′(−2)", x.grad().unwrap());

    let mut figure = plot_func(f, -5..3);
    let ax = figure.axes();
    ax.plot_tangent(f, &x, x.grad().unwrap().item()).label("slope −5, computed");
    ax.title(F).xlabel("x").ylabel("f(x)").legend();
    save(&figure, "computed")
}

/// Gradients add up until they are set to zero.
fn piled_up_gradients() -> Result<(), Box<dyn Error>> {
    heading("Gradients pile up");
    let x = tensor!(-2.0).requires_grad_();
    f(&x).backward();
    let slope_of_f = x.grad().unwrap().item();
    show("f′(−2)", x.grad().unwrap());

    g(&x).backward();
    let piled_up = x.grad().unwrap().item();
    show("then backward through g: not g′(−2), but the sum", x.grad().unwrap());

    x.grad().unwrap().zero_();
    show("after zero_()", x.grad().unwrap());

    g(&x).backward();
    let slope_of_g = x.grad().unwrap().item();
    show("backward through g again: g′(−2)", x.grad().unwrap());

    let mut figure = Figure::subplots(1, 2).size(11.0, 4.8);
    for (column, title, slope) in [(0, "piled up", piled_up), (1, "after zero_()", slope_of_g)] {
        let ax = figure.subplot(0, column);
        ax.plot_tensor_func(f, -5..3).label(F);
        ax.plot_tensor_func(g, -5..3).label(G);
        ax.plot_tangent(f, &x, slope_of_f).label(format!("f: slope {slope_of_f}"));
        ax.plot_tangent(g, &x, slope).color("tab:green").label(format!("g: slope {slope}"));
        ax.title(title).xlabel("x").grid(true).legend();
    }
    save(&figure, "piled-up")
}

/// Walking down f to its minimum.
fn descent() -> Result<(), Box<dyn Error>> {
    heading("Gradient descent");
    let x = tensor!(2.5).requires_grad_();
    let (mut steps, mut heights) = (vec![], vec![]);
    for _ in 0..40 {
        let y = f(&x);
        steps.push(x.item());
        heights.push(y.item());
        x.zero_grad();
        y.backward();
        no_grad(|| x.sub_(x.grad().unwrap() * 0.03));
    }
    show("the minimum is near x =", &x);
    show("where f is", f(&x.detach()));

    let mut figure = plot_func(f, -1..3);
    let ax = figure.axes();
    ax.plot(&steps, &heights).format("C1o-").width(0.8).marker_size(4.0).label("steps");
    ax.annotate("minimum near x = 0.633", (steps[39], heights[39]), (0.2, 12.0)).anchor(Anchor::Start);
    ax.title(F).xlabel("x").ylabel("f(x)").legend();
    save(&figure, "descent")
}

fn heading(title: &str) {
    println!("\n{title}\n{}", "-".repeat(title.len()));
}

fn show(what: &str, value: impl std::fmt::Display) {
    let value = value.to_string();
    let gap = if value.contains('\n') { "\n" } else { " " };
    println!("{what}:{gap}{value}");
}

/// `target/intro`, made where it is missing.
fn folder() -> std::io::Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new("target").to_owned(), PathBuf::from);
    let folder = target.join("intro");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Writes a picture in both formats.
fn save(figure: &Figure, name: &str) -> Result<(), Box<dyn Error>> {
    for kind in ["svg", "png"] {
        let path = folder()?.join(name).with_extension(kind);
        figure.save(&path)?;
        println!("wrote {}", path.display());
    }
    Ok(())
}
