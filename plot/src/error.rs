//! What can go wrong outside of the program.

use std::error;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a figure could not be saved or shown.
///
/// Wrong arguments are not here: they panic where they are given.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be written.
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The ending of the file's name stands for no format that can be written.
    UnknownFormat {
        /// Which file.
        path: PathBuf,
    },
    /// The crate was built without its feature `png`.
    PngDisabled,
    /// So many pixels fit into no PNG or no memory.
    TooLarge {
        /// Pixels in a row.
        width: f64,
        /// Rows.
        height: f64,
    },
    /// The picture could not be compressed.
    Encode(String),
    /// No program could be found or started that shows the picture. It has been written all the same.
    NoViewer {
        /// Where the picture is.
        path: PathBuf,
        /// Which programs were tried and what became of them.
        reason: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, source } => write!(f, "cannot write {}: {source}", path.display()),
            Self::UnknownFormat { path } => {
                write!(
                    f,
                    "cannot tell a picture's format from the name {}: it should end in .svg or .png",
                    path.display()
                )
            }
            Self::PngDisabled => f.write_str("this build writes no PNG: turn on the feature \"png\", or save as .svg"),
            Self::TooLarge { width, height } => {
                write!(f, "a PNG of {width:.0} x {height:.0} pixels is too large: choose a smaller size or dpi")
            }
            Self::Encode(reason) => write!(f, "cannot encode the PNG: {reason}"),
            Self::NoViewer { path, reason } => {
                write!(f, "cannot open a browser ({reason}); the picture is in {}", path.display())
            }
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
