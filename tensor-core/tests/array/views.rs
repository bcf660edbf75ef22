//! Every view against index arithmetic.

use crate::nested::Nested;
use crate::strict::Strict;
use proptest::prelude::*;
use tensor_core::{Array, DType, Layout, Shape};

/// Numbers that decide which view is taken next and with what arguments, whatever the shape is by then.
type Choice = [usize; 5];

/// Applies one view to both.
fn step(array: &Array<Strict>, model: &Nested<i64>, choice: Choice) -> (Array<Strict>, Nested<i64>) {
    let [kind, a, b, c, d] = choice;
    let rank = model.dims.len();
    let (at, size) = if rank == 0 { (0, 1) } else { (a % rank, model.dims[a % rank]) };
    // Half of the time an axis counts from the back.
    let signed = |axis: usize, rank: usize| if d % 2 == 0 { axis as isize } else { axis as isize - rank as isize };
    let axis = signed(at, rank);
    match kind % 13 {
        0 => permute(array, model, a),
        1 if rank > 0 => transpose(array, model, at, b % rank, axis),
        2 | 3 if rank > 0 => slice(array, model, at, axis, [b, c, d]),
        4 if rank > 0 => {
            let start = b % (size + 1);
            let len = c % (size - start + 1);
            let mut dims = model.dims.clone();
            dims[at] = len;
            let expected = Nested::from_fn(&dims, |p| model.get(&with(p, at, |i| i + start)));
            (array.narrow(axis, start, len).unwrap(), expected)
        }
        5 if rank > 0 && size > 0 => {
            let index = b % size;
            let mut dims = model.dims.clone();
            dims.remove(at);
            let expected = Nested::from_fn(&dims, |p| {
                let mut p = p.to_vec();
                p.insert(at, index);
                model.get(&p)
            });
            (array.select(axis, signed(index, size)).unwrap(), expected)
        }
        6 => {
            let axes: Vec<usize> = (0..rank).filter(|axis| (b >> axis) & 1 == 1).collect();
            let named: Vec<isize> = axes.iter().map(|&axis| signed(axis, rank)).collect();
            let expected = Nested::from_fn(&model.dims, |p| {
                let mut p = p.to_vec();
                axes.iter().for_each(|&axis| p[axis] = model.dims[axis] - 1 - p[axis]);
                model.get(&p)
            });
            (array.flip(&named).unwrap(), expected)
        }
        7 => {
            let mut dims: Vec<usize> = model.dims.clone();
            for (axis, size) in dims.iter_mut().enumerate() {
                if *size == 1 && (b >> axis) & 1 == 1 {
                    *size = c % 4;
                }
            }
            if d % 4 == 0 && rank < 5 {
                dims.insert(0, c % 3);
            }
            (array.expand(&Shape::new(&dims).unwrap()).unwrap(), model.expand(&dims))
        }
        8 => squeeze(array, model, b, signed(0, 2) < 0),
        9 if rank < 6 => {
            let place = b % (rank + 1);
            let mut dims = model.dims.clone();
            dims.insert(place, 1);
            let view = array.unsqueeze(signed(place, rank + 1)).unwrap();
            assert!(array.constant().is_some() || array.numel() == 0 || same_storage(&view, array));
            (view, Nested { dims, data: model.data.clone() })
        }
        10 => reshape(array, model, [a, b, c, d]),
        11 if rank >= 2 => diagonal(array, model, [a, b, c]),
        12 if rank < 5 => unfold(array, model, at, axis, [b, c]),
        _ => (array.clone(), model.clone()),
    }
}

/// A view lies within what it views.
fn same_storage(view: &Array<Strict>, of: &Array<Strict>) -> bool {
    match (view.layout().bounds(), of.layout().bounds()) {
        (Some((low, high)), Some((from, to))) => from <= low && high <= to,
        (low, from) => low.is_none() || from.is_none(),
    }
}

fn with(position: &[usize], axis: usize, f: impl FnOnce(usize) -> usize) -> Vec<usize> {
    let mut position = position.to_vec();
    position[axis] = f(position[axis]);
    position
}

fn permute(array: &Array<Strict>, model: &Nested<i64>, number: usize) -> (Array<Strict>, Nested<i64>) {
    let rank = model.dims.len();
    let mut number = number;
    let mut left: Vec<usize> = (0..rank).collect();
    let mut order = Vec::new();
    while !left.is_empty() {
        order.push(left.remove(number % left.len()));
        number /= 2;
    }
    let dims: Vec<usize> = order.iter().map(|&axis| model.dims[axis]).collect();
    let expected = Nested::from_fn(&dims, |p| {
        let mut from = vec![0; rank];
        order.iter().zip(p).for_each(|(&axis, &i)| from[axis] = i);
        model.get(&from)
    });
    let named: Vec<isize> = order.iter().map(|&axis| axis as isize).collect();
    (array.permute(&named).unwrap(), expected)
}

fn transpose(
    array: &Array<Strict>,
    model: &Nested<i64>,
    a: usize,
    b: usize,
    axis: isize,
) -> (Array<Strict>, Nested<i64>) {
    let mut dims = model.dims.clone();
    dims.swap(a, b);
    let expected = Nested::from_fn(&dims, |p| {
        let mut p = p.to_vec();
        p.swap(a, b);
        model.get(&p)
    });
    (array.transpose(axis, b as isize).unwrap(), expected)
}

fn slice(
    array: &Array<Strict>,
    model: &Nested<i64>,
    at: usize,
    axis: isize,
    [b, c, d]: [usize; 3],
) -> (Array<Strict>, Nested<i64>) {
    let size = model.dims[at];
    let step = (1 + c % 3) as isize * if d % 4 < 2 { 1 } else { -1 };
    let start = if size == 0 { 0 } else { b % size };
    let room = match (size, step > 0) {
        (0, _) => 0,
        (_, true) => (size - 1 - start) / step.unsigned_abs() + 1,
        (_, false) => start / step.unsigned_abs() + 1,
    };
    let len = d / 4 % (room + 1);
    let mut dims = model.dims.clone();
    dims[at] = len;
    let expected =
        Nested::from_fn(&dims, |p| model.get(&with(p, at, |i| (start as isize + i as isize * step) as usize)));
    (array.slice(axis, start, len, step).unwrap(), expected)
}

fn squeeze(array: &Array<Strict>, model: &Nested<i64>, mask: usize, all: bool) -> (Array<Strict>, Nested<i64>) {
    let named: Vec<isize> = (0..model.dims.len()).filter(|axis| (mask >> axis) & 1 == 1).map(|a| a as isize).collect();
    let keep = |axis: usize| model.dims[axis] != 1 || !(all || named.contains(&(axis as isize)));
    let dims = (0..model.dims.len()).filter(|&axis| keep(axis)).map(|axis| model.dims[axis]).collect();
    let view = array.squeeze(if all { None } else { Some(&named) }).unwrap();
    (view, Nested { dims, data: model.data.clone() })
}

/// Another shape of as many elements, by moving factors around; sometimes with −1 and as a view.
fn reshape(array: &Array<Strict>, model: &Nested<i64>, [a, b, c, d]: [usize; 4]) -> (Array<Strict>, Nested<i64>) {
    let numel = model.data.len();
    let mut left = numel;
    let mut dims = Vec::new();
    for choice in [a, b, c] {
        let factors: Vec<usize> = (1..=left.max(1)).filter(|f| left.is_multiple_of(*f)).collect();
        let size = if left == 0 { choice % 4 } else { factors[choice % factors.len()] };
        dims.push(size);
        left = if numel == 0 { 0 } else { left / size };
    }
    if numel == 0 {
        dims[d % 3] = 0;
    } else {
        dims.push(left);
    }
    let expected = Nested { dims: dims.clone(), data: model.data.clone() };
    let shape = Shape::new(&dims).unwrap();
    let mut sizes: Vec<isize> = dims.iter().map(|&size| size as isize).collect();
    let place = d % sizes.len();
    if dims.iter().enumerate().all(|(axis, &size)| axis == place || size > 0) {
        sizes[place] = -1;
    }
    let view = array.view(&sizes);
    match view_strides(array.layout(), &dims) {
        Some(_) => assert_eq!(view.as_ref().unwrap().dims(), dims),
        None if array.constant().is_some() => assert_eq!(view.as_ref().unwrap().dims(), dims),
        None => assert!(view.unwrap_err().to_string().starts_with("view: expected a layout in which")),
    }
    (array.reshape(&shape).unwrap(), expected)
}

/// The strides with which a layout's elements have another shape, if there are such; found by looking at every element.
fn view_strides(layout: &Layout, dims: &[usize]) -> Option<Vec<isize>> {
    let indices = Nested { dims: dims.to_vec(), data: layout.indices().collect::<Vec<usize>>() };
    if indices.data.is_empty() {
        return Some(vec![0; dims.len()]);
    }
    let first = indices.data[0] as isize;
    let strides: Vec<isize> = (0..dims.len())
        .map(|axis| {
            let mut unit = vec![0; dims.len()];
            if dims[axis] < 2 {
                return 0;
            }
            unit[axis] = 1;
            indices.get(&unit) as isize - first
        })
        .collect();
    let affine = Nested::from_fn(dims, |p| {
        (first + p.iter().zip(&strides).map(|(&i, &stride)| i as isize * stride).sum::<isize>()) as usize
    });
    (affine == indices).then_some(strides)
}

fn diagonal(array: &Array<Strict>, model: &Nested<i64>, [a, b, c]: [usize; 3]) -> (Array<Strict>, Nested<i64>) {
    let rank = model.dims.len();
    let (first, second) = (a % rank, (a % rank + 1 + b % (rank - 1)) % rank);
    let offset = (c % 7) as isize - 3;
    let (down, right) = ((-offset).max(0) as usize, offset.max(0) as usize);
    let len = model.dims[first].saturating_sub(down).min(model.dims[second].saturating_sub(right));
    let mut dims: Vec<usize> =
        (0..rank).filter(|axis| ![first, second].contains(axis)).map(|axis| model.dims[axis]).collect();
    dims.push(len);
    let expected = Nested::from_fn(&dims, |p| {
        let (rest, i) = (&p[..p.len() - 1], p[p.len() - 1]);
        let mut rest = rest.iter();
        let from: Vec<usize> = (0..rank)
            .map(|axis| match axis {
                _ if axis == first => i + down,
                _ if axis == second => i + right,
                _ => *rest.next().unwrap(),
            })
            .collect();
        model.get(&from)
    });
    (array.diagonal(offset, first as isize, second as isize).unwrap(), expected)
}

fn unfold(
    array: &Array<Strict>,
    model: &Nested<i64>,
    at: usize,
    axis: isize,
    [b, c]: [usize; 2],
) -> (Array<Strict>, Nested<i64>) {
    let held = model.dims.get(at).copied().unwrap_or(1);
    let (size, step) = (b % (held + 1), 1 + c % 3);
    let mut dims = model.dims.clone();
    if let Some(windows) = dims.get_mut(at) {
        *windows = (held - size) / step + 1;
    }
    dims.push(size);
    let expected = Nested::from_fn(&dims, |p| {
        let (from, i) = (&p[..p.len() - 1], p[p.len() - 1]);
        if from.is_empty() { model.get(&[]) } else { model.get(&with(from, at, |window| window * step + i)) }
    });
    (array.unfold(if model.dims.is_empty() { 0 } else { axis }, size, step).unwrap(), expected)
}

/// What must hold of every layout.
fn check_layout(layout: &Layout) {
    let indices: Vec<usize> = layout.indices().collect();
    assert_eq!(indices.len(), layout.numel());
    let by_position = Nested::from_fn(layout.dims(), |p| layout.index(p));
    assert_eq!(indices, by_position.data);
    assert_eq!(layout.bounds(), indices.iter().min().copied().zip(indices.iter().max().copied()));
    let dense = indices.iter().enumerate().all(|(i, &at)| at == indices[0] + i);
    assert_eq!(layout.is_contiguous(), dense, "{layout:?}");
    let mut sorted = indices;
    sorted.sort_unstable();
    assert_eq!(layout.overlaps(), sorted.windows(2).any(|pair| pair[0] == pair[1]), "{layout:?}");
}

fn check_views(array: Array<Strict>, model: Nested<i64>, choices: &[Choice]) {
    let (mut array, mut model) = (array, model);
    for &choice in choices {
        // Windows and expansion multiply; a few thousand elements are enough.
        if model.data.len() > 500 {
            break;
        }
        (array, model) = step(&array, &model, choice);
        assert_eq!(array.dims(), model.dims);
        check_layout(array.layout());
    }
    assert_eq!(Nested::of(&array), model);
    let dense = array.contiguous().unwrap();
    assert_eq!(Nested::of(&dense), model);
    assert!(dense.constant().is_some() || dense.layout().is_contiguous());
    if let Some(position) = tensor_core::reference::positions(&model.dims).last() {
        assert_eq!(array.get(&position).unwrap().as_i64(), model.get(&position));
    }
    // A view as an operand, of something pending and of itself.
    let double = array.add(&array).unwrap();
    let shifted = Array::add(&double, 1).unwrap();
    let expected: Vec<i64> = model.data.iter().map(|x| 2 * x + 1).collect();
    assert_eq!(shifted.to_vec::<i64>().unwrap(), expected);
    let total = shifted.sum(&[], false).unwrap().item().unwrap().as_i64();
    assert_eq!(total, expected.iter().sum::<i64>());
}

fn shapes() -> impl Strategy<Value = Vec<usize>> {
    // Small sizes meet more special cases; 0 and 1 are the most special.
    prop::collection::vec(prop_oneof![1 => Just(0usize), 2 => Just(1), 8 => 2usize..5], 0..=4)
}

fn choices() -> impl Strategy<Value = Vec<Choice>> {
    prop::collection::vec(prop::array::uniform5(0usize..1000), 0..7)
}

proptest! {
    #![proptest_config(crate::cases(1500))]

    #[test]
    fn chains_of_views_are_index_arithmetic(dims in shapes(), choices in choices(), kind in 0..4) {
        let backend = Strict::far("far");
        let count: usize = dims.iter().product();
        let model = Nested { data: (0..count as i64).collect(), dims: dims.clone() };
        let (array, model) = match kind {
            0 => (model.on(&backend), model),
            1 => {
                let pending = model.on(&backend).mul(3).unwrap();
                let data = model.data.iter().map(|x| x * 3).collect();
                (pending, Nested { data, dims })
            }
            2 => {
                let shape = Shape::new(&dims).unwrap();
                (Array::full(&backend, 7, &shape, DType::I64), Nested { data: vec![7; count], dims })
            }
            _ => {
                // In the middle of a larger buffer.
                let data: Vec<i64> = (0..count as i64 + 5).collect();
                let middle = backend.vector(&data).narrow(0, 3, count).unwrap();
                let array = middle.reshape(&Shape::new(&dims).unwrap()).unwrap();
                (array, Nested { data: (3..count as i64 + 3).collect(), dims })
            }
        };
        check_views(array, model, &choices);
    }

    #[test]
    fn broadcasting_is_numpys(a in shapes(), b in shapes()) {
        let backend = Strict::far("far");
        let number = |dims: &[usize], factor: i64| {
            let count: usize = dims.iter().product();
            Nested { data: (0..count as i64).map(|x| x * factor).collect(), dims: dims.to_vec() }
        };
        let (x, y) = (number(&a, 1), number(&b, 1000));
        let sum = x.on(&backend).add(&y.on(&backend));
        match crate::nested::broadcast(&a, &b) {
            Some(dims) => {
                let (x, y) = (x.expand(&dims), y.expand(&dims));
                let data = x.data.iter().zip(&y.data).map(|(x, y)| x + y).collect();
                prop_assert_eq!(Nested::of(&sum.unwrap()), Nested { dims, data });
            }
            None => {
                let text = sum.unwrap_err().to_string();
                prop_assert!(text.starts_with("add: expected shapes that broadcast, got "), "{}", text);
            }
        }
    }
}

#[test]
fn views_of_scalars() {
    let backend = Strict::far("far");
    let scalar = Array::full(&backend, 5, &Shape::scalar(), DType::I64);
    for axis in [0, -1] {
        assert_eq!(scalar.transpose(axis, 0).unwrap().dims(), [0; 0]);
        assert_eq!(scalar.flip(&[axis]).unwrap().dims(), [0; 0]);
        assert_eq!(scalar.squeeze(Some(&[axis])).unwrap().dims(), [0; 0]);
        assert_eq!(scalar.unsqueeze(axis).unwrap().dims(), [1]);
        assert_eq!(scalar.unfold(axis, 1, 1).unwrap().dims(), [1]);
    }
    assert_eq!(scalar.permute(&[]).unwrap().to_vec::<i64>().unwrap(), [5]);
    assert_eq!(scalar.view(&[-1]).unwrap().dims(), [1]);
    assert_eq!(scalar.view(&[1, -1, 1]).unwrap().dims(), [1, 1, 1]);
}

#[test]
fn huge_steps_and_lengths_do_not_overflow() {
    let layout = Layout::contiguous(Shape::new([3, 4]).unwrap());
    let first = layout.slice(0, 2, 1, isize::MAX).unwrap();
    let again = first.slice(0, 0, 1, isize::MIN).unwrap().slice(0, 0, 1, isize::MAX).unwrap();
    assert_eq!(again.indices().collect::<Vec<_>>(), [8, 9, 10, 11]);
    assert_eq!(layout.unfold(0, 3, usize::MAX).unwrap().numel(), 12);
    for (start, len, step) in [
        (0, usize::MAX, -1),
        (0, isize::MAX as usize + 1, -1),
        (2, isize::MIN as usize, 1),
        (usize::MAX, 1, 1),
        (0, 2, isize::MAX),
        (2, 2, isize::MIN),
    ] {
        assert!(layout.slice(0, start, len, step).is_err(), "{len} from {start} by {step}");
    }
    assert!(layout.narrow(1, usize::MAX, 2).is_err());
    assert!(layout.select(0, isize::MIN).is_err());
    for offset in [isize::MAX, isize::MIN] {
        assert_eq!(layout.diagonal(offset, 0, 1).unwrap().dims(), [0]);
    }
    let mut narrowing = layout;
    for _ in 0..200 {
        narrowing = narrowing.unfold(0, 1, 1).unwrap().diagonal(0, 0, 2).unwrap().transpose(0, 1).unwrap();
    }
    assert!(narrowing.numel() <= 12);
}

#[test]
fn shapes_that_overflow_are_refused() {
    let backend = Strict::far("far");
    let most = isize::MAX as usize / 8;
    assert!(Shape::new([most]).is_ok());
    assert!(Shape::new([most + 1]).is_err());
    assert!(Shape::new([0, usize::MAX]).is_err());
    assert!(Shape::new([1 << 32, 1 << 32]).is_err());
    let row = Array::full(&backend, 1.0, &Shape::new([1, 1 << 40]).unwrap(), DType::F32);
    let column = Array::full(&backend, 1.0, &Shape::new([1 << 40, 1]).unwrap(), DType::F32);
    assert!(row.add(&column).unwrap_err().to_string().starts_with("add: expected at most "));
    assert!(column.matmul(&row).unwrap_err().to_string().starts_with("matmul: expected at most "));
    let many = Array::full(&backend, 1.0, &Shape::new([most]).unwrap(), DType::F32);
    assert!(Array::cat(&[&many; 20], 0).unwrap_err().to_string().starts_with("cat: expected at most "));
    assert!(many.unfold(0, 1 << 30, 1).unwrap_err().to_string().starts_with("unfold: expected at most "));
    assert!(many.to_vec::<f32>().unwrap_err().to_string().starts_with("the host is out of memory"));
    // What needs no memory works at any size.
    assert_eq!(many.mul(2.0).unwrap().constant().unwrap().as_f64(), 2.0);
}
