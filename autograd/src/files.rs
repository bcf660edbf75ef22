//! Tensors from and to numpy's `.npy` and `.npz` files.

use crate::tensor::Tensor;
use std::path::Path;
use tensor_core::npy::{self, HostArray};
use tensor_core::npz::{self, Compression};
use tensor_core::{Array, Backend, Result};

impl<B: Backend> Tensor<B> {
    fn from_host(device: &B, host: HostArray) -> Result<Self> {
        let (dtype, shape, bytes) = host.into_parts();
        Ok(Self::from_array(Array::from_bytes(device, dtype, &bytes, &shape)?))
    }

    fn to_host(&self) -> Result<HostArray> {
        let array = self.array();
        HostArray::new(array.dtype(), array.shape().clone(), array.to_bytes()?)
    }

    /// [`load_npy`](Self::load_npy) on a device.
    ///
    /// # Errors
    /// As [`load_npy`](Self::load_npy), and if the device has no memory left.
    pub fn load_npy_on(device: &B, path: impl AsRef<Path>) -> Result<Self> {
        Self::from_host(device, npy::load_npy(path)?)
    }

    /// Writes the values to a `.npy` file, replacing one that is there. Gradients are not part of it.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let path = std::env::temp_dir().join("gradix-doc-save.npy");
    /// Tensor::from([[1.0_f64, 2.0], [3.0, 4.0]]).save_npy(&path)?;
    /// assert_eq!(Tensor::load_npy(&path)?.shape(), [2, 2]);
    /// # std::fs::remove_file(path).unwrap();
    /// # Ok::<(), tensor_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the dtype is bf16, which numpy does not have, or the file cannot be written.
    pub fn save_npy(&self, path: impl AsRef<Path>) -> Result<()> {
        npy::save_npy(path, &self.to_host()?)
    }

    /// [`load_npz`](Self::load_npz) on a device.
    ///
    /// # Errors
    /// As [`load_npz`](Self::load_npz), and if the device has no memory left.
    pub fn load_npz_on(device: &B, path: impl AsRef<Path>) -> Result<Vec<(String, Self)>> {
        npz::load_npz(path)?.into_iter().map(|(name, host)| Ok((name, Self::from_host(device, host)?))).collect()
    }

    /// Writes named tensors to a `.npz` file, as numpy's `savez` does.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let path = std::env::temp_dir().join("gradix-doc-save.npz");
    /// Tensor::save_npz(&path, [("weight", &Tensor::ones([2, 3])), ("bias", &Tensor::zeros([3]))])?;
    /// for (name, tensor) in Tensor::load_npz(&path)? {
    ///     println!("{name}: {:?}", tensor.shape());
    /// }
    /// # std::fs::remove_file(path).unwrap();
    /// # Ok::<(), tensor_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If a dtype is bf16, a name is empty, given twice or no path within the file, or the file cannot be written.
    pub fn save_npz<'a>(path: impl AsRef<Path>, tensors: impl IntoIterator<Item = (&'a str, &'a Self)>) -> Result<()> {
        Self::save_npz_as(path.as_ref(), tensors, Compression::Stored)
    }

    /// [`save_npz`](Self::save_npz) with the data compressed, as numpy's `savez_compressed` does.
    ///
    /// # Errors
    /// As [`save_npz`](Self::save_npz).
    pub fn save_npz_compressed<'a>(
        path: impl AsRef<Path>,
        tensors: impl IntoIterator<Item = (&'a str, &'a Self)>,
    ) -> Result<()> {
        Self::save_npz_as(path.as_ref(), tensors, Compression::Deflated)
    }

    fn save_npz_as<'a>(
        path: &Path,
        tensors: impl IntoIterator<Item = (&'a str, &'a Self)>,
        compression: Compression,
    ) -> Result<()> {
        let named = tensors.into_iter().map(|(name, tensor)| Ok((name, tensor.to_host()?)));
        let hosts = named.collect::<Result<Vec<_>>>()?;
        npz::save_npz(path, hosts.iter().map(|(name, host)| (*name, host)), compression)
    }
}

impl<B: Backend + Default> Tensor<B> {
    /// Reads a `.npy` file: any version, byte order and memory order, of every dtype that tensors have.
    ///
    /// ```no_run
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::load_npy("weights.npy")?;
    /// println!("{x}");
    /// # Ok::<(), tensor_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read, is truncated or is no `.npy` file, or holds another dtype.
    pub fn load_npy(path: impl AsRef<Path>) -> Result<Self> {
        Self::load_npy_on(&B::default(), path)
    }

    /// Reads all arrays of a `.npz` file, in the file's order. `tensor_core::npz::Npz` reads single ones.
    ///
    /// ```no_run
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// use std::collections::HashMap;
    /// let weights: HashMap<String, Tensor> = Tensor::load_npz("model.npz")?.into_iter().collect();
    /// println!("{}", weights["bias"]);
    /// # Ok::<(), tensor_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read or is no `.npz` file, or one of its arrays cannot be read.
    pub fn load_npz(path: impl AsRef<Path>) -> Result<Vec<(String, Self)>> {
        Self::load_npz_on(&B::default(), path)
    }
}
