//! cuBLASLt: matrix products by NVIDIA's kernels.
//!
//! Asking the library which of its kernels suits a product takes longer than most products. So what it answered is kept for
//! each kind of product, with the descriptions it takes.

use crate::device::{Device, Lack, device_error};
use crate::library;
use crate::plans::QuickMap;
use cudarc::cublaslt::sys::{
    self, cublasComputeType_t as Compute, cublasLtEpilogue_t as Epilogue, cublasLtHandle_t, cublasLtMatmulAlgo_t,
    cublasLtMatmulDesc_t, cublasLtMatmulDescAttributes_t as DescAttribute, cublasLtMatmulPreference_t,
    cublasLtMatmulPreferenceAttributes_t as Preference, cublasLtMatrixLayout_t,
    cublasLtMatrixLayoutAttribute_t as LayoutAttribute, cublasStatus_t, cudaDataType,
};
use cudarc::driver::sys::CUstream;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tensor_core::{DType, Error, ErrorKind, bf16, f16};

/// Why a product was not done.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The library does not do this kind of product, or is not there.
    Unsupported,
    /// The library found no memory, even after all that is kept for reuse was given back.
    OutOfMemory,
    /// The library or the driver failed.
    Failed(String),
}

impl Lack for Failure {
    fn is_of_memory(&self) -> bool {
        matches!(self, Self::OutOfMemory)
    }
}

impl Failure {
    fn driver(code: crate::driver::Code) -> Self {
        Self::Failed(code.to_string())
    }

    /// As an error of a product of so many bytes.
    pub(crate) fn into_error(self, device: &Device, bytes: usize) -> Error {
        match self {
            Self::Unsupported => device_error(&device.label, "matmul", "cuBLASLt does not do this product"),
            Self::OutOfMemory => Error::new(ErrorKind::OutOfMemory { device: device.label.clone(), bytes }),
            Self::Failed(reason) => device_error(&device.label, "matmul", reason),
        }
    }
}

fn check(code: cublasStatus_t) -> Result<(), Failure> {
    match code {
        cublasStatus_t::CUBLAS_STATUS_SUCCESS => Ok(()),
        cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED => Err(Failure::Unsupported),
        cublasStatus_t::CUBLAS_STATUS_ALLOC_FAILED => Err(Failure::OutOfMemory),
        code => Err(Failure::Failed(format!("cuBLASLt answered {code:?}"))),
    }
}

/// One matrix of a product: how it lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Matrix {
    /// Whether elements of a row, rather than of a column, lie together.
    pub(crate) row_major: bool,
    /// From one row, or column, to the next, in elements.
    pub(crate) leading: usize,
    /// From the matrix to that of the next batch, in elements; 0 where all batches share one.
    pub(crate) batch_step: usize,
    /// A power of two that divides its address, at most 16.
    pub(crate) align: u32,
}

/// A kind of product: `out[rows, columns] = a[rows, inner]·b[inner, columns]`, `batches` times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Product {
    pub(crate) dtype: DType,
    pub(crate) tf32: bool,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) inner: usize,
    pub(crate) batches: usize,
    pub(crate) a: Matrix,
    pub(crate) b: Matrix,
    /// Row-major.
    pub(crate) out: Matrix,
    pub(crate) after: After,
}

/// What becomes of a product's elements before they are rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct After {
    /// Whether a number for each column is added.
    pub(crate) bias: bool,
    /// Whether what is below 0 then becomes 0.
    pub(crate) relu: bool,
}

impl After {
    fn epilogue(self) -> Epilogue {
        match (self.bias, self.relu) {
            (false, false) => Epilogue::CUBLASLT_EPILOGUE_DEFAULT,
            (true, false) => Epilogue::CUBLASLT_EPILOGUE_BIAS,
            (false, true) => Epilogue::CUBLASLT_EPILOGUE_RELU,
            (true, true) => Epilogue::CUBLASLT_EPILOGUE_RELU_BIAS,
        }
    }
}

/// Defines an owner of a description that destroys it.
macro_rules! owner {
    ($name:ident, $raw:ty, $destroy:ident) => {
        #[derive(Debug)]
        struct $name($raw);

        // SAFETY: descriptions are plain memory that belongs to no thread.
        unsafe impl Send for $name {}
        // SAFETY: the library only reads descriptions that are complete. None is changed afterwards but for a bias' address,
        // under the lock of its plan, which is held while the library reads it too.
        unsafe impl Sync for $name {}

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: the handle came from the function that made the description, and is given back here, once.
                let _ = unsafe { sys::$destroy(self.0) };
            }
        }
    };
}

owner!(Description, cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy);
owner!(Layout, cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy);
owner!(Preferences, cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy);

impl Description {
    fn new(compute: Compute, scale: cudaDataType) -> Result<Self, Failure> {
        let mut raw = null_mut();
        // SAFETY: the library is loaded; the handle goes to a live variable.
        check(unsafe { sys::cublasLtMatmulDescCreate(&raw mut raw, compute, scale) })?;
        Ok(Self(raw))
    }

    fn transposed(&self, attribute: DescAttribute, is: bool) -> Result<(), Failure> {
        // The values of `cublasOperation_t`: plain and transposed.
        self.set(attribute, i32::from(is))
    }

    /// The bias lies at this address.
    fn biased(&self, address: u64) -> Result<(), Failure> {
        self.set(DescAttribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, address)
    }

    fn set<T>(&self, attribute: DescAttribute, value: T) -> Result<(), Failure> {
        // SAFETY: the description is alive, and nobody else uses it now: it is new, or its plan is locked. As many bytes are
        // read as the value has, which the library compares with what the attribute has.
        check(unsafe {
            sys::cublasLtMatmulDescSetAttribute(self.0, attribute, (&raw const value).cast(), size_of_val(&value))
        })
    }
}

impl Layout {
    /// A matrix of the library's: columns lie together.
    fn new(dtype: cudaDataType, rows: usize, columns: usize, of: &Matrix, batches: usize) -> Result<Self, Failure> {
        let mut raw = null_mut();
        // SAFETY: the library is loaded; the handle goes to a live variable.
        check(unsafe {
            sys::cublasLtMatrixLayoutCreate(&raw mut raw, dtype, rows as u64, columns as u64, of.leading as i64)
        })?;
        let layout = Self(raw);
        if batches > 1 {
            let (count, step) = (batches as i32, of.batch_step as i64);
            layout.set(LayoutAttribute::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count)?;
            layout.set(LayoutAttribute::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &step)?;
        }
        Ok(layout)
    }

    fn set<T>(&self, attribute: LayoutAttribute, value: &T) -> Result<(), Failure> {
        // SAFETY: the layout is alive; as many bytes are read as the value has, which the library compares with what the
        // attribute has.
        check(unsafe {
            sys::cublasLtMatrixLayoutSetAttribute(self.0, attribute, (&raw const *value).cast(), size_of::<T>())
        })
    }
}

impl Preferences {
    fn new() -> Result<Self, Failure> {
        let mut raw = null_mut();
        // SAFETY: the library is loaded; the handle goes to a live variable.
        check(unsafe { sys::cublasLtMatmulPreferenceCreate(&raw mut raw) })?;
        Ok(Self(raw))
    }

    fn set<T>(&self, attribute: Preference, value: T) -> Result<(), Failure> {
        // SAFETY: the preferences are alive; as many bytes are read as the value has, which the library compares with what
        // the attribute has.
        check(unsafe {
            sys::cublasLtMatmulPreferenceSetAttribute(self.0, attribute, (&raw const value).cast(), size_of::<T>())
        })
    }
}

/// What the library answered for a kind of product.
#[derive(Debug)]
struct Plan {
    description: Description,
    /// The bias' address in the description. Held until the library has read it, which is before its call returns.
    biasing: Mutex<u64>,
    left: Layout,
    right: Layout,
    out: Layout,
    algorithm: cublasLtMatmulAlgo_t,
    /// How many bytes it needs besides.
    workspace: usize,
    /// Whether its `ReLU` leaves NaN as it is, once the device was asked.
    keeps_nan: OnceLock<bool>,
}

#[derive(Debug)]
struct Handle {
    raw: cublasLtHandle_t,
    /// Memory that products use while they run, one after the other: address and bytes.
    workspace: (u64, usize),
}

// SAFETY: the library's handles belong to no thread, and it locks what it shares.
unsafe impl Send for Handle {}
// SAFETY: as above; the handle itself is never written.
unsafe impl Sync for Handle {}

/// cuBLASLt for one device; started when it is first used.
#[derive(Debug, Default)]
pub(crate) struct Blas {
    handle: OnceLock<Result<Handle, Failure>>,
    plans: Mutex<QuickMap<Product, Option<Arc<Plan>>>>,
}

/// How many kinds of products are kept.
const KEPT: usize = 1024;

/// Whether it multiplies matrices of a dtype: how it computes, what scales are, and what elements are.
fn types(dtype: DType, tf32: bool) -> Option<(Compute, cudaDataType, cudaDataType)> {
    use cudaDataType::{CUDA_R_16BF, CUDA_R_16F, CUDA_R_32F, CUDA_R_64F};
    let exact = Compute::CUBLAS_COMPUTE_32F;
    match dtype {
        DType::F16 => Some((exact, CUDA_R_32F, CUDA_R_16F)),
        DType::BF16 => Some((exact, CUDA_R_32F, CUDA_R_16BF)),
        DType::F32 if tf32 => Some((Compute::CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_32F, CUDA_R_32F)),
        DType::F32 => Some((exact, CUDA_R_32F, CUDA_R_32F)),
        DType::F64 => Some((Compute::CUBLAS_COMPUTE_64F, CUDA_R_64F, CUDA_R_64F)),
        DType::Bool | DType::U8 | DType::I8 | DType::I16 | DType::I32 | DType::I64 => None,
    }
}

impl Blas {
    fn handle(&self, device: &Device) -> Result<&Handle, Failure> {
        let start = || {
            if !library::has_blas() {
                return Err(Failure::Unsupported);
            }
            device.gpu.stream().map_err(Failure::driver)?;
            let mut raw = null_mut();
            // SAFETY: the library is loaded and the device's context current; the handle goes to a live variable.
            let mut create = || check(unsafe { sys::cublasLtCreate(&raw mut raw) });
            if create().is_err() {
                // It needs memory of its own, and what is kept for reuse may be all there is.
                let _ = device.pool.trim(&device.gpu);
                create()?;
            }
            let bytes = if device.description.compute_capability.0 >= 9 { 32 << 20 } else { 8 << 20 };
            // Without it the library has fewer kernels to choose from, and still some.
            let workspace = device.pool.acquire(bytes, &device.gpu).map_or((0, 0), |piece| (piece.address, bytes));
            Ok(Handle { raw, workspace })
        };
        // A library that does not start is as good as none: the backend's own kernels do the same.
        self.handle.get_or_init(|| start().map_err(|_any| Failure::Unsupported)).as_ref().map_err(Clone::clone)
    }

    /// Submits a product of matrices at these addresses. Where it has a `ReLU`, the first of its kind waits for the device.
    ///
    /// # Safety
    /// All three must lie in memory of the device, as large as the product says, and `out` must overlap neither of the others.
    /// If the product has a bias, it lies at the fourth address.
    pub(crate) unsafe fn run(&self, product: &Product, addresses: [u64; 4], device: &Device) -> Result<(), Failure> {
        // SAFETY: the caller's promise.
        device.with_memory(|| unsafe { self.try_to_run(product, addresses, device) })
    }

    /// # Safety
    /// As for [`run`](Self::run).
    unsafe fn try_to_run(&self, product: &Product, addresses: [u64; 4], device: &Device) -> Result<(), Failure> {
        let handle = self.handle(device)?;
        let stream = device.gpu.stream().map_err(Failure::driver)?;
        let plan = self.plan(product, addresses[3], handle)?;
        if product.after.relu {
            let keeps_nan = match plan.keeps_nan.get() {
                Some(&known) => known,
                // Nothing can be asked while a graph is recorded.
                None if device.gpu.recording().is_some() => return Err(Failure::Unsupported),
                None => {
                    // SAFETY: the caller's promise.
                    let keeps_nan = unsafe { plan.ask(product, addresses, handle, device) }?;
                    *plan.keeps_nan.get_or_init(|| keeps_nan)
                }
            };
            if !keeps_nan {
                return Err(Failure::Unsupported);
            }
        }
        // SAFETY: the caller's promise.
        unsafe { plan.submit(product, addresses, 1.0, handle, stream) }
    }

    fn plan(&self, product: &Product, bias: u64, handle: &Handle) -> Result<Arc<Plan>, Failure> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans.get(product) {
            return plan.clone().ok_or(Failure::Unsupported);
        }
        let plan = match Plan::new(product, bias, handle) {
            Ok(plan) => Some(Arc::new(plan)),
            Err(Failure::Unsupported) => None,
            Err(failed) => return Err(failed),
        };
        if plans.len() >= KEPT {
            plans.clear();
        }
        plans.insert(*product, plan.clone());
        plan.ok_or(Failure::Unsupported)
    }
}

impl Plan {
    /// The library's matrices lie column by column, ours row by row, which is the same as transposed. So it is asked for
    /// `outᵀ = bᵀ·aᵀ`: `b` is its left operand, and what is row-major needs no transposing.
    /// Kernels may depend on whether there is a bias, whose first address is given, so it is said before they are asked for.
    fn new(product: &Product, bias: u64, handle: &Handle) -> Result<Self, Failure> {
        let Some((compute, scale, element)) = types(product.dtype, product.tf32) else {
            return Err(Failure::Unsupported);
        };
        if product.batches > i32::MAX as usize {
            return Err(Failure::Unsupported);
        }
        let &Product { rows, columns, inner, batches, a, b, out, .. } = product;
        let description = Description::new(compute, scale)?;
        description.transposed(DescAttribute::CUBLASLT_MATMUL_DESC_TRANSA, !b.row_major)?;
        description.transposed(DescAttribute::CUBLASLT_MATMUL_DESC_TRANSB, !a.row_major)?;
        description.set(DescAttribute::CUBLASLT_MATMUL_DESC_EPILOGUE, product.after.epilogue())?;
        if product.after.bias {
            description.biased(bias)?;
        }
        let sizes = |matrix: &Matrix, rows, columns| if matrix.row_major { (columns, rows) } else { (rows, columns) };
        let (m, k) = sizes(&b, inner, columns);
        let left = Layout::new(element, m, k, &b, batches)?;
        let (k, n) = sizes(&a, rows, inner);
        let right = Layout::new(element, k, n, &a, batches)?;
        let result = Layout::new(element, columns, rows, &out, batches)?;

        let preferences = Preferences::new()?;
        preferences.set(Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, handle.workspace.1 as u64)?;
        // Parts of a sum are added up in the type that is computed in, not in the elements' own.
        const IN_COMPUTE_TYPE: u32 = 2;
        preferences.set(Preference::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, IN_COMPUTE_TYPE)?;
        let aligns = [
            (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, b.align),
            (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, a.align),
            (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, out.align),
            (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, out.align),
        ];
        for (attribute, bytes) in aligns {
            preferences.set(attribute, bytes)?;
        }
        let mut count = 0;
        // SAFETY: a struct of integers, a float and an enum with a variant 0.
        let mut found: sys::cublasLtMatmulHeuristicResult_t = unsafe { std::mem::zeroed() };
        // SAFETY: handle and descriptions are alive; there is room for the one answer that is asked for.
        check(unsafe {
            sys::cublasLtMatmulAlgoGetHeuristic(
                handle.raw,
                description.0,
                left.0,
                right.0,
                result.0,
                result.0,
                preferences.0,
                1,
                &raw mut found,
                &raw mut count,
            )
        })?;
        if count < 1 {
            return Err(Failure::Unsupported);
        }
        check(found.state)?;
        let (algorithm, workspace) = (found.algo, found.workspaceSize);
        let (biasing, keeps_nan) = (Mutex::new(bias), OnceLock::new());
        Ok(Self { description, biasing, left, right, out: result, algorithm, workspace, keeps_nan })
    }

    /// Submits the product times `scale`.
    ///
    /// # Safety
    /// As for [`Blas::run`], and this must be the product's plan, on the device of the handle, to which the stream belongs.
    unsafe fn submit(
        &self,
        product: &Product,
        [a, b, out, bias]: [u64; 4],
        scale: f32,
        handle: &Handle,
        stream: CUstream,
    ) -> Result<(), Failure> {
        let held = if product.after.bias {
            let mut held = self.biasing.lock().unwrap_or_else(PoisonError::into_inner);
            if *held != bias {
                self.description.biased(bias)?;
                *held = bias;
            }
            Some(held)
        } else {
            None
        };
        let (single, double) = ([scale, 0.0], [f64::from(scale), 0.0]);
        let (alpha, beta): (*const c_void, *const c_void) = if product.dtype == DType::F64 {
            ((&raw const double[0]).cast(), (&raw const double[1]).cast())
        } else {
            ((&raw const single[0]).cast(), (&raw const single[1]).cast())
        };
        let [a, b, out] = [a, b, out].map(|address| address as *mut c_void);
        // SAFETY: descriptions and algorithm were made for each other, and for matrices of these sizes, which the caller
        // promises to be there. The scales are read during the call. The workspace belongs to this handle, and products of the
        // device, which run in one stream, use it one after the other. cuBLASLt's type for streams is the driver's.
        let submitted = check(unsafe {
            sys::cublasLtMatmul(
                handle.raw,
                self.description.0,
                alpha,
                b,
                self.left.0,
                a,
                self.right.0,
                beta,
                out,
                self.out.0,
                out,
                self.out.0,
                &raw const self.algorithm,
                handle.workspace.0 as *mut c_void,
                self.workspace.min(handle.workspace.1),
                stream.cast(),
            )
        });
        drop(held);
        submitted
    }

    /// Asks the device whether this plan's `ReLU` leaves NaN as it is, which NVIDIA does not say: all elements of the product
    /// times NaN have to be. Overwrites the output.
    ///
    /// # Safety
    /// As for [`Blas::run`], and this must be the product's plan, on the device of the handle.
    unsafe fn ask(
        &self,
        product: &Product,
        addresses: [u64; 4],
        handle: &Handle,
        device: &Device,
    ) -> Result<bool, Failure> {
        let stream = device.gpu.stream().map_err(Failure::driver)?;
        // SAFETY: the caller's promise.
        unsafe { self.submit(product, addresses, f32::NAN, handle, stream) }?;
        let &Product { rows, columns, batches, out, .. } = product;
        let last = (batches - 1) * out.batch_step + (rows - 1) * out.leading + columns - 1;
        let size = product.dtype.size();
        for element in [0, last] {
            let mut bytes = [0; 8];
            let from = addresses[2] + (element * size) as u64;
            // SAFETY: the element lies within the output, which the caller promises to be there.
            unsafe { device.staging.read(&device.gpu, from, &mut bytes[..size]) }.map_err(Failure::driver)?;
            let is_nan = match product.dtype {
                DType::F16 => f16::from_ne_bytes([bytes[0], bytes[1]]).is_nan(),
                DType::BF16 => bf16::from_ne_bytes([bytes[0], bytes[1]]).is_nan(),
                DType::F32 => f32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]).is_nan(),
                _ => f64::from_ne_bytes(bytes).is_nan(),
            };
            if !is_nan {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
