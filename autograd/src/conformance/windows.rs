//! Convolutions, products over any axes, and pools against finite differences.

use super::table::Checks;
use super::{Device, numbers, plain, spread};
use crate::{ConvOptions, Padding, PoolOptions, Tensor};

pub(super) fn convolutions<B: Device>() {
    let mut checks = Checks::<B>::new();
    let x = spread(&[2, 2, 5, 4], 3);
    let w = spread(&[2, 2, 2, 3], 5);
    checks.two("conv1d", &spread(&[2, 3, 6], 3), &spread(&[2, 3, 3], 5), |x, w| x.conv1d(w, None, ConvOptions::new()));
    checks.two("conv1d without a batch", &spread(&[2, 6], 3), &spread(&[1, 2, 2], 5), |x, w| {
        x.conv1d(w, None, ConvOptions::new().stride(2).padding(1))
    });
    checks.two("conv2d", &x, &w, |x, w| x.conv2d(w, None, ConvOptions::new()));
    checks.two("conv2d with strides", &x, &w, |x, w| {
        x.conv2d(w, None, ConvOptions::new().stride([2, 1]).padding([0, 2]))
    });
    checks.two("conv2d with holes", &x, &w, |x, w| {
        x.conv2d(w, None, ConvOptions::new().stride(2).padding(2).dilation([3, 2]))
    });
    checks.two("conv2d of one size", &x, &w, |x, w| x.conv2d(w, None, ConvOptions::new().padding(Padding::Same)));
    checks.two("conv2d in groups", &spread(&[1, 4, 3, 3], 3), &spread(&[6, 2, 2, 2], 5), |x, w| {
        x.conv2d(w, None, ConvOptions::new().groups(2).stride(2).padding(1))
    });
    checks.two("conv2d by channels", &spread(&[1, 3, 4, 3], 3), &spread(&[3, 1, 2, 2], 5), |x, w| {
        x.conv2d(w, None, ConvOptions::new().groups(3).padding(1))
    });
    checks.two("conv3d", &spread(&[1, 1, 3, 3, 4], 3), &spread(&[2, 1, 2, 1, 2], 5), |x, w| {
        x.conv3d(w, None, ConvOptions::new().stride([1, 2, 2]).padding([1, 0, 0]))
    });
    checks.two("conv2d, its bias", &x, &spread(&[3], 7), |x, bias| {
        x.conv2d(&plain(&numbers(24, 9), &[3, 2, 2, 2]), Some(bias), ConvOptions::new().padding(1))
    });
    checks.two("conv2d of views", &spread(&[5, 2, 4, 2], 3), &w, |x, w| {
        x.permute(&[1, 3, 0, 2]).flip(&[2]).conv2d(&w.transpose(0, 1).flip(&[-1]), None, ConvOptions::new().stride(2))
    });
    checks.one("conv1d with itself", &spread(&[2, 2, 3], 3), |x| x.conv1d(x, None, ConvOptions::new().padding(1)));
    checks.done();
}

pub(super) fn transposed_convolutions<B: Device>() {
    let mut checks = Checks::<B>::new();
    checks.two("conv_transpose1d", &spread(&[2, 3, 4], 3), &spread(&[3, 2, 3], 5), |x, w| {
        x.conv_transpose1d(w, None, ConvOptions::new().stride(2).padding(1).output_padding(1))
    });
    checks.two("conv_transpose2d", &spread(&[1, 2, 3, 2], 3), &spread(&[2, 2, 2, 3], 5), |x, w| {
        x.conv_transpose2d(w, None, ConvOptions::new())
    });
    checks.two("conv_transpose2d with strides", &spread(&[2, 3, 2], 3), &spread(&[2, 1, 3, 2], 5), |x, w| {
        x.conv_transpose2d(w, None, ConvOptions::new().stride([2, 3]).dilation([1, 2]).padding([1, 0]))
    });
    checks.two("conv_transpose2d in groups", &spread(&[1, 4, 2, 2], 3), &spread(&[4, 2, 2, 2], 5), |x, w| {
        x.conv_transpose2d(w, None, ConvOptions::new().groups(2).stride(2))
    });
    checks.two(
        "conv_transpose1d, more than a stride behind",
        &spread(&[1, 1, 3], 3),
        &spread(&[1, 1, 3], 5),
        |x, w| x.conv_transpose1d(w, None, ConvOptions::new().dilation(3).padding(1).output_padding(2)),
    );
    checks.two("conv_transpose3d", &spread(&[1, 1, 2, 2, 2], 3), &spread(&[1, 2, 2, 1, 2], 5), |x, w| {
        x.conv_transpose3d(w, Some(&plain(&[0.5, -1.0], &[2])), ConvOptions::new().stride(2))
    });
    checks.done();
}

pub(super) fn contractions<B: Device>() {
    let mut checks = Checks::<B>::new();
    let (a, b) = (spread(&[2, 3, 4], 3), spread(&[4, 3, 2], 5));
    checks.two("tensordot", &a, &b, |a, b| a.tensordot(b, [&[1, 2], &[1, 0]]));
    checks.two("tensordot over nothing", &spread(&[2], 3), &spread(&[3], 5), |a, b| a.tensordot(b, [&[], &[]]));
    checks.two("tensordot over all", &a, &b, |a, b| a.tensordot(b, [&[0, 1, 2], &[2, 1, 0]]));
    for equation in ["ijk,kjl->il", "ijk,kjl->lj", "ijk,kjl->ijkl", "ijk,kjl->", "ijk,kji", "ijk,lji->kl"] {
        checks.two(equation, &a, &b, move |a, b| Tensor::einsum(equation, &[a, b]));
    }
    checks.two("broadcast hidden axes", &a, &spread(&[2, 1, 4], 5), |a, b| Tensor::einsum("...j,...j->...", &[a, b]));
    checks.one("a diagonal's sum", &spread(&[3, 2, 3], 3), |x| Tensor::einsum("iji->j", &[x]));
    checks.one("three of one", &spread(&[2, 2], 3), |x| Tensor::einsum("ij,jk,kl->il", &[x, x, x]));
    checks.done();
}

pub(super) fn pools<B: Device>() {
    let mut checks = Checks::<B>::new();
    let x = spread(&[2, 2, 5, 6], 3);
    checks.one("max_pool1d", &spread(&[2, 7], 3), |x| x.max_pool1d(3));
    checks.one("max_pool2d", &x, |x| x.max_pool2d(2));
    checks
        .one("max_pool2d, overlapping", &x, |x| x.max_pool2d(PoolOptions::new([3, 2]).stride([2, 1]).padding([1, 0])));
    checks.one("max_pool2d with holes, rounded up", &x, |x| {
        x.max_pool2d(PoolOptions::new(2).stride(3).dilation([2, 1]).ceil(true))
    });
    checks.one("max_pool3d", &spread(&[1, 3, 4, 4], 3), |x| x.max_pool3d(PoolOptions::new(2).padding(1)));
    checks.one("avg_pool1d", &spread(&[2, 7], 3), |x| x.avg_pool1d(3));
    checks.one("avg_pool2d", &x, |x| x.avg_pool2d(PoolOptions::new([2, 3]).stride([1, 2]).padding([1, 1])));
    checks.one("avg_pool2d without the padding", &x, |x| {
        x.avg_pool2d(PoolOptions::new(3).stride(2).padding(1).ceil(true).count_padding(false))
    });
    checks.one("avg_pool3d", &spread(&[1, 4, 4, 4], 3), |x| x.avg_pool3d(2));
    checks.one("adaptive_avg_pool", &x, |x| x.adaptive_avg_pool(&[2, 4]));
    checks.one("adaptive_max_pool", &x, |x| x.adaptive_max_pool(&[3, 4]));
    checks.done();
    // The first of several largest elements has the slope, in row-major order, also along the outer axis.
    let ties = Tensor::<B>::from_slice(&[3.0_f32, 3.0, 1.0, 3.0, 3.0, 2.0], [1, 2, 3]).requires_grad_();
    let y = ties.max_pool2d(PoolOptions::new(2).stride(1));
    y.backward_with(&Tensor::from_slice(&[1.0_f32, 10.0], [1, 1, 2]));
    assert_eq!(super::gradient(&ties), [1.0, 10.0, 0.0, 0.0, 0.0, 0.0]);
}

/// Where a window has nothing but the lowest value, its first element within the input is chosen, never the padding.
pub(super) fn pools_of_lowest_values<B: Device>() {
    let x = Tensor::<B>::from_slice(&[f32::NEG_INFINITY; 6], [1, 2, 3]).requires_grad_();
    let (y, at) = x.max_pool_with_indices(2, PoolOptions::new(2).stride(1).padding(1));
    assert_eq!(at.to_vec::<i64>(), [0, 0, 1, 2, 0, 0, 1, 2, 3, 3, 4, 5]);
    y.sum().backward();
    assert_eq!(super::gradient(&x), [4.0, 2.0, 2.0, 2.0, 1.0, 1.0]);
    let bytes = Tensor::<B>::from_slice(&[0_u8, 0, 0, 7], [1, 4]);
    let (y, at) = bytes.max_pool_with_indices(1, PoolOptions::new(3).stride(2).padding(1));
    assert_eq!((y.to_vec::<u8>(), at.to_vec::<i64>()), (vec![0, 7], vec![0, 3]));
    let nan = Tensor::<B>::from_slice(&[1.0_f32, f32::NAN, 2.0, f32::NAN], [1, 4]);
    let (y, at) = nan.max_pool_with_indices(1, 4);
    assert!(y.to_vec::<f32>()[0].is_nan());
    assert_eq!(at.to_vec::<i64>(), [1]);
    // Longer than one program takes, and more elements than a byte counts.
    let long: Vec<f32> = (0..600).map(|i| ((i * 37) % 601) as f32).collect();
    let largest = (0..600).max_by_key(|&i| (i * 37) % 601).map(|i| vec![i as i64]);
    let (_, at) = Tensor::<B>::from_slice(&long, [1, 600]).max_pool_with_indices(1, 600);
    assert_eq!(Some(at.to_vec::<i64>()), largest);
}

pub(super) fn windows_and_sums<B: Device>() {
    let mut checks = Checks::<B>::new();
    checks.one("im2col", &spread(&[2, 2, 4, 5], 3), |x| x.im2col(PoolOptions::new([2, 3]).stride([1, 2]).padding(1)));
    checks.one("im2col with holes", &spread(&[1, 1, 5, 5], 3), |x| x.im2col(PoolOptions::new(2).stride(1).dilation(3)));
    checks.done();
    let x = Tensor::<B>::from_slice(&[1.0_f32, 2.0, 3.0, 4.0], [4]).requires_grad_();
    x.unfold(0, 3, 1).backward_with(&Tensor::from_slice(&[1.0_f32, 2.0, 3.0, 10.0, 20.0, 30.0], [2, 3]));
    assert_eq!(super::gradient(&x), [1.0, 12.0, 23.0, 30.0]);
    let scalar = Tensor::<B>::scalar(2.0).requires_grad_();
    scalar.unfold(0, 1, 1).sum().backward();
    assert_eq!(super::gradient(&scalar), [1.0]);
    let taken = x.detach().requires_grad_();
    taken.unfold(0, 0, 1).sum().backward();
    assert_eq!(super::gradient(&taken), [0.0; 4]);
}
