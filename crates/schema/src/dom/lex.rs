//! The JSON tokenizer: strings, numbers and literals over a byte slice that is valid UTF-8.
//!
//! Knows no nodes and no types; the generic parser and the table-driven decoder both drive it.
//! Error texts are those of Go's scanner, which is what users of the API see.
//! Source: sigs.k8s.io/json internal/golang/encoding/json/{scanner,decode}.go.

use thiserror::Error;

/// Why bytes are not one JSON document within the limits.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SyntaxError {
    /// A character where the grammar does not allow it.
    #[error("invalid character {} {context}", quote(*.found))]
    Unexpected {
        /// The character.
        found: char,
        /// Upstream's words for the place.
        context: &'static str,
        /// Where, in bytes.
        offset: usize,
    },
    /// The document stops in the middle.
    #[error("unexpected end of JSON input")]
    End,
    /// Containers nest deeper than the limit.
    #[error("exceeded max depth")]
    Depth,
    /// More values than the limit.
    #[error("more than {limit} values in one document")]
    Nodes {
        /// The limit.
        limit: usize,
    },
    /// More bytes than the limit.
    #[error("document of {found} bytes is over the limit of {limit}")]
    Bytes {
        /// The document's length.
        found: usize,
        /// The limit.
        limit: usize,
    },
}

/// Go's `%q`-like rendering of one character in scanner errors.
fn quote(c: char) -> String {
    match c {
        '\'' => r"'\''".to_owned(),
        '"' => "'\"'".to_owned(),
        '\n' => r"'\n'".to_owned(),
        '\t' => r"'\t'".to_owned(),
        '\r' => r"'\r'".to_owned(),
        '\\' => r"'\\'".to_owned(),
        c if (c as u32) < 0x20 || c as u32 == 0x7f => format!("'\\x{:02x}'", c as u32),
        c => format!("'{c}'"),
    }
}

/// A string token: a span of the source, or text that had escapes.
pub(crate) enum Text {
    /// Start and end of the content in the source.
    Plain(usize, usize),
    /// The unescaped content.
    Escaped(String),
}

/// A number token.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(crate) enum Number {
    /// No fraction, no exponent, fits.
    Int(i64),
    /// Everything else, as a span of the source.
    Float(usize, usize),
}

pub(crate) struct Lexer<'a> {
    pub(crate) src: &'a str,
    pub(crate) pos: usize,
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// High bit set in every byte that is a quote, a backslash or a control character (or may be,
/// above the first such byte: borrows only travel upwards).
#[inline]
fn stops(word: u64) -> u64 {
    let quote = word ^ (ONES * 0x22);
    let slash = word ^ (ONES * 0x5c);
    ((quote.wrapping_sub(ONES) & !quote)
        | (slash.wrapping_sub(ONES) & !slash)
        | (word.wrapping_sub(ONES * 0x20) & !word))
        & HIGHS
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(src: &'a str) -> Self {
        Lexer { src, pos: 0 }
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.src.as_bytes()
    }

    /// The next byte that is not white space, not consumed.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let bytes = self.bytes();
        loop {
            match bytes.get(self.pos) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.pos += 1,
                other => return other.copied(),
            }
        }
    }

    /// An error about the character at the current place, or about the end.
    pub(crate) fn unexpected(&self, context: &'static str) -> SyntaxError {
        match self.src.get(self.pos..).and_then(|s| s.chars().next()) {
            Some(found) => SyntaxError::Unexpected {
                found,
                context,
                offset: self.pos,
            },
            None => SyntaxError::End,
        }
    }

    /// A string whose opening quote is the next byte.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<Text, SyntaxError> {
        self.pos += 1;
        let start = self.pos;
        match self.run()? {
            b'"' => {
                let end = self.pos;
                self.pos += 1;
                Ok(Text::Plain(start, end))
            }
            _ => self.escaped(start).map(Text::Escaped),
        }
    }

    /// Advances to the next quote or backslash and returns it.
    #[inline]
    fn run(&mut self) -> Result<u8, SyntaxError> {
        let bytes = self.bytes();
        while let Some(chunk) = bytes.get(self.pos..self.pos + 8) {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            let found = stops(u64::from_le_bytes(word));
            if found != 0 {
                self.pos += (found.trailing_zeros() / 8) as usize;
                break;
            }
            self.pos += 8;
        }
        loop {
            match bytes.get(self.pos) {
                Some(&stop) if stop == b'"' || stop == b'\\' => return Ok(stop),
                Some(0..0x20) => return Err(self.unexpected("in string literal")),
                Some(_) => self.pos += 1,
                None => return Err(SyntaxError::End),
            }
        }
    }

    #[cold]
    fn escaped(&mut self, start: usize) -> Result<String, SyntaxError> {
        let mut out = String::new();
        let mut from = start;
        loop {
            let stop = self.run()?;
            out.push_str(self.src.get(from..self.pos).unwrap_or_default());
            self.pos += 1;
            if stop == b'"' {
                return Ok(out);
            }
            let c = *self.bytes().get(self.pos).ok_or(SyntaxError::End)?;
            match c {
                b'"' | b'\\' | b'/' => out.push(c as char),
                b'b' => out.push('\u{8}'),
                b'f' => out.push('\u{c}'),
                b'n' => out.push('\n'),
                b'r' => out.push('\r'),
                b't' => out.push('\t'),
                b'u' => {
                    self.pos += 1;
                    let unit = self.hex4()?;
                    out.push(self.surrogate(unit)?);
                    from = self.pos;
                    continue;
                }
                _ => return Err(self.unexpected("in string escape code")),
            }
            self.pos += 1;
            from = self.pos;
        }
    }

    fn hex4(&mut self) -> Result<u32, SyntaxError> {
        let mut unit = 0;
        for _ in 0..4 {
            let c = *self.bytes().get(self.pos).ok_or(SyntaxError::End)?;
            let Some(digit) = (c as char).to_digit(16) else {
                return Err(self.unexpected("in \\u hexadecimal character escape"));
            };
            unit = unit * 16 + digit;
            self.pos += 1;
        }
        Ok(unit)
    }

    /// A lone surrogate becomes U+FFFD; a pair becomes its character.
    fn surrogate(&mut self, unit: u32) -> Result<char, SyntaxError> {
        if (0xd800..0xdc00).contains(&unit)
            && self.bytes().get(self.pos..self.pos + 2) == Some(b"\\u")
        {
            let back = self.pos;
            self.pos += 2;
            let low = self.hex4()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.pos = back;
        }
        Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// A number whose first byte (a digit or a minus) is next.
    #[inline]
    pub(crate) fn number(&mut self) -> Result<Number, SyntaxError> {
        let bytes = self.bytes();
        let start = self.pos;
        let negative = bytes.get(self.pos) == Some(&b'-');
        if negative {
            self.pos += 1;
        }
        let digits = self.pos;
        match bytes.get(self.pos) {
            Some(b'0') => self.pos += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.unexpected("in numeric literal")),
        }
        let whole = !matches!(bytes.get(self.pos), Some(b'.' | b'e' | b'E'));
        if whole && self.pos - digits <= 18 {
            let mut n = 0i64;
            for b in &bytes[digits..self.pos] {
                n = n * 10 + i64::from(b - b'0');
            }
            return Ok(Number::Int(if negative { -n } else { n }));
        }
        self.long_number(start, whole)
    }

    #[inline]
    fn digits(&mut self) {
        let bytes = self.bytes();
        while matches!(bytes.get(self.pos), Some(b'0'..=b'9')) {
            self.pos += 1;
        }
    }

    #[cold]
    fn long_number(&mut self, start: usize, whole: bool) -> Result<Number, SyntaxError> {
        let bytes = self.bytes();
        if bytes.get(self.pos) == Some(&b'.') {
            self.pos += 1;
            if !matches!(bytes.get(self.pos), Some(b'0'..=b'9')) {
                return Err(self.unexpected("after decimal point in numeric literal"));
            }
            self.digits();
        }
        if matches!(bytes.get(self.pos), Some(b'e' | b'E')) {
            self.pos += 1;
            if matches!(bytes.get(self.pos), Some(b'+' | b'-')) {
                self.pos += 1;
            }
            if !matches!(bytes.get(self.pos), Some(b'0'..=b'9')) {
                return Err(self.unexpected("in exponent of numeric literal"));
            }
            self.digits();
        }
        let text = self.src.get(start..self.pos).unwrap_or_default();
        if whole && let Ok(n) = text.parse() {
            return Ok(Number::Int(n));
        }
        Ok(Number::Float(start, self.pos))
    }

    /// `true`, `false` or `null`, whose first byte is next.
    #[inline]
    pub(crate) fn literal(&mut self, word: &'static str) -> Result<(), SyntaxError> {
        let bytes = self.bytes();
        if bytes.get(self.pos..self.pos + word.len()) == Some(word.as_bytes()) {
            self.pos += word.len();
            return Ok(());
        }
        let mut matched = 0;
        while bytes.get(self.pos) == word.as_bytes().get(matched) {
            self.pos += 1;
            matched += 1;
        }
        Err(self.unexpected(match (word, matched) {
            ("true", 1) => "in literal true (expecting 'r')",
            ("true", 2) => "in literal true (expecting 'u')",
            ("true", _) => "in literal true (expecting 'e')",
            ("false", 1) => "in literal false (expecting 'a')",
            ("false", 2) => "in literal false (expecting 'l')",
            ("false", 3) => "in literal false (expecting 's')",
            ("false", _) => "in literal false (expecting 'e')",
            (_, 1) => "in literal null (expecting 'u')",
            (_, _) => "in literal null (expecting 'l')",
        }))
    }
}
