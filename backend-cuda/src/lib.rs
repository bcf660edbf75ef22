//! The CUDA backend of gradix.
//!
//! It has no kernels yet: [`Cuda::open`] answers that there is no such device, whatever the machine has. The type exists so
//! that the facade's feature and `Device::cuda` already have their final form.

use std::borrow::Cow;
use tensor_core::{Backend, DeviceInfo, Error, Result};

/// A handle to a CUDA device. There is none yet, so no value of this type exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cuda {}

/// Memory on a CUDA device.
#[derive(Clone, Debug)]
pub enum Buffer {}

impl Cuda {
    /// Opens the device of this number.
    ///
    /// # Errors
    /// Always: the backend has no kernels yet.
    pub fn open(index: usize) -> Result<Self> {
        Err(Error::no_device(format!("cuda:{index}"), "the CUDA backend is not implemented yet"))
    }
}

impl Backend for Cuda {
    type Buffer = Buffer;

    fn info(&self) -> DeviceInfo {
        match *self {}
    }

    fn label(&self) -> Cow<'static, str> {
        match *self {}
    }

    fn alloc(&self, _: usize) -> Result<Buffer> {
        match *self {}
    }

    fn write(&self, _: &mut Buffer, _: usize, _: &[u8]) -> Result<()> {
        match *self {}
    }

    fn read(&self, _: &Buffer, _: usize, _: &mut [u8]) -> Result<()> {
        match *self {}
    }

    fn size(&self, _: &Buffer) -> usize {
        match *self {}
    }

    fn is_unique(&self, _: &mut Buffer) -> bool {
        match *self {}
    }

    fn is_same(&self, _: &Buffer, _: &Buffer) -> bool {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_says_that_there_is_no_device() {
        let error = Cuda::open(3).unwrap_err();
        assert_eq!(error.to_string(), "no device cuda:3: the CUDA backend is not implemented yet");
    }
}
