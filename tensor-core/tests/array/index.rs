//! Picking and placing elements against loops.

use crate::nested::{Nested, broadcast};
use crate::strict::Strict;
use proptest::prelude::*;
use tensor_core::{Array, DType, Scalar, ScatterOp, Shape};

fn dims(from: usize) -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1 => Just(0usize), 2 => Just(1), 8 => 2usize..5], from..=3)
}

fn numbered(dims: &[usize], first: i64) -> Nested<i64> {
    let count: usize = dims.iter().product();
    Nested { data: (first..first + count as i64).collect(), dims: dims.to_vec() }
}

/// Indices below `size` in no order, with repetitions.
fn indices(dims: &[usize], size: usize, seed: usize) -> Nested<i64> {
    let mut state = seed + 1;
    Nested::from_fn(dims, |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % size) as i64
    })
}

proptest! {
    #![proptest_config(crate::cases(400))]

    #[test]
    fn gather_and_scatter(dims in dims(0), axis in 0usize..3, cut in prop::array::uniform3(0usize..3), seed in 0usize..99) {
        let backend = if seed % 2 == 0 { Strict::far("far") } else { Strict::near("near") };
        let rank = dims.len();
        let at = axis % rank.max(1);
        let size = dims.get(at).copied().unwrap_or(1);
        let mut index_dims: Vec<usize> = dims.iter().zip(cut).map(|(&size, cut)| size.saturating_sub(cut)).collect();
        if rank > 0 && size > 0 {
            index_dims[at] = 1 + seed % 6;
        }
        let model = numbered(&dims, 100);
        let index = indices(&index_dims, size.max(1), seed);
        let along = |p: &[usize]| {
            let mut to = p.to_vec();
            if rank > 0 {
                to[at] = index.get(p) as usize;
            }
            to
        };
        let signed = if seed % 3 == 0 { at as isize - rank.max(1) as isize } else { at as isize };
        let (array, places) = (model.on(&backend), index.on(&backend));
        let places = if seed % 5 == 0 { places.cast(DType::I32).unwrap() } else { places };
        let expected = Nested::from_fn(&index_dims, |p| model.get(&along(p)));
        prop_assert_eq!(Nested::of(&array.gather(signed, &places).unwrap()), expected);

        // The source may be larger than the index.
        let source_dims: Vec<usize> = index_dims.iter().map(|size| size + seed % 2).collect();
        let source = numbered(&source_dims, -3);
        for op in ScatterOp::ALL {
            let mut expected = model.clone();
            for p in tensor_core::reference::positions(&index_dims) {
                let (to, new) = (along(&p), source.get(&p));
                let place = to.iter().zip(&dims).fold(0, |place, (&i, &size)| place * size + i);
                let held = &mut expected.data[place];
                *held = match op {
                    ScatterOp::Set => new,
                    ScatterOp::Add => *held + new,
                    ScatterOp::Mul => *held * new,
                    ScatterOp::Max => (*held).max(new),
                    ScatterOp::Min => (*held).min(new),
                };
            }
            let got = array.scatter(op, signed, &places, &source.on(&backend)).unwrap();
            prop_assert_eq!(Nested::of(&got), expected);
        }
        prop_assert_eq!(Nested::of(&array), model, "arrays are values");
    }

    #[test]
    fn whole_slices(dims in dims(1), axis in 0usize..3, count in 0usize..5, seed in 0usize..99) {
        let backend = Strict::far("far");
        let at = axis % dims.len();
        let size = dims[at];
        let count = if size == 0 { 0 } else { count };
        // Negative indices count from the back.
        let index = indices(&[count], 2 * size.max(1), seed);
        let signed: Vec<i64> = index.data.iter().map(|i| i - size as i64).collect();
        let wrapped: Vec<usize> = signed.iter().map(|&i| if i < 0 { i + size as i64 } else { i } as usize).collect();
        let places = backend.vector(&signed);
        let model = numbered(&dims, 0);
        let mut picked = dims.clone();
        picked[at] = count;
        let along = |p: &[usize]| {
            let mut p = p.to_vec();
            p[at] = wrapped[p[at]];
            p
        };
        let expected = Nested::from_fn(&picked, |p| model.get(&along(p)));
        let got = model.on(&backend).index_select(at as isize, &places).unwrap();
        prop_assert_eq!(Nested::of(&got), expected);
        let source = numbered(&picked, 50);
        for (op, combine) in [(ScatterOp::Set, (|_, new| new) as fn(i64, i64) -> i64), (ScatterOp::Add, |old, new| old + new)] {
            let mut expected = model.clone();
            for p in tensor_core::reference::positions(&picked) {
                let place = along(&p).iter().zip(&dims).fold(0, |place, (&i, &size)| place * size + i);
                expected.data[place] = combine(expected.data[place], source.get(&p));
            }
            let got = model.on(&backend).index_scatter(op, at as isize, &places, &source.on(&backend)).unwrap();
            prop_assert_eq!(Nested::of(&got), expected);
        }
    }

    #[test]
    fn cat(dims in dims(1), axis in 0usize..3, sizes in prop::collection::vec(0usize..4, 1..5), seed in 0usize..99) {
        let backend = Strict::far("far");
        let at = axis % dims.len();
        let parts: Vec<Nested<i64>> = sizes
            .iter()
            .enumerate()
            .map(|(number, &size)| {
                let mut dims = dims.clone();
                dims[at] = size;
                numbered(&dims, 1000 * number as i64)
            })
            .collect();
        let mut whole = dims.clone();
        whole[at] = sizes.iter().sum();
        let expected = Nested::from_fn(&whole, |p| {
            let (mut number, mut p) = (0, p.to_vec());
            while p[at] >= sizes[number] {
                p[at] -= sizes[number];
                number += 1;
            }
            parts[number].get(&p)
        });
        let arrays: Vec<Array<Strict>> = parts
            .iter()
            .enumerate()
            .map(|(number, part)| {
                let array = part.on(&backend);
                match (number + seed) % 3 {
                    0 => array,
                    1 => array.add(0).unwrap(),
                    // Not dense.
                    _ => array.flip(&[0]).unwrap().contiguous().unwrap().flip(&[0]).unwrap(),
                }
            })
            .collect();
        let joined = Array::cat(&arrays.iter().collect::<Vec<_>>(), at as isize - dims.len() as isize).unwrap();
        prop_assert_eq!(Nested::of(&joined), expected);
    }

    #[test]
    fn masks(dims in dims(0), other in dims(0), bits in any::<u64>()) {
        let backend = Strict::far("far");
        let count: usize = dims.iter().product();
        let mask = Nested { data: (0..count).map(|i| (bits >> (i % 64)) & 1 == 1).collect::<Vec<_>>(), dims: dims.clone() };
        let on = mask.on(&backend);
        let hits: Vec<Vec<usize>> = tensor_core::reference::positions(&dims).filter(|p| mask.get(p)).collect();
        let flat: Vec<i64> = hits.iter().flatten().map(|&i| i as i64).collect();
        let expected = Nested { dims: vec![hits.len(), dims.len()], data: flat };
        prop_assert_eq!(Nested::of(&on.nonzero().unwrap()), expected);
        let numbers: Vec<i64> = (0..count as i64).filter(|&i| mask.data[i as usize]).collect();
        prop_assert_eq!(on.mask_indices().unwrap().to_vec::<i64>().unwrap(), numbers);
        // A float that is not zero, NaN too, counts.
        let floats: Vec<f32> = mask.data.iter().map(|&hit| if hit { f32::NAN } else { -0.0 }).collect();
        let found = backend.array(&floats, &dims).nonzero().unwrap();
        prop_assert_eq!(found.dims(), [hits.len(), dims.len()]);

        let values = numbered(&other, 0);
        let selected = values.on(&backend).masked_select(&on);
        let filled = values.on(&backend).masked_fill(&on, -1);
        match broadcast(&other, &dims) {
            Some(shape) => {
                let (values, mask) = (values.expand(&shape), mask.expand(&shape));
                let pairs = values.data.iter().zip(&mask.data);
                let expected: Vec<i64> = pairs.clone().filter(|(_, hit)| **hit).map(|(value, _)| *value).collect();
                prop_assert_eq!(selected.unwrap().to_vec::<i64>().unwrap(), expected);
                let expected = pairs.map(|(value, hit)| if *hit { -1 } else { *value }).collect();
                prop_assert_eq!(Nested::of(&filled.unwrap()), Nested { dims: shape, data: expected });
            }
            None => prop_assert!(selected.is_err() && filled.is_err()),
        }
    }

    #[test]
    fn assignment(dims in dims(1), axis in 0usize..3, [a, b, c] in prop::array::uniform3(0usize..100), flat: bool) {
        let backend = Strict::far("far");
        let at = axis % dims.len();
        let (model, size) = (numbered(&dims, 0), dims[at]);
        let start = if size == 0 { 0 } else { a % size };
        let step = if b % 2 == 0 { 2 } else { -1 };
        let room = if size == 0 { 0 } else if step > 0 { (size - 1 - start) / 2 + 1 } else { start + 1 };
        let len = c % (room + 1);
        let mut part = dims.clone();
        part[at] = len;
        let values = if flat { numbered(&[1], -7) } else { numbered(&part, -100) };
        let mut expected = model.clone();
        for p in tensor_core::reference::positions(&part) {
            let mut to = p.clone();
            to[at] = (start as isize + p[at] as isize * step) as usize;
            let place = to.iter().zip(&dims).fold(0, |place, (&i, &size)| place * size + i);
            expected.data[place] = values.expand(&part).get(&p);
        }
        let array = model.on(&backend).mul(1).unwrap();
        let got = array.assign(|layout| layout.slice(at as isize, start, len, step), &values.on(&backend)).unwrap();
        prop_assert_eq!(Nested::of(&got), expected);
        prop_assert_eq!(Nested::of(&array), model, "arrays are values");
    }
}

#[test]
fn zero_d_arrays_take_indices() {
    for d in [Strict::far("far"), Strict::near("near")] {
        let x = d.vector(&[7i64, 3]).select(0, 1).unwrap();
        let (index, list) = (d.vector(&[0i64]).select(0, 0).unwrap(), d.vector(&[0i64, 0]));
        assert_eq!((x.gather(0, &index).unwrap().dims(), x.gather(0, &list).unwrap().dims()), (&[][..], &[2][..]));
        assert_eq!(d.vector(&[1i64, 2]).gather(0, &index).unwrap().dims(), [0; 0]);
        assert_eq!(x.index_select(0, &index).unwrap().item().unwrap(), Scalar::Int(3));
        let set = x.scatter(ScatterOp::Add, -1, &index, &Array::full(&d, 5, &Shape::scalar(), DType::I64)).unwrap();
        assert_eq!((set.dims(), set.item().unwrap()), (&[][..], Scalar::Int(8)));
        let set =
            x.index_scatter(ScatterOp::Set, 0, &index, &Array::full(&d, 5, &Shape::scalar(), DType::I64)).unwrap();
        assert_eq!((set.dims(), set.item().unwrap()), (&[][..], Scalar::Int(5)));
        let set = x.assign(|layout| Ok(layout.clone()), &Array::full(&d, 9.5, &Shape::scalar(), DType::F64)).unwrap();
        assert_eq!((set.dims(), set.item().unwrap()), (&[][..], Scalar::Int(9)));
        assert_eq!(x.nonzero().unwrap().dims(), [1, 0]);
        assert_eq!(x.mul(0).unwrap().nonzero().unwrap().dims(), [0, 0]);
        assert_eq!(x.masked_select(&d.vector(&[true, false, true])).unwrap().to_vec::<i64>().unwrap(), [3, 3]);
    }
}

#[test]
fn scattered_floats() {
    let d = Strict::far("far");
    let (zero, index) = (d.vector(&[1f32, 2.0]), d.vector(&[0i64, 0, 1]));
    let source = d.vector(&[f32::NAN, 5.0, 0.5]);
    let scatter = |op| zero.scatter(op, 0, &index, &source).unwrap().to_vec::<f32>().unwrap();
    assert_eq!(scatter(ScatterOp::Set), [5.0, 0.5], "the last one stays");
    for op in [ScatterOp::Add, ScatterOp::Mul, ScatterOp::Max, ScatterOp::Min] {
        assert!(scatter(op)[0].is_nan(), "{op:?}");
    }
    assert_eq!(scatter(ScatterOp::Max)[1], 2.0);
    let bools = d.vector(&[false, true]).scatter(ScatterOp::Max, 0, &d.vector(&[0i64]), &d.vector(&[true])).unwrap();
    assert_eq!(bools.to_vec::<bool>().unwrap(), [true, true]);
}

#[test]
fn cat_promotes_and_skips_empty_vectors() {
    let d = Strict::far("far");
    let empty = d.array::<f32>(&[], &[0]);
    let matrix = d.array(&[1i64, 2], &[1, 2]);
    let joined = Array::cat(&[&empty, &matrix, &empty], 0).unwrap();
    assert_eq!((joined.dims(), joined.dtype()), (&[1, 2][..], DType::F32));
    assert_eq!(Array::cat(&[&empty, &empty], 0).unwrap().dims(), [0]);
    let mixed = Array::cat(&[&d.vector(&[true]), &d.vector(&[2u8]), &d.vector(&[-3i8])], 0).unwrap();
    assert_eq!(mixed.to_vec::<i16>().unwrap(), [1, 2, -3]);
    let constant = Array::full(&d, 4, &Shape::new([2]).unwrap(), DType::I64);
    assert_eq!(Array::cat(&[&constant, &d.vector(&[5i64])], 0).unwrap().to_vec::<i64>().unwrap(), [4, 4, 5]);
}

#[test]
fn assignment_to_diagonals_and_windows() {
    let d = Strict::far("far");
    let zeros = Array::full(&d, 0, &Shape::new([3, 3]).unwrap(), DType::I64);
    let filled = zeros.assign(|layout| layout.diagonal(1, 0, 1), &d.vector(&[5i64, 6])).unwrap();
    assert_eq!(filled.to_vec::<i64>().unwrap(), [0, 5, 0, 0, 0, 6, 0, 0, 0]);
    // Windows side by side share nothing, whatever steps they are walked in.
    let line = Array::full(&d, 0, &Shape::new([8]).unwrap(), DType::I64);
    let apart = line.assign(|layout| layout.unfold(0, 2, 3), &d.vector(&[1i64, 2])).unwrap();
    assert_eq!(apart.to_vec::<i64>().unwrap(), [1, 2, 0, 1, 2, 0, 1, 2]);
    let woven = line.assign(|layout| layout.unfold(0, 5, 3)?.slice(1, 0, 3, 2), &d.array(&[1i64, 2], &[2, 1])).unwrap();
    assert_eq!(woven.to_vec::<i64>().unwrap(), [1, 0, 1, 2, 1, 2, 0, 2]);
}
