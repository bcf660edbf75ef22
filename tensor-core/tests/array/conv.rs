//! Convolutions and windows against their definition, in integers.

use crate::strict::Strict;
use proptest::prelude::*;
use tensor_core::array::{Conv, Windows};
use tensor_core::{Array, Dims};

/// A convolution to try: rank 1 to 3, any parameters for which a window fits.
#[derive(Clone, Debug)]
struct Try {
    batch: usize,
    per_group: [usize; 2],
    lengths: Vec<usize>,
    sizes: Vec<usize>,
    conv: Conv,
}

fn tries() -> impl Strategy<Value = Try> {
    let axis = (1_usize..5, 1_usize..5, 1_usize..4, [0_usize..4, 0_usize..4], 0_usize..6);
    (1_usize..4, 1_usize..3, [1_usize..4, 1_usize..4], prop::collection::vec(axis, 1..=3)).prop_map(
        |(groups, batch, per_group, axes)| {
            let mut one = Try {
                batch,
                per_group,
                lengths: Vec::new(),
                sizes: Vec::new(),
                conv: Conv { stride: Dims::new(), padding: Dims::new(), dilation: Dims::new(), groups },
            };
            for (size, stride, dilation, padding, more) in axes {
                let reach = (size - 1) * dilation + 1;
                one.lengths.push((reach + more).saturating_sub(padding[0] + padding[1]).max(1));
                one.sizes.push(size);
                one.conv.stride.push(stride);
                one.conv.dilation.push(dilation);
                one.conv.padding.push(padding);
            }
            one
        },
    )
}

fn numbers(count: usize, seed: i64) -> Vec<i64> {
    (0..count as i64).map(|i| (i * 7 + seed * 13) % 11 - 5).collect()
}

fn place(dims: &[usize], position: &[usize]) -> usize {
    dims.iter().zip(position).fold(0, |at, (&size, &coordinate)| at * size + coordinate)
}

fn positions(dims: &[usize]) -> impl Iterator<Item = Vec<usize>> + use<> {
    tensor_core::reference::positions(dims)
}

/// Every term of the sum: where it reads the input and the weight, and where it goes.
fn terms(one: &Try, counts: &[usize], mut each: impl FnMut(usize, usize, usize)) {
    let Try { batch, per_group: [channels, outputs], lengths, sizes, conv } = one;
    let input = [&[*batch, channels * conv.groups], &lengths[..]].concat();
    let weight = [&[outputs * conv.groups, *channels], &sizes[..]].concat();
    let result = [&[*batch, outputs * conv.groups], counts].concat();
    for at in positions(&result) {
        for tap in positions(&[&[*channels], &sizes[..]].concat()) {
            let mut from = vec![at[0], at[1] / outputs * channels + tap[0]];
            for axis in 0..sizes.len() {
                let q = at[2 + axis] * conv.stride[axis] + tap[1 + axis] * conv.dilation[axis];
                match q.checked_sub(conv.padding[axis][0]) {
                    Some(i) if i < lengths[axis] => from.push(i),
                    _ => break,
                }
            }
            if from.len() == input.len() {
                each(place(&input, &from), place(&weight, &[&[at[1]], &tap[..]].concat()), place(&result, &at));
            }
        }
    }
}

proptest! {
    #![proptest_config(crate::cases(200))]

    #[test]
    fn all_three_operations_are_the_sums_they_stand_for(one in tries()) {
        let device = Strict::far("a");
        let Try { batch, per_group: [channels, outputs], lengths, sizes, conv } = &one;
        let input = [&[*batch, channels * conv.groups], &lengths[..]].concat();
        let weight = [&[outputs * conv.groups, *channels], &sizes[..]].concat();
        let x = numbers(input.iter().product(), 1);
        let w = numbers(weight.iter().product(), 2);
        let (ax, aw) = (Array::from_slice(&device, &x, &input).unwrap(), Array::from_slice(&device, &w, &weight).unwrap());
        let result = match ax.conv(&aw, conv) {
            Ok(result) => result,
            Err(error) => {
                prop_assert!(error.to_string().starts_with("conv: expected an input that with its padding"), "{error}");
                return Ok(());
            }
        };
        let counts = result.dims()[2..].to_vec();
        let g = numbers(result.numel(), 3);
        let ag = Array::from_slice(&device, &g, result.dims()).unwrap();
        let (mut y, mut gx, mut gw) = (vec![0; g.len()], vec![0; x.len()], vec![0; w.len()]);
        terms(&one, &counts, |from, tap, to| {
            y[to] += x[from] * w[tap];
            gx[from] += g[to] * w[tap];
            gw[tap] += g[to] * x[from];
        });
        prop_assert_eq!(result.to_vec::<i64>().unwrap(), y);
        prop_assert_eq!(ag.conv_input(&aw, lengths, conv).unwrap().to_vec::<i64>().unwrap(), gx);
        prop_assert_eq!(ag.conv_weight(&ax, sizes, conv).unwrap().to_vec::<i64>().unwrap(), gw);
    }

    #[test]
    fn folding_adds_up_what_windows_take(
        lead in 1_usize..3,
        axes in prop::collection::vec((1_usize..5, 1_usize..5, 1_usize..4, 0_usize..6), 1..=3),
    ) {
        let device = Strict::far("a");
        let windows = Windows {
            size: axes.iter().map(|axis| axis.0).collect(),
            stride: axes.iter().map(|axis| axis.1).collect(),
            dilation: axes.iter().map(|axis| axis.2).collect(),
        };
        let lengths: Vec<usize> = axes.iter().enumerate().map(|(i, axis)| windows.reach(i) + axis.3).collect();
        let dims = [&[lead], &lengths[..]].concat();
        let places: Vec<i64> = (0..dims.iter().product::<usize>() as i64).collect();
        let view = Array::from_slice(&device, &places, &dims).unwrap().windows(&windows).unwrap();
        let counts: Vec<usize> = (0..axes.len()).map(|axis| windows.count(axis, lengths[axis])).collect();
        prop_assert_eq!(&view.dims()[1..1 + axes.len()], &counts[..]);
        let seen = view.to_vec::<i64>().unwrap();
        let values = numbers(seen.len(), 4);
        let mut sums = vec![0; places.len()];
        for (&at, &value) in seen.iter().zip(&values) {
            sums[at as usize] += value;
        }
        let folded = Array::from_slice(&device, &values, view.dims()).unwrap().fold(&windows, &lengths).unwrap();
        prop_assert_eq!(folded.to_vec::<i64>().unwrap(), sums);
    }
}

fn plain(rank: usize) -> Conv {
    Conv {
        stride: Dims::from_elem(1, rank),
        padding: Dims::from_elem([0, 0], rank),
        dilation: Dims::from_elem(1, rank),
        groups: 1,
    }
}

#[test]
fn constants_and_empty_tensors() {
    let device = Strict::far("a");
    let ones =
        |dims: &[usize]| Array::full(&device, 1, &tensor_core::Shape::new(dims).unwrap(), tensor_core::DType::I64);
    let padded = Conv { padding: [[1, 1]][..].into(), ..plain(1) };
    let y = ones(&[1, 2, 4]).conv(&ones(&[3, 2, 3]), &padded).unwrap();
    assert_eq!(y.to_vec::<i64>().unwrap(), [4, 6, 6, 4].repeat(3));
    let back = y.conv_input(&ones(&[3, 2, 3]), &[4], &padded).unwrap();
    assert_eq!(back.to_vec::<i64>().unwrap(), [30, 48, 48, 30].repeat(2));
    assert_eq!(ones(&[0, 2, 4]).conv(&ones(&[3, 2, 3]), &padded).unwrap().dims(), [0, 3, 4]);
    assert_eq!(ones(&[1, 0, 4]).conv(&ones(&[3, 0, 3]), &padded).unwrap().to_vec::<i64>().unwrap(), [0; 12]);
    let nothing = ones(&[0, 3, 4]).conv_weight(&ones(&[0, 2, 4]), &[3], &padded).unwrap();
    assert_eq!(nothing.to_vec::<i64>().unwrap(), [0; 18]);
}

#[test]
fn huge_parameters_neither_hang_nor_overflow() {
    let device = Strict::far("a");
    let x = Array::from_slice(&device, &[1_i64, 2, 3], [1, 1, 3]).unwrap();
    let w = Array::from_slice(&device, &[10_i64], [1, 1, 1]).unwrap();
    let far = Conv { stride: [usize::MAX][..].into(), dilation: [usize::MAX][..].into(), ..plain(1) };
    let y = x.conv(&w, &far).unwrap();
    assert_eq!(y.to_vec::<i64>().unwrap(), [10]);
    assert_eq!(y.conv_input(&w, &[3], &far).unwrap().to_vec::<i64>().unwrap(), [100, 0, 0]);
    assert_eq!(y.conv_weight(&x, &[1], &far).unwrap().to_vec::<i64>().unwrap(), [10]);
    let wide = Conv { padding: [[usize::MAX, 1]][..].into(), ..plain(1) };
    assert!(x.conv(&w, &wide).unwrap_err().to_string().starts_with("conv: expected an input that with its padding"));
    let beyond = Conv { padding: [[1 << 61, 0]][..].into(), ..plain(1) };
    assert!(x.conv(&w, &beyond).is_err(), "no memory holds it");
}

#[test]
fn misuse_is_named() {
    let device = Strict::far("a");
    let of = |dims: &[usize]| Array::from_slice(&device, &numbers(dims.iter().product(), 1), dims).unwrap();
    let (x, w) = (of(&[2, 4, 6]), of(&[6, 2, 3]));
    let says = |result: tensor_core::Result<Array<Strict>>, what: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    says(x.conv(&w, &plain(1)), "in 1 groups, channels that fit");
    says(x.conv(&w, &Conv { groups: 0, ..plain(1) }), "and groups");
    says(x.conv(&w, &Conv { groups: 2, stride: [0][..].into(), ..plain(1) }), "a stride of at least 1");
    says(x.conv(&w, &plain(2)), "with 2 more axes");
    says(x.conv(&of(&[6, 4, 7]), &plain(1)), "at least 7 elements, got 6 along axis 2");
    says(x.conv(&w.cast(tensor_core::DType::F32).unwrap(), &plain(1)), "one number dtype, got i64 and f32");
    says(x.conv_input(&of(&[4, 2, 3]), &[9], &plain(1)), "a result of shape [2, 4, 7]");
    says(x.conv_weight(&of(&[2, 3, 9]), &[3], &plain(1)), "a result of shape [2, 4, 7]");
}
