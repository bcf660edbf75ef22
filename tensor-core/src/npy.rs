//! Arrays from and to numpy's `.npy` files (versions 1.0, 2.0 and 3.0 of the format; 1.0 is written).
//!
//! Fortran-ordered and big-endian files are brought into row-major order and this machine's byte order. numpy's `uint16`,
//! `uint32` and `uint64`, which are no dtypes here, are read as the next larger signed integers, `uint64` only if all its
//! values fit an `i64`. Complex, object, string, date and structured arrays are refused.
//!
//! Files are not trusted: memory is taken as the data arrives, never because a header promises it, and whatever does not
//! hold together is an error that says what is wrong.
//!
//! ```
//! use tensor_core::{DType, npy::{HostArray, read_npy, write_npy}};
//! let array = HostArray::from_elements([2, 2], &[1.5f32, -2.0, 0.0, 4.0])?;
//! let mut file = Vec::new();
//! write_npy(&mut file, &array)?;
//! assert_eq!(read_npy(&mut &file[..])?, array);
//! # Ok::<(), tensor_core::Error>(())
//! ```

mod header;

use crate::{DType, Element, Error, ErrorKind, Result, Shape};
use header::{Header, MAX_RANK, Stored, Widen};
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

/// An array in host memory: dense, row-major, in this machine's byte order.
#[derive(Clone, PartialEq)]
pub struct HostArray {
    dtype: DType,
    shape: Shape,
    bytes: Vec<u8>,
}

impl HostArray {
    /// An array of the given bytes. For [`DType::Bool`] any byte but 0 is true.
    ///
    /// # Errors
    /// If there are more or fewer bytes than the shape's elements take.
    pub fn new(dtype: DType, shape: Shape, mut bytes: Vec<u8>) -> Result<Self> {
        // Shape guarantees that this product does not overflow.
        let expected = shape.numel() * dtype.size();
        if bytes.len() != expected {
            return Err(Error::shape(
                "HostArray::new",
                format!("{expected} bytes for {dtype} of shape {shape}"),
                format!("{} bytes", bytes.len()),
            ));
        }
        if dtype == DType::Bool {
            bytes.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
        }
        Ok(Self { dtype, shape, bytes })
    }

    /// An array of the given elements in row-major order.
    ///
    /// # Errors
    /// If there are more or fewer elements than the shape has, or the shape overflows.
    pub fn from_elements<T: Element>(shape: impl AsRef<[usize]>, elements: &[T]) -> Result<Self> {
        let shape = Shape::new(shape)?;
        if elements.len() != shape.numel() {
            return Err(Error::shape(
                "HostArray::from_elements",
                format!("{} elements for shape {shape}", shape.numel()),
                format!("{} elements", elements.len()),
            ));
        }
        Ok(Self { dtype: T::DTYPE, shape, bytes: bytemuck::cast_slice(elements).to_vec() })
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The elements' bytes, row-major.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The dtype, the shape and the elements' bytes.
    pub fn into_parts(self) -> (DType, Shape, Vec<u8>) {
        (self.dtype, self.shape, self.bytes)
    }

    /// The elements in row-major order.
    ///
    /// # Errors
    /// If `T` is not the type of the elements.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        if T::DTYPE != self.dtype {
            return Err(Error::dtype("HostArray::to_vec", format!("elements of {}", self.dtype), T::DTYPE.name()));
        }
        let elements = self.bytes.chunks_exact(size_of::<T>());
        Ok(elements.map(bytemuck::checked::pod_read_unaligned).collect())
    }
}

impl fmt::Debug for HostArray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostArray").field("dtype", &self.dtype).field("shape", &self.shape).finish_non_exhaustive()
    }
}

/// Reads one array and nothing beyond it, so that several arrays written one after the other can be read so, too.
///
/// It reads in small pieces first: wrap a file in a [`BufReader`](io::BufReader), or use [`load_npy`].
///
/// # Errors
/// [`ErrorKind::Format`] if the data is no `.npy` file, is truncated, or has a dtype that cannot be read, and
/// [`ErrorKind::Io`] if the reader fails.
pub fn read_npy(reader: &mut dyn Read) -> Result<HostArray> {
    read_array(reader, "npy data", Length::Unknown)
}

/// Reads a `.npy` file, which must hold one array and nothing after it.
///
/// # Errors
/// As [`read_npy`], with the path in the message.
pub fn load_npy(path: impl AsRef<Path>) -> Result<HostArray> {
    let what = path.as_ref().display().to_string();
    let file = File::open(&path).map_err(|error| io_error(&what, error))?;
    let metadata = file.metadata().map_err(|error| io_error(&what, error))?;
    let length = if metadata.is_file() { Length::Present(metadata.len()) } else { Length::Unknown };
    read_array(&mut io::BufReader::new(file), &what, length)
}

/// Writes one array as numpy itself would.
///
/// # Errors
/// [`ErrorKind::Misuse`] for [`DType::BF16`], which numpy does not have, and for more than 64 axes; [`ErrorKind::Io`] if the
/// writer fails.
pub fn write_npy(writer: &mut dyn Write, array: &HostArray) -> Result<()> {
    write_array(writer, array, &preamble("write_npy", array)?).map_err(|error| io_error("npy data", error))
}

/// Writes a `.npy` file, in place of one that is there.
///
/// # Errors
/// As [`write_npy`]. An array that cannot be written is refused before the file is touched.
pub fn save_npy(path: impl AsRef<Path>, array: &HostArray) -> Result<()> {
    let preamble = preamble("save_npy", array)?;
    let save = || {
        let mut writer = BufWriter::new(File::create(&path)?);
        write_array(&mut writer, array, &preamble)?;
        writer.flush()
    };
    save().map_err(|error| io_error(&path.as_ref().display().to_string(), error))
}

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// Magic string, version 1.0 and a length of two bytes.
const PREFIX: usize = MAGIC.len() + 2 + 2;

/// As long as a header of version 1.0 can be; longer ones are for structured dtypes only, which are refused.
const MAX_HEADER: u32 = u16::MAX as u32;

/// How many bytes a reader has, as far as one knows beforehand.
#[derive(Clone, Copy)]
pub(crate) enum Length {
    /// Nobody knows, and other things may follow the array.
    Unknown,
    /// Somebody says so; each byte is believed when it is seen.
    Claimed(u64),
    /// They are there.
    Present(u64),
}

/// All that comes before the data.
pub(crate) fn preamble(op: &'static str, array: &HostArray) -> Result<Vec<u8>> {
    if array.shape.rank() > MAX_RANK {
        return Err(Error::shape(
            op,
            format!("at most {MAX_RANK} axes, as numpy"),
            format!("{} axes", array.shape.rank()),
        ));
    }
    let Some(header) = header::format(array.dtype, &array.shape, PREFIX) else {
        return Err(Error::dtype(op, "a dtype that numpy has", array.dtype.name())
            .hint("cast to f32, which holds every bf16 exactly"));
    };
    let length = u16::try_from(header.len()).expect("64 sizes of at most 20 digits fit");
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend(length.to_le_bytes());
    bytes.extend(header.as_bytes());
    Ok(bytes)
}

pub(crate) fn write_array(writer: &mut dyn Write, array: &HostArray, preamble: &[u8]) -> io::Result<()> {
    writer.write_all(preamble)?;
    writer.write_all(&array.bytes)
}

/// Reads one array. `what` names the source in messages.
pub(crate) fn read_array(reader: &mut dyn Read, what: &str, length: Length) -> Result<HostArray> {
    let invalid = |reason: String| Error::format(what, reason);
    let (header, before) = read_header(reader, what)?;
    let Header { stored, fortran_order, shape } = header;
    // Shape guarantees that the product fits for elements of up to 8 bytes.
    let promised = shape.numel() * stored.size();
    if let Length::Claimed(total) | Length::Present(total) = length {
        let there = total.saturating_sub(before);
        if there != promised as u64 {
            return Err(invalid(format!(
                "the header promises {promised} bytes of data for shape {shape}, but {there} follow it"
            )));
        }
    }
    let mut bytes = Vec::new();
    if let Length::Present(_) = length {
        let device = || ErrorKind::OutOfMemory { device: "cpu".to_owned(), bytes: promised };
        bytes.try_reserve_exact(promised).map_err(|_| Error::new(device()))?;
    }
    // Without a reservation this grows step by step with what arrives.
    reader.take(promised as u64).read_to_end(&mut bytes).map_err(|error| io_error(what, error))?;
    if bytes.len() != promised {
        return Err(invalid(format!(
            "the header promises {promised} bytes of data for shape {shape}, but the file ends after {}",
            bytes.len()
        )));
    }
    if stored.swapped {
        bytes.chunks_exact_mut(stored.size()).for_each(<[u8]>::reverse);
    }
    if fortran_order {
        bytes = to_row_major(bytes, shape.dims(), stored.size());
    }
    HostArray::new(stored.dtype, shape, widen(bytes, stored).map_err(invalid)?)
}

/// Reads up to where the data begins, and says how many bytes that took.
fn read_header(reader: &mut dyn Read, what: &str) -> Result<(Header, u64)> {
    let invalid = |reason: String| Error::format(what, reason);
    let mut fill = |buffer: &mut [u8]| {
        reader.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => invalid("not a .npy file: it ends within its header".to_owned()),
            _ => io_error(what, error),
        })
    };
    let mut start = [0; MAGIC.len() + 2];
    fill(&mut start)?;
    let (magic, version) = start.split_at(MAGIC.len());
    if magic != MAGIC {
        let hint = if magic.starts_with(b"PK") { "; it looks like a zip archive, which .npz files are" } else { "" };
        let found = magic.escape_ascii();
        return Err(invalid(format!(
            "not a .npy file: it begins with \"{found}\", not \"{}\"{hint}",
            MAGIC.escape_ascii()
        )));
    }
    let (length, length_size) = match version {
        [1, 0] => {
            let mut length = [0; 2];
            fill(&mut length)?;
            (u32::from(u16::from_le_bytes(length)), 2)
        }
        [2 | 3, 0] => {
            let mut length = [0; 4];
            fill(&mut length)?;
            (u32::from_le_bytes(length), 4)
        }
        _ => {
            let (major, minor) = (version[0], version[1]);
            return Err(invalid(format!(
                "version {major}.{minor} of the format is unknown; 1.0, 2.0 and 3.0 can be read"
            )));
        }
    };
    if length > MAX_HEADER {
        return Err(invalid(format!("its header claims {length} bytes; at most {MAX_HEADER} are read")));
    }
    let mut text = vec![0; length as usize];
    fill(&mut text)?;
    let text = match version {
        [3, _] => String::from_utf8(text).map_err(|_| invalid("its header is not UTF-8".to_owned()))?,
        // Earlier versions are Latin-1, whose bytes are the first characters of Unicode.
        _ => text.into_iter().map(char::from).collect(),
    };
    let header = header::parse(&text).map_err(invalid)?;
    Ok((header, (start.len() + length_size) as u64 + u64::from(length)))
}

/// Widens the unsigned integers that there is no dtype for.
fn widen(bytes: Vec<u8>, stored: Stored) -> Result<Vec<u8>, String> {
    fn each<const N: usize, const M: usize>(bytes: &[u8], convert: impl Fn([u8; N]) -> [u8; M]) -> Vec<u8> {
        let (elements, _) = bytes.as_chunks::<N>();
        elements.iter().flat_map(|element| convert(*element)).collect()
    }
    match stored.widen {
        None => Ok(bytes),
        Some(Widen::U16ToI32) => Ok(each(&bytes, |element| i32::from(u16::from_ne_bytes(element)).to_ne_bytes())),
        Some(Widen::U32ToI64) => Ok(each(&bytes, |element| i64::from(u32::from_ne_bytes(element)).to_ne_bytes())),
        Some(Widen::U64ToI64) => {
            let (elements, _) = bytes.as_chunks::<8>();
            match elements
                .iter()
                .map(|element| u64::from_ne_bytes(*element))
                .find(|value| i64::try_from(*value).is_err())
            {
                Some(value) => Err(format!("its dtype is uint64, and the value {value} does not fit an i64")),
                None => Ok(bytes),
            }
        }
    }
}

/// Brings elements from column-major into row-major order.
fn to_row_major(bytes: Vec<u8>, dims: &[usize], size: usize) -> Vec<u8> {
    // With at most one axis longer than 1 the orders are the same.
    if dims.iter().filter(|&&size| size != 1).count() < 2 || bytes.is_empty() {
        return bytes;
    }
    match size {
        1 => transpose::<1>(&bytes, dims),
        2 => transpose::<2>(&bytes, dims),
        4 => transpose::<4>(&bytes, dims),
        8 => transpose::<8>(&bytes, dims),
        _ => unreachable!("elements of {size} bytes"),
    }
}

/// [`to_row_major`] for elements of `N` bytes and a shape without zeros.
fn transpose<const N: usize>(bytes: &[u8], dims: &[usize]) -> Vec<u8> {
    let (elements, _) = bytes.as_chunks::<N>();
    let mut strides = Vec::with_capacity(dims.len());
    let mut stride = 1;
    for &size in dims {
        strides.push(stride);
        stride *= size;
    }
    let (&row, outer) = dims.split_last().expect("a shape with axes");
    let step = strides[outer.len()];
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = vec![0; outer.len()];
    let mut start = 0;
    loop {
        out.extend((0..row).flat_map(|i| elements[start + i * step]));
        let mut axis = outer.len();
        loop {
            if axis == 0 {
                return out;
            }
            axis -= 1;
            index[axis] += 1;
            start += strides[axis];
            if index[axis] < outer[axis] {
                break;
            }
            start -= outer[axis] * strides[axis];
            index[axis] = 0;
        }
    }
}

/// An I/O error, or a format error where the reader found that its data is wrong.
pub(crate) fn io_error(what: &str, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            Error::format(what, error.to_string())
        }
        _ => Error::new(ErrorKind::Io { path: what.to_owned(), source: error }),
    }
}
