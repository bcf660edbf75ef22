//! What the tests of all kernels share: data with special values, layouts of every kind, and comparison with the
//! reference interpreter within a bound in ULP.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(unreachable_pub, reason = "a module of several test binaries")]

use backend_opencl::{Buffer, OpenCl};
use tensor_core::reference::{self, HostInput, HostView, HostViewMut};
use tensor_core::{Backend, DType, DeviceKind, Input, Layout, Program, Scalar, Shape, View, ViewMut};

/// The first device, or nothing where there is no OpenCL: then a test has nothing to do, and says so.
///
/// # Panics
/// Where there is none although `GRADIX_REQUIRE=opencl` says that there must be, or it fails.
pub fn device() -> Option<OpenCl> {
    let listed = backend_opencl::devices().expect("listing devices works with and without a runtime");
    if listed.is_empty() && !tensor_core::conformance::is_required("opencl") {
        eprintln!("skipped: this machine has no OpenCL device; `cargo xtask setup` installs one");
        return None;
    }
    Some(OpenCl::open(0).expect("the first device opens"))
}

/// The first device, with the kernels for processors and with those for GPUs; none where there is no OpenCL.
pub fn devices() -> Vec<OpenCl> {
    let kinds = [DeviceKind::Cpu, DeviceKind::Gpu];
    device().map_or(Vec::new(), |_| kinds.map(|kind| OpenCl::open_as(0, kind).expect("the device opens")).into())
}

/// A small generator (`SplitMix64`), so that failures repeat.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (self.bits() >> 11) as f64 / (1u64 << 53) as f64 * (high - low)
    }
}

/// Values of a dtype at which operations go wrong.
pub fn specials(dtype: DType) -> Vec<Scalar> {
    let floats = |tiny: f64, normal: f64, largest: f64, epsilon: f64| {
        let mut list = vec![Scalar::Float(f64::NAN), Scalar::Float(0.0), Scalar::Float(-0.0)];
        for value in [
            f64::INFINITY,
            tiny,
            normal - tiny,
            normal,
            largest,
            1.0,
            1.0 + epsilon,
            1.0 - epsilon / 2.0,
            0.5,
            1.5,
            2.0,
            2.5,
            3.0,
            10.0,
            0.1,
            100.0,
            1e4,
        ] {
            list.extend([Scalar::Float(value).cast(dtype), Scalar::Float(-value).cast(dtype)]);
        }
        list
    };
    let ints = |low: i64, high: i64| {
        let small = [0, 1, 2, 3, 5, 7, 8, 31, 32, 63, 64, 100, low, low + 1, high, high - 1, low / 2, high / 2];
        let negative = [-1, -2, -3, -7, -8, -64].into_iter().filter(|&value| value >= low);
        small.into_iter().chain(negative).map(Scalar::Int).collect()
    };
    match dtype {
        DType::Bool => vec![Scalar::Bool(false), Scalar::Bool(true)],
        DType::U8 => ints(0, 255),
        DType::I8 => ints(-128, 127),
        DType::I16 => ints(i16::MIN.into(), i16::MAX.into()),
        DType::I32 => ints(i32::MIN.into(), i32::MAX.into()),
        DType::I64 => ints(i64::MIN, i64::MAX),
        DType::F16 => floats(2f64.powi(-24), 2f64.powi(-14), 65504.0, 2f64.powi(-10)),
        DType::BF16 => floats(2f64.powi(-133), 2f64.powi(-126), f64::from(f32::from_bits(0x7f7f_0000)), 2f64.powi(-7)),
        DType::F32 => floats(f32::from_bits(1).into(), f32::MIN_POSITIVE.into(), f32::MAX.into(), f32::EPSILON.into()),
        DType::F64 => floats(f64::from_bits(1), f64::MIN_POSITIVE, f64::MAX, f64::EPSILON),
    }
}

/// A random value of a dtype: floats from the domain, integers and bools from everywhere, small ones more often.
pub fn random(dtype: DType, domain: (f64, f64), rng: &mut Rng) -> Scalar {
    let value = if dtype.is_float() {
        Scalar::Float(rng.between(domain.0, domain.1))
    } else if rng.below(2) == 0 {
        Scalar::Int(rng.bits() as i64)
    } else {
        Scalar::Int(rng.below(41) as i64 - 20)
    };
    if dtype == DType::Bool { Scalar::Bool(rng.below(2) == 1) } else { value.cast(dtype) }
}

/// A tensor in host memory.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub bytes: Vec<u8>,
    pub layout: Layout,
    pub dtype: DType,
}

impl Tensor {
    /// A buffer of `len` elements, filled by `value`, and a layout over it.
    pub fn new(dtype: DType, layout: Layout, len: usize, mut value: impl FnMut(usize) -> Scalar) -> Self {
        let mut bytes = vec![0; len * dtype.size()];
        for (number, element) in bytes.chunks_exact_mut(dtype.size()).enumerate() {
            value(number).write(dtype, element);
        }
        Self { bytes, layout, dtype }
    }

    /// A dense vector.
    pub fn vector(dtype: DType, values: &[Scalar]) -> Self {
        let layout = Layout::contiguous(Shape::new([values.len()]).unwrap());
        Self::new(dtype, layout, values.len(), |number| values[number])
    }
}

/// Ways for a tensor of a given shape of two axes to lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Contiguous,
    Offset,
    Transposed,
    StepOuter,
    StepInner,
    Flipped,
    Row,
    Column,
    Single,
}

impl Kind {
    pub const ALL: [Self; 9] = [
        Self::Contiguous,
        Self::Transposed,
        Self::Row,
        Self::StepInner,
        Self::Column,
        Self::Flipped,
        Self::Single,
        Self::StepOuter,
        Self::Offset,
    ];

    /// Kinds that touch no element twice, as outputs must.
    pub const OUTPUTS: [Self; 6] =
        [Self::Contiguous, Self::Transposed, Self::StepInner, Self::Flipped, Self::StepOuter, Self::Offset];

    /// The layout for a shape of rows and columns, and how many elements its buffer has.
    pub fn layout(self, rows: usize, columns: usize) -> (Layout, usize) {
        let dense = |dims: &[usize]| Layout::contiguous(Shape::new(dims).unwrap());
        let shape = Shape::new([rows, columns]).unwrap();
        let all = rows * columns;
        match self {
            Self::Contiguous => (dense(&[rows, columns]), all),
            Self::Offset => {
                let wide = dense(&[rows + 2, columns + 3]);
                (wide.narrow(0, 1, rows).unwrap().narrow(1, 2, columns).unwrap(), (rows + 2) * (columns + 3))
            }
            Self::Transposed => (dense(&[columns, rows]).transpose(0, 1).unwrap(), all),
            Self::StepOuter => (dense(&[2 * rows, columns]).slice(0, 0, rows, 2).unwrap(), 2 * all),
            Self::StepInner => {
                (dense(&[rows, 3 * columns]).slice(1, 1.min(3 * columns - 1), columns, 3).unwrap(), 3 * all)
            }
            Self::Flipped => (dense(&[rows, columns]).flip(&[0, 1]).unwrap(), all),
            Self::Row => (dense(&[1, columns]).expand(&shape).unwrap(), columns),
            Self::Column => (dense(&[rows, 1]).expand(&shape).unwrap(), rows),
            Self::Single => (dense(&[1, 1]).expand(&shape).unwrap(), 1),
        }
    }
}

/// Where a program's input comes from.
#[derive(Clone, Debug)]
pub enum In {
    Tensor(Tensor),
    Output(usize),
}

/// How the device computes: the outputs' buffers afterwards.
pub fn on_device(device: &OpenCl, program: &Program, shape: &Shape, inputs: &[In], outputs: &[Tensor]) -> Vec<Vec<u8>> {
    let held: Vec<_> = inputs
        .iter()
        .map(|input| match input {
            In::Tensor(tensor) => Some(upload(device, tensor)),
            In::Output(_) => None,
        })
        .collect();
    let views: Vec<Input<'_, OpenCl>> = inputs
        .iter()
        .zip(&held)
        .map(|(input, buffer)| match (input, buffer) {
            (In::Tensor(tensor), Some(buffer)) => {
                Input::View(View { buffer, layout: &tensor.layout, dtype: tensor.dtype })
            }
            (In::Output(number), _) => Input::Output(*number),
            (In::Tensor(_), None) => unreachable!("every tensor was uploaded"),
        })
        .collect();
    let mut buffers: Vec<_> = outputs.iter().map(|tensor| upload(device, tensor)).collect();
    let mut out: Vec<ViewMut<'_, OpenCl>> = outputs
        .iter()
        .zip(&mut buffers)
        .map(|(tensor, buffer)| ViewMut { buffer, layout: &tensor.layout, dtype: tensor.dtype })
        .collect();
    device.pointwise(program, shape, &views, &mut out).unwrap();
    buffers.iter().map(|buffer| bytes(device, buffer)).collect()
}

/// A tensor's bytes on the device.
pub fn upload(device: &OpenCl, tensor: &Tensor) -> Buffer {
    let mut buffer = device.alloc(tensor.bytes.len()).unwrap();
    device.write(&mut buffer, 0, &tensor.bytes).unwrap();
    buffer
}

/// What a buffer holds.
pub fn bytes(device: &OpenCl, buffer: &Buffer) -> Vec<u8> {
    let mut bytes = vec![0; device.size(buffer)];
    device.read(buffer, 0, &mut bytes).unwrap();
    bytes
}

/// How the reference interpreter computes.
pub fn on_reference(program: &Program, shape: &Shape, inputs: &[In], outputs: &[Tensor]) -> Vec<Vec<u8>> {
    let views: Vec<HostInput<'_>> = inputs
        .iter()
        .map(|input| match input {
            In::Tensor(tensor) => {
                HostInput::View(HostView { bytes: &tensor.bytes, layout: &tensor.layout, dtype: tensor.dtype })
            }
            In::Output(number) => HostInput::Output(*number),
        })
        .collect();
    let mut buffers: Vec<Vec<u8>> = outputs.iter().map(|tensor| tensor.bytes.clone()).collect();
    let mut out: Vec<HostViewMut<'_>> = outputs
        .iter()
        .zip(&mut buffers)
        .map(|(tensor, bytes)| HostViewMut { bytes, layout: &tensor.layout, dtype: tensor.dtype })
        .collect();
    reference::pointwise(program, shape, &views, &mut out);
    buffers
}

/// How far two values are apart in units in the last place of the dtype; 0 for equal ones, and for NaN beside NaN.
pub fn distance(dtype: DType, a: Scalar, b: Scalar) -> u64 {
    let (Scalar::Float(a), Scalar::Float(b)) = (a, b) else {
        return if a == b { 0 } else { u64::MAX };
    };
    if a == b || (a.is_nan() && b.is_nan()) {
        return 0;
    }
    if a.is_nan() || b.is_nan() {
        return u64::MAX;
    }
    // Bit patterns without their sign count up from zero.
    let place = |value: f64| -> i128 {
        let bits = match dtype {
            DType::F16 => u64::from(tensor_core::f16::from_f64(value.abs()).to_bits()),
            DType::BF16 => u64::from(tensor_core::bf16::from_f64(value.abs()).to_bits()),
            DType::F32 => u64::from((value.abs() as f32).to_bits()),
            _ => value.abs().to_bits(),
        };
        if value < 0.0 { -i128::from(bits) } else { i128::from(bits) }
    };
    (place(a) - place(b)).unsigned_abs() as u64
}

/// Asserts that two buffers agree element by element within `ulp`.
pub fn assert_close(dtype: DType, got: &[u8], expected: &[u8], ulp: u64, what: &dyn Fn(usize) -> String) {
    if got == expected {
        return;
    }
    let size = dtype.size();
    for (number, (got, expected)) in got.chunks_exact(size).zip(expected.chunks_exact(size)).enumerate() {
        if got != expected {
            let (got, expected) = (Scalar::read(dtype, got), Scalar::read(dtype, expected));
            let apart = distance(dtype, got, expected);
            assert!(apart <= ulp, "{}: got {got}, expected {expected}, {apart} ULP apart, allowed {ulp}", what(number));
        }
    }
}

/// A tensor for the reference interpreter.
pub fn host(tensor: &Tensor) -> HostView<'_> {
    HostView { bytes: &tensor.bytes, layout: &tensor.layout, dtype: tensor.dtype }
}

/// A tensor for the reference interpreter to write.
pub fn host_mut<'a>(tensor: &'a Tensor, bytes: &'a mut [u8]) -> HostViewMut<'a> {
    HostViewMut { bytes, layout: &tensor.layout, dtype: tensor.dtype }
}
