//! The text in front of a `.npy` file's data: a Python dictionary with the dtype, the memory order and the shape.

use crate::{DType, Shape};
use std::fmt::Write as _;

/// What a header says.
#[derive(Debug, PartialEq)]
pub(super) struct Header {
    pub(super) stored: Stored,
    pub(super) fortran_order: bool,
    pub(super) shape: Shape,
}

/// How the elements lie in the file, and what they become.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stored {
    /// The dtype after reading.
    pub(super) dtype: DType,
    /// Unsigned integers for which there is no dtype are widened when read.
    pub(super) widen: Option<Widen>,
    /// The bytes of each element are the other way round than this machine's.
    pub(super) swapped: bool,
}

/// The unsigned integers that are read as a larger signed dtype.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Widen {
    U16ToI32,
    U32ToI64,
    /// Exact only for values up to `i64::MAX`.
    U64ToI64,
}

impl Stored {
    /// The size in bytes of one element in the file.
    pub(super) fn size(self) -> usize {
        match self.widen {
            None => self.dtype.size(),
            Some(Widen::U16ToI32) => 2,
            Some(Widen::U32ToI64) => 4,
            Some(Widen::U64ToI64) => 8,
        }
    }
}

/// The most axes that numpy's arrays can have.
pub(super) const MAX_RANK: usize = 64;

/// Reads a header.
///
/// # Errors
/// The sentence that says what is wrong.
pub(super) fn parse(text: &str) -> Result<Header, String> {
    let mut literal = Literal { rest: text };
    let (mut stored, mut fortran_order, mut dims) = (None, None, None);
    literal.expect('{')?;
    while !literal.eat('}') {
        let key = literal.string()?;
        literal.expect(':')?;
        let repeated = match key {
            "descr" => stored.replace(literal.descr()?).is_some(),
            "fortran_order" => fortran_order.replace(literal.boolean()?).is_some(),
            "shape" => dims.replace(literal.tuple()?).is_some(),
            _ => return Err(format!("the header has the unknown key {}", excerpt(key))),
        };
        if repeated {
            return Err(format!("the header has the key '{key}' twice"));
        }
        if !literal.eat(',') {
            literal.expect('}')?;
            break;
        }
    }
    literal.end()?;
    let missing = |key: &str| format!("the header lacks the key '{key}'");
    let dims = dims.ok_or_else(|| missing("shape"))?;
    Ok(Header {
        stored: stored.ok_or_else(|| missing("descr"))?,
        fortran_order: fortran_order.ok_or_else(|| missing("fortran_order"))?,
        shape: Shape::new(&dims).map_err(|_| format!("the number of elements of shape {dims:?} overflows"))?,
    })
}

/// Writes the header that numpy would, with its closing newline; `None` for a dtype that numpy does not have.
///
/// `prefix` bytes come before it in the file; both together are padded to a multiple of 64.
pub(super) fn format(dtype: DType, shape: &Shape, prefix: usize) -> Option<String> {
    let kind = match dtype {
        DType::Bool => "b1",
        DType::U8 => "u1",
        DType::I8 => "i1",
        DType::I16 => "i2",
        DType::I32 => "i4",
        DType::I64 => "i8",
        DType::F16 => "f2",
        DType::BF16 => return None,
        DType::F32 => "f4",
        DType::F64 => "f8",
    };
    let order = match dtype.size() {
        1 => '|',
        _ if cfg!(target_endian = "little") => '<',
        _ => '>',
    };
    let mut text = format!("{{'descr': '{order}{kind}', 'fortran_order': False, 'shape': (");
    for (axis, size) in shape.dims().iter().enumerate() {
        let separator = if axis == 0 { "" } else { ", " };
        write!(text, "{separator}{size}").expect("a String takes everything");
    }
    text.push_str(if shape.rank() == 1 { ",), }" } else { "), }" });
    if let Some(first) = shape.dims().first() {
        // numpy leaves room for the first axis to grow to 21 digits in place.
        text.push_str(&" ".repeat(21usize.saturating_sub(first.to_string().len())));
    }
    let length = prefix + text.len() + 1;
    text.push_str(&" ".repeat(length.next_multiple_of(64) - length));
    text.push('\n');
    Some(text)
}

/// Text of the file in a message: quoted, escaped and short.
fn excerpt(text: &str) -> String {
    const LONGEST: usize = 40;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// A reader of the part of Python's literals that headers are made of. Recursion-free: no input can nest too deep.
struct Literal<'a> {
    rest: &'a str,
}

impl<'a> Literal<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n', '\x0c']);
    }

    fn eat(&mut self, character: char) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(character) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, character: char) -> Result<(), String> {
        if self.eat(character) { Ok(()) } else { Err(self.unexpected(&format!("'{character}'"))) }
    }

    fn unexpected(&self, expected: &str) -> String {
        if self.rest.is_empty() {
            format!("the header ends where {expected} should stand")
        } else {
            format!("the header has {} where {expected} should stand", excerpt(self.rest.trim_end()))
        }
    }

    fn end(&mut self) -> Result<(), String> {
        self.skip_space();
        // Some writers pad with zeros.
        if self.rest.trim_end_matches('\0').is_empty() { Ok(()) } else { Err(self.unexpected("nothing more")) }
    }

    /// A string without escapes, in either kind of quotes.
    fn string(&mut self) -> Result<&'a str, String> {
        self.skip_space();
        let quoted = self.rest.strip_prefix('\'').map(|body| (body, '\''));
        let quoted = quoted.or_else(|| self.rest.strip_prefix('"').map(|body| (body, '"')));
        let (body, quote) = quoted.ok_or_else(|| self.unexpected("a string"))?;
        let (text, rest) = body.split_once(quote).ok_or("a string in the header is not closed")?;
        if text.contains('\\') {
            return Err(format!("the header has an escape in the string {}", excerpt(text)));
        }
        self.rest = rest;
        Ok(text)
    }

    fn boolean(&mut self) -> Result<bool, String> {
        self.skip_space();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.rest.strip_prefix(word)
                && !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_')
            {
                self.rest = rest;
                return Ok(value);
            }
        }
        Err(self.unexpected("True or False"))
    }

    /// A shape: a tuple of sizes. One size alone needs its comma, as in Python.
    fn tuple(&mut self) -> Result<Vec<usize>, String> {
        self.expect('(')?;
        let mut sizes = Vec::new();
        while !self.eat(')') {
            sizes.push(self.size()?);
            if sizes.len() > MAX_RANK {
                return Err(format!("the shape has more than {MAX_RANK} axes"));
            }
            if !self.eat(',') {
                self.expect(')')?;
                if sizes.len() == 1 {
                    return Err(format!("the shape ({}) is a number, not a tuple", sizes[0]));
                }
                break;
            }
        }
        Ok(sizes)
    }

    fn size(&mut self) -> Result<usize, String> {
        self.skip_space();
        let end = self.rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        if digits.is_empty() {
            return Err(self.unexpected("a size"));
        }
        let size = digits.parse().map_err(|_| format!("the size {} in the shape is too large", excerpt(digits)))?;
        // Python 2 wrote long integers so.
        self.rest = rest.strip_prefix('L').unwrap_or(rest);
        Ok(size)
    }

    fn descr(&mut self) -> Result<Stored, String> {
        self.skip_space();
        if self.rest.starts_with('[') {
            return Err(
                "structured dtypes (records) cannot be tensors: save each field as an array of its own".to_owned()
            );
        }
        if self.rest.starts_with('(') {
            return Err("subarray dtypes cannot be tensors".to_owned());
        }
        stored(self.string()?)
    }
}

/// What a dtype's code, such as `<f4`, stands for.
fn stored(descr: &str) -> Result<Stored, String> {
    let (order, code) = match descr.strip_prefix(['<', '>', '=', '|']) {
        Some(code) => (&descr[..1], code),
        None => ("=", descr),
    };
    let plain = |dtype| Ok((dtype, None));
    let (dtype, widen) = match code {
        "b1" => plain(DType::Bool),
        "u1" => plain(DType::U8),
        "i1" => plain(DType::I8),
        "i2" => plain(DType::I16),
        "i4" => plain(DType::I32),
        "i8" => plain(DType::I64),
        "f2" => plain(DType::F16),
        "f4" => plain(DType::F32),
        "f8" => plain(DType::F64),
        "u2" => Ok((DType::I32, Some(Widen::U16ToI32))),
        "u4" => Ok((DType::I64, Some(Widen::U32ToI64))),
        "u8" => Ok((DType::I64, Some(Widen::U64ToI64))),
        _ => Err(refusal(descr, code)),
    }?;
    let swapped = match order {
        "<" => cfg!(target_endian = "big"),
        ">" => cfg!(target_endian = "little"),
        _ => false,
    };
    Ok(Stored { dtype, widen, swapped })
}

/// Why a dtype cannot be read, with a way out where there is one.
fn refusal(descr: &str, code: &str) -> String {
    let reason = match code.as_bytes().first() {
        Some(b'c') => "complex numbers have no dtype here: save the real and the imaginary part",
        Some(b'f') => "there are floats of 2, 4 and 8 bytes only: save it as float64",
        Some(b'O') => "Python objects are pickles, which could run code: save numbers",
        Some(b'S' | b'a' | b'U') => "strings cannot be tensors",
        Some(b'M' | b'm') => "dates and time spans cannot be tensors: save them as int64",
        Some(b'V') => "raw bytes cannot be tensors; bfloat16 is stored so by numpy: save it as float32",
        _ => "that is no dtype of numpy's",
    };
    format!("its dtype is {}, but {reason}", excerpt(descr))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> Result<Vec<usize>, String> {
        parse(&format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {text}, }}"))
            .map(|header| header.shape.dims().to_vec())
    }

    #[test]
    fn reads_what_python_would() {
        let expected = Header {
            stored: Stored { dtype: DType::F32, widen: None, swapped: cfg!(target_endian = "big") },
            fortran_order: true,
            shape: Shape::new([2, 3]).unwrap(),
        };
        for text in [
            "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }",
            "{'descr':'<f4','fortran_order':True,'shape':(2,3)}",
            "  {\t'shape' :\n( 2 ,3 , ) , \"fortran_order\": True , \"descr\": '<f4'\r\n}  \n",
            "{'descr': '<f4', 'fortran_order': True, 'shape': (2L, 3L)}\n",
            "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }   \n\0\0\0",
        ] {
            assert_eq!(parse(text).as_ref(), Ok(&expected), "{text}");
        }
        assert_eq!(shape("()"), Ok(vec![]));
        assert_eq!(shape("(7,)"), Ok(vec![7]));
        assert_eq!(shape("(0, 4)"), Ok(vec![0, 4]));
    }

    #[test]
    fn refuses_what_is_no_header() {
        let cases = [
            ("", "the header ends where '{' should stand"),
            ("[1]", "the header has \"[1]\" where '{' should stand"),
            ("{", "the header ends where a string should stand"),
            ("{'descr", "a string in the header is not closed"),
            ("{'descr': '<f4'", "the header ends where '}' should stand"),
            ("{'descr': '<f4'}", "the header lacks the key 'shape'"),
            ("{'shape': (), 'fortran_order': False}", "the header lacks the key 'descr'"),
            ("{'shape': (), 'descr': '<f4'}", "the header lacks the key 'fortran_order'"),
            ("{'shape': (), 'shape': ()}", "the header has the key 'shape' twice"),
            ("{'sharp': ()}", "the header has the unknown key \"sharp\""),
            ("{'descr': '\\x3cf4'}", "the header has an escape in the string \"\\\\x3cf4\""),
            ("{'fortran_order': Truely}", "the header has \"Truely}\" where True or False should stand"),
            ("{'fortran_order': 1}", "the header has \"1}\" where True or False should stand"),
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': ()} x",
                "the header has \"x\" where nothing more should stand",
            ),
        ];
        for (text, reason) in cases {
            assert_eq!(parse(text), Err(reason.to_owned()), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_shape() {
        let cases = [
            ("(3)", "the shape (3) is a number, not a tuple"),
            ("3", "the header has \"3, }\" where '(' should stand"),
            ("(-1,)", "the header has \"-1,), }\" where a size should stand"),
            ("(1e3, 2)", "the header has \"e3, 2), }\" where ')' should stand"),
            ("(1.0, 2)", "the header has \".0, 2), }\" where ')' should stand"),
            ("((3,), 2)", "the header has \"(3,), 2), }\" where a size should stand"),
            ("(None,)", "the header has \"None,), }\" where a size should stand"),
            ("(,)", "the header has \",), }\" where a size should stand"),
            ("(99999999999999999999999,)", "the size \"99999999999999999999999\" in the shape is too large"),
            ("(4611686018427387904, 4)", "the number of elements of shape [4611686018427387904, 4] overflows"),
        ];
        for (text, reason) in cases {
            assert_eq!(shape(text), Err(reason.to_owned()), "{text}");
        }
        let deep = "(".repeat(60_000);
        assert!(shape(&deep).unwrap_err().ends_with("… where a size should stand"));
        assert_eq!(shape(&format!("({})", "1,".repeat(64))), Ok(vec![1; 64]));
        assert_eq!(shape(&format!("({})", "1,".repeat(65))), Err("the shape has more than 64 axes".to_owned()));
    }

    #[test]
    fn names_the_dtypes_that_it_refuses() {
        let cases = [
            ("'<c8'", "complex numbers"),
            ("'<f16'", "floats of 2, 4 and 8 bytes only"),
            ("'|O'", "Python objects are pickles"),
            ("'|S5'", "strings"),
            ("'<U5'", "strings"),
            ("'<M8[ns]'", "dates"),
            ("'|V2'", "bfloat16"),
            ("'<i3'", "no dtype of numpy's"),
            ("''", "no dtype of numpy's"),
            ("'<'", "no dtype of numpy's"),
            ("'é4'", "no dtype of numpy's"),
            ("[('a', '<f4')]", "structured dtypes"),
            ("('<f4', (2,))", "subarray dtypes"),
        ];
        for (descr, reason) in cases {
            let text = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (1,), }}");
            let sentence = parse(&text).unwrap_err();
            assert!(sentence.contains(reason), "{descr}: {sentence}");
        }
    }
}
