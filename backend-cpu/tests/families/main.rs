//! Every kernel family against the reference interpreter: all dtypes, layouts and sizes at which loops change.

mod common;
mod index;
mod matmul;
mod reduce;
mod rows;
mod scan;
mod softmax;
mod sort;
