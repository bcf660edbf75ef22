//! Drawing a graph in Graphviz's DOT language.

use crate::graph::{Node, Target};
use crate::tensor::Tensor;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use tensor_core::Backend;

/// Numbers places in the order they are met, so that the text is the same every time.
#[derive(Default)]
struct Numbers(HashMap<usize, usize>);

impl Numbers {
    /// The number, and whether it is new.
    fn of(&mut self, key: usize) -> (usize, bool) {
        let next = self.0.len();
        let number = *self.0.entry(key).or_insert(next);
        (number, number == next)
    }
}

pub(crate) fn render<B: Backend>(tensor: &Tensor<B>) -> String {
    let mut text = String::from("digraph {\n  rankdir = BT;\n");
    let mut numbers = Numbers::default();
    let mut open: Vec<Arc<Node<B>>> = Vec::new();
    let mut name = |target: &Target<B>, text: &mut String, open: &mut Vec<Arc<Node<B>>>| {
        let (number, new) = numbers.of(target.key());
        if new {
            match target {
                Target::Leaf(leaf) => {
                    let _ = writeln!(
                        text,
                        "  n{number} [shape = ellipse, label = \"{} {:?}\"];",
                        leaf.dtype(),
                        leaf.shape()
                    );
                }
                Target::Node(node, _) => {
                    let label = node.primitive.name().replace('"', "\\\"");
                    let _ = writeln!(text, "  n{number} [shape = box, label = \"{label}\"];");
                    open.push(node.clone());
                }
                Target::None => {}
            }
        }
        number
    };
    name(&tensor.edge(), &mut text, &mut open);
    while let Some(node) = open.pop() {
        let to = name(&Target::Node(node.clone(), 0), &mut text, &mut open);
        for edge in &node.inputs {
            if !edge.target.is_none() {
                let from = name(&edge.target, &mut text, &mut open);
                let _ = writeln!(text, "  n{from} -> n{to};");
            }
        }
    }
    text.push_str("}\n");
    text
}
