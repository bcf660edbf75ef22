//! The printed form, files, and conversions to Rust's values.

use autograd::{Context, Function, Tensor as AnyTensor, apply_function, attempt};
use backend_cpu::Cpu;
use tensor_core::{Backend, DType, bf16};

type Tensor = AnyTensor<Cpu>;

#[test]
fn as_pytorch_prints() {
    let leaf = Tensor::ones([2, 2]).requires_grad_();
    assert_eq!(leaf.to_string(), "tensor([[1., 1.],\n        [1., 1.]], requires_grad=True)");
    assert_eq!(format!("{:?}", Tensor::ones([2]).requires_grad_() * 2), "tensor([2., 2.], grad_fn=<MulBackward0>)");
    let long = Tensor::ones([8]).to(DType::F64).requires_grad_() / 3;
    assert_eq!(
        long.to_string(),
        "tensor([0.3333, 0.3333, 0.3333, 0.3333, 0.3333, 0.3333, 0.3333, 0.3333],\n       dtype=f64, \
         grad_fn=<DivBackward0>)"
    );
    assert_eq!(Tensor::zeros([2, 0]).to_string(), "tensor([], size=(2, 0))");
    assert_eq!(Tensor::zeros([0]).to(DType::I64).to_string(), "tensor([], dtype=i64)");
    assert_eq!(Tensor::from(bf16::from_f32(std::f32::consts::PI)).to_string(), "tensor(3.1406, dtype=bf16)");
    assert_eq!(Tensor::arange(0, 1001, 1).to_string(), "tensor([   0,    1,    2,  ...,  998,  999, 1000])");
    let rows = Tensor::arange(0.0, 1001, 1).reshape([7, 143]).t().to_string();
    assert!(
        rows.starts_with("tensor([[   0.,  143.,  286.,  ...,  572.,  715.,  858.],\n        [   1.,  144.,"),
        "{rows}"
    );
}

#[test]
fn digits_as_the_format_says() {
    let x = Tensor::from([1.25_f32, -3.0]);
    assert_eq!(format!("{x:.1}"), "tensor([ 1.2, -3.0])");
    assert_eq!(format!("{x:.6?}"), "tensor([ 1.250000, -3.000000])");
}

/// Only what is shown is fetched: all of this would not fit any memory.
#[test]
fn a_huge_tensor_prints() {
    let x = Tensor::zeros([1 << 40]);
    assert_eq!(x.to_string(), "tensor([0., 0., 0.,  ..., 0., 0., 0.])");
    let column = Tensor::arange(0, 1 << 10, 1).expand([1 << 30, 1 << 10]);
    assert!(column.to_string().ends_with("[   0,    1,    2,  ..., 1021, 1022, 1023]])"), "{column}");
}

#[derive(Debug)]
struct Twice;

impl<B: Backend> Function<B> for Twice {
    fn name(&self) -> &str {
        "Twice"
    }
    fn forward(&self, _: &mut Context<B>, inputs: &[&AnyTensor<B>]) -> Vec<AnyTensor<B>> {
        vec![inputs[0] * 2]
    }
    fn backward(&self, _: &Context<B>, gradients: &[AnyTensor<B>]) -> Vec<Option<AnyTensor<B>>> {
        vec![Some(&gradients[0] * 2)]
    }
}

#[test]
#[rustfmt::skip]
fn names_of_operations_are_pytorchs() {
    let x = Tensor::ones([2, 3]).requires_grad_();
    let y = Tensor::ones([2, 3]).requires_grad_();
    let b = Tensor::ones([4, 2, 3]).requires_grad_();
    let zeros = Tensor::zeros([2, 3]).to(DType::I64);
    let first = Tensor::from([0_i64]);
    for (result, name) in [
        (&x + 1, "Add"), (&x - 1, "Sub"), (&x - &y, "Sub"), (&x / 2, "Div"), (-&x, "Neg"),
        (x.powi(2), "Pow"), (x.pow(&y), "Pow1"), (Tensor::scalar(2.0).pow(&y), "Pow1"), (x.square(), "Pow"),
        (x.sum(), "Sum"), (x.sum_dims(&[0], false), "Sum1"), (x.prod(), "Prod"), (x.prod_dims(&[0], false), "Prod1"),
        (x.max(), "Max1"), (x.amax(&[0], false), "Amax"), (x.min(), "Min1"), (x.cumsum(0), "Cumsum"),
        (x.cumprod(0), "Cumprod"), (x.softmax(0), "Softmax"), (x.log_softmax(0), "LogSoftmax"),
        (x.matmul(&y.t()), "Mm"), (b.matmul(&b.transpose(1, 2)), "Bmm"), (x.reshape([6]), "View"),
        (x.mse_loss(&y), "MseLoss"), (x.linear(&y, None), "Mm"), (x.linear(&y, Some(&x.i((.., 0)))), "Addmm"),
        (b.permute(&[0, 2, 1]), "Permute"), (x.expand([2, 2, 3]), "Expand"), (x.i(1..), "Slice"), (x.i(0), "Select"),
        (x.flip(&[0]), "Flip"), (x.diagonal(0, 0, 1), "Diagonal"), (x.unfold(0, 1, 1), "Unfold"),
        (x.clamp(0, 1), "Clamp1"), (x.clamp_min(0), "ClampMin"), (x.clamp_max(0), "ClampMax"),
        (x.to(DType::F64), "ToCopy"), (x.gt(0).where_cond(&x, &y), "Where"), (x.gather(0, &zeros), "Gather"),
        (x.scatter(0, &zeros, &y), "Scatter"), (x.scatter_add(0, &zeros, &y), "ScatterAdd"),
        (x.index_select(0, &first), "IndexSelect"), (x.index_add(0, &first, &y.i(..1)), "IndexAdd"),
        (x.index_copy(0, &first, &y.i(..1)), "IndexCopy"), (Tensor::cat(&[&x, &y], 0), "Cat"), (x.i_set(0, 1), "CopySlices"),
        (x.fmod(2), "Fmod"), (x.fmod(&y), "Fmod1"), (&x % 2, "Remainder"), (x.atan2(&y), "Atan2"),
        (x.maximum(&y), "Maximum"), (x.floor_divide(&y), "Div2"), (x.gelu_tanh(), "Gelu"), (x.softplus(), "Softplus"),
        (x.log1p(), "Log1P"), (x.expm1(), "Expm1"), (x.erfc(), "Erfc"), (x.rsqrt(), "Rsqrt"), (x.hypot(&y), "Hypot"),
    ] {
        let digit = if name.ends_with(|last: char| last.is_ascii_digit()) { 1 } else { 0 };
        let (stem, overload) = if digit == 1 && !["Atan2", "Expm1"].contains(&name) {
            name.split_at(name.len() - 1)
        } else {
            (name, "0")
        };
        assert_eq!(result.grad_fn().unwrap(), format!("{stem}Backward{overload}"));
    }
    let own = apply_function(Twice, &[&x]).remove(0);
    assert_eq!(own.grad_fn().unwrap(), "TwiceBackward");
}

#[test]
fn html() {
    let x = Tensor::from([[1.5_f32, 2.0]]);
    assert_eq!(x.to_html(), "<table><tr><td>1.5000</td><td>2.0000</td></tr></table><p>f32 [1, 2]</p>");
    let leaf = (Tensor::scalar(1.0).requires_grad_() * 2).to_html();
    assert_eq!(leaf, "<pre>tensor(2., grad_fn=&lt;MulBackward0&gt;)</pre>");
    assert!(Tensor::zeros([2000]).to_html().starts_with("<pre>tensor([0.,"));
}

#[test]
fn files() {
    let folder = std::env::temp_dir().join(format!("gradix-files-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (one, many) = (folder.join("one.npy"), folder.join("many.npz"));
    for dtype in DType::ALL {
        let x = Tensor::arange(0, 6, 1).reshape([2, 3]).to(dtype).t();
        if dtype == DType::BF16 {
            assert!(x.save_npy(&one).is_err());
            continue;
        }
        x.save_npy(&one).unwrap();
        let back = Tensor::load_npy(&one).unwrap();
        assert_eq!(back.to_string(), x.to_string());
        type Save = fn(&std::path::Path, &[(&str, &Tensor)]) -> tensor_core::Result<()>;
        let ways: [Save; 2] = [
            |path, tensors| Tensor::save_npz(path, tensors.iter().copied()),
            |path, tensors| Tensor::save_npz_compressed(path, tensors.iter().copied()),
        ];
        let single = Tensor::scalar(1.0);
        for save in ways {
            save(&many, &[("x", &x), ("one", &single)]).unwrap();
            let all = Tensor::load_npz(&many).unwrap();
            assert_eq!(all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["x", "one"]);
            assert_eq!(all[0].1.to_string(), x.to_string());
        }
    }
    assert!(Tensor::load_npy(folder.join("none.npy")).unwrap_err().to_string().contains("none.npy"));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn values_out() {
    let x = Tensor::from([1_i64, 2]);
    assert_eq!(Vec::<i64>::try_from(&x).unwrap(), [1, 2]);
    assert_eq!(
        Vec::<f32>::try_from(&x).unwrap_err().to_string(),
        "to_vec: expected elements of type i64, got f32; hint: convert the tensor first"
    );
    assert_eq!(f64::try_from(&x.sum()).unwrap(), 3.0);
    assert_eq!(i64::try_from(&x.sum()).unwrap(), 3);
    assert_eq!(u8::try_from(&x.sum()).unwrap(), 3);
    assert!(bool::try_from(&x.eq(1).any()).unwrap());
    assert_eq!(
        i64::try_from(&Tensor::scalar(1.5)).unwrap_err().to_string(),
        "try_from: expected a dtype that i64 can hold, got f32; hint: convert the tensor first: .to(DType::I64)"
    );
    assert_eq!(
        u8::try_from(&(x.sum() * 100)).unwrap_err().to_string(),
        "try_from: expected a number that u8 can hold, got 300"
    );
    assert_eq!(
        f32::try_from(&x).unwrap_err().to_string(),
        "item: expected a tensor of one element, got shape [2]; hint: reduce it first, or use to_vec"
    );
    assert!(attempt(|| x.item()).is_err());
}

#[cfg(feature = "ndarray")]
#[test]
fn ndarrays() {
    let a = ndarray::Array::from_iter(0..6_i64).into_shape_with_order((2, 3)).unwrap();
    let x = Tensor::from(a.t());
    assert_eq!(x.shape(), [3, 2]);
    assert_eq!(x.to_ndarray::<i64>(), a.t().into_dyn());
    assert_eq!(x.t().i((.., 1..)).to_ndarray::<i64>(), a.slice(ndarray::s![.., 1..]).into_dyn());
}
