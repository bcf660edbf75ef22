//! A Rust file with its comments and strings told apart from its code, without parsing it.

use std::ops::Range;

/// Two copies of a source file, of the same length and with the same lines: one with nothing but code, one with nothing
/// but comments. What is not theirs is blank, so that an offset or a line means the same place in both and in the file.
#[derive(Debug)]
pub(crate) struct Source {
    /// Literals keep their quotes and lose what is between them.
    pub(crate) code: String,
    pub(crate) comments: String,
}

impl Source {
    pub(crate) fn new(text: &str) -> Self {
        let mut code = blank(text);
        let mut comments = code.clone();
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            if let Some(len) = comment(rest) {
                copy(text, &mut comments, at..at + len);
                at += len;
            } else if let Some(literal) = Literal::at(rest) {
                copy(text, &mut code, at..at + literal.open);
                copy(text, &mut code, at + literal.close..at + literal.end);
                at += literal.end;
            } else {
                let len = word(rest).max(rest.chars().next().map_or(1, char::len_utf8));
                copy(text, &mut code, at..at + len);
                at += len;
            }
        }
        Self { code: into_text(code), comments: into_text(comments) }
    }

    /// The code without the items that are marked `#[cfg(test)]`.
    pub(crate) fn code_without_tests(&self) -> String {
        let mut code = self.code.clone().into_bytes();
        for range in test_items(&self.code) {
            let blanks = blank(&self.code[range.clone()]);
            code[range].copy_from_slice(&blanks);
        }
        into_text(code)
    }

    /// Names of modules declared as `#[cfg(test)] mod name;`, whose files hold nothing but tests.
    pub(crate) fn test_modules(&self) -> Vec<&str> {
        let items = test_items(&self.code).into_iter();
        items
            .filter_map(|range| {
                let item = self.code[range].strip_suffix(';')?;
                let (_, name) = item.rsplit_once("mod ")?;
                Some(name.trim())
            })
            .collect()
    }
}

/// The line of an offset, counted from one.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset].iter().filter(|&&b| b == b'\n').count()
}

/// Where `needle` stands in `code` as a word of its own.
pub(crate) fn find_words<'a>(code: &'a str, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(needle)
        .map(|(at, _)| at)
        .filter(move |&at| !code[..at].ends_with(is_word) && !code[at + needle.len()..].starts_with(is_word))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Blanks in place of everything but line ends.
fn blank(text: &str) -> Vec<u8> {
    text.bytes().map(|b| if b == b'\n' { b'\n' } else { b' ' }).collect()
}

fn copy(text: &str, into: &mut [u8], range: Range<usize>) {
    into[range.clone()].copy_from_slice(&text.as_bytes()[range]);
}

fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("whole characters were copied and the rest is ASCII")
}

/// The length of the name or number that `rest` begins with.
fn word(rest: &str) -> usize {
    rest.find(|c| !is_word(c)).unwrap_or(rest.len())
}

/// The length of the comment that `rest` begins with.
fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with("/*") {
        return None;
    }
    // Block comments nest.
    let (bytes, mut depth, mut i) = (rest.as_bytes(), 0usize, 0);
    while i < bytes.len() {
        if bytes[i..].starts_with(b"/*") {
            depth += 1;
            i += 2;
        } else if bytes[i..].starts_with(b"*/") {
            depth -= 1;
            i += 2;
            if depth == 0 {
                return Some(i);
            }
        } else {
            i += 1;
        }
    }
    Some(rest.len())
}

/// A literal with an inside: its opening part ends at `open`, its inside at `close`, all of it at `end`.
struct Literal {
    open: usize,
    close: usize,
    end: usize,
}

impl Literal {
    /// The string, byte string, C string, raw string, character or byte that `rest` begins with.
    fn at(rest: &str) -> Option<Self> {
        let prefix = word(rest);
        let after = &rest[prefix..];
        match &rest[..prefix] {
            "" if after.starts_with('"') => Some(Self::quoted(rest, 1, '"')),
            "" if after.starts_with('\'') && is_char(after) => Some(Self::quoted(rest, 1, '\'')),
            "b" | "c" if after.starts_with('"') => Some(Self::quoted(rest, 2, '"')),
            "b" if after.starts_with('\'') => Some(Self::quoted(rest, 2, '\'')),
            "r" | "br" | "cr" => Self::raw(rest, prefix),
            _ => None,
        }
    }

    fn quoted(rest: &str, open: usize, quote: char) -> Self {
        let mut escaped = false;
        for (i, c) in rest[open..].char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == quote => {
                    return Self { open, close: open + i, end: open + i + 1 };
                }
                _ => {}
            }
        }
        Self { open, close: rest.len(), end: rest.len() }
    }

    /// `r"…"`, `r#"…"#`, …; not `r#name`.
    fn raw(rest: &str, prefix: usize) -> Option<Self> {
        let hashes = rest[prefix..].bytes().take_while(|&b| b == b'#').count();
        let open = prefix + hashes + 1;
        if !rest[prefix + hashes..].starts_with('"') {
            return None;
        }
        let closing = format!("\"{}", "#".repeat(hashes));
        let close = rest[open..].find(&closing).map_or(rest.len(), |i| open + i);
        Some(Self { open, close, end: (close + closing.len()).min(rest.len()) })
    }
}

/// Whether a quote opens a character and not a lifetime: `'a'` and `'\n'`, but not `'a`.
fn is_char(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

/// The items under `#[cfg(test)]` or `#[cfg(all(test, …))]`, from the attribute to their end.
fn test_items(code: &str) -> Vec<Range<usize>> {
    let mut items: Vec<Range<usize>> = Vec::new();
    for (at, _) in code.match_indices("#[cfg(") {
        if items.last().is_some_and(|last| last.contains(&at)) {
            continue;
        }
        let condition = code[at + "#[cfg(".len()..].trim_start();
        let condition = condition.strip_prefix("all(").unwrap_or(condition).trim_start();
        if condition.starts_with("test") && word(condition) == "test".len() {
            items.push(at..item_end(code, at));
        }
    }
    items
}

/// The end of the item whose first attribute begins at `start`: its `;`, or the brace that closes its first one.
fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0usize;
    for (i, c) in code[start..].char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && c == '}' {
                    return start + i + 1;
                }
            }
            ';' if depth == 0 => return start + i + 1,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code of a snippet, with runs of blanks made one.
    fn code(text: &str) -> String {
        let source = Source::new(text);
        assert_eq!(source.code.len(), text.len());
        assert_eq!(source.comments.len(), text.len());
        source.code.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_are_not_code() {
        assert_eq!(code("a // b \" c\nd"), "a d");
        assert_eq!(code("a /* b /* c */ d */ e"), "a e");
        assert_eq!(code("a /* never closed"), "a");
        let source = Source::new("x(); // why 'so'\n");
        assert_eq!(source.comments, "     // why 'so'\n");
    }

    #[test]
    fn literals_lose_their_insides() {
        assert_eq!(code(r#"f("a // b", 'c', b'd', b"e", c"f")"#), r#"f(" ", ' ', b' ', b" ", c" ")"#);
        assert_eq!(code(r#"f("\"x\\", '\'', y)"#), r#"f(" ", ' ', y)"#);
        assert_eq!(code("f(r#\"a\"b\"#, br\"\\\", g)"), "f(r#\" \"#, br\" \", g)");
        assert_eq!(code("'é' + \"ü\" + x"), "' ' + \" \" + x");
    }

    #[test]
    fn lifetimes_and_raw_names_are_code() {
        assert_eq!(
            code("fn f<'a>(x: &'a str, r#type: &'static u8) {}"),
            "fn f<'a>(x: &'a str, r#type: &'static u8) {}"
        );
        assert_eq!(code("for_r\"x\""), "for_r\" \"");
    }

    #[test]
    fn words_are_whole() {
        let found: Vec<usize> = find_words("unsafe unsafe_code un_unsafe (unsafe)", "unsafe").collect();
        assert_eq!(found, [0, 30]);
        assert_eq!(line_of("a\nb\nc", 4), 3);
    }

    #[test]
    fn test_items_can_be_left_out() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn t() { [1; 2]; }\n}\nfn b() {}\n#[cfg(all(test, unix))]\nuse x::{y};\nfn c() {}";
        let code = Source::new(text).code_without_tests();
        assert_eq!(code.split_whitespace().collect::<String>(), "fna(){}fnb(){};fnc(){}");
        assert_eq!(code.lines().count(), text.lines().count());
        let kept = "#[cfg(testing)]\nfn a() {}\n#[cfg(not(test))]\nfn b() {}";
        assert_eq!(Source::new(kept).code_without_tests(), kept);
    }

    #[test]
    fn test_modules_in_their_own_files_are_named() {
        let text =
            "#[cfg(test)]\nmod tests;\n#[cfg(test)]\npub(crate) mod util;\nmod real;\n#[cfg(test)]\nmod inline { }";
        assert_eq!(Source::new(text).test_modules(), ["tests", "util"]);
    }
}
