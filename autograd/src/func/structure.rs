//! How many tensors a function takes and gives, as Rust types.

use crate::tensor::Tensor;
use tensor_core::Backend;

/// Tensors in the form in which a function gives them: one, an array, a list, or a tuple of two or three.
pub trait Tensors: Sized {
    /// The device they are on.
    type Backend: Backend;

    /// The tensors in order.
    fn to_list(&self) -> Vec<Tensor<Self::Backend>>;

    /// The same form with other tensors, as many as [`to_list`](Self::to_list) gave.
    ///
    /// # Panics
    /// If the number of tensors does not fit the form.
    fn from_list(list: Vec<Tensor<Self::Backend>>) -> Self;
}

impl<B: Backend> Tensors for Tensor<B> {
    type Backend = B;

    fn to_list(&self) -> Vec<Self> {
        vec![self.clone()]
    }

    fn from_list(list: Vec<Self>) -> Self {
        let [only] = exactly(list);
        only
    }
}

impl<B: Backend, const N: usize> Tensors for [Tensor<B>; N] {
    type Backend = B;

    fn to_list(&self) -> Vec<Tensor<B>> {
        self.to_vec()
    }

    fn from_list(list: Vec<Tensor<B>>) -> Self {
        exactly(list)
    }
}

impl<B: Backend> Tensors for Vec<Tensor<B>> {
    type Backend = B;

    fn to_list(&self) -> Self {
        self.clone()
    }

    fn from_list(list: Self) -> Self {
        list
    }
}

impl<B: Backend> Tensors for (Tensor<B>, Tensor<B>) {
    type Backend = B;

    fn to_list(&self) -> Vec<Tensor<B>> {
        vec![self.0.clone(), self.1.clone()]
    }

    fn from_list(list: Vec<Tensor<B>>) -> Self {
        exactly::<B, 2>(list).into()
    }
}

impl<B: Backend> Tensors for (Tensor<B>, Tensor<B>, Tensor<B>) {
    type Backend = B;

    fn to_list(&self) -> Vec<Tensor<B>> {
        vec![self.0.clone(), self.1.clone(), self.2.clone()]
    }

    fn from_list(list: Vec<Tensor<B>>) -> Self {
        exactly::<B, 3>(list).into()
    }
}

fn exactly<B: Backend, const N: usize>(list: Vec<Tensor<B>>) -> [Tensor<B>; N] {
    let count = list.len();
    list.try_into().unwrap_or_else(|_list| panic!("{N} tensors were expected, got {count}"))
}

/// Tensors in the form in which they are handed to a function: `&x`, `[&x, &y]`, or a slice of any length.
pub trait Inputs {
    /// The device they are on.
    type Backend: Backend;
    /// What the function is given: a tensor, an array of tensors or a slice of them.
    type Given: ?Sized;
    /// One tensor for each input: a tensor, an array or a list.
    type Owned: Tensors<Backend = Self::Backend>;
    /// One tensor for each pair of inputs: a tensor, an array of arrays or a list of lists.
    type Blocks;

    /// Handles of the tensors in order.
    fn to_list(&self) -> Vec<Tensor<Self::Backend>>;

    /// A list of as many tensors in the form that the function takes.
    ///
    /// # Panics
    /// If the number of tensors does not fit the form.
    fn given(list: &[Tensor<Self::Backend>]) -> &Self::Given;

    /// Rows of blocks in the form of the inputs.
    ///
    /// # Panics
    /// If the number of tensors does not fit the form.
    fn blocks(rows: Vec<Vec<Tensor<Self::Backend>>>) -> Self::Blocks;
}

impl<B: Backend> Inputs for &Tensor<B> {
    type Backend = B;
    type Given = Tensor<B>;
    type Owned = Tensor<B>;
    type Blocks = Tensor<B>;

    fn to_list(&self) -> Vec<Tensor<B>> {
        vec![(*self).clone()]
    }

    fn given(list: &[Tensor<B>]) -> &Tensor<B> {
        &list[0]
    }

    fn blocks(mut rows: Vec<Vec<Tensor<B>>>) -> Tensor<B> {
        rows.swap_remove(0).swap_remove(0)
    }
}

impl<B: Backend, const N: usize> Inputs for [&Tensor<B>; N] {
    type Backend = B;
    type Given = [Tensor<B>; N];
    type Owned = [Tensor<B>; N];
    type Blocks = [[Tensor<B>; N]; N];

    fn to_list(&self) -> Vec<Tensor<B>> {
        self.iter().map(|&tensor| tensor.clone()).collect()
    }

    fn given(list: &[Tensor<B>]) -> &[Tensor<B>; N] {
        list.try_into().expect("there are as many tensors as inputs")
    }

    fn blocks(rows: Vec<Vec<Tensor<B>>>) -> [[Tensor<B>; N]; N] {
        let mut rows = rows.into_iter();
        std::array::from_fn(|_| exactly(rows.next().expect("there is a row for each input")))
    }
}

impl<B: Backend> Inputs for &[Tensor<B>] {
    type Backend = B;
    type Given = [Tensor<B>];
    type Owned = Vec<Tensor<B>>;
    type Blocks = Vec<Vec<Tensor<B>>>;

    fn to_list(&self) -> Vec<Tensor<B>> {
        self.to_vec()
    }

    fn given(list: &[Tensor<B>]) -> &[Tensor<B>] {
        list
    }

    fn blocks(rows: Vec<Vec<Tensor<B>>>) -> Vec<Vec<Tensor<B>>> {
        rows
    }
}

impl<B: Backend> Inputs for &[&Tensor<B>] {
    type Backend = B;
    type Given = [Tensor<B>];
    type Owned = Vec<Tensor<B>>;
    type Blocks = Vec<Vec<Tensor<B>>>;

    fn to_list(&self) -> Vec<Tensor<B>> {
        self.iter().map(|&tensor| tensor.clone()).collect()
    }

    fn given(list: &[Tensor<B>]) -> &[Tensor<B>] {
        list
    }

    fn blocks(rows: Vec<Vec<Tensor<B>>>) -> Vec<Vec<Tensor<B>>> {
        rows
    }
}
