//! The handle, and how each of the [`Backend`]'s methods finds its kernels.

use crate::matmul::attention;
use crate::vecmath::Level;
use crate::{Buffer, memory, pointwise};
use std::borrow::Cow;
use std::sync::OnceLock;
use tensor_core::rows::RowSpec;
use tensor_core::{
    AttentionSpec, Backend, DType, DeviceInfo, DeviceKind, Error, ErrorKind, Input, MatmulSpec, Program, ReduceSpec,
    Result, ScanOp, ScatterOp, Shape, View, ViewMut,
};

/// The processor. Handles are cheap; they share one memory pool and the threads of `rayon`'s pool.
///
/// ```
/// use backend_cpu::Cpu;
/// use tensor_core::Backend;
/// let cpu = Cpu::open();
/// println!("{} with {:?} bytes of memory", cpu.info().name, cpu.info().memory);
/// assert_eq!(cpu.label(), "cpu");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    level: Level,
}

impl Cpu {
    /// The processor, which is always there, with the best instruction set it has (or the one that the environment variable
    /// `GRADIX_CPU_ISA` names; see [`Level::best`]).
    pub fn open() -> Self {
        Self::default()
    }

    /// The processor, using only a certain instruction set: to compare instruction sets, and to test those that would not
    /// be chosen. Handles with different ones are not equal.
    pub fn with_level(level: Level) -> Self {
        Self { level }
    }

    /// The instruction set that kernels use.
    #[inline]
    pub fn level(&self) -> Level {
        self.level
    }
}

impl Default for Cpu {
    fn default() -> Self {
        Self { level: Level::best() }
    }
}

impl Backend for Cpu {
    type Buffer = Buffer;

    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            name: name().to_owned(),
            kind: DeviceKind::Cpu,
            memory: memory::physical_memory(),
            dtypes: DType::ALL.to_vec(),
        }
    }

    fn label(&self) -> Cow<'static, str> {
        "cpu".into()
    }

    #[inline]
    fn alloc(&self, bytes: usize) -> Result<Buffer> {
        Buffer::new(bytes)
            .ok_or_else(|| Error::new(ErrorKind::OutOfMemory { device: self.label().into_owned(), bytes }))
    }

    #[inline]
    fn write(&self, buffer: &mut Buffer, offset: usize, bytes: &[u8]) -> Result<()> {
        buffer.bytes_mut()[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn read(&self, buffer: &Buffer, offset: usize, bytes: &mut [u8]) -> Result<()> {
        bytes.copy_from_slice(&buffer.bytes()[offset..offset + bytes.len()]);
        Ok(())
    }

    #[inline]
    fn size(&self, buffer: &Buffer) -> usize {
        buffer.size()
    }

    #[inline]
    fn is_unique(&self, buffer: &mut Buffer) -> bool {
        buffer.is_unique()
    }

    #[inline]
    fn is_same(&self, a: &Buffer, b: &Buffer) -> bool {
        a.as_ptr() == b.as_ptr()
    }

    fn copy_to(&self, buffer: &Buffer, _target: &Self) -> Result<Buffer> {
        // There is one processor, and what others hold is never written.
        Ok(buffer.clone())
    }

    fn reduce(&self, spec: &ReduceSpec<'_>, inputs: &[View<'_, Self>], out: ViewMut<'_, Self>) -> Result<()> {
        crate::reduce::reduce(self, spec, inputs, out)
    }

    fn scan(&self, op: ScanOp, axis: usize, input: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        crate::scan::scan(op, axis, &input, out);
        Ok(())
    }

    fn matmul(
        &self,
        spec: &MatmulSpec<'_>,
        a: View<'_, Self>,
        b: View<'_, Self>,
        extras: &[View<'_, Self>],
        out: ViewMut<'_, Self>,
    ) -> Result<()> {
        crate::matmul::matmul(self, spec, [&a, &b], extras, out)
    }

    fn gather(&self, axis: usize, input: View<'_, Self>, index: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        crate::gather::gather(axis, &input, &index, out);
        Ok(())
    }

    fn scatter(
        &self,
        op: ScatterOp,
        axis: usize,
        index: View<'_, Self>,
        src: View<'_, Self>,
        out: ViewMut<'_, Self>,
    ) -> Result<()> {
        crate::scatter::scatter(op, axis, &index, &src, out);
        Ok(())
    }

    fn mask_indices(&self, mask: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        crate::mask::mask_indices(&mask, out);
        Ok(())
    }

    fn sort(
        &self,
        axis: usize,
        descending: bool,
        input: View<'_, Self>,
        values: ViewMut<'_, Self>,
        indices: ViewMut<'_, Self>,
    ) -> Result<()> {
        crate::sort::sort(axis, descending, &input, values, indices);
        Ok(())
    }

    fn topk(
        &self,
        axis: usize,
        largest: bool,
        input: View<'_, Self>,
        values: ViewMut<'_, Self>,
        indices: ViewMut<'_, Self>,
    ) -> Result<()> {
        crate::topk::topk(self, self.level, axis, largest, &input, values, indices)
    }

    fn softmax(&self, axis: usize, log: bool, input: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        crate::softmax::softmax(self.level, axis, log, &input, out);
        Ok(())
    }

    fn rows(&self, spec: &RowSpec<'_>, inputs: &[View<'_, Self>], out: ViewMut<'_, Self>) -> Result<()> {
        crate::rows::rows(self, spec, inputs, out)
    }

    fn has_attention(&self, dtype: DType) -> bool {
        matches!(dtype, DType::F32 | DType::F64)
    }

    fn attention(&self, spec: &AttentionSpec, inputs: [View<'_, Self>; 3], out: ViewMut<'_, Self>) -> Result<()> {
        attention::attention(self, spec, &inputs, out)
    }

    fn attention_gradients(
        &self,
        spec: &AttentionSpec,
        inputs: [View<'_, Self>; 4],
        outs: [ViewMut<'_, Self>; 3],
    ) -> Result<()> {
        attention::gradients(self, spec, &inputs, outs)
    }

    fn eager_below(&self) -> usize {
        4096
    }

    fn reads_are_free(&self) -> bool {
        true
    }

    fn pointwise(
        &self,
        program: &Program,
        shape: &Shape,
        inputs: &[Input<'_, Self>],
        outputs: &mut [ViewMut<'_, Self>],
    ) -> Result<()> {
        pointwise::pointwise(self.level, program, shape, inputs, outputs)
    }
}

/// The processor's name as it calls itself.
fn name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        brand().unwrap_or_else(|| format!("{} processor on {}", std::env::consts::ARCH, std::env::consts::OS))
    })
}

#[cfg(target_arch = "x86_64")]
fn brand() -> Option<String> {
    use std::arch::x86_64::__cpuid;
    const FIRST: u32 = 0x8000_0002;
    const LAST: u32 = 0x8000_0004;
    if __cpuid(0x8000_0000).eax < LAST {
        return None;
    }
    let bytes: Vec<u8> = (FIRST..=LAST)
        .flat_map(|leaf| {
            let part = __cpuid(leaf);
            [part.eax, part.ebx, part.ecx, part.edx]
        })
        .flat_map(u32::to_le_bytes)
        .take_while(|&byte| byte != 0)
        .collect();
    let name = String::from_utf8_lossy(&bytes).trim().to_owned();
    (!name.is_empty()).then_some(name)
}

#[cfg(not(target_arch = "x86_64"))]
fn brand() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name") || line.starts_with("Model"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_it_is() {
        let info = Cpu::open().info();
        assert!(!info.name.is_empty());
        assert_eq!(info.dtypes, DType::ALL);
        assert_eq!(Cpu::open(), Cpu::default());
    }

    #[test]
    fn memory_is_written_and_read_back() {
        let cpu = Cpu::open();
        let mut buffer = cpu.alloc(10).unwrap();
        cpu.write(&mut buffer, 0, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]).unwrap();
        cpu.write(&mut buffer, 4, &[0, 0]).unwrap();
        let mut bytes = [0; 5];
        cpu.read(&buffer, 2, &mut bytes).unwrap();
        assert_eq!(bytes, [3, 4, 0, 0, 7]);
        assert_eq!(cpu.size(&buffer), 10);
        assert!(cpu.is_unique(&mut buffer));
    }

    #[test]
    fn absurd_sizes_are_an_error_that_names_them() {
        let error = Cpu::open().alloc(1 << 60).unwrap_err();
        assert_eq!(error.to_string(), format!("cpu is out of memory: could not allocate {} bytes", 1usize << 60));
    }
}
