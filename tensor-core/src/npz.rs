//! Arrays from and to numpy's `.npz` files: zip archives with a `.npy` file for each named array.
//!
//! What [`npy`](crate::npy) says holds here, too. Members may be stored or deflated; members that overlap, that promise more
//! than their compressed bytes can hold, whose checksum is wrong, or that are encrypted are refused. A small archive may
//! still, truthfully, hold a thousand times its size in zeros: set a [limit](Npz::limit) for files from strangers.
//!
//! ```
//! use tensor_core::{npy::HostArray, npz::{Compression, Npz, write_npz}};
//! let weight = HostArray::from_elements([2, 2], &[1f32, 2.0, 3.0, 4.0])?;
//! let bias = HostArray::from_elements([2], &[0.5f32, -0.5])?;
//! let mut file = Vec::new();
//! write_npz(&mut file, [("weight", &weight), ("bias", &bias)], Compression::Deflated)?;
//!
//! let archive = Npz::from_bytes(file)?;
//! assert_eq!(archive.names().collect::<Vec<_>>(), ["weight", "bias"]);
//! assert_eq!(archive.read("bias")?, bias);
//! # Ok::<(), tensor_core::Error>(())
//! ```

use crate::npy::{HostArray, Length, io_error, preamble, read_array, write_array};
use crate::{Error, Result};
use flate2::CrcReader;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use rawzip::path::{EntryPath, ZipFilePath};
use rawzip::{
    CompressionMethod, FileReader, ReaderAt, ZipArchive, ZipArchiveEntryWayfinder, ZipArchiveWriter, ZipLocator,
};
use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

/// How the arrays of a `.npz` file are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// As they are, as numpy's `savez` does. The fastest to read.
    #[default]
    Stored,
    /// Deflated, as numpy's `savez_compressed` does.
    Deflated,
}

/// An open `.npz` file, whose arrays are read when they are asked for.
pub struct Npz {
    archive: ZipArchive<Source>,
    what: String,
    members: Vec<Member>,
    limit: u64,
}

struct Member {
    /// The name in the archive without `.npy`.
    name: String,
    has_suffix: bool,
    method: CompressionMethod,
    wayfinder: ZipArchiveEntryWayfinder,
    compressed: u64,
    uncompressed: u64,
}

/// Where the archive's bytes are.
enum Source {
    File { reader: FileReader, len: u64 },
    Bytes(Vec<u8>),
}

impl Source {
    fn len(&self) -> u64 {
        match self {
            Self::File { len, .. } => *len,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }
}

impl ReaderAt for Source {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        // Archives may name any offset; the system would take a large one for a negative one.
        if offset >= self.len() {
            return Ok(0);
        }
        match self {
            Self::File { reader, .. } => reader.read_at(buffer, offset),
            Self::Bytes(bytes) => bytes.read_at(buffer, offset),
        }
    }
}

impl Npz {
    /// Opens a file and reads its directory.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) if it cannot be read, [`ErrorKind::Format`](crate::ErrorKind::Format) if it
    /// is no zip archive or its members are not what this module says.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let what = path.as_ref().display().to_string();
        let file = File::open(&path).map_err(|error| io_error(&what, error))?;
        let len = file.metadata().map_err(|error| io_error(&what, error))?.len();
        Self::from_source(Source::File { reader: FileReader::from(file), len }, what)
    }

    /// Reads the directory of a file in memory.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Result<Self> {
        Self::from_source(Source::Bytes(bytes.into()), "npz data".to_owned())
    }

    fn from_source(source: Source, what: String) -> Result<Self> {
        // The largest record of a directory, so that none is too large.
        let mut buffer = vec![0; rawzip::MAX_CENTRAL_DIRECTORY_RECORD_SIZE];
        let len = source.len();
        let archive = ZipLocator::new()
            .locate_in_reader(source, &mut buffer, len)
            .map_err(|(_, error)| zip_error(&what, "not a .npz file", error))?;
        let members = read_directory(&archive, &what, &mut buffer)?;
        check_overlap(&archive, &what, &members)?;
        Ok(Self { archive, what, members, limit: u64::MAX })
    }

    /// Refuses arrays of more than so many bytes from now on, the header of a `.npy` file (128 bytes, mostly) included.
    #[must_use]
    pub fn limit(self, bytes: u64) -> Self {
        Self { limit: bytes, ..self }
    }

    /// The names of the arrays, in the file's order, without the `.npy` that they have in the archive.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.members.iter().map(|member| member.name.as_str())
    }

    /// Reads the array of this name.
    ///
    /// # Errors
    /// [`ErrorKind::Misuse`](crate::ErrorKind::Misuse) if there is none;
    /// [`ErrorKind::Format`](crate::ErrorKind::Format) if it is not what it claims, or above the [limit](Self::limit);
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) if the file cannot be read.
    pub fn read(&self, name: &str) -> Result<HostArray> {
        match self.members.iter().find(|member| member.name == name) {
            Some(member) => self.read_member(member),
            None => {
                let names: Vec<&str> = self.names().collect();
                Err(Error::value("Npz::read", format!("a name among {names:?}"), format!("{name:?}")))
            }
        }
    }

    /// Reads all arrays, in the file's order.
    ///
    /// # Errors
    /// As [`read`](Self::read), for the first array that has one.
    pub fn read_all(&self) -> Result<Vec<(String, HostArray)>> {
        self.members.iter().map(|member| Ok((member.name.clone(), self.read_member(member)?))).collect()
    }

    fn read_member(&self, member: &Member) -> Result<HostArray> {
        let what = format!("{}, array {:?}", self.what, member.name);
        let invalid = |reason: String| Error::format(&what, reason);
        if !member.has_suffix {
            return Err(invalid("not an array: its name does not end in .npy".to_owned()));
        }
        if member.uncompressed > self.limit {
            return Err(invalid(format!("it takes {} bytes, above the limit of {}", member.uncompressed, self.limit)));
        }
        let entry = self.archive.get_entry(member.wayfinder).map_err(|error| zip_error(&what, "damaged", error))?;
        let raw = BufReader::new(entry.reader());
        let (data, length): (Box<dyn Read + '_>, Length) = match member.method {
            CompressionMethod::STORE => (Box::new(raw), Length::Present(member.uncompressed)),
            _ => (Box::new(DeflateDecoder::new(raw)), Length::Claimed(member.uncompressed)),
        };
        let mut checked = CrcReader::new(data);
        let array = read_array(&mut checked, &what, length)?;
        if checked.read(&mut [0]).map_err(|error| io_error(&what, error))? != 0 {
            return Err(invalid("there is more data than the archive's directory says".to_owned()));
        }
        let expected = entry.reader().claim_verifier().crc;
        match checked.crc().sum() {
            sum if sum == expected => Ok(array),
            sum => Err(invalid(format!("its checksum is {sum:08x}, but the archive says {expected:08x}"))),
        }
    }
}

impl fmt::Debug for Npz {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Npz").field("names", &self.names().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

/// Reads and checks the archive's directory; nothing of the members is read.
fn read_directory(archive: &ZipArchive<Source>, what: &str, buffer: &mut [u8]) -> Result<Vec<Member>> {
    // A deflated stream gives at most 258 bytes for two bits.
    const MAX_RATIO: u64 = 1032;
    let damaged = |error| zip_error(what, "the archive's directory is damaged", error);
    let len = archive.get_ref().len();
    let mut members = Vec::new();
    let mut names = HashSet::new();
    let mut entries = archive.entries(buffer);
    while let Some(entry) = entries.next_entry().map_err(damaged)? {
        let path = entry.file_path();
        let path = std::str::from_utf8(path.as_bytes())
            .map_err(|_| Error::format(what, "the name of an array is not UTF-8".to_owned()))?;
        let (name, has_suffix) = match path.strip_suffix(".npy") {
            Some(name) => (name.to_owned(), true),
            None => (path.to_owned(), false),
        };
        let (compressed, uncompressed) = (entry.compressed_size_hint(), entry.uncompressed_size_hint());
        let invalid = |reason: String| Err(Error::format(format!("{what}, array {name:?}"), reason));
        if entry.flags().is_encrypted() {
            return invalid("it is encrypted".to_owned());
        }
        match entry.compression_method() {
            _ if compressed > len => {
                return invalid(format!("it claims {compressed} bytes of a file of {len}"));
            }
            CompressionMethod::STORE if compressed != uncompressed => {
                return invalid(format!("it is stored as {compressed} bytes, but claims {uncompressed}"));
            }
            CompressionMethod::DEFLATE if uncompressed > compressed.saturating_mul(MAX_RATIO) => {
                return invalid(format!(
                    "it claims {uncompressed} bytes, which {compressed} deflated ones cannot hold"
                ));
            }
            CompressionMethod::STORE | CompressionMethod::DEFLATE => {}
            method => return invalid(format!("it is compressed by method {method}; stored and deflated can be read")),
        }
        if !names.insert(path.to_owned()) {
            return invalid("there are two of this name".to_owned());
        }
        let (method, wayfinder) = (entry.compression_method(), entry.wayfinder());
        members.push(Member { name, has_suffix, method, wayfinder, compressed, uncompressed });
    }
    // The count in the archive's tail may have been cut off at 16 bits.
    if archive.entries_hint() & 0xffff != members.len() as u64 & 0xffff {
        let (found, said) = (members.len(), archive.entries_hint());
        return Err(Error::format(
            what,
            format!("the archive's directory lists {found} members, but its tail says {said}"),
        ));
    }
    Ok(members)
}

/// Refuses members that share bytes: an archive could multiply its size without end so.
fn check_overlap(archive: &ZipArchive<Source>, what: &str, members: &[Member]) -> Result<()> {
    let mut ranges = Vec::with_capacity(members.len());
    for member in members {
        let entry = archive
            .get_entry(member.wayfinder)
            .map_err(|error| zip_error(&format!("{what}, array {:?}", member.name), "damaged", error))?;
        let (start, end) = entry.compressed_data_range();
        debug_assert_eq!(end - start, member.compressed, "the directory decides about sizes");
        ranges.push((start, end, member.name.as_str()));
    }
    ranges.sort_unstable();
    if let Some(pair) = ranges.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        return Err(Error::format(what, format!("the arrays {:?} and {:?} share bytes", pair[0].2, pair[1].2)));
    }
    match ranges.last() {
        Some((_, end, name)) if *end > archive.directory_offset() => {
            Err(Error::format(what, format!("the array {name:?} runs into the archive's directory")))
        }
        _ => Ok(()),
    }
}

fn zip_error(what: &str, about: &str, error: rawzip::Error) -> Error {
    match error.into_kind() {
        rawzip::ErrorKind::IO(error) if error.kind() != io::ErrorKind::UnexpectedEof => io_error(what, error),
        rawzip::ErrorKind::MissingEndOfCentralDirectory => {
            Error::format(what, format!("{about}: it has no zip archive's end; it may be truncated"))
        }
        kind => Error::format(what, format!("{about}: {kind}")),
    }
}

/// Reads all arrays of a `.npz` file, in its order. To read only some of them, see [`Npz`].
///
/// # Errors
/// As [`Npz::open`] and [`Npz::read`].
pub fn load_npz(path: impl AsRef<Path>) -> Result<Vec<(String, HostArray)>> {
    Npz::open(path)?.read_all()
}

/// Writes named arrays.
///
/// # Errors
/// [`ErrorKind::Misuse`](crate::ErrorKind::Misuse) for an array that [`write_npy`](crate::npy::write_npy) refuses and for a
/// name that is empty, given twice, or no path within an archive (absolute, with `..`, or with a backslash);
/// [`ErrorKind::Io`](crate::ErrorKind::Io) if the writer fails.
pub fn write_npz<'a>(
    writer: &mut dyn Write,
    arrays: impl IntoIterator<Item = (&'a str, &'a HostArray)>,
    compression: Compression,
) -> Result<()> {
    let checked = check("write_npz", arrays)?;
    write_members(writer, &checked, compression).map_err(|error| io_error("npz data", error))
}

/// Writes a `.npz` file, in place of one that is there.
///
/// # Errors
/// As [`write_npz`]. What cannot be written is refused before the file is touched.
pub fn save_npz<'a>(
    path: impl AsRef<Path>,
    arrays: impl IntoIterator<Item = (&'a str, &'a HostArray)>,
    compression: Compression,
) -> Result<()> {
    let checked = check("save_npz", arrays)?;
    let save = || {
        let mut writer = BufWriter::new(File::create(&path)?);
        write_members(&mut writer, &checked, compression)?;
        writer.flush()
    };
    save().map_err(|error| io_error(&path.as_ref().display().to_string(), error))
}

/// An array that can be written: its path in the archive, what comes before its data, and itself.
type Writable<'a> = (String, Vec<u8>, &'a HostArray);

fn check<'a>(
    op: &'static str,
    arrays: impl IntoIterator<Item = (&'a str, &'a HostArray)>,
) -> Result<Vec<Writable<'a>>> {
    let mut names = HashSet::new();
    let mut checked = Vec::new();
    for (name, array) in arrays {
        let path = format!("{name}.npy");
        let hostile = name.contains(['\\', '\0']) || name.split('/').any(|part| ["", ".", ".."].contains(&part));
        if hostile || path.len() > u16::MAX.into() || (!name.is_ascii() && entry_path(&path).is_none()) {
            return Err(Error::value(op, "a relative path as name", format!("{name:?}")));
        }
        if !names.insert(name) {
            return Err(Error::value(op, "each name once", format!("{name:?} twice")));
        }
        checked.push((path, preamble(op, array)?, array));
    }
    Ok(checked)
}

/// The path as it will stand in the archive, if it can stand there unchanged.
fn entry_path(path: &str) -> Option<EntryPath<'_>> {
    if path.is_ascii() {
        // Taken as it is: names such as `kernel:0` are usual.
        return Some(EntryPath::verbatim(path.as_bytes()));
    }
    (ZipFilePath::from_str(path).as_str() == path).then(|| EntryPath::conformant(path))
}

fn write_members(writer: &mut dyn Write, arrays: &[Writable<'_>], compression: Compression) -> io::Result<()> {
    let method = match compression {
        Compression::Stored => CompressionMethod::STORE,
        Compression::Deflated => CompressionMethod::DEFLATE,
    };
    let mut archive = ZipArchiveWriter::new(writer);
    for (path, preamble, array) in arrays {
        let path = entry_path(path).expect("checked before");
        let (mut entry, config) = archive.new_file(path).compression_method(method).start().map_err(write_error)?;
        let descriptor = match compression {
            Compression::Stored => {
                let mut data = config.wrap(&mut entry);
                write_array(&mut data, array, preamble)?;
                data.finish().map_err(write_error)?.1
            }
            Compression::Deflated => {
                let mut data = config.wrap(DeflateEncoder::new(&mut entry, flate2::Compression::default()));
                write_array(&mut data, array, preamble)?;
                let (encoder, descriptor) = data.finish().map_err(write_error)?;
                encoder.finish()?;
                descriptor
            }
        };
        entry.finish(descriptor).map_err(write_error)?;
    }
    archive.finish().map_err(write_error)?.flush()
}

fn write_error(error: rawzip::Error) -> io::Error {
    match error.into_kind() {
        rawzip::ErrorKind::IO(error) => error,
        kind => io::Error::other(kind.to_string()),
    }
}
