//! A kernel's first parameter: one struct, described in C and filled in Rust.

use super::Params;
use std::fmt::Write;

/// The fields of the struct, in C, and their values, packed as C packs them.
///
/// The same code builds both, so the two cannot disagree: with values when a launch is planned, and for the text alone when
/// the source is written.
#[derive(Default)]
pub(super) struct Block {
    pub(super) text: String,
    pub(super) bytes: Params,
}

/// A C integer or float that a parameter can have.
pub(super) trait Field: Copy {
    const C: &'static str;
    fn push(self, bytes: &mut Params);
}

macro_rules! field {
    ($($t:ty => $c:literal),*) => {$(
        impl Field for $t {
            const C: &'static str = $c;
            fn push(self, bytes: &mut Params) {
                while !bytes.len().is_multiple_of(size_of::<Self>()) {
                    bytes.push(0);
                }
                bytes.extend_from_slice(&self.to_ne_bytes());
            }
        }
    )*};
}
field!(i64 => "i64", u64 => "u64", i32 => "i32", u32 => "u32", i16 => "i16", i8 => "i8", u8 => "u8", f32 => "f32", f64 => "f64");

impl Block {
    pub(super) fn one<T: Field>(&mut self, name: &str, value: T) {
        let _ = writeln!(self.text, "    {} {name};", T::C);
        value.push(&mut self.bytes);
    }

    /// An array; nothing if it is empty.
    pub(super) fn list<T: Field>(&mut self, name: &str, values: impl ExactSizeIterator<Item = T>) {
        if values.len() == 0 {
            return;
        }
        let _ = writeln!(self.text, "    {} {name}[{}];", T::C, values.len());
        for value in values {
            value.push(&mut self.bytes);
        }
    }

    /// Indices, as wide as the kernel's indices are.
    pub(super) fn indices(&mut self, name: &str, values: impl ExactSizeIterator<Item = i64>, wide: bool) {
        if wide {
            self.list(name, values);
        } else {
            self.list(name, values.map(|value| value as i32));
        }
    }

    /// The whole struct's type. Every block has a field of 8 bytes, so its size is a multiple of 8.
    pub(super) fn definition(&self) -> String {
        format!("typedef struct {{\n{}}} Params;\n", self.text)
    }

    pub(super) fn finish(mut self) -> Params {
        while !self.bytes.len().is_multiple_of(8) {
            self.bytes.push(0);
        }
        self.bytes
    }
}
