//! The introduction as a reader would type it, with what it must print; and the device that is chosen at run time.

use gradix::prelude::*;
use gradix::{ErrorKind, attempt};

fn f(x: &Tensor) -> Tensor {
    x.powi(3) + 3 * x.powi(2) - 5 * x + 4
}

fn g(x: &Tensor) -> Tensor {
    x.powi(2)
}

#[test]
fn tensors_print_as_the_introduction_shows() {
    let x = tensor!(3.0);
    assert_eq!(format!("{}", &x * 2), "tensor(6.)");
    let m = tensor!([[1, 2], [3, 4]]);
    assert_eq!(format!("{m}"), "tensor([[1, 2],\n        [3, 4]])");
    let c = tensor!([10, 1]);
    assert_eq!(format!("{c}"), "tensor([10,  1])");
    assert_eq!(format!("{}", &m * 10), "tensor([[10, 20],\n        [30, 40]])");
    assert_eq!(format!("{}", m.matmul(&c.reshape([-1, 1]))), "tensor([[12],\n        [34]])");
    assert_eq!(format!("{}", m.device()), "cpu");
}

#[cfg(feature = "ndarray")]
#[test]
fn ndarrays_become_tensors_in_logical_order() {
    let a = ndarray::array![[1i64, 2], [3, 4]];
    assert_eq!(Tensor::from(&a).to_vec::<i64>(), [1, 2, 3, 4]);
    assert_eq!(Tensor::from(a.t()).to_vec::<i64>(), [1, 3, 2, 4]);
    assert_eq!(Tensor::from(a.slice(ndarray::s![.., ..;-1])).to_vec::<i64>(), [2, 1, 4, 3]);
}

#[test]
fn gradients_pile_up_until_zeroed() {
    let x = tensor!(-2.0);
    assert_eq!(format!("{:?}", x.grad()), "None");
    let x = tensor!(-2.0).requires_grad_();
    let y = f(&x);
    y.backward();
    assert_eq!(format!("{}", x.grad().unwrap()), "tensor(-5.)");
    let y = g(&x);
    y.backward();
    assert_eq!(format!("{}", x.grad().unwrap()), "tensor(-9.)");
    x.grad().unwrap().zero_();
    g(&x).backward();
    assert_eq!(format!("{:?}", x.grad()), "Some(tensor(-4.))");
    x.zero_grad();
    assert!(x.grad().is_none());
}

#[test]
fn a_device_that_is_not_there_is_an_error_that_says_why() {
    // The highest number that no machine has, so that the test means the same where there are GPUs.
    for open in [Device::cuda, Device::opencl] {
        let error = open(4096).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NoDevice { .. }), "{error}");
    }
    #[cfg(not(feature = "cuda"))]
    assert_eq!(
        Device::cuda(0).unwrap_err().to_string(),
        "no device cuda:0: gradix was built without its feature `cuda`"
    );
}

#[test]
fn devices_have_names() {
    assert_eq!("cpu".parse::<Device>().unwrap(), Device::default());
    assert_eq!("reference".parse::<Device>().unwrap(), Device::reference());
    for wrong in ["", "gpu", "cpu:1", "cuda:x", "cuda:-1"] {
        let error = wrong.parse::<Device>().unwrap_err().to_string();
        assert!(error.contains("devices are named cpu, cuda:N, opencl:N and reference"), "{error}");
    }
}

#[test]
fn tensors_and_gradients_travel_between_devices() {
    let x = tensor!([[1.0, 2.0], [3.0, 4.0]]).requires_grad_();
    let there = x.to(&Device::reference());
    assert_eq!(there.device().to_string(), "reference");
    (&there * &there.t()).sum().backward();
    let grad = x.grad().unwrap();
    assert_eq!(grad.device(), Device::default());
    assert_eq!(grad.to_vec::<f32>(), [2.0, 6.0, 4.0, 8.0]);
}

#[cfg(feature = "cpu")]
#[test]
fn tensors_of_different_devices_do_not_mix() {
    let here = tensor!([1.0, 2.0]);
    let there = here.to(&Device::reference());
    let error = attempt(|| &here + &there).unwrap_err();
    assert_eq!(
        error.to_string(),
        "add: expected tensors on one device, got cpu and reference; hint: move one of them with .to(&device)"
    );
    // A scalar may meet any device, as in PyTorch.
    assert_eq!((&there + tensor!(1.0)).to_vec::<f32>(), [2.0, 3.0]);
}

#[test]
fn every_device_gives_the_same_random_numbers() {
    use tensor_core::Array;
    let shape = gradix::Shape::new([1000]).unwrap();
    let on = |device: Device| Array::rand(&device, 7, 3, &shape, DType::F32).unwrap().to_vec::<f32>().unwrap();
    assert_eq!(on(Device::default()), on(Device::reference()));
}

#[cfg(feature = "plot")]
#[test]
fn figures_take_tensors() {
    let x = tensor!(-2.0).requires_grad_();
    f(&x).backward();
    let mut figure = plot_func(f, -5..3);
    figure.axes().plot_tangent(f, &x, x.grad().unwrap().item()).label("slope −5");
    figure.axes().scatter_tensor(&tensor!([0, 1]), &tensor!([4.0, 3.0]));
    figure.axes().legend();
    let svg = figure.to_svg();
    assert!(svg.contains("slope −5"));
    assert!(!svg.contains("NaN"));
}
