//! A backend that does nothing itself: host memory, and the reference interpreter for everything else.

use crate::{Backend, DType, DeviceInfo, DeviceKind, Error, ErrorKind, Result};
use std::borrow::Cow;
use std::sync::Arc;

/// The smallest possible backend: host memory, everything else provided. The oracle in tests, and an example of what a new
/// backend begins with.
///
/// ```
/// use tensor_core::{Backend, reference::Reference};
/// assert_eq!(Reference.label(), "reference");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reference;

/// Memory of [`Reference`].
#[derive(Clone, Debug)]
pub struct HostBuffer(Arc<Vec<u8>>);

impl Backend for Reference {
    type Buffer = HostBuffer;

    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            name: "reference interpreter".to_owned(),
            kind: DeviceKind::Cpu,
            memory: None,
            dtypes: DType::ALL.to_vec(),
        }
    }

    fn label(&self) -> Cow<'static, str> {
        "reference".into()
    }

    fn alloc(&self, bytes: usize) -> Result<HostBuffer> {
        let mut memory = Vec::new();
        memory
            .try_reserve_exact(bytes)
            .map_err(|_full| Error::new(ErrorKind::OutOfMemory { device: self.label().into_owned(), bytes }))?;
        memory.resize(bytes, 0);
        Ok(HostBuffer(Arc::new(memory)))
    }

    fn write(&self, buffer: &mut HostBuffer, offset: usize, bytes: &[u8]) -> Result<()> {
        Arc::make_mut(&mut buffer.0)[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn read(&self, buffer: &HostBuffer, offset: usize, bytes: &mut [u8]) -> Result<()> {
        bytes.copy_from_slice(&buffer.0[offset..offset + bytes.len()]);
        Ok(())
    }

    fn size(&self, buffer: &HostBuffer) -> usize {
        buffer.0.len()
    }

    fn is_same(&self, a: &HostBuffer, b: &HostBuffer) -> bool {
        Arc::ptr_eq(&a.0, &b.0)
    }

    fn is_unique(&self, buffer: &mut HostBuffer) -> bool {
        Arc::get_mut(&mut buffer.0).is_some()
    }
}
