//! The obvious array: a list of values in row-major order and a shape.

use crate::strict::Strict;
use std::fmt::Debug;
use tensor_core::{Array, Element};

/// An array of which every operation is written with indices.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Nested<T> {
    pub(crate) dims: Vec<usize>,
    pub(crate) data: Vec<T>,
}

impl<T: Copy + Debug> Nested<T> {
    /// The array whose element at each position is what `f` says.
    pub(crate) fn from_fn(dims: &[usize], f: impl FnMut(&[usize]) -> T) -> Self {
        let mut f = f;
        let data = tensor_core::reference::positions(dims).map(|position| f(&position)).collect();
        Self { dims: dims.to_vec(), data }
    }

    pub(crate) fn get(&self, position: &[usize]) -> T {
        assert_eq!(position.len(), self.dims.len());
        let mut at = 0;
        for (&coordinate, &size) in position.iter().zip(&self.dims) {
            assert!(coordinate < size, "{position:?} lies within {:?}", self.dims);
            at = at * size + coordinate;
        }
        self.data[at]
    }

    /// Broadcasts by `NumPy`'s rule; the shape fits.
    pub(crate) fn expand(&self, dims: &[usize]) -> Self {
        let lead = dims.len() - self.dims.len();
        Self::from_fn(dims, |position| {
            let own: Vec<usize> =
                position[lead..].iter().zip(&self.dims).map(|(&i, &size)| if size == 1 { 0 } else { i }).collect();
            self.get(&own)
        })
    }
}

impl<T: Element> Nested<T> {
    pub(crate) fn on(&self, backend: &Strict) -> Array<Strict> {
        backend.array(&self.data, &self.dims)
    }

    pub(crate) fn of(array: &Array<Strict>) -> Self {
        Self { dims: array.dims().to_vec(), data: array.to_vec::<T>().unwrap() }
    }
}

/// The shape that both broadcast to, if there is one.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size = |dims: &[usize], axis: usize| (axis + dims.len()).checked_sub(rank).map_or(1, |at| dims[at]);
    (0..rank)
        .map(|axis| match (size(a, axis), size(b, axis)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}
