//! How tensors print: as text in PyTorch's form, and as HTML in notebooks.

use crate::graph::{Node, Target};
use crate::primitive::{ConvKind, Primitive};
use crate::tensor::Tensor;
use std::fmt::{self, Write as _};
use tensor_core::op::{BinaryOp, UnaryOp};
use tensor_core::print::{PrintOptions, ShownAxis, Suffixes, repr_of_shown, shown};
use tensor_core::{Array, Backend, ReduceOp, Result, Scalar};

impl<B: Backend> fmt::Display for Tensor<B> {
    /// PyTorch's form. A precision is the number of digits after the point: `{:.2}`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([1.0_f32, 2.5]).requires_grad_();
    /// assert_eq!(x.to_string(), "tensor([1.0000, 2.5000], device='reference', requires_grad=True)");
    /// assert_eq!(format!("{:.1}", x * 1.1), "tensor([1.1, 2.8], device='reference', grad_fn=<MulBackward0>)");
    /// ```
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&repr(self, &PrintOptions::for_formatter(f)))
    }
}

impl<B: Backend> fmt::Debug for Tensor<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<B: Backend> Tensor<B> {
    /// The name of the recorded operation that made it, as PyTorch writes it where it has that operation, such as
    /// `MulBackward0`; `None` for leaves. A user's own [`Function`](crate::Function) has no number at the end.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::ones([2]).requires_grad_();
    /// assert_eq!(x.grad_fn(), None);
    /// assert_eq!((x * 2).grad_fn().as_deref(), Some("MulBackward0"));
    /// ```
    pub fn grad_fn(&self) -> Option<String> {
        match self.origin() {
            Target::Node(node, _) => Some(backward_name(node, self.rank())),
            _ => None,
        }
    }

    /// The tensor as a table in HTML: at most two axes, with the dtype and shape below. Others, and those too large, come as
    /// preformatted text.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let html = Tensor::from([[1_i64, 2], [3, 4]]).to_html();
    /// assert!(html.contains("<tr><td>3</td><td>4</td></tr>"));
    /// ```
    pub fn to_html(&self) -> String {
        let shape = self.shape();
        let options = PrintOptions::global();
        let (1 | 2, true) = (shape.len(), self.numel() > 0 && self.numel() <= options.threshold) else {
            return format!("<pre>{}</pre>", escaped(&self.to_string()));
        };
        let columns = shape[shape.len() - 1];
        let Ok(values) = shown_values(&self.array(), &shown(&self.checked_shape(), &options)) else {
            return format!("<pre>{}</pre>", escaped(&self.to_string()));
        };
        let mut html = String::from("<table>");
        for row in values.chunks(columns) {
            html.push_str("<tr>");
            for value in row {
                let cell = match value {
                    Scalar::Float(float) => format!("{float:.*}", options.precision),
                    other => other.to_string(),
                };
                html.push_str("<td>");
                html.push_str(&cell);
                html.push_str("</td>");
            }
            html.push_str("</tr>");
        }
        // Writing to a String cannot fail.
        let _ = write!(html, "</table><p>{} {:?}</p>", self.dtype(), shape);
        html
    }

    /// Shows the tensor in a Jupyter notebook whose kernel is evcxr, which calls this by its name.
    pub fn evcxr_display(&self) {
        for (kind, content) in [("text/plain", self.to_string()), ("text/html", self.to_html())] {
            println!("EVCXR_BEGIN_CONTENT {kind}\n{content}\nEVCXR_END_CONTENT");
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn repr<B: Backend>(tensor: &Tensor<B>, options: &PrintOptions) -> String {
    let array = tensor.array();
    let label = array.backend().label();
    let suffixes = Suffixes {
        device: (label != "cpu").then(|| label.into_owned()),
        requires_grad: tensor.is_leaf() && tensor.requires_grad(),
        grad_fn: tensor.grad_fn(),
    };
    match shown_values(&array, &shown(array.shape(), options)) {
        Ok(values) => repr_of_shown(array.dtype(), array.shape(), &values, &suffixes, options),
        Err(error) => format!("tensor(<{error}>)"),
    }
}

/// The elements that are printed, fetched at once: what lies between them stays on the device.
fn shown_values<B: Backend>(array: &Array<B>, axes: &[ShownAxis]) -> Result<Vec<Scalar>> {
    let mut part = array.clone();
    for (axis, shown) in axes.iter().enumerate() {
        if shown.len() < part.dims()[axis] {
            let axis = axis as isize;
            let head = part.narrow(axis, 0, shown.head.len())?;
            let tail = part.narrow(axis, shown.tail.start, shown.tail.len())?;
            part = Array::cat(&[&head, &tail], axis)?;
        }
    }
    let dtype = part.dtype();
    let bytes = part.to_bytes()?;
    Ok(bytes.chunks_exact(dtype.size()).map(|element| Scalar::read(dtype, element)).collect())
}

/// PyTorch's name of a node whose result has this many axes. It numbers an operation's overloads.
fn backward_name<B: Backend>(node: &Node<B>, rank: usize) -> String {
    let tracked = |number: usize| node.inputs.get(number).is_some_and(|edge| !edge.target.is_none());
    let (name, overload) = match &node.primitive {
        Primitive::Custom(custom) => return format!("{}Backward", custom.name()),
        Primitive::Unary(UnaryOp::Square) => ("Pow", 0),
        Primitive::Unary(UnaryOp::GeluTanh) => ("Gelu", 0),
        Primitive::Unary(UnaryOp::Log1p) => ("Log1P", 0),
        Primitive::Binary(op @ (BinaryOp::Pow | BinaryOp::Fmod | BinaryOp::Remainder)) => {
            let name = match op {
                BinaryOp::Pow => "Pow",
                BinaryOp::Fmod => "Fmod",
                _ => "Remainder",
            };
            (name, usize::from(tracked(1)))
        }
        Primitive::Binary(BinaryOp::FloorDiv | BinaryOp::TruncDiv) => ("Div", 2),
        Primitive::Clamp(Some(_), Some(_)) => ("Clamp", 1),
        Primitive::Clamp(Some(_), None) => ("ClampMin", 0),
        Primitive::Clamp(None, _) => ("ClampMax", 0),
        Primitive::Alias => ("Clone", 0),
        Primitive::ToDevice { .. } => ("ToCopy", 0),
        Primitive::Sum(to) => ("Sum", usize::from(to.keepdim || to.axes.len() < to.shape.rank())),
        Primitive::Prod(to) => ("Prod", usize::from(to.keepdim || to.axes.len() < to.shape.rank())),
        Primitive::Extreme(op, to) => {
            let whole = !to.keepdim && to.axes.len() == to.shape.rank();
            match (op, whole) {
                (ReduceOp::Min, true) => ("Min", 1),
                (ReduceOp::Min, false) => ("Amin", 0),
                (_, true) => ("Max", 1),
                (_, false) => ("Amax", 0),
            }
        }
        Primitive::Scan(tensor_core::ScanOp::Sum, _) => ("Cumsum", 0),
        Primitive::Scan(tensor_core::ScanOp::Prod, _) => ("Cumprod", 0),
        Primitive::Matmul if rank == 2 => ("Mm", 0),
        Primitive::Matmul => ("Bmm", 0),
        Primitive::Linear if rank == 2 => (if node.inputs.len() == 3 { "Addmm" } else { "Mm" }, 0),
        Primitive::Conv(call) if call.kind == ConvKind::Forward => ("Convolution", 0),
        Primitive::Conv(_) => ("ConvolutionBackward", 0),
        other => return format!("{}Backward0", other.name()),
    };
    format!("{name}Backward{overload}")
}
