//! What the tests of faults share: the stand-in for the CUDA driver, if that is what is loaded, and a few operations.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(unreachable_pub, reason = "a module of several test binaries")]

use backend_cuda::Cuda;
use std::ffi::{CString, c_char, c_int, c_longlong};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tensor_core::op::BinaryOp;
use tensor_core::{Array, Backend, DType, Layout, Program, Result, Scalar, Shape, View, ViewMut};

/// The stand-in (`backend-cuda/fake/README.md`): its settings and counters. One test at a time holds it, and finds and leaves
/// it as it starts.
pub struct Fake {
    library: libloading::Library,
    _alone: MutexGuard<'static, ()>,
}

impl Fake {
    /// The stand-in, or nothing where there is another driver or none: then a test has nothing to do, and says so.
    ///
    /// # Panics
    /// Where there is none although `GRADIX_REQUIRE_FAKE_CUDA=1` says that there must be.
    pub fn get() -> Option<Self> {
        let fake = Self::as_it_is()?;
        fake.set("defaults", "");
        Some(fake)
    }

    /// The stand-in with the settings and counters that it has.
    pub fn as_it_is() -> Option<Self> {
        let fake = Self::if_loaded();
        if fake.is_none() {
            let required = std::env::var_os("GRADIX_REQUIRE_FAKE_CUDA").is_some_and(|value| value == "1");
            assert!(!required, "the stand-in for the CUDA driver is not in LD_LIBRARY_PATH");
            eprintln!("skipped: this needs the stand-in for the CUDA driver; `cargo xtask fake-cuda` builds it");
        }
        fake
    }

    /// The stand-in with the settings and counters that it has, for a program that does as well without.
    pub fn if_loaded() -> Option<Self> {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: a driver's library is made to be loaded by any program at any time.
        let library = unsafe { libloading::Library::new("libcuda.so.1") }.ok();
        // SAFETY: the address is only asked for.
        let library =
            library.filter(|library| unsafe { library.get::<unsafe extern "C" fn()>("fake_cuda_set") }.is_ok())?;
        Some(Self { library, _alone: alone })
    }

    /// Changes a setting.
    pub fn set(&self, name: &str, value: impl ToString) {
        type Set = unsafe extern "C" fn(*const c_char, *const c_char) -> c_int;
        let (text, value) = (CString::new(name).unwrap(), CString::new(value.to_string()).unwrap());
        // SAFETY: the stand-in declares the function so; both texts end with a zero byte and are read during the call.
        let known = unsafe { self.library.get::<Set>("fake_cuda_set").unwrap()(text.as_ptr(), value.as_ptr()) };
        assert_eq!(known, 1, "the stand-in has a setting {name}");
    }

    /// A setting or counter.
    pub fn count(&self, name: &str) -> i64 {
        type Get = unsafe extern "C" fn(*const c_char) -> c_longlong;
        let text = CString::new(name).unwrap();
        // SAFETY: the stand-in declares the function so; the text ends with a zero byte and is read during the call.
        unsafe { self.library.get::<Get>("fake_cuda_get").unwrap()(text.as_ptr()) }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.set("defaults", "");
    }
}

/// `x·factor` for a few numbers. Every `kind` has a kernel of its own, so that it can be compiled for the first time.
pub fn scale(device: &Cuda, kind: usize, factor: f64) -> Result<Vec<f32>> {
    let mut program = Program::new();
    let x = program.input(DType::F32);
    let scalar = program.scalar(Scalar::Float(factor), DType::F32);
    let mut y = program.binary(BinaryOp::Mul, x, scalar);
    for _ in 0..kind {
        y = program.binary(BinaryOp::Maximum, y, scalar);
        y = program.binary(BinaryOp::Minimum, y, scalar);
        let x = program.binary(BinaryOp::Mul, x, scalar);
        y = program.binary(BinaryOp::Sub, y, y);
        y = program.binary(BinaryOp::Add, y, x);
    }
    program.output(y);
    let layout = Layout::contiguous(Shape::new([3]).unwrap());
    let mut input = device.alloc(12)?;
    device.write(&mut input, 0, &bytes(&[1.0, 2.0, -3.0]))?;
    let mut output = device.alloc(12)?;
    let view = View { buffer: &input, layout: &layout, dtype: DType::F32 };
    let mut out = [ViewMut { buffer: &mut output, layout: &layout, dtype: DType::F32 }];
    device.pointwise(&program, layout.shape(), &[tensor_core::Input::View(view)], &mut out)?;
    let mut back = [0; 12];
    device.read(&output, 0, &mut back)?;
    Ok(floats(&back))
}

/// A product of matrices of ones, whose every element is `inner`.
pub fn product(device: &Cuda, rows: usize, inner: usize, columns: usize) -> Result<Vec<f32>> {
    let ones = |rows: usize, columns| Array::from_slice(device, &vec![1f32; rows * columns], [rows, columns]);
    ones(rows, inner)?.matmul(&ones(inner, columns)?)?.to_vec::<f32>()
}

pub fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

pub fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|bytes| f32::from_ne_bytes(bytes.try_into().unwrap())).collect()
}
