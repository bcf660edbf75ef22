//! Products summed over any axes: `tensordot` and `einsum`.

use crate::misuse::ok;
use crate::operand::Operand;
use crate::primitive::{Primitive, apply};
use crate::tensor::Tensor;
use std::borrow::Borrow;
use tensor_core::{Backend, Dims, Error, MatmulSpec, Result};

impl<B: Backend> Tensor<B> {
    /// The product over groups of axes. See [`tensor_core::Array::contract`].
    #[track_caller]
    pub(crate) fn contract(&self, other: &Self, counts: [usize; 4]) -> Self {
        ok(self.try_contract(other, counts))
    }

    fn try_contract(&self, other: &Self, counts: [usize; 4]) -> Result<Self> {
        if !self.is_recording() && !other.is_recording() {
            let [batch, rows, inner, columns] = counts;
            let spec = MatmulSpec { batch, rows, inner, columns, epilogue: None };
            if let Some(result) = self.with_arrays(other, |a, b| a.contract(b, &spec, &[])) {
                return Ok(Self::from_array(result?));
            }
        }
        apply(Primitive::Contract(Box::new(counts)), &[Operand::Ref(self), Operand::Ref(other)])
    }

    /// After the first `batch` axes, the next `first` exchanged with all that follow.
    #[track_caller]
    pub(crate) fn axes_swapped(&self, batch: usize, first: usize) -> Self {
        let rank = self.rank();
        let order: Dims<isize> =
            (0..batch).chain(batch + first..rank).chain(batch..batch + first).map(|axis| axis as isize).collect();
        self.permute(&order)
    }

    /// Sums over the products of all elements along pairs of axes: `axes[0]` of this tensor with `axes[1]` of the other one.
    /// The result has the remaining axes of this tensor, then those of the other.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let a = Tensor::ones([3, 4, 5]);
    /// let b = Tensor::ones([4, 3, 2]);
    /// let y = a.tensordot(&b, [&[1, 0], &[0, 1]]);
    /// assert_eq!((y.shape(), y.max().item()), (vec![5, 2], 12.0));
    /// ```
    ///
    /// # Panics
    /// If the lists differ in length, an axis does not exist or is named twice, or sizes or dtypes differ.
    #[track_caller]
    #[must_use]
    pub fn tensordot(&self, other: &Self, axes: [&[isize]; 2]) -> Self {
        ok(self.try_tensordot(other, axes).map_err(|error| error.named("tensordot")))
    }

    fn try_tensordot(&self, other: &Self, [own, others]: [&[isize]; 2]) -> Result<Self> {
        let op = "tensordot";
        if own.len() != others.len() {
            return Err(Error::value(op, "as many axes of one as of the other", format!("{own:?} and {others:?}")));
        }
        // In the order they are given, which pairs them; `axes` also refuses those that are named twice.
        let named = |tensor: &Self, axes: &[isize]| -> Result<Vec<usize>> {
            let shape = tensor.checked_shape();
            if shape.rank() == 0 && !axes.is_empty() {
                return Err(Error::index(op, "a tensor with at least one axis", "a 0-d tensor"));
            }
            shape.axes(axes, op)?;
            axes.iter().map(|&axis| shape.axis(axis, op)).collect()
        };
        let (own, others) = (named(self, own)?, named(other, others)?);
        if own.iter().zip(&others).any(|(&a, &b)| self.size(a as isize) != other.size(b as isize)) {
            let expected = format!("sizes that are equal along the axes {own:?} and {others:?}");
            return Err(Error::shape(op, expected, format!("shapes {:?} and {:?}", self.shape(), other.shape())));
        }
        let rest = |tensor: &Self, named: &[usize]| -> Vec<usize> {
            (0..tensor.rank()).filter(|axis| !named.contains(axis)).collect()
        };
        let (rows, columns) = (rest(self, &own), rest(other, &others));
        let order = |parts: [&[usize]; 2]| -> Vec<isize> { parts.concat().iter().map(|&axis| axis as isize).collect() };
        let (a, b) = (self.permute(&order([&rows, &own])), other.permute(&order([&others, &columns])));
        a.try_contract(&b, [0, rows.len(), own.len(), columns.len()])
    }

    /// Einstein's summation: each letter names an axis; letters that several tensors have must have the same size; those that
    /// the result does not name are summed over. `...` stands for any axes, which broadcast. Without `->` the result has all
    /// letters that occur once, in alphabetical order, after those of `...`. A letter that one tensor has twice takes its
    /// diagonal. More than two tensors are multiplied from left to right.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let m = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// let v = Tensor::from([1.0_f32, 10.0]);
    /// assert_eq!(Tensor::einsum("ij,j->i", &[&m, &v]).to_vec::<f32>(), [21.0, 43.0]);
    /// assert_eq!(Tensor::einsum("ii", &[&m]).item(), 5.0);
    /// assert_eq!(Tensor::einsum("ij->ji", &[&m]).to_vec::<f32>(), [1.0, 3.0, 2.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// If the equation cannot be read or does not fit the tensors, or dtypes differ.
    #[track_caller]
    #[must_use]
    pub fn einsum(equation: &str, tensors: &[impl Borrow<Self>]) -> Self {
        let tensors: Vec<&Self> = tensors.iter().map(Borrow::borrow).collect();
        ok(try_einsum(equation, &tensors).map_err(|error| error.named("einsum")))
    }
}

/// An axis of an equation: a letter, or the axis of `...` that stands so many places before the last of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    /// Counted down to 0, so that outer axes come first.
    Hidden(std::cmp::Reverse<usize>),
    Letter(char),
}

/// A tensor and what its axes are called.
struct Labelled<B: Backend> {
    tensor: Tensor<B>,
    labels: Vec<Label>,
}

/// The labels of one term, for a tensor of this rank, or the result's with so many hidden axes.
fn labels_of(term: &str, hidden: impl FnOnce(usize) -> Result<usize>) -> Result<Vec<Label>> {
    let letters: Vec<char> = term.replace("...", ".").chars().filter(|letter| !letter.is_whitespace()).collect();
    let known = letters.iter().filter(|letter| letter.is_alphabetic()).count();
    let dots = letters.iter().filter(|&&letter| letter == '.').count();
    if known + dots != letters.len() || dots > 1 || term.matches('.').count() != 3 * dots {
        return Err(Error::value("einsum", "letters and at most one `...`", format!("`{term}`")));
    }
    let hidden = hidden(known)?;
    if dots == 0 && hidden > 0 {
        return Err(Error::value("einsum", format!("letters for {} axes", known + hidden), format!("`{term}`")));
    }
    let mut labels = Vec::new();
    for letter in letters {
        if letter == '.' {
            labels.extend((0..hidden).rev().map(|place| Label::Hidden(std::cmp::Reverse(place))));
        } else {
            labels.push(Label::Letter(letter));
        }
    }
    Ok(labels)
}

fn try_einsum<B: Backend>(equation: &str, tensors: &[&Tensor<B>]) -> Result<Tensor<B>> {
    let op = "einsum";
    let (left, right) = equation.split_once("->").map_or((equation, None), |(left, right)| (left, Some(right)));
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != tensors.len() {
        let got = format!("`{equation}` for {} tensors", tensors.len());
        return Err(Error::value(op, "as many terms as tensors, with commas between", got));
    }
    let mut operands = Vec::new();
    for (term, tensor) in terms.iter().zip(tensors) {
        let labels = labels_of(term, |known| {
            tensor.rank().checked_sub(known).ok_or_else(|| {
                Error::value(
                    op,
                    format!("`{term}` for a tensor of at least {known} axes"),
                    format!("{:?}", tensor.shape()),
                )
            })
        })?;
        operands.push(Labelled { tensor: (*tensor).clone(), labels }.diagonals()?);
    }
    let mut all: Vec<Label> = operands.iter().flat_map(|operand| operand.labels.iter().copied()).collect();
    let occurrences: Vec<Label> =
        terms.iter().flat_map(|term| term.chars().filter(|c| c.is_alphabetic())).map(Label::Letter).collect();
    all.sort_unstable();
    all.dedup();
    let hidden = all.iter().filter(|label| matches!(label, Label::Hidden(_))).count();
    let wanted = match right {
        Some(term) => labels_of(term, |_| Ok(if term.contains('.') { hidden } else { 0 }))?,
        None => {
            let once = |label: &Label| {
                matches!(label, Label::Hidden(_)) || occurrences.iter().filter(|other| *other == label).count() == 1
            };
            all.iter().copied().filter(once).collect()
        }
    };
    let mut seen = wanted.clone();
    seen.sort_unstable();
    seen.dedup();
    if seen.len() != wanted.len() || seen.iter().any(|label| !all.contains(label)) {
        return Err(Error::value(op, "a result that names axes of the tensors, each once", format!("`{equation}`")));
    }
    let sizes = all
        .iter()
        .map(|&label| {
            let mut size = 1;
            for operand in &operands {
                let own = operand.size(label).unwrap_or(1);
                if own != 1 && size != 1 && own != size {
                    let shapes: Vec<_> = tensors.iter().map(|tensor| tensor.shape()).collect();
                    return Err(Error::shape(
                        op,
                        format!("one size for each letter of `{equation}`"),
                        format!("shapes {shapes:?}"),
                    ));
                }
                size = if own == 1 { size } else { own };
            }
            Ok((label, size))
        })
        .collect::<Result<Vec<_>>>()?;
    let mut rest = operands.into_iter();
    let Some(mut result) = rest.next() else {
        return Err(Error::value(op, "at least one tensor", "none"));
    };
    let mut rest: Vec<_> = rest.collect();
    while !rest.is_empty() {
        let next = rest.remove(0);
        // What neither the result nor a later tensor names is summed over now.
        let needed =
            |label: Label| wanted.contains(&label) || rest.iter().any(|operand| operand.labels.contains(&label));
        result = result.times(next, &needed)?;
    }
    let result = result.summed(&|label| wanted.contains(&label));
    let order: Vec<isize> = wanted
        .iter()
        .filter_map(|label| result.labels.iter().position(|own| own == label))
        .map(|place| place as isize)
        .collect();
    let whole: Vec<isize> = wanted
        .iter()
        .map(|wanted| sizes.iter().find(|(label, _)| label == wanted).map_or(1, |&(_, size)| size as isize))
        .collect();
    Ok(result.tensor.permute(&order).expand(&whole))
}

impl<B: Backend> Labelled<B> {
    fn size(&self, label: Label) -> Option<usize> {
        let place = self.labels.iter().position(|own| *own == label)?;
        Some(self.tensor.size(place as isize))
    }

    /// A label that stands twice becomes one, of the diagonal.
    fn diagonals(mut self) -> Result<Self> {
        while let Some((first, second)) = self.repeated() {
            let (a, b) = (self.tensor.size(first as isize), self.tensor.size(second as isize));
            if a != b {
                let got = format!("{a} and {b} in {:?}", self.tensor.shape());
                return Err(Error::shape("einsum", "one size for both axes of a letter that stands twice", got));
            }
            self.tensor = self.tensor.diagonal(0, first as isize, second as isize);
            let label = self.labels.remove(second);
            self.labels.remove(first);
            // A diagonal is the last axis; were the letter there three times, it is met again.
            self.labels.push(label);
        }
        Ok(self)
    }

    fn repeated(&self) -> Option<(usize, usize)> {
        let places = self.labels.iter().enumerate();
        places.clone().find_map(|(second, label)| {
            self.labels[..second].iter().position(|own| own == label).map(|first| (first, second))
        })
    }

    /// Summed over all axes that are not needed.
    fn summed(self, needed: &dyn Fn(Label) -> bool) -> Self {
        let axes: Vec<isize> = self
            .labels
            .iter()
            .enumerate()
            .filter(|(_, label)| !needed(**label))
            .map(|(place, _)| place as isize)
            .collect();
        if axes.is_empty() {
            return self;
        }
        let labels = self.labels.into_iter().filter(|label| needed(*label)).collect();
        Self { tensor: self.tensor.sum_dims(&axes, false), labels }
    }

    /// The product, summed over what is not needed any more.
    fn times(self, other: Self, needed: &dyn Fn(Label) -> bool) -> Result<Self> {
        // What only one of them has is summed before.
        let (own, others) = (self.labels.clone(), other.labels.clone());
        let left = self.summed(&|label| needed(label) || others.contains(&label));
        let right = other.summed(&|label| needed(label) || own.contains(&label));
        // An axis of size 1 that meets a larger one is no axis of its own: the other one's stays.
        let left = left.without_ones_of(&right);
        let right = right.without_ones_of(&left);
        let shared: Vec<Label> = left.labels.iter().copied().filter(|label| right.labels.contains(label)).collect();
        let (batch, inner): (Vec<Label>, Vec<Label>) = shared.iter().partition(|label| needed(**label));
        let only =
            |one: &Self| -> Vec<Label> { one.labels.iter().copied().filter(|label| !shared.contains(label)).collect() };
        let (rows, columns) = (only(&left), only(&right));
        let a = left.ordered(&[&batch[..], &rows, &inner].concat());
        let b = right.ordered(&[&batch[..], &inner, &columns].concat());
        let tensor = a.try_contract(&b, [batch.len(), rows.len(), inner.len(), columns.len()])?;
        Ok(Self { tensor, labels: [batch, rows, columns].concat() })
    }

    /// Without axes of size 1 that the other one has with another size.
    fn without_ones_of(mut self, other: &Self) -> Self {
        let ones: Vec<usize> = (0..self.labels.len())
            .filter(|&place| {
                self.tensor.size(place as isize) == 1 && other.size(self.labels[place]).is_some_and(|size| size != 1)
            })
            .collect();
        if !ones.is_empty() {
            let axes: Vec<isize> = ones.iter().map(|&place| place as isize).collect();
            self.tensor = self.tensor.squeeze_dims(&axes);
            let mut place = 0;
            self.labels.retain(|_| {
                place += 1;
                !ones.contains(&(place - 1))
            });
        }
        self
    }

    fn ordered(&self, labels: &[Label]) -> Tensor<B> {
        let order: Vec<isize> = labels
            .iter()
            .filter_map(|label| self.labels.iter().position(|own| own == label))
            .map(|place| place as isize)
            .collect();
        self.tensor.permute(&order)
    }
}
