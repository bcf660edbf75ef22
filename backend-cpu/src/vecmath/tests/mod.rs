//! Accuracy and special values of every function, on every instruction set that this machine has.

mod accuracy;
mod special_values;
