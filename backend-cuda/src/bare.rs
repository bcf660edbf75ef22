//! The libraries' calls alone, for benchmarks: what an operation takes beyond them is time of our own.

use crate::Cuda;
use crate::blas::{After, Matrix, Product};
use smallvec::SmallVec;
use tensor_core::codegen::{self, Slot, Source, Tensor};
use tensor_core::op::BinaryOp;
use tensor_core::{Backend, DType, Layout, Program, Result, Scalar, Shape, ViewMut};

impl Cuda {
    /// What submits the addition of a few numbers by the driver's call alone, for benchmarks: whatever an addition takes
    /// beyond that to submit is time of our own.
    ///
    /// # Errors
    /// If the device fails.
    #[doc(hidden)]
    pub fn bare_launch(&self) -> Result<impl Fn() -> Result<()> + use<>> {
        let device = self.0;
        let mut program = Program::new();
        let x = program.input(DType::F32);
        let sum = program.binary(BinaryOp::Add, x, x);
        program.output(sum);
        let layout = Layout::contiguous(Shape::new([256])?);
        let tensor = Tensor { layout: &layout, dtype: DType::F32 };
        let plan = codegen::pointwise(&program, layout.shape(), &[Source::Tensor(tensor)], &[tensor], &device.target);
        let ready = device.prepare(plan)?;
        assert!(ready.temps.is_empty() && ready.launches.len() == 1, "an addition is one launch");
        let bytes = layout.numel() * DType::F32.size();
        let (input, output) = (self.alloc(bytes)?, self.alloc(bytes)?);
        Ok(move || {
            let launch = &ready.launches[0];
            let addresses: SmallVec<[u64; 2]> = launch
                .slots
                .iter()
                .map(|slot| if matches!(slot, Slot::Input(_)) { input.address() } else { output.address() })
                .collect();
            // SAFETY: parameters and slots come from the plan that the kernel's source comes from, in the order of its
            // declaration. It has one input and one output, no temporary memory, and each buffer is as large as the layout
            // that the plan was made for; both live as long as this closure, and their memory is used again only by work
            // that is submitted, and so runs, after this.
            unsafe { device.gpu.launch(launch.function, launch.grid, launch.block, &launch.params, &addresses) }
                .map_err(|code| device.error("launching a kernel", code))
        })
    }

    /// What submits the product of two square matrices of random numbers by cuBLASLt's call alone, with the plan that such a
    /// product of tensors has. `None` where cuBLASLt is not.
    ///
    /// # Errors
    /// If the device fails or has no memory left.
    #[doc(hidden)]
    pub fn bare_product(
        &self,
        side: usize,
        dtype: DType,
        tf32: bool,
    ) -> Result<Option<impl Fn() -> Result<()> + use<>>> {
        let device = self.0;
        if !crate::library::has_blas() {
            return Ok(None);
        }
        let mut program = Program::new();
        let key = program.random_key(1, 0);
        let bits = program.random(key, 0);
        let number = program.cast(bits, DType::F32);
        let scale = program.scalar(Scalar::Float(2f64.powi(-31)), DType::F32);
        let one = program.scalar(Scalar::Float(1.0), DType::F32);
        let scaled = program.binary(BinaryOp::Mul, number, scale);
        let centred = program.binary(BinaryOp::Sub, scaled, one);
        let value = program.cast(centred, dtype);
        program.output(value);
        let layout = Layout::contiguous(Shape::new([side, side])?);
        let fresh = || {
            let mut buffer = self.alloc(layout.numel() * dtype.size())?;
            let out = ViewMut { buffer: &mut buffer, layout: &layout, dtype };
            self.pointwise(&program, layout.shape(), &[], &mut [out])?;
            Ok(buffer)
        };
        let buffers = [fresh()?, fresh()?, fresh()?];
        let matrix = Matrix { row_major: true, leading: side, batch_step: 0, align: 16 };
        let (rows, columns, inner) = (side, side, side);
        let (a, b, out, after) = (matrix, matrix, matrix, After::default());
        let product = Product { dtype, tf32, rows, columns, inner, batches: 1, a, b, out, after };
        Ok(Some(move || {
            let [a, b, out] = [0, 1, 2].map(|number: usize| buffers[number].address());
            // SAFETY: three buffers of this device, each as large as the matrices are; they live as long as this closure, and
            // their memory is used again only by work that is submitted, and so runs, after this.
            let submitted = unsafe { device.blas.run(&product, [a, b, out, 0], device) };
            submitted.map_err(|failure| failure.into_error(device, side * side * dtype.size()))
        }))
    }
}
