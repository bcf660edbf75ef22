//! Tensors from Rust values and back: numbers, arrays and vectors of them, nested, and `ndarray`'s arrays.

use crate::misuse::ok;
use crate::tensor::Tensor;
use tensor_core::{Backend, DType, Element, Error, Result, bf16, f16};

/// Numbers, and arrays, vectors and slices of them to any depth.
pub trait Nested {
    /// The type of the numbers.
    type Element: Element;

    /// Appends the sizes of the axes, judged by the first entries.
    fn sizes(&self, into: &mut Vec<usize>);

    /// Appends the numbers in row-major order.
    ///
    /// # Errors
    /// If the sizes differ from those given, which a nested vector's can.
    fn elements(&self, sizes: &[usize], into: &mut Vec<Self::Element>) -> Result<()>;
}

macro_rules! scalars {
    ($($t:ty),*) => {$(
        impl Nested for $t {
            type Element = $t;
            fn sizes(&self, _: &mut Vec<usize>) {}
            fn elements(&self, _: &[usize], into: &mut Vec<$t>) -> Result<()> {
                into.push(*self);
                Ok(())
            }
        }
    )*};
}
scalars!(bool, u8, i8, i16, i32, i64, f16, bf16, f32, f64);

impl<T: Nested> Nested for [T] {
    type Element = T::Element;

    fn sizes(&self, into: &mut Vec<usize>) {
        into.push(self.len());
        // What is not there has no size: a vector of no vectors is one empty axis.
        if let Some(first) = self.first() {
            first.sizes(into);
        }
    }

    fn elements(&self, sizes: &[usize], into: &mut Vec<T::Element>) -> Result<()> {
        let Some((&size, inner)) = sizes.split_first() else {
            return Err(Error::shape("tensor", "numbers at one depth", "numbers at different depths"));
        };
        if self.len() != size {
            return Err(Error::shape(
                "tensor",
                format!("rows of one length, {size} as the first"),
                format!("one of length {}", self.len()),
            ));
        }
        self.iter().try_for_each(|entry| entry.elements(inner, into))
    }
}

macro_rules! as_slice {
    ($([$($generics:tt)*] $t:ty),*) => {$(
        impl<$($generics)*> Nested for $t {
            type Element = T::Element;
            fn sizes(&self, into: &mut Vec<usize>) {
                self[..].sizes(into);
            }
            fn elements(&self, sizes: &[usize], into: &mut Vec<T::Element>) -> Result<()> {
                self[..].elements(sizes, into)
            }
        }
    )*};
}
as_slice!([T: Nested, const N: usize] [T; N], [T: Nested] Vec<T>, [T: Nested] &[T], [T: Nested, const N: usize] &[T; N], [T: Nested] &Vec<T>);

#[cfg(feature = "ndarray")]
impl<S, D> Nested for ndarray::ArrayBase<S, D>
where
    S: ndarray::Data<Elem: Element>,
    D: ndarray::Dimension,
{
    type Element = S::Elem;

    fn sizes(&self, into: &mut Vec<usize>) {
        into.extend(self.shape());
    }

    fn elements(&self, _: &[usize], into: &mut Vec<S::Elem>) -> Result<()> {
        // `iter` walks in logical order, whatever the memory order is.
        into.extend(self.iter().copied());
        Ok(())
    }
}

#[cfg(feature = "ndarray")]
impl<S, D> Nested for &ndarray::ArrayBase<S, D>
where
    S: ndarray::Data<Elem: Element>,
    D: ndarray::Dimension,
{
    type Element = S::Elem;

    fn sizes(&self, into: &mut Vec<usize>) {
        (**self).sizes(into);
    }

    fn elements(&self, sizes: &[usize], into: &mut Vec<S::Elem>) -> Result<()> {
        (**self).elements(sizes, into)
    }
}

/// The elements and their shape.
fn flat<N: Nested>(nested: &N) -> Result<(Vec<N::Element>, Vec<usize>)> {
    let mut sizes = Vec::new();
    nested.sizes(&mut sizes);
    let mut elements = Vec::with_capacity(sizes.iter().product());
    nested.elements(&sizes, &mut elements)?;
    Ok((elements, sizes))
}

impl<B: Backend + Default, N: Nested> From<N> for Tensor<B> {
    /// A tensor of the numbers' own dtype on the default device.
    ///
    /// # Panics
    /// If nested vectors have rows of different lengths.
    #[track_caller]
    fn from(nested: N) -> Self {
        let (elements, sizes) = ok(flat(&nested));
        Self::from_slice(&elements, &sizes)
    }
}

/// The dtype that a literal in `tensor!` stands for: as in PyTorch, plain integers are `I64` and plain floats `F32`.
pub trait Literal: Element {
    /// What is stored.
    type Stored: Element;

    /// The stored value.
    fn store(self) -> Self::Stored;
}

macro_rules! literals {
    ($($t:ty => $stored:ty),*) => {$(
        impl Literal for $t {
            type Stored = $stored;
            #[inline]
            fn store(self) -> $stored {
                self as $stored
            }
        }
    )*};
}
literals!(i32 => i64, f64 => f32);

macro_rules! plain_literals {
    ($($t:ty),*) => {$(
        impl Literal for $t {
            type Stored = $t;
            #[inline]
            fn store(self) -> $t {
                self
            }
        }
    )*};
}
plain_literals!(bool, u8, i8, i16, i64, f16, bf16, f32);

impl<B: Backend + Default> Tensor<B> {
    /// What `tensor!` makes: integers without a suffix are `I64`, floats without one are `F32`.
    ///
    /// # Panics
    /// If nested vectors have rows of different lengths.
    #[track_caller]
    #[must_use]
    pub fn literal<N: Nested<Element: Literal>>(nested: N) -> Self {
        let (elements, sizes) = ok(flat(&nested));
        let stored: Vec<_> = elements.into_iter().map(Literal::store).collect();
        Self::from_slice(&stored, &sizes)
    }

    /// The numbers converted to a dtype, from their own precision.
    ///
    /// # Panics
    /// If nested vectors have rows of different lengths.
    #[track_caller]
    #[must_use]
    pub fn literal_as<N: Nested>(nested: N, dtype: DType) -> Self {
        Self::from(nested).to_dtype(dtype)
    }
}

impl<B: Backend, T: Element> TryFrom<&Tensor<B>> for Vec<T> {
    type Error = Error;

    /// The elements in row-major order.
    ///
    /// # Errors
    /// If `T` is not the type of the elements, or the device fails.
    fn try_from(tensor: &Tensor<B>) -> Result<Self> {
        tensor.array().to_vec()
    }
}

macro_rules! numbers_out {
    ($($t:ty, $highest:expr;)*) => {$(
        impl<B: Backend> TryFrom<&Tensor<B>> for $t {
            type Error = Error;

            /// The only element of a tensor.
            ///
            /// # Errors
            /// If there is not exactly one element, its dtype is of a higher category (bool, integer, float) than the
            /// number's, an integer does not fit, or the device fails.
            fn try_from(tensor: &Tensor<B>) -> Result<Self> {
                if tensor.dtype().category() > $highest.category() {
                    return Err(Error::dtype("try_from", concat!("a dtype that ", stringify!($t), " can hold"), tensor.dtype().name())
                        .hint("convert the tensor first: .to(DType::I64)"));
                }
                let scalar = tensor.array().item()?;
                let value = Self::from_scalar(scalar);
                if let tensor_core::Scalar::Int(number) = scalar && value.to_scalar().as_i64() != number {
                    return Err(Error::value("try_from", concat!("a number that ", stringify!($t), " can hold"), number.to_string()));
                }
                Ok(value)
            }
        }
    )*};
}
numbers_out! {
    bool, DType::Bool;
    u8, DType::I64;
    i8, DType::I64;
    i16, DType::I64;
    i32, DType::I64;
    i64, DType::I64;
}

macro_rules! floats_out {
    ($($t:ty),*) => {$(
        impl<B: Backend> TryFrom<&Tensor<B>> for $t {
            type Error = Error;

            /// The only element of a tensor of any dtype, rounded to the nearest.
            ///
            /// # Errors
            /// If there is not exactly one element, or the device fails.
            fn try_from(tensor: &Tensor<B>) -> Result<Self> {
                Ok(Self::from_scalar(tensor.array().item()?))
            }
        }
    )*};
}
floats_out!(f16, bf16, f32, f64);

#[cfg(feature = "ndarray")]
impl<B: Backend> Tensor<B> {
    /// The values as an `ndarray` array.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let a = ndarray::array![[1.0_f32, 2.0], [3.0, 4.0]];
    /// let x = Tensor::from(&a) * 2;
    /// assert_eq!(x.to_ndarray::<f32>(), (a * 2.0).into_dyn());
    /// ```
    ///
    /// # Panics
    /// If `T` is not the type of the elements, or the device fails.
    #[track_caller]
    pub fn to_ndarray<T: Element>(&self) -> ndarray::ArrayD<T> {
        let elements = ok(self.array().to_vec::<T>().map_err(|error| error.named("to_ndarray")));
        ndarray::ArrayD::from_shape_vec(self.shape(), elements)
            .expect("a tensor has as many elements as its shape says")
    }
}
