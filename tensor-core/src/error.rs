//! One error type for the whole library.
//!
//! Misuse (wrong shapes, dtypes, indices) and what the world does (no such device, out of memory, a bad file) share one
//! type, so that a caller can treat both alike. A message is one sentence: the operation, what it expected, what it got,
//! and a hint where there is one.

use std::borrow::Cow;
use std::fmt;

/// Shorthand for a result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Its `Display` is one sentence.
///
/// ```
/// use tensor_core::{Error, ErrorKind};
/// let error = Error::shape("reshape", "6 elements", "[4, 2] with 8").hint("the number of elements must stay the same");
/// assert_eq!(
///     error.to_string(),
///     "reshape: expected 6 elements, got [4, 2] with 8; hint: the number of elements must stay the same"
/// );
/// assert!(matches!(error.kind(), ErrorKind::Misuse { .. }));
/// ```
#[derive(Debug)]
pub struct Error(Box<ErrorKind>);

/// The kinds of [`Error`].
#[derive(Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller asked for something that has no meaning, such as adding shapes that do not broadcast.
    Misuse {
        /// The operation as the user called it.
        op: Cow<'static, str>,
        /// Which property was wrong.
        about: About,
        /// What the operation takes.
        expected: String,
        /// What it was given.
        got: String,
        /// How to mend it; empty when there is nothing to add.
        hint: String,
    },
    /// The device does not exist or its runtime is missing.
    NoDevice {
        /// The device as the user named it, such as `cuda:0`.
        device: String,
        /// What was missing, and how to get it.
        reason: String,
    },
    /// The device has no memory left for an allocation. It stays usable.
    OutOfMemory {
        /// The device's name.
        device: String,
        /// The size of the allocation that failed, in bytes.
        bytes: usize,
    },
    /// The device or its driver failed: a kernel did not compile, the device was lost.
    Device {
        /// The device's name.
        device: String,
        /// What was being done.
        op: Cow<'static, str>,
        /// What the driver said.
        reason: String,
    },
    /// A backend has no kernel of its own for an operation and `GRADIX_DENY_FALLBACK=1` forbids the slow way.
    FallbackDenied {
        /// The operation.
        op: Cow<'static, str>,
        /// The device's name.
        device: String,
    },
    /// Reading or writing a file failed.
    Io {
        /// The file.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file's content is not what its format allows.
    Format {
        /// The format or file.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Which property of the arguments an [`ErrorKind::Misuse`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum About {
    /// Shapes and numbers of elements.
    Shape,
    /// Dtypes.
    DType,
    /// Axes, indices and ranges.
    Index,
    /// The devices of the operands.
    Device,
    /// Values of arguments.
    Value,
    /// Gradients and the graph.
    Gradient,
}

impl Error {
    /// What went wrong, to match on.
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }

    /// Wraps a kind.
    #[cold]
    pub fn new(kind: ErrorKind) -> Self {
        Self(Box::new(kind))
    }

    /// Misuse of `op`.
    #[cold]
    pub fn misuse(
        about: About,
        op: impl Into<Cow<'static, str>>,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> Self {
        Self::new(ErrorKind::Misuse {
            op: op.into(),
            about,
            expected: expected.into(),
            got: got.into(),
            hint: String::new(),
        })
    }

    /// Misuse: the shapes are wrong.
    #[cold]
    pub fn shape(op: impl Into<Cow<'static, str>>, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self::misuse(About::Shape, op, expected, got)
    }

    /// Misuse: a dtype is wrong.
    #[cold]
    pub fn dtype(op: impl Into<Cow<'static, str>>, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self::misuse(About::DType, op, expected, got)
    }

    /// Misuse: an axis, index or range is wrong.
    #[cold]
    pub fn index(op: impl Into<Cow<'static, str>>, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self::misuse(About::Index, op, expected, got)
    }

    /// Misuse: an argument's value is wrong.
    #[cold]
    pub fn value(op: impl Into<Cow<'static, str>>, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self::misuse(About::Value, op, expected, got)
    }

    /// Misuse: gradients or the graph.
    #[cold]
    pub fn gradient(op: impl Into<Cow<'static, str>>, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self::misuse(About::Gradient, op, expected, got)
    }

    /// A device that is not there.
    #[cold]
    pub fn no_device(device: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(ErrorKind::NoDevice { device: device.into(), reason: reason.into() })
    }

    /// A file whose content is wrong.
    #[cold]
    pub fn format(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(ErrorKind::Format { what: what.into(), reason: reason.into() })
    }

    /// Adds a hint to a misuse; other kinds stay as they are.
    #[must_use]
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        if let ErrorKind::Misuse { hint, .. } = &mut *self.0 {
            *hint = text.into();
        }
        self
    }

    /// Replaces the name of the operation, so that a composed operation reports the name the user called.
    #[must_use]
    pub fn named(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        match &mut *self.0 {
            ErrorKind::Misuse { op, .. } | ErrorKind::Device { op, .. } | ErrorKind::FallbackDenied { op, .. } => {
                *op = name.into();
            }
            _ => {}
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            ErrorKind::Misuse { op, expected, got, hint, .. } => {
                write!(f, "{op}: expected {expected}, got {got}")?;
                if !hint.is_empty() {
                    write!(f, "; hint: {hint}")?;
                }
                Ok(())
            }
            ErrorKind::NoDevice { device, reason } => write!(f, "no device {device}: {reason}"),
            ErrorKind::OutOfMemory { device, bytes } => {
                write!(f, "{device} is out of memory: could not allocate {bytes} bytes")
            }
            ErrorKind::Device { device, op, reason } => {
                write!(f, "{op} failed on {device}: {reason}")
            }
            ErrorKind::FallbackDenied { op, device } => {
                write!(
                    f,
                    "{op} has no native kernel on {device} and GRADIX_DENY_FALLBACK forbids the reference interpreter"
                )
            }
            ErrorKind::Io { path, source } => write!(f, "{path}: {source}"),
            ErrorKind::Format { what, reason } => write!(f, "{what}: {reason}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.kind() {
            ErrorKind::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
